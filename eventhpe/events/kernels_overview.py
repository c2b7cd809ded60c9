"""Numba kernel behind the statistics of a recording."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

#: Places in the int64 state of `look_over`.
SEEN, ORIGIN, WIDTH, LAST_T, NUM_GAPS, FLOOR, TO_CHECK, CHECKED, ISOLATED = range(9)
STATE_SIZE = 9

#: Every event is checked for isolation up to this number, then one in STRIDE (a prime: sensors send groups).
CHECK_ALL = 1 << 19
STRIDE = 17

#: Events looked at twice, first for time, then for place, while they are in the processor's cache.
_PART = 1 << 13


@njit(cache=True, nogil=True)
def look_over(
    t: Array, x: Array, y: Array, p: Array, within: int, cells: Array, bins: Array, gaps: Array, state: Array
) -> None:
    """Take a block of events in time order into the statistics.

    Args:
        t, x, y, p: (N,) int64 µs, uint16, uint16, uint8.
        within: µs; an event is isolated if none of the eight pixels around fired at most that long before.
        cells: (H + 2, W + 2, 2) uint32, number of events and last time (modulo 2^32) per pixel, with a
            border.
        bins: (M, 2) int64, OFF and ON events per bin of state[WIDTH] µs; when M do not reach, pairs are
            merged.
        gaps: (G, 2) int64, start and length of the state[NUM_GAPS] silences longer than state[FLOOR] µs;
            when G do not reach, the shorter half is dropped and the floor raised.
        state: (STATE_SIZE,) int64.
    """
    for i in range(0, t.shape[0], _PART):
        part = slice(i, i + _PART)
        _mark_times(t[part], p[part], bins, gaps, state)
        _mark_pixels(t[part], x[part], y[part], within, cells, state)


@njit(cache=True, nogil=True)
def _mark_times(t: Array, p: Array, bins: Array, gaps: Array, state: Array) -> None:
    """Count events per bin and note silences; a bin's events are looked at as a whole where possible."""
    n = t.shape[0]
    if state[SEEN] == 0:
        state[LAST_T] = t[0]
    i = 0
    while i < n:
        slot = max(t[i] - state[ORIGIN], 0) // state[WIDTH]
        while slot >= bins.shape[0]:
            _merge_pairs(bins)
            state[WIDTH] *= 2
            slot = max(t[i] - state[ORIGIN], 0) // state[WIDTH]
        j = _first_at(t, i + 1, state[ORIGIN] + (slot + 1) * state[WIDTH])
        on = 0
        for k in range(i, j):
            on += p[k] != 0
        bins[slot, 0] += j - i - on
        bins[slot, 1] += on
        if t[j - 1] - state[LAST_T] > state[FLOOR]:
            for k in range(i, j):
                _note_silence(state[LAST_T] if k == i else t[k - 1], t[k], gaps, state)
        state[LAST_T] = max(state[LAST_T], t[i], t[j - 1])
        i = j
    state[SEEN] += n


@njit(cache=True, nogil=True)
def _first_at(t: Array, i: int, edge: int) -> int:
    """First index >= i with t >= edge, by doubling steps and halving: runs are short or long."""
    n = t.shape[0]
    step = 1
    low = i
    while low < n and t[low] < edge:
        i = low + 1
        low += step
        step *= 2
    high = min(low, n)
    while i < high:
        middle = (i + high) // 2
        if t[middle] < edge:
            i = middle + 1
        else:
            high = middle
    return i


@njit(cache=True, nogil=True)
def _note_silence(start: int, end: int, gaps: Array, state: Array) -> None:
    if end - start > state[FLOOR] and state[NUM_GAPS] == gaps.shape[0]:
        _keep_the_longer_half(gaps, state)
    if end - start > state[FLOOR]:
        gaps[state[NUM_GAPS], 0] = start
        gaps[state[NUM_GAPS], 1] = end - start
        state[NUM_GAPS] += 1


@njit(cache=True, nogil=True)
def _mark_pixels(t: Array, x: Array, y: Array, within: int, cells: Array, state: Array) -> None:
    """Count events per pixel, and check a sample of them for isolation."""
    height, width = cells.shape[0] - 2, cells.shape[1] - 2
    one = np.uint64(1)  # unsigned indices spare Numba's test for negative ones
    countdown = state[TO_CHECK]
    for i in range(t.shape[0]):
        if x[i] >= width or y[i] >= height:
            continue
        row, column = np.uint64(y[i]) + one, np.uint64(x[i]) + one
        tick = np.uint32(t[i] & 0xFFFFFFFF)
        countdown -= 1
        if countdown <= 0:
            # Past CHECK_ALL an event stands for the STRIDE - 1 others that are not checked.
            weight = 1 if state[CHECKED] < CHECK_ALL else STRIDE
            countdown = weight
            state[CHECKED] += weight
            if not _is_supported(cells, row, column, tick, within):
                state[ISOLATED] += weight
        cells[row, column, 0] += np.uint32(1)
        cells[row, column, 1] = tick
    state[TO_CHECK] = countdown


@njit(cache=True, nogil=True)
def _is_supported(cells: Array, row: Any, column: Any, tick: Any, within: int) -> bool:
    """Whether one of the eight pixels around fired at most `within` before."""
    found = False
    for dr in range(3):
        for dc in range(3):
            if dr != 1 or dc != 1:
                r, c = row + np.uint64(dr) - np.uint64(1), column + np.uint64(dc) - np.uint64(1)
                age = np.uint32(tick - cells[r, c, 1])
                found |= (cells[r, c, 0] > 0) & (age <= within)
    return found


@njit(cache=True, nogil=True)
def _merge_pairs(bins: Array) -> None:
    half = bins.shape[0] // 2
    for k in range(half):
        for c in range(2):
            bins[k, c] = bins[2 * k, c] + bins[2 * k + 1, c]
    bins[half:] = 0


@njit(cache=True, nogil=True)
def _keep_the_longer_half(gaps: Array, state: Array) -> None:
    floor = np.int64(np.median(gaps[:, 1]))
    kept = 0
    for k in range(gaps.shape[0]):
        if gaps[k, 1] > floor:
            gaps[kept] = gaps[k]
            kept += 1
    state[NUM_GAPS], state[FLOOR] = kept, floor
