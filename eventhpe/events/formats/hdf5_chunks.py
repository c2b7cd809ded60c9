"""What the compressed chunks of HDF5 data sets unpack to, told before the library unpacks them.

The library trusts a filter to give exactly one chunk: what a damaged chunk lacks is read from the memory
behind the buffer. Some filters also follow block lengths out of the bytes they are given, or pass on what
could not be unpacked.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable

import h5py
import lz4.block
import numpy as np
import zstandard
from numpy.typing import NDArray

from eventhpe.events.kernels_lzf import lzf_length

_DEFLATE, _SHUFFLE, _FLETCHER32 = 1, 2, 3
_LZF, _BLOSC, _LZ4, _BITSHUFFLE, _ZSTD, _ECF = 32000, 32001, 32004, 32008, 32015, 36559
#: Filters that are read. A damaged number may name any plug-in, and some of them end the process when their
#: data are wrong.
FILTERS = frozenset((_DEFLATE, _SHUFFLE, _FLETCHER32, _LZF, _BLOSC, _LZ4, _BITSHUFFLE, _ZSTD, _ECF))
_BITSHUFFLE_CODECS = (0, 2, 3)  # none, LZ4, Zstandard
_LARGEST_BLOCK = 1 << 20
_LENGTH = struct.Struct(">I")

_Filter = tuple[int, tuple[int, ...]]


class Pipeline:
    """The filters that the chunks of a data set went through.

    Raises:
        ValueError: they cannot belong to this data set.
    """

    def __init__(self, dataset: h5py.Dataset) -> None:
        self._item = int(dataset.id.get_type().get_size())
        self._expected = math.prod(dataset.chunks) * self._item
        plist = dataset.id.get_create_plist()
        told = (plist.get_filter(k) for k in range(plist.get_nfilters()))
        self._filters: list[_Filter] = [(int(code), tuple(values)) for code, _, values, _ in told]
        packing = [f for f in self._filters if f[0] not in (_SHUFFLE, _FLETCHER32)]
        if len(packing) > 1 or not all(self._possible(code, values) for code, values in self._filters):
            raise ValueError(f"filters {self._filters} of {dataset.name}")

    @property
    def unpacks(self) -> bool:
        """Whether `unpack` can be used: a filter that only unpacking can check, alone or after shuffling."""
        codes = [code for code, _ in self._filters]
        return bool(codes) and codes[-1] in _UNPACK and codes[:-1] in ([], [_SHUFFLE])

    def _possible(self, code: int, values: tuple[int, ...]) -> bool:
        if code == _SHUFFLE:
            return values == (self._item,)
        if code == _BLOSC:  # it reads the fourth, whether there is one or not
            return len(values) > 3
        if code == _LZF:  # its room in memory
            return len(values) < 3 or values[2] <= self._expected
        if code == _BITSHUFFLE:
            codec = values[4] if len(values) > 4 else 0
            return len(values) > 2 and values[2] == self._item and codec in _BITSHUFFLE_CODECS
        return True

    def sound(self, data: memoryview, mask: int) -> bool:
        """Whether the bytes of a chunk unpack to its size. mask: bit k is set where filter k was left out."""
        applied = [f for k, f in enumerate(self._filters) if not mask >> k & 1]
        size = self._expected
        for code, values in applied:
            if code == _FLETCHER32:
                size += 4
            elif code != _SHUFFLE:
                after = applied[applied.index((code, values)) + 1 :]
                sums = 4 * sum(later == _FLETCHER32 for later, _ in after)
                return self._unpacks_to(code, values, data[: len(data) - sums], size)
        return len(data) == size

    def _unpacks_to(self, code: int, values: tuple[int, ...], data: memoryview, size: int) -> bool:
        if code == _BITSHUFFLE:
            packed = len(values) > 4 and values[4] != 0
            return _sound_blocks(data, size, 8 * self._item) if packed else len(data) == size
        return _UNPACK[code](data, size) is not None if code in _UNPACK else _SOUND[code](data, size)

    def unpack(self, data: memoryview, mask: int) -> NDArray[np.uint8] | None:
        """The bytes of a chunk's numbers, writable; None if it is damaged. Only where `unpacks`."""
        raw: bytes | memoryview | None = data
        if not mask >> (len(self._filters) - 1) & 1:
            raw = _UNPACK[self._filters[-1][0]](data, self._expected)
        if raw is None or len(raw) != self._expected:
            return None
        values = np.frombuffer(raw, np.uint8)
        if len(self._filters) > 1 and not mask & 1:  # shuffled: all first bytes, then all second ones ...
            values = values.reshape(self._item, -1).T
        return np.array(values, order="C").reshape(-1)


# Each gives exactly `size` bytes or None.


def _inflate(data: memoryview, size: int) -> bytes | None:
    try:
        raw = zlib.decompressobj().decompress(data, size + 1)
    except zlib.error:
        return None
    return raw if len(raw) == size else None


def _unpack_zstd(data: memoryview, size: int) -> bytes | None:
    try:
        if zstandard.frame_content_size(data) != size:
            return None
        return bytes(zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False))
    except zstandard.ZstdError:
        return None


def _unpack_lz4(data: memoryview, size: int) -> bytes | None:
    """Sizes, then blocks of length and bytes; a block as long as what it unpacks to is not packed."""
    if not _sound_blocks(data, size):
        return None
    (block,) = struct.unpack_from(">I", data, 8)
    at, parts = 12, []
    for start in range(0, size, block):
        (length,), room = _LENGTH.unpack_from(data, at), min(block, size - start)
        part = data[at + 4 : at + 4 + length]
        try:
            parts.append(
                bytes(part) if length == room else lz4.block.decompress(part, uncompressed_size=room)
            )
        except lz4.block.LZ4BlockError:
            return None
        if len(parts[-1]) != room:
            return None
        at += 4 + length
    return b"".join(parts)


_UNPACK: dict[int, Callable[[memoryview, int], bytes | None]] = {
    _DEFLATE: _inflate,
    _LZ4: _unpack_lz4,
    _ZSTD: _unpack_zstd,
}


def _sound_blosc(data: memoryview, size: int) -> bool:
    """The header of Blosc 1 tells both sizes; the library checks what lies between."""
    return len(data) >= 16 and struct.unpack_from("<I4xI", data, 4) == (size, len(data))


def _sound_blocks(data: memoryview, size: int, step: int = 1) -> bool:
    """LZ4, and Bitshuffle's packed blocks: sizes, then blocks of length and bytes.

    step: bytes that Bitshuffle turns together; what is left of them at the end is stored as it is.
    """
    if len(data) < 12:
        return False
    total, block = struct.unpack_from(">QI", data)
    if total != size or not 0 < block <= max(total, _LARGEST_BLOCK) or block % step:
        return False
    rest = total % block
    at, last, length_at = 12, len(data) - 4, _LENGTH.unpack_from
    for _ in range(total // block + (rest >= step)):
        if at > last:
            return False
        at += 4 + length_at(data, at)[0]
    return bool(at + rest % step <= len(data))


def _sound_lzf(data: memoryview, size: int) -> bool:
    return int(lzf_length(np.frombuffer(data, np.uint8))) == size


_SOUND: dict[int, Callable[[memoryview, int], bool]] = {
    _LZF: _sound_lzf,
    _BLOSC: _sound_blosc,
    _ECF: lambda data, size: False,  # its own reader takes the bytes
}
