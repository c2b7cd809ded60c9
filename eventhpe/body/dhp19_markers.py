"""The 13 markers of DHP19 (Calabrese et al. 2019) as points on the skin of a body model.

DHP19's labels are motion-capture markers near the joints, not joint centres. The data set does not publish
where on the body they sat, so the places here are those of common marker sets, each by one geometric rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventhpe.body.default import open_body_arrays
from eventhpe.errors import FormatError, ShapeError
from eventhpe.geometry.skeleton import DHP19_SKELETON, SMPL_SKELETON

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class SkinRule:
    """Where a marker sits: the first skin that a ray from inside the resting body meets.

    Attributes:
        start: (joint, share) pairs without side; the ray starts at the weighted mean of these joints.
        towards: (outward, up, forward) direction in the T-pose; outward is away from the midline.
    """

    start: tuple[tuple[str, float], ...]
    towards: tuple[float, float, float]


SKIN_RULES: Mapping[str, SkinRule] = {
    # crown, above the joint between skull and neck
    "head": SkinRule((("head", 1.0),), (0.0, 1.0, 0.0)),
    # tip of the acromion: above the joint, a little towards the neck
    "shoulder": SkinRule((("shoulder", 0.75), ("collar", 0.25)), (0.0, 1.0, 0.0)),
    # lateral epicondyle: the hinge of an elbow that bends forwards is upright in the T-pose
    "elbow": SkinRule((("elbow", 1.0),), (0.0, 1.0, 0.0)),
    # front upper spine of the pelvis: outward, above and before the hip joint
    "hip": SkinRule((("hip", 1.0),), (0.4, 0.8, 0.6)),
    # back of the hand, between wrist and knuckles, palm down in the T-pose
    "hand": SkinRule((("wrist", 0.5), ("hand", 0.5)), (0.0, 1.0, 0.0)),
    # lateral epicondyle
    "knee": SkinRule((("knee", 1.0),), (1.0, 0.0, 0.0)),
    # instep, between ankle and toes
    "foot": SkinRule((("ankle", 0.4), ("foot", 0.6)), (0.0, 1.0, 0.0)),
}
"""Rule of each marker; left and right follow the same one, mirrored."""


@dataclass(frozen=True)
class MarkerSet:
    """Markers that stick to the skin: each is a fixed point of one face of the mesh.

    Attributes:
        names: M names, in the order of the markers.
        vertex_ids: (M, 3) int64 corners of each marker's face.
        weights: (M, 3) float64 barycentric coordinates in it, summing to 1.
    """

    names: tuple[str, ...]
    vertex_ids: NDArray[np.int64]
    weights: F64

    def __post_init__(self) -> None:
        shape = (len(self.names), 3)
        for name, dtype in (("vertex_ids", np.int64), ("weights", np.float64)):
            value = np.array(getattr(self, name), dtype)
            if value.shape != shape:
                raise ShapeError(f"MarkerSet.{name} must be {shape}; got {value.shape}.")
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        if self.vertex_ids.min(initial=0) < 0:
            raise ShapeError("MarkerSet.vertex_ids must not be negative.")
        if (self.weights < 0).any() or not np.allclose(self.weights.sum(1), 1.0):
            raise ShapeError("MarkerSet.weights must not be negative and sum to 1 per marker.")

    def positions(self, vertices: ArrayLike) -> F64:
        """(*, M, 3) markers on a body of any shape and pose.

        Args:
            vertices: (*, V, 3) metres in any frame, of the mesh that the set was made for.
        Raises:
            ShapeError: not (*, V, 3), or fewer vertices than the set names.
        """
        xyz = np.asarray(vertices)
        if xyz.ndim < 2 or xyz.shape[-1] != 3:
            raise ShapeError(f"vertices must be (*, V, 3); got {xyz.shape}.")
        if xyz.shape[-2] <= self.vertex_ids.max(initial=-1):
            raise ShapeError(
                f"these markers belong to a mesh of at least {self.vertex_ids.max() + 1} vertices; "
                f"got {xyz.shape[-2]}."
            )
        corners = xyz[..., self.vertex_ids, :].astype(np.float64)
        return np.asarray(np.einsum("...mkc,mk->...mc", corners, self.weights))


@lru_cache(maxsize=1)
def open_body_markers() -> MarkerSet:
    """The 13 markers on the open body, named and ordered as DHP19_SKELETON."""
    return skin_markers(open_body_arrays())


def skin_markers(arrays: Mapping[str, NDArray[Any]]) -> MarkerSet:
    """The 13 markers on a body model by SKIN_RULES, on its mean shape in the T-pose.

    Args:
        arrays: checked body arrays (`eventhpe.body.arrays.check_body_arrays`) with SMPL's 24 joints.
    Returns:
        Markers named and ordered as DHP19_SKELETON. They keep their place on the skin in other shapes.
    Raises:
        FormatError: no skin where a rule looks for it (the template is not in T-pose, or has holes).
    """
    template = arrays["v_template"].astype(np.float64)
    joints = arrays["J_regressor"].astype(np.float64) @ template
    faces = arrays["f"].astype(np.int64)
    ids, weights = [], []
    for name in DHP19_SKELETON.joints:
        part, _, side = name.partition("_")
        rule = SKIN_RULES[part]
        suffix = f"_{side}" if side else ""
        start = sum(
            (share * joints[SMPL_SKELETON.index(joint + suffix)] for joint, share in rule.start), np.zeros(3)
        )
        towards = np.array(rule.towards) * (-1.0 if side == "right" else 1.0, 1.0, 1.0)
        hit = _first_hit(start, towards, template, faces)
        if hit is None:
            raise FormatError(f"marker {name}: no skin in its direction; is the template in T-pose?")
        ids.append(faces[hit[0]])
        weights.append(hit[1])
    return MarkerSet(DHP19_SKELETON.joints, np.array(ids), np.array(weights))


def _first_hit(start: F64, towards: F64, vertices: F64, faces: NDArray[np.int64]) -> tuple[int, F64] | None:
    """Nearest face on a ray and the barycentric coordinates (3,) of the hit (Möller and Trumbore 1997)."""
    corner = vertices[faces]
    a, ab, ac = corner[:, 0], corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    across = np.cross(towards, ac)
    volume = np.einsum("fc,fc->f", ab, across)
    safe = np.where(volume == 0, np.inf, volume)  # faces along the ray are never hit
    offset = start - a
    wb = np.einsum("fc,fc->f", offset, across) / safe
    turned = np.cross(offset, ab)
    wc = turned @ towards / safe
    distance = np.einsum("fc,fc->f", ac, turned) / safe
    weights = np.stack([1 - wb - wc, wb, wc], axis=1)
    # a hit on an edge belongs to both faces, so that rounding leaves no crack between them
    on_ray = (weights >= -1e-9).all(1) & (distance > 0) & (volume != 0)
    if not on_ray.any():
        return None
    face = int(np.argmin(np.where(on_ray, distance, np.inf)))
    inside = np.maximum(weights[face], 0)
    return face, inside / inside.sum()
