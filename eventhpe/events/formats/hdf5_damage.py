"""Checks of what the HDF5 library and its filters take on trust: sizes, chunks and heaps of damaged files.

Without them, some damaged files make the library allocate without bound, loop for ever, or read past its
buffers.
"""

from __future__ import annotations

import itertools
import math
import struct
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from eventhpe.errors import FormatError

_MAX_CHUNK_ITEMS = 1 << 27
# A chunk is decompressed as a whole: one far larger than its file is a damaged size, not data.
_SMALL_CHUNK_BYTES = 64 << 20
_LARGEST_EXPANSION = 1024
_BITSHUFFLE = 32008
# Deflate, shuffle, Fletcher32, LZF, Blosc, LZ4, Bitshuffle, Zstandard, Blosc2, Prophesee's ECF. A damaged
# number may name any plug-in, and some of them end the process when their data are wrong.
_FILTERS = frozenset((1, 2, 3, 32000, 32001, 32004, _BITSHUFFLE, 32015, 32026, 36559))
_BITSHUFFLE_CODECS = (0, 2, 3)  # none, LZ4, Zstandard
_LARGEST_BLOCK = 1 << 20
_LENGTH = struct.Struct(">I")
# The library writes the strings of the root attributes near the beginning.
_HEAP_SEARCH_BYTES = 1 << 20


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
    if not _FILTERS.issuperset(filters):
        raise FormatError(
            f"{path}: dataset {name!r} is compressed with HDF5 filters {filters}, of which "
            f"{sorted(set(filters) - _FILTERS)} are not read; repack the file with gzip or Blosc."
        )
    chunk_items = math.prod(dataset.chunks)
    largest = max(_SMALL_CHUNK_BYTES, in_file * _LARGEST_EXPANSION)
    if chunk_items > _MAX_CHUNK_ITEMS or chunk_items * item > largest:
        raise missing
    expected = math.prod(-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True))
    if expected > in_file or dataset.id.get_num_chunks() < expected:
        raise missing


class CheckedRows:
    """Rows of a data set; each chunk is checked once where its filter follows lengths out of its buffer.

    Valid as long as the file of the data set stays open.
    """

    def __init__(self, dataset: h5py.Dataset, path: Path) -> None:
        self.dataset = dataset
        self._path = path
        self._sound: set[int] = set()
        pipeline = dataset.id.get_create_plist()
        filters = [pipeline.get_filter(k) for k in range(pipeline.get_nfilters())]
        self._bitshuffle = False
        for code, _, values, _ in filters:
            if code != _BITSHUFFLE:
                continue
            codec = values[4] if len(values) > 4 else 0
            if len(values) < 3 or values[2] != dataset.dtype.itemsize or codec not in _BITSHUFFLE_CODECS:
                raise _damaged_chunk(dataset, path)
            self._bitshuffle = codec != 0

    def read(self, i: int, j: int) -> Any:
        """dataset[i:j] for 0 <= i, j."""
        if self._bitshuffle:
            rows = self.dataset.chunks[0]
            for k in range(i // rows, -(-min(j, len(self.dataset)) // rows)):
                if k not in self._sound:
                    self._check(k)
                    self._sound.add(k)
        return self.dataset[i:j]

    def _check(self, k: int) -> None:
        """Raise FormatError if block lengths lead out of a chunk that begins at row k * chunk rows."""
        dataset = self.dataset
        item, chunk, largest = dataset.dtype.itemsize, dataset.chunks, self._path.stat().st_size
        others = (range(0, n, c) for n, c in zip(dataset.shape[1:], chunk[1:], strict=True))
        for place in itertools.product((k * chunk[0],), *others):
            size = dataset.id.get_chunk_info_by_coord(place).size
            if not 0 < size <= largest:
                raise _damaged_chunk(dataset, self._path)
            buffer = np.empty(size, np.uint8)
            mask, _ = dataset.id.read_direct_chunk(place, out=buffer)
            if not mask and not _sound_blocks(buffer.data, math.prod(chunk) * item, item):
                raise _damaged_chunk(dataset, self._path)


def checked_rows(dataset: h5py.Dataset, i: int, j: int, path: Path) -> Any:
    """dataset[i:j] by `CheckedRows`, for those who read it once."""
    return CheckedRows(dataset, path).read(i, j)


def _damaged_chunk(dataset: h5py.Dataset, path: Path) -> FormatError:
    return FormatError(f"{path}: chunks of {dataset.name} are damaged. Get an undamaged copy of the file.")


def _sound_blocks(data: bytes | memoryview, expected: int, item: int) -> bool:
    """Whether a bitshuffled chunk (sizes, then blocks of length and bytes) stays inside its bytes."""
    if len(data) < 12:
        return False
    total, block = struct.unpack_from(">QI", data)
    if total != expected or not 0 < block <= max(total, _LARGEST_BLOCK) or block % (8 * item):
        return False
    rest = total % block
    blocks = total // block + (rest >= 8 * item)
    at, last, length_at = 12, len(data) - 4, _LENGTH.unpack_from
    for _ in range(blocks):
        if at > last:
            return False
        at += 4 + length_at(data, at)[0]
    return bool(at + rest % (8 * item) <= len(data))


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
                if not _sound_heap(file.read(size)):
                    raise _damaged_heap(path)
            at = head.find(b"GCOL", at + 4)


def _sound_heap(heap: bytes) -> bool:
    at = 16
    while at + 16 <= len(heap):
        index, _, _, size = struct.unpack_from("<HHIQ", heap, at)
        need = size if index == 0 else 16 + -(-size // 8) * 8
        if need < 16 or at + need > len(heap):
            return False
        at += need
    return True


def _damaged_heap(path: Path) -> FormatError:
    return FormatError(
        f"{path}: the strings in the HDF5 file are damaged. Get an undamaged copy of the file."
    )
