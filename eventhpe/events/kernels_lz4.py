"""LZ4 frames decoded without a copy, tuned to event structs: a few new bytes, a few repeated ones, and so on.

They work on addresses. Whoever calls them leaves `SLACK` bytes behind the source and behind the output:
copies go in steps of 8 and 16 bytes, and may read and write that far past their end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

SLACK = 64

#: Results of `decode_frame` that are no length: damaged or not known here; more room is needed.
UNUSUAL = -1
FULL = -2


def _mover(num_bytes: int) -> Any:
    """Intrinsic copy(destination, source): num_bytes at any address, all read before any is written."""
    kind = ir.IntType(8 * num_bytes) if num_bytes <= 8 else ir.VectorType(ir.IntType(64), num_bytes // 8)

    @intrinsic
    def copy(typing_context: Any, destination: Any, source: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            value = builder.load(builder.inttoptr(arguments[1], kind.as_pointer()), align=1)
            builder.store(value, builder.inttoptr(arguments[0], kind.as_pointer()), align=1)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), build

    return copy


def _loader(num_bytes: int) -> Any:
    """Intrinsic load(address): little-endian number of num_bytes at any address, unsigned below 8 bytes."""
    kind = ir.IntType(8 * num_bytes)

    @intrinsic
    def load(typing_context: Any, address: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            value = builder.load(builder.inttoptr(arguments[0], kind.as_pointer()), align=1)
            return builder.zext(value, ir.IntType(64)) if num_bytes < 8 else value

        return types.int64(types.int64), build

    return load


copy_1, copy_8, copy_16 = _mover(1), _mover(8), _mover(16)
load_1, load_2, load_4, load_8 = _loader(1), _loader(2), _loader(4), _loader(8)


@njit(cache=True, nogil=True)
def address_of(array: NDArray[Any]) -> Any:
    """Address of the first byte as int64 (unsigned addresses turn sums into floating point)."""
    return np.int64(array.ctypes.data)


def _block_decoder(wide: bool) -> Any:
    """A kernel for blocks whose repeats are mostly short, or of any length."""

    @njit(cache=True, nogil=True)
    def decode_block(i: int, end: int, o: int, lowest: int, limit: int) -> int:
        """Decode the block at i..end to o; repeats reach back to `lowest`. Returns the new o, or UNUSUAL."""
        while i < end:
            token = load_1(i)
            i += 1
            literals = token >> 4
            repeat = token & 15
            if literals <= 8 and repeat < 15 and i + 10 < end and o + literals + 26 <= limit:
                # Nearly every token of event structs: copy 8 bytes at once, keep what counts.
                copy_8(o, i)
                offset = load_2(i + literals)
                i += literals + 2
                o += literals
                s = o - offset
                if offset >= 8 and s >= lowest:
                    copy_8(o, s)
                    if wide or repeat > 4:
                        copy_8(o + 8, s + 8)
                        if wide or repeat > 12:
                            copy_8(o + 16, s + 16)
                    o += repeat + 4
                    continue
            else:
                if literals == 15:
                    while True:
                        if i >= end:
                            return UNUSUAL
                        more = load_1(i)
                        i += 1
                        literals += more
                        if more != 255:
                            break
                if i + literals > end or o + literals > limit:
                    return UNUSUAL
                for k in range(0, literals, 16):
                    copy_16(o + k, i + k)
                i += literals
                o += literals
                if i >= end:
                    break  # a block ends with literals
                if i + 2 > end:
                    return UNUSUAL
                offset = load_2(i)
                i += 2
                s = o - offset
            if repeat == 15:
                while True:
                    if i >= end:
                        return UNUSUAL
                    more = load_1(i)
                    i += 1
                    repeat += more
                    if more != 255:
                        break
            repeat += 4
            if offset == 0 or s < lowest or o + repeat > limit:
                return UNUSUAL
            if offset >= 16:
                for k in range(0, repeat, 16):
                    copy_16(o + k, s + k)
            elif offset >= 8:
                for k in range(0, repeat, 8):
                    copy_8(o + k, s + k)
            else:
                for k in range(repeat):
                    copy_1(o + k, s + k)
            o += repeat
        return o

    return decode_block


_decode_short, _decode_wide = _block_decoder(False), _block_decoder(True)


@njit(cache=True, nogil=True)
def decode_frame(source: int, size: int, target: int, room: int, wide: bool) -> int:
    """Decode one LZ4 frame of exactly `size` bytes at address `source` into `room` bytes at address `target`.

    wide: the data were packed with much effort ("high"), repeats have any length; alters the speed only.
    Returns the number of bytes, UNUSUAL or FULL. Frames with check sums or a dictionary are UNUSUAL:
    they are for a library that checks them.
    """
    if size < 11 or load_4(source) != 0x184D2204:
        return UNUSUAL
    flags = load_1(source + 4)
    scale = load_1(source + 5)
    if flags & 0xD7 != 0x40 or scale & 0x8F or scale >> 4 < 4:
        return UNUSUAL
    block_room = 1 << (8 + 2 * (scale >> 4))
    told = np.int64(-1)
    i = source + 7
    end = source + size
    if flags & 8:
        if size < 19:
            return UNUSUAL
        told = load_8(source + 6)
        i += 8
    linked = flags & 0x20 == 0
    o = target
    limit = target + room
    while i + 4 <= end:
        length = load_4(i)
        i += 4
        if length == 0:
            if i != end or (told >= 0 and o - target != told):
                return UNUSUAL
            return o - target
        plain = length >> 31
        length &= 0x7FFFFFFF
        if i + length > end:
            return UNUSUAL
        if plain:
            if length > block_room:
                return UNUSUAL
            if o + length > limit:
                return FULL
            for k in range(0, length, 16):
                copy_16(o + k, i + k)
            o += length
        else:
            lowest = target if linked else o
            block_limit = min(limit, o + block_room)
            if wide:
                o_next = _decode_wide(i, i + length, o, lowest, block_limit)
            else:
                o_next = _decode_short(i, i + length, o, lowest, block_limit)
            if o_next < 0:
                return FULL if o + block_room > limit else UNUSUAL
            o = o_next
        i += length
    return UNUSUAL
