"""One vector per joint from the encoder's maps, for linear layers that all joints share (SimDR)."""

from __future__ import annotations

from torch import Tensor, nn

from eventhpe.shapenet.heads.base import HeadSize
from eventhpe.shapenet.heads.decoder import Decoder


class JointVectors(nn.Module):
    """Encoder maps to (B, J, length).

    Args:
        size: of the head.
        channels: of the decoder; 0 leaves the decoder out (the upsample-free variant).
        maps_per_joint: planes of the 1x1 convolution that each joint gets.

    Attributes:
        length: of a vector: maps_per_joint * (S/4)^2, or (S/32)^2 without decoder.
    """

    def __init__(self, size: HeadSize, *, channels: int, maps_per_joint: int = 1) -> None:
        super().__init__()
        self.num_joints = size.num_joints
        self.decoder = Decoder(in_channels=size.in_channels, channels=channels) if channels else nn.Identity()
        self.project = nn.Conv2d(channels or size.in_channels, size.num_joints * maps_per_joint, 1)
        side = size.size // (4 if channels else 32)
        self.length = maps_per_joint * side * side

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, S/32, S/32) to (B, J, length)."""
        planes = self.project(self.decoder(features))
        return planes.reshape(planes.shape[0], self.num_joints, self.length)
