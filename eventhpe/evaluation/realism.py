"""How synthetic recordings compare with real ones, by statistics of the events alone.

Matching such statistics is what made simulated events transfer to real cameras (Stoffregen et al., "Reducing
the sim-to-real gap for event cameras", ECCV 2020). Real and synthetic recordings are measured by one rule:

- The recording is cut into windows of 50 ms (evenly: the last one is as long as the others).
- The active area of a window is every pixel in whose 5 x 5 square at least 7 pixels fired: the moving person.
  Noise of 1 Hz per pixel makes 0.01 % of the pixels active, 2 Hz 0.7 %, 3 Hz 5 %.
- The background is every pixel more than 6 pixels, in x or y, from the active area. What lies between (faint
  limbs, shadows) belongs to neither.
- Hot pixels fire at 5 Hz or more in the background, ten times as often as usual and as their neighbours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import ShapeError
from eventhpe.evaluation import kernels_realism as kernels
from eventhpe.events.filters import hot_pixel_mask
from eventhpe.events.recording import Recording
from eventhpe.events.types import Events

WINDOW_US = 50_000
RADIUS_PX, LEAST_FIRED, MARGIN_PX = 2, 7, 6
SUPPORT_US = 10_000
"""An event is isolated when none of its eight neighbours fired in this time before."""
WINDOW_EVENTS = 7_500
REPEAT_US = 5
"""An event that repeats the last one of its pixel, polarity included, this soon was read out twice."""
HOT_HZ = 5.0
CELL_PX = 16
"""Background rates are those of squares of this side. Their median counts, so that a person too faint for the
active area, who fills a few of them, is no noise."""

INTERVAL_BINS = 108
INTERVAL_EDGES_US = 10.0 ** (np.arange(INTERVAL_BINS + 1) / kernels.BINS_PER_DECADE)
"""Logarithmic bins from 1 µs to 0.25 s. Longer intervals lie between two visits of a person, and depend on
how long the recording is."""

#: Shorter recordings tell nothing of intervals, or of what fires within a second.
_INTERVALS_US, _SECOND_US = 500_000, 1_000_000
#: A window is cut where it holds this many events, which bounds memory.
_MOST_EVENTS = 1 << 22
_LENGTH_BINS, _LENGTHS_PER_DECADE = 900, 100
_TO_SIGMA = 2.563
"""Distance of the 10th from the 90th percentile of a normal distribution, in standard deviations."""


@dataclass(frozen=True)
class Statistic:
    """One number per recording.

    Attributes:
        name: key of `Measured.values`.
        label: for tables and plots, with the unit.
        log: compared by its decimal logarithm.
        floor: values below count as this, so that 0 has a logarithm.
        least_spread: the real spread is taken for at least this, in decades if `log`.
        counted: enters the total. Others repeat a counted one, or tell of framing more than of the sensor.
    """

    name: str
    label: str
    log: bool
    floor: float
    least_spread: float
    counted: bool = True


STATISTICS = (
    Statistic("body_rate_hz", "events / s per active pixel", True, 0.1, 0.1),
    Statistic("background_rate_hz", "background rate (Hz per pixel)", True, 1e-3, 0.2),
    Statistic("background_unevenness", "background rate, 90 % / median of places", True, 1.0, 0.1),
    Statistic("body_on_off", "ON / OFF, active area", True, 1e-3, 0.05),
    Statistic("background_on_off", "ON / OFF, background", True, 1e-3, 0.1),
    Statistic("same_polarity_share", "same polarity twice (share of intervals < 50 ms)", False, 0.0, 0.05),
    Statistic("neighbours", "neighbours fired in 10 ms before (of 8)", False, 0.0, 0.25),
    Statistic("isolated_share", "isolated events (share)", False, 0.0, 0.03),
    Statistic("same_time_share", "same time stamp as the event before (share)", False, 0.0, 0.05),
    Statistic("repeated_share", "read out twice (share)", False, 0.0, 0.02),
    Statistic("hot_share", "hot pixels (share)", False, 0.0, 2e-4),
    Statistic("interval_median_us", "interval between events of a pixel, median (µs)", True, 1.0, 0.1, False),
    Statistic("interval_p10_us", "interval, 10th percentile (µs)", True, 1.0, 0.1, False),
    Statistic("interval_p90_us", "interval, 90th percentile (µs)", True, 1.0, 0.1, False),
    Statistic("window_ms", "length of 7,500 events (ms)", True, 1e-3, 0.1, False),
    Statistic("window_ms_per_kpx", "length of 7,500 events per 1,000 pixels (ms)", True, 1e-3, 0.1, False),
    Statistic("fired_share", "pixels that fire within a second (share)", False, 0.0, 0.05, False),
    Statistic("active_share", "active area (share of the sensor)", True, 1e-4, 0.1, False),
)  # fmt: skip
"""Intervals, their polarity and neighbours are those of events in the active area; an event that was read out
twice makes no interval."""

INTERVAL_SHAPE = "interval_shape"
"""Name under which the distance of the interval histograms enters the total."""


@dataclass(frozen=True, eq=False)
class Measured:
    """Statistics of one recording.

    Attributes:
        name: of the file.
        sensor_size: (H, W).
        num_events, num_on, span_us: events, ON events, time from the first event to the last.
        values: one number per STATISTICS; NaN where the recording is too short to tell.
        body_intervals, background_intervals: (INTERVAL_BINS,) shares of the intervals between events of a
            pixel, each summing to 1, or to 0 where unknown. An interval d is seen in a recording of length T
            for T - d only; this is made up for.
    """

    name: str
    sensor_size: tuple[int, int]
    num_events: int
    num_on: int
    span_us: int
    values: dict[str, float]
    body_intervals: NDArray[np.float64]
    background_intervals: NDArray[np.float64]

    def as_dict(self) -> dict[str, Any]:
        """For JSON; unknown values are None."""
        return {
            "sensor_size": list(self.sensor_size),
            "num_events": self.num_events,
            "span_us": self.span_us,
            **{name: _known(value) for name, value in self.values.items()},
        }


@dataclass(frozen=True)
class Row:
    """One statistic of both sets.

    Attributes:
        real, synthetic: 10th percentile, median and 90th percentile over recordings.
        overlap: intersection over union of the ranges from the 10th to the 90th percentile.
        covered: share of the real recordings between the least and the largest synthetic value.
        distance: of the medians, in standard deviations of the real recordings.
    """

    statistic: Statistic
    real: tuple[float, float, float]
    synthetic: tuple[float, float, float]
    overlap: float
    covered: float
    distance: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """Synthetic recordings beside real ones.

    Attributes:
        rows: one per statistic.
        interval_decades: Wasserstein distance of the mean interval histograms in the active area, in decades.
        interval_distance: the same in units of what one real recording differs from the other ones.
        total: mean distance over the counted statistics and the interval histograms; 0 is a perfect match.
            About 1 means that synthetic recordings lie where single real ones do.
    """

    real: tuple[Measured, ...]
    synthetic: tuple[Measured, ...]
    rows: tuple[Row, ...]
    interval_decades: float
    interval_distance: float
    total: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "statistics": {
                row.statistic.name: {
                    "real": [_known(v) for v in row.real],
                    "synthetic": [_known(v) for v in row.synthetic],
                    "overlap": _known(row.overlap),
                    "covered": _known(row.covered),
                    "distance": _known(row.distance),
                    "counted": row.statistic.counted,
                }
                for row in self.rows
            },
            INTERVAL_SHAPE: {
                "decades": _known(self.interval_decades),
                "distance": _known(self.interval_distance),
                "counted": True,
            },
            "total": _known(self.total),
            "real": {m.name: m.as_dict() for m in self.real},
            "synthetic": {m.name: m.as_dict() for m in self.synthetic},
        }


def measure(recording: Recording, *, name: str = "") -> Measured:
    """Statistics of one recording, read once, window by window; memory does not grow with its length."""
    H, W = recording.sensor_size
    work, area = np.zeros((2, H, W), np.uint8), np.zeros((H, W), np.uint8)
    last, fired = np.full((H + 2, W + 2), 2 * kernels.NEVER, np.int64), np.full((H, W), -1, np.int32)
    outside, exposure_us = np.zeros((H, W, 2), np.uint32), np.zeros((H, W), np.int64)
    body, background = np.zeros(INTERVAL_BINS, np.int64), np.zeros(INTERVAL_BINS, np.int64)
    state = np.zeros(kernels.STATE_SIZE, np.int64)
    state[kernels.LAST_T] = kernels.NEVER
    lengths = np.zeros(_LENGTH_BINS, np.int64)
    length_us = max(1, recording.end_us)
    seen = num_on = first_us = last_us = active_px_us = active_px_events = 0
    mark_us: int | None = None
    for window_us, events in _windows(recording.blocks(), length_us):
        if not len(events):
            exposure_us += window_us
            continue
        t, n = events.t, len(events)
        active = kernels.active_area(events.x, events.y, RADIUS_PX, LEAST_FIRED, MARGIN_PX, work, area)
        kernels.take_events(
            t, events.x, events.y, events.p, area, SUPPORT_US, REPEAT_US, WINDOW_US, length_us // _SECOND_US,
            last, fired, outside, body, background, state,
        )  # fmt: skip
        kernels.add_exposure(area, window_us, exposure_us)
        active_px_us, active_px_events = active_px_us + active * window_us, active_px_events + active * n
        first_us = first_us if seen else int(t[0])
        for mark in t[-seen % WINDOW_EVENTS :: WINDOW_EVENTS].tolist():
            if mark_us is not None:
                place = int(_LENGTHS_PER_DECADE * np.log10(max(mark - mark_us, 1)))
                lengths[min(place, _LENGTH_BINS - 1)] += 1
            mark_us = mark
        seen, num_on, last_us = seen + n, num_on + int(events.p.sum(dtype=np.int64)), int(t[-1])

    counts = outside.sum(axis=2, dtype=np.int64)
    hot = hot_pixel_mask(counts, min_count=max(10, round(HOT_HZ * length_us * 1e-6)))
    off, on = (int(outside[..., k][~hot].sum(dtype=np.int64)) for k in (0, 1))
    rates = _rates_of_cells(np.where(hot, 0, counts), np.where(hot, 0, exposure_us))
    background_hz = _range(rates)[1]
    inside = int(state[kernels.BODY_OFF] + state[kernels.BODY_ON])
    shares = [_interval_shares(h, length_us) for h in (body, background)]
    intervals_us = (10.0 ** _quantiles(shares[0], np.log10(INTERVAL_EDGES_US))).tolist()
    window_ms = 1e-3 * 10.0 ** _quantiles(lengths, np.arange(_LENGTH_BINS + 1) / _LENGTHS_PER_DECADE)[1]
    values = {
        "body_rate_hz": _ratio(inside, active_px_us * 1e-6),
        "background_rate_hz": background_hz,
        "background_unevenness": _ratio(_range(rates)[2], background_hz),
        "body_on_off": _on_off(int(state[kernels.BODY_ON]), int(state[kernels.BODY_OFF])),
        "background_on_off": _on_off(on, off),
        "same_polarity_share": _ratio(state[kernels.SAME_POLARITY], state[kernels.SHORT]),
        "neighbours": _ratio(state[kernels.NEIGHBOURS], inside),
        "isolated_share": _ratio(state[kernels.ISOLATED], state[kernels.EVENTS]),
        "same_time_share": _ratio(state[kernels.SAME_TIME], state[kernels.EVENTS]),
        "repeated_share": _ratio(state[kernels.REPEATED], state[kernels.EVENTS]),
        "hot_share": float(hot.mean()) if length_us >= _SECOND_US else np.nan,
        **{f"interval_{part}_us": v for part, v in zip(("p10", "median", "p90"), intervals_us, strict=True)},
        "window_ms": float(window_ms),
        "window_ms_per_kpx": float(window_ms) * _ratio(active_px_events, seen * 1e3) if inside else np.nan,
        "fired_share": _ratio(state[kernels.FIRED], H * W * (length_us // _SECOND_US)),
        "active_share": active_px_us / (H * W * length_us),
    }
    return Measured(name, (H, W), seen, num_on, last_us - first_us, values, *shares)


def _windows(blocks: Iterable[Events], length_us: int) -> Iterator[tuple[int, Events]]:
    """Length in µs and events of consecutive windows of about WINDOW_US from 0 to `length_us`.

    Silent windows in a row come as one, and a window of too many events in parts.
    """
    number = max(1, round(length_us / WINDOW_US))
    held: list[Events] = []
    empty, k, t0, num_held = None, 0, 0, 0

    def edge(window: int) -> int:
        return -(-length_us * window // number)

    for block in blocks:
        empty = block.slice(0, 0)
        i = 0
        while i < len(block):
            window = min(max(int(block.t[i]), 0) * number // length_us, number - 1)
            if window > k:
                yield edge(k + 1) - t0, _joined(held) if held else empty
                if window > k + 1:
                    yield edge(window) - edge(k + 1), empty
                k, t0, held, num_held = window, edge(window), [], 0
            stop = len(block) if k == number - 1 else int(np.searchsorted(block.t, edge(k + 1)))
            j = min(stop, i + _MOST_EVENTS - num_held)
            held.append(block.slice(i, j))
            num_held, i = num_held + j - i, j
            if num_held == _MOST_EVENTS:
                t1 = int(block.t[j - 1])
                yield t1 - t0, _joined(held)
                t0, held, num_held = t1, [], 0
    if empty is not None:
        yield edge(k + 1) - t0, _joined(held) if held else empty
        yield length_us - edge(k + 1), empty


def _joined(parts: Sequence[Events]) -> Events:
    if len(parts) == 1:
        return parts[0]
    t, x, y, p = (np.concatenate([getattr(e, name) for e in parts]) for name in "txyp")
    return Events(t, x, y, p, parts[0].sensor_size)


def _ratio(part: float, whole: float) -> float:
    return float(part) / float(whole) if whole > 0 else float("nan")


def _on_off(on: int, off: int) -> float:
    """ON / OFF; half an event is added to both, so that few events give no extremes. Unknown below 50."""
    return (on + 0.5) / (off + 0.5) if on + off >= 50 else float("nan")


def _rates_of_cells(counts: NDArray[np.int64], exposure_us: NDArray[np.int64]) -> NDArray[np.float64]:
    """(K,) Hz per pixel of squares of CELL_PX that were background for a pixel-second in sum."""

    def cells(values: NDArray[np.int64]) -> NDArray[np.int64]:
        H, W = values.shape
        padded = np.pad(values, ((0, -H % CELL_PX), (0, -W % CELL_PX)))
        return padded.reshape(-(-H // CELL_PX), CELL_PX, -1, CELL_PX).sum(axis=(1, 3)).ravel()

    events, seconds = cells(counts), cells(exposure_us) * 1e-6
    return np.asarray(events[seconds >= 1] / seconds[seconds >= 1])


def _interval_shares(histogram: NDArray[np.int64], length_us: int) -> NDArray[np.float64]:
    if length_us < _INTERVALS_US or not histogram.any():
        return np.zeros(INTERVAL_BINS)
    middles = np.sqrt(INTERVAL_EDGES_US[:-1] * INTERVAL_EDGES_US[1:])
    weighted = histogram / (1 - middles / length_us)
    return weighted / weighted.sum()


def _quantiles(histogram: NDArray[Any], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """10th, 50th and 90th percentile of what a histogram counts; NaN where it is empty."""
    cumulative = np.concatenate(([0.0], np.cumsum(histogram, dtype=np.float64)))
    if cumulative[-1] == 0:
        return np.full(3, np.nan)
    wanted = np.array([0.1, 0.5, 0.9]) * cumulative[-1]
    k = np.searchsorted(cumulative, wanted) - 1
    within = (wanted - cumulative[k]) / (cumulative[k + 1] - cumulative[k])
    return np.asarray(edges[k] + within * (edges[k + 1] - edges[k]))


def compare(real: Sequence[Measured], synthetic: Sequence[Measured]) -> Comparison:
    """Compare two sets of recordings; ShapeError if one is empty."""
    if not real or not synthetic:
        raise ShapeError(f"both sets need recordings; got {len(real)} real, {len(synthetic)} synthetic.")
    rows = tuple(
        _row(s, *(np.array([m.values[s.name] for m in g]) for g in (real, synthetic))) for s in STATISTICS
    )
    ours, theirs = (
        np.array([m.body_intervals for m in g if m.body_intervals.any()]) for g in (synthetic, real)
    )
    decades = distance = float("nan")
    if len(ours) and len(theirs):
        decades = wasserstein_decades(ours.mean(axis=0), theirs.mean(axis=0))
        others = [
            wasserstein_decades(one, np.delete(theirs, k, axis=0).mean(axis=0))
            for k, one in enumerate(theirs)
            if len(theirs) > 1
        ]
        distance = decades / max(float(np.median(others or [0.0])), 0.05)
    counted = np.array([*(row.distance for row in rows if row.statistic.counted), distance])
    total = float(np.nanmean(counted)) if np.isfinite(counted).any() else float("nan")
    return Comparison(tuple(real), tuple(synthetic), rows, decades, distance, total)


def wasserstein_decades(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """First Wasserstein distance of two (INTERVAL_BINS,) histograms that sum to 1, in decades of time."""
    return float(np.abs(np.cumsum(a - b)).sum() / kernels.BINS_PER_DECADE)


def _row(statistic: Statistic, real: NDArray[np.float64], synthetic: NDArray[np.float64]) -> Row:
    real, synthetic = real[np.isfinite(real)], synthetic[np.isfinite(synthetic)]
    ranges = _range(real), _range(synthetic)
    if not len(real) or not len(synthetic):
        return Row(statistic, *ranges, overlap=float("nan"), covered=float("nan"), distance=float("nan"))

    def scaled(values: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
        raised = np.maximum(values, statistic.floor)
        return np.log10(raised) if statistic.log else raised

    (r0, r1, r2), (s0, s1, s2) = map(scaled, ranges)
    spread = max((r2 - r0) / _TO_SIGMA, statistic.least_spread)
    union = max(r2, s2) - min(r0, s0)
    overlap = max(0.0, min(r2, s2) - max(r0, s0)) / union if union > 0 else 1.0
    covered = np.mean((real >= synthetic.min()) & (real <= synthetic.max()))
    return Row(statistic, *ranges, float(overlap), float(covered), float(abs(s1 - r1) / spread))


def _range(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """10th percentile, median and 90th percentile; NaN of nothing."""
    low, middle, high = np.quantile(values, (0.1, 0.5, 0.9)).tolist() if len(values) else [float("nan")] * 3
    return low, middle, high


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
