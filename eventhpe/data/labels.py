"""Labels of a synthetic recording, stored in the group `labels` of the canonical event file."""

from __future__ import annotations

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

LABELS_SCHEMA = 1


@dataclass(frozen=True)
class Labels:
    """Truth about the person in a recording.

    Attributes:
        t_us: (K,) int64 label times, relative to the recording's start, evenly spaced.
        params: BodyParams over K in the camera frame.
        joints3d: (K, 24, 3) metres, camera frame.
        joints2d: (K, 24, 2) pixels.
        camera: camera whose `R_world_to_cam`, `t_world_to_cam` place it in the Y-up world.
    """

    t_us: NDArray[np.int64]
    params: BodyParams
    joints3d: NDArray[np.float32]
    joints2d: NDArray[np.float32]
    camera: Camera

    @property
    def step_us(self) -> int:
        """Spacing of the labels in µs."""
        return int(self.t_us[1] - self.t_us[0])

    def index(self, t_us: NDArray[np.int64] | int) -> Any:
        """Label index for times that lie on the label grid (nearest; clipped to the ends)."""
        k = np.rint((np.asarray(t_us) - self.t_us[0]) / self.step_us).astype(int)
        return np.clip(k, 0, len(self.t_us) - 1)


def write_labels(file: h5py.File, labels: Labels) -> h5py.Group:
    """Write labels into an open event file; returns the group so that flow and masks can be added."""
    g = file.create_group("labels")
    g.attrs["schema_version"] = LABELS_SCHEMA
    g.attrs["body_model"], g.attrs["gender"] = labels.params.model, labels.params.gender
    g.attrs["units"] = "metres, radians, microseconds, pixels; camera frame x right, y down, z forward"
    g["t_us"] = labels.t_us
    for name in ("global_orient", "body_pose", "transl"):
        g[name] = getattr(labels.params, name).astype(np.float32)
    g["betas"] = labels.params.betas[0].astype(np.float32)
    g["joints3d"], g["joints2d"] = labels.joints3d.astype(np.float32), labels.joints2d.astype(np.float32)
    c = g.create_group("camera")
    for name in ("K", "dist", "R_world_to_cam", "t_world_to_cam"):
        c[name] = getattr(labels.camera, name)
    c.attrs["size"] = labels.camera.size
    return g


def read_labels(path: str | Path) -> Labels:
    """Read the labels of a recording made by `eventhpe simulate`.

    Raises:
        FormatError: the file holds no labels, or of another version.
    """
    path = Path(path)
    try:
        with h5py.File(path, "r", locking=False) as f:
            if "labels" not in f:
                raise FormatError(
                    f"{path}: no labels in this recording; only files from `eventhpe simulate` carry them."
                )
            g = f["labels"]
            if int(g.attrs.get("schema_version", 0)) != LABELS_SCHEMA:
                raise FormatError(
                    f"{path}: labels have schema {g.attrs.get('schema_version')}; this version reads "
                    f"{LABELS_SCHEMA}."
                )
            t_us = g["t_us"][:]
            betas = np.broadcast_to(g["betas"][:], (len(t_us), 10))
            params = BodyParams(
                betas=betas,
                global_orient=g["global_orient"][:],
                body_pose=g["body_pose"][:],
                transl=g["transl"][:],
                model=str(g.attrs["body_model"]),
                gender=str(g.attrs["gender"]),
            )
            c = g["camera"]
            camera = Camera(
                K=c["K"][:],
                size=(int(c.attrs["size"][0]), int(c.attrs["size"][1])),
                dist=c["dist"][:],
                R_world_to_cam=c["R_world_to_cam"][:],
                t_world_to_cam=c["t_world_to_cam"][:],
            )
            return Labels(t_us, params, g["joints3d"][:], g["joints2d"][:], camera)
    except (OSError, KeyError) as error:
        raise FormatError(f"{path}: cannot read labels ({error}).") from error


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
