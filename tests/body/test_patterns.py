"""Patterns are pure functions of place with known values, contrast and scale."""

from __future__ import annotations

import numpy as np
import pytest

from eventhpe.body.default import open_body_arrays
from eventhpe.body.landmarks import Landmarks
from eventhpe.body.pattern_draws import PATTERN_KINDS, draw_pattern, draw_print
from eventhpe.body.patterns import Checks, Dots, Gradient, Noise, Plaid, Plain, Print, Stripes, shade
from eventhpe.errors import ShapeError, UnitError

POINTS = np.random.default_rng(0).uniform(-0.9, 0.9, size=(20000, 3)).astype(np.float32)


@pytest.mark.parametrize("kind", PATTERN_KINDS)
def test_every_kind_is_a_pure_function_of_place(kind):
    for seed in range(6):
        pattern = draw_pattern(np.random.default_rng(seed), kind, (0.03, 0.25), 0.008)
        value = pattern.at(POINTS)
        assert value.dtype == np.float32 and value.min() >= -1 and value.max() <= 1
        np.testing.assert_array_equal(pattern.at(POINTS[7::11]), value[7::11])  # no point knows of another
        again = draw_pattern(np.random.default_rng(seed), kind, (0.03, 0.25), 0.008)
        assert again.at(POINTS).tobytes() == value.tobytes()
        if kind != "plain":
            assert np.ptp(value) > 0.9, (kind, seed)


def test_unknown_kind_is_named():
    with pytest.raises(ShapeError, match="paisley"):
        draw_pattern(np.random.default_rng(0), "paisley", (0.03, 0.2), 0.008)


def test_stripes_golden():
    y = np.array([0.0, 0.004, 0.0135, 0.015, 0.0165, 0.03, 0.0435, 0.0465, 0.06])
    points = np.stack([np.full(9, 0.3), y, np.full(9, -1.0)], 1)
    value = Stripes((0, 2, 0), period_m=0.06, edge_m=0.006).at(points)
    np.testing.assert_allclose(value, [1, 1, 0.5, 0, -0.5, -1, -0.5, 0.5, 1], atol=1e-4)
    soft = Stripes((0, 1, 0), period_m=0.06, edge_m=0.03).at(points)
    np.testing.assert_allclose(soft, 1 - np.abs((y + 0.03) % 0.06 - 0.03) / 0.015, atol=1e-4)


def test_stripes_duty_and_direction():
    along = np.linspace(0, 6, 30001)[:, None] * np.array([0.6, 0.0, 0.8])
    for duty in (0.25, 0.5, 0.75):
        value = Stripes((3, 0, 4), 0.1, duty, edge_m=0.002, phase=0.3).at(along)
        assert (value > 0).mean() == pytest.approx(duty, abs=0.01)
    across = np.linspace(0, 6, 1001)[:, None] * np.array([0.8, 0.0, -0.6])
    assert np.ptp(Stripes((3, 0, 4), 0.1, edge_m=0.05).at(across)) < 1e-3


def test_checks_and_plaid_golden():
    first, second = Stripes((1, 0, 0), 0.2, edge_m=0.01), Stripes((0, 1, 0), 0.2, edge_m=0.01)
    centres = np.array([[0, 0, 0], [0.1, 0, 0], [0, 0.1, 0], [0.1, 0.1, 0]])
    np.testing.assert_allclose(Checks(first, second).at(centres), [1, -1, -1, 1])
    plaid = Plaid((first, second), (3.0, 1.0))
    np.testing.assert_allclose(plaid.at(centres), [1, -0.5, 0.5, -1])


def test_dots_golden():
    dots = Dots(0.1, 0.03, edge_m=0.01)
    where = np.array(
        [
            [0, 0, 0],
            [0.05, 0, 0],
            [0.05, 0.1, 0],
            [0, 0.1, 0],
            [0.03, 0, 0.5],
            [0.1, 0.2, 0],
            [-0.05, -0.1, 0],
        ]
    )
    np.testing.assert_allclose(dots.at(where), [1, -1, 1, -1, 0, 1, 1], atol=1e-4)
    grid = np.stack(np.meshgrid(np.arange(0, 2, 0.004), np.arange(0, 2, 0.004), [0.0]), -1).reshape(-1, 3)
    assert (dots.at(grid) > 0).mean() == pytest.approx(np.pi * 0.03**2 / 0.1**2, rel=0.03)


def test_gradient_golden():
    gradient = Gradient((0, -2, 0), (0.0, 0.1, 0.0), 0.4)
    where = np.array([[0, 0.1, 0], [1, -0.1, 0], [0, -5, 2], [0, 0.3, 0], [0, 0.2, 0]])
    np.testing.assert_allclose(gradient.at(where), [0, 1, 1, -1, -np.sin(np.pi / 4)], atol=1e-5)


def test_noise_is_continuous_and_has_its_scale():
    rng = np.random.default_rng(4)
    for scale in (0.03, 0.2):
        noise = Noise.draw(rng, (scale, scale, scale))
        value = noise.at(POINTS)
        assert abs(value.mean()) < 0.1 and 0.25 < value.std() < 0.6
        for axis in np.eye(3, dtype=np.float32):
            near, far = noise.at(POINTS + axis * scale * 0.05), noise.at(POINTS + axis * scale * 4)
            assert np.corrcoef(near, value)[0, 1] > 0.98
            assert abs(np.corrcoef(far, value)[0, 1]) < 0.1
            assert np.abs(near - value).max() < 0.4


def test_octaves_add_detail_and_hardness_makes_blotches():
    rng = np.random.default_rng(5)
    lattice = Noise.draw(rng, (1, 1, 1)).lattice
    step = np.float32([0.004, 0, 0])
    rough = []
    for octaves in (1, 2, 3, 4):
        noise = Noise(lattice, (0.1, 0.1, 0.1), octaves)
        rough.append(np.abs(noise.at(POINTS + step) - noise.at(POINTS)).mean())
    assert (np.diff(rough) > 0).all()
    smooth = Noise(lattice, (0.1, 0.1, 0.1)).at(POINTS)
    hard = Noise(lattice, (0.1, 0.1, 0.1), hardness=10).at(POINTS)
    assert (np.abs(smooth) > 0.95).mean() < 0.2 < 0.7 < (np.abs(hard) > 0.95).mean()
    np.testing.assert_array_equal(np.sign(smooth), np.sign(hard))


@pytest.mark.parametrize("contrast", [0.0, 0.02, 0.3, 0.9])
def test_shade_has_the_michelson_contrast_asked_for(contrast):
    light = shade(Stripes((0, 1, 0), 0.1), POINTS, contrast)
    assert light.dtype == np.float32 and light.max() == pytest.approx(1)
    assert (light.max() - light.min()) / (light.max() + light.min()) == pytest.approx(contrast, abs=1e-6)
    np.testing.assert_allclose(shade(Plain(), POINTS, contrast), 1, atol=1e-6)


def test_print_lies_on_one_side_within_its_edge():
    block = Print((0.0, 0.2), (0.1, 0.05), divide_z=0.01, motif=Plain(), edge_m=0.01)
    where = np.array(
        [[0, 0.2, 0.1], [0, 0.2, -0.1], [0.1, 0.2, 0.1], [0.12, 0.2, 0.1], [0.05, 0.25, 0.1], [0, 0.3, 0.1]]
    )
    np.testing.assert_allclose(block.share(where), [1, 0, 0.5, 0, 0.5, 0], atol=1e-4)
    disc = Print((0.0, 0.2), (0.1, 0.1), 0.01, Plain(), front=False, round_=True)
    np.testing.assert_allclose(disc.share([[0, 0.2, -0.1], [0, 0.2, 0.1], [0.09, 0.29, -0.1]]), [1, 0, 0])
    lines = Print((0.0, 0.0), (0.5, 0.5), -1.0, Stripes((0, 1, 0), 0.1, edge_m=0.01))
    np.testing.assert_allclose(lines.share([[0, 0.0, 0], [0, 0.05, 0], [0.3, 0.1, 0]]), [1, 0, 1], atol=1e-4)


def test_drawn_prints_lie_on_the_trunk():
    arrays = open_body_arrays()
    landmarks, skin = Landmarks.of(arrays), arrays["v_template"]
    sides = set()
    for seed in range(20):
        share = draw_print(np.random.default_rng(seed), landmarks, 0.008).share(skin)
        assert share.min() >= 0 and share.max() <= 1 and share.sum() > 5
        inked = skin[share > 0.5]
        assert np.abs(inked[:, 0]).max() < landmarks.joint("elbow_left")[0]
        assert inked[:, 1].min() > landmarks.joint("hip_left")[1] - 0.05
        sides.add(bool(inked[:, 2].mean() > landmarks.chest_z))
    assert sides == {True, False}


def test_impossible_patterns_are_refused():
    lattice = Noise.draw(np.random.default_rng(0), (1, 1, 1)).lattice
    for make, error, word in (
        (lambda: Noise(lattice[:5], (1, 1, 1)), ShapeError, "lattice"),
        (lambda: Noise(lattice, (1, 0, 1)), UnitError, "scales_m"),
        (lambda: Stripes((0, 0, 0), 0.1), ShapeError, "direction"),
        (lambda: Stripes((0, 1, 0), 0.1, duty=1.0), UnitError, "duty"),
        (lambda: Plaid((), ()), ShapeError, "weight"),
        (lambda: Dots(0.1, 0.06), UnitError, "radius_m"),
        (lambda: Gradient((0, 1, 0), (0, 0, 0), 0.0), UnitError, "length_m"),
        (lambda: Print((0, 0), (0, 1), 0.0, Plain()), UnitError, "half_size"),
        (lambda: shade(Plain(), POINTS, 1.0), UnitError, "contrast"),
        (lambda: Plain().at(np.zeros((3, 2))), ShapeError, "points"),
    ):
        with pytest.raises(error, match=word):
            make()
