"""Joints as means over maps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from eventhpe.errors import FormatError
from eventhpe.shapenet.joint_maps import (
    CropJoints,
    JointMaps,
    joint_map_error,
    joints_in_crop,
    location_means,
)
from eventhpe.shapenet.network import ShapeNet
from eventhpe.shapenet.state import ShapeNetConfig

SMALL = ShapeNetConfig(in_channels=4, size=32, width=4, hidden=24, crop_features=4, joint_maps=8)


def test_means_over_maps() -> None:
    """All weight on one cell; two cells evenly; everywhere."""
    likelihood, depth = torch.full((1, 3, 4, 8), -1e4), torch.zeros(1, 3, 4, 8)
    likelihood[0, 0, 1, 6], depth[0, 0, 1, 6] = 0.0, 0.7
    likelihood[0, 1, 0, 0] = likelihood[0, 1, 3, 7] = 0.0
    depth[0, 1, 0, 0], depth[0, 1, 3, 7] = 0.2, 0.6
    likelihood[0, 2] = 0.0
    uvd, peak = location_means(likelihood, depth)
    torch.testing.assert_close(uvd[0], torch.tensor([[0.625, -0.25, 0.7], [0, 0, 0.4], [0, 0, 0]]))
    torch.testing.assert_close(peak[0], torch.tensor([1.0, 0.8, 0.0]))  # 1 - log 2 / log 32


def test_truth_of_a_crop() -> None:
    joints = torch.tensor([[0.2, -0.1, 2.0], [0.6, 0.3, 3.0]])
    found = joints_in_crop(joints, torch.tensor([0.05, -0.05, 0.25]))
    torch.testing.assert_close(found, torch.tensor([[0.2, 0.0, 0.0], [0.6, 0.6, 2.0]]))


def test_joints_beyond_the_crop_do_not_count() -> None:
    truth = torch.tensor([[[0.0, 0.0, 0.0], [1.5, 0.0, 0.0]]])
    near, far = truth.clone(), truth.clone()
    near[0, 1] += 1.0
    far[0, 0] += 1.0
    peak = torch.ones(1, 2)
    assert joint_map_error(CropJoints(near, peak), truth).item() == 0
    assert joint_map_error(CropJoints(far, peak), truth).item() == pytest.approx(0.99)
    nobody = torch.full((1, 2, 3), 2.0)
    assert joint_map_error(CropJoints(far, peak), nobody).item() == 0


def test_maps_learn_where_joints_are() -> None:
    """One lit cell per joint, the brighter the further back: found within a third of a cell of 0.25."""
    torch.manual_seed(0)
    maps = JointMaps(stage_channels=(2, 4, 8), channels=16, num_joints=2)
    optimizer = torch.optim.Adam(maps.parameters(), 1e-2)

    def draw(B: int) -> tuple[tuple[Tensor, ...], Tensor]:
        at, light = torch.randint(0, 8, (B, 2, 2)), 0.5 + torch.rand(B, 2)
        stage = torch.zeros(B, 2, 8, 8)
        for joint in range(2):
            stage[torch.arange(B), joint, at[:, joint, 1], at[:, joint, 0]] = light[:, joint]
        truth = torch.cat([(at + 0.5) / 4 - 1, light[..., None] - 1], -1)
        return (stage, torch.zeros(B, 4, 4, 4), torch.zeros(B, 8, 2, 2)), truth

    for _ in range(150):
        stages, truth = draw(32)
        loss = joint_map_error(maps(stages), truth).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    stages, truth = draw(64)
    assert (maps.eval()(stages).uvd - truth).abs().mean() < 0.08


def test_the_networks_pose_reads_the_joints_and_begins_without_them() -> None:
    torch.manual_seed(0)
    net = ShapeNet(SMALL)
    plain = ShapeNet(ShapeNetConfig(**{**SMALL.to_json(), "joint_maps": 0}))
    own = net.state_dict()
    plain.load_state_dict({name: own[name] for name in plain.state_dict()})
    frames, flow = torch.rand(2, 3, 4, 32, 32), torch.randn(2, 3, 2, 32, 32)
    crop = torch.tensor([0.1, -0.2, 0.3]).expand(2, 3, 3)
    before = net.eval()(frames, flow, crop)
    assert torch.equal(before.rotmats, plain.eval()(frames, flow, crop).rotmats)
    joints = before.joints_in_crop
    assert joints is not None and joints.uvd.shape == (2, 3, 24, 3) and joints.peak.shape == (2, 3, 24)
    assert plain(frames, flow, crop).joints_in_crop is None
    assert net.encoder.joint_features is not None and net.encoder.joints is not None
    torch.nn.init.normal_(net.encoder.joint_features.out.weight)
    net(frames, flow, crop).rotmats.square()[..., 0, 0].sum().backward()
    for p in (net.encoder.joints.final.weight, net.encoder.joints.laterals[0].weight):
        assert p.grad is not None and p.grad.abs().sum() > 0


def test_the_published_network_has_no_joint_maps() -> None:
    with pytest.raises(FormatError, match="joint_maps"):
        ShapeNetConfig(variant="parity", joint_maps=64)
