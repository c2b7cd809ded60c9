"""Soft-argmax of a heatmap per joint in the image plane (Sun et al., Integral Regression, ECCV 2018)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from eventhpe.errors import ShapeError
from eventhpe.shapenet.heads.base import Decoded, HeadSize, JointLabels, PoseHead
from eventhpe.shapenet.heads.coordinates import cells_to_pixels, coordinate_loss
from eventhpe.shapenet.heads.decoder import Decoder, final_layer

STRIDE = 4
"""Crop pixels a cell."""


@dataclass(frozen=True)
class IntegralOptions:
    """Of the integral head.

    Attributes:
        channels: of the decoder; 256 in the paper.

    Raises:
        ShapeError: not positive.
    """

    channels: int = 256

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise ShapeError("channels of the integral head must be positive.")


class IntegralHead(PoseHead):
    """Decoder to a quarter of the crop, a map per joint, and the mean position under its softmax.

    Args:
        size: what the head is built for.
        options: of the decoder.

    Maps:
        "logits": (B, J, S/4, S/4).

    Convention:
        Grid points are the cells' centres, pixels 1.5 to S - 2.5: a joint nearer to the border is out of
        reach by at most two pixels.
    """

    def __init__(self, size: HeadSize, options: IntegralOptions) -> None:
        super().__init__(size)
        self.decoder = Decoder(in_channels=size.in_channels, channels=options.channels)
        self.final = final_layer(options.channels, size.num_joints)

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Encoder maps (B, C, S/32, S/32) to one map a joint."""
        return {"logits": self.final(self.decoder(features))}

    def losses(self, maps: dict[str, Tensor], labels: JointLabels) -> dict[str, Tensor]:
        """L1 distance in units of the crop's side, see `coordinate_loss`."""
        cells, _ = soft_argmax(maps["logits"])
        return {"integral": coordinate_loss(cells_to_pixels(cells, STRIDE), labels, self.size.size)}

    def decode(self, maps: dict[str, Tensor]) -> Decoded:
        """Joints in pixels of the crop; the confidence is 1 - entropy / log(cells), 0 for a flat map."""
        cells, confidence = soft_argmax(maps["logits"].detach())
        return Decoded(cells_to_pixels(cells, STRIDE), confidence)


def soft_argmax(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cell under the softmax over all cells.

    Args:
        logits: (B, J, h, w), more than one cell.

    Returns:
        Positions (B, J, 2), column and row in cells, and 1 - entropy / log(h w) (B, J) in [0, 1], float32.
    """
    height, width = logits.shape[-2:]
    log_probability = logits.float().flatten(-2).log_softmax(-1)
    probability = log_probability.exp()
    entropy = -(probability * log_probability.clamp(min=-100)).sum(-1)
    plane = probability.unflatten(-1, (height, width))
    column = torch.arange(width, device=logits.device, dtype=torch.float32)
    row = torch.arange(height, device=logits.device, dtype=torch.float32)
    cells = torch.stack(((plane.sum(-2) * column).sum(-1), (plane.sum(-1) * row).sum(-1)), dim=-1)
    return cells, (1 - entropy / math.log(height * width)).clamp(0, 1)
