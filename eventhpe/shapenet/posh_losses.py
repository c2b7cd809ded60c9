"""Losses of HEMlets PoSh, as HMR and SPIN use them; the weights are the project's own. All run in fp32."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from eventhpe.shapenet.body_joints import JointsOf
from eventhpe.shapenet.crop import crop_to_intrinsics, project_to_crop
from eventhpe.shapenet.heads.base import JointLabels, check_labels
from eventhpe.shapenet.heads.depth_recovery import lift
from eventhpe.shapenet.network import to_place
from eventhpe.shapenet.posh import PoShNet, PoShOutput
from eventhpe.shapenet.posh_layers import joint_places

FARTHEST = 4.0
"""Projections are clamped to this many half crops: beyond, with depths near zero, they say nothing more."""


class PoShLabels(NamedTuple):
    """What is known about the bodies of B crops.

    Attributes:
        joints: of the network's skeleton.
        rotmats: (B, 24, 3, 3), entry 0 maps the root to the camera; anything where not `body_known`.
        betas: (B, 10).
        transl: (B, 3) metres in the camera frame.
        body_known: (B,) bool.
        confidence: (B, J) in [0, 1], weight of joints in the image where a network labelled them; None = 1.
    """

    joints: JointLabels
    rotmats: Tensor
    betas: Tensor
    transl: Tensor
    body_known: Tensor
    confidence: Tensor | None = None


@dataclass(frozen=True)
class PoShLossWeights:
    """Weight of each term of `posh_losses`; a term of weight 0 is left out.

    `place` is an addition to the usual terms: it teaches the depth where it is known.
    """

    rotation: float = 1.0
    betas: float = 0.001
    joints3d: float = 5.0
    joints2d: float = 5.0
    place: float = 1.0
    consistency: float = 1.0
    hemlets: float = 1.0

    def to_json(self) -> dict[str, float]:
        """Plain values only."""
        return asdict(self)


def posh_losses(
    net: PoShNet,
    output: PoShOutput,
    labels: PoShLabels,
    *,
    crop: Tensor,
    joints_of: JointsOf,
    weights: PoShLossWeights | None = None,
) -> dict[str, Tensor]:
    """Weighted terms that the network's stage asks for; minimise their sum.

    Args:
        net: in stage A only HEMlets' terms count, in B only the body's, in C both.
        output: of the network.
        labels: of the same crops.
        crop: (B, 3).
        joints_of: the network's joints on the body, see `body_joints`.
        weights: of the terms.
    Returns:
        Scalars by name: "rotation" (squared Frobenius distance, mean over joints), "betas" (squared
        distance), "joints3d" (L1, metres from the root), "joints2d" (L1, half crops), "place" (L1 of the
        pelvis, half crops and log metres), "consistency" (see `consistency_loss`), each a mean over what is
        known; and HEMlets' own terms as "hemlets_*". Where nothing is known they are zero, with a gradient.
    Raises:
        ShapeError: labels do not fit the network, or are not finite where known.
    """
    w = weights or PoShLossWeights()
    terms: dict[str, Tensor] = {}
    if net.head is not None:
        check_labels(labels.joints, net.head.size)
    with torch.autocast(device_type=output.rotmats.device.type, enabled=False):
        if net.stage != "A":
            terms = _body_terms(net, output, labels, crop.float(), joints_of, w)
        if net.stage != "B" and net.head is not None and output.maps is not None and w.hemlets:
            own = net.head.losses(output.maps, labels.joints)
            terms |= {f"hemlets_{name}": w.hemlets * term for name, term in own.items()}
    return terms


def consistency_loss(net: PoShNet, output: PoShOutput, joints: Tensor, crop: Tensor) -> Tensor:
    """L1 in metres between the body's joints and HEMlets', both relative to their root; needs no label.

    HEMlets gives pixels and depths from the root. They become metres at the depth at which the body's root
    stands, and count as given: no gradient goes to HEMlets, nor to that depth.

    Args:
        joints: (B, J, 3) of the body in camera metres.
        crop: (B, 3).
    """
    root = net.skeleton.parents.index(-1)
    given = output.joints
    assert given is not None and given.depth is not None
    K = crop_to_intrinsics(crop, net.config.hemlets.size)
    lifted = lift(given.uv.detach().float(), given.depth.detach().float(), joints[:, root, 2].detach(), K)
    difference = (joints - joints[:, root, None]) - (lifted - lifted[:, root, None])
    return difference.abs().mean()


def _body_terms(
    net: PoShNet,
    output: PoShOutput,
    labels: PoShLabels,
    crop: Tensor,
    joints_of: JointsOf,
    w: PoShLossWeights,
) -> dict[str, Tensor]:
    known, body = labels.joints, labels.body_known
    joints = joints_of(output.rotmats, output.betas, output.transl)
    root = net.skeleton.parents.index(-1)
    seen = known.known.float() if labels.confidence is None else known.known * labels.confidence.float()
    flat = project_to_crop(joints, crop).clamp(-FARTHEST, FARTHEST)
    true_flat = joint_places(_filled(known.uv, known.known), net.config.hemlets.size).clamp(
        -FARTHEST, FARTHEST
    )
    true_betas = _filled(labels.betas, body)
    relative = joints - joints[:, root, None]
    turn = (output.rotmats - _filled(labels.rotmats, body)).square().sum((-2, -1))
    own_place, true_place = (
        _crop_place(to_place(transl + net.pelvis(betas)), crop)
        for transl, betas in ((output.transl, output.betas), (_filled(labels.transl, body), true_betas))
    )
    terms = {
        "rotation": _mean(turn.mean(-1), body),
        "betas": _mean((output.betas - true_betas).square().sum(-1), body),
        "joints3d": _mean((relative - _filled(known.xyz, known.known3d)).abs().mean(-1), known.known3d),
        "joints2d": _mean((flat - true_flat).abs().mean(-1), seen),
        "place": _mean((own_place - true_place).abs().mean(-1), body),
    }
    if output.joints is not None:
        terms["consistency"] = consistency_loss(net, output, joints, crop)
    scale = w.to_json()
    return {name: scale[name] * term for name, term in terms.items() if scale[name]}


def _crop_place(place: Tensor, crop: Tensor) -> Tensor:
    return torch.cat([(place[..., :2] - crop[..., :2]) / crop[..., 2:], place[..., 2:]], -1)


def _filled(values: Tensor, known: Tensor) -> Tensor:
    """Zeros where nothing is known, so that NaN cannot spread."""
    mask = known.reshape(*known.shape, *[1] * (values.ndim - known.ndim))
    return torch.where(mask, values, 0.0).float()


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean; 0, with a gradient, if nothing has weight."""
    weight = weight.to(values.dtype)
    total = weight.sum()
    return (values * weight).sum() / torch.where(total > 0, total, 1.0)
