"""Gray frames: an instant, or the light of an exposure; checked with a moving edge and with flashes."""

from __future__ import annotations

import numpy as np
import pytest

from eventhpe.data.gray_camera import GrayCamera, GrayFrame
from eventhpe.data.scene import Scene
from eventhpe.errors import UnitError
from tests.data.staging import camera_at, person, stage, standing

H, W = 2, 60
STEP = 50_000


def scene_of(exposure_us: int, num_labels: int = 21) -> Scene:
    """A scene of 0.2 s seen by an image of one long row."""
    camera = camera_at(size=(H, W), focal=20.0)
    return stage(person(standing(num_labels)), camera=camera, gray_exposure_us=exposure_us)


def edge(t_us: float, px_per_s: float = 200.0, start: float = 5.0) -> np.ndarray:
    """Bright left of an edge that moves to the right, with an exact share in the pixel that it crosses."""
    at = start + px_per_s * t_us * 1e-6
    row = np.clip(at - (np.arange(W) - 0.5), 0, 1)
    return np.repeat(40.0 + 160.0 * row[None], H, 0).astype(np.float32)


def shoot(scene: Scene, times, image_at=edge, gain_at=lambda t: 1.0) -> list[GrayFrame]:
    camera = GrayCamera(scene, STEP)
    frames: list[GrayFrame] = []
    image = np.zeros((H, W), np.float32)
    for t in times:
        image[:] = image_at(t)  # the same memory every time
        frames += camera.expose(image, int(t), gain_at(t))
    return frames


@pytest.mark.parametrize("step", [100, 900, 10_000])
def test_no_exposure_is_the_rendered_image_itself(step):
    times = sorted({*range(0, 200_001, step), *range(0, 200_001, STEP)})
    frames = shoot(scene_of(0), times)
    assert [t for t, _ in frames] == [0, 50_000, 100_000, 150_000, 200_000]
    for t, image in frames:
        assert image.dtype == np.uint8
        np.testing.assert_array_equal(image, np.rint(edge(t)))


def test_half_a_unit_of_brightness_is_rounded_and_the_ends_are_clipped():
    ((_, image),) = shoot(scene_of(0), [0], lambda t: np.linspace(-20, 300, H * W).reshape(H, W))
    expected = np.rint(np.clip(np.linspace(-20, 300, H * W), 0, 255)).reshape(H, W)
    np.testing.assert_array_equal(image, expected)


@pytest.mark.parametrize("exposure", [2_000, 10_000, 30_000, 49_998])
@pytest.mark.parametrize("step", [250, 1_000, 3_300])
def test_blur_is_the_mean_light_over_the_exposure(exposure, step):
    """The reference averages thousands of instants; the camera has only the rendered images."""
    times = sorted({*range(0, 200_001, step), *range(0, 200_001, 10_000)})
    frames = shoot(scene_of(exposure), times)
    assert [t for t, _ in frames] == list(range(0, 200_001, STEP))
    for t, image in frames:
        start, stop = max(0, t - exposure / 2), min(200_000, t + exposure / 2)
        samples = start + (np.arange(1000) + 0.5) / 1000 * (stop - start)
        expected = np.mean([edge(s) for s in samples], axis=0)
        # Between two images the edge moves by 0.66 px at most, which linear interpolation smears a little.
        assert np.abs(image - expected).max() < (1.5 if step <= 1000 else 8.0)


def test_a_moving_edge_is_smeared_over_the_way_that_it_goes():
    frames = dict(shoot(scene_of(20_000), range(0, 200_001, 250)))
    row = frames[100_000][0].astype(float)
    assert edge(0)[0, 23] == 40 and edge(200_000)[0, 27] == 200
    # 200 px/s x 20 ms = 4 px, from 23 to 27: an even ramp between what is always bright and always dark.
    assert row[22] == 200 and row[28] == 40
    np.testing.assert_allclose(np.diff(row[24:27]), -40, atol=1.5)
    np.testing.assert_allclose([row[23], row[27]], [195, 45], atol=1.5)  # half of them for 1/8 of the time


def test_longer_exposures_blur_more_and_keep_the_sum_of_light():
    sums, steepest = [], []
    for exposure in (0, 4_000, 16_000, 40_000):
        frames = dict(shoot(scene_of(exposure), range(0, 200_001, 500), lambda t: edge(t, start=5.5)))
        image = frames[100_000].astype(float)
        sums.append(image.sum())
        steepest.append(np.abs(np.diff(image[0])).max())
    np.testing.assert_allclose(sums, sums[0], rtol=0.002)
    assert (np.diff(steepest) < 0).all()


def test_the_lamps_gain_multiplies_the_light_and_is_averaged_too():
    even = np.full((H, W), 100.0, np.float32)
    flicker = lambda t: 1 + 0.3 * np.cos(2e-6 * np.pi * 100 * t)  # noqa: E731
    instant = dict(shoot(scene_of(0), range(0, 200_001, 500), lambda t: even, flicker))
    assert {int(i[0, 0]) for i in instant.values()} == {130}
    whole_periods = dict(shoot(scene_of(20_000), range(0, 200_001, 500), lambda t: even, flicker))
    assert abs(int(whole_periods[100_000][0, 0]) - 100) <= 1
    half_period = dict(shoot(scene_of(5_000), range(0, 200_001, 250), lambda t: even, flicker))
    assert half_period[100_000][0, 0] == pytest.approx(100 * (1 + 0.3 * 2 / np.pi), abs=1)


def test_only_light_inside_the_exposure_counts():
    """A flash outside leaves no trace, one inside counts by its share."""

    def flash(t):
        return np.full((H, W), 200.0 if 104_000 <= t <= 105_000 else 50.0, np.float32)

    times = range(0, 200_001, 100)
    assert dict(shoot(scene_of(6_000), times, flash))[100_000].max() == 50
    seen = dict(shoot(scene_of(20_000), times, flash))[100_000]
    # 1 ms, and the two steps of 0.1 ms in which it rises and falls.
    assert seen.min() == seen.max() == pytest.approx(50 + 150 * 1.1 / 20, abs=1)


def test_one_long_interval_that_holds_a_whole_exposure_is_cut_out_of_it():
    ramp = lambda t: np.full((H, W), t * 1e-3, np.float32)  # noqa: E731
    frames = dict(shoot(scene_of(2_000), [0, *range(5_000, 200_000, 10_000), 200_000], ramp))
    assert {t: int(image[0, 0]) for t, image in frames.items()} == {
        0: 0, 50_000: 50, 100_000: 100, 150_000: 150, 200_000: 200,
    }  # fmt: skip


def test_a_recording_may_end_between_two_frames():
    frames = shoot(scene_of(8_000, num_labels=13), range(0, 120_001, 1_000))
    assert [t for t, _ in frames] == [0, 50_000, 100_000]


def test_an_exposure_as_long_as_the_step_is_refused():
    with pytest.raises(UnitError, match=r"gray_exposure_us .* 50000"):
        GrayCamera(scene_of(50_000), STEP)
