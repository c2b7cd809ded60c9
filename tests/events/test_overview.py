"""Statistics of a recording in one pass, against plain NumPy over all events at once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from eventhpe.errors import UnitError
from eventhpe.events import kernels_overview as kernels
from eventhpe.events.filters import background_activity, hot_pixels
from eventhpe.events.frames import count_frame
from eventhpe.events.overview import ISOLATED_WITHIN_US, LEAST_GAP_US, Overview, look_over
from eventhpe.events.types import Events

SIZE = (48, 64)


def some_events(n: int, duration_us: int, *, seed: int = 0, size: tuple[int, int] = SIZE) -> Events:
    rng = np.random.default_rng(seed)
    height, width = size
    t = np.sort(rng.integers(0, duration_us, n))
    x, y = rng.integers(0, width, n), rng.integers(0, height, n)
    return Events.from_columns(t, x, y, rng.random(n) < 0.6, size)


def in_blocks(events: Events, length: int) -> Iterator[Events]:
    for i in range(0, len(events), length):
        yield events.slice(i, i + length)


def taken(events: Events, length: int = 1 << 17) -> Overview:
    return look_over(in_blocks(events, length), events.sensor_size)


def without_clusters(events: Events, gaps: list[tuple[int, int]]) -> Events:
    """Move everything from `at` on by `by` µs, for each silence."""
    t = events.t.copy()
    for at, by in gaps:
        t[events.t >= at] += by
    return Events(t, events.x, events.y, events.p, events.sensor_size)


def test_totals_and_maps_equal_numpy() -> None:
    events = some_events(50_000, 2_000_000)
    events = Events.from_columns(
        np.sort(np.concatenate([events.t, np.arange(0, 2_000_000, 500)])),
        np.concatenate([events.x, np.full(4000, 7)]),
        np.concatenate([events.y, np.full(4000, 30)]),
        np.concatenate([events.p, np.zeros(4000, np.uint8)]),
        SIZE,
    )
    seen = taken(events, 1009)
    assert seen.num_events == len(events) and seen.on_share == events.p.mean()
    assert np.array_equal(seen.counts, count_frame(events))
    removed = hot_pixels(events)
    assert np.array_equal(seen.hot, removed.pixels) and seen.hot.tolist() == [[30, 7]]
    assert seen.hot_share == removed.num_removed / len(events)
    assert seen.active_share == 1.0
    isolated = len(events) - len(background_activity(events, ISOLATED_WITHIN_US))
    assert seen.isolated_share == isolated / len(events)
    assert (seen.start_us, seen.end_us) == (0, events.t[-1] + 1)


@pytest.mark.parametrize("duration_us", [700, 90_000, 3_000_000, 4_000_000_000])
def test_counts_over_time_equal_a_histogram(duration_us: int) -> None:
    events = some_events(20_000, duration_us, seed=1)
    seen = taken(events, 777)
    assert seen.bin_us == 625 * max(1, 2 ** int(np.ceil(np.log2(duration_us / 625 / (1 << 18)))))
    slots = events.t // seen.bin_us
    assert len(seen.on) == slots[-1] + 1
    assert np.array_equal(seen.on, np.bincount(slots, weights=events.p).astype(int))
    assert np.array_equal(seen.on + seen.off, np.bincount(slots))

    wide = events.t // seen.rate_bin_us
    total = np.bincount(wide)
    whole = total[:-1] if len(total) > 1 else total
    seconds = 1e-6 * (seen.rate_bin_us if len(total) > 1 else events.t[-1] + 1)
    assert seen.peak_rate_hz == pytest.approx(total.max() / seconds)
    assert seen.peak_us == np.argmax(total) * seen.rate_bin_us
    assert seen.median_rate_hz == pytest.approx(np.median(whole) / seconds)
    if duration_us == 3_000_000:
        assert seen.rate_bin_us == 10_000

    edges, on, off = seen.rates(100)
    assert len(on) <= 100 and on.sum() + off.sum() == len(events)
    assert np.array_equal(on + off, np.histogram(events.t, edges)[0])


def test_blocks_do_not_matter() -> None:
    events = without_clusters(some_events(6000, 400_000, seed=2), [(100_000, 50_000), (300_000, 2_000_000)])
    whole = taken(events)
    for length in (1, 2, 13, 4096):
        parts = taken(events, length)
        assert parts.as_dict() == whole.as_dict() and np.array_equal(parts.counts, whole.counts)


def test_silences_are_found_with_place_and_length() -> None:
    quiet = [(100_000, 40_000), (400_000, 1_500_000), (700_000, 15_000)]
    events = without_clusters(some_events(40_000, 1_000_000, seed=3), quiet)
    seen = taken(events, 999)
    steps = np.diff(events.t)
    assert seen.gap_us == LEAST_GAP_US and seen.num_gaps == 3 == (steps > LEAST_GAP_US).sum()
    order = np.argsort(-steps)[:3]
    assert [(g.start_us, g.duration_us) for g in seen.gaps] == [(events.t[k], steps[k]) for k in order]
    (line,) = [r for r in seen.remarks() if "silence" in r]
    assert "3 silences" in line and "1,5" in line


def test_a_sparse_recording_is_not_all_silences() -> None:
    events = some_events(3000, 300_000_000, seed=4)  # 10 events per second
    seen = taken(events)
    assert seen.gap_us > 1_000_000
    assert seen.num_gaps == (np.diff(events.t) > seen.gap_us).sum() == 0


def test_more_silences_than_are_kept() -> None:
    rng = np.random.default_rng(5)
    # 5000 events per second most of the time, and 10,000 silences
    steps = np.full(3_000_000, 200)
    steps[::300] = rng.integers(11_000, 50_000, 10_000)
    t = np.cumsum(steps)
    events = Events.from_columns(t, t % 64, t % 48, t % 2, SIZE)
    seen = taken(events)
    assert seen.gap_us > LEAST_GAP_US, "only the longer ones are still told"
    assert 0 < seen.num_gaps == (np.diff(t) > seen.gap_us).sum() <= 4096
    assert seen.gaps[0].duration_us == np.diff(t).max() and len(seen.gaps) == 16

    same = Events.from_columns(np.arange(9000) * 20_000, t[:9000] % 64, t[:9000] % 48, t[:9000] % 2, SIZE)
    assert taken(same).num_gaps == 0


def test_bursts() -> None:
    calm, flash = some_events(10_000, 1_000_000, seed=6), some_events(5000, 10_000, seed=7)
    t = np.concatenate([calm.t, flash.t + 500_000])
    order = np.argsort(t, kind="stable")
    columns = (np.concatenate([getattr(calm, c), getattr(flash, c)])[order] for c in "xyp")
    seen = taken(Events.from_columns(t[order], *columns, SIZE))
    assert seen.num_bursts == 1 and seen.peak_us == 500_000
    assert seen.burst_share == pytest.approx((5000 + 100) / 15_000, rel=0.01)
    assert any("1 burst of more than 10 times" in r for r in seen.remarks())


def test_isolation_is_estimated_from_a_sample_when_there_are_many_events() -> None:
    events = some_events(3 * kernels.CHECK_ALL, 60_000_000, seed=8, size=(200, 300))
    seen = taken(events)
    true = 1 - len(background_activity(events, ISOLATED_WITHIN_US)) / len(events)
    assert 0.1 < true < 0.95 and seen.isolated_share == pytest.approx(true, abs=0.005)


def test_nothing_and_next_to_nothing() -> None:
    empty = look_over([], SIZE)
    assert (empty.num_events, empty.peak_rate_hz, empty.num_gaps, len(empty.hot)) == (0, 0.0, 0, 0)
    assert empty.on_share == empty.hot_share == empty.isolated_share == 0.0 and empty.remarks() == ()
    json.dumps(empty.as_dict())
    assert look_over([Events.empty(SIZE)] * 3, SIZE).num_events == 0
    one = taken(Events.from_columns([5], [1], [2], [1], SIZE))
    assert (one.num_events, one.on_share, one.end_us, one.counts[2, 1]) == (1, 1.0, 6, 1)
    assert one.isolated_share == 1.0
    together = taken(Events.from_columns([0] * 9, [1] * 9, [2] * 9, [0] * 9, SIZE))
    assert together.peak_rate_hz == pytest.approx(9e6) and together.end_us == 1
    with pytest.raises(UnitError, match="num_bins"):
        one.rates(0)


def test_strange_times_and_places_do_no_harm() -> None:
    t = np.array([-5_000_000, -5, 0, 3, 10**17, 10**17 + 1], np.int64)
    wide = np.array([0, 63, 64, 65535, 1, 2], np.uint16)
    seen = look_over([Events(t, wide, wide, np.array([0, 1, 2, 255, 0, 1], np.uint8), SIZE)], SIZE)
    assert seen.num_events == 6 and seen.on.sum() == 4 and seen.start_us == -5_000_000
    assert seen.counts.sum() == 3, "only three lie on the sensor"
    assert seen.bin_us * (1 << 18) > 10**17 and len(seen.on) <= 1 << 18
    rng = np.random.default_rng(9)
    for _ in range(200):
        n = int(rng.integers(1, 50))
        t = rng.integers(-(10**6), 10 ** rng.integers(1, 17), n)  # in no order
        x, y = rng.integers(0, 70, (2, n)).astype(np.uint16)
        seen = look_over([Events(t, x, y, (x % 3).astype(np.uint8), SIZE)] * 2, SIZE)
        assert seen.num_events == 2 * n
        json.dumps(seen.as_dict())


def test_the_dictionary_is_small_and_complete() -> None:
    seen = taken(some_events(30_000, 60_000_000, seed=10))
    told = json.loads(json.dumps(seen.as_dict()))
    assert sum(told["rate"]["on"]) + sum(told["rate"]["off"]) == 30_000
    assert (
        len(told["rate"]["on"]) <= 200
        and told["rate"]["bin_us"] * len(told["rate"]["on"]) >= 60_000_000 - 10**6
    )
    assert told["peak_rate_hz"] == seen.peak_rate_hz and told["num_hot_pixels"] == len(seen.hot)
    assert len(json.dumps(told)) < 10_000


def test_remarks_say_what_to_do() -> None:
    base = some_events(20_000, 1_000_000, seed=11)
    stuck = Events.from_columns(
        np.sort(np.concatenate([base.t, np.arange(0, 1_000_000, 100)])),
        np.concatenate([base.x, np.full(10_000, 3)]),
        np.concatenate([base.y, np.full(10_000, 4)]),
        np.concatenate([base.p, np.ones(10_000, np.uint8)]),
        SIZE,
    )
    (line,) = taken(stuck).remarks()
    assert line.startswith("1 hot pixel with 33 % of the events: convert with --hot-pixels")
    only_on = Events(base.t, base.x, base.y, np.ones(len(base), np.uint8), SIZE)
    (line,) = taken(only_on).remarks()
    assert line.startswith("100 % of the events are ON")
    noise = some_events(2000, 100_000_000, seed=12)
    assert any("stand alone" in r for r in taken(noise).remarks())


def test_real_recordings(shared: Path) -> None:
    from eventhpe.events.open import open_recording

    listed = json.loads((shared / "events/facts.json").read_text())["files"]
    facts = {f["path"]: f["facts"] for f in listed}
    for path in ("dvs128-walking/neal_walking.aedat", "containers/person_vga_lz4.aedat4"):
        with open_recording(shared / "events" / path) as recording:
            seen = look_over(recording.blocks(), recording.sensor_size)
            events = recording.read()
        fact = facts[path]
        assert (seen.on.sum(), seen.off.sum()) == (fact["n_on"], fact["n_off"])
        assert seen.end_us == fact["t_max"] - fact["t_min"] + 1
        assert seen.counts.sum(0) @ np.arange(recording.sensor_size[1]) == fact["sum_x"]
        assert seen.counts.sum(1) @ np.arange(recording.sensor_size[0]) == fact["sum_y"]
        assert set(map(tuple, seen.hot)) == set(map(tuple, hot_pixels(events).pixels))
