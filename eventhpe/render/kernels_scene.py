"""Compiled loops of the fast scene renderer over vertices and faces (Numba); float32 throughout."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
Box = tuple[int, int, int, int]

ZERO, ONE, TWO, HALF = np.float32(0), np.float32(1), np.float32(2), np.float32(0.5)


@njit(cache=True, nogil=True)
def mesh_is_sound(vertices: F32, faces: I32) -> bool:
    """Whether all vertices are finite and all faces point to one; integer maxima, which vectorise."""
    bits = vertices.view(np.int32).reshape(vertices.size)
    largest = np.int32(0)
    for n in range(bits.shape[0]):
        magnitude = bits[n] & np.int32(0x7FFFFFFF)
        largest = magnitude if magnitude > largest else largest
    corners = faces.view(np.uint32).reshape(faces.size)
    last = np.uint32(0)
    for n in range(corners.shape[0]):
        last = corners[n] if corners[n] > last else last
    in_range = corners.shape[0] == 0 or last < np.uint32(vertices.shape[0])
    return bool(in_range and largest < np.int32(0x7F800000))


@njit(cache=True, nogil=True)
def any_nearer(vertices: F32, near: float) -> bool:
    """Whether a vertex lies before the plane z = near."""
    limit = np.float32(near)
    count = 0
    for v in range(vertices.shape[0]):
        count += vertices[v, 2] < limit
    return count > 0


@njit(cache=True, nogil=True, error_model="numpy")
def project_to_samples(vertices: F32, lens: F32, fold_r2: float, screen: F32) -> None:
    """First three columns of `screen` (V, 4): column and row in samples, and 1/z.

    Args:
        vertices: (V, 3) camera frame.
        lens: (11,) column and row of the optical axis, then d(column)/dx, d(column)/dy and d(row)/dy, all in
            samples; k1, k2, p1, p2, k3; 1 where any of these is not 0.
        fold_r2: squared radius (in units of z) beyond which the distortion polynomial no longer holds.
    Convention:
        NaN where the lens does not see a point.
    """
    cx, cy, fx, skew, fy = lens[0], lens[1], lens[2], lens[3], lens[4]
    k1, k2, p1, p2, k3 = lens[5], lens[6], lens[7], lens[8], lens[9]
    limit, nan = np.float32(fold_r2), np.float32(np.nan)
    if lens[10] == ZERO:
        for v in range(vertices.shape[0]):
            z = vertices[v, 2]
            inverse = ONE / (z if z > ZERO else nan)
            x, y = vertices[v, 0] * inverse, vertices[v, 1] * inverse
            screen[v, 0] = fx * x + skew * y + cx
            screen[v, 1] = fy * y + cy
            screen[v, 2] = inverse
        return
    for v in range(vertices.shape[0]):
        z = vertices[v, 2]
        inverse = ONE / (z if z > ZERO else nan)
        x, y = vertices[v, 0] * inverse, vertices[v, 1] * inverse
        r2 = x * x + y * y
        radial = ONE + r2 * (k1 + r2 * (k2 + r2 * k3))
        seen_x = x * radial + TWO * p1 * x * y + p2 * (r2 + TWO * x * x)
        seen_y = y * radial + p1 * (r2 + TWO * y * y) + TWO * p2 * x * y
        screen[v, 0] = fx * seen_x + skew * seen_y + cx if r2 < limit else nan
        screen[v, 1] = fy * seen_y + cy
        screen[v, 2] = inverse


@njit(cache=True, nogil=True)
def bounds(screen: F32, rows: int, columns: int) -> Box:
    """Rows and columns of samples y0, y1, x0, x1 that hold all vertices, as far as they are image."""
    low_x, high_x = np.float32(columns), np.float32(-1)
    low_y, high_y = np.float32(rows), np.float32(-1)
    for v in range(screen.shape[0]):
        x, y = screen[v, 0], screen[v, 1]  # no comparison with NaN is true
        low_x = x if x < low_x else low_x
        high_x = x if x > high_x else high_x
        low_y = y if y < low_y else low_y
        high_y = y if y > high_y else high_y
    y0, x0 = max(int(np.floor(max(low_y, ZERO))), 0), max(int(np.floor(max(low_x, ZERO))), 0)
    y1 = int(np.floor(min(high_y, np.float32(rows - 1)))) + 1
    x1 = int(np.floor(min(high_x, np.float32(columns - 1)))) + 1
    return y0, y1, x0, x1


@njit(cache=True, nogil=True)
def sum_normals(vertices: F32, faces: I32, normals: F32, front: I32) -> int:
    """Sum of the area-weighted face normals at every vertex, into `normals` (V, 3); and the faces that show
    the camera their outside, into the first places of `front` (F + 1,).

    Returns:
        How many faces `front` lists.
    """
    normals[:] = ZERO
    count = np.uint64(0)
    for f in range(faces.shape[0]):
        i, j, k = np.uint32(faces[f, 0]), np.uint32(faces[f, 1]), np.uint32(faces[f, 2])
        px, py, pz = vertices[i, 0], vertices[i, 1], vertices[i, 2]
        ax, ay, az = vertices[j, 0] - px, vertices[j, 1] - py, vertices[j, 2] - pz
        bx, by, bz = vertices[k, 0] - px, vertices[k, 1] - py, vertices[k, 2] - pz
        nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        front[count] = np.int32(f)
        count += np.uint64(nx * px + ny * py + nz * pz < ZERO)
        normals[i, 0] += nx
        normals[i, 1] += ny
        normals[i, 2] += nz
        normals[j, 0] += nx
        normals[j, 1] += ny
        normals[j, 2] += nz
        normals[k, 0] += nx
        normals[k, 1] += ny
        normals[k, 2] += nz
    return int(count)


@njit(cache=True, nogil=True, error_model="numpy")
def light_vertices(vertices: F32, normals: F32, lamps: F32, ambient: float, scale: F32, light: F32) -> None:
    """`light` (V,) = ambient + sum over lamps of max(0, n . l).

    Args:
        normals: (V, 3), of any length; one that looks away from the camera is turned round.
        lamps: (L, 3) directions towards the lamps, as long as the lamps are bright.
        scale: (V,) scratch.
    """
    base = np.float32(ambient)
    for v in range(vertices.shape[0]):
        nx, ny, nz = normals[v, 0], normals[v, 1], normals[v, 2]
        square = nx * nx + ny * ny + nz * nz
        s = ONE / np.sqrt(square if square > ZERO else ONE)
        away = nx * vertices[v, 0] + ny * vertices[v, 1] + nz * vertices[v, 2] > ZERO
        scale[v] = -s if away else s
        light[v] = base
    for n in range(lamps.shape[0]):
        x, y, z = lamps[n, 0], lamps[n, 1], lamps[n, 2]
        for v in range(vertices.shape[0]):
            cosine = (normals[v, 0] * x + normals[v, 1] * y + normals[v, 2] * z) * scale[v]
            light[v] += cosine if cosine > ZERO else ZERO


@njit(cache=True, nogil=True)
def place_in_cells(
    template: F32, origin: NDArray[np.float64], cell: float, shape: tuple[int, int, int], places: F32
) -> None:
    """First columns of `places` (V, 4): template coordinates in units of cells, plus 0.5; a vertex outside
    the texture's `shape` is moved to the middle of the nearest border cell."""
    scale = 1.0 / cell
    for c in range(3):
        factor, shift = np.float32(scale), np.float32(0.5 - origin[c] * scale)
        end = np.float32(shape[c]) - HALF
        for v in range(template.shape[0]):
            place = template[v, c] * factor + shift
            place = place if place > HALF else HALF
            places[v, c] = place if place < end else end
