"""One motion into another: smooth resampling, alignment, cross-fades on the floor, paths that stay near."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from eventhpe.body.fk import as_rest_joints, forward_kinematics, sole_points
from eventhpe.body.motion import move_params
from eventhpe.body.params import BodyParams
from eventhpe.errors import ShapeError
from eventhpe.geometry.rotation import rotvec_to_rotmat

Array = NDArray[np.float64]

_SOFT_M = 0.004  # soles this close share the ground; keeps the floor's correction smooth
_FREE_SHARE = 0.5  # of the radius of `keep_near`: within it a path is left alone


def sample_motion(params: BodyParams, t: ArrayLike) -> BodyParams:
    """A motion between its frames, with continuous velocities (cubic Hermite, slopes by Catmull-Rom).

    Args:
        params: T >= 2 frames.
        t: (N,) positions in frames; outside 0 .. T - 1 the nearest end is taken.
    Returns:
        N frames. At whole t they are the motion's own.

    Convention:
        Rotations are interpolated as quaternions and normalised. Linear (spherical) interpolation, as in
        `resample`, changes its speed at every frame, which shows when a clip is played slowly.
    Raises:
        ShapeError: fewer than two frames.
    """
    T = len(params.transl)
    if T < 2:
        raise ShapeError(f"interpolation needs at least 2 frames; got {T}.")
    at = np.clip(np.asarray(t, dtype=np.float64), 0.0, T - 1.0)
    i = np.minimum(at.astype(int), T - 2)
    u = at - i
    # Slopes are centred differences, one-sided at the ends: a neighbour that is missing is extrapolated.
    before, after = np.maximum(i - 1, 0), np.minimum(i + 2, T - 1)
    first, last = (i == 0), (i == T - 2)
    weights = np.stack(
        [-u + 2 * u**2 - u**3, 2 - 5 * u**2 + 3 * u**3, u + 4 * u**2 - 3 * u**3, -(u**2) + u**3]
    )
    weights /= 2

    def curve(values: list[Array]) -> Array:
        p0, p1, p2, p3 = values
        tail = (slice(None),) + (None,) * (p1.ndim - 1)
        p0 = np.where(first[tail], 2 * p1 - p2, p0)
        p3 = np.where(last[tail], 2 * p2 - p1, p3)
        return np.asarray(sum(w[tail] * p for w, p in zip(weights, (p0, p1, p2, p3), strict=True)))

    index = (before, i, i + 1, after)
    quats = [_quat(params.pose[k]) for k in index]
    for k in (0, 2, 3):
        quats[k] *= np.where((quats[k] * quats[1]).sum(-1, keepdims=True) < 0, -1.0, 1.0)
    pose = _rotvec(curve(quats))
    return replace(
        params,
        betas=params.betas[np.rint(at).astype(int)],
        global_orient=pose[:, 0],
        body_pose=pose[:, 1:],
        transl=curve([params.transl[k] for k in index]),
    )


def _quat(rotvec: Array) -> Array:
    return np.asarray(Rotation.from_rotvec(rotvec.reshape(-1, 3)).as_quat()).reshape(*rotvec.shape[:-1], 4)


def _rotvec(quat: Array) -> Array:
    return np.asarray(Rotation.from_quat(quat.reshape(-1, 4)).as_rotvec()).reshape(*quat.shape[:-1], 3)


def heading(global_orient: ArrayLike) -> Array:
    """(*) radians about +Y of root orientations (*, 3): the twist of the swing-twist decomposition.

    Unlike the direction of the chest it is well behaved for a person who bends over.
    """
    q = _quat(np.array(global_orient, dtype=np.float64))
    return np.asarray(2 * np.arctan2(q[..., 1], q[..., 3]))


def about_vertical(angle_rad: float) -> Array:
    """(3, 3) rotation about +Y."""
    c, s = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def align(params: BodyParams, frame: BodyParams, target: BodyParams, rest_pelvis: ArrayLike) -> BodyParams:
    """Turn a motion about the vertical and shift it on the floor so that `frame` lands on `target`.

    Args:
        params: T frames to move, in the world frame.
        frame, target: single bodies (no leading dimension) in the world frame; their pelves will lie above
            the same spot and share their heading. Heights are left alone.
        rest_pelvis: (3,) metres.
    """
    J0 = np.asarray(rest_pelvis, dtype=np.float64)
    R = about_vertical(float(heading(target.global_orient) - heading(frame.global_orient)))
    shift = (target.transl + J0) - R @ (frame.transl + J0)
    return move_params(params, R, shift * [1.0, 0.0, 1.0], J0, frame="world")


def cross_fade(a: BodyParams, b: BodyParams, weight: ArrayLike, rest_joints: ArrayLike) -> BodyParams:
    """Blend two motions of the same body frame by frame.

    Rotations go along great arcs, the pelvis along a straight line; then the body is lifted or lowered so
    that its lowest sole has the height between those of both motions: who stands in both stands in the blend.

    Args:
        a, b: T frames in the world frame.
        weight: (T,) in [0, 1], the share of b. Frames at 0 and 1 are a and b unchanged.
        rest_joints: (24, 3) metres.
    Raises:
        ShapeError: shapes differ, or the motions belong to different bodies.
    """
    w = np.asarray(weight, dtype=np.float64)
    if a.transl.shape != b.transl.shape or w.shape != a.transl.shape[:1]:
        raise ShapeError(
            "a cross-fade needs two motions and weights of one length; "
            f"got {a.transl.shape}, {b.transl.shape} and {w.shape}."
        )
    b.require_model(a.model)
    if not a.frame == b.frame == "world":
        raise ShapeError(
            f'a cross-fade needs both motions in frame "world"; got {a.frame!r} and {b.frame!r}.'
        )
    inside = (w > 0) & (w < 1)
    whole_b = w >= 1
    pose, transl = np.where(whole_b[:, None, None], b.pose, a.pose), a.transl.copy()
    transl[whole_b] = b.transl[whole_b]
    if inside.any():
        rest = as_rest_joints(rest_joints)
        wi = w[inside]
        pose_a, pose_b = a.pose[inside], b.pose[inside]
        mixed = _rotvec(_slerp(_quat(pose_a), _quat(pose_b), wi))
        path = a.transl[inside] + wi[:, None] * (b.transl[inside] - a.transl[inside])
        wanted = (1 - wi) * lowest_sole(rest, pose_a, a.transl[inside]) + wi * lowest_sole(
            rest, pose_b, b.transl[inside]
        )
        path[:, 1] += wanted - lowest_sole(rest, mixed, path)
        pose[inside], transl[inside] = mixed, path
    return replace(a, global_orient=pose[:, 0], body_pose=pose[:, 1:], transl=transl)


def _slerp(a: Array, b: Array, weight: Array) -> Array:
    """(T, J, 4) quaternions between two courses of quaternions.

    The way round is chosen once for each joint: where two courses pass through opposite rotations, the
    shorter arc changes sides from one frame to the next, and the joint would jump.
    """
    a, b = _continuous(a), _continuous(b)
    dot = (a * b).sum(-1)
    share = (weight * (1 - weight))[:, None]
    flip = np.where((share * dot).sum(0) < 0, -1.0, 1.0)
    b, dot = b * flip[:, None], dot * flip
    angle = np.arccos(np.clip(dot, -1.0, 1.0))
    sine = np.sin(angle)
    w = np.broadcast_to(weight[:, None], angle.shape)
    near = sine < 1e-6
    safe = np.where(near, 1.0, sine)
    wa = np.where(near, 1 - w, np.sin((1 - w) * angle) / safe)
    wb = np.where(near, w, np.sin(w * angle) / safe)
    return wa[..., None] * a + wb[..., None] * b


def _continuous(quat: Array) -> Array:
    """The same rotations (T, J, 4) with signs that do not change from frame to frame."""
    sign = np.where((quat[1:] * quat[:-1]).sum(-1) < 0, -1.0, 1.0)
    return quat * np.concatenate([np.ones_like(quat[:1, :, 0]), np.cumprod(sign, axis=0)])[..., None]


def lowest_sole(rest_joints: ArrayLike, pose: Array, transl: Array) -> Array:
    """(T,) height in metres of the lowest of the soles' six points, rounded where feet change over.

    Six points that are level count as they are.
    """
    soles = _soles(rest_joints, pose, transl)
    low = soles[..., 1].min(axis=-1)
    total = np.exp(-(soles[..., 1] - low[:, None]) / _SOFT_M).sum(axis=-1)
    return np.asarray(low - _SOFT_M * np.log(total / 6.0))


def hold_stance(
    a: BodyParams, b: BodyParams, mixed: BodyParams, weight: ArrayLike, rest_joints: ArrayLike
) -> Array:
    """Corrections that keep the standing foot of a cross-fade where it stands.

    Blended legs do not take the steps that the blended path of the root needs. With these corrections the
    lowest sole slides as much as it does in a and b, in their shares.

    Args:
        a, b, weight: T successive frames, as taken by `cross_fade`.
        mixed: what it gave.
        rest_joints: (24, 3) metres.
    Returns:
        (T, 3) to add to the translation, without height: 0 at the first frame. What has gathered at the last
        frame is to be added to all that follows.
    """
    w = np.asarray(weight, dtype=np.float64)
    share = ((w[1:] + w[:-1]) / 2)[:, None]
    slide_a, slide_b, slide = (_slides(rest_joints, p) for p in (a, b, mixed))
    steps = (1 - share) * slide_a + share * slide_b - slide
    return np.concatenate([np.zeros((1, 3)), np.cumsum(steps, axis=0)])


def _slides(rest_joints: ArrayLike, params: BodyParams) -> Array:
    """(T - 1, 3) metres that the lowest sole moves along the floor from frame to frame."""
    soles = _soles(rest_joints, params.pose, params.transl)
    share = np.exp(-(soles[..., 1] - soles[..., 1].min(axis=-1, keepdims=True)) / _SOFT_M)
    share /= share.sum(axis=-1, keepdims=True)
    between = (share[1:] + share[:-1])[..., None] / 2
    return np.asarray((between * np.diff(soles, axis=0)).sum(axis=1) * [1.0, 0.0, 1.0])


def _soles(rest_joints: ArrayLike, pose: Array, transl: Array) -> Array:
    """(T, 6, 3) points under the feet."""
    positions, rotations = forward_kinematics(rest_joints, pose, transl)
    return sole_points(rest_joints, positions, rotations)


def keep_near(path: ArrayLike, radius_m: float, *, step_s: float, slow_s: float = 0.5) -> Array:
    """Corrections that hold a walker near the origin, as a treadmill does.

    The slow part of the path (Gaussian, sigma `slow_s`) is kept as it is near the origin and squeezed from
    about half of the radius; steps, sway and jumps stay whole. Feet slide back only while a person walks on
    out there, by as much as the squeezing takes.

    Args:
        path: (T, 2) metres, positions on the floor at equal steps of `step_s` seconds.
        radius_m: the result stays within it.
        slow_s: seconds; shorter where a path leaves its slow part too far behind, as a sprint does that ends.
    Returns:
        (T, 2) to add to the path.
    Raises:
        ShapeError: a number that makes no sense.
    """
    p = np.asarray(path, dtype=np.float64)
    if not (radius_m > 0 and step_s > 0 and slow_s > 0) or p.ndim != 2 or p.shape[1] != 2:
        raise ShapeError(
            "keep_near needs a path (T, 2) and positive radius_m, step_s and slow_s; "
            f"got {p.shape}, {radius_m}, {step_s}, {slow_s}."
        )
    slow, quick = _slow_part(p, slow_s / step_s)
    while quick > 0.5 * radius_m:
        slow_s /= 2
        slow, quick = _slow_part(p, slow_s / step_s)
    limit = radius_m - quick
    free = _FREE_SHARE * limit
    distance = np.linalg.norm(slow, axis=1)
    beyond = np.maximum(distance - free, 0.0)
    held = np.minimum(distance, free) + (limit - free) * np.tanh(beyond / (limit - free))
    scale = np.divide(held, distance, out=np.ones_like(distance), where=distance > free)
    return np.asarray(slow * (scale - 1.0)[:, None])


def _slow_part(path: Array, sigma: float) -> tuple[Array, float]:
    """(T, 2) path without what is quicker than a Gaussian of `sigma` steps, and the most that takes off."""
    pad = int(np.ceil(4 * sigma))
    if len(path) < 2 or sigma < 0.1:
        return path, 0.0
    longer = np.pad(path, ((pad, pad), (0, 0)), mode="reflect", reflect_type="odd")
    slow = np.asarray(gaussian_filter1d(longer, sigma, axis=0)[pad:-pad])
    return slow, float(np.linalg.norm(path - slow, axis=1).max())


def mean_heading(global_orient: ArrayLike) -> float:
    """Radians about +Y from +z of the average direction in which roots (T, 3) face."""
    forward = rotvec_to_rotmat(global_orient)[:, :, 2].mean(axis=0)
    return float(np.arctan2(forward[0], forward[2]))
