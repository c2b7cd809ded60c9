"""Checks of what the HDF5 library and its filters take on trust: sizes, chunks and heaps of damaged files.

Without them, some damaged files make the library allocate without bound, loop for ever, or read past its
buffers.
"""

from __future__ import annotations

import itertools
import math
import re
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from h5py import h5t
from numpy.typing import NDArray

from eventhpe.errors import FormatError
from eventhpe.events.formats.hdf5_chunks import FILTERS, Pipeline

_MAX_CHUNK_ITEMS = 1 << 27
# A chunk is decompressed as a whole: one far larger than its file is a damaged size, not data.
_SMALL_CHUNK_BYTES = 64 << 20
_LARGEST_EXPANSION = 1024
# The library writes the strings of the root attributes near the beginning.
_HEAP_SEARCH_BYTES = 1 << 20
_LARGEST_ATTRIBUTE = 1 << 15
# The type of an attribute that is a string of any length, as it stands in the file, and how far its value is.
_STRING_TYPE = re.compile(rb"[\x19\x29\x39\x49\x59][\x01\x11\x21].\x00\x10\x00\x00\x00", re.DOTALL)
_LONGEST_TO_VALUE = 64


def check_storage(dataset: h5py.Dataset, name: str, path: Path) -> None:
    """Raise FormatError unless the claimed size of a data set is backed by data in this file."""
    if dataset.size == 0:
        return
    if dataset.is_virtual or dataset.external:
        raise FormatError(f"{path}: dataset {name!r} keeps its values in other files, which are not read.")
    missing = FormatError(
        f"{path}: dataset {name!r} claims {dataset.size:,} values that are not in the file."
    )
    in_file, item = path.stat().st_size, dataset.dtype.itemsize
    if dataset.chunks is None:
        stored = dataset.id.get_storage_size()
        if stored < dataset.size * item or stored > in_file:
            raise missing
        return
    pipeline = dataset.id.get_create_plist()
    filters = [int(pipeline.get_filter(k)[0]) for k in range(pipeline.get_nfilters())]
    if not FILTERS.issuperset(filters):
        raise FormatError(
            f"{path}: dataset {name!r} is compressed with HDF5 filters {filters}, of which "
            f"{sorted(set(filters) - FILTERS)} are not read; repack the file with gzip or Blosc."
        )
    chunk_items = math.prod(dataset.chunks)
    largest = max(_SMALL_CHUNK_BYTES, in_file * _LARGEST_EXPANSION)
    if chunk_items > _MAX_CHUNK_ITEMS or chunk_items * item > largest:
        raise missing
    expected = math.prod(-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True))
    if expected > in_file or dataset.id.get_num_chunks() < expected:
        raise missing


class CheckedRows:
    """Rows of a data set; each compressed chunk is checked once before the library unpacks it.

    Valid as long as the file of the data set stays open.

    Raises:
        FormatError: filters that cannot belong to the data set; on reading, a damaged chunk.
    """

    def __init__(self, dataset: h5py.Dataset, path: Path) -> None:
        self.dataset = dataset
        self._path = path
        self._sound: set[int] = set()
        self._pipeline: Pipeline | None = None
        self._plain = False
        if dataset.chunks is None:
            return
        try:
            self._pipeline = Pipeline(dataset)
        except ValueError as error:
            raise self._damage() from error
        # Rows lie in a chunk as they are read: what was unpacked for the check need not be unpacked again.
        self._plain = (
            self._pipeline.unpacks
            and dataset.dtype.kind in "iuf"
            and dataset.chunks[1:] == dataset.shape[1:]
            and dataset.id.get_type().equal(h5py.h5t.py_create(dataset.dtype))
        )

    def check(self, i: int, j: int) -> None:
        """Raise FormatError if a chunk with rows i..j-1 is damaged."""
        for k in self._chunks(i, j):
            if k not in self._sound:
                self._check(k)

    def read(self, i: int, j: int) -> Any:
        """dataset[i:j] for 0 <= i, j."""
        numbers = self._chunks(i, j)
        if not self._plain or self._sound.issuperset(numbers):
            self.check(i, j)
            return self.dataset[i:j]
        rows, end, parts = self.dataset.chunks[0], min(j, len(self.dataset)), []
        for k in numbers:
            first, a, b = k * rows, max(i, k * rows), min(end, (k + 1) * rows)
            known = k in self._sound
            parts.append(self.dataset[a:b] if known else self._unpacked(k)[a - first : b - first])
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def _chunks(self, i: int, j: int) -> range:
        """Numbers of the chunks along the first axis that hold rows i..j-1."""
        end = min(j, len(self.dataset))
        if self._pipeline is None or i >= end:
            return range(0)
        rows = self.dataset.chunks[0]
        return range(i // rows, -(-end // rows))

    def _check(self, k: int) -> None:
        assert self._pipeline is not None
        first, *others = zip(self.dataset.shape, self.dataset.chunks, strict=True)
        for place in itertools.product((k * first[1],), *(range(0, n, c) for n, c in others)):
            if not self._pipeline.sound(*self._bytes(place)):
                raise self._damage()
        self._sound.add(k)

    def _unpacked(self, k: int) -> NDArray[Any]:
        assert self._pipeline is not None
        chunk = self.dataset.chunks
        numbers = self._pipeline.unpack(*self._bytes((k * chunk[0], *(0 for _ in chunk[1:]))))
        if numbers is None:
            raise self._damage()
        self._sound.add(k)
        return numbers.view(self.dataset.dtype).reshape(chunk)

    def _bytes(self, place: tuple[int, ...]) -> tuple[memoryview, int]:
        """The stored bytes of a chunk and its filter mask."""
        size = self.dataset.id.get_chunk_info_by_coord(place).size
        if not 0 < size <= self._path.stat().st_size:
            raise self._damage()
        buffer = np.empty(size, np.uint8)
        mask, _ = self.dataset.id.read_direct_chunk(place, out=buffer)
        return buffer.data, int(mask)

    def _damage(self) -> FormatError:
        return FormatError(
            f"{self._path}: chunks of {self.dataset.name} are damaged. Get an undamaged copy of the file."
        )


def checked_rows(dataset: h5py.Dataset, i: int, j: int, path: Path) -> Any:
    """dataset[i:j] by `CheckedRows`, for those who read it once."""
    return CheckedRows(dataset, path).read(i, j)


def plain_attribute(holder: h5py.HLObject, name: str, default: Any = None) -> Any:
    """An attribute that holds numbers or a text; `default` where there is none or it holds anything else.

    Damage can turn the type into one that sends the library through memory that is not there.

    Raises:
        FormatError: a text lies in a damaged heap.
    """
    if name not in holder.attrs:
        return default
    stored = holder.attrs.get_id(name)
    kind = stored.get_type()
    if not isinstance(kind, h5t.TypeIntegerID | h5t.TypeFloatID | h5t.TypeStringID):
        return default
    if stored.get_storage_size() > _LARGEST_ATTRIBUTE:
        return default
    if isinstance(kind, h5t.TypeStringID) and kind.is_variable_str():
        check_heaps(Path(holder.file.filename))
    return holder.attrs[name]


def check_heaps(path: Path) -> None:
    """Raise FormatError if a heap of strings in the first MiB is damaged; ask before reading them."""
    with path.open("rb") as file:
        head = file.read(_HEAP_SEARCH_BYTES)
        at = head.find(b"GCOL")
        while at >= 0:
            if at % 8 == 0:
                size = int.from_bytes(head[at + 8 : at + 16], "little")
                if not 4096 <= size <= path.stat().st_size - at:
                    raise _damaged_heap(path)
                file.seek(at)
                sizes = _heap_sizes(file.read(size))
                if sizes is None or not _sound_references(head, at, sizes):
                    raise _damaged_heap(path)
            at = head.find(b"GCOL", at + 4)


def _heap_sizes(heap: bytes) -> dict[int, int] | None:
    """Sizes of the strings in a heap by their number; None if they lead out of it."""
    at, sizes = 16, {}
    while at + 16 <= len(heap):
        index, _, _, size = struct.unpack_from("<HHIQ", heap, at)
        need = size if index == 0 else 16 + -(-size // 8) * 8
        if need < 16 or at + need > len(heap):
            return None
        if index:
            sizes[index] = size
        at += need
    return sizes


def _sound_references(head: bytes, heap: int, sizes: dict[int, int]) -> bool:
    """Whether no attribute with a string in the heap (length, place of the heap, number) asks for more than
    there is: the library makes room for the length before it looks into the heap."""
    place = heap.to_bytes(8, "little")
    for kind in _STRING_TYPE.finditer(head):
        at = head.find(place, kind.end() + 4, kind.end() + _LONGEST_TO_VALUE)
        if 0 <= at <= len(head) - 12:
            length, index = (struct.unpack_from("<I", head, at + step)[0] for step in (-4, 8))
            if length > sizes.get(index, length):
                return False
    return True


def _damaged_heap(path: Path) -> FormatError:
    return FormatError(
        f"{path}: the strings in the HDF5 file are damaged. Get an undamaged copy of the file."
    )
