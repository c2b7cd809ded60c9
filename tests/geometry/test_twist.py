from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from eventhpe.errors import ShapeError
from eventhpe.geometry.rotation import rotvec_to_rotmat
from eventhpe.geometry.skeleton import DHP19_15_SKELETON, SMPL_SKELETON
from eventhpe.geometry.twist import twist_error, world_rotations

REST = torch.tensor(np.random.default_rng(0).normal(0, 0.3, (24, 3)))
SHOULDER, ELBOW, WRIST = (SMPL_SKELETON.index(f"{n}_left") for n in ("shoulder", "elbow", "wrist"))


def turn(rotvec: Tensor) -> Tensor:
    return torch.tensor(rotvec_to_rotmat(rotvec.numpy()))


def pose(*lead: int, seed: int = 1) -> Tensor:
    return turn(torch.tensor(np.random.default_rng(seed).normal(0, 0.6, (*lead, 24, 3))))


def bone(joint: int, child: int) -> Tensor:
    direction = REST[child] - REST[joint]
    return direction / direction.norm()


def errors(rotmats: Tensor, true: Tensor) -> tuple[dict[int, float], dict[int, float]]:
    found = twist_error(rotmats, true, skeleton=SMPL_SKELETON, rest=REST)
    return tuple(dict(zip(found.joints, v.tolist(), strict=True)) for v in (found.twist, found.swing))  # type: ignore[return-value]


def test_bones_of_smpl() -> None:
    found = twist_error(pose(3, 2), pose(3, 2, seed=2), skeleton=SMPL_SKELETON, rest=REST)
    assert found.twist.shape == found.swing.shape == (3, 2, 17)
    left_out = {SMPL_SKELETON.joints[j] for j in set(range(24)) - set(found.joints)}
    assert left_out == {"pelvis", "spine3", "head", "foot_left", "foot_right", "hand_left", "hand_right"}


@pytest.mark.parametrize("angle", [0.0, 1e-3, 0.7, -2.5, math.pi])
def test_a_turn_about_the_bone_is_twist_and_the_bones_beyond_swing(angle: float) -> None:
    true = pose()
    rotmats = true.clone()
    rotmats[SHOULDER] = true[SHOULDER] @ turn(angle * bone(SHOULDER, ELBOW))
    rotmats[ELBOW] = turn(-angle * bone(SHOULDER, ELBOW)) @ true[ELBOW]  # the elbow takes it back
    twist, swing = errors(rotmats, true)
    assert twist[SHOULDER] == pytest.approx(abs(angle), abs=1e-6) and swing[SHOULDER] == pytest.approx(
        0, abs=1e-6
    )
    assert max(v for j, v in twist.items() if j != SHOULDER) < 1e-6
    assert max(swing.values()) < 1e-6


def test_a_turn_across_the_bone_is_swing() -> None:
    true = pose()
    axis = bone(ELBOW, WRIST)
    across = torch.linalg.cross(axis, torch.tensor([0.0, 0.0, 1.0], dtype=axis.dtype))
    rotmats = true.clone()
    rotmats[ELBOW] = true[ELBOW] @ turn(1.3 * across / across.norm())
    twist, swing = errors(rotmats, true)
    assert twist[ELBOW] == pytest.approx(0, abs=1e-6) and swing[ELBOW] == pytest.approx(1.3, abs=1e-6)


def test_swing_after_twist_is_taken_apart() -> None:
    true = pose()
    axis = bone(ELBOW, WRIST)
    across = torch.linalg.cross(axis, torch.tensor([1.0, 0.0, 0.0], dtype=axis.dtype))
    rotmats = true.clone()
    rotmats[ELBOW] = true[ELBOW] @ turn(2.2 * across / across.norm()) @ turn(-0.9 * axis)
    twist, swing = errors(rotmats, true)
    assert twist[ELBOW] == pytest.approx(0.9, abs=1e-6) and swing[ELBOW] == pytest.approx(2.2, abs=1e-6)


def test_swing_is_the_angle_between_the_bones() -> None:
    rotmats, true = pose(), pose(seed=2)
    _, swing = errors(rotmats, true)
    a, b = (world_rotations(r, SMPL_SKELETON)[ELBOW] @ bone(ELBOW, WRIST) for r in (rotmats, true))
    assert swing[ELBOW] == pytest.approx(math.acos(float(a @ b)), abs=1e-6)


def test_single_precision_and_opposite_bones_stay_finite() -> None:
    true = pose().float()
    rotmats = true.clone()
    axis = bone(ELBOW, WRIST)
    across = torch.linalg.cross(axis, torch.tensor([1.0, 0.0, 0.0], dtype=axis.dtype))
    rotmats[ELBOW] = true[ELBOW] @ turn(math.pi * across / across.norm()).float()
    twist, swing = errors(rotmats, true)
    assert swing[ELBOW] == pytest.approx(math.pi, abs=1e-3) and math.isfinite(twist[ELBOW])


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ShapeError, match="24, 3, 3"):
        twist_error(pose(), pose(2), skeleton=SMPL_SKELETON, rest=REST)
    with pytest.raises(ShapeError, match="before their parents"):
        world_rotations(torch.eye(3).expand(15, 3, 3), DHP19_15_SKELETON)
