"""What movements are written with: the clock, the performer's style, and smooth profiles."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventhpe.body.pose_track import PoseTrack, soft_clip

Array = NDArray[np.float64]
SIDES = ("left", "right")


class Stage:
    """What a movement is written with: the clock, the performer's style, and the pose to fill.

    Attributes:
        t: (T,) seconds.
        pose: the pose over time; a movement sets what it needs, the rest keeps a relaxed stance.
        airborne: (T,) or a number, metres above the floor.
        anchored: whether the standing foot stays in place.
    """

    def __init__(
        self,
        t: Array,
        duration_s: float,
        rng: np.random.Generator,
        amplitude: float,
        tempo: float,
        heading_deg: ArrayLike,
    ) -> None:
        self.t, self.duration_s, self.rng = t, duration_s, rng
        self.amplitude, self.tempo = amplitude, tempo
        self.pose = PoseTrack(len(t))
        self.airborne: ArrayLike = 0.0
        self.anchored = True
        self.heading = np.asarray(heading_deg, dtype=np.float64)
        self.lead = SIDES[int(rng.integers(2))]
        self.other = SIDES[1 - SIDES.index(self.lead)]
        self.arm_abduct = rng.uniform(8, 18)
        self.arm_elbow = rng.uniform(5, 22)
        self.stance = rng.uniform(0, 6)
        self.turn_out = rng.uniform(0, 14)
        self.body()
        for side in SIDES:
            self.relaxed_arm(side)
            self.pose.leg(side, abduct=self.stance, turn_out=self.turn_out, knee=2, flex=1)

    def cycle(self, hertz: float) -> Array:
        """(T,) phase in radians of a repeated action, with a slightly uneven beat and a random start."""
        start = self.rng.uniform(0, 2 * np.pi)
        return start + 2 * np.pi * hertz * self.tempo * self.t + 0.25 * self.noise(1.0, 0.15)

    def noise(self, size: float, hertz: float = 0.35) -> Array:
        """(T,) smooth random wander of standard deviation `size`."""
        total = np.zeros_like(self.t)
        for _ in range(4):
            f, phase, weight = (
                self.rng.uniform(0.3, 1.7) * hertz,
                self.rng.uniform(0, 2 * np.pi),
                self.rng.normal(),
            )
            total += weight * np.sin(2 * np.pi * f * self.t + phase)
        return np.asarray(size * total / np.sqrt(2))

    def body(
        self,
        *,
        pitch: ArrayLike = 0,
        roll: ArrayLike = 0,
        yaw: ArrayLike = 0,
        flex: ArrayLike = 0,
        side: ArrayLike = 0,
        twist: ArrayLike = 0,
        nod: ArrayLike = 0,
    ) -> None:
        """Pelvis, spine and head together; a living body wanders a little."""
        self.pose.pelvis(heading=np.add(self.heading, yaw), pitch=pitch, roll=np.add(roll, self.noise(0.4)))
        self.pose.spine(
            flex=np.add(flex, 2 + self.noise(1.0)),
            side=np.add(side, self.noise(0.8)),
            twist=np.add(twist, self.noise(1.2)),
        )
        self.pose.head(pitch=np.add(nod, self.noise(2.5)), yaw=self.noise(5.0, 0.2), roll=self.noise(1.5))

    def relaxed_arm(self, side: str) -> None:
        """Let an arm hang."""
        self.pose.arm(
            side,
            abduct=self.arm_abduct + self.noise(0.8),
            flex=self.noise(1.5),
            elbow=soft_clip(self.arm_elbow + self.noise(1.5), 0.0, width=1.0),
        )


def lift(phase: Array) -> Array:
    """0 -> 1 -> 0 once per cycle, smooth."""
    return np.asarray((1 - np.cos(phase)) / 2)


def snap(phase: Array, sharpness: float) -> Array:
    """Like `lift`, but a short stroke in each cycle."""
    return np.asarray(lift(phase) ** sharpness)


def hold(phase: Array, softness: float = 0.25) -> Array:
    """0 -> 1 -> 0 once per cycle with rests at both ends."""
    return np.asarray(0.5 - 0.5 * np.tanh(np.cos(phase) / softness) / np.tanh(1 / softness))


def bezier_blend(keys: ArrayLike, u: ArrayLike) -> Array:
    """Smooth curve through the midpoints of K keys, each key the control point of a quadratic Bezier arc.

    Args:
        keys: (K,) values.
        u: (T,) position in units of keys, 0 <= u <= K - 2.
    Returns:
        (T,) values: once differentiable, and never outside the range of the keys.
    """
    k = np.asarray(keys, dtype=np.float64)
    position = np.asarray(u, dtype=np.float64)
    i = np.clip(position.astype(int), 0, len(k) - 3)
    f = position - i
    a, b = (k[i] + k[i + 1]) / 2, (k[i + 1] + k[i + 2]) / 2
    return np.asarray((1 - f) ** 2 * a + 2 * f * (1 - f) * k[i + 1] + f**2 * b)
