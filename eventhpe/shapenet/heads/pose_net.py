"""An encoder and a head: one person's crop to joints."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn

from eventhpe.errors import ShapeError
from eventhpe.geometry.skeleton import skeleton_by_name
from eventhpe.shapenet.encoder import ResNet, resnet18, resnet50
from eventhpe.shapenet.heads.base import Decoded, HeadSize, JointLabels, check_labels
from eventhpe.shapenet.heads.table import HEADS

STRIDE = 32


@dataclass(frozen=True)
class PoseNetConfig:
    """Sizes of a pose network.

    Attributes:
        head: name in `HEADS`.
        skeleton: "dhp19" (13), "dhp19_15" or "smpl24".
        size: S, side of the input crop, a multiple of 32.
        in_channels: of the input.
        encoder: "resnet18" or "resnet50".
        width: channels of the encoder's first layer.
        options: of the head, by name.
    Raises:
        ShapeError: no such head, skeleton, encoder or option, or sizes that do not fit.
    """

    head: str = "simdr"
    skeleton: str = "dhp19_15"
    size: int = 128
    in_channels: int = 8
    encoder: str = "resnet18"
    width: int = 32
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.head not in HEADS:
            raise ShapeError(f"no head {self.head!r}; there are: {', '.join(HEADS)}.")
        skeleton_by_name(self.skeleton)
        if self.encoder not in ("resnet18", "resnet50"):
            raise ShapeError(f"encoder must be resnet18 or resnet50; got {self.encoder!r}.")
        if self.size < STRIDE or self.size % STRIDE:
            raise ShapeError(f"PoseNetConfig.size must be a multiple of {STRIDE}; got {self.size}.")
        if self.in_channels < 1 or self.width < 1:
            raise ShapeError("PoseNetConfig.in_channels and width must be positive.")
        known = {f.name for f in fields(HEADS[self.head].options)}
        if unknown := sorted(set(self.options) - known):
            raise ShapeError(
                f"head {self.head} has no option {', '.join(unknown)}; it has: {', '.join(sorted(known))}."
            )

    def to_json(self) -> dict[str, Any]:
        """For a weights card."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> PoseNetConfig:
        """From a weights card."""
        return cls(**values)


class PoseNet(nn.Module):
    """Encoder and head.

    Args:
        config: sizes.
    """

    def __init__(self, config: PoseNetConfig) -> None:
        super().__init__()
        self.config = config
        self.skeleton = skeleton_by_name(config.skeleton)
        build = resnet18 if config.encoder == "resnet18" else resnet50
        self.encoder: ResNet = build(in_channels=config.in_channels, width=config.width)
        kind = HEADS[config.head]
        size = HeadSize(self.skeleton, self.encoder.out_channels, config.size)
        self.head = kind.build(size, kind.options(**config.options))

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        """Maps of the head.

        Args:
            frames: (B, C, S, S).
        Raises:
            ShapeError: another shape.
        """
        return self.head(self.features(frames))

    def features(self, frames: Tensor) -> Tensor:
        """Encoder maps (B, F, S/32, S/32).

        Raises:
            ShapeError: another shape.
        """
        c = self.config
        if frames.ndim != 4 or frames.shape[1:] != (c.in_channels, c.size, c.size):
            raise ShapeError(
                f"frames must be (B, {c.in_channels}, {c.size}, {c.size}); got {tuple(frames.shape)}."
            )
        return self.encoder.maps(frames.contiguous(memory_format=torch.channels_last))

    def losses(self, maps: dict[str, Tensor], labels: JointLabels) -> dict[str, Tensor]:
        """Weighted terms of the loss.

        Raises:
            ShapeError: labels of another skeleton, or not finite where known.
        """
        check_labels(labels, self.head.size)
        return self.head.losses(maps, labels)

    def joints(self, frames: Tensor, *, flip: bool = False) -> Decoded:
        """Joints of crops; with `flip` averaged over each crop and its mirror image."""
        maps = self(frames)
        return self.head.flip(maps, self(frames.flip(-1))) if flip else self.head.decode(maps)
