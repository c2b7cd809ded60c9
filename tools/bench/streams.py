"""Long event streams and large files of every format, made for the benchmarks.

A stream is a recording repeated with shifted times, or a synthetic scene of moving edges. Encoders:
encoders.py and encoders_prophesee.py, and the package's own writers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import encoders
import encoders_prophesee
import numpy as np

from eventhpe.events.formats.aedat2 import Aedat2Writer
from eventhpe.events.formats.aedat4_writer import Aedat4Writer
from eventhpe.events.open import open_recording
from eventhpe.events.types import Events

#: Changes when a format is written in another way, so that kept files are made again.
ENCODING = 1
# Repetitions start on the coarsest clock tick (EVT3 TIME_HIGH), so that their words differ in the clock only.
_TICK_US = 4096


@dataclass(frozen=True)
class Stream:
    """Events of one repetition, times from 0, and when the next one starts.

    Attributes:
        name: where the events come from.
        base: events of one repetition.
        period_us: a multiple of 4096 µs.
    """

    name: str
    base: Events
    period_us: int

    def repeats(self, count: int) -> Iterator[tuple[int, Events]]:
        """µs to add, and the events (times from 0), until there are `count`."""
        for k in range(-(-count // len(self.base))):
            yield k * self.period_us, self.base.slice(0, min(len(self.base), count - k * len(self.base)))

    def blocks(self, count: int, start_us: int = 0) -> Iterator[Events]:
        """`count` events with times from `start_us` on, one repetition at a time."""
        for shift, part in self.repeats(count):
            yield Events(part.t + np.int64(start_us + shift), part.x, part.y, part.p, part.sensor_size)


def from_recording(path: Path, size: tuple[int, int]) -> Stream:
    """A recording that repeats; FormatError or SystemExit where it does not fit."""
    with open_recording(path) as recording:
        events = recording.read()
    if events.sensor_size != size or not len(events):
        raise SystemExit(f"{path}: {len(events):,} events of {events.sensor_size}; expected size {size}.")
    return _repeating(path.name, events)


def synthetic(size: tuple[int, int], rate_hz: int, seed: int = 0) -> Stream:
    """One second of a scene: eight upright edges move to the right at different speeds; noise."""
    rng = np.random.default_rng(seed)
    height, width = size
    t = np.sort(rng.integers(0, 1_000_000, rate_hz))
    edge = rng.integers(0, 8, rate_hz)
    speed, start = rng.uniform(20, 400, 8), rng.uniform(0, width, 8)
    x = (start[edge] + speed[edge] * t * 1e-6 + rng.normal(0, 1.5, rate_hz)) % width
    y = rng.integers(0, height, rate_hz)
    p = (edge % 2) ^ (rng.random(rate_hz) < 0.1)
    noise = rng.random(rate_hz) < 0.05
    x[noise] = rng.integers(0, width, int(noise.sum()))
    columns = (x.astype(np.uint16), y.astype(np.uint16), p.astype(np.uint8))
    return _repeating("synthetic", Events.from_columns(t, *columns, size))


def _repeating(name: str, events: Events) -> Stream:
    base = Events(events.t - events.t[0], events.x, events.y, events.p, events.sensor_size)
    return Stream(name, base, (int(base.t[-1]) // _TICK_US + 1) * _TICK_US)


@dataclass(frozen=True)
class Facts:
    """What a reader must find: number, sums of columns, times relative to the first one."""

    count: int
    sum_x: int
    sum_y: int
    sum_p: int
    first_us: int
    last_us: int
    sum_t_from_first: int

    @classmethod
    def of(cls, blocks: Iterator[tuple[Any, Any, Any, Any]]) -> Facts:
        """From columns t (µs), x, y, p, block by block."""
        count, sums, first, last, total = 0, [0, 0, 0], 0, 0, 0
        for t, *others in blocks:
            if not len(t):
                continue
            times = np.asarray(t).astype(np.int64, copy=False)
            if not count:
                first = int(times[0])
            last = int(times[-1])
            total += int((times - first).sum())
            for k, column in enumerate(others):
                sums[k] += int(np.asarray(column).sum(dtype=np.int64))
            count += len(times)
        return cls(count, sums[0], sums[1], sums[2], first, last, total)


@dataclass(frozen=True)
class Kind:
    """A kind of file: which stream it holds, its share of the events asked for, and how it is written.

    Attributes:
        write: writes (path, stream, number of events, absolute µs of the start).
    """

    label: str
    suffix: str
    stream: str
    write: Callable[[Path, Stream, int, int], None]
    start_us: int
    share: float = 1.0


def _aedat2(path: Path, stream: Stream, count: int, start_us: int) -> None:
    with Aedat2Writer(path, stream.base.sensor_size) as writer:
        for events in stream.blocks(count, start_us):
            writer.append(events)


def _aedat4(compression: str) -> Callable[[Path, Stream, int, int], None]:
    def write(path: Path, stream: Stream, count: int, start_us: int) -> None:
        size = stream.base.sensor_size
        with Aedat4Writer(path, size, t_offset_us=start_us, compression=compression) as writer:
            for events in stream.blocks(count):
                writer.append(events)

    return write


_UNIX = 1_744_227_144_000_000
_CAMERA = 1743 * _TICK_US
KINDS = {
    "aedat2": Kind("AEDAT 2.0", ".aedat", "davis", _aedat2, _CAMERA),
    "aedat31": Kind("AEDAT 3.1", ".aedat", "davis", encoders.aedat31, _CAMERA),
    "aedat4-none": Kind("AEDAT 4.0, not compressed", ".aedat4", "davis", _aedat4("none"), _UNIX),
    "aedat4-lz4": Kind("AEDAT 4.0, LZ4", ".aedat4", "davis", _aedat4("lz4"), _UNIX),
    "aedat4-zstd": Kind("AEDAT 4.0, ZSTD", ".aedat4", "davis", _aedat4("zstd"), _UNIX),
    "dat": Kind("Prophesee DAT", ".dat", "vga", encoders_prophesee.dat, _CAMERA),
    "evt2": Kind("Prophesee EVT2", ".raw", "vga", encoders_prophesee.evt2, _CAMERA),
    "evt21-little": Kind("Prophesee EVT2.1, little", ".raw", "vga", encoders_prophesee.evt21_little, _CAMERA),
    "evt21-legacy": Kind("Prophesee EVT2.1, legacy", ".raw", "vga", encoders_prophesee.evt21_legacy, _CAMERA),
    "evt3": Kind("Prophesee EVT3", ".raw", "vga", encoders_prophesee.evt3, _CAMERA),
    "ecf": Kind("Prophesee HDF5 (ECF)", ".h5", "vga", encoders_prophesee.ecf, _CAMERA),
    "text": Kind("E2VID text (seconds)", ".txt", "davis", encoders.text, 0, 0.1),
    "csv": Kind("CSV (µs)", ".csv", "davis", encoders.csv, _CAMERA, 0.1),
    "bag": Kind("ROS 1 bag, dvs_msgs", ".bag", "davis", encoders.bag, _UNIX, 0.25),
}


def make(folder: Path, kind: str, stream: Stream, count: int) -> tuple[Path, Facts]:
    """Write a file, unless the folder has it already, and tell what is in it."""
    made = KINDS[kind]
    path = folder / f"{kind}-{count}{made.suffix}"
    note = path.with_name(path.name + ".json")
    origin = {"stream": stream.name, "encoding": ENCODING}
    if path.exists() and note.exists():
        told = json.loads(note.read_text(encoding="utf-8"))
        if told.pop("origin") == origin:
            return path, Facts(**told)
    made.write(path, stream, count, made.start_us)
    facts = Facts.of((e.t, e.x, e.y, e.p) for e in stream.blocks(count, made.start_us))
    note.write_text(json.dumps({"origin": origin, **asdict(facts)}), encoding="utf-8")
    return path, facts
