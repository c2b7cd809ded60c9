"""EventTrackNet: ShapeNet as published (Zou et al., ICCV 2021), for converted weights and comparison.

ResNet-50 per window, a GRU with a residual, one head for relative rotations and one for relative
translations, both accumulated from a given start. The shape is passed through.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from eventhpe.errors import ShapeError
from eventhpe.geometry.rotation import sixd_to_rotmat
from eventhpe.shapenet.encoder import resnet18, resnet50
from eventhpe.shapenet.state import NUM_JOINTS, ShapeNetConfig, ShapeOutput, StartState, check_inputs


class EventTrackNet(nn.Module):
    """The published network.

    Args:
        config: `ShapeNetConfig.parity()`, or smaller sizes of the same structure.

    Convention:
        Flow enters in pixels, not normalised, after the event channels. The heads carry no identity bias, so
        an untrained network turns every joint by arbitrary angles, as the original does.
    """

    def __init__(self, config: ShapeNetConfig | None = None) -> None:
        super().__init__()
        config = config or ShapeNetConfig.parity()
        if config.variant != "parity":
            raise ShapeError(f'EventTrackNet is the "parity" variant; got {config.variant!r}.')
        self.config = config
        channels = config.in_channels + (2 if config.use_flow else 0)
        build = resnet18 if config.encoder == "resnet18" else resnet50
        self.encoder = build(in_channels=channels, width=config.width)
        if self.encoder.out_features != config.hidden:
            raise ShapeError(
                "the residual around the GRU needs as many GRU features as the encoder gives: "
                f"{self.encoder.out_features}; got hidden={config.hidden}."
            )
        self.gru = nn.GRU(config.hidden, config.hidden, batch_first=True)
        self.head_pose = nn.Linear(config.hidden, NUM_JOINTS * 6)
        self.head_transl = nn.Linear(config.hidden, 3)

    def forward(
        self,
        frames: Tensor,
        flow: Tensor | None,
        crop: Tensor | None = None,
        start: StartState | None = None,
        hidden: Tensor | None = None,
    ) -> ShapeOutput:
        """Track B bodies over T windows from a known start.

        Args:
            frames: (B, T, 8, S, S) occupancy {0, 1}.
            flow: (B, T, 2, S, S) pixels.
            crop: not used; the published network sees the whole image and knows no camera.
            start: body at t0 of window 0; required.
            hidden: (B, 2048) image feature or earlier GRU state; None = zeros.
        Raises:
            ShapeError: inputs do not fit, or no start was given.
        """
        B, T, _, _ = check_inputs(self.config, frames, flow, None)
        if start is None:
            raise ShapeError(
                "the parity network only adds changes to a pose and needs start=StartState(...); got None."
            )
        x = torch.cat([frames, flow], 2) if self.config.use_flow and flow is not None else frames
        features = self.encoder(x.flatten(0, 1)).unflatten(0, (B, T))
        with torch.autocast(device_type=frames.device.type, enabled=False):
            features = features.float()
            y, last = self.gru(features, None if hidden is None else hidden.float()[None])
            y = y + features
            delta = sixd_to_rotmat(self.head_pose(y).unflatten(-1, (NUM_JOINTS, 6)))
            rotmats = accumulate(delta, start.rotmats.float())
            transl = start.transl.float()[:, None] + torch.cumsum(self.head_transl(y), 1)
        return ShapeOutput(
            rotmats=rotmats,
            betas=start.betas.float()[:, None].expand(-1, T, -1),
            transl=transl,
            rotmats_start=start.rotmats.float(),
            transl_start=start.transl.float(),
            hidden=last[0],
        )


def accumulate(delta: Tensor, start: Tensor) -> Tensor:
    """R_t = dR_t R_{t-1} over (B, T, J, 3, 3) from (B, J, 3, 3)."""
    rotmat, out = start, []
    for step in delta.unbind(1):
        rotmat = step @ rotmat
        out.append(rotmat)
    return torch.stack(out, 1)
