"""Associative embedding: the loss by hand, the grouping on scenes whose answer is known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from eventhpe.errors import ShapeError
from eventhpe.geometry.skeleton import DHP19_15_SKELETON, DHP19_SKELETON, SMPL_SKELETON
from eventhpe.shapenet.heads.associative import (
    GroupingOptions,
    embedding_losses,
    find_people,
    group_joints,
    joint_order,
)
from eventhpe.shapenet.heads.peaks import quarter_shift, top_peaks
from eventhpe.shapenet.heads.people import box_iou, joint_boxes, keypoint_similarity
from eventhpe.shapenet.heads.swahr_targets import people_heatmaps

J = len(DHP19_SKELETON.joints)
ORDER = joint_order(DHP19_SKELETON)


def test_pull_and_push_by_hand() -> None:
    """Tags 1 and 3 of one person, 0 of the other, whose second joint is unknown."""
    tags = torch.full((1, 2, 4, 4), 77.0)
    tags[0, 0, 1, 2], tags[0, 1, 3, 0], tags[0, 0, 0, 0] = 1.0, 3.0, 0.0
    cells = torch.tensor([[[[2, 1], [0, 3]], [[0, 0], [0, 0]]]])
    inside = torch.tensor([[[True, True], [True, False]]])
    terms = embedding_losses(tags, cells, inside)
    assert float(terms["pull"]) == pytest.approx((1.0 + 0.0) / 2)
    assert float(terms["push"]) == pytest.approx(0.5 * 2 * math.exp(-4) / 2)
    padded = embedding_losses(tags, torch.cat([cells, cells], 1), torch.cat([inside, inside & False], 1))
    assert padded == terms, "padding with nobody changes nothing"


def test_the_loss_equals_its_loops() -> None:
    torch.manual_seed(1)
    B, M, K, h, w = 3, 4, 5, 6, 7
    tags = torch.randn(B, K, h, w)
    cells = torch.stack([torch.randint(0, w, (B, M, K)), torch.randint(0, h, (B, M, K))], -1)
    inside = torch.rand(B, M, K) > 0.4
    inside[0, 1] = False
    inside[2] = False
    pull, push = [], []
    for b in range(B):
        means, spreads = [], []
        for m in range(M):
            own = torch.tensor(
                [float(tags[b, k, cells[b, m, k, 1], cells[b, m, k, 0]]) for k in range(K) if inside[b, m, k]]
            )
            if len(own):
                means.append(float(own.mean()))
                spreads.append(float(((own - own.mean()) ** 2).mean()))
        n = len(means)
        pairs = [
            math.exp(-((p - q) ** 2)) for i, p in enumerate(means) for j, q in enumerate(means) if i != j
        ]
        pull.append(sum(spreads) / n if n else 0.0)
        push.append(0.5 * sum(pairs) / (n * (n - 1)) if n > 1 else 0.0)
    terms = embedding_losses(tags, cells, inside)
    assert float(terms["pull"]) == pytest.approx(sum(pull) / B, rel=1e-5)
    assert float(terms["push"]) == pytest.approx(sum(push) / B, rel=1e-5)


@pytest.mark.parametrize("people", [0, 3])
def test_nobody_costs_nothing_but_keeps_the_graph(people: int) -> None:
    tags = torch.randn(2, 3, 4, 4, requires_grad=True)
    terms = embedding_losses(
        tags, torch.zeros(2, people, 3, 2).long(), torch.zeros(2, people, 3, dtype=torch.bool)
    )
    assert not terms["pull"].any() and not terms["push"].any()
    (terms["pull"] + terms["push"]).backward()
    assert tags.grad is not None and not tags.grad.any()


def test_gradients_pull_and_push_the_right_way() -> None:
    tags = torch.tensor([[[[0.0, 1.0]], [[0.2, 1.4]]]], requires_grad=True)
    cells = torch.tensor([[[[0, 0], [0, 0]], [[1, 0], [1, 0]]]])
    terms = embedding_losses(tags, cells, torch.ones(1, 2, 2, dtype=torch.bool))
    (g,) = torch.autograd.grad(terms["pull"], tags, retain_graph=True)
    assert g[0, 0, 0, 0] < 0 < g[0, 1, 0, 0], "a step down brings them together"
    (g,) = torch.autograd.grad(terms["push"], tags)
    assert (g[0, :, 0, 0] > 0).all() and (g[0, :, 0, 1] < 0).all()


def test_joints_come_from_the_trunk_outwards() -> None:
    for skeleton in (DHP19_SKELETON, DHP19_15_SKELETON, SMPL_SKELETON):
        order = joint_order(skeleton)
        assert sorted(order) == list(range(len(skeleton.joints)))
        place = {joint: i for i, joint in enumerate(order)}
        assert all(place[parent] < place[child] for parent, child in skeleton.bones)
    assert SMPL_SKELETON.joints[joint_order(SMPL_SKELETON)[0]] == "pelvis"
    names = tuple(reversed(DHP19_SKELETON.joints))
    assert joint_order(DHP19_SKELETON, names) == tuple(reversed(range(J)))
    with pytest.raises(ShapeError, match="each joint of dhp19 once"):
        joint_order(DHP19_SKELETON, names[:-1])


@pytest.mark.parametrize("dimensions", [1, 2])
def test_distinct_tags_group_perfectly(dimensions: int) -> None:
    rng = np.random.default_rng(dimensions)
    P, N = 4, 6
    centre = np.arange(P)[:, None] * 1.7 * np.ones(dimensions)
    owner = np.stack([rng.permutation(N) for _ in range(J)])  # peaks 4 and 5 of the permutation are noise
    tags = np.where(owner[..., None] < P, centre[np.minimum(owner, P - 1)], 0.0) + rng.uniform(
        -0.2, 0.2, (J, N, dimensions)
    )
    score = np.where(owner < P, rng.uniform(0.3, 1, (J, N)), 0.05)
    people = group_joints(score, tags, ORDER, detection=0.1, tag_distance=1.0)
    assert people.shape == (P, J) and (people >= 0).all()
    owners = owner[np.arange(J), people]
    assert (owners == owners[:, :1]).all(), "nobody has another's joint"
    assert sorted(owners[:, 0]) == list(range(P))


def test_a_peak_far_from_everybody_starts_a_person() -> None:
    tags = np.zeros((2, 2, 1))
    tags[1] = [[0.4], [5.0]]
    people = group_joints(
        np.full((2, 2), 0.9) * [[1, 0], [1, 1]], tags, (0, 1), detection=0.1, tag_distance=1.0
    )
    assert people.tolist() == [[0, 0], [-1, 1]]


def test_identical_tags_still_give_each_joint_once() -> None:
    score = np.linspace(0.5, 0.9, 3 * J).reshape(J, 3)
    people = group_joints(score, np.zeros((J, 3, 1)), ORDER, detection=0.1, tag_distance=1.0)
    assert people.shape == (3, J)
    assert (np.sort(people, axis=0) == np.arange(3)[:, None]).all()


def test_no_peaks_no_people() -> None:
    empty = group_joints(
        np.full((J, 3), -np.inf), np.zeros((J, 3, 1)), ORDER, detection=0.1, tag_distance=1.0
    )
    assert empty.shape == (0, J)


def scene(people: int = 2, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """True joints (M, J, 2), exact maps (1, J, 64, 96) and tags (1, J, 1, 64, 96): 2 m around person m."""
    rng = np.random.default_rng(seed)
    uv = torch.from_numpy(rng.integers(6, 24, (people, J, 2))).float()
    uv[..., 0] += torch.arange(people)[:, None] * 32
    uv[..., 1] += 20
    heat = people_heatmaps(uv[None], torch.ones(1, people, J, dtype=torch.bool), stride=1, size=(64, 96))
    tags = (torch.arange(96) // 32 * 2.0).expand(1, J, 1, 64, 96).clone()
    return uv, heat, tags


def test_two_people_are_found_where_they_are() -> None:
    uv, heat, tags = scene()
    (people,) = find_people(heat, tags, ORDER, GroupingOptions())
    assert people.uv.shape == (2, J, 2)
    first = int(people.uv[0, :, 0].mean() > 32)
    assert np.array_equal(people.uv, uv[[first, 1 - first]].numpy())
    assert (people.confidence == 1).all() and (people.score == 1).all()
    inner = joint_boxes(people.uv, people.confidence, size=(64, 96), margin=0.0)
    assert np.array_equal(inner[:, :2], people.uv.min(1)) and np.array_equal(inner[:, 2:], people.uv.max(1))
    assert (people.box[:, :2] < inner[:, :2]).all() and (people.box[:, 2:] > inner[:, 2:]).all()


def test_a_weak_joint_is_found_by_its_tag() -> None:
    """Below the detection threshold, beside a stronger response that belongs to somebody else."""
    uv, heat, tags = scene()
    own, hand = int(uv[0, 0, 0] > 32), DHP19_SKELETON.index("hand_left")
    u, v = uv[own, hand].int().tolist()
    heat[0, hand, :, :32] *= 0.08
    (people,) = find_people(heat, tags, ORDER, GroupingOptions())
    who = int(np.argmin(people.uv[:, 0, 0]))
    assert people.uv[who, hand].tolist() == [u, v]
    assert people.confidence[who, hand] == pytest.approx(0.08)
    assert people.score[who] == pytest.approx((J - 1) / J), "the score counts found joints only"
    (plain,) = find_people(heat, tags, ORDER, GroupingOptions(refine=False))
    assert np.isnan(plain.uv[who, hand]).all() and plain.confidence[who, hand] == 0


def test_an_empty_image_shows_nobody() -> None:
    (people,) = find_people(torch.zeros(1, J, 32, 32), torch.zeros(1, J, 1, 32, 32), ORDER, GroupingOptions())
    assert people.uv.shape == (0, J, 2) and people.box.shape == (0, 4) and people.score.shape == (0,)
    broken = torch.full((1, J, 32, 32), float("nan"))
    assert len(find_people(broken, broken[:, :, None], ORDER, GroupingOptions())[0].uv) == 0


def test_a_map_of_one_value_does_not_crash() -> None:
    flat = torch.full((1, J, 16, 16), 0.5)
    (people,) = find_people(flat, torch.zeros(1, J, 1, 16, 16), ORDER, GroupingOptions())
    assert len(people.uv) == 1


def test_limits_on_people_hold() -> None:
    _, heat, tags = scene(people=3)
    options = GroupingOptions()
    assert len(find_people(heat, tags, ORDER, options)[0].uv) == 3
    assert len(find_people(heat, tags, ORDER, replace(options, max_people=2))[0].uv) <= 2
    single = torch.zeros_like(heat)
    single[:, :2] = heat[:, :2]
    assert len(find_people(single, tags, ORDER, options)[0].uv) == 0, "two joints are nobody"
    assert len(find_people(single, tags, ORDER, replace(options, min_joints=1))[0].uv) == 3
    assert len(find_people(single, tags, ORDER, replace(options, min_joints=1, min_score=0.5))[0].uv) == 0


def test_peaks_of_a_plateau_and_of_a_full_map() -> None:
    heat = torch.zeros(1, 9, 9)
    heat[0, 3:5, 3:5] = 0.7
    heat[0, 8, 8] = 0.9
    value, at = top_peaks(heat, count=3)
    assert value[0, :2].tolist() == pytest.approx([0.9, 0.7])
    assert at[0, :2].tolist() == [[8, 8], [3, 3]]
    assert quarter_shift(heat, at)[0, :2].tolist() == [[8.25, 8.25], [3.25, 3.25]]
    value, at = top_peaks(torch.rand(2, 3, 3), count=30)
    assert value.shape == (2, 30) and at.shape == (2, 30, 2)
    assert torch.isfinite(value).sum(1).tolist() == [1, 1] and int(at.max()) <= 2


def test_boxes_and_similarities_by_hand() -> None:
    uv = np.array([[[10, 20], [30, 60]], [[np.nan, 0], [np.nan, 1]]], np.float32)
    box = joint_boxes(uv, np.ones((2, 2), np.float32), size=(64, 64), margin=0.25)
    assert box[0].tolist() == [0, 10, 40, 63] and np.isnan(box[1]).all()
    with pytest.raises(ShapeError, match="confidence"):
        joint_boxes(uv, np.ones((2, 3), np.float32), size=(64, 64))
    boxes = np.array([[0, 0, 2, 2], [1, 1, 3, 3], [5, 5, 5, 5]])
    assert box_iou(boxes[:2], boxes).tolist() == [[1, pytest.approx(1 / 7), 0], [pytest.approx(1 / 7), 1, 0]]
    a = np.zeros((1, 2, 2))
    similar = keypoint_similarity(
        a, a + np.array([3, 4]), np.array([[[True, False]]]), area=np.array([[100.0]]), falloff=0.5
    )
    assert similar[0, 0] == pytest.approx(math.exp(-25 / (2 * 100 * 0.25)))
    assert keypoint_similarity(a, a * np.nan, np.zeros((1, 1, 2), bool), area=np.ones((1, 1)))[0, 0] == 0


def test_wrong_options_are_refused() -> None:
    for wrong in (
        {"window": 4},
        {"max_people": 0},
        {"tag_distance": 0.0},
        {"margin": -1.0},
        {"detection": 1.0},
    ):
        with pytest.raises(ShapeError):
            GroupingOptions(**wrong)  # type: ignore[arg-type]
