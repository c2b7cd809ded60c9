"""Recordings over events that are in memory."""

from __future__ import annotations

import numpy as np

from eventhpe.events.kernels_columns import check_columns
from eventhpe.events.recording import Backend, check_span
from eventhpe.events.types import Events, RawEvents


class MemoryBackend(Backend):
    """Events on the relative clock; sorts, drops what lies outside the sensor, and says so in `warnings`."""

    def __init__(self, events: Events, *, t_offset_us: int, source: str) -> None:
        self.format = "memory"
        self.source = source
        self.sensor_size = events.sensor_size
        self.streams = ("events",)
        self.t_offset_us = t_offset_us
        self._stored = events
        t, x, y, p = events.t, events.x, events.y, events.p
        height, width = events.sensor_size
        backward, outside, _ = check_columns(t, x, y, p, width, height)
        notes = []
        if outside:
            keep = (x < width) & (y < height)
            t, x, y, p = t[keep], x[keep], y[keep], p[keep]
            notes.append(f"{outside:,} events outside the {width}x{height} sensor dropped")
        if backward:
            order = np.argsort(t, kind="stable")
            t, x, y, p = t[order], x[order], y[order], p[order]
            notes.append(f"time goes backwards at {backward:,} events; read() gives them sorted")
        if len(t):
            check_span(source, int(t[0]), int(t[-1]))
        self._events = Events(t, x, y, p, events.sensor_size)
        self.num_events = len(t)
        self.end_us = int(t[-1]) + 1 if len(t) else 0
        self.warnings = tuple(notes)

    def read(self, i: int, j: int) -> Events:
        return self._events.slice(i, j)

    def read_raw(self) -> RawEvents:
        e = self._stored
        camera = np.zeros(len(e), np.uint8)
        return RawEvents(e.t + np.int64(self.t_offset_us), e.x, e.y, e.p, camera, e.sensor_size)

    def index_at(self, t_us: int) -> int:
        return int(np.searchsorted(self._events.t, t_us, side="left"))

    def stored_time_range(self) -> tuple[int, int]:
        t = self._stored.t
        return int(t[0]) + self.t_offset_us, int(t[-1]) + self.t_offset_us
