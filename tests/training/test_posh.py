"""Stages of HEMlets PoSh's training."""

from __future__ import annotations

import pytest
import torch

from eventhpe.body.default import open_body
from eventhpe.errors import ShapeError
from eventhpe.geometry.skeleton import DHP19_15_SKELETON
from eventhpe.shapenet.heads.pose_net import PoseNetConfig
from eventhpe.shapenet.posh import PoShConfig
from eventhpe.training.posh import PoShModule, StageShares, _Helpers

BELOW = PoseNetConfig(
    head="hemlets", skeleton="smpl24", size=64, width=4, options={"width": 0.05, "depth_bins": 8}
)


def module(inputs: str = "full", **options: float) -> PoShModule:
    return PoShModule(
        PoShConfig(hemlets=BELOW, inputs=inputs, hidden=16, blocks=1), open_body(), lr=1e-3, steps=1000,
        shares=StageShares(0.5, 0.3, 0.2), **options,
    )  # fmt: skip


def test_stages_follow_each_other() -> None:
    shares = StageShares(0.5, 0.3, 0.2)
    stages = [shares.stage(p) for p in (0.0, 0.49, 0.51, 0.79, 0.81, 1.0)]
    assert stages == ["A", "A", "B", "B", "C", "C"]
    assert [StageShares(0.0, 0.6, 0.4).stage(p) for p in (0.0, 0.59, 0.61)] == ["B", "B", "C"]
    assert StageShares(0.0, 1.0, 0.0).stage(1.0) == "B"
    for wrong in ((-0.1, 1.0, 0.0), (0.0, 0.0, 0.0)):
        with pytest.raises(ShapeError, match="must not be negative, nor all zero"):
            StageShares(*wrong)


def test_step_sizes_of_the_stages() -> None:
    m = module()
    # Each stage begins at its own size and ends with a cosine at 2 % of it.
    assert m.factor(30) == pytest.approx(1.0, abs=0.02)
    assert m.factor(500) == pytest.approx(0.1, rel=1e-6) and m.factor(799) == pytest.approx(0.002, rel=0.1)
    assert m.factor(800) == pytest.approx(0.01, rel=1e-6) and m.factor(1000) == pytest.approx(
        0.0002, rel=1e-6
    )
    assert module(later=5.0).factor(500) == pytest.approx(0.5, rel=1e-6)


def test_what_learns_in_a_stage() -> None:
    m = module()
    m.configure_optimizers()
    learns = {name for name, p in m.network.named_parameters() if p.requires_grad}
    assert learns and all(name.startswith(("encoder.", "head.")) for name in learns)
    m.network.set_stage("B")
    later = {name for name, p in m.network.named_parameters() if p.requires_grad}
    assert later and not later & learns


def test_pooled_features_learn_with_their_encoder() -> None:
    m = module("pooled")
    m.configure_optimizers()
    assert all(p.requires_grad for p in m.network.parameters())
    assert m.factor(100) == pytest.approx(1.0, abs=0.03)
    m.network.train()
    output = m.network(torch.rand(2, 8, 64, 64), torch.tensor([[0.0, 0.0, 0.3]]).expand(2, 3))
    (output.rotmats.sum() + output.transl.sum()).backward()
    assert m.network.encoder.conv1.weight.grad is not None
    assert m.network.encoder.conv1.weight.grad.abs().max() > 0


def test_helpers_follow_to_another_device_as_copies() -> None:
    helpers = _Helpers.of(open_body(), DHP19_15_SKELETON)
    assert helpers.on(torch.device("cpu"), DHP19_15_SKELETON) is helpers
    moved = helpers.on(torch.device("meta"), DHP19_15_SKELETON)
    where = (torch.zeros(1, *shape, device="meta") for shape in ((24, 3, 3), (10,), (3,)))
    assert moved.joints_of(*where).device.type == "meta"
    assert open_body().v_template.device.type == "cpu"
