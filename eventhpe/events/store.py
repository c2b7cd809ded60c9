"""The canonical file: HDF5 columns in DSEC's layout with sensor size, frames, triggers and provenance.

events/{t i8, x u2, y u2, p u1}   t in µs from the recording's time zero, non-decreasing
ms_to_idx u8                      ms_to_idx[m] = first index with t >= 1000 m
t_offset i8                       add to t to get absolute time
frames/{t, data}, triggers/{t, value, channel}, imu/{t, accel, gyro, temperature}   optional
labels/ is left to whoever writes it
attributes: schema_version, sensor_height, sensor_width, duration_us, provenance (JSON), eventhpe_version;
on each dataset xxh3_64, the checksum of its values
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from eventhpe.errors import FormatError
from eventhpe.events.formats.hdf5 import Hdf5Backend, hdf5_errors, open_hdf5
from eventhpe.events.formats.hdf5_damage import plain_attribute
from eventhpe.events.store_writer import SCHEMA_VERSION

STORE_FORMAT = "eventhpe HDF5"


def is_store(file: h5py.File) -> bool:
    """Written by us: the schema attributes are there."""
    return (
        "schema_version" in file.attrs
        and "sensor_height" in file.attrs
        and isinstance(file.get("events"), h5py.Group)
    )


def open_store(path: Path) -> Hdf5Backend:
    """Open a file written by `StoreWriter`."""
    with open_hdf5(path) as file, hdf5_errors(path):
        if not is_store(file):
            raise FormatError(f"{path}: not an eventhpe HDF5 recording (schema attributes are missing).")
        version = _whole(file, "schema_version", path)
        if version > SCHEMA_VERSION:
            raise FormatError(
                f"{path}: written with schema {version}; this program reads up to {SCHEMA_VERSION}. "
                "Update eventhpe."
            )
        size = _whole(file, "sensor_height", path), _whole(file, "sensor_width", path)
        if not (0 < size[0] <= 65535 and 0 < size[1] <= 65535):
            raise FormatError(f"{path}: impossible sensor size (H, W) = {size}.")
        stated = file.get("t_offset")
        told = isinstance(stated, h5py.Dataset) and stated.shape == () and stated.dtype.kind in "iu"
        offset = int(np.asarray(stated[()])) if told else 0
        end = _whole(file, "duration_us", path) if "duration_us" in file.attrs else None
    return Hdf5Backend(path, STORE_FORMAT, size, zero_us=0, offset_us=offset, end_us=end)


def _whole(file: h5py.File, name: str, path: Path) -> int:
    """A whole number among the attributes."""
    value = plain_attribute(file, name)
    if not isinstance(value, int | np.integer):
        raise FormatError(f"{path}: attribute {name!r} must be a whole number; got {value!r}.")
    return int(value)
