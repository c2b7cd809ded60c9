"""Procedural movements: smooth joint angles in time, with a random style for each performer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventhpe.body.footwork import place, stance, tallest
from eventhpe.body.moves_arms import (
    arm_circles,
    clap,
    figure_eight,
    hand_circles,
    punch,
    punch_up,
    raise_arms,
    wave,
)
from eventhpe.body.moves_dhp19_arms import (
    arm_abduction,
    bicep_lift,
    circle_hand,
    clap_hands,
    draw_eight,
    punch_down_forward,
    punch_forward,
    punch_up_forward,
    wave_hello,
)
from eventhpe.body.moves_dhp19_jumps import hop, jump_forward, jumps, single_jump, star_jump
from eventhpe.body.moves_dhp19_legs import kick_forward, knee_lift, leg_abduction, side_kick
from eventhpe.body.moves_feet import (
    jog_in_place,
    jump,
    side_step,
    stand_sway,
    walk,
    walk_circle,
    walk_in_place,
    walk_turn,
)
from eventhpe.body.moves_treadmill import treadmill_jog, treadmill_walk
from eventhpe.body.params import BodyParams
from eventhpe.body.pose_track import soft_clip
from eventhpe.body.stage import SIDES, Side, Stage, bezier_blend, ease, hold, lift, snap
from eventhpe.errors import ShapeError

Array = NDArray[np.float64]


def kick(s: Stage) -> None:
    """Kick forward with one leg: knee up, then the shin snaps out."""
    phase = s.cycle(s.rng.uniform(0.35, 0.6))
    a = s.amplitude
    up, out = snap(phase, 3), snap(phase, 8)
    lean = -10 * a * up
    tilt = 4 * up * (1 if s.lead == "left" else -1)
    s.body(pitch=lean, roll=tilt, flex=8 * up, twist=(8 if s.lead == "right" else -8) * up)
    s.pose.leg(
        s.lead,
        flex=2 + 88 * a * up + lean,
        knee=3 + 95 * a * (up - 0.85 * out),
        turn_out=s.turn_out,
        flat=(1 - up) ** 3,
        ankle=20 * up,
    )
    s.pose.leg(s.other, flex=2 + lean + 8 * up, knee=3 + 10 * up, turn_out=s.turn_out, pelvis_pitch=lean)
    for side, swing in ((s.other, 30.0), (s.lead, -22.0)):
        s.pose.arm(side, abduct=s.arm_abduct + 16 * up, flex=swing * a * up, elbow=s.arm_elbow + 30 * up)


def knee_raise(s: Stage) -> None:
    """Raise the knees in turn."""
    phase = s.cycle(s.rng.uniform(0.4, 0.8))
    for side, at in (("left", phase), ("right", phase + np.pi)):
        up = np.maximum(np.sin(at), 0) ** 2 * s.amplitude
        s.pose.leg(
            side,
            flex=2 + 92 * up,
            knee=3 + 98 * up,
            turn_out=s.turn_out,
            flat=soft_clip(1 - up, 0, width=0.05),
            ankle=12 * up,
        )
        opposite = "right" if side == "left" else "left"
        s.pose.arm(opposite, abduct=s.arm_abduct, flex=38 * up, elbow=s.arm_elbow + 55 * up)
    s.body(roll=2.5 * np.sin(phase))


def squat(s: Stage) -> None:
    """Squat with the arms held forward."""
    down = lift(s.cycle(s.rng.uniform(0.3, 0.55)))
    depth = s.amplitude * s.rng.uniform(0.7, 1.0)
    _sink(s, down * depth)
    for side in SIDES:
        s.pose.arm(side, abduct=8, flex=10 + 75 * down * depth, elbow=s.arm_elbow)


def _sink(s: Stage, down: Array, *, lean: float = 36.0) -> None:
    """Bend hips, knees and ankles so that the body stays over its feet; down 0..1."""
    pitch = lean * down
    s.body(pitch=pitch, flex=10 * down, nod=-26 * down)
    for side in SIDES:
        s.pose.leg(
            side,
            flex=2 + 112 * down,
            knee=3 + 110 * down,
            abduct=s.stance + 8 * down,
            turn_out=s.turn_out + 6 * down,
            pelvis_pitch=pitch,
        )


def sit(s: Stage) -> None:
    """Sit down on a chair, stay, and stand up again."""
    down = hold(s.cycle(s.rng.uniform(0.12, 0.25))) * min(s.amplitude, 1.0)
    moving = 4 * down * (1 - down)
    pitch = 38 * moving - 4 * down
    s.body(pitch=pitch, flex=12 * moving + 4 * down, nod=-14 * moving)
    for side in SIDES:
        s.pose.leg(
            side,
            flex=2 + 84 * down + pitch,
            knee=3 + 86 * down,
            abduct=s.stance,
            turn_out=s.turn_out,
            pelvis_pitch=pitch,
        )
        s.pose.arm(
            side, abduct=12, flex=8 + 26 * down + 30 * moving, elbow=s.arm_elbow + 40 * down, twist=20 * down
        )


def sit_low(s: Stage) -> None:
    """Sit down on a low chair, hips below the knees, stay, and stand up again."""
    reps = s.repetitions(s.rng.uniform(7, 11), (0.5, 1.5))
    down = ease(reps.u, (0.03, 0.24, 0.74, 0.97), (0, 1, 1, 0))
    moving = 4 * down * (1 - down)
    seat = s.rng.uniform(0.31, 0.36) * (2 - min(s.amplitude, 1.0))
    back = s.rng.uniform(0.38, 0.46)
    s.body(pitch=34 * moving - 8 * down, flex=16 * moving + 10 * down, nod=-12 * moving)
    feet = stance(s)
    z = -back * down
    tall = tallest(s, feet)
    place(s, feet, height=tall + (seat - tall) * down, z=z)
    for side in SIDES:  # hands forward on the way, then on the thighs
        s.pose.arm(
            side,
            abduct=s.arm_abduct + 4 * down,
            flex=14 * down + 40 * moving,
            elbow=s.arm_elbow + 52 * down + 10 * moving,
            twist=16 * down,
        )


def bend(s: Stage) -> None:
    """Bend down to touch the toes."""
    down = hold(s.cycle(s.rng.uniform(0.2, 0.4)), 0.6)
    reach = s.amplitude * s.rng.uniform(0.75, 1.0)
    pitch = 68 * down * reach
    s.body(pitch=pitch, flex=64 * down * reach, nod=12 * down)
    for side in SIDES:
        s.pose.leg(
            side,
            flex=2 + pitch + 11 * down,
            knee=3 + 4 * down,
            abduct=s.stance,
            turn_out=s.turn_out,
            pelvis_pitch=pitch,
        )
        s.pose.arm(side, abduct=8, flex=5 + 105 * down * reach, elbow=s.arm_elbow * (1 - down) + 5)


def twist(s: Stage) -> None:
    """Turn the trunk left and right with bent arms."""
    phase = s.cycle(s.rng.uniform(0.4, 0.8))
    s.body(yaw=8 * s.amplitude * np.sin(phase), twist=38 * s.amplitude * np.sin(phase))
    lifted = s.rng.uniform(45, 85)
    for side in SIDES:
        s.pose.arm(side, abduct=lifted, flex=15, elbow=95)


def jumping_jack(s: Stage) -> None:
    """Star jumps."""
    phase = s.cycle(s.rng.uniform(0.7, 1.1))
    open_, a = lift(phase), s.amplitude
    s.airborne = 0.10 * a * lift(2 * phase)
    dip = 1 - lift(2 * phase)
    s.body(pitch=3 + 3 * dip)
    for side in SIDES:
        s.pose.arm(
            side, abduct=soft_clip(10 + 148 * a * open_, high=172), flex=8, elbow=s.arm_elbow + 12 * open_
        )
        s.pose.leg(
            side,
            flex=6 + 16 * dip,
            knee=8 + 28 * dip,
            abduct=2 + 20 * a * open_,
            turn_out=s.turn_out,
            pelvis_pitch=3 + 3 * dip,
            ankle=18 * (1 - dip),
        )


# Ranges in degrees from which random poses draw: wide for arms, moderate for the legs that have to stand.
_RANDOM_ARM = {
    "abduct": (0, 160),
    "flex": (-35, 95),
    "elbow": (0, 135),
    "twist": (-80, 60),
    "pronate": (-50, 50),
    "wrist": (-30, 40),
}
_RANDOM_LEG = {
    "flex": (-15, 85),
    "knee": (0, 100),
    "abduct": (-4, 28),
    "turn_out": (-10, 25),
    "ankle": (-10, 25),
}
_RANDOM_BODY = {
    "pitch": (-10, 30),
    "roll": (-8, 8),
    "yaw": (-40, 40),
    "flex": (-12, 35),
    "side": (-18, 18),
    "twist": (-30, 30),
    "nod": (-25, 25),
}


def random_poses(s: Stage) -> None:
    """Drift through random poses within joint limits, blended by quadratic Bezier arcs."""
    every = s.rng.uniform(0.5, 1.3) / s.tempo

    def draw(ranges: dict[str, tuple[int, int]], neutral: dict[str, float]) -> dict[str, Array]:
        out = {}
        for name, (low, high) in ranges.items():
            rest = neutral.get(name, 0.0)
            keys = rest + min(s.amplitude, 1.0) * (
                s.rng.uniform(low, high, int(s.duration_s / every) + 4) - rest
            )
            out[name] = bezier_blend(keys, s.t / every)
        return out

    body = draw(_RANDOM_BODY, {})
    s.body(**body)
    for side in SIDES:
        s.pose.arm(side, **draw(_RANDOM_ARM, {"abduct": 15.0, "elbow": 15.0, "twist": 0.0}))
        leg = draw(_RANDOM_LEG, {"flex": 2.0, "knee": 3.0})
        least = 1.2 * leg["flex"] - 45
        leg["knee"] = least + soft_clip(leg["knee"] - least, 0.0)  # a lifted thigh comes with a bent knee
        s.pose.leg(side, **leg, pelvis_pitch=body["pitch"], flat=0.7)


MOVEMENTS: dict[str, Callable[[Stage], None]] = {
    f.__name__: f
    for f in (
        walk, walk_in_place, walk_circle, walk_turn, jog_in_place, wave, figure_eight, hand_circles,
        arm_circles, clap, punch, punch_up, kick, knee_raise, squat, sit, bend, twist, jumping_jack, jump,
        side_step, stand_sway, raise_arms, random_poses,
        arm_abduction, bicep_lift, punch_forward, punch_up_forward, punch_down_forward, wave_hello,
        circle_hand, draw_eight, clap_hands, leg_abduction, knee_lift, kick_forward, side_kick, single_jump,
        jump_forward, jumps, star_jump, hop, treadmill_walk, treadmill_jog, sit_low,
    )
}  # fmt: skip
"""All movements by name."""


def perform(
    name: str,
    *,
    duration_s: float,
    fps: float,
    rng: np.random.Generator,
    rest_joints: ArrayLike,
    amplitude: float = 1.0,
    tempo: float = 1.0,
    heading_deg: float = 0.0,
    side: Side | None = None,
    model: str = "open",
) -> BodyParams:
    """One performance of a movement.

    Args:
        name: a key of MOVEMENTS.
        duration_s, fps: length and rate; round(duration_s * fps) >= 1 frames, the first at time 0.
        rng: source of the performer's style, side and starting phase.
        rest_joints: (24, 3) metres of the body that performs.
        amplitude: size of the movement, about 0.5 to 1.2.
        tempo: speed, 1 is normal.
        heading_deg: 0 faces +z, 90 faces +x.
        side: the performer's side that acts, in movements of one side; None leaves it to `rng`. All other
            draws stay the same.
    Returns:
        T frames in the world frame, feet on y = 0 except in jumps; smooth, so any fps will do.
    Raises:
        ShapeError: unknown movement, or a number that makes no sense.
    """
    if name not in MOVEMENTS:
        raise ShapeError(f"unknown movement {name!r}; known: {', '.join(MOVEMENTS)}.")
    frames = round(duration_s * fps)
    if frames < 1 or not tempo > 0 or not 0 < amplitude <= 1.5:
        raise ShapeError(
            "need duration_s * fps >= 1, tempo > 0 and 0 < amplitude <= 1.5; "
            f"got {duration_s}, {fps}, {tempo}, {amplitude}."
        )
    if side not in (None, *SIDES):
        raise ShapeError(f'side must be "left", "right" or None; got {side!r}.')
    stage = Stage(
        np.arange(frames) / fps,
        duration_s,
        rng,
        amplitude,
        tempo,
        heading_deg,
        rest_joints=rest_joints,
        side=side,
    )
    MOVEMENTS[name](stage)
    return stage.to_params(model)
