"""Numba kernels that accumulate events into grids. Callers check shapes; kernels check every event.

Every kernel returns the number of events it could use; the rest lies outside the sensor or the window.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]


@njit(cache=True, nogil=True)
def count_signed(x: Array, y: Array, p: Array, frame: Array, signed: bool) -> int:
    """Add 1 (or the signed polarity) per event to frame (H, W)."""
    height, width = frame.shape
    used = 0
    for i in range(x.shape[0]):
        if x[i] < width and y[i] < height:
            frame[y[i], x[i]] += 1 if p[i] or not signed else -1
            used += 1
    return used


@njit(cache=True, nogil=True)
def bin_polarity_counts(x: Array, y: Array, p: Array, starts: Array, out: Array) -> int:
    """Add 1 to out[2 b + p, y, x] for events starts[b]..starts[b+1]-1; out (2 B, H, W)."""
    height, width = out.shape[1], out.shape[2]
    used = 0
    for b in range(starts.shape[0] - 1):
        for i in range(starts[b], starts[b + 1]):
            if x[i] < width and y[i] < height:
                out[2 * b + (1 if p[i] else 0), y[i], x[i]] += 1
                used += 1
    return used


@njit(cache=True, nogil=True)
def bin_occupancy(x: Array, y: Array, starts: Array, out: Array) -> int:
    """Set out[b, y, x] = 1 for events starts[b]..starts[b+1]-1; out (B, H, W)."""
    height, width = out.shape[1], out.shape[2]
    used = 0
    for b in range(starts.shape[0] - 1):
        for i in range(starts[b], starts[b + 1]):
            if x[i] < width and y[i] < height:
                out[b, y[i], x[i]] = 1
                used += 1
    return used


@njit(cache=True, nogil=True)
def last_times(t: Array, x: Array, y: Array, p: Array, t0: int, t1: int, out: Array) -> int:
    """Set out[p, y, x] = (t - t0) / (t1 - t0) of the last event; out (2, H, W) float32."""
    height, width = out.shape[1], out.shape[2]
    length = float(t1 - t0)
    below_one = np.float32(1.0) - np.float32(2.0**-24)
    used = 0
    for i in range(x.shape[0]):
        if x[i] < width and y[i] < height:
            # Rounding to float32 must not turn a time before t1 into 1.
            out[1 if p[i] else 0, y[i], x[i]] = min(np.float32((t[i] - t0) / length), below_one)
            used += 1
    return used


@njit(cache=True, nogil=True)
def axis_table(
    pixels: int, start: float, side: float, cells: int, first: Array, count: Array, weight: Array
) -> None:
    """Where each pixel of one sensor axis falls among the output cells.

    Pixel k covers [k, k + 1); it belongs to the crop if its centre k + 0.5 is inside [start, start + side).
    first, count: (pixels,) first cell and number of cells (0 = outside); weight: (pixels, K), sums to 1.
    """
    scale = cells / side
    for k in range(pixels):
        count[k] = 0
        centre = k + 0.5 - start
        if not 0.0 <= centre < side:
            continue
        if scale <= 1.0:
            first[k] = min(int(centre * scale), cells - 1)
            count[k] = 1
            weight[k, 0] = 1.0
            continue
        lo: float = max(0.0, (k - start) * scale)
        hi: float = min(1.0 * cells, (k + 1 - start) * scale)
        a = int(np.floor(lo + 1e-6))  # a sliver of a cell from rounding does not count
        b = min(int(np.ceil(hi - 1e-6)), cells)
        first[k] = a
        count[k] = b - a
        for c in range(a, b):
            weight[k, c - a] = (min(hi, c + 1.0) - max(lo, 1.0 * c)) / (hi - lo)


@njit(cache=True, nogil=True)
def crop_polarity_counts(
    x: Array,
    y: Array,
    p: Array,
    starts: Array,
    first_x: Array,
    count_x: Array,
    weight_x: Array,
    first_y: Array,
    count_y: Array,
    weight_y: Array,
    out: Array,
) -> int:
    """Spread unit weight per event over out (2 B, out, out); returns the number of events inside the crop."""
    width, height = first_x.shape[0], first_y.shape[0]
    single = weight_x.shape[1] == 1
    used = 0
    for b in range(starts.shape[0] - 1):
        for i in range(starts[b], starts[b + 1]):
            column, row = x[i], y[i]
            if column >= width or row >= height:
                continue
            nx, ny = count_x[column], count_y[row]
            if nx == 0 or ny == 0:
                continue
            used += 1
            channel = 2 * b + (1 if p[i] else 0)
            cx, cy = first_x[column], first_y[row]
            if single:
                out[channel, cy, cx] += np.float32(1.0)
                continue
            for j in range(ny):
                w = weight_y[row, j]
                for k in range(nx):
                    out[channel, cy + j, cx + k] += w * weight_x[column, k]
    return used


@njit(cache=True, nogil=True)
def crop_occupancy(
    x: Array,
    y: Array,
    starts: Array,
    first_x: Array,
    count_x: Array,
    first_y: Array,
    count_y: Array,
    out: Array,
) -> int:
    """Set every cell that an event's pixel covers in out (B, out, out)."""
    width, height = first_x.shape[0], first_y.shape[0]
    used = 0
    for b in range(starts.shape[0] - 1):
        for i in range(starts[b], starts[b + 1]):
            column, row = x[i], y[i]
            if column >= width or row >= height:
                continue
            nx, ny = count_x[column], count_y[row]
            if nx == 0 or ny == 0:
                continue
            used += 1
            cx, cy = first_x[column], first_y[row]
            for j in range(ny):
                for k in range(nx):
                    out[b, cy + j, cx + k] = np.float32(1.0)
    return used
