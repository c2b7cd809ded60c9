"""DHP19 as EventPointPose cuts it (DHP19EPC; Chen et al., 3DV 2022): a window's events and labels as .npy.

    data/S1_session1_mov1_frame0_cam2.npy            (n, 4) x, y, t, p of "mean" sets
    data/S1_session1_mov1_cam2_frame0.npy            (n, 4) x, t, y, p of "last" sets
    label/<the same>_label.npy                       (3, 13) u, v cut towards zero, and a mask
    3Dlabel/S1_session1_mov1_frame0_3Dlabel.npy      (3, 13) millimetres in DHP19's world; "mean" sets only
    Point_Num_Dict.npy                               file name -> n, pickled; "mean" sets only

x is 1..346 in the mirrored image, y is 0..259 counted from the bottom, t in µs, p 0 or 1. The mask stays 1
where a marker is missing (its comparisons with NaN are false); u and v are then the least 32-bit integer, and
the joint counts as unknown here. The pickled dictionary is written for their programs and never read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eventhpe.atomic import PendingFile
from eventhpe.data.dhp19_cameras import DHP19_SIZE
from eventhpe.data.dhp19_dataset import view_labels
from eventhpe.errors import FormatError, MissingAssetError, ShapeError
from eventhpe.events.types import Events
from eventhpe.geometry.skeleton import DHP19_SKELETON

Kind = Literal["mean", "last"]

_JOINTS = len(DHP19_SKELETON.joints)
_NAMES: dict[Kind, re.Pattern[str]] = {
    "mean": re.compile(r"S(\d+)_session(\d+)_mov(\d+)_frame(?P<frame>\d+)_cam(?P<cam>[0-3])\.npy"),
    "last": re.compile(r"S(\d+)_session(\d+)_mov(\d+)_cam(?P<cam>[0-3])_frame(?P<frame>\d+)\.npy"),
}
_COLUMNS: dict[Kind, tuple[int, int, int, int]] = {"mean": (0, 1, 2, 3), "last": (0, 2, 1, 3)}
"""Where x, y, t and p stand."""


@dataclass(frozen=True, order=True)
class PointFrameName:
    """One camera's window.

    Attributes:
        subject, session, movement: as in `DHP19Movement`.
        frame: number of the window, from 0.
        channel: number of the camera in the files, 0..3.
        kind: "mean": windows shared by the cameras, labels are means over them. "last": each camera's
            own windows, labels are where they end.
    """

    subject: int
    session: int
    movement: int
    frame: int
    channel: int
    kind: Kind = "mean"

    @classmethod
    def parse(cls, file_name: str) -> PointFrameName | None:
        """From the name of a file of events; None for any other file."""
        for kind, pattern in _NAMES.items():
            match = pattern.fullmatch(file_name)
            if match is not None:
                subject, session, movement = (int(match[i]) for i in (1, 2, 3))
                return cls(subject, session, movement, int(match["frame"]), int(match["cam"]), kind)
        return None

    @property
    def stem(self) -> str:
        middle = (f"frame{self.frame}", f"cam{self.channel}")
        return "_".join([self._movement, *(middle if self.kind == "mean" else middle[::-1])])

    @property
    def _movement(self) -> str:
        return f"S{self.subject}_session{self.session}_mov{self.movement}"

    def events_path(self, root: Path) -> Path:
        return root / "data" / f"{self.stem}.npy"

    def label_path(self, root: Path) -> Path:
        return root / "label" / f"{self.stem}_label.npy"

    def label3d_path(self, root: Path) -> Path:
        return root / "3Dlabel" / f"{self._movement}_frame{self.frame}_3Dlabel.npy"


class PointFrame(NamedTuple):
    """Events and labels of one camera's window.

    Attributes:
        events: on DHP19's sensor, upright, times as stored.
        pixels: (13, 2) int64 u, v cut towards zero, as stored; (0, 0) where not known.
        known: (13,) bool.
        xyz_mm: (13, 3) float64 in DHP19's world, NaN where missing; None where the set has none.
    """

    events: Events
    pixels: NDArray[np.int64]
    known: NDArray[np.bool_]
    xyz_mm: NDArray[np.float64] | None


def list_point_frames(root: str | Path) -> list[PointFrameName]:
    """The windows of a folder that holds `data` and `label`, in order.

    Raises:
        MissingAssetError: there are none.
    """
    names = (PointFrameName.parse(path.name) for path in Path(root).glob("data/*.npy"))
    found = sorted(name for name in names if name is not None)
    if not found:
        raise MissingAssetError(
            f"{root}: expected data/S1_session1_mov1_frame0_cam2.npy and the like, and label/ beside data/."
        )
    return found


def read_point_frame(root: str | Path, name: PointFrameName) -> PointFrame:
    """Events and labels of a window.

    Raises:
        MissingAssetError: a file is not there.
        FormatError: a damaged file, a pickled one, or values outside the sensor.
    """
    root = Path(root)
    path = name.events_path(root)
    table = _load(path)
    if table.ndim != 2 or table.shape[1] != 4 or not np.array_equal(table, np.rint(table)):
        raise FormatError(f"{path}: must hold (n, 4) whole numbers; its shape is {table.shape}.")
    x, y, t, p = (table[:, column].astype(np.int64) for column in _COLUMNS[name.kind])
    order = np.argsort(t, kind="stable")
    try:
        columns = (t[order], x[order] - 1, DHP19_SIZE[0] - 1 - y[order], p[order])
        events = Events.from_columns(*columns, DHP19_SIZE)
    except (FormatError, ShapeError) as error:
        raise FormatError(f"{path}: {error} Is it a set of the other kind than its name says?") from error
    pixels, known = read_point_label(root, name)
    xyz = None
    if name.kind == "mean" and name.label3d_path(root).is_file():
        stored = _load(name.label3d_path(root))
        if stored.shape != (3, _JOINTS):
            raise FormatError(f"{name.label3d_path(root)}: must be (3, 13); its shape is {stored.shape}.")
        xyz = np.ascontiguousarray(stored.T, np.float64)
    return PointFrame(events, pixels, known, xyz)


def read_point_label(root: str | Path, name: PointFrameName) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """`pixels` and `known` of a window; see `PointFrame`.

    Raises:
        MissingAssetError: the file is not there.
        FormatError: a damaged file.
    """
    path = name.label_path(Path(root))
    label = _load(path)
    if label.shape != (3, _JOINTS):
        raise FormatError(f"{path}: must be (3, 13); its shape is {label.shape}.")
    u, v, mask = label.astype(np.float64)
    height, width = DHP19_SIZE
    known = (mask > 0) & (u >= 0) & (u <= width) & (v >= 0) & (v <= height)
    return np.where(known[:, None], np.stack([u, v], -1), 0.0).astype(np.int64), known


def count_points(root: str | Path, name: PointFrameName) -> int:
    """Events of a window, from the file's header.

    Raises:
        MissingAssetError, FormatError: the file is not there, or is damaged.
    """
    return len(_load(name.events_path(Path(root)), mapped=True))


def write_point_frame(
    root: str | Path, name: PointFrameName, events: Events, labels_mm: NDArray[np.floating]
) -> None:
    """Write a window as their scripts do; an existing one is replaced.

    Args:
        events: on DHP19's sensor, upright; times are kept.
        labels_mm: (13, 3) millimetres in DHP19's world, NaN where missing.
    """
    root = Path(root)
    if events.sensor_size != DHP19_SIZE or np.shape(labels_mm) != (_JOINTS, 3):
        raise ShapeError(
            f"DHP19 has {DHP19_SIZE} pixels and labels (13, 3); got {events.sensor_size} and "
            f"{np.shape(labels_mm)}."
        )
    table = np.empty((len(events), 4), np.float64)
    x, y, t, p = _COLUMNS[name.kind]
    table[:, x], table[:, y] = events.x + 1.0, DHP19_SIZE[0] - 1.0 - events.y
    table[:, t], table[:, p] = events.t, events.p
    uv, valid = view_labels(np.asarray(labels_mm, np.float64)[None], name.channel, DHP19_SIZE)
    missing = np.isnan(uv[0]).any(-1)
    label = np.empty((3, _JOINTS))
    label[:2] = np.where(missing[:, None], float(np.iinfo(np.int32).min), np.trunc(np.nan_to_num(uv[0]))).T
    label[2] = valid[0] | missing
    _save(name.events_path(root), table)
    _save(name.label_path(root), label)
    if name.kind == "mean":
        _save(name.label3d_path(root), np.asarray(labels_mm, np.float64).T)


def write_point_counts(root: str | Path) -> Path:
    """Write `Point_Num_Dict.npy` for the "mean" windows of a folder; their training filters by it.

    Raises:
        MissingAssetError: no window is there.
        FormatError: a damaged file.
    """
    root = Path(root)
    names = [name for name in list_point_frames(root) if name.kind == "mean"]
    counts = {f"{name.stem}.npy": count_points(root, name) for name in names}
    path = root / "Point_Num_Dict.npy"
    with PendingFile(path) as pending, pending.temporary.open("wb") as file:
        np.save(file, np.array(counts, dtype=object))
    return path


def _load(path: Path, *, mapped: bool = False) -> NDArray:
    if not path.is_file():
        raise MissingAssetError(f"{path}: no such file; windows, labels and 3D labels share their names.")
    try:
        array = np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise FormatError(f"{path}: cannot be read as a NumPy array of numbers ({error}).") from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiu":
        raise FormatError(f"{path}: must be one array of numbers.")
    return array


def _save(path: Path, array: NDArray[np.floating]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with PendingFile(path) as pending, pending.temporary.open("wb") as file:
        np.save(file, array)
