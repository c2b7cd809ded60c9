"""Numba kernels that turn file words into event columns."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

# Layout of the state vector of `decode_aedat2` (int64), carried from block to block.
STATE_WRAPS = 0  # completed turns of the 32-bit clock
STATE_LAST_WORD_TIME = 1  # last 32-bit time, -1 before the first word
STATE_LAST_EVENT_TIME = 2  # absolute time of the last event
STATE_EVENTS = 3
STATE_BACKWARD = 4  # events earlier than the event before them
STATE_SPECIAL = 5
STATE_APS = 6
STATE_IMU = 7
STATE_SIZE = 8

#: First value of the state vector.
INITIAL_TIME = -(2**62)

LAYOUT_DVS128 = 0
LAYOUT_DAVIS = 1
LAYOUT_DVS640 = 2

_HALF = 1 << 31
_FULL = 1 << 32


@njit(cache=True, nogil=True)
def decode_aedat2(
    words: Array,
    layout: int,
    width: int,
    height: int,
    camera_mask: int,
    t: Array,
    x: Array,
    y: Array,
    p: Array,
    camera: Array,
    special_t: Array,
    special_value: Array,
    state: Array,
) -> tuple[int, int]:
    """Decode a block of AEDAT 2.0 words.

    words: (2n,) uint32 as they lie in the file, i.e. byte-swapped address, time, address, time ...
    t, x, y, p, camera, special_*: outputs with room for n; state: (STATE_SIZE,) int64, updated.
    Returns (events, specials) written. Pixels outside the sensor wrap to values >= its size (uint16).
    """
    wraps = state[STATE_WRAPS]
    last_word = state[STATE_LAST_WORD_TIME]
    last_event = state[STATE_LAST_EVENT_TIME]
    backward = 0
    aps = 0
    imu = 0
    n = 0
    m = 0
    for i in range(words.shape[0] // 2):
        v = np.uint32(words[2 * i])
        a = np.int64(
            ((v & np.uint32(0xFF)) << np.uint32(24))
            | ((v & np.uint32(0xFF00)) << np.uint32(8))
            | ((v >> np.uint32(8)) & np.uint32(0xFF00))
            | (v >> np.uint32(24))
        )
        v = np.uint32(words[2 * i + 1])
        now = np.int64(
            ((v & np.uint32(0xFF)) << np.uint32(24))
            | ((v & np.uint32(0xFF00)) << np.uint32(8))
            | ((v >> np.uint32(8)) & np.uint32(0xFF00))
            | (v >> np.uint32(24))
        )
        if last_word >= 0:
            if last_word - now > _HALF:
                wraps += 1
            elif now - last_word > _HALF and wraps > 0:
                wraps -= 1  # a word from just before the wrap that came late
        last_word = now
        time = now + wraps * _FULL
        if layout == LAYOUT_DVS128:
            if a & 0x8000:
                special_t[m] = time
                special_value[m] = 1
                m += 1
                continue
            column = (a >> 1) & 0x7F
            row = (a >> 8) & 0x7F
            polarity = 1 - (a & 1)
        else:
            if a & 0x80000000:
                if (a >> 10) & 3 == 3:
                    imu += 1
                else:
                    aps += 1
                continue
            if layout == LAYOUT_DAVIS and a & 0x400:  # in DVS640 addresses this bit belongs to x
                special_t[m] = time
                low = a & 7
                special_value[m] = 0 if low == 2 else (2 if low == 4 else 1)
                m += 1
                continue
            if layout == LAYOUT_DAVIS:
                column = (a >> 12) & 0x3FF
                row = (a >> 22) & 0x1FF
                polarity = (a >> 11) & 1
            else:
                column = (a >> 1) & 0x3FF
                row = (a >> 11) & 0x3FF
                polarity = a & 1
        if time < last_event:
            backward += 1
        last_event = time
        t[n] = time
        x[n] = np.uint16(width - 1 - column)
        y[n] = np.uint16(height - 1 - row)
        p[n] = polarity
        camera[n] = a & camera_mask
        n += 1
    state[STATE_WRAPS] = wraps
    state[STATE_LAST_WORD_TIME] = last_word
    state[STATE_LAST_EVENT_TIME] = last_event
    state[STATE_EVENTS] += n
    state[STATE_BACKWARD] += backward
    state[STATE_SPECIAL] += m
    state[STATE_APS] += aps
    state[STATE_IMU] += imu
    return n, m


@njit(cache=True, nogil=True)
def encode_aedat2(
    t: Array, x: Array, y: Array, p: Array, layout: int, width: int, height: int, words: Array
) -> None:
    """Inverse of `decode_aedat2` for events: fills (2n,) uint32 with byte-swapped words; t modulo 2^32."""
    for i in range(t.shape[0]):
        column = np.uint32(width - 1 - np.int64(x[i]))
        row = np.uint32(height - 1 - np.int64(y[i]))
        if layout == LAYOUT_DVS128:
            a = (row << np.uint32(8)) | (column << np.uint32(1)) | np.uint32(1 - p[i])
        elif layout == LAYOUT_DAVIS:
            a = (row << np.uint32(22)) | (column << np.uint32(12)) | (np.uint32(p[i]) << np.uint32(11))
        else:
            a = (row << np.uint32(11)) | (column << np.uint32(1)) | np.uint32(p[i])
        for k in range(2):
            v = np.uint32(a) if k == 0 else np.uint32(t[i] & 0xFFFFFFFF)
            words[2 * i + k] = (
                ((v & np.uint32(0xFF)) << np.uint32(24))
                | ((v & np.uint32(0xFF00)) << np.uint32(8))
                | ((v >> np.uint32(8)) & np.uint32(0xFF00))
                | (v >> np.uint32(24))
            )


@njit(cache=True, nogil=True)
def copy_aedat4(words: Array, flip_height: int, t: Array, x: Array, y: Array, p: Array, last: int) -> int:
    """Split AEDAT 4 event structs, seen as (2n,) int64, into columns.

    flip_height: 0, or H for files whose rows count from the bottom. Returns the number of events
    earlier than the event before them (`last` is the time before the first one).
    """
    backward = 0
    for i in range(words.shape[0] // 2):
        time = words[2 * i]
        w = words[2 * i + 1]
        if time < last:
            backward += 1
        last = time
        t[i] = time
        x[i] = np.uint16(w & 0xFFFF)
        row = (w >> 16) & 0xFFFF
        y[i] = np.uint16(flip_height - 1 - row) if flip_height > 0 else np.uint16(row)
        p[i] = 1 if (w >> 32) & 0xFF else 0
    return backward


@njit(cache=True, nogil=True)
def count_outside(x: Array, y: Array, width: int, height: int) -> int:
    """Number of events outside the sensor."""
    n = 0
    for i in range(x.shape[0]):
        if x[i] >= width or y[i] >= height:
            n += 1
    return n


@njit(cache=True, nogil=True)
def count_backward(t: Array) -> int:
    """Number of events earlier than the event before them."""
    n = 0
    for i in range(1, t.shape[0]):
        if t[i] < t[i - 1]:
            n += 1
    return n


@njit(cache=True, nogil=True)
def summarize(x: Array, y: Array, p: Array, summary: Array) -> None:
    """Update summary (5,) int64 = [n_on, x_min, x_max, y_min, y_max] with a block of events."""
    for i in range(x.shape[0]):
        summary[0] += 1 if p[i] else 0
        summary[1] = min(summary[1], np.int64(x[i]))
        summary[2] = max(summary[2], np.int64(x[i]))
        summary[3] = min(summary[3], np.int64(y[i]))
        summary[4] = max(summary[4], np.int64(y[i]))


@njit(cache=True, nogil=True)
def check_columns(t: Array, x: Array, y: Array, p: Array, width: int, height: int) -> tuple[int, int, int]:
    """Counts of (times that decrease, pixels outside the sensor, polarities above 1)."""
    backward = 0
    outside = 0
    bad = 0
    for i in range(t.shape[0]):
        if i > 0 and t[i] < t[i - 1]:
            backward += 1
        if x[i] >= width or y[i] >= height:
            outside += 1
        if p[i] > 1:
            bad += 1
    return backward, outside, bad
