"""LNES against a slow twin and by its convention."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventhpe.errors import ShapeError, UnitError
from eventhpe.events.lnes import lnes
from eventhpe.events.types import Events
from tests.events import grid_twins

SIZE = (5, 7)
T0, T1 = 1_000, 21_000


def make(times: list[int], seed: int) -> Events:
    rng = np.random.default_rng(seed)
    columns = (rng.integers(0, most, len(times)) for most in (SIZE[1], SIZE[0], 2))
    return Events.from_columns(sorted(times), *columns, SIZE)


event_lists = st.builds(make, st.lists(st.integers(T0, T1 - 1), max_size=120), st.integers(0, 1000))


@settings(max_examples=60, deadline=None)
@given(event_lists)
def test_equals_the_slow_twin(events: Events) -> None:
    surface = lnes(events, t0_us=T0, t1_us=T1)
    assert surface.dtype == np.float32 and surface.shape == (2, *SIZE)
    np.testing.assert_allclose(surface, grid_twins.lnes(events, T0, T1), atol=1e-7)


@settings(max_examples=40, deadline=None)
@given(event_lists, st.integers(-(10**15), 10**15))
def test_shifts_flips_and_mirrors(events: Events, shift: int) -> None:
    surface = lnes(events, t0_us=T0, t1_us=T1)
    moved = Events(events.t + shift, events.x, events.y, events.p, SIZE)
    assert np.array_equal(lnes(moved, t0_us=T0 + shift, t1_us=T1 + shift), surface)
    flipped = Events(events.t, events.x, events.y, (1 - events.p).astype(np.uint8), SIZE)
    assert np.array_equal(lnes(flipped, t0_us=T0, t1_us=T1), surface[::-1])
    mirrored = Events(events.t, (SIZE[1] - 1 - events.x).astype(np.uint16), events.y, events.p, SIZE)
    assert np.array_equal(lnes(mirrored, t0_us=T0, t1_us=T1), surface[:, :, ::-1])


def test_the_last_event_wins_and_the_window_sets_the_scale() -> None:
    events = Events.from_columns([0, 25, 50, 99], [1, 1, 1, 2], [0, 0, 0, 3], [1, 0, 1, 1], SIZE)
    surface = lnes(events, t0_us=0, t1_us=100)
    assert surface[1, 0, 1] == 0.5 and surface[0, 0, 1] == 0.25 and surface[1, 3, 2] == np.float32(0.99)
    assert np.count_nonzero(surface) == 3
    assert lnes(events, t0_us=0, t1_us=200)[1, 0, 1] == 0.25


def test_values_stay_below_one() -> None:
    """(2^40 - 1) / 2^40 rounds to 1 in float32."""
    events = Events.from_columns([(1 << 40) - 1], [1], [0], [1], SIZE)
    assert 0.999999 < lnes(events, t0_us=0, t1_us=1 << 40).max() < 1.0


def test_buffers_empty_windows_and_errors() -> None:
    buffer = np.full((2, *SIZE), 9, np.float32)
    assert lnes(Events.empty(SIZE), t0_us=0, t1_us=5, out=buffer) is buffer and not buffer.any()
    with pytest.raises(ShapeError, match="out must be"):
        lnes(Events.empty(SIZE), t0_us=0, t1_us=5, out=buffer[:1])
    with pytest.raises(UnitError, match="outside the window"):
        lnes(make([T1], 0), t0_us=T0, t1_us=T1)
    with pytest.raises(UnitError, match="t1 > t0"):
        lnes(Events.empty(SIZE), t0_us=5, t1_us=5)


def test_unchecked_pixels_outside_the_sensor_are_left_out() -> None:
    x, y = np.array([0, 7, 65_535], np.uint16), np.array([5, 0, 65_535], np.uint16)
    events = Events(np.arange(3), x, y, np.full(3, 255, np.uint8), SIZE)
    assert not lnes(events, t0_us=0, t1_us=5).any()
