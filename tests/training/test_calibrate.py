"""Calibration changes one number and keeps the best."""

from __future__ import annotations

from pathlib import Path

import torch

from eventhpe.shapenet.network import ShapeNet
from eventhpe.shapenet.state import ShapeNetConfig
from eventhpe.training.calibrate import OFFSETS, calibrate_root

SMALL = ShapeNetConfig(use_flow=False, width=4, hidden=16, crop_features=4, size=32, grid=1)


def test_calibration_keeps_the_best_offset_and_touches_one_number(recordings: Path) -> None:
    torch.manual_seed(0)
    network = ShapeNet(SMALL)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    errors = calibrate_root(network, None, recordings, num_windows=8)
    assert tuple(errors) == OFFSETS and all(e > 0 for e in errors.values())
    best = min(errors, key=errors.__getitem__)
    for name, value in network.state_dict().items():
        expected = before[name].clone()
        if name == "noise.log_variances.bias":
            expected[0] += best
        torch.testing.assert_close(value, expected)
