"""How far the lens model of a camera holds."""

from __future__ import annotations

import math

import numpy as np

from eventhpe.geometry.camera import Camera


def fold_radius_squared(camera: Camera) -> float:
    """Squared radius x^2 + y^2 (at z = 1) from which on the distortion polynomial folds far points back into
    the image; inf if it never does.

    It is the first extremum of r (1 + k1 r^2 + k2 r^4 + k3 r^6); tangential distortion is small beside it.
    """
    if not camera.dist.any():
        return math.inf
    k1, k2, _, _, k3 = camera.dist
    roots = np.roots(np.array([7 * k3, 5 * k2, 3 * k1, 1.0]))
    folds = roots.real[(np.abs(roots.imag) < 1e-9) & (roots.real > 0)]
    return float(folds.min()) if folds.size else math.inf
