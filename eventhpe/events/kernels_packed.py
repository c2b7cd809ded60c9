"""Events of one interval as single words, and their way into columns (Numba).

One event is one uint64: microseconds since the interval's start << 33 | y << 17 | x << 1 | polarity. So x
and y come out without a division, and an interval of up to 2^31 µs fits.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
U16 = NDArray[np.uint16]
U64 = NDArray[np.uint64]


@njit(cache=True, nogil=True)
def packed(micro: int, y: int, x: int, polarity: int) -> np.uint64:
    """One event as a word."""
    return (np.uint64(micro) << np.uint64(33)) | np.uint64((y << 17) | (x << 1) | polarity)


@njit(cache=True, nogil=True)
def with_room(buffer: U64, used: int, needed: int) -> U64:
    """The buffer, or a larger copy of its first `used` words when `needed` more do not fit."""
    if used + needed <= buffer.size:
        return buffer
    out = np.empty(max(2 * buffer.size, used + needed), np.uint64)
    out[:used] = buffer[:used]
    return out


@njit(cache=True, nogil=True)
def unpack(words: U64, t0: int, t: I64, x: U16, y: U16, p: U8) -> None:
    """Write words out as columns."""
    for i in range(words.size):
        word = words[i]
        t[i] = t0 + np.int64(word >> np.uint64(33))
        y[i] = np.uint16((word >> np.uint64(17)) & np.uint64(0xFFFF))
        x[i] = np.uint16((word >> np.uint64(1)) & np.uint64(0xFFFF))
        p[i] = np.uint8(word & np.uint64(1))


@njit(cache=True, nogil=True)
def sort_and_unpack(
    words: U64, span: int, starts: I32, ordered: U64, t0: int, t: I64, x: U16, y: U16, p: U8
) -> None:
    """Stable counting sort by microsecond, written out as columns.

    Args:
        words: events, their microseconds at most `span`.
        starts: scratch of at least span + 2.
        ordered: scratch as long as `words`; one write per event goes to a random place, not four.
    """
    for m in range(span + 2):
        starts[m] = 0
    for i in range(words.size):
        starts[(words[i] >> np.uint64(33)) + np.uint64(1)] += np.int32(1)
    total = np.int32(0)
    for m in range(span + 1):
        total += starts[m]
        starts[m] = total
    for i in range(words.size):
        micro = words[i] >> np.uint64(33)
        ordered[starts[micro]] = words[i]
        starts[micro] += np.int32(1)
    unpack(ordered, t0, t, x, y, p)
