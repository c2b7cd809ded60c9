"""Lazy windows over HDF5 columns events/{t,x,y,p}: the DSEC layout and our own, which is a superset of it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import EventHPEError, FormatError
from eventhpe.events.formats.hdf5_damage import CheckedRows, check_storage, checked_rows
from eventhpe.events.kernels_columns import check_columns
from eventhpe.events.recording import Backend, check_span
from eventhpe.events.types import Events, GrayFrames, ImuSamples, RawEvents, Triggers

_LONGEST_BRACKET = 1 << 22
_CHUNK_CACHE_BYTES = 32 << 20
# What h5py and NumPy raise when names, types, sizes or compressed bytes are damaged.
_DAMAGE = (OSError, RuntimeError, LookupError, ValueError, TypeError, ArithmeticError, MemoryError)


@contextlib.contextmanager
def hdf5_errors(path: Path) -> Iterator[None]:
    """Turn what h5py raises on damaged files into FormatError."""
    try:
        yield
    except EventHPEError:
        raise
    except _DAMAGE as error:
        raise FormatError(f"{path}: the HDF5 file cannot be read: {error}") from error


def open_hdf5(path: Path) -> h5py.File:
    """Open for reading, with the compression filters of this field registered."""
    import hdf5plugin  # noqa: F401  (registers Blosc, Bitshuffle, Zstd ... with HDF5)

    with hdf5_errors(path):
        return h5py.File(path, "r", locking=False, rdcc_nbytes=_CHUNK_CACHE_BYTES)


def checked_dataset(
    file: h5py.File, name: str, path: Path, ndim: int = 1, kinds: str = "iub"
) -> h5py.Dataset:
    """A dataset of numbers (dtype kinds `kinds`) whose claimed size is backed by data in the file."""
    dataset = file.get(name)
    if not isinstance(dataset, h5py.Dataset) or dataset.ndim != ndim or dataset.dtype.kind not in kinds:
        what = "integers" if kinds == "iub" else "numbers"
        raise FormatError(
            f"{path}: dataset {name!r} must hold {what} in {ndim} dimension(s); found {dataset!r}."
        )
    check_storage(dataset, name, path)
    return dataset


class ProcessHandle:
    """An HDF5 file kept open in one process: opened at first use, again after a fork or after unpickling."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: h5py.File | None = None
        self._pid = -1
        self._rows: dict[str, CheckedRows] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_pid": -1, "_rows": {}}

    def file(self) -> h5py.File:
        """The open file."""
        if self._file is None or self._pid != os.getpid():
            if self._file is not None:
                self._file.close()  # inherited through a fork: HDF5 state must not be shared
            self._rows = {}
            self._file = open_hdf5(self.path)
            self._pid = os.getpid()
        return self._file

    @contextlib.contextmanager
    def opening(self) -> Iterator[h5py.File]:
        """The file, for a constructor: closed again if that fails; `hdf5_errors` included."""
        with hdf5_errors(self.path):
            try:
                yield self.file()
            except BaseException:
                self.close()
                raise

    def rows(self, name: str, i: int, j: int) -> NDArray[Any]:
        """Rows i..j-1 of a data set whose size was checked."""
        file = self.file()
        if name not in self._rows:
            self._rows[name] = CheckedRows(file[name], self.path)
        return np.asarray(self._rows[name].read(i, j))

    def close(self) -> None:
        if self._file is not None and self._pid == os.getpid():
            self._file.close()
        self._file = None
        self._rows = {}


@dataclass(frozen=True)
class FrameDataset:
    """Reads frame k of `frames/data` when asked for."""

    path: Path

    def __call__(self, k: int) -> NDArray[np.uint8]:
        with open_hdf5(self.path) as file, hdf5_errors(self.path):
            return np.asarray(
                checked_rows(checked_dataset(file, "frames/data", self.path, 3), k, k + 1, self.path)[0],
                np.uint8,
            )


class Hdf5Backend(Backend):
    """Columns in an HDF5 file, read slice by slice.

    One handle per process: opened at first use, opened again after a fork or after unpickling.

    Args:
        zero_us: stored time that becomes relative time zero.
        offset_us: added to stored times to make them absolute.
        end_us: exclusive end on the relative clock; None: one µs after the last event.
    """

    def __init__(
        self,
        path: Path,
        file_format: str,
        sensor_size: tuple[int, int],
        *,
        zero_us: int,
        offset_us: int,
        end_us: int | None = None,
        warnings: tuple[str, ...] = (),
    ) -> None:
        self._path = path
        self._handle = ProcessHandle(path)
        self.source = str(path)
        self.format = file_format
        self.sensor_size = sensor_size
        self.streams = ("events",)
        self.warnings = warnings
        self._zero_us = zero_us
        self._offset_us = offset_us
        self.t_offset_us = offset_us + zero_us
        with self._handle.opening() as file:
            columns = {name: checked_dataset(file, f"events/{name}", path) for name in "txyp"}
            lengths = {name: int(c.shape[0]) for name, c in columns.items()}
            if len(set(lengths.values())) != 1:
                raise FormatError(f"{path}: events/t, x, y, p must have one length; found {lengths}.")
            self.num_events = lengths["t"]
            self._has_index = isinstance(file.get("ms_to_idx"), h5py.Dataset)
            n = self.num_events
            ends = [int(self._handle.rows("events/t", k, k + 1)[0]) for k in ((0, n - 1) if n else ())]
            first, last = (t - zero_us for t in ends) if ends else (0, -1)
            if first < 0:
                raise FormatError(f"{path}: the first event lies {-first:,} µs before time zero.")
            check_span(str(path), offset_us + zero_us + first, offset_us + zero_us + last)
            if self._has_index:
                checked_dataset(file, "ms_to_idx", path)
        self.end_us = max(0, last + 1) if end_us is None else max(end_us, last + 1)

    def _file(self) -> h5py.File:
        return self._handle.file()

    def close(self) -> None:
        self._handle.close()

    def _column(self, name: str, i: int, j: int, dtype: type[np.integer[Any]]) -> NDArray[Any]:
        values = self._handle.rows(f"events/{name}", i, j)
        if values.dtype == dtype:
            return np.asarray(values)
        if values.size and values.dtype.kind in "iu":
            limits = np.iinfo(dtype)
            if int(values.min()) < limits.min or int(values.max()) > limits.max:
                hint = " Polarity must be 0 or 1." if name == "p" else ""
                raise FormatError(
                    f"{self._path}: events/{name} holds values outside {np.dtype(dtype)}.{hint}"
                )
        return values.astype(dtype)

    def _read_columns(self, i: int, j: int) -> tuple[NDArray[Any], ...]:
        with hdf5_errors(self._path):
            t = self._column("t", i, j, np.int64)
            x, y = self._column("x", i, j, np.uint16), self._column("y", i, j, np.uint16)
            p = self._column("p", i, j, np.uint8)
        return t, x, y, p

    def read(self, i: int, j: int) -> Events:
        if j <= i:
            return Events.empty(self.sensor_size)
        t, x, y, p = self._read_columns(i, j)
        height, width = self.sensor_size
        backward, outside, bad = check_columns(t, x, y, p, width, height)
        where = f"{self._path}: events {i:,}..{j:,}"
        if backward:
            raise FormatError(
                f"{where}: time goes backwards {backward:,} times; HDF5 events must be sorted by time."
            )
        if outside:
            raise FormatError(
                f"{where}: {outside:,} lie outside the {width}x{height} sensor. Say the right one with "
                "sensor=."
            )
        if bad:
            raise FormatError(f"{where}: {bad:,} polarities are not 0 or 1.")
        return Events(t - np.int64(self._zero_us) if self._zero_us else t, x, y, p, self.sensor_size)

    def read_raw(self) -> RawEvents:
        t, x, y, p = self._read_columns(0, self.num_events)
        return RawEvents(t + np.int64(self._offset_us), x, y, p, np.zeros(len(t), np.uint8), self.sensor_size)

    def index_at(self, t_us: int) -> int:
        target = t_us + self._zero_us
        with hdf5_errors(self._path):
            lo, hi = self._bracket(target)
            if hi - lo <= _LONGEST_BRACKET:
                a, b = max(0, lo - 1), min(self.num_events, hi + 1)
                values = self._handle.rows("events/t", a, b).astype(np.int64)
                k = int(np.searchsorted(values, target, side="left"))
                # inside the slice, or at an end of the file: certain; else the index misled us
                if (k > 0 or a == 0) and (k < len(values) or b == self.num_events):
                    return a + k
            lo, hi = 0, self.num_events
            while lo < hi:
                middle = (lo + hi) // 2
                if int(self._handle.rows("events/t", middle, middle + 1)[0]) < target:
                    lo = middle + 1
                else:
                    hi = middle
            return lo

    def _bracket(self, target: int) -> tuple[int, int]:
        """Range of indices that must hold the first event with stored time >= target, from ms_to_idx."""
        n = self.num_events
        if not self._has_index:
            return 0, n
        length = self._file()["ms_to_idx"].shape[0]
        m = target // 1000
        if m < 0 or length == 0:
            return 0, 0 if m < 0 else n
        pair = self._handle.rows("ms_to_idx", min(m, length - 1), min(m + 2, length))
        lo = min(max(int(pair[0]), 0), n)
        hi = min(int(pair[1]), n) if len(pair) > 1 and m < length else n
        return lo, max(lo, hi)

    def stored_time_range(self) -> tuple[int, int]:
        with hdf5_errors(self._path):
            first, last = (int(self._handle.rows("events/t", k, k + 1)[0]) for k in (0, self.num_events - 1))
        return first + self._offset_us, last + self._offset_us

    def _all(self, file: h5py.File, name: str, ndim: int = 1, kinds: str = "iub") -> NDArray[Any]:
        dataset = checked_dataset(file, name, self._path, ndim, kinds)
        return np.asarray(checked_rows(dataset, 0, dataset.shape[0], self._path))

    def _times(self, file: h5py.File, name: str) -> NDArray[np.int64]:
        """Times beside the events, on the relative clock."""
        t = self._all(file, name).astype(np.int64)
        if (t[1:] < t[:-1]).any():
            raise FormatError(f"{self._path}: {name} goes backwards; HDF5 times must be sorted.")
        if len(t):
            check_span(f"{self._path}: {name}", int(t[0]), int(t[-1]))
        return t - np.int64(self._zero_us)

    def frames(self) -> GrayFrames | None:
        with hdf5_errors(self._path):
            file = self._file()
            if "frames/t" not in file or "frames/data" not in file:
                return None
            data = checked_dataset(file, "frames/data", self._path, 3)
            t = self._times(file, "frames/t")
            if data.shape[0] != len(t) or data.dtype != np.uint8:
                raise FormatError(
                    f"{self._path}: frames/data is {data.shape} {data.dtype} for {len(t)} times."
                )
        return GrayFrames(t, FrameDataset(self._path))

    def triggers(self) -> Triggers | None:
        with hdf5_errors(self._path):
            file = self._file()
            if "triggers/t" not in file or "triggers/value" not in file:
                return None
            t = self._times(file, "triggers/t")
            value = self._all(file, "triggers/value")
            channel = (
                self._all(file, "triggers/channel")
                if "triggers/channel" in file
                else np.zeros(len(t), np.uint8)
            )
            if not len(t) == len(value) == len(channel):
                raise FormatError(
                    f"{self._path}: triggers/t, value and channel must have one length; found {len(t)}, "
                    f"{len(value)} and {len(channel)}."
                )
        if not ((value >= 0) & (value <= 2)).all() or not ((channel >= 0) & (channel <= 255)).all():
            raise FormatError(
                f"{self._path}: triggers/value must be 0, 1 or 2, and triggers/channel 0..255; found others."
            )
        return Triggers(t, value.astype(np.uint8), channel.astype(np.uint8))

    def imu(self) -> ImuSamples | None:
        with hdf5_errors(self._path):
            file = self._file()
            if "imu/t" not in file:
                return None
            t = self._times(file, "imu/t")
            accel, gyro = (
                self._all(file, f"imu/{name}", 2, "f").astype(np.float32) for name in ("accel", "gyro")
            )
            temperature = self._all(file, "imu/temperature", 1, "f").astype(np.float32)
            shapes = accel.shape, gyro.shape, temperature.shape
            if shapes != ((len(t), 3), (len(t), 3), (len(t),)):
                raise FormatError(f"{self._path}: imu/ holds columns of {shapes} for {len(t)} times.")
        return ImuSamples(t, accel, gyro, temperature)
