"""SimDR: labels, divergence, read-out, flip test and the head."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from eventhpe.errors import ShapeError
from eventhpe.geometry.skeleton import DHP19_15_SKELETON
from eventhpe.shapenet.heads.simdr import SimDRHead, SimDROptions
from eventhpe.shapenet.heads.simdr_codec import (
    AxisLabels,
    axis_targets,
    bins_to_depth,
    decode_axis,
    decode_simdr,
    depth_to_bins,
    mirror_bins,
    simdr_loss,
    simdr_targets,
)
from tests.shapenet.heads import head_checks as checks

KINDS = {
    "gaussian": AxisLabels(sigma=4.0),
    "sharp": AxisLabels(sigma=0.3),
    "rounded": AxisLabels(sigma=6.0, rounded=True),
    "published": AxisLabels(sigma=4.0, renormalise=False),
    "onehot": AxisLabels(sigma=None, smoothing=0.1),
    "plain": AxisLabels(sigma=None, smoothing=0.0),
}


def _all(*shape: int) -> Tensor:
    return torch.ones(*shape, dtype=torch.bool)


def _on_crop(n: int = 500, size: int = 64) -> Tensor:
    return size * torch.rand(1, n, 2, generator=torch.Generator().manual_seed(2)) - 0.5


@pytest.mark.parametrize("k", [1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("kind", KINDS)
def test_read_back_within_half_a_bin(kind: str, k: float) -> None:
    uv = _on_crop()
    x, y, weight = simdr_targets(uv, _all(1, 500), size=64, k=k, labels=KINDS[kind])
    assert x.shape == y.shape == (1, 500, round(64 * k)) and weight.mean() > 0.97
    back, _ = decode_simdr(x.clamp(min=1e-30).log(), y.clamp(min=1e-30).log(), k=k)
    error = (back - uv).abs()[weight > 0]
    on_bins = ((uv >= 0) & (uv <= 64 - 1 / k)).all(-1)[weight > 0]
    assert error[on_bins].max() <= 0.5 / k + 1e-4
    if kind != "published":  # whose labels count beyond the bins too
        assert error.max() <= 0.5 / k + 1e-4


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "published"])
def test_labels_sum_to_one_also_at_the_border(kind: str) -> None:
    x, y, weight = simdr_targets(_on_crop(), _all(1, 500), size=64, k=2.0, labels=KINDS[kind])
    for label in (x, y):
        torch.testing.assert_close(label.sum(-1), weight, atol=1e-5, rtol=0)
    corner = torch.tensor([[[0.0, 63.0]]])
    x, y, _ = simdr_targets(corner, _all(1, 1), size=64, k=2.0, labels=KINDS[kind])
    assert x.sum().item() == pytest.approx(1, abs=1e-5) and y.sum().item() == pytest.approx(1, abs=1e-5)


def test_published_labels_are_the_density_that_the_border_cuts() -> None:
    position = torch.tensor([[50.25, 0.0, -11.9, -12.1, 138.9, 140.1]])
    target, weight = axis_targets(position, _all(1, 6), bins=128, labels=KINDS["published"])
    peak = 1 / (4 * math.sqrt(2 * math.pi))
    assert float(target[0, 0, 50]) == pytest.approx(peak * math.exp(-(0.25**2) / 32), rel=1e-5)
    assert float(target[0, 0].sum()) == pytest.approx(1, abs=1e-5)
    assert float(target[0, 1].sum()) == pytest.approx(0.5 + peak / 2, abs=1e-3), (
        "half of it, and half the peak"
    )
    assert weight.tolist() == [[1, 1, 1, 0, 1, 0]]
    assert (target[0, 3] == 0).all()


def test_rounded_labels_are_symmetric_about_a_bin_and_the_others_not() -> None:
    position = torch.tensor([[50.3]])
    rounded, _ = axis_targets(position, _all(1, 1), bins=101, labels=KINDS["rounded"])
    exact, _ = axis_targets(position, _all(1, 1), bins=101, labels=AxisLabels(sigma=6.0))
    torch.testing.assert_close(rounded, rounded.flip(-1))
    assert exact[0, 0, 51] > exact[0, 0, 49]


def test_onehot_labels_are_smoothed_over_the_other_bins() -> None:
    target, weight = axis_targets(torch.tensor([[10.4, 127.4]]), _all(1, 2), bins=128, labels=KINDS["onehot"])
    assert weight.tolist() == [[1, 1]]
    assert target[0, 0, 10] == pytest.approx(0.9) and target[0, 1, 127] == pytest.approx(0.9)
    assert target[0, 0, 11] == pytest.approx(0.1 / 127)


@pytest.mark.parametrize("kind", KINDS)
def test_joints_outside_or_unknown_have_no_weight(kind: str) -> None:
    uv = torch.tensor([[[10.0, 10.0], [-20.0, 10.0], [10.0, 90.0], [float("nan"), 10.0], [10.0, 10.0]]])
    known = torch.tensor([[True, True, True, False, False]])
    x, y, weight = simdr_targets(uv, known, size=64, k=2.0, labels=KINDS[kind])
    assert weight.tolist() == [[1, 0, 0, 0, 0]]
    assert torch.isfinite(x).all() and torch.isfinite(y).all()
    assert (x[0, 3:] == 0).all()


def _peer_case() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Inputs of the golden case, by formula."""
    x = torch.sin(0.13 * torch.arange(2 * 4 * 48, dtype=torch.float64)).view(2, 4, 48)
    y = torch.cos(0.09 * torch.arange(2 * 4 * 64, dtype=torch.float64)).view(2, 4, 64)
    j, b = torch.arange(4.0)[None], torch.arange(2.0)[:, None]
    published = AxisLabels(sigma=6.0, renormalise=False)
    target_x, _ = axis_targets(5 + 7 * j + 3 * b, _all(2, 4), bins=48, labels=published)
    target_y, _ = axis_targets(9 + 11 * j + 2 * b, _all(2, 4), bins=64, labels=published)
    return x, y, target_x, target_y, torch.tensor([[1.0, 1, 0, 1], [1, 0, 1, 1]])


def test_the_loss_is_that_of_the_authors() -> None:
    """Golden: KLDiscretLoss of SimDR (lib/core/loss.py), labels not renormalised."""
    x, y, target_x, target_y, weight = _peer_case()
    sums = [[0.820619941, 0.981499255, 0.999429584, 0.99982816]]
    sums += [[0.921949804, 0.995149732, 0.999902606, 0.99898839]]
    torch.testing.assert_close(target_x.sum(-1), torch.tensor(sums), atol=1e-6, rtol=0)
    loss = simdr_loss(x, target_x, weight, reduction="mean") + simdr_loss(
        y, target_y, weight, reduction="mean"
    )
    assert float(loss) == pytest.approx(0.0185686611, abs=2e-8)


def test_the_three_reductions_differ_by_known_factors() -> None:
    x, _, target, _, weight = _peer_case()
    mean, total, visible = (simdr_loss(x, target, weight, reduction=r) for r in ("mean", "sum", "visible"))
    torch.testing.assert_close(total, mean * 48 * 4)
    torch.testing.assert_close(visible, total * 2 / 6)


@pytest.mark.parametrize("kind", ["gaussian", "onehot"])
def test_the_loss_is_least_at_the_label_where_cross_entropy_is_its_entropy(kind: str) -> None:
    target, weight = axis_targets(torch.tensor([[20.3, 1.0]]), _all(1, 2), bins=64, labels=KINDS[kind])
    best = target.clamp(min=1e-30).log()
    loss = simdr_loss(best, target, weight, reduction="visible")
    assert float(loss) == pytest.approx(0, abs=1e-6)
    entropy = -(target * best).sum(-1).mean()
    cross_entropy = torch.nn.functional.cross_entropy(best[0], target[0])
    torch.testing.assert_close(cross_entropy, entropy)
    noise = torch.randn(best.shape, generator=torch.Generator().manual_seed(0))
    for scale in (0.01, 0.1, 1.0):
        assert simdr_loss(best + scale * noise, target, weight, reduction="visible") > loss
    logits = best.clone().requires_grad_()
    simdr_loss(logits, target, weight, reduction="visible").backward()
    assert logits.grad is not None and logits.grad.abs().max() < 1e-6


def test_a_fresh_network_starts_where_the_source_says() -> None:
    """Flat logits against a Gaussian of sigma 4 in 384 bins: 0.008 by mean of bins, 3.1 by sum."""
    target, weight = axis_targets(torch.tensor([[200.0]]), _all(1, 1), bins=384, labels=KINDS["gaussian"])
    flat = torch.zeros_like(target)
    expected = math.log(384) - math.log(4 * math.sqrt(2 * math.pi * math.e))
    total = float(simdr_loss(flat, target, weight, reduction="sum"))
    assert total == pytest.approx(expected, abs=1e-4) and total == pytest.approx(3.1, abs=0.1)
    assert float(simdr_loss(flat, target, weight, reduction="mean")) == pytest.approx(0.008, abs=5e-4)


def test_the_soft_read_out_sees_between_bins() -> None:
    position = torch.tensor([[20.3, 31.5, 50.9]])
    target, _ = axis_targets(position, _all(1, 3), bins=80, labels=AxisLabels(sigma=2.0))
    soft, score = decode_axis(target.log(), soft=True)
    torch.testing.assert_close(soft, position, atol=1e-4, rtol=0)
    hard, same = decode_axis(target.log())
    torch.testing.assert_close(score, same)
    assert (hard - position).abs().max() > 0.2


@pytest.mark.parametrize("k", [1.0, 2.0, 3.0])
def test_a_mirrored_vector_put_back_is_the_vector(k: float) -> None:
    n = round(32 * k)
    values = torch.arange(n, dtype=torch.float32)
    back = mirror_bins(values, k=k)  # values[i] = i, bin i mirrors to n - k - i
    inside = slice(0, n - round(k) + 1)
    torch.testing.assert_close(back[inside], n - k - values[inside])
    if k == 2.0:  # as published: reversed, then shifted by one bin
        torch.testing.assert_close(back[:-1], values.flip(0)[1:])


def test_between_bins_neighbours_are_mixed() -> None:
    values = torch.arange(48.0)
    torch.testing.assert_close(mirror_bins(values, k=1.5)[:46], 48 - 1.5 - values[:46])


@pytest.mark.parametrize("k", [1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("labels", ["gaussian", "onehot"])
def test_the_flip_test_finds_the_same_joints(labels: str, k: float) -> None:
    options = SimDROptions(k=k, labels=labels, sigma=3.0, channels=8, depth_bins=16)
    head, known = SimDRHead(checks.head_size(), options), _all(4, checks.J)
    bins = torch.randint(8, round(64 * k) - 8, (4, checks.J, 2), generator=torch.Generator().manual_seed(1))
    uv, depth = bins / k, checks.random_labels().xyz[..., 2]
    pairs = torch.from_numpy(DHP19_15_SKELETON.flip)
    mirrored = uv[:, pairs] * torch.tensor([-1.0, 1.0]) + torch.tensor([63.0, 0.0])

    def maps(uv: Tensor, depth: Tensor) -> dict[str, Tensor]:
        x, y, _ = simdr_targets(uv, known, size=64, k=k, labels=options.axis_labels(3.0))
        position = depth_to_bins(depth, bins=16, depth_range=1.0)
        z, _ = axis_targets(position, known, bins=16, labels=options.axis_labels(2.0))
        return {"x": x.clamp(min=1e-20).log(), "y": y.clamp(min=1e-20).log(), "z": z.clamp(min=1e-20).log()}

    plain = head.decode(maps(uv, depth))
    both = head.flip(maps(uv, depth), maps(mirrored, depth[:, pairs]))
    torch.testing.assert_close(plain.uv, uv)
    within = 0.5 / k if k == 1.5 and labels == "onehot" else 1e-4  # a half bin cannot be had
    torch.testing.assert_close(both.uv, uv, atol=within + 1e-4, rtol=0)
    assert plain.depth is not None and both.depth is not None
    torch.testing.assert_close(both.depth, plain.depth)
    assert (plain.depth - depth).abs().max() <= 1 / 16 + 1e-5
    assert (plain.confidence > 0.98).all(), "perfect answers score 1"


def test_the_flip_test_averages_what_the_source_says() -> None:
    """Two peaks: with probabilities the sharper vector wins, with logits the larger product."""
    one = torch.tensor([5.0, 0.0, 4.0, 0.0]).repeat(16)[:64].expand(1, checks.J, 64)
    maps = {"x": one.clone(), "y": one.clone()}
    maps["x"][..., 20] = 20.0
    other = {"x": torch.zeros(1, checks.J, 64), "y": one.clone()}
    other["x"][..., 63 - 40] = 30.0
    logits = SimDRHead(checks.head_size(), SimDROptions(k=1, labels="gaussian", channels=8)).flip(maps, other)
    chances = SimDRHead(checks.head_size(), SimDROptions(k=1, labels="onehot", channels=8)).flip(maps, other)
    assert (logits.uv[..., 0] == 40).all()
    assert (chances.uv[..., 0] == 40).all()
    assert float(chances.confidence[0, 0]) == pytest.approx(0.5 / 0.9, abs=1e-3)


def test_the_score_is_the_worse_axis_for_gaussians_and_the_better_for_onehot() -> None:
    sure, unsure = torch.zeros(1, checks.J, 128), torch.zeros(1, checks.J, 128)
    sure[..., 30] = 50.0
    maps = {"x": sure, "y": unsure}
    gaussian = SimDRHead(checks.head_size(), SimDROptions(labels="gaussian", channels=8)).decode(maps)
    onehot = SimDRHead(checks.head_size(), SimDROptions(labels="onehot", channels=8)).decode(maps)
    peak = 1 / (4 * math.sqrt(2 * math.pi))
    torch.testing.assert_close(gaussian.confidence, torch.full((1, checks.J), 1 / 128 / peak))
    assert (onehot.confidence == 1).all()


def test_depth_bins_tile_the_range() -> None:
    centres = bins_to_depth(torch.arange(4.0), bins=4, depth_range=1.0)
    assert centres.tolist() == [-0.75, -0.25, 0.25, 0.75]
    depth = torch.linspace(-1, 1, 33)
    torch.testing.assert_close(
        bins_to_depth(depth_to_bins(depth, bins=64, depth_range=1.0), bins=64, depth_range=1.0), depth
    )


def test_depth_counts_where_it_is_known_and_in_range() -> None:
    head = SimDRHead(checks.head_size(), SimDROptions(channels=8, depth_bins=32))
    labels = checks.random_labels()
    maps = {name: m.detach() for name, m in head(torch.rand(4, 64, 2, 2)).items()}
    without = head.losses(maps, labels._replace(known3d=torch.zeros_like(labels.known)))
    assert without["simdr_z"] == 0 and without["simdr_x"] > 0
    far = labels.xyz.clone()
    far[:, 2:, 2] = 1.5
    first = torch.zeros_like(labels.known)
    first[:, :2] = True
    torch.testing.assert_close(
        head.losses(maps, labels._replace(xyz=far))["simdr_z"],
        head.losses(maps, labels._replace(known3d=first))["simdr_z"],
    )
    only3d = head.losses(maps, labels._replace(known=torch.zeros_like(labels.known)))
    assert only3d["simdr_x"] == 0 and only3d["simdr_z"] > 0


@pytest.mark.parametrize(
    "options",
    [
        SimDROptions(channels=16, depth_bins=16),
        SimDROptions(channels=16, labels="onehot", k=1.0, reduction="sum"),
        SimDROptions(channels=16, k=1.5, reduction="mean", renormalise=False, decoding="soft"),
        SimDROptions(upsample_free=True, maps_per_joint=8, rounded=True),
    ],
)
def test_head_learns(options: SimDROptions) -> None:
    net = checks.SmallNet(SimDRHead, options)
    maps = net(checks.frames())
    assert maps["x"].shape == maps["y"].shape == (4, checks.J, options.bins(64))
    assert ("z" in maps) == bool(options.depth_bins)
    checks.check_training(net)
    checks.check_unknown(net)
    checks.check_single(net)
    checks.check_unknown_joint(net.head, maps)
    checks.check_low_precision(net.head, maps)
    depth = net.head.decode(maps).depth
    assert (depth is not None) == bool(options.depth_bins)


def test_parameters() -> None:
    """Beyond decoder and 1x1: two layers of (S/4)^2 to S k; in the paper's 256 x 192 that makes 2.75 M."""
    head = SimDRHead(checks.head_size(64, 128), SimDROptions(k=2, channels=16, depth_bins=64))
    by_axis = [sum(p.numel() for p in layer.parameters()) for layer in head.axes.values()]
    assert by_axis == [(32 * 32 + 1) * 256, (32 * 32 + 1) * 256, (32 * 32 + 1) * 64]
    assert (64 * 48 + 1) * 2 * (192 + 256) == pytest.approx(2.8e6, rel=0.02)
    free = SimDRHead(checks.head_size(2048, 128), SimDROptions(upsample_free=True))
    assert free.vectors.length == 512, "as in the paper at 128 x 128"
    assert sum(p.numel() for p in free.vectors.parameters()) == (2048 + 1) * 32 * checks.J


def test_wrong_options() -> None:
    for options in (
        {"labels": "square"}, {"reduction": "max"}, {"decoding": "dark"}, {"k": 0.5}, {"smoothing": 1.0},
        {"sigma": 0.0}, {"depth_sigma": -1.0}, {"depth_range": 0.0}, {"depth_bins": 1}, {"depth_bins": -4},
        {"channels": 0}, {"maps_per_joint": 0},
    ):  # fmt: skip
        with pytest.raises(ShapeError):
            SimDROptions(**options)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="no whole number of bins"):
        SimDRHead(checks.head_size(), SimDROptions(k=1.3))
