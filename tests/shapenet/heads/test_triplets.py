from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from eventhpe.errors import ShapeError
from eventhpe.geometry.skeleton import SMPL_SKELETON
from eventhpe.shapenet.heads.base import JointLabels
from eventhpe.shapenet.heads.heatmap import gaussian_maps
from eventhpe.shapenet.heads.parts import body_parts, mirrored_parts
from eventhpe.shapenet.heads.triplets import (
    depth_order,
    order_accuracy,
    order_to_learn,
    predicted_order,
    triplet_loss,
    triplet_targets,
)

BONE = ((0, 1),)


def bone(degrees: float, length: float = 0.4) -> Tensor:
    """(1, 2, 3): parent, and a child that stands that far out of the image plane, towards the camera."""
    a = math.radians(degrees)
    return torch.tensor([[[0.1, 0.2, 0.3], [0.1 + length * math.cos(a), 0.2, 0.3 - length * math.sin(a)]]])


def gaussians(parent: tuple[float, float], child: tuple[float, float]) -> Tensor:
    return gaussian_maps(torch.tensor([[parent, child]]), height=16, width=16, sigma=1.5)


@pytest.mark.parametrize(
    ("degrees", "order"), [(90, 1), (31, 1), (29, 0), (0, 0), (-29, 0), (-31, -1), (-90, -1)]
)
@pytest.mark.parametrize("length", [0.1, 1.7, 420.0])
def test_three_states_turn_at_thirty_degrees_whatever_the_length(
    degrees: float, order: int, length: float
) -> None:
    found = depth_order(bone(degrees, length), BONE)
    assert found.order.tolist() == [[order]] and found.known.all()


@pytest.mark.parametrize(
    ("degrees", "two", "five"),
    [(40, 1, 2), (30, 1, 1), (10, 1, 0), (-10, -1, 0), (-30, -1, -1), (-40, -1, -2)],
)
def test_two_and_five_states(degrees: float, two: int, five: int) -> None:
    assert depth_order(bone(degrees), BONE, states=2).order.item() == two
    assert depth_order(bone(degrees), BONE, states=5).order.item() == five


def test_two_states_do_not_know_a_level_bone() -> None:
    assert not depth_order(bone(0), BONE, states=2).known.any()


def test_joints_that_are_not_finite_or_not_known_leave_their_parts_unknown() -> None:
    xyz = torch.randn(2, 24, 3, generator=torch.Generator().manual_seed(0))
    parts = body_parts(SMPL_SKELETON)
    elbow = SMPL_SKELETON.index("elbow_left")
    xyz[0, elbow] = torch.nan
    known = torch.ones(2, 24, dtype=torch.bool)
    known[1, 0] = False  # the pelvis ends three parts
    found = depth_order(xyz, parts, known)
    touching = [elbow in part for part in parts]
    assert (~found.known[0]).tolist() == touching and sum(touching) == 2
    assert (~found.known[1]).tolist() == [0 in part for part in parts]
    assert (found.order[~found.known] == 0).all()


def test_mirroring_exchanges_sides_and_keeps_the_order() -> None:
    parts = body_parts(SMPL_SKELETON)
    xyz = torch.randn(8, 24, 3, generator=torch.Generator().manual_seed(1))
    mirrored = xyz[:, SMPL_SKELETON.flip] * torch.tensor([-1.0, 1.0, 1.0])
    order = depth_order(xyz, parts).order
    assert torch.equal(depth_order(mirrored, parts).order, order[:, list(mirrored_parts(SMPL_SKELETON))])
    away = depth_order(xyz * torch.tensor([1.0, 1.0, -1.0]), parts).order
    assert torch.equal(away, -order)
    assert {-1, 0, 1} == set(order.flatten().tolist())


@pytest.mark.parametrize("degrees", [50, 5, -50])
def test_the_child_stands_in_the_map_of_its_order_alone(degrees: float) -> None:
    g = gaussians((4.0, 5.0), (11.0, 9.0))
    order = depth_order(bone(degrees), BONE).order
    targets = triplet_targets(g, order, BONE)[0, 0]
    at = 1 + int(order.item())
    expected = torch.zeros(3, 16, 16)
    expected[1] = g[0, 0]
    expected[at] = torch.maximum(expected[at], g[0, 1])
    torch.testing.assert_close(targets, expected, atol=0, rtol=0)
    assert targets[at, 9, 11] == 1 and targets[1, 5, 4] == 1
    others = [i for i in range(3) if i not in (1, at)]
    assert not targets[others].any()


def test_parent_and_child_in_one_map_by_maximum_or_sum() -> None:
    g = gaussians((7.0, 7.0), (8.0, 7.0))
    level = torch.zeros(1, 1, dtype=torch.long)
    largest = triplet_targets(g, level, BONE)[0, 0, 1]
    summed = triplet_targets(g, level, BONE, overlap="sum")[0, 0, 1]
    assert largest.max() == 1
    torch.testing.assert_close(summed, g[0, 0] + g[0, 1])
    assert summed.max() > 1.7


def test_five_states_have_five_maps() -> None:
    g = gaussians((4.0, 5.0), (11.0, 9.0))
    order = depth_order(bone(-50), BONE, states=5).order
    targets = triplet_targets(g, order, BONE, states=5)[0, 0]
    assert targets.shape == (5, 16, 16)
    assert [float(m[9, 11]) > 0.99 for m in targets] == [True, False, False, False, False]
    assert [float(m[5, 4]) > 0.99 for m in targets] == [False, False, True, False, False]


def test_the_loss_sums_cells_and_parts_and_leaves_unknown_triplets_alone() -> None:
    triplets = torch.full((2, 2, 3, 4, 4), 0.5, requires_grad=True)
    targets = torch.zeros(2, 2, 3, 4, 4)
    known = torch.tensor([[True, False], [True, True]])
    loss = triplet_loss(triplets, targets, known)
    assert loss.item() == pytest.approx(3 * 48 * 0.25 / 2)
    loss.backward()
    assert triplets.grad is not None
    assert (triplets.grad[0, 1] == 0).all() and (triplets.grad[known] == 0.5).all()


def test_nothing_known_is_no_loss_but_a_gradient() -> None:
    triplets = torch.randn(1, 1, 3, 4, 4, requires_grad=True)
    loss = triplet_loss(triplets, torch.zeros(1, 1, 3, 4, 4), torch.zeros(1, 1, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0 and triplets.grad is not None and not triplets.grad.any()


@pytest.mark.parametrize("states", [2, 3, 5])
@pytest.mark.parametrize("child", [(8.3, 7.2), (7.6, 7.0), (13.0, 2.5)])
def test_orders_are_read_back_from_noisy_targets(states: int, child: tuple[float, float]) -> None:
    g = gaussians((7.0, 7.0), child)
    noise = torch.Generator().manual_seed(3)
    for order in (-2, -1, 0, 1, 2)[(5 - states + 1) // 2 : 5 - (5 - states + 1) // 2]:
        if states == 2 and order == 0:
            continue
        targets = triplet_targets(g, torch.tensor([[order]]), BONE, states=states)
        noisy = targets + 0.1 * torch.randn(targets.shape, generator=noise)
        assert predicted_order(noisy, g, BONE, states=states).item() == order


def labels(xyz: Tensor, **known: Tensor) -> JointLabels:
    B, J = xyz.shape[:2]
    every = torch.ones(B, J, dtype=torch.bool)
    part = torch.ones(B, 1, dtype=torch.bool)
    values = dict(
        uv=torch.zeros(B, J, 2), known=every, xyz=xyz, known3d=every,
        order=torch.ones(B, 1, dtype=torch.long), order_known=part,
    )  # fmt: skip
    return JointLabels(**(values | known))


def test_three_states_learn_the_labels_order_where_both_ends_are_known_in_the_image() -> None:
    known = torch.tensor([[True, True], [True, False]])
    found = order_to_learn(labels(bone(-60).expand(2, 2, 3), known=known), BONE)
    assert found.order.tolist() == [[1], [0]] and found.known.tolist() == [[True], [False]]


def test_two_states_learn_from_space_and_from_weak_labels_that_are_not_level() -> None:
    xyz = torch.cat([bone(-10), bone(-10), bone(-10)])
    known3d = torch.tensor([[True, True], [False, False], [False, False]])
    order = torch.tensor([[0], [1], [0]])
    found = order_to_learn(labels(xyz, known3d=known3d, order=order), BONE, states=2)
    assert found.known.tolist() == [[True], [True], [False]]
    assert found.order.tolist() == [[-1], [1], [0]]
    assert order_to_learn(labels(xyz, known3d=known3d), BONE, states=5).known.tolist() == [
        [True],
        [False],
        [False],
    ]


def test_accuracy_beside_the_best_constant_of_each_part() -> None:
    order = torch.tensor([[1, -1], [1, -1], [1, 0], [-1, 0]])
    predicted = torch.tensor([[1, -1], [1, 1], [-1, 0], [-1, 0]])
    known = torch.ones(4, 2, dtype=torch.bool)
    known[3, 1] = False
    found = order_accuracy(predicted, order, known)
    assert found.accuracy == pytest.approx(5 / 7) and found.majority == pytest.approx(5 / 7)
    assert math.isnan(order_accuracy(predicted, order, known & False).accuracy)


def test_wrong_options_are_refused() -> None:
    with pytest.raises(ShapeError, match="2, 3 or 5 states; got 4"):
        depth_order(bone(0), BONE, states=4)
    with pytest.raises(ShapeError, match="max, sum"):
        triplet_targets(gaussians((1, 1), (2, 2)), torch.zeros(1, 1).long(), BONE, overlap="mean")
