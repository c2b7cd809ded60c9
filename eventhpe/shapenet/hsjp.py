"""HSJP: a pose network learns limbs by solving jigsaw puzzles with heatmaps (Heatmap-Style Jigsaw Puzzles).

A person's crop is cut into patches and shuffled; the network of the later task, but for its last layer, says
for each patch where it is now, one map per patch. No labels are needed. The paper's abstract gives the idea;
grid, sigma, patch normalisation, the masking of blank patches and the shortcut controls are choices of this
project.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from eventhpe.errors import ShapeError
from eventhpe.shapenet.encoder import ResNet, resnet18, resnet50
from eventhpe.shapenet.heads.decoder import Decoder, final_layer
from eventhpe.shapenet.jigsaw import (
    LIVE_SHARE,
    Normalise,
    crop_patches,
    draw_orders,
    jigsaw_loss,
    jigsaw_targets,
    live_patches,
    normalise_patches,
    shuffle,
    slot_accuracy,
)

Transfer = Literal["encoder", "all_but_last"]

STRIDE = 32
MAP_STRIDE = 4


@dataclass(frozen=True)
class HSJPConfig:
    """Sizes of the network and rules of the puzzle.

    Attributes:
        size: S, side of the crop, a multiple of 32.
        rows, columns: of patches; both divide S.
        in_channels: of the input.
        encoder: "resnet18" or "resnet50"; width: channels of its first layer.
        channels: of the decoder; those of the later head, if the decoder is to be transferred.
        sigma: of the target Gaussians in cells of the S/4 map.
        live_share: patches with fewer events than this share of the crop's mean are left out of the loss.
        keep: side of the random part of each patch that is shown, over the patch's side; 1 = all of it.
        normalise: how a patch's level is taken away, see `normalise_patches`.
    Raises:
        ShapeError: a number that makes no sense; the field is named.
    """

    size: int = 128
    rows: int = 4
    columns: int = 4
    in_channels: int = 8
    encoder: str = "resnet18"
    width: int = 32
    channels: int = 256
    sigma: float = 2.0
    live_share: float = LIVE_SHARE
    keep: float = 0.875
    normalise: Normalise = "occupied"

    def __post_init__(self) -> None:
        if self.encoder not in ("resnet18", "resnet50"):
            raise ShapeError(f"HSJPConfig.encoder must be resnet18 or resnet50; got {self.encoder!r}.")
        if self.size < STRIDE or self.size % STRIDE:
            raise ShapeError(f"HSJPConfig.size must be a multiple of {STRIDE}; got {self.size}.")
        for name in ("rows", "columns", "in_channels", "width", "channels"):
            if getattr(self, name) < 1:
                raise ShapeError(f"HSJPConfig.{name} must be positive; got {getattr(self, name)}.")
        if self.size % self.rows or self.size % self.columns or self.rows * self.columns < 2:
            raise ShapeError(
                f"HSJPConfig.rows and columns must divide the size {self.size} into at least two patches; "
                f"got {self.rows} x {self.columns}."
            )
        if not self.sigma > 0 or not 0 < self.keep <= 1 or not 0 <= self.live_share <= 1:
            raise ShapeError(
                "HSJPConfig: sigma must be positive, keep in (0, 1] and live_share in [0, 1]; got "
                f"{self.sigma}, {self.keep}, {self.live_share}."
            )
        if self.normalise not in ("occupied", "standard", "off"):
            raise ShapeError(
                f"HSJPConfig.normalise must be occupied, standard or off; got {self.normalise!r}."
            )

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.columns

    @property
    def num_patches(self) -> int:
        return self.rows * self.columns

    def to_json(self) -> dict[str, Any]:
        """For a weights card."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> HSJPConfig:
        """From a weights card."""
        return cls(**values)


class Puzzle(NamedTuple):
    """A batch of shuffled crops.

    Attributes:
        frames: (B, C, S, S) shuffled.
        order: (B, n) int64, the patch in each slot.
        live: (B, n) bool, patches that count.
    """

    frames: Tensor
    order: Tensor
    live: Tensor


def make_puzzle(
    frames: Tensor, counts: Tensor, config: HSJPConfig, *, generator: torch.Generator | None = None
) -> Puzzle:
    """Shuffle crops.

    Args:
        frames: (B, C, S, S) network input.
        counts: (B, n) events per patch.
        generator: of the CPU; equal seeds give equal puzzles on any device.
    Raises:
        ShapeError: counts that do not fit the grid.
    """
    if counts.shape != (len(frames), config.num_patches):
        raise ShapeError(
            f"counts must be ({len(frames)}, {config.num_patches}) for {config.rows} x {config.columns} "
            f"patches; got {tuple(counts.shape)}."
        )
    shown = crop_patches(frames, config.grid, config.keep, generator=generator)
    shown = normalise_patches(shown, config.grid, config.normalise)
    order = draw_orders(len(frames), config.num_patches, generator=generator).to(frames.device)
    return Puzzle(
        shuffle(shown, order, config.grid),
        order,
        live_patches(counts.to(frames.device), config.live_share),
    )


class HSJPNet(nn.Module):
    """Encoder, decoder and one map per patch.

    Args:
        config: sizes and rules.
    """

    def __init__(self, config: HSJPConfig) -> None:
        super().__init__()
        self.config = config
        build = resnet18 if config.encoder == "resnet18" else resnet50
        self.encoder: ResNet = build(in_channels=config.in_channels, width=config.width)
        self.decoder = Decoder(in_channels=self.encoder.out_channels, channels=config.channels)
        self.final = final_layer(config.channels, config.num_patches)

    def forward(self, frames: Tensor) -> Tensor:
        """Shuffled crops (B, C, S, S) to maps (B, n, S/4, S/4).

        Raises:
            ShapeError: another shape.
        """
        c = self.config
        if frames.ndim != 4 or frames.shape[1:] != (c.in_channels, c.size, c.size):
            raise ShapeError(
                f"frames must be (B, {c.in_channels}, {c.size}, {c.size}); got {tuple(frames.shape)}."
            )
        features = self.encoder.maps(frames.contiguous(memory_format=torch.channels_last))
        return self.final(self.decoder(features))

    def losses(self, maps: Tensor, puzzle: Puzzle) -> dict[str, Tensor]:
        """The loss of a puzzle's maps, by name."""
        c = self.config
        side = c.size // MAP_STRIDE
        targets = jigsaw_targets(puzzle.order, c.grid, size=(side, side), sigma=c.sigma)
        return {"jigsaw": jigsaw_loss(maps, targets, puzzle.live)}

    def accuracy(self, maps: Tensor, puzzle: Puzzle) -> Tensor:
        """Share of live patches whose slot was found; chance is 1 / n."""
        return slot_accuracy(maps, puzzle.order, puzzle.live, self.config.grid)


def transfer(source: HSJPNet, target: nn.Module, what: Transfer = "encoder") -> tuple[str, ...]:
    """Copy pretrained weights into a network that learns poses.

    Args:
        source: the pretrained network.
        target: with `encoder`, a ResNet, and for "all_but_last" a `head` whose `decoder` is a `Decoder`, such
            as the PoseNet of the heatmap head.
        what: "encoder" (the paper speaks of backbones), or everything but the last layer.

    Returns:
        Names of the target's modules that were filled.

    Raises:
        ShapeError: a part that the target lacks, or of other sizes.
    """
    if what not in ("encoder", "all_but_last"):
        raise ShapeError(f"transfer must be encoder or all_but_last; got {what!r}.")
    pairs: list[tuple[str, nn.Module | None, nn.Module]] = [
        ("encoder", getattr(target, "encoder", None), source.encoder)
    ]
    if what == "all_but_last":
        decoder = getattr(getattr(target, "head", None), "decoder", None)
        if not isinstance(decoder, Decoder):
            raise ShapeError(
                "the target has no head.decoder to take the pretrained decoder; use transfer=encoder, or the "
                "heatmap head."
            )
        pairs.append(("head.decoder", decoder, source.decoder))
    for name, into, trained in pairs:
        if not isinstance(into, nn.Module):
            raise ShapeError(f"the target has no {name} to take pretrained weights.")
        state, wanted = trained.state_dict(), into.state_dict()
        if {k: v.shape for k, v in state.items()} != {k: v.shape for k, v in wanted.items()}:
            raise ShapeError(
                f"the target's {name} has other sizes than the pretrained one; both need the same encoder, "
                "width, input channels and decoder channels."
            )
    for _, into, trained in pairs:
        assert into is not None
        into.load_state_dict(trained.state_dict())
    return tuple(name for name, _, _ in pairs)
