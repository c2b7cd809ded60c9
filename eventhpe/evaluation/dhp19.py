"""DHP19's protocol (Calabrese et al., CVPRW 2019): joints of two front views in pixels, triangulated in mm.

2D: distance of the decoded pixel from the label's pixel, cut towards zero, per camera. 3D: the two pixels'
rays, from the published camera positions, meet in the point nearest to both; its distance from the Vicon
label in millimetres, absolute. Joints without a valid label are left out of a frame's mean. Beside the
published errors stand those after subtracting the mid-hip, and after a similarity per frame (Procrustes).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import nn

from eventhpe.data.dhp19_cameras import (
    CAMERA_POSITIONS_MM,
    CHANNEL_TO_CAMERA,
    DHP19_SIZE,
    projection_matrix,
)
from eventhpe.data.dhp19_dataset import FRONT_CHANNELS, view_labels
from eventhpe.data.dhp19_heatmaps import decode_heatmaps, hold_by_confidence, label_pixels
from eventhpe.data.dhp19_prepared import PreparedName, PreparedRecording
from eventhpe.errors import FormatError, ShapeError
from eventhpe.geometry.align import align_similarity
from eventhpe.geometry.skeleton import DHP19_SKELETON
from eventhpe.geometry.triangulate import triangulate_rays
from eventhpe.shapenet.heads.dhp19_cnn import DHP19_CNN_SIZE

Array = NDArray[np.float64]

CAMERAS = tuple(CHANNEL_TO_CAMERA[c] for c in FRONT_CHANNELS)
"""Numbers of the cameras of the protocol, in the order of views."""

HIPS = (DHP19_SKELETON.index("hip_right"), DHP19_SKELETON.index("hip_left"))
MODES_3D = ("absolute", "root_relative", "procrustes")
LEAST_FOR_PROCRUSTES = 4
"""Joints that a frame needs for an alignment: a similarity has 7 unknowns, two joints leave one open."""


@dataclass(frozen=True)
class ViewPredictions:
    """What a network says of one recording, V views of N frames.

    Attributes:
        name: which recording.
        pixels: (V, N, J, 2) int64 decoded (u, v), views in the order of FRONT_CHANNELS.
        confidence: (V, N, J).
        seconds: spent in the network and decoding.
    """

    name: PreparedName
    pixels: NDArray[np.int64]
    confidence: NDArray[np.float32]
    seconds: float = 0.0


@dataclass(frozen=True)
class RecordingErrors:
    """Errors of one recording; NaN where a label or an estimate is missing.

    Attributes:
        name: which recording.
        px: (V, N, J) pixels, per view.
        mm: mode of MODES_3D -> (N, J) millimetres.
    """

    name: PreparedName
    px: Array
    mm: dict[str, Array]


def predict_recording(
    network: nn.Module,
    recording: PreparedRecording,
    *,
    device: str | torch.device = "cpu",
    batch_size: int = 16,
) -> ViewPredictions:
    """Run the CNN on both front views of a recording.

    Args:
        network: DHP19's CNN or what answers as it does; on `device`, in evaluation mode.
        batch_size: frames per pass; each brings both views.

    Raises:
        FormatError: the recording's cameras have windows of their own, so that views do not belong together.
    """
    if recording.channel is not None:
        raise FormatError(
            f"{recording.frames_path}: windows of one camera; the protocol triangulates two views of the "
            "same window. Prepare DHP19 with windows shared by the cameras, as the faithful mode does."
        )
    H, W = DHP19_CNN_SIZE
    shape = (len(FRONT_CHANNELS), recording.num_frames, len(DHP19_SKELETON.joints))
    pixels, confidence = np.zeros((*shape, 2), np.int64), np.zeros(shape, np.float32)
    began = time.perf_counter()
    for batch in _batches(recording.num_frames, batch_size):
        frames = np.stack([recording.frames(k)[:H, :W, list(FRONT_CHANNELS)] for k in batch])
        views = torch.from_numpy(frames.transpose(3, 0, 1, 2).reshape(-1, 1, H, W))
        with torch.inference_mode():
            found, sure = decode_heatmaps(network(views.to(device, torch.float32)))
        pixels[:, batch] = found.cpu().numpy().reshape(len(FRONT_CHANNELS), len(batch), -1, 2)
        confidence[:, batch] = sure.cpu().numpy().reshape(len(FRONT_CHANNELS), len(batch), -1)
    return ViewPredictions(recording.name, pixels, confidence, time.perf_counter() - began)


def score_recording(
    predictions: ViewPredictions, labels_mm: ArrayLike, *, hold: float = 0.0, width: int = DHP19_CNN_SIZE[1]
) -> RecordingErrors:
    """Errors of a recording's predictions.

    Args:
        labels_mm: (N, J, 3) Vicon labels in DHP19's world.
        hold: threshold of `hold_by_confidence`, per joint and view; 0 = every frame by itself.
        width: of the image within which labels count: 344 as published, 346 in some later work.
    """
    held = np.stack(
        [
            hold_by_confidence(p, c, hold)
            for p, c in zip(predictions.pixels, predictions.confidence, strict=True)
        ]
    )
    return score_pixels(predictions.name, held, labels_mm, width=width)


def floor_recording(
    name: PreparedName, labels_mm: ArrayLike, *, width: int = DHP19_CNN_SIZE[1]
) -> RecordingErrors:
    """The 3D error that stays with perfect pixels: labels projected, cut to pixels and triangulated; no
    px."""
    truth = np.asarray(labels_mm, np.float64)
    errors = score_pixels(name, _label_pixels(truth, width), truth, width=width)
    return replace(errors, px=np.full_like(errors.px, np.nan))


def score_pixels(
    name: PreparedName, uv: ArrayLike, labels_mm: ArrayLike, *, width: int = DHP19_CNN_SIZE[1]
) -> RecordingErrors:
    """Errors of pixels (V, N, J, 2), NaN where there is none, of the views FRONT_CHANNELS.

    Raises:
        ShapeError: shapes do not fit each other.
    """
    pixels, truth = np.asarray(uv, np.float64), np.asarray(labels_mm, np.float64)
    expected = (len(FRONT_CHANNELS), *truth.shape[:-1], 2)
    if truth.ndim != 3 or truth.shape[-1] != 3 or pixels.shape != expected:
        raise ShapeError(f"pixels must be {expected} for labels {truth.shape}; got {pixels.shape}.")
    px = np.linalg.norm(pixels - _label_pixels(truth, width), axis=-1)
    return RecordingErrors(name, px, errors_3d(triangulate_front(pixels), truth))


def errors_3d(points_mm: Array, truth_mm: Array) -> dict[str, Array]:
    """Mode of MODES_3D -> (N, J) millimetres, of joints (N, J, 3); NaN where either is missing."""
    hips = list(HIPS)
    return {
        "absolute": _distance(points_mm, truth_mm),
        "root_relative": _distance(
            points_mm - points_mm[:, hips].mean(1, keepdims=True),
            truth_mm - truth_mm[:, hips].mean(1, keepdims=True),
        ),
        "procrustes": _procrustes(points_mm, truth_mm),
    }


def triangulate_front(uv: ArrayLike) -> Array:
    """Pixels (V, *, 2) of the front views, v downwards, to (*, 3) millimetres in DHP19's world.

    As in the authors' evaluation integer pixels are taken as they are: what cutting them off has lost stays.
    """
    return triangulate_rays(
        uv,
        [projection_matrix(c) for c in FRONT_CHANNELS],
        centres=CAMERA_POSITIONS_MM[[camera - 1 for camera in CAMERAS]],
        image_height=DHP19_SIZE[0],
    )


def _label_pixels(labels_mm: Array, width: int) -> Array:
    """(V, N, J, 2) labels cut to pixels, NaN where not valid."""
    views = [view_labels(labels_mm, channel, (DHP19_SIZE[0], width)) for channel in FRONT_CHANNELS]
    return np.stack([np.where(v.valid[..., None], label_pixels(v.uv, v.valid), np.nan) for v in views])


def _distance(points: Array, truth: Array) -> Array:
    return np.asarray(np.linalg.norm(points - truth, axis=-1))


def _procrustes(points: Array, truth: Array) -> Array:
    """(N, J) after a similarity per frame over the joints that it has."""
    out = np.full(points.shape[:2], np.nan)
    known = np.isfinite(points).all(-1) & np.isfinite(truth).all(-1)
    for pattern in np.unique(known, axis=0):
        if pattern.sum() >= LEAST_FOR_PROCRUSTES:
            rows = np.flatnonzero((known == pattern).all(1))
            pick = np.ix_(rows, np.flatnonzero(pattern))
            out[pick] = _distance(align_similarity(points[pick], truth[pick]), truth[pick])
    return out


def _batches(count: int, size: int) -> Iterator[Sequence[int]]:
    for start in range(0, count, size):
        yield range(start, min(start + size, count))
