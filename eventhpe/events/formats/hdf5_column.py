"""A growing one-dimensional HDF5 dataset, written in whole chunks."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
import xxhash
from numpy.typing import NDArray


class GrowingColumn:
    """Values are appended in any pieces and written chunk by chunk; `close` writes the rest.

    Args:
        name: of the new dataset in `file`.
        chunk: values per chunk.
        options: compression, as keyword arguments of h5py's create_dataset.
    """

    def __init__(
        self, file: h5py.File, name: str, dtype: np.dtype[Any], chunk: int, options: dict[str, Any]
    ) -> None:
        # Chunks are written whole, so a cache would only copy them once more.
        self.dataset = file.create_dataset(
            name, shape=(0,), maxshape=(None,), chunks=(chunk,), dtype=dtype, rdcc_nbytes=0, **options
        )
        self._buffer = np.empty(chunk, dtype)
        self._pending = 0
        self._written = 0
        self._checksum = xxhash.xxh3_64()

    def __len__(self) -> int:
        return self._written + self._pending

    def append(self, values: NDArray[Any]) -> None:
        """Add values that fit the dtype; they are copied or written before the call returns."""
        chunk, start = len(self._buffer), 0
        if self._pending:
            start = min(chunk - self._pending, len(values))
            self._buffer[self._pending : self._pending + start] = values[:start]
            self._pending += start
            if self._pending < chunk:
                return
            self._pending = 0
            self._write(self._buffer)
        whole = (len(values) - start) // chunk * chunk
        if whole:
            self._write(values[start : start + whole])
        self._pending = len(values) - start - whole
        self._buffer[: self._pending] = values[start + whole :]

    def _write(self, values: NDArray[Any]) -> None:
        # The low-level calls: h5py's slicing costs as much as compressing a chunk of polarities.
        values = np.ascontiguousarray(values, self.dataset.dtype)
        n, stored = len(values), self.dataset.id
        stored.set_extent((self._written + n,))
        place = stored.get_space()
        place.select_hyperslab((self._written,), (n,))
        stored.write(h5py.h5s.create_simple((n,)), place, values)
        self._checksum.update(values.data)
        self._written += n

    def close(self) -> str:
        """Write what is left; returns the xxh3-64 of all values, little-endian, in hexadecimal."""
        if self._pending:
            self._write(self._buffer[: self._pending])
            self._pending = 0
        return str(self._checksum.hexdigest())
