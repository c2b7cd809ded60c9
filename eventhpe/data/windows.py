"""From a window of events to the network's input."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from eventhpe.data.crops import SquareCrop
from eventhpe.errors import ShapeError
from eventhpe.events.frames import crop_binary, crop_counts
from eventhpe.events.types import Events

WINDOW_US = 50_000
"""Length of one window: one pose every 50 ms."""

NUM_CHANNELS = 8

INPUT_KINDS = ("counts", "binary")

GRAY = "gray"
"""Input of networks that read gray images instead of events."""

_LEAST_CONTRAST = 5.0
"""Gray levels; plain images are not blown up to more than this allows."""


def window_frames(
    events: Events, crop: SquareCrop, *, t0_us: int, t1_us: int, out_px: int, kind: str = "counts"
) -> NDArray[np.float32]:
    """Network input of one window.

    Args:
        events: events that cover [t0_us, t1_us); others are ignored.
        crop: the square around the person.
        out_px: S, side of the input.
        kind: "counts" = 4 time bins x (OFF, ON) counts, scaled to the window's own level;
            "binary" = EventHPE's 8 time bins of occupancy without polarity.

    Returns:
        (8, S, S) float32 in [0, 1].

    Raises:
        ShapeError: another kind.
    """
    return rectangle_frames(
        events, crop, t0_us=t0_us, t1_us=t1_us, out_px=out_px, size=(out_px, out_px), kind=kind
    )


def rectangle_frames(
    events: Events,
    crop: SquareCrop,
    *,
    t0_us: int,
    t1_us: int,
    out_px: int,
    size: tuple[int, int],
    kind: str = "counts",
) -> NDArray[np.float32]:
    """As `window_frames`, of the upper left (H, W) part of the S x S input: (8, H, W)."""
    events = events.between(t0_us, t1_us)
    square, (H, W) = (crop.left, crop.top, crop.side), size
    if kind == "counts":
        counts = _cut(crop_counts, events, t0_us, t1_us, square, out_px, 4)[:, :H, :W]
        return compress_counts(counts)
    if kind == "binary":
        return _cut(crop_binary, events, t0_us, t1_us, square, out_px, NUM_CHANNELS)[:, :H, :W]
    raise ShapeError(f"kind must be one of {', '.join(INPUT_KINDS)}; got {kind!r}.")


def gray_input(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(S, S) gray crop to network input (1, S, S), without its own brightness and contrast."""
    values = image.astype(np.float32)
    return ((values - values.mean()) / max(float(values.std()), _LEAST_CONTRAST))[None]


def _cut(
    kernel: Callable[..., NDArray[np.float32]],
    events: Events,
    t0_us: int,
    t1_us: int,
    square: tuple[float, float, float],
    out_px: int,
    num_bins: int,
) -> NDArray[np.float32]:
    left, top, side = square
    return kernel(
        events, t0_us=t0_us, t1_us=t1_us, left=left, top=top, side=side, out_px=out_px, num_bins=num_bins
    )


def compress_counts(counts: NDArray[np.float32]) -> NDArray[np.float32]:
    """Squash counts to [0, 1] relative to the RMS of occupied cells; thresholds and speeds matter less then.

    An empty window stays zero.
    """
    occupied = counts[counts > 0]
    if occupied.size == 0:
        return counts
    rms = float(np.sqrt(np.mean(np.square(occupied, dtype=np.float64))))
    return np.tanh(counts / np.float32(1.5 * rms)).astype(np.float32)
