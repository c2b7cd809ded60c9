"""Pinhole camera with OpenCV axes and lens distortion."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventhpe.errors import CalibrationError, ShapeError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Camera:
    """A calibrated camera.

    Attributes:
        K: (3, 3) intrinsics in pixels.
        size: (H, W) of the image in pixels.
        dist: (5,) OpenCV distortion k1, k2, p1, p2, k3.
        R_world_to_cam: (3, 3) rotation.
        t_world_to_cam: (3,) translation in metres.

    Convention:
        Camera axes x right, y down, z forward. Pixel centres lie at integers, so the
        left edge of the image is at u = -0.5.
    """

    K: Array
    size: tuple[int, int]
    dist: Array = field(default_factory=lambda: np.zeros(5))
    R_world_to_cam: Array = field(default_factory=lambda: np.eye(3))
    t_world_to_cam: Array = field(default_factory=lambda: np.zeros(3))

    def __post_init__(self) -> None:
        for name, shape in (
            ("K", (3, 3)),
            ("dist", (5,)),
            ("R_world_to_cam", (3, 3)),
            ("t_world_to_cam", (3,)),
        ):
            value = np.array(getattr(self, name), dtype=np.float64)
            if value.shape != shape:
                raise ShapeError(f"Camera.{name} must be {shape}; got {value.shape}.")
            if not np.isfinite(value).all():
                raise CalibrationError(f"Camera.{name} holds values that are not finite.")
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        if self.K[0, 0] <= 0 or self.K[1, 1] <= 0:
            raise CalibrationError(f"focal lengths must be positive; got {self.K[0, 0]}, {self.K[1, 1]}.")
        h, w = (int(s) for s in self.size)
        if h < 1 or w < 1:
            raise CalibrationError(f"Camera.size must be (H, W) with both >= 1; got {self.size}.")
        object.__setattr__(self, "size", (h, w))

    @classmethod
    def from_focal(cls, focal_px: float, size: tuple[int, int]) -> Camera:
        """Camera with square pixels and the principal point at the image centre."""
        h, w = size
        K = np.array([[focal_px, 0.0, (w - 1) / 2], [0.0, focal_px, (h - 1) / 2], [0.0, 0.0, 1.0]])
        return cls(K=K, size=(h, w))

    @classmethod
    def from_projection_matrix(cls, P: ArrayLike, size: tuple[int, int], *, unit: str = "mm") -> Camera:
        """Split a 3x4 projection matrix (world in `unit`, "mm" or "m") into a camera in metres.

        Raises:
            CalibrationError: the matrix is singular.
        """
        if unit not in ("mm", "m"):
            raise CalibrationError(f'unit must be "mm" or "m"; got {unit!r}.')
        P = np.asarray(P, dtype=np.float64)
        if P.shape != (3, 4):
            raise ShapeError(f"a projection matrix must be (3, 4); got {P.shape}.")
        M = P[:, :3]
        if abs(np.linalg.det(M)) < 1e-12 * np.abs(M).max() ** 3:
            raise CalibrationError(
                "the projection matrix is singular; its left 3x3 block cannot be inverted."
            )
        # RQ decomposition through the QR decomposition of the flipped matrix.
        q, r = np.linalg.qr(M[::-1].T)
        K, R = r.T[::-1, ::-1], q.T[::-1]
        signs = np.diag(np.sign(np.diag(K)))
        K, R = K @ signs, signs @ R
        t = np.linalg.solve(K, P[:, 3])
        if np.linalg.det(R) < 0:  # the matrix is known up to sign only
            R, t = -R, -t
        if unit == "mm":
            t = t / 1000.0
        return cls(K=K / K[2, 2], size=size, R_world_to_cam=R, t_world_to_cam=t)

    def to_camera_frame(self, xyz_world: ArrayLike) -> Array:
        """(*, 3) world metres to (*, 3) camera metres."""
        return np.asarray(xyz_world, dtype=np.float64) @ self.R_world_to_cam.T + self.t_world_to_cam

    def project(self, xyz_camera: ArrayLike) -> Array:
        """(*, 3) camera-frame metres to (*, 2) pixels; points with z <= 0 give NaN."""
        xyz = np.asarray(xyz_camera, dtype=np.float64)
        z = np.where(xyz[..., 2] > 0, xyz[..., 2], np.nan)
        x, y = self._distort(xyz[..., 0] / z, xyz[..., 1] / z)
        u = self.K[0, 0] * x + self.K[0, 1] * y + self.K[0, 2]
        v = self.K[1, 1] * y + self.K[1, 2]
        return np.stack([u, v], axis=-1)

    def _distort(self, x: Array, y: Array) -> tuple[Array, Array]:
        k1, k2, p1, p2, k3 = self.dist
        if not self.dist.any():
            return x, y
        r2 = x * x + y * y
        radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        return (
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        )

    def undistort(self, uv: ArrayLike, *, iterations: int = 60) -> Array:
        """(*, 2) pixels of this camera to the pixels where one with the same K and no distortion sees the
        point.

        Pixels that the distortion model never reaches (beyond where it folds back) give NaN.
        """
        uv = np.asarray(uv, dtype=np.float64)
        seen_y = (uv[..., 1] - self.K[1, 2]) / self.K[1, 1]
        seen_x = (uv[..., 0] - self.K[0, 2] - self.K[0, 1] * seen_y) / self.K[0, 0]
        x, y = seen_x, seen_y
        with np.errstate(over="ignore", invalid="ignore"):
            for _ in range(iterations):  # the fixed point of x = seen - (distorted(x) - x)
                distorted_x, distorted_y = self._distort(x, y)
                x, y = x + 0.7 * (seen_x - distorted_x), y + 0.7 * (seen_y - distorted_y)
            distorted_x, distorted_y = self._distort(x, y)
            off = np.hypot((distorted_x - seen_x) * self.K[0, 0], (distorted_y - seen_y) * self.K[1, 1])
        reached = off < 0.01
        u = self.K[0, 0] * x + self.K[0, 1] * y + self.K[0, 2]
        return np.where(reached[..., None], np.stack([u, self.K[1, 1] * y + self.K[1, 2]], axis=-1), np.nan)

    def crop(self, left: float, top: float, side: float, out: int) -> Camera:
        """Camera of the square [left, left+side) x [top, top+side) resized to `out` x `out` pixels.

        Convention:
            `left`, `top` are pixel edges on the grid where pixel 0 covers [0, 1), so the
            centre of pixel 0 lies at 0.5 there. Lens distortion is kept; the camera axes do not move.
        """
        s = out / side
        A = np.array([[s, 0.0, s * (0.5 - left) - 0.5], [0.0, s, s * (0.5 - top) - 0.5], [0.0, 0.0, 1.0]])
        return Camera(
            K=A @ self.K,
            size=(out, out),
            dist=self.dist,
            R_world_to_cam=self.R_world_to_cam,
            t_world_to_cam=self.t_world_to_cam,
        )
