"""Constant-count frames: how often each pixel fired during a fixed number of events (DHP19, 2019)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import ShapeError
from eventhpe.events import kernels_grid as kernels
from eventhpe.events.types import Events


@dataclass(frozen=True, eq=False)
class CountFrame:
    """Events per pixel of one run of events.

    Attributes:
        counts: (H, W) int32, both polarities together.
        first_us: time of the first event.
        last_us: time of the last event (inclusive).
    """

    counts: NDArray[np.int32]
    first_us: int
    last_us: int


def count_frames(
    events: Events | Iterable[Events], num_events: int, *, keep_rest: bool = False
) -> Iterator[CountFrame]:
    """Frames of exactly `num_events` consecutive events each, whatever time they take.

    Args:
        events: all events, or blocks of them in order of time (`Recording.blocks()`: constant memory).
        num_events: events per frame.
        keep_rest: give the fewer events left over at the end as a last frame; by default they are left out.
    Yields:
        CountFrame k with events k * num_events .. (k + 1) * num_events - 1. Events of one timestamp may be
        divided between two frames (`Recording.windows("count")` keeps them together instead).
    Raises:
        ShapeError: num_events below 1, an event outside the sensor, or blocks of different sensors.
    """
    if int(num_events) != num_events or num_events < 1:
        raise ShapeError(f"num_events must be a whole number >= 1; got {num_events!r}.")
    return _frames([events] if isinstance(events, Events) else events, int(num_events), keep_rest)


def _frames(blocks: Iterable[Events], num_events: int, keep_rest: bool) -> Iterator[CountFrame]:
    counts, held, first_us, last_us = np.zeros((0, 0), np.int32), 0, 0, 0
    for block in blocks:
        if held and counts.shape != block.sensor_size:
            raise ShapeError(
                f"all blocks need one sensor size; got {counts.shape}, then {block.sensor_size}."
            )
        i = 0
        while i < len(block):
            if not held:
                counts, first_us = np.zeros(block.sensor_size, np.int32), int(block.t[i])
            j = min(len(block), i + num_events - held)
            part = block.slice(i, j)
            if kernels.count_signed(part.x, part.y, part.p, counts, False) < j - i:
                raise ShapeError(
                    f"an event lies outside the sensor (H, W) = {block.sensor_size}; build events with "
                    "Events.from_columns to check them."
                )
            held, i, last_us = held + j - i, j, int(block.t[j - 1])
            if held == num_events:
                yield CountFrame(counts, first_us, last_us)
                held = 0
    if held and keep_rest:
        yield CountFrame(counts, first_us, last_us)


def three_sigma(counts: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Counts scaled to 0..255 as DHP19 stores them.

    Args:
        counts: (H, W) integers >= 0.
    Returns:
        (H, W) uint8: floor(min(255, 255 c / (3 s))); s is the standard deviation of the counts above zero
        (divided by N - 1), at least 0.1 / 255. The mean is not subtracted, so 0 stays 0.
    """
    if not np.issubdtype(counts.dtype, np.integer):
        raise ShapeError(f"counts must be integers; got {counts.dtype}.")
    fired = counts[counts > 0]
    sigma = max(float(fired.std(ddof=1)) if fired.size > 1 else 0.0, 0.1 / 255)
    return np.minimum(255.0, np.floor(counts * 255.0 / (3 * sigma))).clip(0).astype(np.uint8)
