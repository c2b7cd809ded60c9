"""Numba kernels for AEDAT 1.0 and 2.0: words of a file into event columns and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

# Layout of the address word, (LAYOUT_SIZE,) int64; see formats/aedat2_words.py.
X_SHIFT, X_MASK, Y_SHIFT, Y_MASK, P_SHIFT, P_FLIP, OTHER_MASK, CAMERA_SHIFT, CAMERA_MASK, WIDTH, HEIGHT = (
    range(11)
)
LAYOUT_SIZE = 11

# The 32-bit clock, (2,) int64: completed turns, last 32-bit time (-1 before the first word).
WRAPS, LAST_WORD = range(2)

_HALF = 1 << 31
_FULL = 1 << 32
_CHUNK = 1024  # records looked at together: without other words and wraps they take a loop without branches


@njit(inline="always")
def _swap(v: Any) -> Any:
    """Other byte order of a uint32."""
    v = np.uint32(v)
    return (
        ((v & np.uint32(0xFF)) << np.uint32(24))
        | ((v & np.uint32(0xFF00)) << np.uint32(8))
        | ((v >> np.uint32(8)) & np.uint32(0xFF00))
        | (v >> np.uint32(24))
    )


@njit(inline="always")
def _swap_halves(v: Any) -> Any:
    """Other byte order of both halves of a uint64: of a record, then, address (low) and time (high)."""
    v = ((v & np.uint64(0x00FF00FF00FF00FF)) << np.uint64(8)) | (
        (v >> np.uint64(8)) & np.uint64(0x00FF00FF00FF00FF)
    )
    return ((v & np.uint64(0x0000FFFF0000FFFF)) << np.uint64(16)) | (
        (v >> np.uint64(16)) & np.uint64(0x0000FFFF0000FFFF)
    )


@njit(inline="always")
def _wraps_at(now: Any, last: Any, wraps: Any) -> Any:
    """Completed turns of the clock at a word with 32-bit time `now`, after one with time `last`."""
    if last >= 0:
        if last - now > _HALF:
            wraps += 1
        elif now - last > _HALF and wraps > 0:
            wraps -= 1  # a word from just before the wrap that came late
    return wraps


@njit(nogil=True)
def _survey2(records: Array) -> tuple[Any, Any, Any]:
    """All address bits in use, earliest and latest 32-bit time; a loop of its own, to be vectorised."""
    seen = np.uint64(0)
    earliest = np.uint64(0xFFFFFFFF)
    latest = np.uint64(0)
    for i in range(records.shape[0]):
        v = _swap_halves(records[i])
        seen |= v
        earliest = min(earliest, v >> np.uint64(32))
        latest = max(latest, v >> np.uint64(32))
    return np.int64(seen & np.uint64(0xFFFFFFFF)), np.int64(earliest), np.int64(latest)


@njit(nogil=True)
def _events2(
    records: Array, layout: Array, turn: Any, t: Array, x: Array, y: Array, p: Array, camera: Array
) -> None:
    """Records that are all events, without a wrap. Slices and short loops let it be vectorised."""
    x_shift, x_mask = np.uint64(layout[X_SHIFT]), np.uint64(layout[X_MASK])
    y_shift, y_mask = np.uint64(layout[Y_SHIFT]), np.uint64(layout[Y_MASK])
    p_shift, p_flip = np.uint64(layout[P_SHIFT]), np.uint64(layout[P_FLIP])
    right, bottom = np.uint64(layout[WIDTH] - 1), np.uint64(layout[HEIGHT] - 1)
    camera_shift, camera_mask = np.uint64(layout[CAMERA_SHIFT]), np.uint64(layout[CAMERA_MASK])
    for i in range(records.shape[0]):
        t[i] = np.int64(_swap_halves(records[i]) >> np.uint64(32)) + turn
    for i in range(records.shape[0]):
        a = _swap_halves(records[i])
        x[i] = np.uint16(right - ((a >> x_shift) & x_mask))
        y[i] = np.uint16(bottom - ((a >> y_shift) & y_mask))
        p[i] = np.uint8(((a >> p_shift) & np.uint64(1)) ^ p_flip)
    if camera_mask:
        for i in range(records.shape[0]):
            camera[i] = np.uint8((_swap_halves(records[i]) >> camera_shift) & camera_mask)


@njit(cache=True, nogil=True)
def decode_aedat2(
    records: Array, layout: Array, t: Array, x: Array, y: Array, p: Array, camera: Array,
    other: Array, other_t: Array, clock: Array,
) -> tuple[int, int]:  # fmt: skip
    """Decode AEDAT 2.0 records.

    records: (n,) uint64 as they lie in the file, big-endian address and time.
    t, x, y, p, camera: outputs with room for n; camera is written only where the layout has a camera number.
    other, other_t: (n,) int64; record number and absolute time of words that are no DVS events.
    clock: (2,) int64, updated.
    Returns (events, other words). Pixels outside the sensor wrap to values >= its size (uint16).
    """
    other_mask, camera_mask = layout[OTHER_MASK], layout[CAMERA_MASK]
    wraps, last = clock[WRAPS], clock[LAST_WORD]
    n = 0
    m = 0
    for start in range(0, records.shape[0], _CHUNK):
        end = min(start + _CHUNK, records.shape[0])
        seen, earliest, latest = _survey2(records[start:end])
        if last >= 0:
            earliest, latest = min(earliest, last), max(latest, last)
        if seen & other_mask == 0 and latest - earliest <= _HALF:
            to = n + end - start
            _events2(
                records[start:end], layout, wraps * _FULL, t[n:to], x[n:to], y[n:to], p[n:to], camera[n:to]
            )
            n = to
            last = np.int64(_swap_halves(records[end - 1]) >> np.uint64(32))
            continue
        for i in range(start, end):
            v = _swap_halves(records[i])
            a = np.int64(v & np.uint64(0xFFFFFFFF))
            now = np.int64(v >> np.uint64(32))
            wraps = _wraps_at(now, last, wraps)
            last = now
            if a & other_mask:
                other[m] = i
                other_t[m] = now + wraps * _FULL
                m += 1
                continue
            t[n] = now + wraps * _FULL
            x[n] = np.uint16(layout[WIDTH] - 1 - ((a >> layout[X_SHIFT]) & layout[X_MASK]))
            y[n] = np.uint16(layout[HEIGHT] - 1 - ((a >> layout[Y_SHIFT]) & layout[Y_MASK]))
            p[n] = np.uint8(((a >> layout[P_SHIFT]) & 1) ^ layout[P_FLIP])
            if camera_mask:
                camera[n] = np.uint8((a >> layout[CAMERA_SHIFT]) & camera_mask)
            n += 1
    clock[WRAPS] = wraps
    clock[LAST_WORD] = last
    return n, m


@njit(inline="always")
def _swap16(v: Any) -> Any:
    """Other byte order of a uint16."""
    v = np.uint32(v)
    return ((v & np.uint32(0xFF)) << np.uint32(8)) | (v >> np.uint32(8))


@njit(inline="always")
def _time1(words: Array, i: Any) -> Any:
    """32-bit time of record i."""
    return (_swap16(words[3 * i + 1]) << np.uint32(16)) | _swap16(words[3 * i + 2])


@njit(nogil=True)
def _survey1(words: Array) -> tuple[Any, Any, Any]:
    """As `_survey2`."""
    seen = np.uint32(0)
    earliest = np.uint32(0xFFFFFFFF)
    latest = np.uint32(0)
    for i in range(words.shape[0] // 3):
        seen |= _swap16(words[3 * i])
        earliest = min(earliest, _time1(words, i))
        latest = max(latest, _time1(words, i))
    return np.int64(seen), np.int64(earliest), np.int64(latest)


@njit(nogil=True)
def _events1(words: Array, layout: Array, turn: Any, t: Array, x: Array, y: Array, p: Array) -> None:
    """As `_events2`."""
    x_shift, x_mask = np.uint32(layout[X_SHIFT]), np.uint32(layout[X_MASK])
    y_shift, y_mask = np.uint32(layout[Y_SHIFT]), np.uint32(layout[Y_MASK])
    p_shift, p_flip = np.uint32(layout[P_SHIFT]), np.uint32(layout[P_FLIP])
    right, bottom = np.uint32(layout[WIDTH] - 1), np.uint32(layout[HEIGHT] - 1)
    for i in range(t.shape[0]):
        t[i] = np.int64(_time1(words, i)) + turn
    for i in range(t.shape[0]):
        a = _swap16(words[3 * i])
        x[i] = np.uint16(right - ((a >> x_shift) & x_mask))
        y[i] = np.uint16(bottom - ((a >> y_shift) & y_mask))
        p[i] = np.uint8(((a >> p_shift) & np.uint32(1)) ^ p_flip)


@njit(cache=True, nogil=True)
def decode_aedat1(
    words: Array, layout: Array, t: Array, x: Array, y: Array, p: Array, other_t: Array, clock: Array
) -> tuple[int, int]:
    """Decode n AEDAT 1.0 records.

    words: (3n,) uint16 as they lie in the file, big-endian address, time high, time low.
    Outputs, clock and result as in `decode_aedat2`.
    """
    wraps, last = clock[WRAPS], clock[LAST_WORD]
    n = 0
    m = 0
    for start in range(0, words.shape[0] // 3, _CHUNK):
        end = min(start + _CHUNK, words.shape[0] // 3)
        seen, earliest, latest = _survey1(words[3 * start : 3 * end])
        if last >= 0:
            earliest, latest = min(earliest, last), max(latest, last)
        if seen & layout[OTHER_MASK] == 0 and latest - earliest <= _HALF:
            to = n + end - start
            _events1(words[3 * start : 3 * end], layout, wraps * _FULL, t[n:to], x[n:to], y[n:to], p[n:to])
            n = to
            last = np.int64(_time1(words, end - 1))
            continue
        for i in range(start, end):
            a = np.int64(_swap16(words[3 * i]))
            now = np.int64(_time1(words, i))
            wraps = _wraps_at(now, last, wraps)
            last = now
            if a & layout[OTHER_MASK]:
                other_t[m] = now + wraps * _FULL
                m += 1
                continue
            t[n] = now + wraps * _FULL
            x[n] = np.uint16(layout[WIDTH] - 1 - ((a >> layout[X_SHIFT]) & layout[X_MASK]))
            y[n] = np.uint16(layout[HEIGHT] - 1 - ((a >> layout[Y_SHIFT]) & layout[Y_MASK]))
            p[n] = np.uint8(((a >> layout[P_SHIFT]) & 1) ^ layout[P_FLIP])
            n += 1
    clock[WRAPS] = wraps
    clock[LAST_WORD] = last
    return n, m


@njit(cache=True, nogil=True)
def encode_aedat2(t: Array, x: Array, y: Array, p: Array, layout: Array, words: Array) -> None:
    """Inverse of `decode_aedat2` for events: fills (2n,) uint32, as in the file; t modulo 2^32."""
    for i in range(t.shape[0]):
        a = (
            ((layout[WIDTH] - 1 - np.int64(x[i])) << layout[X_SHIFT])
            | ((layout[HEIGHT] - 1 - np.int64(y[i])) << layout[Y_SHIFT])
            | ((np.int64(p[i]) ^ layout[P_FLIP]) << layout[P_SHIFT])
        )
        words[2 * i] = _swap(np.uint32(a))
        words[2 * i + 1] = _swap(np.uint32(t[i] & 0xFFFFFFFF))


# Frame in progress of one camera, (FRAME_STATE_SIZE,) int64. FIRST_ADDRESS is -1 between frames.
FIRST_ADDRESS, NUM_RESET, NUM_SIGNAL, T_FIRST_RESET, T_LAST_RESET, T_START, T_END, FIRST_RECORD = range(8)
FRAME_STATE_SIZE = 8
# IMU group in progress, (IMU_STATE_SIZE,) int64: next code (-1: skip to the next group), time, seven values.
NEXT_CODE, IMU_TIME, FIRST_VALUE = range(3)
IMU_STATE_SIZE = 9
# Counters of `collect_davis`, (COUNTERS,) int64.
APS_WORDS, IMU_WORDS, SPECIAL_WORDS, STRAY_APS, LOST_FRAMES, LOST_IMU = range(6)
COUNTERS = 6


@njit(cache=True, nogil=True)
def collect_davis(
    records: Array, layout: Array, other: Array, other_t: Array, first_record: int, camera_bits: int,
    frame_state: Array, imu_state: Array, counters: Array,
    trigger_t: Array, trigger_value: Array, imu_t: Array, imu_values: Array, frames: Array,
) -> tuple[int, int, int]:  # fmt: skip
    """Sort the words of a DAVIS that are no events: external inputs, IMU groups, APS frames.

    records, layout: as in `decode_aedat2`; other, other_t: its (m,) outputs; first_record: number of
    records[0] in the file; camera_bits: low bits of an APS word that hold the camera number (0, 1, 2).
    frame_state (C, FRAME_STATE_SIZE), imu_state (IMU_STATE_SIZE,), counters (COUNTERS,): int64, updated.
    Outputs with room for m: trigger_t int64, trigger_value uint8, imu_t int64, imu_values (m, 7) int16,
    frames (m, 4) int64 = middle of exposure, first record, number of records, camera.
    Returns (triggers, IMU samples, frames).
    """
    width, height = layout[WIDTH], layout[HEIGHT]
    pixels = width * height
    triggers = 0
    samples = 0
    complete = 0
    for j in range(other.shape[0]):
        a = np.int64(_swap_halves(records[other[j]]) & np.uint64(0xFFFFFFFF))
        time = other_t[j]
        if a & 0x80000000 == 0:
            counters[SPECIAL_WORDS] += 1
            low = a & 7
            # The camera number overwrites the kind of edge in files of several cameras.
            value = 2 if low == 4 or layout[CAMERA_MASK] else (0 if low == 2 else 1)
            trigger_t[triggers] = time
            trigger_value[triggers] = value
            triggers += 1
            continue
        if (a >> 10) & 3 == 3:
            counters[IMU_WORDS] += 1
            code = (a >> 28) & 7
            if code == 0:
                if imu_state[NEXT_CODE] > 0:
                    counters[LOST_IMU] += 1
                imu_state[NEXT_CODE] = 0
                imu_state[IMU_TIME] = time
            if code != imu_state[NEXT_CODE] or time != imu_state[IMU_TIME]:
                if imu_state[NEXT_CODE] >= 0:
                    counters[LOST_IMU] += 1
                imu_state[NEXT_CODE] = -1
                continue
            imu_state[FIRST_VALUE + code] = np.int16((a >> 12) & 0xFFFF)
            imu_state[NEXT_CODE] = code + 1
            if code == 6:
                imu_state[NEXT_CODE] = 0
                imu_t[samples] = time
                for k in range(7):
                    imu_values[samples, k] = np.int16(imu_state[FIRST_VALUE + k])
                samples += 1
            continue
        counters[APS_WORDS] += 1
        kind = (a >> 10) & 3
        camera = a & ((1 << camera_bits) - 1)
        column = (a >> 12) & 0x3FF
        row = (a >> 22) & 0x1FF
        if kind == 2 or column >= width or row >= height or camera >= frame_state.shape[0]:
            counters[STRAY_APS] += 1
            continue
        frame = frame_state[camera]
        address = row * 1024 + column
        record = first_record + other[j]
        if kind == 0:
            if address == frame[FIRST_ADDRESS]:  # the next frame begins although this one is not complete
                counters[LOST_FRAMES] += 1
                frame[FIRST_ADDRESS] = -1
            if frame[FIRST_ADDRESS] < 0:
                frame[FIRST_ADDRESS] = address
                frame[NUM_RESET] = 0
                frame[NUM_SIGNAL] = 0
                frame[T_FIRST_RESET] = time
                frame[FIRST_RECORD] = record
            frame[NUM_RESET] += 1
            frame[T_LAST_RESET] = time
            continue
        if frame[FIRST_ADDRESS] < 0:  # its reset reads lie before the start of the file
            counters[STRAY_APS] += 1
            continue
        if frame[NUM_SIGNAL] == 0:  # global shutter: all reset reads come before the first signal read
            frame[T_START] = frame[T_LAST_RESET] if frame[NUM_RESET] >= pixels else frame[T_FIRST_RESET]
            frame[T_END] = time
        frame[NUM_SIGNAL] += 1
        if frame[NUM_SIGNAL] >= pixels:
            if frame[NUM_RESET] == pixels:
                frames[complete, 0] = (frame[T_START] + frame[T_END]) // 2
                frames[complete, 1] = frame[FIRST_RECORD]
                frames[complete, 2] = record - frame[FIRST_RECORD] + 1
                frames[complete, 3] = camera
                complete += 1
            else:
                counters[LOST_FRAMES] += 1
            frame[FIRST_ADDRESS] = -1
    return triggers, samples, complete


@njit(cache=True, nogil=True)
def read_aps(
    records: Array, layout: Array, camera_bits: int, camera: int, reset: Array, signal: Array
) -> None:
    """Write ADC values of one camera's APS words into reset and signal, (H, W) int32, as an image."""
    width, height = layout[WIDTH], layout[HEIGHT]
    low_bits = (1 << camera_bits) - 1
    for i in range(records.shape[0]):
        a = np.int64(_swap_halves(records[i]) & np.uint64(0xFFFFFFFF))
        kind = (a >> 10) & 3
        if a & 0x80000000 == 0 or kind > 1 or a & low_bits != camera:
            continue
        column = (a >> 12) & 0x3FF
        row = (a >> 22) & 0x1FF
        if column >= width or row >= height:
            continue
        image = reset if kind == 0 else signal
        image[height - 1 - row, width - 1 - column] = (a & 0x3FF) & ~low_bits
