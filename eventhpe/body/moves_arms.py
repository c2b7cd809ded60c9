"""Movements of the arms: waving, circles, clapping, punches."""

from __future__ import annotations

import numpy as np

from eventhpe.body.pose_track import soft_clip
from eventhpe.body.stage import SIDES, Stage, lift, snap


def wave(s: Stage) -> None:
    """Wave with one raised hand."""
    phase = s.cycle(s.rng.uniform(1.0, 1.8))
    raised = s.rng.uniform(70, 115)
    s.body(side=3 if s.lead == "left" else -3)
    s.pose.arm(
        s.lead,
        abduct=raised + 6 * s.amplitude * np.sin(phase),
        flex=s.rng.uniform(0, 25),
        elbow=s.rng.uniform(65, 90) + 28 * s.amplitude * np.sin(phase),
        twist=-s.rng.uniform(70, 90),
    )


def figure_eight(s: Stage) -> None:
    """Draw an eight in the air with one hand in front of the body."""
    phase = s.cycle(s.rng.uniform(0.4, 0.8))
    a = s.amplitude
    s.pose.arm(
        s.lead,
        abduct=18 + 22 * a * np.sin(phase),
        flex=75 + 26 * a * np.sin(2 * phase),
        elbow=30 + 10 * np.cos(phase),
    )
    s.body(twist=(-4 if s.lead == "left" else 4) * a * np.sin(phase))


def hand_circles(s: Stage) -> None:
    """Draw circles with one hand at the side."""
    phase = s.cycle(s.rng.uniform(0.6, 1.2)) * s.rng.choice([-1.0, 1.0])
    a = s.amplitude
    s.pose.arm(
        s.lead,
        abduct=80 + 18 * a * np.sin(phase),
        flex=20 + 22 * a * np.cos(phase),
        elbow=15 + 6 * np.sin(phase),
    )


def arm_circles(s: Stage) -> None:
    """Swing both straight arms in circles."""
    phase = s.cycle(s.rng.uniform(0.5, 0.9)) * s.rng.choice([-1.0, 1.0])
    radius = s.rng.uniform(20, 45) * s.amplitude
    for side in SIDES:
        s.pose.arm(
            side,
            abduct=85 + radius * np.sin(phase),
            flex=5 + radius * np.cos(phase),
            elbow=5 + 3 * np.sin(phase),
        )


def clap(s: Stage) -> None:
    """Clap in front of the chest."""
    apart = lift(s.cycle(s.rng.uniform(1.0, 2.0)))
    height = s.rng.uniform(40, 65)
    for side in SIDES:
        s.pose.arm(
            side,
            abduct=8 + 22 * s.amplitude * apart,
            flex=height,
            elbow=62 - 8 * apart,
            twist=43 - 34 * s.amplitude * apart,
        )


def punch(s: Stage) -> None:
    """Punch straight ahead, left and right in turn, from a guard."""
    phase = s.cycle(s.rng.uniform(0.5, 0.9))
    a = s.amplitude
    strokes = {s.lead: snap(phase, 4), s.other: snap(phase + np.pi, 4)}
    s.body(
        pitch=4,
        flex=3,
        yaw=6 * (strokes["right"] - strokes["left"]),
        twist=22 * a * (strokes["right"] - strokes["left"]),
    )
    for side, out in strokes.items():
        s.pose.arm(
            side,
            abduct=14,
            flex=soft_clip(18 + 70 * a * out, high=98),
            elbow=soft_clip(122 - 112 * a * out, 5),
            twist=18 * (1 - out),
        )
    for side, forward in ((s.lead, 16), (s.other, -10)):
        s.pose.leg(side, flex=forward + 12, knee=18, abduct=6, turn_out=s.turn_out, pelvis_pitch=4)


def punch_up(s: Stage) -> None:
    """Punch upwards, left and right in turn."""
    phase = s.cycle(s.rng.uniform(0.5, 0.9))
    a = s.amplitude
    for side, at in ((s.lead, phase), (s.other, phase + np.pi)):
        out = snap(at, 3)
        s.pose.arm(
            side,
            abduct=15 + 10 * out,
            flex=soft_clip(20 + 140 * a * out, high=167),
            elbow=soft_clip(120 - 108 * a * out, 5),
        )
    s.body(side=6 * np.sin(phase))


def raise_arms(s: Stage) -> None:
    """Raise both arms, sideways or forward, and lower them."""
    up = lift(s.cycle(s.rng.uniform(0.3, 0.6)))
    forward = s.rng.random() < 0.5
    top = s.rng.uniform(80, 160) * s.amplitude
    for side in SIDES:
        raised = soft_clip(top * up, high=165)
        if forward:
            s.pose.arm(side, abduct=s.arm_abduct, flex=raised, elbow=s.arm_elbow)
        else:
            s.pose.arm(side, abduct=s.arm_abduct + raised * (1 - s.arm_abduct / 170), elbow=s.arm_elbow)
