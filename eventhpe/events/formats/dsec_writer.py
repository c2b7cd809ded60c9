"""Writer of DSEC's event file layout (read by dsec.py and by programs made for that data set)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from eventhpe.atomic import AtomicWriter, PendingFile
from eventhpe.errors import FormatError
from eventhpe.events.formats.hdf5_column import GrowingColumn
from eventhpe.events.kernels_columns import check_columns
from eventhpe.events.types import Events

_COLUMNS: dict[str, np.dtype[Any]] = {
    "t": np.dtype("<u4"),
    "x": np.dtype("<u2"),
    "y": np.dtype("<u2"),
    "p": np.dtype("u1"),
}
_CHUNK = 32768
_LATEST = 2**32 - 1
# Level 1 writes six times as fast as level 5, for files 6 % larger; readers take either.
_LEVEL = 1


def write_dsec(
    path: str | Path,
    blocks: Iterable[Events],
    *,
    sensor_size: tuple[int, int],
    t_offset_us: int = 0,
    overwrite: bool = False,
) -> int:
    """Write blocks of events, in time order, as a DSEC file; returns the number of events.

    Args:
        path: file to write; replaced only with overwrite=True.
        blocks, sensor_size, t_offset_us: as for `DsecWriter`.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FormatError(f"{path} exists already; say overwrite=True (--overwrite) to replace it.")
    with DsecWriter(path, sensor_size, t_offset_us=t_offset_us) as writer:
        for events in blocks:
            writer.append(events)
    return writer.num_events


class DsecWriter(AtomicWriter):
    """Writes one recording, appended in time order; the file appears under its name only when complete.

    Layout: events/{t u4, x u2, y u2, p u1} and ms_to_idx u8 in chunks compressed by Blosc with Zstandard,
    t_offset i8; root attributes `height` and `width`.

    Args:
        path: file to write (a temporary file beside it is renamed at the end, removed on an exception).
        sensor_size: (H, W).
        t_offset_us: absolute time of relative time zero.

    Attributes:
        provenance: stored as JSON in the attribute of that name when the writer is closed, if there is any.
    """

    def __init__(self, path: str | Path, sensor_size: tuple[int, int], *, t_offset_us: int = 0) -> None:
        self.path = Path(path)
        self.sensor_size = Events.empty(sensor_size).sensor_size
        self.provenance: dict[str, Any] = {}
        self._pending_file = PendingFile(self.path)
        self._file = h5py.File(self._pending_file.temporary, "w")
        self._file.attrs["height"], self._file.attrs["width"] = self.sensor_size
        self._file["t_offset"] = np.int64(t_offset_us)
        self._columns = {name: self._column(f"events/{name}", dtype) for name, dtype in _COLUMNS.items()}
        self._index = self._column("ms_to_idx", np.dtype("<u8"))
        self._last_t = 0

    def _column(self, name: str, dtype: np.dtype[Any]) -> GrowingColumn:
        import hdf5plugin

        compression = dict(hdf5plugin.Blosc(cname="zstd", clevel=_LEVEL, shuffle=hdf5plugin.Blosc.SHUFFLE))
        return GrowingColumn(self._file, name, dtype, _CHUNK, compression)

    @property
    def num_events(self) -> int:
        """Events appended so far."""
        return len(self._columns["t"])

    def append(self, events: Events) -> None:
        """Add events; times are relative to t_offset_us and must not decrease across calls.

        Raises:
            FormatError: a time does not fit 32 bits (71 minutes) or goes backwards or below zero, an event
                lies outside the sensor, or a polarity is not 0 or 1.
        """
        if not len(events):
            return
        self._check(events)
        # index[m] = first event with t >= 1000 m: known now up to the last event of this block
        starts = np.arange(len(self._index), int(events.t[-1]) // 1000 + 1, dtype=np.int64) * 1000
        self._index.append(np.searchsorted(events.t, starts, side="left") + self.num_events)
        for name, column in self._columns.items():
            column.append(getattr(events, name))
        self._last_t = int(events.t[-1])

    def _check(self, events: Events) -> None:
        height, width = self.sensor_size
        first, last = int(events.t[0]), int(events.t[-1])
        backward, outside, bad = check_columns(events.t, events.x, events.y, events.p, width, height)
        if backward or first < self._last_t:
            raise FormatError(
                f"{self.path}: times must be >= 0 and not decrease; after {self._last_t} µs came "
                f"{first}..{last} µs."
            )
        if last > _LATEST:
            raise FormatError(
                f"{self.path}: DSEC holds times up to {_LATEST} µs (71 minutes) after t_offset; got "
                f"{last} µs. Cut the recording, or write the canonical format."
            )
        if outside or bad:
            raise FormatError(
                f"{self.path}: {outside:,} events outside the {width}x{height} sensor and {bad:,} polarities "
                "that are not 0 or 1 in one block."
            )

    def close(self) -> None:
        """Write what is pending and the index, and give the file its name."""
        self._index.append(np.array([self.num_events]))
        for column in (*self._columns.values(), self._index):
            column.close()
        if self.provenance:
            self._file.attrs["provenance"] = json.dumps(self.provenance, sort_keys=True)
        self._file.close()
        self._pending_file.close()

    def discard(self) -> None:
        """Give up: remove the temporary file."""
        self._file.close()
        self._pending_file.discard()
