"""Event frames and crops against slow twins."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventhpe.errors import ShapeError, UnitError
from eventhpe.events.frames import (
    binary_bins,
    count_frame,
    crop_binary,
    crop_counts,
    polarity_counts,
    polarity_frame,
)
from eventhpe.events.types import Events
from tests.events import grid_twins

SIZE = (9, 12)
T0, T1 = 100, 1_100


def random_events(n: int, seed: int = 0, size: tuple[int, int] = SIZE) -> Events:
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(T0, T1, n))
    return Events.from_columns(
        t, rng.integers(0, size[1], n), rng.integers(0, size[0], n), rng.integers(0, 2, n), size
    )


def test_count_and_polarity_frames() -> None:
    events = random_events(500)
    count, signed = np.zeros(SIZE), np.zeros(SIZE)
    np.add.at(count, (events.y, events.x), 1)
    np.add.at(signed, (events.y, events.x), 2.0 * events.p - 1)
    assert np.array_equal(count_frame(events), count) and np.array_equal(polarity_frame(events), signed)


@pytest.mark.parametrize("bins", [1, 3, 8])
def test_polarity_counts(bins: int) -> None:
    events = random_events(400, bins)
    got = polarity_counts(events, bins, t0_us=T0, t1_us=T1)
    assert got.dtype == np.float32 and np.array_equal(got, grid_twins.polarity_counts(events, bins, T0, T1))


def test_binary_bins_borders_are_half_open() -> None:
    """Eight bins of 10 µs: an event on a border belongs to the later bin."""
    times = [0, 9, 10, 19, 20, 40, 79]
    events = Events.from_columns(times, range(7), [0] * 7, [0, 1] * 3 + [0], SIZE)
    frame = binary_bins(events, 0, 80)
    assert frame.shape == (8, *SIZE)
    assert [int(frame[:, 0, x].argmax()) for x in range(7)] == [0, 0, 1, 1, 2, 4, 7]
    assert frame.sum() == 7


def test_binary_bins_of_an_uneven_window() -> None:
    events = random_events(300, 5)
    t1 = T1 + 3  # 1003 µs into 8 bins
    counts = grid_twins.polarity_counts(events, 8, T0, t1).reshape(8, 2, *SIZE).sum(axis=1)
    assert np.array_equal(binary_bins(events, T0, t1), counts > 0)


def test_halves_of_four_bins_are_eight_bins() -> None:
    events = random_events(300, 6)
    whole = binary_bins(events, T0, T1)
    middle = (T0 + T1) // 2
    halves = [binary_bins(events.between(a, b), a, b, 4) for a, b in ((T0, middle), (middle, T1))]
    assert np.array_equal(whole, np.concatenate(halves))


crops = st.tuples(
    st.floats(-6, 12),
    st.floats(-6, 9),
    st.floats(0.7, 20),
    st.integers(1, 24),
    st.integers(1, 3),
    st.integers(0, 99),
)


@settings(max_examples=40, deadline=None)
@given(crops)
def test_crop_equals_the_slow_twin(crop: tuple[float, float, float, int, int, int]) -> None:
    left, top, side, out_px, bins, seed = crop
    events = random_events(30, seed)
    got = crop_counts(events, t0_us=T0, t1_us=T1, left=left, top=top, side=side, out_px=out_px, num_bins=bins)
    expected = grid_twins.crop_counts(events, bins, T0, T1, left=left, top=top, side=side, out_px=out_px)
    np.testing.assert_allclose(got, expected, atol=2e-4)
    inside = (
        (events.x + 0.5 - left >= 0) & (events.x + 0.5 - left < side)
        & (events.y + 0.5 - top >= 0) & (events.y + 0.5 - top < side)
    )  # fmt: skip
    assert got.sum() == pytest.approx(np.count_nonzero(inside), abs=1e-3)


@settings(max_examples=30, deadline=None)
@given(crops)
def test_crop_occupancy_is_where_counts_are(crop: tuple[float, float, float, int, int, int]) -> None:
    left, top, side, out_px, bins, seed = crop
    events = random_events(30, seed)
    box = {
        "t0_us": T0,
        "t1_us": T1,
        "left": left,
        "top": top,
        "side": side,
        "out_px": out_px,
        "num_bins": bins,
    }
    counts = crop_counts(events, **box)  # type: ignore[arg-type]
    occupied = crop_binary(events, **box)  # type: ignore[arg-type]
    assert occupied.shape == (bins, out_px, out_px)
    assert np.array_equal(occupied, counts.reshape(bins, 2, out_px, out_px).sum(axis=1) > 0)


def test_crop_of_the_whole_sensor_is_the_frame() -> None:
    events = random_events(200, 1, (16, 16))
    got = crop_counts(events, t0_us=T0, t1_us=T1, left=0, top=0, side=16, out_px=16, num_bins=2)
    assert np.array_equal(got, polarity_counts(events, 2, t0_us=T0, t1_us=T1))
    half = crop_counts(events, t0_us=T0, t1_us=T1, left=0, top=0, side=16, out_px=8, num_bins=2)
    assert np.array_equal(half, got.reshape(4, 8, 2, 8, 2).sum(axis=(2, 4)))
    double = crop_counts(events, t0_us=T0, t1_us=T1, left=0, top=0, side=16, out_px=32, num_bins=2)
    assert np.array_equal(double, got.repeat(2, axis=1).repeat(2, axis=2) / 4)


def test_buffers_and_empty_windows() -> None:
    buffer = np.full((4, 6, 6), 9, np.float32)
    box = {"t0_us": T0, "t1_us": T1, "left": 0.0, "top": 0.0, "side": 9.0, "out_px": 6, "num_bins": 2}
    got = crop_counts(Events.empty(SIZE), **box, out=buffer)  # type: ignore[arg-type]
    assert got is buffer and not got.any()
    with pytest.raises(ShapeError, match="out must be"):
        crop_binary(Events.empty(SIZE), **box, out=buffer)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong", [{"side": 0.0}, {"side": float("nan")}, {"left": float("inf")}, {"out_px": 0}]
)
def test_impossible_crops(wrong: dict[str, float]) -> None:
    box = {"t0_us": T0, "t1_us": T1, "left": 0.0, "top": 0.0, "side": 9.0, "out_px": 6, "num_bins": 2} | wrong
    with pytest.raises(ShapeError):
        crop_counts(random_events(3), **box)  # type: ignore[arg-type]


def test_events_outside_the_window_are_a_unit_error() -> None:
    events = random_events(10)
    for call in (
        lambda: polarity_counts(events, 2, t0_us=T1, t1_us=T1 + 5),
        lambda: binary_bins(events, 0, 1),
        lambda: crop_counts(events, t0_us=0, t1_us=1, left=0, top=0, side=5, out_px=5, num_bins=2),
    ):
        with pytest.raises(UnitError):
            call()
