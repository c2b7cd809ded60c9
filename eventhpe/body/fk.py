"""Forward kinematics of the 24-joint body in NumPy, and standing it on the floor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventhpe.body.params import BodyParams
from eventhpe.errors import ShapeError
from eventhpe.geometry.rotation import rotvec_to_rotmat
from eventhpe.geometry.skeleton import SMPL_SKELETON

Array = NDArray[np.float64]

SOLE_M = 0.026
"""Metres from the joint `foot_*` down to the floor: flesh and sole under the ball of the foot."""


def as_rest_joints(rest_joints: ArrayLike) -> Array:
    """Check rest joints (*, 24, 3) in metres.

    Raises:
        ShapeError: wrong shape, or values that are not finite.
    """
    rest = np.asarray(rest_joints, dtype=np.float64)
    if rest.shape[-2:] != (24, 3) or not np.isfinite(rest).all():
        raise ShapeError(f"rest joints must be finite and (*, 24, 3) in metres; got shape {rest.shape}.")
    return rest


def forward_kinematics(rest_joints: ArrayLike, pose: ArrayLike, transl: ArrayLike) -> tuple[Array, Array]:
    """Joint positions and rotations of a posed body (Loper et al. 2015, eq. 3 and 4).

    Args:
        rest_joints: (24, 3) or (*, 24, 3) metres.
        pose: (*, 24, 3) rotation vectors, root first.
        transl: (*, 3) metres; the root stands at rest pelvis + transl.
    Returns:
        positions (*, 24, 3) and rotations (*, 24, 3, 3) from the rest frame to the frame of the parameters.
    """
    rest = as_rest_joints(rest_joints)
    local = rotvec_to_rotmat(pose)
    lead = local.shape[:-3]
    rest = np.broadcast_to(rest, (*lead, 24, 3))
    positions = np.empty((*lead, 24, 3))
    rotations = np.empty((*lead, 24, 3, 3))
    positions[..., 0, :] = rest[..., 0, :] + np.asarray(transl, dtype=np.float64)
    rotations[..., 0, :, :] = local[..., 0, :, :]
    for parent, child in SMPL_SKELETON.bones:
        bone = (rest[..., child, :] - rest[..., parent, :])[..., None]
        positions[..., child, :] = positions[..., parent, :] + (rotations[..., parent, :, :] @ bone)[..., 0]
        rotations[..., child, :, :] = rotations[..., parent, :, :] @ local[..., child, :, :]
    return positions, rotations


def body_joints(params: BodyParams, rest_joints: ArrayLike) -> Array:
    """(*, 24, 3) joint positions in metres, in the frame of the parameters."""
    return forward_kinematics(rest_joints, params.pose, params.transl)[0]


def sole_points(
    rest_joints: ArrayLike, positions: Array, rotations: Array, *, sole_m: float = SOLE_M
) -> Array:
    """(*, 6, 3) points under the feet: heel, ball and toe tip of the left foot, then of the right.

    Args:
        rest_joints, positions, rotations: as taken and given by `forward_kinematics`.
        sole_m: metres from the joint `foot_*` down to the floor in the rest pose.
    """
    rest = as_rest_joints(rest_joints)
    points = []
    for side in ("left", "right"):
        ankle, foot = SMPL_SKELETON.index(f"ankle_{side}"), SMPL_SKELETON.index(f"foot_{side}")
        length = rest[..., foot, 2] - rest[..., ankle, 2]
        drop = rest[..., foot, 1] - sole_m
        zero = np.zeros_like(drop)
        for joint, forward in ((ankle, -0.4 * length), (foot, zero), (foot, 0.4 * length)):
            offset = np.stack([zero, drop - rest[..., joint, 1], forward], axis=-1)
            points.append(
                positions[..., joint, :] + (rotations[..., joint, :, :] @ offset[..., None])[..., 0]
            )
    return np.stack(points, axis=-2)


def put_on_floor(
    params: BodyParams, rest_joints: ArrayLike, *, percentile: float = 5.0, sole_m: float = SOLE_M
) -> BodyParams:
    """Shift a whole motion in height so that its feet stand on y = 0.

    Args:
        params: T frames in the world frame.
        rest_joints: (24, 3) metres for the shape of the body.
        percentile: of the lowest sole point over time; 5 ignores a few frames that dip too deep.
    Raises:
        ShapeError: the parameters are not in the world frame.
    """
    if params.frame != "world":
        raise ShapeError(f'a floor exists only in frame "world"; these parameters are in {params.frame!r}.')
    positions, rotations = forward_kinematics(rest_joints, params.pose, params.transl)
    lowest = sole_points(rest_joints, positions, rotations, sole_m=sole_m)[..., 1].min(axis=-1)
    return replace(params, transl=params.transl - [0.0, float(np.percentile(lowest, percentile)), 0.0])
