"""Bodies that follow events on their contours."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from eventhpe.body.default import open_body
from eventhpe.errors import ShapeError
from eventhpe.geometry.rotation import geodesic_angle, rotvec_to_rotmat
from eventhpe.shapenet.contour_tracker import ContourConfig, ContourTracker, _turn_to_rotvec
from eventhpe.shapenet.joint_maps import CropJoints, joints_in_crop
from eventhpe.shapenet.state import StartState, WindowEvidence

CROP = torch.tensor([0.0, 0.0, 0.4])
PARTS = ContourConfig().parts
SHOULDER, KNEE = 16, 4
NOTHING = [torch.zeros(0, 2)] * PARTS


def standing() -> tuple[Tensor, Tensor, Tensor]:
    rotmats = torch.eye(3).repeat(24, 1, 1)
    rotmats[0] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    betas = torch.zeros(10)
    for joint, angle in ((SHOULDER, -0.9), (17, 0.9)):  # arms down
        rotmats[joint] = turn(2, angle)
    return rotmats, betas, torch.tensor([0.0, 0.2, 3.0])


def turn(axis: int, angle: float) -> Tensor:
    return torch.from_numpy(rotvec_to_rotmat(np.eye(3)[axis] * angle)).float()


def fresh(config: ContourConfig | None = None) -> ContourTracker:
    tracker = ContourTracker(open_body(), config)
    rotmats, betas, transl = standing()
    tracker.reset(StartState(rotmats=rotmats[None], betas=betas[None], transl=transl[None]))
    return tracker


def events_of(tracker: ContourTracker, rotmats: Tensor, transl: Tensor, joint: int | None) -> Tensor:
    """Rays of the contours of a body; of what a joint carries along only, if one is named."""
    contour = tracker.contours.of(rotmats, torch.zeros(10), transl, CROP)
    chosen = slice(None) if joint is None else contour.below[:, joint] > 0.9
    points = contour.points[chosen]
    return points[:, :2] / points[:, 2:]


def joints_of(rotmats: Tensor, transl: Tensor) -> Tensor:
    return open_body().joints(rotmats, torch.zeros(10), transl)


def test_an_arm_that_swings_is_followed_and_the_rest_hardly_moves() -> None:
    tracker = fresh()
    rotmats, _, transl = standing()
    begin = rotmats.clone()
    for _ in range(10):
        edges = []
        for _ in range(PARTS):
            rotmats[SHOULDER] = turn(2, 0.15 / PARTS) @ rotmats[SHOULDER]  # sideways, 170 degrees/s
            edges.append(events_of(tracker, rotmats, transl, SHOULDER))
        found, place = tracker.step(edges, CROP, None)
    truth, start = joints_of(rotmats, transl), joints_of(begin, transl)
    off = joints_of(found, place) - truth
    error, across = off.norm(dim=-1), off[:, :2].norm(dim=-1)
    moved = (start - truth).norm(dim=-1)
    wrist = 20
    assert moved[wrist] > 0.5 and across[wrist] < 0.1 * moved[wrist]
    assert error[wrist] < 0.3 * moved[wrist]  # depth is seen least
    still = [j for j in range(24) if j not in (13, 16, 18, 20, 22)]
    assert error[still].mean() < 0.2 * moved[wrist]  # priors know that legs swing with arms


def test_a_body_that_walks_across_is_followed() -> None:
    tracker = fresh()
    rotmats, _, transl = standing()
    for _ in range(8):
        edges = []
        for _ in range(PARTS):
            transl = transl + torch.tensor([0.05 / PARTS, 0, 0])  # 1 m/s
            edges.append(events_of(tracker, rotmats, transl, None))
        _, place = tracker.step(edges, CROP, None)
    assert abs(place[0] - transl[0]) < 0.04 and place[0] > 0.3


def test_without_events_and_evidence_only_the_posture_speaks() -> None:
    tracker = fresh(ContourConfig(posture=0.0))
    rotmats, _, transl = standing()
    for _ in range(5):
        found, place = tracker.step(NOTHING, CROP, None)
    torch.testing.assert_close(found, rotmats, atol=1e-5, rtol=0)
    torch.testing.assert_close(place, transl, atol=1e-6, rtol=0)
    # A knee bent backwards is no posture: little by little it is given up.
    tracker = fresh()
    rotmats[KNEE] = turn(0, -0.8)
    tracker.reset(StartState(rotmats=rotmats[None], betas=torch.zeros(1, 10), transl=transl[None]))
    for _ in range(30):
        found, _ = tracker.step(NOTHING, CROP, None)
    bent = geodesic_angle(found[KNEE], torch.eye(3))
    assert float(bent) < 0.6


@pytest.mark.parametrize("told", ["rotations", "joints"])
def test_what_the_network_says_moves_what_makes_no_events(told: str) -> None:
    tracker = fresh()
    rotmats, _, transl = standing()
    other = rotmats.clone()
    other[SHOULDER] = turn(2, 0.5) @ rotmats[SHOULDER]
    uvd = joints_in_crop(joints_of(other, transl)[None], CROP[None])[0]
    sure = torch.ones(24)
    evidence = {
        "rotations": WindowEvidence(other, transl, None),
        "joints": WindowEvidence(rotmats, transl, CropJoints(uvd, sure)),
    }[told]
    before = (joints_of(rotmats, transl) - joints_of(other, transl)).norm(dim=-1)[20]
    for _ in range(20):
        found, place = tracker.step(NOTHING, CROP, evidence)
    after = (joints_of(found, place) - joints_of(other, transl)).norm(dim=-1)[20]
    assert after < 0.75 * before


def test_the_network_brings_a_lost_body_back() -> None:
    tracker = fresh()
    rotmats, _, transl = standing()
    there = transl + torch.tensor([0.5, 0.0, 0.6])
    first = None
    for _ in range(60):
        _, place = tracker.step(NOTHING, CROP, WindowEvidence(rotmats, there, None))
        first = place if first is None else first
    assert first is not None and (first - transl).norm() < 0.1  # not at once
    assert (place - there).norm() < 0.2 * (transl - there).norm()


def test_events_that_meet_no_contour_make_the_network_heard() -> None:
    rotmats, _, transl = standing()
    there = transl + torch.tensor([0.5, 0.0, 0.0])
    left = {}
    for gain in (0.0, 8.0):
        tracker = fresh(ContourConfig(lost_gain=gain))
        events = events_of(tracker, rotmats, there, None)
        inside = events[events[:, 0] > 0.15]  # nowhere near the body's contours
        for _ in range(8):
            _, place = tracker.step([inside] * PARTS, CROP, WindowEvidence(rotmats, there, None))
        left[gain] = float((place - there).norm())
    assert left[8.0] < 0.6 * left[0.0] and left[0.0] < 0.5


def test_jacobian_of_contours_is_that_of_the_skin() -> None:
    tracker = fresh()
    rotmats, _, transl = standing()
    body = tracker.body
    below = tracker.contours.below
    posed = tracker._pose(rotmats, transl, torch.zeros(75))
    some = torch.arange(0, body.num_vertices, 97)
    points = body.vertices(rotmats, torch.zeros(10), transl)[some]
    jacobian = tracker._carry(posed, points, below[some])
    for column in (0, 4, 3 * SHOULDER + 1, 3 * KNEE, 3 * 18 + 1, 73):
        step = torch.zeros(75)
        step[column] = 1e-2
        after, before = (tracker._pose(rotmats, transl, sign * step) for sign in (1, -1))
        # Linear blending and pose offsets make the skin move a little otherwise.
        got = (
            body.vertices(after.rotmats, torch.zeros(10), after.transl)
            - body.vertices(before.rotmats, torch.zeros(10), before.transl)
        )[some] / 2e-2
        off = (got - jacobian[..., column]).norm(dim=-1)
        assert off.mean() < 0.02 * max(1.0, float(got.norm(dim=-1).max())) and off.max() < 0.15


def test_small_turns_change_rotation_vectors_as_told() -> None:
    rotvec = torch.tensor([[0.3, -0.8, 0.5], [1e-5, 0.0, 0.0], [0.0, 1.9, -0.4]])
    jacobian = _turn_to_rotvec(rotvec)
    from roma import rotmat_to_rotvec, rotvec_to_rotmat

    for axis in range(3):
        small = torch.zeros(3)
        small[axis] = 1e-3
        ahead = rotmat_to_rotvec(rotvec_to_rotmat(small) @ rotvec_to_rotmat(rotvec))
        behind = rotmat_to_rotvec(rotvec_to_rotmat(-small) @ rotvec_to_rotmat(rotvec))
        torch.testing.assert_close((ahead - behind) / 2e-3, jacobian[..., axis], atol=2e-3, rtol=0)


def test_it_starts_with_a_body_and_takes_whole_windows() -> None:
    tracker = ContourTracker(open_body())
    with pytest.raises(ShapeError, match="reset"):
        tracker.step(NOTHING, CROP, None)
    with pytest.raises(ShapeError, match="B = 1"):
        tracker.reset(
            StartState(
                rotmats=torch.eye(3).repeat(2, 24, 1, 1),
                betas=torch.zeros(2, 10),
                transl=torch.zeros(2, 3),
            )
        )
    with pytest.raises(ShapeError, match=f"{PARTS} sets of rays; got 1"):
        fresh().step([torch.zeros(0, 2)], CROP, None)
