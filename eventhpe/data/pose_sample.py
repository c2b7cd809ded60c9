"""One crop of one person with all that is known of the pose, as the pose systems learn from it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eventhpe.data.pose_labels import root_of
from eventhpe.errors import ShapeError
from eventhpe.geometry.skeleton import SMPL_SKELETON, Skeleton
from eventhpe.shapenet.heads.base import JointLabels
from eventhpe.shapenet.heads.parts import NUM_PARTS, body_parts, mirrored_parts
from eventhpe.shapenet.heads.triplets import depth_order


class PoseSample(NamedTuple):
    """One crop (or a batch of them, with a leading B). The pose stands at the end of the window.

    Attributes:
        frames: (C, S, S) float32 network input.
        uv, known: (J, 2) float32 pixels of the crop, (J,) bool; see `JointLabels`. Zero where not known.
        xyz, known3d: (J, 3) float32 metres relative to `root`, camera axes; (J,) bool. Zero where not known.
        order, order_known: (P,) int64 and bool, depth order of HEMlets' parts; not known for skeletons
            without them.
        root: (3,) camera metres of the pelvis, of the middle of the hips where there is none; zero where not
            known.
        crop: (3,) viewing ray of the crop (see SquareCrop.ray).
        rotmats: (24, 3, 3) joint rotations, root in the camera frame; the identity where no body is known.
        betas, transl: (10,) and (3,) metres, camera frame; zero where no body is known.
        body_known: () bool.
        visible: (J,) bool, in the image and not hidden, as far as the labels tell.
        support: (J,) int64 events of the window near each joint; of images, active pixels.
        num_events: () int64 events of the window in the crop; -1 where nobody counted them.
    """

    frames: Tensor
    uv: Tensor
    known: Tensor
    xyz: Tensor
    known3d: Tensor
    order: Tensor
    order_known: Tensor
    root: Tensor
    crop: Tensor
    rotmats: Tensor
    betas: Tensor
    transl: Tensor
    body_known: Tensor
    visible: Tensor
    support: Tensor
    num_events: Tensor

    @property
    def labels(self) -> JointLabels:
        """What heads learn from; of a batch."""
        return JointLabels(self.uv, self.known, self.xyz, self.known3d, self.order, self.order_known)


class Body(NamedTuple):
    """A known body: (24, 3, 3) rotations, (10,) betas, (3,) transl, in the camera frame."""

    rotmats: NDArray[np.floating]
    betas: NDArray[np.floating]
    transl: NDArray[np.floating]


def pose_sample(
    frames: NDArray[np.float32],
    uv: NDArray[np.floating],
    xyz: NDArray[np.floating],
    skeleton: Skeleton,
    *,
    crop: NDArray[np.floating],
    visible: NDArray[np.bool_],
    support: NDArray[np.integer],
    num_events: int,
    body: Body | None = None,
) -> PoseSample:
    """Put a sample together.

    Args:
        frames: (C, S, S).
        uv: (J, 2) pixels of the crop, NaN where unknown.
        xyz: (J, 3) metres in the camera's axes, NaN where unknown.
        skeleton: of the joints.
        crop, visible, support, num_events: as in `PoseSample`.
        body: None = not known.
    """
    J = len(skeleton.joints)
    if uv.shape != (J, 2) or xyz.shape != (J, 3):
        raise ShapeError(f"{skeleton.name} has uv ({J}, 2) and xyz ({J}, 3); got {uv.shape} and {xyz.shape}.")
    root = root_of(xyz, skeleton)
    relative = xyz - root  # NaN everywhere without a root
    known, known3d = (np.asarray(np.isfinite(values).all(-1)) for values in (uv, relative))
    order, order_known = part_order(torch.from_numpy(np.array(xyz, np.float64)), skeleton)
    pose = body or Body(np.broadcast_to(np.eye(3), (24, 3, 3)), np.zeros(10), np.zeros(3))
    return PoseSample(
        frames=torch.from_numpy(np.ascontiguousarray(frames, np.float32)),
        uv=_tensor(np.where(known[:, None], uv, 0.0)),
        known=torch.from_numpy(known),
        xyz=_tensor(np.where(known3d[:, None], relative, 0.0)),
        known3d=torch.from_numpy(known3d),
        order=order,
        order_known=order_known,
        root=_tensor(np.nan_to_num(root)),
        crop=_tensor(crop),
        rotmats=_tensor(pose.rotmats),
        betas=_tensor(pose.betas),
        transl=_tensor(pose.transl),
        body_known=torch.tensor(body is not None),
        visible=torch.from_numpy(np.array(visible, bool)),
        support=torch.from_numpy(np.array(support, np.int64)),
        num_events=torch.tensor(num_events, dtype=torch.int64),
    )


def part_order(xyz: Tensor, skeleton: Skeleton) -> tuple[Tensor, Tensor]:
    """Depth order of the parts, (P,) int64 and bool, from (J, 3) positions; NaN where unknown."""
    if not has_parts(skeleton):
        return torch.zeros(NUM_PARTS, dtype=torch.int64), torch.zeros(NUM_PARTS, dtype=torch.bool)
    order, known = depth_order(xyz, body_parts(skeleton))
    return order, known


def has_parts(skeleton: Skeleton) -> bool:
    """Whether HEMlets' parts exist for it."""
    return "pelvis" in skeleton.joints


def without_depth(sample: PoseSample) -> PoseSample:
    """The weakly labelled sample: joints in the image and depth orders, but no positions and no body."""
    return sample._replace(
        xyz=torch.zeros_like(sample.xyz),
        known3d=torch.zeros_like(sample.known3d),
        root=torch.zeros_like(sample.root),
        rotmats=torch.eye(3).expand_as(sample.rotmats).clone(),
        betas=torch.zeros_like(sample.betas),
        transl=torch.zeros_like(sample.transl),
        body_known=torch.zeros_like(sample.body_known),
    )


def mirror_pose(sample: PoseSample, skeleton: Skeleton, rest_pelvis_x: float = 0.0) -> PoseSample:
    """The mirror image: columns reversed, left and right exchanged, x of every 3D quantity negated.

    Polarities and depth orders stay; the orders change places with their parts.

    Args:
        sample: or a batch of samples.
        rest_pelvis_x: x of the body's rest pelvis; SMPL's translation is relative to it.
    """
    flip, smpl = skeleton.flip.tolist(), SMPL_SKELETON.flip.tolist()
    parts = list(mirrored_parts(skeleton)) if has_parts(skeleton) else list(range(NUM_PARTS))
    point = sample.xyz.new_tensor([-1.0, 1.0, 1.0])
    signs = point[:, None] * point
    uv = sample.uv[..., flip, :].clone()
    uv[..., 0] = sample.frames.shape[-1] - 1 - uv[..., 0]
    known = sample.known[..., flip]
    transl = sample.transl * point
    transl[..., 0] -= 2 * rest_pelvis_x  # pelvis' = -(transl + pelvis), transl' = pelvis' - pelvis
    return sample._replace(
        frames=sample.frames.flip(-1),
        uv=torch.where(known[..., None], uv, 0.0),
        known=known,
        xyz=sample.xyz[..., flip, :] * point,
        known3d=sample.known3d[..., flip],
        order=sample.order[..., parts],
        order_known=sample.order_known[..., parts],
        root=sample.root * point,
        crop=sample.crop * point,
        rotmats=sample.rotmats[..., smpl, :, :] * signs,
        transl=torch.where(sample.body_known[..., None], transl, 0.0),
        visible=sample.visible[..., flip],
        support=sample.support[..., flip],
    )


def _tensor(values: NDArray[np.floating]) -> Tensor:
    return torch.from_numpy(np.array(values, np.float32))
