"""How a motion is played in one recording: speed, side, still phases, a change to another motion.

Ranges follow the sim-to-real literature: motions from near still to fast, and pauses (Stoffregen et al., ECCV
2020). A network must hold the pose of a person who stops and so makes no events.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventhpe.errors import ShapeError

Array = NDArray[np.float64]
Range = tuple[float, float]

RESERVED_AMPLITUDE: Range = (0.88, 0.96)
RESERVED_TEMPO: Range = (0.92, 1.08)
"""Cell of procedural styles, [low, high) each, that training never draws: benchmark-p1 has no others."""

AMPLITUDE: Range = (0.7, 1.2)
TEMPO: Range = (0.6, 1.5)
_SEEN_TEMPO: Range = (0.4, 2.5)  # tempo times playing speed


def draw_movement_style(
    rng: np.random.Generator, held_out: bool | None = False, *, speed: float = 1.0
) -> tuple[float, float]:
    """Amplitude and tempo of a procedural movement.

    Args:
        rng: source of randomness.
        held_out: True draws inside the reserved cell only, False outside only, None anywhere.
        speed: speed at which the movement will be played. What is seen is tempo x speed: it decides about the
            cell, and stays within 0.4 to 2.5.
    Returns:
        amplitude and tempo for `perform`.
    """
    if not speed > 0:
        raise ShapeError(f"playing speed must be positive; got {speed}.")
    if held_out:
        return float(rng.uniform(*RESERVED_AMPLITUDE)), float(rng.uniform(*RESERVED_TEMPO)) / speed
    low, high = np.clip(np.array(_SEEN_TEMPO) / speed, *TEMPO)
    while True:
        amplitude, tempo = float(rng.uniform(*AMPLITUDE)), float(rng.uniform(low, high))
        if held_out is None or not in_reserved_cell(amplitude, tempo * speed):
            return amplitude, tempo


def in_reserved_cell(amplitude: float, tempo: float) -> bool:
    """Whether a procedural style is kept for benchmark-p1; tempo includes the playing speed."""
    a, t = RESERVED_AMPLITUDE, RESERVED_TEMPO
    return a[0] <= amplitude < a[1] and t[0] <= tempo < t[1]


@dataclass(frozen=True)
class StyleRanges:
    """What is drawn for each recording, as (low, high). Error messages and provenance name the fields."""

    speed: Range = (0.4, 2.5)
    """Playing speed, drawn log-uniformly."""
    mirrored_share: float = 0.5
    """Share of recordings with left and right exchanged."""
    pause_share: float = 0.4
    """Share of recordings with still phases."""
    max_pauses: int = 3
    """Largest number of still phases in a recording."""
    pause_s: Range = (0.2, 2.0)
    """Length of a still phase."""
    ramp_s: Range = (0.1, 0.35)
    """Time in which a person comes to rest, and starts again."""
    sway_share: float = 0.6
    """Share of recordings in which a resting person sways; in the others the body is exactly still."""
    sway_deg: Range = (0.05, 0.25)
    """Size of that sway about the feet (standard deviation)."""
    blend_share: float = 0.3
    """Share of recordings that change to a second motion."""
    blend_s: Range = (0.3, 0.8)
    """Length of the change."""
    stay_within_m: float | None = None
    """Walkers are held within this distance of the origin as on a treadmill; None lets them go."""
    turn_share: float = 0.0
    """Share of recordings in which the person also turns to and fro, whatever the motion is."""
    turn_deg: Range = (40.0, 180.0)
    """Largest angle of these turns to either side."""
    turn_hz: Range = (0.05, 0.4)
    """Their frequency, drawn log-uniformly; slow ones are one long turn."""

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name.endswith("_share"):
                if not 0 <= value <= 1:
                    raise ShapeError(f"StyleRanges.{f.name} must lie in [0, 1]; got {value}.")
            elif f.name == "max_pauses":
                if not value >= 1:
                    raise ShapeError(f"StyleRanges.max_pauses must be at least 1; got {value}.")
            elif f.name == "stay_within_m":
                if value is not None and not value > 0:
                    raise ShapeError(f"StyleRanges.stay_within_m must be positive or None; got {value}.")
            elif not 0 <= value[0] <= value[1] < np.inf or (f.name != "sway_deg" and value[0] == 0):
                raise ShapeError(
                    f"StyleRanges.{f.name} must be (low, high), positive and in order; got {value}."
                )


@dataclass(frozen=True)
class MotionStyle:
    """How one recording is played.

    Attributes:
        speed: playing speed; 1 is the motion's own.
        mirrored: left and right are exchanged.
        pauses: (start, length) in seconds of the recording: still from start to start + length, in order.
        ramp_s: seconds before and after a pause in which the speed falls to 0 and rises again.
        sway_deg: standard deviation of the sway about the feet while the body rests; 0 is exactly still.
        blends: (middle, length) in seconds of every change to the next motion, in order. Middle is a time of
            the recording; the length counts time in motion only, so that a pause in the middle is still.
        stay_within_m: radius around the origin that walkers are held in; None lets them go.
        turn_deg, turn_hz, turn_phase: angle, frequency and phase (radians) of turns about the vertical that
            are added to the motion, in time in motion; they begin at 0.
    """

    speed: float = 1.0
    mirrored: bool = False
    pauses: tuple[Range, ...] = ()
    ramp_s: float = 0.2
    sway_deg: float = 0.0
    blends: tuple[Range, ...] = ()
    stay_within_m: float | None = None
    turn_deg: float = 0.0
    turn_hz: float = 0.1
    turn_phase: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.speed < np.inf:
            raise ShapeError(f"MotionStyle.speed must be positive; got {self.speed}.")
        if not self.ramp_s > 0:
            raise ShapeError(f"MotionStyle.ramp_s must be positive; got {self.ramp_s}.")
        if not (self.turn_deg >= 0 and self.turn_hz > 0):
            raise ShapeError(
                "MotionStyle.turn_deg must not be negative and turn_hz positive; "
                f"got {self.turn_deg}, {self.turn_hz}."
            )
        if not self.sway_deg >= 0:
            raise ShapeError(f"MotionStyle.sway_deg must not be negative; got {self.sway_deg}.")
        if self.stay_within_m is not None and not self.stay_within_m > 0:
            raise ShapeError(f"MotionStyle.stay_within_m must be positive or None; got {self.stay_within_m}.")
        end = -np.inf
        for start, length in self.pauses:
            if not length > 0 or start < end + 2 * self.ramp_s - 1e-9:
                raise ShapeError(
                    "MotionStyle.pauses must be (start, length) in order, with length > 0 and two ramps of "
                    f"{self.ramp_s} s between them; got {self.pauses}."
                )
            end = start + length
        end = -np.inf
        for middle, length in self.blends:
            if not length > 0 or self.moving_time(middle) - length / 2 < end - 1e-9:
                raise ShapeError(
                    "MotionStyle.blends must be (middle, length) in order, with length > 0, and must not "
                    f"overlap; got {self.blends}."
                )
            end = float(self.moving_time(middle)) + length / 2

    @property
    def num_motions(self) -> int:
        """Motions that `play` needs."""
        return len(self.blends) + 1

    def turned(self, moving_s: ArrayLike) -> Array:
        """(*) radians by which the person has turned after (*) seconds in motion."""
        angle = 2 * np.pi * self.turn_hz * np.asarray(moving_s, dtype=np.float64) + self.turn_phase
        return np.radians(self.turn_deg) * (np.sin(angle) - np.sin(self.turn_phase))

    def rest_share(self, t_s: ArrayLike) -> Array:
        """(*) how much the body rests at times (*) in seconds: 0 moves at full speed, 1 is still."""
        t = np.asarray(t_s, dtype=np.float64)
        out = np.zeros_like(t)
        for start, length in self.pauses:
            out += _smooth_step((t - start) / self.ramp_s + 1)
            out -= _smooth_step((t - start - length) / self.ramp_s)
        return out

    def moving_time(self, t_s: ArrayLike) -> Array:
        """(*) seconds spent in motion from time 0 to times (*): the integral of 1 - rest_share.

        Twice continuously differentiable: nobody jerks when a pause begins or ends.
        """

        def since_ever(t: Array) -> Array:
            out = t.copy()
            for start, length in self.pauses:
                out -= self.ramp_s * _smooth_step_integral((t - start) / self.ramp_s + 1)
                out += self.ramp_s * _smooth_step_integral((t - start - length) / self.ramp_s)
            return out

        return since_ever(np.asarray(t_s, dtype=np.float64)) - since_ever(np.zeros(()))


def _smooth_step(x: Array) -> Array:
    u = np.clip(x, 0.0, 1.0)
    return np.asarray(u * u * (3 - 2 * u))


def _smooth_step_integral(x: Array) -> Array:
    u = np.clip(x, 0.0, 1.0)
    return np.asarray(u**3 - u**4 / 2 + np.maximum(x - 1.0, 0.0))


def draw_style(rng: np.random.Generator, ranges: StyleRanges, *, duration_s: float) -> MotionStyle:
    """Draw how a recording of `duration_s` seconds is played.

    Pauses take at most 60 % of a recording; one that does not fit is left out, and so is a change of motion
    that is longer than the time in motion. A pause may lie at either end.
    """
    if not duration_s > 0:
        raise ShapeError(f"duration_s must be positive; got {duration_s}.")
    speed = float(np.exp(rng.uniform(*np.log(ranges.speed))))
    mirrored = bool(rng.random() < ranges.mirrored_share)
    ramp = float(rng.uniform(*ranges.ramp_s))
    pauses = _draw_pauses(rng, ranges, duration_s, ramp) if rng.random() < ranges.pause_share else ()
    sways = rng.random() < ranges.sway_share
    sway = float(rng.uniform(*ranges.sway_deg))
    style = MotionStyle(
        speed=speed,
        mirrored=mirrored,
        pauses=pauses,
        ramp_s=ramp,
        sway_deg=sway if sways and pauses else 0.0,
        stay_within_m=ranges.stay_within_m,
    )
    blends: tuple[Range, ...] = ()
    changes = rng.random() < ranges.blend_share
    length, where = float(rng.uniform(*ranges.blend_s)), float(rng.random())
    moving = float(style.moving_time(duration_s))
    if changes and moving > length:
        at = length / 2 + where * (moving - length)  # in time in motion
        grid = np.linspace(0.0, duration_s, 1025)
        blends = ((float(np.interp(at, style.moving_time(grid), grid)), length),)
    style = replace(style, blends=blends)
    # Drawn only where it happens, so that the other draws of earlier versions stay what they were.
    if ranges.turn_share > 0 and rng.random() < ranges.turn_share:
        style = replace(
            style,
            turn_deg=float(rng.uniform(*ranges.turn_deg)),
            turn_hz=float(np.exp(rng.uniform(*np.log(ranges.turn_hz)))),
            turn_phase=float(rng.uniform(0.0, 2 * np.pi)),
        )
    return style


def _draw_pauses(
    rng: np.random.Generator, ranges: StyleRanges, duration_s: float, ramp_s: float
) -> tuple[Range, ...]:
    lengths: list[float] = []
    for length in rng.uniform(*ranges.pause_s, size=int(rng.integers(1, ranges.max_pauses + 1))):
        if sum(lengths) + length + 2 * ramp_s * len(lengths) <= 0.6 * duration_s:
            lengths.append(float(length))
    free = duration_s - sum(lengths) - 2 * ramp_s * max(0, len(lengths) - 1)
    offsets = np.sort(rng.uniform(0.0, free, size=len(lengths)))
    taken = np.concatenate([[0.0], np.cumsum(np.array(lengths) + 2 * ramp_s)])
    return tuple((float(o + s), n) for o, s, n in zip(offsets, taken, lengths, strict=False))
