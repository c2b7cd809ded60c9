"""Pictures of events, bodies and skeletons, drawn over each other.

Images are (H, W, 3) uint8 RGB; nothing is drawn into an argument. Colours are from the palette of
Okabe and Ito, which people with colour-blindness can tell apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventhpe.errors import ShapeError, UnitError
from eventhpe.events.types import Events
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.skeleton import Skeleton
from eventhpe.render.raster import NEAR_M, RasterBuffers, rasterize
from eventhpe.render.shading import Light, shade

Image = NDArray[np.uint8]
RGB = tuple[int, int, int]

BLUE: RGB = (0, 114, 178)
SKY: RGB = (86, 180, 233)
ORANGE: RGB = (230, 159, 0)
VERMILION: RGB = (213, 94, 0)
GREEN: RGB = (0, 158, 115)
GREY: RGB = (170, 170, 170)

#: style -> background, ON, OFF
EVENT_STYLES: dict[str, tuple[RGB, RGB, RGB]] = {
    "dark": ((14, 16, 20), (120, 205, 255), (255, 140, 40)),
    "light": ((255, 255, 255), BLUE, VERMILION),
}

_LAMPS = (Light((0.0, 0.0, -1.0), 0.5), Light((-0.6, -1.0, -0.6), 0.5))
_AMBIENT = 0.3
_SUBPIXEL_BITS = 4


def event_image(
    events: Events, *, size: tuple[int, int] | None = None, style: str = "dark", full_at: float = 3.0
) -> Image:
    """Events of a window as a picture: colour = polarity, strength = how many.

    Args:
        events: N events, may be empty.
        size: (H, W) of the picture; default the sensor's.
        style: "dark" or "light" background.
        full_at: number of events of one pixel that give about its full colour.
    Raises:
        ShapeError: events outside the picture.
        UnitError: unknown style, or `full_at` not positive.
    """
    if style not in EVENT_STYLES:
        raise UnitError(f"style must be one of {', '.join(EVENT_STYLES)}; got {style!r}.")
    if full_at <= 0:
        raise UnitError(f"full_at must be positive; got {full_at}.")
    H, W = events.sensor_size if size is None else size
    if events.t.size and (int(events.x.max()) >= W or int(events.y.max()) >= H):
        raise ShapeError(f"events reach ({events.y.max()}, {events.x.max()}), outside {(H, W)}.")
    background, on, off = (np.array(c, np.float32) for c in EVENT_STYLES[style])
    place = events.y.astype(np.int64) * W + events.x
    total = np.bincount(place, minlength=H * W).reshape(H, W, 1).astype(np.float32)
    share_on = np.bincount(place, weights=events.p, minlength=H * W).reshape(H, W, 1).astype(np.float32)
    share_on /= np.maximum(total, 1)
    strength = 1 - np.exp(-2.5 * total / full_at)
    colour = share_on * on + (1 - share_on) * off
    return _to_uint8(background + strength * (colour - background))


def scaled_camera(camera: Camera, scale: int) -> Camera:
    """The camera of an image enlarged `scale` times, with pixel centres still at integers."""
    A = np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2], [0, 0, 1]], float)
    H, W = camera.size
    return Camera(
        K=A @ camera.K,
        size=(H * scale, W * scale),
        dist=camera.dist,
        R_world_to_cam=camera.R_world_to_cam,
        t_world_to_cam=camera.t_world_to_cam,
    )


def upscale(image: NDArray[Any], scale: int) -> Image:
    """Enlarge by a whole factor; every pixel becomes a block. A gray image becomes RGB."""
    image = _checked_image(image)
    if int(scale) != scale or scale < 1:
        raise UnitError(f"scale must be a whole number >= 1; got {scale}.")
    return np.ascontiguousarray(image.repeat(int(scale), 0).repeat(int(scale), 1))


def draw_mesh(
    image: NDArray[Any],
    vertices: ArrayLike,
    faces: ArrayLike,
    camera: Camera,
    *,
    color: RGB | ArrayLike = SKY,
    alpha: float = 0.6,
    scale: int = 1,
    buffers: RasterBuffers | None = None,
) -> Image:
    """Draw a shaded, translucent body over an image.

    Args:
        image: (H, W, 3) or (H, W) uint8 of the camera's size, or already enlarged `scale` times (for
            the second body of a picture).
        vertices: (V, 3) metres in the camera frame.
        faces: (F, 3), anticlockwise seen from outside.
        color: one RGB, or (V, 3) RGB per vertex, 0..255.
        alpha: opacity of the body.
        scale: enlargement of the result.
    """
    if not 0 <= alpha <= 1:
        raise UnitError(f"alpha must be in [0, 1]; got {alpha}.")
    canvas = _enlarged(image, camera.size, scale).copy()
    xyz = np.asarray(vertices, np.float64)
    albedo = np.broadcast_to(np.asarray(color, np.float64), (len(xyz), 3))
    lit = shade(xyz, faces, None, albedo, _LAMPS, _AMBIENT)
    window, part = _window_around(xyz, scaled_camera(camera, scale))
    samples = 2 if scale < 4 else 1
    frame = rasterize(xyz, faces, part, attributes=lit, supersample=samples, buffers=buffers)
    weight = alpha * frame.coverage[..., None]
    below = canvas[window].astype(np.float32)
    canvas[window] = _to_uint8(below + weight * (frame.attributes - below))
    return canvas


def draw_skeleton(
    image: NDArray[Any],
    uv: ArrayLike,
    skeleton: Skeleton,
    confidence: ArrayLike | None = None,
    *,
    scale: int = 1,
    least_confidence: float = 0.1,
) -> Image:
    """Draw bones and joints: the subject's left orange, right sky blue, the middle gray.

    Args:
        image: (H, W, 3) uint8, already enlarged if `scale` > 1.
        uv: (J, 2) pixels of the image before enlargement; NaN joints are left out.
        confidence: (J,); doubtful bones are thinner, those below `least_confidence` are left out.
    Raises:
        ShapeError: another number of joints than the skeleton's.
    """
    canvas = _checked_image(image).copy()
    J = len(skeleton.joints)
    points = np.asarray(uv, np.float64)
    if points.shape != (J, 2):
        raise ShapeError(f"uv must be ({J}, 2) for skeleton {skeleton.name}; got {points.shape}.")
    trust = np.ones(J) if confidence is None else np.asarray(confidence, np.float64)
    if trust.shape != (J,):
        raise ShapeError(f"confidence must be ({J},); got {trust.shape}.")
    H, W = canvas.shape[:2]
    on_canvas = (points + 0.5) * scale - 0.5
    # cv2 takes fixed-point coordinates; far-off joints would overflow them
    near = np.isfinite(points).all(1) & (np.abs(on_canvas) < 10 * max(H, W)).all(1)
    drawn = near & (trust >= least_confidence)
    fixed = np.rint(np.where(near[:, None], on_canvas, 0.0) * 2**_SUBPIXEL_BITS).astype(int)
    unit = max(1.0, min(H, W) / 260)
    for parent, child in skeleton.bones:
        if drawn[parent] and drawn[child]:
            doubt = min(trust[parent], trust[child], 1.0)
            width = max(1, round(unit * (1 + doubt)))
            ends = _point(fixed[parent]), _point(fixed[child])
            cv2.line(canvas, *ends, (0, 0, 0), width + 2, cv2.LINE_AA, _SUBPIXEL_BITS)
            cv2.line(canvas, *ends, _side_color(skeleton.joints[child]), width, cv2.LINE_AA, _SUBPIXEL_BITS)
    radius = round(2.2 * unit * 2**_SUBPIXEL_BITS)
    for j in np.flatnonzero(drawn):
        cv2.circle(canvas, _point(fixed[j]), radius, (255, 255, 255), -1, cv2.LINE_AA, _SUBPIXEL_BITS)
        cv2.circle(canvas, _point(fixed[j]), radius, (0, 0, 0), 1, cv2.LINE_AA, _SUBPIXEL_BITS)
    return canvas


def draw_label(
    image: NDArray[Any],
    text: str,
    *,
    corner: str = "top_left",
    color: RGB = (255, 255, 255),
    size: float = 0.5,
) -> Image:
    """Write one or several lines on a dark plate.

    Args:
        corner: "top_left", "top_right", "bottom_left" or "bottom_right".
        size: 1 gives letters about 22 px high. Letters outside ASCII appear as "?".
    """
    vertical, _, horizontal = corner.partition("_")
    if vertical not in ("top", "bottom") or horizontal not in ("left", "right"):
        raise UnitError(f"corner must be top_left, top_right, bottom_left or bottom_right; got {corner!r}.")
    canvas = _checked_image(image).copy()
    lines = text.replace("µ", "u").encode("ascii", "replace").decode().split("\n")
    font, thick, pad = cv2.FONT_HERSHEY_SIMPLEX, max(1, round(2 * size)), max(2, round(8 * size))
    sizes = [cv2.getTextSize(line, font, size, thick) for line in lines]
    step = max(s[0][1] + s[1] for s in sizes) + pad // 2
    width, height = max(s[0][0] for s in sizes) + 2 * pad, step * len(lines) + pad
    H, W = canvas.shape[:2]
    x0 = 0 if horizontal == "left" else max(W - width, 0)
    y0 = 0 if vertical == "top" else max(H - height, 0)
    plate = canvas[y0 : y0 + height, x0 : x0 + width]
    plate[:] = (plate * 0.35).astype(np.uint8)
    for k, line in enumerate(lines):
        baseline = y0 + pad // 2 + step * (k + 1) - sizes[k][1]
        cv2.putText(canvas, line, (x0 + pad, baseline), font, size, color, thick, cv2.LINE_AA)
    return canvas


def side_by_side(
    images: Sequence[NDArray[Any]],
    *,
    labels: Sequence[str] | None = None,
    gap: int = 4,
    background: RGB = (40, 40, 40),
) -> Image:
    """Put images in a row, centred in height, each with an optional label in its corner."""
    if not images:
        raise ShapeError("side_by_side needs at least one image; got none.")
    if labels is not None and len(labels) != len(images):
        raise ShapeError(f"{len(images)} images need as many labels; got {len(labels)}.")
    parts = [_checked_image(im) for im in images]
    if labels is not None:
        size = float(np.clip(max(im.shape[0] for im in parts) / 800, 0.35, 1.5))
        parts = [
            draw_label(im, text, size=size) if text else im for im, text in zip(parts, labels, strict=True)
        ]
    height = max(im.shape[0] for im in parts)
    width = sum(im.shape[1] for im in parts) + gap * (len(parts) - 1)
    out = np.empty((height, width, 3), np.uint8)
    out[:] = background
    x = 0
    for im in parts:
        y = (height - im.shape[0]) // 2
        out[y : y + im.shape[0], x : x + im.shape[1]] = im
        x += im.shape[1] + gap
    return out


def _window_around(xyz: NDArray[np.float64], camera: Camera) -> tuple[tuple[slice, slice], Camera]:
    """The part of the image that a mesh touches, and its camera: drawing only there is much faster."""
    H, W = camera.size
    uv = camera.project(xyz)
    if not len(xyz) or xyz[:, 2].min() <= NEAR_M or camera.dist.any():
        return (slice(0, H), slice(0, W)), camera
    x0, y0 = np.clip(np.floor(uv.min(0)) - 1, 0, [W - 1, H - 1]).astype(int)
    x1, y1 = np.clip(np.ceil(uv.max(0)) + 2, [x0 + 1, y0 + 1], [W, H]).astype(int)
    K = camera.K - np.array([[0, 0, x0], [0, 0, y0], [0, 0, 0]])
    return (slice(y0, y1), slice(x0, x1)), Camera(K=K, size=(int(y1 - y0), int(x1 - x0)))


def _side_color(joint: str) -> RGB:
    return ORANGE if joint.endswith("_left") else SKY if joint.endswith("_right") else GREY


def _point(xy: NDArray[Any]) -> tuple[int, int]:
    return int(xy[0]), int(xy[1])


def _enlarged(image: NDArray[Any], size: tuple[int, int], scale: int) -> Image:
    shape = image.shape[:2]
    if shape == (size[0] * scale, size[1] * scale):
        return _checked_image(image)
    if shape != size:
        raise ShapeError(f"the image must have the camera's size {size} or {scale} times that; got {shape}.")
    return upscale(image, scale)


def _checked_image(image: NDArray[Any]) -> Image:
    image = np.asarray(image)
    if image.ndim == 2:
        image = image[..., None].repeat(3, 2)
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ShapeError(f"an image must be (H, W, 3) or (H, W) uint8; got {image.shape} {image.dtype}.")
    return np.ascontiguousarray(image)


def _to_uint8(image: NDArray[Any]) -> Image:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
