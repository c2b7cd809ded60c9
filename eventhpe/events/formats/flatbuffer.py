"""Bounds-checked reading of FlatBuffers tables, the little that AEDAT 4 needs."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from eventhpe.errors import FormatError

Buffer = bytes | memoryview


def read(code: str, buffer: Buffer, position: int) -> int:
    """One little-endian integer ("<i", "<q", "<H" ...) at a position that is checked first."""
    if position < 0 or position + struct.calcsize(code) > len(buffer):
        raise FormatError(
            f"a FlatBuffer points {position} bytes into a packet of {len(buffer)}; the packet is damaged."
        )
    return int(struct.unpack_from(code, buffer, position)[0])


class Table:
    """A table inside a buffer; absent fields give the default."""

    def __init__(self, buffer: Buffer, position: int) -> None:
        self._buffer = buffer
        self._position = position
        self._vtable = position - read("<i", buffer, position)
        self._size = read("<H", buffer, self._vtable)
        read("<H", buffer, self._vtable + 2)

    @classmethod
    def root(cls, buffer: Buffer) -> Table:
        """Root table of a size-prefixed buffer."""
        return cls(buffer, 4 + read("<I", buffer, 4))

    def _field(self, index: int) -> int:
        slot = 4 + 2 * index
        if slot + 2 > self._size:
            return 0
        offset = read("<H", self._buffer, self._vtable + slot)
        return self._position + offset if offset else 0

    def integer(self, index: int, code: str, default: int = 0) -> int:
        """Scalar field of the given struct code."""
        position = self._field(index)
        return read(code, self._buffer, position) if position else default

    def vector(self, index: int, item_size: int) -> tuple[int, int]:
        """(position of the first item, number of items), inside the buffer; (0, 0) if absent."""
        position = self._field(index)
        if not position:
            return 0, 0
        start = position + read("<I", self._buffer, position)
        count = read("<I", self._buffer, start)
        if start + 4 + count * item_size > len(self._buffer):
            raise FormatError(
                f"a FlatBuffer vector of {count} items ends outside its packet; the packet is damaged."
            )
        return start + 4, count

    def string(self, index: int) -> bytes:
        start, count = self.vector(index, 1)
        return bytes(self._buffer[start : start + count])

    def tables(self, index: int) -> Iterator[Table]:
        """Items of a vector of tables."""
        start, count = self.vector(index, 4)
        for k in range(count):
            position = start + 4 * k
            yield Table(self._buffer, position + read("<I", self._buffer, position))


def identifier(buffer: Buffer) -> bytes:
    """Four letters that name the type of a size-prefixed buffer, after checking the size prefix."""
    size = read("<I", buffer, 0)
    if size + 4 > len(buffer) or size < 8:
        raise FormatError(
            f"a FlatBuffer says {size} bytes, {len(buffer) - 4} are there; the packet is damaged."
        )
    return bytes(buffer[8:12])
