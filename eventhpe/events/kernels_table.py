"""Numba kernels for event columns that are stored as floats, or as rows of one table.

The loops hold no branch on the data: signs and last digits of real events cannot be predicted. So they only
count what is wrong, and the caller looks for it when there is something.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

#: Marks a pixel outside every sensor.
OUTSIDE = 65535

_RUN = 1024


@njit(cache=True, nogil=True)
def times_from_floats(values: Array, multiplier: int, largest: int, out: Array) -> int:
    """Times in µs to the nearest integer: values (n,) floats, multiplier µs each -> out (n,) int64.

    Whole and fractional part are scaled apart, so that seconds since 1970 keep every bit they have.
    Returns how many are not finite or beyond ±largest µs.
    """
    bad = 0
    scale = np.float64(multiplier)
    limit = np.float64(largest) / scale
    for i in range(values.shape[0]):
        value = np.float64(values[i])
        fits = (value >= -limit) & (value <= limit)
        bad += not fits
        value = value if fits else np.float64(0.0)
        whole = np.floor(value)
        out[i] = np.int64(whole) * multiplier + np.int64(np.floor((value - whole) * scale + 0.5))
    return bad


@njit(cache=True, nogil=True)
def pixels_from_floats(values: Array, out: Array) -> int:
    """Coordinates (n,) floats -> out (n,) uint16, to the nearest pixel; OUTSIDE where negative, large or NaN.

    Returns how many of those inside were no whole numbers.
    """
    fractional = 0
    for i in range(values.shape[0]):
        value = np.float64(values[i])
        nearest = np.floor(value + 0.5)
        inside = (nearest >= 0.0) & (nearest < OUTSIDE)
        out[i] = np.uint16(np.int32(nearest if inside else np.float64(OUTSIDE)))
        fractional += inside & (nearest != value)
    return fractional


@njit(cache=True, nogil=True)
def polarities_from_floats(values: Array, out: Array) -> int:
    """Polarities (n,) floats -> out (n,) uint8, 1 where positive. Returns how many are none of -1, 0, 1."""
    bad = 0
    for i in range(values.shape[0]):
        value = np.float64(values[i])
        out[i] = value > 0.0
        bad += (value != 1.0) & (value != 0.0) & (value != -1.0)
    return bad


@njit(cache=True, nogil=True)
def split_integer_rows(rows: Array, order: Array, t: Array, x: Array, y: Array, p: Array) -> int:
    """Rows (n, k) of integers that fit into int64 -> columns; times are copied as they are.

    order: places of t, x, y, p in a row. x and y become OUTSIDE where they do not fit.
    Returns how many polarities are none of -1, 0, 1.
    """
    it, ix, iy, ip = order[0], order[1], order[2], order[3]
    bad: Any = 0
    for i in range(rows.shape[0]):
        t[i] = rows[i, it]
        column = np.int64(rows[i, ix])
        row = np.int64(rows[i, iy])
        sign = np.int64(rows[i, ip])
        x[i] = np.uint16(column if (column >= 0) & (column < OUTSIDE) else OUTSIDE)
        y[i] = np.uint16(row if (row >= 0) & (row < OUTSIDE) else OUTSIDE)
        p[i] = sign > 0
        bad += (sign > 1) | (sign < -1)
    return bad


@njit(cache=True, nogil=True)
def split_float_rows(
    rows: Array, order: Array, multiplier: int, largest: int, t: Array, x: Array, y: Array, p: Array
) -> tuple[int, int, int]:
    """Rows (n, k) of floats -> columns, by the rules of the kernels for single columns.

    order: places of t, x, y, p in a row. Short runs are turned into columns first, since the loops over
    columns are several times faster where numbers lie side by side.
    Returns the numbers of impossible times, of fractional coordinates, and of impossible polarities.
    """
    it, ix, iy, ip = order[0], order[1], order[2], order[3]
    bad_times = 0
    fractional = 0
    bad_polarities = 0
    column = np.empty((4, _RUN), np.float64)
    for start in range(0, rows.shape[0], _RUN):
        n = min(_RUN, rows.shape[0] - start)
        end = start + n
        for i in range(n):
            column[0, i] = rows[start + i, it]
            column[1, i] = rows[start + i, ix]
            column[2, i] = rows[start + i, iy]
            column[3, i] = rows[start + i, ip]
        bad_times += times_from_floats(column[0, :n], multiplier, largest, t[start:end])
        fractional += pixels_from_floats(column[1, :n], x[start:end])
        fractional += pixels_from_floats(column[2, :n], y[start:end])
        bad_polarities += polarities_from_floats(column[3, :n], p[start:end])
    return bad_times, fractional, bad_polarities
