"""Start states from labels."""

from __future__ import annotations

import numpy as np
import torch

from eventhpe.data.labels import Labels
from eventhpe.geometry.rotation import rotvec_to_rotmat
from eventhpe.shapenet.state import StartState


def start_from_labels(labels: Labels) -> StartState:
    """The true body at the recording's start, as ShapeNet takes it (batch of 1)."""
    p = labels.params
    return StartState(
        rotmats=torch.from_numpy(rotvec_to_rotmat(p.pose[:1]).astype(np.float32)),
        betas=torch.from_numpy(p.betas[:1].astype(np.float32)),
        transl=torch.from_numpy(p.transl[:1].astype(np.float32)),
    )
