"""Terms of the energy that fits of a body to keypoints minimise; all are negative log densities in nats.

The choice follows SMPLify (Bogo et al., ECCV 2016): robust data term, mixture prior, penalty on knees and
elbows that bend the wrong way; in time, a penalty on accelerations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eventhpe.body.fit_settings import FitSettings
from eventhpe.body.fk import SOLE_M
from eventhpe.body.joint_limits import joint_limits
from eventhpe.body.pose_prior import PosePrior
from eventhpe.geometry.skeleton import SMPL_SKELETON

F64 = NDArray[np.float64]

_BEND_JOINTS = [
    SMPL_SKELETON.index(name) for name in ("knee_left", "knee_right", "elbow_left", "elbow_right")
]
_BEND_AXES = [0, 0, 1, 1]
_BEND_SIGNS = torch.tensor([1.0, 1.0, -1.0, 1.0], dtype=torch.float64)
"""Component of these joints' rotation vectors and sign with which they bend."""

_BEND_RAD = 0.1
_BEND_WEIGHT = 0.25
_SOLES = tuple(
    (
        SMPL_SKELETON.index(f"ankle_{side}"),
        SMPL_SKELETON.index(f"foot_{side}"),
        SMPL_SKELETON.index(f"{joint}_{side}"),
    )
    for side in ("left", "right")
    for joint in ("ankle", "foot", "foot")
)
"""Ankle, foot, and the one of them that carries the point: heel, ball and toe tip."""

_FORWARD = torch.tensor([-0.4, 0.0, 0.4] * 2, dtype=torch.float64)
_FLOOR_M = 0.02
_LOOSE = tuple(
    SMPL_SKELETON.index(name)
    for name in ("spine1", "spine2", "spine3", "wrist_left", "wrist_right", "foot_left", "foot_right")
)
_HANDS = (22, 23)
_HAND_RAD = 0.05
REFERENCE_S = 0.01  # accelerations count once per so many seconds, at any rate of frames
_LINEAR_FROM = 3.0  # in standard deviations


@dataclass(frozen=True)
class Observed:
    """Keypoints of T frames.

    Attributes:
        xyz: (T, J, 3) float64 metres, world frame; 0 where missing.
        weight: (T, J) confidence, 0 where missing.
        t_s: (T,) seconds.
    """

    xyz: Tensor
    weight: Tensor
    t_s: Tensor

    @classmethod
    def of(cls, xyz: F64, confidence: F64, t_us: NDArray[np.int64]) -> Observed:
        """From arrays in which missing keypoints are NaN or have confidence 0."""
        seen = np.isfinite(xyz).all(-1) & (confidence > 0)
        return cls(
            xyz=torch.from_numpy(np.where(seen[..., None], xyz, 0.0)),
            weight=torch.from_numpy(np.where(seen, confidence, 0.0)),
            t_s=torch.from_numpy((t_us - t_us[0]) * 1e-6),
        )

    def __len__(self) -> int:
        return len(self.t_s)

    def pick(self, frames: NDArray[np.int64] | slice) -> Observed:
        """Some of the frames."""
        return Observed(self.xyz[frames], self.weight[frames], self.t_s[frames])


def data_energy(keypoints: Tensor, seen: Observed, *, sigma_m: float, robust_m: float) -> Tensor:
    """Geman-McClure penalty on distances: r^2 / (1 + r^2 / c^2), by the noise."""
    square = (keypoints - seen.xyz).square().sum(-1)
    return (seen.weight * square / (1 + square / robust_m**2)).sum() / (2 * sigma_m**2)


class PoseEnergy:
    """What is known about poses before any keypoint is seen, frame by frame."""

    def __init__(self, prior: PosePrior, settings: FitSettings) -> None:
        limits = [joint_limits()[name] for name in SMPL_SKELETON.joints[1:]]
        self._low = torch.tensor(np.radians([limit.low for limit in limits]))
        self._high = torch.tensor(np.radians([limit.high for limit in limits]))
        self._prior, self._weight = prior, settings.prior_weight
        self._limit = np.radians(settings.limit_sigma_deg)
        self._loose = np.radians(settings.unobserved_sigma_deg)

    def __call__(self, pose: Tensor) -> Tensor:
        """Energy of (T, 24, 3) rotation vectors; the root's plays no part."""
        body = pose[:, 1:]
        outside = (body - self._high).clamp_min(0) + (self._low - body).clamp_min(0)
        out = outside.square().sum() / (2 * self._limit**2)
        # exp overflows on long steps of the line search; far out the limits take over
        wrong = (-_BEND_SIGNS * pose[:, _BEND_JOINTS, _BEND_AXES] / _BEND_RAD).clamp_max(4.0)
        out = out + _BEND_WEIGHT * torch.exp(wrong).sum()
        out = out + pose[:, _LOOSE].square().sum() / (2 * self._loose**2)
        out = out + pose[:, _HANDS].square().sum() / (2 * _HAND_RAD**2)
        if self._weight > 0:
            out = out + self._weight * self._prior.negative_log_density(body[:, :21]).sum()
        return out


def smooth_energy(joints: Tensor, pose: Tensor, t_s: Tensor, settings: FitSettings) -> Tensor:
    """Penalty on accelerations of joints (T, 24, 3) in the world and of rotation vectors (T, 24, 3).

    The root's rotation vector plays no part: the joints show how the root turns.
    """
    if len(t_s) < 3:
        return joints.new_zeros(())
    step = torch.diff(t_s)
    span = (step[1:] + step[:-1]) / 2
    weight = (span / REFERENCE_S)[:, None]

    def acceleration(x: Tensor) -> Tensor:
        speed = torch.diff(x, dim=0) / step[:, None, None]
        return torch.diff(speed, dim=0) / span[:, None, None]

    linear = acceleration(joints).square().sum(-1) / settings.acceleration_sigma**2
    turns = acceleration(pose[:, 1:]).square().sum(-1) / settings.turn_sigma**2
    return (weight * _huber(linear)).sum() + (weight * _huber(turns)).sum()


def floor_energy(joints: Tensor, rotations: Tensor, rest: Tensor, settings: FitSettings) -> Tensor:
    """Penalty on soles below y = 0, by the points of `fk.sole_points`; soles far below pull no more.

    Args:
        joints, rotations: (T, 24, 3) and (T, 24, 3, 3), from `chain`.
        rest: (24, 3) joints of the rest pose.
    """
    ankle, foot, joint = (list(ids) for ids in zip(*_SOLES, strict=True))
    down = rest[foot, 1] - SOLE_M - rest[joint, 1]
    forward = _FORWARD * (rest[foot, 2] - rest[ankle, 2])
    up = rotations[:, joint, 1]
    height = joints[:, joint, 1] + up[..., 1] * down + up[..., 2] * forward
    square = height.clamp_max(0).square()
    return (square / (1 + square / settings.robust_m**2)).sum() / (2 * _FLOOR_M**2)


def _huber(square: Tensor) -> Tensor:
    """Half the square near 0, linear in its root far out."""
    d2 = _LINEAR_FROM**2
    return d2 * (torch.sqrt(1 + square / d2) - 1)
