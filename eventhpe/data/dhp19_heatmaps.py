"""Heatmaps of DHP19's CNN: targets from labels, joints from maps, and the hold by confidence.

A target is, as the authors make it, a single 1 at the pixel (int(u), int(v)) in a map of zeros, blurred by
OpenCV's Gaussian with automatic kernel size (8 sigma + 1 px for float maps, borders reflected about the
outermost pixels), divided by its maximum. The blur is separable and the map one-hot, so that the target is
the product of two profiles; `blur_profiles` holds those of all positions, and a map costs one product per
pixel.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from eventhpe.errors import ShapeError

Border = Literal["reflect", "cut"]

SIGMAS = (2.0, 4.0)
"""Of the paper and of the authors' code; which one the published weights were trained with is not known."""


def label_pixels(uv: ArrayLike, valid: ArrayLike) -> NDArray[np.int64]:
    """(*, 2) labels in pixels, cut towards zero as the authors do; (0, 0) where not valid.

    Args:
        uv: (*, 2) float pixels, NaN where unknown.
        valid: (*,) bool.
    """
    uv, valid = np.asarray(uv, np.float64), np.asarray(valid, bool)
    if uv.shape != (*valid.shape, 2):
        raise ShapeError(f"uv must be {(*valid.shape, 2)}, as valid is {valid.shape}; got {uv.shape}.")
    # Masked first: what int(NaN) is depends on the machine.
    return np.where(valid[..., None], uv, 0.0).astype(np.int64)


def blur_profiles(length: int, sigma: float, *, border: Border = "reflect") -> Tensor:
    """(length, length) float32; row c is the target along one axis for a joint at c, with maximum 1.

    Args:
        border: "reflect" as published: near a border the mirrored part is added, and may move the maximum
            (from 1 to 0). "cut" leaves it out: the maximum stays where the joint is.

    Raises:
        ShapeError: sigma is not positive.
    """
    if sigma <= 0:
        raise ShapeError(f"the targets' sigma must be positive, 2 or 4 px as published; got {sigma}.")
    return _profiles(length, float(sigma), border)


@lru_cache(maxsize=8)
def _profiles(length: int, sigma: float, border: Border) -> Tensor:
    size = round(8 * sigma + 1) | 1
    offsets = np.arange(size) - size // 2
    taps = np.exp(-0.5 * np.square(offsets / sigma))
    sources = np.pad(np.arange(length), size // 2, mode="reflect")
    profiles = np.zeros((length, length))
    for offset, tap in zip(offsets, taps, strict=True):
        where = np.arange(length) + offset
        inside = (where >= 0) & (where < length)
        use = inside | (border == "reflect")
        np.add.at(profiles, (sources[where[use] + size // 2], np.arange(length)[use]), tap)
    return torch.from_numpy((profiles / profiles.max(1, keepdims=True)).astype(np.float32))


def heatmap_targets(
    pixels: Tensor, valid: Tensor, size: tuple[int, int], *, sigma: float, border: Border = "reflect"
) -> Tensor:
    """Targets of B frames, on the device of `pixels`.

    Args:
        pixels: (B, J, 2) integer (u, v), see `label_pixels`.
        valid: (B, J) bool.
        size: (H, W).
        sigma: of the Gaussian in pixels, 2 (the paper) or 4 (the authors' code).
        border: see `blur_profiles`.

    Returns:
        (B, J, H, W) float32 with maximum 1; all zero for joints that are not valid or lie outside the image
        (u = W passes the published mask).
    """
    if pixels.ndim != 3 or pixels.shape[-1] != 2 or valid.shape != pixels.shape[:-1]:
        raise ShapeError(
            f"pixels must be (B, J, 2) and valid (B, J); got {tuple(pixels.shape)}, {tuple(valid.shape)}."
        )
    H, W = size
    u, v = pixels[..., 0], pixels[..., 1]
    drawn = valid & (u >= 0) & (u < W) & (v >= 0) & (v < H)
    rows = blur_profiles(H, sigma, border=border).to(pixels.device)[v.clamp(0, H - 1)]
    columns = blur_profiles(W, sigma, border=border).to(pixels.device)[u.clamp(0, W - 1)]
    return (rows * drawn[..., None])[..., :, None] * columns[..., None, :]


def decode_heatmaps(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Place and confidence of each joint.

    Args:
        maps: (B, J, H, W).

    Returns:
        pixels (B, J, 2) int64 (u, v) of the maximum, the first one in row-major order; (0, 0) for an
        empty map; and confidence (B, J), the maximum as it is, not normalised.
    """
    if maps.ndim != 4:
        raise ShapeError(f"maps must be (B, J, H, W); got {tuple(maps.shape)}.")
    flat = maps.flatten(2)
    confidence = flat.amax(-1)
    # The first maximum, whatever the device's reduction order.
    index = (flat == confidence[..., None]).to(torch.uint8).argmax(-1)
    return torch.stack([index % maps.shape[-1], index // maps.shape[-1]], -1), confidence


def hold_by_confidence(
    pixels: NDArray[np.int64], confidence: NDArray[np.floating], threshold: float
) -> NDArray[np.int64]:
    """Keep each joint where it was last seen with confidence; one view of one recording.

    A new position counts if its confidence reaches the threshold, or if nothing is stored yet: the stored
    position is still (0, 0), where empty maps put a joint as well. So the first position is always taken, and
    kept until a confident one comes.

    Args:
        pixels: (N, J, 2) decoded positions in order of time.
        confidence: (N, J).
        threshold: published: 0.3; at 0 or below every position counts.

    Returns:
        (N, J, 2).
    """
    pixels, confidence = np.asarray(pixels), np.asarray(confidence)
    if pixels.ndim != 3 or pixels.shape != (*confidence.shape, 2):
        raise ShapeError(
            f"pixels must be (N, J, 2) and confidence (N, J); got {pixels.shape} and {confidence.shape}."
        )
    held = np.empty_like(pixels)
    stored = np.zeros(pixels.shape[1:], pixels.dtype)
    for k, (new, sure) in enumerate(zip(pixels, confidence, strict=True)):
        take = (sure >= threshold) | (stored == 0).all(-1)
        stored = np.where(take[:, None], new, stored)
        held[k] = stored
    return held
