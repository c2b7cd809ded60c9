"""Where edges have just been: the newest event of every pixel, in short parts of a window."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import ShapeError
from eventhpe.events.filters import background_activity
from eventhpe.events.types import Events
from eventhpe.geometry.camera import Camera

NOISE_DT_US = 20_000
"""Events without a neighbour within this time are noise."""


def edge_points(
    events: Events,
    camera: Camera,
    crop: NDArray[np.floating],
    *,
    t0_us: int,
    t1_us: int,
    parts: int,
    reach: float = 1.15,
    max_points: int = 300,
) -> list[NDArray[np.float32]]:
    """Viewing rays of the pixels that fired in each part of a window.

    Args:
        events: events of the window, in time order.
        camera: intrinsics and distortion.
        crop: (3,) viewing ray and half side of the person's square (`SquareCrop.ray`).
        t0_us, t1_us: the window, cut into `parts` of equal length.
        reach: half sides of the square within which pixels count.
        max_points: more pixels than this are thinned out evenly in time.
    Returns:
        `parts` arrays (N, 2) of x/z, y/z, lens distortion removed, each pixel once at most.
    Raises:
        ShapeError: no part, or a window that ends before it begins.
    """
    if parts < 1 or t1_us <= t0_us:
        raise ShapeError(f"edge_points needs parts >= 1 and t0 < t1; got {parts}, {t0_us}, {t1_us}.")
    kept = background_activity(events, dt_us=NOISE_DT_US)
    bounds = np.searchsorted(kept.t, np.linspace(t0_us, t1_us, parts + 1).round())
    xy = np.stack([kept.x, kept.y], axis=-1).astype(np.float64)
    if camera.dist.any():
        xy = camera.undistort(xy)
    rays = (xy - camera.K[:2, 2]) / [camera.K[0, 0], camera.K[1, 1]]
    pixel = kept.y.astype(np.int64) * kept.sensor_size[1] + kept.x
    with np.errstate(invalid="ignore"):  # pixels that the lens model never reaches are NaN
        near = (np.abs(rays - crop[:2]) < reach * crop[2]).all(axis=1)
    out = []
    for begin, end in pairwise(bounds.tolist()):
        chosen = np.flatnonzero(near[begin:end]) + begin
        _, newest = np.unique(pixel[chosen][::-1], return_index=True)
        chosen = np.sort(chosen[len(chosen) - 1 - newest])
        if len(chosen) > max_points:
            chosen = chosen[np.linspace(0, len(chosen) - 1, max_points).round().astype(int)]
        out.append(rays[chosen].astype(np.float32))
    return out
