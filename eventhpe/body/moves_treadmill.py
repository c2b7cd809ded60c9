"""Walking and jogging on a treadmill whose belt has a given speed, as DHP19 asks for them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import BPoly, PchipInterpolator

from eventhpe.body.flight import GRAVITY, bounces
from eventhpe.body.footwork import FootPath, place, tallest
from eventhpe.body.pose_track import soft_clip
from eventhpe.body.stage import Stage
from eventhpe.geometry.skeleton import SMPL_SKELETON

Array = NDArray[np.float64]

WALK_M_S = 3.5 / 3.6
"""Belt speed of DHP19's walk, 3.5 km/h, at tempo 1 and amplitude 1."""

JOG_M_S = 7.0 / 3.6
"""Belt speed of DHP19's slow jog, 7 km/h."""

# Pitch of the sole in degrees (toes down) and extra clearance in metres over one stride; the share of stance
# is 0.62 in walking (Winter, Biomechanics and Motor Control of Human Movement) and 0.37 in slow jogging.
_WALK_STANCE, _JOG_STANCE = 0.62, 0.37
# A sole passes through level at rest, because its pivot changes there from the ball to the heel.
_WALK_SOLE = ((0, -18), (0.1, 0), (0.36, 0), (0.5, 14), (0.62, 42), (0.68, 46), (0.84, 0), (0.86, 0))
_WALK_LIFT = ((0, 0), (0.6, 0), (0.72, 0.05), (0.85, 0.05), (0.97, 0.005))
_JOG_SOLE = ((0, -6), (0.05, 0), (0.18, 0), (0.37, 42), (0.55, 78), (0.84, 0), (0.87, 0))
_JOG_LIFT = ((0, 0), (0.35, 0), (0.56, 0.2), (0.76, 0.16), (0.9, 0.065), (0.97, 0.014))
_JOG_TOES = ((0, 0), (0.18, 0), (0.37, 40), (0.55, 5), (0.87, 0))


def _leg_length(s: Stage) -> float:
    hip, ankle = (s.rest_joints[SMPL_SKELETON.index(name)] for name in ("hip_left", "ankle_left"))
    return float(np.linalg.norm(hip - ankle))


def _over_stride(table: Sequence[tuple[float, float]], phase: Array) -> Array:
    """(T,) a table's curve at phase (T,) in strides, periodic and once differentiable."""
    at, value = np.array(table, dtype=np.float64).T
    around = np.concatenate([at - 1, at, at + 1])
    return np.asarray(PchipInterpolator(around, np.tile(value, 3))(np.mod(phase, 1.0)))


def _belt_place(phase: Array, stance: float, stride: float, middle: float) -> Array:
    """(T,) metres ahead of the pelvis: carried back by the belt in stance, brought forward in swing.

    Args:
        phase: (T,) in strides since the foot was set down.
        stance: share of the stride on the belt.
        stride: metres of belt per stride.
        middle: metres, where the foot is in the middle of stance.
    """
    front, back = middle + stance * stride / 2, middle - stance * stride / 2
    path = BPoly.from_derivatives(
        [0.0, stance, 1.0], [[front, -stride, 0.0], [back, -stride, 0.0], [front, -stride, 0.0]]
    )
    return np.asarray(path(np.mod(phase, 1.0)))


def treadmill_walk(s: Stage) -> None:
    """Walk on a treadmill at 3.5 km/h (times tempo and amplitude)."""
    leg = _leg_length(s)
    rate = s.rng.uniform(0.84, 0.93) * np.sqrt(0.8 / leg) * s.tempo  # strides per second; leg length sets it
    size = float(soft_clip(s.amplitude, high=1.25, width=0.03))
    stride = WALK_M_S * s.tempo * size / rate
    phase = rate * s.t + s.rng.uniform(0, 1)
    turn = 2 * np.pi * phase
    swing = s.rng.uniform(14, 26) * size
    yaw = 4 * size * np.cos(turn)
    s.body(pitch=2, roll=-2 * np.sin(turn), yaw=-yaw, flex=2, twist=2.2 * yaw, nod=2)
    width, high = s.rng.uniform(0.055, 0.085), s.rng.uniform(0.85, 1.2)
    feet = {}
    for side, sign, at in (("left", 1, phase), ("right", -1, phase + 0.5)):
        feet[side] = FootPath(
            x=sign * width,
            z=_belt_place(at, _WALK_STANCE, stride, -0.02),
            lift=high * size * _over_stride(_WALK_LIFT, at),
            sole=min(size, 1.05) * _over_stride(_WALK_SOLE, at),
            turn_out=0.6 * s.turn_out,
        )
        forward = -np.cos(turn if side == "left" else turn + np.pi)
        s.pose.arm(
            side,
            abduct=s.arm_abduct,
            flex=swing * forward,
            elbow=s.arm_elbow + 8 + 0.5 * swing * (1 + forward),
        )
    level = float(
        tallest(s, {side: FootPath(x=sign * width) for side, sign in (("left", 1), ("right", -1))})[0]
    )
    # highest in the middle of single support, as an inverted pendulum is; longer steps lower it
    fall = (0.25 * stride) ** 2 / (2 * leg)
    height = level - 0.003 - 0.5 * fall * (1 - np.cos(2 * (turn - 0.62 * np.pi)))
    place(s, feet, height=height, x=0.022 * np.sin(turn), z=s.noise(0.01, 0.12), soft_m=0.004)


def treadmill_jog(s: Stage) -> None:
    """Jog on a treadmill at 7 km/h (times tempo and amplitude), both feet off the belt between steps."""
    leg = _leg_length(s)
    rate = s.rng.uniform(1.28, 1.42) * np.sqrt(0.8 / leg) * s.tempo
    size = float(soft_clip(s.amplitude, high=1.2, width=0.03))
    stride = JOG_M_S * s.tempo * size / rate
    start = s.rng.uniform(0, 1)
    phase = rate * s.t + start
    turn = 2 * np.pi * phase
    yaw = 5 * size * np.cos(turn)
    s.body(pitch=6, roll=-2 * np.sin(turn), yaw=-yaw, flex=4, twist=2.4 * yaw, nod=-4)
    swing, bent = s.rng.uniform(24, 38) * size, s.rng.uniform(75, 100)
    width, high = s.rng.uniform(0.05, 0.075), s.rng.uniform(0.8, 1.2)
    feet = {}
    for side, sign, at in (("left", 1, phase), ("right", -1, phase + 0.5)):
        feet[side] = FootPath(
            x=sign * width,
            z=_belt_place(at, _JOG_STANCE, stride, -0.05),
            lift=high * _over_stride(_JOG_LIFT, at),
            sole=_over_stride(_JOG_SOLE, at) * min(size, 1.0),
            toes=_over_stride(_JOG_TOES, at) * min(size, 1.0),
            turn_out=0.5 * s.turn_out,
        )
        forward = -np.cos(turn if side == "left" else turn + np.pi)
        s.pose.arm(side, abduct=s.arm_abduct, flex=-8 + swing * forward, elbow=bent + 10 * forward, twist=14)
    level = float(
        tallest(s, {side: FootPath(x=sign * width) for side, sign in (("left", 1), ("right", -1))})[0]
    )
    contact = _JOG_STANCE / rate
    air = (0.5 - _JOG_STANCE) / rate
    count = int(s.duration_s * 2 * rate) + 4
    b = bounces(
        np.full(count, GRAVITY * air**2 / 8),
        np.full(count, contact),
        start_s=-np.mod(start, 0.5) / rate,
        t=s.t,
    )
    sink = 0.018 + 0.12 * max(size - 1, 0)
    place(
        s, feet, height=level - sink + b.height, x=0.012 * np.sin(turn), z=s.noise(0.015, 0.12), soft_m=0.01
    )
