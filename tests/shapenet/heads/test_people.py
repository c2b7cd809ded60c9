"""One body is one person, two people who stand together are two."""

from __future__ import annotations

import numpy as np

from eventhpe.shapenet.heads.people import People, best_overlaps, joint_boxes, nobody, without_repetitions

RNG = np.random.default_rng(0)
BODY = RNG.uniform((40, 20), (90, 180), (15, 2)).astype(np.float32)
SIZE = (192, 256)


def people(*bodies: np.ndarray, missing: dict[int, list[int]] | None = None) -> People:
    uv = np.stack(bodies).astype(np.float32)
    confidence = np.full(uv.shape[:2], 0.5, np.float32)
    for p, joints in (missing or {}).items():
        uv[p, joints], confidence[p, joints] = np.nan, 0.0
    score = np.linspace(0.5, 0.1, len(uv)).astype(np.float32)
    return People(uv, confidence, score, joint_boxes(uv, confidence, size=SIZE))


def test_a_body_that_is_found_twice_stays_once() -> None:
    near = BODY + RNG.normal(0, 3, BODY.shape)
    kept = without_repetitions(people(BODY, near, BODY + 1))
    assert len(kept.score) == 1 and kept.score[0] == np.float32(0.5)
    np.testing.assert_array_equal(kept.uv[0], BODY)


def test_people_side_by_side_and_before_each_other_stay() -> None:
    beside, child = BODY + np.float32([70, 0]), (BODY - BODY.mean(0)) * 0.45 + BODY.mean(0)
    assert len(without_repetitions(people(BODY, beside, child)).score) == 3


def test_only_joints_of_both_are_compared() -> None:
    near = BODY + 2
    assert len(without_repetitions(people(BODY, near, missing={1: list(range(10))})).score) == 1
    # Without a joint in common nothing tells them to be the same.
    apart = people(BODY, near, missing={0: list(range(8)), 1: list(range(8, 15))})
    assert len(without_repetitions(apart).score) == 2


def test_nobody() -> None:
    assert without_repetitions(nobody(15)).uv.shape == (0, 15, 2)


def test_each_found_box_meets_one_person() -> None:
    near, far = [10.0, 10.0, 30.0, 50.0], [80.0, 80.0, 90.0, 90.0]
    half = [10.0, 10.0, 30.0, 30.0]
    assert best_overlaps(np.array([half, near, far]), np.array([near, far])).tolist() == [0.0, 1.0, 1.0]
    assert best_overlaps(np.array([near]), np.zeros((0, 4))).tolist() == [0.0]
    assert best_overlaps(np.zeros((0, 4)), np.array([near])).shape == (0,)
