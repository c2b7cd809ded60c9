"""Peaks of heatmaps: the highest local maxima, moved a quarter of a pixel towards the larger neighbour."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d


def top_peaks(heat: Tensor, *, count: int, window: int = 5) -> tuple[Tensor, Tensor]:
    """The highest local maxima of each map.

    Args:
        heat: (*, H, W).
        count: N, how many to give.
        window: odd side of the square in which a peak has no equal; of equals the first in reading order
            stays.
    Returns:
        (*, N) values, falling, -inf where a map has fewer peaks; (*, N, 2) int64 column and row.
    """
    H, W = heat.shape[-2:]
    x = heat.reshape(-1, H, W)
    peak = x == _local_max(x, window)
    # Interpolated maps have plateaus; a rank that falls in reading order leaves one pixel of each.
    rank = torch.arange(H * W, 0, -1, device=heat.device, dtype=torch.float64).view(H, W) * peak
    peak &= rank == _local_max(rank, window)
    value = torch.where(peak, x, -torch.inf).flatten(1)
    if value.shape[1] < count:
        value = torch.nn.functional.pad(value, (0, count - value.shape[1]), value=-torch.inf)
    best, index = value.topk(count, dim=1)
    index = index.clamp(max=H * W - 1)
    at = torch.stack([index % W, torch.div(index, W, rounding_mode="floor")], -1)
    return best.view(*heat.shape[:-2], count), at.view(*heat.shape[:-2], count, 2)


def quarter_shift(heat: Tensor, at: Tensor) -> Tensor:
    """Move peaks by a quarter of a pixel towards the larger neighbour along x and along y.

    Args:
        heat: (*, H, W).
        at: (*, N, 2) int64 column and row.
    Returns:
        (*, N, 2) float32; unmoved where both neighbours are equal, as at a symmetric peak.
    """
    H, W = heat.shape[-2:]
    flat, (x, y) = heat.flatten(-2), at.unbind(-1)

    def value(x: Tensor, y: Tensor) -> Tensor:
        return flat.gather(-1, y.clamp(0, H - 1) * W + x.clamp(0, W - 1))

    dx = torch.sign(value(x + 1, y) - value(x - 1, y))
    dy = torch.sign(value(x, y + 1) - value(x, y - 1))
    return at.float() + 0.25 * torch.stack([dx, dy], -1).float()


def _local_max(x: Tensor, window: int) -> Tensor:
    return max_pool2d(x[None], window, stride=1, padding=window // 2)[0]
