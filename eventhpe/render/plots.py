"""Curves for reports, as PNG bytes, through figure objects: pyplot's global state is not touched."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from eventhpe.errors import ShapeError, UnitError

_X, _Y, _Z = "#D55E00", "#009E73", "#0072B2"
_DOUBTFUL = 0.5


def plot_event_rate(
    edges_us: ArrayLike, on: ArrayLike, off: ArrayLike, *, title: str = "Event rate"
) -> bytes:
    """ON and OFF events per second over time, from counts per bin.

    Args:
        edges_us: (T+1,) µs, increasing.
        on, off: (T,) events of each polarity in each bin.
    """
    edges = np.asarray(edges_us, np.float64)
    if edges.ndim != 1 or len(edges) < 2 or (np.diff(edges) <= 0).any():
        raise UnitError("edges_us must be (T+1,) increasing microseconds, T >= 1.")
    figure = Figure(figsize=(8, 2.6), layout="constrained")
    ax = figure.subplots()
    for name, color, counts in (("ON", _Z, np.asarray(on)), ("OFF", _X, np.asarray(off))):
        if counts.shape != (len(edges) - 1,):
            raise ShapeError(f"counts must be ({len(edges) - 1},), one per bin; got {counts.shape}.")
        ax.stairs(counts / (np.diff(edges) * 1e-6) * 1e-3, edges * 1e-6, color=color, label=name)
    ax.set(xlabel="time (s)", ylabel="1000 events / s", title=title)
    ax.set_ylim(bottom=0)
    ax.grid(alpha=0.3)
    ax.legend(loc="upper right", frameon=False)
    return _png(figure)


def plot_joint_curves(
    t_us: ArrayLike,
    joints: ArrayLike,
    names: Sequence[str],
    confidence: ArrayLike | None = None,
    *,
    title: str = "Joints",
) -> bytes:
    """One small plot per joint with its x, y, z; gray where the confidence is below 0.5.

    Each coordinate is drawn as its distance from its own median, all joints on one scale, so that
    motion shows and not where the body stands.

    Args:
        t_us: (T,) µs.
        joints: (T, J, 3) metres; NaN leaves a gap.
        names: J names.
        confidence: (T, J) in [0, 1].
    """
    t, xyz = _checked_track(t_us, joints, 3)
    J = xyz.shape[1]
    if len(names) != J:
        raise ShapeError(f"{J} joints need as many names; got {len(names)}.")
    doubtful = np.zeros((len(t), J), bool)
    if confidence is not None:
        trust = np.asarray(confidence, np.float64)
        if trust.shape != xyz.shape[:2]:
            raise ShapeError(f"confidence must be (T, J) = {xyz.shape[:2]}; got {trust.shape}.")
        doubtful = trust < _DOUBTFUL
    known = np.isfinite(xyz).any(0)
    middle = np.zeros(xyz.shape[1:])
    middle[known] = np.nanmedian(xyz[:, known], axis=0)
    xyz = xyz - middle
    cols = min(4, J)
    rows = -(-J // cols)
    figure = Figure(figsize=(3 * cols, 0.6 + 1.6 * rows), layout="constrained")
    axes = figure.subplots(rows, cols, sharex=True, sharey=True, squeeze=False).ravel()
    for j, ax in enumerate(axes):
        if j >= J:
            ax.set_axis_off()
            continue
        for c, (label, color) in enumerate(zip("xyz", (_X, _Y, _Z), strict=True)):
            ax.plot(t, xyz[:, j, c], color=color, lw=1.2, label=label)
        ax.fill_between(
            t, 0, 1, where=doubtful[:, j].tolist(), step="mid", color="#bbbbbb", alpha=0.5, lw=0,
            transform=ax.get_xaxis_transform(),
        )  # fmt: skip
        ax.set_title(names[j], fontsize=9)
        ax.tick_params(labelsize=7)
        ax.grid(alpha=0.3)
    axes[0].legend(fontsize=7, ncols=3, frameon=False, loc="upper right")
    figure.suptitle(title)
    figure.supxlabel("time (s)", fontsize=9)
    figure.supylabel("m from the median", fontsize=9)
    return _png(figure)


def plot_trajectory(
    t_us: ArrayLike, xyz: ArrayLike, *, frame: str = "camera", title: str = "Path of the root"
) -> bytes:
    """Where the root went: seen from above, and its height over time.

    Args:
        t_us: (T,) µs.
        xyz: (T, 3) metres.
        frame: "camera" (x right, y down, z forward) or "world" (y up).
    """
    t, path = _checked_track(t_us, xyz, 2)
    if frame not in ("camera", "world"):
        raise UnitError(f'frame must be "camera" or "world"; got {frame!r}.')
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    above, height = figure.subplots(1, 2)
    above.plot(path[:, 0], path[:, 2], color="#888888", lw=0.8, zorder=1)
    dots = above.scatter(path[:, 0], path[:, 2], c=t, s=9, cmap="viridis", zorder=2)
    figure.colorbar(dots, ax=above, label="time (s)")
    above.set(xlabel="x (m)", ylabel="z (m)", title=title)
    above.set_aspect("equal", adjustable="datalim")
    up = -path[:, 1] if frame == "camera" else path[:, 1]
    height.plot(t, up, color=_Y)
    centre, half = (up.max() + up.min()) / 2, max(0.55 * np.ptp(up), 0.1)
    height.set_ylim(centre - half, centre + half)
    label = "height against the camera (m)" if frame == "camera" else "height (m)"
    height.set(xlabel="time (s)", ylabel=label)
    for ax in (above, height):
        ax.grid(alpha=0.3)
    return _png(figure)


def _checked_track(
    t_us: ArrayLike, values: ArrayLike, ndim: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    t, xyz = np.asarray(t_us), np.asarray(values, np.float64)
    if xyz.ndim != ndim or xyz.shape[-1] != 3 or t.shape != xyz.shape[:1] or not len(t):
        want = "(T, J, 3)" if ndim == 3 else "(T, 3)"
        raise ShapeError(f"need t_us (T,) and positions {want} with T >= 1; got {t.shape} and {xyz.shape}.")
    return t * 1e-6, xyz


def _png(figure: Figure) -> bytes:
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
