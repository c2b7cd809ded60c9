"""Residual image encoders with torchvision's topology and parameter names (He et al., CVPR 2016).

Written here because torchvision beside a CPU build of torch breaks other packages. A state dict of
torchvision's resnet18 or resnet50 loads after its `fc.*` entries are dropped, given the same number of input
channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (ResNet-18/34)."""

    expansion = 1

    def __init__(self, *, in_channels: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, planes, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, planes * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + shortcut)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut (ResNet-50); the stride sits on the 3x3."""

    expansion = 4

    def __init__(self, *, in_channels: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, planes * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(in_channels, planes * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        return self.relu(self.bn3(self.conv3(y)) + shortcut)


class ResNet(nn.Module):
    """Stem (7x7 stride 2, max pool), four stages and a average pool; no classifier.

    Args:
        block: BasicBlock or Bottleneck.
        blocks: number of blocks in each of the four stages.
        in_channels: C of the input.
        width: channels of the stem; the stages have width * (1, 2, 4, 8) planes.
        grid: the last maps are averaged over grid x grid cells; 1 is the usual global average pool.
    """

    def __init__(
        self,
        *,
        block: type[BasicBlock] | type[Bottleneck],
        blocks: Sequence[int],
        in_channels: int,
        width: int = 64,
        grid: int = 1,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.conv1 = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        stages, channels = [], width
        for i, count in enumerate(blocks):
            planes = width * 2**i
            stage = []
            for j in range(count):
                stage.append(block(in_channels=channels, planes=planes, stride=2 if i > 0 and j == 0 else 1))
                channels = planes * block.expansion
            stages.append(nn.Sequential(*stage))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.stage_channels = tuple(width * 2**i * block.expansion for i in range(4))
        self.out_channels = channels
        self.out_features = channels * grid * grid
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, out_features)."""
        return self.pool(self.maps(x))

    def pool(self, maps: Tensor) -> Tensor:
        """The last stage's maps (N, out_channels, h, w) to (N, out_features)."""
        return torch.flatten(nn.functional.adaptive_avg_pool2d(maps, self.grid), 1)

    def maps(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the last stage's maps (N, out_channels, H/32, W/32), H and W multiples of 32."""
        return self.stages(x)[-1]

    def stages(self, x: Tensor, extra: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """(N, C, H, W) to the maps of the four stages, at H/4, H/8, H/16 and H/32; see `stage_channels`.

        Args:
            extra: (N, width, H/2, W/2), added to the first convolution's output.
        """
        first = self.conv1(x)
        a = self.layer1(self.maxpool(self.relu(self.bn1(first if extra is None else first + extra))))
        b = self.layer2(a)
        c = self.layer3(b)
        return a, b, c, self.layer4(c)


def resnet18(*, in_channels: int, width: int = 64, grid: int = 1) -> ResNet:
    """ResNet-18; `width=32` gives 8 * 32 = 256 features and 2.8 M parameters."""
    return ResNet(block=BasicBlock, blocks=(2, 2, 2, 2), in_channels=in_channels, width=width, grid=grid)


def resnet50(*, in_channels: int, width: int = 64, grid: int = 1) -> ResNet:
    """ResNet-50; 2048 features and 23.53 M parameters at 10 input channels."""
    return ResNet(block=Bottleneck, blocks=(3, 4, 6, 3), in_channels=in_channels, width=width, grid=grid)


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
    )
