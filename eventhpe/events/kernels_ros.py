"""Numba kernels for the payloads of ROS event messages.

Every kernel decodes until its input or its output ends and returns (units used, events written), so that a
message may be continued in the next block. Bounds are taken from the arrays alone; nothing in a message
leads outside them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Array = NDArray[Any]

#: Bytes of one dvs_msgs/Event in ROS 1: x u2, y u2, seconds u4, nanoseconds u4, polarity u1, without padding.
ROS1_EVENT = 13
#: In ROS 2 (CDR) the first event is packed the same way, every later one is padded to this.
ROS2_EVENT = 16

# State of the packet decoders (int64), carried through a message, and partly by libcaer_cmp to the next one.
STATE_TIME = 0  # libcaer: last 31-bit time. libcaer_cmp: high and low time
STATE_WRAPS = 1  # libcaer: turns of the 31-bit clock within the message
STATE_SKIPPED = (
    2  # libcaer: words whose valid bit is 0, libcaer_cmp: words with an unknown code; the caller resets it
)
STATE_X = 3  # libcaer_cmp: column of the next events
STATE_BASE_Y = 4  # libcaer_cmp: row of bit 0 of the next vector
STATE_POLARITY = 5  # libcaer_cmp: polarity of the next vector
STATE_SIZE = 6


@njit(cache=True, nogil=True)
def decode_dvs_ros1(data: Array, first: int, t: Array, x: Array, y: Array, p: Array) -> tuple[int, int]:
    """Events of a ROS 1 EventArray from number `first` on; data: (13 n,) uint8."""
    n = min(data.shape[0] // ROS1_EVENT - first, t.shape[0])
    for i in range(n):
        e = data[(first + i) * ROS1_EVENT : (first + i) * ROS1_EVENT + ROS1_EVENT]
        x[i] = np.uint16(e[0]) | (np.uint16(e[1]) << np.uint16(8))
        y[i] = np.uint16(e[2]) | (np.uint16(e[3]) << np.uint16(8))
        seconds = _u32(e, 4)
        nanoseconds = _u32(e, 8)
        t[i] = np.int64(seconds) * 1_000_000 + np.int64(nanoseconds // np.uint32(1000))
        p[i] = np.uint8(e[12] != 0)
    return n, n


@njit(cache=True, nogil=True)
def decode_dvs_ros2(data: Array, first: int, t: Array, x: Array, y: Array, p: Array) -> tuple[int, int]:
    """Events of a ROS 2 EventArray from number `first` on; data: (16 n - 3,) uint8."""
    n = min((data.shape[0] + 3) // ROS2_EVENT - first, t.shape[0])
    start = 0
    if first == 0 and n > 0:  # the only event without two bytes of padding before its seconds
        decode_dvs_ros1(data[:ROS1_EVENT], 0, t[:1], x[:1], y[:1], p[:1])
        start = 1
    for i in range(start, n):
        e = data[(first + i) * ROS2_EVENT - 2 : (first + i) * ROS2_EVENT + ROS1_EVENT]
        x[i] = np.uint16(e[0]) | (np.uint16(e[1]) << np.uint16(8))
        y[i] = np.uint16(e[2]) | (np.uint16(e[3]) << np.uint16(8))
        t[i] = np.int64(_u32(e, 6)) * 1_000_000 + np.int64(_u32(e, 10) // np.uint32(1000))
        p[i] = np.uint8(e[14] != 0)
    return n, n


@njit(cache=True, nogil=True)
def _u32(data: Array, at: int) -> Any:
    return (
        np.uint32(data[at])
        | (np.uint32(data[at + 1]) << np.uint32(8))
        | (np.uint32(data[at + 2]) << np.uint32(16))
        | (np.uint32(data[at + 3]) << np.uint32(24))
    )


@njit(cache=True, nogil=True)
def decode_libcaer(
    words: Array, base_us: int, state: Array, t: Array, x: Array, y: Array, p: Array
) -> tuple[int, int]:
    """Polarity words of libcaer: (2n,) uint32 = data, 31-bit µs, data, ...; used counts uint32 words."""
    last = state[STATE_TIME]
    wraps = state[STATE_WRAPS]
    used = 0
    n = 0
    skipped = 0
    room = t.shape[0]
    for i in range(words.shape[0] // 2):
        if n == room:
            break
        word = np.int64(words[2 * i])
        now = np.int64(words[2 * i + 1]) & 0x7FFFFFFF
        if now < last:
            wraps += 1
        last = now
        used += 2
        if not word & 1:
            skipped += 1
            continue
        t[n] = base_us + now + (wraps << 31)
        x[n] = np.uint16(word >> 17)
        y[n] = np.uint16((word >> 2) & 0x7FFF)
        p[n] = np.uint8((word >> 1) & 1)
        n += 1
    state[STATE_TIME] = last
    state[STATE_WRAPS] = wraps
    state[STATE_SKIPPED] += skipped
    return used, n


@njit(cache=True, nogil=True)
def decode_libcaer_cmp(
    words: Array, base_us: int, state: Array, t: Array, x: Array, y: Array, p: Array
) -> tuple[int, int]:
    """Compressed libcaer packets: (n,) uint16 words, code in the upper four bits."""
    time = state[STATE_TIME]
    column = state[STATE_X]
    base = state[STATE_BASE_Y]
    polarity = state[STATE_POLARITY]
    used = 0
    n = 0
    skipped = 0
    room = t.shape[0]
    for i in range(words.shape[0]):
        if n + 8 > room:  # a vector is up to eight events
            break
        word = np.int64(words[i])
        code = word >> 12
        used += 1
        if code == 3:  # one event: row and polarity
            t[n] = base_us + time
            x[n] = np.uint16(column)
            y[n] = np.uint16(word & 0x7FF)
            p[n] = np.uint8((word >> 11) & 1)
            n += 1
        elif code == 2:
            column = word & 0x7FF
        elif code == 1:
            time = (time & ~0xFFF) | (word & 0xFFF)
        elif code == 5:  # up to eight events below one another
            for bit in range(8):
                if (word >> bit) & 1:
                    t[n] = base_us + time
                    x[n] = np.uint16(column)
                    y[n] = np.uint16(base + bit)
                    p[n] = np.uint8(polarity)
                    n += 1
            base = (base + 8) & 0xFFFF
        elif code == 4:
            base = word & 0x7FF
            polarity = (word >> 11) & 1
        elif code == 0:
            time = ((word & 0xFFF) << 12) | (time & 0xFFF)
        else:
            skipped += 1
    state[STATE_TIME] = time
    state[STATE_X] = column
    state[STATE_BASE_Y] = base
    state[STATE_POLARITY] = polarity
    state[STATE_SKIPPED] += skipped
    return used, n


@njit(cache=True, nogil=True)
def decode_mono(words: Array, base_ns: int, t: Array, x: Array, y: Array, p: Array) -> tuple[int, int]:
    """Words of the encoding "mono": (n,) int64 = polarity, row (15 bits), column (16), nanoseconds (32)."""
    n = min(words.shape[0], t.shape[0])
    base_us = base_ns // 1000
    rest = base_ns % 1000
    for i in range(n):
        word = words[i]
        t[i] = base_us + (rest + (word & 0xFFFFFFFF)) // 1000
        x[i] = np.uint16((word >> 32) & 0xFFFF)
        y[i] = np.uint16((word >> 48) & 0x7FFF)
        p[i] = np.uint8((word >> 63) & 1)
    return n, n
