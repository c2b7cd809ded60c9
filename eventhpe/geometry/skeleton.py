"""Skeletons: joints by name, parents and left/right pairs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import ShapeError


@dataclass(frozen=True)
class Skeleton:
    """Joint names in order and the parent of each (-1 for the root). Left and right are the subject's."""

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]

    def index(self, joint: str) -> int:
        """Position of a joint.

        Raises:
            ShapeError: the skeleton has no joint of that name.
        """
        try:
            return self.joints.index(joint)
        except ValueError:
            raise ShapeError(
                f"skeleton {self.name} has no joint {joint!r}; it has: {', '.join(self.joints)}."
            ) from None

    @cached_property
    def flip(self) -> NDArray[np.int64]:
        """(J,) index of each joint's mirror partner (itself on the midline)."""
        return np.array([self.index(_mirror_name(j)) for j in self.joints])

    @cached_property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """(parent, child) pairs."""
        return tuple((p, c) for c, p in enumerate(self.parents) if p >= 0)


def _mirror_name(joint: str) -> str:
    if joint.endswith("_left"):
        return joint[: -len("left")] + "right"
    if joint.endswith("_right"):
        return joint[: -len("right")] + "left"
    return joint


SMPL_SKELETON = Skeleton(
    name="smpl24",
    joints=(
        "pelvis", "hip_left", "hip_right", "spine1", "knee_left", "knee_right", "spine2", "ankle_left",
        "ankle_right", "spine3", "foot_left", "foot_right", "neck", "collar_left", "collar_right", "head",
        "shoulder_left", "shoulder_right", "elbow_left", "elbow_right", "wrist_left", "wrist_right",
        "hand_left", "hand_right",
    ),
    parents=(-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21),
)  # fmt: skip
"""The 24 joints of SMPL (Loper et al. 2015), in SMPL's order."""

DHP19_SKELETON = Skeleton(
    name="dhp19",
    joints=(
        "head", "shoulder_right", "shoulder_left", "elbow_right", "elbow_left", "hip_right", "hip_left",
        "hand_right", "hand_left", "knee_right", "knee_left", "foot_right", "foot_left",
    ),
    parents=(-1, 0, 0, 1, 2, 1, 2, 3, 4, 5, 6, 9, 10),
)  # fmt: skip
"""The 13 markers of DHP19 (Calabrese et al. 2019), in the official order; near the joints, not at them."""

DHP19_15_SKELETON = Skeleton(
    name="dhp19_15",
    joints=(*DHP19_SKELETON.joints, "pelvis", "thorax"),
    parents=(14, 14, 14, 1, 2, 13, 13, 3, 4, 5, 6, 9, 10, -1, 13),
)
"""DHP19's markers and two virtual joints: the middles of the hips and of the shoulders."""

SKELETONS = {s.name: s for s in (SMPL_SKELETON, DHP19_SKELETON, DHP19_15_SKELETON)}


def skeleton_by_name(name: str) -> Skeleton:
    """One of SKELETONS.

    Raises:
        ShapeError: there is none of that name.
    """
    if name not in SKELETONS:
        raise ShapeError(f"no skeleton {name!r}; there are: {', '.join(SKELETONS)}.")
    return SKELETONS[name]


@dataclass(frozen=True)
class Keypoints:
    """Positions of a skeleton's joints.

    Attributes:
        skeleton: the joints' names.
        xyz: (*, J, 3) metres in `frame`, or None.
        uv: (*, J, 2) pixels, or None.
        confidence: (*, J) in [0, 1].
        frame: "camera" or "world".
    """

    skeleton: Skeleton
    confidence: NDArray[np.float64]
    xyz: NDArray[np.float64] | None = None
    uv: NDArray[np.float64] | None = None
    frame: str = "camera"

    def __post_init__(self) -> None:
        J = len(self.skeleton.joints)
        for name, value, width in (("xyz", self.xyz, 3), ("uv", self.uv, 2)):
            if value is not None and value.shape != (*self.confidence.shape, width):
                raise ShapeError(
                    f"Keypoints.{name} must be {(*self.confidence.shape, width)}; got {value.shape}."
                )
        if self.confidence.shape[-1] != J:
            raise ShapeError(f"confidence must end in J = {J} joints; got {self.confidence.shape}.")
