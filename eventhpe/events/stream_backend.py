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
from eventhpe.events.recording import Backend, OutOfOrderError, Summary, check_span, check_stream
from eventhpe.events.stream_index import START, Group, StreamIndex, Survey, stream_sizes
from eventhpe.events.types import Events, GrayFrames, ImuSamples, RawEvents, Triggers

_CACHE_BYTES = 64 << 20
# Events that `once` hands over together: writing them costs a call per column.
_ONCE_EVENTS = 4 * BLOCK_EVENTS


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
        self._built: StreamIndex | None = None
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

    def _index(self) -> StreamIndex:
        if self._built is None:
            survey, columns = Survey(self._reader), Columns()
            at: Checkpoint | None = self._reader.first()
            while at is not None:
                n, following = self._decode(at, columns, survey.side)
                survey.block(at, columns, n)
                at = following
            self._built = StreamIndex(self._reader, survey, self._stream)
        return self._built

    def once(self) -> Iterator[tuple[int, Events]]:
        size = self._size_of_stream()
        if self._built is not None or self._stream is None or size is None:
            yield from super().once()
            return
        survey, ring = Survey(self._reader), [Columns(_ONCE_EVENTS + BLOCK_EVENTS) for _ in range(4)]
        at: Checkpoint | None = self._reader.first()
        offset, latest, n = 0, START, 0
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
                if latest == START:
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
        self._built = StreamIndex(self._reader, survey, self._stream)

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

    def _load(self, group: Group) -> Events:
        """Events of a group, sorted, on the relative clock."""
        index = self._index()
        whole, columns, lost, done = Columns(group.count), Columns(), Side(), 0
        survey = Survey(self._reader)
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
        survey = Survey(self._reader) if self._built is None else None
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
            self._built = StreamIndex(self._reader, survey, self._stream)
        return whole, n, offset

    def close(self) -> None:
        self._cache.clear()
        self._reader.close()
