"""Encoders in plain NumPy for Prophesee's formats: DAT, EVT2, EVT2.1 in both orders, EVT3, HDF5 (ECF).

Each takes (path, stream, number of events, absolute µs of the start). In RAW files the encoder starts
afresh in every repetition of the stream: its words are made once and repeated with a shifted clock.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
from encoders import cut
from numpy.typing import NDArray

from eventhpe.events.types import Events

if TYPE_CHECKING:
    from streams import Stream

_ECF_CHUNK = 16384
_SILENCE_TICKS = 64


def dat(path: Path, stream: Stream, count: int, start_us: int) -> None:
    """CD events, version 2."""
    height, width = stream.base.sensor_size
    with path.open("wb") as file:
        file.write(f"% Version 2\n% Width {width}\n% Height {height}\n".encode() + b"\x0c\x08")
        for e in stream.blocks(count, start_us):
            words = np.empty((len(e), 2), "<u4")
            words[:, 0] = e.t
            words[:, 1] = e.x | e.y.astype(np.uint32) << 14 | e.p.astype(np.uint32) << 28
            file.write(words.tobytes())


def _raw(
    path: Path, stream: Stream, count: int, start_us: int, header: str,
    encode: Callable[[Events], NDArray[Any]], shift: Callable[[NDArray[Any], int], NDArray[Any]],
) -> None:  # fmt: skip
    height, width = stream.base.sensor_size
    text = header.format(width=width, height=height)
    with path.open("wb") as file:
        file.write(f"% integrator_name Prophesee\n{text}% geometry {width}x{height}\n% end\n".encode())
        words = encode(stream.base.slice(0, min(count, len(stream.base))))
        for us, part in stream.repeats(count):
            if len(part) < min(count, len(stream.base)):
                words = encode(part)
            file.write(shift(words, start_us + us).tobytes())


def _interleave(first: NDArray[np.bool_], extra: NDArray[Any], words: NDArray[Any]) -> NDArray[Any]:
    """`words` with extra[k] before the k-th place where `first` is true."""
    return np.insert(words, np.flatnonzero(first), extra)


def _new(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where a value differs from the one before it."""
    return np.concatenate([[True], values[1:] != values[:-1]])


def _evt2_words(e: Events) -> NDArray[Any]:
    words = e.p.astype(np.uint32) << 28 | (e.t & 63).astype(np.uint32) << 22
    words |= e.x.astype(np.uint32) << 11 | e.y
    high = e.t >> 6
    first = _new(high)
    return _interleave(first, (8 << 28 | high[first]).astype(np.uint32), words)


def _evt2_shift(words: NDArray[Any], us: int) -> NDArray[Any]:
    return np.where(words >> 28 == 8, words + np.uint32(us >> 6), words)


def evt2(path: Path, stream: Stream, count: int, start_us: int) -> None:
    """A TIME_HIGH wherever it changes."""
    head = "% evt 2.0\n% format EVT2;height={height};width={width}\n"
    _raw(path, stream, count, start_us, head, _evt2_words, _evt2_shift)


def _vectors(e: Events) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Neighbouring events of one time, row, polarity and 32 columns, of rising column: starts and masks."""
    x = e.x.astype(np.int64)
    other = _new(e.t) | _new(e.y.astype(np.int64)) | _new(e.p.astype(np.int64)) | _new(x >> 5)
    other[1:] |= x[1:] <= x[:-1]
    starts = np.flatnonzero(other)
    return starts, np.bitwise_or.reduceat(np.uint32(1) << (x & 31).astype(np.uint32), starts)


def _evt21_words(e: Events) -> NDArray[Any]:
    starts, masks = _vectors(e)
    t, x, y, p = (getattr(e, c)[starts].astype(np.int64) for c in "txyp")
    words = (p << 60 | (t & 63) << 54 | (x & ~31) << 43 | y << 32 | masks).astype(np.uint64)
    high = t >> 6
    first = _new(high)
    return _interleave(first, np.uint64(8 << 60) | high[first].astype(np.uint64) << np.uint64(32), words)


def _evt21_shift(words: NDArray[Any], us: int) -> NDArray[Any]:
    return np.where(words >> np.uint64(60) == 8, words + np.uint64(us >> 6 << 32), words)


def evt21_little(path: Path, stream: Stream, count: int, start_us: int) -> None:
    """Vectors of up to 32 events; a TIME_HIGH wherever it changes."""
    head = "% evt 2.1\n% format EVT21;endianness=little;height={height};width={width}\n% endianness little\n"
    _raw(path, stream, count, start_us, head, _evt21_words, _evt21_shift)


def evt21_legacy(path: Path, stream: Stream, count: int, start_us: int) -> None:
    """The same words as `evt21_little` with their halves swapped."""

    def shift(words: NDArray[Any], us: int) -> NDArray[Any]:
        shifted = _evt21_shift(words, us)
        return shifted << np.uint64(32) | shifted >> np.uint64(32)

    head = "% evt 2.1\n% format EVT21;height={height};width={width}\n% endianness legacy\n"
    _raw(path, stream, count, start_us, head, _evt21_words, shift)


def _evt3_words(e: Events) -> NDArray[Any]:
    """As a Gen4 camera: TIME_HIGH every 16 µs, TIME_LOW per time, ADDR_Y per time and row, then single
    events, or vectors of 12, 12 and 8 columns where they are shorter."""
    starts, masks = _vectors(e)
    counts = np.diff(starts, append=len(e))
    vector = counts > 4
    # Single events of short groups become groups of their own.
    first_of = np.repeat(vector, counts)
    first_of[starts] = False
    units = np.flatnonzero(~first_of)
    is_vector = np.zeros(len(e), bool)
    is_vector[starts[vector]] = True
    mask_at = np.zeros(len(e), np.uint32)
    mask_at[starts[vector]] = masks[vector]
    is_vector, mask_at = is_vector[units], mask_at[units].astype(np.int64)
    t, x, y, p = (getattr(e, c)[units].astype(np.int64) for c in "txyp")
    new_t = _new(t)
    new_y = new_t | _new(y)
    # The clock words between the last event and this one; a long silence keeps the last of them.
    ticks = np.diff(t >> 4, prepend=(t[0] >> 4) - 1)
    highs = np.minimum(ticks, _SILENCE_TICKS)
    sizes = highs + new_t + new_y + np.where(is_vector, 4, 1)
    ends = np.cumsum(sizes)
    words = np.empty(int(ends[-1]), np.int64)
    # TIME_HIGH words count up in steps of 16 µs and end at the event's own tick.
    owner = np.repeat(np.arange(len(units)), highs)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(highs) - highs, highs)
    tick = (t >> 4)[owner] - (highs[owner] - 1 - place)
    words[(ends - sizes)[owner] + place] = 0x8000 | (tick >> 8) & 0xFFF
    at = ends - sizes + highs
    words[at[new_t]] = 0x6000 | t[new_t] & 0xFFF
    at += new_t
    words[at[new_y]] = y[new_y]
    at += new_y
    one = ~is_vector
    words[at[one]] = 0x2000 | p[one] << 11 | x[one]
    at, mask = at[is_vector], mask_at[is_vector]
    words[at] = 0x3000 | p[is_vector] << 11 | x[is_vector] & ~31
    words[at + 1] = 0x4000 | mask & 0xFFF
    words[at + 2] = 0x4000 | mask >> 12 & 0xFFF
    words[at + 3] = 0x5000 | mask >> 24
    return words.astype(np.uint16)


def _evt3_shift(words: NDArray[Any], us: int) -> NDArray[Any]:
    moved = 0x8000 | (words + np.uint16(us >> 12 & 0xFFF)) & np.uint16(0xFFF)
    return np.where(words >> 12 == 8, moved, words).astype(np.uint16)


def evt3(path: Path, stream: Stream, count: int, start_us: int) -> None:
    """See `_evt3_words`."""
    head = "% evt 3.0\n% format EVT3;height={height};width={width}\n"
    _raw(path, stream, count, start_us, head, _evt3_words, _evt3_shift)


def _ecf_times(t: NDArray[np.int64]) -> bytes:
    starts = np.flatnonzero(_new(t))
    runs = np.diff(starts, append=len(t))
    steps = np.diff(t[starts], prepend=t[0])
    long_steps = steps >= 15
    nibbles = np.where(long_steps, np.ceil(np.log2(np.maximum(steps, 1) + 1) / 4).astype(np.int64), 0)
    sizes = nibbles + 1 + 2 * (runs >= 15)
    at = np.cumsum(sizes) - sizes
    out = np.zeros(int(sizes.sum()), np.uint8)
    for k in range(int(nibbles.max())):
        more = nibbles > k
        out[at[more] + k] = 0xF0 | steps[more] >> 4 * k & 15
    at += nibbles
    out[at] = np.where(long_steps, 0, steps) << 4 | np.minimum(runs, 15)
    far = runs >= 15
    out[at[far] + 1], out[at[far] + 2] = runs[far] & 0xFF, runs[far] >> 8
    return out.tobytes()


def _ecf_chunk(e: Events) -> bytes:
    """Rows, columns and polarities packed together, as the camera maker's codec chooses for such data."""
    padded = np.zeros(-(-len(e) // 4) * 4, np.uint32)
    padded[: len(e)] = e.y.astype(np.uint32) << 12 | e.x.astype(np.uint32) << 1 | e.p
    a, b, c, d = padded.reshape(-1, 4).T
    packed = np.stack([a << 8 | b & 0xFF, b >> 8 << 16 | c & 0xFFFF, c >> 16 << 24 | d], 1).astype("<u4")
    head = np.uint32(len(e) << 2 | 2).tobytes() + np.uint64(e.t[0]).tobytes()
    return head + _ecf_times(e.t) + packed.tobytes()


def ecf(path: Path, stream: Stream, count: int, start_us: int) -> None:
    """Chunks of 16384 events in the packed mode."""
    height, width = stream.base.sensor_size
    record = np.dtype(
        {"names": list("xypt"), "formats": ["<u2", "<u2", "<i2", "<i8"], "offsets": [0, 2, 4, 8]}
    )
    with h5py.File(path, "w") as file:
        file.attrs["format"], file.attrs["version"] = "ECF", "1.0"
        file.attrs["geometry"] = f"{width}x{height}"
        choices = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        choices.set_chunk((_ECF_CHUNK,))
        choices.set_filter(36559, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple((count,), (h5py.h5s.UNLIMITED,))
        group = file.create_group("CD")
        events = h5py.h5d.create(group.id, b"events", h5py.h5t.py_create(record), space, choices)
        for k, e in enumerate(cut(stream, count, start_us, _ECF_CHUNK)):
            events.write_direct_chunk((k * _ECF_CHUNK,), _ecf_chunk(e))
        index = np.zeros(1, [("id", "<u8"), ("ts", "<i8")])
        file.create_dataset("CD/indexes", data=index).attrs["offset"] = "0"
