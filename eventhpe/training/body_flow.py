"""What FlowNet can learn from a person whose body is known: how the visible part of its surface moves through
the crop, and how the body moves if it follows the flow."""

from __future__ import annotations

import roma
import torch
from torch import Tensor

from eventhpe.body.model import BodyModel
from eventhpe.data.sample import Clip
from eventhpe.shapenet.coherence import visible_in_crop
from eventhpe.shapenet.crop import crop_to_pixels, project_to_crop
from eventhpe.shapenet.flow_motion import FlowMotion
from eventhpe.shapenet.losses import HIPS, Body

GRID, TOLERANCE_M = 40, 0.06
"""Cells of the z-buffer per side of the crop, and how far behind the nearest vertex a visible one may lie."""

START_NOISE, START_NOISE_M = 0.07, 0.02
"""How far the body that follows the flow is from the true one (standard deviations, radians about each axis,
metres): tracks drift, and their flow is read beside the person."""
MOTION_UNIT_M = 0.02
"""A typical motion of a joint within a window."""


MARGIN_PX, ELSEWHERE = 6, 0.02
"""Pixels of a crop of 128 between skin and what is surely not the person, and the weight of that, against 1
of skin: what is not the person has no flow of the person. Without it a network makes up flow there."""


@torch.no_grad()
def body_flow(clip: Clip, body: Body, subset: Tensor) -> tuple[Tensor, Tensor]:
    """Flow of B clips of T windows where a vertex of the body is seen.

    Args:
        clip: with a leading B.
        subset: (V,) vertices; some thousands, so that they leave few gaps.
    Returns:
        (B * T, 2, S, S) crop pixels over each window, indexed at its start, and (B * T, S, S) bool, where it
        is known: mean motion of the vertices that are seen in a pixel.
    """
    B, T = clip.crop.shape[:2]
    S = clip.frames.shape[-1]
    betas = clip.betas[:, None].expand(-1, T + 1, -1)
    vertices = body.vertices(clip.rotmats.float(), betas, clip.transl.float(), subset=subset)
    crop = clip.crop.float()
    before = crop_to_pixels(project_to_crop(vertices[:, :-1], crop), S)
    after = crop_to_pixels(project_to_crop(vertices[:, 1:], crop), S)
    seen = visible_in_crop(vertices[:, :-1], crop, grid=GRID, tolerance_m=TOLERANCE_M)
    cell = before.round()
    seen = seen & ((cell >= 0) & (cell < S)).all(-1)
    index = (cell[..., 1] * S + cell[..., 0]).clamp(0, S * S - 1).long().flatten(0, 1)
    weight = seen.float().flatten(0, 1)
    motion = (after - before).flatten(0, 1) * weight[..., None]
    count = torch.zeros(B * T, S * S, device=motion.device).scatter_add(1, index, weight)
    total = torch.zeros(B * T, 2, S * S, device=motion.device).scatter_add(
        2, index[:, None].expand(-1, 2, -1), motion.transpose(1, 2)
    )
    flow = total / count[:, None].clamp(min=1.0)
    return flow.unflatten(-1, (S, S)), (count > 0).unflatten(-1, (S, S))


def flow_weight(known: Tensor) -> Tensor:
    """(N, S, S) bool of `body_flow` to the weights of its flow, which is zero elsewhere: 1 on the skin, 0
    near it, where the outline may lie, and `ELSEWHERE` away from it."""
    margin = max(1, round(MARGIN_PX * known.shape[-1] / 128))
    skin = known.float()
    near = torch.nn.functional.max_pool2d(skin[:, None], 2 * margin + 1, stride=1, padding=margin)[:, 0]
    return skin + ELSEWHERE * (1 - near)


def motion_loss(flow: Tensor, clip: Clip, body: BodyModel, motion: FlowMotion) -> Tensor:
    """How much bodies that follow the flow move otherwise than the true ones.

    Args:
        flow: (B * T, 2, S, S) crop pixels over each window.
        clip: B clips of T windows.
    Returns:
        Scalar: mean distance of the joints' displacements, relative to the hips, in units of 2 cm.
    """
    T = clip.crop.shape[1]
    betas = clip.betas[:, None].expand(-1, T, -1).flatten(0, 1)
    rotmats, transl = clip.rotmats[:, :-1].flatten(0, 1), clip.transl[:, :-1].flatten(0, 1)
    noise = START_NOISE * torch.randn(*rotmats.shape[:2], 3, device=rotmats.device)
    rotmats = roma.rotvec_to_rotmat(noise) @ rotmats
    transl = transl + START_NOISE_M * torch.randn_like(transl)
    moved = motion.follow(rotmats, betas, transl, flow, clip.crop.flatten(0, 1))
    ours = _from_hips(body.joints(moved[0], betas, moved[1]) - body.joints(rotmats, betas, transl))
    true = _from_hips((clip.joints3d[:, 1:] - clip.joints3d[:, :-1]).flatten(0, 1))
    error = torch.sqrt((ours - true).square().sum(-1) + 1e-8)
    return error.mean() / MOTION_UNIT_M


def _from_hips(joints: Tensor) -> Tensor:
    return joints - joints[..., HIPS, :].mean(-2, keepdim=True)
