"""What a reader owes a damaged file: a sound result, or one FormatError that names the file."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from eventhpe.errors import FormatError, ShapeError, UnitError
from eventhpe.events.conversion import convert
from eventhpe.events.formats.sniff import FORMATS
from eventhpe.events.open import open_recording
from eventhpe.events.recording import OutOfOrderError, Recording
from eventhpe.events.sinks import TARGETS
from eventhpe.events.store_verify import verify
from eventhpe.events.types import Events

Verdict = Literal["result", "FormatError", "UnitError"]

_SENSORS = ("DVS128", "DAVIS128", "DAVIS346", "MultiDAVIS346", "640x480", "8x6", "1x1", "65535x65535")
_UNITS = ("s", "ms", "us", "ns")
_TABLES = ("mvsec", "v2e", "hdf5", "npz", "npy", "text", "zip")
_FRAMES = 3
_MOST_FRAMES_CONVERTED = 50
# The index of an HDF5 file takes 8 bytes per millisecond. What is longer than _LONG_US is to be refused.
_SHORT_US = 7200 * 1_000_000
_LONG_US = 3 * 86400 * 1_000_000


class UnsoundError(Exception):
    """A result that contradicts itself, or an error that does not say what it is about."""


def options_of(short_name: str, headerless: bool, rng: np.random.Generator) -> dict[str, Any]:
    """How a file is opened: mostly by content, sometimes with the format, a sensor or a unit given."""
    options: dict[str, Any] = {}
    if headerless or rng.random() < 0.3:
        options["format"] = short_name
        if rng.random() < 0.1:
            options["format"] = FORMATS[int(rng.integers(len(FORMATS)))].name
    if rng.random() < 0.15:
        options["sensor"] = _SENSORS[int(rng.integers(len(_SENSORS)))]
    if rng.random() < (0.05 if short_name in _TABLES else 0.005):
        options["time_unit"] = _UNITS[int(rng.integers(len(_UNITS)))]
    if rng.random() < 0.05:
        options["stream"] = int(rng.integers(3))
    return options


def judge(path: Path, options: dict[str, Any], rng: np.random.Generator) -> Verdict:
    """Open and ask everything.

    Raises:
        UnsoundError: see there. Any other exception is a failure of the reader, too.
    """
    try:
        _ask(path, options, rng)
    except FormatError as error:
        _check_error(path, error)
        return "FormatError"
    except UnitError:
        if "time_unit" not in options:
            raise
        return "UnitError"
    return "result"


def _check_error(path: Path, error: FormatError) -> None:
    if path.name not in str(error):
        raise UnsoundError(f"the FormatError does not name the file: {error}") from error
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError):
            raise UnsoundError(f"a size was not checked before memory was asked for: {error}") from error
        cause = cause.__cause__


def _check(true: bool, what: str) -> None:
    if not true:
        raise UnsoundError(what)


def _check_events(events: Events, size: tuple[int, int]) -> None:
    _check(events.sensor_size == size, f"sensor size {events.sensor_size}, of the recording {size}")
    if not len(events):
        return
    _check(int(events.y.max()) < size[0] and int(events.x.max()) < size[1], "events outside the sensor")
    _check(int(events.p.max()) <= 1, f"polarity {events.p.max()}")
    _check(bool((events.t[1:] >= events.t[:-1]).all()), "time goes backwards")


def _check_same(events: Events, others: list[Events], what: str) -> None:
    for name in "txyp":
        column = getattr(events, name)
        other = np.concatenate([column[:0], *(getattr(o, name) for o in others)])
        _check(np.array_equal(column, other), f"{what} differs from read() in {name}")


def _ask(path: Path, options: dict[str, Any], rng: np.random.Generator) -> None:
    with open_recording(path, **options) as recording:
        first_question = rng.random()
        events = recording.read() if first_question < 0.5 else None
        info = recording.info()
        events = recording.read() if events is None else events
        size = recording.sensor_size
        _check_events(events, size)
        _check(len(events) == recording.num_events == info.num_events, "num_events is not len(read())")
        _check(info.num_on == int(events.p.sum(dtype=np.int64)), "num_on is not that of the events")
        _check(info.sensor_size == size and isinstance(recording.warnings, tuple), "info")
        _check_same(events, list(recording.blocks()), "blocks()")
        _check_windows(recording, events)
        raw = recording.read_raw()
        _check(len(raw) >= len(events), "read_raw() has fewer events than read()")
        _check(int(raw.p.max(initial=0)) <= 1, f"raw polarity {raw.p.max(initial=0)}")
        _check_beside(recording)
        if rng.random() < 0.1:
            again = pickle.loads(pickle.dumps(recording))
            _check_same(events, [again.read()], "a pickled recording")
            again.close()
    if rng.random() < 0.2:
        _check_once(path, options, events)
    if rng.random() < 0.06:
        _check_conversion(path, options, events, rng)


def _check_windows(recording: Recording, events: Events) -> None:
    end = recording.end_us
    _check(end > int(events.t.max(initial=-1)), f"end_us {end} is not after the last event")
    _check(int(events.t.min(initial=0)) >= 0, "events before time zero")
    length = end // 10 + 1
    windows = list(recording.windows("time", duration_us=length))
    _check(all(t1 - t0 == length for t0, t1, _ in windows), "windows are of other lengths than asked for")
    _check(all(a[1] == b[0] for a, b in itertools.pairwise(windows)), "windows leave gaps")
    for t0, t1, part in windows:
        _check(
            not len(part) or (t0 <= int(part.t[0]) and int(part.t[-1]) < t1), "events outside their window"
        )
    _check_same(events, [part for _, _, part in windows], "windows(time)")
    count = len(events) // 5 + 1
    _check_same(events, [w[2] for w in recording.windows("count", num_events=count)], "windows(count)")
    i, j = len(events) // 3, len(events) // 2
    _check_same(events.slice(i, j), [recording.read(i, j)], "read(i, j)")
    middle = end // 2
    found = int(np.searchsorted(events.t, middle, side="left"))
    _check(recording.index_at(middle) == found, "index_at() is not where the events are")


def _check_beside(recording: Recording) -> None:
    triggers, imu, frames = recording.triggers, recording.imu, recording.frames
    for beside in (triggers, imu, frames):
        if beside is not None:
            _check(bool((np.diff(beside.t_us) >= 0).all()), f"{type(beside).__name__} are out of order")
    if triggers is not None:
        _check(int(triggers.value.max(initial=0)) <= 2, "trigger values above 2")
    for k in range(min(_FRAMES, len(frames)) if frames is not None else 0):
        assert frames is not None
        try:
            image = frames[k]
        except FormatError as error:
            _check_error(Path(recording.source), error)
            continue
        _check(image.dtype == np.uint8 and image.ndim == 2, f"frame {k} is {image.shape} {image.dtype}")


def _check_once(path: Path, options: dict[str, Any], events: Events) -> None:
    def blocks(recording: Recording) -> Iterator[Events]:
        for _, part in recording.once():
            yield Events(*(np.array(getattr(part, c)) for c in "txyp"), part.sensor_size)

    with open_recording(path, **options) as recording:
        try:
            parts = list(blocks(recording))
        except OutOfOrderError:
            return
        _check_same(events, parts, "once()")


def _check_conversion(path: Path, options: dict[str, Any], events: Events, rng: np.random.Generator) -> None:
    target = "eventhpe" if rng.random() < 0.6 else TARGETS[int(rng.integers(len(TARGETS)))].name
    out = path.with_name(path.name + ".converted")
    try:
        with open_recording(path, **options) as recording:
            if _SHORT_US < recording.end_us < _LONG_US:
                return
            if recording.frames is not None and len(recording.frames) > _MOST_FRAMES_CONVERTED:
                return
            _convert(recording, out, target)
        if not out.exists():
            return
        if target == "eventhpe":
            _check(verify(out) == [], f"verify() of the conversion: {verify(out)}")
        with open_recording(out) as copied:
            again = copied.read()
            if target != "eventhpe":  # times count from the first event there
                events, again = _from_first(events), _from_first(again)
            _check_same(events, [again], f"the conversion to {target}")
    finally:
        out.unlink(missing_ok=True)


def _from_first(events: Events) -> Events:
    t = events.t - (events.t[0] if len(events) else np.int64(0))
    return Events(t, events.x, events.y, events.p, events.sensor_size)


def _convert(recording: Recording, out: Path, target: str) -> None:
    """Ours holds everything but days; other targets may refuse what they cannot hold."""
    try:
        convert(recording, out, target=target)
    except UnitError:
        if recording.end_us < _LONG_US:
            raise
    except (FormatError, ShapeError):
        if target == "eventhpe":
            raise
