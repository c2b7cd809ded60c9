"""Backward warping of images by optical flow."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from eventhpe.errors import ShapeError


def pixel_grid(height: int, width: int, *, device: torch.device | None = None) -> Tensor:
    """(2, H, W) x and y of every pixel centre."""
    y, x = torch.meshgrid(
        torch.arange(height, dtype=torch.float32, device=device),
        torch.arange(width, dtype=torch.float32, device=device),
        indexing="ij",
    )
    return torch.stack([x, y])


def backward_warp(image: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    """Sample `image` at x + flow(x), bilinearly.

    Args:
        image: (N, C, H, W), the image at the end of the window.
        flow: (N, 2, H, W) forward displacement in pixels, indexed at the start.
    Returns:
        (N, C, H, W) warped image, comparable with the image at the start, and (N, 1, H, W) bool, True where
        the sample lay inside the image.
    Convention:
        Pixel centres at integers; whole-pixel flow moves pixels without blur. Outside, the border is
        repeated.
    """
    H, W = _check(image, flow)
    at = pixel_grid(H, W, device=flow.device) + flow.float()
    x, y = at[:, 0], at[:, 1]
    inside = (x >= 0) & (x <= W - 1) & (y >= 0) & (y <= H - 1)
    grid = torch.stack([(2 * x + 1) / W - 1, (2 * y + 1) / H - 1], -1)
    warped = grid_sample(image.float(), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return warped, inside[:, None]


def parity_warp(image: Tensor, flow: Tensor) -> Tensor:
    """The released warp: half a pixel off (2x/W - 1, align_corners off), black outside, square only."""
    H, W = _check(image, flow)
    if H != W:
        raise ShapeError(
            f"the released warp exchanges H and W and works for square images only; got {(H, W)}."
        )
    at = pixel_grid(H, W, device=flow.device) + flow.float()
    grid = (2 * at / W - 1).permute(0, 2, 3, 1)
    return grid_sample(image.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _check(image: Tensor, flow: Tensor) -> tuple[int, int]:
    if image.ndim != 4:
        raise ShapeError(f"image must be (N, C, H, W); got {tuple(image.shape)}.")
    N, _, H, W = image.shape
    if flow.shape != (N, 2, H, W):
        raise ShapeError(
            f"flow must be {(N, 2, H, W)} for an image of {tuple(image.shape)}; got {tuple(flow.shape)}."
        )
    return H, W
