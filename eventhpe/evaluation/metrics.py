"""Error measures of bodies, keypoints and flow. Pure NumPy.

Convention:
    3D input in metres, results in millimetres. Every function returns one value per frame, (*,); take
    `.mean()` for a number. "Root-aligned" subtracts the midpoint of the two hips from each skeleton (PEL);
    "PA" fits a similarity per frame (rotation with determinant +1, scale, translation).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventhpe.errors import ShapeError
from eventhpe.geometry.align import align_similarity, fit_similarity

Array = NDArray[np.float64]

MM = 1000.0
SMPL_HIPS = (1, 2)


def joint_errors(pred: ArrayLike, true: ArrayLike) -> Array:
    """(*, J, D) metres to (*, J) mm: distance per joint."""
    p, t = _pair(pred, true)
    return MM * np.linalg.norm(p - t, axis=-1)


def mpjpe(pred: ArrayLike, true: ArrayLike, *, valid: ArrayLike | None = None) -> Array:
    """Mean joint error in the frame the joints are given in, translation included.

    Args:
        pred, true: (*, J, 3).
        valid: (*, J) bool; a frame without valid joints gives NaN.
    """
    return _mean(joint_errors(pred, true), valid)


def root_align(xyz: ArrayLike, *, hips: Sequence[int] = SMPL_HIPS) -> Array:
    """(*, J, 3) minus the midpoint of the two hips."""
    p = np.asarray(xyz, dtype=np.float64)
    out: Array = p - p[..., list(hips), :].mean(-2, keepdims=True)
    return out


def root_aligned_mpjpe(
    pred: ArrayLike, true: ArrayLike, *, hips: Sequence[int] = SMPL_HIPS, valid: ArrayLike | None = None
) -> Array:
    """PEL-MPJPE: joint error after subtracting each skeleton's hip midpoint."""
    return mpjpe(root_align(pred, hips=hips), root_align(true, hips=hips), valid=valid)


def pa_mpjpe(pred: ArrayLike, true: ArrayLike) -> Array:
    """Joint error after a similarity Procrustes fit per frame."""
    p, t = _pair(pred, true)
    return mpjpe(align_similarity(p, t), t)


def pve(pred_vertices: ArrayLike, true_vertices: ArrayLike) -> Array:
    """Mean vertex error (*, V, 3), true shape on the true side; no alignment."""
    return mpjpe(pred_vertices, true_vertices)


def root_aligned_pve(
    pred_vertices: ArrayLike,
    true_vertices: ArrayLike,
    pred_joints: ArrayLike,
    true_joints: ArrayLike,
    *,
    hips: Sequence[int] = SMPL_HIPS,
) -> Array:
    """Mean vertex error after subtracting each body's hip midpoint."""
    pv, tv = _pair(pred_vertices, true_vertices)
    pj, tj = _pair(pred_joints, true_joints)
    pick = list(hips)
    return pve(pv - pj[..., pick, :].mean(-2, keepdims=True), tv - tj[..., pick, :].mean(-2, keepdims=True))


def pa_pve(
    pred_vertices: ArrayLike, true_vertices: ArrayLike, pred_joints: ArrayLike, true_joints: ArrayLike
) -> Array:
    """Mean vertex error after the similarity fitted to the joints (EventHPE's PVE, with the true shape)."""
    pv, tv = _pair(pred_vertices, true_vertices)
    return pve(fit_similarity(pred_joints, true_joints).apply(pv), tv)


def pck(errors_mm: ArrayLike, threshold_mm: float | ArrayLike = 100.0) -> Array:
    """Share of joints below a threshold: (*, J) mm to (*,) in 0..1.

    Args:
        threshold_mm: a number, or (*,) one per frame (a body-relative threshold, see `head_size`,
            `torso_size`).
    """
    e = np.asarray(errors_mm, dtype=np.float64)
    limit = np.broadcast_to(np.asarray(threshold_mm, dtype=np.float64), e.shape[:-1])
    out: Array = (e < limit[..., None]).mean(-1)
    return out


def pck_auc(errors_mm: ArrayLike, *, max_mm: float = 150.0, steps: int = 31) -> Array:
    """Mean of `pck` over evenly spaced thresholds from 0 to `max_mm`."""
    out: Array = np.mean([pck(errors_mm, limit) for limit in np.linspace(0.0, max_mm, steps)], axis=0)
    return out


def head_size(joints: ArrayLike, *, neck: int = 12, head: int = 15) -> Array:
    """Twice the distance neck to head in mm: (*, J, 3) to (*,); PCKh@0.5 uses half of it as threshold."""
    j = np.asarray(joints, dtype=np.float64)
    return 2 * MM * np.linalg.norm(j[..., neck, :] - j[..., head, :], axis=-1)


def torso_size(joints: ArrayLike, *, neck: int = 12, pelvis: int = 0) -> Array:
    """Distance neck to pelvis in mm: (*, J, 3) to (*,); PCK-torso@0.2 uses 0.2 of it as threshold."""
    j = np.asarray(joints, dtype=np.float64)
    return MM * np.linalg.norm(j[..., neck, :] - j[..., pelvis, :], axis=-1)


def pckh(pred: ArrayLike, true: ArrayLike, *, share: float = 0.5, hips: Sequence[int] = SMPL_HIPS) -> Array:
    """PCKh: share of joints whose root-aligned error is below `share` of the true head size (`head_size`).

    Args:
        pred, true: (*, 24, 3) metres.
    Returns:
        (*,) in 0..1.
    """
    errors = joint_errors(root_align(pred, hips=hips), root_align(true, hips=hips))
    return pck(errors, share * head_size(true))


def pck_torso(
    pred: ArrayLike, true: ArrayLike, *, share: float = 0.2, hips: Sequence[int] = SMPL_HIPS
) -> Array:
    """PCK-torso: as `pckh`, with the true distance neck to pelvis (`torso_size`)."""
    errors = joint_errors(root_align(pred, hips=hips), root_align(true, hips=hips))
    return pck(errors, share * torso_size(true))


def accel_error(pred: ArrayLike, true: ArrayLike, *, fps: float = 1.0) -> Array:
    """Mean error of the second difference over time.

    Args:
        pred, true: (T, J, 3), T >= 3.
        fps: frames per second; 1 gives mm per frame^2, the field's usual unit.
    Returns:
        (T-2,) mm per unit of time squared.
    """
    p, t = _pair(pred, true)
    _need_frames(p, 3)
    return MM * fps**2 * np.linalg.norm(np.diff(p - t, n=2, axis=0), axis=-1).mean(-1)


def jerk(xyz: ArrayLike, *, fps: float = 1.0) -> Array:
    """Mean size of the third difference over time: (T, J, 3) to (T-3,) mm per unit of time cubed."""
    p = np.asarray(xyz, dtype=np.float64)
    _need_frames(p, 4)
    return MM * fps**3 * np.linalg.norm(np.diff(p, n=3, axis=0), axis=-1).mean(-1)


def root_drift(pred: ArrayLike, true: ArrayLike, *, fps: float, hips: Sequence[int] = SMPL_HIPS) -> float:
    """Growth of the root's error over a sequence in mm per second: slope of a straight line through the
    errors.

    Args:
        pred, true: (T, J, 3), T >= 2.
    """
    p, t = _pair(pred, true)
    _need_frames(p, 2)
    pick = list(hips)
    error = MM * np.linalg.norm(p[:, pick].mean(1) - t[:, pick].mean(1), axis=-1)
    return float(np.polyfit(np.arange(len(error)) / fps, error, 1)[0])


def rotation_error_deg(pred: ArrayLike, true: ArrayLike) -> Array:
    """Geodesic angle in degrees between rotation matrices (*, 3, 3)."""
    p, t = (np.asarray(v, dtype=np.float64) for v in (pred, true))
    m = p.swapaxes(-1, -2) @ t
    skew = np.stack(
        [m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]], -1
    )
    return np.degrees(np.arctan2(np.linalg.norm(skew, axis=-1), np.trace(m, axis1=-2, axis2=-1) - 1))


def pixel_error(pred_uv: ArrayLike, true_uv: ArrayLike, *, valid: ArrayLike | None = None) -> Array:
    """Mean 2D joint error in pixels: (*, J, 2) to (*,)."""
    p, t = _pair(pred_uv, true_uv)
    return _mean(np.linalg.norm(p - t, axis=-1), valid)


def epe(pred_flow: ArrayLike, true_flow: ArrayLike, *, valid: ArrayLike | None = None) -> Array:
    """Mean end-point error of flow in pixels.

    Args:
        pred_flow, true_flow: (*, 2, H, W).
        valid: (*, H, W) bool; nothing valid gives NaN.
    """
    p, t = _pair(pred_flow, true_flow)
    return _mean_pixels(np.linalg.norm(p - t, axis=-3), valid)


def aee(pred_flow: ArrayLike, true_flow: ArrayLike, *, valid: ArrayLike | None = None) -> Array:
    """Average angular error of flow in degrees, between (u, v, 1) vectors (Barron et al. 1994).

    Args:
        pred_flow, true_flow: (*, 2, H, W).
        valid: (*, H, W) bool; nothing valid gives NaN.
    """
    p, t = _pair(pred_flow, true_flow)
    up, vp, ut, vt = p[..., 0, :, :], p[..., 1, :, :], t[..., 0, :, :], t[..., 1, :, :]
    # atan2 of cross and dot product: exact near 0, where arccos is not.
    cross = np.sqrt((vp - vt) ** 2 + (ut - up) ** 2 + (up * vt - vp * ut) ** 2)
    return _mean_pixels(np.degrees(np.arctan2(cross, up * ut + vp * vt + 1)), valid)


def bootstrap_interval(
    per_sequence: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    level: float = 0.95,
    draws: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Confidence interval of the mean over sequences (S,), by drawing whole sequences with replacement.

    Args:
        weights: (S,) positive, of the sequences in the mean, such as their numbers of frames.
    """
    values = np.asarray(per_sequence, dtype=np.float64)
    if values.ndim != 1 or values.size == 0:
        raise ShapeError(f"per_sequence must be (S,) with S >= 1; got {values.shape}.")
    w = np.ones_like(values) if weights is None else np.asarray(weights, dtype=np.float64)
    if w.shape != values.shape or not (w > 0).all():
        raise ShapeError(f"weights must be {values.shape} positive numbers; got {w.shape}.")
    picks = np.random.default_rng(seed).integers(0, values.size, (draws, values.size))
    means = (values[picks] * w[picks]).sum(1) / w[picks].sum(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _pair(pred: ArrayLike, true: ArrayLike) -> tuple[Array, Array]:
    p, t = (np.asarray(v, dtype=np.float64) for v in (pred, true))
    if p.shape != t.shape:
        raise ShapeError(f"prediction and truth must have the same shape; got {p.shape} and {t.shape}.")
    return p, t


def _mean(values: Array, valid: ArrayLike | None) -> Array:
    """Mean over the last axis, of the valid entries only."""
    if valid is None:
        return np.asarray(values.mean(-1))
    mask = np.broadcast_to(np.asarray(valid, dtype=bool), values.shape)
    count = mask.sum(-1)
    total = np.where(mask, values, 0.0).sum(-1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _mean_pixels(values: Array, valid: ArrayLike | None) -> Array:
    flat = values.reshape(*values.shape[:-2], -1)
    if valid is None:
        return _mean(flat, None)
    mask = np.broadcast_to(np.asarray(valid, dtype=bool), values.shape)
    return _mean(flat, mask.reshape(flat.shape))


def _need_frames(xyz: Array, least: int) -> None:
    if xyz.ndim != 3 or len(xyz) < least:
        raise ShapeError(f"expected (T, J, 3) with T >= {least}; got {xyz.shape}.")
