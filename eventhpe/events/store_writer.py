"""Writer of the canonical HDF5 recording (layout: eventhpe/events/store.py)."""

from __future__ import annotations

import importlib.metadata
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import FormatError, ShapeError, UnitError
from eventhpe.events.types import Events, Triggers

SCHEMA_VERSION = 1
COMPRESSIONS = ("bitshuffle-lz4", "gzip", "none")
CHUNK = 65536
_COLUMNS = {"t": np.dtype("<i8"), "x": np.dtype("<u2"), "y": np.dtype("<u2"), "p": np.dtype("u1")}
# 2^27 ms are 37 hours; a longer index means absolute times or another unit.
_LONGEST_INDEX = 1 << 27


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


class StoreWriter:
    """Writes one recording, appended in time order; the file appears under its name only when complete.

    Args:
        path: file to write (a temporary file beside it is renamed at the end, removed on an exception).
        sensor_size: (H, W).
        t_offset_us: absolute time of relative time zero.
        compression: one of COMPRESSIONS.
        provenance: where the data come from; stored as JSON.
        duration_us: length of the recording where it is known; silence after the last event then counts as
            recorded.
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
        text = json.dumps(dict(provenance or {}), sort_keys=True)
        if not self.path.parent.is_dir():
            raise FormatError(f"{self.path}: its folder does not exist; create {self.path.parent} first.")
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        os.close(handle)
        self._temporary = Path(name)
        self.file = h5py.File(name, "w")
        self.file.attrs["schema_version"] = SCHEMA_VERSION
        self.file.attrs["sensor_height"], self.file.attrs["sensor_width"] = self.sensor_size
        self.file.attrs["provenance"] = text
        self.file.attrs["eventhpe_version"] = package_version()
        if duration_us is not None:
            self.file.attrs["duration_us"] = int(duration_us)
        self.file["t_offset"] = np.int64(t_offset_us)
        for column, dtype in _COLUMNS.items():
            self.file.create_dataset(
                f"events/{column}",
                shape=(0,),
                maxshape=(None,),
                chunks=(CHUNK,),
                dtype=dtype,
                **self._options,
            )
        self._pending: dict[str, list[NDArray[Any]]] = {column: [] for column in _COLUMNS}
        self._num_pending = 0
        self._num_events = 0
        self._last_t = 0
        self._index: list[NDArray[np.uint64]] = []
        self._index_length = 0
        self._last_frame_t: int | None = None

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
        if int(t[0]) < self._last_t or (len(t) > 1 and bool((t[1:] < t[:-1]).any())):
            raise FormatError(
                f"{self.path}: times must be >= 0 and not decrease; after {self._last_t} µs came "
                f"{int(t[0])}..{int(t[-1])} µs."
            )
        if (
            events.x.max() >= self.sensor_size[1]
            or events.y.max() >= self.sensor_size[0]
            or events.p.max() > 1
        ):
            raise FormatError(
                f"{self.path}: events outside the sensor {self.sensor_size} or with a polarity above 1."
            )
        self._extend_index(t)
        for column, parts in self._pending.items():
            parts.append(np.array(getattr(events, column)))  # a copy: the caller may reuse its buffers
        self._num_pending += len(t)
        self._num_events += len(t)
        self._last_t = int(t[-1])
        if self._num_pending >= CHUNK:
            self._flush(self._num_pending // CHUNK * CHUNK)

    def _extend_index(self, t: NDArray[np.int64]) -> None:
        upto = int(t[-1]) // 1000 + 1
        if upto > _LONGEST_INDEX:
            raise UnitError(
                f"{self.path}: an event at {int(t[-1])} µs, more than 37 hours after time zero. Times "
                "must be µs "
                "relative to t_offset_us."
            )
        if upto > self._index_length:
            starts = np.arange(self._index_length, upto, dtype=np.int64) * 1000
            self._index.append((np.searchsorted(t, starts, side="left") + self._num_events).astype(np.uint64))
            self._index_length = upto

    def _flush(self, count: int) -> None:
        for column, parts in self._pending.items():
            values = parts[0] if len(parts) == 1 else np.concatenate(parts)
            dataset = self.file[f"events/{column}"]
            start = dataset.shape[0]
            dataset.resize(start + count, axis=0)
            dataset[start:] = values[:count]
            self._pending[column] = [values[count:]]
        self._num_pending -= count

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
        self._last_frame_t = int(t_us)

    def write_triggers(self, triggers: Triggers) -> None:
        """Store external triggers (once)."""
        self.file["triggers/t"] = triggers.t_us
        self.file["triggers/value"] = triggers.value

    def close(self) -> None:
        """Write what is pending and the index, and give the file its name."""
        if self._num_pending:
            self._flush(self._num_pending)
        index = [*self._index, np.array([self._num_events], np.uint64)]
        values = np.concatenate(index)
        self.file.create_dataset("ms_to_idx", data=values, chunks=(min(len(values), CHUNK),), **self._options)
        self.file.close()
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(self._temporary, 0o666 & ~mask)
        os.replace(self._temporary, self.path)

    def discard(self) -> None:
        """Give up: remove the temporary file."""
        self.file.close()
        self._temporary.unlink(missing_ok=True)

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard()
            return
        try:
            self.close()
        except BaseException:
            self.discard()
            raise
