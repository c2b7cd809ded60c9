"""A camera turned about its axis: pixels, points and events agree with projection and turned pictures."""

from __future__ import annotations

import numpy as np
import pytest

from eventhpe.data.crops import SquareCrop
from eventhpe.data.roll import Roll
from eventhpe.data.windows import window_frames
from eventhpe.errors import ShapeError
from eventhpe.events.types import Events
from eventhpe.geometry.camera import Camera

SIZE = (64, 64)
LENS = Camera(
    K=np.array([[80.0, 1.5, 30.0], [0.0, 77.0, 35.0], [0.0, 0.0, 1.0]]),
    size=SIZE,
    dist=np.array([-0.25, 0.08, 0.0, 0.0, -0.01]),
)
"""Neither square pixels nor a centred axis, with skew and radial distortion."""
CENTRED = Camera.from_focal(70.0, SIZE)


@pytest.fixture(scope="module")
def events() -> Events:
    rng = np.random.default_rng(0)
    n = 3000
    t = np.sort(rng.integers(1000, 51_000, n))
    xy = np.clip(rng.normal(32, 10, (2, n)), 0, 63).astype(np.uint16)
    return Events.from_columns(t, *xy, rng.integers(0, 2, n), SIZE)


def cut(cutter, events, crop, out_px, kind):
    return cutter(events, crop, t0_us=1000, t1_us=51_000, out_px=out_px, kind=kind)


def test_turned_points_project_to_turned_pixels():
    rng = np.random.default_rng(1)
    xyz = np.concatenate([rng.uniform(-0.6, 0.6, (200, 2)), rng.uniform(2, 4, (200, 1))], 1)
    roll = Roll.by(25.0, LENS)
    np.testing.assert_allclose(roll.pixels(LENS.project(xyz)), LENS.project(roll.points(xyz)), atol=1e-9)
    assert np.abs(roll.pixels(LENS.project(xyz)) - LENS.project(xyz)).max() > 1
    np.testing.assert_allclose(roll.points(xyz)[:, 2], xyz[:, 2], atol=1e-12)


def test_turns_add_up_and_turn_clockwise():
    uv = np.array([[40.0, 20.0], [3.0, 60.0]])
    there = Roll.by(20.0, LENS).pixels(uv)
    np.testing.assert_allclose(Roll.by(-20.0, LENS).pixels(there), uv, atol=1e-9)
    right_of_axis = Roll.by(90.0, CENTRED).pixels(np.array([31.5 + 10, 31.5]))
    np.testing.assert_allclose(right_of_axis, [31.5, 31.5 + 10], atol=1e-9)


def test_tangential_distortion_is_refused():
    camera = Camera(LENS.K, SIZE, dist=np.array([0.0, 0.0, 1e-3, 0.0, 0.0]))
    assert not Roll.fits(camera) and Roll.fits(LENS)
    with pytest.raises(ShapeError, match="tangential"):
        Roll.by(5.0, camera)


@pytest.mark.parametrize("kind", ["counts", "binary"])
@pytest.mark.parametrize("crop", [SquareCrop(0, 0, 64), SquareCrop(7.3, -4.2, 51.7), SquareCrop(-9, 3, 80)])
def test_no_turn_gives_the_plain_frames(events, kind, crop):
    plain = cut(window_frames, events, crop, 32, kind)
    assert plain.any()
    np.testing.assert_allclose(cut(Roll.by(0.0, CENTRED).frames, events, crop, 32, kind), plain, atol=1e-6)


@pytest.mark.parametrize("kind", ["counts", "binary"])
def test_a_quarter_turn_gives_the_turned_frames(events, kind):
    crop = SquareCrop(0, 0, 64)
    turned = cut(Roll.by(90.0, CENTRED).frames, events, crop, 64, kind)
    np.testing.assert_allclose(
        turned, np.rot90(cut(window_frames, events, crop, 64, kind), -1, (1, 2)), atol=1e-6
    )


def test_enlarged_crops_spread_every_event_once():
    one = Events.from_columns([1500], [32], [32], [1], SIZE)
    crop = SquareCrop(24, 24, 16)
    frames = cut(Roll.by(30.0, CENTRED).frames, one, crop, 64, "binary")
    assert frames.any((1, 2)).tolist() == [True] + [False] * 7
    v, u = np.nonzero(frames[0])
    assert 6 <= len(v) <= 36, "a sensor pixel is 4 x 4 cells"
    at = crop.place(Roll.by(30.0, CENTRED).pixels(np.array([32.0, 32.0])), 64)
    np.testing.assert_allclose([u.mean(), v.mean()], at, atol=0.7)


def test_unknown_kinds_and_empty_windows(events):
    with pytest.raises(ShapeError, match="kind"):
        cut(Roll.by(5.0, CENTRED).frames, events, SquareCrop(0, 0, 64), 32, "voxels")
    nothing = cut(Roll.by(5.0, CENTRED).frames, Events.empty(SIZE), SquareCrop(0, 0, 64), 32, "counts")
    assert nothing.shape == (8, 32, 32) and not nothing.any()
