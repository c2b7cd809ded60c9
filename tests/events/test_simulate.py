"""The event simulator against closed forms and counting statistics."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from eventhpe.errors import ShapeError, UnitError
from eventhpe.events.kernels_levels import exp_of_negative, natural_log
from eventhpe.events.kernels_packed import packed, unpack
from eventhpe.events.sensor import PixelPattern
from eventhpe.events.simulate import EventSimulator, SensorModel
from eventhpe.events.types import Events

IDEAL = SensorModel(mismatch_sigma=0.0, dark_offset=0.0)
NOISY = SensorModel(
    mismatch_sigma=0.04,
    refractory_us=300,
    leak_hz=5.0,
    shot_hz=20.0,
    hot_pixel_fraction=0.01,
    hot_pixel_hz=100.0,
)


def run(sim: EventSimulator, images: list[np.ndarray], times: list[int], boxes: list | None = None) -> Events:
    boxes = boxes or [None] * len(times)
    parts = [sim.feed(im, t, box=b) for im, t, b in zip(images, times, boxes, strict=True)]
    return joined(parts)


def joined(parts: list[Events]) -> Events:
    columns = {k: np.concatenate([getattr(e, k) for e in parts]) for k in ("t", "x", "y", "p")}
    return Events(**columns, sensor_size=parts[0].sensor_size)


def same(a: Events, b: Events) -> bool:
    return all(getattr(a, k).tobytes() == getattr(b, k).tobytes() for k in ("t", "x", "y", "p"))


def moving_bar(dtype: type, frames: int = 60) -> tuple[list[np.ndarray], list[int], list]:
    background = np.random.default_rng(3).uniform(40, 200, (48, 64))
    images, boxes = [], []
    for k in range(frames):
        image = background.copy()
        image[8:40, 5 + k // 2 : 12 + k // 2] = 120 + k
        images.append(image.astype(dtype))
        boxes.append((8, 40, max(0, 4 + (k - 1) // 2), 12 + k // 2))
    return images, [k * 1500 for k in range(frames)], boxes


@pytest.mark.parametrize("contrast", [0.11, 0.2, 0.37])
def test_ramp_gives_one_event_per_threshold_at_the_right_time(contrast: float) -> None:
    # L rises linearly in time: level k * C is reached at k * C / rate
    rate, step_us, steps = 1.3, 10_000, 140  # log units per second
    times = [1_000_000 + k * step_us for k in range(steps + 1)]
    images = [np.full((3, 4), 30 * np.exp(rate * k * step_us * 1e-6), np.float32) for k in range(steps + 1)]
    sensor = dataclasses.replace(IDEAL, threshold_on=contrast)
    events = run(EventSimulator((3, 4), sensor, seed=0), images, times)
    count = int(np.floor(rate * steps * step_us * 1e-6 / contrast))
    exact = 1e6 + np.arange(1, count + 1) * contrast / rate * 1e6
    assert (events.p == 1).all()
    for y in range(3):
        for x in range(4):
            t = events.t[(events.x == x) & (events.y == y)]
            assert len(t) == count
            assert np.abs(t - exact).max() <= 1.5  # 1 µs of rounding and the float32 of the log


def test_one_big_step_is_cut_into_evenly_spaced_events() -> None:
    dark, bright = np.full((1, 1), 40, np.float32), np.full((1, 1), 40 * np.exp(1.05), np.float32)
    sim = EventSimulator((1, 1), IDEAL, seed=0)
    sim.feed(dark, 0)
    up = sim.feed(bright, 105_000)
    np.testing.assert_allclose(up.t, [20_000, 40_000, 60_000, 80_000, 100_000], atol=1)
    down = sim.feed(dark, 210_000)  # from 0.05 above the last reference down to -0.05 of the first
    np.testing.assert_allclose(down.t, 105_000 + np.array([25_000, 45_000, 65_000, 85_000]), atol=1)
    assert (up.p == 1).all() and (down.p == 0).all()


def test_sine_makes_as_many_events_as_its_travel() -> None:
    amplitude, contrast, periods, step_us = 0.97, 0.15, 5, 500
    times = list(range(0, periods * 100_000 + 1, step_us))
    level = amplitude * np.sin(2 * np.pi * np.array(times) / 100_000)
    images = [np.full((2, 2), 80 * np.exp(v), np.float32) for v in level]
    sensor = dataclasses.replace(IDEAL, threshold_on=contrast, threshold_off=contrast)
    events = run(EventSimulator((2, 2), sensor, seed=0), images, times)
    mine = events.p[(events.x == 0) & (events.y == 0)].astype(int)
    # 6 thresholds up, then 12 per half swing, at the end 6 back up to 0 (the last one on the edge)
    assert len(mine) in (6 + 9 * 12 + 5, 6 + 9 * 12 + 6)
    assert np.count_nonzero(np.diff(mine)) == 2 * periods


def test_on_and_off_mirror_each_other() -> None:
    rng = np.random.default_rng(5)
    walk = 0.08 * rng.standard_normal((40, 16, 16)).cumsum(0)
    times = [k * 1000 for k in range(40)]
    a = run(EventSimulator((16, 16), IDEAL, seed=0), list((80 * np.exp(walk)).astype(np.float32)), times)
    b = run(EventSimulator((16, 16), IDEAL, seed=0), list((80 * np.exp(-walk)).astype(np.float32)), times)
    assert len(a.t) > 1000
    assert len(a.t) == len(b.t)
    differing = len(a.t) - np.count_nonzero((a.x == b.x) & (a.y == b.y) & (a.p == 1 - b.p))
    assert differing < 5  # the logarithms of both are rounded apart, which can swap neighbours in time
    assert np.abs(a.t - b.t).max() <= 2


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_still_images_are_silent(dtype: type) -> None:
    image = np.random.default_rng(0).uniform(0, 255, (20, 30)).astype(dtype)
    sim = EventSimulator((20, 30), dataclasses.replace(SensorModel(), cutoff_hz=50.0), seed=0)
    assert sum(len(sim.feed(image, t).t) for t in range(0, 100_000, 1000)) == 0


def test_first_image_gives_no_events_and_dark_pixels_are_tame() -> None:
    sim = EventSimulator((2, 3), IDEAL, seed=0)
    first = sim.feed(np.zeros((2, 3), np.uint8), 7)
    assert len(first.t) == 0 and first.sensor_size == (2, 3)
    # below 20 DN the curve is straight: 0 to 20 DN is one unit of log intensity
    assert len(sim.feed(np.full((2, 3), 20, np.uint8), 1007).t) == 6 * 4  # 5 * 0.2, just missed


def poisson_band(expected: float) -> tuple[float, float]:
    return expected - 5 * np.sqrt(expected), expected + 5 * np.sqrt(expected)


def test_shot_noise_rate_polarity_and_place() -> None:
    H, W, rate, seconds = 40, 50, 8.0, 2.0
    sim = EventSimulator((H, W), dataclasses.replace(IDEAL, shot_hz=rate), seed=1)
    dark = np.zeros((H, W), np.uint8)
    dark[:, 25:] = 255
    times = [round(k * 1e6 * seconds / 400) for k in range(401)]
    events = run(sim, [dark] * 401, times)
    left, right = np.count_nonzero(events.x < 25), np.count_nonzero(events.x >= 25)
    for count, per_pixel in ((left, rate), (right, rate / 4)):
        low, high = poisson_band(per_pixel * seconds * H * 25)
        assert low < count < high
    low, high = poisson_band(len(events.t) / 2)
    assert low < np.count_nonzero(events.p) < high
    # counts per pixel are Poisson: variance = mean
    counts = np.zeros((H, W))
    np.add.at(counts, (events.y, events.x), 1)
    assert abs(counts[:, :25].var() / counts[:, :25].mean() - 1) < 0.2
    # times are uniform
    histogram = np.histogram(events.t, 20, (0, 2e6))[0]
    assert (np.abs(histogram - histogram.mean()) < 5 * np.sqrt(histogram.mean())).all()


@pytest.mark.parametrize("step_us", [700, 250_000])
def test_leak_rate_does_not_depend_on_the_frame_rate(step_us: int) -> None:
    H, W, rate = 30, 40, 2.0
    sim = EventSimulator((H, W), dataclasses.replace(IDEAL, leak_hz=rate), seed=2)
    image = np.full((H, W), 100, np.uint8)
    times = list(range(0, 3_000_001, step_us))
    events = run(sim, [image] * len(times), times)
    expected = rate * times[-1] * 1e-6 * H * W
    assert (events.p == 1).all()
    assert abs(len(events.t) - expected) < 5 * np.sqrt(H * W)  # a regular clock with random phase
    one = events.t[(events.x == 3) & (events.y == 4)]
    np.testing.assert_allclose(np.diff(one), 1e6 / rate, atol=20)
    assert (np.histogram(events.t, 6, (0, times[-1]))[0] > 0.8 * len(events.t) / 6).all()


def test_hot_pixels() -> None:
    sensor = dataclasses.replace(IDEAL, hot_pixel_fraction=0.01, hot_pixel_hz=200.0)
    image = np.full((40, 50), 90, np.uint8)
    events = run(EventSimulator((40, 50), sensor, seed=4), [image] * 101, list(range(0, 1_000_001, 10_000)))
    assert len(np.unique(events.y.astype(int) * 50 + events.x)) == 20
    low, high = poisson_band(20 * 200.0)
    assert low < len(events.t) < high
    assert events.p.all(), "ON only, unless asked otherwise"
    both = dataclasses.replace(sensor, hot_on_share=0.3)
    events = run(EventSimulator((40, 50), both, seed=4), [image] * 101, list(range(0, 1_000_001, 10_000)))
    n = len(events)
    assert low < n < high and abs(np.count_nonzero(events.p) - 0.3 * n) < 5 * np.sqrt(n * 0.3 * 0.7)


def test_mismatch_spreads_thresholds() -> None:
    sensor = SensorModel(threshold_on=0.3, threshold_off=0.25, mismatch_sigma=0.03, dark_offset=0.0)
    H, W = 60, 80
    # the first event of a ramp of 1 log unit per second comes after C seconds
    levels = np.linspace(0, 5.0, 6)
    found = {}
    for polarity, sign in ((1, 1.0), (0, -1.0)):
        sim = EventSimulator((H, W), sensor, seed=9)
        images = [np.full((H, W), 20 * np.exp(v if sign > 0 else 5.0 - v), np.float32) for v in levels]
        events = run(sim, images, [k * 1_000_000 for k in range(6)])
        assert (events.p == polarity).all()
        first = np.full((H, W), np.inf)
        np.minimum.at(first, (events.y, events.x), events.t)
        found[polarity] = first * 1e-6  # 1 log unit per second
    for polarity, mean in ((1, 0.3), (0, 0.25)):
        assert abs(found[polarity].mean() - mean) < 5 * 0.03 / np.sqrt(H * W)
        assert abs(found[polarity].std() / 0.03 - 1) < 0.06
    assert abs(np.corrcoef(found[1].ravel(), found[0].ravel())[0, 1]) < 0.06


def test_refractory_period_drops_events_but_follows_the_light() -> None:
    sensor = dataclasses.replace(IDEAL, refractory_us=30_000)
    free, limited = (EventSimulator((1, 1), s, seed=0) for s in (IDEAL, sensor))
    images = [np.full((1, 1), 40 * np.exp(v), np.float32) for v in (0, 1.05, 1.05, 1.3)]
    times = [0, 105_000, 500_000, 605_000]
    all_events, kept = run(free, images, times), run(limited, images, times)
    assert len(all_events.t) == 6
    np.testing.assert_allclose(kept.t[:3], [20_000, 60_000, 100_000], atol=1)
    assert len(kept.t) == 4 and kept.t[-1] == all_events.t[-1]
    assert (np.diff(kept.t) >= 30_000).all()


def test_low_pass_delays_and_does_so_more_in_the_dark() -> None:
    sensor = dataclasses.replace(IDEAL, cutoff_hz=100.0)
    first = {}
    for base in (5.0, 100.0):
        sim = EventSimulator((1, 1), sensor, seed=0)
        sim.feed(np.full((1, 1), base, np.float32), 0)
        level = lambda v: v / 20 if v < 20 else 1 + np.log(v / 20)  # noqa: E731
        top = next(v for v in np.arange(base, 255, 0.01) if level(v) >= level(base) + 0.5)
        t = np.concatenate([sim.feed(np.full((1, 1), top, np.float32), 100 * k).t for k in range(1, 2000)])
        assert len(t) == 2
        # 1 - exp(-2 pi f t) reaches 0.4 / 0.5
        cutoff = 100.0 * (int(top) + 20) / 275
        expected = -np.log(1 - np.array([0.2, 0.4]) / 0.5) / (2 * np.pi * cutoff) * 1e6
        np.testing.assert_allclose(t, expected, rtol=0.02, atol=2)
        first[base] = t[0]
    assert first[5.0] > 2 * first[100.0]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("sensor", [IDEAL, NOISY, dataclasses.replace(NOISY, cutoff_hz=80.0)])
def test_order_seed_and_box(dtype: type, sensor: SensorModel) -> None:
    images, times, boxes = moving_bar(dtype)
    whole = run(EventSimulator((48, 64), sensor, seed=11), images, times)
    assert len(whole.t) > 500
    assert (np.diff(whole.t) >= 0).all()
    assert whole.t.min() >= 0 and whole.t.max() < times[-1]
    assert whole.x.max() < 64 and whole.y.max() < 48 and set(np.unique(whole.p)) == {0, 1}
    assert same(whole, run(EventSimulator((48, 64), sensor, seed=11), images, times))
    assert same(whole, run(EventSimulator((48, 64), sensor, seed=11), images, times, boxes))
    if sensor is not IDEAL:
        assert not same(whole, run(EventSimulator((48, 64), sensor, seed=12), images, times))
        for y, x in ((20, 20), (3, 3)):
            one = whole.t[(whole.y == y) & (whole.x == x)]
            assert (np.diff(one) >= sensor.refractory_us).all()


def test_each_interval_stands_alone_and_memory_grows_as_needed() -> None:
    images, times, _ = moving_bar(np.float32)
    sim = EventSimulator((48, 64), NOISY, seed=11)
    for k, (image, t) in enumerate(zip(images, times, strict=True)):
        part = sim.feed(image, t)
        if k and len(part.t):
            assert times[k - 1] <= part.t.min() and part.t.max() < t
    flash = [np.full((48, 64), v, np.float32) for v in (1e-3, 250.0)]
    sharp = dataclasses.replace(IDEAL, threshold_on=0.01, lin_log_dn=0.0, dark_offset=1e-3)
    burst = run(EventSimulator((48, 64), sharp, seed=0), flash, [0, 1000])
    assert len(burst.t) == 48 * 64 * int(np.log(250.001 / 2e-3) / np.float64(np.float32(0.01)))


def test_counting_and_comparison_sort_agree() -> None:
    images, _, _ = moving_bar(np.uint8, 5)
    sim = EventSimulator((48, 64), NOISY, seed=1)
    part = run(sim, images, [k * 5_000_000 for k in range(5)])
    assert (np.diff(part.t) >= 0).all() and len(part.t) > 1000
    words = np.random.default_rng(0).integers(0, 69_500, 500).astype(np.uint64) << np.uint64(33)
    words |= np.arange(500, dtype=np.uint64)
    sim._buffer[:500] = words
    a, b = sim._in_order(500, 3, 69_536), sim._in_order(500, 3, 69_537)  # either side of the choice
    assert same(a, b) and len(a.t) == 500 and (np.diff(a.t) >= 0).all()
    assert same(a, sim._in_order(500, 3, 5_000_000))


@pytest.mark.parametrize("y", [0, 3, 65_535])
def test_words_hold_the_largest_sensor_and_the_longest_interval(y: int) -> None:
    micro, x = np.array([0, 5, 2**31 - 1]), np.array([65_535, 0, 65_535])
    words = np.zeros(3, np.uint64)
    for k in range(3):
        words[k] = packed(int(micro[k]), y, int(x[k]), 1 - k % 2)
    columns = [np.empty(3, t) for t in (np.int64, np.uint16, np.uint16, np.uint8)]
    unpack(words, 7, *columns)
    assert columns[0].tolist() == (micro + 7).tolist() and columns[1].tolist() == x.tolist()
    assert columns[2].tolist() == [y] * 3 and columns[3].tolist() == [1, 0, 1]


def test_logarithm_and_exponential_are_near_enough() -> None:
    v = np.concatenate([np.linspace(1, 256, 40_001), np.exp2(np.arange(9)), [np.nextafter(np.float32(2), 0)]])
    v = v.astype(np.float32)
    mine = np.array([natural_log(x) for x in v], np.float64)
    assert np.abs(mine - np.log(v.astype(np.float64))).max() <= 3e-7
    assert natural_log(np.float32(1)) == 0
    tiny = np.exp(np.linspace(-80, 80, 2000)).astype(np.float32)
    assert np.abs(np.array([natural_log(x) for x in tiny]) / np.log(tiny.astype(np.float64)) - 1).max() < 3e-7
    x = np.concatenate([np.linspace(0, 20, 20_001), [87, 100, 1e6]]).astype(np.float32)
    mine = np.array([exp_of_negative(a) for a in x], np.float64)
    assert np.abs(mine - np.exp(-x.astype(np.float64))).max() <= 3e-7
    assert exp_of_negative(np.float32(0)) == 1


def test_seeds_keep_their_meaning() -> None:
    # what seed 11 has meant since benchmark-v1; new properties must not move it
    for sensor in (NOISY, dataclasses.replace(NOISY, noise_spread=0.5, readout_mev_per_s=1.0)):
        pattern = PixelPattern.draw((48, 64), sensor, 11)
        np.testing.assert_allclose(pattern.threshold_on[0, :2], [0.20136771069012738, 0.2543899016123985])
        np.testing.assert_allclose(pattern.threshold_off[-1, -2:], [0.2964980069809416, 0.24818133880799953])
        assert pattern.hot[:4].tolist() == [80, 99, 107, 129] and len(pattern.hot) == 31
        assert pattern.leak_phase is not None
        np.testing.assert_allclose(pattern.leak_phase[0, :2], [0.5863799452781677, 0.14914953708648682])
        assert pattern.noise_state.tolist() == [5719372849507964982]
    for dtype, count in ((np.uint8, 7477), (np.float32, 7449)):
        images, times, _ = moving_bar(dtype)
        assert abs(len(run(EventSimulator((48, 64), NOISY, seed=11), images, times)) - count) <= 2


@pytest.mark.parametrize("cutoff_hz", [0.0, 80.0])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_gain_is_the_image_brightened(dtype: type, cutoff_hz: float) -> None:
    sensor = dataclasses.replace(NOISY, cutoff_hz=cutoff_hz)
    images, times, boxes = moving_bar(dtype)
    gains = [1 + 0.3 * np.sin(0.9 * (k // 3)) for k in range(60)]  # three images each
    bright = [im.astype(np.float32) * np.float32(g) for im, g in zip(images, gains, strict=True)]
    expected = run(EventSimulator((48, 64), sensor, seed=11), bright, times)
    for given in (boxes, [None] * 60):
        sim, held = EventSimulator((48, 64), sensor, seed=11), np.empty((48, 64), dtype)
        parts = []
        for image, t, box, gain in zip(images, times, given, gains, strict=True):
            held[:] = image  # one array, drawn over
            parts.append(sim.feed(held, t, box=box, gain=gain))
        assert same(expected, joined(parts))
    plain = run(EventSimulator((48, 64), sensor, seed=11), images, times)
    assert abs(len(expected) - len(plain)) > 100


def test_gain_alone_makes_events_of_an_unchanged_array() -> None:
    image = np.full((6, 7), 99, np.float32)
    sim = EventSimulator((6, 7), SensorModel(mismatch_sigma=0.0), seed=0)
    sim.feed(image, 0)
    assert len(sim.feed(image, 1000, box=(0, 0, 0, 0), gain=1.5)) == 42 * int(np.log(149.5 / 100) / 0.2)
    assert len(sim.feed(image, 2000, box=(0, 0, 0, 0), gain=1.5)) == 0
    assert len(sim.feed(image, 3000, gain=0.0)) > 42
    for gain in (-0.1, np.nan, np.inf):
        with pytest.raises(UnitError, match="gain"):
            sim.feed(image, 4000, gain=gain)


@pytest.mark.parametrize("mode", ["esim", "v2e"])
def test_a_refused_image_leaves_no_trace(mode: str) -> None:
    images, times, _ = moving_bar(np.float32)
    sensor = dataclasses.replace(NOISY, mode=mode)
    clean, troubled = (EventSimulator((48, 64), sensor, seed=11) for _ in range(2))
    expected, found = [], []
    for k, (image, t) in enumerate(zip(images, times, strict=True)):
        expected.append(clean.feed(image, t))
        if k % 7 == 3:
            bad = image[::-1] * 1.2
            bad[k % 48, 60] = (np.nan, -1.0, np.inf)[k % 3]
            with pytest.raises(UnitError, match="intensities"):
                troubled.feed(bad, t - 5, gain=1.0 + k % 2)
        found.append(troubled.feed(image, t))
    assert same(joined(expected), joined(found))


@pytest.mark.parametrize("spread", [0.4, 0.9])
def test_noise_spread_is_log_normal_and_keeps_the_mean(spread: float) -> None:
    H, W, rate, seconds = 60, 80, 40.0, 2.0
    sensor = dataclasses.replace(IDEAL, shot_hz=rate, noise_spread=spread)
    dark = np.zeros((H, W), np.uint8)
    times = [round(k * 1e6 * seconds / 100) for k in range(101)]
    events = run(EventSimulator((H, W), sensor, seed=6), [dark] * 101, times)
    low, high = poisson_band(rate * seconds * H * W)
    assert low < len(events) < high
    counts = np.zeros((H, W))
    np.add.at(counts, (events.y, events.x), 1)
    share = PixelPattern.draw((H, W), sensor, 6).noise_share
    assert share is not None
    assert abs(share.mean() - 1) < 1e-12
    assert abs(np.log(share).std() / spread - 1) < 5 / np.sqrt(2 * H * W)
    # given the pixel's rate its count is Poisson: standardised counts have variance 1
    z = (counts - share * rate * seconds) / np.sqrt(share * rate * seconds)
    assert abs(z.mean()) < 5 / np.sqrt(H * W) and abs(z.var() - 1) < 0.12
    # times within a pixel stay uniform over the interval
    inside = (events.t % 20_000) / 20_000
    assert np.abs(np.histogram(inside, 10, (0, 1))[0] / (len(events) / 10) - 1).max() < 0.03


def test_noise_patches_are_smooth_over_their_size_and_keep_the_spread() -> None:
    def logs(patch_px: float) -> np.ndarray:
        sensor = dataclasses.replace(IDEAL, shot_hz=1.0, noise_spread=0.8, noise_patch_px=patch_px)
        share = PixelPattern.draw((120, 160), sensor, 6).noise_share
        assert share is not None and abs(share.mean() - 1) < 1e-12
        return np.log(share) - np.log(share).mean()

    single, patched = logs(0.0), logs(10.0)
    assert abs(patched.std() / single.std() - 1) < 0.1
    for field_, expected in ((single, 0.0), (patched, 0.5)):
        neighbours = np.mean(field_[:, 1:] * field_[:, :-1]) / field_.var()
        assert abs(neighbours - expected) < 0.06


def test_noise_spread_makes_leaks_uneven() -> None:
    H, W, rate = 20, 30, 3.0
    sensor = dataclasses.replace(IDEAL, leak_hz=rate, noise_spread=0.6)
    image = np.full((H, W), 90, np.uint8)
    times = list(range(0, 4_000_001, 10_000))
    events = run(EventSimulator((H, W), sensor, seed=8), [image] * len(times), times)
    pattern = PixelPattern.draw((H, W), sensor, 8)
    assert pattern.noise_share is not None and pattern.leak_phase is not None
    counts = np.zeros((H, W))
    np.add.at(counts, (events.y, events.x), 1)
    exact = pattern.noise_share * rate * 4.0 + pattern.leak_phase
    assert np.abs(counts - np.floor(exact)).max() <= 1
    assert np.count_nonzero(counts != np.floor(exact)) < 0.01 * H * W  # those on the edge
    assert counts.max() > 3 * counts.min() + 3


@pytest.mark.parametrize("share", [0.0, 0.2, 0.96, 1.0])
def test_shot_noise_has_the_share_of_on_events_asked_for(share: float) -> None:
    image = np.full((30, 40), 10, np.uint8)
    times = list(range(0, 1_000_001, 10_000))
    even, uneven = (
        run(EventSimulator((30, 40), dataclasses.replace(IDEAL, shot_hz=20.0, shot_on_share=s), seed=2),
            [image] * 101, times)
        for s in (0.5, share)
    )  # fmt: skip
    assert all((getattr(even, c) == getattr(uneven, c)).all() for c in ("t", "x", "y"))
    n = len(uneven)
    assert n > 10_000
    assert abs(np.count_nonzero(uneven.p) - share * n) <= 5 * np.sqrt(n * share * (1 - share))


def sizes(sim: EventSimulator) -> dict[str, int]:
    """Bytes of everything that a simulator keeps between calls."""
    found = {}
    for name, value in vars(sim).items():
        for k, part in enumerate(value if isinstance(value, tuple) else (value,)):
            if isinstance(part, np.ndarray):
                found[f"{name}.{k}"] = part.nbytes
    return found


def test_state_does_not_grow() -> None:
    images, _, boxes = moving_bar(np.float32)
    sensor = dataclasses.replace(NOISY, cutoff_hz=80.0, noise_spread=0.3, readout_mev_per_s=0.02)
    sim, early, waiting = EventSimulator((48, 64), sensor, seed=1), {}, []
    for k in range(1500):
        sim.feed(images[k % 60], 1500 * k, box=boxes[k % 60] if k % 60 else None, gain=1 + 0.1 * np.sin(k))
        waiting.append(sim.num_waiting)
        if k == 200:
            early = sizes(sim)
    assert len(early) >= 10 and sum(early.values()) > 48 * 64 * 4 * 6
    assert sizes(sim) == early
    assert 0 < max(waiting) <= 0.02 * 1000 + 1


def test_input_is_checked_by_name() -> None:
    for name in ("threshold_on", "threshold_off", "leak_hz", "cutoff_hz", "hot_pixel_fraction"):
        with pytest.raises(UnitError, match=name):
            SensorModel(**{name: -0.1})
    with pytest.raises(UnitError, match="threshold_on"):
        SensorModel(threshold_on=0.0)
    with pytest.raises(UnitError, match="no logarithm"):
        SensorModel(dark_offset=0.0, lin_log_dn=0.0)
    sim = EventSimulator((4, 5), IDEAL, seed=0)
    with pytest.raises(ShapeError, match=r"\(5, 4\)"):
        sim.feed(np.zeros((5, 4), np.uint8), 0)
    with pytest.raises(ShapeError, match="int32"):
        sim.feed(np.zeros((4, 5), np.int32), 0)
    with pytest.raises(UnitError, match="whole microseconds"):
        sim.feed(np.zeros((4, 5), np.uint8), 0.5)  # type: ignore[arg-type]
    sim.feed(np.zeros((4, 5), np.float32), 10)
    with pytest.raises(UnitError, match="advance"):
        sim.feed(np.zeros((4, 5), np.float32), 10)
    with pytest.raises(UnitError, match="intensities"):
        sim.feed(np.full((4, 5), np.nan, np.float32), 11)
    with pytest.raises(ShapeError, match="float32 images"):
        sim.feed(np.zeros((4, 5), np.uint8), 11)
    with pytest.raises(ShapeError, match="box"):
        sim.feed(np.zeros((4, 5), np.float32), 11, box=(0, 5, 0, 5))
