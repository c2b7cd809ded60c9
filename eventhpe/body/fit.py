"""A body fitted to tracked 3D keypoints: shape, the keypoints' places on it, and the motion.

MoSh (Loper et al. 2014) with one marker per joint, by the terms of SMPLify (Bogo et al., ECCV 2016).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from eventhpe.body.default import open_body
from eventhpe.body.fit_markers import Attachment
from eventhpe.body.fit_quality import bone_drift_mm, joint_confidence, trunk_seen, valid_frames
from eventhpe.body.fit_settings import FitSettings
from eventhpe.body.fit_stages import Subject, Track, fit_poses, fit_shape
from eventhpe.body.fit_terms import Observed
from eventhpe.body.model import BodyModel
from eventhpe.body.motion import MotionClip
from eventhpe.body.params import BodyParams
from eventhpe.body.pose_prior import PosePrior, load_pose_prior
from eventhpe.errors import ShapeError, UnitError
from eventhpe.geometry.skeleton import Keypoints

F64 = NDArray[np.float64]

_LARGEST_M = 100.0  # nobody is captured further from the origin; millimetres are
_SMALLEST_M = 0.05  # median distance between keypoints of one frame


@dataclass(frozen=True)
class FitResult:
    """A fitted motion and how well it explains the keypoints.

    Attributes:
        motion: T bodies in the world frame, with the confidence of each joint (docs/fit.md).
        attachment: where each keypoint sits on the body.
        keypoints: (T, J, 3) metres, the fitted body's keypoints, also where none was seen.
        residual_mm: (T, J) distances to the keypoints given; NaN where there was none.
        valid: (T,) frames that pass the gates: trunk seen, mean residual, feet not below the floor.
        report: numbers of the whole fit; JSON-able.
    """

    motion: MotionClip
    attachment: Attachment
    keypoints: F64
    residual_mm: F64
    valid: NDArray[np.bool_]
    report: dict[str, Any]

    @property
    def offsets(self) -> F64:
        """(J, 3) metres: each keypoint in the rest frame of its joint (`attachment.joints`)."""
        return self.attachment.offsets


def fit_body(
    keypoints: Keypoints,
    t_us: ArrayLike,
    *,
    settings: FitSettings | None = None,
    body: BodyModel | None = None,
    prior: PosePrior | None = None,
) -> FitResult:
    """Fit a body to the keypoints of one recording.

    Args:
        keypoints: xyz (T, J, 3) metres in the world frame (Y up), NaN or confidence 0 where missing. Names
            are DHP19's with skeleton name "dhp19", or joints of SMPL's; any subset with three of the trunk.
        t_us: (T,) microseconds, increasing.
        settings: default `FitSettings()`.
        body: default the open body. Its betas are in the result's.
        prior: default the one that comes with the package.
    Raises:
        ShapeError: shapes or names do not fit, not in the world frame, or nothing to see.
        UnitError: the numbers are no metres.
    """
    return fit_subject([(keypoints, t_us)], settings=settings, body=body, prior=prior)[0]


def fit_subject(
    sequences: Sequence[tuple[Keypoints, ArrayLike]],
    *,
    settings: FitSettings | None = None,
    body: BodyModel | None = None,
    prior: PosePrior | None = None,
) -> list[FitResult]:
    """Fit one person to several recordings with the same keypoints: shape and offsets are shared.

    Arguments and errors as in `fit_body`; returns one result per recording.
    """
    if not sequences:
        raise ShapeError("fit_subject needs at least one sequence; got none.")
    settings, body, prior = settings or FitSettings(), body or open_body(), prior or load_pose_prior()
    skeleton = sequences[0][0].skeleton
    checked = []
    for number, (keypoints, t_us) in enumerate(sequences):
        where = f"sequence {number}: " if len(sequences) > 1 else ""
        if keypoints.skeleton.joints != skeleton.joints or keypoints.skeleton.name != skeleton.name:
            raise ShapeError(f"{where}all sequences of a subject must have the same keypoints.")
        checked.append(_check(keypoints, t_us, where))
    observed = [Observed.of(*c) for c in checked]
    with _one_thread():
        subject, frames, tracks = fit_shape(observed, skeleton, body, prior, settings)
        known = Track(
            *(np.concatenate([getattr(t, name) for t in tracks]) for name in ("pose", "transl", "base"))
        )
        fitted = [fit_poses(seen, subject, known, prior, settings) for seen in observed]
    shape_frames = int(sum(map(len, frames)))
    return [
        _result(seen, c[2], subject, track, body, settings, shape_frames)
        for seen, c, track in zip(observed, checked, fitted, strict=True)
    ]


def _check(keypoints: Keypoints, t_us: ArrayLike, where: str) -> tuple[F64, F64, NDArray[np.int64]]:
    """Positions (T, J, 3), confidences (T, J) and times (T,), or an error that says what is wrong."""
    if keypoints.xyz is None or keypoints.xyz.ndim != 3 or len(keypoints.xyz) < 1:
        got = "none" if keypoints.xyz is None else keypoints.xyz.shape
        raise ShapeError(f"{where}keypoints.xyz must be (T, J, 3) with T >= 1; got {got}.")
    if keypoints.frame != "world":
        raise ShapeError(
            f'{where}keypoints must be in frame "world" (Y up, metres); these are in {keypoints.frame!r}.'
        )
    xyz = np.array(keypoints.xyz, np.float64)
    confidence = np.nan_to_num(np.array(keypoints.confidence, np.float64))
    if (confidence < 0).any() or (confidence > 1).any():
        raise ShapeError(f"{where}keypoints.confidence must lie in [0, 1].")
    times = np.asarray(t_us)
    if (
        times.shape != xyz.shape[:1]
        or times.dtype.kind not in "iu"
        or (np.diff(times.astype(np.int64)) <= 0).any()
    ):
        raise ShapeError(
            f"{where}t_us must be ({len(xyz)},) integer microseconds that increase; got {times.shape} "
            f"{times.dtype}."
        )
    seen = np.isfinite(xyz).all(-1) & (confidence > 0)
    if not seen.any():
        raise ShapeError(f"{where}no keypoint is there in any frame.")
    far = float(np.abs(xyz[seen]).max())
    spread = np.where(seen[..., None], xyz, np.nan)
    extent = float(np.nanmedian(np.abs(spread - np.nanmedian(spread, axis=1, keepdims=True))))
    if far > _LARGEST_M or extent < _SMALLEST_M / 10:
        raise UnitError(
            f"{where}keypoints must be in metres; the largest coordinate is {far:.4g}. Convert them first."
        )
    return xyz, confidence, times.astype(np.int64)


@contextmanager
def _one_thread() -> Iterator[None]:
    """The tensors are small: more threads of torch only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _result(
    seen: Observed,
    t_us: NDArray[np.int64],
    subject: Subject,
    track: Track,
    body: BodyModel,
    settings: FitSettings,
    shape_frames: int,
) -> FitResult:
    keypoints, _ = subject.keypoints(track)
    there = seen.weight.numpy() > 0
    names = subject.attachment.names
    distance = np.linalg.norm(keypoints - seen.xyz.numpy(), axis=-1)
    residual = np.where(there, distance * 1e3, np.nan)
    rotvecs, T = track.rotvecs(), len(t_us)
    params = BodyParams(
        betas=np.broadcast_to(subject.betas, (T, 10)),
        global_orient=rotvecs[:, 0],
        body_pose=rotvecs[:, 1:],
        transl=track.transl,
        model=body.name,
        gender=body.gender,
        frame="world",
    )
    valid = trunk_seen(names, there, t_us, settings.gap_s) & valid_frames(
        residual, params, subject.rest, settings
    )
    confidence = joint_confidence(subject.attachment, there, rotvecs, t_us, settings.gap_s)
    confidence *= valid[:, None]
    drift = bone_drift_mm(names, np.where(there[..., None], seen.xyz.numpy(), np.nan), keypoints)
    per_keypoint = {
        name: round(float(np.nanmean(residual[:, j])), 2) for j, name in enumerate(names) if there[:, j].any()
    }
    report = {
        "frames": T,
        "valid_frames": int(valid.sum()),
        "missing_share": round(float(1 - there.mean()), 4),
        "mean_residual_mm": round(float(np.nanmean(residual)), 2),
        "p95_residual_mm": round(float(np.nanpercentile(residual, 95)), 2),
        "residual_mm": per_keypoint,
        "bone_drift_mm": drift,
        "shape_frames": shape_frames,
        "betas": [round(float(b), 3) for b in subject.betas],
        "offsets_mm": {
            n: np.round(o * 1e3, 1).tolist() for n, o in zip(names, subject.attachment.offsets, strict=True)
        },
    }
    motion = MotionClip(
        params=params,
        t_us=t_us,
        rest_joints=subject.rest,
        confidence=confidence,
        provenance={"method": "fit to keypoints", "keypoints": list(names), "fit": report},
    )
    return FitResult(motion, subject.attachment, keypoints, residual, valid, report)
