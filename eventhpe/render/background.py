"""What lies behind the people: a picture at infinity, patches that move over it, contact shadows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventhpe.errors import CalibrationError, ShapeError, UnitError
from eventhpe.geometry.camera import Camera
from eventhpe.render.boxes import EMPTY, Box, clip_box, is_empty, union_boxes
from eventhpe.render.kernels_background import (
    blend_patch,
    copy_canvas,
    darken_floor,
    floor_box,
    warp_canvas,
)
from eventhpe.render.lens import fold_radius_squared
from eventhpe.render.raster import NEAR_M

F32 = NDArray[np.float32]

_REST = np.eye(3)


@dataclass(frozen=True)
class Sprite:
    """A distractor: a patch that moves over the background, behind the people.

    Attributes:
        pixels: (h, w) float32 linear intensity in digital numbers.
        alpha: (h, w) float32 opacity in [0, 1]; beyond the patch it is 0.
        path: (K, 2) float64 pixels (u, v) of the patch's centre, in the image of the camera at rest.
        t_us: (K,) int64 µs, increasing; linear in between, held at both ends.
    Raises:
        ShapeError, UnitError: arrays that do not fit, opacity outside [0, 1], times that do not increase.
    """

    pixels: F32
    alpha: F32
    path: NDArray[np.float64]
    t_us: NDArray[np.int64]

    def __post_init__(self) -> None:
        pixels, alpha = (np.array(a, np.float32, order="C") for a in (self.pixels, self.alpha))
        path, t_us = np.array(self.path, np.float64), np.array(self.t_us, np.int64)
        if pixels.ndim != 2 or not pixels.size or alpha.shape != pixels.shape:
            raise ShapeError(
                "Sprite.pixels and alpha must both be (h, w), not empty; "
                f"got {pixels.shape} and {alpha.shape}."
            )
        if t_us.ndim != 1 or not t_us.size or path.shape != (len(t_us), 2):
            raise ShapeError(
                f"Sprite.path must be (K, 2) with t_us (K,), K >= 1; got {path.shape}, {t_us.shape}."
            )
        if (np.diff(t_us) <= 0).any():
            raise UnitError("Sprite.t_us must increase.")
        if not (np.isfinite(pixels).all() and np.isfinite(path).all()):
            raise UnitError("Sprite.pixels and path must be finite.")
        if not (alpha.min() >= 0 and alpha.max() <= 1):
            raise UnitError("Sprite.alpha must lie in [0, 1].")
        for name, value in (("pixels", pixels), ("alpha", alpha), ("path", path), ("t_us", t_us)):
            value.setflags(write=False)
            object.__setattr__(self, name, value)

    def centre(self, t_us: int) -> tuple[float, float]:
        """(u, v) pixels of the patch's centre at a time."""
        return (
            float(np.interp(t_us, self.t_us, self.path[:, 0])),
            float(np.interp(t_us, self.t_us, self.path[:, 1])),
        )


@dataclass(frozen=True)
class Background:
    """A picture at infinity and what moves before it.

    Attributes:
        canvas: (H + 2 margin, W + 2 margin) float32 linear intensity in digital numbers.
        margin: pixels that the canvas reaches beyond the image on every side; 0 for a still camera.
        sprites: patches, the last in front.
    Raises:
        ShapeError, UnitError: a canvas without a middle, values that are not finite.
    """

    canvas: F32
    margin: int = 0
    sprites: tuple[Sprite, ...] = ()

    def __post_init__(self) -> None:
        canvas = np.array(self.canvas, np.float32, order="C")
        if self.margin < 0:
            raise UnitError(f"Background.margin must be at least 0; got {self.margin}.")
        if canvas.ndim != 2 or min(canvas.shape) <= 2 * self.margin:
            raise ShapeError(
                f"Background.canvas must be (H + 2 margin, W + 2 margin) with margin {self.margin}; "
                f"got {canvas.shape}."
            )
        if not np.isfinite(canvas).all():
            raise UnitError("Background.canvas must be finite.")
        canvas.setflags(write=False)
        object.__setattr__(self, "canvas", canvas)
        object.__setattr__(self, "sprites", tuple(self.sprites))

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the image."""
        return self.canvas.shape[0] - 2 * self.margin, self.canvas.shape[1] - 2 * self.margin


class BackgroundPainter:
    """Paints a background at any time into the same image, touching only what changed.

    A turn of the camera moves the picture at infinity by the homography K R K^-1. Lens distortion is left
    out: the canvas shows what a camera with this K and no distortion would see, and a shake of a few pixels
    moves it by nearly the same amount either way.

    Args:
        background: what to paint.
        camera: K and image size.
    Raises:
        ShapeError: the canvas does not fit the camera's image.
    """

    def __init__(self, background: Background, camera: Camera) -> None:
        if background.size != camera.size:
            raise ShapeError(
                f"the canvas is made for images of {background.size}, but the camera's are {camera.size}."
            )
        self._background, self._camera = background, camera
        self._to_rest = _REST
        self._patches = [(np.pad(s.pixels * s.alpha, 1), np.pad(s.alpha, 1)) for s in background.sprites]
        self._sprite_boxes: list[Box] = [EMPTY] * len(background.sprites)
        self._out: F32 | None = None

    def paint(self, t_us: int, R_shake: ArrayLike | None, out: F32, *, also: Box = EMPTY) -> Box | None:
        """Paint the background at a time.

        Args:
            t_us: time, for the sprites.
            R_shake: (3, 3) turn of the camera from rest, x_now = R_shake x_rest in the camera frame; None for
                a camera at rest.
            out: (H, W) float32 image that is written; hand in the same one each time.
            also: a box where the caller has painted over the last result, to be restored as well.
        Returns:
            The box outside which `out` was not touched; None if all of it was painted anew, as it is on the
            first call, for another `out`, and whenever the camera turns.
        Raises:
            ShapeError: `out` is no C-contiguous float32 image of the camera's size.
            CalibrationError: R_shake turns the camera by so much that part of its image looks backwards.
        """
        H, W = size = self._camera.size
        if out.shape != size or out.dtype != np.float32 or not out.flags.c_contiguous:
            raise ShapeError(f"out must be {size} float32, C-contiguous; got {out.shape} {out.dtype}.")
        to_rest = self._homography(R_shake)
        everything = out is not self._out or not np.array_equal(to_rest, self._to_rest)
        self._out, self._to_rest = None, to_rest  # an interrupted call leaves nothing to build on
        still = to_rest is _REST
        to_now = (_REST if still else np.linalg.inv(to_rest)).tolist()
        sprites = self._background.sprites
        places = [sprite.centre(t_us) for sprite in sprites]
        boxes = [self._reach(u, v, s, to_now) for (u, v), s in zip(places, sprites, strict=True)]
        dirty = [(0, H, 0, W)] if everything else [*self._sprite_boxes, *boxes, clip_box(also, size)]
        canvas, margin = self._background.canvas, self._background.margin
        for box in dirty:
            if is_empty(box):
                continue
            if still:
                copy_canvas(canvas, margin, box, out)
            else:
                warp_canvas(canvas, margin, to_rest, box, out)
        for (premultiplied, alpha), (u, v), box in zip(self._patches, places, boxes, strict=True):
            if not is_empty(box):
                blend_patch(premultiplied, alpha, u, v, to_rest, box, out)
        self._out, self._sprite_boxes = out, boxes
        return None if everything else union_boxes(*dirty)

    def _homography(self, R_shake: ArrayLike | None) -> NDArray[np.float64]:
        """(3, 3) from pixels now to pixels at rest."""
        if R_shake is None:
            return _REST
        R = np.asarray(R_shake, np.float64)
        if R.shape != (3, 3):
            raise ShapeError(f"R_shake must be (3, 3); got {R.shape}.")
        if np.array_equal(R, _REST):  # K K^-1 would be off by a rounding error
            return _REST
        K, (H, W) = self._camera.K, self._camera.size
        to_rest: NDArray[np.float64] = K @ R.T @ np.linalg.inv(K)
        corners = np.array([[0, 0, 1], [W - 1, 0, 1], [0, H - 1, 1], [W - 1, H - 1, 1]], np.float64)
        if not ((corners @ to_rest[2]).min() > 0.05):
            raise CalibrationError(
                "R_shake must be a small rotation; this one turns part of the image by about 90 degrees."
            )
        return to_rest

    def _reach(self, u: float, v: float, sprite: Sprite, to_now: list[list[float]]) -> Box:
        """The pixels that a sprite with its centre at (u, v) of the image at rest can change."""
        h, w = sprite.pixels.shape
        (a, b, c), (d, e, f), (g, i, j) = to_now
        xs, ys = [], []
        for x in (u - 0.5 * (w + 1), u + 0.5 * (w + 1)):  # bilinear samples reach one pixel beyond the patch
            for y in (v - 0.5 * (h + 1), v + 0.5 * (h + 1)):
                scale = g * x + i * y + j
                if scale < 1e-3:  # a corner at infinity or behind the camera
                    return 0, self._camera.size[0], 0, self._camera.size[1]
                xs.append(min(max((a * x + b * y + c) / scale, -1e6), 1e6))
                ys.append(min(max((d * x + e * y + f) / scale, -1e6), 1e6))
        box = (math.floor(min(ys)), math.floor(max(ys)) + 2, math.floor(min(xs)), math.floor(max(xs)) + 2)
        return clip_box(box, self._camera.size)


def cast_contact_shadow(
    image: F32,
    camera: Camera,
    R_world_to_cam: ArrayLike,
    t_world_to_cam: ArrayLike,
    points: ArrayLike,
    strength: float,
    radius_m: float,
) -> Box:
    """Darken the floor y = 0 under points of a body, as what is near the floor keeps the light off it.

    Under a point at height h lies a soft disc of radius r + h, darkest in its middle, and the less dark the
    wider it is: (r / (r + h))^2 (1 - h / 4r) (1 - d^2 / (r + h)^2)^2 at the distance d, nothing from h = 4r
    on. Discs that overlap darken like layers of gray glass. Lens distortion is accounted for.

    Args:
        image: (H, W) float32, multiplied IN PLACE by values from 1 - strength to 1.
        camera: intrinsics and image size; its world pose is not used, but
        R_world_to_cam, t_world_to_cam: (3, 3) and (3,) metres are, those of the instant.
        points: (n, 3) metres, world frame (Y up): soles, hands, pelvis; those below the floor count as on it.
        strength: 0 to 1, how dark the middle under a point on the floor becomes.
        radius_m: r, of the disc under a point on the floor.
    Returns:
        The box outside which `image` was not touched; empty where no disc is in sight, and for a camera below
        the floor.
    Raises:
        ShapeError, UnitError: arguments of the wrong shape or range.
    """
    where = np.ascontiguousarray(points, np.float64)
    R = np.ascontiguousarray(R_world_to_cam, np.float64)
    t = np.ascontiguousarray(t_world_to_cam, np.float64)
    if image.shape != camera.size or image.dtype != np.float32:
        raise ShapeError(f"image must be {camera.size} float32; got {image.shape} {image.dtype}.")
    if where.ndim != 2 or where.shape[1] != 3 or R.shape != (3, 3) or t.shape != (3,):
        raise ShapeError(f"need points (n, 3), R (3, 3), t (3,); got {where.shape}, {R.shape}, {t.shape}.")
    if not 0 <= strength <= 1 or not radius_m > 0:
        raise UnitError(f"strength must lie in [0, 1] and radius_m above 0; got {strength}, {radius_m}.")
    if not np.isfinite(where).all():
        raise UnitError("points must be finite.")
    height = np.maximum(where[:, 1], 0.0)
    near = (height < 4 * radius_m) & (strength > 0)
    height, radius = height[near], radius_m + height[near]
    dark = (radius_m / radius) ** 2 * (1 - height / (4 * radius_m))
    blobs = np.stack([where[near, 0], where[near, 2], radius, dark], 1)
    if not len(blobs) or -(R[:, 1] @ t) <= 0:  # -R^T t is the camera's place
        return EMPTY
    fold_r2 = fold_radius_squared(camera)
    box: Box = clip_box(
        floor_box(blobs, R, t, camera.K, camera.dist, fold_r2, NEAR_M, camera.size), camera.size
    )
    if not is_empty(box):
        darken_floor(blobs, R, t, camera.K, camera.dist, float(strength), box, image)
    return box
