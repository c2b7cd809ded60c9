"""Building size-prefixed FlatBuffers, the few shapes that AEDAT 4 needs."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Size prefix, position of the root table, identifier; the list of field positions (6 bytes long, a table of
# 8 bytes, the field at 4); the table (6 bytes after that list), the vector 4 bytes after its field, count.
_ONE_VECTOR = struct.Struct("<II4s2xHHHiII")


@dataclass(frozen=True)
class Scalar:
    """A number in a table: struct code ("q", "i", "h", "b") and value."""

    code: str
    value: int


@dataclass(frozen=True)
class Bytes:
    """A vector of bytes in a table; text is followed by a zero byte that is not counted."""

    data: bytes | memoryview
    is_text: bool = False


def vector_buffer(identifier: bytes, count: int, data: bytes | memoryview) -> bytes:
    """Root table with one vector of `count` structs or offsets; `data` begins at byte 32."""
    size = _ONE_VECTOR.size + len(data) - 4
    return b"".join((_ONE_VECTOR.pack(size, 16, identifier, 6, 8, 4, 6, 4, count), data))


def tables_buffer(identifier: bytes, columns: Sequence[NDArray[Any] | None]) -> bytes:
    """Root table with one vector of N tables whose field k has the N values of columns[k] (None: left out).

    A column is (N,) of a number type, or (N, m) for a struct of m numbers. All tables share one list of field
    positions, so that N of them are written as one array.
    """
    given = [(k, np.asarray(c)) for k, c in enumerate(columns) if c is not None]
    n = len(given[0][1])
    # Tables begin 4 bytes before a multiple of 8: after their first 4 bytes the widest fields are aligned.
    places, position = [0] * len(columns), 4
    for k, column in sorted(given, key=lambda item: -item[1].itemsize):
        position += -(position + 4) % column.itemsize
        places[k] = position
        position += column.itemsize * (column.shape[1] if column.ndim == 2 else 1)
    item_size = position + -position % 8
    table = np.zeros(
        n,
        {
            "names": ["list", *(f"f{k}" for k, _ in given)],
            "formats": ["<i4", *(_little(c) for _, c in given)],
            "offsets": [0, *(places[k] for k, _ in given)],
            "itemsize": item_size,
        },
    )
    field_list = struct.pack(f"<HH{len(places)}H", 4 + 2 * len(places), item_size, *places)
    list_at = _ONE_VECTOR.size + 4 * n
    first = list_at + len(field_list)
    first += -(first + 4) % 8
    at = first + item_size * np.arange(n, dtype=np.int64)
    table["list"] = at - list_at
    for k, column in given:
        table[f"f{k}"] = column
    slots = _ONE_VECTOR.size + 4 * np.arange(n, dtype=np.int64)
    offsets = (at - slots).astype("<u4").tobytes()
    gap = bytes(first - list_at - len(field_list))
    return vector_buffer(identifier, n, b"".join((offsets, field_list, gap, table.tobytes())))


def _little(column: NDArray[Any]) -> tuple[np.dtype[Any], tuple[int, ...]]:
    return column.dtype.newbyteorder("<"), column.shape[1:]


def table_buffer(identifier: bytes, fields: Sequence[Scalar | Bytes | None]) -> bytes:
    """Root table with the given fields; None is left out."""
    places, position = [0] * len(fields), 4
    sizes = [0 if f is None else 4 if isinstance(f, Bytes) else struct.calcsize(f.code) for f in fields]
    for k in sorted(range(len(fields)), key=lambda k: -sizes[k]):
        if sizes[k]:
            position += -(position + 4) % sizes[k]
            places[k] = position
            position += sizes[k]
    field_list = struct.pack(f"<HH{len(fields)}H", 4 + 2 * len(fields), position, *places)
    start = 12 + len(field_list)
    start += -(start + 4) % 8
    buffer = bytearray(start + position)
    buffer[8 : 12 + len(field_list)] = identifier + field_list
    struct.pack_into("<i", buffer, start, start - 12)
    for field, place in zip(fields, places, strict=True):
        if isinstance(field, Scalar):
            struct.pack_into("<" + field.code, buffer, start + place, field.value)
        elif isinstance(field, Bytes):
            buffer += bytes(-len(buffer) % 4)
            struct.pack_into("<I", buffer, start + place, len(buffer) - start - place)
            buffer += struct.pack("<I", len(field.data))
            buffer += field.data
            buffer += bytes(1 if field.is_text else 0)
    struct.pack_into("<II", buffer, 0, len(buffer) - 4, start - 4)
    return bytes(buffer)
