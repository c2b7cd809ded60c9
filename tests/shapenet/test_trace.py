"""Traces of earlier windows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from eventhpe.errors import FormatError, ShapeError
from eventhpe.shapenet.network import ShapeNet
from eventhpe.shapenet.state import ShapeNetConfig
from eventhpe.shapenet.trace import DECAY, leave_traces
from eventhpe.shapenet.tracker import BodyTracker

S = 32
SMALL = ShapeNetConfig(in_channels=4, size=S, width=4, hidden=24, crop_features=4, look_back=True)


def clip_of(T: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    frames = (torch.rand(1, T, 4, S, S, generator=g) < 0.2).float()
    crop = torch.tensor([0.1, -0.2, 0.3]) + 0.03 * torch.rand(1, T, 3, generator=g)
    return frames, torch.randn(1, T, 2, S, S, generator=g), crop


def network() -> ShapeNet:
    torch.manual_seed(0)
    net = ShapeNet(SMALL)
    assert net.encoder.trace is not None
    torch.nn.init.normal_(net.encoder.trace.weight, std=0.3)
    torch.nn.init.normal_(net.absolute.pose.weight, std=0.1)
    return net.eval()


def test_a_window_leaves_decaying_traces_that_it_does_not_see_itself() -> None:
    frames = torch.zeros(1, 4, 3, S, S)
    frames[0, 0, 1, 10, 20] = 0.8
    seen, after = leave_traces(frames, torch.tensor([0.0, 0.0, 0.4]).expand(1, 4, 3))
    decay = torch.tensor(DECAY)
    assert not seen[0, 0].any()
    for t in range(1, 4):
        torch.testing.assert_close(seen[0, t, :, 10, 20], 0.8 * (1 - decay) * decay ** (t - 1))
    assert seen[0, 1].count_nonzero() == 2
    torch.testing.assert_close(after.image[0, :, 10, 20], 0.8 * (1 - decay) * decay**3)


def test_traces_lie_where_the_ray_lies_in_the_new_crop() -> None:
    """A pixel at (4.5, 8.5) of 16 in a crop is found at the same ray in one that is shifted and larger."""
    frames = torch.zeros(1, 2, 1, 16, 16)
    frames[0, 0, 0, 8:10, 4:6] = 1.0  # centre (5, 9) in edge coordinates, crop coordinates (-3/8, 1/8)
    old, new = torch.tensor([0.3, -0.1, 0.2]), torch.tensor([0.2, -0.05, 0.4])
    seen, _ = leave_traces(frames, torch.stack([old, new])[None])
    image = seen[0, 1, 0]
    columns = (torch.arange(16) + 0.5) / 8 - 1
    at = torch.stack([(image.sum(0) * columns).sum(), (image.sum(1) * columns).sum()]) / image.sum()
    ray = old[:2] + old[2] * torch.tensor([-3 / 8, 1 / 8])
    torch.testing.assert_close(new[:2] + new[2] * at, ray, atol=0.01, rtol=0)


def test_a_trace_of_another_size_is_refused() -> None:
    frames, _, crop = clip_of(2)
    _, after = leave_traces(frames, crop)
    with pytest.raises(ShapeError, match="earlier windows must be"):
        leave_traces(frames[..., :16, :16], crop, after)


def test_streams_that_look_back_may_be_cut_anywhere() -> None:
    net = network()
    frames, flow, crop = clip_of(5)
    with torch.no_grad():
        whole = net(frames, flow, crop)
        blind = net(torch.cat([torch.zeros_like(frames[:, :3]), frames[:, 3:]], 1), flow, crop)
    tracker = BodyTracker(net)
    tracked = [tracker.step(frames[0, s], flow[0, s], crop[0, s]) for s in (slice(0, 2), slice(2, 5))]
    for t, one in enumerate(tracked[0] + tracked[1]):
        np.testing.assert_allclose(one.rotmats, whole.rotmats[0, t], atol=1e-5)
    assert not torch.allclose(net.encode(frames, flow, crop).maps[:, 4], blind.maps[:, 4])  # type: ignore[index]


def test_a_fresh_network_that_looks_back_is_the_one_that_does_not() -> None:
    torch.manual_seed(0)
    net = ShapeNet(SMALL)
    plain = ShapeNet(ShapeNetConfig(**{**SMALL.to_json(), "look_back": False}))
    own = net.state_dict()
    plain.load_state_dict({name: own[name] for name in plain.state_dict()})
    args = clip_of(3)
    assert torch.equal(net.eval()(*args).rotmats, plain.eval()(*args).rotmats)


def test_the_published_network_does_not_look_back() -> None:
    with pytest.raises(FormatError, match="look_back"):
        ShapeNetConfig(variant="parity", look_back=True)
