"""Joints in space from a volume per joint: HEMlets' network (Zhou et al., ICCV 2019) and its baseline.

`VolumetricHead` is HEMlets without its idea: the same layers, trained by the joints alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from eventhpe.errors import ShapeError
from eventhpe.shapenet.heads.base import Decoded, HeadSize, JointLabels, PoseHead
from eventhpe.shapenet.heads.coordinates import inside_crop
from eventhpe.shapenet.heads.decoder import Decoder, final_layer
from eventhpe.shapenet.heads.heatmap import gaussian_maps, heatmap_targets
from eventhpe.shapenet.heads.parts import NUM_PARTS
from eventhpe.shapenet.heads.triplets import maps_per_part
from eventhpe.shapenet.heads.volume import (
    check_grid,
    expected_place,
    pixels_to_volume,
    volume_confidence,
    volume_probabilities,
    volume_to_pixels,
)

STRIDE = 4
"""Crop pixels a cell of the maps and volumes."""
SMALL_CROP = 128
"""Up to this size a volume has 32 bins of depth by default, above it the published 64."""


@dataclass(frozen=True)
class VolumeOptions:
    """Shared by the volumetric heads.

    Attributes:
        width: times the published channels of the decoders (256, 1024) and of the fusing layer (1024).
        depth_bins: of the volume; None = 32 for crops up to 128 px, else 64.
        half_depth: the volume reaches this many metres before and behind the root.
        grid: see heads/volume.py; "published" repeats the released code.
        sigma: of the Gaussians of the maps, in cells.
        alpha: weight of the losses on maps, whose sums over cells are large.
    Raises:
        ShapeError: a value outside these.
    """

    width: float = 1.0
    depth_bins: int | None = None
    half_depth: float = 1.0
    grid: str = "centres"
    sigma: float = 2.0
    alpha: float = 0.05

    def __post_init__(self) -> None:
        check_grid(self.grid)
        if self.depth_bins is not None and self.depth_bins < 2:
            raise ShapeError(f"depth_bins must be at least 2; got {self.depth_bins}.")
        if min(self.width, self.half_depth, self.sigma) <= 0 or self.alpha < 0:
            raise ShapeError("width, half_depth and sigma of a volume must be positive, alpha not negative.")

    def bins(self, size: int) -> int:
        """Bins of depth at crops of that size."""
        if self.depth_bins is not None:
            return self.depth_bins
        return 32 if size <= SMALL_CROP else 64


@dataclass(frozen=True)
class VolumetricOptions(VolumeOptions):
    """Of the baseline.

    Attributes:
        maps2d: train the middle layer's joint maps too, with weight `alpha`; off = joints in space alone.
    """

    maps2d: bool = False


class VolumeNet(nn.Module):
    """HEMlets' layers after the encoder (figure 2 of the paper, sizes of the released code).

    Two decoders that share nothing: one gives image features, one the intermediate maps. The maps go through
    a layer of their own, join the image features, and two 1x1 convolutions turn both into volumes.

    Args:
        size: what it is built for.
        extra_maps: intermediate maps beside those of the joints.
        bins: of depth.
        width: times the published channels.
    """

    def __init__(self, size: HeadSize, *, extra_maps: int, bins: int, width: float) -> None:
        super().__init__()
        narrow, wide = max(1, round(256 * width)), max(1, round(1024 * width))
        C, J = size.in_channels, size.num_joints
        self.bins, self.num_joints = bins, J
        self.feature_channels = wide + narrow
        self.image_decoder = nn.Sequential(
            Decoder(in_channels=C, channels=narrow), final_layer(narrow, wide, kernel=3)
        )
        self.map_decoder = nn.Sequential(
            Decoder(in_channels=C, channels=narrow), final_layer(narrow, J + extra_maps, kernel=3)
        )
        self.map_encoder = nn.Sequential(
            final_layer(J + extra_maps, narrow, kernel=3), nn.BatchNorm2d(narrow), nn.ReLU(inplace=True)
        )
        self.fuse = nn.Sequential(
            final_layer(wide + narrow, wide), nn.BatchNorm2d(wide), nn.ReLU(inplace=True)
        )
        self.volume = final_layer(wide, J * bins)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encoder maps (B, C, S/32, S/32) to intermediate maps, features and volumes.

        Returns:
            (B, J + extra, S/4, S/4), what both paths end in (B, wide + narrow, S/4, S/4), and
            (B, J, bins, S/4, S/4).
        """
        maps = self.map_decoder(features)
        joined = torch.cat([self.image_decoder(features), self.map_encoder(maps)], 1)
        return maps, joined, self.volume(self.fuse(joined)).unflatten(1, (self.num_joints, self.bins))


class VolumeHead(PoseHead):
    """What the volumetric heads share: layers, loss of the joints, read-out.

    Args:
        size: what the head is built for.
        options: of volume and layers.
        maps_per_part: intermediate maps for each of the 14 parts; the baseline has them too, without a loss.

    Maps:
        "volume": (B, J, bins, S/4, S/4), linear. "joints2d": (B, J, S/4, S/4). "triplets": (B, 14,
        maps_per_part, S/4, S/4). "features": (B, F, S/4, S/4), what the volume is made of.
    """

    def __init__(self, size: HeadSize, options: VolumeOptions, *, maps_per_part: int) -> None:
        super().__init__(size)
        self.volume_options = options
        self.maps_per_part = maps_per_part
        self.net = VolumeNet(
            size, extra_maps=NUM_PARTS * maps_per_part, bins=options.bins(size.size), width=options.width
        )

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Encoder maps (B, C, S/32, S/32) to named maps."""
        maps, joined, volume = self.net(features)
        J = self.size.num_joints
        return {
            "volume": volume,
            "joints2d": maps[:, :J],
            "triplets": maps[:, J:].unflatten(1, (NUM_PARTS, self.maps_per_part)),
            "features": joined,
        }

    def decode(self, maps: dict[str, Tensor]) -> Decoded:
        """Joints in pixels of the crop and metres from the root; confidence by the volumes' entropy."""
        o = self.volume_options
        with torch.autocast(device_type=maps["volume"].device.type, enabled=False):
            p = volume_probabilities(maps["volume"])
            place = expected_place(p, o.grid)
            uv = volume_to_pixels(place[..., :2], self.size.size, o.grid)
            return Decoded(uv, volume_confidence(p), 2 * o.half_depth * place[..., 2])

    def place_losses(self, maps: dict[str, Tensor], labels: JointLabels) -> dict[str, Tensor]:
        """L1 distance in normalised units, sum over joints, mean over the batch, as published.

        "joints_image" counts joints known in the image that lie on the crop (a volume cannot give others),
        "joints_depth" those known in space: lambda of the paper is 0 for samples without.
        """
        o = self.volume_options
        with torch.autocast(device_type=maps["volume"].device.type, enabled=False):
            place = expected_place(volume_probabilities(maps["volume"]), o.grid)
            on_crop = inside_crop(labels.uv, labels.known, self.size.size)
            uv = torch.where(on_crop[..., None], labels.uv, 0.0).float()
            depth = torch.where(labels.known3d, labels.xyz[..., 2], 0.0).float()
            image = (place[..., :2] - pixels_to_volume(uv, self.size.size, o.grid)).abs().sum(-1)
            along = (place[..., 2] - depth / (2 * o.half_depth)).abs()
            B = len(place)
            return {
                "joints_image": (image * on_crop).sum() / B,
                "joints_depth": (along * labels.known3d).sum() / B,
            }

    def joint_gaussians(self, labels: JointLabels) -> Tensor:
        """(B, J, S/4, S/4) target maps of the joints; zeros where a joint is unknown."""
        return heatmap_targets(
            labels.uv, labels.known, size=self.size.size, sigma=self.volume_options.sigma, stride=STRIDE
        )[0]

    def gaussians_at(self, cells: Tensor) -> Tensor:
        """(B, J, S/4, S/4) maps of joints at cells (B, J, 2)."""
        side = self.size.size // STRIDE
        return gaussian_maps(cells, height=side, width=side, sigma=self.volume_options.sigma)

    def map_loss(self, maps: dict[str, Tensor], labels: JointLabels, gaussians: Tensor) -> Tensor:
        """alpha times the joints' squared error on maps: sum over joints and cells, mean over the batch."""
        predicted = maps["joints2d"]
        with torch.autocast(device_type=predicted.device.type, enabled=False):
            error = (predicted.float() - gaussians).square().sum((-2, -1)) * labels.known
            return self.volume_options.alpha * error.sum() / len(predicted)


class VolumetricHead(VolumeHead):
    """The baseline: volumes alone, or with the joints' maps.

    Args:
        size: what the head is built for; any skeleton.
        options: of the head.
    """

    def __init__(self, size: HeadSize, options: VolumetricOptions) -> None:
        super().__init__(size, options, maps_per_part=maps_per_part(3))
        self.options = options

    def losses(self, maps: dict[str, Tensor], labels: JointLabels) -> dict[str, Tensor]:
        """ "joints_image", "joints_depth", and "joints2d" if asked for."""
        terms = self.place_losses(maps, labels)
        if self.options.maps2d:
            terms["joints2d"] = self.map_loss(maps, labels, self.joint_gaussians(labels))
        return terms
