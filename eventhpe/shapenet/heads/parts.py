"""The 14 body parts of HEMlets, by joint names, for each skeleton that has them (Zhou et al., ICCV 2019)."""

from __future__ import annotations

from eventhpe.errors import ShapeError
from eventhpe.geometry.skeleton import Skeleton

_ROLES = (
    ("pelvis", "hip_right"), ("hip_right", "knee_right"), ("knee_right", "ankle_right"),
    ("pelvis", "hip_left"), ("hip_left", "knee_left"), ("knee_left", "ankle_left"),
    ("pelvis", "thorax"),
    ("thorax", "shoulder_right"), ("shoulder_right", "elbow_right"), ("elbow_right", "wrist_right"),
    ("thorax", "shoulder_left"), ("shoulder_left", "elbow_left"), ("elbow_left", "wrist_left"),
    ("thorax", "head"),
)  # fmt: skip

NUM_PARTS = len(_ROLES)

_INSTEAD = {
    "dhp19_15": {
        "ankle_right": "foot_right", "ankle_left": "foot_left", "wrist_right": "hand_right",
        "wrist_left": "hand_left",
    },
    "smpl24": {"thorax": "neck"},
}  # fmt: skip
"""Joints that play a role under another name."""


def body_parts(skeleton: Skeleton) -> tuple[tuple[int, int], ...]:
    """(parent, child) joint indices of the 14 parts, trunk outwards.

    Raises:
        ShapeError: the skeleton lacks a joint that a part needs.
    """
    instead = _INSTEAD.get(skeleton.name, {})
    needed = {role: instead.get(role, role) for pair in _ROLES for role in pair}
    absent = sorted({joint for joint in needed.values() if joint not in skeleton.joints})
    if absent:
        raise ShapeError(
            f"skeleton {skeleton.name} has no {', '.join(absent)}, which HEMlets' 14 parts need; use "
            "dhp19_15 or smpl24."
        )
    return tuple((skeleton.index(needed[parent]), skeleton.index(needed[child])) for parent, child in _ROLES)


def mirrored_parts(skeleton: Skeleton) -> tuple[int, ...]:
    """Index of each part's mirror partner."""
    parts, flip = body_parts(skeleton), skeleton.flip.tolist()
    return tuple(parts.index((flip[parent], flip[child])) for parent, child in parts)
