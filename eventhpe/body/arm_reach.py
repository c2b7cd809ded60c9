"""Bringing a hand to a place: the angles of the arm by inverse kinematics."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from eventhpe.body.pose_track import soft_clip
from eventhpe.body.stage import Stage
from eventhpe.geometry.skeleton import SMPL_SKELETON

Array = NDArray[np.float64]

_STRAIGHT_DEG = 9.0  # an arm reaches no further than with this little flexion left in the elbow
_REACH_M = 0.004
_CHAIN = ("pelvis", "spine1", "spine2", "spine3")


def arm_length(s: Stage) -> float:
    """Metres from shoulder to wrist of the straight arm."""
    shoulder, elbow, wrist = (
        s.rest_joints[SMPL_SKELETON.index(f"{name}_left")] for name in ("shoulder", "elbow", "wrist")
    )
    return float(np.linalg.norm(elbow - shoulder) + np.linalg.norm(wrist - elbow))


def reach(
    s: Stage,
    side: str,
    offset: Array,
    *,
    elbow: ArrayLike = (0.4, -1.0, -0.4),
    palm: ArrayLike | None = None,
    fingers: ArrayLike | None = None,
    follow: float = 1.0,
) -> None:
    """Bring a wrist to a place. Call after `Stage.body`.

    Args:
        side: "left" or "right".
        offset: (T, 3) metres from the middle between the shoulders at rest to the wrist: x outwards to that
            side, y up, z ahead.
        elbow: (3,) or (T, 3) where the elbow points, same axes; never along the line from shoulder to wrist.
        palm: where the palm looks, same axes; None leaves the forearm untwisted.
        fingers: where the fingers point as far as bending the wrist allows; None keeps the wrist straight.
        follow: 1 uses the axes of the chest, which turn with it, 0 those of the performer.
    """
    frames = len(s.t)
    rest = {
        name: s.rest_joints[SMPL_SKELETON.index(f"{name}_{side}")] * _flip(side)
        for name in ("collar", "shoulder", "elbow", "wrist")
    }
    chest, R_axes = _chest(s, side, follow)
    middle = rest["shoulder"] * [0.0, 1.0, 1.0]

    def into_chest(v: ArrayLike) -> Array:
        world = np.einsum("tij,tj->ti", R_axes, np.broadcast_to(np.asarray(v, np.float64), (frames, 3)))
        return np.asarray(np.einsum("tji,tj->ti", chest, world))

    target, pole = middle + into_chest(offset), into_chest(elbow)
    upper, fore = rest["elbow"] - rest["shoulder"], rest["wrist"] - rest["elbow"]
    along, across = upper[0] * fore[0] + upper[2] * fore[2], upper[2] * fore[0] - upper[0] * fore[2]
    square, side_part = upper @ upper + fore @ fore, upper[1] * fore[1]

    def flexion(distance: Array) -> Array:
        k = (distance**2 - square) / 2 - side_part
        return np.asarray(np.arctan2(across, along) + np.arccos(np.clip(k / np.hypot(along, across), -1, 1)))

    limit = float(np.linalg.norm(upper + Rotation.from_euler("Y", -_STRAIGHT_DEG, degrees=True).apply(fore)))
    shrug = np.zeros(frames)
    for _ in range(4):  # the shoulder girdle follows the arm a little, which moves the shoulder
        girdle = Rotation.from_euler("Z", shrug[:, None], degrees=True)
        shoulder = rest["collar"] + girdle.apply(rest["shoulder"] - rest["collar"])
        p = girdle.inv().apply(target - shoulder)
        far = np.linalg.norm(p, axis=1)
        theta = flexion(soft_clip(far, 0.22 * limit, limit, width=_REACH_M))
        bent = Rotation.from_euler("Y", -theta[:, None])
        e1 = upper + bent.apply(fore)
        S = _frame(p, girdle.inv().apply(pole)) @ _frame(e1, np.broadcast_to(upper, e1.shape)).transpose(
            0, 2, 1
        )
        swing = np.degrees(-np.arccos(np.clip(S[:, 0, 0], -1, 1)))
        abduct = swing + 90 + shrug
        shrug = np.clip((abduct - 60) / 120, 0, 1) ** 2 * 25
    forearm = Rotation.from_matrix(chest) * girdle * Rotation.from_matrix(S) * bent
    pronate, bend = np.zeros(frames), np.zeros(frames)
    if palm is not None:
        q = forearm.inv().apply(np.einsum("tij,tj->ti", chest, into_chest(palm)))
        pronate = soft_clip(np.degrees(np.arctan2(-q[:, 2], -q[:, 1])), -80, 80)
    if fingers is not None:
        hand = forearm * Rotation.from_euler("X", pronate[:, None], degrees=True)
        q = hand.inv().apply(np.einsum("tij,tj->ti", chest, into_chest(fingers)))
        bend = soft_clip(np.degrees(np.arctan2(-q[:, 1], q[:, 0])), -60, 60)
    s.pose.arm(
        side,
        abduct=abduct,
        flex=-np.degrees(np.arctan2(-S[:, 2, 0], -S[:, 1, 0])),
        elbow=np.degrees(theta),
        twist=np.degrees(np.arctan2(-S[:, 0, 2], S[:, 0, 1])),
        pronate=pronate,
        wrist=bend,
    )


def _flip(side: str) -> Array:
    return np.array([-1.0 if side == "right" else 1.0, 1.0, 1.0])


def _chest(s: Stage, side: str, follow: float) -> tuple[Array, Array]:
    """(T, 3, 3) rotation of the chest in the performer's frame and of the axes for targets, both mirrored."""
    pose = s.pose.rotvec * ([1.0, -1.0, -1.0] if side == "right" else [1.0, 1.0, 1.0])
    heading = np.broadcast_to(s.heading, s.t.shape)[:, None] * (-1.0 if side == "right" else 1.0)
    total = Rotation.from_euler("Y", -heading, degrees=True)
    for joint in _CHAIN:
        total = total * Rotation.from_rotvec(pose[:, SMPL_SKELETON.index(joint)])
    axes = Rotation.from_rotvec(follow * total.as_rotvec())
    return total.as_matrix(), axes.as_matrix()


def _frame(first: Array, second: Array) -> Array:
    """(T, 3, 3) right-handed axes in columns: along `first`, towards `second`, and square to both."""
    x = first / np.linalg.norm(first, axis=1, keepdims=True)
    y = second - (second * x).sum(axis=1, keepdims=True) * x
    y /= np.linalg.norm(y, axis=1, keepdims=True)
    return np.stack([x, y, np.cross(x, y)], axis=-1)
