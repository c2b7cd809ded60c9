"""Writing prepared recordings of DHP19; `dhp19_prepared` says how they lie on disk and reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from eventhpe.atomic import AtomicWriter, PendingFile, remove_leftovers
from eventhpe.data.dhp19_frames import FramePacket
from eventhpe.data.dhp19_prepared import PreparedName
from eventhpe.errors import FormatError
from eventhpe.events.formats.hdf5 import open_hdf5
from eventhpe.events.formats.hdf5_damage import plain_attribute

_GZIP = {"compression": "gzip", "compression_opts": 4}
_MARK = "provenance"


class PreparedWriter(AtomicWriter):
    """Frames and labels of one series of windows. Both files appear when they are complete, frames last.

    Frames are written as they come; labels, which are small, at the end.

    Args:
        root, name: where, see `PreparedName`; folders are made.
        item_shape: of `FramePacket.data`.
        item_dtype: uint8 images (or float64, as in the authors' files), float32 voxel grids.
        provenance: stored as JSON in both files; `made_from` reads it.
    """

    def __init__(
        self,
        root: Path,
        name: PreparedName,
        *,
        item_shape: tuple[int, ...],
        item_dtype: np.dtype[Any],
        provenance: Mapping[str, Any],
    ) -> None:
        paths = (name.labels_path(root), name.frames_path(root))
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        for path in paths:
            remove_leftovers(path)
        self._provenance = json.dumps(dict(provenance))
        self._packets: list[tuple[Any, ...]] = []
        # The authors call images /DVS; voxel grids are no images.
        self._dataset = "DVS" if len(item_shape) == 3 else "voxels"
        self._labels = PendingFile(paths[0])
        try:
            self._frames = PendingFile(paths[1])
            try:
                self._file = h5py.File(self._frames.temporary, "w")
            except BaseException:
                self._frames.discard()
                raise
        except BaseException:
            self._labels.discard()
            raise
        self._data = self._file.create_dataset(
            self._dataset, (0, *item_shape), item_dtype, maxshape=(None, *item_shape),
            chunks=(1, *item_shape), shuffle=item_dtype.itemsize > 1, **_GZIP,
        )  # fmt: skip
        self._file.attrs[_MARK] = self._provenance

    def append(self, packet: FramePacket) -> None:
        """Write the next window."""
        n = len(self._packets)
        self._data.resize(n + 1, axis=0)
        self._data[n] = packet.data
        self._packets.append(
            (packet.label_mm, packet.t0_us, packet.t_last_us, packet.num_events, packet.row, packet.empty)
        )

    def close(self) -> None:
        """Complete both files and give them their names."""
        self._file.close()
        columns = list(zip(*self._packets, strict=True)) if self._packets else [()] * 6
        labels, t0, t_last, number, row, empty = columns
        cameras = len(number[0]) if number else 0
        with h5py.File(self._labels.temporary, "w") as file:
            xyz = np.array(labels, np.float64).reshape(len(labels), 13, 3)
            file.create_dataset("XYZ", data=np.ascontiguousarray(np.swapaxes(xyz, 1, 2)))
            windows = file.create_group("windows")
            windows["t0_us"] = np.array(t0, np.int64)
            windows["t_last_us"] = np.array(t_last, np.int64)
            windows["num_events"] = np.array(number, np.int64).reshape(len(number), cameras)
            windows["marker_row"] = np.array(row, np.int64)
            windows["empty"] = np.array(empty, np.uint8)
            file.attrs[_MARK] = self._provenance
        self._labels.close()
        self._frames.close()

    def discard(self) -> None:
        """Give up and remove what was written."""
        self._file.close()
        self._frames.discard()
        self._labels.discard()


class WriterPerChannel(AtomicWriter):
    """A `PreparedWriter` for each series of windows: one, or one for each camera. All of them exist in the
    end, with or without windows.

    Args:
        names: what is written; `channel` tells the series apart.
        rest: as for `PreparedWriter`.
    """

    def __init__(self, root: Path, names: tuple[PreparedName, ...], **rest: Any) -> None:
        self._writers: dict[int | None, PreparedWriter] = {}
        with ExitStack() as undo:
            for name in names:
                self._writers[name.channel] = PreparedWriter(root, name, **rest)
                undo.callback(self._writers[name.channel].discard)
            undo.pop_all()

    def append(self, packet: FramePacket) -> None:
        """Write the next window of its series."""
        self._writers[packet.channel].append(packet)

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()

    def discard(self) -> None:
        for writer in self._writers.values():
            writer.discard()


def made_from(root: Path, name: PreparedName) -> dict[str, Any] | None:
    """What a prepared recording says about its making; {} if it says nothing, is damaged or not complete;
    None if it is not there, or labels only, as an interruption leaves them."""
    told: list[dict[str, Any]] = []
    paths = [path for path in (name.frames_path(root), name.labels_path(root)) if path.is_file()]
    for path in paths:
        try:
            with open_hdf5(path) as file:
                held = json.loads(plain_attribute(file, _MARK, "{}"))
        except (FormatError, OSError, ValueError, TypeError):
            return {}
        told.append(held if isinstance(held, dict) else {})
    if not paths or (paths == [name.labels_path(root)] and told[0]):
        return None
    return told[0] if len(told) == 2 and told[0] == told[1] else {}
