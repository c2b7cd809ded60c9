"""HEMlets PoSh: a body's pose and shape in one shot from HEMlets (Zhou et al., TPAMI 2021).

The paper appends a "shallow" regressor of SMPL's parameters to HEMlets; its layers were never released, so
the sizes here are the project's own. Nothing here repeats a figure of the paper.

Convention:
    Rotations are seen from the crop's viewing ray and the place is relative to the crop, as in ShapeNet
    (`shapenet.crop`, `shapenet.network`); outputs are in the camera's frame, metres.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from eventhpe.errors import ShapeError
from eventhpe.geometry.rotation import rotmat_to_sixd
from eventhpe.geometry.skeleton import skeleton_by_name
from eventhpe.shapenet.crop import ray_rotation
from eventhpe.shapenet.encoder import ResNet, resnet18, resnet50
from eventhpe.shapenet.heads.base import Decoded, HeadSize
from eventhpe.shapenet.heads.hemlets import HEMletsHead, HEMletsOptions
from eventhpe.shapenet.heads.parts import NUM_PARTS
from eventhpe.shapenet.heads.pose_net import PoseNet, PoseNetConfig
from eventhpe.shapenet.network import from_place, from_ray
from eventhpe.shapenet.posh_layers import (
    BodyRegressor,
    PartFeatures,
    RestPelvis,
    camera_to_place,
    joint_places,
)
from eventhpe.shapenet.state import NUM_JOINTS, StartState

INPUTS = ("full", "joints", "pooled")

STAGES: Mapping[str, float] = MappingProxyType({"A": 1e-3, "B": 1e-4, "C": 1e-5})
"""Stage to Adam's step size: A trains HEMlets alone, B the regressor on HEMlets as it is, C all together."""


def _hemlets() -> PoseNetConfig:
    return PoseNetConfig(head="hemlets", skeleton="smpl24")


@dataclass(frozen=True)
class PoShConfig:
    """Sizes of HEMlets PoSh.

    Attributes:
        hemlets: the network below; its head must be "hemlets".
        inputs: "full" = joints, part features and pooled features; "joints" = joints alone; "pooled" = pooled
            features of the encoder alone, without HEMlets (after HMR, Kanazawa et al., CVPR 2018).
        hidden: width of the regressor.
        blocks: residual blocks in it.
        dropout: in it.
        part_features: kept of each part.
        pooled_features: kept of the encoder's pooled maps.
    Raises:
        ShapeError: a value outside these.
    """

    hemlets: PoseNetConfig = field(default_factory=_hemlets)
    inputs: str = "full"
    hidden: int = 1024
    blocks: int = 2
    dropout: float = 0.25
    part_features: int = 64
    pooled_features: int = 256

    def __post_init__(self) -> None:
        if self.hemlets.head != "hemlets":
            raise ShapeError(f'PoShConfig.hemlets.head must be "hemlets"; got {self.hemlets.head!r}.')
        if self.inputs not in INPUTS:
            raise ShapeError(f"PoShConfig.inputs must be one of {', '.join(INPUTS)}; got {self.inputs!r}.")
        if min(self.hidden, self.part_features, self.pooled_features) < 1 or self.blocks < 0:
            raise ShapeError("sizes of PoShConfig must be positive.")
        if not 0 <= self.dropout < 1:
            raise ShapeError(f"PoShConfig.dropout must lie in [0, 1); got {self.dropout}.")

    def to_json(self) -> dict[str, Any]:
        """For a weights card."""
        return {**asdict(self), "hemlets": self.hemlets.to_json()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> PoShConfig:
        """From a weights card.

        Raises:
            ShapeError: an unknown key.
        """
        if unknown := sorted(set(values) - {f.name for f in fields(cls)}):
            raise ShapeError(f"PoShConfig does not know {unknown}; the file may come from a newer version.")
        if "hemlets" in values:
            values = {**values, "hemlets": PoseNetConfig.from_json(values["hemlets"])}
        return cls(**values)


@dataclass(frozen=True)
class PoShOutput:
    """Bodies of B crops.

    Attributes:
        rotmats: (B, 24, 3, 3), entry 0 maps the body's root to the camera.
        betas: (B, 10).
        transl: (B, 3) metres in the camera frame.
        joints: of HEMlets; None with inputs "pooled".
        maps: of HEMlets; None with inputs "pooled".
    """

    rotmats: Tensor
    betas: Tensor
    transl: Tensor
    joints: Decoded | None
    maps: dict[str, Tensor] | None

    def start_state(self, *, variance: float = 1.0) -> StartState:
        """The bodies as start of a track.

        Args:
            variance: of the start in units of ShapeNet's filter, where ShapeNet's own estimate from one
                window begins at 1.
        """
        known = torch.full((len(self.transl), NUM_JOINTS + 1), variance, device=self.transl.device)
        return StartState(self.rotmats, self.betas, self.transl, betas_count=1, variance=known)


class PoShNet(nn.Module):
    """Encoder, HEMlets and the regressor.

    Args:
        config: sizes.

    Weights of a trained `PoseNet` enter by `start_from`. Call `set_body` once before training, as with
    ShapeNet.
    """

    def __init__(self, config: PoShConfig) -> None:
        super().__init__()
        self.config, self.stage = config, "C"
        c = config.hemlets
        self.skeleton = skeleton_by_name(c.skeleton)
        build = resnet18 if c.encoder == "resnet18" else resnet50
        self.encoder: ResNet = build(in_channels=c.in_channels, width=c.width)
        self.head: HEMletsHead | None = None
        features = 0
        if config.inputs != "pooled":
            size = HeadSize(self.skeleton, self.encoder.out_channels, c.size)
            self.head = HEMletsHead(size, HEMletsOptions(**c.options))
            features += 4 * size.num_joints
        self.parts: PartFeatures | None = None
        if config.inputs == "full":
            assert self.head is not None
            self.parts = PartFeatures(self.head, config.part_features)
            features += NUM_PARTS * config.part_features
        self.pooled: nn.Linear | None = None
        if config.inputs != "joints":
            self.pooled = nn.Linear(self.encoder.out_channels, config.pooled_features)
            features += config.pooled_features
        self.regressor = BodyRegressor(
            features, hidden=config.hidden, blocks=config.blocks, dropout=config.dropout
        )
        self.pelvis = RestPelvis()

    def set_body(self, pelvis_template: Tensor, pelvis_shapedirs: Tensor) -> None:
        """Rest pelvis of the body model as a linear map of betas: (3,) metres and (3, 10)."""
        self.pelvis.set(pelvis_template, pelvis_shapedirs)

    def set_mean_pose(self, rotmats: Tensor) -> None:
        """Pose that the fresh network gives: (24, 3, 3), the root relative to the crop's ray."""
        if rotmats.shape != (NUM_JOINTS, 3, 3):
            raise ShapeError(f"the mean pose must be (24, 3, 3); got {tuple(rotmats.shape)}.")
        with torch.no_grad():
            self.regressor.pose.bias.copy_(rotmat_to_sixd(rotmats).flatten())

    def start_from(self, net: PoseNet) -> None:
        """Take over encoder and, where there is one, head of a trained HEMlets.

        Raises:
            ShapeError: it was built with other sizes.
        """
        if net.config != self.config.hemlets:
            raise ShapeError(
                f"this PoSh network stands on HEMlets {self.config.hemlets}; the weights are of {net.config}."
            )
        self.encoder.load_state_dict(net.encoder.state_dict())
        if self.head is not None:
            self.head.load_state_dict(net.head.state_dict())

    def hemlets(self) -> PoseNet:
        """A copy of the HEMlets that it stands on, as a network of its own.

        Raises:
            ShapeError: inputs "pooled" have none.
        """
        if self.head is None:
            raise ShapeError('inputs "pooled" stand on no HEMlets.')
        net = PoseNet(self.config.hemlets)
        net.encoder.load_state_dict(self.encoder.state_dict())
        net.head.load_state_dict(self.head.state_dict())
        return net.train(self.training)

    def set_stage(self, stage: str) -> None:
        """Which layers learn from now on; layers that do not keep their statistics as well.

        Args:
            stage: one of `STAGES`.
        Raises:
            ShapeError: no such stage, or stage A without HEMlets.
        """
        if stage not in STAGES:
            raise ShapeError(f"stage must be one of {', '.join(STAGES)}; got {stage!r}.")
        if stage == "A" and self.head is None:
            raise ShapeError('stage A trains HEMlets, which inputs "pooled" leave out.')
        self.stage = stage
        for name, module in self.named_children():
            module.requires_grad_(self._learns(name))
        self.train(self.training)

    def train(self, mode: bool = True) -> PoShNet:
        """As usual, but what does not learn in this stage stays in evaluation mode."""
        super().train(mode)
        for name, module in self.named_children():
            module.train(mode and self._learns(name))
        return self

    def forward(self, frames: Tensor, crop: Tensor) -> PoShOutput:
        """Bodies from crops.

        Args:
            frames: (B, C, S, S).
            crop: (B, 3), see `shapenet.crop`.
        Raises:
            ShapeError: another shape.
        """
        c = self.config.hemlets
        if frames.ndim != 4 or frames.shape[1:] != (c.in_channels, c.size, c.size):
            raise ShapeError(
                f"frames must be (B, {c.in_channels}, {c.size}, {c.size}); got {tuple(frames.shape)}."
            )
        if crop.shape != (len(frames), 3):
            raise ShapeError(f"crop must be ({len(frames)}, 3); got {tuple(crop.shape)}.")
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.stage != "B"):
            features = self.encoder.maps(frames.contiguous(memory_format=torch.channels_last))
            maps = None if self.head is None else self.head(features)
        joints = None if self.head is None or maps is None else self.head.decode(maps)
        # Rotations and depths lose degrees and centimetres in half precision, so all that follows is fp32.
        with torch.autocast(device_type=frames.device.type, enabled=False):
            evidence = self._evidence(features.float(), maps, joints)
            rotmats, betas, camera = self.regressor(evidence)
            crop = crop.float()
            transl = from_place(camera_to_place(camera, crop)) - self.pelvis(betas)
            return PoShOutput(from_ray(rotmats, ray_rotation(crop)), betas, transl, joints, maps)

    def _evidence(self, features: Tensor, maps: dict[str, Tensor] | None, joints: Decoded | None) -> Tensor:
        found = []
        if joints is not None:
            assert joints.depth is not None
            uv = joint_places(joints.uv, self.config.hemlets.size)
            found.append(
                torch.cat([uv, joints.depth[..., None], joints.confidence[..., None]], -1).flatten(1)
            )
        if self.parts is not None:
            assert maps is not None and joints is not None
            found.append(self.parts(maps["features"].float(), joints.uv).flatten(1))
        if self.pooled is not None:
            found.append(self.pooled(features.mean((-2, -1))))
        return torch.cat(found, -1)

    def _learns(self, child: str) -> bool:
        below = child in ("encoder", "head")
        return {"A": below, "B": not below, "C": True}[self.stage]
