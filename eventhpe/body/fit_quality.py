"""What to trust of a fit: gates on frames, confidence of joints, drift of bones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eventhpe.body.fit_markers import Attachment
from eventhpe.body.fit_settings import FitSettings
from eventhpe.body.fk import forward_kinematics, sole_points
from eventhpe.body.params import BodyParams
from eventhpe.geometry.rotation import rotvec_to_rotmat
from eventhpe.geometry.skeleton import SMPL_SKELETON

F64 = NDArray[np.float64]
Mask = NDArray[np.bool_]

_GATED = frozenset("hip_left hip_right shoulder_left shoulder_right".split())
_UNSEEN = 0.5  # a joint without a keypoint of its own
_UNSURE_TWIST = 0.5
_BENT_DEG = 20.0  # from here on a bent limb shows how its upper bone is twisted

_LIMBS = tuple(
    (SMPL_SKELETON.index(f"{upper}_{side}"), SMPL_SKELETON.index(f"{middle}_{side}"))
    for upper, middle in (("shoulder", "elbow"), ("hip", "knee"))
    for side in ("left", "right")
)
_BONES = tuple(
    (f"{a}_{side}", f"{b}_{side}")
    for a, b in (
        ("shoulder", "elbow"), ("elbow", "hand"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "foot"),
        ("knee", "ankle"),
    )
    for side in ("left", "right")
)  # fmt: skip


def trunk_seen(names: tuple[str, ...], there: Mask, t_us: NDArray[np.int64], gap_s: float) -> Mask:
    """(T,) whether hips and shoulders are there, or lie inside a gap of at most `gap_s` with both ends seen.

    Args:
        names: J keypoints; hips and shoulders that are none of them are not asked for.
        there: (T, J).
    """
    gated = [j for j, name in enumerate(names) if name in _GATED]
    ok = np.ones(len(there), bool)
    for j in gated:
        ok &= _bridged(there[:, j], t_us, gap_s)
    return ok


def _bridged(there: Mask, t_us: NDArray[np.int64], gap_s: float) -> Mask:
    seen = np.flatnonzero(there)
    if not len(seen):
        return np.zeros(len(there), bool)
    t = np.arange(len(there))
    after = np.searchsorted(seen, t)
    inside = (after > 0) & (after < len(seen))
    gap = np.full(len(there), np.inf)
    low, high = seen[(after - 1).clip(0)], seen[after.clip(max=len(seen) - 1)]
    gap[inside] = (t_us[high] - t_us[low])[inside] * 1e-6
    return np.asarray(there | (gap <= gap_s))


def valid_frames(residual_mm: F64, params: BodyParams, rest_joints: F64, settings: FitSettings) -> Mask:
    """(T,) whether the mean residual is small and no sole is below the floor."""
    counted = np.isfinite(residual_mm).sum(1)
    mean = np.nansum(residual_mm, axis=1) / np.maximum(counted, 1)
    ok = (counted > 0) & (mean <= settings.max_residual_mm)
    if settings.floor:
        positions, rotations = forward_kinematics(rest_joints, params.pose, params.transl)
        lowest = sole_points(rest_joints, positions, rotations)[..., 1].min(-1)
        ok &= lowest >= -settings.floor_tolerance_m
    return np.asarray(ok)


def unsure_twists(rotvecs: F64) -> Mask:
    """(T, 24) joints whose twist keypoints cannot show: upper arms and thighs of straight limbs.

    Args:
        rotvecs: (T, 24, 3).
    """
    out = np.zeros(rotvecs.shape[:2], bool)
    R = rotvec_to_rotmat(rotvecs)
    for upper, middle in _LIMBS:
        axis = 0 if upper >= SMPL_SKELETON.index("shoulder_left") else 1  # along the bone at rest
        cosine = R[:, middle, axis, axis]
        out[:, upper] = cosine > np.cos(np.radians(_BENT_DEG))
    return out


def joint_confidence(
    attachment: Attachment, there: Mask, rotvecs: F64, t_us: NDArray[np.int64], gap_s: float
) -> F64:
    """(T, 24): 1 where a joint's own keypoint is there or briefly missing, a half elsewhere; half of that
    where the twist of the limb is unsure. The root follows from the trunk and counts as seen.
    """
    out = np.full((len(there), 24), _UNSEEN)
    out[:, 0] = 1.0
    for j, joint in enumerate(attachment.joints):
        out[:, joint] = np.where(_bridged(there[:, j], t_us, gap_s), 1.0, out[:, joint])
    return np.where(unsure_twists(rotvecs), _UNSURE_TWIST * out, out)


def bone_drift_mm(names: tuple[str, ...], observed: F64, fitted: F64) -> dict[str, float]:
    """How the distance between the keypoints of a bone changes from the first to the last third of a
    recording against that of the fitted body, whose bones are constant: a marker that slips shows here.

    Args:
        names: J keypoints.
        observed, fitted: (T, J, 3) metres; NaN where missing.
    Returns:
        millimetres by "from-to", for bones that are seen in both thirds.
    """
    out = {}
    third = len(observed) // 3
    for a, b in _BONES:
        if a in names and b in names and third:
            i, j = names.index(a), names.index(b)
            excess = np.linalg.norm(observed[:, i] - observed[:, j], axis=-1) - np.linalg.norm(
                fitted[:, i] - fitted[:, j], axis=-1
            )
            first, last = excess[:third], excess[-third:]
            if np.isfinite(first).any() and np.isfinite(last).any():
                out[f"{a}-{b}"] = round(float(np.nanmedian(last) - np.nanmedian(first)) * 1e3, 2)
    return out
