"""A plain encoder of Prophesee's event compression format, and files made with it, for tests."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

MODES = ("packed_all", "packed_xp", "masks")
CD = np.dtype(
    {"names": ["x", "y", "p", "t"], "formats": ["<u2", "<u2", "<i2", "<i8"], "offsets": [0, 2, 4, 8]}
)
TRIGGER = np.dtype(
    {"names": ["p", "t", "id"], "formats": ["<i2", "<i8", "<i2"], "offsets": [0, 8, 16], "itemsize": 24}
)


def _runs(values: list[int]) -> Iterator[tuple[int, int]]:
    start = 0
    for i in range(1, len(values) + 1):
        if i == len(values) or values[i] != values[start]:
            yield values[start], i - start
            start = i


def _times(t: list[int]) -> bytes:
    out, now = bytearray(), t[0]
    for value, run in _runs(t):
        step = value - now
        if step >= 15:
            while step:
                out.append(0xF0 | step & 15)
                step >>= 4
        out += bytes([step << 4 | run]) if run < 15 else struct.pack("<BH", step << 4 | 15, run)
        now = value
    return bytes(out)


def _bits(values: list[int], width: int, word: str) -> bytes:
    """Groups of four values in three words: values and words are read from the highest bit down, in turn."""
    out = bytearray()
    size = struct.calcsize(word) * 8
    for i in range(0, len(values), 4):
        a, b, c, d = [*values[i : i + 4], 0, 0, 0][:4]
        rest, half, most = size - width, size // 2, width - (size - width)
        assert most == 2 * rest
        words = (
            a << rest | b & (1 << rest) - 1,
            b >> rest << half | c & (1 << half) - 1,
            c >> half << width | d,
        )
        out += b"".join(struct.pack(f"<{word}", w) for w in words)
    return bytes(out)


def encode(t: np.ndarray, x: np.ndarray, y: np.ndarray, p: np.ndarray, mode: str) -> bytes:
    """One chunk. Times must not decrease."""
    times, columns, rows, on = (a.astype(int).tolist() for a in (t, x, y, p))
    head = struct.pack("<IQ", len(times) << 2 | (mode == "packed_all") << 1 | (mode == "packed_xp"), times[0])
    out = head + _times(times)
    if mode == "packed_all":
        return out + _bits([r << 12 | c << 1 | o for r, c, o in zip(rows, columns, on, strict=True)], 24, "I")
    for row, run in _runs(rows):
        out += struct.pack("<H", row << 5 | run) if run < 31 else struct.pack("<HH", row << 5 | 31, run)
    if mode == "packed_xp":
        return out + _bits([c << 1 | o for c, o in zip(columns, on, strict=True)], 12, "H")
    i = 0
    while i < len(columns):
        first, mask = columns[i], 0
        i += 1
        for k in range(1, 6):
            if i < len(columns) and columns[i] == first + k:
                mask |= 1 << (5 - k)
                i += 1
        out += struct.pack("<H", first << 5 | mask)
    for polarity, run in _runs(on):
        out += bytes([polarity << 7 | run]) if run < 127 else struct.pack("<BH", polarity << 7 | 127, run)
    return out


def write_chunks(
    path: Path,
    chunks: list[tuple[bytes | None, int]],
    num_events: int,
    chunk: int,
    geometry: str | None = "640x480",
) -> None:
    """A file whose chunks are given as (bytes, filter mask); None leaves a chunk out."""
    with h5py.File(path, "w") as file:
        if geometry is not None:
            file.attrs["geometry"] = geometry
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((chunk,))
        plist.set_obj_track_times(False)  # the same bytes whenever it is written
        plist.set_filter(36559, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple((num_events,), (h5py.h5s.UNLIMITED,))
        group = file.create_group("CD")
        events = h5py.h5d.create(group.id, b"events", h5py.h5t.py_create(CD), space, plist)
        for k, (data, mask) in enumerate(chunks):
            if data is not None:
                events.write_direct_chunk((k * chunk,), data, filter_mask=mask)
        index = np.zeros(1, [("id", "<u8"), ("ts", "<i8")])
        file.create_dataset("CD/indexes", data=index).attrs["offset"] = "-1000"


def write_file(
    path: Path, t: np.ndarray, x: np.ndarray, y: np.ndarray, p: np.ndarray, mode: str, chunk: int = 16384
) -> None:
    """All events in one coding; the last chunk holds no more than belongs."""
    cuts = range(0, len(t), chunk)
    chunks = [(encode(*(a[i : i + chunk] for a in (t, x, y, p)), mode), 0) for i in cuts]
    write_chunks(path, chunks, len(t), chunk)
