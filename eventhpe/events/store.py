"""The canonical file: HDF5 columns in DSEC's layout with sensor size, frames, triggers and provenance.

events/{t i8, x u2, y u2, p u1}   t in µs from the recording's time zero, non-decreasing
ms_to_idx u8                      ms_to_idx[m] = first index with t >= 1000 m
t_offset i8                       add to t to get absolute time
frames/{t, data}, triggers/{t, value}   optional; labels/ is left to whoever writes it
attributes: schema_version, sensor_height, sensor_width, duration_us, provenance (JSON), eventhpe_version
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from eventhpe.errors import FormatError
from eventhpe.events.formats.hdf5 import Hdf5Backend, hdf5_errors, open_hdf5
from eventhpe.events.recording import Recording
from eventhpe.events.store_writer import SCHEMA_VERSION, StoreWriter

_BLOCK = 1 << 20


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
        version = int(file.attrs["schema_version"])
        if version > SCHEMA_VERSION:
            raise FormatError(
                f"{path}: written with schema {version}; this program reads up to {SCHEMA_VERSION}. "
                "Update eventhpe."
            )
        size = int(file.attrs["sensor_height"]), int(file.attrs["sensor_width"])
        if not (0 < size[0] <= 65535 and 0 < size[1] <= 65535):
            raise FormatError(f"{path}: impossible sensor size (H, W) = {size}.")
        stated = file.get("t_offset")
        offset = int(np.asarray(stated[()])) if isinstance(stated, h5py.Dataset) and stated.shape == () else 0
        end = int(file.attrs["duration_us"]) if "duration_us" in file.attrs else None
    return Hdf5Backend(path, "eventhpe HDF5", size, zero_us=0, offset_us=offset, end_us=end)


def convert(
    recording: Recording, out: str | Path, *, compression: str = "bitshuffle-lz4", overwrite: bool = False
) -> Path:
    """Write a recording, block by block, as a canonical file.

    Args:
        recording: any open recording; its chosen stream is written, with frames and triggers.
        out: file to write; replaced only with overwrite=True.
        compression: "bitshuffle-lz4", "gzip" (readable without plug-ins) or "none".
    """
    out = Path(out)
    if out.exists() and not overwrite:
        raise FormatError(f"{out} exists already; say overwrite=True (--overwrite) to replace it.")
    provenance = {
        "source": Path(recording.source).name,
        "source_format": recording.format,
        "source_streams": list(recording.streams),
        "warnings": list(recording.warnings),
    }
    with StoreWriter(
        out,
        recording.sensor_size,
        t_offset_us=recording.t_offset_us,
        compression=compression,
        provenance=provenance,
        duration_us=recording.end_us,
    ) as writer:
        for i in range(0, recording.num_events, _BLOCK):
            writer.append(recording.read(i, i + _BLOCK))
        frames, triggers = recording.frames, recording.triggers
        for k in range(len(frames) if frames is not None else 0):
            assert frames is not None
            writer.append_frame(int(frames.t_us[k]), frames[k])
        if triggers is not None:
            writer.write_triggers(triggers)
    return out
