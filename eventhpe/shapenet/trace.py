"""What earlier windows saw, as leaky images beside the events of a window.

A window of 50 ms shows only what moves in it. Leaky averages of the windows before show the limbs that have
just come to rest, like the time surfaces of event-based vision (Lagorce et al., TPAMI 2017).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from eventhpe.errors import ShapeError

DECAY = (0.75, 0.9)
"""Share that is left after a window of 50 ms: time constants of 0.17 and 0.47 s."""


class Trace(NamedTuple):
    """State after a window: (B, 2, S, S) leaky averages, and the (B, 3) crop in which they lie."""

    image: Tensor
    crop: Tensor


def leave_traces(frames: Tensor, crop: Tensor, before: Trace | None = None) -> tuple[Tensor, Trace]:
    """Traces of the windows before each window, in that window's crop.

    Args:
        frames: (B, T, C, S, S) event frames.
        crop: (B, T, 3), see `eventhpe.shapenet.crop`.
        before: what earlier windows left; None = nothing.
    Returns:
        (B, T, 2, S, S), and the state after the last window.
    Raises:
        ShapeError: `before` is of another size.
    """
    B, T, _, S, _ = frames.shape
    if before is not None and before.image.shape != (B, len(DECAY), S, S):
        raise ShapeError(
            f"the trace of earlier windows must be {(B, len(DECAY), S, S)}; got {tuple(before.image.shape)}."
        )
    activity = frames.detach().float().amax(2)
    decay = activity.new_tensor(DECAY)[:, None, None]
    image = activity.new_zeros(B, len(DECAY), S, S) if before is None else before.image
    lies_in = crop[:, 0] if before is None else before.crop
    seen = []
    for t in range(T):
        seen.append(_move(image, lies_in, crop[:, t]))
        image = decay * seen[-1] + (1 - decay) * activity[:, t, None]
        lies_in = crop[:, t]
    return torch.stack(seen, 1), Trace(image, lies_in)


def _move(image: Tensor, source: Tensor, target: Tensor) -> Tensor:
    """Images of one crop as another crop of the same camera shows them; nothing beyond the first's edges."""
    theta = image.new_zeros(len(image), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = target[:, 2] / source[:, 2]
    theta[:, :, 2] = (target[:, :2] - source[:, :2]) / source[:, 2:]
    grid = torch.nn.functional.affine_grid(theta, list(image.shape), align_corners=False)
    return torch.nn.functional.grid_sample(image, grid, align_corners=False)
