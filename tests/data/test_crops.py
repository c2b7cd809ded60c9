"""Square crops: the viewing ray, the cut image and the camera of the crop agree."""

from __future__ import annotations

import numpy as np
import pytest

from eventhpe.data.crops import SquareCrop
from eventhpe.errors import ShapeError
from eventhpe.geometry.camera import Camera

CAMERA = Camera(K=[[210.0, 0, 170.3], [0, 210.0, 128.7], [0, 0, 1]], size=(260, 346))


@pytest.mark.parametrize(
    "crop", [SquareCrop(40, 20, 128), SquareCrop(-30.25, 100.5, 201.3), SquareCrop(300, 200, 17)]
)
@pytest.mark.parametrize("out", [64, 128])
def test_the_ray_describes_the_camera_of_the_crop(crop, out):
    points = np.random.default_rng(0).normal(size=(50, 3)) * [1.0, 0.7, 0.5] + [0, 0, 4]
    xc, yc, half = crop.ray(CAMERA).astype(np.float64)
    expected = np.stack(
        [((points[:, 0] / points[:, 2] - xc) / half + 1), ((points[:, 1] / points[:, 2] - yc) / half + 1)], -1
    )
    projected = CAMERA.crop(crop.left, crop.top, crop.side, out).project(points)
    np.testing.assert_allclose(projected, expected * out / 2 - 0.5, atol=2e-3)


def test_the_ray_of_the_middle_of_the_image_is_the_axis():
    camera = Camera.from_focal(100.0, (60, 80))
    np.testing.assert_allclose(SquareCrop(10, 0, 60).ray(camera), [0, 0, 0.3], atol=1e-7)
    right = SquareCrop(30, 0, 60).ray(camera)
    np.testing.assert_allclose(right, [0.2, 0, 0.3], atol=1e-7)
    assert right.dtype == np.float32


def test_around_a_box():
    crop = SquareCrop.around((10, 20, 30, 80), 1.5)
    assert (crop.left, crop.top, crop.side) == (20 - 45, 50 - 45, 90)
    point = SquareCrop.around((5, 5, 5, 5), 1.0)
    assert point.side == 4 and point.left + 2 == 5, "never empty"


@pytest.mark.parametrize("bad", [(0, 0, 0), (0, 0, -3), (np.nan, 0, 5), (0, np.inf, 5), (0, 0, np.inf)])
def test_impossible_squares_are_refused(bad):
    with pytest.raises(ShapeError, match="positive side"):
        SquareCrop(*bad)


def test_an_integer_crop_is_cut_exactly():
    image = np.random.default_rng(1).integers(0, 256, (40, 50), dtype=np.uint8)
    before = image.copy()
    cut = SquareCrop(7, 5, 24).cut_image(image, 24)
    assert cut.dtype == np.uint8 and np.array_equal(cut, image[5:29, 7:31])
    over = SquareCrop(-4, -6, 16).cut_image(image, 16)
    assert np.array_equal(over, np.pad(image, 16, mode="edge")[10:26, 12:28]), "the border repeats"
    assert np.array_equal(image, before)


def test_a_resized_crop_stays_in_place():
    """A blob lands where the crop's camera puts it."""
    camera = Camera.from_focal(100.0, (100, 100))
    ys, xs = np.mgrid[:100, :100]
    image = np.rint(250 * np.exp(-((xs - 61.0) ** 2 + (ys - 38.0) ** 2) / 18)).astype(np.uint8)
    point = np.array([(61.0 - 49.5) / 100, (38.0 - 49.5) / 100, 1.0])
    for crop, out in ((SquareCrop(30.3, 10.6, 50), 100), (SquareCrop(20, 5, 70), 32)):
        cut = crop.cut_image(image, out).astype(float)
        rows, cols = np.mgrid[:out, :out]
        centre = [(cut * cols).sum() / cut.sum(), (cut * rows).sum() / cut.sum()]
        expected = camera.crop(crop.left, crop.top, crop.side, out).project(point)
        np.testing.assert_allclose(centre, expected, atol=0.15)


def test_shrinking_averages():
    checker = np.indices((64, 64)).sum(0) % 2 * np.uint8(200)
    cut = SquareCrop(0, 0, 64).cut_image(checker.astype(np.uint8), 16)
    assert np.abs(cut.astype(int) - 100).max() < 15, "no moire"


def test_a_map_is_cut_by_nearest_pixel_and_zero_outside():
    field = np.random.default_rng(2).normal(size=(20, 30)).astype(np.float32)
    assert np.array_equal(SquareCrop(4, 3, 10).cut_map(field, 10), field[3:13, 4:14])
    assert np.array_equal(
        SquareCrop(4, 3, 10).cut_map(field, 20), field[3:13, 4:14].repeat(2, 0).repeat(2, 1)
    )
    over = SquareCrop(-5, -5, 10).cut_map(field, 10)
    assert np.array_equal(over[5:, 5:], field[:5, :5])
    assert not over[:5].any() and not over[:, :5].any()
    assert not SquareCrop(100, 100, 10).cut_map(field, 8).any()
    assert over.dtype == np.float32
