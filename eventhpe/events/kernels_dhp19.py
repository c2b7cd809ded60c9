"""Numba kernels of DHP19's pre-processing (Calabrese et al., CVPRW 2019; SensorsINI/DHP19).

Its four 346x260 images lie side by side in one map of 260 rows and 1384 columns, in the order of camera
numbers. All kernels work block by block and carry their state in arrays that the caller keeps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

WIDTH, HEIGHT, CAMERAS = 346, 260, 4

# What `survey_block` tells, (SURVEY,) int64.
T_MIN, T_MAX, BACKWARD, LARGEST_BACKWARD, BAD_COLUMN, BAD_ROW, BAD_CAMERA = range(7)
SURVEY = 7

# Marks of a pixel of the map, and the stages at which `denoise` counts what it drops, (STAGES,) int64.
HOT, BORDER, FIRST_BOX = 1, 2, 3
OUTSIDE, HOT_PIXEL, BACKGROUND, BOX = range(4)
BOXES = 2
STAGES = BOX + BOXES

_ROW = np.uint64(CAMERAS * WIDTH)
_LOOKUP = 256


@njit(cache=True, nogil=True)
def survey_block(t: Array, x: Array, y: Array, camera: Array, before: int, out: Array) -> None:
    """Extremes and faults of a block of n > 0 events.

    before: time of the event before the block, or less than any time.
    out: (SURVEY,) int64, overwritten. Columns and rows count as bad whatever the camera is.

    Loops of their own are vectorised.
    """
    earliest = t[0]
    latest = t[0]
    for i in range(t.shape[0]):
        earliest = min(earliest, t[i])
        latest = max(latest, t[i])
    backward = np.int64(t[0] < before)
    largest = max(np.int64(before) - t[0], 0)
    for i in range(1, t.shape[0]):
        step = t[i - 1] - t[i]
        backward += step > 0
        largest = max(largest, step)
    columns = 0
    for i in range(x.shape[0]):
        columns += x[i] >= WIDTH
    rows = 0
    for i in range(y.shape[0]):
        rows += y[i] >= HEIGHT
    cameras = 0
    for i in range(camera.shape[0]):
        cameras += camera[i] >= CAMERAS
    out[T_MIN] = earliest
    out[T_MAX] = latest
    out[BACKWARD] = backward
    out[LARGEST_BACKWARD] = largest
    out[BAD_COLUMN] = columns
    out[BAD_ROW] = rows
    out[BAD_CAMERA] = cameras


@njit(inline="always")
def _place(x: Any, y: Any, camera: Any) -> Any:
    """Index in the flattened map. Unsigned, so that Numba does not look for negative indices."""
    return np.uint64(y) * _ROW + np.uint64(camera) * np.uint64(WIDTH) + np.uint64(x)


@njit(cache=True, nogil=True)
def count_pixels(x: Array, y: Array, camera: Array, counts: Array) -> None:
    """Add the events inside the images to counts, (260, 1384) int32."""
    flat = counts.reshape(-1)
    for i in range(x.shape[0]):
        if x[i] < WIDTH and y[i] < HEIGHT and camera[i] < CAMERAS:
            flat[_place(x[i], y[i], camera[i])] += np.int32(1)


@njit(cache=True, nogil=True)
def denoise(
    t: Array, x: Array, y: Array, p: Array, camera: Array, marks: Array, last: Array, dt_us: int,
    t_out: Array, x_out: Array, y_out: Array, p_out: Array, camera_out: Array, stages: Array,
) -> int:  # fmt: skip
    """Copy the events that survive to the output columns; returns their number.

    An event is dropped, in this order, where it lies outside, in a hot pixel, without support (more than
    dt_us after the time on the map at its pixel), or in a box. Each event inside and not hot, kept or not,
    then writes its time into the map at its eight neighbours, not at its own pixel, unless it lies on the
    border of the map; seams between images are no border. A time before that on the map has support, as with
    the original's saturating subtraction.

    t: (n,) int64 µs in 0..2^32-1, in stored order.
    marks: (260, 1384) uint8; HOT; else BORDER on the border of the map, FIRST_BOX + k inside box k, or 0.
    last: (260, 1384) uint32 µs, zeros at first, updated.
    stages: (STAGES,) int64, what was dropped is added.
    """
    flat, mark_of = last.reshape(-1), marks.reshape(-1)
    one = np.uint64(1)
    background = 0
    n = 0
    for i in range(t.shape[0]):
        if x[i] >= WIDTH or y[i] >= HEIGHT or camera[i] >= CAMERAS:
            stages[OUTSIDE] += 1
            continue
        here = _place(x[i], y[i], camera[i])
        mark = mark_of[here]
        if mark == HOT:
            stages[HOT_PIXEL] += 1
            continue
        supported = t[i] - np.int64(flat[here]) <= dt_us
        if mark != BORDER:
            now = np.uint32(t[i])
            above = here - _ROW
            below = here + _ROW
            flat[above - one] = now
            flat[above] = now
            flat[above + one] = now
            flat[here - one] = now
            flat[here + one] = now
            flat[below - one] = now
            flat[below] = now
            flat[below + one] = now
        if mark >= FIRST_BOX and supported:
            stages[BOX + np.int64(mark) - FIRST_BOX] += 1
        # Without a branch: nothing predicts which events are noise.
        t_out[n] = t[i]
        x_out[n] = x[i]
        y_out[n] = y[i]
        p_out[n] = p[i]
        camera_out[n] = camera[i]
        n += supported and mark < FIRST_BOX
        background += not supported
    stages[BACKGROUND] += background
    return n


@njit(cache=True, nogil=True)
def accumulate(x: Array, y: Array, camera: Array, counts: Array, fired: Array, state: Array) -> None:
    """Add events, all inside, to counts, (H, W, C) uint16 or int32, which must be able to hold them.

    fired: (1 + H * W * C,) int32, flat indices of pixels that have fired, in the order in which they did.
    state: (1 + C,) int64, updated: number of such pixels, then events of each camera.
    """
    flat = counts.reshape(-1)
    width, cameras = np.uint64(counts.shape[1]), np.uint64(counts.shape[2])
    n = state[0]
    for i in range(x.shape[0]):
        place = (np.uint64(y[i]) * width + np.uint64(x[i])) * cameras + np.uint64(camera[i])
        count = flat[place]
        fired[n] = np.int32(place)  # stays where it fires for the first time
        n += count == 0
        flat[place] = count + 1
        state[1 + np.uint64(camera[i])] += 1
    state[0] = n


@njit(inline="always")
def _scaled(count: Any, sigma: Any) -> Any:
    return np.uint8(np.floor(min(255.0, count * 255.0 / (3.0 * sigma))))


@njit(cache=True, nogil=True)
def three_sigma_frames(counts: Array, fired: Array, state: Array, images: Array) -> None:
    """Scale counts as `count_frames.three_sigma` does, each camera by its own deviation, and clear them.

    counts, fired, state: from `accumulate`; zeroed.
    images: (H, W, C) uint8 zeros, filled where pixels fired.

    The variance comes from integer sums, so it does not depend on the order of pixels.
    """
    cameras = counts.shape[2]
    flat, out = counts.reshape(-1), images.reshape(-1)
    number = np.zeros(cameras, np.int64)
    total = np.zeros(cameras, np.int64)
    squares = np.zeros(cameras, np.int64)
    for k in range(state[0]):
        place = np.uint64(fired[k])
        camera = place % np.uint64(cameras)
        count = np.int64(flat[place])
        number[camera] += 1
        total[camera] += count
        squares[camera] += count * count
    sigma = np.empty(cameras, np.float64)
    lookup = np.zeros((cameras, _LOOKUP), np.uint8)
    for c in range(cameras):
        n = number[c]
        spread = float(n * squares[c] - total[c] * total[c])
        variance = spread / (float(n) * float(n - 1)) if n > 1 else 0.0
        sigma[c] = max(np.sqrt(variance), 0.1 / 255)
        for value in range(1, _LOOKUP):
            lookup[c, value] = _scaled(value, sigma[c])
    for k in range(state[0]):
        place = np.uint64(fired[k])
        camera = place % np.uint64(cameras)
        count = np.int64(flat[place])
        out[place] = lookup[camera, count] if count < _LOOKUP else _scaled(count, sigma[camera])
        flat[place] = 0
    state[:] = 0
