"""Pictures and videos of labelled recordings, to see that labels and events belong together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from eventhpe.data.truth import Points, Truth
from eventhpe.events.open import open_recording
from eventhpe.events.recording import Recording
from eventhpe.geometry.skeleton import SMPL_SKELETON
from eventhpe.render.flow_color import flow_to_color
from eventhpe.render.overlay import draw_skeleton, event_image, side_by_side, upscale
from eventhpe.render.video import VideoWriter

Image = NDArray[np.uint8]

PANEL_HEIGHT_PX = 400
WINDOW_US = 50_000
HIDDEN_CONFIDENCE = 0.2
"""Bones with a hidden end are drawn thin."""


def label_picture(truth: Truth, recording: Recording, t0_us: int, t1_us: int) -> Image:
    """Gray frame with joints and markers, events with joints, and flow of one window, side by side.

    Args:
        truth: labels of the recording.
        recording: its events and gray frames.
        t0_us, t1_us: the window; joints and markers stand at its end.
    """
    scale = max(1, round(PANEL_HEIGHT_PX / truth.camera.size[0]))
    joints, markers = truth.joints(t1_us), truth.markers(t1_us)
    events = recording.read(recording.index_at(t0_us), recording.index_at(t1_us))
    gray = _gray(recording, t1_us, truth.camera.size)
    with_joints = _skeletons(upscale(gray, scale), joints, scale)
    with_markers = _dots(with_joints, markers, scale)
    over_events = _skeletons(upscale(event_image(events), scale), joints, scale)
    flow = truth.flow(t0_us, t1_us)
    colour = flow_to_color(flow)
    panels = [with_markers, over_events, upscale(np.asarray(colour, np.uint8), scale)]
    return side_by_side(
        panels, labels=[f"{t1_us * 1e-6:.2f} s  gray, markers", "events, joints", "true flow"]
    )


def write_label_movie(output: Path, path: Path, *, slow: float = 2.0) -> int:
    """Video of a recording with its labels.

    Args:
        output: .mp4 to write (atomically).
        path: recording made by `eventhpe simulate`.
        slow: how many times slower than life.
    Returns:
        The number of pictures.
    """
    with Truth(path) as truth, open_recording(path) as recording:
        ends = np.arange(WINDOW_US, int(truth.t_us[-1]) + 1, WINDOW_US // 2)
        pictures = (label_picture(truth, recording, int(t) - WINDOW_US, int(t)) for t in ends)
        first = next(pictures)
        with VideoWriter(output, first.shape[:2], 2e6 / WINDOW_US / slow) as video:
            video.write(first)
            for picture in pictures:
                video.write(picture)
    return len(ends)


def _gray(recording: Recording, t_us: int, size: tuple[int, int]) -> Image:
    frames = recording.frames
    if frames is None or not len(frames.t_us):
        return np.zeros((*size, 3), np.uint8)
    k = int(np.argmin(np.abs(np.asarray(frames.t_us) - t_us)))
    return np.repeat(frames[k][..., None], 3, axis=2)


def _skeletons(image: NDArray[Any], joints: Points, scale: int) -> Image:
    canvas = np.asarray(image, np.uint8)
    for uv, visible in zip(joints.uv, joints.visible, strict=True):
        confidence = np.where(visible, 1.0, HIDDEN_CONFIDENCE)
        canvas = draw_skeleton(canvas, uv, SMPL_SKELETON, confidence, scale=scale)
    return canvas


def _dots(image: Image, markers: Points, scale: int) -> Image:
    """Markers as green dots, hidden ones as rings."""
    canvas = image.copy()
    for uv, visible in zip(markers.uv.reshape(-1, 2), markers.visible.ravel(), strict=True):
        if np.isfinite(uv).all() and np.abs(uv).max() < 1e4:
            x, y = np.rint((uv + 0.5) * scale - 0.5).astype(int)
            cv2.circle(canvas, (int(x), int(y)), 4, (60, 220, 90), -1 if visible else 1, cv2.LINE_AA)
    return canvas
