"""Places on the resting body that clothes are cut by, measured on the template itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import FormatError, ShapeError
from eventhpe.geometry.skeleton import SMPL_SKELETON

CROWN_TO_NOSE = 0.66
"""Share of the head's height between crown and tip of the nose, from the painters' canon of proportions."""


@dataclass(frozen=True)
class Landmarks:
    """Heights, half-widths and depths of a T-posed template (+x the person's left, +y up, +z forward).

    All numbers are metres in the coordinates of the template; x is that of the left side.

    Attributes:
        joints: (24, 3) joints of the resting body in SMPL's order.
        crown_y, sole_y, crotch_y: highest and lowest point, and the lowest point on the midline of the trunk.
        nose: (3,) tip of the nose.
        chest_radius, chest_z: mean half-width of the trunk below the chest, and the depth of its middle.
        arm_radius, leg_radius: half the thickness of upper arm and thigh.
    """

    joints: NDArray[np.float64]
    crown_y: float
    sole_y: float
    crotch_y: float
    nose: NDArray[np.float64]
    chest_radius: float
    chest_z: float
    arm_radius: float
    leg_radius: float

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]]) -> Landmarks:
        """Measure body arrays with `v_template` (V, 3), `J_regressor` (24, V) and `f` (F, 3).

        Raises:
            ShapeError: an array is missing or has another shape.
            FormatError: the template is not a person in T-pose.
        """
        v = np.asarray(arrays.get("v_template", ()), np.float64)
        regressor = np.asarray(arrays.get("J_regressor", ()), np.float64)
        faces = np.asarray(arrays.get("f", np.zeros(0, np.int32)))
        if v.ndim != 2 or v.shape[1:] != (3,) or regressor.shape != (24, len(v)) or faces.shape[1:] != (3,):
            raise ShapeError(
                "landmarks need v_template (V, 3), J_regressor (24, V) and f (F, 3); got "
                f"{v.shape}, {regressor.shape}, {faces.shape}."
            )
        joints = np.einsum("jv,vc->jc", regressor, v)
        at = dict(zip(SMPL_SKELETON.joints, joints, strict=True))
        height = float(np.ptp(v[:, 1]))
        order = ("ankle_left", "knee_left", "hip_left", "spine1", "spine3", "neck", "head")
        heights = [at[name][1] for name in order]
        reach = [at[name][0] for name in ("shoulder_left", "elbow_left", "wrist_left", "hand_left")]
        if not (np.diff(heights) > 0).all() or not (np.diff(reach) > 0).all() or reach[3] < 0.3 * height:
            raise FormatError(
                "the template is no person in T-pose with +x to the left and +y up: joints from ankle to "
                f"head lie at y = {np.round(heights, 3).tolist()}, from shoulder to hand at x = "
                f"{np.round(reach, 3).tolist()}. Give the arrays of an SMPL-structured body."
            )
        slab = 0.01 * height

        def near(value: NDArray[np.float64], target: float) -> NDArray[np.bool_]:
            return np.abs(value - target) < slab

        shoulder, elbow = at["shoulder_left"], at["elbow_left"]
        trunk = v[near(v[:, 1], at["spine2"][1]) & (np.abs(v[:, 0]) < shoulder[0])]
        ends = v[faces]  # (F, 3, 3); the midline runs through the faces with corners on both sides
        astride = (ends[:, :, 0].min(1) < 0) & (ends[:, :, 0].max(1) > 0)
        midline = ends[astride & (ends[:, :, 1].min(1) > at["knee_left"][1])].mean(1)
        upper_arm = v[near(v[:, 0], (shoulder[0] + elbow[0]) / 2) & (v[:, 1] > at["spine1"][1])]
        thigh = v[near(v[:, 1], (at["hip_left"][1] + at["knee_left"][1]) / 2) & (v[:, 0] > 0)]
        head = v[v[:, 1] > at["neck"][1]]
        if min(map(len, (trunk, midline, upper_arm, thigh, head))) < 3:
            raise FormatError(
                f"the template has too few vertices ({len(v)}) to find trunk, arm, thigh and head on."
            )
        chest = np.ptp(trunk, axis=0)
        return cls(
            joints=joints,
            crown_y=float(v[:, 1].max()),
            sole_y=float(v[:, 1].min()),
            crotch_y=float(midline[:, 1].min()),
            nose=head[head[:, 2].argmax()],
            chest_radius=float(chest[0] + chest[2]) / 4,
            chest_z=float(trunk[:, 2].min() + chest[2] / 2),
            arm_radius=float(np.ptp(upper_arm[:, 1])) / 2,
            leg_radius=float(np.ptp(thigh[:, 0])) / 2,
        )

    def joint(self, name: str) -> NDArray[np.float64]:
        """(3,) a joint by its name in SMPL's skeleton; paired ones give the side asked for."""
        return self.joints[SMPL_SKELETON.index(name)]

    @property
    def head_height(self) -> float:
        """Crown to chin, from crown and nose (`CROWN_TO_NOSE`)."""
        return float(self.crown_y - self.nose[1]) / CROWN_TO_NOSE

    @property
    def chin_y(self) -> float:
        """Height of the chin."""
        return self.crown_y - self.head_height
