"""Heatmaps: targets, loss, read-outs and the head."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from eventhpe.errors import ShapeError
from eventhpe.geometry.skeleton import DHP19_15_SKELETON
from eventhpe.shapenet.heads.coordinates import cells_to_pixels, pixels_to_cells
from eventhpe.shapenet.heads.heatmap import (
    HeatmapHead,
    HeatmapOptions,
    gaussian_maps,
    heatmap_loss,
    heatmap_targets,
)
from eventhpe.shapenet.heads.heatmap_decoding import decode_maps
from tests.shapenet.heads import head_checks as checks


def test_cells_tile_the_crop_and_mirror_with_it() -> None:
    cells = torch.arange(16.0)
    pixels = cells_to_pixels(cells, 4)
    assert pixels[:2].tolist() == [1.5, 5.5] and pixels[-1] == 61.5
    torch.testing.assert_close(pixels_to_cells(pixels, 4), cells)
    torch.testing.assert_close(63 - pixels, pixels.flip(0))


def test_gaussians_are_those_of_higherhrnet() -> None:
    """Golden: HeatmapGenerator of SWAHR, 64 cells, sigma 2, joints cut down to whole cells, reach 7 cells."""
    centres = torch.tensor([[20.7, 31.2], [63.0, 0.0]]).floor()
    maps = gaussian_maps(centres, height=64, width=64, sigma=2.0, radius=7)
    assert maps.amax((1, 2)).tolist() == [1.0, 1.0]
    assert maps.sum((1, 2)).tolist() == pytest.approx([25.1251312, 9.03753152], abs=2e-6)
    assert float(maps.square().sum().sqrt()) == pytest.approx(4.21074997, abs=1e-6)
    assert float(maps[0, 31, 22]) == pytest.approx(0.606530666, abs=1e-7)
    assert float(maps[0, 34, 25]) == pytest.approx(0.0142642343, abs=1e-8)
    assert maps.flatten()[7919] == 0 and maps.flatten()[4916] == 0


def test_published_targets_sit_on_the_nearest_cell_and_end_at_three_sigma() -> None:
    uv = cells_to_pixels(torch.tensor([[[7.4, 8.6]]]), 4)
    maps, weight = heatmap_targets(uv, torch.ones(1, 1, dtype=torch.bool), size=64, sigma=1.0, subcell=False)
    assert weight.item() == 1 and maps[0, 0, 9, 7] == 1
    rows, columns = maps[0, 0].nonzero().unbind(-1)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (6, 12, 4, 10)
    exact, _ = heatmap_targets(uv, torch.ones(1, 1, dtype=torch.bool), size=64, sigma=1.0)
    expected = torch.exp(torch.tensor(-(0.4**2 + 0.4**2) / 2))
    torch.testing.assert_close(exact[0, 0, 9, 7], expected)


@pytest.mark.parametrize("subcell", [True, False])
def test_targets_far_outside_have_no_weight(subcell: bool) -> None:
    """sigma 2 cells reach 24 pixels."""
    uv = torch.tensor([[[30.0, 30.0], [-18.0, 30.0], [-28.0, 30.0], [30.0, 92.0], [float("nan"), 5.0]]])
    known = torch.tensor([[True, True, True, True, False]])
    maps, weight = heatmap_targets(uv, known, size=64, sigma=2.0, subcell=subcell)
    assert weight.tolist() == [[1, 1, 0, 0, 0]]
    assert (maps[0, 2:] == 0).all() and maps[0, 1].max() < 0.5
    assert (maps[0, 1].amax(0).argmax() == 0) and maps[0, 1].max() > 0


def test_loss_by_hand() -> None:
    maps, targets = torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4)
    weight = torch.tensor([[1.0, 0, 1], [0, 0, 1]])
    assert float(heatmap_loss(maps, targets, weight, reduction="mean")) == pytest.approx(0.5 * 3 / 6)
    assert float(heatmap_loss(maps, targets, weight, reduction="visible")) == pytest.approx(16)
    assert float(heatmap_loss(targets, targets, weight, reduction="visible")) == 0


def _read_back(decoding: str, *, size: int = 128, sigma: float = 2.0, margin: float = -0.5) -> Tensor:
    """(1, N, 2) absolute errors in cells of joints on the crop, at least `margin` pixels inside."""
    span = size - 1 - 2 * margin
    uv = margin + span * torch.rand(1, 400, 2, generator=torch.Generator().manual_seed(3))
    targets, weight = heatmap_targets(uv, torch.ones(1, 400, dtype=torch.bool), size=size, sigma=sigma)
    assert (weight == 1).all()
    cells, _ = decode_maps(targets, decoding, sigma=sigma)
    return (cells - pixels_to_cells(uv, 4)).abs()


@pytest.mark.parametrize("size", [64, 128])
def test_argmax_is_within_half_a_cell_and_the_quarter_within_a_quarter(size: int) -> None:
    assert _read_back("argmax", size=size).max() <= 0.5 + 1e-4
    assert _read_back("quarter", size=size, margin=6).max() <= 0.25 + 1e-4
    plain, quarter = _read_back("argmax", size=size, margin=6), _read_back("quarter", size=size, margin=6)
    assert quarter.mean() < 0.55 * plain.mean()
    assert float(plain.norm(dim=-1).mean()) == pytest.approx(0.383, abs=0.02), "the floor of quantisation"


def test_dark_is_exact_inside_and_the_fit_up_to_the_border() -> None:
    assert _read_back("dark", margin=28).max() < 1e-3
    assert _read_back("fit", margin=28).max() < 1e-4
    assert _read_back("fit").max() < 0.01
    assert _read_back("fit", size=64).max() < 0.01
    assert _read_back("dark").max() > 0.2, "smoothing distorts at the border: the reason for the fit"


def test_refinements_help_on_noisy_maps() -> None:
    generator = torch.Generator().manual_seed(0)
    uv = 6 + 115 * torch.rand(1, 400, 2, generator=generator)
    maps, _ = heatmap_targets(uv, torch.ones(1, 400, dtype=torch.bool), size=128, sigma=2.0)
    maps = 0.8 * maps + 0.02 * torch.randn(maps.shape, generator=generator)
    error = {
        d: float((decode_maps(maps, d, sigma=2.0)[0] - pixels_to_cells(uv, 4)).norm(dim=-1).mean())
        for d in ("argmax", "quarter", "dark", "fit")
    }
    assert error["quarter"] < 0.8 * error["argmax"]
    assert error["dark"] < 0.8 * error["argmax"]
    assert error["fit"] < 0.7 * error["quarter"]


@pytest.mark.parametrize("decoding", ["argmax", "quarter", "dark", "fit"])
@pytest.mark.parametrize("value", [0.0, 1.0, -1.0])
def test_flat_maps_and_peaks_in_the_corner_stay_on_the_map(decoding: str, value: float) -> None:
    maps = torch.full((1, 2, 16, 16), value)
    maps[0, 1, 15, 15] = 2.0
    cells, peak = decode_maps(maps, decoding, sigma=2.0)
    assert torch.isfinite(cells).all() and peak.tolist() == [[value, 2.0]]
    assert (cells >= -0.5).all() and (cells <= 15.5).all()
    torch.testing.assert_close(cells[0, 1], torch.tensor([15.0, 15.0]), atol=0.5, rtol=0)


def test_wrong_options() -> None:
    for options in ({"decoding": "median"}, {"reduction": "max"}, {"sigma": 0.0}, {"channels": 0}):
        with pytest.raises(ShapeError):
            HeatmapOptions(**options)
    with pytest.raises(ShapeError, match="argmax, quarter, dark, fit"):
        decode_maps(torch.zeros(1, 1, 8, 8), "median", sigma=2.0)
    with pytest.raises(ShapeError, match="h, w >= 3"):
        decode_maps(torch.zeros(1, 1, 2, 8), "argmax", sigma=2.0)


@pytest.mark.parametrize("reduction", ["mean", "visible"])
def test_head_learns(reduction: str) -> None:
    net = checks.SmallNet(HeatmapHead, HeatmapOptions(channels=16, reduction=reduction))
    assert net(checks.frames())["heatmap"].shape == (4, checks.J, 16, 16)
    checks.check_training(net)
    checks.check_unknown(net)
    checks.check_single(net)
    checks.check_unknown_joint(net.head, net(checks.frames()))
    checks.check_low_precision(net.head, net(checks.frames()))


def test_head_decodes_its_own_targets_and_their_mirror_image() -> None:
    head = HeatmapHead(checks.head_size(), HeatmapOptions(decoding="fit", channels=8))
    labels = checks.random_labels()
    pairs = torch.from_numpy(DHP19_15_SKELETON.flip)
    mirrored = labels.uv[:, pairs] * torch.tensor([-1.0, 1.0]) + torch.tensor([63.0, 0.0])
    maps = {"heatmap": heatmap_targets(labels.uv, labels.known, size=64, sigma=2.0)[0]}
    back = {"heatmap": heatmap_targets(mirrored, labels.known, size=64, sigma=2.0)[0]}
    for decoded in (head.decode(maps), head.flip(maps, back)):
        torch.testing.assert_close(decoded.uv, labels.uv, atol=0.05, rtol=0)
        assert (decoded.confidence > 0.9).all() and decoded.depth is None
    two = {"heatmap": 3 * maps["heatmap"]}
    assert (head.decode(two).confidence <= 1).all()


def test_parameters() -> None:
    """Three stages of 4x4 filters with their normalisation, then 1x1."""
    head = HeatmapHead(checks.head_size(512, 256), HeatmapOptions())
    expected = 16 * 256 * (512 + 256 + 256) + 3 * 2 * 256 + (256 + 1) * checks.J
    assert sum(p.numel() for p in head.parameters()) == expected
