"""Blending: smooth resampling, alignment, cross-fades on the floor, paths that stay near."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from eventhpe.body.blend import (
    about_vertical,
    align,
    cross_fade,
    heading,
    hold_stance,
    keep_near,
    lowest_sole,
    mean_heading,
    sample_motion,
)
from eventhpe.body.choreography import perform
from eventhpe.body.default import open_body_arrays
from eventhpe.body.fk import body_joints, forward_kinematics, sole_points
from eventhpe.body.params import BodyParams
from eventhpe.body.retarget import resample
from eventhpe.errors import ShapeError
from eventhpe.geometry.rotation import rotvec_to_rotmat


@pytest.fixture(scope="module")
def rest() -> np.ndarray:
    arrays = open_body_arrays()
    return arrays["J_regressor"].astype(np.float64) @ arrays["v_template"]


def movement(
    name: str, rest: np.ndarray, *, seconds: float = 2.0, fps: float = 60, seed: int = 1
) -> BodyParams:
    return perform(name, duration_s=seconds, fps=fps, rng=np.random.default_rng(seed), rest_joints=rest)


def single(params: BodyParams, k: int) -> BodyParams:
    return replace(
        params,
        betas=params.betas[k],
        global_orient=params.global_orient[k],
        body_pose=params.body_pose[k],
        transl=params.transl[k],
    )


def turning(degrees_per_frame: np.ndarray, joint: int = 0) -> BodyParams:
    """A body of which one joint turns about z by given angles from frame to frame."""
    T = len(degrees_per_frame)
    pose = np.zeros((T, 24, 3))
    pose[:, joint, 2] = np.radians(degrees_per_frame)
    return BodyParams(
        betas=np.zeros((T, 10)),
        global_orient=pose[:, 0],
        body_pose=pose[:, 1:],
        transl=np.zeros((T, 3)),
        frame="world",
    )


def test_samples_at_frames_are_the_frames(rest):
    p = movement("kick", rest)
    got = sample_motion(p, np.arange(120.0))
    np.testing.assert_allclose(rotvec_to_rotmat(got.pose), rotvec_to_rotmat(p.pose), atol=1e-12)
    np.testing.assert_allclose(got.transl, p.transl, atol=1e-12)
    beyond = sample_motion(p, [-3.0, 500.0])
    np.testing.assert_allclose(beyond.transl, p.transl[[0, -1]], atol=1e-12)


def test_samples_follow_the_movement_closer_than_linear_ones(rest):
    # A movement is a smooth function of time: 240 frames a second are the truth for 30 a second.
    coarse, fine = movement("kick", rest, fps=30), movement("kick", rest, fps=240)
    times = np.arange(8 * 58 + 1) / 8
    truth = body_joints(fine, rest)[: len(times)]
    cubic = np.linalg.norm(body_joints(sample_motion(coarse, times), rest) - truth, axis=-1).max()
    linear = resample(coarse, np.arange(60) / 30 * 1e6, times / 30 * 1e6)
    assert cubic < 0.003
    assert cubic < 0.5 * np.linalg.norm(body_joints(linear, rest) - truth, axis=-1).max()


def test_velocities_of_samples_are_continuous():
    swing = turning(40 * np.sin(0.7 * np.arange(12)), joint=17)

    def roughest(step: float) -> float:
        at = sample_motion(swing, np.arange(0, 11, step)).pose[:, 17, 2]
        return float(np.abs(np.diff(at, 2)).max() / step)

    assert roughest(0.005) < 0.3 * roughest(0.02), "change of velocity shrinks with the step"


@pytest.mark.parametrize("jump_deg", [170.0, 190.0])
def test_samples_cross_half_a_turn(jump_deg):
    # Rotation vectors wrap at 180 degrees; the motion does not.
    angles = np.array([150.0, 160.0, jump_deg, jump_deg + 10])
    wrapped = np.where(angles > 180, angles - 360, angles)
    got = sample_motion(turning(wrapped), [1.5]).global_orient[0, 2]
    turned = np.degrees(got) % 360
    assert 160 < turned < jump_deg


def test_one_frame_cannot_be_interpolated():
    with pytest.raises(ShapeError, match="at least 2 frames"):
        sample_motion(turning(np.zeros(1)), [0.0])


@pytest.mark.parametrize("bend_deg", [0.0, 60.0, 120.0])
@pytest.mark.parametrize("yaw_deg", [-150.0, 20.0, 90.0])
def test_heading_of_a_person_who_bends(bend_deg, yaw_deg):
    root = Rotation.from_euler("YX", [yaw_deg, bend_deg], degrees=True).as_rotvec()
    assert np.degrees(heading(root)) == pytest.approx(yaw_deg, abs=1e-9)


def test_mean_heading_is_where_the_chest_faces():
    roots = Rotation.from_euler("Y", [[20], [40], [60]], degrees=True).as_rotvec()
    assert np.degrees(mean_heading(roots)) == pytest.approx(40)
    assert np.degrees(mean_heading(about_vertical_rotvec(-130))) == pytest.approx(-130)


def about_vertical_rotvec(degrees: float) -> np.ndarray:
    R = Rotation.from_matrix(about_vertical(np.radians(degrees)))
    return R.as_rotvec()[None]


def test_aligned_motions_share_place_and_heading_and_keep_their_shape(rest):
    a, b = movement("walk", rest), movement("walk_circle", rest, seed=4)
    moved = align(b, single(b, 70), single(a, 30), rest[0])
    ja, jb, before = body_joints(a, rest), body_joints(moved, rest), body_joints(b, rest)
    np.testing.assert_allclose(jb[70, 0, [0, 2]], ja[30, 0, [0, 2]], atol=1e-12)
    assert heading(moved.global_orient[70]) == pytest.approx(heading(a.global_orient[30]))
    np.testing.assert_allclose(jb[..., 1], before[..., 1], atol=1e-12, err_msg="heights")

    def distances(j: np.ndarray) -> np.ndarray:
        return np.linalg.norm(j[::10, None] - j[None, ::10], axis=-1)

    np.testing.assert_allclose(distances(jb), distances(before), atol=1e-9)


def test_a_cross_fade_begins_and_ends_in_the_motions(rest):
    a, b = movement("squat", rest), movement("wave", rest)
    w = np.clip(np.linspace(-0.5, 1.5, 120), 0, 1)
    got = cross_fade(a, b, w, rest)
    assert np.array_equal(got.pose[w == 0], a.pose[w == 0]) and np.array_equal(
        got.transl[w == 0], a.transl[w == 0]
    )
    assert np.array_equal(got.pose[w == 1], b.pose[w == 1])
    half = cross_fade(a, b, np.full(120, 0.5), rest)
    to_a = Rotation.from_matrix((Rm(a).swapaxes(-1, -2) @ Rm(half)).reshape(-1, 3, 3)).magnitude()
    to_b = Rotation.from_matrix((Rm(b).swapaxes(-1, -2) @ Rm(half)).reshape(-1, 3, 3)).magnitude()
    np.testing.assert_allclose(to_a, to_b, atol=1e-6, err_msg="half-way on the great arc")


def Rm(params: BodyParams) -> np.ndarray:
    return rotvec_to_rotmat(params.pose)


def test_feet_stay_on_the_floor_in_a_cross_fade(rest):
    a, b = movement("squat", rest, seed=2), movement("stand_sway", rest)
    w = 0.5 - 0.5 * np.cos(np.linspace(0, np.pi, 120))
    got = cross_fade(a, b, w, rest)
    positions, rotations = forward_kinematics(rest, got.pose, got.transl)
    lowest = sole_points(rest, positions, rotations)[..., 1].min(axis=1)
    assert np.abs(lowest).max() < 0.01
    naive = replace(got, transl=a.transl + w[:, None] * (b.transl - a.transl))
    positions, rotations = forward_kinematics(rest, naive.pose, naive.transl)
    assert np.abs(sole_points(rest, positions, rotations)[..., 1].min(axis=1)).max() > 0.03, (
        "it had to be corrected"
    )


def test_a_standing_foot_stays_where_it_is_in_a_cross_fade(rest):
    def slide(p: BodyParams) -> float:
        positions, rotations = forward_kinematics(rest, p.pose, p.transl)
        soles = sole_points(rest, positions, rotations)
        low = soles[..., 1].argmin(axis=1)[:-1]
        step = np.diff(soles, axis=0)[np.arange(len(low)), low]
        return float(np.linalg.norm(step[:, [0, 2]], axis=1).sum())

    a, b = movement("walk", rest), movement("stand_sway", rest)
    a, b = (replace_frames(p, slice(60, 95)) for p in (a, b))
    b = align(b, single(b, 17), single(a, 17), rest[0])
    w = 0.5 - 0.5 * np.cos(np.linspace(0, np.pi, 35))
    mixed = cross_fade(a, b, w, rest)
    shift = hold_stance(a, b, mixed, w, rest)
    held = replace(mixed, transl=mixed.transl + shift)
    assert not shift[0].any() and not shift[:, 1].any()
    assert slide(held) < 0.6 * slide(mixed) and slide(mixed) > 0.15
    np.testing.assert_allclose(hold_stance(a, a, a, w, rest), 0, atol=1e-12)


def replace_frames(params: BodyParams, frames: slice) -> BodyParams:
    return replace(
        params,
        betas=params.betas[frames],
        global_orient=params.global_orient[frames],
        body_pose=params.body_pose[frames],
        transl=params.transl[frames],
    )


def test_a_joint_does_not_change_its_way_round_in_a_cross_fade():
    # The difference between the two courses passes through half a turn in the middle of the fade.
    n = 41
    a, b = turning(np.zeros(n), joint=16), turning(wrap(np.linspace(150, 200, n)), joint=16)
    got = cross_fade(a, b, np.linspace(0, 1, n), np.zeros((24, 3)) + np.arange(24)[:, None] * 0.1)
    step = np.swapaxes(Rm(got)[:-1, 16], -1, -2) @ Rm(got)[1:, 16]
    assert np.degrees(Rotation.from_matrix(step).magnitude().max()) < 8


def wrap(degrees: np.ndarray) -> np.ndarray:
    return np.mod(degrees + 180, 360) - 180


def test_what_cannot_be_blended_is_refused(rest):
    a = movement("squat", rest)
    with pytest.raises(ShapeError, match="one length"):
        cross_fade(a, a, np.zeros(3), rest)
    with pytest.raises(ShapeError, match="never mix"):
        cross_fade(a, replace(a, model="smpl"), np.full(120, 0.5), rest)
    with pytest.raises(ShapeError, match="world"):
        cross_fade(replace(a, frame="camera"), replace(a, frame="camera"), np.full(120, 0.5), rest)


def test_level_soles_have_their_own_height(rest):
    height = lowest_sole(rest, np.zeros((1, 24, 3)), np.zeros((1, 3)))
    positions, rotations = forward_kinematics(rest, np.zeros((1, 24, 3)), np.zeros((1, 3)))
    assert height[0] == pytest.approx(sole_points(rest, positions, rotations)[..., 1].min(), abs=1e-3)


def test_a_short_path_is_left_alone_and_a_long_one_held():
    t = np.arange(0, 8, 0.01)
    sway = np.stack([0.1 * np.sin(2 * np.pi * t), 0.2 * np.sin(1.0 * t)], axis=1)
    assert np.abs(keep_near(sway, 1.0, step_s=0.01)).max() == 0
    walk = sway + np.stack([np.zeros_like(t), 1.2 * (t - 4)], axis=1)
    held = walk + keep_near(walk, 1.0, step_s=0.01)
    assert np.linalg.norm(held, axis=1).max() <= 1.0
    middle = np.abs(walk[:, 1]) < 0.3
    np.testing.assert_allclose(
        held[middle], walk[middle], atol=1e-9, err_msg="near the origin nothing slides"
    )
    quick = np.abs(np.diff(held[:, 0], 2)).max()
    assert quick == pytest.approx(np.abs(np.diff(walk[:, 0], 2)).max(), rel=0.2), "steps stay whole"


def test_a_sprint_that_ends_is_held_too():
    t = np.arange(0, 4, 0.01)
    sprint = np.stack([6.0 * np.clip(t, 1, 2), np.zeros_like(t)], axis=1) - [9.0, 0.0]
    held = sprint + keep_near(sprint, 1.0, step_s=0.01)
    assert np.linalg.norm(held, axis=1).max() <= 1.0
    assert np.abs(np.diff(held[:, 0])).max() <= 0.06 + 1e-9, "never faster than the runner"


@pytest.mark.parametrize(("radius", "step"), [(0.0, 0.01), (1.0, 0.0), (-1.0, 0.01)])
def test_numbers_that_make_no_sense_are_refused(radius, step):
    with pytest.raises(ShapeError, match="radius_m"):
        keep_near(np.zeros((5, 2)), radius, step_s=step)
