"""Recordings that are held in memory after decoding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import FormatError
from eventhpe.events.kernels_decode import count_backward, count_outside
from eventhpe.events.recording import Backend
from eventhpe.events.types import Events, GrayFrames, RawEvents, Triggers

_LONGEST_US = 100 * 366 * 24 * 3600 * 1_000_000


class MemoryBackend(Backend):
    """Columns of a whole file; sorts, drops what lies outside the sensor, and says so in `warnings`.

    Args:
        raw: all events as stored.
        camera: the camera of `raw` to show; None shows all.
        t_offset_us: time zero on the file's clock; None puts it at the earliest event.
        triggers: absolute times and values (1 rising, 0 falling, 2 pulse).
        frames: absolute times and a loader.
    """

    def __init__(
        self,
        file_format: str,
        source: str,
        raw: RawEvents,
        *,
        camera: int | None = None,
        t_offset_us: int | None = None,
        streams: tuple[str, ...] = ("events",),
        warnings: tuple[str, ...] = (),
        triggers: tuple[NDArray[np.int64], NDArray[np.uint8]] | None = None,
        frames: tuple[NDArray[np.int64], Callable[[int], NDArray[np.uint8]]] | None = None,
    ) -> None:
        self.format = file_format
        self.source = source
        self.sensor_size = raw.sensor_size
        self.streams = streams
        self._raw = raw
        notes = list(warnings)
        t, x, y, p = raw.t, raw.x, raw.y, raw.p
        height, width = raw.sensor_size
        keep: NDArray[np.bool_] | None = None
        if camera is not None:
            keep = raw.camera == camera
        if count_outside(x, y, width, height):
            inside = (x < width) & (y < height)
            dropped = np.count_nonzero(~inside if keep is None else ~inside & keep)
            keep = inside if keep is None else keep & inside
            if dropped:
                notes.append(f"{dropped:,} events outside the {width}x{height} sensor dropped")
        if keep is not None:
            t, x, y, p = t[keep], x[keep], y[keep], p[keep]
        self._stored_range = (int(t[0]), int(t[-1])) if len(t) else (0, 0)
        backward = count_backward(t)
        if backward:
            order = np.argsort(t, kind="stable")
            t, x, y, p = t[order], x[order], y[order], p[order]
            notes.append(f"time goes backwards at {backward:,} events; read() gives them sorted")
        if len(t) and int(t[-1]) - int(t[0]) > _LONGEST_US:
            raise FormatError(
                f"{source}: event times span {t[0]}..{t[-1]} µs, more than a century; the file is damaged "
                "or the times are not in microseconds."
            )
        self._t, self._x, self._y, self._p = t, x, y, p
        self.num_events = len(t)
        if t_offset_us is None:
            t_offset_us = int(t[0]) if len(t) else 0
        self.t_offset_us = t_offset_us
        self.end_us = int(t[-1]) - t_offset_us + 1 if len(t) else 0
        self.warnings = tuple(notes)
        self._triggers = triggers
        self._frames = frames

    def read(self, i: int, j: int) -> Events:
        return Events(
            self._t[i:j] - np.int64(self.t_offset_us),
            self._x[i:j],
            self._y[i:j],
            self._p[i:j],
            self.sensor_size,
        )

    def read_raw(self) -> RawEvents:
        return self._raw

    def index_at(self, t_us: int) -> int:
        return int(np.searchsorted(self._t, t_us + self.t_offset_us, side="left"))

    def stored_time_range(self) -> tuple[int, int]:
        return self._stored_range

    def triggers(self) -> Triggers | None:
        if self._triggers is None:
            return None
        return Triggers(self._triggers[0] - np.int64(self.t_offset_us), self._triggers[1])

    def frames(self) -> GrayFrames | None:
        if self._frames is None:
            return None
        return GrayFrames(self._frames[0] - np.int64(self.t_offset_us), self._frames[1])
