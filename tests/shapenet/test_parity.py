from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from eventhpe.errors import ShapeError
from eventhpe.geometry.rotation import sixd_to_rotmat
from eventhpe.shapenet.losses import BodyTargets, parity_losses
from eventhpe.shapenet.network import build_shapenet
from eventhpe.shapenet.parity import EventTrackNet, accumulate
from eventhpe.shapenet.state import ShapeNetConfig, StartState
from eventhpe.shapenet.tracker import BodyTracker

SMALL = ShapeNetConfig(variant="parity", in_channels=8, encoder="resnet18", width=4, hidden=32, size=64)


def inputs(B: int = 2, T: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    frames = (torch.rand(B, T, 8, 64, 64, generator=g) < 0.2).float()
    return frames, 6 * torch.randn(B, T, 2, 64, 64, generator=g)


def test_parameter_count_of_the_published_network() -> None:
    with torch.device("meta"):
        net = EventTrackNet()
    parts = {name: sum(p.numel() for p in m.parameters()) for name, m in net.named_children()}
    assert parts["encoder"] == 23_529_984 and parts["gru"] == 25_178_112
    assert parts["head_pose"] + parts["head_transl"] == 301_203
    assert sum(parts.values()) == 49_009_299


def test_accumulation_equals_a_reference_loop(rotations: Any) -> None:
    delta, begin = rotations(2, 5, 24, seed=1), rotations(2, 24, seed=2)
    out = accumulate(delta, begin).numpy()
    for b in range(2):
        for j in range(24):
            R = begin[b, j].numpy()
            for t in range(5):
                R = delta[b, t, j].numpy() @ R
                np.testing.assert_allclose(out[b, t, j], R, atol=1e-5)


def test_forward_follows_the_description(start: StartState) -> None:
    torch.manual_seed(0)
    net = build_shapenet(SMALL).eval()
    frames, flow = inputs()
    h0 = torch.randn(2, 32)
    with torch.no_grad():
        out = net(frames, flow, start=start, hidden=h0)
        x = torch.stack([net.encoder(torch.cat([frames[:, t], flow[:, t]], 1)) for t in range(3)], 1)
        y = net.gru(x, h0[None])[0] + x
        delta = sixd_to_rotmat(net.head_pose(y).view(2, 3, 24, 6))
        torch.testing.assert_close(out.rotmats[:, 0], delta[:, 0] @ start.rotmats, atol=1e-5, rtol=0)
        steps = net.head_transl(y)
        torch.testing.assert_close(out.transl[:, 2], start.transl + steps.sum(1), atol=1e-5, rtol=0)
    assert torch.equal(out.betas, start.betas[:, None].expand(-1, 3, -1))
    assert out.rotmats_abs is None and torch.equal(out.confidence, torch.ones(2, 3, 24))


def test_needs_a_start_and_matching_sizes() -> None:
    net = build_shapenet(SMALL)
    with pytest.raises(ShapeError, match="needs start"):
        net(*inputs())
    with pytest.raises(ShapeError, match="hidden=64"):
        EventTrackNet(ShapeNetConfig(variant="parity", encoder="resnet18", width=4, hidden=64))


def test_chunks_equal_one_pass(start: StartState) -> None:
    net = build_shapenet(SMALL).eval()
    frames, flow = inputs(B=1, T=4)
    one = StartState(start.rotmats[:1], start.betas[:1], start.transl[:1])
    tracker = BodyTracker(net)
    tracker.reset(one)
    tracked = tracker.step(frames[0, :3], flow[0, :3], np.zeros((3, 3), np.float32))
    tracked += tracker.step(frames[0, 3:], flow[0, 3:], np.zeros((1, 3), np.float32))
    with torch.no_grad():
        whole = net(frames, flow, start=one)
    for t in range(4):
        np.testing.assert_allclose(tracked[t].rotmats, whole.rotmats[0, t], atol=1e-5)
        np.testing.assert_allclose(tracked[t].transl, whole.transl[0, t], atol=1e-5)


def test_two_training_steps(body: Any, targets: BodyTargets, start: StartState) -> None:
    torch.manual_seed(0)
    net = build_shapenet(SMALL)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    frames, flow = inputs()
    K = torch.tensor([[84.0, 0, 32.0], [0, 84.0, 32.0], [0, 0, 1]])
    for _ in range(2):
        out = net(frames, flow, start=start)
        loss, terms = parity_losses(out, targets, body=body, K=K, size=64, flow=flow)
        assert terms["coherence"].item() > 0
        optimizer.zero_grad()
        loss.backward()
        assert torch.isfinite(loss)
        for name, p in net.named_parameters():
            assert p.grad is not None and torch.isfinite(p.grad).all() and p.grad.abs().sum() > 0, name
        optimizer.step()
