"""Heatmaps and masks of scenes with several people (Cheng et al., HigherHRNet, CVPR 2020, section 3).

Convention:
    Image pixels have their centres at integers. Cell i of a map of stride s is centred at pixel
    s * (i + 0.5) - 0.5 and holds the pixels in [s * i - 0.5, s * (i + 1) - 0.5). The published code counts
    pixels from their corners and truncates u / s; in our pixels that is floor((u + 0.5) / s), the cell that
    holds the joint.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from eventhpe.errors import ShapeError


class PeopleLabels(NamedTuple):
    """What is known about the people in B images.

    Attributes:
        uv: (B, M, J, 2) float32 pixels of the input; anything where not `known`.
        known: (B, M, J) bool; people fewer than M are padded with False. A joint may lie outside the image.
        labelled: (B, H, W) bool, pixels around which everybody is labelled. Elsewhere (crowds, people without
            labels) the heatmap losses look away.
    """

    uv: Tensor
    known: Tensor
    labelled: Tensor


def check_people(labels: PeopleLabels, *, joints: int, size: tuple[int, int]) -> None:
    """Refuse labels that do not fit the network or its input.

    Raises:
        ShapeError: another number of joints, another image size, or NaN among known joints.
    """
    uv, known, labelled = labels
    if uv.ndim != 4 or uv.shape[2:] != (joints, 2) or known.shape != uv.shape[:3]:
        raise ShapeError(
            f"labels.uv must be (B, M, {joints}, 2) and labels.known (B, M, {joints}); got {tuple(uv.shape)} "
            f"and {tuple(known.shape)}."
        )
    if labelled.shape != (len(uv), *size):
        raise ShapeError(f"labels.labelled must be {(len(uv), *size)}; got {tuple(labelled.shape)}.")
    if not torch.isfinite(uv[known]).all():
        raise ShapeError("labels.uv holds NaN or infinity for joints that are marked as known.")


def joint_cells(uv: Tensor, known: Tensor, *, stride: int, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The cell that holds each joint.

    Args:
        uv: (*, 2) pixels.
        known: (*) bool.
        stride: s of the map.
        size: (h, w) cells of the map.
    Returns:
        (*, 2) int64 column and row, 0 where there is none; (*) bool, known and inside the map.
    """
    cells = torch.floor((_finite(uv, known) + 0.5) / stride)
    limit = torch.tensor([size[1], size[0]], device=uv.device)
    inside = known & ((cells >= 0) & (cells < limit)).all(-1)
    return torch.where(inside[..., None], cells, cells.new_zeros(())).long(), inside


def people_heatmaps(
    uv: Tensor,
    known: Tensor,
    *,
    stride: int,
    size: tuple[int, int],
    sigma: float = 2.0,
    subcell: bool = False,
) -> Tensor:
    """One map per joint with a Gaussian at everybody's, the larger value where two meet.

    Args:
        uv: (B, M, J, 2) pixels of the input.
        known: (B, M, J) bool.
        stride: s of the maps.
        size: (h, w) cells.
        sigma: of the Gaussian, in cells, the same at every stride.
        subcell: centre the Gaussian where the joint is instead of on its cell's centre (published: the cell).
    Returns:
        (B, J, h, w) float32; exactly 0 outside the square of 2 * (3 sigma + 1) + 1 cells around the cell, and
        for joints outside the map.
    """
    (B, M, J, _), (h, w), device = uv.shape, size, uv.device
    cells, inside = joint_cells(uv, known, stride=stride, size=size)
    reach = int(3 * sigma + 1)
    span = torch.arange(-reach, reach + 1, device=device)
    y, x = (a.flatten() for a in torch.meshgrid(span, span, indexing="ij"))
    patch = torch.stack([x, y], -1)
    at = cells[..., None, :] + patch  # (B, M, J, N, 2)
    offset = cells.float() * 0
    if subcell:
        offset = (_finite(uv, known).float() + 0.5) / stride - 0.5 - cells
    distance2 = ((patch - offset[..., None, :]) ** 2).sum(-1)
    value = torch.exp(-distance2 / (2 * sigma**2))
    keep = inside[..., None] & (at >= 0).all(-1) & (at[..., 0] < w) & (at[..., 1] < h)
    # One spare cell at the end takes what falls outside.
    index = torch.where(keep, at[..., 1] * w + at[..., 0], h * w)
    out = torch.zeros(B, J, h * w + 1, device=device)
    N = M * len(patch)
    index, value = (a.permute(0, 2, 1, 3).reshape(B, J, N) for a in (index, value))
    out.scatter_reduce_(2, index, value, "amax")
    return out[..., :-1].reshape(B, J, h, w)


def labelled_pixels(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Mask that leaves boxes out.

    Args:
        boxes: (B, R, 4) x0, y0, x1, y1 pixels, ends included, of crowds and of people without joints; an
            empty or NaN box leaves nothing out.
        size: (H, W).
    Returns:
        (B, H, W) bool for `PeopleLabels.labelled`.
    """
    x = torch.arange(size[1], device=boxes.device)
    y = torch.arange(size[0], device=boxes.device)
    x0, y0, x1, y1 = (boxes[..., i, None] for i in range(4))
    columns, rows = (x >= x0) & (x <= x1), (y >= y0) & (y <= y1)
    return ~(columns[..., None, :] & rows[..., None]).any(1)


def cell_mask(labelled: Tensor, stride: int) -> Tensor:
    """(B, H, W) bool pixels to (B, h, w) float32 cells: 1 where more than half of the cell is labelled."""
    return (avg_pool2d(labelled[:, None].float(), stride)[:, 0] > 0.5).float()


def _finite(uv: Tensor, known: Tensor) -> Tensor:
    return torch.where(known[..., None], uv, uv.new_zeros(()))
