"""Numba kernels of the event filters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]


@njit(cache=True, nogil=True)
def background_activity(t: Array, x: Array, y: Array, dt: int, last: Array, keep: Array) -> int:
    """keep[i] = one of the eight neighbours fired within dt before event i.

    last: (H + 2, W + 2) int64 time of the last event per pixel with a one-pixel border, updated.
    """
    height, width = last.shape[0] - 2, last.shape[1] - 2
    kept = 0
    for i in range(t.shape[0]):
        keep[i] = False
        if x[i] >= width or y[i] >= height:
            continue
        row, column = np.int64(y[i]) + 1, np.int64(x[i]) + 1
        since = t[i] - dt
        if (
            last[row - 1, column - 1] >= since
            or last[row - 1, column] >= since
            or last[row - 1, column + 1] >= since
            or last[row, column - 1] >= since
            or last[row, column + 1] >= since
            or last[row + 1, column - 1] >= since
            or last[row + 1, column] >= since
            or last[row + 1, column + 1] >= since
        ):
            keep[i] = True
            kept += 1
        last[row, column] = t[i]
    return kept


@njit(cache=True, nogil=True)
def neighbour_medians(counts: Array, wanted: Array, medians: Array) -> None:
    """medians (H, W) = median of the existing neighbours (up to eight) of each wanted pixel of counts (H,
    W)."""
    height, width = counts.shape
    values = np.empty(8, np.float64)
    for row in range(height):
        for column in range(width):
            if not wanted[row, column]:
                continue
            n = 0
            for dy in range(-1, 2):
                for dx in range(-1, 2):
                    inside = 0 <= row + dy < height and 0 <= column + dx < width
                    if inside and (dy != 0 or dx != 0):
                        values[n] = counts[row + dy, column + dx]
                        n += 1
            medians[row, column] = np.median(values[:n]) if n else 0.0


@njit(cache=True, nogil=True)
def refractory(t: Array, x: Array, y: Array, dead_us: int, last: Array, keep: Array) -> int:
    """keep[i] = the pixel has been silent for dead_us since its last kept event.

    last: (H, W) int64 time of the last kept event per pixel, updated.
    """
    height, width = last.shape
    kept = 0
    for i in range(t.shape[0]):
        keep[i] = False
        if x[i] < width and y[i] < height and t[i] - last[y[i], x[i]] >= dead_us:
            keep[i] = True
            last[y[i], x[i]] = t[i]
            kept += 1
    return kept
