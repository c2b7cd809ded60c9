"""What every head for one person's crop shares: labels in, maps, losses and joints out.

A head is three things that fit each other: a codec (joints to targets, maps to joints), a network on the
encoder's maps, and a loss. Codecs are pure functions in the head's file. `HEADS` (heads/table.py) lists them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from eventhpe.errors import ShapeError
from eventhpe.geometry.skeleton import Skeleton


class JointLabels(NamedTuple):
    """What is known about the joints of B crops, one person each.

    Attributes:
        uv: (B, J, 2) float32 pixels of the input crop, pixel centres at integers; anything where not `known`.
        known: (B, J) bool, the place in the image is known; it may lie outside the crop.
        xyz: (B, J, 3) float32 metres, camera axes (z away from the camera), relative to the root joint; any
            number where not `known3d`.
        known3d: (B, J) bool.
        order: (B, P) int64 depth order of the P parts of heads/parts.py, -1, 0 or +1 (+1 = the child is
            nearer to the camera than the parent); anything where not `order_known`.
        order_known: (B, P) bool. Weakly labelled samples know `uv` and `order` but no `xyz`.
    """

    uv: Tensor
    known: Tensor
    xyz: Tensor
    known3d: Tensor
    order: Tensor
    order_known: Tensor


class Decoded(NamedTuple):
    """Joints read from maps.

    Attributes:
        uv: (B, J, 2) pixels of the input crop, pixel centres at integers.
        confidence: (B, J) in [0, 1].
        depth: (B, J) metres from the root along the camera's axis (+ = farther), or None for heads of the
            image plane.
    """

    uv: Tensor
    confidence: Tensor
    depth: Tensor | None = None


@dataclass(frozen=True)
class HeadSize:
    """What a head is built for.

    Attributes:
        skeleton: the joints it gives.
        in_channels: of the encoder's last maps.
        size: side S of the input crop in pixels, a multiple of 32; the encoder's maps are S/32.
    """

    skeleton: Skeleton
    in_channels: int
    size: int

    @property
    def num_joints(self) -> int:
        return len(self.skeleton.joints)


class PoseHead(nn.Module, ABC):
    """Base of the heads.

    Args:
        size: what the head is built for.

    A head defines `forward` (encoder maps (B, C, S/32, S/32) to named maps), `losses` (named, weighted terms
    whose sum is minimised; a batch in which nothing is known gives zeros with a gradient), and `decode`.
    """

    def __init__(self, size: HeadSize) -> None:
        super().__init__()
        self.size = size

    @abstractmethod
    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Encoder maps (B, C, S/32, S/32) to named maps."""

    @abstractmethod
    def losses(self, maps: dict[str, Tensor], labels: JointLabels) -> dict[str, Tensor]:
        """Scalar terms of the loss by name, already weighted."""

    @abstractmethod
    def decode(self, maps: dict[str, Tensor]) -> Decoded:
        """Joints in pixels of the crop."""

    def flip(self, maps: dict[str, Tensor], mirrored: dict[str, Tensor]) -> Decoded:
        """Joints of a crop and of its mirror image, averaged by coordinates unless overridden."""
        return average_flipped(self.decode(maps), self.decode(mirrored), self.size)


@dataclass(frozen=True)
class HeadKind:
    """One row of the table of heads.

    Attributes:
        options: frozen dataclass of the head's options, JSON-able.
        build: makes the head from its size and options.
        depth: whether it gives depth.
        summary: one line for help texts.
    """

    options: type[Any]
    build: Callable[[HeadSize, Any], PoseHead]
    depth: bool
    summary: str


def check_labels(labels: JointLabels, size: HeadSize) -> None:
    """Refuse labels of another skeleton, and numbers that are not finite where they count as known.

    Raises:
        ShapeError: says which.
    """
    J = size.num_joints
    for name, width in (("uv", 2), ("xyz", 3)):
        value = getattr(labels, name)
        if value.ndim != 3 or value.shape[1:] != (J, width):
            raise ShapeError(
                f"labels.{name} must be (B, {J}, {width}) for skeleton {size.skeleton.name}; got "
                f"{tuple(value.shape)}."
            )
    for name, mask in (("uv", labels.known), ("xyz", labels.known3d)):
        if not torch.isfinite(getattr(labels, name)[mask]).all():
            raise ShapeError(f"labels.{name} holds NaN or infinity for joints that are marked as known.")


def average_flipped(decoded: Decoded, mirrored: Decoded, size: HeadSize) -> Decoded:
    """Mean of joints and of those read from the mirrored crop: x -> S - 1 - x, left and right exchanged."""
    flip = torch.from_numpy(size.skeleton.flip).to(decoded.uv.device)
    uv = mirrored.uv[:, flip].clone()
    uv[..., 0] = size.size - 1 - uv[..., 0]
    depth = None
    if decoded.depth is not None and mirrored.depth is not None:
        depth = (decoded.depth + mirrored.depth[:, flip]) / 2
    return Decoded((decoded.uv + uv) / 2, (decoded.confidence + mirrored.confidence[:, flip]) / 2, depth)
