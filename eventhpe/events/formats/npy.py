"""NPY arrays of events: N x 4 numbers (t, x, y, p), or structured with named fields. Never unpickled.

The reader takes its arrays from any source of bytes, so that NPZ members are read by it too.
"""

from __future__ import annotations

import copy
import io
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from eventhpe.errors import FormatError
from eventhpe.events.blocks import BLOCK_EVENTS, BlockReader, Checkpoint, Columns, Side
from eventhpe.events.formats.byte_source import ByteSource, FileBytes, read_exactly
from eventhpe.events.formats.column_names import EXPECTED_NAMES, match_columns
from eventhpe.events.formats.options import OpenOptions, TimeUnit
from eventhpe.events.formats.sensors import sensor_by_name
from eventhpe.events.formats.table import fill_columns, fill_rows
from eventhpe.events.formats.time_units import unit_by_rule

_HEADER_BYTES = 1 << 14
_WIDEST_ROW = 4096
_SAMPLE_ROWS = 1000
_ORDER = (0, 1, 2, 3)


@dataclass(frozen=True)
class StoredArray:
    """An array as it lies in a source: where its numbers begin, their type, and their shape in C order.

    An array in Fortran order is the C-ordered one of the reversed shape; `transposed` says so.
    """

    source: ByteSource
    start: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    transposed: bool = False

    @property
    def row_bytes(self) -> int:
        return self.dtype.itemsize * math.prod(self.shape[1:])

    def rows(self, first: int, number: int, buffer: NDArray[np.uint8]) -> NDArray[Any]:
        """Some rows, as a view of the buffer."""
        size = number * self.row_bytes
        read_exactly(self.source, self.start + first * self.row_bytes, buffer.data[:size])
        return buffer[:size].view(self.dtype).reshape(number, *self.shape[1:])


def read_header(source: ByteSource) -> StoredArray:
    """Type, shape and place of the array in an NPY file.

    Raises:
        FormatError: no NPY header, Python objects, or a type that holds no numbers.
    """
    head = bytearray(min(_HEADER_BYTES, source.size))
    stream = io.BytesIO(bytes(head[: source.read_into(0, memoryview(head))]))
    try:
        version = npy_format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise FormatError(
                f"{source.name}: NPY version {version[0]}.{version[1]} is not read (1.0 and 2.0 are). Save "
                "the array again with plain field names."
            )
        read = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
    except FormatError:
        raise
    # The header is Python text; what a damaged one raises has no end.
    except Exception as error:
        raise FormatError(
            f"{source.name}: the NPY header is damaged ({error}). Copy the file again."
        ) from error
    kinds = [dtype] if dtype.names is None else [dtype[name].base for name in dtype.names]
    if dtype.hasobject or dtype.itemsize == 0 or not any(kind.kind in "biuf" for kind in kinds):
        raise FormatError(f"{source.name}: holds {dtype}, no numbers; expected t, x, y, p as numbers.")
    if any(length < 0 for length in shape):
        raise FormatError(f"{source.name}: the NPY header claims the shape {shape}; the file is damaged.")
    transposed = bool(fortran) and len(shape) > 1
    return StoredArray(source, stream.tell(), dtype, shape[::-1] if transposed else shape, transposed)


class ArrayReader(BlockReader):
    """Events from one array with rows, or from four arrays of one length. A checkpoint holds the next row."""

    def __init__(
        self,
        path: Path,
        label: str,
        arrays: dict[str, StoredArray],
        unit: TimeUnit | None,
        options: OpenOptions,
    ) -> None:
        """arrays: {"t", "x", "y", "p"}, each (N,); or {"": one with rows}. unit: told by the file."""
        self.path = path
        self.format = label
        self.sensor_size = sensor_by_name(options.sensor).size if options.sensor else None
        self._lost = 0
        self._unit = options.time_unit or unit
        self._named = "" not in arrays
        if "" in arrays:
            arrays = self._split(arrays[""])
        self._arrays = arrays
        self._name = next(iter(arrays.values())).source.name if len(arrays) == 1 else str(path)
        self._count = self._check()
        self._buffers: dict[str, NDArray[np.uint8]] = {}
        if not self._named:
            self._check_order()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_buffers": {}}

    def _split(self, array: StoredArray) -> dict[str, StoredArray]:
        """Columns of an array whose numbers lie column by column; {"": array} if they lie row by row."""
        name, shape = array.source.name, array.shape
        if array.dtype.names is not None:
            places, told = match_columns(array.dtype.names)
            if len(shape) != 1 or len(places) < 4:
                raise FormatError(
                    f"{name}: holds records {array.dtype.names} of shape {shape}; expected (N,) with the "
                    f"fields {EXPECTED_NAMES}."
                )
            self._named = True
            self._unit = self._unit or told
            return {"": array}
        if len(shape) == 2 and not array.transposed and shape[1] == 4:
            return {"": array}
        if len(shape) == 2 and shape[0] == 4 and (array.transposed or shape[1] != 4):
            size = shape[1] * array.dtype.itemsize
            column = replace(array, shape=shape[1:], transposed=False)
            # Each column has a source of its own: they are read in turns, and a stream only runs forwards.
            return {
                c: replace(column, source=copy.copy(array.source), start=array.start + k * size)
                for k, c in enumerate("txyp")
            }
        raise FormatError(
            f"{name}: holds an array of shape {shape[::-1] if array.transposed else shape}; expected (N, 4) "
            f"numbers t, x, y, p, or (N,) records with the fields {EXPECTED_NAMES}."
        )

    def _check(self) -> int:
        """Number of events, after checking every size that a header claims."""
        lengths = {name: array.shape[0] if array.shape else -1 for name, array in self._arrays.items()}
        count = min(lengths.values())
        if "" not in self._arrays and (
            len(set(lengths.values())) > 1 or any(len(a.shape) != 1 for a in self._arrays.values())
        ):
            shapes = {name: array.shape for name, array in self._arrays.items()}
            raise FormatError(f"{self._name}: t, x, y and p must be columns of one length; got {shapes}.")
        for array in self._arrays.values():
            if array.row_bytes > _WIDEST_ROW:
                raise FormatError(
                    f"{array.source.name}: one event takes {array.row_bytes:,} bytes; at most "
                    f"{_WIDEST_ROW:,} are read. Save the columns t, x, y, p alone."
                )
            there = max(0, array.source.size - array.start) // max(1, array.row_bytes)
            if there >= count:
                continue
            if "" not in self._arrays or not isinstance(array.source, FileBytes):
                raise FormatError(
                    f"{array.source.name}: its header promises {count:,} events, but only {there:,} fit into "
                    f"its {array.source.size:,} bytes; the file is cut short. Copy it again."
                )
            self._lost = count - there
            count = there
        return count

    def first(self) -> Checkpoint:
        return (0,)

    def progress(self, at: Checkpoint) -> float:
        return at[0] / max(1, self._count)

    def decode(self, at: Checkpoint, out: Columns, side: Side) -> tuple[int, Checkpoint | None]:
        row = at[0]
        number = max(0, min(BLOCK_EVENTS, self._count - row))
        n = self._fill(row, number, out, side) if number else 0
        if row + number < self._count:
            return n, (row + number,)
        side.lose("events missing at the end; the file is cut short", self._lost)
        return n, None

    def _fill(self, row: int, number: int, out: Columns, side: Side) -> int:
        parts = {
            name: array.rows(row, number, self._buffer(name, array)) for name, array in self._arrays.items()
        }
        where = self._name
        if "" not in parts:
            t, x, y, p = (parts[name] for name in "txyp")
        elif parts[""].ndim == 2:
            table = parts[""]
            unit = self._unit or unit_by_rule(table.dtype)
            return fill_rows(table, _ORDER, out, 0, side, unit=unit, where=where, row=row)
        else:
            names = parts[""].dtype.names or ()
            places, _ = match_columns(names)
            t, x, y, p = (parts[""][names[places[name]]] for name in "txyp")
        unit = self._unit or unit_by_rule(t.dtype)
        return fill_columns(t, x, y, p, out, 0, side, unit=unit, where=where, row=row)

    def _buffer(self, name: str, array: StoredArray) -> NDArray[np.uint8]:
        if name not in self._buffers:
            self._buffers[name] = np.empty(array.row_bytes * min(BLOCK_EVENTS, self._count), np.uint8)
        return self._buffers[name]

    def _check_order(self) -> None:
        """Columns without names: refuse numbers that cannot be t, x, y, p."""
        number = min(_SAMPLE_ROWS, self._count)
        if number == 0:
            return
        out = Columns(number)
        try:
            self._fill(0, number, out, Side())
        except FormatError as error:
            raise FormatError(f"{error} Expected the columns t, x, y, p in this order.") from error
        outside = int(np.count_nonzero((out.x[:number] == 65535) | (out.y[:number] == 65535)))
        backward = int(np.count_nonzero(np.diff(out.t[:number]) < 0))
        if outside > number // 2 or (number >= 16 and backward > number // 4):
            raise FormatError(
                f"{self._name}: the columns cannot be t, x, y, p: among the first {number} rows, {outside} "
                f"have a pixel that is none and time goes backwards {backward} times. Save them in this "
                "order, or as records with named fields."
            )

    def close(self) -> None:
        for array in self._arrays.values():
            array.source.close()


def open_reader(path: Path, options: OpenOptions) -> ArrayReader:
    """Read an NPY file."""
    return ArrayReader(path, "NPY array", {"": read_header(FileBytes(path))}, None, options)
