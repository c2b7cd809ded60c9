"""Spherical interpolation of poses (Numba), for rendering between labels."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

F64 = NDArray[np.float64]


@njit(cache=True, nogil=True)
def _quaternion(v: F64) -> tuple[float, float, float, float]:
    """Unit quaternion (w, x, y, z) of a rotation vector."""
    angle = np.sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2])
    s = np.sin(0.5 * angle) / angle if angle > 1e-9 else 0.5
    return np.cos(0.5 * angle), s * v[0], s * v[1], s * v[2]


@njit(cache=True, nogil=True)
def slerp_pose(start: F64, end: F64, share: float) -> F64:
    """Rotation vectors on the shortest way from `start` to `end`, each joint by itself.

    Args:
        start, end: (J, 3) rotation vectors.
        share: 0 = start, 1 = end.
    Returns:
        (J, 3).
    """
    out = np.empty_like(start)
    for j in range(start.shape[0]):
        aw, ax, ay, az = _quaternion(start[j])
        bw, bx, by, bz = _quaternion(end[j])
        dot = aw * bw + ax * bx + ay * by + az * bz
        sign = 1.0
        if dot < 0.0:
            dot, sign = -dot, -1.0
        if dot > 0.9999995:  # so close that the chord is the arc
            wa, wb = 1.0 - share, share * sign
        else:
            angle = np.arccos(min(dot, 1.0))
            sine = np.sin(angle)
            wa, wb = np.sin((1.0 - share) * angle) / sine, sign * np.sin(share * angle) / sine
        w, x, y, z = wa * aw + wb * bw, wa * ax + wb * bx, wa * ay + wb * by, wa * az + wb * bz
        if w < 0.0:
            w, x, y, z = -w, -x, -y, -z
        length = np.sqrt(x * x + y * y + z * z)
        scale = 2.0 * np.arctan2(length, w) / length if length > 1e-12 else 2.0
        out[j, 0], out[j, 1], out[j, 2] = scale * x, scale * y, scale * z
    return out
