"""Solid textures: reflectance as a function of the place on the resting body."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventhpe.errors import ShapeError, UnitError


@dataclass(frozen=True)
class SolidTexture:
    """Reflectance in a box around the resting template, so that patterns follow the moving skin.

    Attributes:
        reflectance: (X, Y, Z) float32 in [0, 1], one value per cell, in C order.
        origin: (3,) metres, centre of cell (0, 0, 0) in the coordinates of the body's template (T-pose, +x
        the
            person's left, +y up, +z forward, before any shape coefficient).
        cell_m: side of a cell in metres.
    Raises:
        ShapeError, UnitError: arrays of the wrong shape, values outside [0, 1].
    """

    reflectance: NDArray[np.float32]
    origin: NDArray[np.float64]
    cell_m: float

    def __post_init__(self) -> None:
        cells = np.ascontiguousarray(self.reflectance, np.float32)
        if cells.ndim != 3 or not cells.size:
            raise ShapeError(f"SolidTexture.reflectance must be (X, Y, Z), not empty; got {cells.shape}.")
        if not (np.isfinite(cells).all() and cells.min() >= 0 and cells.max() <= 1):
            raise UnitError("SolidTexture.reflectance must lie in [0, 1].")
        origin = np.array(self.origin, np.float64)
        if origin.shape != (3,):
            raise ShapeError(f"SolidTexture.origin must be (3,); got {origin.shape}.")
        if not self.cell_m > 0:
            raise UnitError(f"SolidTexture.cell_m must be positive; got {self.cell_m}.")
        for name, value in (("reflectance", cells), ("origin", origin)):
            value.setflags(write=False)
            object.__setattr__(self, name, value)

    def at(self, points: ArrayLike) -> NDArray[np.float32]:
        """(N,) reflectance at (N, 3) template coordinates: the nearest cell, the box's border outside it."""
        xyz = np.asarray(points, np.float64)
        if xyz.ndim != 2 or xyz.shape[1] != 3:
            raise ShapeError(f"points must be (N, 3); got {xyz.shape}.")
        cell = np.rint((xyz - self.origin) / self.cell_m).astype(np.int64)
        i, j, k = np.clip(cell, 0, np.array(self.reflectance.shape) - 1).T
        return self.reflectance[i, j, k]
