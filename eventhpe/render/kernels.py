"""Compiled loops of the rasteriser and of shading (Numba)."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]


@njit(cache=True, nogil=True)
def clip_faces_near(vertices: F64, attributes: F32, faces: I32, near: float) -> tuple[F64, F32, I32, I32]:
    """Cut triangles at the plane z = near; a corner cut off turns a triangle into two.

    Returns:
        Vertices (V', 3) and attributes (V', C), the originals first, then the new ones; faces (F', 3)
        and for each the index of the face it came from.
    """
    num_faces = faces.shape[0]
    crossing = 0
    for f in range(num_faces):
        inside = 0
        for k in range(3):
            inside += vertices[faces[f, k], 2] >= near
        crossing += 0 < inside < 3
    V, C = attributes.shape
    out_v = np.empty((V + 2 * crossing, 3), np.float64)
    out_a = np.empty((V + 2 * crossing, C), np.float32)
    out_v[:V] = vertices
    out_a[:V] = attributes
    out_f = np.empty((num_faces + crossing, 3), np.int32)
    source = np.empty(num_faces + crossing, np.int32)
    nv, nf = V, 0
    polygon = np.empty(4, np.int32)
    for f in range(num_faces):
        corners = 0
        for k in range(3):
            i, j = faces[f, k], faces[f, (k + 1) % 3]
            zi, zj = vertices[i, 2], vertices[j, 2]
            if zi >= near:
                polygon[corners] = i
                corners += 1
            if (zi >= near) != (zj >= near):
                s = (near - zi) / (zj - zi)
                for c in range(3):
                    out_v[nv, c] = vertices[i, c] + s * (vertices[j, c] - vertices[i, c])
                out_v[nv, 2] = near
                for c in range(C):
                    out_a[nv, c] = attributes[i, c] + s * (attributes[j, c] - attributes[i, c])
                polygon[corners] = nv
                corners += 1
                nv += 1
        for k in range(corners - 2):
            out_f[nf, 0] = polygon[0]
            out_f[nf, 1] = polygon[k + 1]
            out_f[nf, 2] = polygon[k + 2]
            source[nf] = f
            nf += 1
    return out_v[:nv], out_a[:nv], out_f[:nf], source[:nf]


@njit(cache=True, nogil=True, error_model="numpy")
def fill_triangles(
    uv: F64, inv_z: F64, faces: I32, supersample: int, cull: bool, inv_depth: F32, face_id: I32
) -> tuple[int, int, int, int]:
    """Write the nearest face of every sample into `inv_depth` and `face_id` (both in samples).

    1/z is linear on the image of a plane, so it is the depth that is compared. A sample on an edge
    belongs to both triangles (no cracks); at equal depth the first face stays.

    Returns:
        The rows and columns of samples that may have changed: y0, y1, x0, x1.
    """
    rows, cols = inv_depth.shape
    box_y0, box_y1, box_x0, box_x1 = rows, 0, cols, 0
    S = float(supersample)
    for f in range(faces.shape[0]):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay = (uv[i, 0] + 0.5) * S - 0.5, (uv[i, 1] + 0.5) * S - 0.5
        bx, by = (uv[j, 0] + 0.5) * S - 0.5, (uv[j, 1] + 0.5) * S - 0.5
        cx, cy = (uv[k, 0] + 0.5) * S - 0.5, (uv[k, 1] + 0.5) * S - 0.5
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        # NaN marks vertices that the camera cannot see. With y down, a face whose outside
        # looks at the camera has a negative area.
        if not (area < 0.0 or (area > 0.0 and not cull)):
            continue
        lo_x, hi_x = max(min(ax, bx, cx), 0.0), min(max(ax, bx, cx), cols - 1.0)
        lo_y, hi_y = max(min(ay, by, cy), 0.0), min(max(ay, by, cy), rows - 1.0)
        if lo_x > hi_x or lo_y > hi_y:
            continue
        x0, x1 = int(np.ceil(lo_x)), int(np.floor(hi_x)) + 1
        y0, y1 = int(np.ceil(lo_y)), int(np.floor(hi_y)) + 1
        if x0 >= x1 or y0 >= y1:
            continue
        box_y0, box_y1 = min(box_y0, y0), max(box_y1, y1)
        box_x0, box_x1 = min(box_x0, x0), max(box_x1, x1)
        # Edge functions, >= 0 inside, divided by the area only where a sample is hit.
        sign = 1.0 if area > 0.0 else -1.0
        eb_x, eb_y = (cy - ay) * sign, -(cx - ax) * sign
        ec_x, ec_y = -(by - ay) * sign, (bx - ax) * sign
        size = area * sign
        slack = 1e-12 * size
        za = inv_z[i]
        dzb, dzc = (inv_z[j] - za) / size, (inv_z[k] - za) / size
        for y in range(y0, y1):
            row_b = (y - ay) * eb_y + slack
            row_c = (y - ay) * ec_y + slack
            for x in range(x0, x1):
                wb = row_b + (x - ax) * eb_x
                wc = row_c + (x - ax) * ec_x
                if wb >= 0.0 and wc >= 0.0 and wb + wc <= size + 3.0 * slack:
                    iz = np.float32(za + wb * dzb + wc * dzc)
                    if iz > inv_depth[y, x]:
                        inv_depth[y, x] = iz
                        face_id[y, x] = f
    return box_y0, box_y1, box_x0, box_x1


@njit(cache=True, nogil=True, error_model="numpy")
def resolve_samples(
    uv: F64, inv_z: F64, faces: I32, source: I32, attributes: F32, supersample: int,
    inv_depth: F32, face_id: I32, box: tuple[int, int, int, int],
    out_attributes: F32, out_depth: F32, out_coverage: F32, out_face: I32,
) -> None:  # fmt: skip
    """Average the samples of each pixel inside `box` (in samples); attributes are perspective-correct."""
    S = supersample
    C = attributes.shape[1]
    y0, y1, x0, x1 = box
    full = 1.0 / (S * S)
    total = np.zeros(C, np.float64)
    for y in range(y0 // S, (y1 + S - 1) // S):
        for x in range(x0 // S, (x1 + S - 1) // S):
            hits = 0
            nearest = np.float32(0.0)
            nearest_face = -1
            for sy in range(y * S, y * S + S):
                for sx in range(x * S, x * S + S):
                    f = face_id[sy, sx]
                    if f < 0:
                        continue
                    hits += 1
                    if inv_depth[sy, sx] > nearest:
                        nearest = inv_depth[sy, sx]
                        nearest_face = f
                    if C == 0:
                        continue
                    i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
                    px, py = (sx + 0.5) / S - 0.5 - uv[i, 0], (sy + 0.5) / S - 0.5 - uv[i, 1]
                    bx, by = uv[j, 0] - uv[i, 0], uv[j, 1] - uv[i, 1]
                    cx, cy = uv[k, 0] - uv[i, 0], uv[k, 1] - uv[i, 1]
                    inv_area = 1.0 / (bx * cy - by * cx)
                    wb = (px * cy - py * cx) * inv_area
                    wc = (bx * py - by * px) * inv_area
                    wa = (1.0 - wb - wc) * inv_z[i]
                    wb *= inv_z[j]
                    wc *= inv_z[k]
                    norm = 1.0 / (wa + wb + wc)
                    for c in range(C):
                        total[c] += norm * (
                            wa * attributes[i, c] + wb * attributes[j, c] + wc * attributes[k, c]
                        )
            if hits == 0:
                continue
            for c in range(C):
                out_attributes[y, x, c] = total[c] / hits
                total[c] = 0.0
            out_coverage[y, x] = hits * full
            out_depth[y, x] = 1.0 / nearest
            out_face[y, x] = source[nearest_face]


@njit(cache=True, nogil=True)
def visible_points(uv: F64, z: F64, depth: F32, tolerance: float) -> NDArray[np.bool_]:
    """(N,) whether a point lies in the image and not behind the depth map by more than `tolerance`.

    The farthest surface of the four pixels around the point is compared, since a slanted surface
    changes its depth a lot within one pixel.
    """
    rows, cols = depth.shape
    out = np.zeros(uv.shape[0], np.bool_)
    for n in range(uv.shape[0]):
        u, v = uv[n, 0], uv[n, 1]
        if not (-0.5 <= u < cols - 0.5 and -0.5 <= v < rows - 0.5):
            continue
        x0, y0 = int(np.floor(u)), int(np.floor(v))
        farthest = -1.0
        for y in range(max(y0, 0), min(y0 + 2, rows)):
            for x in range(max(x0, 0), min(x0 + 2, cols)):
                d = depth[y, x]
                if d < np.inf and d > farthest:
                    farthest = d
        out[n] = farthest < 0.0 or z[n] <= farthest + tolerance
    return out


@njit(cache=True, nogil=True)
def area_weighted_normals(vertices: F64, faces: I32) -> F64:
    """(V, 3) unit normals; a face counts by its area. Vertices without a face get (0, 0, 0)."""
    out = np.zeros((vertices.shape[0], 3), np.float64)
    for f in range(faces.shape[0]):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, az = (vertices[j, 0] - vertices[i, 0], vertices[j, 1] - vertices[i, 1],
                      vertices[j, 2] - vertices[i, 2])  # fmt: skip
        bx, by, bz = (vertices[k, 0] - vertices[i, 0], vertices[k, 1] - vertices[i, 1],
                      vertices[k, 2] - vertices[i, 2])  # fmt: skip
        nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        for c in range(3):
            v = faces[f, c]
            out[v, 0] += nx
            out[v, 1] += ny
            out[v, 2] += nz
    for v in range(out.shape[0]):
        norm = np.sqrt(out[v, 0] ** 2 + out[v, 1] ** 2 + out[v, 2] ** 2)
        if norm > 0.0:
            out[v, 0] /= norm
            out[v, 1] /= norm
            out[v, 2] /= norm
    return out


@njit(cache=True, nogil=True)
def lambert(
    vertices: F64, normals: F64, albedo: F64, towards_light: F64, light_rgb: F64, ambient: F64
) -> F32:
    """(V, C) albedo * (ambient + sum of lights * max(0, n . l)); a normal that looks away is turned."""
    V, C = albedo.shape
    out = np.empty((V, C), np.float32)
    for v in range(V):
        nx, ny, nz = normals[v, 0], normals[v, 1], normals[v, 2]
        if nx * vertices[v, 0] + ny * vertices[v, 1] + nz * vertices[v, 2] > 0.0:
            nx, ny, nz = -nx, -ny, -nz
        for c in range(C):
            light = ambient[c]
            for n in range(towards_light.shape[0]):
                cosine = nx * towards_light[n, 0] + ny * towards_light[n, 1] + nz * towards_light[n, 2]
                if cosine > 0.0:
                    light += cosine * light_rgb[n, c]
            out[v, c] = albedo[v, c] * light
    return out
