"""Similarity and rigid alignment of point sets (Procrustes; Umeyama 1991)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventhpe.errors import ShapeError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Similarity:
    """x -> scale * R x + t, for a batch of sets.

    Attributes:
        scale: (*,).
        R: (*, 3, 3) with determinant +1.
        t: (*, 3).
    """

    scale: Array
    R: Array
    t: Array

    def apply(self, points: ArrayLike) -> Array:
        """(*, N, 3) to (*, N, 3)."""
        p = np.asarray(points, dtype=np.float64)
        out: Array = self.scale[..., None, None] * (p @ self.R.swapaxes(-1, -2)) + self.t[..., None, :]
        return out


def fit_similarity(source: ArrayLike, target: ArrayLike, *, with_scale: bool = True) -> Similarity:
    """Best least-squares similarity from source to target, per set.

    Args:
        source, target: (*, N, 3), same unit; any batch, also of 2 or 3 sets.
        with_scale: False fits rotation and translation only.
    Returns:
        Rotations with determinant +1 (a mirrored set is not mirrored back). Sets on a line or in one point
        leave the rotation free about it; one of the best is returned. A source in one point gets scale 0.
    Raises:
        ShapeError: shapes differ, or the arrays hold values that are not finite.
    """
    a, b = (np.asarray(v, dtype=np.float64) for v in (source, target))
    if a.shape != b.shape or a.ndim < 2 or a.shape[-1] != 3 or a.shape[-2] < 1:
        raise ShapeError(
            f"source and target must both be (*, N, 3) with N >= 1; got {a.shape} and {b.shape}."
        )
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ShapeError("source or target holds NaN or infinity; drop those points before aligning.")
    mean_a, mean_b = a.mean(-2), b.mean(-2)
    ca, cb = a - mean_a[..., None, :], b - mean_b[..., None, :]
    U, S, Vt = np.linalg.svd(cb.swapaxes(-1, -2) @ ca)
    # The last singular direction is turned over where the product would be a mirror image.
    sign = np.where(np.linalg.det(U @ Vt) < 0, -1.0, 1.0)
    flip = np.ones_like(S)
    flip[..., 2] = sign
    R = (U * flip[..., None, :]) @ Vt
    scale = np.ones(a.shape[:-2])
    if with_scale:
        spread = np.square(ca).sum((-1, -2))
        safe = np.where(spread > 0, spread, 1.0)
        scale = np.where(spread > 0, (S * flip).sum(-1) / safe, 0.0)
    t = mean_b - scale[..., None] * np.squeeze(R @ mean_a[..., None], -1)
    return Similarity(scale=scale, R=R, t=t)


def align_similarity(source: ArrayLike, target: ArrayLike, *, with_scale: bool = True) -> Array:
    """Source moved onto target by `fit_similarity`: (*, N, 3)."""
    return fit_similarity(source, target, with_scale=with_scale).apply(source)
