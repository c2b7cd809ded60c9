"""Compiled loops of the fast scene renderer over samples (Numba): gray, supersampled, one thread.

A sample of the z-buffer is one int64, the bits of 1/z above the bits of the gray value, 0 where empty.
Positive floats are ordered like their bits, so "if it is nearer, write both" is a maximum of integers. It has
no branch, and the compiler makes four samples at a time of it.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
I64 = NDArray[np.int64]
Box = tuple[int, int, int, int]

LANES = 4
"""Samples are drawn in groups of this many: the z-buffer needs LANES - 1 columns more than it shows."""

BLOCK = 128
"""Triangles that are set up together: their numbers fit into the innermost cache."""

ZERO, ONE, TWO, FULL = np.float32(0), np.float32(1), np.float32(2), np.float32(255)
EPSILON = np.float32(1e-6)
LOW_BITS = np.int64(0xFFFFFFFF)


@njit(cache=True, nogil=True)
def fill_gray(screen: F32, faces: I32, front: I32, count: int, columns: int, samples: I64) -> None:
    """Draw the first `count` faces of `front`, the values in column 3 of `screen` interpolated.

    Values and 1/z are taken as linear on the image of a triangle. A sample on an edge belongs to both
    triangles; faces that show their inside, or that the lens does not see (NaN), are left out.

    Args:
        screen: columns and rows relative to the upper left corner of `samples`.
        samples: (rows, columns + LANES - 1 or more) the z-buffer; what lies beyond `columns` is not image.
    """
    rows, stride = samples.shape[0], np.uint64(samples.shape[1])
    flat = samples.reshape(samples.size)
    corners, edges = np.empty((4, 3, BLOCK), np.float32), np.empty((7, BLOCK), np.float32)
    depths, values = np.empty((3, BLOCK), np.float32), np.empty((3, BLOCK), np.float32)
    boxes = np.empty((4, BLOCK), np.int32)
    for first in range(0, count, BLOCK):
        block = min(BLOCK, count - first)
        _gather(screen, faces, front, first, block, corners)
        _set_up(corners, block, rows, columns, boxes, edges)
        _plane(corners[2], edges, block, depths)
        _plane(corners[3], edges, block, values)
        for n in range(block):
            bx, cx, zx, vx, top = edges[1, n], edges[4, n], depths[1, n], values[1, n], edges[6, n]
            lanes = np.uint64((boxes[3, n] + np.int32(LANES - 1)) & np.int32(~(LANES - 1)))
            start = np.uint64(boxes[0, n]) * stride + np.uint64(boxes[2, n])
            for y in range(boxes[1, n]):
                down = np.float32(np.int32(y))
                row_b, row_c = edges[0, n] + down * edges[2, n], edges[3, n] + down * edges[5, n]
                row_z, row_v = depths[0, n] + down * depths[2, n], values[0, n] + down * values[2, n]
                for lane in range(lanes):
                    right = np.float32(np.int32(lane))
                    b, c = row_b + right * bx, row_c + right * cx
                    depth = np.float32(row_z + right * zx).view(np.int32)
                    value = np.float32(row_v + right * vx).view(np.uint32)
                    inside = (b >= ZERO) & (c >= ZERO) & (b + c <= top)
                    old = flat[start + lane]
                    gain = (np.int64(depth) << np.int64(32)) + np.int64(value) - old
                    # Not a condition but a mask: a conditional store would be made one by one.
                    flat[start + lane] = old + (gain & -np.int64(inside & (gain > 0)))
                start += stride


@njit(cache=True, nogil=True)
def fill_cells(
    screen: F32, places: F32, shape: tuple[int, int, int], faces: I32, front: I32, count: int, columns: int,
    samples: I64, cells: I32,
) -> None:  # fmt: skip
    """As `fill_gray`, and note the texture cell of each sample in `cells` (same shape as `samples`).

    Args:
        places: (V, 4), first the vertices in units of cells, plus 0.5; linear on the image of a triangle.
        shape: (X, Y, Z) cells of the texture. They are numbered in the order x, z, y, as what stands upright
            then finds its cells side by side in memory.
    """
    rows, stride = samples.shape[0], np.uint64(samples.shape[1])
    flat, flat_cells = samples.reshape(samples.size), cells.reshape(cells.size)
    step_p, step_r = np.int32(shape[1] * shape[2]), np.int32(shape[1])
    corners, edges = np.empty((4, 3, BLOCK), np.float32), np.empty((7, BLOCK), np.float32)
    depths, values = np.empty((3, BLOCK), np.float32), np.empty((3, BLOCK), np.float32)
    ps, qs, rs = (np.empty((3, BLOCK), np.float32), np.empty((3, BLOCK), np.float32),
                  np.empty((3, BLOCK), np.float32))  # fmt: skip
    boxes = np.empty((4, BLOCK), np.int32)
    for first in range(0, count, BLOCK):
        block = min(BLOCK, count - first)
        _gather(screen, faces, front, first, block, corners)
        _set_up(corners, block, rows, columns, boxes, edges)
        _plane(corners[2], edges, block, depths)
        _plane(corners[3], edges, block, values)
        _gather(places, faces, front, first, block, corners)
        _plane(corners[0], edges, block, ps)
        _plane(corners[1], edges, block, qs)
        _plane(corners[2], edges, block, rs)
        for n in range(block):
            bx, cx, zx, vx, top = edges[1, n], edges[4, n], depths[1, n], values[1, n], edges[6, n]
            px, qx, rx = ps[1, n], qs[1, n], rs[1, n]
            lanes = np.uint64((boxes[3, n] + np.int32(LANES - 1)) & np.int32(~(LANES - 1)))
            start = np.uint64(boxes[0, n]) * stride + np.uint64(boxes[2, n])
            for y in range(boxes[1, n]):
                down = np.float32(np.int32(y))
                row_b, row_c = edges[0, n] + down * edges[2, n], edges[3, n] + down * edges[5, n]
                row_z, row_v = depths[0, n] + down * depths[2, n], values[0, n] + down * values[2, n]
                row_p, row_q = ps[0, n] + down * ps[2, n], qs[0, n] + down * qs[2, n]
                row_r = rs[0, n] + down * rs[2, n]
                for lane in range(lanes):
                    right = np.float32(np.int32(lane))
                    b, c = row_b + right * bx, row_c + right * cx
                    depth = np.float32(row_z + right * zx).view(np.int32)
                    value = np.float32(row_v + right * vx).view(np.uint32)
                    inside = (b >= ZERO) & (c >= ZERO) & (b + c <= top)
                    old, old_cell = flat[start + lane], flat_cells[start + lane]
                    gain = (np.int64(depth) << np.int64(32)) + np.int64(value) - old
                    new = old + (gain & -np.int64(inside & (gain > 0)))
                    p, q, r = row_p + right * px, row_q + right * qx, row_r + right * rx
                    cell = np.int32(np.int32(p) * step_p + np.int32(q) + np.int32(r) * step_r)
                    change = (cell - old_cell) & -np.int32(new != old)
                    flat[start + lane] = new
                    flat_cells[start + lane] = np.int32(old_cell + change)
                start += stride


@njit(cache=True, nogil=True)
def _gather(table: F32, faces: I32, front: I32, first: int, block: int, corners: F32) -> None:
    """`corners` (4, 3, BLOCK): `table` (V, 4) at the corners of faces front[first : first + block]."""
    for n in range(block):
        f = np.uint32(front[first + n])
        for corner in range(3):
            v = np.uint32(faces[f, corner])
            for c in range(4):
                corners[c, corner, n] = table[v, c]


@njit(cache=True, nogil=True, error_model="numpy")
def _set_up(corners: F32, block: int, rows: int, columns: int, boxes: I32, edges: F32) -> None:
    """Get a block of triangles ready to be drawn; vectorises.

    Args:
        corners: columns and rows of the corners, in samples, in corners[0] and corners[1].
        boxes: (4, BLOCK) first row, number of rows, first column and number of columns of the samples of
            each; 0 rows for those that are not to be drawn. Written.
        edges: (7, BLOCK) barycentric coordinate of corner b at the first sample, per column and per row; the
            same for c; and their largest sum. Float32 may put a sample on an edge outside both neighbours, so
            all edges are moved outwards by a millionth of the triangle's width. Written.
    """
    last_x, last_y = np.float32(columns - 1), np.float32(rows - 1)
    for n in range(block):
        ax, bx, cx = corners[0, 0, n], corners[0, 1, n], corners[0, 2, n]
        ay, by, cy = corners[1, 0, n], corners[1, 1, n], corners[1, 2, n]
        # With y down, a face whose outside looks at the camera has its corners clockwise on paper's axes.
        size = (by - ay) * (cx - ax) - (bx - ax) * (cy - ay)
        lo_x, hi_x = min(ax, bx, cx), max(ax, bx, cx)
        lo_y, hi_y = min(ay, by, cy), max(ay, by, cy)
        first_x, first_y = np.ceil(max(lo_x, ZERO)), np.ceil(max(lo_y, ZERO))
        wide, high = np.floor(min(hi_x, last_x)) - first_x, np.floor(min(hi_y, last_y)) - first_y
        drawn = (size > ZERO) & (wide >= ZERO) & (high >= ZERO)
        inverse = ONE / (size if drawn else ONE)
        b_x, b_y = (ay - cy) * inverse, (cx - ax) * inverse
        c_x, c_y = (by - ay) * inverse, (ax - bx) * inverse
        dx, dy = first_x - ax, first_y - ay
        reach = EPSILON * ((hi_x - lo_x) + (hi_y - lo_y) + ONE)
        slack_b, slack_c = reach * (abs(b_x) + abs(b_y)), reach * (abs(c_x) + abs(c_y))
        edges[0, n], edges[1, n], edges[2, n] = dx * b_x + dy * b_y + slack_b, b_x, b_y
        edges[3, n], edges[4, n], edges[5, n] = dx * c_x + dy * c_y + slack_c, c_x, c_y
        edges[6, n] = ONE + TWO * (slack_b + slack_c)
        boxes[0, n], boxes[1, n] = (
            np.int32(first_y if drawn else ZERO),
            np.int32(high + ONE if drawn else ZERO),
        )
        boxes[2, n], boxes[3, n] = (
            np.int32(first_x if drawn else ZERO),
            np.int32(wide + ONE if drawn else ZERO),
        )


@njit(cache=True, nogil=True)
def _plane(at: F32, edges: F32, block: int, plane: F32) -> None:
    """`plane` (3, BLOCK): a number at the first sample, per column, per row, from that `at` the corners."""
    for n in range(block):
        to_b, to_c = at[1, n] - at[0, n], at[2, n] - at[0, n]
        plane[0, n] = at[0, n] + edges[0, n] * to_b + edges[3, n] * to_c
        plane[1, n] = edges[1, n] * to_b + edges[4, n] * to_c
        plane[2, n] = edges[2, n] * to_b + edges[5, n] * to_c


@njit(cache=True, nogil=True)
def texture_samples(table: F32, samples: I64, cells: I32) -> None:
    """Multiply the value of each sample that has a cell by the cell's reflectance in `table` (X * Y * Z,);
    forget the cells."""
    line, line_cells = samples.reshape(samples.size), cells.reshape(cells.size)
    last = np.int32(table.size - 1)
    for n in range(line.shape[0]):
        cell = line_cells[n]
        if cell != -1:
            cell = min(max(cell, np.int32(0)), last)  # rounding on an edge may leave the texture
            sample = line[n]
            light = np.uint32(sample & LOW_BITS).view(np.float32)
            value = np.float32(light * table[np.uint32(cell)]).view(np.uint32)
            line[n] = (sample & ~LOW_BITS) | np.int64(value)
            line_cells[n] = np.int32(-1)


@njit(cache=True, nogil=True)
def copy_clipped(background: F32, box: Box, out: F32) -> None:
    """Copy `box` of the background, clipped to 0..255."""
    y0, y1, x0, x1 = box
    for y in range(y0, y1):
        source, target = background[y, x0:x1], out[y, x0:x1]
        for x in range(x1 - x0):
            low = source[x] if source[x] > ZERO else ZERO
            target[x] = low if low < FULL else FULL


@njit(cache=True, nogil=True)
def resolve(samples: I64, supersample: int, box: Box, background: F32, out: F32) -> None:
    """Fill `box` of `out` with the mean of each pixel's samples, empty ones showing the background, clipped
    to 0..255; and empty the samples, whose upper left corner is that of `box`."""
    y0, y1, x0, x1 = box
    S = supersample
    share = np.float32(1.0 / (S * S))
    total = np.empty(x1 - x0, np.float32)
    for y in range(y0, y1):
        behind, target = background[y, x0:x1], out[y, x0:x1]
        total[:] = ZERO
        for line in range(S * (y - y0), S * (y - y0) + S):
            row = samples[line]
            if S == 2:  # a stride known to the compiler vectorises
                for x in range(x1 - x0):
                    left, right = row[2 * x], row[2 * x + 1]
                    a, b = np.uint32(left & LOW_BITS), np.uint32(right & LOW_BITS)
                    total[x] += a.view(np.float32) if left > 0 else behind[x]
                    total[x] += b.view(np.float32) if right > 0 else behind[x]
            else:
                for x in range(x1 - x0):
                    for s in range(S * x, S * x + S):
                        front = np.uint32(row[s] & LOW_BITS).view(np.float32)
                        total[x] += front if row[s] > 0 else behind[x]
            row[:] = 0
        for x in range(x1 - x0):
            mean = total[x] * share
            mean = mean if mean > ZERO else ZERO
            target[x] = mean if mean < FULL else FULL
