"""What one pass over a file finds out: where its blocks begin, how they lie in time, what is beside the
events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.events import kernels_columns as kernels
from eventhpe.events.blocks import BLOCK_EVENTS, BlockReader, Checkpoint, Columns, Side
from eventhpe.events.recording import LONGEST_US, check_span

#: Before every time that a file may hold.
START = -(2**62)
# 65535 marks a coordinate that no uint16 can hold; a sensor whose size is not told ends below it.
_WIDEST = 65535


@dataclass(frozen=True)
class Group:
    """Neighbouring blocks whose times overlap (mostly one block): sorted together, read together."""

    first_block: int
    end_block: int
    start: int  # index of its first event
    count: int
    t_max: int
    sort: bool


class Survey:
    """Grows by one row per block and camera while a pass goes on."""

    def __init__(self, reader: BlockReader) -> None:
        self.side = Side()
        self.checkpoints: list[Checkpoint] = []
        self._rows: list[NDArray[np.int64]] = []
        self._sizes = [size or (_WIDEST, _WIDEST) for size in stream_sizes(reader)]
        self._last = [START] * len(self._sizes)
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


class StreamIndex:
    """What a complete pass found out: where blocks begin, how they lie in time, what is beside the events."""

    def __init__(self, reader: BlockReader, survey: Survey, stream: int | None) -> None:
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


def _groups(rows: NDArray[np.int64]) -> list[Group]:
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
            Group(int(filled[begin]), int(filled[end - 1]) + 1, start, count, int(latest[end - 1]), sort)
        )
        begin, start = end, start + count
    return groups
