"""What a sensor's output does to its events: a limit on their rate, and time stamps in steps."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from eventhpe.events.kernels_readout import FRACTION_BITS, leave
from eventhpe.events.sensor import SensorModel
from eventhpe.events.types import Events


class Readout:
    """First come, first served: events leave one by one, carry the time at which they leave, and may be lost.

    At most `readout_mev_per_s` events leave per µs. An event that finds others before it waits; when it
    would wait longer than `readout_wait_us`, it is lost. Time stamps are rounded up to multiples of
    `timestamp_step_us`. No more events are kept back than leave within the longest wait and one step.

    Args:
        sensor: the sensor's properties.
        size: (H, W).
    """

    def __init__(self, sensor: SensorModel, size: tuple[int, int]) -> None:
        limit = sensor.readout_mev_per_s
        self._gap = math.ceil((1 << FRACTION_BITS) / limit) if limit > 0 else 0
        self._wait, self._step = int(sensor.readout_wait_us), max(1, int(sensor.timestamp_step_us))
        self._free = -(2**62)
        self._size = size
        self._waiting = no_events(size)
        self._num_lost = 0

    @property
    def is_open(self) -> bool:
        """True when events pass as they are."""
        return self._gap == 0 and self._step == 1

    @property
    def num_waiting(self) -> int:
        """Events that have not left yet."""
        return len(self._waiting)

    @property
    def num_lost(self) -> int:
        """Events lost so far."""
        return self._num_lost

    def pass_on(self, events: Events, until_us: int) -> Events:
        """Take in events and hand out those that leave before `until_us`.

        Args:
            events: none earlier than the last of those before.
            until_us: no later event comes with a time before it.
        Returns:
            Events ordered by the times at which they leave, none of them before the last one handed out.
        """
        leaves, kept = np.empty(len(events), np.int64), np.empty(len(events), np.int64)
        n, self._free = leave(events.t, self._gap, self._wait, self._step, self._free, leaves, kept)
        self._num_lost += len(events) - n
        kept, before = kept[:n], self._waiting
        t = np.concatenate([before.t, leaves[:n]])
        x, y, p = (
            np.concatenate([old, new[kept]])
            for old, new in ((before.x, events.x), (before.y, events.y), (before.p, events.p))
        )
        ready = int(np.searchsorted(t, until_us))
        # a copy, so that what has left does not stay in memory with what has not
        self._waiting = self._events(t[ready:].copy(), x[ready:].copy(), y[ready:].copy(), p[ready:].copy())
        return self._events(t[:ready], x[:ready], y[:ready], p[:ready])

    def flush(self) -> Events:
        """Hand out all that waits."""
        out, self._waiting = self._waiting, no_events(self._size)
        return out

    def _events(
        self, t: NDArray[np.int64], x: NDArray[np.uint16], y: NDArray[np.uint16], p: NDArray[np.uint8]
    ) -> Events:
        return Events(t=t, x=x, y=y, p=p, sensor_size=self._size)


def no_events(size: tuple[int, int]) -> Events:
    """An empty Events of a sensor of (H, W)."""
    place = np.zeros(0, np.uint16)
    return Events(np.zeros(0, np.int64), place, place, np.zeros(0, np.uint8), size)
