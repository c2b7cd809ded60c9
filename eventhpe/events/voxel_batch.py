"""Voxel grids of consecutive windows, written straight into the memory of a torch tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from eventhpe.errors import ShapeError
from eventhpe.events.types import Events
from eventhpe.events.voxel import check_bins, voxelize_windows

if TYPE_CHECKING:
    import torch


def voxel_batch(
    events: Events,
    num_bins: int,
    *,
    edges_us: ArrayLike,
    out: torch.Tensor | None = None,
    pin: bool = False,
) -> torch.Tensor:
    """Voxel grids of consecutive windows as one tensor, without a copy.

    Args:
        events: N events inside [edges_us[0], edges_us[-1]); may be empty.
        num_bins: B >= 1 bins per window.
        edges_us: (T + 1,) increasing; window k is [edges_us[k], edges_us[k + 1]).
        out: (T, B, H, W) float32 CPU tensor to reuse.
        pin: put a new tensor into page-locked memory where there is a CUDA device (faster copies to it).
    Returns:
        (T, B, H, W) float32 on the CPU; `out` itself if given. Slice k equals `voxelize` of window k.
    Raises:
        ShapeError: `out` does not fit.
        UnitError: as `voxelize_windows`.
    """
    import torch

    if out is None:
        shape = (max(np.size(edges_us) - 1, 0), check_bins(num_bins), *events.sensor_size)
        out = torch.empty(shape, dtype=torch.float32, pin_memory=pin and torch.cuda.is_available())
    elif (
        out.device.type != "cpu" or out.dtype != torch.float32 or not out.is_contiguous() or out.requires_grad
    ):
        raise ShapeError(
            "out must be a contiguous float32 tensor on the CPU without gradient; got "
            f"{tuple(out.shape)} {out.dtype} on {out.device}, requires_grad={out.requires_grad}."
        )
    voxelize_windows(events, num_bins, edges_us=edges_us, out=out.numpy())
    return out
