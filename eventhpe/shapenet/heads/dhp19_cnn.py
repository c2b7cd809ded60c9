"""The CNN of DHP19 (Calabrese et al., CVPRW 2019, section 4): one camera's event frame to 13 heatmaps.

17 layers of 3x3 filters without bias, a ReLU after each, the last included; two 2x2 max-pools, dilations of 2
at a quarter and half of the resolution, two transposed convolutions back up. 218,592 parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, conv_transpose2d, max_pool2d, relu

from eventhpe.errors import ShapeError

DHP19_CNN_SIZE = (260, 344)
"""(H, W) of the published input: the sensor's 260 x 346 without the two rightmost columns."""

NUM_JOINTS = 13
STRIDE = 4
"""H and W must be multiples of it."""


@dataclass(frozen=True)
class Layer:
    """One layer: 3x3 filters, ReLU, and a 2x2 max-pool where `pool` says so.

    Attributes:
        inputs, outputs: channels.
        dilation: of the filters.
        transposed: a transposed convolution that doubles the resolution.
        pool: halve the resolution afterwards.
    """

    inputs: int
    outputs: int
    dilation: int = 1
    transposed: bool = False
    pool: bool = False

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the weights: (out, in, 3, 3), and (in, out, 3, 3) if transposed."""
        first, second = (self.inputs, self.outputs) if self.transposed else (self.outputs, self.inputs)
        return first, second, 3, 3


LAYERS = (
    Layer(1, 16, pool=True),
    Layer(16, 32),
    Layer(32, 32),
    Layer(32, 32, pool=True),
    Layer(32, 64, dilation=2),
    Layer(64, 64, dilation=2),
    Layer(64, 64, dilation=2),
    Layer(64, 64, dilation=2),
    Layer(64, 32, transposed=True),
    Layer(32, 32, dilation=2),
    Layer(32, 32, dilation=2),
    Layer(32, 32, dilation=2),
    Layer(32, 32, dilation=2),
    Layer(32, 16, transposed=True),
    Layer(16, 16),
    Layer(16, 16),
    Layer(16, NUM_JOINTS),
)


class DHP19CNN(nn.Module):
    """The published network, with fresh weights (Glorot uniform) until some are loaded.

    Convention:
        "Same" padding is TensorFlow's: a transposed convolution puts input pixel i onto output pixels 2i,
        2i+1 and 2i+2 and cuts the last row and column off, so that loaded Keras weights give Keras' outputs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.ParameterList([nn.Parameter(torch.empty(layer.shape)) for layer in LAYERS])
        for weight in self.weights:
            nn.init.xavier_uniform_(weight)

    def forward(self, frames: Tensor) -> Tensor:
        """Heatmaps at the resolution of the input.

        Args:
            frames: (B, 1, H, W) of one camera, values 0..255, not divided; H and W multiples of 4.

        Returns:
            (B, 13, H, W), >= 0, joints in the order of DHP19_SKELETON.

        Raises:
            ShapeError: another shape.
        """
        if frames.ndim != 4 or frames.shape[1] != 1 or frames.shape[2] % STRIDE or frames.shape[3] % STRIDE:
            raise ShapeError(
                f"frames must be (B, 1, H, W) with H and W multiples of {STRIDE}, as 260 x 344; got "
                f"{tuple(frames.shape)}. Of DHP19's 346 columns the two rightmost are left out."
            )
        x = frames
        for layer, weight in zip(LAYERS, self.weights, strict=True):
            x = apply_layer(x, weight, layer)
        return x


def apply_layer(x: Tensor, weight: Tensor, layer: Layer) -> Tensor:
    """One layer with its ReLU and pool: (B, in, H, W) to (B, out, H', W')."""
    if layer.transposed:
        x = conv_transpose2d(x, weight, stride=2)[..., :-1, :-1]
    else:
        x = conv2d(x, weight, padding=layer.dilation, dilation=layer.dilation)
    x = relu(x)
    return max_pool2d(x, 2) if layer.pool else x


def multiply_adds(size: tuple[int, int] = DHP19_CNN_SIZE) -> int:
    """Multiply-adds of one frame of (H, W); 2.86e9 at the published size."""
    (height, width), total = size, 0
    for layer in LAYERS:
        total += 9 * layer.inputs * layer.outputs * height * width  # transposed: at the input's resolution
        if layer.transposed:
            height, width = 2 * height, 2 * width
        if layer.pool:
            height, width = height // 2, width // 2
    return total
