"""Styles: ranges, still phases with soft ramps, and procedural styles kept for evaluation."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from eventhpe.data.motion_style import (
    AMPLITUDE,
    RESERVED_AMPLITUDE,
    RESERVED_TEMPO,
    TEMPO,
    MotionStyle,
    StyleRanges,
    draw_movement_style,
    draw_style,
    in_reserved_cell,
)
from eventhpe.errors import ShapeError

ALWAYS = replace(StyleRanges(), pause_share=1.0, blend_share=1.0, sway_share=1.0)


def movement_styles(held_out: bool | None, n: int = 4000, speed: float = 1.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.array([draw_movement_style(rng, held_out, speed=speed) for _ in range(n)])


def inside(styles: np.ndarray, speed: float = 1.0) -> np.ndarray:
    amplitude, tempo = styles[:, 0], styles[:, 1] * speed
    a, t = RESERVED_AMPLITUDE, RESERVED_TEMPO
    return (amplitude >= a[0]) & (amplitude < a[1]) & (tempo >= t[0]) & (tempo < t[1])


@pytest.mark.parametrize("speed", [0.4, 0.7, 1.0, 1.4, 2.5])
def test_training_never_draws_a_reserved_style_and_the_benchmark_nothing_else(speed):
    assert not inside(movement_styles(False, speed=speed), speed).any()
    assert inside(movement_styles(True, speed=speed), speed).all()


def test_styles_fill_their_ranges():
    anywhere, training, held_out = (movement_styles(h) for h in (None, False, True))
    # The cell is 0.08/0.5 of the amplitudes times 0.16/0.9 of the tempos: 2.8 %.
    assert inside(anywhere).mean() == pytest.approx(0.0284, abs=0.008)
    for styles in (anywhere, training):
        np.testing.assert_allclose(styles.min(0), [AMPLITUDE[0], TEMPO[0]], atol=0.01)
        np.testing.assert_allclose(styles.max(0), [AMPLITUDE[1], TEMPO[1]], atol=0.01)
    assert np.ptp(held_out, axis=0) == pytest.approx([0.08, 0.16], abs=0.002)
    beside = (training[:, 0] >= 0.88) & (training[:, 0] < 0.96)
    assert beside.any() and not beside.all(), "only the cell is left out, not its rows and columns"


@pytest.mark.parametrize("speed", [0.2, 0.4, 2.5, 6.0])
def test_what_is_seen_stays_plausible(speed):
    tempo = movement_styles(False, 500, speed)[:, 1]
    assert TEMPO[0] <= tempo.min() and tempo.max() <= TEMPO[1]
    if 0.4 <= speed <= 2.5:
        assert 0.4 - 1e-9 <= (tempo * speed).min() and (tempo * speed).max() <= 2.5 + 1e-9


def test_the_cell_is_half_open():
    assert (
        in_reserved_cell(0.88, 0.92) and not in_reserved_cell(0.96, 1.0) and not in_reserved_cell(0.9, 1.08)
    )


def test_nobody_rests_without_a_pause():
    style = MotionStyle()
    t = np.linspace(0, 4, 9)
    assert not style.rest_share(t).any() and np.array_equal(style.moving_time(t), t)
    assert style.num_motions == 1


def test_a_pause_is_still_and_its_ramps_are_smooth():
    style = MotionStyle(pauses=((1.0, 0.5), (2.5, 0.3)), ramp_s=0.25)
    h = 1e-4
    t = np.arange(0, 4, h)
    rest, moving = style.rest_share(t), style.moving_time(t)
    for start, length in style.pauses:
        still = (t >= start) & (t <= start + length)
        assert (rest[still] == 1).all() and np.ptp(moving[still]) < 1e-12
    away = (t < 0.75) | (t > 1.75) & (t < 2.25) | (t > 3.05)
    assert not rest[away].any()
    assert rest.min() >= 0 and rest.max() <= 1
    speed = np.diff(moving) / h
    np.testing.assert_allclose(speed, 1 - (rest[1:] + rest[:-1]) / 2, atol=1e-6)
    assert np.abs(np.diff(speed) / h).max() < 1.51 / 0.25, "the speed itself has no jump"
    # Each pause costs its length and half of both ramps.
    assert moving[-1] == pytest.approx(t[-1] - 0.8 - 2 * 0.25)


def test_a_recording_may_begin_in_a_pause():
    style = MotionStyle(pauses=((0.0, 0.5),), ramp_s=0.2)
    assert style.moving_time(0.0) == 0 and style.moving_time(0.5) == pytest.approx(0)
    assert style.moving_time(2.0) == pytest.approx(1.4)


def test_draws_stay_within_their_ranges():
    rng = np.random.default_rng(1)
    styles = [draw_style(rng, StyleRanges(), duration_s=6.0) for _ in range(3000)]
    speeds = np.array([s.speed for s in styles])
    assert 0.4 <= speeds.min() < 0.41 and 2.45 < speeds.max() <= 2.5
    assert np.median(speeds) == pytest.approx(1.0, abs=0.05), "log-uniform: as often slower as faster"
    assert np.mean([s.mirrored for s in styles]) == pytest.approx(0.5, abs=0.03)
    assert np.mean([bool(s.blends) for s in styles]) == pytest.approx(0.3, abs=0.03)
    paused = [s for s in styles if s.pauses]
    assert np.mean([bool(s.pauses) for s in styles]) == pytest.approx(0.4, abs=0.03)
    assert np.mean([s.sway_deg > 0 for s in paused]) == pytest.approx(0.6, abs=0.05)
    assert {len(s.pauses) for s in paused} == {1, 2, 3}
    for s in paused:
        assert 0.1 <= s.ramp_s <= 0.35 and sum(n for _, n in s.pauses) <= 3.6
        for start, length in s.pauses:
            assert 0.2 <= length <= 2.0 and start >= 0 and start + length <= 6.0 + 1e-9
    for s in styles:
        for middle, length in s.blends:
            end = float(s.moving_time(6.0))
            at = float(s.moving_time(middle))
            assert 0.3 <= length <= 0.8 and length / 2 - 0.01 <= at <= end - length / 2 + 0.01


def test_equal_states_give_equal_styles_and_shares_can_be_switched_off():
    a, b = (draw_style(np.random.default_rng(3), ALWAYS, duration_s=4.0) for _ in range(2))
    assert a == b and a.pauses and a.blends and a.sway_deg > 0 and a.num_motions == 2
    plain = replace(StyleRanges(), mirrored_share=0.0, pause_share=0.0, blend_share=0.0, stay_within_m=0.7)
    for seed in range(50):
        s = draw_style(np.random.default_rng(seed), plain, duration_s=4.0)
        assert not s.mirrored and not s.pauses and not s.blends and s.sway_deg == 0 and s.stay_within_m == 0.7


def test_turns_are_drawn_last_and_begin_at_zero():
    turning = replace(ALWAYS, turn_share=1.0, turn_deg=(50.0, 60.0), turn_hz=(0.1, 0.2))
    for seed in range(50):
        plain = draw_style(np.random.default_rng(seed), ALWAYS, duration_s=4.0)
        s = draw_style(np.random.default_rng(seed), turning, duration_s=4.0)
        assert plain.turn_deg == 0 and not plain.turned(np.arange(5.0)).any()
        assert 50 <= s.turn_deg <= 60 and 0.1 <= s.turn_hz <= 0.2
        assert replace(s, turn_deg=0.0, turn_hz=plain.turn_hz, turn_phase=0.0) == plain
        angle = s.turned(np.linspace(0, 40, 2001))
        assert angle[0] == 0 and np.ptp(angle) == pytest.approx(2 * np.radians(s.turn_deg), rel=1e-2)
    some = [
        draw_style(np.random.default_rng(seed), replace(ALWAYS, turn_share=0.4), duration_s=4.0)
        for seed in range(1000)
    ]
    assert np.mean([s.turn_deg > 0 for s in some]) == pytest.approx(0.4, abs=0.05)


def test_what_does_not_fit_into_a_short_recording_is_left_out():
    for seed in range(200):
        s = draw_style(np.random.default_rng(seed), ALWAYS, duration_s=0.3)
        assert not s.pauses and not s.blends
        tight = draw_style(np.random.default_rng(seed), ALWAYS, duration_s=1.0)
        assert sum(n for _, n in tight.pauses) <= 0.6


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("speed", (0.0, 1.0)),
        ("speed", (2.0, 1.0)),
        ("speed", (0.5, np.inf)),
        ("mirrored_share", 1.2),
        ("pause_share", -0.1),
        ("max_pauses", 0),
        ("pause_s", (0.0, 1.0)),
        ("ramp_s", (0.3, 0.2)),
        ("sway_deg", (-0.1, 0.2)),
        ("sway_share", np.nan),
        ("blend_s", (0.0, 0.5)),
        ("stay_within_m", 0.0),
        ("turn_share", 1.5),
        ("turn_deg", (20.0, 10.0)),
        ("turn_hz", (0.0, 1.0)),
    ],
)
def test_ranges_are_checked_by_name(field, value):
    with pytest.raises(ShapeError, match=f"StyleRanges.{field}"):
        replace(StyleRanges(), **{field: value})


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("speed", {"speed": 0.0}),
        ("ramp_s", {"ramp_s": 0.0}),
        ("sway_deg", {"sway_deg": -1.0}),
        ("stay_within_m", {"stay_within_m": -1.0}),
        ("turn_deg", {"turn_deg": -1.0}),
        ("turn_deg", {"turn_hz": 0.0}),
        ("pauses", {"pauses": ((1.0, 0.0),)}),
        ("pauses", {"pauses": ((1.0, 0.5), (1.7, 0.5)), "ramp_s": 0.2}),
        ("pauses", {"pauses": ((2.0, 0.5), (0.5, 0.5))}),
        ("blends", {"blends": ((1.0, 0.0),)}),
        ("blends", {"blends": ((1.0, 0.6), (1.5, 0.6))}),
    ],
)
def test_styles_are_checked_by_name(field, changes):
    with pytest.raises(ShapeError, match=f"MotionStyle.{field}"):
        MotionStyle(**changes)


def test_lengths_and_speeds_must_be_positive():
    with pytest.raises(ShapeError, match="duration_s"):
        draw_style(np.random.default_rng(0), StyleRanges(), duration_s=0.0)
    with pytest.raises(ShapeError, match="speed"):
        draw_movement_style(np.random.default_rng(0), speed=0.0)
