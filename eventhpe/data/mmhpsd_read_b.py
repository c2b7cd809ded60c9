"""Read layout B of MMHPSD (the later release); the files are listed in `mmhpsd_layout_b`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.body.smpl_file import read_npz
from eventhpe.data.image_file import read_image
from eventhpe.data.mmhpsd_layout_b import unpack_frame
from eventhpe.data.mmhpsd_sequence import MMHPSD_SIZE, event_frame
from eventhpe.data.mmhpsd_stored import SEQUENCE_NAME, BodySource, StoredSequence, numbers_in
from eventhpe.errors import FormatError, MissingAssetError, ShapeError
from eventhpe.events.formats.time_units import EXPONENTS, LARGEST_US, unit_by_rule
from eventhpe.events.types import Events

FOLDERS_B = ("mmhpsd_events",)
"""Folder by which layout B is recognised."""

_POSE_KEYS = {
    "beta": "beta", "body_pose": "theta", "trans": "tran", "joints3d": "joints3d", "joints2d": "joints2d",
}  # fmt: skip


def names_b(root: Path) -> list[str]:
    """Sequences under `mmhpsd_events`, sorted."""
    return sorted(p.name for p in (root / "mmhpsd_events").iterdir() if SEQUENCE_NAME.fullmatch(p.name))


class SequenceB(StoredSequence):
    """A sequence of layout B. Where an event frame is absent, it is made from the single events."""

    layout = "B"

    def __init__(self, root: Path, name: str, body: BodySource) -> None:
        super().__init__(root, name, body)
        folder = root / "mmhpsd_events" / name
        self._raw, self._frames = folder / "events", folder / "events_frame_04"
        self._poses, self._flipped = folder / "poses", folder / "poses_flip"
        self._images = root / "mmhpsd_grayscale_img" / name / "imgs"
        self.packed_frames = numbers_in(self._frames, r"events_(?P<k>\d{4,})\.npz")
        self.interval_frames = numbers_in(self._raw, r"events_(?P<k>\d{4,})\.npz")
        self.pose_frames = numbers_in(self._poses, r"pose_(?P<k>\d{4,})\.npz")
        self.image_frames = numbers_in(self._images, r"fullpic(?P<k>\d{4,})\.jpg")
        self.event_frames = tuple(sorted({*self.packed_frames, *self.interval_frames}))

    def event_frame(self, k: int) -> NDArray[np.bool_]:
        path = self._frames / f"events_{k:04d}.npz"
        if not path.exists() and k in self.interval_frames:
            return event_frame(self.events(k))
        try:
            return unpack_frame(npz_arrays(path, ("events_frame",))["events_frame"].reshape(-1))
        except ShapeError as error:
            raise FormatError(f"{path}: {error}") from error

    def image(self, k: int) -> NDArray[np.uint8]:
        return read_image(self._images / f"fullpic{k:04d}.jpg", MMHPSD_SIZE, 1)

    def pose_record(self, k: int) -> dict[str, Any]:
        return _pose(self._poses / f"pose_{k:04d}.npz")

    def flipped_pose_record(self, k: int) -> dict[str, Any]:
        """The stored pose of the mirrored picture, in the form of `pose_record`."""
        return _pose(self._flipped / f"pose_{k:04d}.npz")

    def events(self, k: int) -> Events:
        path = self._raw / f"events_{k:04d}.npz"
        stored = npz_arrays(path, ("xy", "t", "p"))
        xy, t, p = stored["xy"], stored["t"].reshape(-1), stored["p"].reshape(-1)
        if xy.shape != (len(t), 2) or len(p) != len(t) or any(a.dtype.kind not in "fiub" for a in (xy, t, p)):
            raise FormatError(
                f"{path}: expected xy (N, 2), t (N,) and p (N,); got {xy.shape}, {t.shape} and {p.shape}."
            )
        H, W = MMHPSD_SIZE
        if len(t) and not (
            np.isfinite(t).all() and (xy >= 0).all() and xy[:, 0].max() < W and xy[:, 1].max() < H
        ):
            raise FormatError(f"{path}: holds events outside {W} x {H} pixels, or times that are not finite.")
        if t.dtype.kind == "f":
            t = np.rint(t.astype(np.float64) * 10.0 ** EXPONENTS[unit_by_rule(t.dtype)])
        if len(t) and max(-float(t.min()), float(t.max())) > LARGEST_US:
            raise FormatError(f"{path}: times up to {t.max()} are no microseconds.")
        order = np.argsort(t, kind="stable")
        x, y = xy[:, 0].astype(np.uint16), xy[:, 1].astype(np.uint16)
        return Events.from_columns(
            t.astype(np.int64)[order], x[order], y[order], (p > 0).astype(np.uint8)[order], MMHPSD_SIZE
        )


def npz_arrays(path: Path, keys: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Arrays of an .npz file, all of which must be there; messages carry the whole path.

    Raises:
        MissingAssetError: no such file.
        FormatError: damaged, too large, an array is missing, or one holds objects.
    """
    if not path.is_file():
        raise MissingAssetError(f"{path}: no such file.")
    try:
        arrays = read_npz(path, keys)
    except FormatError as error:
        raise FormatError(f"{path.parent}/{error}") from error
    if missing := [key for key in keys if key not in arrays]:
        raise FormatError(f"{path}: lacks {', '.join(missing)}.")
    return arrays


def _pose(path: Path) -> dict[str, Any]:
    stored = npz_arrays(path, tuple(_POSE_KEYS))
    return {name: stored[key] for key, name in _POSE_KEYS.items()}
