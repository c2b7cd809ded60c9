"""Numba kernels behind the statistics that compare synthetic recordings with real ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

#: Classes of a pixel in one window.
OUTSIDE, MARGIN, BODY = range(3)

#: Places in the int64 state of `take_events`.
(
    EVENTS, LAST_T, SAME_TIME, ISOLATED, BODY_OFF, BODY_ON, NEIGHBOURS, SHORT, SAME_POLARITY, REPEATED,
    FIRED,
) = range(11)  # fmt: skip
STATE_SIZE = 11

#: "No event yet", far enough from every time that differences do not overflow.
NEVER = -(2**60)

BINS_PER_DECADE = 20


@njit(cache=True, nogil=True)
def active_area(x: Array, y: Array, radius: int, least: int, margin: int, work: Array, area: Array) -> int:
    """Class of every pixel in one window of events.

    BODY where at least `least` pixels of the square of 2 radius + 1 around fired, MARGIN at most `margin`
    pixels (in both directions) from such a pixel, OUTSIDE elsewhere.

    Args:
        x, y: (N,) uint16; events outside the sensor are left out.
        radius, margin: 1 to 7, so that the sums fit into uint8.
        work: (2, H, W) uint8, overwritten.
        area: (H, W) uint8, overwritten.
    Returns:
        Number of BODY pixels.
    """
    height, width = area.shape
    marks, sums = work[0], work[1]
    marks[:] = 0
    for i in range(x.shape[0]):
        if x[i] < width and y[i] < height:
            marks[y[i], x[i]] = 1
    _box_sums(marks, radius, sums)
    found = 0
    for row in range(height):
        for column in range(width):
            body = sums[row, column] >= least
            marks[row, column] = body
            found += body
    if found == 0:
        area[:] = OUTSIDE
        return 0
    _box_sums(marks, margin, sums)
    for row in range(height):
        for column in range(width):
            near = MARGIN if sums[row, column] > 0 else OUTSIDE
            area[row, column] = BODY if marks[row, column] else near
    return found


@njit(cache=True, nogil=True)
def _box_sums(marks: Array, radius: int, sums: Array) -> None:
    """sums (H, W) = number of marks in the square around each pixel, cut at the border."""
    height, width = marks.shape
    columns = np.zeros(width, np.int32)
    for row in range(min(radius, height)):
        for column in range(width):
            columns[column] += marks[row, column]
    for row in range(height):
        if row + radius < height:
            for column in range(width):
                columns[column] += marks[row + radius, column]
        if row > radius:
            for column in range(width):
                columns[column] -= marks[row - radius - 1, column]
        running = np.int32(0)
        for column in range(min(radius, width)):
            running += columns[column]
        for column in range(width):
            if column + radius < width:
                running += columns[column + radius]
            if column > radius:
                running -= columns[column - radius - 1]
            sums[row, column] = running


@njit(cache=True, nogil=True)
def take_events(
    t: Array, x: Array, y: Array, p: Array, area: Array, within: int, repeat: int, short: int,
    seconds: int,
    last: Array, fired: Array, outside: Array, body_intervals: Array, outside_intervals: Array, state: Array,
) -> None:  # fmt: skip
    """Take the events of one window, in time order, into the statistics.

    Args:
        t, x, y, p: (N,) int64 µs (not negative), uint16, uint16, uint8; events outside the sensor are left
            out.
        area: (H, W) uint8 class of each pixel.
        within: µs before an event in which a neighbour supports it.
        repeat: µs; an event that soon after its pixel's last one, and equal in polarity, repeats it. It makes
            no interval.
        short: µs; intervals up to this long are compared in polarity.
        seconds: number of whole seconds in which firing pixels are counted.
        last: (H + 2, W + 2) int64, 2 x time + polarity of each pixel's last event, with a border; at first
            2 x NEVER.
        fired: (H, W) int32, the second of each pixel's last event; at first -1.
        outside: (H, W, 2) uint32, OFF and ON events of each pixel while it was OUTSIDE.
        body_intervals, outside_intervals: (B,) int64, histograms of the time since the pixel's last event, by
            the class of the pixel at the later event; logarithmic bins from 1 µs, longer intervals are left
            out.
        state: (STATE_SIZE,) int64; LAST_T at first NEVER, all others 0.
    """
    height, width = area.shape
    num_bins = body_intervals.shape[0]
    longest = np.int64(10.0 ** (num_bins / BINS_PER_DECADE))
    for i in range(t.shape[0]):
        if x[i] >= width or y[i] >= height:
            continue
        row, column, polarity = np.int64(y[i]), np.int64(x[i]), np.int64(p[i] != 0)
        state[EVENTS] += 1
        state[SAME_TIME] += t[i] == state[LAST_T]
        state[LAST_T] = t[i]
        second = np.int32(t[i] // 1_000_000)
        if 0 <= second < seconds and fired[row, column] != second:
            fired[row, column] = second
            state[FIRED] += 1

        since = 2 * (t[i] - within)
        support = 0
        for dy in range(3):
            for dx in range(3):
                if dy != 1 or dx != 1:
                    support += last[row + dy, column + dx] >= since
        state[ISOLATED] += support == 0

        before = last[row + 1, column + 1]
        last[row + 1, column + 1] = 2 * t[i] + polarity
        interval = t[i] - (before >> 1)
        same = (before & 1) == polarity
        repeats = same and interval <= repeat
        state[REPEATED] += repeats
        kind = area[row, column]
        if kind == BODY:
            state[BODY_OFF + polarity] += 1
            state[NEIGHBOURS] += support
            if interval <= short and not repeats:
                state[SHORT] += 1
                state[SAME_POLARITY] += same
        elif kind == OUTSIDE:
            outside[row, column, polarity] += np.uint32(1)
        if interval <= longest and kind != MARGIN and not repeats:
            place = min(int(BINS_PER_DECADE * np.log10(max(interval, 1))), num_bins - 1)
            if kind == BODY:
                body_intervals[place] += 1
            else:
                outside_intervals[place] += 1


@njit(cache=True, nogil=True)
def add_exposure(area: Array, length_us: int, exposure_us: Array) -> None:
    """Add the length of a window to (H, W) int64 exposure_us where the pixel was OUTSIDE."""
    height, width = area.shape
    for row in range(height):
        for column in range(width):
            exposure_us[row, column] += length_us * (area[row, column] == OUTSIDE)
