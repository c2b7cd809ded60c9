"""Protocols: what is compared with what, and how it is averaged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eventhpe.body.params import BodyParams
from eventhpe.body.posing import BodyPoser
from eventhpe.data.labels import Labels
from eventhpe.errors import ShapeError
from eventhpe.evaluation.metrics import mpjpe, pa_mpjpe, pve, root_aligned_mpjpe
from eventhpe.evaluation.tables import Table, average_scores
from eventhpe.geometry.camera import Camera
from eventhpe.render.raster import rasterize

METRICS = ("mpjpe_mm", "root_aligned_mm", "pa_mpjpe_mm", "pve_mm", "mask_iou")
"""Columns of the capture protocol: camera-frame joints, joints after subtracting the mid-hip, after a
similarity alignment per frame, camera-frame vertices; overlap of the projected body with the true one."""


@dataclass(frozen=True)
class ClipScores:
    """Means over the frames of one clip, one row per method."""

    name: str
    scores: dict[str, dict[str, float]]


@dataclass(frozen=True)
class CaptureEstimate:
    """What a capture hands to the protocol: poses at times (T,), and the mean pose in the same crops."""

    t_us: NDArray[np.int64]
    body: BodyParams
    mean_pose: BodyParams


Estimator = Callable[[Path, Labels], CaptureEstimate]


def evaluate_capture(
    paths: list[Path],
    read_labels: Callable[[Path], Labels],
    estimate: Estimator,
    poser: BodyPoser,
    *,
    on_clip: Callable[[ClipScores], None] | None = None,
) -> list[ClipScores]:
    """Score captures of synthetic recordings against their labels, beside two baselines.

    Args:
        paths: recordings.
        estimate: (path, labels) to a capture; the protocol does not care whether it used the true start.
        poser: the body of the labels.
        on_clip: called after every clip.

    Returns:
        One ClipScores per recording with the rows "capture", "mean pose" and "start pose held". All frames of
        a clip weigh the same; frame 0 (the start) is not scored.
    """
    results = []
    for path in paths:
        labels = read_labels(path)
        estimated = estimate(path, labels)
        methods = {
            "capture": estimated.body,
            "mean pose": estimated.mean_pose,
            "start pose held": hold_start(labels, len(estimated.t_us)),
        }
        rows = {name: score_track(body, estimated.t_us, labels, poser) for name, body in methods.items()}
        results.append(ClipScores(path.stem, rows))
        if on_clip is not None:
            on_clip(results[-1])
    return results


def hold_start(labels: Labels, num_poses: int) -> BodyParams:
    """The true pose at the recording's start, kept."""
    p = labels.params
    return replace(
        p,
        betas=np.repeat(p.betas[:1], num_poses, 0),
        global_orient=np.repeat(p.global_orient[:1], num_poses, 0),
        body_pose=np.repeat(p.body_pose[:1], num_poses, 0),
        transl=np.repeat(p.transl[:1], num_poses, 0),
    )


def score_track(
    body: BodyParams, t_us: NDArray[np.int64], labels: Labels, poser: BodyPoser
) -> dict[str, float]:
    """Mean scores over the poses of a track, see METRICS.

    Args:
        body: BodyParams over T, camera frame.
        t_us: (T,) times on the label grid.

    Raises:
        ShapeError: the track's body model is not the labels', or its times lie outside the labels.
    """
    body.require_model(labels.params.model)
    k = labels.index(t_us)
    if np.abs(labels.t_us[k] - t_us).max() > labels.step_us:
        raise ShapeError(f"the track runs past the labels: {t_us[-1]} us against {labels.t_us[-1]} us.")
    p, q = body, labels.params
    predicted = [poser.vertices(p.betas[i], p.pose[i], p.transl[i]) for i in range(len(k))]
    true = [poser.vertices(q.betas[j], q.pose[j], q.transl[j]) for j in k]
    joints = np.stack([poser.joints(p.betas[i], p.pose[i], p.transl[i]) for i in range(len(k))])
    truth = labels.joints3d[k].astype(np.float64)
    return {
        "mpjpe_mm": float(np.mean(mpjpe(joints, truth))),
        "root_aligned_mm": float(np.mean(root_aligned_mpjpe(joints, truth))),
        "pa_mpjpe_mm": float(np.mean(pa_mpjpe(joints, truth))),
        "pve_mm": float(
            np.mean([np.mean(pve(a[None], b[None])) for a, b in zip(predicted, true, strict=True)])
        ),
        "mask_iou": float(
            np.mean([_body_iou(a, b, labels.camera, poser) for a, b in zip(predicted, true, strict=True)])
        ),
    }


def _body_iou(a: NDArray[np.float32], b: NDArray[np.float32], camera: Camera, poser: BodyPoser) -> float:
    masks = [rasterize(v, poser.faces, camera).coverage > 0.5 for v in (a, b)]
    return mask_iou(masks[0], masks[1])


def mask_iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union of two (H, W) masks; 1 when both are empty."""
    union = np.logical_or(a, b).sum()
    return float(np.logical_and(a, b).sum() / union) if union else 1.0


def average(results: list[ClipScores]) -> Table:
    """Mean over clips and 95 % bootstrap interval: method -> metric -> mean, low, high."""
    return average_scores([r.scores for r in results])
