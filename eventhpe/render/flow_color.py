"""Optical flow as colour: hue = direction, saturation = speed (Baker et al. 2011)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import ShapeError, UnitError
from eventhpe.geometry.flowfield import FlowField
from eventhpe.render.overlay import draw_label

Image = NDArray[np.uint8]

#: Corners of the wheel and how many steps lead to the next one. Eyes tell yellows and reds apart
#: better than greens, so those get more room.
_CORNERS = (
    ((255, 0, 0), 15), ((255, 255, 0), 6), ((0, 255, 0), 4),
    ((0, 255, 255), 11), ((0, 0, 255), 13), ((255, 0, 255), 6),
)  # fmt: skip


def flow_to_color(
    flow: FlowField | NDArray[Any], max_px: float | None = None, *, invalid: tuple[int, int, int] = (0, 0, 0)
) -> Image:
    """Picture of a flow field.

    Args:
        flow: FlowField, or uv (2, H, W) pixels (NaN = not known).
        max_px: length that gets full saturation; default the 99th percentile of the picture. Longer
            vectors appear darker.
        invalid: colour where the flow is not known.
    Returns:
        (H, W, 3) uint8 RGB. White = no motion; right = red, down = yellow, left = cyan,
        up = blue-violet (see `flow_legend`).
    """
    uv = flow.uv if isinstance(flow, FlowField) else np.asarray(flow)
    if uv.ndim != 3 or uv.shape[0] != 2:
        raise ShapeError(f"flow must be (2, H, W); got {uv.shape}.")
    known = np.isfinite(uv).all(0)
    if isinstance(flow, FlowField):
        known &= flow.valid
    u, v = np.where(known, uv, 0.0)
    length = np.hypot(u, v)
    if max_px is None:
        max_px = max(float(np.percentile(length[known], 99)), 1e-6) if known.any() else 1.0
    if not max_px > 0:
        raise UnitError(f"max_px must be positive pixels; got {max_px}.")
    turn = np.mod(np.arctan2(v, u) / (2 * np.pi), 1.0)
    hue = _wheel(turn)
    share = (length / max_px)[..., None]
    color = np.where(share <= 1, 255 - share * (255 - hue), 0.75 * hue)
    color[~known] = invalid
    return np.clip(np.rint(color), 0, 255).astype(np.uint8)


def flow_legend(max_px: float, size: int = 96) -> Image:
    """The colour wheel itself, (size, size, 3): the colour at a place is that of the flow pointing there."""
    axis = np.linspace(-1.05, 1.05, size) * max_px
    u, v = np.meshgrid(axis, axis)
    uv = np.where(np.hypot(u, v) <= max_px, np.stack([u, v]), np.nan)
    return draw_label(
        flow_to_color(uv, max_px, invalid=(40, 40, 40)), f"{max_px:.3g} px", corner="bottom_left", size=0.3
    )


def _wheel(turn: NDArray[np.float64]) -> NDArray[np.float64]:
    """(*, 3) RGB of a direction given as a share of the full turn in [0, 1)."""
    steps = np.array([n for _, n in _CORNERS])
    stops = np.concatenate([[0], np.cumsum(steps)]) / steps.sum()
    corners = np.array([c for c, _ in _CORNERS] + [_CORNERS[0][0]], float)
    return np.stack([np.interp(turn, stops, corners[:, c]) for c in range(3)], -1)
