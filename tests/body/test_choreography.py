"""Procedural movements: floor, smoothness, limits, determinism, and that each does what its name says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from eventhpe.body.choreography import MOVEMENTS, perform
from eventhpe.body.fk import body_joints, forward_kinematics, sole_points
from eventhpe.body.joint_limits import joint_limits
from eventhpe.body.params import BodyParams
from eventhpe.body.pose_track import PoseTrack
from eventhpe.body.retarget import mirror
from eventhpe.body.stage import bezier_blend
from eventhpe.errors import ShapeError
from eventhpe.geometry.skeleton import SMPL_SKELETON

NAMES = SMPL_SKELETON.joints
JUMPS = {
    "jump", "jumping_jack", "jog_in_place", "single_jump", "jump_forward", "jumps", "star_jump", "hop",
    "treadmill_jog",
}  # fmt: skip


def rest_body() -> np.ndarray:
    """A schematic T-pose in metres; the pelvis is deliberately not at the origin."""
    half = {
        "pelvis": (0, 0.02, -0.04), "spine1": (0, 0.12, -0.04), "spine2": (0, 0.25, -0.05),
        "spine3": (0, 0.33, -0.05), "neck": (0, 0.51, -0.02), "head": (0, 0.61, 0.01),
        "hip": (0.1, -0.04, -0.03), "knee": (0.13, -0.42, 0.0), "ankle": (0.13, -0.83, -0.02),
        "foot": (0.135, -0.88, 0.11), "collar": (0.06, 0.45, -0.01), "shoulder": (0.17, 0.42, -0.01),
        "elbow": (0.41, 0.42, -0.01), "wrist": (0.64, 0.42, -0.01), "hand": (0.74, 0.42, -0.01),
    }  # fmt: skip
    out = np.array([half[n.removesuffix("_left").removesuffix("_right")] for n in NAMES])
    return out * [[-1.0 if n.endswith("right") else 1.0, 1, 1] for n in NAMES]


REST = rest_body()


def play(name: str, seed: int = 0, duration_s: float = 6.0, fps: float = 60.0, **kw: Any) -> BodyParams:
    return perform(
        name, duration_s=duration_s, fps=fps, rng=np.random.default_rng(seed), rest_joints=REST, **kw
    )


def joint(params: BodyParams, name: str) -> np.ndarray:
    return body_joints(params, REST)[:, NAMES.index(name)]


def soles(params: BodyParams) -> np.ndarray:
    positions, rotations = forward_kinematics(REST, params.pose, params.transl)
    return sole_points(REST, positions, rotations)


@pytest.mark.parametrize("name", list(MOVEMENTS))
@pytest.mark.parametrize(("seed", "amplitude"), [(0, 1.0), (1, 1.2), (2, 0.7)])
def test_every_movement_is_plausible(name: str, seed: int, amplitude: float) -> None:
    params = play(name, seed, 4.0, amplitude=amplitude)
    assert params.frame == "world" and len(params.transl) == 240
    positions = body_joints(params, REST)

    lowest = soles(params)[..., 1].min(axis=1)
    assert (
        np.abs(lowest).max() < 0.012 if name not in JUMPS else lowest.min() > -0.012 and lowest.max() < 0.35
    )

    # smooth: between frames no joint moves like a jump, and velocity changes continuously
    speed = np.linalg.norm(np.diff(positions, axis=0), axis=-1) * 60
    assert speed.max() < 12
    assert (
        np.linalg.norm(np.diff(positions, 2, axis=0), axis=-1).max() * 60 < 0.35 * max(speed.max(), 1.0) + 1.0
    )
    assert np.ptp(positions, axis=0).max() > 0.015  # and it moves

    limits = joint_limits()
    degrees = np.degrees(params.pose)
    for j, joint_name in enumerate(NAMES[1:], 1):
        limit = limits[joint_name]
        assert (degrees[:, j] >= limit.low).all() and (degrees[:, j] <= limit.high).all(), joint_name

    # the head stays above the pelvis except when bending, the pelvis above the knees' floor
    assert positions[:, 0, 1].min() > 0.3
    if name not in ("bend", "random_poses"):
        assert (positions[:, NAMES.index("head"), 1] > positions[:, 0, 1] + 0.25).all()


@pytest.mark.parametrize("name", list(MOVEMENTS))
def test_velocity_converges_as_the_frame_rate_grows(name: str) -> None:
    """C1: the largest change of velocity between frames shrinks with the step."""
    fine = body_joints(play(name, 3, 3.0, 480), REST)

    def jump(positions: np.ndarray, fps: float) -> float:
        return float(np.linalg.norm(np.diff(positions, 2, axis=0), axis=-1).max() * fps)

    assert jump(fine, 480) < 0.45 * jump(fine[::4], 120) + 0.01


def test_the_same_seed_gives_the_same_motion_at_any_rate() -> None:
    for name in ("walk", "random_poses", "knee_lift", "jump_forward", "treadmill_jog"):
        slow, fast = play(name, 4, 2.0, 50), play(name, 4, 2.0, 500)
        np.testing.assert_allclose(fast.pose[::10], slow.pose, atol=1e-9)
        np.testing.assert_allclose(fast.transl[::10], slow.transl, atol=0.02)
        assert np.abs(play(name, 5, 2.0, 50).pose - slow.pose).max() > 0.05


def test_walking_travels_forward_without_sliding() -> None:
    params = play("walk", 1, 6.0, 120)
    travel = joint(params, "pelvis")[-1] - joint(params, "pelvis")[0]
    assert 0.5 * 6 < travel[2] < 2.0 * 6 and abs(travel[0]) < 0.7
    points = soles(params)
    height = (points[1:, :, 1] + points[:-1, :, 1]) / 2
    speed = np.linalg.norm(np.diff(points[..., [0, 2]], axis=0), axis=-1) * 120
    assert np.median(speed[height < 0.002]) < 0.06
    turned = play("walk", 1, 6.0, 120, heading_deg=90)
    aside = joint(turned, "pelvis")[-1] - joint(turned, "pelvis")[0]
    np.testing.assert_allclose(aside[[0, 2]], [travel[2], -travel[0]], atol=1e-6)
    on_spot = play("walk_in_place", 1)
    assert np.abs(on_spot.transl[:, [0, 2]] - on_spot.transl[0, [0, 2]]).max() < 1e-9


def test_a_side_that_is_asked_for_acts_and_changes_no_other_draw() -> None:
    drawn = play("wave", 5)
    raised = {s: joint(drawn, f"wrist_{s}")[:, 1].mean() for s in ("left", "right")}
    lead = max(raised, key=lambda s: raised[s])
    other = "right" if lead == "left" else "left"
    np.testing.assert_array_equal(play("wave", 5, side=lead).pose, drawn.pose)
    turned = play("wave", 5, side=other)
    elbow = {s: turned.pose[:, NAMES.index(f"elbow_{s}")] for s in ("left", "right")}
    np.testing.assert_allclose(
        elbow[other], drawn.pose[:, NAMES.index(f"elbow_{lead}")] * [1, -1, -1], atol=1e-12
    )
    np.testing.assert_array_equal(play("walk", 5, side="left").pose, play("walk", 5, side="right").pose)


def test_sitting_low_brings_the_hips_below_the_knees() -> None:
    sit = play("sit_low", 0, 14.0)
    hips = joint(sit, "hip_left")[:, 1]
    assert hips.min() < joint(sit, "knee_left")[hips.argmin(), 1] - 0.05
    assert hips.max() > 0.8  # and up again
    points = soles(sit)
    assert np.ptp(points, axis=0).max() < 0.004  # the feet stay where they are


def test_circle_changes_heading_both_ways() -> None:
    ends = []
    for seed in range(6):
        params = play("walk_circle", seed)
        hips = joint(params, "hip_left") - joint(params, "hip_right")
        heading = np.unwrap(np.arctan2(-hips[:, 2], hips[:, 0]))
        ends.append(heading[-1] - heading[0])
    assert min(ends) < -2 and max(ends) > 2


def test_movements_do_what_they_say() -> None:
    left_right = set()
    for seed in range(6):
        kick = play("kick", seed)
        heights = {s: joint(kick, f"ankle_{s}")[:, 1].max() for s in ("left", "right")}
        side = max(heights, key=lambda s: heights[s])
        left_right.add(side)
        assert heights[side] > 0.45 and min(heights.values()) < 0.2
        forward = joint(kick, f"ankle_{side}")[:, 2] - joint(kick, "pelvis")[:, 2]
        assert forward.max() > 0.45
    assert left_right == {"left", "right"}

    wave = play("wave", 2)
    up = max(("left", "right"), key=lambda s: joint(wave, f"wrist_{s}")[:, 1].mean())
    assert (joint(wave, f"wrist_{up}")[:, 1] > joint(wave, f"shoulder_{up}")[:, 1]).all()

    clap = play("clap", 0)
    gap = np.linalg.norm(joint(clap, "hand_left") - joint(clap, "hand_right"), axis=1)
    assert gap.min() < 0.14 and gap.max() > 0.2

    sit, squat = play("sit", 0, 12.0), play("squat", 0)
    assert joint(sit, "pelvis")[:, 1].min() < 0.62
    assert joint(squat, "pelvis")[:, 1].min() < 0.7 < 0.85 < joint(squat, "pelvis")[:, 1].max()
    bend = play("bend", 0)
    assert joint(bend, "hand_left")[:, 1].min() < 0.4
    jack = play("jumping_jack", 0)
    assert joint(jack, "wrist_left")[:, 1].max() > joint(jack, "head")[:, 1].max()
    raised = joint(play("knee_raise", 0), "knee_left")[:, 1].max()
    assert raised > 0.75


def test_amplitude_and_tempo() -> None:
    small, large = (np.ptp(joint(play("squat", 3, amplitude=a), "pelvis")[:, 1]) for a in (0.5, 1.0))
    assert small < 0.7 * large
    slow, quick = (np.abs(np.diff(play("arm_circles", 3, tempo=f).pose, axis=0)).max() for f in (0.5, 2.0))
    assert quick > 2.5 * slow


def test_arms_hang_and_conventions_hold() -> None:
    track = PoseTrack(1)
    track.arm("left", abduct=20, elbow=0)
    track.arm("right", abduct=20, elbow=30)
    track.leg("left", flex=40, knee=60, turn_out=0)
    pose = np.degrees(track.rotvec[0])
    np.testing.assert_allclose(pose[NAMES.index("shoulder_left")], [0, 0, -70], atol=1e-9)
    np.testing.assert_allclose(pose[NAMES.index("shoulder_right")], [0, 0, 70], atol=1e-9)
    np.testing.assert_allclose(pose[NAMES.index("elbow_right")], [0, 30, 0], atol=1e-9)
    np.testing.assert_allclose(pose[NAMES.index("hip_left")], [-40, 0, 0], atol=1e-9)
    np.testing.assert_allclose(pose[NAMES.index("knee_left")], [60, 0, 0], atol=1e-9)
    np.testing.assert_allclose(
        pose[NAMES.index("ankle_left")], [-20, 0, 0], atol=0.02
    )  # the sole stays level


def test_both_sides_of_a_pose_are_mirror_images() -> None:
    track = PoseTrack(1)
    for side in ("left", "right"):
        track.arm(side, abduct=70, flex=30, elbow=50, twist=-40, pronate=20, wrist=10)
        track.leg(side, flex=30, knee=50, abduct=12, turn_out=10)
    params = track.to_params(REST)
    np.testing.assert_allclose(mirror(params).pose, params.pose, atol=1e-12)


def test_bezier_blend_is_smooth_and_bounded() -> None:
    keys = np.random.default_rng(0).uniform(-1, 1, 9)
    u = np.linspace(0, 7, 7001)
    curve = bezier_blend(keys, u)
    assert curve.min() >= keys.min() and curve.max() <= keys.max()
    np.testing.assert_allclose(curve[::1000], (keys[:-1] + keys[1:]) / 2, atol=1e-12)
    assert np.abs(np.diff(curve, 2)).max() < 5e-6  # no kink: the slope changes by h times a bounded curvature


def test_limits_are_mirrored_and_bad_requests_refused() -> None:
    limits = joint_limits()
    assert set(limits) == set(NAMES)
    left, right = limits["elbow_left"], limits["elbow_right"]
    assert (right.low[1], right.high[1]) == (-left.high[1], -left.low[1]) and right.low[0] == left.low[0]
    with pytest.raises(ShapeError, match="unknown movement"):
        play("moonwalk")
    with pytest.raises(ShapeError, match="tempo"):
        play("walk", tempo=0.0)
    with pytest.raises(ShapeError, match="side must be"):
        play("wave", side="both")
