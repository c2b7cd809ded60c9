"""One picture of a whole recording: when events came, where, and what they look like."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from eventhpe.atomic import PendingFile
from eventhpe.events.overview import Overview, percent
from eventhpe.events.recording import Recording
from eventhpe.events.types import Events
from eventhpe.render.overlay import event_image

_ON, _OFF, _MARK, _HOT = "#0072B2", "#D55E00", "#555555", "#00E5FF"
_FRAMES = 4
_SHOWN_HOT = 200

#: A picture of events is about this wide; larger sensors are shown with several pixels as one: none is lost.
_PICTURE_PX = 400
_FULL_AT = 1.5

#: Events of a shown moment per active pixel at most, and how long a moment lasts at most.
_LONGEST_MOMENT_US = 50_000
_EVENTS_PER_MOMENT = 0.06


def plot_recording(path_png: str | Path, recording: Recording, overview: Overview) -> None:
    """Write a PNG (atomically): rates over time, events per pixel, events at four moments.

    Hot pixels are ringed. The moments are the busiest of each quarter of the recording; they are marked in
    the plot of rates.

    Raises:
        FormatError: the folder does not exist.
    """
    notes = [*recording.warnings, *overview.remarks()]
    lines = [
        line
        for note in notes
        for line in textwrap.wrap(note, 185, initial_indent="•  ", subsequent_indent="    ")
    ]
    H, W = recording.sensor_size
    # Heights in inches, so that the pictures of events fill their row whatever their shape.
    above, below, text = 4.1, 0.35 + min(2.9 * H / W, 5.0), 0.6 + 0.17 * len(lines)
    figure = Figure(figsize=(12, above + below + text), layout="constrained")
    rows = figure.add_gridspec(2, 1, height_ratios=(above, below))
    top = rows[0].subgridspec(1, 2, width_ratios=(1.7, 1))
    bottom = rows[1].subgridspec(1, _FRAMES)
    length = moment_us(overview)
    moments = informative_times(overview, length)
    duration_s = (overview.end_us - overview.start_us) * 1e-6
    digits = 3 if duration_s >= 0.1 else 6
    _draw_rates(figure.add_subplot(top[0]), overview, moments)
    _draw_counts(figure, figure.add_subplot(top[1]), overview)
    for k, start in enumerate(moments):
        ax = figure.add_subplot(bottom[k])
        events = recording.between(start, start + length)
        ax.imshow(event_image(_coarser(events), full_at=_FULL_AT), interpolation="nearest")
        at = f"{start * 1e-6:.{digits}f}"
        ax.set_title(f"{'ABCD'[k]}: {at} s, {length * 1e-3:.3g} ms, {len(events):,} events", fontsize=9)
        ax.set_xticks([])
        ax.set_yticks([])
    figure.suptitle(
        f"{Path(recording.source).name}\n{recording.format}, {W} x {H} pixels, "
        f"{overview.num_events:,} events, {duration_s:.{digits}f} s",
        fontsize=12,
    )
    if lines:
        figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=8.5)
    FigureCanvasAgg(figure)
    with PendingFile(path_png) as pending:
        figure.savefig(pending.temporary, format="png", dpi=110)


def moment_us(overview: Overview) -> int:
    """How long a shown moment lasts: long enough to see a shape, short enough to see it sharply.

    The time in which, at the median rate, about one pixel in sixteen fires; 1 µs to 50 ms.
    """
    H, W = overview.sensor_size
    rate = overview.median_rate_hz or overview.peak_rate_hz
    usual = _EVENTS_PER_MOMENT * H * W / max(rate, 1e-6) * 1e6
    return int(np.clip(usual, 1, min(_LONGEST_MOMENT_US, max(1, overview.end_us - overview.start_us))))


def informative_times(overview: Overview, length_us: int) -> list[int]:
    """Starts of the shown moments, in time order: the busiest of each quarter of the recording."""
    edges, on, off = overview.rates(400)
    total = on + off
    quarter = (overview.end_us - overview.start_us) / _FRAMES
    centres = (edges[:-1] + edges[1:]) / 2
    starts = []
    for k in range(_FRAMES):
        low, high = overview.start_us + k * quarter, overview.start_us + (k + 1) * quarter
        inside = np.flatnonzero((centres >= low) & (centres < high) & (total > 0))
        centre = centres[inside[np.argmax(total[inside])]] if len(inside) else (low + high) / 2
        latest = max(overview.start_us, overview.end_us - length_us)
        starts.append(int(np.clip(centre - length_us / 2, overview.start_us, latest)))
    return starts


def _pixels_as_one(width: int) -> int:
    return max(1, round(width / _PICTURE_PX))


def _coarser(events: Events) -> Events:
    """Events of a large sensor on one with fewer pixels."""
    H, W = events.sensor_size
    k = _pixels_as_one(W)
    x, y = events.x // np.uint16(k), events.y // np.uint16(k)
    return Events(events.t, x, y, events.p, (-(-H // k), -(-W // k)))


def _draw_rates(ax: Axes, overview: Overview, moments: list[int]) -> None:
    edges, on, off = overview.rates(300)
    # The last bin ends with the recording.
    edges = np.minimum(edges, max(overview.end_us, int(edges[-2]) + 1))
    seconds = np.diff(edges) * 1e-6
    on_rate, off_rate = on / seconds, off / seconds
    peak = max(float((on_rate + off_rate).max()), 1.0)
    scale, unit = next((s, u) for s, u in ((1e6, "million"), (1e3, "thousand"), (1.0, "")) if peak >= s)
    x = edges * 1e-6
    ax.stairs(on_rate / scale, x, fill=True, color=_ON, alpha=0.85, label="ON")
    ax.stairs(
        (on_rate + off_rate) / scale,
        x,
        baseline=on_rate / scale,
        fill=True,
        color=_OFF,
        alpha=0.85,
        label="OFF",
    )
    median = overview.median_rate_hz / scale
    ax.axhline(median, color=_MARK, lw=0.8, ls="--", label="median")
    for k, start in enumerate(moments):
        ax.axvline(start * 1e-6, color=_MARK, lw=0.8, alpha=0.6)
        ax.annotate(
            "ABCD"[k], (start * 1e-6, 1), xycoords=("data", "axes fraction"), xytext=(2, -10),
            textcoords="offset points", fontsize=9, color=_MARK,
        )  # fmt: skip
    for gap in overview.gaps:
        ax.axvspan(
            gap.start_us * 1e-6, (gap.start_us + gap.duration_us) * 1e-6, color="#999999", alpha=0.25, lw=0
        )
    ax.set_xlim(x[0], x[-1])
    ax.set_ylim(0, 1.12 * peak / scale)
    bin_ms = (edges[1] - edges[0]) * 1e-3
    ax.set(xlabel="time (s)", ylabel=f"{unit} events / s".strip())
    ax.set_title(f"event rate (over {bin_ms:.4g} ms)", loc="left", fontsize=10)
    ax.grid(alpha=0.3)
    ax.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3, fontsize=8, frameon=False)


def _draw_counts(figure: Figure, ax: Axes, overview: Overview) -> None:
    H, W = overview.sensor_size
    k = _pixels_as_one(W)
    # Of a large sensor the busiest pixel of each little square, so that every hot pixel shows.
    padded = np.pad(overview.counts, ((0, -H % k), (0, -W % k)))
    counts = padded.reshape(-(-H // k), k, -(-W // k), k).max(axis=(1, 3))
    extent = (-0.5, counts.shape[1] * k - 0.5, counts.shape[0] * k - 0.5, -0.5)
    ax.set_facecolor("black")
    image = ax.imshow(
        np.ma.masked_equal(counts, 0), cmap="inferno", norm=LogNorm(1, max(int(counts.max()), 2)),
        interpolation="nearest", extent=extent,
    )  # fmt: skip
    ax.set(xlim=(-0.5, W - 0.5), ylim=(H - 0.5, -0.5))
    figure.colorbar(image, ax=ax, label="events of the pixel", shrink=0.8)
    title = f"events per pixel, {percent(overview.active_share)} fired"
    if len(overview.hot):
        shown = overview.hot[:_SHOWN_HOT]
        ax.scatter(shown[:, 1], shown[:, 0], s=36, facecolors="none", edgecolors=_HOT, linewidths=0.9)
        title += f"\n{len(overview.hot):,} hot (ringed), {percent(overview.hot_share)} of the events"
    ax.set_title(title, fontsize=10)
    ax.tick_params(labelsize=8)
