from __future__ import annotations

import pytest
import torch
from torch import Tensor

from eventhpe.errors import ShapeError
from eventhpe.geometry.skeleton import DHP19_15_SKELETON, SMPL_SKELETON
from eventhpe.shapenet.crop import crop_to_intrinsics
from eventhpe.shapenet.heads.depth_recovery import adult_bones, lift, recover_root_depth

CROP = torch.tensor([0.15, -0.1, 0.3])
K = crop_to_intrinsics(CROP, 128)
ROOTS = torch.tensor([2.3, 3.71, 6.02, 8.4])


def people() -> tuple[Tensor, Tensor, dict[tuple[str, str], float]]:
    """Four people (4, 24, 3) of one body at four depths, relative to the pelvis, and their bones."""
    g = torch.Generator().manual_seed(0)
    relative = torch.zeros(4, 24, 3)
    bones = {}
    for child, parent in enumerate(SMPL_SKELETON.parents):
        if parent < 0:
            continue
        length = 0.1 + 0.35 * torch.rand((), generator=g).item()
        direction = torch.randn(4, 3, generator=g)
        relative[:, child] = relative[:, parent] + length * direction / direction.norm(dim=-1, keepdim=True)
        bones[SMPL_SKELETON.joints[parent], SMPL_SKELETON.joints[child]] = 1000 * length
    where = torch.stack([0.15 * ROOTS, -0.1 * ROOTS, ROOTS], -1)
    return relative, relative + where[:, None], bones


def project(xyz: Tensor) -> Tensor:
    uvw = xyz @ K.T
    return uvw[..., :2] / uvw[..., 2:]


def recover(uv: Tensor, depth: Tensor, bones: dict[tuple[str, str], float], **options: object) -> Tensor:
    return recover_root_depth(uv, depth, K, skeleton=SMPL_SKELETON, bones_mm=bones, **options)  # type: ignore[arg-type]


def test_exact_joints_give_the_exact_place() -> None:
    relative, xyz, bones = people()
    uv, depth = project(xyz), relative[..., 2]
    root = recover(uv, depth, bones)
    torch.testing.assert_close(root, ROOTS, atol=1e-3, rtol=0)
    torch.testing.assert_close(lift(uv, depth, root, K), xyz, atol=2e-3, rtol=0)
    assert recover(uv[0], depth[0], bones).shape == ()
    many = K.expand(4, 3, 3)
    batched = recover_root_depth(uv, depth, many, skeleton=SMPL_SKELETON, bones_mm=bones)
    torch.testing.assert_close(batched, root)


def test_the_grid_is_right_to_half_a_fine_step() -> None:
    relative, xyz, bones = people()
    uv, depth = project(xyz), relative[..., 2]
    near, far = 2.0, 9.0
    root = recover(uv, depth, bones, method="grid", depth_range=(near, far))
    step = (far - near) / 12 / 5
    assert (root - ROOTS).abs().max() <= step / 2 + 1e-4
    steps = (root - near) / step
    torch.testing.assert_close(steps, steps.round(), atol=1e-3, rtol=0)


def test_a_body_that_is_ten_percent_larger_stands_that_much_farther() -> None:
    relative, xyz, bones = people()
    larger = {k: 1.1 * v for k, v in bones.items()}
    root = recover(project(xyz), 1.1 * relative[..., 2], larger)
    torch.testing.assert_close(root, 1.1 * ROOTS, atol=2e-3, rtol=0)


def test_noise_of_a_pixel_moves_people_who_fill_the_crop_by_few_percent() -> None:
    """Those far off, 40 px tall here, come nearer: noise lengthens bones."""
    relative, xyz, bones = people()
    noise = torch.Generator().manual_seed(1)
    uv = project(xyz) + torch.randn(50, 4, 24, 2, generator=noise)
    root = recover(uv, relative[..., 2].expand(50, 4, 24), bones)
    share = root / ROOTS - 1
    assert share[:, :2].abs().max() < 0.05
    assert -0.12 < share[:, 2:].mean() < -0.02


def test_unknown_joints_are_left_out() -> None:
    relative, xyz, bones = people()
    uv, depth = project(xyz), relative[..., 2].clone()
    uv[0, 4] = torch.nan
    uv[1, 7] += 500
    known = torch.ones(4, 24, dtype=torch.bool)
    known[1, 7] = False
    known[2] = False
    known[3, 1:] = False
    root = recover(uv, depth, bones, known=known)
    torch.testing.assert_close(root[:2], ROOTS[:2], atol=1e-3, rtol=0)
    assert torch.isnan(root[2:]).all()  # one joint alone has no bone


def test_published_lengths_go_by_name() -> None:
    bones = adult_bones(DHP19_15_SKELETON)
    assert len(bones) == 12
    assert bones["knee_left", "foot_left"] == bones["knee_right", "foot_right"] == 454.2
    assert bones["thorax", "shoulder_right"] == 151.0 and bones["elbow_left", "hand_left"] == 251.7
    assert adult_bones(SMPL_SKELETON)["hip_left", "knee_left"] == 442.9


def test_wrong_arguments_are_refused() -> None:
    relative, xyz, bones = people()
    uv, depth = project(xyz), relative[..., 2]
    with pytest.raises(ShapeError, match="no joint 'tail'"):
        recover(uv, depth, {("pelvis", "tail"): 100.0})
    with pytest.raises(ShapeError, match="at least one bone"):
        recover(uv, depth, {})
    with pytest.raises(ShapeError, match=r"\(\*, 24, 2\)"):
        recover(uv[:, :5], depth[:, :5], bones)
    with pytest.raises(ShapeError, match="least_squares, grid"):
        recover(uv, depth, bones, method="guess")
    with pytest.raises(ShapeError, match="nearer first"):
        recover(uv, depth, bones, depth_range=(5.0, 2.0))
