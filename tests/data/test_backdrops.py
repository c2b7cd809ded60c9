"""Random backgrounds: their size and contrast, and the things that move before them."""

from __future__ import annotations

import numpy as np
import pytest

from eventhpe.data import backdrops
from eventhpe.data.backdrops import BRIGHTEST_DN, DARKEST_DN, draw_backdrop
from eventhpe.render.background import Background

SIZE = (48, 64)


def draw(seed: int, **changes: object) -> Background:
    options: dict[str, object] = {
        "margin": 0, "exposure_dn": 200.0, "contrast": 0.5, "num_sprites": 0, "duration_us": 1_000_000,
    }  # fmt: skip
    return draw_backdrop(np.random.default_rng(seed), SIZE, **(options | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("margin", [0, 7])
def test_the_canvas_is_the_image_and_its_margins(margin):
    for seed in range(20):
        backdrop = draw(seed, margin=margin)
        assert backdrop.canvas.shape == (48 + 2 * margin, 64 + 2 * margin)
        assert backdrop.size == SIZE and backdrop.margin == margin and backdrop.sprites == ()
        assert backdrop.canvas.dtype == np.float32
        assert DARKEST_DN <= backdrop.canvas.min() and backdrop.canvas.max() <= BRIGHTEST_DN


def test_no_contrast_is_an_even_background_of_any_tone():
    tones = []
    for seed in range(40):
        canvas = draw(seed, contrast=0.0).canvas
        assert np.ptp(canvas) == 0
        tones.append(canvas[0, 0])
    assert min(tones) < 40 and max(tones) > 120 and max(tones) <= 0.9 * 200


def test_contrast_is_obeyed():
    low, high = (
        np.array([np.ptp(c) / c.mean() for s in range(25) for c in [draw(s, contrast=contrast).canvas]])
        for contrast in (0.02, 0.6)
    )
    assert low.max() < 0.05 and np.median(high) > 15 * np.median(low)
    # At most contrast away from the tone, on the darker or the brighter side.
    for seed in range(25):
        even, textured = draw(seed, contrast=0.0).canvas[0, 0], draw(seed, contrast=0.1).canvas
        bound = 0.1 * even + 1e-3
        assert np.abs(textured - np.clip(even, DARKEST_DN, BRIGHTEST_DN)).max() <= bound
        assert np.abs(textured - even).max() > 0.9 * bound, "and as far as that somewhere"


def test_textures_come_in_kinds_from_smooth_to_cluttered():
    """Gradients have no steep place, rooms and clutter have edges."""
    steepest = []
    for seed in range(60):
        texture = backdrops._texture(np.random.default_rng(seed), 60, 80)
        assert texture.shape == (60, 80) and np.abs(texture).max() == pytest.approx(1.0)
        steepest.append(max(np.abs(np.diff(texture, axis=0)).max(), np.abs(np.diff(texture, axis=1)).max()))
    assert min(steepest) < 0.05 and max(steepest) > 0.4
    assert len({round(s, 6) for s in steepest}) == 60


def test_equal_states_give_equal_backgrounds():
    a, b, c = draw(3, num_sprites=2), draw(3, num_sprites=2), draw(4, num_sprites=2)
    assert np.array_equal(a.canvas, b.canvas) and not np.array_equal(a.canvas, c.canvas)
    for one, two in zip(a.sprites, b.sprites, strict=True):
        assert np.array_equal(one.path, two.path) and np.array_equal(one.pixels, two.pixels)


@pytest.mark.parametrize("duration_us", [10_000, 300_000, 4_000_000])
def test_sprites_move_all_the_time_and_not_too_fast(duration_us):
    speeds = []
    for seed in range(25):
        backdrop = draw(seed, num_sprites=3, duration_us=duration_us)
        assert len(backdrop.sprites) == 3
        for sprite in backdrop.sprites:
            assert sprite.t_us[0] == 0 and sprite.t_us[-1] == duration_us
            assert (sprite.path[0] >= 0).all() and (sprite.path[0] <= [64, 48]).all(), "begins inside"
            assert DARKEST_DN <= sprite.pixels.min() and sprite.pixels.max() <= BRIGHTEST_DN
            assert 4 <= min(sprite.pixels.shape) and max(sprite.pixels.shape) <= 0.35 * 48
            seconds = np.diff(sprite.t_us)[:, None] * 1e-6
            speeds.append(np.linalg.norm(np.diff(sprite.path, axis=0) / seconds, axis=1).max())
    assert 0.01 * 64 < min(speeds) and max(speeds) <= 0.5 * 64, "two seconds or more to cross the image"


def test_sprites_have_soft_edges():
    for seed in range(25):
        for sprite in draw(seed, num_sprites=3).sprites:
            border = np.concatenate(
                [sprite.alpha[0], sprite.alpha[-1], sprite.alpha[:, 0], sprite.alpha[:, -1]]
            )
            assert border.max() <= 0.51
            h, w = sprite.alpha.shape
            if min(h, w) >= 8:
                assert sprite.alpha[h // 2, w // 2] == 1.0, "and hide what is behind their middle"
