"""The exact modes against closed forms and a slow twin; read-out limit and bunched time stamps."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from eventhpe.errors import UnitError
from eventhpe.events.readout import Readout
from eventhpe.events.sensor import PixelPattern, SensorModel
from eventhpe.events.simulate import EventSimulator
from eventhpe.events.types import Events
from tests.events import simulator_twins as twins

IDEAL = SensorModel(mode="ideal", mismatch_sigma=0.0)


def run(sim: EventSimulator, images: list[np.ndarray], times: list[int]) -> Events:
    parts = [sim.feed(image, t) for image, t in zip(images, times, strict=True)] + [sim.flush()]
    columns = {k: np.concatenate([getattr(e, k) for e in parts]) for k in ("t", "x", "y", "p")}
    return Events(**columns, sensor_size=sim.size)


def rows(events: Events) -> list[tuple[int, int, int, int]]:
    return list(zip(*(getattr(events, c).tolist() for c in ("t", "y", "x", "p")), strict=True))


# --- ideal ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("contrast", [0.05, 0.13, 0.31])
@pytest.mark.parametrize("mismatch", [0.0, 0.01])
@pytest.mark.parametrize("refractory_us", [0, 1])
def test_ramp_of_log_intensity_is_exact(contrast: float, mismatch: float, refractory_us: int) -> None:
    # every pixel its own slope, up and down; log intensity is linear in time, so interpolation is exact
    H, W = 5, 8
    sensor = dataclasses.replace(
        IDEAL, threshold_on=contrast, threshold_off=1.3 * contrast, mismatch_sigma=mismatch,
        refractory_us=refractory_us,
    )  # fmt: skip
    rate = np.linspace(-1.97, 1.97, H * W).reshape(H, W)  # log units per second
    times = [500_000 + t for t in (0, 7, 1_000, 30_011, 222_222, 700_003, 700_004, 1_000_000)]
    seconds = [(t - times[0]) * 1e-6 for t in times]
    images = [np.exp(3.0 + rate * s) - sensor.dark_offset for s in seconds]
    sim = EventSimulator((H, W), sensor, seed=3)
    on, off = sim.thresholds
    assert (np.unique(on).size == 1) == (mismatch == 0)
    events = run(sim, images, times)
    assert (np.diff(events.t) >= 0).all()
    for y in range(H):
        for x in range(W):
            threshold = on[y, x] if rate[y, x] > 0 else off[y, x]
            total = abs(rate[y, x]) * seconds[-1] / threshold
            assert abs(total - round(total)) > 1e-6  # no crossing on the edge of the sequence
            here = (events.y == y) & (events.x == x)
            assert np.count_nonzero(here) == int(np.floor(total))
            assert (events.p[here] == (rate[y, x] > 0)).all()
            exact = times[0] + np.arange(1, int(total) + 1) * threshold / abs(rate[y, x]) * 1e6
            assert np.abs(events.t[here] - exact).max(initial=0) <= 1.0


def test_sine_of_log_intensity_against_its_crossings() -> None:
    # Between images h apart, log intensity A sin(w t) is off its chord by at most A w² h² / 8. A crossing
    # moves by that over the slope, which near the crossing is at least its slope less A w² h.
    H, W, amplitude, period_us, h = 6, 7, 0.9, 100_000.0, 50
    sensor = dataclasses.replace(IDEAL, threshold_on=0.17, threshold_off=0.14, mismatch_sigma=0.02)
    end_us = 290_000
    times = list(range(0, end_us + 1, h))
    omega = 2 * np.pi / period_us
    chord = amplitude * omega**2 * h**2 / 8
    images = [np.full((H, W), 40 * np.exp(amplitude * np.sin(omega * t)) - 1.0) for t in times]
    sim = EventSimulator((H, W), sensor, seed=5)
    on, off = sim.thresholds
    events = run(sim, images, times)
    assert len(events) > 1000
    for y in range(H):
        for x in range(W):
            exact, polarity, level = (
                np.array(v) for v in twins.swing_times(amplitude, period_us, end_us, on[y, x], off[y, x])
            )
            # a crossing at the very top would come or not by the chord's error
            assert np.abs(amplitude - np.abs(level)).min() > 2 * chord
            here = (events.y == y) & (events.x == x)
            assert events.p[here].tolist() == polarity.tolist()
            slope = omega * np.sqrt(amplitude**2 - level**2) - amplitude * omega**2 * h
            assert (slope > 0).all()
            assert (np.abs(events.t[here] - exact) <= chord / slope + 1.0).all()


def test_refractory_period_in_the_ideal_mode_drops_events_but_follows_the_light() -> None:
    images = [np.full((1, 1), 40 * np.exp(v) - 1.0) for v in (0, 1.05, 1.05, 1.3)]
    times = [0, 105_000, 500_000, 605_000]
    sensor = dataclasses.replace(IDEAL, refractory_us=30_000)
    free, kept = (run(EventSimulator((1, 1), s, seed=0), images, times) for s in (IDEAL, sensor))
    assert free.t[:5].tolist() == pytest.approx([20_000, 40_000, 60_000, 80_000, 100_000], abs=1)
    assert kept.t[:3].tolist() == free.t[[0, 2, 4]].tolist() and kept.t[3] == free.t[5] and len(kept) == 4


def test_modes_esim_and_ideal_agree_where_both_apply() -> None:
    walk = 0.1 * np.random.default_rng(1).standard_normal((60, 20, 30)).cumsum(0)
    images = list(60 * np.exp(walk) - 1.0)
    times = [1000 * k for k in range(60)]
    plain = SensorModel(lin_log_dn=0.0)
    a = run(EventSimulator((20, 30), plain, seed=0), images, times)
    b = run(EventSimulator((20, 30), dataclasses.replace(plain, mode="ideal"), seed=0), images, times)
    assert len(a) > 3000
    one, other = set(rows(a)), set(rows(b))
    near = {(t + d, y, x, p) for t, y, x, p in one for d in (-1, 0, 1)}
    assert len(other - near) < 1e-3 * len(b) and abs(len(a) - len(b)) < 1e-3 * len(b)


def test_ideal_takes_no_noise_and_no_black() -> None:
    for name in ("leak_hz", "shot_hz", "noise_spread", "hot_pixel_fraction", "cutoff_hz"):
        with pytest.raises(UnitError, match=rf"SensorModel\.{name} must be 0 in the mode"):
            dataclasses.replace(IDEAL, **{name: 0.5})
    sim = EventSimulator((2, 2), dataclasses.replace(IDEAL, dark_offset=0.0), seed=0)
    with pytest.raises(UnitError, match="no logarithm"):
        sim.feed(np.zeros((2, 2)), 0)
    sim.feed(np.full((2, 2), 10.0), 0)
    assert len(sim.feed(np.full((2, 2), 15.0), 1000)) == 4 * int(np.log(1.5) / 0.2)
    with pytest.raises(UnitError, match="one of esim, ideal, v2e"):
        SensorModel(mode="fast")  # type: ignore[arg-type]


# --- v2e -----------------------------------------------------------------------------------------------

V2E = SensorModel(mode="v2e", threshold_on=0.21, threshold_off=0.17, mismatch_sigma=0.0)


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"mismatch_sigma": 0.04},
        {"mismatch_sigma": 0.04, "refractory_us": 700},
        {"mismatch_sigma": 0.04, "cutoff_hz": 60.0},
        {"leak_hz": 20.0, "noise_spread": 0.7},
        {
            "mismatch_sigma": 0.03,
            "refractory_us": 1500,
            "cutoff_hz": 200.0,
            "leak_hz": 5.0,
            "lin_log_dn": 0.0,
        },
    ],
)
def test_v2e_equals_its_slow_twin(dtype: type, changes: dict[str, float]) -> None:
    sensor = dataclasses.replace(V2E, **changes)
    size = (11, 13)
    rng = np.random.default_rng(2)
    walk = 0.25 * rng.standard_normal((40, *size)).cumsum(0)
    images = [np.clip(60 * np.exp(w), 0, 255).astype(dtype) for w in walk]
    times = [10_000, *(10_000 + rng.integers(300, 3000, 39).cumsum()).tolist()]
    expected = twins.v2e_rows(images, times, sensor, PixelPattern.draw(size, sensor, 4))
    assert len(expected) > 500
    found = rows(run(EventSimulator(size, sensor, seed=4), images, times))
    assert len(found) == len(expected)
    assert found == expected


def test_v2e_spreads_events_and_holds_the_reference_where_it_is_silent() -> None:
    up, high = np.full((1, 2), 40.0), np.array([[40 * np.exp(0.85) + np.exp(0.85) - 1, 40.0]])
    sensor = dataclasses.replace(V2E, threshold_on=0.2)
    sim = EventSimulator((1, 2), sensor, seed=0)
    sim.feed(up, 0)
    assert sim.feed(high, 1000).t.tolist() == [250, 500, 750, 1000]
    silent = EventSimulator((1, 2), dataclasses.replace(sensor, refractory_us=600), seed=0)
    silent.feed(up, 0)
    assert silent.feed(high, 1000).t.tolist() == [250, 1000]  # 500 and 750 are too early
    assert silent.feed(high, 5000).t.tolist() == [3000, 5000]  # the two that are still owed
    assert len(silent.feed(high, 9000)) == 0


# --- read-out ------------------------------------------------------------------------------------------


def busy_events(seed: int, length_us: int = 20_000) -> Events:
    """Quiet time with two bursts."""
    rng = np.random.default_rng(seed)
    t = np.concatenate(
        [rng.integers(0, length_us, 400), rng.integers(3000, 4200, 9000), rng.integers(9000, 9050, 900)]
    )
    n = len(t)
    x, y = rng.integers(0, 30, n).astype(np.uint16), rng.integers(0, 20, n).astype(np.uint16)
    return Events(np.sort(t), x, y, rng.integers(0, 2, n).astype(np.uint8), (20, 30))


def in_pieces(readout: Readout, events: Events, ends: list[int]) -> list[Events]:
    parts, begin = [], 0
    for end in ends:
        stop = int(np.searchsorted(events.t, end))
        columns = (getattr(events, c)[begin:stop] for c in ("t", "x", "y", "p"))
        parts.append(readout.pass_on(Events(*columns, sensor_size=events.sensor_size), end))
        begin = stop
    return [*parts, readout.flush()]


def joined(parts: list[Events]) -> Events:
    columns = {c: np.concatenate([getattr(e, c) for e in parts]) for c in ("t", "x", "y", "p")}
    return Events(**columns, sensor_size=parts[0].sensor_size)


@pytest.mark.parametrize("limit", [0.3, 1.0, 2.7])
@pytest.mark.parametrize("wait_us", [0, 150, 1000])
@pytest.mark.parametrize("step_us", [0, 64])
def test_readout_equals_its_twin_however_it_is_called(limit: float, wait_us: int, step_us: int) -> None:
    sensor = SensorModel(readout_mev_per_s=limit, readout_wait_us=wait_us, timestamp_step_us=step_us)
    events = busy_events(0)
    leaves = twins.queue_times(events.t.tolist(), limit, wait_us, step_us)
    kept = np.array([k for k, t in enumerate(leaves) if t is not None])
    expected = [t for t in leaves if t is not None]
    assert 0 < len(kept) < len(events)
    for ends in ([20_000], list(range(500, 20_001, 500)), [3100, 3101, 3900, 9010, 20_000]):
        readout = Readout(sensor, events.sensor_size)
        parts = in_pieces(readout, events, ends)
        out = joined(parts)
        assert out.t.tolist() == expected
        for column in ("x", "y", "p"):
            assert (getattr(out, column) == getattr(events, column)[kept]).all()
        assert readout.num_lost == len(events) - len(kept) and readout.num_waiting == 0
        for part, begin, end in zip(parts, [0, *ends], ends, strict=False):
            assert len(part) == 0 or begin <= part.t.min() <= part.t.max() < end


@pytest.mark.parametrize("limit", [0.3, 0.77, 3.0])
def test_readout_never_exceeds_its_rate(limit: float) -> None:
    events = busy_events(1)
    sensor = SensorModel(readout_mev_per_s=limit, readout_wait_us=800)
    readout = Readout(sensor, events.sensor_size)
    out = readout.pass_on(events, 10**9)
    edges = np.arange(0, out.t[-1] + 1)
    inside = np.searchsorted(out.t, edges + 1000) - np.searchsorted(out.t, edges)
    assert inside.max() <= np.ceil(1000 * limit)
    assert inside.max() >= 0.99 * 1000 * limit  # the burst fills it
    # what is kept waits no longer than allowed
    leaves = twins.queue_times(events.t.tolist(), limit, 800, 0)
    assert all(t is None or 0 <= t - asked <= 800 for t, asked in zip(leaves, events.t.tolist(), strict=True))


def test_bunching_rounds_up_and_keeps_every_event() -> None:
    events = busy_events(2)
    readout = Readout(SensorModel(timestamp_step_us=100), events.sensor_size)
    out = joined(in_pieces(readout, events, [*range(730, 20_000, 730), 20_000]))
    assert len(out) == len(events)
    assert (out.t % 100 == 0).all() and (out.t - events.t >= 0).all() and (out.t - events.t < 100).all()
    assert (out.x == events.x).all() and (out.p == events.p).all()


def test_simulator_with_a_slow_readout_delays_loses_and_stays_small() -> None:
    rng = np.random.default_rng(0)
    images = [rng.uniform(20, 200, (30, 40)).astype(np.float32) for _ in range(20)]
    sensor = SensorModel(readout_mev_per_s=0.5, readout_wait_us=2500, timestamp_step_us=10)
    free = run(EventSimulator((30, 40), SensorModel(), seed=0), images * 5, [1000 * k for k in range(100)])
    sim = EventSimulator((30, 40), sensor, seed=0)
    assert len(sim.feed(images[0], 0)) == 0
    parts, most = [], 0
    for k in range(1, 100):
        part = sim.feed(images[k % 20], 1000 * k)
        assert len(part) == 0 or (1000 * (k - 1) <= part.t.min() and part.t.max() < 1000 * k)
        parts.append(part)
        most = max(most, sim.num_waiting)
    out = joined([*parts, sim.flush()])
    assert len(out) + sim.num_lost == len(free) and sim.num_lost > 0.5 * len(free)
    assert (np.diff(out.t) >= 0).all()
    assert out.t[-1] > 99_000  # late events came with the flush
    assert 1000 < most <= 0.5 * (2500 + 10) + 1


def test_readout_settings_are_checked() -> None:
    for changes, match in (
        ({"readout_mev_per_s": -1.0}, "readout_mev_per_s"),
        ({"readout_mev_per_s": 1e-9}, "readout_mev_per_s must be 0 .no limit. or at least"),
        ({"readout_wait_us": 0.5}, "readout_wait_us must be whole µs"),
        ({"timestamp_step_us": 2**31}, "timestamp_step_us must be whole µs below"),
        ({"shot_on_share": 1.5}, "shot_on_share must be <= 1"),
        ({"noise_spread": 4.0}, "noise_spread must be <= 3"),
    ):
        with pytest.raises(UnitError, match=match):
            SensorModel(**changes)
