"""Playing motions: speed, pauses, changes, sides, place, and nothing that jumps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from eventhpe.body.blend import mean_heading
from eventhpe.body.choreography import perform
from eventhpe.body.default import open_body_arrays
from eventhpe.body.fk import body_joints, forward_kinematics, sole_points
from eventhpe.body.params import BodyParams
from eventhpe.body.retarget import mirror
from eventhpe.data.motion_library import MotionLibrary
from eventhpe.data.motion_play import back_and_forth, play
from eventhpe.data.motion_style import MotionStyle, StyleRanges, draw_style
from eventhpe.data.motions import MotionDraw
from eventhpe.errors import FormatError, ShapeError
from eventhpe.geometry.rotation import rotvec_to_rotmat

STEP_S = 0.01


@pytest.fixture(scope="module")
def rest() -> np.ndarray:
    arrays = open_body_arrays()
    return arrays["J_regressor"].astype(np.float64) @ arrays["v_template"]


def movement(name: str, rest: np.ndarray, seconds: float = 4.0, seed: int = 0) -> MotionDraw:
    params = perform(
        name, duration_s=seconds + 1 / 60, fps=60, rng=np.random.default_rng(seed), rest_joints=rest
    )
    return MotionDraw(params, 60, name)


def played(draws, rest, style: MotionStyle | None = None, **changes) -> BodyParams:
    options = {
        "rng": np.random.default_rng(5), "duration_s": 3.0, "step_s": STEP_S, "heading_rad": 0.0,
        "rest_joints": rest,
    }  # fmt: skip
    draws = [draws] if isinstance(draws, MotionDraw) else draws
    return play(draws, style or MotionStyle(), **(options | changes))


def R(params: BodyParams) -> np.ndarray:
    return rotvec_to_rotmat(params.pose)


def speeds(params: BodyParams, rest: np.ndarray, step_s: float = STEP_S) -> np.ndarray:
    """(K - 1, 24) m/s."""
    return np.linalg.norm(np.diff(body_joints(params, rest), axis=0), axis=-1) / step_s


def lowest(params: BodyParams, rest: np.ndarray) -> np.ndarray:
    positions, rotations = forward_kinematics(rest, params.pose, params.transl)
    return sole_points(rest, positions, rotations)[..., 1].min(axis=1)


def roughest(draws, rest, style: MotionStyle, step_s: float, **changes) -> float:
    """Largest change of a joint's velocity from one step to the next, m/s."""
    joints = body_joints(played(draws, rest, style, step_s=step_s, **changes), rest)
    return float(np.linalg.norm(np.diff(joints, 2, axis=0), axis=-1).max() / step_s)


def test_the_motion_itself_is_played(rest):
    draw = movement("kick", rest, seconds=2.0)
    got = played(draw, rest, duration_s=2.0, step_s=1 / 60)
    assert got.transl.shape == (121, 3) and got.frame == "world" and got.betas.shape == (121, 10)
    np.testing.assert_allclose(R(got)[:, 1:], R(draw.params)[:, 1:], atol=1e-9)
    np.testing.assert_allclose(got.transl[:, 1], draw.params.transl[:, 1], atol=1e-9)


@pytest.mark.parametrize("heading_deg", [-170.0, 0.0, 35.0])
def test_place_and_heading(rest, heading_deg):
    got = played(movement("walk", rest), rest, heading_rad=np.deg2rad(heading_deg))
    assert np.rad2deg(mean_heading(got.global_orient)) == pytest.approx(heading_deg, abs=1e-6)
    np.testing.assert_allclose(np.median(got.transl + rest[0], axis=0)[[0, 2]], 0, atol=1e-9)
    assert np.linalg.norm(np.ptp(got.transl, axis=0)) > 1.5, "walks on where nothing holds it"


@pytest.mark.parametrize("speed", [0.4, 1.0, 2.5])
def test_speed_is_what_it_says(rest, speed):
    draw = movement("walk_in_place", rest, seconds=10.0)
    got = played(draw, rest, MotionStyle(speed=speed), duration_s=10.0 / speed)
    reference = played(draw, rest, duration_s=10.0, step_s=STEP_S * speed)
    np.testing.assert_allclose(R(got), R(reference)[: len(R(got))], atol=1e-9)
    ratio = np.median(speeds(got, rest)) / np.median(speeds(played(draw, rest, duration_s=10.0), rest))
    assert ratio == pytest.approx(speed, rel=0.03)


def test_a_pause_is_exactly_still(rest):
    style = MotionStyle(speed=1.3, pauses=((0.8, 0.7), (2.2, 0.4)), ramp_s=0.2)
    t = np.arange(301) * STEP_S
    got = played(movement("jumping_jack", rest), rest, style)
    joints = body_joints(got, rest)
    for start, length in style.pauses:
        still = (t >= start - 1e-9) & (t <= start + length + 1e-9)
        assert still.sum() >= 40 and np.abs(np.ptp(joints[still], axis=0)).max() < 1e-9
    away = (style.rest_share(t)[1:] == 0) & (style.rest_share(t)[:-1] == 0)
    assert speeds(got, rest)[away].max(axis=1).min() > 0.05, "and moves otherwise"


def test_a_resting_person_may_sway_a_little(rest):
    style = MotionStyle(pauses=((0.5, 2.0),), sway_deg=0.2)
    got = played(movement("squat", rest), rest, style)
    t = np.arange(301) * STEP_S
    still = (t > 0.5) & (t < 2.5)
    moved = np.linalg.norm(np.ptp(body_joints(got, rest)[still], axis=0), axis=-1)
    head, ankle = moved[15], moved[[7, 8]].max()
    assert 0.002 < head < 0.06 and ankle < 0.3 * head
    assert speeds(got, rest)[still[1:]].max() < 0.05
    calm = played(movement("squat", rest), rest, replace(style, sway_deg=0.0))
    np.testing.assert_allclose(R(got)[:, 1:], R(calm)[:, 1:], atol=1e-12, err_msg="only the root tilts")
    np.testing.assert_allclose(got.transl[:29], calm.transl[:29], atol=1e-12, err_msg="none while moving")


@pytest.mark.parametrize(
    "style",
    [
        MotionStyle(pauses=((1.0, 0.5),), ramp_s=0.2),
        MotionStyle(pauses=((1.0, 0.5),), ramp_s=0.2, sway_deg=0.3, stay_within_m=0.4),
        MotionStyle(blends=((1.4, 0.5),)),
        MotionStyle(speed=2.0, mirrored=True, blends=((1.0, 0.6), (2.2, 0.6)), stay_within_m=0.5),
        MotionStyle(pauses=((1.2, 0.4),), ramp_s=0.2, blends=((1.3, 0.6),)),
    ],
)
def test_velocities_are_continuous(rest, style):
    draws = [movement(n, rest, 8.0) for n in ("walk_in_place", "squat", "arm_circles")][: style.num_motions]
    # A jump in velocity would stay as large as it is; a continuous one shrinks with the step.
    coarse, fine = (roughest(draws, rest, style, s) for s in (0.008, 0.002))
    assert fine < 0.4 * coarse


def test_a_pause_without_ramp_would_fail_that_test(rest):
    draw = movement("walk_in_place", rest, 8.0)
    coarse, fine = (
        roughest(draw, rest, MotionStyle(pauses=((1.0, 0.5),), ramp_s=1e-4), s) for s in (0.008, 0.002)
    )
    assert fine > 0.8 * coarse


def test_a_short_motion_turns_softly(rest):
    draw = movement("walk_in_place", rest, seconds=1.0)
    got = played(draw, rest, duration_s=4.0)
    assert np.abs(R(got)[:100] - R(got)[200:300]).max() < 0.6
    coarse, fine = (roughest(draw, rest, MotionStyle(), s, duration_s=4.0) for s in (0.008, 0.002))
    assert fine < 0.4 * coarse


def test_back_and_forth_stays_inside_and_keeps_its_speed():
    s = np.linspace(0, 10, 20001)
    x = back_and_forth(s, 1.7, soft_s=0.2)
    assert x.min() >= 0 and x.max() <= 1.7
    v = np.diff(x) / np.diff(s)
    assert np.abs(v).max() <= 1 + 1e-9 and np.abs(np.diff(v)).max() < 0.01
    np.testing.assert_allclose(x[s < 1.5], s[s < 1.5])
    assert (np.abs(v) > 0.999).mean() == pytest.approx(1 - 0.4 / 1.7, abs=0.05), (
        "full speed between the turns"
    )
    np.testing.assert_allclose(back_and_forth(s, 1.7, soft_s=0.0)[s <= 1.7], s[s <= 1.7], atol=1e-12)


@pytest.mark.parametrize(
    "pair", [("walk", "jumping_jack"), ("squat", "walk_circle"), ("bend", "raise_arms"), ("kick", "wave")]
)
def test_a_change_of_motion_does_not_jump(rest, pair):
    style = MotionStyle(blends=((1.5, 0.5),))
    draws = [movement(n, rest, 6.0, seed=k) for k, n in enumerate(pair)]
    got = played(draws, rest, style)
    v = speeds(got, rest)
    inside = slice(125, 175)
    alone = max(speeds(d.params, rest, 1 / 60).max() for d in draws)
    # A limb may have to go from one pose to the other on top of its own movement: 1.7 m in 0.5 s at 1.5 times
    # the mean speed.
    assert v[inside].max() < alone + 5.1
    assert v[inside, 0].max() < 1.0 + max(speeds(d.params, rest, 1 / 60)[:, 0].max() for d in draws), "pelvis"
    assert lowest(got, rest)[inside].min() > -0.02
    for k, draw in ((0, draws[0]), (120, draws[0]), (180, draws[1]), (-1, draws[1])):
        pose = rotvec_to_rotmat(got.body_pose[k])
        away = np.abs(rotvec_to_rotmat(draw.params.body_pose) - pose).max(axis=(1, 2, 3))
        assert away.min() < 0.15, "a pose of the motion whose turn it is"


def test_the_second_motion_takes_over_place_and_heading(rest):
    style = MotionStyle(blends=((1.5, 0.4),))
    turned = perform(
        "stand_sway", duration_s=4, fps=60, rng=np.random.default_rng(1), rest_joints=rest, heading_deg=140
    )
    away = MotionDraw(replace(turned, transl=turned.transl + np.array([3.0, 0.0, -2.0])), 60, "away")
    got = played([movement("stand_sway", rest), away], rest, style, heading_rad=0.4)
    assert np.linalg.norm(got.transl + rest[0] - [0, 1, 0], axis=1).max() < 0.3
    facing = np.degrees([mean_heading(got.global_orient[:50]), mean_heading(got.global_orient[-50:])])
    np.testing.assert_allclose(facing, np.degrees(0.4), atol=6)


def test_a_pause_in_a_change_is_still(rest):
    style = MotionStyle(pauses=((1.3, 0.5),), ramp_s=0.1, blends=((1.5, 0.6),))
    got = played([movement("squat", rest), movement("wave", rest)], rest, style)
    assert np.abs(np.ptp(body_joints(got, rest)[131:180], axis=0)).max() < 1e-9


@pytest.mark.parametrize("name", ["squat", "stand_sway", "kick", "walk"])
def test_feet_keep_the_floor_whatever_is_done(rest, name):
    style = MotionStyle(
        speed=1.5, mirrored=True, pauses=((0.5, 0.4),), sway_deg=0.2, blends=((1.6, 0.5),), stay_within_m=0.5
    )
    low = lowest(played([movement(name, rest), movement("wave", rest)], rest, style), rest)
    assert np.abs(low).max() < 0.02


def test_mirrored_is_the_mirror_image(rest):
    draw = movement("kick", rest, seconds=3.0)
    got = played(draw, rest, MotionStyle(mirrored=True), heading_rad=0.4)
    twin = mirror(played(draw, rest, heading_rad=-0.4))
    np.testing.assert_allclose(R(got), R(twin), atol=1e-9)
    np.testing.assert_allclose(body_joints(got, rest)[:, 0], body_joints(twin, rest)[:, 0], atol=1e-3)
    assert np.abs(R(got) - R(played(draw, rest, heading_rad=0.4))).max() > 0.5


def test_walkers_are_held_and_others_left_alone(rest):
    walk = movement("walk", rest, 6.0)
    held = played(walk, rest, MotionStyle(stay_within_m=0.8), duration_s=6.0)
    away = np.linalg.norm((held.transl + rest[0])[:, [0, 2]], axis=1)
    assert away.max() < 0.81 and away.max() > 0.5
    free = played(walk, rest, duration_s=6.0)
    assert np.array_equal(held.pose, free.pose) and np.array_equal(held.transl[:, 1], free.transl[:, 1])
    squat = movement("squat", rest, 6.0)
    np.testing.assert_allclose(
        played(squat, rest, MotionStyle(stay_within_m=0.8)).transl, played(squat, rest).transl, atol=1e-9
    )


def test_a_held_walker_stands_still_in_a_pause(rest):
    style = MotionStyle(pauses=((2.0, 1.0),), ramp_s=0.2, stay_within_m=0.4)
    got = played(movement("walk", rest, 6.0), rest, style, duration_s=5.0)
    assert np.abs(np.ptp(body_joints(got, rest)[200:301], axis=0)).max() < 1e-9


def test_equal_states_give_equal_motions_and_the_start_is_drawn(rest):
    draws = [movement("kick", rest, 8.0), movement("arm_circles", rest, 8.0)]
    style = MotionStyle(blends=((1.5, 0.5),), pauses=((0.3, 0.3),), sway_deg=0.2)
    a, b, c = (played(draws, rest, style, rng=np.random.default_rng(s)) for s in (1, 1, 2))
    assert np.array_equal(a.pose, b.pose) and np.array_equal(a.transl, b.transl)
    assert not np.allclose(a.pose, c.pose)


@pytest.mark.parametrize("name", ["squat", "walk"])
def test_a_turning_person_turns_as_told_and_walks_the_way_it_looks(rest, name):
    style = MotionStyle(turn_deg=90.0, turn_hz=0.1, turn_phase=0.5)
    draw = movement(name, rest)
    plain, turning = played(draw, rest), played(draw, rest, style)
    angle = np.radians(90) * (np.sin(0.2 * np.pi * np.arange(301) * STEP_S + 0.5) - np.sin(0.5))
    zero = np.zeros_like(angle)
    about_y = rotvec_to_rotmat(np.stack([zero, angle, zero], -1))
    np.testing.assert_allclose(R(turning)[:, 0], about_y @ R(plain)[:, 0], atol=1e-6)
    np.testing.assert_array_equal(turning.body_pose, plain.body_pose)
    # Seen from the person, every step is the same as without turns.
    seen = np.einsum("tba,tb->ta", about_y[:-1], np.diff(turning.transl, axis=0))
    np.testing.assert_allclose(seen, np.diff(plain.transl, axis=0), atol=2e-3 * np.abs(plain.transl).max())
    assert np.ptp(angle) > 0.8


def test_inputs_are_left_alone(rest):
    draw = movement("walk", rest)
    before = draw.params.pose.copy(), draw.params.transl.copy(), rest.copy()
    played([draw, draw], rest, MotionStyle(mirrored=True, blends=((1.0, 0.5),), stay_within_m=0.5))
    assert np.array_equal(draw.params.pose, before[0]) and np.array_equal(draw.params.transl, before[1])
    assert np.array_equal(rest, before[2])


def test_what_cannot_be_played_is_refused(rest):
    draw = movement("walk", rest)
    with pytest.raises(ShapeError, match="plays 2 motions"):
        played(draw, rest, MotionStyle(blends=((1.0, 0.5),)))
    p = draw.params
    one = BodyParams(p.betas[:1], p.global_orient[:1], p.body_pose[:1], p.transl[:1], frame="world")
    with pytest.raises(FormatError, match=r"one.*1 frame"):
        played(MotionDraw(one, 60, "one"), rest)
    other = MotionDraw(replace(p, betas=p.betas + 1), 60, "other")
    with pytest.raises(ShapeError, match="other is on another body than walk"):
        played([draw, other], rest, MotionStyle(blends=((1.0, 0.5),)))
    with pytest.raises(ShapeError, match='"world"'):
        played(MotionDraw(replace(p, frame="camera"), 60, "seen"), rest)
    with pytest.raises(ShapeError, match="step_s"):
        played(draw, rest, step_s=0.0)


def test_real_clips_in_drawn_styles(shared, rest):
    library = MotionLibrary(shared / "motion" / "bvh")
    ranges = replace(StyleRanges(), pause_share=0.7, blend_share=0.7, stay_within_m=1.0)
    for seed in range(8):
        rng = np.random.default_rng(seed)
        style = draw_style(rng, ranges, duration_s=4.0)
        draws = [
            library.draw(rng, rest, np.zeros(10), 4.0, speed=style.speed) for _ in range(style.num_motions)
        ]
        got = played(draws, rest, style, rng=rng, duration_s=4.0)
        label = " > ".join(d.source for d in draws)
        assert np.linalg.norm((got.transl + rest[0])[:, [0, 2]], axis=1).max() < 1.01, label
        assert speeds(got, rest).max() < 20, label
        low = lowest(got, rest)
        assert low.min() > -0.06 and np.percentile(low, 5) < 0.06, label
