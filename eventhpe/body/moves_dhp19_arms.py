"""Movements of one arm or both on standing legs, as DHP19 asks for them in sessions 1, 3 and 5."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eventhpe.body.arm_reach import arm_length, reach
from eventhpe.body.footwork import stand
from eventhpe.body.pose_track import soft_clip
from eventhpe.body.stage import SIDES, Stage, ease, lift

Array = NDArray[np.float64]


def arm_abduction(s: Stage) -> None:
    """Raise one straight arm sideways and lower it, once after the other."""
    reps = s.repetitions(s.rng.uniform(2.0, 2.8), (0.2, 0.6))
    top = s.rng.uniform(80, 150) * s.amplitude
    stay = s.rng.uniform(0.0, 0.1)
    up = ease(reps.u, (0, 0.45 - stay, 0.55 + stay, 1), (0, 1, 1, 0))
    raised = soft_clip(top * reps.size, high=165) * up
    away = -1 if s.lead == "left" else 1
    s.body(side=away * 0.03 * raised, roll=away * 0.008 * raised)
    s.pose.arm(
        s.lead,
        abduct=s.arm_abduct + raised * (1 - s.arm_abduct / 180),
        flex=s.rng.uniform(0, 8) + s.noise(1.0),
        elbow=0.6 * s.arm_elbow + 3,
        twist=-0.25 * np.maximum(raised - 60, 0) ** 2 / 60,  # above the shoulder the arm turns out
    )
    stand(s)


def bicep_lift(s: Stage) -> None:
    """Curl one arm: the upper arm stays, the forearm comes up, palm up."""
    reps = s.repetitions(s.rng.uniform(1.6, 2.4), (0.1, 0.5))
    up = ease(reps.u, (0, 0.48, 0.54, 1), (0, 1, 1, 0))
    s.body(pitch=-1.5 * up)
    s.pose.arm(
        s.lead,
        abduct=s.rng.uniform(5, 12),
        flex=4 + s.rng.uniform(0, 14) * up,
        elbow=soft_clip(s.rng.uniform(8, 16) + 125 * s.amplitude * reps.size * up, high=142),
        pronate=-s.rng.uniform(45, 70),
        wrist=10 * up,
    )
    stand(s)


def punch_forward(s: Stage) -> None:
    """Punch straight ahead with one fist."""
    _punch(s, elevation=s.rng.uniform(-4, 6))


def punch_up_forward(s: Stage) -> None:
    """Punch forwards and up with one fist."""
    _punch(s, elevation=s.rng.uniform(38, 52))


def punch_down_forward(s: Stage) -> None:
    """Punch forwards and down with one fist."""
    _punch(s, elevation=-s.rng.uniform(36, 50))


def _punch(s: Stage, *, elevation: float) -> None:
    """Single punches of the leading fist out of a guard, at an elevation in degrees."""
    reps = s.repetitions(s.rng.uniform(0.8, 1.1), (0.2, 0.6))
    stroke = ease(reps.u, (0.02, 0.32, 0.42, 1), (0, 1, 1, 0))
    turn = ease(reps.u, (0, 0.28, 0.45, 0.95), (0, 1, 1, 0)) * s.amplitude * s.rng.uniform(12, 24)
    length = arm_length(s)
    across = s.rng.uniform(0.0, 0.1)  # of the target, towards the midline
    # fists before the chest or, as in karate, at the waist, from where no straight way leads up
    guard_hip = s.rng.random() < 0.35 and elevation < 20
    low, near = (-0.56, 0.16) if guard_hip else (s.rng.uniform(-0.22, -0.05), s.rng.uniform(0.46, 0.56))
    sign = -1 if s.lead == "left" else 1
    dip = ease(reps.u, (0, 0.32, 0.45, 0.95), (0, 1, 1, 0))
    s.body(
        pitch=2 + (0.06 * -elevation + 2) * dip,
        flex=3 - 0.1 * elevation * dip,
        yaw=0.3 * sign * turn,
        twist=0.7 * sign * turn,
    )
    shoulder = abs(s.rest_joints[16, 0]) / length
    guard = np.array([(0.9 if guard_hip else 0.55) * shoulder, low, near])
    goal_angle = np.radians(elevation)
    for side in SIDES:
        out = stroke if side == s.lead else np.zeros_like(stroke)
        far = 0.985 * min(0.72 + 0.28 * s.amplitude, 1.0)
        swung = np.radians(turn)  # the shoulder comes forward with the trunk; aim from where it will be
        origin = np.stack([shoulder * np.cos(swung), np.zeros_like(swung), shoulder * np.sin(swung)], axis=1)
        if side != s.lead:
            origin[:, 2] *= -1
        aim = np.array([-across * far, np.sin(goal_angle) * far, np.cos(goal_angle) * far])
        aim *= far / np.linalg.norm(aim)
        goal = origin + aim
        path = guard + out[:, None] * (goal - guard)
        wander = np.stack([s.noise(0.008), s.noise(0.012), s.noise(0.01)], axis=1)
        reach(
            s,
            side,
            length * path + (1 - out)[:, None] * wander,
            elbow=(0.45, -1.0, -0.5),
            palm=np.stack([-(1 - out), -out, 0 * out], axis=1) if not guard_hip else None,
            follow=0.0,
        )
    stand(s, crouch=0.01 + 0.012 * dip, z=0.02 * dip)


def wave_hello(s: Stage) -> None:
    """Raise one hand, wave with it for some seconds, lower it."""
    shake = s.rng.uniform(1.2, 2.0)
    reps = s.repetitions(s.rng.uniform(4.0, 6.5), (0.3, 0.9))
    up = ease(reps.u, (0, 0.16, 0.86, 1), (0, 1, 1, 0))
    waving = ease(reps.u, (0.1, 0.22, 0.78, 0.9), (0, 1, 1, 0)) * np.sin(s.cycle(shake))
    raised, forward = s.rng.uniform(62, 100), s.rng.uniform(0, 28)
    bent, turned = s.rng.uniform(72, 95), s.rng.uniform(68, 85)
    a = s.amplitude
    s.body(side=(-2.5 if s.lead == "left" else 2.5) * up)
    s.pose.arm(
        s.lead,
        abduct=s.arm_abduct + (raised - s.arm_abduct) * up + 5 * a * waving,
        flex=forward * up,
        elbow=s.arm_elbow + (bent - s.arm_elbow) * up + 26 * a * waving,
        twist=-turned * up,
        pronate=s.noise(4) * up,
    )
    stand(s)


def circle_hand(s: Stage) -> None:
    """Draw circles in the air with one hand in front of the body."""
    phase = s.cycle(s.rng.uniform(0.5, 1.0)) * s.rng.choice([-1.0, 1.0])
    radius = s.rng.uniform(0.28, 0.5) * s.amplitude
    _draw(s, radius * np.cos(phase), radius * np.sin(phase), radius)


def draw_eight(s: Stage) -> None:
    """Draw eights in the air, lying or upright, with one hand in front of the body."""
    phase = s.cycle(s.rng.uniform(0.35, 0.65)) * s.rng.choice([-1.0, 1.0])
    radius = s.rng.uniform(0.36, 0.52) * s.amplitude
    long, short = radius * np.sin(phase), 0.55 * radius * np.sin(2 * phase)
    lying = s.rng.random() < 0.6
    _draw(s, long if lying else short, short if lying else long, radius)


def _draw(s: Stage, across: Array, up: Array, radius: float) -> None:
    """Lead the hand along a figure in an upright plane, in arm's lengths, before the shoulder."""
    length = arm_length(s)
    shoulder = abs(s.rest_joints[16, 0]) / length
    # the plane is as far away as the arm allows at the figure's edge, and no nearer than a forearm
    ahead = np.clip(np.sqrt(max(0.9 - radius**2, 0.1)), 0.5, s.rng.uniform(0.62, 0.8))
    middle = np.array([shoulder * s.rng.uniform(0.6, 1.1), s.rng.uniform(-0.28, 0.0), ahead])
    sign = -1 if s.lead == "left" else 1
    s.body(twist=-sign * 9 * across, side=-sign * 2 * across)
    drift = [0.03 * s.noise(1.0, 0.15) for _ in range(3)]
    path = middle + np.stack([across + drift[0], up + drift[1], 0.1 * up**2 + drift[2]], axis=1)
    reach(
        s,
        s.lead,
        length * path,
        elbow=(s.rng.uniform(0.4, 0.9), -1.0, -0.3),
        palm=(-0.4, -1.0, 0.3),
        follow=0.5,
    )
    stand(s)


def clap_hands(s: Stage) -> None:
    """Clap with both hands in front of the chest."""
    phase = s.cycle(s.rng.uniform(1.0, 2.0))
    apart = lift(phase)
    length = arm_length(s)
    wide = s.rng.uniform(0.35, 0.6) * s.amplitude
    high, ahead = s.rng.uniform(-0.42, -0.12), s.rng.uniform(0.56, 0.7)
    rise = s.rng.uniform(0.2, 0.8)
    s.body(flex=2 - 2 * apart)
    for side in SIDES:
        path = np.stack(
            [0.105 + wide * apart, high + 0.05 * wide * apart, ahead - 0.15 * wide * apart], axis=1
        )
        reach(
            s,
            side,
            length * path,
            elbow=(0.7, -1.0, -0.4),
            palm=(-1.0, 0.0, 0.0),
            fingers=(0.0, rise, 1.0),
        )
    stand(s)
