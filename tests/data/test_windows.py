"""From a window of events to the network's input."""

from __future__ import annotations

import numpy as np
import pytest

from eventhpe.data.crops import SquareCrop
from eventhpe.data.windows import NUM_CHANNELS, WINDOW_US, compress_counts, window_frames
from eventhpe.errors import ShapeError
from eventhpe.events.types import Events

SIZE = (48, 64)
CROP = SquareCrop(8, 0, 48)


def random_events(n: int = 4000, t0: int = 0, t1: int = WINDOW_US, seed: int = 0) -> Events:
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(t0, t1, n))
    return Events.from_columns(t, rng.integers(0, 64, n), rng.integers(0, 48, n), rng.integers(0, 2, n), SIZE)


def frames(events: Events, kind: str, **changes):
    options = {"t0_us": 0, "t1_us": WINDOW_US, "out_px": 32} | changes
    return window_frames(events, CROP, kind=kind, **options)


@pytest.mark.parametrize("out_px", [32, 48, 64])
@pytest.mark.parametrize("kind", ["counts", "binary"])
def test_shape_and_range(kind, out_px):
    image = frames(random_events(), kind, out_px=out_px)
    assert image.shape == (NUM_CHANNELS, out_px, out_px) and image.dtype == np.float32
    assert image.min() == 0 and image.max() > 0.3
    if kind == "counts":
        assert image.max() < 1
    else:
        assert set(np.unique(image)) == {0.0, 1.0}


@pytest.mark.parametrize("kind", ["counts", "binary"])
def test_an_empty_window_is_zero(kind):
    for events in (Events.empty(SIZE), random_events(t0=WINDOW_US, t1=2 * WINDOW_US)):
        image = frames(events, kind)
        assert image.shape == (8, 32, 32) and not image.any()


@pytest.mark.parametrize("kind", ["counts", "binary"])
def test_events_outside_the_window_are_ignored(kind):
    long = random_events(12_000, t0=0, t1=3 * WINDOW_US)
    window = {"t0_us": WINDOW_US, "t1_us": 2 * WINDOW_US}
    alone = frames(long.between(WINDOW_US, 2 * WINDOW_US), kind, **window)
    assert np.array_equal(frames(long, kind, **window), alone)
    assert not np.array_equal(frames(long, kind), alone)


@pytest.mark.parametrize("kind", ["counts", "binary"])
def test_windows_are_half_open(kind):
    events = Events.from_columns([0, WINDOW_US], [20, 30], [10, 20], [1, 1], SIZE)
    image = frames(events, kind, out_px=48)
    assert image[:, 10, 12].any() and not image[:, 20, 22].any()


def test_channels_are_time_bins_with_polarity_or_without():
    t = np.arange(8) * (WINDOW_US // 8)
    events = Events.from_columns(t, np.full(8, 20), np.arange(8), np.arange(8) % 2, SIZE)
    counts, binary = frames(events, "counts", out_px=48), frames(events, "binary", out_px=48)
    # Four bins of (OFF, ON): every bin holds two of the eight events here, OFF first.
    assert [(int(c), int(r)) for c, r, _ in np.argwhere(counts)] == [(k, k) for k in range(8)]
    assert [(int(c), int(r)) for c, r, _ in np.argwhere(binary)] == [(k, k) for k in range(8)]
    flipped = Events.from_columns(t, np.full(8, 20), np.arange(8), 1 - np.arange(8) % 2, SIZE)
    assert np.array_equal(frames(flipped, "binary", out_px=48), binary), "polarity is dropped"
    assert np.argwhere(frames(flipped, "counts", out_px=48))[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert not np.array_equal(frames(flipped, "counts", out_px=48), counts)


@pytest.mark.parametrize("factor", [2.0, 10.0, 0.1])
def test_compression_is_relative_to_the_windows_own_level(factor):
    counts = np.random.default_rng(1).poisson(0.7, (8, 20, 20)).astype(np.float32)
    before = counts.copy()
    np.testing.assert_allclose(
        compress_counts(counts * np.float32(factor)), compress_counts(counts), rtol=1e-5
    )
    assert np.array_equal(counts, before)


def test_compression_keeps_the_order_and_zero():
    out = compress_counts(np.array([0, 1, 2, 5, 9], np.float32))
    assert out[0] == 0 and (np.diff(out) > 0).all() and out[-1] < 1
    flat = compress_counts(np.array([0, 3, 3], np.float32))
    np.testing.assert_allclose(flat, [0, np.tanh(1 / 1.5), np.tanh(1 / 1.5)], rtol=1e-6)
    hot = compress_counts(np.array([1.0] * 5000 + [1e6], np.float32))
    assert np.isfinite(hot).all() and hot.max() <= 1, "a hot pixel does not break the range"


def test_an_unknown_kind_is_refused():
    with pytest.raises(ShapeError, match="counts, binary"):
        frames(random_events(10), "voxel")
