"""Filters that remove events which the scene did not cause."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import UnitError
from eventhpe.events import kernels_filter as kernels
from eventhpe.events.frames import count_frame
from eventhpe.events.types import Events


@dataclass(frozen=True, eq=False)
class FilterResult:
    """What `hot_pixels` kept and removed.

    Attributes:
        events: the kept events, in order.
        num_removed: events taken away.
        keep: (N,) bool over the input events.
        pixels: (K, 2) int64 (y, x) of the pixels removed.
    """

    events: Events
    num_removed: int
    keep: NDArray[np.bool_]
    pixels: NDArray[np.int64]


def select(events: Events, keep: NDArray[np.bool_]) -> Events:
    """The events where keep (N,) is True."""
    return Events(events.t[keep], events.x[keep], events.y[keep], events.p[keep], events.sensor_size)


def background_activity(events: Events, dt_us: int) -> Events:
    """Keep events that a neighbour supports: one of the eight pixels around fired at most dt_us earlier.

    The pixel itself does not count, so a flickering pixel does not support itself (Delbruck 2008).

    Args:
        events: N events in time order.
        dt_us: support time, > 0; 2000 to 70000 µs are usual.
    """
    if dt_us <= 0:
        raise UnitError(f"dt_us must be > 0 µs; got {dt_us}.")
    height, width = events.sensor_size
    last = np.full((height + 2, width + 2), np.iinfo(np.int64).min, np.int64)
    keep = np.zeros(len(events), np.bool_)
    kernels.background_activity(events.t, events.x, events.y, int(dt_us), last, keep)
    return select(events, keep)


def hot_pixel_mask(
    counts: NDArray[np.integer], *, factor: float = 10.0, min_count: int = 20
) -> NDArray[np.bool_]:
    """Pixels that fire far more often than the sensor and than their own surroundings.

    A pixel is hot if its count is at least min_count and larger than factor times both the median
    count of active pixels and the median count of its eight neighbours (taken as at least one). The second
    condition spares busy regions, where neighbours are busy too; two adjacent hot pixels are still found.

    Args:
        counts: (H, W) events per pixel; of some seconds, so that counts mean something.
        factor: how many times the medians, > 1.
        min_count: counts below are never hot.
    Returns:
        (H, W) bool.
    """
    if factor <= 1:
        raise UnitError(f"factor must be > 1; got {factor}.")
    active = counts[counts > 0]
    usual = float(np.median(active)) if active.size else 0.0
    suspect = (counts >= min_count) & (counts > factor * usual)
    around = np.zeros(counts.shape, np.float64)
    kernels.neighbour_medians(counts, suspect, around)
    return suspect & (counts > factor * np.maximum(around, 1.0))


def hot_pixels(events: Events, *, factor: float = 10.0, min_count: int = 20) -> FilterResult:
    """Remove the events of hot pixels (arguments and rule: `hot_pixel_mask`)."""
    hot = hot_pixel_mask(count_frame(events), factor=factor, min_count=min_count)
    keep = ~hot[events.y, events.x]
    kept = select(events, keep)
    return FilterResult(kept, len(events) - len(kept), keep, np.argwhere(hot).astype(np.int64))
