"""Calibration changes three numbers and keeps the best."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from eventhpe.body.default import open_body
from eventhpe.flownet.estimator import FlowEstimator
from eventhpe.shapenet.network import ShapeNet
from eventhpe.shapenet.state import ShapeNetConfig
from eventhpe.training.calibrate import GROUPS, OFFSETS, calibrate
from tests.small_world import random_flownet

SMALL = {"width": 4, "hidden": 16, "crop_features": 4, "size": 32, "grid": 1}


@pytest.mark.parametrize("follow", [False, True])
def test_calibration_keeps_the_best_offsets_and_touches_nothing_else(recordings: Path, follow: bool) -> None:
    torch.manual_seed(0)
    network = ShapeNet(ShapeNetConfig(**SMALL, use_flow=follow, follow_flow=follow))
    body = open_body()
    network.set_body(body.J_template[0], body.J_shapedirs[0])
    before = {k: v.clone() for k, v in network.state_dict().items()}
    flow = FlowEstimator(random_flownet()) if follow else None
    errors = calibrate(network, flow, [recordings], num_windows=8)
    assert list(errors) == ["root", "body", "place"]
    expected = before["noise.log_variances.bias"].clone()
    for name, found in errors.items():
        assert tuple(found) == OFFSETS and all(e > 0 for e in found.values())
        expected[GROUPS[name]] += min(found, key=found.__getitem__)
    # Later groups start from the best of the earlier ones.
    assert errors["body"][0.0] == pytest.approx(min(errors["root"].values()), rel=1e-5)
    for name, value in network.state_dict().items():
        wanted = expected if name == "noise.log_variances.bias" else before[name]
        torch.testing.assert_close(value, wanted)
