from __future__ import annotations

import numpy as np
import pytest
import torch

from eventhpe.errors import FormatError, ShapeError
from eventhpe.flownet.estimator import FlowEstimator
from eventhpe.flownet.losses import end_point_loss, flow_losses, parity_flow_losses
from eventhpe.flownet.network import FlowNet, FlowNetConfig


def test_parameter_count_of_the_published_network() -> None:
    assert sum(p.numel() for p in FlowNet(FlowNetConfig(variant="parity")).parameters()) == 3_337_984


@pytest.mark.parametrize("variant", ["parity", "fixed"])
def test_four_scales_coarse_to_fine(variant: str) -> None:
    net = FlowNet(FlowNetConfig(variant=variant, in_channels=3, base_width=4))
    flows = net(torch.rand(2, 3, 32, 48))
    assert [tuple(f.shape) for f in flows] == [(2, 2, 4, 6), (2, 2, 8, 12), (2, 2, 16, 24), (2, 2, 32, 48)]


def saturate(net: FlowNet) -> None:
    """Make every flow head answer tanh(large) = 1."""
    for decoder, head in zip(net.decoders, net.heads, strict=True):
        with torch.no_grad():
            decoder[1][1].bias.fill_(5.0)
            head.conv.weight.fill_(10.0)


def test_parity_scales_every_level_by_256_over_dt() -> None:
    net = FlowNet(FlowNetConfig(variant="parity", in_channels=2, base_width=4))
    saturate(net)
    x = torch.rand(2, 2, 32, 32)
    for flow in net(x):
        assert torch.allclose(flow, torch.full_like(flow, 256.0))
    finest = net(x, dt=torch.tensor([1.0, 4.0]))[-1]
    assert torch.allclose(finest[1], torch.full_like(finest[1], 64.0))


def test_fixed_scales_each_level_by_its_own_size() -> None:
    net = FlowNet(FlowNetConfig(in_channels=2, base_width=4, max_fraction=0.25))
    saturate(net)
    for flow in net(torch.rand(2, 2, 32, 64)):
        H, W = flow.shape[-2:]
        assert torch.allclose(flow[:, 0], torch.tensor(0.25 * W))
        assert torch.allclose(flow[:, 1], torch.tensor(0.25 * H))


def test_fixed_starts_near_zero_flow() -> None:
    torch.manual_seed(0)
    finest = FlowNet(FlowNetConfig(base_width=8))(torch.rand(2, 8, 64, 64))[-1]
    assert finest.abs().mean() < 1.0


def test_input_errors() -> None:
    net = FlowNet(FlowNetConfig(base_width=4))
    with pytest.raises(ShapeError, match="multiples of 16"):
        net(torch.zeros(1, 8, 30, 32))
    with pytest.raises(ShapeError, match=r"\(N, 8, H, W\)"):
        net(torch.zeros(1, 2, 32, 32))
    with pytest.raises(FormatError, match="variant"):
        FlowNetConfig(variant="other")
    with pytest.raises(FormatError, match="does not know"):
        FlowNetConfig.from_json({"depth": 9})
    config = FlowNetConfig(variant="parity", base_width=4)
    assert FlowNetConfig.from_json(config.to_json()) == config


def test_estimator_pads_batches_and_keeps_order() -> None:
    torch.manual_seed(0)
    net = FlowNet(FlowNetConfig(in_channels=2, base_width=4))
    frames = np.random.default_rng(0).random((5, 2, 30, 40), dtype=np.float32)
    flow = FlowEstimator(net, batch_size=2).estimate(frames)
    assert flow.shape == (5, 2, 30, 40) and flow.dtype == np.float32
    one = FlowEstimator(net, batch_size=8).estimate(torch.from_numpy(frames[3:4]))
    np.testing.assert_allclose(flow[3:4], one, atol=1e-5)
    assert not net.training


def test_estimator_flow_field_and_errors() -> None:
    estimator = FlowEstimator(FlowNet(FlowNetConfig(in_channels=2, base_width=4)))
    frame = np.zeros((2, 16, 16), dtype=np.float32)
    frame[1, 3, 4] = 1
    field = estimator.flow_field(frame, t0_us=0, t1_us=50_000, events_only=True)
    assert field.uv.shape == (2, 16, 16) and field.valid.sum() == 1 and field.valid[3, 4]
    assert estimator.flow_field(frame, t0_us=0, t1_us=50_000).valid.all()
    with pytest.raises(ShapeError, match="frames must be"):
        estimator.estimate(frame)


@pytest.mark.parametrize("variant", ["parity", "fixed", "labels"])
def test_two_training_steps(variant: str) -> None:
    torch.manual_seed(0)
    net = FlowNet(
        FlowNetConfig(variant="parity" if variant == "parity" else "fixed", in_channels=4, base_width=4)
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    frames = (torch.rand(2, 4, 32, 32) < 0.2).float()
    first, second = torch.rand(2, 2, 1, 32, 32)
    for _ in range(2):
        flows = net(frames)
        if variant == "parity":
            loss, _ = parity_flow_losses(flows, first * 255, second * 255)
        elif variant == "fixed":
            loss, _ = flow_losses(flows, first, second, frames=frames)
        else:
            loss = end_point_loss(flows, torch.ones(2, 2, 32, 32), torch.ones(2, 32, 32, dtype=torch.bool))
        optimizer.zero_grad()
        loss.backward()
        assert torch.isfinite(loss)
        for name, p in net.named_parameters():
            assert p.grad is not None and torch.isfinite(p.grad).all() and p.grad.abs().sum() > 0, name
        optimizer.step()
