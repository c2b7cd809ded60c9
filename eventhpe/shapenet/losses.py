"""Training losses of ShapeNet. All run in fp32, also under autocast.

`shape_losses` serves the fixed variant, `parity_losses` repeats the published objective.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from eventhpe.geometry.rotation import geodesic_angle
from eventhpe.shapenet.coherence import CoherenceConfig, flow_coherence, parity_coherence
from eventhpe.shapenet.crop import project_to_crop
from eventhpe.shapenet.joint_maps import joint_map_error, joints_in_crop
from eventhpe.shapenet.network import to_place
from eventhpe.shapenet.state import ShapeOutput

HIPS = (1, 2)
"""hip_left and hip_right in SMPL's order; their midpoint is the root of root-relative joints."""


class Body(Protocol):
    """What the losses need of a body model."""

    def joints(self, rotmats: Tensor, betas: Tensor, transl: Tensor) -> Tensor:
        """(*, 24, 3, 3), (*, 10), (*, 3) to (*, 24, 3)."""
        ...

    def vertices(
        self, rotmats: Tensor, betas: Tensor, transl: Tensor, *, subset: Tensor | None = None
    ) -> Tensor:
        """Same inputs to (*, V, 3)."""
        ...


@dataclass(frozen=True)
class BodyTargets:
    """True bodies of T windows, each at the window's end, camera frame, metres.

    Attributes:
        rotmats: (B, T, 24, 3, 3).
        betas: (B, T, 10).
        transl: (B, T, 3).
        joints: (B, T, 24, 3).
        valid: (B, T) bool, windows to count; None counts all.
    """

    rotmats: Tensor
    betas: Tensor
    transl: Tensor
    joints: Tensor
    valid: Tensor | None = None


@dataclass(frozen=True)
class ShapeLossWeights:
    """Weight of each named term of `shape_losses`; a term of weight 0 is neither computed nor reported."""

    geodesic: float = 1.0
    geodesic_abs: float = 0.5
    root: float = 0.5
    root_abs: float = 0.5
    joints3d: float = 10.0
    joints3d_abs: float = 5.0
    joints2d: float = 2.0
    translation: float = 2.0
    translation_abs: float = 1.0
    betas: float = 0.05
    velocity: float = 5.0
    nll: float = 0.05
    joint_maps: float = 2.0
    coherence: float = 0.1

    def to_json(self) -> dict[str, float]:
        """Plain values only."""
        return asdict(self)


@dataclass(frozen=True)
class ParityLossWeights:
    """Published weights."""

    translation: float = 1.0
    geodesic: float = 10.0
    joints3d: float = 1.0
    joints2d: float = 10.0
    coherence: float = 0.1
    delta_translation: float = 0.0


def shape_losses(
    output: ShapeOutput,
    targets: BodyTargets,
    *,
    body: Body,
    crop: Tensor,
    flow: Tensor | None = None,
    vertex_subset: Tensor | None = None,
    visible: Tensor | None = None,
    weights: ShapeLossWeights | None = None,
    coherence: CoherenceConfig | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Objective of the fixed variant.

    Args:
        output: what ShapeNet returned for B clips of T windows.
        targets: the truth.
        body: body model (`eventhpe.body.model.BodyModel` or alike).
        crop: (B, T, 3).
        flow: (B, T, 2, S, S); None leaves the coherence term out.
        vertex_subset: (V,) indices of the vertices whose motion is compared with the flow.
        visible: (B, T, V) bool; None lets a coarse z-buffer decide.
    Returns:
        Total, and the unweighted terms by name: geodesic* (mean over joints) and root* in radians, joints3d*
        in metres (smooth L1, hip midpoint subtracted), joints2d in half crops, translation* in half crops and
        log-metres, velocity in metres per window, betas squared, nll (Laplace), joint_maps in half crops (see
        `joint_map_error`; networks with such maps only), coherence.
    """
    weights = weights or ShapeLossWeights()
    with torch.autocast(device_type=output.rotmats.device.type, enabled=False):
        terms = _shape_terms(output, targets, body, crop.float(), weights)
        if weights.coherence and flow is not None:
            meshes = body.vertices(*output.with_start(), subset=vertex_subset)
            terms["coherence"] = flow_coherence(
                meshes, flow, crop, visible=visible, mask=targets.valid, config=coherence
            )
        return _total(terms, asdict(weights)), terms


def _shape_terms(
    output: ShapeOutput, targets: BodyTargets, body: Body, crop: Tensor, weights: ShapeLossWeights
) -> dict[str, Tensor]:
    valid = targets.valid
    angles = geodesic_angle(output.rotmats, targets.rotmats)
    joints = body.joints(output.rotmats, output.betas, output.transl)
    relative, true_relative = joints - _hips(joints), targets.joints - _hips(targets.joints)
    terms = {
        "geodesic": _mean(angles, valid),
        # One joint of 24 in the mean above, yet it turns all the others.
        "root": _mean(angles[..., 0], valid),
        "joints3d": _mean(_robust(relative, true_relative, 0.02), valid),
        "joints2d": _mean(_robust(_project(joints, crop), _project(targets.joints, crop), 0.02), valid),
        "betas": _mean((output.betas - targets.betas).square(), valid),
    }
    true_place = _crop_place(to_place(targets.joints[..., 0, :]), crop)
    terms["translation"] = _mean(
        _robust(_crop_place(to_place(joints[..., 0, :]), crop), true_place, 0.02), valid
    )
    if output.rotmats_abs is not None and output.transl_abs is not None:
        joints_abs = body.joints(output.rotmats_abs, output.betas, output.transl_abs)
        place_abs = _crop_place(to_place(joints_abs[..., 0, :]), crop)
        angles_abs = geodesic_angle(output.rotmats_abs, targets.rotmats)
        terms["geodesic_abs"] = _mean(angles_abs, valid)
        terms["root_abs"] = _mean(angles_abs[..., 0], valid)
        terms["joints3d_abs"] = _mean(_robust(joints_abs - _hips(joints_abs), true_relative, 0.02), valid)
        terms["translation_abs"] = _mean(_robust(place_abs, true_place, 0.02), valid)
    if relative.shape[1] > 1:
        both = None if valid is None else valid[:, 1:] & valid[:, :-1]
        terms["velocity"] = _mean(_robust(relative.diff(dim=1), true_relative.diff(dim=1), 0.01), both)
    if output.log_var is not None:
        # The error is detached: uncertainty describes the pose and must not buy itself an easier one.
        error = (relative - true_relative).detach().norm(dim=-1)
        terms["nll"] = _mean(error * torch.exp(-0.5 * output.log_var) + 0.5 * output.log_var, valid)
    if output.joints_in_crop is not None:
        error = joint_map_error(output.joints_in_crop, joints_in_crop(targets.joints, crop))
        terms["joint_maps"] = _mean(error, valid)
    return {name: term for name, term in terms.items() if getattr(weights, name)}


def parity_losses(
    output: ShapeOutput,
    targets: BodyTargets,
    *,
    body: Body,
    K: Tensor,
    size: int = 256,
    flow: Tensor | None = None,
    weights: ParityLossWeights | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Published objective: L_tran + 10 L_theta + L_3d + 10 L_2d + 0.1 L_flow.

    Translation is detached in the joint, 2D and flow terms; 2D joints are clamped to the image, which kills
    their gradient outside it; the angle is an arccos of a clamped cosine. All of that is kept on purpose.

    Args:
        K: (3, 3), or (B, 1, 3, 3) when every clip has its own, intrinsics of the `size` x `size` image in
            pixels.
        flow: (B, T, 2, S, S); None leaves the coherence term out.
    """
    weights = weights or ParityLossWeights()
    with torch.autocast(device_type=output.rotmats.device.type, enabled=False):
        joints = body.joints(output.rotmats, output.betas, output.transl.detach())
        steps = torch.cat([output.transl_start[:, None], output.transl], 1).diff(dim=1)
        pixels, true_pixels = _pixels(joints, K) / size, _pixels(targets.joints, K) / size
        terms = {
            "translation": (output.transl - targets.transl).square().mean(),
            "geodesic": arccos_angle(output.rotmats, targets.rotmats).mean(),
            "joints3d": (joints - targets.joints).square().mean(),
            "joints2d": (pixels.clamp(0, 1) - true_pixels).square().mean(),
            "delta_translation": steps.square().mean(),
        }
        if flow is not None:
            rotmats, betas, transl = output.with_start()
            still = body.vertices(rotmats, betas, torch.zeros_like(transl), subset=None)
            terms["coherence"] = parity_coherence(still, flow, transl, K)
        return _total(terms, asdict(weights)), terms


def arccos_angle(a: Tensor, b: Tensor) -> Tensor:
    """Angle between (*, 3, 3) rotations as published: arccos of a clamped cosine, flat near 0 and pi."""
    trace = (a * b).sum((-1, -2))
    return torch.arccos(((trace - 1) / 2).clamp(-1 + 1e-6, 1 - 1e-6))


def _total(terms: Mapping[str, Tensor], weights: Mapping[str, Any]) -> Tensor:
    return torch.stack([terms[name] * weights[name] for name in terms]).sum()


def _hips(joints: Tensor) -> Tensor:
    return joints[..., HIPS, :].mean(-2, keepdim=True)


def _project(joints: Tensor, crop: Tensor) -> Tensor:
    # Beyond four half crops (depth near zero) the position says nothing more.
    return project_to_crop(joints, crop).clamp(-4, 4)


def _crop_place(place: Tensor, crop: Tensor) -> Tensor:
    return torch.cat([(place[..., :2] - crop[..., :2]) / crop[..., 2:], place[..., 2:]], -1)


def _pixels(xyz: Tensor, K: Tensor) -> Tensor:
    uvw = xyz.float() @ K.float().transpose(-1, -2)
    return uvw[..., :2] / uvw[..., 2:]


def _robust(a: Tensor, b: Tensor, beta: float) -> Tensor:
    return smooth_l1_loss(a, b.to(a.dtype), beta=beta, reduction="none")


def _mean(value: Tensor, valid: Tensor | None) -> Tensor:
    """Mean over all entries of the valid (B, T) windows; 0 if there are none."""
    if valid is None:
        return value.mean()
    per_window = value.flatten(2).mean(-1) if value.ndim > 2 else value
    weight = valid.to(value.dtype)
    return (per_window * weight).sum() / weight.sum().clamp(min=1.0)
