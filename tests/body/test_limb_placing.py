"""Inverse kinematics of legs and arms against forward kinematics, and flights against Newton."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from eventhpe.body.arm_reach import arm_length, reach
from eventhpe.body.default import open_body_arrays
from eventhpe.body.fk import forward_kinematics, sole_points
from eventhpe.body.flight import GRAVITY, Knot, air_time, bounces, path_through
from eventhpe.body.footwork import FootPath, FreeLeg, place, stand, tallest
from eventhpe.body.stage import Stage, ease
from eventhpe.geometry.skeleton import SMPL_SKELETON

Array = NDArray[np.float64]
T = 40


@pytest.fixture(scope="module")
def rest() -> Array:
    arrays = open_body_arrays()
    return np.asarray(arrays["J_regressor"] @ arrays["v_template"], dtype=np.float64)


@pytest.fixture
def make_stage(rest: Array) -> Callable[..., Stage]:
    def make(seed: int = 0, heading: float = 0.0, scale: float = 1.0) -> Stage:
        s = Stage(
            np.arange(T) / 20,
            2.0,
            np.random.default_rng(seed),
            1.0,
            1.0,
            heading,
            rest_joints=rest * scale,
            side="left",
        )
        s.body(pitch=s.noise(8), roll=s.noise(4), yaw=s.noise(6), flex=10, twist=s.noise(10), side=s.noise(4))
        return s

    return make


def posed(s: Stage) -> tuple[Array, Array, Array]:
    """Joints, rotations and soles in the performer's frame (heading 0), the first pelvis over x = z = 0."""
    params = s.to_params("open")
    positions, rotations = forward_kinematics(s.rest_joints, params.pose, params.transl)
    return positions, rotations, sole_points(s.rest_joints, positions, rotations)


@pytest.mark.parametrize("scale", [0.85, 1.0, 1.15])
def test_planted_feet_stand_where_they_were_put(make_stage: Callable[..., Stage], scale: float) -> None:
    s = make_stage(3, scale=scale)
    feet = {
        "left": FootPath(x=0.12, z=0.15, turn_out=20.0, lift=0.07),
        "right": FootPath(x=-0.1, z=-0.1, turn_out=5.0),
    }
    x, z = s.noise(0.02), s.noise(0.02)
    place(s, feet, height=tallest(s, feet, x, z) - 0.08, x=x, z=z)
    positions, rotations, soles = posed(s)
    origin = [x[0], 0.0, z[0]]
    for side, first in (("left", 0), ("right", 3)):
        foot = feet[side]
        ankle = positions[:, SMPL_SKELETON.index(f"ankle_{side}")] + origin
        np.testing.assert_allclose(ankle[:, 0], foot.x, atol=1e-3)
        np.testing.assert_allclose(ankle[:, 2], foot.z, atol=1e-3)
        assert np.abs(soles[:, first : first + 3, 1] - foot.lift).max() < 1.5e-3
        ahead = rotations[:, SMPL_SKELETON.index(f"ankle_{side}"), :, 2]
        out = np.radians(foot.turn_out) * (1 if side == "left" else -1)
        np.testing.assert_allclose(ahead, np.tile([np.sin(out), 0, np.cos(out)], (T, 1)), atol=1e-9)


def test_heels_rise_about_the_ball_and_toes_about_the_heel(make_stage: Callable[..., Stage]) -> None:
    for sole, fixed in ((30.0, 1), (-20.0, 0)):
        s = make_stage(1)
        feet = {"left": FootPath(x=0.1, sole=sole), "right": FootPath(x=-0.1)}
        place(s, feet, height=tallest(s, feet) - 0.05)
        flat = {"left": FootPath(x=0.1), "right": FootPath(x=-0.1)}
        _, rotations, pitched = posed(s)
        place(s, flat, height=tallest(s, feet) - 0.05)
        level = posed(s)[2]
        assert np.abs(pitched[:, fixed] - level[:, fixed]).max() < 1e-3
        ahead = rotations[:, SMPL_SKELETON.index("ankle_left"), :, 2]
        np.testing.assert_allclose(ahead[:, 1], -np.sin(np.radians(sole)), atol=1e-9)
        assert pitched[:, :3, 1].min() > -1e-3


def test_a_leg_too_short_stays_straight_and_points_at_its_place(make_stage: Callable[..., Stage]) -> None:
    s = make_stage(2)
    feet = {"left": FootPath(x=0.1), "right": FootPath(x=-0.1)}
    place(s, feet, height=tallest(s, feet) + 0.2)
    positions = posed(s)[0]
    knee = s.pose.rotvec[:, SMPL_SKELETON.index("knee_left"), 0]
    assert np.degrees(np.abs(knee)).max() < 8
    hip, ankle = (positions[:, SMPL_SKELETON.index(f"{n}_left")] for n in ("hip", "ankle"))
    aim = np.array([0.1, ankle[0, 1] - 0.2, 0.0]) - hip
    cosine = (
        ((ankle - hip) * aim).sum(-1) / np.linalg.norm(ankle - hip, axis=-1) / np.linalg.norm(aim, axis=-1)
    )
    assert cosine.min() > np.cos(np.radians(1.5))


def test_a_free_leg_has_its_angles_and_the_other_does_not_notice(make_stage: Callable[..., Stage]) -> None:
    s = make_stage(4)
    feet = {"left": FootPath(x=0.1), "right": FootPath(x=-0.1)}
    height = tallest(s, feet) - 0.03
    place(s, feet, height=height)
    before = s.to_params("open").pose
    one = np.ones(T)
    place(s, feet, height=height, free={"left": FreeLeg(weight=one, flex=80.0, knee=95.0, abduct=0.0)})
    after = s.to_params("open").pose
    np.testing.assert_allclose(
        np.degrees(after[:, SMPL_SKELETON.index("hip_left")]), np.tile([-80, 0, 0], (T, 1)), atol=1e-9
    )
    np.testing.assert_allclose(np.degrees(after[:, SMPL_SKELETON.index("knee_left"), 0]), 95, atol=1e-9)
    for name in ("hip_right", "knee_right", "ankle_right"):
        np.testing.assert_array_equal(
            after[:, SMPL_SKELETON.index(name)], before[:, SMPL_SKELETON.index(name)]
        )


def test_placing_turns_with_the_heading(make_stage: Callable[..., Stage]) -> None:
    ahead, turned = make_stage(5), make_stage(5, heading=70.0)
    for s in (ahead, turned):
        stand(s, z=0.1 * s.t)
    first, second = posed(ahead)[0], posed(turned)[0]
    np.testing.assert_allclose(
        Rotation.from_euler("Y", 70, degrees=True).apply(first.reshape(-1, 3)),
        second.reshape(-1, 3),
        atol=1e-9,
    )


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("follow", [0.0, 1.0])
def test_a_wrist_goes_where_it_is_sent(make_stage: Callable[..., Stage], side: str, follow: float) -> None:
    s = make_stage(6, heading=25.0)
    stand(s)
    length = arm_length(s)
    rng = np.random.default_rng(1)
    direction = rng.normal(size=(T, 3)) * [0.5, 0.6, 0.1] + [0.2, 0, 0.7]
    shoulder = abs(s.rest_joints[SMPL_SKELETON.index("shoulder_left"), 0])
    offset = [shoulder, 0, 0] + 0.75 * length * direction / np.linalg.norm(direction, axis=1, keepdims=True)
    reach(s, side, offset, palm=(-1.0, 0.0, 0.0), fingers=(0.0, 0.2, 1.0), follow=follow)
    positions, rotations, _ = posed(s)
    at = {n: positions[:, SMPL_SKELETON.index(n)] for n in (f"wrist_{side}", f"elbow_{side}", "spine3")}
    chest = Rotation.from_matrix(rotations[:, SMPL_SKELETON.index("spine3")])
    middle = (s.rest_joints[SMPL_SKELETON.index("shoulder_left")] * [0, 1, 1]) - s.rest_joints[
        SMPL_SKELETON.index("spine3")
    ]
    axes = chest if follow else Rotation.from_euler("Y", np.full((T, 1), 25.0), degrees=True)
    goal = at["spine3"] + chest.apply(middle) + axes.apply(offset * ([-1, 1, 1] if side == "right" else 1))
    assert np.linalg.norm(at[f"wrist_{side}"] - goal, axis=1).max() < 4e-3
    # the elbow hangs below the line from shoulder to wrist
    line = (positions[:, SMPL_SKELETON.index(f"shoulder_{side}")] + at[f"wrist_{side}"]) / 2
    assert (at[f"elbow_{side}"][:, 1] < line[:, 1]).all()


def test_flight_is_a_parabola_and_contacts_are_smooth() -> None:
    t = np.linspace(0, 2.0, 4001)
    b = bounces(np.full(8, 0.12), np.full(8, 0.3), start_s=-0.1, t=t, level=np.resize([0.0, -0.05], 9))
    for off, down in zip(b.takeoff, b.landing, strict=True):
        inside = (t > off + 1e-3) & (t < down - 1e-3)
        if inside.sum() > 10:
            np.testing.assert_allclose(np.diff(b.height[inside], 2) / 0.0005**2, -GRAVITY, rtol=1e-3)
    first = (t > b.takeoff[0]) & (t < b.landing[0])
    assert b.height[first].max() == pytest.approx(0.12, abs=1e-4)  # over the higher end
    acceleration = np.diff(b.height, 2) / 0.0005**2
    assert np.abs(np.diff(acceleration)).max() < 0.02 * np.ptp(acceleration)  # twice differentiable
    assert b.lowest.max() < -0.03
    assert float(air_time(0.2)) == pytest.approx(2 * np.sqrt(2 * 0.2 / 9.81))
    assert path_through([Knot(0, 0.0), Knot(1, 1.0)], [0.5])[0] == pytest.approx(0.5)


def test_ease_holds_passes_and_rests_at_its_values() -> None:
    x = np.linspace(-1, 5, 6001)
    y = ease(x, (0, 1, 3), (2.0, 5.0, -1.0))
    np.testing.assert_allclose(y[[0, 1000, 2000, 4000, 6000]], [2, 2, 5, -1, -1], atol=1e-12)
    speed = np.gradient(y, x)
    np.testing.assert_allclose(speed[[1000, 2000, 4000]], 0, atol=1e-4)
    assert speed.max() == pytest.approx(1.875 * 3, rel=1e-3)  # peak of a minimum-jerk move: 15/8 of its mean
