"""One picture of two sets of recordings: a panel per statistic, and histograms over each other."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from eventhpe.atomic import PendingFile
from eventhpe.errors import ShapeError

REAL, SYNTHETIC = "#0072B2", "#D55E00"
_MARKERS = "osD^v<>P*X"
_COLUMNS = 6
_TITLE_LETTERS = 32
_JITTER = 0.24


@dataclass(frozen=True, eq=False)
class Strip:
    """One statistic, a dot per recording.

    Attributes:
        title: what it is, with the unit.
        real, synthetic: (N,) and (M,) values; NaN is left out.
        log: on a logarithmic axis, where values below `floor` are drawn at it.
        floor: positive where `log`.
        note: a few words under the title.
    """

    title: str
    real: NDArray[np.float64]
    synthetic: NDArray[np.float64]
    log: bool = False
    floor: float = 0.0
    note: str = ""

    def __post_init__(self) -> None:
        if self.log and not self.floor > 0:
            raise ShapeError(f"Strip.floor must be positive on a logarithmic axis; got {self.floor}.")


@dataclass(frozen=True, eq=False)
class Histograms:
    """Histograms of both sets over the same bins.

    Attributes:
        title: what they are.
        edges_us: (B + 1,) increasing.
        real, synthetic: (N, B) and (M, B) shares, a row per recording; rows without a share are left out.
    """

    title: str
    edges_us: NDArray[np.float64]
    real: NDArray[np.float64]
    synthetic: NDArray[np.float64]

    def __post_init__(self) -> None:
        for name in ("real", "synthetic"):
            shape = getattr(self, name).shape
            if len(shape) != 2 or shape[1] != len(self.edges_us) - 1:
                raise ShapeError(
                    f"Histograms.{name} must be (recordings, {len(self.edges_us) - 1}); got {shape}."
                )


def plot_realism(
    path_png: str | Path,
    strips: Sequence[Strip],
    histograms: Sequence[Histograms],
    *,
    real_sizes: Sequence[tuple[int, int]],
    synthetic_sizes: Sequence[tuple[int, int]],
    title: str,
) -> None:
    """Write a PNG (atomically).

    A dot is a recording, its shape the sensor size; the box reaches from the 10th to the 90th percentile with
    a line at the median. Thin histograms are recordings, thick ones their mean.

    Args:
        real_sizes, synthetic_sizes: (H, W) of every recording, in the order of the strips' values.
    Raises:
        ShapeError: a strip has another number of values than there are sizes.
        FormatError: the folder does not exist.
    """
    for strip in strips:
        got = len(strip.real), len(strip.synthetic)
        if got != (len(real_sizes), len(synthetic_sizes)):
            raise ShapeError(
                f"{strip.title}: {got[0]} real and {got[1]} synthetic values, for {len(real_sizes)} and "
                f"{len(synthetic_sizes)} recordings."
            )
    sizes = sorted({*real_sizes, *synthetic_sizes})
    rows = -(-len(strips) // _COLUMNS)
    wide = 1 if histograms else 0
    figure = Figure(figsize=(18, 1.1 + 2.5 * rows + 3.2 * wide), layout="constrained")
    outer = figure.add_gridspec(1 + wide, 1, height_ratios=[2.5 * rows, 3.2][: 1 + wide])
    panels = outer[0].subgridspec(max(rows, 1), _COLUMNS)
    for k, strip in enumerate(strips):
        ax = figure.add_subplot(panels[k // _COLUMNS, k % _COLUMNS])
        _draw_strip(ax, strip, (real_sizes, synthetic_sizes), sizes)
    if histograms:
        below = outer[1].subgridspec(1, len(histograms))
        for k, each in enumerate(histograms):
            _draw_histograms(figure.add_subplot(below[k]), each)
    keys = [
        Line2D([], [], color=color, lw=5, alpha=0.8, label=f"{name} ({number})")
        for name, color, number in (
            ("real", REAL, len(real_sizes)),
            ("synthetic", SYNTHETIC, len(synthetic_sizes)),
        )
    ]
    keys += [
        Line2D([], [], color="#555555", lw=0, marker=_marker(size, sizes), label=f"{size[1]} x {size[0]}")
        for size in sizes
    ]
    figure.suptitle(title, fontsize=13)
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), frameon=False, fontsize=9)
    FigureCanvasAgg(figure)
    with PendingFile(path_png) as pending:
        figure.savefig(pending.temporary, format="png", dpi=110)


def _marker(size: tuple[int, int], sizes: Sequence[tuple[int, int]]) -> str:
    return _MARKERS[sizes.index(size) % len(_MARKERS)]


def _draw_strip(
    ax: Axes,
    strip: Strip,
    sizes_of: tuple[Sequence[tuple[int, int]], Sequence[tuple[int, int]]],
    sizes: Sequence[tuple[int, int]],
) -> None:
    for row, (values, color, own) in enumerate(
        zip((strip.real, strip.synthetic), (REAL, SYNTHETIC), sizes_of, strict=True)
    ):
        known = np.isfinite(values)
        if not known.any():
            ax.text(0.5, 0.75 - 0.5 * row, "not known", transform=ax.transAxes, ha="center", color=color)
            continue
        drawn = np.maximum(values, strip.floor) if strip.log else values
        low, middle, high = np.quantile(drawn[known], (0.1, 0.5, 0.9))
        ax.fill_betweenx([row - 0.36, row + 0.36], low, high, color=color, alpha=0.18, lw=0)
        ax.plot([middle, middle], [row - 0.36, row + 0.36], color=color, lw=2)
        order = np.argsort(np.argsort(drawn[known], kind="stable"))
        # Neighbours in value lie apart: golden steps across the strip, the same in every picture.
        offsets = _JITTER * (2 * (order * 0.618034 % 1) - 1)
        for value, offset, index in zip(drawn[known], offsets, np.flatnonzero(known), strict=True):
            ax.plot(
                value,
                row + offset,
                _marker(own[int(index)], sizes),
                color=color,
                ms=5,
                alpha=0.75,
                mec="none",
            )
    if strip.log:
        _logarithmic(ax)
    ax.set(ylim=(1.5, -0.5), yticks=(0, 1), yticklabels=("real", "synth."))
    ax.tick_params(labelsize=8)
    ax.grid(axis="x", alpha=0.3)
    ax.set_title("\n".join(textwrap.wrap(strip.title, _TITLE_LETTERS)), fontsize=9.5, loc="left")
    if strip.note:
        ax.set_xlabel(strip.note, fontsize=8, color="#444444")


def _logarithmic(ax: Axes) -> None:
    """A logarithmic axis with plain numbers, close enough to be read where it spans less than two decades."""
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    decades = np.log10(high / low)
    steps = (1.0,) if decades > 2.5 else (1.0, 3.0) if decades > 1.2 else (1.0, 2.0, 5.0)
    ax.xaxis.set_major_locator(LogLocator(subs=steps, numticks=5 if decades > 2.5 else 8))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))


def _draw_histograms(ax: Axes, histograms: Histograms) -> None:
    edges = histograms.edges_us
    for name, rows, color in (
        ("real", histograms.real, REAL),
        ("synthetic", histograms.synthetic, SYNTHETIC),
    ):
        known = rows[rows.any(axis=1)]
        for row in known:
            ax.stairs(100 * row, edges, color=color, lw=0.6, alpha=0.3)
        if len(known):
            label = f"{name}: mean of {len(known)}"
            ax.stairs(100 * known.mean(axis=0), edges, color=color, lw=2.2, label=label)
    ax.set_xscale("log")
    used = np.flatnonzero(np.vstack([histograms.real, histograms.synthetic]).any(axis=0))
    start = edges[used[0]] if len(used) else edges[0]
    ax.set(xlabel="µs", ylabel="% of intervals per bin", xlim=(start, edges[-1]))
    ax.set_ylim(bottom=0)
    ax.grid(alpha=0.3)
    ax.set_title(histograms.title, fontsize=10, loc="left")
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="upper left", frameon=False, fontsize=9)
