"""Voxel grids: events of a window accumulated into time bins, signed polarity, bilinear in time."""

from __future__ import annotations

import functools
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventhpe.errors import ShapeError, UnitError
from eventhpe.events import kernels_voxel as kernels
from eventhpe.events.types import Events, VoxelGrid

#: A further thread has to find this many events, or starting it costs more than it saves.
EVENTS_PER_THREAD = 100_000
_MOST_IDLE = 8


def check_window(t0_us: int, t1_us: int) -> tuple[int, int]:
    """The window as integers; UnitError if it is empty or not in whole µs."""
    if int(t0_us) != t0_us or int(t1_us) != t1_us:
        raise UnitError(
            f"window times are whole microseconds; got [{t0_us}, {t1_us}). Convert seconds with round(t "
            "* 1e6)."
        )
    if t1_us <= t0_us:
        raise UnitError(f"a window needs t1 > t0; got [{t0_us}, {t1_us}) µs.")
    return int(t0_us), int(t1_us)


def check_inside(events: Events, t0_us: int, t1_us: int) -> None:
    """UnitError unless every event lies in [t0, t1)."""
    if len(events) and (int(events.t[0]) < t0_us or int(events.t[-1]) >= t1_us):
        raise UnitError(
            f"events span {int(events.t[0])}..{int(events.t[-1])} µs, outside the window [{t0_us}, "
            f"{t1_us}) µs. "
            "Select them with events.between(t0_us, t1_us); if the numbers differ by a factor of a "
            "million, one is in seconds."
        )


def check_output(out: NDArray[np.float32] | None, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """`out` if given and fitting, else a new array; (shape) float32 with undefined content."""
    if out is None:
        return np.empty(shape, np.float32)
    if out.shape != shape or out.dtype != np.float32 or not out.flags.c_contiguous or not out.flags.writeable:
        raise ShapeError(f"out must be a writeable C-ordered {shape} float32; got {out.shape} {out.dtype}.")
    return out


def output_array(out: NDArray[np.float32] | None, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A zeroed float32 array: `out` if given and fitting, else a new one."""
    if out is None:
        return np.zeros(shape, np.float32)
    check_output(out, shape).fill(0.0)
    return out


def check_bins(num_bins: int) -> int:
    if int(num_bins) != num_bins or num_bins < 1:
        raise ShapeError(f"num_bins must be a whole number >= 1; got {num_bins!r}.")
    return int(num_bins)


@functools.cache
def _helpers(process_id: int) -> ThreadPoolExecutor:
    """Threads kept between calls (a start takes as long as 30,000 events); a forked process needs its own."""
    return ThreadPoolExecutor(os.cpu_count(), "voxel")


@functools.cache
def _idle_sums(process_id: int) -> dict[int, list[NDArray[np.int64]]]:
    """Zeroed sums (H * W,) that nobody uses now, by their length; fresh ones cost time."""
    return {}


def _take_sums(pixels: int) -> NDArray[np.int64]:
    try:
        return _idle_sums(os.getpid())[pixels].pop()
    except LookupError:
        return np.zeros(pixels, np.int64)


def _give_back(sums: NDArray[np.int64]) -> None:
    """Keep zeroed sums of the latest size for the next call."""
    idle = _idle_sums(os.getpid())
    if len(sums) not in idle:
        idle.clear()
    kept = idle.setdefault(len(sums), [])
    if len(sums) and len(kept) < _MOST_IDLE:
        kept.append(sums)


def _accumulate(events: Events, t0_us: int, t1_us: int, grid: NDArray[np.float32], threads: int = 1) -> None:
    """Clear grid (B, H, W) and fill it; each thread takes an equal, consecutive share of the events."""
    bins, _, width = grid.shape
    planes = grid.reshape(bins, -1)
    if bins == 1:
        # No interval between bin centres: every event counts whole.
        grid.fill(0.0)
        if kernels.voxel_sum(events.t, events.x, events.y, events.p, t0_us, t1_us, planes[0], width):
            return
        raise _unusable(events, t0_us, t1_us)
    length, count = t1_us - t0_us, len(events)
    if length * bins >= 1 << 62:
        raise UnitError(
            f"a window of {length:,} µs is longer than any recording; are the times in nanoseconds?"
        )
    workers = max(1, min(threads, count // EVENTS_PER_THREAD))
    cuts = [count * k // workers for k in range(workers + 1)]
    firsts = [0]
    for cut in cuts[1:-1]:
        # Clipped, because unchecked events may be out of order; the kernel finds them.
        interval = (int(events.t[cut]) - t0_us) * (bins - 1) // length
        firsts.append(min(max(interval, firsts[-1]), bins - 2))
    lasts = [*firsts[1:], bins - 2]
    heads = [planes[:2], *(np.empty((2, planes.shape[1]), np.float32) for _ in firsts[1:])]

    jobs, all_sums = [], []
    for k in range(workers):
        part = slice(cuts[k], cuts[k + 1])
        columns = events.t[part], events.x[part], events.y[part], events.p[part]
        # Packed sums are worth their memory only where an interval may hold enough events.
        pixels = planes.shape[1] if 2 * (cuts[k + 1] - cuts[k]) >= planes.shape[1] else 0
        sums = _take_sums(pixels)
        all_sums.append(sums)
        jobs.append((*columns, t0_us, t1_us, firsts[k], lasts[k], planes, heads[k], sums, width))
    if workers == 1:
        good = kernels.voxel_intervals(*jobs[0])
    else:
        pool = _helpers(os.getpid())
        others = [pool.submit(kernels.voxel_intervals, *job) for job in jobs[1:]]
        good = all([kernels.voxel_intervals(*jobs[0]), *(other.result() for other in others)])
        for first, head in zip(firsts[1:], heads[1:], strict=True):
            planes[first : first + 2] += head
    if not good:
        raise _unusable(events, t0_us, t1_us)
    for sums in all_sums:  # zeroed again by the kernel
        _give_back(sums)


def _unusable(events: Events, t0_us: int, t1_us: int) -> ShapeError:
    i = kernels.first_unusable(events.t, events.x, events.y, *events.sensor_size, t0_us, t1_us)
    return ShapeError(
        f"event {i:,} (t={int(events.t[i])}, x={int(events.x[i])}, y={int(events.y[i])}) is outside the "
        f"sensor (H, W) = {events.sensor_size} or out of time order; build events with Events.from_columns "
        "to check them."
    )


def voxelize(
    events: Events,
    num_bins: int,
    *,
    t0_us: int,
    t1_us: int,
    out: NDArray[np.float32] | None = None,
    threads: int = 1,
) -> VoxelGrid:
    """Accumulate events into time bins with linear interpolation in time (Zhu et al. 2019, eq. 1).

    Args:
        events: N events inside [t0_us, t1_us); may be empty.
        num_bins: B >= 1.
        t0_us, t1_us: half-open window.
        out: (B, H, W) float32 to reuse; it is cleared first and becomes the data of the result.
        threads: most threads to use; fewer where the events are few. Same result to float32 rounding.
    Returns:
        VoxelGrid with data (B, H, W) float32; an empty window gives zeros.
    Raises:
        UnitError: timestamps outside the window (usually seconds passed as microseconds).
    Convention:
        Bin centres at b * (t1 - t0) / (B - 1); one ON event adds exactly +1 in total, an OFF event -1. B =
        1 sums.
    """
    t0_us, t1_us = check_window(t0_us, t1_us)
    check_inside(events, t0_us, t1_us)
    if int(threads) != threads or threads < 1:
        raise ShapeError(f"threads must be a whole number >= 1; got {threads!r}.")
    grid = check_output(out, (check_bins(num_bins), *events.sensor_size))
    _accumulate(events, t0_us, t1_us, grid, int(threads))
    return VoxelGrid(grid, t0_us, t1_us)


def voxelize_windows(
    events: Events, num_bins: int, *, edges_us: ArrayLike, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Voxel grids of consecutive windows in one array.

    Args:
        events: N events inside [edges_us[0], edges_us[-1]); may be empty.
        num_bins: B >= 1 bins per window.
        edges_us: (T + 1,) increasing; window k is [edges_us[k], edges_us[k + 1]).
        out: (T, B, H, W) float32 to reuse.
    Returns:
        (T, B, H, W) float32; slice k equals `voxelize` of window k.
    """
    edges = np.asarray(edges_us)
    if edges.ndim != 1 or edges.size < 2 or not np.issubdtype(edges.dtype, np.integer):
        raise ShapeError(
            f"edges_us must be (T + 1,) integers with T >= 1; got shape {edges.shape} {edges.dtype}."
        )
    edges = edges.astype(np.int64)
    if (np.diff(edges) <= 0).any():
        raise UnitError("edges_us must increase strictly.")
    check_inside(events, int(edges[0]), int(edges[-1]))
    grids = check_output(out, (edges.size - 1, check_bins(num_bins), *events.sensor_size))
    cuts = np.searchsorted(events.t, edges, side="left")
    for k in range(edges.size - 1):
        part = events.slice(int(cuts[k]), int(cuts[k + 1]))
        _accumulate(part, int(edges[k]), int(edges[k + 1]), grids[k])
    return grids
