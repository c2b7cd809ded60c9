"""Voxel grid against a slow twin, and the properties that any correct one has."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventhpe.errors import ShapeError, UnitError
from eventhpe.events.types import Events
from eventhpe.events.voxel import voxelize, voxelize_windows

SIZE = (5, 7)
T0, T1 = 1_000, 21_000


def reference_voxel(events: Events, bins: int, t0: int, t1: int) -> np.ndarray:
    """Triangle kernel in time, one event after the other, in float64."""
    grid = np.zeros((bins, *events.sensor_size))
    for t, x, y, p in zip(events.t, events.x, events.y, events.p, strict=True):
        position = (bins - 1) * (int(t) - t0) / (t1 - t0)
        for b in range(bins):
            grid[b, y, x] += (1 if p else -1) * max(0.0, 1.0 - abs(b - position))
    return grid


def make(times: list[int], seed: int) -> Events:
    rng = np.random.default_rng(seed)
    n = len(times)
    return Events.from_columns(
        sorted(times), rng.integers(0, SIZE[1], n), rng.integers(0, SIZE[0], n), rng.integers(0, 2, n), SIZE
    )


event_lists = st.builds(make, st.lists(st.integers(T0, T1 - 1), max_size=60), st.integers(0, 1000))


def flipped(events: Events) -> Events:
    return Events(events.t, events.x, events.y, (1 - events.p).astype(np.uint8), events.sensor_size)


@settings(max_examples=60, deadline=None)
@given(event_lists, st.integers(1, 12))
def test_equals_the_slow_twin(events: Events, bins: int) -> None:
    grid = voxelize(events, bins, t0_us=T0, t1_us=T1)
    assert grid.data.dtype == np.float32 and grid.data.shape == (bins, *SIZE)
    np.testing.assert_allclose(grid.data, reference_voxel(events, bins, T0, T1), atol=1e-5)


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
