"""Pixels of a square crop, cells of a map over it, and the loss of heads that regress coordinates.

Convention:
    Pixel centres sit at integers. A map of stride s covers the crop exactly: cell i is centred at pixel
    s * (i + 0.5) - 0.5, so that mirroring the crop mirrors the map.
"""

from __future__ import annotations

import torch
from torch import Tensor

from eventhpe.shapenet.heads.base import JointLabels


def pixels_to_cells(pixels: Tensor, stride: float) -> Tensor:
    """Crop pixels to (fractional) cells of a map of that stride."""
    return (pixels + 0.5) / stride - 0.5


def cells_to_pixels(cells: Tensor, stride: float) -> Tensor:
    """Cells of a map of that stride to crop pixels."""
    return stride * (cells + 0.5) - 0.5


def inside_crop(uv: Tensor, known: Tensor, size: int) -> Tensor:
    """Joints that are known and lie on the crop.

    Args:
        uv: (B, J, 2) pixels, anything where not known, NaN included.
        known: (B, J) bool.
        size: S.

    Returns:
        (B, J) bool: -0.5 <= u, v < S - 0.5.
    """
    on_crop = ((uv >= -0.5) & (uv < size - 0.5)).all(-1)  # NaN compares false
    return known & on_crop


def coordinate_loss(uv: Tensor, labels: JointLabels, size: int) -> Tensor:
    """L1 distance of predicted joints in units of the crop's side: |du| + |dv|, mean over joints that count.

    Args:
        uv: (B, J, 2) predicted pixels.
        labels: joints that are not known, or lie off the crop, do not count.
        size: S.

    Returns:
        Scalar in float32; zero with a gradient if no joint counts.
    """
    with torch.autocast(device_type=uv.device.type, enabled=False):
        counts = inside_crop(labels.uv, labels.known, size)
        target = torch.where(counts[..., None], labels.uv.float(), 0.0)
        distance = (uv.float() - target).abs().sum(-1) / size
        return (distance * counts).sum() / counts.sum().clamp(min=1)
