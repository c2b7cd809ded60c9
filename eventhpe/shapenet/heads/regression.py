"""Coordinates straight from linear layers: the control for the heads that predict maps or classes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from eventhpe.errors import ShapeError
from eventhpe.shapenet.heads.base import Decoded, HeadSize, JointLabels, PoseHead
from eventhpe.shapenet.heads.coordinates import coordinate_loss
from eventhpe.shapenet.heads.joint_vectors import JointVectors

SOURCES = ("pooled", "vectors")


@dataclass(frozen=True)
class RegressionOptions:
    """Of the regression head.

    Attributes:
        source: "pooled": one linear layer on the globally averaged encoder maps. "vectors": SimDR's network
            with its linear layers cut to one output an axis, so that only the classification differs.
        channels: of the decoder of "vectors"; 256 as in SimDR.

    Raises:
        ShapeError: a value outside these.
    """

    source: str = "pooled"
    channels: int = 256

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise ShapeError(
                f"source of the regression must be one of {', '.join(SOURCES)}; got {self.source!r}."
            )
        if self.channels < 1:
            raise ShapeError("channels of the regression must be positive.")


class RegressionHead(PoseHead):
    """Encoder maps to coordinates.

    Args:
        size: what the head is built for.
        options: where the coordinates come from.

    Maps:
        "uv": (B, J, 2), (pixel + 0.5) / S - 0.5: -0.5 to 0.5 on the crop.
    """

    def __init__(self, size: HeadSize, options: RegressionOptions) -> None:
        super().__init__(size)
        if options.source == "vectors":
            vectors = JointVectors(size, channels=options.channels)
            linear = nn.Linear(vectors.length, 2)
            self.coordinates = nn.Sequential(vectors, linear)
        else:
            linear = nn.Linear(size.in_channels, 2 * size.num_joints)
            self.coordinates = nn.Sequential(
                nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear, nn.Unflatten(-1, (size.num_joints, 2))
            )
        nn.init.normal_(linear.weight, std=0.001)  # start in the middle of the crop, not all over it
        nn.init.zeros_(linear.bias)

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Encoder maps (B, C, S/32, S/32) to coordinates."""
        return {"uv": self.coordinates(features)}

    def losses(self, maps: dict[str, Tensor], labels: JointLabels) -> dict[str, Tensor]:
        """L1 distance in units of the crop's side, see `coordinate_loss`."""
        return {"regression": coordinate_loss(self._pixels(maps), labels, self.size.size)}

    def decode(self, maps: dict[str, Tensor]) -> Decoded:
        """Joints in pixels of the crop; the confidence is 1, for a regression has none."""
        uv = self._pixels(maps).detach()
        return Decoded(uv, torch.ones(uv.shape[:2], device=uv.device))

    def _pixels(self, maps: dict[str, Tensor]) -> Tensor:
        return (maps["uv"].float() + 0.5) * self.size.size - 0.5
