"""Lengths of LZF data, as h5py's filter writes them."""

from __future__ import annotations

from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def lzf_length(data: NDArray) -> int:
    """How many bytes LZF data (uint8) unpack to; -1 if they are damaged."""
    at, out, end = 0, 0, len(data)
    while at < end:
        control = int(data[at])
        at += 1
        if control < 32:  # that many bytes and one follow as they are
            at += control + 1
            out += control + 1
            continue
        length = control >> 5
        if length == 7:
            if at >= end:
                return -1
            length += int(data[at])
            at += 1
        if at >= end:
            return -1
        back = ((control & 31) << 8 | int(data[at])) + 1
        at += 1
        if back > out:
            return -1
        out += length + 2
    return out if at == end else -1
