"""Slow plain twins of every representation, event by event in Python: what the kernels must reproduce."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator

import numpy as np

from eventhpe.events.types import Events


def each(events: Events) -> Iterator[tuple[int, int, int, int]]:
    columns = (getattr(events, name).tolist() for name in "txyp")
    return zip(*columns, strict=True)


def time_bin(t: int, t0: int, t1: int, bins: int) -> int:
    """Which of `bins` equal half-open bins, by comparison of exact fractions."""
    return max(b for b in range(bins) if (t - t0) * bins >= b * (t1 - t0))


def voxel(events: Events, bins: int, t0: int, t1: int) -> np.ndarray:
    """(B, H, W) float64: a triangle in time around every bin centre; one bin takes all."""
    grid = np.zeros((bins, *events.sensor_size))
    for t, x, y, p in each(events):
        position = (bins - 1) * (t - t0) / (t1 - t0)
        for b in range(bins):
            grid[b, y, x] += (1 if p else -1) * max(0.0, 1.0 - abs(b - position))
    return grid


def polarity_counts(events: Events, bins: int, t0: int, t1: int) -> np.ndarray:
    """(2 B, H, W) counts, channels bin 0 OFF, bin 0 ON, bin 1 OFF, ..."""
    out = np.zeros((2 * bins, *events.sensor_size), np.float32)
    for t, x, y, p in each(events):
        out[2 * time_bin(t, t0, t1, bins) + p, y, x] += 1
    return out


def _crop_shares(pixel: int, start: float, side: float, cells: int) -> np.ndarray | None:
    """(cells,) shares of one pixel among the output cells of an axis; None if its centre is outside."""
    scale, centre = cells / side, pixel + 0.5 - start
    if not 0 <= centre < side:
        return None
    index = np.arange(cells)
    if scale <= 1:
        return (index == min(int(centre * scale), cells - 1)).astype(float)
    right = np.minimum(index + 1, (pixel + 1 - start) * scale)
    overlap = np.maximum(right - np.maximum(index, (pixel - start) * scale), 0)
    return overlap / overlap.sum()


def crop_counts(
    events: Events, bins: int, t0: int, t1: int, *, left: float, top: float, side: float, out_px: int
) -> np.ndarray:
    """(2 B, out, out): sums of box overlaps, cell by cell."""
    out = np.zeros((2 * bins, out_px, out_px))
    for t, x, y, p in each(events):
        column, row = _crop_shares(x, left, side, out_px), _crop_shares(y, top, side, out_px)
        if column is not None and row is not None:
            out[2 * time_bin(t, t0, t1, bins) + p] += row[:, None] * column[None, :]
    return out


def lnes(events: Events, t0: int, t1: int) -> np.ndarray:
    """(2, H, W) float64: later events write over earlier ones."""
    surface = np.zeros((2, *events.sensor_size))
    for t, x, y, p in each(events):
        surface[p, y, x] = (t - t0) / (t1 - t0)
    return surface


def count_frames(events: Events, num_events: int) -> list[tuple[list[list[int]], int, int]]:
    """(counts, first time, last time) of every run of num_events events; a shorter rest is the last one."""
    height, width = events.sensor_size
    rows = list(each(events))
    frames = []
    for start in range(0, len(rows), num_events):
        run = rows[start : start + num_events]
        counts = [[0] * width for _ in range(height)]
        for _, x, y, _ in run:
            counts[y][x] += 1
        frames.append((counts, run[0][0], run[-1][0]))
    return frames


def three_sigma(counts: list[list[int]]) -> list[list[int]]:
    fired = [c for row in counts for c in row if c]
    sigma = max(statistics.stdev(fired) if len(fired) > 1 else 0.0, 0.1 / 255)
    return [[min(255, math.floor(255 * c / (3 * sigma))) for c in row] for row in counts]
