"""Event frames: counts, signed sums and binary occupancy, over the sensor or over a square crop."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import ShapeError
from eventhpe.events import kernels_grid as kernels
from eventhpe.events.types import Events
from eventhpe.events.voxel import check_bins, check_inside, check_window, output_array


def count_frame(events: Events) -> NDArray[np.int32]:
    """(H, W) int32 number of events per pixel."""
    frame = np.zeros(events.sensor_size, np.int32)
    kernels.count_signed(events.x, events.y, events.p, frame, False)
    return frame


def polarity_frame(events: Events) -> NDArray[np.int32]:
    """(H, W) int32 ON events minus OFF events per pixel."""
    frame = np.zeros(events.sensor_size, np.int32)
    kernels.count_signed(events.x, events.y, events.p, frame, True)
    return frame


def _bin_starts(events: Events, num_bins: int, t0_us: int, t1_us: int) -> NDArray[np.int64]:
    """(B + 1,) first event of each equal half-open bin; event t is in bin floor((t - t0) B / (t1 - t0))."""
    t0_us, t1_us = check_window(t0_us, t1_us)
    bins = check_bins(num_bins)
    check_inside(events, t0_us, t1_us)
    length = t1_us - t0_us
    borders = [t0_us + -(-b * length // bins) for b in range(bins + 1)]
    return np.searchsorted(events.t, np.array(borders, np.int64), side="left")


def polarity_counts(
    events: Events, num_bins: int, *, t0_us: int, t1_us: int, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Events per pixel, polarity and time bin.

    Args:
        events: N events inside [t0_us, t1_us); may be empty.
        num_bins: B equal half-open bins.
        out: (2 B, H, W) float32 to reuse.
    Returns:
        (2 B, H, W) float32; channels bin 0 OFF, bin 0 ON, bin 1 OFF, ...
    """
    starts = _bin_starts(events, num_bins, t0_us, t1_us)
    grid = output_array(out, (2 * num_bins, *events.sensor_size))
    kernels.bin_polarity_counts(events.x, events.y, events.p, starts, grid)
    return grid


def binary_bins(
    events: Events, t0_us: int, t1_us: int, num_bins: int = 8, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """EventHPE's event frame: in which bins did a pixel fire at all; polarity dropped, time ascending.

    Args:
        events: N events inside [t0_us, t1_us); may be empty.
        num_bins: 8 = two halves of four equal bins.
        out: (B, H, W) float32 to reuse.
    Returns:
        (B, H, W) float32 of 0 and 1.
    """
    starts = _bin_starts(events, num_bins, t0_us, t1_us)
    grid = output_array(out, (num_bins, *events.sensor_size))
    kernels.bin_occupancy(events.x, events.y, starts, grid)
    return grid


def _axis(
    pixels: int, start: float, side: float, cells: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    widest = 1 if cells <= side else math.ceil(cells / side) + 1
    first, count = np.zeros(pixels, np.int64), np.zeros(pixels, np.int64)
    weight = np.zeros((pixels, widest), np.float32)
    kernels.axis_table(pixels, start, side, cells, first, count, weight)
    return first, count, weight


def _crop_axes(
    events: Events, left: float, top: float, side: float, out_px: int
) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]], ...]:
    if int(out_px) != out_px or out_px < 1:
        raise ShapeError(f"out_px must be a whole number >= 1; got {out_px!r}.")
    if not (math.isfinite(left) and math.isfinite(top) and math.isfinite(side) and side > 0):
        raise ShapeError(
            f"a crop needs finite left, top and side > 0 in pixels; got left={left}, top={top}, side={side}."
        )
    height, width = events.sensor_size
    return _axis(width, float(left), float(side), int(out_px)), _axis(
        height, float(top), float(side), int(out_px)
    )


def crop_counts(
    events: Events,
    *,
    t0_us: int,
    t1_us: int,
    left: float,
    top: float,
    side: float,
    out_px: int,
    num_bins: int,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Events of a square crop per output cell, polarity and time bin; every event inside adds exactly 1.

    Args:
        events: N events inside [t0_us, t1_us); may be empty.
        left, top, side: square [left, left + side) x [top, top + side) in pixel-edge coordinates (pixel x
            covers [x, x + 1)); it may reach over the sensor's border.
        out_px: output cells per side.
        num_bins: B equal half-open bins.
        out: (2 B, out_px, out_px) float32 to reuse.
    Returns:
        (2 B, out_px, out_px) float32; channels bin 0 OFF, bin 0 ON, bin 1 OFF, ...
    Convention:
        An event belongs to the crop if its pixel centre does. Shrinking (side >= out_px) adds 1 to the cell
        that holds the centre; enlarging spreads the 1 evenly over the area its pixel covers inside the crop.
    """
    starts = _bin_starts(events, num_bins, t0_us, t1_us)
    (first_x, count_x, weight_x), (first_y, count_y, weight_y) = _crop_axes(events, left, top, side, out_px)
    grid = output_array(out, (2 * num_bins, out_px, out_px))
    kernels.crop_polarity_counts(
        events.x, events.y, events.p, starts, first_x, count_x, weight_x, first_y, count_y, weight_y, grid
    )
    return grid


def crop_binary(
    events: Events,
    *,
    t0_us: int,
    t1_us: int,
    left: float,
    top: float,
    side: float,
    out_px: int,
    num_bins: int,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Occupancy of a square crop, both polarities together: 1 in every cell that an event's pixel covers.

    Arguments and geometry as in `crop_counts`; returns (B, out_px, out_px) float32 of 0 and 1.
    """
    starts = _bin_starts(events, num_bins, t0_us, t1_us)
    (first_x, count_x, _), (first_y, count_y, _) = _crop_axes(events, left, top, side, out_px)
    grid = output_array(out, (num_bins, out_px, out_px))
    kernels.crop_occupancy(events.x, events.y, starts, first_x, count_x, first_y, count_y, grid)
    return grid
