"""Voxel grid against a slow twin, and the properties that any correct one has."""

from __future__ import annotations

import itertools
import os
import signal
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from eventhpe.errors import ShapeError, UnitError
from eventhpe.events import voxel as voxel_module
from eventhpe.events.types import Events
from eventhpe.events.voxel import voxelize, voxelize_windows
from tests.events import grid_twins

SIZE = (5, 7)
T0, T1 = 1_000, 21_000


def make(times: ArrayLike, seed: int, size: tuple[int, int] = SIZE) -> Events:
    rng = np.random.default_rng(seed)
    t = np.sort(np.asarray(times, np.int64))
    columns = (rng.integers(0, most, t.size) for most in (size[1], size[0], 2))
    return Events.from_columns(t, *columns, size)


event_lists = st.builds(make, st.lists(st.integers(T0, T1 - 1), max_size=120), st.integers(0, 1000))


def flipped(events: Events) -> Events:
    return Events(events.t, events.x, events.y, (1 - events.p).astype(np.uint8), events.sensor_size)


@settings(max_examples=60, deadline=None)
@given(event_lists, st.integers(1, 12))
def test_equals_the_slow_twin(events: Events, bins: int) -> None:
    grid = voxelize(events, bins, t0_us=T0, t1_us=T1)
    assert grid.data.dtype == np.float32 and grid.data.shape == (bins, *SIZE)
    np.testing.assert_allclose(grid.data, grid_twins.voxel(events, bins, T0, T1), atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(event_lists, st.integers(1, 12))
def test_sum_is_the_sum_of_signed_polarity_per_pixel(events: Events, bins: int) -> None:
    data = voxelize(events, bins, t0_us=T0, t1_us=T1).data
    signed = np.zeros(SIZE)
    np.add.at(signed, (events.y, events.x), 2.0 * events.p - 1.0)
    np.testing.assert_allclose(data.sum(axis=0), signed, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(event_lists, st.integers(1, 12))
def test_flipped_polarity_negates_exactly(events: Events, bins: int) -> None:
    a = voxelize(events, bins, t0_us=T0, t1_us=T1).data
    b = voxelize(flipped(events), bins, t0_us=T0, t1_us=T1).data
    assert np.array_equal(a, -b)


@settings(max_examples=40, deadline=None)
@given(event_lists, st.integers(1, 12), st.integers(0, 60))
def test_grids_of_parts_add_up(events: Events, bins: int, cut: int) -> None:
    parts = events.slice(0, cut), events.slice(cut, len(events))
    total = sum(voxelize(part, bins, t0_us=T0, t1_us=T1).data for part in parts)
    np.testing.assert_allclose(total, voxelize(events, bins, t0_us=T0, t1_us=T1).data, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(event_lists, st.integers(1, 12), st.integers(-(10**15), 10**15))
def test_shifting_time_changes_nothing(events: Events, bins: int, shift: int) -> None:
    moved = Events(events.t + shift, events.x, events.y, events.p, SIZE)
    a = voxelize(events, bins, t0_us=T0, t1_us=T1).data
    b = voxelize(moved, bins, t0_us=T0 + shift, t1_us=T1 + shift).data
    assert np.array_equal(a, b)


@settings(max_examples=40, deadline=None)
@given(event_lists, st.integers(1, 12))
def test_mirroring_the_events_mirrors_the_grid(events: Events, bins: int) -> None:
    x, y = (SIZE[1] - 1 - events.x).astype(np.uint16), (SIZE[0] - 1 - events.y).astype(np.uint16)
    mirrored = Events(events.t, x, y, events.p, SIZE)
    a = voxelize(events, bins, t0_us=T0, t1_us=T1).data
    assert np.array_equal(a[:, ::-1, ::-1], voxelize(mirrored, bins, t0_us=T0, t1_us=T1).data)


@settings(max_examples=30, deadline=None)
@given(event_lists)
def test_inputs_stay_as_they_are(events: Events) -> None:
    before = [getattr(events, c).copy() for c in "txyp"]
    voxelize(events, 4, t0_us=T0, t1_us=T1)
    for column, array in zip("txyp", before, strict=True):
        assert np.array_equal(getattr(events, column), array)
        assert not getattr(events, column).flags.writeable


def test_empty_window_gives_zeros_and_one_event_one_unit() -> None:
    assert not voxelize(Events.empty(SIZE), 3, t0_us=0, t1_us=10).data.any()
    one = Events.from_columns([5], [6], [4], [1], SIZE)
    data = voxelize(one, 3, t0_us=0, t1_us=10).data
    assert data[1, 4, 6] == 1.0 and np.count_nonzero(data) == 1
    data = voxelize(one, 3, t0_us=5, t1_us=6).data
    assert data[0, 4, 6] == 1.0 and np.count_nonzero(data) == 1


@pytest.mark.parametrize("bins", [1, 2, 3, 7])
@pytest.mark.parametrize("length", [1, 10, 65_537, 1 << 30, 1 << 36, 1 << 50])
def test_crowded_pixels_and_windows_of_any_length(bins: int, length: int) -> None:
    """Hundreds of events per pixel and interval: packed sums, whole, in several runs, and not at all."""
    t0 = -(10**12)
    times = t0 + np.random.default_rng(bins).integers(0, length, 6_000)
    events = make(times, 1)
    one_sided = Events(events.t, events.x, events.y, np.ones_like(events.p), SIZE)
    for given_events in (events, one_sided):
        expected = grid_twins.voxel(given_events, bins, t0, t0 + length)
        data = voxelize(given_events, bins, t0_us=t0, t1_us=t0 + length).data
        np.testing.assert_allclose(data, expected, atol=2e-4)


def test_idle_intervals_before_after_and_between() -> None:
    t = np.concatenate([np.full(50, 4_100), np.full(3, 9_300)]) + T0
    events = make(t, 3)
    buffer = np.full((11, *SIZE), np.nan, np.float32)
    voxelize(events, 11, t0_us=T0, t1_us=T1, out=buffer)
    np.testing.assert_allclose(buffer, grid_twins.voxel(events, 11, T0, T1), atol=1e-5)


@pytest.mark.parametrize("threads", [2, 3, 8])
@pytest.mark.parametrize("bins", [1, 2, 3, 10])
@pytest.mark.parametrize("uneven", [False, True])
def test_threads_change_nothing_but_rounding(
    threads: int, bins: int, uneven: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(voxel_module, "EVENTS_PER_THREAD", 10)
    rng = np.random.default_rng(threads)
    times = rng.integers(T0, T1, 2_000)
    if uneven:  # most events within one interval, so that several threads share its planes
        times = np.concatenate([times[:200], rng.integers(T0 + 5_000, T0 + 5_100, 1_800)])
    events = make(times, 5, (13, 17))
    buffer = np.full((bins, 13, 17), np.nan, np.float32)
    data = voxelize(events, bins, t0_us=T0, t1_us=T1, out=buffer, threads=threads).data
    single = voxelize(events, bins, t0_us=T0, t1_us=T1).data
    np.testing.assert_allclose(data, single, rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(data, grid_twins.voxel(events, bins, T0, T1), atol=1e-4)


def test_threads_find_unusable_events_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voxel_module, "EVENTS_PER_THREAD", 10)
    good = make(np.arange(T0, T0 + 100), 0)
    for k in (3, 50, 99):
        x, t = good.x.copy(), good.t.copy()
        x[k] = 7
        with pytest.raises(ShapeError, match=f"event {k} .*x=7"):
            voxelize(Events(good.t, x, good.y, good.p, SIZE), 5, t0_us=T0, t1_us=T1, threads=4)
        if k < 99:
            t[k] = T1 + 10**9 * (-1) ** k
            with pytest.raises(ShapeError, match="time order"):
                voxelize(Events(t, good.x, good.y, good.p, SIZE), 5, t0_us=T0, t1_us=T1, threads=4)
    with pytest.raises(ShapeError, match="threads"):
        voxelize(good, 5, t0_us=T0, t1_us=T1, threads=0)


def test_hostile_columns_give_a_result_or_one_error() -> None:
    """Any bytes in the columns: the ends are made right, so that the first check passes."""
    rng = np.random.default_rng(0)
    errors = 0
    for _ in range(300):
        n = int(rng.integers(2, 200))
        t = np.sort(rng.integers(T0, T1, n))
        x, y = (rng.integers(0, most, n).astype(np.uint16) for most in SIZE[::-1])
        p = rng.integers(0, 256, n).astype(np.uint8)
        k = int(rng.integers(1, n))
        column = int(rng.integers(0, 4))
        if column == 0 and k < n - 1:
            t[k] = rng.integers(-(2**63), 2**63 - 1)
        elif column == 1:
            x[k] = rng.integers(0, 65_536)
        elif column == 2:
            y[k] = rng.integers(0, 65_536)
        bins = int(rng.integers(1, 9))
        try:
            data = voxelize(Events(t, x, y, p, SIZE), bins, t0_us=T0, t1_us=T1).data
        except ShapeError:
            errors += 1
        else:
            assert np.isfinite(data).all() and data.sum() == pytest.approx(2 * (p > 0).sum() - n, abs=1e-3)
    assert 50 < errors < 250


def test_the_buffer_is_cleared_and_used() -> None:
    buffer = np.full((3, *SIZE), 7, np.float32)
    events = make([T0, T1 - 1], 0)
    grid = voxelize(events, 3, t0_us=T0, t1_us=T1, out=buffer)
    assert grid.data is buffer
    assert np.array_equal(buffer, voxelize(events, 3, t0_us=T0, t1_us=T1).data)
    for wrong in (np.zeros((3, 5, 8), np.float32), np.zeros((3, *SIZE)), buffer[::-1]):
        with pytest.raises(ShapeError, match="out must be"):
            voxelize(events, 3, t0_us=T0, t1_us=T1, out=wrong)


def test_events_outside_the_window_are_a_unit_error() -> None:
    for times in ([T0 - 1], [T1], [T0, T1]):
        with pytest.raises(UnitError, match="seconds"):
            voxelize(make(times, 0), 3, t0_us=T0, t1_us=T1)
    with pytest.raises(UnitError, match="t1 > t0"):
        voxelize(Events.empty(SIZE), 3, t0_us=5, t1_us=5)
    with pytest.raises(UnitError, match="whole microseconds"):
        voxelize(Events.empty(SIZE), 3, t0_us=0, t1_us=0.05)  # type: ignore[arg-type]
    with pytest.raises(UnitError, match="nanoseconds"):
        voxelize(Events.empty(SIZE), 8, t0_us=0, t1_us=1 << 60)
    with pytest.raises(ShapeError, match="num_bins"):
        voxelize(Events.empty(SIZE), 0, t0_us=0, t1_us=5)


def test_unchecked_events_cannot_write_outside_the_grid() -> None:
    t, p = np.array([1, 2], np.int64), np.ones(2, np.uint8)
    for x, y in ((7, 0), (0, 5), (65535, 65535)):
        events = Events(t, np.array([0, x], np.uint16), np.array([0, y], np.uint16), p, SIZE)
        with pytest.raises(ShapeError, match="event 1"):
            voxelize(events, 3, t0_us=0, t1_us=10)
    unsorted = Events(
        np.array([1, 10**9, 2]), *(np.zeros(3, d) for d in (np.uint16, np.uint16, np.uint8)), SIZE
    )
    with pytest.raises(ShapeError, match="time order"):
        voxelize(unsorted, 3, t0_us=0, t1_us=10)


@settings(max_examples=30, deadline=None)
@given(event_lists, st.lists(st.integers(T0 + 1, T1 - 1), max_size=5, unique=True))
def test_windows_equal_single_grids(events: Events, cuts: list[int]) -> None:
    edges = [T0, *sorted(cuts), T1]
    grids = voxelize_windows(events, 4, edges_us=edges)
    assert grids.shape == (len(edges) - 1, 4, *SIZE)
    for k, (t0, t1) in enumerate(itertools.pairwise(edges)):
        assert np.array_equal(grids[k], voxelize(events.between(t0, t1), 4, t0_us=t0, t1_us=t1).data)


def test_window_edges_are_checked() -> None:
    events = make([T0], 0)
    with pytest.raises(UnitError, match="increase"):
        voxelize_windows(events, 4, edges_us=[T0, T0, T1])
    with pytest.raises(ShapeError, match="edges_us"):
        voxelize_windows(events, 4, edges_us=[0.0, 0.05])
    with pytest.raises(UnitError, match="outside"):
        voxelize_windows(events, 4, edges_us=[T0 + 1, T1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_threads_work_in_a_forked_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Data loaders fork after the parent's threads were started; those do not exist in the child."""
    monkeypatch.setattr(voxel_module, "EVENTS_PER_THREAD", 10)
    events = make(np.arange(T0, T0 + 100), 0)
    expected = voxelize(events, 3, t0_us=T0, t1_us=T1, threads=2).data
    child = os.fork()
    if child == 0:
        same = False
        try:
            same = np.array_equal(voxelize(events, 3, t0_us=T0, t1_us=T1, threads=2).data, expected)
        finally:
            os._exit(0 if same else 1)
    deadline = time.monotonic() + 20
    while (done := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            pytest.fail("the forked process hangs")
        time.sleep(0.01)
    assert os.waitstatus_to_exitcode(done[1]) == 0
