"""Which part of a body an event may come from: the parts as a camera sees them, and event counts per part.

A joint without events around it has nothing that measures it; the counts say where labels are supported.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import distance_transform_edt

from eventhpe.errors import ShapeError, UnitError
from eventhpe.events.types import Events
from eventhpe.geometry.camera import Camera
from eventhpe.render.raster import rasterize

NOBODY = -1
"""Part number of pixels that no part covers."""

PartMap = NDArray[np.int16]
MAX_PARTS = int(np.iinfo(np.int16).max)


def part_map(vertices: ArrayLike, faces: ArrayLike, part_of_vertex: ArrayLike, camera: Camera) -> PartMap:
    """(H, W) int16 part that each pixel's centre sees; NOBODY (-1) beside the body.

    Args:
        vertices: (V, 3) metres in the camera frame.
        faces: (F, 3) vertex indices.
        part_of_vertex: (V,) integers from 0; a pixel takes the part of the corner of its face that weighs
            most at this place.
        camera: intrinsics, distortion and image size.
    Raises:
        ShapeError: array shapes that do not fit, part numbers that are negative or above 32,767.
        UnitError: vertices that are not finite.
    """
    parts = np.asarray(part_of_vertex)
    if parts.shape != (len(np.asarray(vertices)),) or parts.dtype.kind not in "iu":
        raise ShapeError(
            f"part_of_vertex must be ({len(np.asarray(vertices))},) integers, one per vertex; "
            f"got {parts.shape} {parts.dtype}."
        )
    if parts.size and not (parts.min() >= 0 and parts.max() < MAX_PARTS):
        raise ShapeError(f"part numbers must lie in 0..{MAX_PARTS - 1}; got {parts.min()}..{parts.max()}.")
    seen = _seen_skin(vertices, faces, camera)
    nearest = np.take_along_axis(seen.corners, seen.shares.argmax(1)[:, None], 1)[:, 0]
    return _paint(seen, parts[nearest], camera.size)


def joint_map(vertices: ArrayLike, faces: ArrayLike, weights: ArrayLike, camera: Camera) -> PartMap:
    """(H, W) int16 joint whose skin weight is largest at each pixel's centre; NOBODY (-1) beside the body.

    Args:
        weights: (V, J) skin weights, interpolated over the faces; the lower joint wins a tie.
    Raises:
        ShapeError, UnitError: as `part_map`; weights that are not finite.
    """
    table = np.asarray(weights, np.float64)
    if table.ndim != 2 or len(table) != len(np.asarray(vertices)) or not 0 < table.shape[1] <= MAX_PARTS:
        raise ShapeError(f"weights must be (V, J) with V = {len(np.asarray(vertices))}; got {table.shape}.")
    if not np.isfinite(table).all():
        raise UnitError("weights hold values that are not finite.")
    seen = _seen_skin(vertices, faces, camera)
    mixed = np.einsum("nk,nkj->nj", seen.shares, table[seen.corners])
    return _paint(seen, mixed.argmax(1), camera.size)


def dilate_parts(parts: PartMap, px: float) -> PartMap:
    """Part map grown by `px` pixels: pixels of nobody take the nearest part whose pixel centre is that near.

    Args:
        parts: (H, W) integers, NOBODY (-1) where there is no part; not changed.
        px: Euclidean distance in pixels, >= 0; 1.5 reaches the eight neighbours.
    """
    grid = _checked_map(parts)
    if not (px >= 0 and np.isfinite(px)):
        raise UnitError(f"px must be a distance in pixels >= 0; got {px}.")
    out = grid.astype(np.int16)
    rows, cols = np.nonzero(grid != NOBODY)
    if not rows.size or px < 1:
        return out
    reach = int(np.ceil(px))
    y0, x0 = max(int(rows.min()) - reach, 0), max(int(cols.min()) - reach, 0)
    box = slice(y0, int(rows.max()) + reach + 1), slice(x0, int(cols.max()) + reach + 1)
    empty = grid[box] == NOBODY
    distance, (near_row, near_col) = distance_transform_edt(empty, return_indices=True)
    out[box] = np.where(distance <= px, grid[box][near_row, near_col], NOBODY)
    return out


def events_per_part(events: Events, parts: PartMap, num_parts: int) -> NDArray[np.int64]:
    """(num_parts,) int64 events on the pixels of each part; events on nobody's pixels are not counted.

    Raises:
        ShapeError: the map is not of the sensor's size, or holds a part number >= num_parts.
    """
    grid = _checked_map(parts)
    if grid.shape != events.sensor_size:
        raise ShapeError(f"the part map must be (H, W) = {events.sensor_size}; got {grid.shape}.")
    if grid.size and grid.max() >= num_parts:
        raise ShapeError(f"the part map holds part {grid.max()}, but num_parts is {num_parts}.")
    hit = grid[events.y, events.x]
    return np.bincount(hit[hit != NOBODY], minlength=num_parts).astype(np.int64)


def events_per_joint(
    events: Events,
    vertices: ArrayLike,
    faces: ArrayLike,
    weights: ArrayLike,
    camera: Camera,
    *,
    margin_px: float = 2.0,
) -> NDArray[np.int64]:
    """(J,) int64 events per joint: each goes to the joint whose skin weight is largest at its pixel.

    The body stands still meanwhile, so take windows in which it moves by no more than the margin.

    Args:
        events: of the camera's sensor.
        vertices: (V, 3) metres in the camera frame.
        faces: (F, 3) vertex indices.
        weights: (V, J) skin weights.
        camera: intrinsics, distortion and image size.
        margin_px: events this near to the silhouette still count, for the nearest joint.
    Raises:
        ShapeError, UnitError: as `joint_map` and `events_per_part`.
    """
    joints = joint_map(vertices, faces, weights, camera)
    return events_per_part(events, dilate_parts(joints, margin_px), np.shape(weights)[1])


@dataclass(frozen=True)
class _SeenSkin:
    """Skin under the n covered pixels: where, the corners of its face, and their barycentric shares."""

    rows: NDArray[np.int64]
    cols: NDArray[np.int64]
    corners: NDArray[np.int64]  # (n, 3)
    shares: NDArray[np.float32]  # (n, 3)


def _seen_skin(vertices: ArrayLike, faces: ArrayLike, camera: Camera) -> _SeenSkin:
    tri, xyz = np.asarray(faces), np.asarray(vertices, np.float64)
    if tri.ndim != 2 or tri.shape[1] != 3 or tri.dtype.kind not in "iu":
        raise ShapeError(f"faces must be (F, 3) integers; got {tri.shape} {tri.dtype}.")
    if xyz.ndim != 2 or xyz.shape[1] != 3:
        raise ShapeError(f"vertices must be (V, 3); got {xyz.shape}. Several bodies: concatenate them.")
    if tri.size and (int(tri.min()) < 0 or int(tri.max()) >= len(xyz)):
        raise ShapeError(f"faces point to vertices {tri.min()}..{tri.max()}, but there are {len(xyz)}.")
    # With corners of their own, faces carry their barycentric coordinates as attributes.
    loose = np.arange(tri.size).reshape(-1, 3)
    frame = rasterize(xyz[tri.ravel()], loose, camera, attributes=np.tile(np.eye(3), (len(tri), 1)))
    rows, cols = np.nonzero(frame.face_id >= 0)
    return _SeenSkin(
        rows, cols, tri[frame.face_id[rows, cols]].astype(np.int64), frame.attributes[rows, cols]
    )


def _paint(seen: _SeenSkin, parts: NDArray[np.integer], size: tuple[int, int]) -> PartMap:
    out = np.full(size, NOBODY, np.int16)
    out[seen.rows, seen.cols] = parts
    return out


def _checked_map(parts: PartMap) -> PartMap:
    grid = np.asarray(parts)
    if grid.ndim != 2 or grid.dtype.kind != "i":
        raise ShapeError(f"a part map must be (H, W) signed integers; got {grid.shape} {grid.dtype}.")
    if grid.size and grid.min() < NOBODY:
        raise ShapeError(f"a part map holds parts from 0 and {NOBODY} for nobody; got {grid.min()}.")
    return grid
