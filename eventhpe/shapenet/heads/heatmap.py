"""A Gaussian heatmap per joint: the simple baseline (Xiao et al., ECCV 2018).

Read-outs are in heads/heatmap_decoding.py, the convention of pixels and cells in heads/coordinates.py;
`gaussian_maps` also serves other heads.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eventhpe.errors import ShapeError
from eventhpe.shapenet.heads.base import Decoded, HeadSize, JointLabels, PoseHead
from eventhpe.shapenet.heads.coordinates import cells_to_pixels, pixels_to_cells
from eventhpe.shapenet.heads.decoder import Decoder, final_layer
from eventhpe.shapenet.heads.heatmap_decoding import DECODINGS, decode_maps

STRIDE = 4
"""Crop pixels a cell."""

REDUCTIONS = ("mean", "visible")


@dataclass(frozen=True)
class HeatmapOptions:
    """Of the heatmap head.

    Attributes:
        sigma: of the Gaussian, in cells.
        subcell: centre the Gaussian on the joint's real position; else on the nearest cell and cut off at
            3 sigma, as published.
        decoding: "argmax", "quarter" (as published), "dark" or "fit", see `decode_maps`.
        reduction: of the squared error, see `heatmap_loss`.
        channels: of the decoder; 256 in the paper.

    Raises:
        ShapeError: a value outside these.
    """

    sigma: float = 2.0
    subcell: bool = True
    decoding: str = "quarter"
    reduction: str = "mean"
    channels: int = 256

    def __post_init__(self) -> None:
        if self.decoding not in DECODINGS:
            raise ShapeError(
                f"decoding of heatmaps must be one of {', '.join(DECODINGS)}; got {self.decoding!r}."
            )
        if self.reduction not in REDUCTIONS:
            raise ShapeError(
                f"reduction of heatmaps must be one of {', '.join(REDUCTIONS)}; got {self.reduction!r}."
            )
        if self.sigma <= 0 or self.channels < 1:
            raise ShapeError("sigma and channels of heatmaps must be positive.")


class HeatmapHead(PoseHead):
    """Decoder to a quarter of the crop, then one map per joint.

    Args:
        size: what the head is built for.
        options: of the codec, loss and decoder.

    Maps:
        "heatmap": (B, J, S/4, S/4), linear.
    """

    def __init__(self, size: HeadSize, options: HeatmapOptions) -> None:
        super().__init__(size)
        self.options = options
        self.decoder = Decoder(in_channels=size.in_channels, channels=options.channels)
        self.final = final_layer(options.channels, size.num_joints)

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Encoder maps (B, C, S/32, S/32) to one map a joint."""
        return {"heatmap": self.final(self.decoder(features))}

    def losses(self, maps: dict[str, Tensor], labels: JointLabels) -> dict[str, Tensor]:
        """Squared error of the maps."""
        o = self.options
        targets, weight = heatmap_targets(
            labels.uv, labels.known, size=self.size.size, sigma=o.sigma, subcell=o.subcell
        )
        return {"heatmap": heatmap_loss(maps["heatmap"], targets, weight, reduction=o.reduction)}

    def decode(self, maps: dict[str, Tensor]) -> Decoded:
        """Joints in pixels of the crop; the confidence is the map's maximum."""
        cells, peak = decode_maps(maps["heatmap"], self.options.decoding, sigma=self.options.sigma)
        return Decoded(cells_to_pixels(cells, STRIDE), peak.clamp(0, 1))

    def flip(self, maps: dict[str, Tensor], mirrored: dict[str, Tensor]) -> Decoded:
        """Joints of the mean of a crop's maps and of its mirror image's maps, as the paper averages."""
        pairs = torch.from_numpy(self.size.skeleton.flip).to(mirrored["heatmap"].device)
        back = mirrored["heatmap"][:, pairs].flip(-1)
        return self.decode({"heatmap": (maps["heatmap"] + back) / 2})


def gaussian_maps(
    centres: Tensor, *, height: int, width: int, sigma: float, radius: float | None = None
) -> Tensor:
    """Gaussians of peak 1 on maps.

    Args:
        centres: (*, 2) column and row in cells, finite; fractional centres are allowed.
        height, width: of the maps.
        sigma: in cells.
        radius: zero where the distance in rows or columns exceeds it; None does not cut.

    Returns:
        (*, height, width) float32.
    """
    profiles = []
    for axis, cells in ((1, height), (0, width)):
        index = torch.arange(cells, device=centres.device, dtype=torch.float32)
        distance = index - centres[..., axis, None].float()
        profile = torch.exp(-(distance**2) / (2 * sigma**2))
        profiles.append(profile if radius is None else profile * (distance.abs() <= radius))
    return profiles[0][..., :, None] * profiles[1][..., None, :]


def heatmap_targets(
    uv: Tensor, known: Tensor, *, size: int, sigma: float, subcell: bool = True, stride: int = STRIDE
) -> tuple[Tensor, Tensor]:
    """Joints to maps.

    Args:
        uv: (B, J, 2) pixels of the crop; anything where not known, NaN included.
        known: (B, J) bool.
        size: S, a multiple of the stride.
        sigma: in cells.
        subcell: see `HeatmapOptions`.
        stride: crop pixels a cell.

    Returns:
        Maps (B, J, S/stride, S/stride), zeros where the weight is, and weights (B, J): 1 if the joint is
        known and the square of +-3 sigma around it meets the map, else 0.
    """
    cells = size // stride
    centres = pixels_to_cells(torch.where(known[..., None], uv, 0.0).float(), stride)
    if not subcell:
        centres = torch.floor(centres + 0.5)
    reach = 3 * sigma
    meets = ((centres + reach >= 0) & (centres - reach <= cells - 1)).all(-1)
    weight = (known & meets).float()
    maps = gaussian_maps(centres, height=cells, width=cells, sigma=sigma, radius=None if subcell else reach)
    return maps * weight[..., None, None], weight


def heatmap_loss(maps: Tensor, targets: Tensor, weight: Tensor, *, reduction: str) -> Tensor:
    """Squared error between maps.

    Args:
        maps, targets: (B, J, h, w).
        weight: (B, J).
        reduction: "mean": half the mean over cells, joints and batch, where joints of weight 0 add nothing
            but are counted, as published; "visible": sum over cells, mean over the joints that count, whose
            scale does not depend on the map's size or on how many joints are known.

    Returns:
        Scalar in float32; zero with a gradient if no joint counts.
    """
    with torch.autocast(device_type=maps.device.type, enabled=False):
        error = (maps.float() - targets.float()).square().sum((-2, -1)) * weight
        if reduction == "mean":
            return 0.5 * error.mean() / (maps.shape[-2] * maps.shape[-1])
        return error.sum() / weight.sum().clamp(min=1)
