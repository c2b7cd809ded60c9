"""Targets, decoding and the hold of DHP19's CNN."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from eventhpe.data.dhp19_heatmaps import (
    blur_profiles,
    decode_heatmaps,
    heatmap_targets,
    hold_by_confidence,
    label_pixels,
)
from eventhpe.errors import ShapeError

SIZE = (260, 344)


def one(u: int, v: int, sigma: float, *, size: tuple[int, int] = SIZE, border: str = "reflect") -> np.ndarray:
    pixels, valid = torch.tensor([[[u, v]]]), torch.tensor([[True]])
    return heatmap_targets(pixels, valid, size, sigma=sigma, border=border)[0, 0].numpy()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sigma", "support", "beside", "diagonal", "mass"),
    [(2.0, 17, 0.882497, 0.778801, 25.1319), (4.0, 33, 0.969233, 0.939413, 100.5239)],
)
def test_the_published_numbers(
    sigma: float, support: int, beside: float, diagonal: float, mass: float
) -> None:
    target = one(200, 100, sigma)
    assert target[100, 200] == 1.0
    assert target[100, 201] == pytest.approx(beside, abs=1e-6) == target[99, 200]
    assert target[101, 199] == pytest.approx(diagonal, abs=1e-6)
    rows, columns = np.nonzero(target)
    assert np.ptp(rows) + 1 == np.ptp(columns) + 1 == support
    assert target[100, 200 + support // 2] == pytest.approx(3.3546e-4, rel=1e-4)
    assert target.sum(dtype=float) == pytest.approx(mass, abs=1e-3)


@pytest.mark.parametrize("sigma", [2.0, 4.0])
def test_targets_are_opencvs(sigma: float) -> None:
    """Everywhere, borders and corners included."""
    rng = np.random.default_rng(0)
    places = [
        (0, 0),
        (1, 1),
        (2, 0),
        (343, 259),
        (342, 3),
        (5, 258),
        (171, 0),
        *rng.integers(0, 260, (12, 2)),
    ]
    for u, v in places:
        delta = np.zeros(SIZE, np.float32)
        delta[v, u] = 1
        blurred = cv2.GaussianBlur(delta, (0, 0), sigma)
        np.testing.assert_allclose(one(u, v, sigma), blurred / blurred.max(), atol=2e-6)


def test_small_maps_reflect_more_than_once() -> None:
    delta = np.zeros((12, 20), np.float32)
    delta[5, 7] = 1
    blurred = cv2.GaussianBlur(delta, (0, 0), 4)
    np.testing.assert_allclose(one(7, 5, 4.0, size=(12, 20)), blurred / blurred.max(), atol=2e-6)


def test_reflection_moves_the_maximum_into_the_corner_and_cutting_does_not() -> None:
    assert np.unravel_index(one(1, 1, 2.0).argmax(), SIZE) == (0, 0)
    cut = one(1, 1, 2.0, border="cut")
    assert np.unravel_index(cut.argmax(), SIZE) == (1, 1)
    np.testing.assert_array_equal(cut[:9, :9], one(101, 101, 2.0)[100:109, 100:109])
    np.testing.assert_array_equal(one(150, 90, 4.0, border="cut"), one(150, 90, 4.0))


def test_invalid_joints_have_empty_maps() -> None:
    pixels = torch.tensor([[[10, 10], [10, 10], [344, 10], [10, 260], [-1, 5]]])
    valid = torch.tensor([[True, False, True, True, True]])
    maps = heatmap_targets(pixels, valid, SIZE, sigma=2.0)[0]
    assert maps.amax((1, 2)).tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]


def test_labels_are_cut_towards_zero_and_masked_first() -> None:
    uv = [[10.99, 0.5], [np.nan, np.nan], [344.0, 259.999]]
    assert label_pixels(uv, [True, False, True]).tolist() == [[10, 0], [0, 0], [344, 259]]
    with pytest.raises(ShapeError):
        label_pixels(uv, [True, True])


def test_decoding_gives_every_joint_back() -> None:
    rng = np.random.default_rng(1)
    pixels = torch.from_numpy(np.stack([rng.integers(6, 338, (2, 13)), rng.integers(6, 254, (2, 13))], -1))
    maps = 0.7 * heatmap_targets(pixels, torch.ones(2, 13, dtype=torch.bool), SIZE, sigma=4.0)
    found, confidence = decode_heatmaps(maps)
    assert torch.equal(found, pixels)
    assert torch.allclose(confidence, torch.tensor(0.7))


def test_the_first_of_equal_maxima_counts() -> None:
    maps = torch.zeros(1, 3, 40, 50)
    maps[0, 0, 12, 30] = maps[0, 0, 12, 31] = maps[0, 0, 13, 2] = 2.5
    maps[0, 2, 39, 49] = 0.1
    pixels, confidence = decode_heatmaps(maps)
    assert pixels[0].tolist() == [[30, 12], [0, 0], [49, 39]]
    assert confidence[0].tolist() == pytest.approx([2.5, 0.0, 0.1])
    pixels, _ = decode_heatmaps(torch.ones(1, 1, 260, 344))
    assert pixels.tolist() == [[[0, 0]]]


def test_hold() -> None:
    track = np.array([[5, 5], [6, 6], [7, 7], [8, 8], [0, 0], [9, 9]])[:, None]
    sure = np.array([0.1, 0.2, 0.3, 0.1, 0.9, 0.1])[:, None]
    # The first is taken unseen; a sure (0, 0) counts as nothing, so that the next is taken unseen again.
    held = hold_by_confidence(track, sure, 0.3)
    assert held[:, 0].tolist() == [[5, 5], [5, 5], [7, 7], [7, 7], [0, 0], [9, 9]]
    np.testing.assert_array_equal(hold_by_confidence(track, sure, 0.0), track)


def test_hold_treats_joints_apart() -> None:
    rng = np.random.default_rng(2)
    track, sure = rng.integers(1, 300, (40, 13, 2)), rng.random((40, 13))
    held = hold_by_confidence(track, sure, 0.6)
    for joint in range(13):
        last = track[0, joint]
        for k in range(40):
            last = track[k, joint] if sure[k, joint] >= 0.6 else last
            np.testing.assert_array_equal(held[k, joint], last)
    with pytest.raises(ShapeError):
        hold_by_confidence(track, sure[:, :5], 0.6)


def test_sigma_must_be_positive() -> None:
    with pytest.raises(ShapeError, match="sigma"):
        blur_profiles(260, 0.0)
