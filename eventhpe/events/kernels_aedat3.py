"""Numba kernels for AEDAT 3: packets into event columns, triggers, IMU samples and places of frames."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

_CHUNK = 1024  # events looked at together: all valid, they take a loop without branches

# State of `decode_aedat3`, (STATE_SIZE,) int64: rest of the packet being read, then the clock.
PACKET_TYPE, PACKET_CAMERA, EVENT_SIZE, EVENTS_LEFT, GAP, EPOCH, BASE, LAST_TIME, RESET_SEEN = range(9)
STATE_SIZE = 9
UNKNOWN_GAP = -1
UNKNOWN_SOURCE = 255
# Why it stopped.
NEED_DATA, FULL, DAMAGED, ASK_GAP = range(4)
# Counters, (TALLY_SIZE,) int64; from FIRST_OTHER on, things of packet type 0, 1, 2 ... that were skipped.
(
    PACKETS,
    SPECIALS,
    BAD_EVENTS,
    BAD_SPECIALS,
    BAD_IMU,
    BAD_FRAMES,
    BAD_SIZES,
    CLOCK_RESETS,
    STRAY,
    FIRST_OTHER,
) = range(10)
TALLY_SIZE = FIRST_OTHER + 128
HEADER_BYTES = 28


@njit(inline="always")
def _sane(kind: Any, source: Any, size: Any, overflow: Any, number: Any) -> bool:
    """Whether these can be the fields of a packet header."""
    if not (0 <= kind < 128 and source >= 0 and 0 < size < 1 << 27 and overflow >= 0 and number >= 0):
        return False
    if kind <= 1:
        return size == 8
    if kind == 2:
        return size >= 36
    if kind == 3:
        return size == 36
    return kind != 4 or size == 48


@njit(inline="always")
def _rebase(state: Array, raw: Any, tally: Array) -> None:
    """After a time reset event: if the clock did start again, let time go on from the last time before it."""
    state[RESET_SEEN] = 0
    if raw < state[LAST_TIME] - state[BASE]:
        state[BASE] = state[LAST_TIME]
        tally[CLOCK_RESETS] += 1


@njit(cache=True, nogil=True)
def decode_aedat3(
    words: Array, floats: Array, cameras: Array, old_bits: bool, flips: Array, state: Array, tally: Array,
    t: Array, x: Array, y: Array, p: Array, camera: Array,
    trigger_t: Array, trigger_kind: Array, imu_t: Array, imu_values: Array, frames: Array,
    found: Array,
) -> tuple[int, int]:  # fmt: skip
    """Decode AEDAT 3 packets until the data end, the columns are full, or something has to be decided.

    words, floats: the same (w,) memory as uint32 and float32, from a packet header on or (EVENTS_LEFT > 0)
    from an event on. cameras: (32768,) uint8, camera of a source id, UNKNOWN_SOURCE to skip it.
    old_bits: 3.0 bit layout. flips: (C,) int64, H where rows count from below, else 0. state, tally: updated.
    t, x, y, p, camera: room for the events wanted. trigger_*, imu_*, frames (., 4): room for all that `words`
    can hold; frames = middle of exposure, byte of the frame event in `words`, its size, camera.
    found: (4,) int64, number of events, special events, IMU samples and frames.
    Returns (byte position reached, may lie behind the end of words; why it stopped).
    """
    num_bytes = words.shape[0] * 4
    room = t.shape[0]
    n = 0
    triggers = 0
    samples = 0
    num_frames = 0
    at = 0
    why = NEED_DATA
    y_shift = np.uint32(4 if old_bits else 2)
    x_shift = np.uint32(18 if old_bits else 17)
    mask = np.uint32(0x3FFF if old_bits else 0x7FFF)
    while True:
        if state[EVENTS_LEFT] == 0:
            if state[GAP] > 0:
                at += state[GAP]
                state[GAP] = 0
            if at & 3 or at + HEADER_BYTES > num_bytes:
                break
            h = at >> 2
            kind = np.int64(np.int16(words[h] & np.uint32(0xFFFF)))
            source = np.int64(np.int16(words[h] >> np.uint32(16)))
            size = np.int64(np.int32(words[h + 1]))
            overflow = np.int64(np.int32(words[h + 3]))
            capacity = np.int64(np.int32(words[h + 4]))
            number = np.int64(np.int32(words[h + 5]))
            if not _sane(kind, source, size, overflow, number):
                why = DAMAGED
                break
            if capacity > number and state[GAP] == 0:
                why = ASK_GAP
                break
            state[GAP] = max(0, -1 - state[GAP])  # the answer was stored as -1 - gap
            at += HEADER_BYTES
            tally[PACKETS] += 1
            state[PACKET_TYPE], state[PACKET_CAMERA] = kind, cameras[source]
            state[EVENT_SIZE], state[EVENTS_LEFT], state[EPOCH] = size, number, overflow << 31
            continue
        kind, size, which = state[PACKET_TYPE], state[EVENT_SIZE], state[PACKET_CAMERA]
        left = state[EVENTS_LEFT]
        if which == UNKNOWN_SOURCE or kind > 4:
            tally[STRAY if which == UNKNOWN_SOURCE else FIRST_OTHER + kind] += left
            at += left * size
            state[EVENTS_LEFT] = 0
            continue
        need = 36 if kind == 2 else size
        if at & 3 or at + need > num_bytes:
            break
        w = at >> 2
        epoch = state[EPOCH]
        if kind == 1:
            k = min(left, (num_bytes - at) >> 3, room - n)
            if k == 0:
                why = FULL
                break
            if state[RESET_SEEN]:
                _rebase(state, epoch + np.int64(words[w + 1] & np.uint32(0x7FFFFFFF)), tally)
            got = _polarity(
                words[w : w + 2 * k], epoch + state[BASE], y_shift, x_shift, mask, flips[which],
                t[n : n + k], x[n : n + k], y[n : n + k], p[n : n + k],
            )  # fmt: skip
            camera[n : n + got] = which
            tally[BAD_EVENTS] += k - got
            n += got
            if got:
                state[LAST_TIME] = max(state[LAST_TIME], t[n - 1])
            at += 8 * k
            state[EVENTS_LEFT] = left - k
            continue
        valid = words[w] & np.uint32(1) != 0
        raw = epoch + np.int64(words[w + 1] & np.uint32(0x7FFFFFFF))
        at += size
        state[EVENTS_LEFT] = left - 1
        if not valid:
            tally[BAD_SPECIALS if kind == 0 else (BAD_FRAMES if kind == 2 else BAD_IMU)] += 1
            continue
        if kind == 0:
            tally[SPECIALS] += 1
            what = (words[w] >> np.uint32(1)) & np.uint32(0x7F)
            if what == 1 and state[LAST_TIME] >= 0:
                state[RESET_SEEN] = 1
            if what <= 1:
                continue
        if state[RESET_SEEN]:
            _rebase(state, raw, tally)
        time = raw + state[BASE]
        if kind == 0:
            trigger_t[triggers] = time
            trigger_kind[triggers] = what
            triggers += 1
        elif kind == 2:
            channels = np.int64((words[w] >> np.uint32(1)) & np.uint32(7))
            columns, rows = np.int64(np.int32(words[w + 5])), np.int64(np.int32(words[w + 6]))
            usable = 0 < columns <= 16384 and 0 < rows <= 16384 and channels in (1, 3, 4)
            if not usable or 36 + 2 * channels * columns * rows > size:
                tally[BAD_SIZES] += 1
                continue
            begin = np.int64(words[w + 3] & np.uint32(0x7FFFFFFF))
            end = np.int64(words[w + 4] & np.uint32(0x7FFFFFFF))
            if end >= begin > 0:  # exposure told
                time = epoch + state[BASE] + (begin + end) // 2
            frames[num_frames, 0] = time
            frames[num_frames, 1] = at - size
            frames[num_frames, 2] = size
            frames[num_frames, 3] = which
            num_frames += 1
        else:
            imu_t[samples] = time
            for c in range(7):
                imu_values[samples, c] = floats[w + 2 + c]
            samples += 1
        state[LAST_TIME] = max(state[LAST_TIME], time)
    found[0], found[1], found[2], found[3] = n, triggers, samples, num_frames
    return at, why


@njit(nogil=True)
def _all_valid(words: Array) -> bool:
    valid = np.uint32(1)
    for i in range(words.shape[0] // 2):
        valid &= words[2 * i]
    return valid != 0


@njit(nogil=True)
def _events3(
    words: Array,
    epoch: Any,
    y_shift: Any,
    x_shift: Any,
    mask: Any,
    flip: Any,
    t: Array,
    x: Array,
    y: Array,
    p: Array,
) -> None:  # fmt: skip
    """Polarity events that are all valid. Slices and short loops let it be vectorised."""
    sign = np.uint32(0xFFFFFFFF if flip > 0 else 1)
    first_row = np.uint32(max(flip - 1, 0))
    for i in range(t.shape[0]):
        t[i] = epoch + np.int64(words[2 * i + 1] & np.uint32(0x7FFFFFFF))
    for i in range(t.shape[0]):
        v = words[2 * i]
        x[i] = np.uint16((v >> x_shift) & mask)
        y[i] = np.uint16(first_row + sign * ((v >> y_shift) & mask))
        p[i] = np.uint8((v >> np.uint32(1)) & np.uint32(1))


@njit(nogil=True)
def _polarity(
    words: Array,
    epoch: Any,
    y_shift: Any,
    x_shift: Any,
    mask: Any,
    flip: Any,
    t: Array,
    x: Array,
    y: Array,
    p: Array,
) -> int:  # fmt: skip
    """Polarity events, (2k,) uint32, into columns with room for k; those not valid are left out."""
    n = 0
    num = words.shape[0] // 2
    for start in range(0, num, _CHUNK):
        end = min(start + _CHUNK, num)
        if _all_valid(words[2 * start : 2 * end]):
            to = n + end - start
            _events3(
                words[2 * start : 2 * end],
                epoch,
                y_shift,
                x_shift,
                mask,
                flip,
                t[n:to],
                x[n:to],
                y[n:to],
                p[n:to],
            )
            n = to
            continue
        for i in range(start, end):
            v = words[2 * i]
            if v & np.uint32(1):
                row = np.int64((v >> y_shift) & mask)
                t[n] = epoch + np.int64(words[2 * i + 1] & np.uint32(0x7FFFFFFF))
                x[n] = np.uint16((v >> x_shift) & mask)
                y[n] = np.uint16(flip - 1 - row if flip > 0 else row)
                p[n] = np.uint8((v >> np.uint32(1)) & np.uint32(1))
                n += 1
    return n


@njit(cache=True, nogil=True)
def find_packet(data: Array) -> int:
    """First byte of data, (b,) uint8, where by strict rules a packet header can begin; -1 if none."""
    for i in range(data.shape[0] - HEADER_BYTES + 1):
        if data[i + 1] or data[i] > 13 or data[i + 3] or data[i + 11]:
            continue  # type, source and time offset are small numbers
        field = np.zeros(7, np.int64)
        for k in range(1, 7):
            j = i + 4 * k
            v = np.uint32(data[j]) | np.uint32(data[j + 1]) << np.uint32(8)
            v |= np.uint32(data[j + 2]) << np.uint32(16) | np.uint32(data[j + 3]) << np.uint32(24)
            field[k] = np.int32(v)
        size, offset, overflow, capacity, number, valid = field[1:]
        if not _sane(np.int64(data[i]), 0, size, overflow, number) or not 4 <= offset < size:
            continue
        if 0 < number <= capacity <= 1 << 24 and 0 <= valid <= number:
            return i
    return -1
