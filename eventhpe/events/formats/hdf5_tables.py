"""Events in plain HDF5 tables: MVSEC, v2e, and columns or compound rows under any of their usual names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import FormatError
from eventhpe.events.blocks import BLOCK_EVENTS, BlockReader, Checkpoint, Columns, Frame, Side
from eventhpe.events.formats.hdf5 import ProcessHandle, checked_dataset, hdf5_errors
from eventhpe.events.formats.hdf5_damage import CheckedRows, check_storage, checked_rows
from eventhpe.events.formats.hdf5_layouts import (
    Table,
    attribute_size,
    column_tables,
    mvsec_tables,
    no_events,
    v2e_tables,
)
from eventhpe.events.formats.options import OpenOptions, TimeUnit
from eventhpe.events.formats.sensors import sensor_by_name
from eventhpe.events.formats.table import fill_columns, fill_rows
from eventhpe.events.formats.time_units import unit_by_rule

_LAYOUTS = {
    "mvsec": ("MVSEC HDF5", mvsec_tables),
    "v2e": ("v2e HDF5", v2e_tables),
    "hdf5": ("HDF5 columns", column_tables),
}
_MVSEC_SIZE = (260, 346)


def open_reader(path: Path, options: OpenOptions) -> TableReader:
    """Reader of the layout `options.format` (mvsec, v2e, hdf5).

    `options.sensor` overrules what the file tells; `options.time_unit` overrules the rule that float times
    are seconds and integer times µs.
    """
    kind = MvsecReader if options.format == "mvsec" else TableReader
    return kind(path, options)


class TableReader(BlockReader):
    """One stream per table, one table after the other. A checkpoint is (table, row)."""

    def __init__(self, path: Path, options: OpenOptions) -> None:
        self.path = path
        self.format, find = _LAYOUTS[options.format]
        self._handle = ProcessHandle(path)
        with self._handle.opening() as file:
            self._tables = find(file)
            if not self._tables:
                raise no_events(file, path)
            self.streams = tuple(table.name for table in self._tables)
            self._lengths = [_checked_length(file, table, path) for table in self._tables]
            self._units = [options.time_unit or _unit(file, table) for table in self._tables]
            self.sensor_size = (
                sensor_by_name(options.sensor).size if options.sensor is not None else self._size(file)
            )

    def _size(self, file: h5py.File) -> tuple[int, int] | None:
        """(H, W), if the file tells it."""
        size = attribute_size(file, [table.paths[0] for table in self._tables])
        if size is None and self.format == "v2e HDF5":
            size = _image_size(file.get("frame"))
        return size

    def first(self) -> Checkpoint:
        return (0, 0)

    def progress(self, at: Checkpoint) -> float:
        return (sum(self._lengths[: at[0]]) + at[1]) / max(1, sum(self._lengths))

    def decode(self, at: Checkpoint, out: Columns, side: Side) -> tuple[int, Checkpoint | None]:
        k, i = at
        j = min(i + BLOCK_EVENTS, self._lengths[k])
        with hdf5_errors(self.path):
            file = self._handle.file()
            if i == 0:
                self._announce(file, k, side)
            n = self._fill(file, k, i, j, out, side) if j > i else 0
        if len(self.streams) > 1:
            out.camera[:n] = k
        if j < self._lengths[k]:
            return n, (k, j)
        return n, (k + 1, 0) if k + 1 < len(self._tables) else None

    def _fill(self, file: h5py.File, k: int, i: int, j: int, out: Columns, side: Side) -> int:
        table, unit = self._tables[k], self._units[k]
        where = f"{self.path}: {table.paths[0] if len(table.paths) == 1 else table.name}"
        if table.order is not None:
            rows = self._handle.rows(table.paths[0], i, j)
            return fill_rows(rows, table.order, out, 0, side, unit=unit, where=where, row=i)
        if table.fields:
            # Only these: reading a damaged field of another kind could follow pointers to nowhere.
            CheckedRows(file[table.paths[0]], self.path).check(i, j)
            rows = file[table.paths[0]].fields(list(table.fields))[i:j]
            t, x, y, p = (rows[field] for field in table.fields)
        else:
            t, x, y, p = (self._handle.rows(path, i, j) for path in table.paths)
        return fill_columns(t, x, y, p, out, 0, side, unit=unit, where=where, row=i)

    def _announce(self, file: h5py.File, k: int, side: Side) -> None:
        """Tell `side` what lies beside the events of table k."""
        if self.format == "v2e HDF5" and isinstance(file.get("frame"), h5py.Dataset):
            side.elements["frames of the simulated video (not read)"] += int(file["frame"].shape[0])

    def close(self) -> None:
        self._handle.close()


class MvsecReader(TableReader):
    """MVSEC: two DAVIS 346 with gray frames; the frames of a camera are announced with its first block."""

    def _size(self, file: h5py.File) -> tuple[int, int] | None:
        sizes = {_image_size(file.get(f"davis/{camera}/image_raw")) for camera in self.streams} - {None}
        return sizes.pop() if len(sizes) == 1 else _MVSEC_SIZE

    def _announce(self, file: h5py.File, k: int, side: Side) -> None:
        camera = self.streams[k]
        imu = file.get(f"davis/{camera}/imu")
        if isinstance(imu, h5py.Dataset) and imu.ndim and imu.shape[0]:
            side.elements["IMU samples"] += int(imu.shape[0])
            side.say("IMU samples are counted but not read: the MVSEC layout does not tell their units")
        name = f"davis/{camera}/image_raw"
        if name not in file or f"{name}_ts" not in file:
            return
        images = checked_dataset(file, name, self.path, 3)
        times = checked_dataset(file, f"{name}_ts", self.path, 1, "f")
        if images.dtype != np.uint8 or len(images) != len(times) or images.shape[1:] != self.sensor_size:
            side.lose(f"gray frames of camera {camera} left out (odd shape, type or times)", len(images))
            return
        seconds = checked_rows(times, 0, len(times), self.path).astype(np.float64)
        if not bool(np.all(np.abs(seconds) < 1e12)):
            raise FormatError(f"{self.path}: {name}_ts holds times that are not finite seconds.")
        whole = np.floor(seconds)
        t_us = whole.astype(np.int64) * 1_000_000 + np.rint((seconds - whole) * 1e6).astype(np.int64)
        side.frames.extend(Frame(int(t), (name, frame), k) for frame, t in enumerate(t_us))

    def load_frame(self, ref: tuple[Any, ...]) -> NDArray[np.uint8]:
        name, frame = ref
        with hdf5_errors(self.path):
            images = checked_dataset(self._handle.file(), name, self.path, 3)
            return np.asarray(checked_rows(images, frame, frame + 1, self.path)[0], np.uint8)


def _checked_length(file: h5py.File, table: Table, path: Path) -> int:
    """Number of events; every data set of the table must be backed by data."""
    lengths = set()
    for name in table.paths:
        dataset = file[name]
        check_storage(dataset, name, path)
        lengths.add(int(dataset.shape[0]))
    if len(lengths) != 1:
        raise FormatError(f"{path}: {', '.join(table.paths)} must have one length; found {sorted(lengths)}.")
    return lengths.pop()


def _unit(file: h5py.File, table: Table) -> TimeUnit:
    dtype = file[table.paths[0]].dtype
    return unit_by_rule(dtype[table.fields[0]] if table.fields else dtype)


def _image_size(item: object) -> tuple[int, int] | None:
    """(H, W) of a data set of gray images."""
    if not isinstance(item, h5py.Dataset) or item.ndim != 3:
        return None
    height, width = (int(n) for n in item.shape[1:])
    return (height, width) if 0 < height <= 65535 and 0 < width <= 65535 else None
