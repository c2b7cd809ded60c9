"""Labels of a recording, stored in the group `labels` of the canonical event file: truth of a synthetic one,
or bodies fitted to markers (data/dhp19_bodies.py).

Layout (schema 2): `t_us` (K,), `camera/` with K, dist, R_world_to_cam, t_world_to_cam (at rest) and, when the
camera moves, `track_R` (K, 3, 3) and `track_t` (K, 3); `people/<i>/` for each person. The dense labels beside
them are described in data/dense_labels.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from eventhpe.body.params import BodyParams
from eventhpe.errors import FormatError
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.flowfield import FlowField

LABELS_SCHEMA = 2

_JOINTS, _MARKERS = 24, 13


@dataclass(frozen=True)
class Labels:
    """Truth about one person in a recording.

    Attributes:
        t_us: (K,) int64 label times, relative to the recording's start, evenly spaced.
        params: BodyParams over K in the camera frame.
        joints3d: (K, 24, 3) metres, camera frame.
        joints2d: (K, 24, 2) pixels.
        camera: camera whose `R_world_to_cam`, `t_world_to_cam` place it in the Y-up world (at rest, if it
        moves).
        joints_visible: (K, 24) bool, in the image and not hidden by anybody's body; None where unknown.
        markers3d, markers2d, markers_visible: the same for DHP19's 13 markers (DHP19_SKELETON); None where
        unknown.
        track: (K, 3, 3) and (K, 3) world to camera at every label time, for a camera that moves; else None.
        offsets: (V,) float32 metres of loose clothes along the resting normals; None = tight.
        valid: (K,) bool, whether a body may be trained on and scored; None = all. Bodies that were fitted
        are not valid everywhere.
    """

    t_us: NDArray[np.int64]
    params: BodyParams
    joints3d: NDArray[np.float32]
    joints2d: NDArray[np.float32]
    camera: Camera
    joints_visible: NDArray[np.bool_] | None = None
    markers3d: NDArray[np.float32] | None = None
    markers2d: NDArray[np.float32] | None = None
    markers_visible: NDArray[np.bool_] | None = None
    track: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    offsets: NDArray[np.float32] | None = None
    valid: NDArray[np.bool_] | None = None

    @property
    def step_us(self) -> int:
        """Spacing of the labels in µs."""
        return int(self.t_us[1] - self.t_us[0])

    def index(self, t_us: NDArray[np.int64] | int) -> Any:
        """Label index for times that lie on the label grid (nearest; clipped to the ends)."""
        k = np.rint((np.asarray(t_us) - self.t_us[0]) / self.step_us).astype(int)
        return np.clip(k, 0, len(self.t_us) - 1)

    def clip_starts(self, span: int) -> NDArray[np.int64]:
        """Labels k from which k .. k + span are all there and valid."""
        K = len(self.t_us)
        if span >= K:
            return np.zeros(0, np.int64)
        if self.valid is None:
            return np.arange(K - span, dtype=np.int64)
        bad = np.concatenate([[0], np.cumsum(~self.valid)])
        return np.flatnonzero(bad[span + 1 :] == bad[: K - span]).astype(np.int64)

    def to_world(self, xyz_camera: NDArray[np.floating]) -> NDArray[np.float64]:
        """(K, N, 3) camera-frame positions at the label times to the Y-up world, metres."""
        K = len(self.t_us)
        R, t = (self.camera.R_world_to_cam, self.camera.t_world_to_cam) if self.track is None else self.track
        R, t = np.broadcast_to(R, (K, 3, 3)), np.broadcast_to(t, (K, 3))
        return np.asarray(np.einsum("kji,knj->kni", R, np.asarray(xyz_camera, np.float64) - t[:, None]))


_OPTIONAL: dict[str, type] = {
    "joints_visible": bool,
    "markers3d": np.float32,
    "markers2d": np.float32,
    "markers_visible": bool,
    "offsets": np.float32,
    "valid": bool,
}


def write_labels(file: h5py.File, people: Labels | Sequence[Labels]) -> h5py.Group:
    """Write the labels of one or several people, who share times and camera, into an open event file.

    Returns:
        The group `labels`, so that dense labels can be added.
    """
    everybody = [people] if isinstance(people, Labels) else list(people)
    first = everybody[0]
    g = file.create_group("labels")
    g.attrs["schema_version"] = LABELS_SCHEMA
    g.attrs["units"] = "metres, radians, microseconds, pixels; camera frame x right, y down, z forward"
    g["t_us"] = first.t_us
    c = g.create_group("camera")
    for name in ("K", "dist", "R_world_to_cam", "t_world_to_cam"):
        c[name] = getattr(first.camera, name)
    c.attrs["size"] = first.camera.size
    if first.track is not None:
        c["track_R"], c["track_t"] = first.track
    for i, labels in enumerate(everybody):
        p = g.create_group(f"people/{i}")
        p.attrs["body_model"], p.attrs["gender"] = labels.params.model, labels.params.gender
        for name in ("global_orient", "body_pose", "transl"):
            p[name] = getattr(labels.params, name).astype(np.float32)
        p["betas"] = labels.params.betas[0].astype(np.float32)
        p["joints3d"], p["joints2d"] = labels.joints3d.astype(np.float32), labels.joints2d.astype(np.float32)
        for name in _OPTIONAL:
            value = getattr(labels, name)
            if value is not None:
                p[name] = value
    return g


def num_people(path: str | Path) -> int:
    """How many people are labelled in a recording.

    Raises:
        FormatError: the file holds no labels, or of another version.
    """
    with _opened(Path(path)) as g:
        return len(g["people"]) if "people" in g else 1


def read_labels(path: str | Path, person: int = 0) -> Labels:
    """Read the labels of one person of a recording made by `eventhpe simulate`, or with fitted bodies.

    Raises:
        FormatError: the file holds no labels, or of another version, or fewer people.
    """
    path = Path(path)
    with _opened(path) as g:
        # Files of schema 1 hold one person in the group itself.
        old = "people" not in g
        count = 1 if old else len(g["people"])
        if not 0 <= person < count:
            raise FormatError(f"{path}: labels of {count} people are there; number {person} was asked for.")
        p = g if old else g[f"people/{person}"]
        t_us, c = g["t_us"][:], g["camera"]
        params = BodyParams(
            betas=np.broadcast_to(p["betas"][:], (len(t_us), 10)),
            global_orient=p["global_orient"][:],
            body_pose=p["body_pose"][:],
            transl=p["transl"][:],
            model=str(p.attrs["body_model"]),
            gender=str(p.attrs["gender"]),
        )
        camera = Camera(
            K=c["K"][:],
            size=(int(c.attrs["size"][0]), int(c.attrs["size"][1])),
            dist=c["dist"][:],
            R_world_to_cam=c["R_world_to_cam"][:],
            t_world_to_cam=c["t_world_to_cam"][:],
        )
        track = (c["track_R"][:], c["track_t"][:]) if "track_R" in c else None
        more = {name: p[name][:].astype(dtype) for name, dtype in _OPTIONAL.items() if name in p}
        return Labels(t_us, params, p["joints3d"][:], p["joints2d"][:], camera, track=track, **more)


def read_flow_labels(path: str | Path) -> list[FlowField]:
    """Dense flow of every labelled window of a recording; empty when it was made without flow labels.

    Raises:
        FormatError: not a readable recording.
    """
    try:
        with h5py.File(path, "r", locking=False) as f:
            if "labels/flow" not in f:
                return []
            g = f["labels/flow"]
            return [
                FlowField(
                    uv=g["uv"][k].astype(np.float32),
                    valid=g["valid"][k].astype(bool),
                    t0_us=int(g["t0_us"][k]),
                    t1_us=int(g["t1_us"][k]),
                )
                for k in range(len(g["t0_us"]))
            ]
    except (OSError, KeyError) as error:
        raise FormatError(f"{path}: cannot read flow labels ({error}).") from error


@contextmanager
def _opened(path: Path) -> Iterator[h5py.Group]:
    """The group `labels` of a recording; what goes wrong inside becomes a FormatError."""
    try:
        with h5py.File(path, "r", locking=False) as file:
            if "labels" not in file:
                raise FormatError(
                    f"{path}: no labels in this recording; only files from `eventhpe simulate` and `eventhpe "
                    "prepare dhp19 --mode bodies` carry them."
                )
            group = file["labels"]
            version = int(group.attrs.get("schema_version", 0))
            if not 1 <= version <= LABELS_SCHEMA:
                raise FormatError(
                    f"{path}: labels have schema {version}; this version reads 1 to {LABELS_SCHEMA}."
                )
            yield group
    except (OSError, KeyError) as error:
        raise FormatError(f"{path}: cannot read labels ({error}).") from error
