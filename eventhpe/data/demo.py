"""The shipped demo: a short synthetic recording in AEDAT 2.0 with its truth beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from eventhpe.body.motion_file import load_motion
from eventhpe.body.posing import BodyPoser
from eventhpe.data.labels import Labels
from eventhpe.errors import FormatError, MissingAssetError


def demo_recording() -> Path:
    """Path of the shipped recording."""
    return Path(__file__).parents[1] / "assets" / "demo.aedat"


def demo_labels(poser: BodyPoser, t_offset_us: int) -> Labels:
    """Truth of the shipped recording.

    Args:
        poser: of the open body.
        t_offset_us: the recording's time zero; AEDAT recordings begin with their first event.
    """
    path = demo_recording().with_name("demo_truth.npz")
    if not path.exists():
        raise MissingAssetError(f"{path}: the demo's truth is missing; reinstall the package.")
    clip = load_motion(path).to_camera()
    if clip.camera is None:
        raise FormatError(f"{path}: carries no camera; reinstall the package.")
    p = clip.params
    joints = np.stack([poser.joints(p.betas[k], p.pose[k], p.transl[k]) for k in range(len(clip.t_us))])
    return Labels(
        t_us=clip.t_us - t_offset_us,
        params=p,
        joints3d=joints.astype(np.float32),
        joints2d=clip.camera.project(joints).astype(np.float32),
        camera=clip.camera,
    )
