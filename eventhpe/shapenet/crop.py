"""Geometry of a window's square crop, described by its viewing ray.

Convention:
    crop (*, 3) = (x_c / z, y_c / z, half): the ray through the crop's centre in normalised camera coordinates
    and half the crop's side divided by the focal length. A camera point (X, Y, Z) lies at crop coordinates
    ((X/Z - x_c) / half, (Y/Z - y_c) / half), -1..1 from edge to edge, and at pixel (that + 1) * S / 2 - 0.5.
"""

from __future__ import annotations

import torch
from torch import Tensor

NEAR_M = 0.1
"""Depths are clamped here before a division."""


def project_to_crop(xyz: Tensor, crop: Tensor) -> Tensor:
    """(*, N, 3) camera metres and (*, 3) crop to (*, N, 2) crop coordinates, -1..1 inside."""
    ray = xyz[..., :2] / xyz[..., 2:].clamp(min=NEAR_M)
    return (ray - crop[..., None, :2]) / crop[..., None, 2:]


def crop_to_pixels(uv: Tensor, size: int) -> Tensor:
    """Crop coordinates to pixels of an S x S image; pixel centres at integers."""
    return (uv + 1) * (size / 2) - 0.5


def crop_to_intrinsics(crop: Tensor, size: int) -> Tensor:
    """(*, 3) crop to (*, 3, 3) intrinsics in pixels of its S x S image."""
    f = size / (2 * crop[..., 2])
    K = crop.new_zeros(*crop.shape[:-1], 3, 3)
    K[..., 0, 0], K[..., 1, 1], K[..., 2, 2] = f, f, 1.0
    K[..., :2, 2] = (size - 1) / 2 - crop[..., :2] * f[..., None]
    return K


def ray_rotation(crop: Tensor) -> Tensor:
    """(*, 3) crop to (*, 3, 3): the smallest rotation taking the optical axis (0, 0, 1) to the crop's central
    ray.

    A body seen in the crop looks (nearly) the same wherever the crop lies if its orientation is expressed
    in this turned frame; R_root_to_cam = ray_rotation(crop) @ R_root_to_ray.
    """
    ray = torch.stack([crop[..., 0], crop[..., 1], torch.ones_like(crop[..., 0])], -1)
    d = ray / ray.norm(dim=-1, keepdim=True)
    x, y, z = d.unbind(-1)
    k = 1 / (1 + z)  # z > 0, so never singular
    rows = [1 - k * x * x, -k * x * y, x, -k * x * y, 1 - k * y * y, y, -x, -y, z]
    return torch.stack(rows, -1).unflatten(-1, (3, 3))
