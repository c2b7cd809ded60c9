"""Numba decoder of Prophesee's event compression format (ECF), one HDF5 chunk at a time.

A chunk is: u32 header (count << 2 | packed_all << 1 | packed_xp), u64 first time, runs of time steps, then
the pixels in one of three codings. All words are little-endian and unaligned.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]
Int = Any  # a Python integer outside kernels, a machine integer inside

#: Bytes that must follow the chunk in its buffer, so that no decoder reads past the buffer.
PADDING = 16
#: Most events a chunk may hold.
LARGEST_COUNT = 65535

# What `decode_ecf` returns instead of the chunk's number of events.
TOO_SHORT = -1  # the bytes end before the events do
BAD_COUNT = -2  # more events than the chunk of the data set has room for
BAD_TIME = -3  # a time step of more than 64 bits, or a time out of all reason
BAD_RUN = -4  # a run of equal values goes past the last event

_LATEST = np.uint64(1 << 62)
_STEP_BITS = np.uint64(60)
_ZERO, _ONE, _TWO, _FOUR, _NIBBLE, _SIXTEEN = (np.uint64(n) for n in (0, 1, 2, 4, 15, 16))


@njit(cache=True, nogil=True)
def decode_ecf(
    data: Array, size: Int, room: Int, start: Int, keep: Int, t: Array, x: Array, y: Array, p: Array
) -> Int:
    """Decode the first `keep` events of a chunk into places start..start+keep-1 of the columns.

    data: uint8 with the chunk in its first `size` bytes and at least PADDING bytes behind it; room: most
    events that a chunk of the data set holds. The columns must reach to start + keep.
    Returns the number of events in the chunk, which is not less than the number decoded, or a code below 0.
    """
    if size < 12:
        return TOO_SHORT
    header: Int = np.int64(data[0]) | np.int64(data[1]) << 8 | np.int64(data[2]) << 16
    header |= np.int64(data[3]) << 24
    count = header >> 2
    if count > room or count > LARGEST_COUNT:
        return BAD_COUNT
    keep = min(keep, count)
    if keep <= 0:
        return count
    pos = _decode_times(data, size, count, t[start : start + keep])
    if pos < 0:
        return pos
    if header & 2:
        pos = _decode_packed_all(
            data, size, pos, x[start : start + keep], y[start : start + keep], p[start : start + keep]
        )
        return count if pos >= 0 else pos
    pos = _decode_rows(data, size, pos, count, y[start : start + keep])
    if pos < 0:
        return pos
    if header & 1:
        pos = _decode_packed_xp(data, size, pos, x[start : start + keep], p[start : start + keep])
    else:
        pos = _decode_masks(data, size, pos, count, x[start : start + keep])
        if pos >= 0:
            pos = _decode_polarities(data, size, pos, count, p[start : start + keep])
    return count if pos >= 0 else pos


@njit(cache=True, nogil=True)
def _decode_times(data: Array, size: Int, count: Int, t: Array) -> Int:
    """Bytes step << 4 | run; run 15: a 16-bit run follows; step 15: the run is a nibble of a long step.

    Unsigned throughout: signed indices cost twice the instructions, and this loop is bound by them.
    """
    now = _ZERO
    for k in range(8):
        now |= np.uint64(data[4 + k]) << np.uint64(8 * k)
    bytes_, events, keep = np.uint64(size), np.uint64(count), np.uint64(t.shape[0])
    pos, i, step, shift = np.uint64(12), _ZERO, _ZERO, _ZERO
    while i < events:
        if pos >= bytes_:
            return TOO_SHORT
        v = np.uint64(data[pos])
        pos += _ONE
        # Which kind a byte is, no predictor can foresee: masks instead of branches.
        low = v & _NIBBLE
        long = _ZERO - ((v + _SIXTEEN) >> np.uint64(8))  # all bits set for a byte of a long step, else none
        step |= (low << shift) & long
        now += (step + (v >> _FOUR)) & ~long
        step &= long
        shift = (shift + _FOUR) & long
        run = low & ~long
        if shift > _STEP_BITS or now > _LATEST:
            return BAD_TIME
        if run <= _TWO and i + _TWO <= keep:
            t[i] = now
            t[i + _ONE] = now
        else:
            if run == _NIBBLE:
                run = np.uint64(data[pos]) | np.uint64(data[pos + _ONE]) << np.uint64(8)
                pos += _TWO
            for k in range(i, min(i + run, keep)):
                t[k] = now
        i += run
    if pos > bytes_:
        return TOO_SHORT
    return np.int64(pos) if i == events else BAD_RUN


@njit(cache=True, nogil=True)
def _decode_packed_all(data: Array, size: Int, pos: Int, x: Array, y: Array, p: Array) -> Int:
    """Four events of 24 bits (y << 12 | x << 1 | p) in three 32-bit words, highest bits first."""
    keep = x.shape[0]
    groups = keep // 4
    left = keep - 4 * groups
    if pos + 12 * groups + 4 * left > size:
        return TOO_SHORT
    words = data[pos : pos + 12 * groups].view(np.uint32)
    for g in range(groups):
        i = 4 * g
        w0, w1, w2 = words[3 * g], words[3 * g + 1], words[3 * g + 2]
        a = w0 >> np.uint32(8)
        b = w0 & np.uint32(0xFF) | (w1 >> np.uint32(16)) << np.uint32(8)
        c = w1 & np.uint32(0xFFFF) | (w2 >> np.uint32(24)) << np.uint32(16)
        d = w2 & np.uint32(0xFFFFFF)
        x[i] = a >> np.uint32(1) & np.uint32(0x7FF)
        x[i + 1] = b >> np.uint32(1) & np.uint32(0x7FF)
        x[i + 2] = c >> np.uint32(1) & np.uint32(0x7FF)
        x[i + 3] = d >> np.uint32(1) & np.uint32(0x7FF)
        y[i] = a >> np.uint32(12)
        y[i + 1] = b >> np.uint32(12)
        y[i + 2] = c >> np.uint32(12)
        y[i + 3] = d >> np.uint32(12)
        p[i] = a & np.uint32(1)
        p[i + 1] = b & np.uint32(1)
        p[i + 2] = c & np.uint32(1)
        p[i + 3] = d & np.uint32(1)
    b0 = pos + 12 * groups
    for k in range(left):
        if k == 0:
            low, middle, high = data[b0 + 1], data[b0 + 2], data[b0 + 3]
        elif k == 1:
            low, middle, high = data[b0], data[b0 + 6], data[b0 + 7]
        else:
            low, middle, high = data[b0 + 4], data[b0 + 5], data[b0 + 11]
        w = np.uint32(low) | np.uint32(middle) << np.uint32(8) | np.uint32(high) << np.uint32(16)
        i = 4 * groups + k
        p[i] = w & np.uint32(1)
        x[i] = (w >> np.uint32(1)) & np.uint32(0x7FF)
        y[i] = w >> np.uint32(12)
    return pos + 12 * groups + 4 * left


@njit(cache=True, nogil=True)
def _decode_rows(data: Array, size: Int, pos: Int, count: Int, y: Array) -> Int:
    """16-bit words y << 5 | run; run 31: the next word is the run."""
    bytes_, events, keep = np.uint64(size), np.uint64(count), np.uint64(y.shape[0])
    at, i = np.uint64(pos), _ZERO
    while i < events:
        if at >= bytes_:
            return TOO_SHORT
        v = np.uint64(data[at]) | np.uint64(data[at + _ONE]) << np.uint64(8)
        at += _TWO
        row = np.uint16(v >> np.uint64(5))
        run = v & np.uint64(31)
        if run <= _FOUR and i + _FOUR <= keep:
            y[i] = row
            y[i + _ONE] = row
            y[i + _TWO] = row
            y[i + np.uint64(3)] = row
        else:
            if run == np.uint64(31):
                run = np.uint64(data[at]) | np.uint64(data[at + _ONE]) << np.uint64(8)
                at += _TWO
            for k in range(i, min(i + run, keep)):
                y[k] = row
        i += run
    if at > bytes_:
        return TOO_SHORT
    return np.int64(at) if i == events else BAD_RUN


@njit(cache=True, nogil=True)
def _decode_packed_xp(data: Array, size: Int, pos: Int, x: Array, p: Array) -> Int:
    """Four events of 12 bits (x << 1 | p) in three 16-bit words, highest bits first."""
    keep = x.shape[0]
    groups = keep // 4
    left = keep - 4 * groups
    if pos + 6 * groups + 2 * left > size:
        return TOO_SHORT
    words = data[pos : pos + 6 * groups].view(np.uint16)
    for g in range(groups):
        i = 4 * g
        w0, w1, w2 = np.uint32(words[3 * g]), np.uint32(words[3 * g + 1]), np.uint32(words[3 * g + 2])
        a = w0 >> np.uint32(4)
        b = w0 & np.uint32(0xF) | (w1 >> np.uint32(8)) << np.uint32(4)
        c = w1 & np.uint32(0xFF) | (w2 >> np.uint32(12)) << np.uint32(8)
        d = w2 & np.uint32(0xFFF)
        x[i] = a >> np.uint32(1)
        x[i + 1] = b >> np.uint32(1)
        x[i + 2] = c >> np.uint32(1)
        x[i + 3] = d >> np.uint32(1)
        p[i] = a & np.uint32(1)
        p[i + 1] = b & np.uint32(1)
        p[i + 2] = c & np.uint32(1)
        p[i + 3] = d & np.uint32(1)
    first = pos + 6 * groups
    for k in range(left):
        if k == 0:
            w = np.int64(data[first]) >> 4 | np.int64(data[first + 1]) << 4
        elif k == 1:
            w = np.int64(data[first]) & 15 | np.int64(data[first + 3]) << 4
        else:
            w = np.int64(data[first + 2]) | (np.int64(data[first + 5]) >> 4) << 8
        x[4 * groups + k] = w >> 1
        p[4 * groups + k] = w & 1
    return first + 2 * left


@njit(cache=True, nogil=True)
def _decode_masks(data: Array, size: Int, pos: Int, count: Int, x: Array) -> Int:
    """16-bit words x << 5 | mask of the next five columns, x + 1 in the highest bit of the mask.

    The last mask may reach past the count: encoders let it.
    """
    bytes_, events, keep = np.uint64(size), np.uint64(count), np.uint64(x.shape[0])
    at, i = np.uint64(pos), _ZERO
    while i < events:
        if at >= bytes_:
            return TOO_SHORT
        v = np.uint64(data[at]) | np.uint64(data[at + _ONE]) << np.uint64(8)
        at += _TWO
        column = v >> np.uint64(5)
        if i + np.uint64(6) <= keep:
            # write each column, and step on where its bit is set
            x[i] = column
            i += _ONE
            x[i] = column + _ONE
            i += v >> _FOUR & _ONE
            x[i] = column + _TWO
            i += v >> np.uint64(3) & _ONE
            x[i] = column + np.uint64(3)
            i += v >> _TWO & _ONE
            x[i] = column + _FOUR
            i += v >> _ONE & _ONE
            x[i] = column + np.uint64(5)
            i += v & _ONE
        else:
            v |= np.uint64(32)
            for k in range(6):
                if v >> np.uint64(5 - k) & _ONE:
                    if i < keep:
                        x[i] = column + np.uint64(k)
                    i += _ONE
    return np.int64(at) if at <= bytes_ else TOO_SHORT


@njit(cache=True, nogil=True)
def _decode_polarities(data: Array, size: Int, pos: Int, count: Int, p: Array) -> Int:
    """Bytes p << 7 | run; run 127: a 16-bit run follows."""
    bytes_, events, keep = np.uint64(size), np.uint64(count), np.uint64(p.shape[0])
    at, i = np.uint64(pos), _ZERO
    while i < events:
        if at >= bytes_:
            return TOO_SHORT
        v = np.uint64(data[at])
        at += _ONE
        polarity = np.uint8(v >> np.uint64(7))
        run = v & np.uint64(127)
        if run <= _FOUR and i + _FOUR <= keep:
            p[i] = polarity
            p[i + _ONE] = polarity
            p[i + _TWO] = polarity
            p[i + np.uint64(3)] = polarity
        else:
            if run == np.uint64(127):
                run = np.uint64(data[at]) | np.uint64(data[at + _ONE]) << np.uint64(8)
                at += _TWO
            for k in range(i, min(i + run, keep)):
                p[k] = polarity
        i += run
    if at > bytes_:
        return TOO_SHORT
    return np.int64(at) if i == events else BAD_RUN
