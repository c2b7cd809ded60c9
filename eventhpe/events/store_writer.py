"""Writer of the canonical HDF5 recording (layout: eventhpe/events/store.py)."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xxhash
from numpy.typing import NDArray

from eventhpe.atomic import AtomicWriter, PendingFile
from eventhpe.errors import FormatError, ShapeError, UnitError
from eventhpe.events.formats.hdf5_column import GrowingColumn
from eventhpe.events.kernels_columns import check_columns
from eventhpe.events.types import Events, ImuSamples, Triggers

SCHEMA_VERSION = 1
COMPRESSIONS = ("bitshuffle-lz4", "gzip", "none")
CHUNK = 65536
CHECKSUM = "xxh3_64"
_COLUMNS: dict[str, np.dtype[Any]] = {
    "t": np.dtype("<i8"),
    "x": np.dtype("<u2"),
    "y": np.dtype("<u2"),
    "p": np.dtype("u1"),
}
# 2^27 ms are 37 hours; a longer index means absolute times or another unit.
_LONGEST_INDEX = 1 << 27
_INDEX_PIECE = 1 << 20


def compression_options(name: str) -> dict[str, Any]:
    """Keyword arguments for h5py's create_dataset."""
    if name == "bitshuffle-lz4":
        import hdf5plugin

        return dict(hdf5plugin.Bitshuffle(cname="lz4"))
    if name == "gzip":
        return {"compression": "gzip", "compression_opts": 1, "shuffle": True}
    if name == "none":
        return {}
    raise FormatError(f"unknown compression {name!r}; choose one of {', '.join(COMPRESSIONS)}.")


def package_version() -> str:
    try:
        return importlib.metadata.version("eventhpe")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


class StoreWriter(AtomicWriter):
    """Writes one recording, appended in time order; the file appears under its name only when complete.

    Args:
        path: file to write (a temporary file beside it is renamed at the end, removed on an exception).
        sensor_size: (H, W).
        t_offset_us: absolute time of relative time zero.
        compression: one of COMPRESSIONS.
        provenance: where the data come from; stored as JSON.
        duration_us: length of the recording where it is known; silence after the last event then counts as
            recorded.

    Attributes:
        t_offset_us, duration_us, provenance: as given; may be changed until the writer is closed.
    """

    def __init__(
        self,
        path: str | Path,
        sensor_size: tuple[int, int],
        *,
        t_offset_us: int = 0,
        compression: str = "bitshuffle-lz4",
        provenance: Mapping[str, Any] | None = None,
        duration_us: int | None = None,
    ) -> None:
        self.path = Path(path)
        self.sensor_size = Events.empty(sensor_size).sensor_size
        if max(self.sensor_size) > 65535:
            raise ShapeError(f"sensor_size must be at most 65535; got {self.sensor_size}.")
        self._options = compression_options(compression)
        self.t_offset_us, self.duration_us = t_offset_us, duration_us
        self.provenance = dict(provenance or {})
        json.dumps(self.provenance)  # what cannot be stored is better refused now
        self._pending_file = PendingFile(self.path)
        self.file = h5py.File(self._pending_file.temporary, "w")
        self.file.attrs["schema_version"] = SCHEMA_VERSION
        self.file.attrs["sensor_height"], self.file.attrs["sensor_width"] = self.sensor_size
        self.file.attrs["eventhpe_version"] = package_version()
        self._columns = {name: self._column(f"events/{name}", dtype) for name, dtype in _COLUMNS.items()}
        self._index = self._column("ms_to_idx", np.dtype("<u8"))
        self._index_length = 0
        self._num_events = 0
        self._last_t = 0
        self._last_frame_t: int | None = None
        self._frames_checksum = xxhash.xxh3_64()

    def _column(self, name: str, dtype: np.dtype[Any]) -> GrowingColumn:
        return GrowingColumn(self.file, name, dtype, CHUNK, self._options)

    @property
    def num_events(self) -> int:
        """Events appended so far."""
        return self._num_events

    def append(self, events: Events) -> None:
        """Add events; times are relative to t_offset_us and must not decrease across calls.

        Raises:
            FormatError: time goes backwards or below zero, or the sensor differs.
            UnitError: times past 37 hours.
        """
        if events.sensor_size != self.sensor_size:
            raise FormatError(
                f"{self.path}: made for sensor_size {self.sensor_size}; got events of {events.sensor_size}."
            )
        if not len(events):
            return
        t = events.t
        height, width = self.sensor_size
        backward, outside, bad = check_columns(t, events.x, events.y, events.p, width, height)
        if int(t[0]) < self._last_t or backward:
            raise FormatError(
                f"{self.path}: times must be >= 0 and not decrease; after {self._last_t} µs came "
                f"{int(t[0])}..{int(t[-1])} µs."
            )
        if outside or bad:
            raise FormatError(
                f"{self.path}: events outside the sensor {self.sensor_size} or with a polarity above 1."
            )
        self._extend_index(t)
        for name, column in self._columns.items():
            column.append(getattr(events, name))
        self._num_events += len(t)
        self._last_t = int(t[-1])

    def _extend_index(self, t: NDArray[np.int64]) -> None:
        upto = int(t[-1]) // 1000 + 1
        if upto > _LONGEST_INDEX:
            raise UnitError(
                f"{self.path}: an event at {int(t[-1])} µs, more than 37 hours after time zero. Times "
                "must be µs relative to t_offset_us."
            )
        while self._index_length < upto:  # in pieces: hours of silence are long
            end = min(upto, self._index_length + _INDEX_PIECE)
            starts = np.arange(self._index_length, end, dtype=np.int64) * 1000
            self._index.append((np.searchsorted(t, starts, side="left") + self._num_events).astype(np.uint64))
            self._index_length = end

    def append_frame(self, t_us: int, image: NDArray[np.uint8]) -> None:
        """Add a gray frame, (H, W) uint8, at a relative time; frames come in time order."""
        if image.shape != self.sensor_size or image.dtype != np.uint8:
            raise ShapeError(f"a frame must be {self.sensor_size} uint8; got {image.shape} {image.dtype}.")
        if self._last_frame_t is not None and t_us < self._last_frame_t:
            raise FormatError(
                f"{self.path}: frames must come in time order; {t_us} µs after {self._last_frame_t} µs."
            )
        if "frames" not in self.file:
            height, width = self.sensor_size
            self.file.create_dataset("frames/t", shape=(0,), maxshape=(None,), chunks=(1024,), dtype="<i8")
            self.file.create_dataset(
                "frames/data",
                shape=(0, height, width),
                maxshape=(None, height, width),
                chunks=(1, height, width),
                dtype="u1",
                **self._options,
            )
        times, data = self.file["frames/t"], self.file["frames/data"]
        k = times.shape[0]
        times.resize(k + 1, axis=0)
        data.resize(k + 1, axis=0)
        times[k], data[k] = int(t_us), image
        self._frames_checksum.update(np.ascontiguousarray(image).data)
        self._last_frame_t = int(t_us)

    def append_triggers(self, triggers: Triggers) -> None:
        """Store external triggers (once)."""
        self._store("triggers", t=triggers.t_us, value=triggers.value, channel=triggers.channel)

    def append_imu(self, imu: ImuSamples) -> None:
        """Store the samples of the inertial sensor (once)."""
        self._store("imu", t=imu.t_us, accel=imu.accel, gyro=imu.gyro, temperature=imu.temperature)

    def _store(self, group: str, **columns: NDArray[Any]) -> None:
        for name, values in columns.items():
            self.file[f"{group}/{name}"] = values
            checksum = xxhash.xxh3_64(np.ascontiguousarray(values).data).hexdigest()
            self.file[f"{group}/{name}"].attrs[CHECKSUM] = checksum

    def close(self) -> None:
        """Write what is pending and the index, and give the file its name."""
        self._index.append(np.array([self._num_events], np.uint64))
        for column in (*self._columns.values(), self._index):
            column.dataset.attrs[CHECKSUM] = column.close()
        if "frames" in self.file:
            times = np.ascontiguousarray(self.file["frames/t"][:])
            self.file["frames/t"].attrs[CHECKSUM] = xxhash.xxh3_64(times.data).hexdigest()
            self.file["frames/data"].attrs[CHECKSUM] = self._frames_checksum.hexdigest()
        self.file["t_offset"] = np.int64(self.t_offset_us)
        self.file.attrs["provenance"] = json.dumps(self.provenance, sort_keys=True)
        if self.duration_us is not None:
            self.file.attrs["duration_us"] = int(self.duration_us)
        self.file.close()
        self._pending_file.close()

    def discard(self) -> None:
        """Give up: remove the temporary file."""
        self.file.close()
        self._pending_file.discard()
