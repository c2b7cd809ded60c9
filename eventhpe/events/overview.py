"""What a recording looks like as a whole: rates, silences, hot pixels, noise; one pass, bounded memory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import UnitError
from eventhpe.events import kernels_overview as kernels
from eventhpe.events.filters import hot_pixel_mask
from eventhpe.events.types import Events

#: Bins over time: 0.625 ms (10 ms is a whole number of them), doubled when the recording outgrows them.
_FINEST_BIN_US = 625
_NUM_BINS = 1 << 18
_NUM_GAPS = 4096

#: Rates are told over bins of about this length, or over the finest ones where a recording is short.
RATE_BIN_US = 10_000
_SHORT_US = 10 * RATE_BIN_US

#: A silence is told when it is longer than this and than `_GAP_FACTOR` usual intervals between events.
LEAST_GAP_US = 10_000
_GAP_FACTOR = 50

#: An event is isolated when none of the eight pixels around fired at most this long before.
ISOLATED_WITHIN_US = 40_000

#: A burst is a time with more than this many times the median rate.
BURST_FACTOR = 10


@dataclass(frozen=True)
class Gap:
    """A silence between two events: relative µs of the first, and how long."""

    start_us: int
    duration_us: int


@dataclass(frozen=True, eq=False)
class Overview:
    """Statistics of one pass over a recording.

    Attributes:
        sensor_size: (H, W).
        start_us, end_us: where the bins begin (0, or the first event if it is earlier), and one µs after the
            last event.
        bin_us: length of the bins of `on` and `off`.
        on, off: (T,) int64 events per bin; the last bin may reach beyond the end.
        rate_bin_us: length of the bins over which the following rates are taken.
        peak_rate_hz, peak_us: events per second in the busiest bin, and where it begins.
        median_rate_hz: of all whole bins, silent ones too.
        num_bursts, burst_share: runs of bins with more than BURST_FACTOR times the median rate, and the
            share of all events they hold; 0 where the median is 0.
        gap_us: silences longer than this are gaps.
        num_gaps: how many there are.
        gaps: the longest, at most 16, longest first.
        isolated_share: share of events of which no neighbour pixel fired in the ISOLATED_WITHIN_US before;
            estimated from every seventeenth event after the first half million.
        counts: (H, W) int64 events per pixel.
        hot: (K, 2) int64 (y, x) of hot pixels, busiest first.
    """

    sensor_size: tuple[int, int]
    start_us: int
    end_us: int
    bin_us: int
    on: NDArray[np.int64]
    off: NDArray[np.int64]
    rate_bin_us: int
    peak_rate_hz: float
    peak_us: int
    median_rate_hz: float
    num_bursts: int
    burst_share: float
    gap_us: int
    num_gaps: int
    gaps: tuple[Gap, ...]
    isolated_share: float
    counts: NDArray[np.int64]
    hot: NDArray[np.int64]

    @property
    def num_events(self) -> int:
        return int(self.on.sum() + self.off.sum())

    @property
    def on_share(self) -> float:
        """Share of ON events, 0 to 1; 0 without events."""
        return float(self.on.sum()) / max(self.num_events, 1)

    @property
    def hot_share(self) -> float:
        """Share of events that come from hot pixels."""
        return float(self.counts[tuple(self.hot.T)].sum()) / max(self.num_events, 1)

    @property
    def active_share(self) -> float:
        """Share of pixels with at least one event."""
        return float(np.count_nonzero(self.counts)) / self.counts.size

    def rates(self, num_bins: int = 200) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Counts over time in at most `num_bins` equal bins, whole multiples of `bin_us`.

        Returns:
            (B + 1,) edges in relative µs, and (B,) ON and (B,) OFF events.
        """
        if num_bins < 1:
            raise UnitError(f"num_bins must be at least 1; got {num_bins}.")
        factor = max(1, -(-len(self.on) // num_bins))
        on, off = merged(self.on, factor), merged(self.off, factor)
        edges = self.start_us + np.arange(len(on) + 1, dtype=np.int64) * (factor * self.bin_us)
        return edges, on, off

    def remarks(self) -> tuple[str, ...]:
        """What stands out, one line each, with what to do about it."""
        lines = []
        if self.hot_share >= 0.01:
            lines.append(
                f"{_several(len(self.hot), 'hot pixel')} with {percent(self.hot_share)} of the events: "
                "convert with --hot-pixels to leave out what they fire"
            )
        if self.num_gaps and self.gaps[0].duration_us > 2 * self.gap_us:
            longest = self.gaps[0]
            lines.append(
                f"{_several(self.num_gaps, 'silence')} of more than {self.gap_us * 1e-3:,.4g} ms, the "
                f"longest {longest.duration_us * 1e-3:,.4g} ms from {longest.start_us * 1e-6:.3f} s on: "
                "nothing moved, or data were dropped; a tracker starts anew after it"
            )
        if self.burst_share >= 0.05:
            lines.append(
                f"{_several(self.num_bursts, 'burst')} of more than {BURST_FACTOR} times the median rate "
                f"with {percent(self.burst_share)} of the events: sudden motion, a flash, or a lamp; look "
                "with --plot"
            )
        if self.num_events >= 1000 and not 0.1 <= self.on_share <= 0.9:
            lines.append(
                f"{percent(self.on_share)} of the events are ON, where 30 to 70 % is usual: check the "
                "camera's thresholds, and how the file writes polarity"
            )
        if self.num_events >= 1000 and self.isolated_share > 0.6:
            lines.append(
                f"{percent(self.isolated_share)} of the events stand alone (no neighbour fired in the "
                f"{ISOLATED_WITHIN_US * 1e-3:g} ms before): noise, or hardly any motion; convert with "
                f"--background-us {ISOLATED_WITHIN_US} to remove them"
            )
        return tuple(lines)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: all but the map of counts; rates in at most 200 bins, the 100 busiest hot pixels."""
        edges, on, off = self.rates()
        return {
            "peak_rate_hz": self.peak_rate_hz,
            "peak_us": self.peak_us,
            "median_rate_hz": self.median_rate_hz,
            "rate_bin_us": self.rate_bin_us,
            "rate": {
                "start_us": int(edges[0]),
                "bin_us": int(edges[1] - edges[0]),
                "on": on.tolist(),
                "off": off.tolist(),
            },
            "on_share": self.on_share,
            "num_bursts": self.num_bursts,
            "burst_share": self.burst_share,
            "gap_us": self.gap_us,
            "num_gaps": self.num_gaps,
            "gaps": [{"start_us": g.start_us, "duration_us": g.duration_us} for g in self.gaps],
            "active_pixel_share": self.active_share,
            "num_hot_pixels": len(self.hot),
            "hot_share": self.hot_share,
            "hot_pixels": [
                {"x": int(x), "y": int(y), "count": int(self.counts[y, x])} for y, x in self.hot[:100]
            ],
            "isolated_share": self.isolated_share,
            "remarks": list(self.remarks()),
        }


def look_over(blocks: Iterable[Events], sensor_size: tuple[int, int]) -> Overview:
    """Statistics of events that come in blocks, in time order; memory depends on the sensor only.

    Args:
        blocks: such as `recording.blocks()`; may be empty.
        sensor_size: (H, W); events outside are counted over time, not per pixel.
    """
    height, width = sensor_size
    cells = np.zeros((height + 2, width + 2, 2), np.uint32)
    bins = np.zeros((_NUM_BINS, 2), np.int64)
    gaps = np.zeros((_NUM_GAPS, 2), np.int64)
    state = np.zeros(kernels.STATE_SIZE, np.int64)
    state[kernels.WIDTH], state[kernels.FLOOR] = _FINEST_BIN_US, LEAST_GAP_US
    for events in blocks:
        if len(events) and not state[kernels.SEEN]:
            state[kernels.ORIGIN] = min(0, int(events.t[0]))
        kernels.look_over(
            events.t, events.x, events.y, events.p, ISOLATED_WITHIN_US, cells, bins, gaps, state
        )
    return _overview(sensor_size, cells, bins, gaps, state)


def merged(counts: NDArray[np.int64], factor: int) -> NDArray[np.int64]:
    """Sums of each `factor` bins; the last may be of fewer."""
    return np.add.reduceat(counts, np.arange(0, len(counts), factor)) if len(counts) else counts


def percent(share: float) -> str:
    """A share, 0 to 1, in words: "31 %", "2.9 %", "0.04 %"."""
    value = 100 * share
    return f"{value:.0f} %" if value >= 10 else f"{value:.2g} %"


def _several(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _overview(
    sensor_size: tuple[int, int],
    cells: NDArray[np.uint32],
    bins: NDArray[np.int64],
    gaps: NDArray[np.int64],
    state: NDArray[np.int64],
) -> Overview:
    origin, bin_us, seen = (int(state[k]) for k in (kernels.ORIGIN, kernels.WIDTH, kernels.SEEN))
    end = int(state[kernels.LAST_T]) + 1 if seen else origin
    used = bins[: max(1, -(-(end - origin) // bin_us))]
    off, on = used[:, 0].copy(), used[:, 1].copy()

    factor = max(1, RATE_BIN_US // bin_us) if end - origin >= _SHORT_US else 1
    rate_bin = factor * bin_us
    total = merged(on + off, factor)
    # The last bin is not full; alone (a very short recording) it is taken for as long as it is.
    whole = total[:-1] if len(total) > 1 else total
    seconds = (rate_bin if len(total) > 1 else max(1, end - origin)) * 1e-6
    busiest = int(np.argmax(total))
    median = float(np.median(whole)) / seconds
    loud = (total > BURST_FACTOR * median * seconds) & (median > 0)

    found = gaps[: int(state[kernels.NUM_GAPS])]
    usual_us = 1e6 / (median or seen / max((end - origin) * 1e-6, 1e-6) or 1.0)
    threshold = max(int(state[kernels.FLOOR]), round(_GAP_FACTOR * usual_us))
    found = found[found[:, 1] > threshold]
    longest = found[np.argsort(-found[:, 1], kind="stable")[:16]]

    counts = cells[1:-1, 1:-1, 0].astype(np.int64)
    hot = np.argwhere(hot_pixel_mask(counts)).astype(np.int64)
    return Overview(
        sensor_size=sensor_size,
        start_us=origin,
        end_us=end,
        bin_us=bin_us,
        on=on,
        off=off,
        rate_bin_us=rate_bin,
        peak_rate_hz=float(total[busiest]) / seconds,
        peak_us=origin + busiest * rate_bin,
        median_rate_hz=median,
        num_bursts=int(np.count_nonzero(loud & ~np.concatenate(([False], loud[:-1])))),
        burst_share=float(total[loud].sum()) / max(seen, 1),
        gap_us=threshold,
        num_gaps=len(found),
        gaps=tuple(Gap(int(start), int(length)) for start, length in longest),
        isolated_share=float(state[kernels.ISOLATED]) / max(int(state[kernels.CHECKED]), 1),
        counts=counts,
        hot=hot[np.argsort(-counts[tuple(hot.T)], kind="stable")],
    )
