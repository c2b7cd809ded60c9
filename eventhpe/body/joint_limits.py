"""Limits of the joints' rotation vectors."""

from __future__ import annotations

from dataclasses import dataclass

from eventhpe.geometry.skeleton import SMPL_SKELETON


@dataclass(frozen=True)
class JointLimit:
    """Smallest and largest rotation vector components (3,) of a joint, in degrees."""

    low: tuple[float, float, float]
    high: tuple[float, float, float]


_LIMITS_LEFT = {
    "pelvis": ((-180, -180, -180), (180, 180, 180)),
    "hip_left": ((-140, -60, -45), (50, 60, 75)),
    "knee_left": ((-10, -25, -25), (155, 25, 25)),
    "ankle_left": ((-50, -40, -45), (60, 40, 45)),
    "foot_left": ((-50, -25, -25), (50, 25, 25)),
    "spine1": ((-30, -30, -30), (50, 30, 30)),
    "spine2": ((-30, -30, -30), (50, 30, 30)),
    "spine3": ((-30, -30, -30), (50, 30, 30)),
    "neck": ((-45, -50, -40), (50, 50, 40)),
    "head": ((-45, -50, -40), (50, 50, 40)),
    "collar_left": ((-30, -40, -35), (30, 40, 45)),
    "shoulder_left": ((-150, -150, -130), (150, 150, 130)),
    "elbow_left": ((-115, -165, -100), (115, 15, 100)),
    "wrist_left": ((-90, -60, -90), (90, 60, 90)),
    "hand_left": ((-45, -45, -90), (45, 45, 90)),
}


def joint_limits() -> dict[str, JointLimit]:
    """Generous limits of every joint's rotation vector, by joint name: outside them a pose is implausible."""
    out = {}
    for joint in SMPL_SKELETON.joints:
        low, high = _LIMITS_LEFT[joint.replace("_right", "_left")]
        if joint.endswith("_right"):  # a mirrored rotation vector is (x, -y, -z)
            low, high = (low[0], -high[1], -high[2]), (high[0], -low[1], -low[2])
        out[joint] = JointLimit(low=low, high=high)
    return out
