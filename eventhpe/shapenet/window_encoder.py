"""ShapeNet's encoder: event frame, flow, crop and traces of earlier windows to one feature vector."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from eventhpe.shapenet.encoder import ResNet, resnet18, resnet50
from eventhpe.shapenet.joint_maps import CropJoints, JointFeatures, JointMaps
from eventhpe.shapenet.state import NUM_JOINTS, ShapeNetConfig
from eventhpe.shapenet.trace import DECAY, Trace


class Encoded(NamedTuple):
    """What the encoder says of windows.

    Attributes:
        features: (*, hidden).
        maps: (*, F, S/32, S/32) the image encoder's last.
        joints: of the joint maps, or None without them.
        trace: what the windows leave for later ones, or None for a network that does not look back.
    """

    features: Tensor
    maps: Tensor
    joints: CropJoints | None
    trace: Trace | None


class WindowEncoder(nn.Module):
    """Event frame, flow and crop of one window to one feature vector."""

    def __init__(self, *, config: ShapeNetConfig) -> None:
        super().__init__()
        channels = config.in_channels + (2 if config.use_flow else 0)
        build = resnet18 if config.encoder == "resnet18" else resnet50
        self.flow_divisor = config.flow_divisor
        self.image: ResNet = build(in_channels=channels, width=config.width, grid=config.grid)
        self.crop = nn.Sequential(nn.Linear(3, config.crop_features), nn.ReLU(inplace=True))
        self.join = nn.Linear(self.image.out_features + config.crop_features, config.hidden)
        self.norm = nn.LayerNorm(config.hidden)
        self.trace: nn.Conv2d | None = None
        if config.look_back:
            self.trace = nn.Conv2d(len(DECAY), config.width, 7, stride=2, padding=3, bias=False)
            nn.init.zeros_(self.trace.weight)
        self.joints: JointMaps | None = None
        self.joint_features: JointFeatures | None = None
        if config.joint_maps:
            self.joints = JointMaps(
                stage_channels=self.image.stage_channels[1:],
                channels=config.joint_maps,
                num_joints=NUM_JOINTS,
            )
            self.joint_features = JointFeatures(num_joints=NUM_JOINTS, features=config.hidden)

    def forward(
        self, frames: Tensor, flow: Tensor | None, crop: Tensor, trace: Tensor | None = None
    ) -> tuple[Tensor, Tensor, CropJoints | None]:
        """(N, C, S, S), (N, 2, S, S) or None, (N, 3), (N, 2, S, S) or None to features (N, hidden), the last
        maps (N, F, S/32, S/32) and the joints."""
        stages = self.stages(frames, flow, trace)
        joints = None if self.joints is None else self.joints(stages[1:])
        pooled = torch.cat([self.image.pool(stages[-1]).float(), self.crop(crop).float()], -1)
        with torch.autocast(device_type=pooled.device.type, enabled=False):
            x = self.join(pooled)
            if joints is not None and self.joint_features is not None:
                x = x + self.joint_features(joints)
            return self.norm(x), stages[-1], joints

    def maps(self, frames: Tensor, flow: Tensor | None) -> Tensor:
        """(N, C, S, S), (N, 2, S, S) or None to the image encoder's last maps (N, F, S/32, S/32)."""
        return self.stages(frames, flow, None)[-1]

    def stages(
        self, frames: Tensor, flow: Tensor | None, trace: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Maps of the image encoder's four stages, see `ResNet.stages`."""
        image = frames if flow is None else torch.cat([frames, flow / self.flow_divisor], 1)
        extra = None if self.trace is None or trace is None else self.trace(trace)
        return self.image.stages(image.contiguous(memory_format=torch.channels_last), extra)
