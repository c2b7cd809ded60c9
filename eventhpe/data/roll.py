"""A camera turned about its optical axis: events, pixels and bodies move together, exactly.

Events are points, so that they are turned before they are counted and nothing is interpolated. In normalised
image coordinates the turn is a plain rotation; with radial distortion that commutes with it. Tangential
distortion does not, so cameras that have any are not turned (`Roll.fits`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eventhpe.data.crops import SquareCrop
from eventhpe.data.windows import INPUT_KINDS, NUM_CHANNELS, compress_counts
from eventhpe.errors import ShapeError
from eventhpe.events.types import Events
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.rotation import rotvec_to_rotmat

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Roll:
    """A turn of everything that the camera sees.

    Attributes:
        rotation: (3, 3) about the optical axis; turns camera coordinates.
        affine: (2, 3), pixels to pixels.
    """

    rotation: Array
    affine: Array

    @classmethod
    def by(cls, angle_deg: float, camera: Camera) -> Roll:
        """Turn the picture by an angle, clockwise as seen (x towards y).

        Raises:
            ShapeError: the camera has tangential distortion.
        """
        if not cls.fits(camera):
            raise ShapeError("a camera with tangential lens distortion cannot be turned exactly.")
        rotation = rotvec_to_rotmat(np.array([0.0, 0.0, np.deg2rad(angle_deg)]))
        return cls(rotation, (camera.K @ rotation @ np.linalg.inv(camera.K))[:2])

    @staticmethod
    def fits(camera: Camera) -> bool:
        """Whether the turn is exact for this camera."""
        return not camera.dist[2:4].any()

    def pixels(self, uv: NDArray[np.floating]) -> Array:
        """(*, 2) pixels, centres at integers, in the turned picture."""
        return np.asarray(uv, np.float64) @ self.affine[:, :2].T + self.affine[:, 2]

    def points(self, xyz: NDArray[np.floating]) -> Array:
        """(*, 3) camera metres in the turned camera."""
        return np.asarray(xyz, np.float64) @ self.rotation.T

    def frames(
        self, events: Events, crop: SquareCrop, *, t0_us: int, t1_us: int, out_px: int, kind: str = "counts"
    ) -> NDArray[np.float32]:
        """Network input of one window of the turned picture; arguments and result as `window_frames`.

        Where a crop is enlarged, a pixel's event is spread over the cells that a grid of points in the turned
        pixel falls into; `window_frames` uses exact areas there.
        """
        if kind not in INPUT_KINDS:
            raise ShapeError(f"kind must be one of {', '.join(INPUT_KINDS)}; got {kind!r}.")
        events = events.between(t0_us, t1_us)
        bins = NUM_CHANNELS // 2 if kind == "counts" else NUM_CHANNELS
        channel = (events.t - t0_us) * bins // (t1_us - t0_us)
        if kind == "counts":
            channel = 2 * channel + events.p
        n = 1 if crop.side >= out_px else int(np.ceil(out_px / crop.side)) + 1
        within = (np.arange(n) + 0.5) / n - 0.5
        counts = np.zeros((NUM_CHANNELS, out_px, out_px))
        for dy in within:
            for dx in within:
                uv = self.pixels(np.stack([events.x + dx, events.y + dy], -1))
                cell = np.floor(crop.place(uv, out_px) + 0.5).astype(np.int64)
                inside = ((cell >= 0) & (cell < out_px)).all(-1)
                at = (channel[inside] * out_px + cell[inside, 1]) * out_px + cell[inside, 0]
                counts += np.bincount(at, minlength=counts.size).reshape(counts.shape)
        if kind == "binary":
            return (counts > 0).astype(np.float32)
        return compress_counts((counts / n**2).astype(np.float32))
