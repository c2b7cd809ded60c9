"""ShapeNet on clips of MMHPSD."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from eventhpe.body.params import BodyParams
from eventhpe.data.crops import SquareCrop
from eventhpe.data.mmhpsd_dataset import WHOLE_IMAGE, clip_events, make_clip
from eventhpe.data.mmhpsd_stored import BodySource
from eventhpe.errors import ShapeError
from eventhpe.evaluation.mmhpsd import ClipTask, Estimator
from eventhpe.flownet.estimator import FlowEstimator
from eventhpe.geometry.rotation import rotmat_to_rotvec, rotvec_to_rotmat
from eventhpe.shapenet.network import ShapeNet
from eventhpe.shapenet.parity import EventTrackNet
from eventhpe.shapenet.state import StartState

CROP_MARGIN = 1.2


def shapenet_estimator(
    network: ShapeNet | EventTrackNet,
    flow: FlowEstimator | None,
    body: BodySource,
    *,
    crop: Literal["image", "true box"],
    kind: str | None = None,
) -> Estimator:
    """A network as `evaluate_mmhpsd` takes it.

    Args:
        network: either variant; put into evaluation mode.
        flow: FlowNet for networks that read flow.
        body: of the set whose shape coefficients the network was trained with.
        crop: "image" = the whole image, as published; "true box" = one square around the clip's true 2D
            joints with margin 1.2, which tells a network where the person is (say so beside the figures).
        kind: input (see `data.windows`); by default that of the network's variant.
    Raises:
        ShapeError: on use, where a parity network gets no start pose.
    """
    config = network.config
    reads = kind or ("binary" if config.variant == "parity" else "counts")
    network.eval()
    if config.use_flow and flow is None:
        raise ShapeError("this network reads flow; give its FlowNet (flow=...).")

    @torch.inference_mode()
    def estimate(task: ClipTask) -> BodyParams:
        place = task.place
        poses = place.sequence.poses(place.pose_frames)
        square = WHOLE_IMAGE
        if crop == "true box":
            points = poses.joints2d.reshape(-1, 2) + 0.5
            square = SquareCrop.around((*points.min(0), *points.max(0)), CROP_MARGIN)
        clip = make_clip(
            place,
            poses,
            clip_events(place, reads),
            [square] * place.num_steps,
            size_px=config.size,
            kind=reads,
        )
        uv = None
        if config.use_flow and flow is not None:
            uv = torch.from_numpy(flow.estimate(clip.frames))[None]
        out = network(clip.frames[None], uv, clip.crop[None], _state(task.start))
        pose = rotmat_to_rotvec(out.rotmats[0].double().numpy())
        return BodyParams(
            betas=out.betas[0].double().numpy(),
            global_orient=pose[:, 0],
            body_pose=pose[:, 1:],
            transl=out.transl[0].double().numpy(),
            model=body.model,
            gender=body.gender,
        )

    return estimate


def _state(start: BodyParams | None) -> StartState | None:
    if start is None:
        return None
    arrays = (rotvec_to_rotmat(start.pose), start.betas, start.transl)
    rotmats, betas, transl = (torch.from_numpy(np.array(a, np.float32))[None] for a in arrays)
    return StartState(rotmats=rotmats, betas=betas, transl=transl)
