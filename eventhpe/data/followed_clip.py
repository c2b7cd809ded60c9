"""A whole recording as one clip, its crop following the person as a capture's does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from eventhpe.data.crops import CROP_MARGIN, SquareCrop
from eventhpe.data.labels import read_labels
from eventhpe.data.sample import Clip
from eventhpe.data.synthetic import labelled_clip
from eventhpe.data.windows import WINDOW_US, window_frames
from eventhpe.errors import FormatError
from eventhpe.events.open import open_recording

BODY_MARGIN = 0.08
"""How far the body reaches beyond its joints, in parts of their box."""
SMOOTH_WINDOWS = 3.0
"""Standard deviation of the smoothing of the boxes."""


def followed_clip(path: Path, *, num_windows: int, size_px: int, kind: str = "counts") -> Clip:
    """The first windows of a recording with labels; the first person of several.

    Args:
        path: recording of ours with labels.
        num_windows: T.
        size_px: S, side of the network input.
        kind: input kind (see data.windows).
    Raises:
        FormatError: the recording is shorter than that, or its labels do not meet the windows.
    """
    labels = read_labels(path, 0)
    t = np.arange(num_windows + 1, dtype=np.int64) * WINDOW_US
    ks = np.searchsorted(labels.t_us, t)
    if ks[-1] >= len(labels.t_us) or (labels.t_us[ks] != t).any():
        raise FormatError(
            f"{path}: expected a label every {WINDOW_US // 1000} ms over {num_windows} windows; they lie "
            f"{labels.step_us / 1000:g} ms apart and end at {labels.t_us[-1] * 1e-6:.2f} s."
        )
    frames, rays = [], []
    with open_recording(path) as recording:
        for k, crop in enumerate(following_crops(labels.joints2d[ks], labels.camera.size)[1:]):
            t0, t1 = int(t[k]), int(t[k + 1])
            events = recording.read(recording.index_at(t0), recording.index_at(t1))
            frames.append(window_frames(events, crop, t0_us=t0, t1_us=t1, out_px=size_px, kind=kind))
            rays.append(crop.ray(labels.camera))
    return labelled_clip(labels, ks, frames, rays)


def following_crops(joints2d: NDArray[np.floating], size: tuple[int, int]) -> list[SquareCrop]:
    """Squares around the part of (N, J, 2) joints that lies within the image (H, W), smoothed over time."""
    h, w = size
    inside = np.clip(np.nan_to_num(joints2d, nan=0.0), 0, [w, h])
    low, high = inside.min(axis=1), inside.max(axis=1)
    reach = BODY_MARGIN * (high - low).max(axis=1, keepdims=True)
    boxes = np.concatenate([low - reach, high + reach], axis=1)
    smooth = gaussian_filter1d(boxes, SMOOTH_WINDOWS, axis=0, mode="nearest")
    return [SquareCrop.around((x0, y0, x1, y1), CROP_MARGIN) for x0, y0, x1, y1 in smooth.tolist()]
