"""A recording: events of one camera read in windows, whatever file they come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, Literal

import numpy as np

from eventhpe.errors import EventHPEError, FormatError, UnitError
from eventhpe.events.types import Events, GrayFrames, ImuSamples, RawEvents, Triggers

WindowMode = Literal["time", "count", "mixed"]
_BLOCK = 1 << 17
LONGEST_US = 100 * 366 * 24 * 3600 * 1_000_000


class OutOfOrderError(EventHPEError):
    """Times turned out to be disordered over more than one block while a file was read in a single pass."""


@dataclass(frozen=True)
class Summary:
    """Counts over the events of a recording; the ranges mean nothing where there are none."""

    num_on: int
    x_min: int
    x_max: int
    y_min: int
    y_max: int
    num_backward: int = 0
    largest_backward_us: int = 0
    elements: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class RecordingInfo:
    """What `eventhpe info` tells about a recording.

    Attributes:
        t_first_us, t_last_us: as stored in the file (absolute, first and last in stored order); None if
            empty.
        sensor_size: (H, W).
        x_min, x_max, y_min, y_max: ranges of the events inside the sensor; None if empty.
        duration_us: from the recording's time zero to its last event.
        mean_rate_hz: events per second over that duration.
        num_backward: events stored after a later one; largest_backward_us is the largest such step.
        elements: what else the file holds, counted by the format's own names.
    """

    source: str
    format: str
    sensor_size: tuple[int, int]
    num_events: int
    t_first_us: int | None
    t_last_us: int | None
    num_on: int
    num_off: int
    x_min: int | None
    x_max: int | None
    y_min: int | None
    y_max: int | None
    duration_us: int
    t_offset_us: int
    mean_rate_hz: float
    streams: tuple[str, ...]
    num_frames: int
    num_triggers: int
    num_imu: int
    num_backward: int
    largest_backward_us: int
    elements: dict[str, int]
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Backend(ABC):
    """The few primitives a file format gives to `Recording`.

    A backend must be picklable (it opens its file again in the other process) and must be usable
    after a fork.
    """

    format: str
    source: str
    sensor_size: tuple[int, int]
    num_events: int
    t_offset_us: int
    end_us: int
    streams: tuple[str, ...]
    warnings: tuple[str, ...]

    @abstractmethod
    def read(self, i: int, j: int) -> Events:
        """Events i..j-1 in stable time order, time relative to t_offset_us."""

    @abstractmethod
    def read_raw(self) -> RawEvents:
        """All events in stored order, absolute time."""

    @abstractmethod
    def index_at(self, t_us: int) -> int:
        """First index with t >= t_us."""

    @abstractmethod
    def stored_time_range(self) -> tuple[int, int]:
        """Absolute time of the first and last stored event; asked only if there are events."""

    def frames(self) -> GrayFrames | None:
        return None

    def triggers(self) -> Triggers | None:
        return None

    def imu(self) -> ImuSamples | None:
        return None

    def blocks(self) -> Iterator[Events]:
        """All events in order, as `read`, in blocks of bounded size."""
        for i in range(0, self.num_events, _BLOCK):
            yield self.read(i, min(i + _BLOCK, self.num_events))

    def once(self) -> Iterator[tuple[int, Events]]:
        """As `blocks`, each with t_offset_us, in a single pass over a file that nobody has asked anything
        yet.

        The arrays of a block may be reused three blocks later.

        Raises:
            OutOfOrderError: a single pass cannot sort this file; `blocks` can.
        """
        for events in self.blocks():
            yield self.t_offset_us, events

    def read_all(self) -> Events:
        """As read(0, num_events)."""
        return self.read(0, self.num_events)

    def summary(self) -> Summary:
        """Counts and ranges, from all events."""
        num_on, low, high = 0, [2**31, 2**31], [-1, -1]
        for events in self.blocks():
            num_on += int(events.p.sum(dtype=np.int64))
            low = [min(low[0], int(events.x.min())), min(low[1], int(events.y.min()))]
            high = [max(high[0], int(events.x.max())), max(high[1], int(events.y.max()))]
        return Summary(num_on, low[0], high[0], low[1], high[1])

    def close(self) -> None:  # noqa: B027  (a backend without open files has nothing to do)
        """Release the file."""


class Recording:
    """Events of one camera, read lazily in windows.

    Time zero is `t_offset_us` on the file's own clock: the first event, or the origin that an
    HDF5 file of ours defines. `read` and `windows` give relative time in stable order; `read_raw` gives what
    is stored. Use as a context manager or call `close()`. Safe to pass to worker processes: a pickled
    or forked recording opens its own file handle. Memory use of `windows` and `blocks` does not depend on the
    length of the file, as long as its times are in order (see `stream_backend.StreamBackend`).
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @classmethod
    def from_events(cls, events: Events, *, t_offset_us: int = 0, source: str = "memory") -> Recording:
        """A recording over events that are already in memory."""
        from eventhpe.events.memory import MemoryBackend  # the subclass lives above this module

        return cls(MemoryBackend(events, t_offset_us=t_offset_us, source=source))

    @property
    def num_events(self) -> int:
        return self._backend.num_events

    @property
    def sensor_size(self) -> tuple[int, int]:
        """(H, W)."""
        return self._backend.sensor_size

    @property
    def t_offset_us(self) -> int:
        """Absolute time (the file's clock) of relative time zero."""
        return self._backend.t_offset_us

    @property
    def end_us(self) -> int:
        """End of the recording, exclusive: one µs after the last event, or the length the file states."""
        return self._backend.end_us

    @property
    def duration_us(self) -> int:
        """From time zero to the last event (or to the end the file states)."""
        return max(0, self.end_us - 1)

    @property
    def format(self) -> str:
        return self._backend.format

    @property
    def source(self) -> str:
        return self._backend.source

    @property
    def streams(self) -> tuple[str, ...]:
        """Names of the event streams (cameras) in the file; the open one was chosen with `stream=`."""
        return self._backend.streams

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was lost or repaired while reading."""
        return self._backend.warnings

    @property
    def triggers(self) -> Triggers | None:
        return self._backend.triggers()

    @property
    def frames(self) -> GrayFrames | None:
        """Gray frames beside the events, None if the file has none."""
        return self._backend.frames()

    @property
    def imu(self) -> ImuSamples | None:
        """Samples of the inertial sensor, None if the file has none."""
        return self._backend.imu()

    def blocks(self) -> Iterator[Events]:
        """All events in stable time order, block by block, time relative to `t_offset_us`."""
        return self._backend.blocks()

    def once(self) -> Iterator[tuple[int, Events]]:
        """`t_offset_us` and events, block by block, in one pass where the file allows it (see
        `Backend.once`)."""
        return self._backend.once()

    def read(self, i: int = 0, j: int | None = None) -> Events:
        """Events i..j-1 of the stream in stable time order, time relative to `t_offset_us`."""
        if i == 0 and j is None:
            return self._backend.read_all()
        n = self.num_events
        start, stop, _ = slice(i, j).indices(n)
        return self._backend.read(start, max(start, stop))

    def read_raw(self) -> RawEvents:
        """All events of the file's event streams in stored order with absolute time and camera index."""
        return self._backend.read_raw()

    def index_at(self, t_us: int) -> int:
        """Index of the first event with t >= t_us (relative time)."""
        return self._backend.index_at(int(t_us))

    def between(self, t0_us: int, t1_us: int) -> Events:
        """Events with t0 <= t < t1 (relative time)."""
        i = self.index_at(t0_us)
        return self._backend.read(i, max(i, self.index_at(t1_us)))

    def windows(
        self,
        mode: WindowMode = "time",
        *,
        duration_us: int | None = None,
        num_events: int | None = None,
        start_us: int = 0,
        stop_us: int | None = None,
        drop_last: bool = False,
    ) -> Iterator[tuple[int, int, Events]]:
        """Consecutive half-open windows (t0_us, t1_us, events with t0 <= t < t1).

        Args:
            mode: "time": windows of duration_us; time keeps ticking through silence, so a window can be
                empty.
                "count": windows of num_events events; events that share the time of the last one stay with
                it, so a window can hold a few more. "mixed": whichever of the two comes first.
            duration_us: length of a time window in µs.
            num_events: events per count window.
            start_us: where the first window starts.
            stop_us: where windows end; default: end of the recording (`end_us`).
            drop_last: leave out a last window that is shorter (time) or holds fewer events (count) than
                asked for. By default it is given with its nominal t1 (time) or with t1 = stop (count), so
                no event is lost.
        """
        needs = {"time": (True, False), "count": (False, True), "mixed": (True, True)}.get(mode)
        if needs is None:
            raise UnitError(f"window mode must be 'time', 'count' or 'mixed'; got {mode!r}.")
        for name, value, needed in (
            ("duration_us", duration_us, needs[0]),
            ("num_events", num_events, needs[1]),
        ):
            if needed and (value is None or int(value) < 1 or int(value) != value):
                raise UnitError(f"windows(mode={mode!r}) needs {name} as a whole number >= 1; got {value!r}.")
        stop = self.end_us if stop_us is None else int(stop_us)
        length = int(duration_us) if needs[0] and duration_us is not None else None
        count = int(num_events) if needs[1] and num_events is not None else None
        return self._windows(length, count, int(start_us), stop, drop_last)

    def _windows(
        self, length: int | None, count: int | None, t0: int, stop: int, drop_last: bool
    ) -> Iterator[tuple[int, int, Events]]:
        end = self.index_at(stop)
        i = self.index_at(t0)
        while t0 < stop:
            t1 = stop if length is None else t0 + length
            j = end if length is None else min(end, self.index_at(t1))
            full = length is not None and t1 <= stop
            if count is not None and i + count <= j:
                last = self._backend.read(i + count - 1, i + count)
                t1 = int(last.t[0]) + 1
                j = min(end, self.index_at(t1))
                full = True
            if drop_last and not full:
                return
            yield t0, t1, self._backend.read(i, j)
            i, t0 = j, t1
            if length is None and i >= end:
                return  # counting has nothing left to count

    def info(self) -> RecordingInfo:
        """Counts and ranges over the whole recording, read in blocks."""
        n = self.num_events
        first, last = self._backend.stored_time_range() if n else (None, None)
        summary = self._backend.summary()
        ranges = (summary.x_min, summary.x_max, summary.y_min, summary.y_max) if n else (None,) * 4
        frames, triggers, imu = self.frames, self.triggers, self.imu
        return RecordingInfo(
            source=self.source,
            format=self.format,
            sensor_size=self.sensor_size,
            num_events=n,
            t_first_us=first,
            t_last_us=last,
            num_on=summary.num_on,
            num_off=n - summary.num_on,
            x_min=ranges[0],
            x_max=ranges[1],
            y_min=ranges[2],
            y_max=ranges[3],
            duration_us=self.duration_us,
            t_offset_us=self.t_offset_us,
            mean_rate_hz=n / (self.duration_us * 1e-6) if self.duration_us else 0.0,
            streams=self.streams,
            num_frames=len(frames) if frames is not None else 0,
            num_triggers=len(triggers) if triggers is not None else 0,
            num_imu=len(imu) if imu is not None else 0,
            num_backward=summary.num_backward,
            largest_backward_us=summary.largest_backward_us,
            elements=summary.elements,
            warnings=self.warnings,
        )

    def close(self) -> None:
        self._backend.close()

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return self.num_events

    def __repr__(self) -> str:
        height, width = self.sensor_size
        size = f"{width}x{height}, {self.num_events:,} events, {self.duration_us / 1e6:.3f} s"
        return f"Recording({self.source!r}, {self.format}, {size})"


def check_stream(stream: int | str | None, names: tuple[str, ...], where: str) -> int | None:
    """Index of the chosen stream, None if no choice was made."""
    if stream is None:
        return None
    if isinstance(stream, str) and stream in names:
        return names.index(stream)
    if isinstance(stream, int) or stream.isdigit():
        if 0 <= int(stream) < len(names):
            return int(stream)
    listing = ", ".join(f"{k} = {name}" for k, name in enumerate(names)) or "none"
    raise FormatError(f"{where}: no event stream {stream!r}. Streams in this file: {listing}.")


def check_span(where: str, t_min: int, t_max: int) -> None:
    """FormatError where times cannot be those of one recording."""
    if t_max - t_min > LONGEST_US or max(abs(t_min), abs(t_max)) > 1 << 61:
        raise FormatError(
            f"{where}: event times span {t_min}..{t_max} µs, more than a century; the file is damaged or the "
            "times are not in microseconds (say the unit with time_unit=)."
        )
