"""Jumps and hops with ballistic flight, as DHP19 asks for them in sessions 2 and 4."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventhpe.body.flight import GRAVITY, Bounces, Knot, air_time, bounces, path_through
from eventhpe.body.footwork import FootPath, FreeLeg, Values, place, stance, tallest
from eventhpe.body.pose_track import soft_clip
from eventhpe.body.stage import SIDES, Stage, ease
from eventhpe.geometry.skeleton import SMPL_SKELETON

Array = NDArray[np.float64]

_SOFT_M = 0.008  # rounding of the moment at which a foot leaves the floor
_TOES_DEG = 34.0  # pitch of the sole at take-off and landing


def _clearance(height: Array, reachable: Array, in_air: Array) -> Array:
    """(T,) metres the feet are off the floor: what the legs cannot span.

    Args:
        in_air: (T,) 1 in flight, 0 on the ground away from it: feet that stand lie on the floor exactly.
    """
    return soft_clip(height - reachable, low=0.0, width=_SOFT_M) * in_air


def _around(t: Array, begin: Array, end: Array, ramp_s: Array) -> Array:
    """(T,) 1 from begin[i] to end[i], 0 from ramp_s[i] before to ramp_s[i] after."""
    at = np.stack([begin - ramp_s, begin - 0.1 * ramp_s, end + 0.1 * ramp_s, end + ramp_s], axis=1)
    return ease(t, at.ravel(), np.tile([0.0, 1.0, 1.0, 0.0], len(begin)))


def _standing(s: Stage, sole: float) -> float:
    """Height of the pelvis over straight legs in a neutral pose, soles pitched by `sole` degrees."""
    feet = {side: replace(foot, sole=sole) for side, foot in stance(s).items()}
    return float(tallest(s, feet)[0])


class _SingleJumps:
    """Jump, land, stand up, rest, again: the knots in time of each jump, in seconds, (N,) each.

    Args:
        apex: range in metres that the flights rise; after: range of the rests in seconds.
        lean_m: height lost to legs that slant, in metres, at take-off and at landing.
    """

    def __init__(
        self,
        s: Stage,
        apex: tuple[float, float],
        after: tuple[float, float],
        *,
        lean_m: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        r, tempo, self._t = s.rng, s.tempo, s.t
        count = int(s.duration_s * tempo / (1.2 + after[0])) + 4
        self.apex = r.uniform(*apex, count) * s.amplitude
        self.dip = r.uniform(0.14, 0.24, count) * np.clip(s.amplitude, 0.6, 1.1)
        fall = np.maximum(r.uniform(0.42, 0.55, count) / tempo, 0.2)
        self.off_height, self.stand_height = _standing(s, _TOES_DEG) - lean_m[0], _standing(s, 0.0)
        land_height = _standing(s, _TOES_DEG) - lean_m[1]
        self.speed = np.sqrt(2 * GRAVITY * self.apex)
        land_speed = np.sqrt(2 * GRAVITY * (self.apex + self.off_height - land_height))
        self.flight = (self.speed + land_speed) / GRAVITY
        push = 1.9 * (self.dip + self.off_height - self.stand_height) / self.speed
        absorb = r.uniform(0.2, 0.26, count)
        rise = np.maximum(r.uniform(0.5, 0.7, count) / tempo, 0.3)
        rest = r.uniform(*after, count) / tempo
        self.give = np.maximum(0.45 * land_speed * absorb - (land_height - self.stand_height), 0.03)
        steps = np.stack([fall, push, self.flight, absorb, rise, rest], axis=1)
        edges = np.cumsum(steps.ravel()).reshape(steps.shape)
        edges -= r.uniform(0, edges[0, -1])
        self.start = edges[:, 0] - fall
        self.low, self.off, self.land, self.bottom, self.up, self.end = edges.T
        knots = []
        for i in range(count):
            h, v = self.stand_height, self.speed[i]
            knots += [
                Knot(self.start[i], h),
                Knot(self.low[i], h - self.dip[i], 0.0, 1.2 * v / push[i]),
                Knot(self.off[i], self.off_height, v, -GRAVITY),
                Knot(self.land[i], land_height, -land_speed[i], -GRAVITY),
                Knot(self.bottom[i], h - self.give[i], 0.0, 0.6 * land_speed[i] / absorb[i]),
                Knot(self.up[i], h),
            ]
        self.height = path_through(knots, s.t)

    def channel(self, *points: tuple[str, ArrayLike, ArrayLike]) -> Array:
        """(T,) minimum-jerk curve through points (knot, seconds after it, value), the same in each jump."""
        at = np.stack([getattr(self, name) + np.asarray(delay) for name, delay, _ in points], axis=1)
        value = np.stack([np.broadcast_to(v, self.start.shape) for *_, v in points], axis=1)
        return ease(self._t, at.ravel(), value.ravel())


def single_jump(s: Stage) -> None:
    """Jump up with both feet, land, stand, again."""
    _jump_once(s, _SingleJumps(s, (0.14, 0.28), (0.3, 0.9)), z=np.zeros_like(s.t), feet_z={})


def jump_forward(s: Stage) -> None:
    """Jump forwards with both feet, then step back to the start in three steps."""
    jumps = _SingleJumps(s, (0.1, 0.2), (1.9, 2.5), lean_m=(0.012, 0.04))
    far = s.rng.uniform(0.4, 0.75, len(jumps.start)) * s.amplitude
    # steps back fill the time after standing up
    third = (jumps.end - jumps.up) * 0.3
    first, second, last = jumps.up + third, jumps.up + 2 * third, jumps.up + 3 * third

    def course(points: list[tuple[Array, Array]]) -> Array:
        at, value = (np.stack(column, axis=1).ravel() for column in zip(*points, strict=True))
        return ease(s.t, at, value)

    zero, late = np.zeros_like(far), 0.12 * third  # a foot leaves the floor before it moves on
    air = [(jumps.off, zero), (jumps.land, far)]
    steps = {
        s.lead: [
            *air, (jumps.up + late, far), (first - late, far / 2), (second + late, far / 2),
            (last - late, zero),
        ],
        s.other: [*air, (first + late, far), (second - late, zero)],
    }  # fmt: skip
    feet_z = {side: course(points) for side, points in steps.items()}
    lift = {
        s.lead: 0.05 * (_bump(s.t, jumps.up, first) + _bump(s.t, second, last)),
        s.other: 0.05 * _bump(s.t, first, second),
    }
    # the pelvis leads in flight with constant speed, starts before take-off and settles after landing
    knots_t = np.stack([jumps.low, jumps.off, jumps.land, jumps.bottom + 0.1, jumps.up, last], axis=1)
    speed = far / (jumps.flight + 0.16 + 0.5 * (jumps.bottom + 0.1 - jumps.land))
    lead = 0.5 * speed * (jumps.off - jumps.low)
    lead = np.minimum(lead, 0.2)
    after = lead + speed * jumps.flight
    z_knots = []
    for i in range(len(far)):
        z_knots += [
            Knot(knots_t[i, 0], -0.02),
            Knot(knots_t[i, 1], lead[i], speed[i]),
            Knot(knots_t[i, 2], after[i], speed[i]),
            Knot(knots_t[i, 3], far[i] - 0.03),
            Knot(knots_t[i, 4], far[i]),
            Knot(knots_t[i, 5], 0.0),
        ]
    z = path_through([Knot(min(s.t[0], z_knots[0].t) - 1.0, 0.0), *z_knots], s.t)
    shift = 0.035 * (_bump(s.t, first, second) - _bump(s.t, jumps.up, first) - _bump(s.t, second, last))
    _jump_once(s, jumps, z=z, feet_z=feet_z, lift=lift, x=shift * (1 if s.lead == "left" else -1))


def _bump(t: Array, begin: Array, end: Array) -> Array:
    """(T,) 0 -> 1 -> 0 between `begin` and `end` of each repetition."""
    at = np.stack([begin, (begin + end) / 2, end], axis=1)
    return ease(t, at.ravel(), np.tile([0.0, 1.0, 0.0], len(begin)))


def _jump_once(
    s: Stage,
    jumps: _SingleJumps,
    *,
    z: Array,
    feet_z: dict[str, Array],
    lift: dict[str, Array] | None = None,
    x: ArrayLike = 0.0,
) -> None:
    c = jumps.channel
    low = c(
        ("start", 0, 0), ("low", 0, 1), ("off", -0.03, 0), ("land", 0, 0.15), ("bottom", 0.02, 0.8),
        ("up", 0, 0),
    )  # fmt: skip
    sole = c(("low", 0.02, 0), ("off", 0, 1), ("land", 0, 1), ("bottom", 0, 0)) * _TOES_DEG
    deep = np.mean(jumps.dip) / 0.2
    pitch = (s.rng.uniform(24, 34) * deep) * low
    s.body(pitch=pitch, flex=8 * low, nod=-10 * low)
    swing = s.rng.uniform(60, 120) * s.amplitude
    back = -s.rng.uniform(25, 45) * s.amplitude
    for side in SIDES:
        arm = c(
            ("start", 0, 0), ("low", -0.05, back), ("off", 0.45 * jumps.flight, swing), ("bottom", 0.14, 10),
            ("up", 0, 0),
        )  # fmt: skip
        bent = c(("start", 0, 0), ("low", 0, 10), ("off", 0, 28), ("bottom", 0.1, 20), ("up", 0, 0))
        s.pose.arm(side, abduct=s.arm_abduct + 0.04 * np.maximum(arm, 0), flex=arm, elbow=s.arm_elbow + bent)
    x = np.add(x, s.noise(0.005, 0.2))
    z = z - 0.09 * low  # the hips go back as the trunk leans
    feet = {
        side: replace(
            foot,
            sole=sole,
            z=np.asarray(foot.z) + feet_z.get(side, 0.0),
            lift=0.0 if lift is None else lift[side],
        )
        for side, foot in stance(s).items()
    }
    reachable = tallest(s, feet, x, z)
    in_air = _around(s.t, jumps.off, jumps.land, np.full(len(jumps.off), 0.08))
    over = _clearance(jumps.height, reachable, in_air)
    # on the ground no one is taller than the legs reach, least of all with one foot before the other
    height = jumps.height - (1 - in_air) * soft_clip(jumps.height - reachable, 0.0, width=0.01)
    feet = {side: replace(foot, lift=foot.lift + over) for side, foot in feet.items()}
    place(s, feet, height=height, x=x, z=z)


def _bounce(
    s: Stage, apex: tuple[float, float], contact: tuple[float, float], *, level: tuple[float, float] = (0, 0)
) -> Bounces:
    """Bounces for the whole performance, from anywhere in the first one; contacts at two levels in turn."""
    count = 2 * (int(s.duration_s * s.tempo / contact[0]) // 2 + 2)
    typical, ground = s.rng.uniform(*apex) * s.amplitude, s.rng.uniform(*contact) / s.tempo
    rise, rest = typical * s.rng.uniform(0.85, 1.15, count), ground * s.rng.uniform(0.94, 1.06, count)
    start = -s.rng.uniform(0, rest[0] + float(air_time(rise[0])))
    return bounces(rise, rest, start_s=start, t=s.t, level=np.resize(level, count + 1))


def _in_flight(b: Bounces, t: Array, values: Array, *, wider_s: float = 0.0) -> Array:
    """(T,) pass to values[i] during flight i and keep it on the ground."""
    at = np.stack([b.takeoff - wider_s, b.landing + wider_s], axis=1).ravel()
    before = np.concatenate([values[-1:], values[:-1]])
    return ease(t, at, np.stack([before, values], axis=1).ravel())


def _airborne(b: Bounces, t: Array) -> Array:
    """(T,) 1 in flight, 0 in the middle of contacts, smooth between."""
    return _toe_pitch(b, t, np.zeros_like(b.lowest), 1.0)


def _contact(b: Bounces) -> Array:
    """(N,) seconds of the contact before flight i; the first is taken to be as long as the second."""
    length = b.takeoff[1:] - b.landing[:-1]
    return np.concatenate([length[:1], length])


def _toe_pitch(b: Bounces, t: Array, ground: Array, air: float) -> Array:
    """(T,) `air` in flight, ground[i] in the middle of the contact before flight i, smooth between."""
    at = np.stack([b.takeoff - _contact(b) / 2, b.takeoff, b.landing], axis=1).ravel()
    value = np.stack([ground, np.full_like(ground, air), np.full_like(ground, air)], axis=1)
    return ease(t, at, value.ravel())


def _heel_to_floor(s: Stage, b: Bounces, flat: Values) -> Array:
    """(T,) pitch of the sole in bounces: the heel comes down as far as the legs give.

    Args:
        flat: (N,) or a number, metres, height of the pelvis over straight legs on flat soles.
    """
    ankle, ball = (s.rest_joints[SMPL_SKELETON.index(f"{name}_left"), 2] for name in ("ankle", "foot"))
    above = np.clip((b.lowest - flat + 0.02) / (ball - ankle), 0.08, np.sin(np.radians(_TOES_DEG)))
    return _toe_pitch(b, s.t, np.degrees(np.arcsin(above)), _TOES_DEG)


def jumps(s: Stage) -> None:
    """Jump up and down with both feet without a stop."""
    b = _bounce(s, (0.08, 0.18), (0.26, 0.36))
    low = soft_clip(-b.height, 0.0, 0.2, width=0.01) / 0.14
    air = _airborne(b, s.t)
    level = _standing(s, _TOES_DEG)
    s.body(pitch=3 + 16 * low, flex=5 * low)
    swing = s.rng.uniform(10, 45) * s.amplitude
    for side in SIDES:
        s.pose.arm(
            side,
            abduct=s.arm_abduct + 6 * air,
            flex=(air - 0.35) * swing,
            elbow=s.arm_elbow + 20 + 10 * air,
        )
    sole = _heel_to_floor(s, b, _standing(s, 0.0) - level)
    feet = {side: replace(foot, sole=sole) for side, foot in stance(s).items()}
    _fly(s, b, feet, level + b.height, z=-0.03 * low)


def star_jump(s: Stage) -> None:
    """Star jumps: legs apart and arms up, legs together and arms down."""
    near, wide = 0.02, s.rng.uniform(0.16, 0.27) * s.amplitude
    hips = {side: stance(s)[side].x for side in SIDES}

    def feet_at(spread: Values, sole: Values) -> dict[str, FootPath]:
        return {
            side: FootPath(x=hips[side] + sign * np.asarray(spread), sole=sole, turn_out=s.turn_out)
            for side, sign in (("left", 1), ("right", -1))
        }

    def levels(sole: float) -> tuple[float, float]:
        closed, open_ = (float(tallest(s, feet_at(x, sole))[0]) for x in (near, wide))
        return closed, open_

    b = _bounce(s, (0.03, 0.08), (0.17, 0.23), level=levels(_TOES_DEG))
    opens = np.resize([1.0, 0.0], len(b.takeoff))
    spread = near + (wide - near) * _in_flight(b, s.t, opens)
    raised = _in_flight(b, s.t, opens, wider_s=0.06 / s.tempo)
    air = _airborne(b, s.t)
    s.body(pitch=3 + 4 * (1 - air), flex=2)
    top, down = s.rng.uniform(140, 162), s.rng.uniform(6, 14)
    high = soft_clip(down + (top - down) * min(s.amplitude, 1.1), high=168)
    bent = s.rng.uniform(0, 25)
    for side in SIDES:
        s.pose.arm(side, abduct=down + (high - down) * raised, flex=6, elbow=s.arm_elbow + 4 + bent * raised)
    _fly(s, b, feet_at(spread, _heel_to_floor(s, b, np.resize(levels(0.0), len(b.takeoff)))), b.height)


def hop(s: Stage) -> None:
    """Hop on one foot, the other one held up behind."""
    sign = 1 if s.lead == "left" else -1
    b = _bounce(s, (0.04, 0.09), (0.24, 0.32))
    count = len(b.takeoff)
    spot_x, spot_z = (_in_flight(b, s.t, s.rng.normal(0, size, count)) for size in (0.012, 0.018))
    low = soft_clip(-b.height, 0.0, 0.18, width=0.01) / 0.1
    air = _airborne(b, s.t)
    s.body(pitch=4 + 8 * low, roll=sign * 2.5, side=-sign * 1.5, flex=4 * low)
    for side in SIDES:
        s.pose.arm(
            side,
            abduct=s.arm_abduct + 14 + 10 * air,
            flex=10 + 14 * (air - 0.5) * s.amplitude,
            elbow=s.arm_elbow + 40 + 12 * air,
        )
    held = FreeLeg(
        weight=np.ones_like(s.t),
        flex=s.rng.uniform(0, 40) + 8 * (air - 0.5) * s.amplitude,
        knee=s.rng.uniform(70, 95) + 8 * low,
        abduct=2.0,
        turn_out=s.turn_out,
        ankle=s.rng.uniform(10, 30),
    )

    def level(sole: float) -> float:
        feet = {s.lead: FootPath(x=sign * 0.035, sole=sole, turn_out=s.turn_out), s.other: FootPath(x=0.0)}
        return float(tallest(s, feet, slack={s.other: 1.0})[0])

    sole = _heel_to_floor(s, b, level(0.0) - level(_TOES_DEG))
    foot = FootPath(x=sign * 0.035 + spot_x, z=spot_z, sole=sole, turn_out=s.turn_out)
    feet = {s.lead: foot, s.other: FootPath(x=-sign * 0.09)}
    height = level(_TOES_DEG) + b.height
    _fly(s, b, feet, height, x=spot_x, z=spot_z - 0.02 * low, free={s.other: held})


def _fly(
    s: Stage,
    b: Bounces,
    feet: dict[str, FootPath],
    height: Array,
    *,
    x: ArrayLike = 0.0,
    z: ArrayLike = 0.0,
    free: dict[str, FreeLeg] | None = None,
) -> None:
    """Place a body whose feet hang from straight legs wherever the pelvis is too high for them to stand."""
    reachable = tallest(s, feet, x, z, slack={side: 1.0 for side in free or {}})
    over = _clearance(height, reachable, _around(s.t, b.takeoff, b.landing, 0.35 * _contact(b)))
    place(s, {k: replace(f, lift=f.lift + over) for k, f in feet.items()}, height=height, x=x, z=z, free=free)
