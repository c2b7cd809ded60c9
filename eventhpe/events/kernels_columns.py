"""Numba kernels over event columns, whatever file they come from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

# Fields of a survey row (int64): what one block holds of one camera.
COUNT = 0  # events inside the sensor; the fields below describe these
T_FIRST = 1  # in stored order
T_LAST = 2
T_MIN = 3
T_MAX = 4
BACKWARD = 5  # events earlier than the event of this camera before them
BACK_STEP = 6  # the largest such step, µs
NUM_ON = 7
X_MIN = 8
X_MAX = 9
Y_MIN = 10
Y_MAX = 11
OUTSIDE = 12  # events outside the sensor
SURVEY_SIZE = 13

_FAR = np.int64(2**62)


@njit(cache=True, nogil=True)
def survey(t: Array, x: Array, y: Array, p: Array, width: int, height: int, last: int, row: Array) -> None:
    """Describe the events of one camera in `row` (SURVEY_SIZE,); `last` is the time before the first one."""
    n = t.shape[0]
    row[:] = 0
    row[T_MIN], row[T_MAX], row[X_MIN], row[Y_MIN], row[X_MAX], row[Y_MAX] = _FAR, -_FAR, _FAR, _FAR, -1, -1
    if n == 0:
        return
    # One loop per column: each becomes a vector reduction over data that is in the cache.
    x_min, x_max, y_min, y_max = x[0], x[0], y[0], y[0]
    for i in range(n):
        x_min, x_max = min(x_min, x[i]), max(x_max, x[i])
    for i in range(n):
        y_min, y_max = min(y_min, y[i]), max(y_max, y[i])
    if x_max >= width or y_max >= height:
        _survey_inside(t, x, y, p, width, height, last, row)
        return
    on = 0
    for i in range(n):
        on += p[i]
    backward = 1 if t[0] < last else 0
    for i in range(1, n):
        backward += 1 if t[i] < t[i - 1] else 0
    row[COUNT], row[NUM_ON] = n, on
    row[X_MIN], row[X_MAX], row[Y_MIN], row[Y_MAX] = x_min, x_max, y_min, y_max
    row[T_FIRST], row[T_LAST] = t[0], t[n - 1]
    row[T_MIN], row[T_MAX] = t[0], t[n - 1]
    if backward:
        row[BACKWARD] = backward
        for i in range(n):
            row[BACK_STEP] = max(row[BACK_STEP], last - t[i])
            last = t[i]
            row[T_MIN], row[T_MAX] = min(row[T_MIN], t[i]), max(row[T_MAX], t[i])


@njit(cache=True, nogil=True)
def _survey_inside(
    t: Array, x: Array, y: Array, p: Array, width: int, height: int, last: int, row: Array
) -> None:
    """As `survey`, for blocks with events outside the sensor."""
    for i in range(t.shape[0]):
        if x[i] >= width or y[i] >= height:
            row[OUTSIDE] += 1
            continue
        if row[COUNT] == 0:
            row[T_FIRST] = t[i]
        if t[i] < last:
            row[BACKWARD] += 1
            row[BACK_STEP] = max(row[BACK_STEP], last - t[i])
        last = t[i]
        row[COUNT] += 1
        row[NUM_ON] += p[i]
        row[T_LAST] = t[i]
        row[T_MIN], row[T_MAX] = min(row[T_MIN], t[i]), max(row[T_MAX], t[i])
        row[X_MIN], row[X_MAX] = min(row[X_MIN], np.int64(x[i])), max(row[X_MAX], np.int64(x[i]))
        row[Y_MIN], row[Y_MAX] = min(row[Y_MIN], np.int64(y[i])), max(row[Y_MAX], np.int64(y[i]))


@njit(cache=True, nogil=True)
def keep_inside(t: Array, x: Array, y: Array, p: Array, width: int, height: int) -> int:
    """Move the events inside the sensor to the front of the columns; returns their number."""
    n = 0
    for i in range(t.shape[0]):
        if x[i] < width and y[i] < height:
            t[n], x[n], y[n], p[n] = t[i], x[i], y[i], p[i]
            n += 1
    return n


@njit(cache=True, nogil=True)
def keep_camera(
    t: Array, x: Array, y: Array, p: Array, camera: Array, chosen: int,
    t_out: Array, x_out: Array, y_out: Array, p_out: Array,
) -> int:  # fmt: skip
    """Copy the events of one camera; returns their number."""
    n = 0
    for i in range(t.shape[0]):
        if camera[i] == chosen:
            t_out[n], x_out[n], y_out[n], p_out[n] = t[i], x[i], y[i], p[i]
            n += 1
    return n


@njit(cache=True, nogil=True)
def check_columns(t: Array, x: Array, y: Array, p: Array, width: int, height: int) -> tuple[int, int, int]:
    """Counts of (times that decrease, pixels outside the sensor, polarities above 1)."""
    n = t.shape[0]
    backward = 0
    outside = 0
    bad = 0
    if n == 0:
        return backward, outside, bad
    # One loop per column, in its own type: vector instructions. Counting waits until something is wrong.
    right, low, largest = x[0], y[0], p[0]
    for i in range(1, n):
        backward += 1 if t[i] < t[i - 1] else 0
    for i in range(n):
        right = max(right, x[i])
    for i in range(n):
        low = max(low, y[i])
    for i in range(n):
        largest = max(largest, p[i])
    if right >= width or low >= height:
        for i in range(n):
            outside += 1 if (x[i] >= width) | (y[i] >= height) else 0
    if largest > 1:
        for i in range(n):
            bad += 1 if p[i] > 1 else 0
    return backward, outside, bad
