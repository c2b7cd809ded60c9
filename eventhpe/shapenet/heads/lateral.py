"""Lateral connections: a quarter-resolution map that also knows the coarse ones (Lin et al., CVPR 2017)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import interpolate


class LateralDecoder(nn.Module):
    """Maps of an encoder's stages, from fine to coarse, to one map at the finest stage's resolution.

    A person of 30 pixels is one cell of the last stage: the early stages keep where the joints are. From the
    coarsest stage on, maps are doubled (nearest), added to the next finer stage's, which a 1x1 convolution
    brings to the same width, and smoothed by a 3x3 convolution.

    Args:
        stage_channels: channels of the stages, fine to coarse.
        channels: of the maps in between.
        out_channels: of the result.
    """

    def __init__(self, *, stage_channels: Sequence[int], channels: int, out_channels: int) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(_unit(c, channels, 1) for c in stage_channels)
        last = len(stage_channels) - 2
        self.smooth = nn.ModuleList(
            _unit(channels, out_channels if i == last else channels, 3) for i in range(last + 1)
        )

    def forward(self, stages: Sequence[Tensor]) -> Tensor:
        """(B, C_i, h / 2^i, w / 2^i) for every stage i to (B, out_channels, h, w)."""
        fine = [lateral(stage) for lateral, stage in zip(self.lateral, stages, strict=True)]
        x = fine.pop()
        for smooth in self.smooth:
            x = smooth(interpolate(x, scale_factor=2.0, mode="nearest") + fine.pop())
        return x


def _unit(in_channels: int, out_channels: int, kernel: int) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))
