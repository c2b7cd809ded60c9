"""How a file format hands over what it holds: block by block, in stored order, from any block on.

A format is a `BlockReader`. `StreamBackend` (stream_backend.py) makes a recording of it: it indexes the
blocks in one pass, sorts, drops what lies outside the sensor, and reads any window by decoding the blocks
that hold it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.events.types import ImuSamples, RawEvents, Triggers

#: Events per block: the columns of one block stay in the processor's cache while they are decoded, checked
#: and written.
BLOCK_EVENTS = 1 << 17

#: Where a block begins: position and decoder state as plain integers, so that decoding can start there.
Checkpoint = tuple[int, ...]


class Columns:
    """Output columns that decoders fill and callers reuse.

    Attributes:
        t: (capacity,) int64 µs, absolute, as stored (wraps of short counters undone).
        x, y: (capacity,) uint16 image column and row; values outside the sensor are allowed, the caller
            drops them.
        p: (capacity,) uint8, 1 = ON, 0 = OFF.
        camera: (capacity,) uint8; filled only by readers with more than one stream.
    """

    def __init__(self, capacity: int = BLOCK_EVENTS) -> None:
        self.t = np.empty(capacity, np.int64)
        self.x = np.empty(capacity, np.uint16)
        self.y = np.empty(capacity, np.uint16)
        self.p = np.empty(capacity, np.uint8)
        self.camera = np.zeros(capacity, np.uint8)

    def after(self, n: int) -> Columns:
        """The places from n on; what is written there is written here."""
        rest = Columns(0)
        rest.t, rest.x, rest.y, rest.p = self.t[n:], self.x[n:], self.y[n:], self.p[n:]
        rest.camera = self.camera[n:]
        return rest

    def put(
        self,
        n: int,
        t: NDArray[np.int64],
        x: NDArray[np.uint16],
        y: NDArray[np.uint16],
        p: NDArray[np.uint8],
    ) -> None:
        """Copy events to the places from n on; what stands before n is kept if room must be made."""
        end = n + len(t)
        self.grow(end + BLOCK_EVENTS, keep=n)
        self.t[n:end], self.x[n:end], self.y[n:end], self.p[n:end] = t, x, y, p

    @property
    def capacity(self) -> int:
        return len(self.t)

    def grow(self, capacity: int, keep: int = 0) -> None:
        """Make room for `capacity` events; the first `keep` are kept. For units larger than BLOCK_EVENTS."""
        if capacity <= self.capacity:
            return
        for name in ("t", "x", "y", "p", "camera"):
            old = getattr(self, name)
            new = np.zeros(capacity, old.dtype) if name == "camera" else np.empty(capacity, old.dtype)
            new[:keep] = old[:keep]
            setattr(self, name, new)


@dataclass
class Frame:
    """A gray frame in the file: absolute time, the camera it belongs to, and what `load_frame` needs to find
    it."""

    t_us: int
    ref: tuple[Any, ...]
    camera: int = 0


@dataclass
class Side:
    """What one pass finds beside events. Readers add to it, block after block, in stored order.

    Attributes:
        frames: gray frames, in stored order.
        elements: how many things of each kind the file holds ("IMU samples", "APS words", "packets" ...).
        losses: what was left out: phrase -> number, told as "12 events with a valid bit of 0 skipped".
        remarks: other things a user should know, each said once.
    """

    frames: list[Frame] = field(default_factory=list)
    elements: Counter[str] = field(default_factory=Counter)
    losses: Counter[str] = field(default_factory=Counter)
    remarks: dict[str, None] = field(default_factory=dict)
    _triggers: list[tuple[NDArray[Any], ...]] = field(default_factory=list)
    _imu: list[tuple[NDArray[Any], ...]] = field(default_factory=list)

    def add_triggers(
        self, t: NDArray[np.int64], value: NDArray[np.uint8], channel: NDArray[np.uint8] | None = None
    ) -> None:
        """External trigger edges: absolute µs; 1 rising, 0 falling, 2 pulse; input number. Arrays are
        copied."""
        if len(t):
            channel = np.zeros(len(t), np.uint8) if channel is None else channel
            self._triggers.append(
                (np.array(t, np.int64), np.array(value, np.uint8), np.array(channel, np.uint8))
            )

    def add_imu(
        self, t: NDArray[np.int64], accel: NDArray[Any], gyro: NDArray[Any], temperature: NDArray[Any]
    ) -> None:
        """IMU samples: absolute µs, (N, 3) g, (N, 3) deg/s, (N,) deg C (NaN where unknown). Arrays are
        copied."""
        if len(t):
            columns = (np.array(a, np.float32) for a in (accel, gyro, temperature))
            self._imu.append((np.array(t, np.int64), *columns))

    def say(self, remark: str) -> None:
        """Tell the user something, once."""
        self.remarks[remark] = None

    def lose(self, phrase: str, number: int) -> None:
        """Tell the user that `number` things were left out; `phrase` follows the number."""
        if number:
            self.losses[phrase] += int(number)

    def keep_near(self, t_us: int, most_us: int) -> None:
        """Leave out triggers, IMU samples and frames more than `most_us` from a time: their times are
        damaged."""

        def near(t: NDArray[np.int64]) -> NDArray[np.bool_]:
            return np.abs(t.astype(np.float64) - t_us) <= most_us

        for columns in (self._triggers, self._imu):
            for k, part in enumerate(columns):
                keep = near(part[0])
                self.lose("triggers or IMU samples with impossible times dropped", int((~keep).sum()))
                columns[k] = tuple(column[keep] for column in part)
        frames = [frame for frame in self.frames if abs(frame.t_us - t_us) <= most_us]
        self.lose("frames with impossible times dropped", len(self.frames) - len(frames))
        self.frames[:] = frames

    def warnings(self) -> tuple[str, ...]:
        """All remarks and losses as lines for people."""
        return (*self.remarks, *(f"{number:,} {phrase}" for phrase, number in self.losses.items()))

    def triggers(self, t_offset_us: int) -> Triggers | None:
        """All trigger edges in time order, relative to the offset; None if there are none."""
        if not sum(len(part[0]) for part in self._triggers):
            return None
        t, value, channel = (np.concatenate(c) for c in zip(*self._triggers, strict=True))
        order = np.argsort(t, kind="stable")
        return Triggers(t[order] - np.int64(t_offset_us), value[order], channel[order])

    def imu(self, t_offset_us: int) -> ImuSamples | None:
        """All IMU samples in time order, relative to the offset; None if there are none."""
        if not sum(len(part[0]) for part in self._imu):
            return None
        t, accel, gyro, temperature = (np.concatenate(c) for c in zip(*self._imu, strict=True))
        order = np.argsort(t, kind="stable")
        return ImuSamples(t[order] - np.int64(t_offset_us), accel[order], gyro[order], temperature[order])


class BlockReader(ABC):
    """One file of one format.

    The constructor reads headers only. `decode` depends on nothing but its arguments and the file, so blocks
    can be decoded in any order, in any process; a reader that keeps a file handle or an iterator for speed
    keeps it per process (os.getpid()) and leaves it out of its pickle.

    Attributes:
        format: what the format is called ("AEDAT 2.0").
        path: the file.
        sensor_size: (H, W), or None where the file does not tell (the extent of the events is taken then).
        streams: names of the cameras; with more than one, `decode` fills `out.camera` with their index.
        stream_sizes: (H, W) or None of each stream; empty where all have `sensor_size`.
    """

    format: str
    path: Path
    sensor_size: tuple[int, int] | None
    streams: tuple[str, ...] = ("events",)
    stream_sizes: tuple[tuple[int, int] | None, ...] = ()

    @abstractmethod
    def first(self) -> Checkpoint:
        """Where the first block begins."""

    @abstractmethod
    def decode(self, at: Checkpoint, out: Columns, side: Side) -> tuple[int, Checkpoint | None]:
        """Decode the block at `at` into the first n places of `out`, and add what else it holds to `side`.

        Blocks are cut at about BLOCK_EVENTS events, whatever the capacity of `out` (at least BLOCK_EVENTS),
        so that a checkpoint always means the same block; an indivisible unit with more events uses
        `out.grow`.

        Returns:
            n (0 is fine), and where the next block begins; None when nothing is left.
        Raises:
            FormatError: nothing sensible can be read from here on. Lesser damage is skipped and told to
                `side`.
        """

    def progress(self, at: Checkpoint) -> float:
        """Share of the file before a checkpoint, 0..1, roughly; right as it is where at[0] is a byte
        position."""
        return min(1.0, at[0] / max(1, self.path.stat().st_size))

    def load_frame(self, ref: tuple[Any, ...]) -> NDArray[np.uint8]:
        """Gray frame (H, W) uint8 that was announced with `ref`; only readers that announce frames have
        one."""
        raise LookupError(f"{self.path}: {self.format} has no frame {ref}.")

    def close(self) -> None:  # noqa: B027  (most readers keep nothing open)
        """Release what is kept open."""


def read_stored(reader: BlockReader) -> tuple[RawEvents, Side]:
    """Everything in stored order with absolute time: the plain way through a file, and the oracle of the
    tests."""
    side, parts = Side(), []
    at: Checkpoint | None = reader.first()
    columns = Columns()
    while at is not None:
        n, at = reader.decode(at, columns, side)
        parts.append([np.array(getattr(columns, name)[:n]) for name in ("t", "x", "y", "p", "camera")])
    t, x, y, p, camera = (np.concatenate(c) for c in zip(*parts, strict=True))
    if len(reader.streams) == 1:
        camera = np.zeros(len(t), np.uint8)
    size = reader.sensor_size or (int(y.max(initial=0)) + 1, int(x.max(initial=0)) + 1)
    return RawEvents(t, x, y, p, camera, size), side
