"""How many events lie near each joint: where there are none, nothing can be seen of a limb."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eventhpe.data.crops import SquareCrop
from eventhpe.events.frames import count_frame
from eventhpe.events.types import Events

NEAR_SHARE = 0.05
"""Events this far from a joint, over the longer side of the joints' box, support it."""


def events_near(events: Events, uv: NDArray[np.floating], radius_px: float) -> NDArray[np.int64]:
    """(J,) events within a distance of (J, 2) pixels; 0 where a joint is NaN."""
    return near(count_frame(events), uv, radius_px)


def near(counts: NDArray[np.integer], uv: NDArray[np.floating], radius_px: float) -> NDArray[np.int64]:
    """(J,) sums of an image of counts (H, W) within a distance of (J, 2) pixels; 0 where a joint is NaN."""
    H, W = counts.shape
    out = np.zeros(len(uv), np.int64)
    for j, (u, v) in enumerate(uv):
        if not np.isfinite((u, v)).all():
            continue
        y0, y1 = (int(np.clip(np.floor(v + s * radius_px) + (s > 0), 0, H)) for s in (-1, 1))
        x0, x1 = (int(np.clip(np.floor(u + s * radius_px) + (s > 0), 0, W)) for s in (-1, 1))
        y, x = np.ogrid[y0:y1, x0:x1]
        out[j] = counts[y0:y1, x0:x1][(x - u) ** 2 + (y - v) ** 2 <= radius_px**2].sum()
    return out


def num_inside(crop: SquareCrop, uv: NDArray) -> int:
    """How many of (N, 2) pixels have their centre in the crop."""
    placed = crop.place(uv, 1)  # the crop as one pixel
    return int(((placed >= -0.5) & (placed < 0.5)).all(-1).sum())


def longer_side(uv: NDArray[np.floating]) -> float:
    """Of the box around the finite points of (N, 2) pixels."""
    return float(np.ptp(uv[np.isfinite(uv).all(-1)], axis=0).max())
