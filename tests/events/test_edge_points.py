"""Newest events of pixels as viewing rays."""

from __future__ import annotations

import numpy as np
import pytest

from eventhpe.errors import ShapeError
from eventhpe.events.edge_points import edge_points
from eventhpe.events.filters import background_activity
from eventhpe.events.types import Events
from eventhpe.geometry.camera import Camera

SIZE = (60, 80)
CAMERA = Camera.from_focal(70.0, SIZE)
WIDE = np.array([0.0, 0.0, 5.0], np.float32)


def busy_events(n: int = 4000, seed: int = 0) -> Events:
    """Dense enough that most pixels have a neighbour that fired."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(0, 50_000, n))
    return Events.from_columns(
        t, rng.integers(20, 60, n), rng.integers(10, 50, n), rng.integers(0, 2, n), SIZE
    )


def test_parts_hold_every_pixel_that_fired_in_them_once() -> None:
    events = busy_events()
    kept = background_activity(events, dt_us=20_000)
    parts = edge_points(events, CAMERA, WIDE, t0_us=0, t1_us=50_000, parts=4, max_points=10_000)
    assert len(parts) == 4 and all(p.dtype == np.float32 and p.shape[1] == 2 for p in parts)
    for k, rays in enumerate(parts):
        inside = (kept.t >= k * 12_500) & (kept.t < (k + 1) * 12_500)
        wanted = {(int(x), int(y)) for x, y in zip(kept.x[inside], kept.y[inside], strict=True)}
        pixels = CAMERA.project(np.concatenate([rays, np.ones((len(rays), 1))], axis=1))
        assert np.abs(pixels - pixels.round()).max() < 1e-3
        found = [(int(x), int(y)) for x, y in pixels.round()]
        assert len(found) == len(set(found)) and set(found) == wanted


def test_only_the_surroundings_of_the_crop_count_and_many_points_are_thinned_out() -> None:
    events = busy_events()
    crop = np.array([0.05, -0.03, 0.1], np.float32)
    (rays,) = edge_points(events, CAMERA, crop, t0_us=0, t1_us=50_000, parts=1, reach=1.5)
    assert 50 < len(rays) <= 300
    assert (np.abs(rays - crop[:2]) < 0.15 + 1e-6).all() and (np.abs(rays - crop[:2]) > 0.12).any()
    (all_,) = edge_points(events, CAMERA, WIDE, t0_us=0, t1_us=50_000, parts=1, max_points=10_000)
    (few,) = edge_points(events, CAMERA, WIDE, t0_us=0, t1_us=50_000, parts=1, max_points=20)
    assert len(few) == 20 and len(all_) > 500
    assert {tuple(r) for r in few.tolist()} < {tuple(r) for r in all_.tolist()}


def test_distortion_is_removed() -> None:
    bent = Camera(CAMERA.K, SIZE, np.array([-0.3, 0.1, 0.0, 0.0, 0.0]))
    (rays,) = edge_points(busy_events(), bent, WIDE, t0_us=0, t1_us=50_000, parts=1)
    pixels = bent.project(np.concatenate([rays, np.ones((len(rays), 1))], axis=1))
    assert np.abs(pixels - pixels.round()).max() < 0.02
    straight = CAMERA.project(np.concatenate([rays, np.ones((len(rays), 1))], axis=1))
    assert np.abs(straight - straight.round()).max() > 0.1


def test_lonely_events_are_noise_and_no_event_is_no_point() -> None:
    lonely = Events.from_columns([10, 9000, 40_000], [3, 40, 70], [3, 30, 50], [0, 1, 1], SIZE)
    parts = edge_points(lonely, CAMERA, WIDE, t0_us=0, t1_us=50_000, parts=3)
    assert [p.shape for p in parts] == [(0, 2)] * 3
    empty = lonely.slice(0, 0)
    assert [len(p) for p in edge_points(empty, CAMERA, WIDE, t0_us=0, t1_us=10, parts=2)] == [0, 0]


@pytest.mark.parametrize(("t1_us", "parts"), [(0, 2), (100, 0)])
def test_windows_without_length_and_no_parts_are_refused(t1_us: int, parts: int) -> None:
    with pytest.raises(ShapeError, match="parts >= 1 and t0 < t1"):
        edge_points(busy_events(10), CAMERA, WIDE, t0_us=0, t1_us=t1_us, parts=parts)
