"""HEMlets: heatmap triplets of body parts, then volumes (Zhou et al., ICCV 2019).

The intermediate maps hold, per part, where its ends are and which is nearer to the camera, which needs no 3D
label. Written from the paper's formulae; the sizes follow the released code, which holds no training part.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eventhpe.errors import ShapeError
from eventhpe.shapenet.heads.base import HeadSize, JointLabels
from eventhpe.shapenet.heads.coordinates import pixels_to_cells
from eventhpe.shapenet.heads.parts import body_parts
from eventhpe.shapenet.heads.triplets import (
    OVERLAPS,
    maps_per_part,
    order_to_learn,
    predicted_order,
    triplet_loss,
    triplet_targets,
)
from eventhpe.shapenet.heads.volumetric import STRIDE, VolumeHead, VolumeOptions


@dataclass(frozen=True)
class HEMletsOptions(VolumeOptions):
    """Of HEMlets.

    Attributes:
        states: of the depth order, 2, 3 (published) or 5; see heads/triplets.py.
        overlap: "max" or "sum" of parent and child that share a map.
    Raises:
        ShapeError: a value outside these.
    """

    states: int = 3
    overlap: str = "max"

    def __post_init__(self) -> None:
        super().__post_init__()
        maps_per_part(self.states)
        if self.overlap not in OVERLAPS:
            raise ShapeError(f"overlap must be one of {', '.join(OVERLAPS)}; got {self.overlap!r}.")

    @classmethod
    def faithful(cls) -> HEMletsOptions:
        """Targets as far as public code shows them: lopsided grid, 64 bins, summed maps, variance 2."""
        return cls(grid="published", depth_bins=64, overlap="sum", sigma=2**0.5)


class HEMletsHead(VolumeHead):
    """Image features and part triplets to volumes.

    Args:
        size: what the head is built for.
        options: of the head.
    Raises:
        ShapeError: the skeleton lacks one of the 14 parts.
    """

    def __init__(self, size: HeadSize, options: HEMletsOptions) -> None:
        parts = body_parts(size.skeleton)
        super().__init__(size, options, maps_per_part=maps_per_part(options.states))
        self.parts = parts
        self.options = options

    def losses(self, maps: dict[str, Tensor], labels: JointLabels) -> dict[str, Tensor]:
        """ "joints_image", "joints_depth", "joints2d" and "triplets"; the last two with weight alpha.

        Samples with and without 3D labels may be mixed in a batch: each term counts what is known.
        """
        o = self.options
        gaussians = self.joint_gaussians(labels)
        order, known = order_to_learn(labels, self.parts, states=o.states)
        targets = triplet_targets(gaussians, order, self.parts, states=o.states, overlap=o.overlap)
        return {
            **self.place_losses(maps, labels),
            "joints2d": self.map_loss(maps, labels, gaussians),
            "triplets": o.alpha * triplet_loss(maps["triplets"], targets, known),
        }

    @torch.no_grad()
    def predicted_order(self, maps: dict[str, Tensor]) -> Tensor:
        """(B, 14) int64 depth order that the triplets show, read at the joints of the volumes.

        Before the depth of HEMlets and of its baseline are compared, this should beat the best constant per
        part (`triplets.order_accuracy`) clearly: triplets that were not learned cannot help.
        """
        gaussians = self.gaussians_at(pixels_to_cells(self.decode(maps).uv, STRIDE))
        o = self.options
        return predicted_order(maps["triplets"], gaussians, self.parts, states=o.states, overlap=o.overlap)
