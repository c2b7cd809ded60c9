"""Shuffled pictures and where their patches are: the pure functions of HSJP (spec: hsjp.py).

Convention:
    A grid of (rows, columns) cuts (H, W) into n equal patches, numbered row by row. `order[b, s] = k` says
    that slot s of the shuffled picture shows patch k. Channel k of the maps belongs to patch k and peaks at
    the slot where that patch is now.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from eventhpe.errors import ShapeError
from eventhpe.shapenet.heads.heatmap import gaussian_maps

Grid = tuple[int, int]
"""Rows and columns of patches."""

Normalise = Literal["occupied", "standard", "off"]

OCCUPIED_RMS = 0.6
"""RMS of occupied cells after "occupied": about that of the network's usual input."""

LIVE_SHARE = 0.05
"""A patch is live with this share of the crop's mean events per patch, at least."""

_EPS = 1e-6


def split_patches(x: Tensor, grid: Grid) -> Tensor:
    """(B, C, H, W) to (B, n, C, H / rows, W / columns).

    Raises:
        ShapeError: the grid does not divide the picture.
    """
    rows, columns = grid
    if x.ndim != 4 or rows < 1 or columns < 1 or x.shape[2] % rows or x.shape[3] % columns:
        raise ShapeError(
            f"a picture (B, C, H, W) is cut into {rows} x {columns} equal patches; got {tuple(x.shape)}."
        )
    B, C, H, W = x.shape
    patches = x.view(B, C, rows, H // rows, columns, W // columns).permute(0, 2, 4, 1, 3, 5)
    return patches.reshape(B, rows * columns, C, H // rows, W // columns)


def join_patches(patches: Tensor, grid: Grid) -> Tensor:
    """(B, n, C, h, w) to (B, C, rows h, columns w), the inverse of `split_patches`.

    Raises:
        ShapeError: not as many patches as the grid has slots.
    """
    rows, columns = grid
    if patches.ndim != 5 or patches.shape[1] != rows * columns:
        raise ShapeError(
            f"a grid of {rows} x {columns} joins (B, {rows * columns}, C, h, w); got {tuple(patches.shape)}."
        )
    B, _, C, h, w = patches.shape
    return (
        patches.view(B, rows, columns, C, h, w).permute(0, 3, 1, 4, 2, 5).reshape(B, C, rows * h, columns * w)
    )


def draw_orders(batch: int, num_patches: int, *, generator: torch.Generator | None = None) -> Tensor:
    """(B, n) int64 permutations, all n! equally likely; on the CPU: seeds mean the same on any device."""
    return torch.rand(batch, num_patches, generator=generator, dtype=torch.float64).argsort(1)


def slots_of(order: Tensor) -> Tensor:
    """(B, n) patch in each slot to (B, n) slot of each patch; its own inverse."""
    return order.argsort(1)


def shuffle(x: Tensor, order: Tensor, grid: Grid) -> Tensor:
    """Picture (B, C, H, W) with its patches in another order (B, n); `unshuffle` takes it back exactly."""
    patches = split_patches(x, grid)
    if order.shape != patches.shape[:2]:
        raise ShapeError(f"orders must be {tuple(patches.shape[:2])}; got {tuple(order.shape)}.")
    batch = torch.arange(len(x), device=x.device)[:, None]
    return join_patches(patches[batch, order.to(x.device)], grid)


def unshuffle(x: Tensor, order: Tensor, grid: Grid) -> Tensor:
    """The picture that `shuffle` was given."""
    return shuffle(x, slots_of(order), grid)


def slot_centres(grid: Grid, size: tuple[int, int]) -> Tensor:
    """(n, 2) column and row of the slots' centres on a map of (h, w) cells."""
    rows, columns = grid
    u = (torch.arange(columns) + 0.5) * (size[1] / columns) - 0.5
    v = (torch.arange(rows) + 0.5) * (size[0] / rows) - 0.5
    return torch.stack(torch.meshgrid(u, v, indexing="xy"), -1).reshape(-1, 2)


def jigsaw_targets(order: Tensor, grid: Grid, *, size: tuple[int, int], sigma: float) -> Tensor:
    """(B, n, h, w) float32: Gaussians of peak 1; map k has its own at the centre of patch k's slot."""
    centres = slot_centres(grid, size).to(order.device)[slots_of(order)]
    return gaussian_maps(centres, height=size[0], width=size[1], sigma=sigma)


def live_patches(counts: Tensor, share: float = LIVE_SHARE) -> Tensor:
    """Patches with enough events to be told apart.

    Args:
        counts: (*, n) events per patch.
        share: of the crop's mean per patch.

    Returns:
        (*, n) bool; none in a crop without events.
    """
    counts = counts.double()
    return (counts >= share * counts.mean(-1, keepdim=True)) & (counts > 0)


def jigsaw_loss(maps: Tensor, targets: Tensor, live: Tensor) -> Tensor:
    """Mean squared error over the cells of the channels of live patches, in float32; zero with a gradient if
    no patch is live.

    Args:
        maps, targets: (B, n, h, w).
        live: (B, n) bool.
    """
    with torch.autocast(device_type=maps.device.type, enabled=False):
        error = (maps.float() - targets.float()).square().mean((-2, -1))
        return (error * live).sum() / live.sum().clamp(min=1)


def predicted_slots(maps: Tensor, grid: Grid) -> Tensor:
    """(B, n) int64, the slot in which each channel has its maximum.

    Raises:
        ShapeError: maps of another number of patches.
    """
    rows, columns = grid
    if maps.ndim != 4 or maps.shape[1] != rows * columns:
        raise ShapeError(f"maps must be (B, {rows * columns}, h, w); got {tuple(maps.shape)}.")
    h, w = maps.shape[-2:]
    cell = maps.flatten(2).argmax(-1)
    row, column = cell // w, cell % w
    # By the cell's centre: h and w need not be multiples of rows and columns.
    return (2 * row + 1) * rows // (2 * h) * columns + (2 * column + 1) * columns // (2 * w)


def slot_accuracy(maps: Tensor, order: Tensor, live: Tensor, grid: Grid) -> Tensor:
    """Share of live patches whose slot was found, a scalar; chance is 1 / n. NaN if no patch is live."""
    right = predicted_slots(maps, grid) == slots_of(order).to(maps.device)
    return (right & live).sum() / live.sum()


def normalise_patches(x: Tensor, grid: Grid, kind: Normalise = "occupied") -> Tensor:
    """Take each patch's own level away, so that it does not tell where the patch belongs.

    Args:
        x: (B, C, H, W).
        kind: "occupied" scales a patch so that the RMS of its cells that are not 0 is OCCUPIED_RMS, and
            clamps at 1: empty cells stay empty. "standard" takes mean and standard deviation, as for
            photographs.
    """
    if kind == "off":
        return x
    patches = split_patches(x, grid)
    if kind == "occupied":
        occupied = (patches != 0).sum((2, 3, 4), keepdim=True).clamp(min=1)
        rms = (patches.square().sum((2, 3, 4), keepdim=True) / occupied).sqrt()
        return join_patches((patches * (OCCUPIED_RMS / rms.clamp(min=_EPS))).clamp(max=1.0), grid)
    if kind == "standard":
        centred = patches - patches.mean((2, 3, 4), keepdim=True)
        deviation = centred.square().mean((2, 3, 4), keepdim=True).sqrt()
        return join_patches(centred / deviation.clamp(min=_EPS), grid)
    raise ShapeError(f"patches are normalised by occupied, standard or off; got {kind!r}.")


def crop_patches(x: Tensor, grid: Grid, keep: float, *, generator: torch.Generator | None = None) -> Tensor:
    """A random part of each patch, enlarged to the patch's size, so that borders of neighbours do not match.

    Args:
        x: (B, C, H, W).
        keep: side of the part over the side of the patch, in (0, 1]; 1 changes nothing. 56 of 64 is usual.
    """
    if not 0 < keep <= 1:
        raise ShapeError(f"the share of a patch to keep must lie in (0, 1]; got {keep}.")
    if keep == 1:
        return x
    patches = split_patches(x, grid)
    B, n = patches.shape[:2]
    shift = (2 * torch.rand(B * n, 2, generator=generator) - 1) * (1 - keep)
    theta = torch.zeros(B * n, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = keep, keep, shift
    flat = patches.flatten(0, 1)
    where = affine_grid(theta.to(x), list(flat.shape), align_corners=False)
    cut = grid_sample(flat, where, mode="bilinear", padding_mode="border", align_corners=False)
    return join_patches(cut.unflatten(0, (B, n)), grid)
