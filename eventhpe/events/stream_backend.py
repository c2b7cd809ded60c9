"""A recording over a `BlockReader`: indexed in one pass, sorted and checked, read lazily in bounded
memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import FormatError
from eventhpe.events import kernels_columns as kernels
from eventhpe.events.blocks import BLOCK_EVENTS, BlockReader, Checkpoint, Columns, Side
from eventhpe.events.recording import (
    LONGEST_US,
    Backend,
    OutOfOrderError,
    Summary,
    check_span,
    check_stream,
)
from eventhpe.events.types import Events, GrayFrames, ImuSamples, RawEvents, Triggers

_CACHE_BYTES = 64 << 20
# 65535 marks a coordinate that no uint16 can hold; a sensor whose size is not told ends below it.
_WIDEST = 65535
_START = -(2**62)
# Events that `once` hands over together: writing them costs a call per column.
_ONCE_EVENTS = 4 * BLOCK_EVENTS


@dataclass(frozen=True)
class _Group:
    """Neighbouring blocks whose times overlap (mostly one block): sorted together, read together."""

    first_block: int
    end_block: int
    start: int  # index of its first event
    count: int
    t_max: int
    sort: bool


class _Survey:
    """Grows by one row per block and camera while a pass goes on."""

    def __init__(self, reader: BlockReader) -> None:
        self.side = Side()
        self.checkpoints: list[Checkpoint] = []
        self._rows: list[NDArray[np.int64]] = []
        self._sizes = [size or (_WIDEST, _WIDEST) for size in stream_sizes(reader)]
        self._last = [_START] * len(self._sizes)
        self._one = Columns(0)

    def block(self, at: Checkpoint, columns: Columns, n: int) -> NDArray[np.int64]:
        """Describe the block: (C, SURVEY_SIZE)."""
        rows = np.empty((len(self._sizes), kernels.SURVEY_SIZE), np.int64)
        for camera, (height, width) in enumerate(self._sizes):
            t, x, y, p = self.of_camera(columns, n, camera)
            kernels.survey(t, x, y, p, width, height, self._last[camera], rows[camera])
            if rows[camera, kernels.COUNT]:
                self._last[camera] = int(rows[camera, kernels.T_LAST])
        self.checkpoints.append(at)
        self._rows.append(rows)
        return rows

    def of_camera(self, columns: Columns, n: int, camera: int) -> tuple[NDArray[Any], ...]:
        """t, x, y, p of one camera: the columns themselves, or copies that live until the next call."""
        t, x, y, p = columns.t[:n], columns.x[:n], columns.y[:n], columns.p[:n]
        if len(self._sizes) == 1:
            return t, x, y, p
        one = self._one
        one.grow(max(n, BLOCK_EVENTS))
        m = kernels.keep_camera(t, x, y, p, columns.camera[:n], camera, one.t, one.x, one.y, one.p)
        return one.t[:m], one.x[:m], one.y[:m], one.p[:m]

    def table(self) -> NDArray[np.int64]:
        """(blocks, C, SURVEY_SIZE)."""
        if not self._rows:
            return np.zeros((0, len(self._sizes), kernels.SURVEY_SIZE), np.int64)
        return np.stack(self._rows)


def stream_sizes(reader: BlockReader) -> tuple[tuple[int, int] | None, ...]:
    """(H, W) of every camera, None where the file does not tell."""
    return reader.stream_sizes or (reader.sensor_size,) * len(reader.streams)


class _Index:
    """What a complete pass found out: where blocks begin, how they lie in time, what is beside the events."""

    def __init__(self, reader: BlockReader, survey: _Survey, stream: int | None) -> None:
        self.checkpoints = survey.checkpoints
        self.side = survey.side
        table = survey.table()
        counts = table[:, :, kernels.COUNT].sum(0)
        self.camera = int(np.argmax(counts)) if stream is None else stream
        if stream is None and len(counts) > 1:
            self.side.say(
                f"{len(counts)} event streams ({', '.join(reader.streams)}); reading "
                f"{reader.streams[self.camera]} "
                "(choose with stream=)"
            )
        rows = table[:, self.camera]
        self.rows = rows
        filled = rows[rows[:, kernels.COUNT] > 0]
        self.num_events = int(rows[:, kernels.COUNT].sum())
        self.num_backward = int(rows[:, kernels.BACKWARD].sum())
        self.largest_step_us = int(rows[:, kernels.BACK_STEP].max(initial=0))
        known = stream_sizes(reader)[self.camera]
        where = "outside the sensor"
        if known is None:
            extent = [max(1, int(filled[:, k].max(initial=0)) + 1) for k in (kernels.Y_MAX, kernels.X_MAX)]
            self.sensor_size = extent[0], extent[1]
            self.side.say(
                f"the file does not tell the sensor size; taken as {extent[1]}x{extent[0]}, the extent of "
                f"the "
                "events (say it with sensor=, --sensor)"
            )
        else:
            self.sensor_size = known
            where = f"outside the {known[1]}x{known[0]} sensor"
        self.side.lose(f"events {where} dropped", int(rows[:, kernels.OUTSIDE].sum()))
        if self.num_backward:
            self.side.say(
                f"time goes backwards at {self.num_backward:,} events (by at most {self.largest_step_us:,} "
                f"µs); "
                "read() gives them sorted"
            )
        self.stored = (
            (int(filled[0, kernels.T_FIRST]), int(filled[-1, kernels.T_LAST])) if len(filled) else (0, 0)
        )
        self.t_min = int(filled[:, kernels.T_MIN].min(initial=2**62)) if len(filled) else 0
        self.t_max = int(filled[:, kernels.T_MAX].max(initial=-(2**62))) if len(filled) else -1
        check_span(str(reader.path), self.t_min, self.t_max)
        self.side.keep_near(self.t_min, LONGEST_US)
        self.groups = _groups(rows)
        self.starts = np.array([g.start for g in self.groups], np.int64)
        self.ends_us = np.array([g.t_max for g in self.groups], np.int64)
        self.clean = not rows[:, kernels.OUTSIDE].any() and not self.num_backward and len(reader.streams) == 1


def _groups(rows: NDArray[np.int64]) -> list[_Group]:
    filled = np.flatnonzero(rows[:, kernels.COUNT])
    if not len(filled):
        return []
    counts = rows[filled, kernels.COUNT]
    latest = np.maximum.accumulate(rows[filled, kernels.T_MAX])
    earliest = np.minimum.accumulate(rows[filled, kernels.T_MIN][::-1])[::-1]
    ends = [*np.flatnonzero(latest[:-1] <= earliest[1:]) + 1, len(filled)]
    groups, begin, start = [], 0, 0
    for end in ends:
        count = int(counts[begin:end].sum())
        sort = end - begin > 1 or bool(rows[filled[begin:end], kernels.BACKWARD].any())
        groups.append(
            _Group(int(filled[begin]), int(filled[end - 1]) + 1, start, count, int(latest[end - 1]), sort)
        )
        begin, start = end, start + count
    return groups


@dataclass(frozen=True)
class _FrameLoader:
    """Reads frame k when asked for."""

    reader: BlockReader
    refs: tuple[tuple[Any, ...], ...]

    def __call__(self, k: int) -> NDArray[np.uint8]:
        return self.reader.load_frame(self.refs[k])


class StreamBackend(Backend):
    """Windows over the blocks of a file.

    Nothing but the header is read at first. The first question that needs all of the file (its number of
    events, a window) indexes it in one pass; afterwards a window costs the decoding of the blocks it lies
    in, the last of which stay in memory (64 MiB). Files whose times are disordered over more than one block
    need the memory of the disordered part.
    """

    def __init__(self, reader: BlockReader, stream: int | str | None = None) -> None:
        self._reader = reader
        self._stream = check_stream(stream, reader.streams, str(reader.path))
        if self._stream is None and len(reader.streams) == 1:
            self._stream = 0
        self._built: _Index | None = None
        self._cache: OrderedDict[int, Events] = OrderedDict()
        self.format = reader.format
        self.source = str(reader.path)
        self.streams = reader.streams

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": OrderedDict()}

    # ---- the pass over the file

    def _decode(self, at: Checkpoint, columns: Columns, side: Side) -> tuple[int, Checkpoint | None]:
        n, following = self._reader.decode(at, columns, side)
        if following == at:
            raise FormatError(f"{self.source}: reading does not advance at {at}; the file is damaged.")
        return n, following

    def _index(self) -> _Index:
        if self._built is None:
            survey, columns = _Survey(self._reader), Columns()
            at: Checkpoint | None = self._reader.first()
            while at is not None:
                n, following = self._decode(at, columns, survey.side)
                survey.block(at, columns, n)
                at = following
            self._built = _Index(self._reader, survey, self._stream)
        return self._built

    def once(self) -> Iterator[tuple[int, Events]]:
        size = self._size_of_stream()
        if self._built is not None or self._stream is None or size is None:
            yield from super().once()
            return
        survey, ring = _Survey(self._reader), [Columns(_ONCE_EVENTS + BLOCK_EVENTS) for _ in range(4)]
        at: Checkpoint | None = self._reader.first()
        offset, latest, n = 0, _START, 0
        while at is not None:
            whole = ring[0]
            part = whole.after(n)
            place = part.t
            count, following = self._decode(at, part, survey.side)
            row = survey.block(at, part, count)[self._stream]
            at = following
            if row[kernels.COUNT]:
                t, x, y, p = survey.of_camera(part, count, self._stream)
                t, x, y, p = self._ordered(
                    t, x, y, p, size, bool(row[kernels.OUTSIDE]), bool(row[kernels.BACKWARD])
                )
                if latest == _START:
                    offset = int(t[0])
                elif int(t[0]) < latest:
                    raise OutOfOrderError
                latest = int(t[-1])
                check_span(self.source, offset, latest)
                t -= np.int64(offset)  # in place: a new array costs its pages
                if part.t is not place or len(self.streams) > 1 or row[kernels.BACKWARD]:
                    whole.put(n, t, x, y, p)
                n += len(t)
            if n >= _ONCE_EVENTS or (n and at is None):
                yield offset, Events(whole.t[:n], whole.x[:n], whole.y[:n], whole.p[:n], size)
                ring.append(ring.pop(0))
                n = 0
        self._built = _Index(self._reader, survey, self._stream)

    def _size_of_stream(self) -> tuple[int, int] | None:
        return None if self._stream is None else stream_sizes(self._reader)[self._stream]

    @staticmethod
    def _ordered(
        t: NDArray[Any], x: NDArray[Any], y: NDArray[Any], p: NDArray[Any], size: tuple[int, int],
        outside: bool, backward: bool,
    ) -> tuple[NDArray[Any], ...]:  # fmt: skip
        """Inside the sensor, in stable time order; times as given."""
        if outside:
            n = kernels.keep_inside(t, x, y, p, size[1], size[0])
            t, x, y, p = t[:n], x[:n], y[:n], p[:n]
        if backward:
            order = np.argsort(t, kind="stable")
            t, x, y, p = t[order], x[order], y[order], p[order]
        return t, x, y, p

    # ---- what the index tells

    @property
    def sensor_size(self) -> tuple[int, int]:  # type: ignore[override]
        if self._built is None:
            size = self._size_of_stream()
            if size is not None:
                return size
        return self._index().sensor_size

    @property
    def num_events(self) -> int:  # type: ignore[override]
        return self._index().num_events

    @property
    def t_offset_us(self) -> int:  # type: ignore[override]
        return self._index().t_min

    @property
    def end_us(self) -> int:  # type: ignore[override]
        index = self._index()
        return index.t_max - index.t_min + 1 if index.num_events else 0

    @property
    def warnings(self) -> tuple[str, ...]:  # type: ignore[override]
        return self._index().side.warnings()

    def stored_time_range(self) -> tuple[int, int]:
        return self._index().stored

    def summary(self) -> Summary:
        index = self._index()
        rows = index.rows[index.rows[:, kernels.COUNT] > 0]
        lowest = (int(rows[:, k].min(initial=2**31)) for k in (kernels.X_MIN, kernels.Y_MIN))
        highest = (int(rows[:, k].max(initial=-1)) for k in (kernels.X_MAX, kernels.Y_MAX))
        (x_min, y_min), (x_max, y_max) = lowest, highest
        return Summary(
            num_on=int(rows[:, kernels.NUM_ON].sum()),
            x_min=x_min, x_max=x_max, y_min=y_min, y_max=y_max,
            num_backward=index.num_backward,
            largest_backward_us=index.largest_step_us,
            elements=dict(index.side.elements),
        )  # fmt: skip

    def triggers(self) -> Triggers | None:
        return self._index().side.triggers(self.t_offset_us)

    def imu(self) -> ImuSamples | None:
        return self._index().side.imu(self.t_offset_us)

    def frames(self) -> GrayFrames | None:
        index = self._index()
        frames = [f for f in index.side.frames if f.camera == index.camera]
        if not frames:
            return None
        frames.sort(key=lambda frame: frame.t_us)
        t = np.array([frame.t_us for frame in frames], np.int64) - np.int64(index.t_min)
        return GrayFrames(t, _FrameLoader(self._reader, tuple(frame.ref for frame in frames)))

    # ---- events

    def _load(self, group: _Group) -> Events:
        """Events of a group, sorted, on the relative clock."""
        index = self._index()
        whole, columns, lost, done = Columns(group.count), Columns(), Side(), 0
        survey = _Survey(self._reader)
        height, width = index.sensor_size
        for k in range(group.first_block, group.end_block):
            n, _ = self._decode(index.checkpoints[k], columns, lost)
            t, x, y, p = survey.of_camera(columns, n, index.camera)
            n = kernels.keep_inside(t, x, y, p, width, height) if index.rows[k, kernels.OUTSIDE] else len(t)
            if n != index.rows[k, kernels.COUNT]:
                raise FormatError(f"{self.source}: the file has changed since it was opened.")
            for all_of_it, part in ((whole.t, t), (whole.x, x), (whole.y, y), (whole.p, p)):
                all_of_it[done : done + n] = part[:n]
            done += n
        order = np.argsort(whole.t, kind="stable") if group.sort else slice(None)
        t, x, y, p = whole.t[order], whole.x[order], whole.y[order], whole.p[order]
        t -= np.int64(index.t_min)
        return Events(t, x, y, p, index.sensor_size)

    def _group(self, g: int) -> Events:
        """As `_load`, remembering the last ones."""
        if g in self._cache:
            self._cache.move_to_end(g)
            return self._cache[g]
        events = self._load(self._index().groups[g])
        self._cache[g] = events
        while len(self._cache) > 1 and 13 * sum(map(len, self._cache.values())) > _CACHE_BYTES:
            self._cache.popitem(last=False)
        return events

    def read(self, i: int, j: int) -> Events:
        index = self._index()
        if j <= i:
            return Events.empty(index.sensor_size)
        first = int(np.searchsorted(index.starts, i, side="right")) - 1
        end = int(np.searchsorted(index.starts, j, side="left"))
        if end - first == 1:
            start = index.groups[first].start
            return self._group(first).slice(i - start, j - start)
        whole = Columns(j - i)
        for g in range(first, end):
            group = index.groups[g]
            a, b = max(i, group.start), min(j, group.start + group.count)
            part = (self._group(g) if end - first < 8 else self._load(group)).slice(
                a - group.start, b - group.start
            )
            for all_of_it, piece in (
                (whole.t, part.t), (whole.x, part.x), (whole.y, part.y), (whole.p, part.p),
            ):  # fmt: skip
                all_of_it[a - i : b - i] = piece
        return Events(whole.t, whole.x, whole.y, whole.p, index.sensor_size)

    def index_at(self, t_us: int) -> int:
        index = self._index()
        target = t_us + index.t_min
        g = int(np.searchsorted(index.ends_us, target, side="left"))
        if g == len(index.groups):
            return index.num_events
        return index.groups[g].start + int(np.searchsorted(self._group(g).t, t_us, side="left"))

    def blocks(self) -> Iterator[Events]:
        for group in self._index().groups:
            yield self._load(group)

    def read_raw(self) -> RawEvents:
        whole, n, _ = self._stored()
        camera = whole.camera[:n] if len(self.streams) > 1 else np.zeros(n, np.uint8)
        size = self._index().sensor_size
        return RawEvents(whole.t[:n], whole.x[:n], whole.y[:n], whole.p[:n], camera, size)

    def read_all(self) -> Events:
        if self._built is None or self._built.clean:
            whole, n, offset = self._stored(relative=True)
            index = self._index()
            if index.clean and offset == index.t_min:
                return Events(whole.t[:n], whole.x[:n], whole.y[:n], whole.p[:n], index.sensor_size)
        return self.read(0, self.num_events)

    def _stored(self, *, relative: bool = False) -> tuple[Columns, int, int]:
        """All events as they lie in the file, decoded straight into whole columns; indexes the file on the
        way.

        Returns:
            Columns, of which the first n places are filled; n; what was taken from all times (with
            `relative`, the first of them).
        """
        survey = _Survey(self._reader) if self._built is None else None
        side = survey.side if survey is not None else Side()
        whole, n, offset = Columns(), 0, 0
        at: Checkpoint | None = self._reader.first()
        while at is not None:
            if whole.capacity - n < BLOCK_EVENTS:
                # What has been read tells how long the rest will be, at first roughly; unused room is never
                # touched and costs nothing, too little costs a copy.
                share = max(self._reader.progress(at), 1e-4)
                room = int(n / share * (1.2 if share > 0.05 else 2.0))
                whole.grow(max(room, n + n // 4) + 2 * BLOCK_EVENTS, keep=n)
            part = whole.after(n)
            place = part.t
            count, following = self._decode(at, part, side)
            if survey is not None:
                survey.block(at, part, count)
            if relative and count:
                offset = offset if n else int(part.t[0])
                part.t[:count] -= np.int64(offset)
            if part.t is not place:  # a unit larger than a block made the reader grow its columns
                whole.put(n, part.t[:count], part.x[:count], part.y[:count], part.p[:count])
                whole.camera[n : n + count] = part.camera[:count]
            n += count
            at = following
        if survey is not None:
            self._built = _Index(self._reader, survey, self._stream)
        return whole, n, offset

    def close(self) -> None:
        self._cache.clear()
        self._reader.close()
