"""Find the moving person in a stream by event density.

A person who moves makes dense, connected patches of events; noise is thin and scattered. Boxes follow the
densest patch, remember limbs that have stopped, and move at once when the whole person moves.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from eventhpe.events.types import Events

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixel edges (pixel 0 covers [0, 1))."""


@dataclass(frozen=True)
class PersonFinder:
    """Event-density person finder.

    Attributes:
        cells: number of grid cells along the longer side of the sensor.
        context_windows: windows before and after the current one that are looked at together.
        shrink: share of the way that an edge moves inwards per window when only part of the body still moves.
        min_events: fewer active pixels than this above the noise mean that nobody moves.
    """

    cells: int = 32
    context_windows: int = 5
    shrink: float = 0.06
    min_events: int = 150

    def density(self, events: Events) -> NDArray[np.uint16]:
        """(gh, gw) number of active pixels per grid cell; a hot pixel counts once."""
        h, w = events.sensor_size
        cell = self._cell_px(events.sensor_size)
        active = np.zeros((h, w), bool)
        active[events.y, events.x] = True
        padded = np.pad(active, ((0, -h % cell), (0, -w % cell)))
        return padded.reshape(padded.shape[0] // cell, cell, -1, cell).sum(axis=(1, 3)).astype(np.uint16)

    def boxes(
        self, densities: Iterable[NDArray[np.uint16]], sensor_size: tuple[int, int]
    ) -> list[Box | None]:
        """One box per window from each window's density; None until somebody has moved.

        Args:
            densities: result of `density` for consecutive windows.
            sensor_size: (H, W).
        """
        windows = list(densities)
        if not windows:
            return []
        stack = np.stack(windows).astype(np.float32)
        cell = self._cell_px(sensor_size)
        kernel = 2 * self.context_windows + 1
        # Noise is spread evenly and a person covers less than most of the picture, so a low quantile over the
        # cells of their mean rate tells what noise alone would give.
        noise = kernel * float(np.quantile(stack.mean(axis=0), 0.3))
        context = ndimage.uniform_filter1d(stack, kernel, axis=0, mode="nearest") * kernel
        raw = [self._patch(c, noise, cell, sensor_size) for c in context]
        return self._follow(raw)

    def _cell_px(self, sensor_size: tuple[int, int]) -> int:
        return max(1, round(max(sensor_size) / self.cells))

    def _patch(
        self, counts: NDArray[np.float32], noise: float, cell: int, sensor_size: tuple[int, int]
    ) -> Box | None:
        density = np.maximum(counts - noise, 0)
        smooth = ndimage.gaussian_filter(density, 0.7)
        # Three standard deviations of the smoothed noise, and a share of what the person's cells have.
        level = max(0.12 * float(np.quantile(smooth, 0.97)), 3.0 * float(np.sqrt(0.25 * noise + 1.0)))
        active = smooth > level
        if (density * active).sum() < self.min_events:
            return None
        near = ndimage.binary_dilation(active, iterations=2)
        patches, n = ndimage.label(near)
        if n == 0:
            return None
        mass = ndimage.sum_labels(density * active, patches, np.arange(1, n + 1))
        mine = (patches == 1 + int(np.argmax(mass))) & active
        weights = density * mine
        h, w = sensor_size
        x0, x1 = _weighted_span(weights.sum(axis=0), cell)
        y0, y1 = _weighted_span(weights.sum(axis=1), cell)
        return max(0.0, x0), max(0.0, y0), min(float(w), x1), min(float(h), y1)

    def _follow(self, raw: list[Box | None]) -> list[Box | None]:
        first = [b for b in raw[: 2 * self.context_windows] if b is not None]
        box = np.array([*np.min(first, axis=0)[:2], *np.max(first, axis=0)[2:]]) if first else None
        out: list[Box | None] = []
        for seen in raw:
            if seen is not None:
                box = np.array(seen) if box is None else self._step(box, np.array(seen))
            out.append(None if box is None else (float(box[0]), float(box[1]), float(box[2]), float(box[3])))
        return out

    def _step(self, box: NDArray[np.float64], seen: NDArray[np.float64]) -> NDArray[np.float64]:
        box = box.copy()
        for low, high in ((0, 2), (1, 3)):
            move = seen[[low, high]] - box[[low, high]]
            if move[0] * move[1] > 0:  # both edges move the same way: the person moves
                common = np.sign(move[0]) * np.abs(move).min()
                box[[low, high]] += common
                move -= common
            # What is left: outwards at half the way per window, inwards slowly.
            box[low] += move[0] * (0.5 if move[0] < 0 else self.shrink)
            box[high] += move[1] * (0.5 if move[1] > 0 else self.shrink)
        return box


def _weighted_span(profile: NDArray[np.float32], cell: int) -> tuple[float, float]:
    """Pixel span that holds all but 1 % of a profile's mass at each end."""
    cumulative = np.cumsum(profile, dtype=np.float64) / max(float(profile.sum()), 1e-9)
    first = int(np.searchsorted(cumulative, 0.01))
    last = int(np.searchsorted(cumulative, 0.99))
    return float(first * cell), float((last + 1) * cell)
