from __future__ import annotations

import pytest
import torch
from torch import Tensor

from eventhpe.errors import ShapeError
from eventhpe.shapenet.heads.coordinates import cells_to_pixels
from eventhpe.shapenet.heads.volume import (
    GRIDS,
    bin_places,
    expected_place,
    pixels_to_volume,
    volume_confidence,
    volume_probabilities,
    volume_to_pixels,
)


def delta(d: int, y: int, x: int, shape: tuple[int, int, int] = (8, 64, 64)) -> Tensor:
    logits = torch.full((1, 1, *shape), -1e4)
    logits[0, 0, d, y, x] = 1e4
    return volume_probabilities(logits)


@pytest.mark.parametrize("grid", GRIDS)
def test_a_delta_gives_its_bins_coordinates(grid: str) -> None:
    place = expected_place(delta(5, 40, 17), grid)[0, 0]
    expected = torch.stack([bin_places(64, grid)[17], bin_places(64, grid)[40], bin_places(8, grid)[5]])
    torch.testing.assert_close(place, expected, atol=1e-7, rtol=0)


def test_published_bins_are_i_over_63_and_one_bin_moves_that_far() -> None:
    assert bin_places(64, "published").tolist() == pytest.approx([i / 63 - 0.5 for i in range(64)], abs=1e-6)
    moved = expected_place(delta(5, 40, 18), "published") - expected_place(delta(5, 40, 17), "published")
    assert moved[0, 0].tolist() == pytest.approx([1 / 63, 0, 0], abs=1e-6)
    assert bin_places(4, "centres").tolist() == [-0.375, -0.125, 0.125, 0.375]


@pytest.mark.parametrize("grid", GRIDS)
def test_a_flat_volume_gives_the_middle_and_no_confidence(grid: str) -> None:
    p = volume_probabilities(torch.zeros(2, 3, 8, 16, 16))
    torch.testing.assert_close(expected_place(p, grid), torch.zeros(2, 3, 3), atol=1e-6, rtol=0)
    torch.testing.assert_close(volume_confidence(p), torch.zeros(2, 3), atol=1e-6, rtol=0)
    assert volume_confidence(delta(1, 2, 3)).item() == 1


def test_centres_are_cells_of_the_crop() -> None:
    cells = torch.arange(16.0)
    pixels = volume_to_pixels(bin_places(16, "centres"), 64, "centres")
    torch.testing.assert_close(pixels, cells_to_pixels(cells, 4.0))


def test_ends_are_the_outermost_pixels_and_the_published_rule_is_half_a_pixel_off() -> None:
    ends = torch.tensor([-0.5, 0.0, 0.5])
    assert volume_to_pixels(ends, 256, "ends").tolist() == [0.0, 127.5, 255.0]
    assert volume_to_pixels(ends, 256, "published").tolist() == [0.0, 128.0, 256.0]


@pytest.mark.parametrize("grid", GRIDS)
def test_pixels_come_back(grid: str) -> None:
    uv = torch.tensor([[-3.0, 0.0], [12.25, 63.0]])
    torch.testing.assert_close(volume_to_pixels(pixels_to_volume(uv, 64, grid), 64, grid), uv)


def test_half_precision_volumes_are_read_in_single_precision() -> None:
    logits = torch.randn(1, 2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    p = volume_probabilities(logits.half())
    assert p.dtype == torch.float32
    torch.testing.assert_close(p.sum((-3, -2, -1)), torch.ones(1, 2))
    torch.testing.assert_close(p, volume_probabilities(logits), atol=1e-4, rtol=5e-3)


def test_the_mean_place_is_that_of_all_cells() -> None:
    p = volume_probabilities(torch.randn(1, 1, 3, 4, 5, generator=torch.Generator().manual_seed(1)))
    z, y, x = torch.meshgrid(*(bin_places(n, "ends") for n in (3, 4, 5)), indexing="ij")
    expected = torch.stack([(p[0, 0] * axis).sum() for axis in (x, y, z)])
    torch.testing.assert_close(expected_place(p, "ends")[0, 0], expected)


def test_wrong_grids_are_refused() -> None:
    with pytest.raises(ShapeError, match="centres, ends, published"):
        bin_places(4, "middle")
    with pytest.raises(ShapeError, match="at least 2 bins; got 1"):
        bin_places(1, "ends")
