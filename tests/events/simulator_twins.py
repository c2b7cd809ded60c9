"""Slow twins of the event simulator, written from its description alone: NumPy, doubles, fractions."""

from __future__ import annotations

import math
from collections import deque
from fractions import Fraction

import numpy as np

from eventhpe.events.sensor import PixelPattern, SensorModel

#: (t, y, x, p)
Row = tuple[int, int, int, int]


def lin_log(dn: np.ndarray, knee: float) -> np.ndarray:
    """Natural logarithm, below `knee` its tangent there."""
    with np.errstate(divide="ignore"):
        curve = np.log(dn)
    return np.where(dn < knee, np.log(knee) + (dn - knee) / knee, curve) if knee > 0 else curve


def v2e_rows(
    images: list[np.ndarray], times: list[int], sensor: SensorModel, pattern: PixelPattern
) -> list[Row]:
    """All events by v2e's rule, whole arrays at a time, iteration by iteration."""
    on, off = pattern.threshold_on, pattern.threshold_off
    share = np.ones(on.shape) if pattern.noise_share is None else pattern.noise_share
    shown = lin_log(images[0].astype(float) + sensor.dark_offset, sensor.lin_log_dn)
    base = shown.copy()
    if pattern.leak_phase is not None:
        base = base - pattern.leak_phase.astype(float) * on
    last = np.full(on.shape, -math.inf)
    rows: list[Row] = []
    for k in range(1, len(times)):
        dt_us = times[k] - times[k - 1]
        image = images[k].astype(float)
        light = lin_log(image + sensor.dark_offset, sensor.lin_log_dn)
        part = np.ones(on.shape)
        if sensor.cutoff_hz > 0:
            tau_s = 1 / (2 * np.pi * sensor.cutoff_hz)
            part = np.minimum(1.0, dt_us * 1e-6 / tau_s * (image + 20) / 275)
        shown = np.where(part < 1, shown + part * (light - shown), light)
        base = base - sensor.leak_hz * sensor.threshold_on * dt_us * 1e-6 * share
        difference = shown - base
        owed_on = np.floor(np.maximum(difference, 0) / on).astype(int)
        owed_off = np.floor(np.maximum(-difference, 0) / off).astype(int)
        steps = int(max(owed_on.max(), owed_off.max()))
        given_on, given_off = np.zeros(on.shape, int), np.zeros(on.shape, int)
        for i in range(steps):
            t = times[k - 1] + (i + 1) * dt_us // steps
            ready = t - last >= sensor.refractory_us
            for owed, given, polarity in ((owed_on, given_on, 1), (owed_off, given_off, 0)):
                fires = (owed > i) & ready
                given += fires
                last[fires] = t
                rows += [(t, int(y), int(x), polarity) for y, x in np.argwhere(fires)]
        base = base + given_on * on - given_off * off
    return sorted(rows, key=lambda row: row[:3])


def queue_times(t: list[int], mev_per_s: float, wait_us: int, step_us: int) -> list[int | None]:
    """When each event leaves an output of limited rate; None when it is lost.

    The gap between two events is the next larger multiple of 1/65,536 µs.
    """
    gap = Fraction(0)
    if mev_per_s > 0:
        gap = Fraction(math.ceil(Fraction(2**16) / Fraction(mev_per_s)), 2**16)
    leaves: list[int | None] = []
    passed: deque[Fraction] = deque(maxlen=1)
    for asked in t:
        turn = max(Fraction(asked), passed[0] + gap) if passed else Fraction(asked)
        if turn - asked > wait_us:
            leaves.append(None)
            continue
        passed.append(turn)
        step = max(1, step_us)
        leaves.append(math.ceil(Fraction(math.floor(turn), step)) * step)
    return leaves


def swing_times(
    amplitude: float, period_us: float, end_us: float, on: float, off: float
) -> tuple[list[float], list[int], list[float]]:
    """Crossings of amplitude * sin(2 pi t / period) by a pixel that starts at t = 0 with its reference at 0.

    Returns:
        Times in µs, polarities, and levels at which the events come.
    """
    times, polarities, levels = [], [], []
    omega = 2 * math.pi / period_us
    reference, quarter = 0.0, 0
    while (quarter - 1) * period_us / 4 <= end_us:
        # half swings: rising from -1/4 to 1/4 of a period, then falling to 3/4, and so on
        rising = quarter % 4 == 0
        step = on if rising else -off
        while abs(reference + step) <= amplitude:
            level = reference + step
            angle = math.asin(level / amplitude)
            phase = quarter * math.pi / 2 + (angle if rising else -angle)
            if phase / omega > end_us:
                return times, polarities, levels
            times.append(phase / omega)
            polarities.append(int(rising))
            levels.append(level)
            reference = level
        quarter += 2
    return times, polarities, levels
