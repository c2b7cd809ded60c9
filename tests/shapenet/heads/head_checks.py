"""A small network around a head, labels of every kind, and what every head must do with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from eventhpe.geometry.skeleton import DHP19_15_SKELETON
from eventhpe.shapenet.encoder import resnet18
from eventhpe.shapenet.heads.base import HeadSize, JointLabels, PoseHead, check_labels

J = len(DHP19_15_SKELETON.joints)
PARTS = 14
SIZE = 64


class SmallNet(nn.Module):
    """ResNet-18 of width 8 and a head, for crops of 64 pixels."""

    def __init__(self, build: Callable[[HeadSize, Any], PoseHead], options: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = resnet18(in_channels=3, width=8)
        self.head = build(head_size(self.encoder.out_channels), options)

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        return self.head(self.encoder.maps(frames))


def head_size(in_channels: int = 64, size: int = SIZE) -> HeadSize:
    return HeadSize(DHP19_15_SKELETON, in_channels, size)


def random_labels(B: int = 4, *, size: int = SIZE, seed: int = 0) -> JointLabels:
    """Every joint known and on the crop."""
    generator = torch.Generator().manual_seed(seed)
    uv = size * torch.rand(B, J, 2, generator=generator) - 0.5
    xyz = 1.2 * torch.rand(B, J, 3, generator=generator) - 0.6
    order = torch.randint(-1, 2, (B, PARTS), generator=generator)
    known = torch.ones(B, J, dtype=torch.bool)
    return JointLabels(uv, known, xyz, known.clone(), order, torch.ones(B, PARTS, dtype=torch.bool))


def unknown_labels(B: int = 4) -> JointLabels:
    """Nothing is known, and what stands there is NaN."""
    labels = random_labels(B)
    nothing = torch.zeros_like(labels.known)
    return labels._replace(
        uv=torch.full_like(labels.uv, float("nan")),
        known=nothing,
        xyz=torch.full_like(labels.xyz, float("nan")),
        known3d=nothing,
        order_known=torch.zeros_like(labels.order_known),
    )


def frames(B: int = 4, seed: int = 1) -> Tensor:
    return torch.rand(B, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def check_training(net: SmallNet) -> None:
    """Two steps on one batch reduce every term of the loss; every term reaches the encoder's first layer."""
    x, labels = frames(), random_labels()
    check_labels(labels, net.head.size)
    first = net.encoder.conv1.weight
    for name, term in net.head.losses(net(x), labels).items():
        assert term.shape == () and term.dtype == torch.float32
        (gradient,) = torch.autograd.grad(term, first, retain_graph=True)
        assert torch.isfinite(gradient).all() and gradient.abs().max() > 0, name
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-4)
    values = []
    for _ in range(3):
        terms = net.head.losses(net(x), labels)
        values.append({name: term.item() for name, term in terms.items()})
        optimiser.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimiser.step()
    assert all(values[-1][name] < values[0][name] for name in values[0]), values


def check_unknown(net: SmallNet) -> None:
    """A batch in which nothing is known, NaN in its place: zero loss, zero gradients."""
    net.zero_grad(set_to_none=True)
    terms = net.head.losses(net(frames()), unknown_labels())
    for term in terms.values():
        assert term.item() == 0 and term.requires_grad
    torch.stack(list(terms.values())).sum().backward()
    gradients = [p.grad for p in net.parameters() if p.grad is not None]
    assert gradients and all((g == 0).all() for g in gradients)


def check_unknown_joint(head: PoseHead, maps: dict[str, Tensor]) -> None:
    """A joint that is not known does not change the loss and gets no gradient, even if NaN stands there."""
    labels = random_labels(len(next(iter(maps.values()))))
    known = labels.known.clone()
    known[:, 3] = False
    uv, xyz = labels.uv.clone(), labels.xyz.clone()
    uv[:, 3], xyz[:, 3] = float("nan"), float("nan")
    maps = {name: m.detach().requires_grad_() for name, m in maps.items()}
    with_nan = head.losses(maps, labels._replace(uv=uv, xyz=xyz, known=known, known3d=known))
    without = head.losses(maps, labels._replace(known=known, known3d=known))
    for name, term in with_nan.items():
        assert torch.isfinite(term) and torch.equal(term, without[name])
    torch.stack(list(with_nan.values())).sum().backward()
    for m in maps.values():
        assert m.grad is not None
        assert (m.grad[:, 3] == 0).all() and m.grad[:, 4].abs().max() > 0


def check_single(net: SmallNet) -> None:
    """A batch of one gives in evaluation what it gives within a larger batch."""
    net.eval()
    with torch.no_grad():
        several, one = net.head.decode(net(frames())), net.head.decode(net(frames()[:1]))
        loss = net.head.losses(net(frames()[:1]), random_labels(1))
    assert one.uv.shape == (1, J, 2) and one.confidence.shape == (1, J)
    torch.testing.assert_close(one.uv, several.uv[:1], atol=1e-3, rtol=1e-4)
    assert (one.confidence >= 0).all() and (one.confidence <= 1).all()
    assert all(torch.isfinite(term) for term in loss.values())
    net.train()


def check_low_precision(head: PoseHead, maps: dict[str, Tensor]) -> None:
    """Of bfloat16 maps under autocast, terms and joints are float32 and what full precision makes of them."""
    labels = random_labels(len(next(iter(maps.values()))))
    coarse = {name: m.detach().bfloat16() for name, m in maps.items()}
    full = {name: m.float() for name, m in coarse.items()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low, decoded = head.losses(coarse, labels), head.decode(coarse)
    assert decoded.uv.dtype == torch.float32 and torch.equal(decoded.uv, head.decode(full).uv)
    for name, term in head.losses(full, labels).items():
        assert low[name].dtype == torch.float32 and torch.equal(low[name], term)
