"""Prophesee's HDF5 files: events in one compound data set, as a rule compressed by chunks (ECF).

CD/events {x u2, y u2, p i2, t i8}, EXT_TRIGGER/events {p i2, t i8, id i2}; `geometry` ("640x480") in the root
attributes. Event times are absolute as they stand: the attribute `offset` of CD/indexes relates them to the
index, which counts from the first event and is not needed here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import FormatError
from eventhpe.events.blocks import BLOCK_EVENTS, BlockReader, Checkpoint, Columns, Side
from eventhpe.events.formats.hdf5 import ProcessHandle, hdf5_errors
from eventhpe.events.formats.hdf5_damage import check_storage, checked_rows, plain_attribute
from eventhpe.events.formats.options import OpenOptions
from eventhpe.events.formats.sensors import sensor_by_name
from eventhpe.events.kernels_ecf import (
    BAD_COUNT,
    BAD_RUN,
    BAD_TIME,
    LARGEST_COUNT,
    PADDING,
    TOO_SHORT,
    decode_ecf,
)

EVENTS = "CD/events"
TRIGGERS = "EXT_TRIGGER/events"
ECF_FILTER = 36559
_FIELDS = ("x", "y", "p", "t")
# The worst coding takes 13 bytes per event and a header.
_LARGEST_CHUNK_BYTES = 16 * LARGEST_COUNT + 64
_DAMAGE = {
    TOO_SHORT: "its bytes end before its events do",
    BAD_COUNT: "it claims more events than a chunk has room for",
    BAD_TIME: "it holds an impossible time",
    BAD_RUN: "a run of equal values goes past its last event",
}


def is_prophesee(file: h5py.File) -> bool:
    """CD/events is one compound data set with fields x, y, p, t."""
    events = file.get(EVENTS)
    return isinstance(events, h5py.Dataset) and set(_FIELDS) <= set(events.dtype.names or ())


def open_reader(path: Path, options: OpenOptions) -> EcfReader:
    """Reader of a Prophesee HDF5 file; `options.sensor` overrules the geometry in the file."""
    return EcfReader(path, sensor=options.sensor)


class EcfReader(BlockReader):
    """A checkpoint is the index of the block's first event; blocks are whole chunks."""

    format = "Prophesee HDF5 (ECF)"

    def __init__(self, path: Path, sensor: str | None = None) -> None:
        self.path = path
        self._handle = ProcessHandle(path)
        self._scratch: NDArray[np.uint8] | None = None
        with self._handle.opening() as file:
            if not is_prophesee(file):
                raise FormatError(f"{path}: not a Prophesee HDF5 file (compound {EVENTS} with x, y, p, t).")
            events = file[EVENTS]
            if events.ndim != 1 or any(events.dtype[name].kind not in "iu" for name in _FIELDS):
                raise FormatError(f"{path}: {EVENTS} must be a column of integer fields; found {events!r}.")
            check_storage(events, EVENTS, path)
            self.num_events = int(events.shape[0])
            self._dtype = events.dtype
            self._in_ecf = _uses_ecf(events, path)
            self._chunk = int(events.chunks[0]) if self._in_ecf else BLOCK_EVENTS
            if self._chunk > LARGEST_COUNT and self._in_ecf:
                raise FormatError(
                    f"{path}: {EVENTS} has chunks of {self._chunk:,} events; ECF holds {LARGEST_COUNT:,}."
                )
            self._num_triggers = _num_triggers(file, path)
            self.sensor_size = sensor_by_name(sensor).size if sensor is not None else _geometry(file)
        self._block = max(1, BLOCK_EVENTS // self._chunk) * self._chunk

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_scratch": None}

    def first(self) -> Checkpoint:
        return (0,)

    def progress(self, at: Checkpoint) -> float:
        return at[0] / max(1, self.num_events)

    def decode(self, at: Checkpoint, out: Columns, side: Side) -> tuple[int, Checkpoint | None]:
        i = at[0]
        j = min(i + self._block, self.num_events)
        with hdf5_errors(self.path):
            file = self._handle.file()
            if i == 0:
                self._read_triggers(file, side)
            events = file[EVENTS]
            if self._in_ecf:
                for k in range(i, j, self._chunk):
                    self._decode_chunk(events, k, min(self._chunk, j - k), k - i, out)
            else:
                _copy_rows(checked_rows(events, i, j, self.path), out)
        return j - i, (j,) if j < self.num_events else None

    def _decode_chunk(self, events: h5py.Dataset, first: int, keep: int, start: int, out: Columns) -> None:
        """Decode the chunk that begins with event `first` into places start..start+keep-1."""
        data, size, filtered = self._chunk_bytes(events, first)
        if not filtered:
            if size < keep * self._dtype.itemsize:
                raise self._damage(first, "it is too short")
            rows = data[: keep * self._dtype.itemsize].view(self._dtype)
            _copy_rows(rows, out, start)
            return
        count = decode_ecf(data, size, self._chunk, start, keep, out.t, out.x, out.y, out.p)
        if count < 0:
            raise self._damage(first, _DAMAGE[count])
        if count < keep:
            raise self._damage(first, f"it holds {count:,} events where {keep:,} belong")

    def _chunk_bytes(self, events: h5py.Dataset, first: int) -> tuple[NDArray[np.uint8], int, bool]:
        """The stored bytes of a chunk in a reused buffer, their number, and whether they are coded."""
        try:
            info = events.id.get_chunk_info_by_coord((first,))
            size = int(info.size)
            if info.byte_offset is None or not 0 < size <= max(
                _LARGEST_CHUNK_BYTES, self._chunk * self._dtype.itemsize
            ):
                raise self._damage(first, "it is missing")
            if self._scratch is None or len(self._scratch) < size + PADDING:
                self._scratch = np.zeros(size + size // 2 + PADDING, np.uint8)
            mask, _ = events.id.read_direct_chunk((first,), out=self._scratch[:size])
        except (OSError, RuntimeError, ValueError) as error:
            raise self._damage(first, f"it cannot be read ({error})") from error
        return self._scratch, size, not mask & 1

    def _damage(self, first: int, what: str) -> FormatError:
        return FormatError(
            f"{self.path}: chunk {first // self._chunk:,} of {EVENTS} (from event {first:,}) is damaged: "
            f"{what}. Get an undamaged copy of the file."
        )

    def _read_triggers(self, file: h5py.File, side: Side) -> None:
        for i in range(0, self._num_triggers, BLOCK_EVENTS):
            rows = checked_rows(file[TRIGGERS], i, min(i + BLOCK_EVENTS, self._num_triggers), self.path)
            side.add_triggers(
                rows["t"].astype(np.int64), (rows["p"] > 0).astype(np.uint8), rows["id"].astype(np.uint8)
            )

    def close(self) -> None:
        self._handle.close()


def _copy_rows(rows: NDArray[Any], out: Columns, start: int = 0) -> None:
    """Split compound rows into columns; coordinates beyond 16 bits become 65535, outside every sensor."""
    stop = start + len(rows)
    out.t[start:stop] = rows["t"]
    out.p[start:stop] = rows["p"] > 0
    for name, column in (("x", out.x), ("y", out.y)):
        values = rows[name]
        if values.dtype != np.uint16:
            values = np.where((values < 0) | (values > 65535), 65535, values)
        column[start:stop] = values


def _uses_ecf(events: h5py.Dataset, path: Path) -> bool:
    """Whether ECF is the data set's only filter; without it, HDF5 decodes the chunks."""
    pipeline = events.id.get_create_plist()
    filters = [int(pipeline.get_filter(k)[0]) for k in range(pipeline.get_nfilters())]
    if ECF_FILTER in filters and len(filters) > 1:
        raise FormatError(f"{path}: {EVENTS} has filters {filters}; ECF ({ECF_FILTER}) is read only alone.")
    return filters == [ECF_FILTER]


def _num_triggers(file: h5py.File, path: Path) -> int:
    triggers = file.get(TRIGGERS)
    if not isinstance(triggers, h5py.Dataset):
        return 0
    names = triggers.dtype.names or ()
    whole = all(n in names and triggers.dtype[n].kind in "iu" for n in ("p", "t", "id"))
    if triggers.ndim != 1 or not whole:
        raise FormatError(
            f"{path}: {TRIGGERS} must be a column of integer fields p, t, id; found {triggers!r}."
        )
    check_storage(triggers, TRIGGERS, path)
    return int(triggers.shape[0])


def _geometry(file: h5py.File) -> tuple[int, int] | None:
    """(H, W) from `geometry` ("640x480") or from `format` ("EVT3;height=480;width=640")."""
    texts = {name: _text(file, name) for name in ("geometry", "format")}
    match = re.fullmatch(r"\s*(\d{1,5})x(\d{1,5})\s*", texts["geometry"])
    width, height = (match[1], match[2]) if match else ("0", "0")
    if not match:
        stated = dict(re.findall(r"(height|width)=(\d{1,5})(?!\d)", texts["format"]))
        width, height = stated.get("width", "0"), stated.get("height", "0")
    size = int(height), int(width)
    return size if 0 < min(size) and max(size) <= 65535 else None


def _text(file: h5py.File, name: str) -> str:
    """A string attribute of the root; empty if there is none."""
    value = plain_attribute(file, name, "")
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
