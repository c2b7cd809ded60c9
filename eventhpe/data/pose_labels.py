"""A person's labelled joints by skeleton: SMPL's 24, DHP19's 13 markers, or those and two virtual ones.

The virtual joints of `dhp19_15` are the middles of the hips and of the shoulders in space; their places in
the image are the projections of those points, not the middles of the projections.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventhpe.data.labels import Labels
from eventhpe.errors import FormatError, ShapeError
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.skeleton import DHP19_15_SKELETON, DHP19_SKELETON, SMPL_SKELETON, Skeleton

_MIDDLES = tuple(
    (DHP19_SKELETON.index(f"{joint}_right"), DHP19_SKELETON.index(f"{joint}_left"))
    for joint in ("hip", "shoulder")
)
"""Markers between which the virtual pelvis and thorax lie, in the order of `DHP19_15_SKELETON`."""


class Joints(NamedTuple):
    """Joints of one or more people or instants.

    Attributes:
        uv: (*, J, 2) float64 pixels, centres at integers, NaN where unknown.
        xyz: (*, J, 3) float64 metres in the camera's axes, NaN where unknown.
        visible: (*, J) bool, in the image and, where the labels tell, hidden by nobody's body.
    """

    uv: NDArray[np.float64]
    xyz: NDArray[np.float64]
    visible: NDArray[np.bool_]


def labelled_joints(labels: Labels, skeleton: Skeleton) -> Joints:
    """Joints (K, J) of a recording's person at all labels.

    Raises:
        FormatError: the labels lack the markers that the skeleton consists of.
        ShapeError: a skeleton that labels do not have.
    """
    if skeleton.name == SMPL_SKELETON.name:
        stored, visible = (labels.joints2d, labels.joints3d), labels.joints_visible
    elif skeleton.name in (DHP19_SKELETON.name, DHP19_15_SKELETON.name):
        if labels.markers3d is None or labels.markers2d is None:
            raise FormatError(
                f"skeleton {skeleton.name} consists of DHP19's markers, which these labels do not hold; "
                "use smpl24, or make the recording again with this version."
            )
        stored, visible = (labels.markers2d, labels.markers3d), labels.markers_visible
    else:
        raise ShapeError(f"recordings have no labels of skeleton {skeleton.name}.")
    uv, xyz = (np.asarray(values, np.float64) for values in stored)
    seen = in_image(uv, labels.camera.size) if visible is None else np.asarray(visible, bool)
    if skeleton.name == DHP19_15_SKELETON.name:
        return with_virtual_joints(Joints(uv, xyz, seen), labels.camera)
    return Joints(uv, xyz, seen)


def with_virtual_joints(markers: Joints, camera: Camera) -> Joints:
    """DHP19's markers (*, 13) to its markers, pelvis and thorax (*, 15); NaN where either side is."""
    middle = middles(markers.xyz)
    seen = np.stack([markers.visible[..., a] & markers.visible[..., b] for a, b in _MIDDLES], -1)
    return Joints(
        np.concatenate([markers.uv, camera.project(middle)], -2),
        np.concatenate([markers.xyz, middle], -2),
        np.concatenate([markers.visible, seen], -1),
    )


def middles(xyz: ArrayLike) -> NDArray[np.float64]:
    """(*, 13, 3) markers to the (*, 2, 3) virtual pelvis and thorax."""
    points = np.asarray(xyz, np.float64)
    if points.shape[-2:] != (len(DHP19_SKELETON.joints), 3):
        raise ShapeError(f"markers must be (*, 13, 3); got {points.shape}.")
    return np.stack([(points[..., a, :] + points[..., b, :]) / 2 for a, b in _MIDDLES], -2)


def root_of(xyz: NDArray[np.floating], skeleton: Skeleton) -> NDArray[np.float64]:
    """(*, J, 3) to the (*, 3) point that relative joints are relative to: the pelvis, else the middle of the
    hips."""
    names = ("pelvis",) if "pelvis" in skeleton.joints else ("hip_left", "hip_right")
    return np.asarray(xyz, np.float64)[..., [skeleton.index(n) for n in names], :].mean(-2)


def in_image(uv: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Whether (*, 2) points lie on the (H, W) pixels; False for NaN."""
    with np.errstate(invalid="ignore"):
        return np.asarray(((uv >= -0.5) & (uv < np.array([size[1], size[0]]) - 0.5)).all(-1))
