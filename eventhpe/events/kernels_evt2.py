"""Numba kernels for Prophesee words of 32 and 64 bits: EVT2, EVT2.1, EVT4, DAT. As told in kernels_evt."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from eventhpe.events.kernels_bytes import trailing_zeros_of
from eventhpe.events.kernels_evt import (
    EVT4_MOST,
    EVT21_MOST,
    STATE_BASE,
    STATE_HIGH,
    STATE_OTHER,
    STATE_SKIPPED,
    STATE_UNKNOWN,
)

Array = NDArray[Any]

# The 34-bit clock has made a turn when it falls by at least this much; a smaller fall is a damaged word.
_TURN = 1 << 34
_EVT2_FALL = _TURN - 64 - 10_000
_EVT4_FALL = _TURN // 2
_HALF_DAT = 1 << 31


@njit(cache=True, nogil=True)
def _next_base(base: Any, high: Any, new: Any, fall: int) -> Any:
    """Absolute µs of TIME_HIGH `new` of a 34-bit clock, after `high` at `base` (high -1: the first one)."""
    if high < 0:
        return new << 6
    step = (new - high) << 6
    return base + step + (_TURN if step <= -fall else 0)


@njit(cache=True, nogil=True)
def _plain_evt2(words: Array, high: int, base: int, t: Array, x: Array, y: Array, p: Array) -> int:
    """Decode words that are all events or TIME_HIGH counting up; returns the number of events.

    -1 (outputs are scratch then) where there are others. The first loop has no branches: clock and word of
    every event go to `t`; then loops over columns, which become vector instructions, take them apart.
    """
    other = np.int64(0)
    for i in range(words.shape[0]):
        kind = words[i] >> np.uint32(28)
        other += (kind > 1) & (kind != 8)
    if other:
        return -1
    n = np.uint64(0)
    now = np.int64(high)
    fell = np.int64(0)
    for i in range(words.shape[0]):
        w = np.int64(words[i])
        is_clock = w >> 31
        new = w & 0xFFFFFFF if is_clock else now
        fell |= new - now
        now = new
        t[n] = ((now - high) << 32) | w
        n += np.uint64(1 - is_clock)
    if fell < 0:
        return -1
    count = int(np.int64(n))
    for i in range(count):
        x[i] = (t[i] >> 11) & 0x7FF
    for i in range(count):
        y[i] = t[i] & 0x7FF
    for i in range(count):
        p[i] = (t[i] >> 28) & 1
    for i in range(count):
        t[i] = base + ((t[i] >> 32) << 6) + ((t[i] >> 22) & 0x3F)
    return count


@njit(cache=True, nogil=True)
def decode_evt2(
    words: Array,
    state: Array,
    t: Array,
    x: Array,
    y: Array,
    p: Array,
    trigger_t: Array,
    trigger_value: Array,
    trigger_channel: Array,
) -> tuple[int, int, int]:
    """Decode EVT2 words, (n,) uint32."""
    n = np.uint64(0)
    m = 0
    used = words.shape[0]
    places = np.uint64(t.shape[0])
    high = state[STATE_HIGH]
    base = state[STATE_BASE]
    skipped = 0
    other = 0
    unknown = 0
    if high >= 0 and words.shape[0] <= t.shape[0]:
        found = _plain_evt2(words, high, base, t, x, y, p)
        if found >= 0:
            high_now = high
            for k in range(words.shape[0] - 1, -1, -1):
                if words[k] >> np.uint32(28) == 8:
                    high_now = np.int64(words[k] & np.uint32(0xFFFFFFF))
                    break
            state[STATE_HIGH] = high_now
            state[STATE_BASE] = base + ((high_now - high) << 6)
            return used, found, 0
    for i in range(words.shape[0]):
        if n >= places:
            used = i
            break
        w = np.int64(words[i])
        kind = w >> 28
        if kind == 8:
            new = w & 0xFFFFFFF
            base = _next_base(base, high, new, _EVT2_FALL)
            high = new
        elif high < 0:
            skipped += 1
        elif kind <= 1:
            t[n] = base + ((w >> 22) & 0x3F)
            x[n] = (w >> 11) & 0x7FF
            y[n] = w & 0x7FF
            p[n] = kind
            n += np.uint64(1)
        elif kind == 10:
            if m >= trigger_t.shape[0]:
                used = i
                break
            trigger_t[m] = base + ((w >> 22) & 0x3F)
            trigger_value[m] = w & 1
            trigger_channel[m] = (w >> 8) & 0x1F
            m += 1
        elif kind == 5 or kind >= 13:
            other += 1
        else:
            unknown += 1
    state[STATE_HIGH] = high
    state[STATE_BASE] = base
    state[STATE_SKIPPED] += skipped
    state[STATE_OTHER] += other
    state[STATE_UNKNOWN] += unknown
    return used, int(np.int64(n)), m


@njit(cache=True, nogil=True)
def decode_evt4(
    words: Array,
    state: Array,
    t: Array,
    x: Array,
    y: Array,
    p: Array,
    trigger_t: Array,
    trigger_value: Array,
    trigger_channel: Array,
) -> tuple[int, int, int]:
    """Decode EVT4 words, (n,) uint32. A vector whose mask word is not there yet is not used up."""
    one = np.uint64(1)
    i = np.uint64(0)
    n = np.uint64(0)
    m = np.uint64(0)
    last = np.uint64(words.shape[0])
    places = np.uint64(max(0, t.shape[0] - EVT4_MOST + 1))
    trigger_places = np.uint64(trigger_t.shape[0])
    high = state[STATE_HIGH]
    base = state[STATE_BASE]
    skipped = 0
    other = 0
    unknown = 0
    while i < last and n < places and m < trigger_places:
        w = np.int64(words[i])
        kind = w >> 28
        if kind == 14:
            new = w & 0xFFFFFFF
            base = _next_base(base, high, new, _EVT4_FALL)
            high = new
        elif kind == 12 or kind == 13:
            i += one
            if i >= last:
                i -= one
                break
            mask = np.uint64(words[i])
            if high < 0:
                skipped += 2
                mask = np.uint64(0)
            now = base + ((w >> 22) & 0x3F)
            column = np.uint64((w >> 11) & 0x7FF)
            while mask:
                t[n] = now
                x[n] = column + trailing_zeros_of(mask)
                y[n] = w & 0x7FF
                p[n] = kind & 1
                n += one
                mask &= mask - one
        elif high < 0:
            skipped += 1
        elif kind == 10 or kind == 11:
            t[n] = base + ((w >> 22) & 0x3F)
            x[n] = (w >> 11) & 0x7FF
            y[n] = w & 0x7FF
            p[n] = kind & 1
            n += one
        elif kind == 9:
            trigger_t[m] = base + ((w >> 22) & 0x3F)
            trigger_value[m] = w & 1
            trigger_channel[m] = (w >> 8) & 0x1F
            m += one
        elif kind == 6 or kind == 7:
            other += 1
        elif kind != 15:  # padding
            unknown += 1
        i += one
    state[STATE_HIGH] = high
    state[STATE_BASE] = base
    state[STATE_SKIPPED] += skipped
    state[STATE_OTHER] += other
    state[STATE_UNKNOWN] += unknown
    return int(i), int(n), int(m)


@njit(cache=True, nogil=True)
def decode_evt21(
    words: Array,
    state: Array,
    t: Array,
    x: Array,
    y: Array,
    p: Array,
    trigger_t: Array,
    trigger_value: Array,
    trigger_channel: Array,
    swapped: bool,
) -> tuple[int, int, int]:
    """Decode EVT2.1 words, (n,) uint64; swapped: the upper half of each word comes first in the file."""
    one = np.uint64(1)
    i = np.uint64(0)
    n = np.uint64(0)
    m = np.uint64(0)
    last = np.uint64(words.shape[0])
    places = np.uint64(max(0, t.shape[0] - EVT21_MOST + 1))
    trigger_places = np.uint64(trigger_t.shape[0])
    upper_shift = np.uint64(0 if swapped else 32)
    mask_shift = np.uint64(32 if swapped else 0)
    high = state[STATE_HIGH]
    base = state[STATE_BASE]
    skipped = 0
    other = 0
    unknown = 0
    while i < last and n < places and m < trigger_places:
        word = words[i]
        i += one
        w = np.int64((word >> upper_shift) & np.uint64(0xFFFFFFFF))
        kind = w >> 28
        if kind == 8:
            new = w & 0xFFFFFFF
            base = _next_base(base, high, new, _EVT2_FALL)
            high = new
        elif high < 0:
            skipped += 1
        elif kind <= 1:
            mask = (word >> mask_shift) & np.uint64(0xFFFFFFFF)
            now = base + ((w >> 22) & 0x3F)
            column = np.uint64((w >> 11) & 0x7FF)
            while mask:
                t[n] = now
                x[n] = column + trailing_zeros_of(mask)
                y[n] = w & 0x7FF
                p[n] = kind
                n += one
                mask &= mask - one
        elif kind == 10:
            trigger_t[m] = base + ((w >> 22) & 0x3F)
            trigger_value[m] = w & 1
            trigger_channel[m] = (w >> 8) & 0x1F
            m += one
        elif kind >= 14:
            other += 1
        else:
            unknown += 1
    state[STATE_HIGH] = high
    state[STATE_BASE] = base
    state[STATE_SKIPPED] += skipped
    state[STATE_OTHER] += other
    state[STATE_UNKNOWN] += unknown
    return int(i), int(n), int(m)


@njit(cache=True, nogil=True)
def _dat_base(base: Any, before: Any, now: Any) -> Any:
    """µs of completed turns of a 32-bit clock that went from `before` to `now` (before -1: the first)."""
    if before >= 0:
        if before - now > _HALF_DAT:
            return base + 2 * _HALF_DAT
        if now - before > _HALF_DAT and base > 0:
            return base - 2 * _HALF_DAT  # from just before the turn, but late
    return base


@njit(cache=True, nogil=True)
def decode_dat(
    words: Array,
    state: Array,
    t: Array,
    x: Array,
    y: Array,
    p: Array,
    trigger_t: Array,
    trigger_value: Array,
    trigger_channel: Array,
    first_version: bool,
) -> tuple[int, int, int]:
    """Decode DAT records of contrast events, (n,) uint64: time below, address above."""
    n = min(words.shape[0], t.shape[0])
    before = state[STATE_HIGH]
    base = state[STATE_BASE]
    column_bits = np.int64(9 if first_version else 14)
    column_mask = (np.int64(1) << column_bits) - 1
    row_mask = np.int64(0xFF if first_version else 0x3FFF)
    polarity_bit = np.int64(17 if first_version else 28)
    # Where the clock makes no turn (nearly always) nothing depends on the record before: vector loops.
    steps = np.int64(0)
    for i in range(1, n):
        steps += np.uint32(words[i]) < np.uint32(words[i - 1])
    if n and steps == 0 and before >= 0:
        first = np.int64(np.uint32(words[0]))
        last = np.int64(np.uint32(words[n - 1]))
        if before <= first and last - before <= _HALF_DAT:
            columns = np.uint64(column_mask)
            rows = np.uint64(row_mask)
            row_shift = np.uint64(32 + column_bits)
            polarity_shift = np.uint64(32 + polarity_bit)
            for i in range(n):
                word = words[i]
                t[i] = base + np.int64(word & np.uint64(0xFFFFFFFF))
                x[i] = (word >> np.uint64(32)) & columns
                y[i] = (word >> row_shift) & rows
                p[i] = (word >> polarity_shift) & np.uint64(1)
            state[STATE_HIGH] = last
            return n, n, 0
    for i in range(n):
        word = words[i]
        now = np.int64(word & np.uint64(0xFFFFFFFF))
        w = np.int64(word >> np.uint64(32))
        if now < before or now - before > _HALF_DAT:
            base = _dat_base(base, before, now)
        before = now
        t[i] = base + now
        x[i] = w & column_mask
        y[i] = (w >> column_bits) & row_mask
        p[i] = (w >> polarity_bit) & 1
    state[STATE_HIGH] = before
    state[STATE_BASE] = base
    return n, n, 0


@njit(cache=True, nogil=True)
def decode_dat_triggers(
    words: Array,
    state: Array,
    t: Array,
    x: Array,
    y: Array,
    p: Array,
    trigger_t: Array,
    trigger_value: Array,
    trigger_channel: Array,
) -> tuple[int, int, int]:
    """Decode DAT records of external triggers, (n,) uint64: time below, value and input above."""
    m = min(words.shape[0], trigger_t.shape[0])
    for i in range(m):
        word = words[i]
        now = np.int64(word & np.uint64(0xFFFFFFFF))
        w = np.int64(word >> np.uint64(32))
        state[STATE_BASE] = _dat_base(state[STATE_BASE], state[STATE_HIGH], now)
        state[STATE_HIGH] = now
        trigger_t[i] = state[STATE_BASE] + now
        trigger_value[i] = 1 if w & 0xF else 0
        trigger_channel[i] = (w >> 26) & 0x3F
    return m, 0, m
