"""Transposed convolutions from the encoder's maps to a quarter of the input (Xiao et al., ECCV 2018)."""

from __future__ import annotations

from torch import nn


class Decoder(nn.Sequential):
    """(B, C, h, w) to (B, channels, 2^stages h, 2^stages w): transposed 4x4 convolutions, normalised, ReLU.

    Args:
        in_channels: C.
        channels: of every stage; 256 in the paper.
        stages: doublings; 3 bring S/32 to S/4.
        std: of the fresh filters; 0.001 in the paper.
    """

    def __init__(self, *, in_channels: int, channels: int, stages: int = 3, std: float = 0.001) -> None:
        layers: list[nn.Module] = []
        for i in range(stages):
            conv = nn.ConvTranspose2d(
                in_channels if i == 0 else channels, channels, 4, stride=2, padding=1, bias=False
            )
            nn.init.normal_(conv.weight, std=std)
            layers += [conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
        super().__init__(*layers)


def final_layer(in_channels: int, out_channels: int, *, kernel: int = 1, std: float = 0.001) -> nn.Conv2d:
    """The linear layer that gives maps, with small fresh filters and no offset."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)
    nn.init.normal_(conv.weight, std=std)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv
