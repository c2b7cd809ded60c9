"""From heatmaps to positions: the cell of the maximum, and three ways to look between cells."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from eventhpe.errors import ShapeError

DECODINGS = ("argmax", "quarter", "dark", "fit")

_FLOOR = 0.01
"""Of the peak: smaller values have no useful logarithm."""


def decode_maps(maps: Tensor, decoding: str, *, sigma: float) -> tuple[Tensor, Tensor]:
    """Maps to positions.

    Args:
        maps: (B, J, h, w), in which a Gaussian stands for a joint; at least 3 cells wide and high.
        decoding: "argmax": the cell of the maximum.
            "quarter": and a quarter of a cell towards the larger neighbour on each axis (Xiao et al., ECCV
            2018).
            "dark": and one Newton step on the logarithm of the smoothed map (Zhang et al., CVPR 2020). Exact
            on a Gaussian that lies 3 sigma inside the map; nearer to the border smoothing distorts it.
            "fit": and to the top of a quadratic fitted to the logarithm around the maximum, weighted by the
            squared values (Guo, IEEE Signal Processing Magazine 2011). Exact up to the border.
        sigma: of the target Gaussians in cells; sets the width of "dark"'s smoothing and of "fit"'s window.

    Returns:
        Positions (B, J, 2), column and row in cells, and the values (B, J) of the maxima, float32.

    Raises:
        ShapeError: no such decoding, or maps too small.
    """
    if decoding not in DECODINGS:
        raise ShapeError(f"decoding of heatmaps must be one of {', '.join(DECODINGS)}; got {decoding!r}.")
    if maps.ndim != 4 or min(maps.shape[-2:]) < 3:
        raise ShapeError(f"maps must be (B, J, h, w) with h, w >= 3; got {tuple(maps.shape)}.")
    with torch.autocast(device_type=maps.device.type, enabled=False):
        maps = maps.detach().float()
        peak, flat = maps.flatten(-2).max(-1)
        cells = torch.stack((flat % maps.shape[-1], flat // maps.shape[-1]), dim=-1)
        if decoding == "quarter":
            return cells + _quarter_shift(maps, cells), peak
        if decoding == "dark":
            return cells + _dark_shift(maps, cells, sigma), peak
        if decoding == "fit":
            return cells + _fit_shift(maps, cells, peak, sigma), peak
        return cells.float(), peak


def _quarter_shift(maps: Tensor, cells: Tensor) -> Tensor:
    """(B, J, 2) of -0.25, 0 or 0.25; a cell on the border is not shifted across it or away from it."""
    size = torch.tensor([maps.shape[-1], maps.shape[-2]], device=maps.device)
    centre = torch.minimum(cells.clamp(min=1), size - 2)
    around = _window(maps, centre, 1)
    inner = centre == cells
    return torch.where(inner, 0.25 * torch.sign(_slope(around)), 0.0)


def _dark_shift(maps: Tensor, cells: Tensor, sigma: float) -> Tensor:
    """(B, J, 2) Newton step; none on the border, where derivatives lack a neighbour."""
    size = torch.tensor([maps.shape[-1], maps.shape[-2]], device=maps.device)
    centre = torch.minimum(cells.clamp(min=1), size - 2)
    around = _window(_smooth(maps, sigma).clamp(min=1e-10).log(), centre, 1)
    middle = around[..., 1, 1]
    xx = around[..., 1, 2] - 2 * middle + around[..., 1, 0]
    yy = around[..., 2, 1] - 2 * middle + around[..., 0, 1]
    xy = 0.25 * (around[..., 2, 2] - around[..., 2, 0] - around[..., 0, 2] + around[..., 0, 0])
    step, has_top = _to_top(_slope(around), xx, yy, xy)
    inner = (centre == cells).all(-1)
    return torch.where((inner & has_top)[..., None], step.clamp(-0.5, 0.5), 0.0)


def _fit_shift(maps: Tensor, cells: Tensor, peak: Tensor, sigma: float) -> Tensor:
    """(B, J, 2) from the maximum to the top of the fitted quadratic, at most half a cell a way."""
    height, width = maps.shape[-2:]
    reach = min(max(1, round(sigma)), (min(height, width) - 1) // 2)
    size = torch.tensor([width, height], device=maps.device)
    centre = torch.minimum(cells.clamp(min=reach), size - 1 - reach)  # the window stays on the map
    relative = _window(maps, centre, reach) / peak.clamp(min=1e-6)[..., None, None]
    relative = relative.flatten(-2).clamp(min=_FLOOR)
    step = torch.arange(-reach, reach + 1, device=maps.device, dtype=torch.float32)
    y, x = (t.flatten() for t in torch.meshgrid(step, step, indexing="ij"))
    design = torch.stack((torch.ones_like(x), x, y, x * x / 2, y * y / 2, x * y), dim=-1)
    weighted = design * relative.square()[..., None]
    normal = weighted.transpose(-1, -2) @ design
    right = weighted.transpose(-1, -2) @ relative.log()[..., None]
    solution, _ = torch.linalg.solve_ex(normal, right)
    _, gx, gy, xx, yy, xy = solution[..., 0].unbind(-1)
    top, has_top = _to_top(torch.stack((gx, gy), dim=-1), xx, yy, xy)
    return torch.where(has_top[..., None], (centre + top - cells).clamp(-0.5, 0.5), 0.0)


def _window(maps: Tensor, centre: Tensor, reach: int) -> Tensor:
    """(B, J, 2 reach + 1, 2 reach + 1) values around (B, J, 2) cells, all on the map."""
    step = torch.arange(-reach, reach + 1, device=maps.device)
    column, row = centre[..., 0, None] + step, centre[..., 1, None] + step
    index = row[..., :, None] * maps.shape[-1] + column[..., None, :]
    return maps.flatten(-2).gather(-1, index.flatten(-2)).unflatten(-1, (len(step), len(step)))


def _slope(around: Tensor) -> Tensor:
    """(B, J, 2) derivatives by column and row of (B, J, 3, 3) values, by central differences."""
    return 0.5 * torch.stack(
        (around[..., 1, 2] - around[..., 1, 0], around[..., 2, 1] - around[..., 0, 1]), dim=-1
    )


def _to_top(slope: Tensor, xx: Tensor, yy: Tensor, xy: Tensor) -> tuple[Tensor, Tensor]:
    """(B, J, 2) from the origin to the top of quadratics, and (B, J) bool whether they have one."""
    determinant = xx * yy - xy**2
    has_top = (determinant > 1e-12) & (xx < 0)
    safe = torch.where(has_top, determinant, 1.0)
    gx, gy = slope.unbind(-1)
    step = torch.stack((xy * gy - yy * gx, xy * gx - xx * gy), dim=-1) / safe[..., None]
    return torch.where(has_top[..., None], step, 0.0), has_top


def _smooth(maps: Tensor, sigma: float) -> Tensor:
    """Convolved with a Gaussian, zeros beyond the border."""
    reach = max(1, round(3 * sigma))
    offset = torch.arange(-reach, reach + 1, device=maps.device, dtype=torch.float32)
    kernel = torch.exp(-(offset**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    planes = maps.reshape(-1, 1, *maps.shape[-2:])
    planes = conv2d(planes, kernel[None, None, :, None], padding=(reach, 0))
    planes = conv2d(planes, kernel[None, None, None, :], padding=(0, reach))
    return planes.reshape(maps.shape)
