"""Frame-aligned supervision: a pose head on ShapeNet's encoder, with joints at the same instant as labels.

The head shapes the encoder while it trains and is then left out: weights of ShapeNet do not hold it. Its
labels are the joints at the end of each window: true ones, or those that HEMlets reads from the gray image of
that instant. A design of ours; heatmap triplets suit it, as they need no label in space (Zhou et al., ICCV
2019).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from eventhpe.errors import ShapeError
from eventhpe.geometry.skeleton import Skeleton, skeleton_by_name
from eventhpe.shapenet.crop import NEAR_M, crop_to_pixels, project_to_crop
from eventhpe.shapenet.heads.base import HeadSize, JointLabels, PoseHead, check_labels
from eventhpe.shapenet.heads.parts import NUM_PARTS, body_parts
from eventhpe.shapenet.heads.table import HEADS
from eventhpe.shapenet.heads.triplets import depth_order
from eventhpe.shapenet.network import ShapeNet


@dataclass(frozen=True)
class FrameHeadConfig:
    """The head, and how much it counts.

    Attributes:
        head: name in `HEADS`.
        skeleton: of its joints, "dhp19", "dhp19_15" or "smpl24".
        weight: of the sum of its loss terms beside ShapeNet's own.
        options: of the head, by name; volumes and heatmaps are narrow unless they say otherwise.
    Raises:
        ShapeError: no such head, skeleton or option, or a weight that is not positive.
    """

    head: str = "hemlets"
    skeleton: str = "dhp19_15"
    weight: float = 0.1
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise ShapeError(f"no head {self.head!r}; there are: {', '.join(HEADS)}.")
        skeleton_by_name(self.skeleton)
        if not self.weight > 0:
            raise ShapeError(f"FrameHeadConfig.weight must be positive; got {self.weight}.")
        known = {f.name for f in fields(HEADS[self.head].options)}
        if unknown := sorted(set(self.options) - known):
            raise ShapeError(
                f"head {self.head} has no option {', '.join(unknown)}; it has: {', '.join(sorted(known))}."
            )


def build_frame_head(config: FrameHeadConfig, network: ShapeNet) -> PoseHead:
    """The head on the maps of a ShapeNet's encoder.

    Raises:
        ShapeError: a crop whose side is no multiple of 32.
    """
    size = network.config.size
    if size % 32:
        raise ShapeError(f"a frame head needs crops whose side is a multiple of 32; got {size} px.")
    kind = HEADS[config.head]
    skeleton = skeleton_by_name(config.skeleton)
    channels = network.encoder.image.out_channels
    return kind.build(HeadSize(skeleton, channels, size), kind.options(**config.options))


def frame_losses(head: PoseHead, maps: Tensor, labels: JointLabels) -> dict[str, Tensor]:
    """Terms of the head's loss by name, unweighted, and their sum as "frame".

    Args:
        head: from `build_frame_head`.
        maps: (N, F, S/32, S/32) of the encoder.
        labels: of N windows.
    Raises:
        ShapeError: labels of another skeleton, or not finite where known.
    """
    check_labels(labels, head.size)
    terms = {f"frame_{name}": term for name, term in head.losses(head(maps), labels).items()}
    return terms | {"frame": torch.stack(list(terms.values())).sum()}


def labels_of_joints(xyz: Tensor, crop: Tensor, skeleton: Skeleton, size: int) -> JointLabels:
    """Joints in space as labels of crops.

    Args:
        xyz: (N, J, 3) camera metres at the ends of N windows.
        crop: (N, 3) of the windows, see `eventhpe.shapenet.crop`.
        skeleton: of the joints.
        size: S of the crops in pixels.
    """
    with torch.autocast(device_type=xyz.device.type, enabled=False):
        xyz = xyz.float()
        uv = crop_to_pixels(project_to_crop(xyz, crop.float()), size)
        known = (xyz[..., 2] > NEAR_M) & torch.isfinite(uv).all(-1)
        roots = [skeleton.index("pelvis")] if "pelvis" in skeleton.joints else _hips(skeleton)
        relative = xyz - xyz[:, roots].mean(1, keepdim=True)
        order = torch.zeros(len(xyz), NUM_PARTS, dtype=torch.int64, device=xyz.device)
        order_known = torch.zeros_like(order, dtype=torch.bool)
        if "pelvis" in skeleton.joints:
            order, order_known = depth_order(xyz, body_parts(skeleton), known)
        return JointLabels(
            uv=torch.where(known[..., None], uv, 0.0), known=known, xyz=relative,
            known3d=torch.isfinite(relative).all(-1), order=order, order_known=order_known,
        )  # fmt: skip


def _hips(skeleton: Skeleton) -> list[int]:
    return [skeleton.index("hip_left"), skeleton.index("hip_right")]
