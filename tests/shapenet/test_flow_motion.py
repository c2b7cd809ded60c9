"""Bodies that move along with flow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from eventhpe.body.default import open_body
from eventhpe.body.model import BodyModel
from eventhpe.body.tree import JointTree
from eventhpe.errors import FormatError, ShapeError
from eventhpe.geometry.rotation import geodesic_angle
from eventhpe.shapenet.coherence import visible_in_crop
from eventhpe.shapenet.crop import crop_to_pixels, project_to_crop
from eventhpe.shapenet.flow_motion import FlowMotion, FlowMotionConfig, below
from eventhpe.shapenet.network import ShapeNet
from eventhpe.shapenet.state import ShapeNetConfig, StartState
from eventhpe.shapenet.tracker import BodyTracker

CROP = torch.tensor([[0.0, 0.0, 0.35]])
S = 128


@pytest.fixture(scope="module")
def open_figure() -> BodyModel:
    return open_body()


@pytest.fixture(scope="module")
def motion(open_figure: BodyModel) -> FlowMotion:
    return FlowMotion(open_figure, FlowMotionConfig(flow_px=0.2))


def standing(body: BodyModel) -> tuple[Tensor, Tensor, Tensor]:
    rotmats = torch.eye(3).repeat(1, 24, 1, 1)
    rotmats[:, 0] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    betas = torch.zeros(1, 10)
    return rotmats, betas, torch.tensor([[0.0, 0.0, 3.0]]) - body.rest_joints(betas)[:, 0]


def turn(axis: int, angle: float) -> Tensor:
    vector = torch.zeros(3)
    vector[axis] = angle
    return torch.linalg.matrix_exp(
        torch.tensor(
            [[0.0, -vector[2], vector[1]], [vector[2], 0.0, -vector[0]], [-vector[1], vector[0], 0.0]]
        )
    )


def true_flow(body: BodyModel, before: tuple[Tensor, ...], after: tuple[Tensor, ...]) -> Tensor:
    """(1, 2, S, S): every pixel moves like the nearest vertex that is seen."""
    a, b = (body.vertices(*pose)[0] for pose in (before, after))
    seen = visible_in_crop(a[None], CROP)[0].numpy()
    start, end = (crop_to_pixels(project_to_crop(v, CROP[0]), S).numpy()[seen] for v in (a, b))
    rows, columns = np.mgrid[0:S, 0:S]
    nearest = cKDTree(start).query(np.stack([columns, rows], -1).reshape(-1, 2))[1]
    flow = (end - start)[nearest].T.reshape(1, 2, S, S)
    return torch.from_numpy(flow.astype(np.float32))


def test_weights_below_a_joint_are_those_of_its_subtree() -> None:
    tree = JointTree([-1, 0, 1, 0])
    weights = torch.tensor([[0.1, 0.2, 0.3, 0.4]])
    torch.testing.assert_close(below(weights, tree), torch.tensor([[1.0, 0.5, 0.3, 0.4]]))


def test_jacobian_is_how_the_skin_moves(open_figure: BodyModel) -> None:
    """Against differences of the body itself; what is left is its pose-dependent shape."""
    motion = FlowMotion(open_figure)
    rotmats, betas, transl = standing(open_figure)
    world, joints = motion.tree.pose(rotmats, open_figure.rest_joints(betas))
    vertices = open_figure.vertices(rotmats, betas, transl, subset=motion.subset)
    found = motion._jacobian(vertices, joints + transl[:, None], CROP, S)[0].unflatten(-1, (25, 3))
    before = crop_to_pixels(project_to_crop(vertices, CROP), S)
    step = 1e-3
    for joint, axis in ((0, 1), (4, 0), (16, 2), (18, 2)):
        turned = rotmats.clone()
        above = torch.eye(3) if joint == 0 else world[0, motion.tree.parents[joint]]
        turned[0, joint] = above.T @ turn(axis, step) @ above @ rotmats[0, joint]
        moved = open_figure.vertices(turned, betas, transl, subset=motion.subset)
        expected = ((crop_to_pixels(project_to_crop(moved, CROP), S) - before) / step)[0]
        assert expected.norm(dim=-1).max() > 10
        assert (found[:, :, joint, axis] - expected).norm(dim=-1).mean() < 0.02 * expected.norm(dim=-1).max()
    moved = open_figure.vertices(
        rotmats, betas, transl + torch.tensor([0.0, 0.0, step]), subset=motion.subset
    )
    expected = ((crop_to_pixels(project_to_crop(moved, CROP), S) - before) / step)[0]
    torch.testing.assert_close(found[:, :, 24, 2], expected, atol=0.1, rtol=0.01)


@pytest.mark.parametrize(
    ("joint", "axis", "angle"), [(0, 1, 0.04), (16, 2, 0.06), (1, 2, -0.05), (18, 2, 0.05)]
)
def test_a_turned_joint_is_found_from_the_flow_of_the_skin(
    open_figure: BodyModel, motion: FlowMotion, joint: int, axis: int, angle: float
) -> None:
    rotmats, betas, transl = standing(open_figure)
    turned = rotmats.clone()
    turned[0, joint] = rotmats[0, joint] @ turn(axis, angle)
    flow = true_flow(open_figure, (rotmats, betas, transl), (turned, betas, transl))
    found, place = motion.follow(rotmats, betas, transl, flow, CROP)
    eye = torch.eye(3).expand(1, 24, 3, 3)
    torch.testing.assert_close(found.transpose(-1, -2) @ found, eye, atol=1e-5, rtol=0)
    true, ours, still = (
        open_figure.joints(*pose)
        for pose in ((turned, betas, transl), (found, betas, place), (rotmats, betas, transl))
    )
    assert (ours - true).norm(dim=-1).mean() < 0.5 * (still - true).norm(dim=-1).mean()


def test_an_even_flow_moves_the_body_sideways(open_figure: BodyModel, motion: FlowMotion) -> None:
    rotmats, betas, transl = standing(open_figure)
    flow = torch.tensor([2.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, S, S)
    found, place = motion.follow(rotmats, betas, transl, flow, CROP)
    metres = 2.0 * 3.0 * 2 * 0.35 / S
    assert float(place[0, 0] - transl[0, 0]) == pytest.approx(metres, rel=0.25)
    assert geodesic_angle(found, rotmats).max() < 0.03


def test_no_flow_or_nobody_in_the_crop_leaves_the_body_where_it_is(
    open_figure: BodyModel, motion: FlowMotion
) -> None:
    rotmats, betas, transl = standing(open_figure)
    for flow, place in ((torch.zeros(1, 2, S, S), transl), (torch.ones(1, 2, S, S), transl + 50)):
        found, stayed = motion.follow(rotmats, betas, place, flow, CROP)
        torch.testing.assert_close(found, rotmats, atol=1e-6, rtol=0)
        torch.testing.assert_close(stayed, place, atol=1e-6, rtol=0)


def test_weak_flow_is_believed_less_and_outliers_hardly(open_figure: BodyModel) -> None:
    rotmats, betas, transl = standing(open_figure)
    flow = torch.tensor([2.0, 0.0]).view(1, 2, 1, 1).repeat(1, 1, S, S)
    shift = []
    for flow_px in (0.5, 20.0):
        place = FlowMotion(open_figure, FlowMotionConfig(flow_px=flow_px)).follow(
            rotmats, betas, transl, flow, CROP
        )[1]
        shift.append(float(place[0, 0] - transl[0, 0]))
    assert 0 < shift[1] < 0.5 * shift[0]
    flow[:, :, :24] = 40.0  # where the head is, the flow is nonsense
    plain, robust = (
        FlowMotion(open_figure, FlowMotionConfig(flow_px=0.5, robust_px=limit)).follow(
            rotmats, betas, transl, flow, CROP
        )[1]
        for limit in (1e3, 1.0)
    )
    assert float((robust - transl).norm()) < 0.5 * float((plain - transl).norm())


def test_motion_is_differentiable_in_the_flow_and_carries_the_body_along(
    open_figure: BodyModel, motion: FlowMotion
) -> None:
    rotmats, betas, transl = (value.requires_grad_() for value in standing(open_figure))
    flow = torch.zeros(1, 2, S, S, requires_grad=True)
    found, place = motion.follow(rotmats, betas, transl, flow, CROP)
    (found[..., 0, 1].sum() + place.sum()).backward()
    assert flow.grad is not None and torch.isfinite(flow.grad).all() and flow.grad.abs().sum() > 0
    assert transl.grad is not None and torch.equal(transl.grad, torch.ones(1, 3))
    assert rotmats.grad is not None and betas.grad is None


def following_network(body: BodyModel) -> ShapeNet:
    torch.manual_seed(0)
    net = ShapeNet(
        ShapeNetConfig(in_channels=4, size=32, width=4, hidden=24, crop_features=4, follow_flow=True)
    )
    net.set_body(body.J_template[0], body.J_shapedirs[0])
    return net.eval()


def clip_of(T: int) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(0)
    frames = (torch.rand(1, T, 4, 32, 32, generator=g) < 0.2).float()
    return frames, torch.randn(1, T, 2, 32, 32, generator=g), CROP.expand(1, T, 3)


@pytest.mark.parametrize("known", [False, True])
def test_the_networks_body_follows_the_flow(open_figure: BodyModel, known: bool) -> None:
    net, motion = following_network(open_figure), FlowMotion(open_figure)
    with torch.no_grad():  # an absolute head that does not count once a body is known
        for layer in (net.noise.log_variances,):
            layer.weight.zero_()
        net.noise.log_variances.bias[:25], net.noise.log_variances.bias[25:] = 8.0, -8.0
    frames, flow, crop = clip_of(3)
    start = StartState(*standing(open_figure)) if known else None
    with torch.no_grad():
        out = net(frames, flow, crop, start, motion=motion)
        betas = out.betas.cumsum(1)[:, -1] if known else out.betas
        for t in range(1, 3):
            betas = out.betas[:, t - 1]
            rot, place = motion.follow(out.rotmats[:, t - 1], betas, out.transl[:, t - 1], flow[:, t], CROP)
            moved = place + net.pelvis_at_rest(betas) - net.pelvis_at_rest(out.betas[:, t])
            slack = 1e-3 if known else 0.5  # without a start the second window is an average of two
            assert geodesic_angle(out.rotmats[:, t], rot).max() < slack
            assert (out.transl[:, t] - moved).norm() < slack


def test_streams_that_follow_the_flow_may_be_cut_anywhere(open_figure: BodyModel) -> None:
    net, motion = following_network(open_figure), FlowMotion(open_figure)
    frames, flow, crop = clip_of(5)
    with torch.no_grad():
        whole = net(frames, flow, crop, motion=motion)
    tracker = BodyTracker(net, motion=motion)
    tracked = tracker.step(frames[0, :2], flow[0, :2], crop[0, :2])
    tracked += tracker.step(frames[0, 2:], flow[0, 2:], crop[0, 2:])
    for t, one in enumerate(tracked):
        np.testing.assert_allclose(one.rotmats, whole.rotmats[0, t], atol=1e-4)
        np.testing.assert_allclose(one.transl, whole.transl[0, t], atol=1e-4)


def test_network_and_motion_must_fit(open_figure: BodyModel) -> None:
    args: Any = clip_of(2)
    with pytest.raises(ShapeError, match="needs motion"):
        following_network(open_figure)(*args)
    plain = ShapeNet(ShapeNetConfig(in_channels=4, size=32, width=4, hidden=24, crop_features=4))
    with pytest.raises(ShapeError, match="takes no"):
        plain(*args, motion=FlowMotion(open_figure))
    with pytest.raises(FormatError, match="follow_flow"):
        ShapeNetConfig(use_flow=False, follow_flow=True)
