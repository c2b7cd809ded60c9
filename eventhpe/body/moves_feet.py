"""Movements on the feet: walking, jogging, stepping, swaying, jumping."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from eventhpe.body.pose_track import soft_clip
from eventhpe.body.stage import SIDES, Stage, lift, snap

Array = NDArray[np.float64]


# Joint angles of level walking over one cycle from heel strike, in degrees: the usual textbook curves
# (e.g. Winter, Biomechanics and Motor Control of Human Movement), rounded.
_GAIT_CYCLE = np.array([0.0, 0.12, 0.3, 0.5, 0.6, 0.73, 0.86, 1.0])
_GAIT_HIP = np.array([28.0, 24, 6, -10, -4, 20, 30, 28])
_GAIT_KNEE = np.array([4.0, 18, 8, 8, 36, 62, 26, 4])
_GAIT_FOOT = np.array([-18.0, 0, 2, 12, 48, 40, -4, -18])  # of the sole against the floor, toes down


def _gait(curve: Array, phase: Array) -> Array:
    return np.asarray(CubicSpline(_GAIT_CYCLE, curve, bc_type="periodic")(np.mod(phase / (2 * np.pi), 1.0)))


def _walk_cycle(s: Stage) -> None:
    phase = s.cycle(s.rng.uniform(0.75, 1.0))
    size = s.amplitude * s.rng.uniform(0.8, 1.1)
    swing = s.rng.uniform(14, 28) * size
    yaw = 4 * size * np.cos(phase)
    s.body(pitch=2, roll=2.5 * np.sin(phase), yaw=-yaw, flex=2, twist=2.2 * yaw, nod=2)
    for side, at in (("left", phase), ("right", phase + np.pi)):
        hip, knee, sole = (_gait(c, at) * size for c in (_GAIT_HIP, _GAIT_KNEE, _GAIT_FOOT))
        knee = soft_clip(knee, 0.0)
        s.pose.leg(
            side,
            flex=hip + 2,
            knee=knee,
            turn_out=s.turn_out,
            pelvis_pitch=2,
            ankle=soft_clip(sole, -20, 30),
            toes=soft_clip(sole - 8, 0, 30),
        )
        forward = -np.cos(at)
        s.pose.arm(
            side,
            abduct=s.arm_abduct,
            flex=swing * forward,
            elbow=s.arm_elbow + 8 + 0.5 * swing * (1 + forward),
        )


def walk(s: Stage) -> None:
    """Walk straight ahead."""
    _walk_cycle(s)


def walk_in_place(s: Stage) -> None:
    """Walk on a treadmill: the gait without travel."""
    s.anchored = False
    _walk_cycle(s)


def walk_circle(s: Stage) -> None:
    """Walk in a circle, left or right."""
    sign = 1 if s.lead == "left" else -1
    s.heading = s.heading + sign * s.rng.uniform(25, 50) * s.tempo * s.t
    _walk_cycle(s)


def walk_turn(s: Stage) -> None:
    """Walk with changes of heading."""
    s.heading = s.heading + s.noise(70, 0.12)
    _walk_cycle(s)


def jog_in_place(s: Stage) -> None:
    """Jog on the spot."""
    s.anchored = False
    phase = s.cycle(s.rng.uniform(1.1, 1.5))
    a = s.amplitude
    s.airborne = 0.04 * a * lift(2 * phase)
    s.body(pitch=4, flex=4, twist=6 * a * np.cos(phase))
    for side, at in (("left", phase), ("right", phase + np.pi)):
        up = snap(at, 1.5)
        s.pose.leg(
            side,
            flex=10 + 45 * a * up,
            knee=18 + 75 * a * up,
            turn_out=s.turn_out,
            pelvis_pitch=4,
            ankle=8 + 18 * up,
            flat=1 - 0.6 * up,
        )
        s.pose.arm(
            side, abduct=s.arm_abduct, flex=-5 - 28 * a * np.cos(at + np.pi), elbow=80 + 12 * np.cos(at)
        )


def side_step(s: Stage) -> None:
    """Step to the side and back."""
    phase = s.cycle(s.rng.uniform(0.35, 0.6))
    wide = lift(phase)
    sign = 1 if s.lead == "left" else -1
    travel = np.sin(phase)
    s.body(roll=2 * sign * travel)
    for side, raised in ((s.lead, np.maximum(travel, 0) ** 2), (s.other, np.maximum(-travel, 0) ** 2)):
        s.pose.leg(
            side,
            flex=4 + 22 * raised,
            knee=6 + 40 * raised,
            abduct=1 + 15 * s.amplitude * wide,
            turn_out=s.turn_out,
            ankle=8 * raised,
        )
        s.pose.arm(side, abduct=s.arm_abduct + 18 * wide, elbow=s.arm_elbow + 12 * wide)


def stand_sway(s: Stage) -> None:
    """Stand and shift the weight."""
    phase = s.cycle(s.rng.uniform(0.12, 0.3))
    sway = 3.5 * s.amplitude * np.sin(phase)
    s.body(roll=0.6 * sway, side=-sway, twist=s.noise(4, 0.2))
    for side, sign in (("left", 1), ("right", -1)):
        give = 6 + 5 * sign * np.sin(phase)
        s.pose.leg(side, flex=0.5 * give, knee=give, abduct=s.stance + 0.6 * sign * sway, turn_out=s.turn_out)


def jump(s: Stage) -> None:
    """Jump with both feet."""
    phase = s.cycle(s.rng.uniform(0.5, 0.8))
    air = np.maximum(np.sin(phase), 0) ** 2
    crouch = np.maximum(-np.sin(phase), 0) ** 2
    s.airborne = 0.25 * s.amplitude * air
    pitch = 22 * crouch
    s.body(pitch=pitch, flex=6 * crouch)
    for side in SIDES:
        s.pose.leg(
            side,
            flex=3 + 62 * crouch,
            knee=5 + 70 * crouch,
            abduct=s.stance,
            turn_out=s.turn_out,
            pelvis_pitch=pitch,
            ankle=32 * air,
        )
        s.pose.arm(side, abduct=12, flex=-35 * crouch + 70 * s.amplitude * air, elbow=s.arm_elbow + 25 * air)
