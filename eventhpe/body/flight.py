"""Bodies in the air: the height of the pelvis while feet push off, fly and land."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import BPoly

Array = NDArray[np.float64]

GRAVITY = 9.81
"""m/s^2."""


@dataclass(frozen=True)
class Knot:
    """State of a height at a time in seconds: metres, m/s, m/s^2."""

    t: float
    height: float
    speed: float = 0.0
    acceleration: float = 0.0


def path_through(knots: Sequence[Knot], t: ArrayLike) -> Array:
    """(T,) heights in metres at times within the knots: quintic polynomials, twice differentiable.

    Between a take-off and a landing (acceleration -GRAVITY, opposite speeds) the quintic is the parabola of
    free flight.
    """
    return np.asarray(
        BPoly.from_derivatives([k.t for k in knots], [[k.height, k.speed, k.acceleration] for k in knots])(t)
    )


def air_time(apex_m: ArrayLike) -> Array:
    """Seconds between take-off and landing at the same level of a flight that rises by `apex_m`."""
    return np.asarray(np.sqrt(8 * np.asarray(apex_m, np.float64) / GRAVITY))


@dataclass(frozen=True)
class Bounces:
    """Flights and contacts in turn; flight i begins at takeoff[i] and ends at landing[i].

    Attributes:
        takeoff, landing: (N,) seconds, takeoff[i] < landing[i] < takeoff[i + 1].
        lowest: (N,) metres, height in the middle of the contact before flight i.
        height: (T,) metres over level 0; lower than the ends of its contact while the legs give.
    """

    takeoff: Array
    landing: Array
    lowest: Array
    height: Array


def bounces(
    apex: ArrayLike, contact_s: ArrayLike, *, start_s: float, t: Array, level: ArrayLike | None = None
) -> Bounces:
    """Bounce without rest.

    Args:
        apex: (N,) metres each flight rises over the higher one of its ends.
        contact_s: (N,) seconds on the ground before each flight.
        start_s: when the first contact begins, <= t[0]; the last flight must end after t[-1].
        t: (T,) seconds.
        level: (N + 1,) metres, height at which the contact before flight i begins and ends; None is 0.
    """
    rise, contact = (np.asarray(a, np.float64) for a in (apex, contact_s))
    floor = np.zeros(len(rise) + 1) if level is None else np.asarray(level, np.float64)
    top = np.maximum(floor[:-1], floor[1:]) + rise
    up, down = np.sqrt(2 * GRAVITY * (top - floor[:-1])), np.sqrt(2 * GRAVITY * (top - floor[1:]))
    flight = (up + down) / GRAVITY
    landing = start_s + np.cumsum(contact + flight)
    takeoff = landing - flight
    knots = [Knot(start_s, floor[0], -up[0], -GRAVITY)]
    for i in range(len(rise)):
        knots += [
            Knot(takeoff[i], floor[i], up[i], -GRAVITY),
            Knot(landing[i], floor[i + 1], -down[i], -GRAVITY),
        ]
    lowest = path_through(knots, takeoff - contact / 2)
    return Bounces(takeoff, landing, lowest, path_through(knots, t))
