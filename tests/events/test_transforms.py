"""Changes on the way: geometry against plain Python, filters block by block equal filters at once."""

from __future__ import annotations

import numpy as np
import pytest

from eventhpe.errors import CalibrationError, UnitError
from eventhpe.events.filters import background_activity, hot_pixels
from eventhpe.events.frames import count_frame
from eventhpe.events.recording import Recording
from eventhpe.events.transforms import (
    BackgroundActivity,
    Changes,
    Crop,
    Downsample,
    Flip,
    HotPixels,
    Refractory,
    Transform,
    Undistort,
    apply,
)
from eventhpe.events.types import Events
from eventhpe.geometry.camera import Camera

SIZE = (20, 31)


def some_events(n: int = 3000, seed: int = 0) -> Events:
    rng = np.random.default_rng(seed)
    return Events.from_columns(
        np.cumsum(rng.integers(0, 9, n)),
        rng.integers(0, 31, n),
        rng.integers(0, 20, n),
        rng.integers(0, 2, n),
        SIZE,
    )


def in_blocks(transform: Transform, events: Events, step: int = 170) -> Events:
    parts = [transform.events(events.slice(i, i + step)) for i in range(0, len(events), step)]
    columns = (np.concatenate([getattr(p, c) for p in parts]) for c in "txyp")
    return Events(*columns, transform.sensor_size)


def same(a: Events, b: Events) -> bool:
    return a.sensor_size == b.sensor_size and all(
        np.array_equal(getattr(a, c), getattr(b, c)) for c in "txyp"
    )


def test_crop() -> None:
    events, crop = some_events(), Crop(SIZE, 5, 3, 10, 12)
    got = in_blocks(crop, events)
    want = [
        (t, x - 5, y - 3, p)
        for t, x, y, p in zip(*(getattr(events, c).tolist() for c in "txyp"), strict=True)
        if 5 <= x < 15 and 3 <= y < 15
    ]
    assert list(zip(*(getattr(got, c).tolist() for c in "txyp"), strict=True)) == want
    assert got.sensor_size == (12, 10)
    image = np.arange(20 * 31, dtype=np.uint16).reshape(SIZE).astype(np.uint8)
    assert np.array_equal(crop.image(image), image[3:15, 5:15])
    for wrong in ((-1, 0, 5, 5), (0, 0, 32, 5), (30, 0, 2, 5), (0, 0, 0, 5)):
        with pytest.raises(UnitError, match="inside the 31x20 sensor"):
            Crop(SIZE, *wrong)


@pytest.mark.parametrize(("horizontal", "vertical"), [(True, False), (False, True), (True, True)])
def test_flip_moves_events_and_frames_alike(horizontal: bool, vertical: bool) -> None:
    events, flip = some_events(), Flip(SIZE, horizontal=horizontal, vertical=vertical)
    flipped = flip.events(events)
    assert np.array_equal(count_frame(flipped), flip.image(count_frame(events).astype(np.uint8)))
    assert same(flip.events(flipped), events) and not same(flipped, events)


def test_downsample_keeps_every_event() -> None:
    events, down = some_events(), Downsample(SIZE, 3)
    got = down.events(events)
    assert got.sensor_size == (7, 11) and len(got) == len(events)
    padded = np.zeros((21, 33), int)
    padded[:20, :31] = count_frame(events)
    assert np.array_equal(count_frame(got), padded.reshape(7, 3, 11, 3).sum((1, 3)))
    assert down.image(np.full(SIZE, 77, np.uint8)).tolist() == np.full((7, 11), 77).tolist()
    for factor in (0, 21):
        with pytest.raises(UnitError, match="downsample"):
            Downsample(SIZE, factor)


def test_undistort_lands_where_the_pinhole_sees() -> None:
    size = (180, 240)
    camera = Camera(
        np.array([[200.0, 0, 118], [0, 202, 91], [0, 0, 1]]), size, dist=np.array([-0.3, 0.1, 0.001, 0, 0])
    )
    ideal = Camera(camera.K, size)
    rng = np.random.default_rng(1)
    points = np.stack([rng.uniform(-0.4, 0.4, 500), rng.uniform(-0.3, 0.3, 500), np.ones(500)], -1)
    seen, wanted = np.rint(camera.project(points)), ideal.project(points)
    inside = (seen >= 0).all(1) & (seen[:, 0] < 240) & (seen[:, 1] < 180)
    events = Events.from_columns(
        np.flatnonzero(inside),
        seen[inside, 0].astype(int),
        seen[inside, 1].astype(int),
        np.ones(inside.sum(), int),
        size,
    )
    got = Undistort(camera).events(events)
    assert 300 < len(got) <= len(events)
    error = np.hypot(got.x - wanted[got.t, 0], got.y - wanted[got.t, 1])
    assert error.max() < 2.0 and error.mean() < 0.8  # rounding to pixels, twice, stretched at the rim
    unchanged = Undistort(ideal).events(events)
    assert same(unchanged, events)
    assert Undistort(ideal).image(np.eye(180, 240, dtype=np.uint8)).tolist() == np.eye(180, 240).tolist()


def test_background_activity_in_blocks_equals_at_once() -> None:
    events = some_events()
    assert same(in_blocks(BackgroundActivity(SIZE, 60), events), background_activity(events, 60))


def test_refractory_against_plain_python() -> None:
    events = some_events(5000)
    last: dict[tuple[int, int], int] = {}
    want = []
    for i, (t, x, y) in enumerate(zip(events.t.tolist(), events.x.tolist(), events.y.tolist(), strict=True)):
        if (x, y) not in last or t - last[x, y] >= 900:
            last[x, y] = t
            want.append(i)
    got = in_blocks(Refractory(SIZE, 900), events)
    assert np.array_equal(got.t, events.t[want]) and np.array_equal(got.x, events.x[want])
    assert 100 < len(got) < 4900


def test_hot_pixels_over_blocks() -> None:
    events = some_events()
    n = 600
    hot = Events.from_columns(np.arange(n) * 10, np.full(n, 4), np.full(n, 6), np.ones(n, int), SIZE)
    order = np.argsort(np.concatenate([events.t, hot.t]), kind="stable")
    both = Events(*(np.concatenate([getattr(events, c), getattr(hot, c)])[order] for c in "txyp"), SIZE)
    transform = HotPixels.of([both.slice(0, 900), both.slice(900, len(both))], SIZE)
    assert transform.text == "1 hot pixels removed"
    assert same(in_blocks(transform, both), hot_pixels(both).events)
    assert not ((in_blocks(transform, both).x == 4) & (in_blocks(transform, both).y == 6)).any()


def test_the_order_of_changes_and_what_does_not_fit() -> None:
    recording = Recording.from_events(some_events())
    camera = Camera.from_focal(30, SIZE)
    chain = Changes(
        hot_pixels=True,
        background_us=100,
        refractory_us=5,
        undistort=camera,
        crop=(1, 2, 20, 10),
        flip="both",
        downsample=2,
    ).transforms(recording)
    assert [type(t) for t in chain] == [
        HotPixels,
        BackgroundActivity,
        Refractory,
        Undistort,
        Crop,
        Flip,
        Downsample,
    ]
    assert chain[-1].sensor_size == (5, 10) == apply(chain, recording.read()).sensor_size
    assert Changes().transforms(recording) == []
    with pytest.raises(CalibrationError, match=r"\(9, 9\)"):
        Changes(undistort=Camera.from_focal(30, (9, 9))).transforms(recording)
    for wrong in (dict(background_us=0), dict(refractory_us=-1)):
        with pytest.raises(UnitError, match="> 0"):
            Changes(**wrong).transforms(recording)
    for start, stop in ((-1, None), (5, 5), (5, 2)):
        with pytest.raises(UnitError, match="start < stop"):
            Changes(start_us=start, stop_us=stop)
