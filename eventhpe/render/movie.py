"""Videos and stills of a motion over the events it came from."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from eventhpe.body.motion import MotionClip
from eventhpe.body.posing import BodyPoser
from eventhpe.errors import ShapeError
from eventhpe.events.recording import Recording
from eventhpe.events.types import Events
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.skeleton import SMPL_SKELETON
from eventhpe.render.overlay import draw_label, draw_mesh, draw_skeleton, event_image, upscale
from eventhpe.render.video import VideoWriter

What = Literal["mesh", "skeleton", "events"]
Image = NDArray[np.uint8]
Crop = tuple[float, float, float]
"""left, top, side in pixel edges, drawn as a thin square."""

MESH_COLOR = (92, 160, 242)
PICTURE_HEIGHT_PX = 520


def picture_scale(sensor_size: tuple[int, int]) -> int:
    """Whole factor by which event pictures are enlarged for viewing."""
    return int(np.clip(round(PICTURE_HEIGHT_PX / sensor_size[0]), 1, 4))


def window_picture(
    events: Events,
    *,
    scale: int,
    clip: MotionClip | None = None,
    index: int = 0,
    poser: BodyPoser | None = None,
    what: What = "mesh",
    crop: Crop | None = None,
    label: str = "",
) -> Image:
    """One window's events with the body of pose `index` over them, enlarged `scale` times.

    Raises:
        ShapeError: the motion has no camera, or one of another image size.
    """
    image = event_image(events, size=events.sensor_size)
    if clip is not None and what != "events":
        camera = _camera_of(clip, events.sensor_size)
        assert poser is not None
        p = clip.params
        if what == "mesh":
            vertices = poser.vertices(p.betas[index], p.pose[index], p.transl[index])
            image = draw_mesh(image, vertices, poser.faces, camera, color=MESH_COLOR, alpha=0.6, scale=scale)
        else:
            uv = camera.project(poser.joints(p.betas[index], p.pose[index], p.transl[index]))
            image = draw_skeleton(
                upscale(image, scale), (uv + 0.5) * scale - 0.5, SMPL_SKELETON, clip.confidence[index]
            )
    else:
        image = upscale(image, scale)
    image = np.ascontiguousarray(image).copy()
    if crop is not None:
        left, top, side = (round(c * scale) for c in crop)
        cv2.rectangle(image, (left, top), (left + side, top + side), (90, 90, 90), 1)
    return draw_label(image, label) if label else image


def write_movie(
    output: Path,
    recording: Recording,
    *,
    clip: MotionClip | None = None,
    poser: BodyPoser | None = None,
    what: What = "mesh",
    window_us: int = 50_000,
    crops: list[Crop] | None = None,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = lambda items: items,
) -> int:
    """Write an H.264 video, one picture per pose (or per window without a motion), in real time.

    Returns:
        The number of pictures.
    """
    if clip is not None:
        ends = clip.t_us
        step = int(np.median(np.diff(ends))) if len(ends) > 1 else window_us
    else:
        step = window_us
        ends = np.arange(step, max(step, recording.duration_us) + 1, step)
    scale = picture_scale(recording.sensor_size)
    h, w = recording.sensor_size
    with VideoWriter(output, size=(h * scale, w * scale), fps=1e6 / step) as video:
        for k, end in enumerate(progress(ends)):
            events = recording.read(recording.index_at(int(end) - step), recording.index_at(int(end)))
            video.write(
                window_picture(
                    events, scale=scale, clip=clip, index=k, poser=poser, what=what,
                    crop=None if crops is None else crops[k], label=f"{end * 1e-6:.2f} s",
                )
            )  # fmt: skip
    return len(ends)


def _camera_of(clip: MotionClip, sensor_size: tuple[int, int]) -> Camera:
    if clip.camera is None:
        raise ShapeError(
            "this motion carries no camera, so it cannot be drawn over events; capture it again."
        )
    if clip.camera.size != tuple(sensor_size):
        raise ShapeError(
            f"the motion's camera is (H, W) = {clip.camera.size}, the recording's sensor "
            f"{tuple(sensor_size)}; they do not belong together."
        )
    return clip.camera
