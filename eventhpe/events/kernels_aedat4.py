"""Numba kernels for AEDAT 4: packets of events into columns, fields of many small tables into arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from eventhpe.events import kernels_lz4 as lz4

Array = NDArray[Any]

# What the packets are packed with.
PLAIN, LZ4, LZ4_HIGH = 0, 1, 2

_EVTS = 0x53545645  # "EVTS", little-endian
EVENT_BYTES = 16


@njit(cache=True, nogil=True)
def _find_events(base: int, size: int) -> tuple[int, int]:
    """(offset of the first struct, number of structs) in the size-prefixed FlatBuffer at address base.

    The number is -1 when the buffer is not one of events, is damaged, or has not the size it says.
    """
    if size < 20 or lz4.load_4(base + 8) != _EVTS:
        return 0, -1
    prefix = lz4.load_4(base)
    table = 4 + lz4.load_4(base + 4)
    if prefix + 4 != size or prefix < 8 or table + 4 > size:
        return 0, -1
    back = lz4.load_4(base + table)
    fields = table - (back if back < 1 << 31 else back - (1 << 32))
    if fields < 0 or fields + 4 > size:
        return 0, -1
    if lz4.load_2(base + fields) < 6:
        return 0, 0
    if fields + 6 > size:
        return 0, -1
    place = lz4.load_2(base + fields + 4)
    if place == 0:
        return 0, 0
    place += table
    if place + 4 > size:
        return 0, -1
    start = place + lz4.load_4(base + place)
    if start + 4 > size:
        return 0, -1
    count = lz4.load_4(base + start)
    if start + 4 + count * EVENT_BYTES > size:
        return 0, -1
    return start + 4, count


@njit(cache=True, nogil=True)
def _copy_events(
    buffer: Array, start: int, count: int, flip_height: int, n: int, t: Array, x: Array, y: Array, p: Array
) -> None:
    """Split `count` event structs at byte `start` into the columns, from place n on; all must be inside."""
    words = buffer[start : start + count * EVENT_BYTES].view(np.int64)
    t_n, x_n, y_n, p_n = t[n:], x[n:], y[n:], p[n:]
    for k in range(count):
        w = words[2 * k + 1]
        t_n[k] = words[2 * k]
        x_n[k] = np.uint16(w)
        y_n[k] = np.uint16(w >> 16)
        p_n[k] = 1 if (w >> 32) & 0xFF else 0
    if flip_height > 0:
        for k in range(count):
            y_n[k] = np.uint16(flip_height - 1 - y_n[k])


@njit(cache=True, nogil=True)
def copy_aedat4(
    buffer: Array, start: int, count: int, flip_height: int, n: int, t: Array, x: Array, y: Array, p: Array
) -> bool:
    """Split `count` event structs at byte `start` of a uint8 buffer into the columns, from place n on.

    flip_height: 0, or H for files whose rows count from the bottom. False: nothing done, they do not fit.
    """
    inside = 0 <= start and 0 <= count and start + count * EVENT_BYTES <= buffer.shape[0]
    if not inside or n < 0 or n + count > min(t.shape[0], x.shape[0], y.shape[0], p.shape[0]):
        return False
    _copy_events(buffer, start, count, flip_height, n, t, x, y, p)
    return True


@njit(cache=True, nogil=True)
def decode_packets(
    buffer: Array,
    position: int,
    stop: int,
    last: int,
    streams: Array,
    packing: int,
    scratch: Array,
    block_events: int,
    n: int,
    largest: int,
    t: Array,
    x: Array,
    y: Array,
    p: Array,
    camera: Array,
) -> tuple[int, int, int, int]:
    """Decode packets of events one after the other, until the buffer or the block ends or another comes.

    buffer: uint8 with the packets at bytes position..stop and `kernels_lz4.SLACK` bytes behind them.
    last: no packet that begins at this byte or later is taken.
    streams: (S, 2) int64, id and flip_height (see `copy_aedat4`) of the event streams; camera = row.
    packing: what the packets are packed with; scratch: uint8, room for one unpacked packet and SLACK bytes.
    n: events in the columns so far; largest: events of the largest packet of this block so far.
    Returns (position behind the last packet, n, largest, packets). No packet is done where the first one is
    not of these streams, is damaged, or does not fit into the scratch or the block.
    """
    base = lz4.address_of(buffer)
    unpacked = lz4.address_of(scratch)
    room = scratch.shape[0] - lz4.SLACK
    stop = min(stop, buffer.shape[0] - lz4.SLACK)
    capacity = min(block_events, t.shape[0], x.shape[0], y.shape[0], p.shape[0], camera.shape[0])
    packets = 0
    while n + largest <= block_events and position < last and position + 8 <= stop:
        stream = lz4.load_4(base + position)
        size = lz4.load_4(base + position + 4)
        k = 0
        while k < streams.shape[0] and streams[k, 0] != stream:
            k += 1
        if k == streams.shape[0] or position + 8 + size > stop:
            break
        if packing == PLAIN:
            start, count = _find_events(base + position + 8, size)
        else:
            length = lz4.decode_frame(base + position + 8, size, unpacked, room, packing == LZ4_HIGH)
            start, count = _find_events(unpacked, length)
        if count < 0 or n + count > capacity:
            break
        if packing == PLAIN:
            _copy_events(buffer, position + 8 + start, count, streams[k, 1], n, t, x, y, p)
        else:
            _copy_events(scratch, start, count, streams[k, 1], n, t, x, y, p)
        if streams.shape[0] > 1:
            camera[n : n + count] = k
        n += count
        largest = max(largest, count)
        packets += 1
        position += 8 + size
    return position, n, largest, packets


@njit(cache=True, nogil=True)
def gather_field(buffer: Array, start: int, index: int, num_bytes: int, out: Array) -> bool:
    """Field `index` (1, 4 or 8 bytes) of all tables of a vector, as bits in (N,) int64; 0 where absent.

    buffer: uint8 FlatBuffer; start: byte of the first of N offsets. False: something lies outside.
    """
    size = buffer.shape[0]
    base = lz4.address_of(buffer)
    if start < 0 or start + 4 * out.shape[0] > size:
        return False
    for k in range(out.shape[0]):
        table = start + 4 * k + lz4.load_4(base + start + 4 * k)
        if table + 4 > size:
            return False
        back = lz4.load_4(base + table)
        fields = table - (back if back < 1 << 31 else back - (1 << 32))
        if fields < 0 or fields + 4 > size:
            return False
        slot = 4 + 2 * index
        place = 0
        if lz4.load_2(base + fields) >= slot + 2:
            if fields + slot + 2 > size:
                return False
            place = lz4.load_2(base + fields + slot)
        out[k] = 0
        if place == 0:
            continue
        place += table
        if place + num_bytes > size:
            return False
        if num_bytes == 1:
            out[k] = lz4.load_1(base + place)
        elif num_bytes == 4:
            out[k] = lz4.load_4(base + place)
        else:
            out[k] = lz4.load_8(base + place)
    return True
