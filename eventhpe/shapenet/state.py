"""What goes into and comes out of ShapeNet, in both variants."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import torch
from torch import Tensor

from eventhpe.errors import FormatError, ShapeError
from eventhpe.shapenet.joint_maps import CropJoints
from eventhpe.shapenet.trace import Trace

NUM_JOINTS = 24
NUM_BETAS = 10

CONFIDENCE_SCALE_M = 0.1
"""A predicted error of this many metres gives confidence 1/e."""


@dataclass(frozen=True)
class ShapeNetConfig:
    """Sizes of ShapeNet. `variant="parity"` is the published network, "fixed" the improved default.

    Attributes:
        variant: "fixed" or "parity".
        in_channels: C of the event frames, without flow.
        use_flow: add the two flow channels to the encoder's input.
        size: S, side of the square input in pixels (recorded for callers; the network itself takes any size).
        encoder: "resnet18" or "resnet50".
        width: stem channels of the encoder.
        grid: the encoder's last maps are pooled to grid x grid cells; more than 1 keeps where limbs are.
        hidden: features of the GRU.
        crop_features: features of the small MLP that reads the crop's viewing ray.
        flow_divisor: flow in pixels is divided by this in the fixed variant.
        absolute_weight: weight of the absolute head in the untrained filter's steady state, in (0, 1).
        follow_flow: the fixed variant's body follows the flow (flow_motion.py) in the delta head's place.
        joint_maps: channels of the fixed variant's maps of joints (joint_maps.py); 0 = without.
        look_back: the fixed variant's encoder also sees traces of earlier windows (trace.py).
    """

    variant: str = "fixed"
    in_channels: int = 8
    use_flow: bool = True
    size: int = 128
    encoder: str = "resnet18"
    width: int = 32
    grid: int = 4
    hidden: int = 512
    crop_features: int = 32
    flow_divisor: float = 8.0
    absolute_weight: float = 0.3
    follow_flow: bool = False
    joint_maps: int = 0
    look_back: bool = False

    def __post_init__(self) -> None:
        if self.variant not in ("fixed", "parity"):
            raise FormatError(f'ShapeNetConfig.variant must be "fixed" or "parity"; got {self.variant!r}.')
        if self.encoder not in ("resnet18", "resnet50"):
            raise FormatError(
                f'ShapeNetConfig.encoder must be "resnet18" or "resnet50"; got {self.encoder!r}.'
            )
        if not 0 < self.absolute_weight < 1:
            raise FormatError(
                f"ShapeNetConfig.absolute_weight must lie in (0, 1); got {self.absolute_weight}."
            )
        if self.follow_flow and (self.variant == "parity" or not self.use_flow):
            raise FormatError("ShapeNetConfig.follow_flow needs use_flow and the fixed variant.")
        if self.variant == "parity" and (self.joint_maps or self.look_back):
            raise FormatError("ShapeNetConfig.joint_maps and look_back go with the fixed variant.")

    @classmethod
    def parity(cls) -> ShapeNetConfig:
        """Sizes of the published network (ResNet-50, GRU 2048, 256 px)."""
        return cls(variant="parity", size=256, encoder="resnet50", width=64, grid=1, hidden=2048)

    def to_json(self) -> dict[str, Any]:
        """Plain values only."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> ShapeNetConfig:
        """Raises FormatError on an unknown key."""
        unknown = sorted(set(values) - {f.name for f in fields(cls)})
        if unknown:
            raise FormatError(
                f"ShapeNetConfig does not know {unknown}; the file may come from a newer version."
            )
        return cls(**values)


@dataclass(frozen=True)
class StartState:
    """The body at t0 of the first window.

    Attributes:
        rotmats: (B, 24, 3, 3); entry 0 maps the body's root to the camera.
        betas: (B, 10).
        transl: (B, 3) metres in the camera frame.
        betas_count: None when the shape is known and to be kept; else the number of earlier windows
            whose predictions `betas` averages, so that a stream can go on averaging.
        variance: (B, 25) of the filter over joints and place, to go on with a stream; None = a trusted start.
        trace: what earlier windows of the stream left, to go on with it; None = nothing.
    """

    rotmats: Tensor
    betas: Tensor
    transl: Tensor
    betas_count: int | None = None
    variance: Tensor | None = None
    trace: Trace | None = None

    def __post_init__(self) -> None:
        B = self.transl.shape[0]
        for name, shape in (
            ("rotmats", (B, NUM_JOINTS, 3, 3)),
            ("betas", (B, NUM_BETAS)),
            ("transl", (B, 3)),
        ):
            got = tuple(getattr(self, name).shape)
            if got != shape:
                raise ShapeError(f"StartState.{name} must be {shape}; got {got}.")


@dataclass(frozen=True)
class ShapeOutput:
    """A track of T windows; pose k stands at the end of window k.

    Attributes:
        rotmats: (B, T, 24, 3, 3), entry 0 maps the root to the camera.
        betas: (B, T, 10).
        transl: (B, T, 3) metres in the camera frame.
        rotmats_start, transl_start: (B, 24, 3, 3), (B, 3) at t0 of window 0, so that T + 1 bodies exist.
        hidden: (B, hidden) state of the GRU after the last window.
        rotmats_abs, transl_abs: the absolute heads alone (fixed variant only).
        variance: (B, 25) of the filter after the last window (fixed variant only).
        log_var: (B, T, 24) log of the squared error scale of each root-relative joint, metres (fixed variant
            only).
        maps: (B, T, F, S/32, S/32) the encoder's last maps, for a head on it (fixed variant only).
        joints_in_crop: (B, T, 24) of the joint maps, for networks that have them.
        trace: what the windows leave for later ones, for networks that look back.
    """

    rotmats: Tensor
    betas: Tensor
    transl: Tensor
    rotmats_start: Tensor
    transl_start: Tensor
    hidden: Tensor
    rotmats_abs: Tensor | None = None
    transl_abs: Tensor | None = None
    log_var: Tensor | None = None
    variance: Tensor | None = None
    maps: Tensor | None = None
    joints_in_crop: CropJoints | None = None
    trace: Trace | None = None

    @property
    def confidence(self) -> Tensor:
        """(B, T, 24) in (0, 1]; ones where the network predicts no uncertainty."""
        if self.log_var is None:
            return torch.ones(self.rotmats.shape[:3], device=self.rotmats.device)
        return confidence_from_log_var(self.log_var)

    def with_start(self) -> tuple[Tensor, Tensor, Tensor]:
        """rotmats (B, T+1, 24, 3, 3), betas (B, T+1, 10), transl (B, T+1, 3), the start pose first."""
        return (
            torch.cat([self.rotmats_start[:, None], self.rotmats], 1),
            torch.cat([self.betas[:, :1], self.betas], 1),
            torch.cat([self.transl_start[:, None], self.transl], 1),
        )


class WindowEvidence(NamedTuple):
    """What ShapeNet says of one window.

    Attributes:
        rotmats: (24, 3, 3) of the absolute head, the root in the camera frame.
        transl: (3,) metres.
        joints: of the joint maps, (24, 3) and (24,), or None.
    """

    rotmats: Tensor
    transl: Tensor
    joints: CropJoints | None


def confidence_from_log_var(log_var: Tensor) -> Tensor:
    """exp(-scale / 0.1 m) with scale = exp(log_var / 2)."""
    return torch.exp(-torch.exp(0.5 * log_var) / CONFIDENCE_SCALE_M)


def check_inputs(
    config: ShapeNetConfig, frames: Tensor, flow: Tensor | None, crop: Tensor | None
) -> tuple[int, int, int, int]:
    """Check (B,T,C,H,W) frames, (B,T,2,H,W) flow and (B,T,3) crop; returns (B, T, H, W).

    Raises:
        ShapeError: an input has another shape, or flow is missing though the network was built for it.
    """
    if frames.ndim != 5 or frames.shape[2] != config.in_channels or frames.shape[1] < 1:
        raise ShapeError(
            f"frames must be (B, T, {config.in_channels}, S, S) with T >= 1; got {tuple(frames.shape)}."
        )
    B, T, _, H, W = frames.shape
    if config.use_flow:
        if flow is None:
            raise ShapeError(
                "this network was built with use_flow=True and needs flow (B, T, 2, S, S); got None."
            )
        if flow.shape != (B, T, 2, H, W):
            raise ShapeError(f"flow must be {(B, T, 2, H, W)}; got {tuple(flow.shape)}.")
    if crop is not None and crop.shape != (B, T, 3):
        raise ShapeError(f"crop must be {(B, T, 3)}; got {tuple(crop.shape)}.")
    return B, T, H, W
