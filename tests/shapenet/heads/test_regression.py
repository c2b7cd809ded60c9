"""Coordinates by linear layers."""

from __future__ import annotations

import pytest
import torch

from eventhpe.errors import ShapeError
from eventhpe.shapenet.heads.regression import RegressionHead, RegressionOptions
from eventhpe.shapenet.heads.simdr import SimDRHead, SimDROptions
from tests.shapenet.heads import head_checks as checks


@pytest.mark.parametrize("source", ["pooled", "vectors"])
def test_head_learns(source: str) -> None:
    net = checks.SmallNet(RegressionHead, RegressionOptions(source=source, channels=16))
    assert net(checks.frames())["uv"].shape == (4, checks.J, 2)
    checks.check_training(net)
    checks.check_unknown(net)
    checks.check_single(net)
    checks.check_unknown_joint(net.head, net(checks.frames()))
    checks.check_low_precision(net.head, net(checks.frames()))


def test_units() -> None:
    """-0.5 and 0.5 are the crop's edges, half a pixel outside the outermost centres."""
    head = RegressionHead(checks.head_size(), RegressionOptions())
    maps = {"uv": torch.tensor([-0.5, 0.0, 0.5]).view(1, 3, 1).expand(1, 3, 2)}
    decoded = head.decode(maps)
    assert decoded.uv[0, :, 0].tolist() == [-0.5, 31.5, 63.5]
    assert (decoded.confidence == 1).all() and decoded.depth is None


def test_the_loss_is_that_of_pixels() -> None:
    head, labels = RegressionHead(checks.head_size(), RegressionOptions()), checks.random_labels()
    right = (labels.uv + 0.5) / 64 - 0.5
    assert float(head.losses({"uv": right}, labels)["regression"]) == pytest.approx(0, abs=1e-6)
    assert float(head.losses({"uv": right + 0.25}, labels)["regression"]) == pytest.approx(0.5, abs=1e-6)


def test_parameters() -> None:
    """The control on vectors is SimDR's network with one output an axis."""
    pooled = RegressionHead(checks.head_size(64), RegressionOptions())
    assert sum(p.numel() for p in pooled.parameters()) == (64 + 1) * 2 * checks.J
    vectors = RegressionHead(checks.head_size(64), RegressionOptions(source="vectors", channels=16))
    simdr = SimDRHead(checks.head_size(64), SimDROptions(k=2, channels=16))
    count = {m: sum(p.numel() for p in m.parameters()) for m in (vectors, simdr)}
    assert count[simdr] - count[vectors] == (16 * 16 + 1) * 2 * (128 - 1)


def test_wrong_options() -> None:
    with pytest.raises(ShapeError, match="pooled, vectors"):
        RegressionOptions(source="all")
    with pytest.raises(ShapeError, match="channels"):
        RegressionOptions(channels=0)
