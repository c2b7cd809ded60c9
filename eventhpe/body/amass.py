"""AMASS motions (Mahmood et al., ICCV 2019) on another body."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventhpe.body.fk import as_rest_joints, forward_kinematics, put_on_floor, sole_points
from eventhpe.body.motion_file import load_amass
from eventhpe.body.params import BodyParams
from eventhpe.errors import FormatError

Array = NDArray[np.float64]

_CONTACT_M = 0.004  # soles this close to the lowest one share the ground
_STANDS_M = 0.06  # higher above the floor nobody stands
_HOLD_M2_PER_S = 0.2  # weight of the factor 1; a walker of 3 s weighs 20 times as much
_SLIDE_M_PER_S = 0.2  # a foot that moves much faster does not stand
_ROUNDS = 12


def retarget_amass(
    path: str | Path, rest_joints: ArrayLike, *, betas: ArrayLike | None = None, model: str = "open"
) -> tuple[BodyParams, float]:
    """Move the body as an AMASS file moves an SMPL body.

    SMPL's rest pose is this body's, so rotations are applied unchanged. The file's shape is not used: shape
    coefficients of different models never mix. The path of the root is fitted to the legs, and the
    feet are put on the floor.

    Args:
        path: see `load_amass`.
        rest_joints: (24, 3) metres of the body that performs.
        betas: (10,) its shape, written into the result; zeros by default.
        model: its name.
    Returns:
        T frames in the world frame (Y up, floor at y = 0), and frames per second.
    Raises:
        FormatError: damaged, not AMASS, or a single frame.
    """
    rest = as_rest_joints(rest_joints)
    clip = load_amass(path, rest)
    if len(clip) < 2:
        raise FormatError(f"{Path(path).name}: one frame is no motion; at least 2 are needed.")
    shape = np.zeros(10) if betas is None else np.asarray(betas, dtype=np.float64)
    params = replace(
        clip.params, betas=np.broadcast_to(shape, (len(clip), 10)), model=model, gender="neutral"
    )
    return fit_path(params, rest, step_s=1.0 / clip.framerate), clip.framerate


def fit_path(params: BodyParams, rest_joints: ArrayLike, *, step_s: float) -> BodyParams:
    """Fit the root's path of a motion that another body performed to this body's legs: steps and floor.

    Args:
        params: T frames in the world frame, `step_s` seconds apart.
        rest_joints: (24, 3) metres of this body.
    """
    rest = as_rest_joints(rest_joints)
    factor = stride_factor(params, rest, step_s=step_s)
    return put_on_floor(replace(params, transl=factor * (params.transl + rest[0]) - rest[0]), rest)


def stride_factor(params: BodyParams, rest_joints: ArrayLike, *, step_s: float) -> float:
    """Factor for a foreign body's root path under which this body's standing feet slide least.

    A path recorded with longer or shorter legs does not fit the steps of this body. While a foot stands, it
    moves neither along the floor nor up: factor x (velocity of the pelvis) + (velocity of the foot relative
    to it) = 0. Least squares over all frames whose lowest sole is near the floor, reweighted so that feet on
    their way up or down do not count (Cauchy weights), and held towards 1.

    Args:
        params: T frames in the world frame, `step_s` seconds apart; the height of the floor does not matter.
        rest_joints: (24, 3) metres.
    Returns:
        the factor, within [0.7, 1.4].
    """
    rest = as_rest_joints(rest_joints)
    positions, rotations = forward_kinematics(rest, params.pose, params.transl)
    soles = sole_points(rest, positions, rotations)
    lowest = soles[..., 1].min(axis=-1)
    height = soles[..., 1] - lowest[:, None]
    weight = np.exp(-(height[1:] + height[:-1]) / (2 * _CONTACT_M))
    weight /= weight.sum(axis=1, keepdims=True)
    limit = float(np.percentile(lowest, 5)) + _STANDS_M
    stands = np.maximum(lowest[1:], lowest[:-1]) < limit
    root = np.diff(positions[:, 0], axis=0)[stands] / step_s
    foot = (weight[..., None] * np.diff(soles - positions[:, :1], axis=0)).sum(axis=1)[stands] / step_s
    factor = 1.0
    for _ in range(_ROUNDS):
        slide = np.square(factor * root + foot).sum(axis=1)
        trust = 1.0 / (1.0 + slide / _SLIDE_M_PER_S**2)
        along, size = (trust * (root * foot).sum(axis=1)).sum(), (trust * (root * root).sum(axis=1)).sum()
        prior = _HOLD_M2_PER_S / step_s
        factor = float(np.clip((prior - along) / (prior + size), 0.7, 1.4))
    return factor
