"""How far a mesh moves in the image between two instants (Numba)."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]


@njit(cache=True, nogil=True, error_model="numpy")
def _project(x: float, y: float, z: float, K: F64, dist: F64, bent: bool) -> tuple[float, float]:
    x, y = x / z, y / z
    if bent:
        r2 = x * x + y * y
        radial = 1.0 + r2 * (dist[0] + r2 * (dist[1] + r2 * dist[4]))
        x, y = (
            x * radial + 2.0 * dist[2] * x * y + dist[3] * (r2 + 2.0 * x * x),
            y * radial + dist[2] * (r2 + 2.0 * y * y) + 2.0 * dist[3] * x * y,
        )
    return K[0, 0] * x + K[0, 1] * y + K[0, 2], K[1, 1] * y + K[1, 2]


@njit(cache=True, nogil=True, error_model="numpy")
def largest_shift(
    before: F32, after: F32, K: F64, dist: F64, bent: bool, rows: int, cols: int, near: float
) -> float:
    """Largest motion in pixels of a vertex that is in the image at one end at least.

    Args:
        before, after: (V, 3) metres, camera frame.
        K, dist: (3, 3) and (5,); `bent` tells whether dist is not all 0.
        rows, cols: image size.
        near: vertices nearer than this at either end do not count.
    """
    most = 0.0
    for i in range(before.shape[0]):
        if before[i, 2] < near or after[i, 2] < near:
            continue
        u0, v0 = _project(before[i, 0], before[i, 1], before[i, 2], K, dist, bent)
        u1, v1 = _project(after[i, 0], after[i, 1], after[i, 2], K, dist, bent)
        inside = (-1.0 < u0 < cols and -1.0 < v0 < rows) or (-1.0 < u1 < cols and -1.0 < v1 < rows)
        square = (u1 - u0) ** 2 + (v1 - v0) ** 2
        if inside and square > most:
            most = square
    return float(np.sqrt(most))
