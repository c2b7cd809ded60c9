"""Start states from labels and from motion files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from eventhpe.body.motion_file import load_motion
from eventhpe.body.params import BodyParams
from eventhpe.data.labels import Labels
from eventhpe.errors import ShapeError
from eventhpe.geometry.rotation import rotvec_to_rotmat
from eventhpe.shapenet.state import StartState


def start_from_labels(labels: Labels) -> StartState:
    """The true body at the recording's start, as ShapeNet takes it (batch of 1)."""
    return _first(labels.params)


def start_from_motion(path: str | Path) -> StartState:
    """The first body of a motion file (`motion.npz`) in the camera frame (batch of 1).

    Raises:
        FormatError: no motion file.
        ShapeError: of another body model, or in the world frame without a camera that says where it stands.
    """
    try:
        params = load_motion(path).to_camera().params
        params.require_model("open")
    except ShapeError as error:
        raise ShapeError(f"{path}: {error}") from None
    return _first(params)


def _first(p: BodyParams) -> StartState:
    return StartState(
        rotmats=torch.from_numpy(rotvec_to_rotmat(p.pose[:1]).astype(np.float32)),
        betas=torch.from_numpy(p.betas[:1].astype(np.float32)),
        transl=torch.from_numpy(p.transl[:1].astype(np.float32)),
    )
