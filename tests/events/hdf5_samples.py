"""One small file in every HDF5 layout that is read, for the tests."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from eventhpe.events.formats.dsec_writer import write_dsec
from eventhpe.events.store_writer import StoreWriter
from eventhpe.events.types import Events
from tests.events.ecf_encoder import write_file


def sample_events(n: int = 600) -> Events:
    """Sorted events on a DAVIS346 with some of equal time; enough for several chunks of 256."""
    rng = np.random.default_rng(3)
    t = np.cumsum(rng.integers(0, 40, n)).astype(np.int64)
    x, y = rng.integers(0, 346, n).astype(np.uint16), rng.integers(0, 260, n).astype(np.uint16)
    return Events(t, x, y, rng.integers(0, 2, n).astype(np.uint8), (260, 346))


def write_samples(folder: Path) -> None:
    """eventhpe.h5, dsec.h5, ecf.h5, mvsec.h5, v2e.h5 and hdf5.h5 with `sample_events`."""
    events = sample_events()
    with StoreWriter(folder / "eventhpe.h5", events.sensor_size, t_offset_us=1000) as writer:
        writer.append(events)
    write_dsec(folder / "dsec.h5", [events], sensor_size=events.sensor_size, t_offset_us=1000)
    write_file(folder / "ecf.h5", events.t, events.x, events.y, events.p, "masks", chunk=256)
    rows = np.stack([events.x, events.y, 1.5e9 + events.t / 1e6, events.p * 2.0 - 1], axis=1)
    with h5py.File(folder / "mvsec.h5", "w") as file:
        for camera in ("left", "right"):
            group = file.create_group(f"davis/{camera}")
            group.create_dataset("events", data=rows, chunks=(256, 4), compression="gzip")
            group["image_raw"] = (
                np.arange(2 * 260 * 346, dtype=np.uint32).astype(np.uint8).reshape(2, 260, 346)
            )
            group["image_raw_ts"] = 1.5e9 + np.array([0.001, 0.002])
            group["imu"], group["imu_ts"] = np.zeros((5, 6)), 1.5e9 + np.arange(5.0)
    with h5py.File(folder / "v2e.h5", "w") as file:
        rows = np.stack([events.t, events.x, events.y, events.p], axis=1).astype(np.uint32)
        file.create_dataset("events", data=rows, chunks=(256, 4), compression="gzip", maxshape=(None, 4))
    with h5py.File(folder / "hdf5.h5", "w") as file:
        file.attrs["sensor_resolution"] = events.sensor_size
        group = file.create_group("events")
        for name in "xyp":
            group.create_dataset(f"{name}s", data=getattr(events, name), chunks=(256,))
        group.create_dataset("ts", data=events.t / 1e6, chunks=(256,), compression="gzip")
