"""Video of keypoints over the events they came from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import ShapeError
from eventhpe.events.recording import Recording
from eventhpe.events.types import Events
from eventhpe.geometry.skeleton import Skeleton
from eventhpe.render.movie import picture_scale
from eventhpe.render.overlay import GREY, Image, draw_label, draw_skeleton, event_image, upscale
from eventhpe.render.video import VideoWriter

PersonTrack = tuple[int, NDArray[np.int64], NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]
"""Number, windows (N,), pixels (N, J, 2), confidences (N, J), boxes (N, 4) in pixel edges."""


def pose_picture(
    events: Events,
    skeleton: Skeleton,
    people: Sequence[tuple[int, NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]],
    *,
    scale: int,
    label: str = "",
) -> Image:
    """Events of one window, everybody's skeleton and box with number, enlarged `scale` times.

    Args:
        people: number, pixels (J, 2), confidences (J,), box (4,) in pixel edges.
    """
    image = upscale(event_image(events), scale)
    for number, uv, confidence, box in people:
        image = draw_skeleton(image, uv, skeleton, confidence, scale=scale)
        x0, y0, x1, y1 = (int(np.clip(round(float(v) * scale), -(2**14), 2**14)) for v in box)
        cv2.rectangle(image, (x0, y0), (x1, y1), GREY, 1)
        at = (max(x0 + 3, 2), max(y0 + 14, 14))
        cv2.putText(image, str(number), at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    return draw_label(image, label) if label else image


def write_pose_movie(
    output: Path,
    recording: Recording,
    skeleton: Skeleton,
    t_us: NDArray[np.int64],
    people: Sequence[PersonTrack],
    *,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = lambda items: items,
) -> int:
    """Write an H.264 video in real time, a picture per window.

    Args:
        output: .mp4 to write (atomically).
        t_us: (T,) ends of windows of equal length.
    Returns:
        The number of pictures.
    Raises:
        ShapeError: no windows.
    """
    if not len(t_us):
        raise ShapeError("a video of poses needs at least one window; got none.")
    step = int(np.median(np.diff(t_us))) if len(t_us) > 1 else int(t_us[0])
    scale = picture_scale(recording.sensor_size)
    height, width = (side * scale for side in recording.sensor_size)
    with VideoWriter(output, size=(height, width), fps=1e6 / step) as video:
        for k, end in enumerate(progress(t_us)):
            events = recording.read(recording.index_at(int(end) - step), recording.index_at(int(end)))
            here = [
                (number, uv[i], confidence[i], box[i])
                for number, window, uv, confidence, box in people
                for i in np.flatnonzero(window == k)
            ]
            video.write(pose_picture(events, skeleton, here, scale=scale, label=f"{int(end) * 1e-6:.2f} s"))
    return len(t_us)
