"""The heads by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from eventhpe.shapenet.heads.base import HeadKind
from eventhpe.shapenet.heads.heatmap import HeatmapHead, HeatmapOptions
from eventhpe.shapenet.heads.hemlets import HEMletsHead, HEMletsOptions
from eventhpe.shapenet.heads.integral import IntegralHead, IntegralOptions
from eventhpe.shapenet.heads.regression import RegressionHead, RegressionOptions
from eventhpe.shapenet.heads.simdr import SimDRHead, SimDROptions
from eventhpe.shapenet.heads.volumetric import VolumetricHead, VolumetricOptions

HEADS: Mapping[str, HeadKind] = MappingProxyType(
    {
        "heatmap": HeadKind(HeatmapOptions, HeatmapHead, False, "a Gaussian heatmap per joint"),
        "integral": HeadKind(IntegralOptions, IntegralHead, False, "soft-argmax of a heatmap per joint"),
        "regression": HeadKind(RegressionOptions, RegressionHead, False, "coordinates by a linear layer"),
        "simdr": HeadKind(SimDROptions, SimDRHead, True, "each coordinate a 1-D classification"),
        "volumetric": HeadKind(VolumetricOptions, VolumetricHead, True, "soft-argmax of a volume per joint"),
        "hemlets": HeadKind(HEMletsOptions, HEMletsHead, True, "part-centric heatmap triplets and volumes"),
    }
)
"""Name to head, explicit: what is not here does not exist."""
