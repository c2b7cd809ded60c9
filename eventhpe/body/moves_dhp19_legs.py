"""Single actions of one leg while the other one stands, as DHP19 asks for them in sessions 1 and 4."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from eventhpe.body.footwork import FreeLeg, Values, place, stance, tallest
from eventhpe.body.stage import Repetitions, Stage, ease

Array = NDArray[np.float64]


def _lean(s: Stage) -> int:
    """Sign of a roll or side bend away from the leg that acts, over the other one."""
    return -1 if s.lead == "left" else 1


def _weight_shift(s: Stage, reps: Repetitions) -> Array:
    """(T,) 0..1: onto the standing leg before the other lifts, and back after it is down."""
    return ease(reps.u, (0, 0.2, 0.84, 1), (0, 1, 1, 0))


def _on_one_leg(
    s: Stage,
    reps: Repetitions,
    shift: Array,
    free: FreeLeg,
    *,
    z: Values = 0.0,
    crouch: Values = 0.0,
    clear_m: float = 0.05,
) -> None:
    feet = stance(s)
    # the heel comes up first, then the foot clears the floor, and only then the leg goes its own way
    off = ease(reps.u, (0.1, 0.22, 0.82, 0.94), (0, 1, 1, 0))
    foot = replace(feet[s.lead], lift=clear_m * off, sole=300 * clear_m * off)
    x = 0.85 * shift * np.asarray(feet[s.other].x) + s.noise(0.004, 0.2)
    height = tallest(s, feet, x, z, slack={s.lead: 0.3 * off}) - 0.004 * shift - crouch
    place(s, feet | {s.lead: foot}, height=height, x=x, z=z, free={s.lead: free})


def _balancing_arms(s: Stage, up: Array, *, spread: float, swing: float = 0.0) -> None:
    for side, forward in ((s.other, swing), (s.lead, -0.7 * swing)):
        s.pose.arm(
            side,
            abduct=s.arm_abduct + spread * up + s.noise(0.8),
            flex=forward * up + s.noise(1.5),
            elbow=s.arm_elbow + 0.6 * spread * up,
        )


def leg_abduction(s: Stage) -> None:
    """Lift one straight leg sideways and set it down."""
    reps = s.repetitions(s.rng.uniform(2.0, 2.8), (0.1, 0.5))
    size = s.amplitude * reps.size
    up = ease(reps.u, (0.18, 0.48, 0.55, 0.86), (0, 1, 1, 0))
    bend = ease(reps.u, (0.17, 0.34, 0.7, 0.87), (0, 1, 1, 0))
    shift = _weight_shift(s, reps)
    over = _lean(s)
    s.body(roll=over * (3.5 * up * size + shift), side=over * s.rng.uniform(2, 9) * up * size)
    free = FreeLeg(
        weight=up,
        flex=s.rng.uniform(-2, 6),
        knee=s.rng.uniform(8, 16),
        abduct=s.rng.uniform(30, 46) * size,
        turn_out=s.turn_out,
        ankle=s.rng.uniform(-4, 14),
        bend=bend,
    )
    _balancing_arms(s, up, spread=s.rng.uniform(2, 28))
    _on_one_leg(s, reps, shift, free, clear_m=0.025)


def knee_lift(s: Stage) -> None:
    """Lift one knee to the front and set the foot down."""
    reps = s.repetitions(s.rng.uniform(1.6, 2.4), (0.1, 0.5))
    size = s.amplitude * reps.size
    up = ease(reps.u, (0.18, 0.47, 0.54, 0.86), (0, 1, 1, 0))
    bend = ease(reps.u, (0.17, 0.44, 0.57, 0.87), (0, 1, 1, 0))
    shift = _weight_shift(s, reps)
    s.body(pitch=-3 * up * size, roll=_lean(s) * (1.5 * up + shift), flex=4 * up)
    free = FreeLeg(
        weight=up,
        flex=s.rng.uniform(84, 98) * size,
        knee=s.rng.uniform(88, 108) * np.minimum(size, 1.15),
        turn_out=s.turn_out,
        ankle=s.rng.uniform(-6, 22),
        bend=bend,
    )
    _balancing_arms(s, up, spread=s.rng.uniform(0, 14), swing=s.rng.uniform(0, 35))
    _on_one_leg(s, reps, shift, free)


def kick_forward(s: Stage) -> None:
    """Kick forwards with one leg: knee up, the shin snaps out and back, foot down."""
    reps = s.repetitions(s.rng.uniform(1.3, 1.7), (0.3, 0.8))
    size = s.amplitude * reps.size
    up = ease(reps.u, (0.17, 0.42, 0.56, 0.87), (0, 1, 1, 0))
    bend = ease(reps.u, (0.16, 0.37, 0.6, 0.88), (0, 1, 1, 0))
    out = ease(reps.u, (0.3, 0.47, 0.52, 0.7), (0, 1, 1, 0))
    shift = _weight_shift(s, reps)
    over = _lean(s)
    s.body(
        pitch=-8 * up * size - 4 * out,
        roll=over * (2 * up + shift),
        flex=8 * up + 4 * out,
        yaw=over * 6 * out,
    )
    chamber = s.rng.uniform(92, 108)
    free = FreeLeg(
        weight=up,
        flex=s.rng.uniform(66, 80) * size,
        knee=chamber - (chamber - 14) * out * np.minimum(size, 1.05),
        turn_out=s.turn_out,
        ankle=12 + 22 * out,
        bend=bend,
    )
    _balancing_arms(s, up, spread=s.rng.uniform(8, 24), swing=s.rng.uniform(15, 35))
    _on_one_leg(s, reps, shift, free, z=0.02 * up, crouch=0.01 * up)


def side_kick(s: Stage) -> None:
    """Kick sideways with one leg: knee up, push the heel out, pull it back, foot down."""
    reps = s.repetitions(s.rng.uniform(1.5, 2.0), (0.3, 0.8))
    size = s.amplitude * reps.size
    up = ease(reps.u, (0.17, 0.38, 0.6, 0.87), (0, 1, 1, 0))
    bend = ease(reps.u, (0.16, 0.35, 0.62, 0.88), (0, 1, 1, 0))
    out = ease(reps.u, (0.32, 0.5, 0.55, 0.72), (0, 1, 1, 0))
    shift = _weight_shift(s, reps)
    over = _lean(s)
    s.body(
        roll=over * (4 * up + 14 * out * size + shift),
        side=over * (4 * up + s.rng.uniform(8, 16) * out * size),
        flex=5 * up,
    )
    chamber, folded = s.rng.uniform(90, 105), s.rng.uniform(58, 72) * size
    free = FreeLeg(
        weight=up,
        flex=folded - (folded - 14) * out,
        knee=chamber - (chamber - 14) * out,
        abduct=16 + s.rng.uniform(32, 40) * out * np.minimum(size, 1.15),
        turn_out=s.turn_out * (1 - out) - 8 * out,
        ankle=5 - 12 * out,
        bend=bend,
    )
    _balancing_arms(s, up, spread=s.rng.uniform(14, 30), swing=s.rng.uniform(5, 25))
    _on_one_leg(s, reps, shift, free, crouch=0.012 * up)
