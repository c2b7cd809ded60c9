"""People and their 2D joints bottom-up, at two output resolutions, with scale- and weight-adaptive heatmaps
(HigherHRNet, Cheng et al. 2020; SWAHR, Luo et al. 2021; both CVPR) on a residual encoder.

Convention:
    Pixels of the input, centres at integers; x right, y down. Maps "4" have stride 4, maps "2" stride 2, see
    heads/swahr_targets.py for their cells.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from eventhpe.errors import FormatError, ShapeError
from eventhpe.geometry.skeleton import skeleton_by_name
from eventhpe.shapenet.encoder import BasicBlock, ResNet, resnet18, resnet50
from eventhpe.shapenet.heads.associative import (
    GroupingOptions,
    embedding_losses,
    find_people,
    joint_order,
)
from eventhpe.shapenet.heads.decoder import Decoder, final_layer
from eventhpe.shapenet.heads.lateral import LateralDecoder
from eventhpe.shapenet.heads.people import People, without_repetitions
from eventhpe.shapenet.heads.swahr_losses import AdaptiveOptions, heatmap_losses
from eventhpe.shapenet.heads.swahr_targets import (
    PeopleLabels,
    cell_mask,
    check_people,
    joint_cells,
    people_heatmaps,
)

STRIDE = 32
RESOLUTIONS = (4, 2)


@dataclass(frozen=True)
class SWAHRConfig:
    """Sizes and losses of a bottom-up pose network.

    Attributes:
        skeleton: "dhp19" (13), "dhp19_15" or "smpl24".
        in_channels: C of the input.
        encoder: "resnet18" or "resnet50".
        width: channels of the encoder's first layer.
        lateral_channels: of the maps between the encoder's stages.
        channels: of the features below the heads, at both resolutions (32 or 48 in the papers).
        blocks: residual blocks at stride 2 (4 in the papers).
        sigma: of the targets, in cells, at both resolutions.
        subcell: targets centred on the joints instead of on their cells (published: cells).
        embedding: weight of the tags' pull and push terms (0.001 in the papers).
        tag_std: of the fresh filters of the tags (0.001 in the papers). The push term is flat where all tags
            are equal: with the papers' two values tags do not part within some hundred steps.
        joint_order: joints by name in the order of grouping; empty = from the skeleton's root outwards.
        loss: of the heatmaps.
        grouping: from maps to people.
    Raises:
        ShapeError: no such skeleton, encoder or joint, or numbers out of range.
    """

    skeleton: str = "dhp19_15"
    in_channels: int = 8
    encoder: str = "resnet18"
    width: int = 32
    lateral_channels: int = 64
    channels: int = 32
    blocks: int = 2
    sigma: float = 2.0
    subcell: bool = False
    embedding: float = 0.02
    tag_std: float = 0.01
    joint_order: tuple[str, ...] = ()
    loss: AdaptiveOptions = field(default_factory=AdaptiveOptions)
    grouping: GroupingOptions = field(default_factory=GroupingOptions)

    def __post_init__(self) -> None:
        joint_order(skeleton_by_name(self.skeleton), self.joint_order)
        if self.encoder not in ("resnet18", "resnet50"):
            raise ShapeError(f"encoder must be resnet18 or resnet50; got {self.encoder!r}.")
        for name in ("in_channels", "width", "lateral_channels", "channels"):
            if getattr(self, name) < 1:
                raise ShapeError(f"SWAHRConfig.{name} must be positive; got {getattr(self, name)}.")
        if self.blocks < 0 or self.sigma <= 0 or self.embedding < 0 or self.tag_std < 0:
            raise ShapeError("SWAHRConfig needs blocks >= 0, sigma > 0, embedding >= 0 and tag_std >= 0.")

    def to_json(self) -> dict[str, Any]:
        """For a weights card."""
        return {**asdict(self), "joint_order": list(self.joint_order)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> SWAHRConfig:
        """From a weights card. Raises FormatError on an unknown key."""
        values = dict(values)
        for name, kind in (("loss", AdaptiveOptions), ("grouping", GroupingOptions)):
            _check_keys(kind, values.get(name, {}))
            values[name] = kind(**values.get(name, {}))
        _check_keys(cls, values)
        values["joint_order"] = tuple(values.get("joint_order", ()))
        return cls(**values)


def _check_keys(kind: type[Any], values: dict[str, Any]) -> None:
    if unknown := sorted(set(values) - {f.name for f in fields(kind)}):
        raise FormatError(f"{kind.__name__} does not know {unknown}; the file may come from a newer version.")


class ScaleHead(nn.Sequential):
    """Features (B, C, h, w) to alpha = 1/s - 1 (B, K, h, w), exactly 0 in a fresh network.

    1x1 convolution, batch norm, ReLU, depthwise 9x9 convolution (the sources' code).
    """

    def __init__(self, *, in_channels: int, joints: int) -> None:
        smooth = nn.Conv2d(joints, joints, 9, padding=4, groups=joints)
        assert smooth.bias is not None
        nn.init.zeros_(smooth.weight)
        nn.init.zeros_(smooth.bias)
        super().__init__(
            nn.Conv2d(in_channels, joints, 1, bias=False),
            nn.BatchNorm2d(joints),
            nn.ReLU(inplace=True),
            smooth,
        )


class SWAHRNet(nn.Module):
    """Encoder with lateral connections, heatmaps and tags at stride 4, heatmaps at stride 2.

    The scale heads exist only if `config.loss.sahr`, are made last (so that the other weights of a seed are
    the same in every arm), and are not run for `people`.

    Args:
        config: sizes.
    """

    def __init__(self, config: SWAHRConfig) -> None:
        super().__init__()
        c = self.config = config
        self.skeleton = skeleton_by_name(c.skeleton)
        self.order = joint_order(self.skeleton, c.joint_order)
        K = len(self.skeleton.joints)
        build = resnet18 if c.encoder == "resnet18" else resnet50
        self.encoder: ResNet = build(in_channels=c.in_channels, width=c.width)
        self.lateral = LateralDecoder(
            stage_channels=self.encoder.stage_channels, channels=c.lateral_channels, out_channels=c.channels
        )
        self.head4 = final_layer(c.channels, 2 * K)
        nn.init.normal_(self.head4.weight[K:], std=c.tag_std)
        self.up = nn.Sequential(
            Decoder(in_channels=c.channels + 2 * K, channels=c.channels, stages=1),
            *(BasicBlock(in_channels=c.channels, planes=c.channels, stride=1) for _ in range(c.blocks)),
        )
        self.head2 = final_layer(c.channels, K)
        self.scales = nn.ModuleDict()
        if c.loss.sahr:
            for stride in RESOLUTIONS:
                self.scales[str(stride)] = ScaleHead(in_channels=c.channels, joints=K)

    def forward(self, frames: Tensor, *, scales: bool = True) -> dict[str, Tensor]:
        """Maps.

        Args:
            frames: (B, C, H, W), H and W multiples of 32.
            scales: also run the scale heads, which only the losses need.
        Returns:
            heat4, tags4 (B, K, H/4, W/4), heat2 (B, K, H/2, W/2) and, with SAHR, scale4 and scale2.
        Raises:
            ShapeError: another shape.
        """
        C = self.config.in_channels
        if frames.ndim != 4 or frames.shape[1] != C or frames.shape[2] % STRIDE or frames.shape[3] % STRIDE:
            raise ShapeError(
                f"frames must be (B, {C}, H, W) with H and W multiples of {STRIDE}; got "
                f"{tuple(frames.shape)}."
            )
        features4 = self.lateral(self.encoder.stages(frames.contiguous(memory_format=torch.channels_last)))
        out4 = self.head4(features4)
        features2 = self.up(torch.cat([features4, out4], 1))
        heat4, tags4 = out4.chunk(2, 1)
        maps = {"heat4": heat4, "tags4": tags4, "heat2": self.head2(features2)}
        if scales:
            for (stride, head), features in zip(
                self.scales.items(), (features4, features2)[: len(self.scales)], strict=True
            ):
                maps[f"scale{stride}"] = head(features)
        return maps

    def losses(self, maps: dict[str, Tensor], labels: PeopleLabels) -> dict[str, Tensor]:
        """Weighted terms of the loss.

        Args:
            maps: of `forward`.
            labels: who is where. An image without people teaches the background; where `labels.labelled` is
                False the heatmaps learn nothing.
        Returns:
            heat4, heat2, with SAHR scale4 and scale2, pull and push. Float32.
        Raises:
            ShapeError: labels of another skeleton or image size, or NaN where known.
        """
        c, terms = self.config, {}
        size = (maps["heat2"].shape[2] * 2, maps["heat2"].shape[3] * 2)
        check_people(labels, joints=len(self.skeleton.joints), size=size)
        for stride in RESOLUTIONS:
            cells = (size[0] // stride, size[1] // stride)
            heat = people_heatmaps(
                labels.uv, labels.known, stride=stride, size=cells, sigma=c.sigma, subcell=c.subcell
            )
            mask = cell_mask(labels.labelled, stride)
            alpha = maps.get(f"scale{stride}")
            for name, value in heatmap_losses(maps[f"heat{stride}"], alpha, heat, mask, c.loss).items():
                terms[f"{name}{stride}"] = value
        at, inside = joint_cells(labels.uv, labels.known, stride=4, size=(size[0] // 4, size[1] // 4))
        for name, value in embedding_losses(maps["tags4"], at, inside).items():
            terms[name] = c.embedding * value
        return terms

    def decode(
        self,
        maps: dict[str, Tensor],
        mirrored: dict[str, Tensor] | None = None,
        *,
        size: tuple[int, int] | None = None,
    ) -> list[People]:
        """People in each image.

        Both resolutions are brought to the input's (bilinear) and averaged. Maps of the mirrored images are
        averaged in; their tags become a second dimension.

        Args:
            maps: of `forward`.
            mirrored: of `forward` for the frames mirrored left to right.
            size: (H, W) of the image in the upper left of the frames; None = the whole frame.
        """
        heat, tags = _at_input(maps)
        tags = tags[:, :, None]
        if mirrored is not None:
            flip = torch.from_numpy(self.skeleton.flip).to(heat.device)
            heat_m, tags_m = (m.flip(-1)[:, flip] for m in _at_input(mirrored))
            heat, tags = (heat + heat_m) / 2, torch.cat([tags, tags_m[:, :, None]], 2)
        H, W = size or heat.shape[-2:]
        return find_people(heat[..., :H, :W], tags[..., :H, :W], self.order, self.config.grouping)

    @torch.no_grad()
    def people(self, frames: Tensor, *, flip: bool = True) -> list[People]:
        """People in each image of any size, nobody twice; zeros pad the frames at the right and below.

        Args:
            frames: (B, C, H, W).
            flip: average over each image and its mirror image, as published; doubles the cost.
        Raises:
            ShapeError: another number of channels.
        """
        if frames.ndim != 4:
            raise ShapeError(f"frames must be (B, C, H, W); got {tuple(frames.shape)}.")
        H, W = frames.shape[-2:]
        whole = pad(frames, (0, -W % STRIDE, 0, -H % STRIDE))
        mirrored = self(whole.flip(-1), scales=False) if flip else None
        found = self.decode(self(whole, scales=False), mirrored, size=(H, W))
        return [without_repetitions(people) for people in found]


def _at_input(maps: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Mean heat and tags at the input's resolution."""
    heat4, tags4, heat2 = (
        interpolate(maps[name].float(), scale_factor=float(stride), mode="bilinear", align_corners=False)
        for name, stride in (("heat4", 4), ("tags4", 4), ("heat2", 2))
    )
    return (heat4 + heat2) / 2, tags4
