"""Joints as the mean place of a volume of probability (soft-argmax; Sun et al., ECCV 2018).

Convention:
    A volume is (depth, row, column). Its normalised coordinates run from -0.5 to 0.5 along each axis: x and y
    over the crop's pixels, z over the depths -half_depth to half_depth metres from the root, farther = more.
    Three grids say which coordinate bin i of n has, and which a pixel u of S:

    grid         bin                  pixel
    "centres"    (i + 0.5) / n - 0.5  (u + 0.5) / S - 0.5  bins are cells of the crop, as in coordinates.py
    "ends"       i / (n - 1) - 0.5    u / (S - 1) - 0.5    the first and last bins lie on the ends
    "published"  i / (n - 1) - 0.5    u / S - 0.5          HEMlets' released code, half a pixel lopsided
"""

from __future__ import annotations

import torch
from torch import Tensor

from eventhpe.errors import ShapeError

GRIDS = ("centres", "ends", "published")


def bin_places(n: int, grid: str, *, device: torch.device | None = None) -> Tensor:
    """(n,) float32 coordinates of the bins.

    Raises:
        ShapeError: no such grid, or fewer than two bins.
    """
    check_grid(grid)
    if n < 2:
        raise ShapeError(f"an axis of a volume needs at least 2 bins; got {n}.")
    i = torch.arange(n, device=device, dtype=torch.float32)
    return (i + 0.5) / n - 0.5 if grid == "centres" else i / (n - 1) - 0.5


def check_grid(grid: str) -> None:
    """Raises ShapeError if there is no such grid."""
    if grid not in GRIDS:
        raise ShapeError(f"grid of a volume must be one of {', '.join(GRIDS)}; got {grid!r}.")


def pixels_to_volume(uv: Tensor, size: int, grid: str) -> Tensor:
    """Crop pixels to normalised x and y."""
    check_grid(grid)
    shift, length = _pixel_rule(size, grid)
    return (uv + shift) / length - 0.5


def volume_to_pixels(xy: Tensor, size: int, grid: str) -> Tensor:
    """Inverse of `pixels_to_volume`."""
    check_grid(grid)
    shift, length = _pixel_rule(size, grid)
    return (xy + 0.5) * length - shift


def volume_probabilities(logits: Tensor) -> Tensor:
    """(*, D, h, w) to float32 probabilities that sum to 1 over all cells."""
    return torch.softmax(logits.float().flatten(-3), -1).view(logits.shape)


def expected_place(probabilities: Tensor, grid: str) -> Tensor:
    """(*, D, h, w) probabilities to mean normalised coordinates (*, 3): x, y, z, by the three marginals."""
    marginals = (
        probabilities.sum((-3, -2)),
        probabilities.sum((-3, -1)),
        probabilities.sum((-2, -1)),
    )
    places = [bin_places(m.shape[-1], grid, device=m.device) for m in marginals]
    return torch.stack([(m * place).sum(-1) for m, place in zip(marginals, places, strict=True)], -1)


def volume_confidence(probabilities: Tensor) -> Tensor:
    """(*, D, h, w) probabilities to (*) in [0, 1]: 1 - entropy / log(number of cells)."""
    flat = probabilities.flatten(-3)
    entropy = torch.special.entr(flat).sum(-1)
    return (1 - entropy / torch.log(torch.tensor(float(flat.shape[-1])))).clamp(0, 1)


def _pixel_rule(size: int, grid: str) -> tuple[float, float]:
    return {"centres": (0.5, size), "ends": (0.0, size - 1), "published": (0.0, size)}[grid]
