"""What movements are written with: the clock, the performer's style, and smooth profiles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from eventhpe.body.fk import as_rest_joints
from eventhpe.body.params import BodyParams
from eventhpe.body.pose_track import PoseTrack, soft_clip
from eventhpe.geometry.skeleton import SMPL_SKELETON

Array = NDArray[np.float64]
SIDES = ("left", "right")
Side = Literal["left", "right"]


@dataclass(frozen=True)
class Placement:
    """Where a movement that plans its own footfalls puts the body; frame as in `footwork`.

    Attributes:
        pelvis: (T, 3) metres, path of the pelvis joint.
        ankles: side to (T, 3) rotation vectors of the ankles, which hold the planned soles.
    """

    pelvis: Array
    ankles: Mapping[str, Array]


@dataclass(frozen=True)
class Repetitions:
    """One action again and again, with rests.

    Attributes:
        u: (T,) progress of the running repetition, 0 to 1; stays 1 in the rest after it.
        size: (T,) size of that repetition, about 1; it changes only when one ends.
    """

    u: Array
    size: Array


class Stage:
    """What a movement is written with: the clock, the performer's style, and the pose to fill.

    Attributes:
        t: (T,) seconds.
        pose: the pose over time; a movement sets what it needs, the rest keeps a relaxed stance.
        airborne: (T,) or a number, metres above the floor.
        anchored: whether the standing foot stays in place.
        placement: set by movements that plan their footfalls; then airborne and anchored do not count.
        rest_joints: (24, 3) metres of the performer.
        lead, other: the side that acts, and the other one.
    """

    def __init__(
        self,
        t: Array,
        duration_s: float,
        rng: np.random.Generator,
        amplitude: float,
        tempo: float,
        heading_deg: ArrayLike,
        *,
        rest_joints: ArrayLike,
        side: Side | None = None,
    ) -> None:
        self.t, self.duration_s, self.rng = t, duration_s, rng
        self.amplitude, self.tempo = amplitude, tempo
        self.pose = PoseTrack(len(t))
        self.airborne: ArrayLike = 0.0
        self.anchored = True
        self.heading = np.asarray(heading_deg, dtype=np.float64)
        self.placement: Placement | None = None
        self.rest_joints = as_rest_joints(rest_joints)
        drawn = SIDES[int(rng.integers(2))]  # drawn in any case: a given side changes no other draw
        self.lead: str = drawn if side is None else side
        self.other = SIDES[1 - SIDES.index(self.lead)]
        self.arm_abduct = rng.uniform(8, 18)
        self.arm_elbow = rng.uniform(5, 22)
        self.stance = rng.uniform(0, 6)
        self.turn_out = rng.uniform(0, 14)
        self.body()
        for each in SIDES:
            self.relaxed_arm(each)
            self.pose.leg(each, abduct=self.stance, turn_out=self.turn_out, knee=2, flex=1)

    def cycle(self, hertz: float) -> Array:
        """(T,) phase in radians of a repeated action, with a slightly uneven beat and a random start."""
        start = self.rng.uniform(0, 2 * np.pi)
        return start + 2 * np.pi * hertz * self.tempo * self.t + 0.25 * self.noise(1.0, 0.15)

    def repetitions(self, action_s: float, rest_s: tuple[float, float]) -> Repetitions:
        """Single actions of about `action_s` seconds, between them rests drawn from `rest_s`, at tempo 1.

        The performance starts anywhere in the first one.
        """
        count = int(self.duration_s * self.tempo / (0.9 * action_s + rest_s[0])) + 3
        length = action_s * self.rng.uniform(0.9, 1.1, count) / self.tempo
        pause = self.rng.uniform(*rest_s, count) / self.tempo
        size = self.rng.uniform(0.88, 1.06, count)
        ends = np.cumsum(length + pause)
        begin = ends - (length + pause) - self.rng.uniform(0, ends[0])
        i = np.searchsorted(begin, self.t, side="right") - 1
        return Repetitions(u=np.clip((self.t - begin[i]) / length[i], 0.0, 1.0), size=size[i])

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

    def to_params(self, model: str) -> BodyParams:
        """The performance: T frames in the world frame, at first over x = z = 0."""
        if self.placement is None:
            return self.pose.to_params(
                self.rest_joints, airborne=self.airborne, anchored=self.anchored, model=model
            )
        pose = self.pose.rotvec
        for side, ankle in self.placement.ankles.items():
            pose[:, SMPL_SKELETON.index(f"ankle_{side}")] = ankle
        path = self.placement.pelvis - self.placement.pelvis[0] * [1.0, 0.0, 1.0]
        turn = Rotation.from_euler("Y", float(self.heading.flat[0]), degrees=True)
        return BodyParams(
            betas=np.zeros((len(path), 10)),
            global_orient=pose[:, 0],
            body_pose=pose[:, 1:],
            transl=turn.apply(path) - self.rest_joints[0],
            model=model,
            frame="world",
        )


def ease(x: ArrayLike, at: ArrayLike, values: ArrayLike) -> Array:
    """Pass from value to value, at rest at each: minimum-jerk polynomials (Flash and Hogan 1985).

    Args:
        x: (T,) time or progress.
        at: (K,) increasing, where each value is reached; before the first and after the last it is held.
        values: (K,).
    Returns:
        (T,) twice differentiable in x.
    """
    where, keys, value = (np.asarray(a, dtype=np.float64) for a in (x, at, values))
    i = np.clip(np.searchsorted(keys, where, side="right") - 1, 0, len(keys) - 2)
    f = np.clip((where - keys[i]) / (keys[i + 1] - keys[i]), 0.0, 1.0)
    return np.asarray(value[i] + (value[i + 1] - value[i]) * f**3 * (10 - 15 * f + 6 * f**2))


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
