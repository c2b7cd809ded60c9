"""Constant-count frames against a slow twin, and DHP19's scaling of them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventhpe.errors import ShapeError
from eventhpe.events.count_frames import CountFrame, count_frames, three_sigma
from eventhpe.events.recording import Recording
from eventhpe.events.types import Events
from tests.events import grid_twins

SIZE = (5, 7)


def random_events(n: int, seed: int = 0) -> Events:
    rng = np.random.default_rng(seed)
    columns = (rng.integers(0, most, n) for most in (SIZE[1], SIZE[0], 2))
    return Events.from_columns(np.sort(rng.integers(0, 1_000, n)), *columns, SIZE)


def plain(frame: CountFrame) -> tuple[list[list[int]], int, int]:
    return frame.counts.tolist(), frame.first_us, frame.last_us


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 200), st.integers(1, 70), st.lists(st.integers(0, 200), max_size=6))
def test_equals_the_slow_twin_however_the_blocks_are_cut(n: int, num_events: int, cuts: list[int]) -> None:
    events = random_events(n, num_events)
    borders = [0, *sorted(cuts), 200]
    blocks = [events.slice(i, j) for i, j in itertools.pairwise(borders)]
    expected = grid_twins.count_frames(events, num_events)
    whole = n // num_events
    for source in (events, blocks):
        assert [plain(f) for f in count_frames(source, num_events)] == expected[:whole]
        assert [plain(f) for f in count_frames(source, num_events, keep_rest=True)] == expected


def test_every_frame_holds_exactly_the_events_asked_for_whatever_their_times() -> None:
    events = Events.from_columns([3] * 10 + [4], [1] * 11, [2] * 11, [0, 1] * 5 + [0], SIZE)
    frames = list(count_frames(events, 4, keep_rest=True))
    assert [int(f.counts.sum()) for f in frames] == [4, 4, 3]
    assert [(f.first_us, f.last_us) for f in frames] == [(3, 3), (3, 3), (3, 4)]
    assert frames[0].counts.dtype == np.int32 and frames[0].counts[2, 1] == 4


def test_a_recording_gives_its_blocks() -> None:
    events = random_events(100)
    frames = list(count_frames(Recording.from_events(events).blocks(), 30))
    assert [plain(f)[0] for f in frames] == [g[0] for g in grid_twins.count_frames(events, 30)[:3]]


def test_frames_do_not_share_memory() -> None:
    first, second = count_frames(random_events(20), 10)
    first.counts.fill(-1)
    assert second.counts.sum() == 10


def test_errors() -> None:
    for wrong in (0, -3, 2.5):
        with pytest.raises(ShapeError, match="num_events"):
            count_frames(random_events(5), wrong)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match="one sensor size"):
        list(count_frames([random_events(5), Events.from_columns([2000], [0], [0], [1], (3, 3))], 10))
    outside = np.array([7], np.uint16)
    events = Events(np.zeros(1, np.int64), outside, np.zeros(1, np.uint16), np.zeros(1, np.uint8), SIZE)
    with pytest.raises(ShapeError, match="outside the sensor"):
        list(count_frames(events, 1))


def test_three_sigma_golden_values() -> None:
    counts = np.array([[0, 1, 2], [3, 4, 0]], np.int32)
    assert three_sigma(counts).tolist() == [[0, 65, 131], [197, 255, 0]]
    assert three_sigma(counts).dtype == np.uint8


def test_three_sigma_without_spread_is_full_scale() -> None:
    assert not three_sigma(np.zeros(SIZE, np.int32)).any()
    assert three_sigma(np.array([[0, 1]])).tolist() == [[0, 255]]
    assert three_sigma(np.array([[2, 0, 2]])).tolist() == [[255, 0, 255]]
    with pytest.raises(ShapeError, match="integers"):
        three_sigma(np.zeros(SIZE))  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=40))
def test_three_sigma_equals_the_slow_twin(row: list[int]) -> None:
    got = three_sigma(np.array([row], np.int32)).astype(int)
    assert (
        np.abs(got - grid_twins.three_sigma([row])).max() <= 1
    )  # a value on a step may round to either side
