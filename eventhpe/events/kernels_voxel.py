"""Numba kernels of the voxel grid.

Events are taken interval by interval (the time between two bin centres), so that both planes are known
before the loop over events. Two ways to add an interval, the same to float32 rounding:

- sparse: straight into the two planes beside it, in float32;
- dense: one 64-bit integer per pixel takes the sum of signs (upper bits) and of signed µs (lower bits) in a
  single addition, exactly; both planes are updated from it once per interval.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

_BLOCK = 4096  # events checked, then added, while they are in the innermost cache
_SHIFT = 42  # a packed sum is signs << 42 plus signed µs
_MOST_PACKED = 1 << 20  # events per packed sum: 20 + 42 bits and the sign fit in 64


@njit(cache=True, nogil=True)
def first_unusable(t: Array, x: Array, y: Array, height: int, width: int, t0: int, t1: int) -> int:
    """First event outside the sensor or the window, or before the one in front of it; N if there is none."""
    for i in range(t.shape[0]):
        if x[i] >= width or y[i] >= height or t[i] < t0 or t[i] >= t1 or (i > 0 and t[i] < t[i - 1]):
            return i
    return t.shape[0]


@njit(cache=True, nogil=True)
def _usable(t: Array, x: Array, y: Array, height: int, width: int, t0: int, t1: int) -> bool:
    """Whether N >= 1 events lie on the sensor and in [t0, t1); separate loops, as each one vectorises."""
    earliest, latest = t[0], t[0]
    for i in range(t.shape[0]):
        earliest = min(earliest, t[i])
        latest = max(latest, t[i])
    right, low = x[0], y[0]
    for i in range(x.shape[0]):
        right = max(right, x[i])
    for i in range(y.shape[0]):
        low = max(low, y[i])
    return earliest >= t0 and latest < t1 and right < width and low < height


@njit(cache=True, nogil=True)
def _first_at(t: Array, start: int, stop: int, time: int) -> int:
    """First of the sorted events start..stop-1 with t >= time (stop if there is none)."""
    while start < stop:
        middle = (start + stop) >> 1
        if t[middle] < time:
            start = middle + 1
        else:
            stop = middle
    return start


@njit(cache=True, nogil=True)
def _add_sparse(
    t: Array,
    x: Array,
    y: Array,
    p: Array,
    start: int,
    ahead: float,
    scale: float,
    width: int,
    early: Array,
    late: Array,
) -> None:
    """Add the events of one interval to the flat planes beside it; arguments as in `_unpack`."""
    row_length = np.uint64(width)  # unsigned indices spare Numba's test for negative ones
    for i in range(t.shape[0]):
        sign = np.float32(1.0) if p[i] else np.float32(-1.0)
        share = sign * np.float32((t[i] - start) * scale + ahead)
        k = np.uint64(y[i]) * row_length + np.uint64(x[i])
        early[k] += sign - share
        late[k] += share


@njit(cache=True, nogil=True)
def _add_packed(t: Array, x: Array, y: Array, p: Array, start: int, width: int, sums: Array) -> None:
    """Add sign * (2^42 + t - start) per event to sums (H * W,) int64."""
    row_length = np.uint64(width)
    origin = start - (np.int64(1) << _SHIFT)
    for i in range(t.shape[0]):
        value = t[i] - origin
        k = np.uint64(y[i]) * row_length + np.uint64(x[i])
        sums[k] += value if p[i] else -value


@njit(cache=True, nogil=True)
def _unpack(sums: Array, ahead: float, scale: float, early: Array, late: Array) -> None:
    """Add packed sums to the planes beside their interval and clear them.

    scale: intervals per µs; ahead: intervals from the bin centre to the whole µs that times count from.
    """
    ahead32, scale32 = np.float32(ahead), np.float32(scale)
    for k in range(sums.shape[0]):
        packed = sums[k]
        signs = (packed + (np.int64(1) << (_SHIFT - 1))) >> _SHIFT
        sign = np.float32(signs)
        share = np.float32(packed - (signs << _SHIFT)) * scale32 + ahead32 * sign
        early[k] += sign - share
        late[k] += share
        sums[k] = 0


@njit(cache=True, nogil=True)
def voxel_intervals(
    t: Array,
    x: Array,
    y: Array,
    p: Array,
    t0: int,
    t1: int,
    first: int,
    last: int,
    planes: Array,
    head: Array,
    sums: Array,
    width: int,
) -> bool:
    """Signed polarity of sorted events, linear in time, into intervals first..last; False if one is unusable.

    planes: (B >= 2, H * W) float32; interval b lies between planes b and b + 1. Planes first and first + 1
        are replaced by head[0] and head[1], so that another call may write those at the same time.
    head: (2, H * W) float32; may be planes[:2]. The call clears it and planes first + 2..last + 1 itself,
        each just before use.
    sums: (H * W,) zeros for the dense way, or (0,) to go the sparse way always.
    """
    pixels = planes.shape[1]
    height = pixels // width
    length, steps = t1 - t0, planes.shape[0] - 1
    scale = steps / length
    dense_from = max(1, pixels // 2) if sums.shape[0] == pixels else np.int64(1) << 62
    head[0, :] = np.float32(0.0)
    head[1, :] = np.float32(0.0)
    i = 0
    for b in range(first, last + 1):
        early = head[b - first] if b - first < 2 else planes[b]
        late = head[1] if b == first else planes[b + 1]
        if b > first:
            late[:] = np.float32(0.0)
        # The whole µs from b * length / steps on, before (b + 1) * length / steps.
        start, stop = t0 - (-b * length) // steps, t0 - (-(b + 1) * length) // steps
        ahead = ((start - t0) * steps - b * length) / length
        end = _first_at(t, i, t.shape[0], stop)
        # More events than this at once could overflow the lower bits of a packed sum.
        most = min(_MOST_PACKED, (np.int64(1) << (_SHIFT - 1)) // (stop - start + 1))
        while i < end:
            run = min(end, i + most) if most >= dense_from else end
            packed = dense_from <= run - i <= most
            while i < run:
                j = min(run, i + _BLOCK)
                tt, xx, yy, pp = t[i:j], x[i:j], y[i:j], p[i:j]
                if not _usable(tt, xx, yy, height, width, start, stop):
                    return False
                if packed:
                    _add_packed(tt, xx, yy, pp, start, width, sums)
                else:
                    _add_sparse(tt, xx, yy, pp, start, ahead, scale, width, early, late)
                i = j
            if packed:
                _unpack(sums, ahead, scale, early, late)
    return i == t.shape[0]


@njit(cache=True, nogil=True)
def voxel_sum(t: Array, x: Array, y: Array, p: Array, t0: int, t1: int, plane: Array, width: int) -> bool:
    """Add the signed polarity of events in [t0, t1) to plane (H * W,); False if one is unusable."""
    height = plane.shape[0] // width
    row_length = np.uint64(width)
    for i in range(t.shape[0]):
        if t[i] < t0 or t[i] >= t1 or x[i] >= width or y[i] >= height:
            return False
        k = np.uint64(y[i]) * row_length + np.uint64(x[i])
        plane[k] += np.float32(1.0) if p[i] else np.float32(-1.0)
    return True
