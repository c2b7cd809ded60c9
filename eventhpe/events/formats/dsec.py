"""DSEC's event files: HDF5 columns with a millisecond index and a time offset."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from eventhpe.errors import FormatError
from eventhpe.events.formats.hdf5 import Hdf5Backend, checked_dataset, hdf5_errors, open_hdf5
from eventhpe.events.formats.hdf5_damage import CheckedRows, check_storage, checked_rows, plain_attribute
from eventhpe.events.formats.sensors import sensor_by_name

_DSEC_SIZE = (480, 640)


def looks_like_dsec(file: h5py.File) -> bool:
    """events/{t,x,y,p} as one-dimensional integers."""
    columns = [file.get(f"events/{name}") for name in "txyp"]
    return all(isinstance(c, h5py.Dataset) and c.ndim == 1 and c.dtype.kind in "iub" for c in columns)


def _attribute_size(file: h5py.File) -> tuple[int, int] | None:
    for height, width in (("sensor_height", "sensor_width"), ("height", "width")):
        for holder in (file, file["events"]):
            size = tuple(plain_attribute(holder, name) for name in (height, width))
            if all(isinstance(n, int | np.integer) and 0 < n <= 65535 for n in size):
                return int(size[0]), int(size[1])
    return None


def _largest(dataset: h5py.Dataset, path: Path) -> int:
    n, block = dataset.shape[0], 1 << 22
    blocks = (checked_rows(dataset, i, min(i + block, n), path) for i in range(0, n, block))
    return max((int(values.max()) for values in blocks), default=0)


def _time_offset(file: h5py.File, path: Path) -> int:
    stated = file.get("t_offset")
    if not isinstance(stated, h5py.Dataset) or not stated.size:
        return 0
    whole = stated.size == 1 and stated.dtype.kind in "iu"
    check_storage(stated, "t_offset", path)
    if stated.chunks is not None:
        CheckedRows(stated, path).check(0, 1)
    offset = int(np.ravel(stated[()])[0]) if whole else 0
    if not whole or abs(offset) > 10**18:
        raise FormatError(f"{path}: t_offset must be one integer in µs; found {stated!r} ({offset}).")
    return offset


def open_dsec(path: Path, sensor: str | None = None) -> Hdf5Backend:
    """Open a DSEC event file.

    The layout does not hold the sensor size: attributes are used if there are any, else `sensor`, else all
    coordinates are scanned once and must fit DSEC's 640x480.
    """
    notes = []
    with open_hdf5(path) as file, hdf5_errors(path):
        if not looks_like_dsec(file):
            raise FormatError(
                f"{path}: not in the DSEC layout (integer columns events/t, events/x, events/y, events/p)."
            )
        times = checked_dataset(file, "events/t", path)
        offset = _time_offset(file, path)
        zero = int(checked_rows(times, 0, 1, path)[0]) if times.shape[0] else 0
        size = sensor_by_name(sensor).size if sensor is not None else _attribute_size(file)
        if size is None:
            x_max, y_max = (_largest(checked_dataset(file, f"events/{c}", path), path) for c in "xy")
            if x_max >= _DSEC_SIZE[1] or y_max >= _DSEC_SIZE[0]:
                raise FormatError(
                    f"{path}: the file does not tell the sensor size and events reach (x={x_max}, "
                    f"y={y_max}). "
                    "Say it with sensor= (--sensor), for example 1280x720."
                )
            size = _DSEC_SIZE
            notes.append("sensor size not in the file; taken as DSEC's 640x480 (set it with sensor=)")
    return Hdf5Backend(path, "DSEC HDF5", size, zero_us=zero, offset_us=offset, warnings=tuple(notes))
