"""FlowNet: a U-Net in the manner of EV-FlowNet (Zhu et al. 2018), as used by EventHPE (Zou et al. 2021).

One code, two variants. `parity` repeats the published scaling of the output; `fixed` predicts the
displacement over the whole window in pixels of each scale.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from eventhpe.errors import FormatError, ShapeError

STRIDE = 16
"""Height and width of the input must be multiples of this."""

PARITY_SCALE_PX = 256.0


@dataclass(frozen=True)
class FlowNetConfig:
    """Sizes of FlowNet.

    Attributes:
        variant: "fixed" or "parity".
        in_channels: C of the event frames.
        base_width: channels of the first encoder stage (32 as published).
        max_fraction: fixed variant only: largest displacement, as a fraction of the image's side.
    """

    variant: str = "fixed"
    in_channels: int = 8
    base_width: int = 32
    max_fraction: float = 0.25

    def __post_init__(self) -> None:
        if self.variant not in ("fixed", "parity"):
            raise FormatError(f'FlowNetConfig.variant must be "fixed" or "parity"; got {self.variant!r}.')
        if self.base_width < 2 or self.base_width % 2:
            raise FormatError(f"FlowNetConfig.base_width must be even and >= 2; got {self.base_width}.")

    def to_json(self) -> dict[str, Any]:
        """Plain values only."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> FlowNetConfig:
        """Raises FormatError on an unknown key."""
        unknown = sorted(set(values) - {f.name for f in fields(cls)})
        if unknown:
            raise FormatError(
                f"FlowNetConfig does not know {unknown}; the file may come from a newer version."
            )
        return cls(**values)


class ConvUnit(nn.Sequential):
    """3x3 convolution without bias, batch norm, ReLU."""

    def __init__(self, *, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class TransposedUnit(nn.Sequential):
    """3x3 transposed convolution without bias, batch norm, ReLU; stride 2 doubles the size exactly."""

    def __init__(self, *, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__(
            nn.ConvTranspose2d(
                in_channels, out_channels, 3, stride=stride, padding=1, output_padding=stride - 1, bias=False
            ),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        )


class EncoderStage(nn.Sequential):
    """Halve the size, then one more convolution."""

    def __init__(self, *, in_channels: int, out_channels: int) -> None:
        super().__init__(
            ConvUnit(in_channels=in_channels, out_channels=out_channels, stride=2),
            ConvUnit(in_channels=out_channels, out_channels=out_channels),
        )


class DecoderStage(nn.Sequential):
    """Double the size, then one more convolution."""

    def __init__(self, *, in_channels: int, out_channels: int) -> None:
        super().__init__(
            TransposedUnit(in_channels=in_channels, out_channels=out_channels, stride=2),
            ConvUnit(in_channels=out_channels, out_channels=out_channels),
        )


class ResidualBlock(nn.Module):
    """Bottom of the U."""

    def __init__(self, *, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            TransposedUnit(in_channels=channels, out_channels=channels, stride=1),
            ConvUnit(in_channels=channels, out_channels=channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class FlowHead(nn.Module):
    """1x1 convolution without bias to two channels, squashed to (-1, 1)."""

    def __init__(self, *, in_channels: int, weight_std: float | None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 2, 1, bias=False)
        if weight_std is not None:
            nn.init.normal_(self.conv.weight, std=weight_std)

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.conv(x))


class FlowNet(nn.Module):
    """Optical flow at four scales from event frames.

    Args:
        config: sizes.

    Convention:
        Flow is the forward displacement from the start to the end of the window, indexed at the start;
        channel 0 = +x right, 1 = +y down. In the fixed variant it is in pixels of its own scale (the finest
        scale is the input's). In the parity variant it is tanh * 256 / dt at every scale, as released.
    """

    def __init__(self, config: FlowNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or FlowNetConfig()
        w = config.base_width
        widths = (w, 2 * w, 4 * w, 8 * w)
        self.encoders = nn.ModuleList(
            EncoderStage(in_channels=i, out_channels=o)
            for i, o in zip((config.in_channels, *widths[:-1]), widths, strict=True)
        )
        self.residual = ResidualBlock(channels=widths[-1])
        outs = (4 * w, 2 * w, w, w // 2)
        ins = (16 * w, 8 * w + 2, 4 * w + 2, 2 * w + 2)
        self.decoders = nn.ModuleList(
            DecoderStage(in_channels=i, out_channels=o) for i, o in zip(ins, outs, strict=True)
        )
        # Small heads keep the first flows near zero, where the photometric loss has a useful gradient.
        std = 0.01 if config.variant == "fixed" else None
        self.heads = nn.ModuleList(FlowHead(in_channels=o, weight_std=std) for o in outs)

    def forward(self, frames: Tensor, *, dt: Tensor | float = 1.0) -> list[Tensor]:
        """(N, C, H, W) event frames to four flows (N, 2, H/8, W/8) ... (N, 2, H, W), coarse to fine.

        Args:
            frames: H and W multiples of 16.
            dt: parity variant only: gap between the gray images in steps, a number or (N,).
        Raises:
            ShapeError: wrong number of channels or a size that is no multiple of 16.
        """
        C = self.config.in_channels
        if frames.ndim != 4 or frames.shape[1] != C:
            raise ShapeError(f"FlowNet expects frames (N, {C}, H, W); got {tuple(frames.shape)}.")
        if frames.shape[2] % STRIDE or frames.shape[3] % STRIDE:
            raise ShapeError(
                f"H and W must be multiples of {STRIDE}; got {tuple(frames.shape[2:])}. "
                "FlowEstimator pads for you."
            )
        skips, x = [], frames
        for encoder in self.encoders:
            x = encoder(x)
            skips.append(x)
        x = torch.cat([self.residual(x), skips[3]], 1)
        flows: list[Tensor] = []
        for level, (decoder, head) in enumerate(zip(self.decoders, self.heads, strict=True)):
            x = decoder(x)
            raw = head(x)
            flows.append(self._to_pixels(raw, dt))
            if level < 3:
                x = torch.cat([x, raw, skips[2 - level]], 1)
        return flows

    def _to_pixels(self, raw: Tensor, dt: Tensor | float) -> Tensor:
        raw = raw.float()
        if self.config.variant == "parity":
            steps = torch.as_tensor(dt, dtype=raw.dtype, device=raw.device).reshape(-1, 1, 1, 1)
            return raw * PARITY_SCALE_PX / steps
        H, W = raw.shape[-2:]
        return raw * raw.new_tensor([W, H]).view(1, 2, 1, 1) * self.config.max_fraction
