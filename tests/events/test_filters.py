"""Noise filters against slow twins."""

from __future__ import annotations

import numpy as np
import pytest

from eventhpe.errors import UnitError
from eventhpe.events.filters import background_activity, hot_pixels
from eventhpe.events.types import Events

SIZE = (10, 12)


def random_events(n: int, seed: int) -> Events:
    rng = np.random.default_rng(seed)
    t = np.cumsum(rng.integers(0, 300, n))
    return Events.from_columns(t, rng.integers(0, 12, n), rng.integers(0, 10, n), rng.integers(0, 2, n), SIZE)


def reference_supported(events: Events, dt: int) -> np.ndarray:
    keep = np.zeros(len(events), bool)
    x, y = events.x.astype(int), events.y.astype(int)
    for i in range(len(events)):
        near = (np.abs(x[:i] - x[i]) <= 1) & (np.abs(y[:i] - y[i]) <= 1)
        same = (x[:i] == x[i]) & (y[:i] == y[i])
        keep[i] = bool((near & ~same & (events.t[i] - events.t[:i] <= dt)).any())
    return keep


@pytest.mark.parametrize("dt", [1, 500, 3000])
def test_background_activity_equals_the_slow_twin(dt: int) -> None:
    events = random_events(600, dt)
    keep = reference_supported(events, dt)
    kept = background_activity(events, dt)
    assert 0 < len(kept) < 600 or dt == 1
    assert np.array_equal(kept.t, events.t[keep]) and np.array_equal(kept.x, events.x[keep])


def test_a_pixel_does_not_support_itself() -> None:
    alone = Events.from_columns(range(50), [5] * 50, [5] * 50, [1] * 50, SIZE)
    assert len(background_activity(alone, 1000)) == 0
    corners = Events.from_columns([0, 1], [0, 11], [0, 9], [1, 1], SIZE)
    assert len(background_activity(corners, 1000)) == 0
    pair = Events.from_columns([0, 1000, 2001], [0, 1, 0], [0, 1, 0], [1, 0, 1], SIZE)
    assert background_activity(pair, 1000).t.tolist() == [1000]
    with pytest.raises(UnitError):
        background_activity(pair, 0)


def scene_with(hot: list[tuple[int, int]], per_pixel: int = 400) -> Events:
    scene = random_events(1000, 3)
    n = len(hot) * per_pixel
    t = np.concatenate([scene.t, np.random.default_rng(0).integers(0, scene.t[-1], n)])
    x = np.concatenate([scene.x, np.repeat([c for _, c in hot], per_pixel)])
    y = np.concatenate([scene.y, np.repeat([r for r, _ in hot], per_pixel)])
    order = np.argsort(t, kind="stable")
    p = np.ones(len(t), int)
    return Events.from_columns(t[order], x[order], y[order], p, SIZE)


def test_hot_pixels_are_found_also_side_by_side_and_in_corners() -> None:
    hot = [(0, 0), (4, 5), (4, 6), (9, 11)]
    events = scene_with(hot)
    result = hot_pixels(events)
    assert [tuple(p) for p in result.pixels.tolist()] == hot
    assert result.num_removed == len(events) - len(result.events) == np.count_nonzero(~result.keep)
    marked = np.zeros(SIZE, bool)
    marked[tuple(np.transpose(hot))] = True
    assert not marked[result.events.y, result.events.x].any()
    assert np.array_equal(result.keep, ~marked[events.y, events.x])


def test_busy_regions_are_not_hot() -> None:
    block = [(r, c) for r in range(3, 6) for c in range(4, 7)]
    result = hot_pixels(scene_with(block, 200))
    assert (4, 5) not in [tuple(p) for p in result.pixels.tolist()]
    assert hot_pixels(random_events(1000, 1)).num_removed == 0
    assert hot_pixels(Events.empty(SIZE)).num_removed == 0
    with pytest.raises(UnitError):
        hot_pixels(Events.empty(SIZE), factor=1)
