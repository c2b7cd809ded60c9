from __future__ import annotations

import pytest
import torch

from eventhpe.body.default import open_body
from eventhpe.body.dhp19_markers import open_body_markers
from eventhpe.body.model import BodyModel
from eventhpe.errors import ShapeError
from eventhpe.geometry.skeleton import DHP19_15_SKELETON, DHP19_SKELETON, SMPL_SKELETON, Skeleton
from eventhpe.shapenet.body_joints import body_joints


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return open_body()


def test_markers_and_their_middles(body: BodyModel, rotations: object) -> None:
    rotmats = rotations(2, 24, seed=3)  # type: ignore[operator]
    betas = torch.randn(2, 10, generator=torch.Generator().manual_seed(0)).requires_grad_()
    transl = torch.tensor([[0.0, 0.1, 3.0], [0.2, 0.0, 4.0]])
    joints = body_joints(body, DHP19_15_SKELETON)(rotmats, betas, transl)
    with torch.no_grad():
        expected = open_body_markers().positions(body.vertices(rotmats, betas, transl).numpy())
    torch.testing.assert_close(
        joints[:, :13].detach().double(), torch.from_numpy(expected), atol=1e-5, rtol=0
    )
    at = DHP19_15_SKELETON.index
    for middle, pair in (("pelvis", "hip"), ("thorax", "shoulder")):
        mean = (joints[:, at(f"{pair}_left")] + joints[:, at(f"{pair}_right")]) / 2
        torch.testing.assert_close(joints[:, at(middle)], mean)
    joints.sum().backward()
    assert betas.grad is not None and betas.grad.abs().min() > 0
    plain = body_joints(body, DHP19_SKELETON)(rotmats, betas, transl)
    torch.testing.assert_close(plain, joints[:, :13])


def test_nothing_of_the_body_enters_a_checkpoint(body: BodyModel) -> None:
    markers = body_joints(body, DHP19_15_SKELETON)
    assert isinstance(markers, torch.nn.Module) and not markers.state_dict()


def test_smpls_joints_are_the_bodys(body: BodyModel) -> None:
    assert body_joints(body, SMPL_SKELETON) == body.joints


def test_another_skeleton_is_refused(body: BodyModel) -> None:
    with pytest.raises(ShapeError, match="skeleton stick"):
        body_joints(body, Skeleton("stick", ("a", "b"), (-1, 0)))
