"""Light on a mesh: linear intensity per vertex."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventhpe.errors import ShapeError, UnitError
from eventhpe.render.kernels import area_weighted_normals, lambert


@dataclass(frozen=True)
class Light:
    """A distant lamp.

    Attributes:
        direction: (x, y, z) from the scene TOWARDS the lamp, camera frame; need not be of unit length.
            (0, 0, -1) is a headlight, (0, -1, 0) the zenith of a level camera.
        intensity: one number or one per channel, >= 0.
    """

    direction: tuple[float, float, float]
    intensity: float | tuple[float, ...] = 1.0

    def __post_init__(self) -> None:
        d = np.asarray(self.direction, np.float64)
        if d.shape != (3,) or not np.isfinite(d).all() or not d.any():
            raise ShapeError(f"Light.direction must be three numbers, not all 0; got {self.direction}.")
        if not np.all(np.asarray(self.intensity) >= 0):
            raise UnitError(f"Light.intensity must not be negative; got {self.intensity}.")


def vertex_normals(vertices: ArrayLike, faces: ArrayLike) -> NDArray[np.float64]:
    """(V, 3) unit normals pointing outside, weighted by face area; 0 for vertices without a face."""
    xyz = np.ascontiguousarray(vertices, dtype=np.float64)
    tri = np.ascontiguousarray(faces, dtype=np.int32)
    if xyz.ndim != 2 or xyz.shape[1] != 3 or tri.ndim != 2 or tri.shape[1] != 3:
        raise ShapeError(f"need vertices (V, 3) and faces (F, 3); got {xyz.shape} and {tri.shape}.")
    if tri.size and (int(tri.min()) < 0 or int(tri.max()) >= len(xyz)):
        raise ShapeError(f"faces point to vertices {tri.min()}..{tri.max()}, but there are {len(xyz)}.")
    return np.asarray(area_weighted_normals(xyz, tri))


def shade(
    vertices: ArrayLike,
    faces: ArrayLike,
    normals: ArrayLike | None,
    albedo: ArrayLike,
    lights: Sequence[Light],
    ambient: float | Sequence[float] = 0.2,
) -> NDArray[np.float32]:
    """Lambertian reflection: albedo * (ambient + sum over lights of intensity * max(0, n . l)).

    Args:
        vertices: (V, 3) camera frame.
        faces: (F, 3); used when `normals` is None.
        normals: (V, 3) unit normals of the camera frame, or None to compute them.
        albedo: (V,) or (V, C).
        lights: any number of lamps; there are no cast shadows.
        ambient: light from everywhere, one number or one per channel.
    Returns:
        (V,) or (V, C) float32, linear, as bright as its inputs say (not clipped).
    Convention:
        A normal that looks away from the camera is turned round, so open surfaces are lit on both sides.
    """
    xyz = np.ascontiguousarray(vertices, dtype=np.float64)
    n = vertex_normals(xyz, faces) if normals is None else np.ascontiguousarray(normals, dtype=np.float64)
    colour = np.ascontiguousarray(albedo, dtype=np.float64)
    if n.shape != xyz.shape or xyz.ndim != 2 or xyz.shape[1] != 3:
        raise ShapeError(f"vertices and normals must both be (V, 3); got {xyz.shape} and {n.shape}.")
    if colour.ndim not in (1, 2) or len(colour) != len(xyz):
        raise ShapeError(f"albedo must be (V,) or (V, C) with V = {len(xyz)}; got {colour.shape}.")
    table = colour.reshape(len(xyz), -1)
    C = table.shape[1]
    try:
        lamp = np.array([np.broadcast_to(li.intensity, (C,)) for li in lights], np.float64).reshape(-1, C)
        base = np.array(np.broadcast_to(ambient, (C,)), np.float64)
    except ValueError:
        raise ShapeError(f"intensities must be one number or {C}, like the albedo's channels.") from None
    towards = np.array([li.direction for li in lights], np.float64).reshape(-1, 3)
    towards /= np.linalg.norm(towards, axis=1, keepdims=True)
    return np.asarray(lambert(xyz, n, table, towards, lamp, base)).reshape(colour.shape)
