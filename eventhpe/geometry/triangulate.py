"""Points seen by several cameras: projection by 3x4 matrices, and back.

Matrices P (3, 4) map world points, in any unit, to homogeneous pixels. Those of DHP19 (Calabrese et al.,
CVPRW 2019) have a second pixel axis that grows upwards; `image_height` says so: with it, v is counted
downwards, v = image_height - y / w, as in the images.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventhpe.errors import CalibrationError, ShapeError

Array = NDArray[np.float64]

REFINING_STEPS = 10
"""Gauss-Newton steps of `triangulate_views`; from the rays' point it settles in three or four."""


def project_dhp19(
    P: ArrayLike, xyz: ArrayLike, *, size: tuple[int, int] = (260, 344), image_height: float = 260.0
) -> tuple[Array, NDArray[np.bool_]]:
    """Pixels of points and the mask of those that DHP19's evaluation counts as labels.

    Args:
        P: (3, 4) matrix of the camera, y upwards.
        xyz: (*, 3) in the matrix' world; NaN where unknown.
        size: (H, W) of the image; W is 344 for the published network, 346 for the sensor.

    Returns:
        uv (*, 2) float pixels, v downwards, NaN for unknown points; valid (*,), False where NaN,
        u <= 0, u > W, v <= 0 or v > H. As published, a point in column or row 0 is invalid only at exactly 0,
        and one with u = W or v = H counts although no pixel is there.
    """
    (matrix,), points = _matrices([P]), np.asarray(xyz, np.float64)
    if points.shape[-1:] != (3,):
        raise ShapeError(f"points must be (*, 3); got {points.shape}.")
    h = points @ matrix[:, :3].T + matrix[:, 3]
    uv = np.stack([h[..., 0] / h[..., 2], image_height - h[..., 1] / h[..., 2]], -1)
    u, v = uv[..., 0], uv[..., 1]
    valid = np.isfinite(uv).all(-1) & (u > 0) & (u <= size[1]) & (v > 0) & (v <= size[0])
    return uv, valid


def camera_centre(P: ArrayLike) -> Array:
    """(3,) centre of the camera, -M^-1 p4 of P = [M | p4], in the matrix' world."""
    (matrix,) = _matrices([P])
    return np.linalg.solve(matrix[:, :3], -matrix[:, 3])


def triangulate_rays(
    uv: ArrayLike,
    matrices: Sequence[ArrayLike] | Array,
    *,
    centres: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    image_height: float | None = None,
) -> Array:
    """The point nearest to the viewing rays of V cameras, in squared distance; DHP19's evaluation with V = 2.

    Each ray runs from the camera's centre through P^+ (u, y, 1), P^+ being the pseudo-inverse. With
    directions n and centres c the point solves sum (I - n n') p = sum (I - n n') c.

    Args:
        uv: (V, *, 2) pixels; NaN = not seen.
        matrices: V matrices (3, 4).
        centres: (V, 3) camera centres; by default those of the matrices.
        weights: (V, *) of the rays; all 1 by default.
        image_height: height in pixels, where the matrices have y upwards and v is counted downwards.

    Returns:
        (*, 3) in the matrices' world; NaN where fewer than two views with a positive weight see the point.
        Parallel rays leave the depth open: the solution of least norm is returned.

    Raises:
        ShapeError: shapes do not fit each other.
        CalibrationError: a matrix is singular.
    """
    P, pixels, w = _views(uv, matrices, weights)
    c = np.stack([camera_centre(m) for m in P]) if centres is None else np.asarray(centres, np.float64)
    if c.shape != (len(P), 3):
        raise ShapeError(f"centres must be ({len(P)}, 3); got {c.shape}.")
    y = pixels[..., 1] if image_height is None else image_height - pixels[..., 1]
    homogeneous = np.stack([pixels[..., 0], y, np.ones_like(y)], -1)
    second = np.einsum("vij,v...j->v...i", np.linalg.pinv(P), homogeneous)
    c = c.reshape(len(P), *[1] * (pixels.ndim - 2), 3)
    n = second[..., :3] / second[..., 3:] - c
    n /= np.linalg.norm(n, axis=-1, keepdims=True)
    across = w[..., None, None] * (np.eye(3) - n[..., :, None] * n[..., None, :])
    A, b = across.sum(0), (across @ c[..., None]).sum(0)
    xyz: Array = (np.linalg.pinv(A, hermitian=True) @ b)[..., 0]
    return np.where((w > 0).sum(0)[..., None] >= 2, xyz, np.nan)


def triangulate_views(
    uv: ArrayLike,
    matrices: Sequence[ArrayLike] | Array,
    *,
    weights: ArrayLike | None = None,
    image_height: float | None = None,
) -> Array:
    """The point whose projections lie nearest to the pixels of V cameras, each view by its weight.

    Least weighted squares of the distances in pixels, by Gauss-Newton from the point of `triangulate_rays`:
    the most likely point if errors are normal with variance 1 / weight. The rays' point weighs errors in
    world units instead, so that a far camera counts for more than it sees.

    Args:
        uv: (V, *, 2) pixels; NaN = not seen.
        matrices: V matrices (3, 4).
        weights: (V, *) >= 0, for example confidences; all 1 by default.
        image_height: see `triangulate_rays`.

    Returns:
        (*, 3) in the matrices' world; NaN where fewer than two views with a positive weight see the point.

    Raises:
        ShapeError, CalibrationError: see `triangulate_rays`.
    """
    P, pixels, w = _views(uv, matrices, weights)
    xyz = triangulate_rays(uv, matrices, weights=weights, image_height=image_height)
    seen = np.isfinite(xyz).all(-1)
    if image_height is not None:
        pixels = np.stack([pixels[..., 0], image_height - pixels[..., 1]], -1)
    x, target, weight = xyz[seen], pixels[:, seen], w[:, seen]  # (N, 3), (V, N, 2), (V, N)
    cost = np.full(len(x), np.inf)
    best = x.copy()
    for step in range(REFINING_STEPS + 1):
        h = np.einsum("vij,nj->vni", P[:, :, :3], x) + P[:, None, :, 3]
        projected = h[..., :2] / h[..., 2:]
        residual = np.where(weight[..., None] > 0, target - projected, 0.0)
        now = (weight * np.square(residual).sum(-1)).sum(0)
        better = now < cost
        cost, best[better] = np.where(better, now, cost), x[better]
        if step == REFINING_STEPS:
            break
        J = (P[:, None, :2, :3] - projected[..., None] * P[:, None, 2:, :3]) / h[..., 2:, None]
        A = np.einsum("vn,vnki,vnkj->nij", weight, J, J)
        g = np.einsum("vn,vnki,vnk->ni", weight, J, residual)
        x = x + (np.linalg.pinv(A, hermitian=True) @ g[..., None])[..., 0]
    out = np.full_like(xyz, np.nan)
    out[seen] = best
    return out


def _matrices(given: Sequence[ArrayLike] | Array) -> Array:
    matrices = [np.asarray(m, np.float64) for m in given]
    for P in matrices:
        if P.shape != (3, 4):
            raise ShapeError(f"a projection matrix must be (3, 4); got {P.shape}.")
        if not abs(np.linalg.det(P[:, :3])) > 1e-12 * np.abs(P[:, :3]).max() ** 3:
            raise CalibrationError("a projection matrix is singular; its left 3x3 block cannot be inverted.")
    return np.stack(matrices)


def _views(
    uv: ArrayLike, matrices: Sequence[ArrayLike] | Array, weights: ArrayLike | None
) -> tuple[Array, Array, Array]:
    """Matrices, pixels with 0 where unseen, and weights with 0 there."""
    P, pixels = _matrices(matrices), np.asarray(uv, np.float64)
    if len(P) < 2 or pixels.ndim < 2 or len(pixels) != len(P) or pixels.shape[-1] != 2:
        raise ShapeError(
            f"uv must be (V, *, 2) for V >= 2 matrices; got {pixels.shape} and {len(P)} matrices."
        )
    w = np.ones(pixels.shape[:-1]) if weights is None else np.asarray(weights, np.float64)
    if w.shape != pixels.shape[:-1] or (w < 0).any():
        raise ShapeError(f"weights must be {pixels.shape[:-1]} and not negative; got {w.shape}.")
    seen = np.isfinite(pixels).all(-1) & np.isfinite(w)
    return P, np.where(seen[..., None], pixels, 0.0), np.where(seen, w, 0.0)
