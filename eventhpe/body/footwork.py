"""Placing the feet on the floor and the pelvis over them: the angles of the legs by inverse kinematics.

Frame of the performer: origin on the floor, x to the performer's left, y up, z ahead; metres.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from eventhpe.body.fk import SOLE_M
from eventhpe.body.pose_track import soft_clip
from eventhpe.body.stage import SIDES, Placement, Stage
from eventhpe.geometry.skeleton import SMPL_SKELETON

Array = NDArray[np.float64]
Values = float | Array
"""A number, or (T,) numbers."""

_STRAIGHT_DEG = 4.0  # a leg reaches no further than with this little flexion left in the knee
_TALL_M = 0.004  # who stands tall keeps this much in reserve
_HEEL = 0.4  # heel behind the ankle, in lengths from ankle to ball; as in `fk.sole_points`


@dataclass(frozen=True)
class FootPath:
    """Where one foot is.

    Attributes:
        x, z: metres, place of the ankle while the sole lies flat.
        lift: metres from the floor up to the sole, where the foot pitches.
        sole: pitch of the sole in degrees: heel up about the ball (> 0), toes up about the heel (< 0).
        turn_out: degrees from straight ahead outwards.
        toes: degrees the toes bend up; None keeps them level while the heel is up.
    """

    x: Values
    z: Values = 0.0
    lift: Values = 0.0
    sole: Values = 0.0
    turn_out: Values = 0.0
    toes: Values | None = None


@dataclass(frozen=True)
class FreeLeg:
    """A leg that leaves its place: joint angles in degrees as in `PoseTrack.leg`.

    Attributes:
        weight: (T,) 0 follows the `FootPath`, 1 has these angles.
        bend: (T,) the same for the knee, which may lead; None takes `weight`.
        ankle: toes down from square to the shin.
    """

    weight: Array
    flex: Values = 0.0
    knee: Values = 5.0
    abduct: Values = 0.0
    turn_out: Values = 0.0
    ankle: Values = 0.0
    bend: Array | None = None


def stance(s: Stage) -> dict[str, FootPath]:
    """Both feet side by side in the performer's own stance."""
    out = {}
    leg = (
        s.rest_joints[SMPL_SKELETON.index("hip_left"), 1]
        - s.rest_joints[SMPL_SKELETON.index("ankle_left"), 1]
    )
    for side, sign in (("left", 1), ("right", -1)):
        hip = sign * s.rest_joints[SMPL_SKELETON.index(f"hip_{side}"), 0]
        out[side] = FootPath(x=sign * (0.9 * hip + leg * np.sin(np.radians(s.stance))), turn_out=s.turn_out)
    return out


def tallest(
    s: Stage,
    feet: Mapping[str, FootPath],
    x: ArrayLike = 0.0,
    z: ArrayLike = 0.0,
    *,
    slack: Mapping[str, ArrayLike] | None = None,
) -> Array:
    """(T,) greatest height of the pelvis from which both feet reach their places, were `lift` 0.

    Args:
        s: the stage; `Stage.body` must have been called.
        x, z: place of the pelvis over the floor.
        slack: side to metres that its leg may lack, because the foot is about to leave the floor or has left.
    """
    pelvis = np.stack(np.broadcast_arrays(x, np.zeros(len(s.t)), z), axis=-1)
    heights = []
    for side in SIDES:
        leg = _Leg(s, side)
        hip = pelvis + _mirrored(leg.R_pelvis @ leg.hip, side)
        ankle = leg.ankle_place(feet[side], np.zeros(len(s.t)))
        away = np.square((ankle - hip)[:, [0, 2]]).sum(axis=1)
        rise = np.sqrt(np.maximum((leg.reach - _TALL_M) ** 2 - away, 0.04 * leg.reach**2))
        heights.append(ankle[:, 1] + rise - hip[:, 1] + (slack or {}).get(side, 0.0))
    stacked = np.stack(np.broadcast_arrays(*heights))
    width = 0.003
    return np.asarray(-width * np.logaddexp(*(-stacked / width)) + width * np.log(2.0))


def place(
    s: Stage,
    feet: Mapping[str, FootPath],
    *,
    height: ArrayLike,
    x: ArrayLike = 0.0,
    z: ArrayLike = 0.0,
    free: Mapping[str, FreeLeg] | None = None,
    soft_m: float = 0.0015,
) -> None:
    """Put the pelvis at (x, height, z) and the feet in their places. Call after `Stage.body`.

    A foot out of reach stays on the line from its place to the hip; the leg slows down within about `soft_m`
    of its full length, so that a knee in swing does not stop dead.
    """
    pelvis = np.stack(np.broadcast_arrays(x, height, z, np.zeros(len(s.t)))[:3], axis=-1)
    ankles = {}
    for side in SIDES:
        leg, foot = _Leg(s, side), feet[side]
        lift = np.broadcast_to(np.asarray(foot.lift, np.float64), s.t.shape)
        angles = leg.solve(leg.ankle_place(foot, lift) - pelvis, foot.turn_out, soft_m)
        ankle = leg.hold_sole(angles, foot)
        toes = soft_clip(np.maximum(foot.sole, 0.0), high=47, width=1.0) if foot.toes is None else foot.toes
        gone = (free or {}).get(side)
        if gone is not None:
            w, bend = gone.weight, gone.weight if gone.bend is None else gone.bend
            target = {"flex": gone.flex, "abduct": gone.abduct, "turn_out": gone.turn_out}
            angles = {k: v + w * (target.get(k, v) - v) for k, v in angles.items()} | {
                "knee": angles["knee"] + bend * (gone.knee - angles["knee"])
            }
            tilt = np.zeros_like(ankle)
            tilt[:, 0] = np.radians(gone.ankle)
            ankle = ankle + w[:, None] * (tilt - ankle)
            toes = (1 - w) * toes
        s.pose.leg(side, **angles, toes=toes, flat=0)
        ankles[side] = ankle * ([1.0, -1.0, -1.0] if side == "right" else [1.0, 1.0, 1.0])
    s.placement = Placement(pelvis=pelvis, ankles=ankles)


def stand(s: Stage, *, crouch: Values = 0.0, x: ArrayLike = 0.0, z: ArrayLike = 0.0) -> None:
    """Stand in the performer's stance with a little sway. Call after `Stage.body`."""
    feet = stance(s)
    x, z = np.add(x, s.noise(0.006, 0.2)), np.add(z, s.noise(0.005, 0.2))
    place(s, feet, height=tallest(s, feet, x, z) - crouch, x=x, z=z)


def _mirrored(points: Array, side: str) -> Array:
    return points * ([-1.0, 1.0, 1.0] if side == "right" else [1.0, 1.0, 1.0])


class _Leg:
    """One leg of a performer, seen in a mirror if it is the right one, so that all legs are left ones."""

    def __init__(self, s: Stage, side: str) -> None:
        rest = {
            name: _mirrored(s.rest_joints[SMPL_SKELETON.index(f"{name}_{side}")], side)
            for name in ("hip", "knee", "ankle", "foot")
        }
        self.side = side
        self.hip = rest["hip"] - s.rest_joints[0]
        self.thigh, self.shin = rest["knee"] - rest["hip"], rest["ankle"] - rest["knee"]
        self.ankle_height = rest["ankle"][1] - rest["foot"][1] + SOLE_M
        self.ball = rest["foot"][2] - rest["ankle"][2]
        self.reach = float(np.linalg.norm(self._hip_to_ankle(np.radians([_STRAIGHT_DEG]))))
        R = Rotation.from_euler("Y", -np.broadcast_to(s.heading, s.t.shape)[:, None], degrees=True)
        turned = (R * Rotation.from_rotvec(s.pose.rotvec[:, 0])).as_rotvec()
        self.R_pelvis = Rotation.from_rotvec(
            turned * ([1.0, -1.0, -1.0] if side == "right" else 1.0)
        ).as_matrix()

    def _hip_to_ankle(self, knee: Array) -> Array:
        turned = Rotation.from_euler("X", np.asarray(knee)[:, None]).apply(self.shin)
        return np.asarray(self.thigh + turned)

    def ankle_place(self, foot: FootPath, lift: Array) -> Array:
        """(T, 3) the ankle joint in the performer's frame."""
        sole = np.radians(np.broadcast_to(np.asarray(foot.sole, np.float64), lift.shape))
        c, sin = np.cos(sole), np.sin(sole)
        # the heel rises about the joint of the toes, which lies in the flesh; the toes rise about the skin
        lever = np.where(sole > 0, self.ball, -_HEEL * self.ball)
        under = np.where(sole > 0, SOLE_M, 0.0)
        up = under + (self.ankle_height - under) * c + lever * sin
        ahead = (self.ankle_height - under) * sin + lever * (1 - c)
        yaw = np.radians(foot.turn_out)
        out = ahead * np.sin(yaw) * (1 if self.side == "left" else -1)
        return np.stack(
            np.broadcast_arrays(foot.x + out, lift + up, foot.z + ahead * np.cos(yaw)), axis=-1
        ).astype(np.float64)

    def solve(self, ankle: Array, turn_out: ArrayLike, soft_m: float) -> dict[str, Array]:
        """Angles in degrees that bring the ankle to (T, 3) metres from the pelvis joint."""
        target = np.einsum("tji,tj->ti", self.R_pelvis, _mirrored(ankle, self.side)) - self.hip
        far = np.linalg.norm(target, axis=1)
        near = soft_clip(far, 0.25 * self.reach, self.reach, width=soft_m)
        target = target * (near / far)[:, None]
        a, b = self.thigh, self.shin
        along, across = a[1] * b[1] + a[2] * b[2], a[2] * b[1] - a[1] * b[2]
        k = (near**2 - a @ a - b @ b) / 2 - a[0] * b[0]
        knee = np.arctan2(across, along) + np.arccos(np.clip(k / np.hypot(along, across), -1.0, 1.0))
        out = np.broadcast_to(np.asarray(turn_out, np.float64), knee.shape)
        v = Rotation.from_euler("Y", out[:, None], degrees=True).apply(self._hip_to_ankle(knee))
        share = np.clip(target[:, 0] / np.hypot(v[:, 0], v[:, 1]), -1.0, 1.0)
        abduct = -np.arccos(share) - np.arctan2(v[:, 1], v[:, 0])
        low = v[:, 0] * np.sin(abduct) + v[:, 1] * np.cos(abduct)
        flex = np.arctan2(v[:, 2], low) - np.arctan2(target[:, 2], target[:, 1])
        flex = np.mod(flex + np.pi, 2 * np.pi) - np.pi
        return {
            "flex": np.degrees(flex),
            "knee": np.degrees(knee),
            "abduct": np.degrees(abduct),
            "turn_out": out,
        }

    def hold_sole(self, angles: Mapping[str, Array], foot: FootPath) -> Array:
        """(T, 3) rotation vectors of the mirrored leg's ankle that give the sole its pitch and turn."""
        hip = Rotation.from_euler(
            "XZY",
            np.stack([-angles["flex"], angles["abduct"], angles["turn_out"]], axis=1),
            degrees=True,
        )
        shin = (
            Rotation.from_matrix(self.R_pelvis)
            * hip
            * Rotation.from_euler("X", angles["knee"][:, None], degrees=True)
        )
        yaw, sole = (
            np.broadcast_to(np.asarray(a, np.float64), angles["knee"].shape)
            for a in (foot.turn_out, foot.sole)
        )
        wanted = Rotation.from_euler("YX", np.stack([yaw, sole], axis=1), degrees=True)
        return np.asarray((shin.inv() * wanted).as_rotvec())
