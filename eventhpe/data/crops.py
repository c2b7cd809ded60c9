"""Square crops around the person and what they mean for the camera."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import ShapeError
from eventhpe.geometry.camera import Camera

CROP_MARGIN = 1.2
"""Side of a capture's crop relative to the longer side of the person's box."""


@dataclass(frozen=True)
class SquareCrop:
    """The square [left, left + side) x [top, top + side) of the image, in pixel-edge coordinates.

    Convention:
        Pixel 0 covers [0, 1), so its centre lies at 0.5 here and at 0 in camera coordinates.
        The square may reach beyond the sensor.
    """

    left: float
    top: float
    side: float

    def __post_init__(self) -> None:
        if not (np.isfinite([self.left, self.top, self.side]).all() and self.side > 0):
            raise ShapeError(f"a crop needs finite left, top and a positive side; got {self}.")

    @classmethod
    def around(cls, box: tuple[float, float, float, float], margin: float) -> SquareCrop:
        """Square around a box (x0, y0, x1, y1), its side = margin x the longer side of the box."""
        x0, y0, x1, y1 = box
        side = max(x1 - x0, y1 - y0, 4.0) * margin
        return cls((x0 + x1 - side) / 2, (y0 + y1 - side) / 2, side)

    def ray(self, camera: Camera) -> NDArray[np.float32]:
        """(3,) viewing-ray description x_c/z, y_c/z of the crop's centre and tan of its half side.

        Lens distortion is not part of it: crops of strongly distorted images should be undistorted first.
        """
        fx, fy = camera.K[0, 0], camera.K[1, 1]
        u = self.left + self.side / 2 - 0.5
        v = self.top + self.side / 2 - 0.5
        return np.array(
            [(u - camera.K[0, 2]) / fx, (v - camera.K[1, 2]) / fy, self.side / (fx + fy)], dtype=np.float32
        )

    def place(self, uv: NDArray[np.floating], out_px: int) -> NDArray[np.float64]:
        """(*, 2) pixels of the image to pixels of the crop resized to `out_px`, both with centres at
        integers."""
        corner = np.array([self.left, self.top])
        return np.asarray((uv + 0.5 - corner) * (out_px / self.side) - 0.5, np.float64)

    def back(self, uv: NDArray[np.floating], out_px: int) -> NDArray[np.float64]:
        """The inverse of `place`: (*, 2) pixels of the resized crop to pixels of the image."""
        corner = np.array([self.left, self.top])
        return np.asarray((uv + 0.5) * (self.side / out_px) + corner - 0.5, np.float64)

    def cut_image(self, image: NDArray[np.uint8], out_px: int) -> NDArray[np.uint8]:
        """(H, W) image to (out_px, out_px); what lies outside the image repeats its border."""
        s = out_px / self.side
        A = np.array(
            [[s, 0.0, s * (0.5 - self.left) - 0.5], [0.0, s, s * (0.5 - self.top) - 0.5]], dtype=np.float64
        )
        # cv2.warpAffine does not low-pass when it shrinks.
        smooth = cv2.GaussianBlur(image, (0, 0), 0.4 / s) if s < 0.75 else image
        cut = cv2.warpAffine(
            smooth, A, (out_px, out_px), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(cut, np.uint8)

    def cut_map(self, field: NDArray[np.float32], out_px: int) -> NDArray[np.float32]:
        """(H, W) float map to (out_px, out_px) by nearest pixel; zero outside."""
        grid = (np.arange(out_px) + 0.5) * self.side / out_px
        xs = np.floor(self.left + grid).astype(int)
        ys = np.floor(self.top + grid).astype(int)
        h, w = field.shape
        inside = ((ys >= 0) & (ys < h))[:, None] & ((xs >= 0) & (xs < w))[None, :]
        cut = field[np.clip(ys, 0, h - 1)[:, None], np.clip(xs, 0, w - 1)[None, :]]
        return np.where(inside, cut, 0).astype(np.float32)
