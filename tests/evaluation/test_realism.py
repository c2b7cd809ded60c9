"""Statistics of recordings whose rates, intervals and areas are known by construction."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eventhpe.errors import ShapeError
from eventhpe.evaluation import kernels_realism as kernels
from eventhpe.evaluation import realism
from eventhpe.evaluation.realism import (
    INTERVAL_BINS,
    INTERVAL_EDGES_US,
    STATISTICS,
    Measured,
    compare,
    measure,
    wasserstein_decades,
)
from eventhpe.events.filters import background_activity
from eventhpe.events.open import open_recording
from eventhpe.events.recording import Recording
from eventhpe.events.types import Events

SIZE = (96, 128)
SECONDS = 2
SQUARE = (slice(30, 50), slice(40, 70))
"""Rows and columns of the body in `body_and_noise`."""


def events_of(t: Any, x: Any, y: Any, p: Any, size: tuple[int, int] = SIZE) -> Events:
    order = np.argsort(t, kind="stable")
    return Events.from_columns(*(np.asarray(c)[order] for c in (t, x, y, p)), size)


def noise(hz: float, *, seconds: float = SECONDS, on_share: float = 0.5, seed: int = 0) -> list[NDArray[Any]]:
    """Columns t, x, y, p of Poisson noise over the sensor."""
    rng = np.random.default_rng(seed)
    n = rng.poisson(hz * SIZE[0] * SIZE[1] * seconds)
    return [
        rng.integers(0, round(seconds * 1e6), n),
        rng.integers(0, SIZE[1], n),
        rng.integers(0, SIZE[0], n),
        (rng.random(n) < on_share).astype(int),
    ]


def body(interval_us: int, *, seconds: float = SECONDS) -> list[NDArray[Any]]:
    """Every pixel of SQUARE fires ON, OFF, ON ... at its own phase, once per interval."""
    rows, columns = np.mgrid[SQUARE]
    rng = np.random.default_rng(1)
    number = round(seconds * 1e6 / interval_us)
    phase = rng.integers(0, interval_us, rows.size)
    t = phase[:, None] + np.arange(number) * interval_us
    p = np.broadcast_to(np.arange(number) % 2, t.shape)
    x, y = (np.broadcast_to(c.ravel()[:, None], t.shape) for c in (columns, rows))
    return [t.ravel(), x.ravel(), y.ravel(), p.ravel()]


def recording_of(*parts: list[NDArray[Any]]) -> Recording:
    return Recording.from_events(events_of(*(np.concatenate(c) for c in zip(*parts, strict=True))))


class InBlocks:
    """The events of a recording in blocks of another size."""

    def __init__(self, events: Events, block: int, end_us: int) -> None:
        self.events, self.block, self.end_us, self.sensor_size = events, block, end_us, events.sensor_size

    def blocks(self) -> Iterator[Events]:
        for i in range(0, len(self.events), self.block):
            yield self.events.slice(i, i + self.block)


def test_body_and_noise_are_told_apart() -> None:
    found = measure(recording_of(body(10_000), noise(0.4, on_share=0.75)), name="known")
    values = found.values
    # The area reaches a pixel beyond the square, where 10 of 25 pixels fire: 22 x 32, without corners.
    area = 22 * 32 - 4
    assert values["active_share"] * SIZE[0] * SIZE[1] == pytest.approx(area, rel=0.03)
    assert values["body_rate_hz"] == pytest.approx(100 * 600 / area, rel=0.03)
    assert values["background_rate_hz"] == pytest.approx(0.4, rel=0.06)
    assert 1.0 < values["background_unevenness"] < 1.3
    assert values["body_on_off"] == pytest.approx(1.0, abs=0.03)
    assert values["background_on_off"] == pytest.approx(3.0, rel=0.1)
    assert values["interval_median_us"] == pytest.approx(10_000, rel=0.13), "within a bin"
    assert values["same_polarity_share"] < 0.02
    assert values["neighbours"] > 6 and values["hot_share"] == 0 and values["repeated_share"] == 0
    assert (found.name, found.sensor_size) == ("known", SIZE)
    assert found.body_intervals.sum() == pytest.approx(1) == found.background_intervals.sum()


def test_noise_alone_has_no_body() -> None:
    values = measure(recording_of(noise(1.0))).values
    assert values["active_share"] < 3e-4
    assert values["background_rate_hz"] == pytest.approx(1.0, rel=0.05)
    # Eight neighbours of 1 Hz in 10 ms, fewer at the border.
    assert values["isolated_share"] == pytest.approx(np.exp(-0.08), abs=0.01)
    assert values["fired_share"] == pytest.approx(1 - np.exp(-1), abs=0.01)
    assert np.isnan(measure(recording_of(noise(0.3))).values["body_rate_hz"]), "no active pixel at all"


def test_isolated_events_are_what_the_filter_removes() -> None:
    recording = recording_of(body(25_000), noise(1.5))
    kept = background_activity(recording.read(), 10_000)
    assert measure(recording).values["isolated_share"] == pytest.approx(1 - len(kept) / recording.num_events)


def test_length_of_windows_by_count() -> None:
    t = np.arange(60_000) * 40
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 128, 60_000), rng.integers(0, 96, 60_000)
    values = measure(Recording.from_events(events_of(t, x, y, x % 2))).values
    assert values["window_ms"] == pytest.approx(7500 * 0.04, rel=0.02)
    few = measure(Recording.from_events(events_of(t[:7500], x[:7500], y[:7500], x[:7500] % 2))).values
    assert np.isnan(few["window_ms"])
    slow = np.arange(7501) * 140_000
    rare = Recording.from_events(events_of(slow, x[:7501], y[:7501], slow * 0))
    assert measure(rare).values["window_ms"] == pytest.approx(1e6, rel=0.02), (
        "longer than the histogram reaches: its last bin"
    )


def test_read_out_twice_and_in_bunches() -> None:
    t, x, y, p = noise(1.0)
    twice = [np.concatenate([c, c[: len(t) // 5]]) for c in (t, x, y, p)]
    twice[0][len(t) :] += 1
    values = measure(recording_of(twice)).values
    assert values["repeated_share"] == pytest.approx(1 / 6, abs=0.005)
    opposite = [*twice[:3], np.concatenate([p, 1 - p[: len(t) // 5]])]
    assert measure(recording_of(opposite)).values["repeated_share"] < 0.001, "another polarity is an event"
    bunched = measure(recording_of([t // 1000 * 1000, x, y, p])).values
    assert bunched["same_time_share"] == pytest.approx(1 - 2000 / len(t), abs=0.01)
    assert measure(recording_of([t, x, y, p])).values["same_time_share"] < 0.02


def test_hot_pixels_are_counted_and_are_no_noise() -> None:
    rng = np.random.default_rng(3)
    pixels = rng.choice(96 * 128, 12, replace=False)
    hot = np.repeat(pixels, 40)
    columns = [rng.integers(0, SECONDS * 1_000_000, hot.size), hot % 128, hot // 128, np.ones(hot.size, int)]
    values = measure(recording_of(noise(0.2), columns)).values
    assert values["hot_share"] == pytest.approx(12 / (96 * 128))
    assert values["background_rate_hz"] == pytest.approx(0.2, rel=0.06)
    assert values["background_on_off"] == pytest.approx(1.0, rel=0.15)


def test_intervals_do_not_depend_on_the_length_of_a_recording() -> None:
    """Poisson noise of 20 Hz, cut at 0.25 s."""
    seen = []
    for seconds in (0.6, 4.0):
        rng = np.random.default_rng(5)
        n = rng.poisson(20 * 5000 * seconds)
        place = rng.integers(0, 5000, n) * 2
        columns = [rng.integers(0, round(seconds * 1e6), n), place % 128, place // 128, rng.integers(0, 2, n)]
        seen.append(measure(recording_of(columns)))
    assert wasserstein_decades(seen[0].body_intervals, seen[1].body_intervals) < 0.01
    expected = -np.log1p(-0.5 * (1 - np.exp(-20 * INTERVAL_EDGES_US[-1] * 1e-6))) / 20 * 1e6
    for one in seen:
        assert one.values["interval_median_us"] == pytest.approx(expected, rel=0.03)


def test_short_recordings_tell_what_they_can() -> None:
    found = measure(recording_of(body(2_000, seconds=0.04)))
    assert found.values["body_rate_hz"] == pytest.approx(500 * 600 / (22 * 32 - 4), rel=0.05)
    for name in ("interval_median_us", "hot_share", "fired_share"):
        assert np.isnan(found.values[name])
    assert not found.body_intervals.any() and found.as_dict()["hot_share"] is None


def test_blocks_and_parts_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = recording_of(body(10_000), noise(0.5))
    events, end = whole.read(), whole.end_us
    expected = measure(whole)
    for block in (997, 50_000):
        got = measure(InBlocks(events, block, end))  # type: ignore[arg-type]
        assert got.values == expected.values and np.array_equal(got.body_intervals, expected.body_intervals)
    monkeypatch.setattr(realism, "_MOST_EVENTS", 1500)
    parts = measure(InBlocks(events, 997, end)).values  # type: ignore[arg-type]
    for name in ("isolated_share", "window_ms", "fired_share", "same_time_share", "repeated_share"):
        assert parts[name] == expected.values[name], name


def test_silence_counts_as_background_and_costs_nothing() -> None:
    t, x, y, p = noise(1.0)
    day_us = 24 * 3600 * 1_000_000
    late = np.where(t > 1_000_000, t + day_us, t)
    values = measure(recording_of([late, x, y, p])).values
    assert values["background_rate_hz"] == pytest.approx(2 / (24 * 3600 + 2), rel=0.05)
    # The end that a recording states is part of it.
    stated = InBlocks(events_of(t, x, y, p), 10_000, 8_000_000)
    assert measure(stated).values["background_rate_hz"] == pytest.approx(0.25, rel=0.05)  # type: ignore[arg-type]
    nothing = measure(Recording.from_events(Events.empty(SIZE)))
    assert nothing.num_events == 0 and np.isnan(nothing.values["body_rate_hz"])


@pytest.mark.parametrize("shape", [(1, 1), (3, 40), (40, 3), (33, 47)])
@pytest.mark.parametrize(("radius", "margin"), [(2, 6), (1, 3), (7, 7)])
def test_active_area_against_a_plain_twin(shape: tuple[int, int], radius: int, margin: int) -> None:
    rng = np.random.default_rng(shape[0])
    H, W = shape
    n = max(1, H * W // 5)
    x, y = rng.integers(0, W + 2, n).astype(np.uint16), rng.integers(0, H + 1, n).astype(np.uint16)
    work, area = np.full((2, H, W), 9, np.uint8), np.full((H, W), 9, np.uint8)
    found = kernels.active_area(x, y, radius, 7, margin, work, area)
    fired = {(int(r), int(c)) for r, c in zip(y, x, strict=True) if r < H and c < W}

    def near(marks: set[tuple[int, int]], r: int, c: int, reach: int) -> int:
        return sum(abs(r - a) <= reach and abs(c - b) <= reach for a, b in marks)

    dense = {(r, c) for r in range(H) for c in range(W) if near(fired, r, c, radius) >= 7}
    for r in range(H):
        for c in range(W):
            kind = kernels.MARGIN if near(dense, r, c, margin) else kernels.OUTSIDE
            assert area[r, c] == (kernels.BODY if (r, c) in dense else kind)
    assert found == len(dense)


def test_percentiles_of_a_histogram() -> None:
    """Exact where the counted values are known to be spread evenly within their bins."""
    edges = np.array([0.0, 1, 3, 4, 10, 11])
    one_bin = realism._quantiles(np.array([0, 0, 0, 5, 0]), edges)
    assert one_bin == pytest.approx([4.6, 7.0, 9.4])
    two = realism._quantiles(np.array([0, 4, 0, 0, 4]), edges)
    assert two == pytest.approx([1.4, 3.0, 10.8]) and np.isnan(realism._quantiles(np.zeros(5), edges)).all()


def one_measured(value: float, middle_bin: int, **others: float) -> Measured:
    intervals = np.zeros(INTERVAL_BINS)
    intervals[middle_bin - 2 : middle_bin + 3] = 0.2
    values = {s.name: value for s in STATISTICS} | others
    return Measured(f"{value}", SIZE, 1, 1, 1, values, intervals, intervals)


def test_equal_sets_are_no_distance_apart() -> None:
    group = [one_measured(v, 60) for v in (0.2, 0.3, 0.5, 0.9)]
    same = compare(group, group)
    assert same.total == 0 and same.interval_decades == 0
    assert all(r.distance == 0 and r.overlap == 1 and r.covered == 1 for r in same.rows)


def test_distances_are_in_units_of_the_real_spread() -> None:
    rng = np.random.default_rng(0)
    real = [one_measured(v, 60 + k % 2) for k, v in enumerate(10 ** rng.normal(1.0, 0.5, 400))]
    far = [one_measured(v, 80) for v in 10 ** rng.normal(2.0, 0.5, 400)]
    compared = compare(real, far)
    by_name = {r.statistic.name: r for r in compared.rows}
    assert by_name["body_rate_hz"].distance == pytest.approx(2.0, abs=0.25), "one decade, sigma half of one"
    assert by_name["body_rate_hz"].real[1] == pytest.approx(10, rel=0.15)
    assert 0.05 < by_name["body_rate_hz"].overlap < 0.3
    values = np.array([m.values["body_rate_hz"] for m in real])
    assert (
        by_name["body_rate_hz"].covered == np.mean(values >= min(m.values["body_rate_hz"] for m in far)) < 1
    )
    assert compared.interval_decades == pytest.approx(19.5 / kernels.BINS_PER_DECADE)
    # Real ones differ from each other by half a bin, less than the least spread.
    assert compared.interval_distance == pytest.approx(compared.interval_decades / 0.05)
    counted = [r.distance for r in compared.rows if r.statistic.counted]
    assert compared.total == pytest.approx(np.mean([*counted, compared.interval_distance]))


def test_floors_and_unknown_values() -> None:
    real = [one_measured(0.5, 60, background_rate_hz=0.0, hot_share=np.nan) for _ in range(3)]
    compared = compare(real, [one_measured(0.5, 60, background_rate_hz=1e-3)])
    by_name = {r.statistic.name: r for r in compared.rows}
    assert by_name["background_rate_hz"].distance == 0, "0 counts as the floor"
    assert np.isnan(by_name["hot_share"].distance) and compared.total == pytest.approx(0)
    told = compared.as_dict()
    assert told["statistics"]["hot_share"]["distance"] is None
    assert told["statistics"]["hot_share"]["synthetic"] == [0.5, 0.5, 0.5]
    assert set(told["statistics"]) == {s.name for s in STATISTICS} and told["interval_shape"]["counted"]
    shifted = compare(real, [one_measured(0.5, 60, background_rate_hz=1.0)])
    row = next(r for r in shifted.rows if r.statistic.name == "background_rate_hz")
    assert row.distance == pytest.approx(3 / 0.2) and row.overlap == 0 and row.covered == 0
    with pytest.raises(ShapeError, match="0 synthetic"):
        compare(real, [])


def test_real_people(shared: Path) -> None:
    """Two cameras: a DVS128 reads some OFF events twice, a Prophesee VGA none; containers change nothing."""
    folder = shared / "events"
    found = {}
    for name in (
        "dvs128-hand-gestures/dvSave-2024_06_20_16_06_00.aedat4",
        "ros-person-evt3/test_events_1.bag",
        "ros-person-evt3/test_events_1/test_events_1.db3",
    ):
        with open_recording(folder / name) as recording:
            found[name] = measure(recording, name="")
    hand, person, again = found.values()
    assert person.values == again.values and person.num_on == again.num_on
    assert hand.values["repeated_share"] > 0.1 and person.values["repeated_share"] == 0
    for one in (hand, person):
        assert 0.002 < one.values["active_share"] < 0.2 and 10 < one.values["body_rate_hz"] < 100
        assert 0.01 < one.values["background_rate_hz"] < 1
