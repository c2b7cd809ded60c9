"""The cells of a regular grid that lie near a mesh."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventhpe.errors import ShapeError, UnitError

MAX_CELLS = 1 << 26
"""More cells than this in the box of the mesh are taken for a mistake in the unit."""


@dataclass(frozen=True)
class SurfaceCells:
    """Cells near a surface.

    Attributes:
        shape: (X, Y, Z) cells of the box around the mesh, with a margin of two cells.
        origin: (3,) metres, centre of cell (0, 0, 0).
        cell_m: side of a cell in metres.
        index: (N,) int64 flat indices (C order) of the cells near the surface, rising.
    """

    shape: tuple[int, int, int]
    origin: NDArray[np.float64]
    cell_m: float
    index: NDArray[np.int64]

    @cached_property
    def centres(self) -> NDArray[np.float32]:
        """(N, 3) metres, read-only."""
        cell = np.stack(np.unravel_index(self.index, self.shape)).astype(np.float32)
        cell *= np.float32(self.cell_m)
        cell += self.origin.astype(np.float32)[:, None]
        cell.setflags(write=False)
        return cell.T  # each coordinate in one piece, as most of what follows works on columns


def surface_cells(vertices: ArrayLike, faces: ArrayLike, cell_m: float) -> SurfaceCells:
    """Cells that hold a point of the mesh, or are one of the eight around such a point.

    The last few meshes are remembered by their content: the search takes as long as painting a person.

    Args:
        vertices: (V, 3) metres; faces: (F, 3) vertex indices.
        cell_m: side of a cell in metres.
    Raises:
        ShapeError: arrays that are no mesh. UnitError: cells that are too small for the box of the mesh.
    """
    xyz, tri = np.asarray(vertices, np.float64), np.asarray(faces)
    if xyz.ndim != 2 or xyz.shape[1] != 3 or tri.ndim != 2 or tri.shape[1] != 3 or not len(tri):
        raise ShapeError(
            f"a mesh needs vertices (V, 3) and faces (F, 3), not empty; got {xyz.shape}, {tri.shape}."
        )
    if not cell_m > 0:
        raise UnitError(f"cell_m must be positive; got {cell_m}.")
    return _search(xyz.tobytes(), tri.astype(np.int64).tobytes(), float(cell_m))


@lru_cache(maxsize=4)
def _search(vertices: bytes, faces: bytes, cell_m: float) -> SurfaceCells:
    xyz, tri = np.frombuffer(vertices).reshape(-1, 3), np.frombuffer(faces, np.int64).reshape(-1, 3)
    origin = xyz.min(0) - 2 * cell_m
    sides = np.ceil((xyz.max(0) - origin) / cell_m) + 3
    if not np.prod(sides) <= MAX_CELLS:
        raise UnitError(
            f"the box of the mesh holds {np.prod(sides):.2g} cells of {cell_m} m, more than {MAX_CELLS}; "
            "vertices and cell_m must be metres."
        )
    shape = (int(sides[0]), int(sides[1]), int(sides[2]))
    cells = ((xyz - origin) / cell_m).astype(np.float32)
    corners = cells[tri]
    edges = corners - np.roll(corners, 1, axis=1)
    longest = np.sqrt(np.einsum("fkc,fkc->fk", edges, edges).max(1))
    near = np.zeros(shape, bool)
    # Samples are at most 0.85 cells apart along an edge, so every point is within 0.5 cells of one
    # (0.85 / sqrt 3), and one step of dilation reaches all cells that a trilinear look-up needs.
    steps = np.maximum(np.ceil(longest / 0.85), 1).astype(np.int64)
    for n in np.unique(steps):
        i, j = np.nonzero(np.add.outer(np.arange(n + 1), np.arange(n + 1)) <= n)
        weights = np.stack([n - i - j, i, j], 1).astype(np.float32) / np.float32(n)
        samples = np.rint(np.einsum("sk,fkc->csf", weights, corners[steps == n])).astype(np.int32)
        near[samples[0], samples[1], samples[2]] = True
    for axis in range(3):  # a cube is the product of three lines
        line, wide = np.moveaxis(near, axis, 0), near.copy()
        grown = np.moveaxis(wide, axis, 0)
        grown[1:] |= line[:-1]
        grown[:-1] |= line[1:]
        near = wide
    index = np.flatnonzero(near)
    index.setflags(write=False)
    origin.setflags(write=False)
    return SurfaceCells(shape, origin, cell_m, index)
