"""Numba kernels that turn Prophesee words into event columns; bit layouts: docs/formats.md.

All `decode_*` kernels work alike. They decode words until these end, or an output has no place for what the
next word may hold; `state` (STATE_SIZE,) int64 carries all else from call to call. Outputs: t int64 absolute
µs, x, y uint16 as they come (also beyond the sensor), p uint8; trigger_t int64, trigger_value (1 rising, 0
falling) and trigger_channel uint8. They return (words used, events, triggers).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from eventhpe.events.kernels_bytes import trailing_zeros_of

Array = NDArray[Any]

# Layout of the state vector. A kernel uses what its format needs. Places before STATE_CARRIED decide what the
# next word means; the rest count and may be zeroed between calls.
STATE_HIGH = 0  # last TIME_HIGH (DAT: time) as in the file, -1 before the first one
STATE_BASE = (
    1  # absolute µs of that TIME_HIGH, completed turns of the clock included (DAT: these turns in µs)
)
STATE_LOW = 2  # EVT3: µs to add, from the last TIME_LOW
STATE_ROW = 3  # EVT3: row of the last ADDR_Y, -1 while there is none
STATE_COLUMN = 4  # EVT3: column of the next vector, FAR_COLUMN while there is none
STATE_POLARITY = 5  # EVT3: polarity of the next vector
STATE_CARRIED = 6
STATE_SKIPPED = 6  # words before the first TIME_HIGH, and events without an address
STATE_OTHER = 7  # monitoring words and their continuations
STATE_UNKNOWN = 8  # words of a type that the format does not have
STATE_SIZE = 9

#: No sensor has such a column (addresses have 11 bits): vectors that run further are not written.
FAR_COLUMN = 4096

#: State before the first word.
START = (-1, 0, 0, -1, FAR_COLUMN, 0, 0, 0, 0)

# Most events of one word: a kernel stops when fewer places are left.
EVT2_MOST = 1
EVT3_MOST = 12
EVT4_MOST = 32
EVT21_MOST = 32


@njit(cache=True, nogil=True)
def decode_evt3(
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
    """Decode EVT3 words, (n,) uint16.

    Most events come as [equal TIME_HIGH], [TIME_LOW], [ADDR_Y], ADDR_X: these four are looked at together and
    without branches, since which of them are there cannot be predicted; all else goes word by word.
    """
    one = np.uint64(1)
    i = np.uint64(0)
    n = np.uint64(0)
    m = np.uint64(0)
    last = np.uint64(words.shape[0])
    places = np.uint64(max(0, t.shape[0] - EVT3_MOST + 1))
    trigger_places = np.uint64(trigger_t.shape[0])
    high = state[STATE_HIGH]
    base = state[STATE_BASE]
    now = base + state[STATE_LOW]
    row = state[STATE_ROW]
    column = state[STATE_COLUMN]
    polarity = state[STATE_POLARITY]
    skipped = 0
    other = 0
    unknown = 0
    triples = last - one if last > one else np.uint64(0)
    triple_places = np.uint64(max(0, t.shape[0] - 31))
    together = last - np.uint64(3) if last > np.uint64(3) else np.uint64(0)
    high_word = np.int64(0x8000) | high
    while i < last and n < places and m < trigger_places:
        w = np.int64(words[i])
        if i < together and row >= 0:
            b = np.int64(words[i + one])
            c = np.int64(words[i + np.uint64(2)])
            d = np.int64(words[i + np.uint64(3)])
            step = np.uint64(w == high_word)
            w, b, c = (b, c, d) if w == high_word else (w, b, c)
            is_low = (w >> 12) == 6
            now = base + (w & 0xFFF) if is_low else now
            w, b = (b, c) if is_low else (w, b)
            is_row = w < 0x1000
            row = w & 0x7FF if is_row else row
            w = b if is_row else w
            i += step + np.uint64(is_low) + np.uint64(is_row)
            if (w >> 12) == 2:
                t[n] = now
                x[n] = w & 0x7FF
                y[n] = row
                p[n] = (w >> 11) & 1
                n += one
                i += one
                continue
        i += one
        kind = w >> 12
        if kind == 8:
            new = w & 0xFFF
            if new != high:
                if high >= 0 and high - new >= 2048:
                    base += 1 << 24
                base += (new - max(high, 0)) << 12
                high = new
                high_word = w
                now = base  # until the next TIME_LOW
        elif high < 0:
            skipped += 1
        elif kind == 6:
            now = base + (w & 0xFFF)
        elif kind == 0:
            row = w & 0x7FF
        elif kind == 3:
            column = w & 0x7FF
            polarity = (w >> 11) & 1
        elif kind == 4 or kind == 5:
            if row < 0 or column >= FAR_COLUMN:
                skipped += 1
                continue
            length = 12 if kind == 4 else 8
            mask = np.uint64(w & 0xFFF if kind == 4 else w & 0xFF)
            if kind == 4 and i < triples and n < triple_places and column < 2048:
                b = np.int64(words[i])
                c = np.int64(words[i + one])
                if (b >> 12) == 4 and (c >> 12) == 5:  # 12, 12 and 8 columns make one vector
                    mask |= np.uint64((b & 0xFFF) << 12 | (c & 0xFF) << 24)
                    length = 32
                    i += np.uint64(2)
            while mask:
                t[n] = now
                x[n] = np.uint64(column) + trailing_zeros_of(mask)
                y[n] = row
                p[n] = polarity
                n += one
                mask &= mask - one
            column += length
        elif kind == 2:
            if row < 0:
                skipped += 1
                continue
            t[n] = now
            x[n] = w & 0x7FF
            y[n] = row
            p[n] = (w >> 11) & 1
            n += one
        elif kind == 10:
            trigger_t[m] = now
            trigger_value[m] = w & 1
            trigger_channel[m] = (w >> 8) & 0xF
            m += one
        elif kind == 14 or kind == 7 or kind == 15:
            other += 1
        else:
            unknown += 1
            if kind == 1:
                row = -1  # what follows are no contrast events, until the next ADDR_Y
    state[STATE_HIGH] = high
    state[STATE_BASE] = base
    state[STATE_LOW] = now - base
    state[STATE_ROW] = row
    state[STATE_COLUMN] = column
    state[STATE_POLARITY] = polarity
    state[STATE_SKIPPED] += skipped
    state[STATE_OTHER] += other
    state[STATE_UNKNOWN] += unknown
    return int(i), int(n), int(m)
