"""Retargeting: bone directions, sides, floor, smoothness; mirror, resample, time warp."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from eventhpe.body.bvh import BvhClip, read_bvh
from eventhpe.body.fk import body_joints, forward_kinematics, sole_points
from eventhpe.body.params import BodyParams
from eventhpe.body.retarget import (
    CMU,
    POSER,
    JointSource,
    mirror,
    random_speed,
    resample,
    retarget,
    time_warp,
)
from eventhpe.errors import FormatError, ShapeError
from eventhpe.geometry.skeleton import SMPL_SKELETON

NAMES = SMPL_SKELETON.joints
LIMBS = [
    (f"{a}_{s}", f"{b}_{s}")
    for s in ("left", "right")
    for a, b in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))
]


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


def spread_leg_clip(T: int = 40) -> BvhClip:
    """A CMU-like skeleton with legs spread at rest and random smooth joint angles."""
    joints = ["Hips"]
    parents, offsets = [-1], [(0.0, 0, 0)]

    def add(name: str, parent: str, offset: tuple[float, float, float]) -> None:
        joints.append(name)
        parents.append(joints.index(parent))
        offsets.append(offset)

    for name, parent, y in (
        ("LowerBack", "Hips", 0), ("Spine", "LowerBack", 0.11), ("Spine1", "Spine", 0.11),
        ("Neck", "Spine1", 0.11), ("Neck1", "Neck", 0.1), ("Head", "Neck1", 0.1),
    ):  # fmt: skip
        add(name, parent, (0.0, y, 0.0))
    for side, s in (("Left", 1), ("Right", -1)):
        add(side + "UpLeg", "Hips", (0.09 * s, -0.1, 0))
        add(side + "Leg", side + "UpLeg", (0.147 * s, -0.404, 0))
        add(side + "Foot", side + "Leg", (0.157 * s, -0.431, 0))
        add(side + "ToeBase", side + "Foot", (0.011 * s, -0.03, 0.129))
        add(side + "Shoulder", "Spine1", (0, 0.11, 0))
        add(side + "Arm", side + "Shoulder", (0.2 * s, 0.07, 0))
        add(side + "ForeArm", side + "Arm", (0.3 * s, 0, 0))
        add(side + "Hand", side + "ForeArm", (0.2 * s, 0, 0))
    rng = np.random.default_rng(5)
    t = np.linspace(0, 1, T)[:, None, None]
    rotvec = 0.35 * np.sin(
        2 * np.pi * t * rng.uniform(0.3, 1, (len(joints), 3)) + rng.uniform(0, 6, (len(joints), 3))
    )
    rotations = Rotation.from_rotvec(rotvec.reshape(-1, 3)).as_matrix().reshape(T, len(joints), 3, 3)
    positions = np.broadcast_to(np.array(offsets), (T, len(joints), 3)).copy()
    positions[:, 0] = [[0.3 * u, 0.95, u] for u in np.linspace(0, 1, T)]
    return BvhClip(
        joints=tuple(joints),
        parents=tuple(parents),
        offsets=np.array(offsets),
        end_sites={},
        channels=tuple(() for _ in joints),
        local_rotations=rotations,
        local_positions=positions,
        frame_time_s=1 / 60,
    )


def limb_angles(clip: BvhClip, params: BodyParams) -> np.ndarray:
    """(T, limbs) degrees between the body's and the clip's limb directions."""
    table = CMU if clip.joints[0] == "Hips" else POSER
    ours, theirs = body_joints(params, REST), clip.world_positions()
    out = []
    for a, b in LIMBS:
        u = ours[:, NAMES.index(b)] - ours[:, NAMES.index(a)]
        v = theirs[:, clip.index(table[b].joint)] - theirs[:, clip.index(table[a].joint)]
        out.append(np.arctan2(np.linalg.norm(np.cross(u, v), axis=1), (u * v).sum(1)))
    return np.degrees(np.stack(out, 1))


def lowest_sole(params: BodyParams) -> np.ndarray:
    positions, rotations = forward_kinematics(REST, params.pose, params.transl)
    return sole_points(REST, positions, rotations)[..., 1].min(axis=1)


def fastest_turn(rotations: np.ndarray) -> float:
    """Largest angle in degrees between successive (T, J, 3, 3) rotations."""
    step = np.swapaxes(rotations[:-1], -1, -2) @ rotations[1:]
    return float(np.degrees(Rotation.from_matrix(step.reshape(-1, 3, 3)).magnitude().max()))


def test_limb_directions_floor_and_scale() -> None:
    clip = spread_leg_clip()
    params = retarget(clip, REST)
    assert params.frame == "world" and params.model == "open"
    assert limb_angles(clip, params).max() < 1e-4
    assert abs(np.percentile(lowest_sole(params), 5)) < 1e-9
    hips = body_joints(params, REST)[:, 1:3].mean(axis=1)
    source = clip.world_positions()[:, [clip.index("LeftUpLeg"), clip.index("RightUpLeg")]].mean(axis=1)
    ours = np.linalg.norm(REST[4] - REST[1]) + np.linalg.norm(REST[7] - REST[4])
    theirs = np.linalg.norm([0.147, 0.404]) + np.linalg.norm([0.157, 0.431])
    np.testing.assert_allclose(np.diff(hips, axis=0), np.diff(source, axis=0) * ours / theirs, atol=1e-9)


def test_toes_bend_up_when_the_heel_lifts() -> None:
    clip = spread_leg_clip()
    still = np.broadcast_to(np.eye(3), clip.local_rotations.shape).copy()
    spread = np.arctan2(0.147, 0.404)
    for side, s in (("Left", 1), ("Right", -1)):
        upright = Rotation.from_euler("z", -s * spread)
        still[:, clip.index(side + "UpLeg")] = upright.as_matrix()
        axis = upright.inv().apply([1.0, 0, 0])
        still[20:, clip.index(side + "Foot")] = Rotation.from_rotvec(axis * np.radians(35)).as_matrix()
    params = retarget(replace(clip, local_rotations=still), REST)
    toes = np.degrees(params.body_pose[:, [NAMES.index("foot_left") - 1, NAMES.index("foot_right") - 1], 0])
    assert toes[:20].min() > -8 and toes[20:].max() < -18 and toes.min() > -45


def test_a_knee_bends_about_its_hinge_only() -> None:
    clip = spread_leg_clip()
    still = np.broadcast_to(np.eye(3), clip.local_rotations.shape).copy()
    spread = np.arctan2(0.147, 0.404)
    hinge = np.array(
        [np.cos(spread), np.sin(spread), 0]
    )  # the left-right axis, carried with the spread rest leg
    still[:, clip.index("LeftLeg")] = Rotation.from_rotvec(hinge * np.radians(70)).as_matrix()
    params = retarget(replace(clip, local_rotations=still), REST)
    bend = np.degrees(params.body_pose[0, NAMES.index("knee_left") - 1])
    at_rest = REST[[1, 4, 7]]
    u, v = np.diff(at_rest, axis=0)
    already = np.degrees(
        np.arccos(u @ v / np.linalg.norm(u) / np.linalg.norm(v))
    )  # the body's rest knee is not straight
    assert bend[0] == pytest.approx(70 - already, abs=2)  # +x: knee flexion
    assert np.abs(bend[1:]).max() < 6  # and next to no twist


def test_elbow_of_a_cmu_arm_bends_forward() -> None:
    clip = spread_leg_clip()
    still = np.broadcast_to(np.eye(3), clip.local_rotations.shape).copy()
    for side, sign in (("Left", 1), ("Right", -1)):
        hinge = np.array([0, -np.cos(np.pi / 6), np.sin(np.pi / 6)]) * sign
        still[:, clip.index(side + "ForeArm")] = Rotation.from_rotvec(hinge * np.radians(80)).as_matrix()
    params = retarget(replace(clip, local_rotations=still), REST)
    np.testing.assert_allclose(
        np.degrees(params.body_pose[0, NAMES.index("elbow_left") - 1]), [0, -80, 0], atol=1
    )
    np.testing.assert_allclose(
        np.degrees(params.body_pose[0, NAMES.index("elbow_right") - 1]), [0, 80, 0], atol=1
    )


def test_unknown_and_incomplete_skeletons_are_refused() -> None:
    clip = spread_leg_clip()
    with pytest.raises(FormatError, match="unknown skeleton with root 'Bip01'"):
        retarget(replace(clip, joints=("Bip01", *clip.joints[1:])), REST)
    renamed = tuple("Tail" if j == "LeftArm" else j for j in clip.joints)
    with pytest.raises(FormatError, match="LeftArm"):
        retarget(replace(clip, joints=renamed), REST)
    with pytest.raises(FormatError, match="knee_left"):
        retarget(clip, REST, skeleton_map={"pelvis": JointSource("Hips")})
    with pytest.raises(ShapeError, match="24, 3"):
        retarget(clip, REST[:22])


@pytest.mark.parametrize(
    "name",
    [
        "cmux_walk1", "cmu13_30_squat1", "cmu13_29_jumpjack1", "cmu86_01_punch1", "cmu86_01_kick1",
        "cmu86_09_sitdown",
        "cmu94_dance08_1", "cmu14_20_toetouchtwohands1", "cmu135_frontkick1", "cmu60_salsa17_1", "cmux_run1",
    ],
)  # fmt: skip
def test_real_clips(shared: Path, name: str) -> None:
    clip = read_bvh(shared / f"motion/bvh/{name}.bvh")
    params = retarget(clip, REST)
    assert limb_angles(clip, params).mean() < 3
    assert limb_angles(clip, params).max() < 0.1
    assert abs(np.percentile(lowest_sole(params), 5)) < 1e-9
    assert lowest_sole(params).min() > -0.12

    # left stays left: the hips line and the shoulder line of body and clip point the same way
    table = CMU if clip.joints[0] == "Hips" else POSER
    ours, theirs = body_joints(params, REST), clip.world_positions()
    for joint in ("hip", "shoulder"):
        u = ours[:, NAMES.index(f"{joint}_left")] - ours[:, NAMES.index(f"{joint}_right")]
        v = (
            theirs[:, clip.index(table[f"{joint}_left"].joint)]
            - theirs[:, clip.index(table[f"{joint}_right"].joint)]
        )
        cosine = (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
        assert np.percentile(cosine, 5) > np.cos(np.radians(20)) and cosine.min() > 0.8

    # no jumps: in the world no bone turns faster than the source's fastest (toes are the body's own)
    turned = forward_kinematics(REST, params.pose, params.transl)[1]
    toes = [NAMES.index("foot_left"), NAMES.index("foot_right")]
    assert np.degrees(np.abs(np.diff(params.pose[:, toes], axis=0))).max() < 25
    turned = np.delete(turned, toes, axis=1)
    assert fastest_turn(turned) <= fastest_turn(clip.world_rotations()) + 0.5


def test_mirror_reflects_joints_and_exchanges_sides() -> None:
    params = retarget(spread_leg_clip(), REST)
    reflected = body_joints(mirror(params), REST)
    np.testing.assert_allclose(
        reflected, body_joints(params, REST)[:, SMPL_SKELETON.flip] * [-1, 1, 1], atol=1e-9
    )
    np.testing.assert_allclose(mirror(mirror(params)).pose, params.pose, atol=1e-12)


def test_resample_hits_the_frames_and_halves_the_angle() -> None:
    pose = np.zeros((2, 24, 3))
    pose[1, 5] = [0, 0, 1.0]
    params = BodyParams(
        np.zeros((2, 10)), pose[:, 0], pose[:, 1:], np.array([[0.0, 0, 0], [2, 0, 0]]), frame="world"
    )
    out = resample(params, [0, 1000], [0, 500, 1000, 5000])
    np.testing.assert_allclose(out.body_pose[:, 4, 2], [0, 0.5, 1, 1], atol=1e-12)
    np.testing.assert_allclose(out.transl[:, 0], [0, 1, 2, 2])
    with pytest.raises(ShapeError, match="increasing"):
        resample(params, [0, 0], [0])


def test_time_warp_plays_faster_and_slower() -> None:
    clip = spread_leg_clip()
    params = retarget(clip, REST)
    fast, t_fast = time_warp(params, clip.t_us, 2.0, fps=120)
    assert abs(t_fast[-1] - clip.t_us[-1] / 2) < 1e6 / 120
    np.testing.assert_allclose(
        fast.transl[-1], resample(params, clip.t_us, [2 * t_fast[-1]]).transl[0], atol=1e-6
    )
    speed = random_speed(clip.t_us, np.random.default_rng(0), every_s=0.2)
    assert speed.min() >= 0.5 and speed.max() <= 2.5 and np.ptp(speed) > 0.2
    warped, t = time_warp(params, clip.t_us, speed, fps=200)
    assert (np.diff(t) > 0).all() and len(warped.transl) == len(t)
    assert t[-1] == pytest.approx(np.trapezoid(1 / speed, clip.t_us), abs=1e6 / 200)
    with pytest.raises(ShapeError, match="positive"):
        time_warp(params, clip.t_us, 0.0, fps=60)
