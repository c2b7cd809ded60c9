"""Jigsaw puzzles of HSJP: exact shuffles, targets where patches are, blank patches, transfer, training."""

from __future__ import annotations

import itertools
import json
import math

import pytest
import torch
from torch import nn

from eventhpe.errors import ShapeError
from eventhpe.geometry.skeleton import DHP19_SKELETON
from eventhpe.shapenet.encoder import resnet18
from eventhpe.shapenet.heads.base import HeadSize
from eventhpe.shapenet.heads.heatmap import HeatmapHead, HeatmapOptions
from eventhpe.shapenet.hsjp import HSJPConfig, HSJPNet, Puzzle, make_puzzle, transfer
from eventhpe.shapenet.jigsaw import (
    OCCUPIED_RMS,
    crop_patches,
    draw_orders,
    jigsaw_loss,
    jigsaw_targets,
    join_patches,
    live_patches,
    normalise_patches,
    predicted_slots,
    shuffle,
    slot_accuracy,
    slot_centres,
    slots_of,
    split_patches,
    unshuffle,
)

TINY = HSJPConfig(size=64, rows=2, columns=2, in_channels=3, width=8, channels=16)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def crops(batch: int = 4, seed: int = 0) -> torch.Tensor:
    """Sparse, non-negative, like event counts."""
    x = torch.rand(batch, 3, 64, 64, generator=seeded(seed))
    return torch.where(x > 0.8, x, 0.0)


def tiny_net(seed: int = 0, **changes) -> HSJPNet:
    torch.manual_seed(seed)
    return HSJPNet(HSJPConfig(**(TINY.to_json() | changes)))


class PoseLike(nn.Module):
    """An encoder and a head, as PoseNet has them."""

    def __init__(self, *, channels: int = 16, width: int = 8) -> None:
        super().__init__()
        self.encoder = resnet18(in_channels=3, width=width)
        size = HeadSize(DHP19_SKELETON, self.encoder.out_channels, 64)
        self.head = HeatmapHead(size, HeatmapOptions(channels=channels))


# ---------------------------------------------------------------- shuffling


@pytest.mark.parametrize("grid", [(4, 4), (2, 8), (1, 3), (3, 1)])
def test_unshuffling_rebuilds_exactly(grid):
    x = torch.rand(5, 3, 48, 48, generator=seeded())
    order = draw_orders(5, grid[0] * grid[1], generator=seeded(1))
    shuffled = shuffle(x, order, grid)
    assert torch.equal(unshuffle(shuffled, order, grid), x)
    assert not torch.equal(shuffled, x)
    assert torch.equal(join_patches(split_patches(x, grid), grid), x)
    assert torch.equal(slots_of(slots_of(order)), order)


def test_slot_s_shows_patch_order_s():
    x = torch.arange(6.0).view(1, 1, 2, 3).repeat_interleave(4, 2).repeat_interleave(2, 3)  # patch k holds k
    order = torch.tensor([[4, 0, 5, 2, 1, 3]])
    shown = split_patches(shuffle(x, order, (2, 3)), (2, 3))
    assert shown[0, :, 0, 0, 0].tolist() == order[0].tolist()
    assert shown.std((2, 3, 4)).max() == 0
    assert slots_of(order).tolist() == [[1, 4, 3, 5, 0, 2]]


def test_every_order_is_drawn_equally_often():
    drawn = draw_orders(6000, 3, generator=seeded())
    found = {tuple(order): 0 for order in itertools.permutations(range(3))}
    for order in drawn.tolist():
        found[tuple(order)] += 1
    assert min(found.values()) > 1000 - 5 * math.sqrt(1000), found
    assert torch.equal(drawn, draw_orders(6000, 3, generator=seeded()))


@pytest.mark.parametrize("grid", [(4, 4), (3, 2)])
def test_targets_peak_where_patches_are(grid):
    n = grid[0] * grid[1]
    order = draw_orders(3, n, generator=seeded(2))
    targets = jigsaw_targets(order, grid, size=(24, 24), sigma=1.0)
    assert targets.shape == (3, n, 24, 24)
    assert torch.equal(predicted_slots(targets, grid), slots_of(order))
    everywhere = torch.ones(3, n, dtype=torch.bool)
    assert slot_accuracy(targets, order, everywhere, grid) == 1.0
    # Un-shuffling by the maps' own peaks rebuilds the picture.
    x = torch.rand(3, 2, 24, 24, generator=seeded())
    seen = slots_of(predicted_slots(targets, grid))
    assert torch.equal(unshuffle(shuffle(x, order, grid), seen, grid), x)


def test_targets_by_hand():
    """2 x 2 patches on a 4 x 4 map: slot 0 is centred at (0.5, 0.5), between four cells."""
    assert slot_centres((2, 2), (4, 4)).tolist() == [[0.5, 0.5], [2.5, 0.5], [0.5, 2.5], [2.5, 2.5]]
    order = torch.tensor([[3, 1, 0, 2]])  # patch 0 sits in slot 2: lower left
    target = jigsaw_targets(order, (2, 2), size=(4, 4), sigma=2.0)[0, 0]
    torch.testing.assert_close(target[2, 0], torch.tensor(math.exp(-0.5 / 8)))
    torch.testing.assert_close(target[0, 3], torch.tensor(math.exp(-(2.5**2 + 2.5**2) / 8)))


# ---------------------------------------------------------------- blank patches


def test_blank_patches_are_not_live():
    counts = torch.tensor([[100, 4, 5, 91], [0, 0, 0, 0], [7, 7, 7, 7]])
    assert live_patches(counts, 0.1).tolist() == [
        [True, False, True, True], [False] * 4, [True] * 4
    ]  # fmt: skip
    assert live_patches(counts, 0.0)[0].all() and not live_patches(counts, 0.0)[1].any()


def test_blank_patches_give_no_gradient():
    maps = torch.rand(2, 4, 8, 8, generator=seeded(), requires_grad=True)
    order = draw_orders(2, 4, generator=seeded())
    live = torch.tensor([[True, False, True, True], [False] * 4])
    targets = jigsaw_targets(order, (2, 2), size=(8, 8), sigma=1.0)
    loss = jigsaw_loss(maps, targets, live)
    loss.backward()
    assert maps.grad is not None
    assert (maps.grad.abs().sum((2, 3)) > 0).tolist() == live.tolist()
    expected = ((maps - targets) ** 2)[live].mean()
    torch.testing.assert_close(loss, expected)


def test_a_batch_of_blank_crops_has_no_loss_but_a_gradient():
    net = tiny_net()
    puzzle = make_puzzle(torch.zeros(1, 3, 64, 64), torch.zeros(1, 4, dtype=torch.int64), TINY)
    loss = net.losses(net(puzzle.frames), puzzle)["jigsaw"]
    loss.backward()
    assert loss == 0 and all(torch.isfinite(p.grad).all() for p in net.parameters())
    assert net.accuracy(net(puzzle.frames), puzzle).isnan()


# ---------------------------------------------------------------- shortcuts


def test_levels_of_patches_are_taken_away():
    x = crops()
    x[:, :, :32, :32] *= 0.05  # far fewer events in the first patch
    x[:, :, 32:, 32:] = 0.0
    even = split_patches(normalise_patches(x, (2, 2)), (2, 2))
    occupied = even != 0
    rms = (even.square().sum((2, 3, 4)) / occupied.sum((2, 3, 4)).clamp(min=1)).sqrt()
    torch.testing.assert_close(rms[:, :3], torch.full((4, 3), OCCUPIED_RMS), atol=0.02, rtol=0)
    assert torch.equal(occupied, split_patches(x, (2, 2)) != 0), "empty cells stay empty"
    assert even.max() <= 1 and torch.isfinite(even).all()
    standard = split_patches(normalise_patches(x, (2, 2), "standard"), (2, 2))
    torch.testing.assert_close(standard.mean((2, 3, 4)), torch.zeros(4, 4), atol=1e-5, rtol=0)
    torch.testing.assert_close(
        standard[:, :3].std((2, 3, 4), correction=0), torch.ones(4, 3), atol=1e-3, rtol=0
    )
    assert normalise_patches(x, (2, 2), "off") is x


def test_parts_of_patches_stay_in_their_patch():
    x = torch.arange(4.0).view(1, 1, 2, 2).repeat_interleave(16, 2).repeat_interleave(16, 3)
    torch.testing.assert_close(crop_patches(x, (2, 2), 0.8, generator=seeded()), x)
    ramp = torch.linspace(0, 1, 32).expand(1, 1, 32, 32)
    cut = split_patches(crop_patches(ramp, (2, 2), 0.5, generator=seeded()), (2, 2))
    span = cut[0, :, 0, 0, -1] - cut[0, :, 0, 0, 0]
    torch.testing.assert_close(span, torch.full((4,), 0.25), atol=0.03, rtol=0)  # half of a patch's half
    assert cut[0, 0].min() != cut[0, 2].min(), "every patch is cut elsewhere"
    assert crop_patches(ramp, (2, 2), 1.0) is ramp


def test_equal_seeds_give_equal_puzzles():
    counts = torch.full((4, 4), 9)
    a, b = (make_puzzle(crops(), counts, TINY, generator=seeded(3)) for _ in range(2))
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    c = make_puzzle(crops(), counts, TINY, generator=seeded(4))
    assert not torch.equal(a.order, c.order)


# ---------------------------------------------------------------- network


def test_two_training_steps():
    net = tiny_net()
    before = {name: value.clone() for name, value in net.named_parameters()}
    puzzle = make_puzzle(crops(), torch.full((4, 4), 10), net.config, generator=seeded())
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    losses = []
    for _ in range(3):
        maps = net(puzzle.frames)
        assert maps.shape == (4, 4, 16, 16)
        loss = net.losses(maps, puzzle)["jigsaw"]
        optimizer.zero_grad()
        loss.backward()
        assert all(p.grad is not None and p.grad.any() for p in net.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[2] < losses[1] < losses[0]
    assert all(not torch.equal(value, before[name]) for name, value in net.named_parameters())


def test_loss_is_float32_under_autocast():
    net = tiny_net()
    puzzle = make_puzzle(crops(2), torch.full((2, 4), 5), TINY, generator=seeded())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        maps = net(puzzle.frames)
        loss = net.losses(maps, puzzle)["jigsaw"]
    assert maps.dtype == torch.bfloat16 and loss.dtype == torch.float32 and torch.isfinite(loss)


@pytest.mark.parametrize("what", ["encoder", "all_but_last"])
def test_transfer(what):
    torch.manual_seed(1)
    source, target = tiny_net(), PoseLike()
    source.encoder.bn1.running_mean.fill_(0.3)
    last = [p.clone() for p in target.head.final.parameters()]
    decoder = target.head.decoder[0].weight.clone()
    filled = transfer(source, target, what)
    assert filled == (("encoder",) if what == "encoder" else ("encoder", "head.decoder"))
    for name, value in source.encoder.state_dict().items():
        assert torch.equal(target.encoder.state_dict()[name], value), name
    assert torch.equal(target.head.decoder[0].weight, source.decoder[0].weight) == (what == "all_but_last")
    assert torch.equal(target.head.decoder[0].weight, decoder) == (what == "encoder")
    assert all(torch.equal(a, b) for a, b in zip(target.head.final.parameters(), last, strict=True))
    with torch.no_grad():
        target.encoder.conv1.weight.zero_()
    assert source.encoder.conv1.weight.any(), "copied, not shared"


def test_transfer_into_what_does_not_fit():
    source = tiny_net()
    with pytest.raises(ShapeError, match="encoder has other sizes"):
        transfer(source, PoseLike(width=16))
    whole = PoseLike(channels=24)
    before = whole.encoder.conv1.weight.clone()
    with pytest.raises(ShapeError, match=r"head\.decoder has other sizes"):
        transfer(source, whole, "all_but_last")
    assert torch.equal(whole.encoder.conv1.weight, before), "nothing was copied"
    with pytest.raises(ShapeError, match="no encoder"):
        transfer(source, nn.Linear(2, 2))
    del whole.head
    with pytest.raises(ShapeError, match=r"no head\.decoder"):
        transfer(source, whole, "all_but_last")
    with pytest.raises(ShapeError, match="transfer must be"):
        transfer(source, PoseLike(), "decoder")  # type: ignore[arg-type]


# ---------------------------------------------------------------- config and errors


def test_config_survives_json():
    assert HSJPConfig.from_json(json.loads(json.dumps(TINY.to_json()))) == TINY
    assert TINY.num_patches == 4 and TINY.grid == (2, 2)


@pytest.mark.parametrize(
    "changes", [
        {"size": 60}, {"rows": 0}, {"rows": 3}, {"rows": 1, "columns": 1}, {"sigma": 0.0}, {"keep": 0.0},
        {"keep": 1.2}, {"live_share": -0.1}, {"encoder": "vgg"}, {"normalise": "mean"}, {"width": 0},
    ],
)  # fmt: skip
def test_config_out_of_range(changes):
    with pytest.raises(ShapeError, match=next(iter(changes))):
        HSJPConfig(**(TINY.to_json() | changes))


def test_wrong_shapes():
    net = tiny_net()
    with pytest.raises(ShapeError, match=r"frames must be \(B, 3, 64, 64\)"):
        net(torch.zeros(1, 2, 64, 64))
    with pytest.raises(ShapeError, match=r"counts must be \(1, 4\)"):
        make_puzzle(torch.zeros(1, 3, 64, 64), torch.zeros(1, 9), TINY)
    with pytest.raises(ShapeError, match="equal patches"):
        split_patches(torch.zeros(1, 1, 10, 10), (3, 3))
    with pytest.raises(ShapeError, match="joins"):
        join_patches(torch.zeros(1, 3, 1, 2, 2), (2, 2))
    with pytest.raises(ShapeError, match="orders must be"):
        shuffle(torch.zeros(1, 1, 8, 8), torch.zeros(1, 3, dtype=torch.int64), (2, 2))
    with pytest.raises(ShapeError, match="maps must be"):
        predicted_slots(torch.zeros(1, 3, 8, 8), (2, 2))
    with pytest.raises(ShapeError, match="share of a patch"):
        crop_patches(torch.zeros(1, 1, 8, 8), (2, 2), 0.0)
    with pytest.raises(ShapeError, match="normalised by"):
        normalise_patches(torch.zeros(1, 1, 8, 8), (2, 2), "rms")  # type: ignore[arg-type]
    assert isinstance(make_puzzle(crops(1), torch.ones(1, 4), TINY), Puzzle), "a batch of one works"
