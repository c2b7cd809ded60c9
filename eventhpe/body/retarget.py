"""Motion of foreign skeletons onto the 24-joint body, and small edits of motions.

Rest poses differ between skeletons, so local angles are never copied. For every joint j one constant
rotation C_j carries the body's rest pose onto the clip's rest pose; with G_j(t) the clip's rotation from rest
to world, the body's joint turns by G_j(t) C_j. C_j lines up the bones exactly and twists as little as
possible relative to C of the parent, so hinges (knee, elbow) stay hinges and no frame can jump.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from eventhpe.body.bvh import BvhClip
from eventhpe.body.fk import SOLE_M, as_rest_joints, forward_kinematics, put_on_floor, sole_points
from eventhpe.body.params import BodyParams
from eventhpe.body.pose_track import soft_clip
from eventhpe.errors import FormatError, ShapeError
from eventhpe.geometry.rotation import interpolate_rotvec, rotmat_to_rotvec
from eventhpe.geometry.skeleton import SMPL_SKELETON

Array = NDArray[np.float64]


@dataclass(frozen=True)
class JointSource:
    """Where a joint of the body takes its rotation from.

    Attributes:
        joint: the clip's joint that turns this bone.
        bone_end: joint at the bone's far end, or "end" for the joint's end site: directions are matched
            exactly. None where the rest poses already agree (trunk) or the clip's bone
            is no guide (hands).
        blend_with: turn half-way between `joint` and this one (a skeleton with fewer vertebrae).
        twist_deg: extra rotation about the body's bone, where the clip's elbows bend about another axis.
    """

    joint: str
    bone_end: str | None = None
    blend_with: str | None = None
    twist_deg: float = 0.0


def _both_sides(table: dict[str, JointSource], left: str, right: str) -> dict[str, JointSource]:
    """Add the right side to a table written for the left, exchanging a prefix of the names."""
    out = dict(table)
    for name, source in table.items():
        if name.endswith("_left"):
            end = source.bone_end
            out[name.removesuffix("left") + "right"] = JointSource(
                joint=source.joint.replace(left, right, 1),
                bone_end=end if end in (None, "end") else end.replace(left, right, 1),
                twist_deg=-source.twist_deg,
            )
    return out


CMU = _both_sides(
    {
        "pelvis": JointSource("Hips"),
        "spine1": JointSource("LowerBack"),
        "spine2": JointSource("Spine"),
        "spine3": JointSource("Spine1"),
        "neck": JointSource("Neck1"),
        "head": JointSource("Head"),
        "hip_left": JointSource("LeftUpLeg", "LeftLeg"),
        "knee_left": JointSource("LeftLeg", "LeftFoot"),
        "ankle_left": JointSource("LeftFoot", "LeftToeBase"),
        "collar_left": JointSource("LeftShoulder"),
        "shoulder_left": JointSource("LeftArm", "LeftForeArm", twist_deg=-30.0),
        "elbow_left": JointSource("LeftForeArm", "LeftHand"),
        "wrist_left": JointSource("LeftHand"),
    },
    "Left",
    "Right",
)
"""CMU skeleton (root `Hips`): legs spread by 20 degrees at rest, arms horizontal."""

POSER = _both_sides(
    {
        "pelvis": JointSource("hip"),
        "spine1": JointSource("hip", blend_with="abdomen"),
        "spine2": JointSource("abdomen"),
        "spine3": JointSource("chest"),
        "neck": JointSource("neck"),
        "head": JointSource("head"),
        "hip_left": JointSource("lThigh", "lShin"),
        "knee_left": JointSource("lShin", "lFoot"),
        "ankle_left": JointSource("lFoot", "end"),
        "collar_left": JointSource("lCollar"),
        "shoulder_left": JointSource("lShldr", "lForeArm", twist_deg=-30.0),
        "elbow_left": JointSource("lForeArm", "lHand"),
        "wrist_left": JointSource("lHand"),
    },
    "l",
    "r",
)
"""Poser skeleton (root `hip`): legs hang straight, no toes."""

SKELETON_MAPS: dict[str, dict[str, JointSource]] = {"Hips": CMU, "hip": POSER}
"""Known skeletons by the name of their root."""


_NEEDED = ("pelvis", *(f"{j}_{s}" for s in ("left", "right") for j in ("hip", "knee", "ankle")))


def retarget(
    clip: BvhClip,
    rest_joints: ArrayLike,
    *,
    model: str = "open",
    gender: str = "neutral",
    betas: ArrayLike | None = None,
    skeleton_map: dict[str, JointSource] | None = None,
    sole_m: float = SOLE_M,
) -> BodyParams:
    """Move the body as a clip moves its own skeleton.

    Args:
        clip: T frames, Y up, metres, facing +z in its rest pose with the left side at +x.
        rest_joints: (24, 3) metres of the body model for `betas`.
        model, gender, betas: written into the result; betas default to zeros.
        skeleton_map: which clip joint turns which joint of the body; by default chosen by the root's name.
        sole_m: see `sole_points`.
    Returns:
        T frames in the world frame (Y up, floor at y = 0); steps are scaled by the ratio of leg lengths.
    Raises:
        FormatError: the skeleton is unknown or lacks joints of its map.
    """
    rest = as_rest_joints(rest_joints)
    if rest.shape != (24, 3):
        raise ShapeError(f"rest_joints must be (24, 3) for one shape; got {rest.shape}.")
    table = _find_map(clip) if skeleton_map is None else skeleton_map
    _check_map(clip, table)
    world, positions = clip.world_rotations(), clip.world_positions()
    turned = np.empty((len(clip), 24, 3, 3))
    to_clip = np.empty((24, 3, 3))
    for j, name in enumerate(SMPL_SKELETON.joints):
        parent = SMPL_SKELETON.parents[j]
        source = table.get(name)
        if source is None:  # the hands, and toes of skeletons without them, follow their parent
            turned[:, j], to_clip[j] = turned[:, parent], to_clip[parent]
            continue
        inherited = np.eye(3) if parent < 0 else to_clip[parent]
        to_clip[j] = _rest_to_rest(clip, source, rest, j, inherited)
        turned[:, j] = _source_rotation(clip, source, world) @ to_clip[j]
    local = np.array(turned)
    for parent, child in SMPL_SKELETON.bones:
        local[:, child] = np.swapaxes(turned[:, parent], -1, -2) @ turned[:, child]
    pose = rotmat_to_rotvec(local)
    params = BodyParams(
        betas=np.broadcast_to(
            np.zeros(10) if betas is None else np.asarray(betas, dtype=np.float64), (len(clip), 10)
        ),
        global_orient=pose[:, 0],
        body_pose=pose[:, 1:],
        transl=_root_path(clip, positions, table, rest, pose),
        model=model,
        gender=gender,
        frame="world",
    )
    params = put_on_floor(params, rest, sole_m=sole_m)
    return put_on_floor(_bend_toes(params, rest, sole_m), rest, sole_m=sole_m)


def _find_map(clip: BvhClip) -> dict[str, JointSource]:
    table = SKELETON_MAPS.get(clip.joints[0])
    if table is None:
        raise FormatError(
            f"unknown skeleton with root {clip.joints[0]!r}; known roots: {', '.join(SKELETON_MAPS)}. "
            "Pass skeleton_map={'pelvis': JointSource('your root'), ...}."
        )
    return table


def _check_map(clip: BvhClip, table: dict[str, JointSource]) -> None:
    absent = [j for j in _NEEDED if j not in table]
    unknown = [j for j in table if j not in SMPL_SKELETON.joints]
    if absent or unknown:
        raise FormatError(f"skeleton map: joints needed but absent {absent}; names unknown {unknown}.")
    named = {n for s in table.values() for n in (s.joint, s.bone_end, s.blend_with)} - {None, "end"}
    missing = sorted(str(n) for n in named if n not in clip.joints)
    if missing:
        raise FormatError(
            f"the clip with root {clip.joints[0]!r} lacks joints of its skeleton map: {', '.join(missing)}; "
            f"it has: {', '.join(clip.joints)}."
        )


def _rest_to_rest(clip: BvhClip, source: JointSource, rest: Array, j: int, inherited: Array) -> Array:
    """(3, 3) constant rotation from the body's rest pose to the clip's rest pose for joint j."""
    if source.bone_end is None:
        return inherited
    if source.bone_end == "end":
        if source.joint not in clip.end_sites:
            raise FormatError(
                f"joint {source.joint!r} of the clip has no End Site, which gives its bone's direction."
            )
        target = clip.end_sites[source.joint]
    else:
        target = clip.offsets[clip.index(source.bone_end)]
    child = next((c for p, c in SMPL_SKELETON.bones if p == j), None)
    if child is None or not np.linalg.norm(target) > 0:
        raise FormatError(
            f"skeleton map: {SMPL_SKELETON.joints[j]!r} cannot follow {source.bone_end!r}: one of the bones "
            "has no length; leave bone_end out."
        )
    bone = rest[child] - rest[j]
    bone = bone / np.linalg.norm(bone)
    twist = Rotation.from_rotvec(np.radians(source.twist_deg) * bone).as_matrix()
    return _shortest_rotation(inherited @ bone, target) @ inherited @ twist


def _shortest_rotation(a: Array, b: Array) -> Array:
    """(3, 3) rotation by the smallest angle that turns direction a into direction b."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    axis = np.cross(a, b)
    sine = np.linalg.norm(axis)
    if sine < 1e-12:
        if a @ b > 0:
            return np.eye(3)
        axis = np.cross(a, np.eye(3)[int(np.argmin(np.abs(a)))])
        return Rotation.from_rotvec(np.pi * axis / np.linalg.norm(axis)).as_matrix()
    return Rotation.from_rotvec(np.arctan2(sine, a @ b) * axis / sine).as_matrix()


def _source_rotation(clip: BvhClip, source: JointSource, world: Array) -> Array:
    a = world[:, clip.index(source.joint)]
    if source.blend_with is None:
        return a
    between = np.swapaxes(a, -1, -2) @ world[:, clip.index(source.blend_with)]
    return a @ Rotation.from_rotvec(0.5 * Rotation.from_matrix(between).as_rotvec()).as_matrix()


def _root_path(
    clip: BvhClip, positions: Array, table: dict[str, JointSource], rest: Array, pose: Array
) -> Array:
    """(T, 3) translation that puts the middle of the hips on the clip's, scaled by leg length."""

    def leg_lengths(points: Array, names: list[int]) -> Array:
        return np.linalg.norm(np.diff(points[..., names, :], axis=-2), axis=-1).sum(-1)

    ours = [[SMPL_SKELETON.index(f"{j}_{s}") for j in ("hip", "knee", "ankle")] for s in ("left", "right")]
    theirs = [[clip.index(table[SMPL_SKELETON.joints[j]].joint) for j in leg] for leg in ours]
    scale = sum(leg_lengths(rest, leg) for leg in ours) / sum(
        leg_lengths(positions[0], leg) for leg in theirs
    )
    hips = [leg[0] for leg in ours]
    middle = scale * positions[:, [leg[0] for leg in theirs]].mean(axis=1)
    posed, _ = forward_kinematics(rest, pose, np.zeros((len(pose), 3)))
    return middle - posed[:, hips].mean(axis=1)


def _bend_toes(params: BodyParams, rest: Array, sole_m: float) -> BodyParams:
    """Bend the toes up as far as the heel is lifted while the ball of the foot is down.

    One toe marker leaves a clip's own toes unreliable: some point straight down while their owner stands.
    """
    positions, rotations = forward_kinematics(rest, params.pose, params.transl)
    height = sole_points(rest, positions, rotations, sole_m=sole_m)[..., 1]
    pose = params.body_pose.copy()
    for side, ball in (("left", 1), ("right", 4)):
        ankle, foot = SMPL_SKELETON.index(f"ankle_{side}"), SMPL_SKELETON.index(f"foot_{side}")
        toes_down = np.degrees(np.arcsin(np.clip(-rotations[:, ankle, 1, 2], -1, 1)))
        on_floor = 1 / (1 + np.exp((height[:, ball] - 0.05) / 0.012))
        pose[:, foot - 1] = 0
        pose[:, foot - 1, 0] = -np.radians(soft_clip(toes_down, 0, 45) * on_floor)
    return replace(params, body_pose=pose)


def mirror(params: BodyParams) -> BodyParams:
    """Reflect a motion at the plane x = 0 and exchange left and right.

    Convention:
        A rotation vector (x, y, z) becomes (x, -y, -z), as reflections turn axes.
        The rest pose is taken as symmetric, as body models make it to about a millimetre.
    """
    pose = params.pose[..., SMPL_SKELETON.flip, :] * [1.0, -1.0, -1.0]
    return replace(
        params,
        global_orient=pose[..., 0, :],
        body_pose=pose[..., 1:, :],
        transl=params.transl * [-1.0, 1.0, 1.0],
    )


def resample(params: BodyParams, t_us: ArrayLike, t_new_us: ArrayLike) -> BodyParams:
    """Parameters at new times: rotations on the sphere, translation and shape linearly.

    Args:
        params: T frames.
        t_us: (T,) times, increasing.
        t_new_us: (N,) times; outside the motion the nearest end is taken.
    Raises:
        ShapeError: lengths differ, or times do not increase.
    """
    t = np.asarray(t_us, dtype=np.float64)
    new = np.asarray(t_new_us, dtype=np.float64)
    if params.transl.ndim != 2 or t.shape != params.transl.shape[:1] or (np.diff(t) <= 0).any():
        raise ShapeError(
            f"need T frames and T increasing times; got {params.transl.shape[:-1]} frames, {t.shape} times."
        )
    pose = interpolate_rotvec(new, t, params.pose)

    def linear(values: Array) -> Array:
        return np.stack([np.interp(new, t, column) for column in values.T], axis=-1)

    return replace(
        params,
        betas=linear(params.betas),
        global_orient=pose[:, 0],
        body_pose=pose[:, 1:],
        transl=linear(params.transl),
    )


def time_warp(
    params: BodyParams, t_us: ArrayLike, speed: ArrayLike, *, fps: float
) -> tuple[BodyParams, NDArray[np.int64]]:
    """Play a motion at changing speed.

    Args:
        params, t_us: T frames and their times.
        speed: (T,) or a number > 0, playback speed at each source time; 0.01 nearly pauses, 2 doubles.
        fps: frames per second of the result.
    Returns:
        the motion on a uniform time grid, and that grid (N,) in microseconds, starting at t_us[0].
    """
    t = np.asarray(t_us, dtype=np.float64)
    rate = np.broadcast_to(np.asarray(speed, dtype=np.float64), t.shape)
    if not (rate > 0).all() or not fps > 0:
        raise ShapeError("playback speed and fps must be positive.")
    slowness = 1.0 / rate
    played = np.concatenate([[0.0], np.cumsum(np.diff(t) * (slowness[1:] + slowness[:-1]) / 2)])
    grid = np.arange(0.0, played[-1] + 0.5, 1e6 / fps)
    source = np.interp(grid, played, t)
    return resample(params, t, source), np.rint(t[0] + grid).astype(np.int64)


def random_speed(
    t_us: ArrayLike, rng: np.random.Generator, *, low: float = 0.5, high: float = 2.5, every_s: float = 2.0
) -> Array:
    """(T,) smooth playback speed for `time_warp`, log-uniform in [low, high] every `every_s` seconds."""
    t = np.asarray(t_us, dtype=np.float64)
    seconds = (t - t[0]) / 1e6
    knots = np.arange(0.0, seconds[-1] + 2 * every_s, every_s)
    level = rng.uniform(np.log(low), np.log(high), len(knots))
    k = np.minimum((seconds / every_s).astype(int), len(knots) - 2)
    u = seconds / every_s - k
    return np.asarray(np.exp(level[k] + (level[k + 1] - level[k]) * u * u * (3 - 2 * u)))
