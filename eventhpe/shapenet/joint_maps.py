"""Joints as means over maps: where every joint lies in the crop and how far before or behind the pelvis.

Integral regression (Sun et al., ECCV 2018) in the form of location maps (Mehta et al., VNect, SIGGRAPH 2017):
one likelihood and one depth map per joint, and the joint is the mean under the likelihood. ShapeNet's pose is
read off these joints beside its pooled features, so what is learned of a limb in one place holds everywhere.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eventhpe.shapenet.crop import NEAR_M, project_to_crop

MLP_FEATURES = 256


class CropJoints(NamedTuple):
    """Joints as a crop shows them.

    Attributes:
        uvd: (*, J, 3): crop coordinates, -1..1 inside, and depth behind joint 0 in half crops at the depth
            of joint 0.
        peak: (*, J) 1 - entropy / log(cells) of the likelihood: 0 for a flat map, 1 for a single cell.
    """

    uvd: Tensor
    peak: Tensor


class JointMaps(nn.Module):
    """Maps of J joints from the encoder's upper three stages, at an eighth of the input.

    Args:
        stage_channels: of the stages at 1/8, 1/16 and 1/32.
        channels: of the maps' features.
        num_joints: J.
    """

    def __init__(self, *, stage_channels: tuple[int, ...], channels: int, num_joints: int) -> None:
        super().__init__()
        self.laterals = nn.ModuleList(nn.Conv2d(c, channels, 1, bias=False) for c in stage_channels)
        self.smooth = nn.Sequential(_conv(channels), _conv(channels))
        self.final = nn.Conv2d(channels, 2 * num_joints, 1)
        nn.init.normal_(self.final.weight, std=0.01)
        nn.init.zeros_(self.final.bias)  # type: ignore[arg-type]

    def forward(self, stages: tuple[Tensor, ...]) -> CropJoints:
        """Maps (N, C_i, S/8, S/8), (N, C_i, S/16, S/16), (N, C_i, S/32, S/32) to joints (N, J, 3)."""
        x = self.laterals[-1](stages[-1])
        for lateral, stage in zip(self.laterals[-2::-1], stages[-2::-1], strict=True):
            x = F.interpolate(x, scale_factor=2.0, mode="nearest") + lateral(stage)
        maps = self.final(self.smooth(x))
        with torch.autocast(device_type=maps.device.type, enabled=False):
            likelihood, depth = maps.float().chunk(2, 1)
            return location_means(likelihood, depth)


class JointFeatures(nn.Module):
    """Features of joints; zero before training, so that they can join a trained network.

    Args:
        num_joints: J.
        features: F.
    """

    def __init__(self, *, num_joints: int, features: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(4 * num_joints, MLP_FEATURES)
        self.out = nn.Linear(MLP_FEATURES, features)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, joints: CropJoints) -> Tensor:
        """(N, J, 3) and (N, J) to (N, F)."""
        flat = torch.cat([joints.uvd.flatten(1), joints.peak.flatten(1)], -1)
        out: Tensor = self.out(F.relu(self.hidden(flat)))
        return out


def location_means(likelihood: Tensor, depth: Tensor) -> CropJoints:
    """Mean place and depth under the softmax over all cells: (N, J, h, w) twice to N joints."""
    h, w = likelihood.shape[-2:]
    log_p = likelihood.flatten(-2).log_softmax(-1)
    p = log_p.exp()
    u = (torch.arange(w, device=p.device) + 0.5) * (2 / w) - 1
    v = (torch.arange(h, device=p.device) + 0.5) * (2 / h) - 1
    plane = p.unflatten(-1, (h, w))
    uvd = torch.stack(
        [(plane.sum(-2) * u).sum(-1), (plane.sum(-1) * v).sum(-1), (p * depth.flatten(-2)).sum(-1)], -1
    )
    peak = 1 + (p * log_p).sum(-1) / math.log(h * w)
    return CropJoints(uvd, peak)


def joints_in_crop(joints: Tensor, crop: Tensor) -> Tensor:
    """(*, J, 3) camera metres and (*, 3) crop to `CropJoints.uvd`."""
    z = joints[..., :1, 2:].clamp(min=NEAR_M)
    behind = (joints[..., 2:] - joints[..., :1, 2:]) / (z * crop[..., None, 2:])
    return torch.cat([project_to_crop(joints, crop), behind], -1)


def joint_map_error(found: CropJoints, truth: Tensor) -> Tensor:
    """Mean distance (smooth L1, half crops) of joints within the crop: (*, J, 3) each to (*,) windows."""
    inside = (truth[..., :2].abs() < 1).all(-1, keepdim=True).to(found.uvd.dtype)
    error = F.smooth_l1_loss(found.uvd, truth.to(found.uvd.dtype), beta=0.02, reduction="none")
    return (error * inside).sum((-1, -2)) / (3 * inside.sum((-1, -2)).clamp(min=1))


def _conv(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    )
