"""Compiled loops of backgrounds (Numba)."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
Box = tuple[int, int, int, int]


@njit(cache=True, nogil=True)
def copy_canvas(canvas: F32, margin: int, box: Box, out: F32) -> None:
    """Fill `box` of `out` with the middle of the canvas."""
    y0, y1, x0, x1 = box
    for y in range(y0, y1):
        source = canvas[y + margin, x0 + margin : x1 + margin]
        target = out[y, x0:x1]
        for n in range(x1 - x0):
            target[n] = source[n]


@njit(cache=True, nogil=True, error_model="numpy")
def warp_canvas(canvas: F32, margin: int, to_rest: F64, box: Box, out: F32) -> None:
    """Fill `box` of `out` with the canvas seen through the homography `to_rest` (pixels now to at rest).

    Bilinear; beyond the canvas its border is repeated.
    """
    y0, y1, x0, x1 = box
    rows, cols = canvas.shape
    flat = canvas.reshape(rows * cols)
    width = x1 - x0
    place = np.empty(width, np.uint32)
    right, down = np.empty(width, np.float32), np.empty(width, np.float32)
    next_col, next_row = np.uint32(min(1, cols - 1)), np.uint32(min(1, rows - 1) * cols)
    for y in range(y0, y1):
        _locate_row(to_rest, y, x0, margin, rows, cols, place, right, down)
        target = out[y, x0:x1]
        for n in range(width):
            p = place[n]
            a, b = flat[p], flat[p + next_col]
            c, d = flat[p + next_row], flat[p + next_row + next_col]
            top = a + right[n] * (b - a)
            low = c + right[n] * (d - c)
            target[n] = top + down[n] * (low - top)


@njit(cache=True, nogil=True, error_model="numpy")
def _locate_row(
    to_rest: F64, y: int, x0: int, margin: int, rows: int, cols: int,
    place: NDArray[np.uint32], right: F32, down: F32,
) -> None:  # fmt: skip
    """Upper left canvas pixel of each pixel of a row, and the shares of its neighbours; vectorises."""
    h = to_rest
    base_u, base_v = np.float32(h[0, 1] * y + h[0, 2]), np.float32(h[1, 1] * y + h[1, 2])
    base_w = np.float32(h[2, 1] * y + h[2, 2])
    step_u, step_v, step_w = np.float32(h[0, 0]), np.float32(h[1, 0]), np.float32(h[2, 0])
    zero, one, shift = np.float32(0), np.float32(1), np.float32(margin)
    last_x, last_y = np.float32(cols - 1), np.float32(rows - 1)
    most_x, most_y = np.int32(max(cols - 2, 0)), np.int32(max(rows - 2, 0))
    stride, first = np.int32(cols), np.int32(x0)
    for n in range(place.shape[0]):
        x = np.float32(first + np.int32(n))  # rounds alike in every box
        inverse = one / (step_w * x + base_w)
        u = (step_u * x + base_u) * inverse + shift
        v = (step_v * x + base_v) * inverse + shift
        u = u if u > zero else zero
        v = v if v > zero else zero
        u = u if u < last_x else last_x
        v = v if v < last_y else last_y
        i, j = np.int32(u), np.int32(v)
        i = i if i < most_x else most_x
        j = j if j < most_y else most_y
        place[n] = np.uint32(j * stride + i)
        right[n] = u - np.float32(i)
        down[n] = v - np.float32(j)


@njit(cache=True, nogil=True, error_model="numpy")
def blend_patch(pixels: F32, alpha: F32, u0: float, v0: float, to_rest: F64, box: Box, out: F32) -> None:
    """Blend a patch, its `pixels` multiplied by `alpha`, both with a rim of one 0, over `box` of `out`.

    Its centre lies at (u0, v0) of the image at rest. Bilinear, and transparent beyond the patch, so that a
    patch that moves by a part of a pixel changes its edges by that part.
    """
    y0, y1, x0, x1 = box
    h, w = pixels.shape
    left, top = u0 - 0.5 * (w - 1), v0 - 0.5 * (h - 1)
    for y in range(y0, y1):
        for x in range(x0, x1):
            inverse = 1.0 / (to_rest[2, 0] * x + to_rest[2, 1] * y + to_rest[2, 2])
            u = (to_rest[0, 0] * x + to_rest[0, 1] * y + to_rest[0, 2]) * inverse - left
            v = (to_rest[1, 0] * x + to_rest[1, 1] * y + to_rest[1, 2]) * inverse - top
            if not (0.0 <= u < w - 1 and 0.0 <= v < h - 1):
                continue
            i, j = np.uint32(u), np.uint32(v)
            right, down = np.float32(u - i), np.float32(v - j)
            k, m = i + np.uint32(1), j + np.uint32(1)
            a, b = pixels[j, i], pixels[m, i]
            a, b = a + right * (pixels[j, k] - a), b + right * (pixels[m, k] - b)
            c, d = alpha[j, i], alpha[m, i]
            c, d = c + right * (alpha[j, k] - c), d + right * (alpha[m, k] - d)
            out[y, x] = out[y, x] * (np.float32(1) - (c + down * (d - c))) + (a + down * (b - a))


@njit(cache=True, nogil=True, error_model="numpy")
def floor_box(
    blobs: F64, R: F64, t: F64, K: F64, dist: F64, fold_r2: float, near: float, size: tuple[int, int]
) -> Box:
    """The pixels that discs on the floor can reach: (n, 4) x, z, radius and darkness; R, t world to camera.

    A disc lies inside the octagon around it, and its image inside that of the octagon (lens distortion bends
    the sides by less than the margin). If only a part of an octagon can be projected: the whole image.
    """
    H, W = size
    y0, y1, x0, x1 = H, 0, W, 0
    for n in range(blobs.shape[0]):
        seen = 0
        low_u, high_u, low_v, high_v = np.inf, -np.inf, np.inf, -np.inf
        reach = blobs[n, 2] * 1.0823922002923940  # 1 / cos(pi / 8)
        for corner in range(8):
            wx = blobs[n, 0] + reach * np.cos(corner * np.pi / 4)
            wz = blobs[n, 1] + reach * np.sin(corner * np.pi / 4)
            z = R[2, 0] * wx + R[2, 2] * wz + t[2]
            if z < near:
                continue
            x, y = (R[0, 0] * wx + R[0, 2] * wz + t[0]) / z, (R[1, 0] * wx + R[1, 2] * wz + t[1]) / z
            r2 = x * x + y * y
            if r2 >= fold_r2:
                continue
            seen += 1
            dx, dy = _distort(x, y, dist)
            u, v = K[0, 0] * dx + K[0, 1] * dy + K[0, 2], K[1, 1] * dy + K[1, 2]
            low_u, high_u = min(low_u, u), max(high_u, u)
            low_v, high_v = min(low_v, v), max(high_v, v)
        if seen == 0:
            continue
        if seen < 8:
            return 0, H, 0, W
        y0, y1 = min(y0, int(max(np.floor(low_v) - 1, 0.0))), max(y1, int(min(np.ceil(high_v) + 2, float(H))))
        x0, x1 = min(x0, int(max(np.floor(low_u) - 1, 0.0))), max(x1, int(min(np.ceil(high_u) + 2, float(W))))
    return y0, y1, x0, x1


@njit(cache=True, nogil=True)
def _distort(x: float, y: float, dist: F64) -> tuple[float, float]:
    k1, k2, p1, p2, k3 = dist[0], dist[1], dist[2], dist[3], dist[4]
    r2 = x * x + y * y
    radial = 1.0 + r2 * (k1 + r2 * (k2 + r2 * k3))
    return (
        x * radial + 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x),
        y * radial + p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y,
    )


@njit(cache=True, nogil=True, error_model="numpy")
def darken_floor(
    blobs: F64, R: F64, t: F64, K: F64, dist: F64, strength: float, box: Box, image: F32
) -> None:
    """Multiply `box` of `image` by 1 - strength * (1 - product over blobs of (1 - darkness (1 - d^2/r^2)^2)).

    d is the distance on the floor y = 0 between the point that a pixel sees and the blob's centre.
    """
    y0, y1, x0, x1 = box
    bent = False
    for n in range(5):
        bent |= dist[n] != 0.0
    # The camera's centre, -R^T t.
    ex = -(R[0, 0] * t[0] + R[1, 0] * t[1] + R[2, 0] * t[2])
    ey = -(R[0, 1] * t[0] + R[1, 1] * t[1] + R[2, 1] * t[2])
    ez = -(R[0, 2] * t[0] + R[1, 2] * t[1] + R[2, 2] * t[2])
    if ey <= 0.0:  # from below the floor hides everything, and there is no upper side to see
        return
    for y in range(y0, y1):
        seen_y = (y - K[1, 2]) / K[1, 1]
        offset_x, offset_y = 0.0, 0.0
        for x in range(x0, x1):
            seen_x = (x - K[0, 2] - K[0, 1] * seen_y) / K[0, 0]
            a, b = seen_x, seen_y
            if bent:  # the fixed point of a = seen - (distorted(a) - a), from that of the pixel to the left
                for _ in range(40 if x == x0 else 4):
                    a, b = seen_x - offset_x, seen_y - offset_y
                    da, db = _distort(a, b, dist)
                    offset_x, offset_y = da - a, db - b
                a, b = seen_x - offset_x, seen_y - offset_y
            down = R[0, 1] * a + R[1, 1] * b + R[2, 1]
            if not down < 0.0:  # the horizon and above
                continue
            distance = -ey / down
            wx = ex + distance * (R[0, 0] * a + R[1, 0] * b + R[2, 0])
            wz = ez + distance * (R[0, 2] * a + R[1, 2] * b + R[2, 2])
            lit = 1.0
            for n in range(blobs.shape[0]):
                dx, dz, r = wx - blobs[n, 0], wz - blobs[n, 1], blobs[n, 2]
                inside = 1.0 - (dx * dx + dz * dz) / (r * r)
                if inside > 0.0:
                    lit *= 1.0 - blobs[n, 3] * inside * inside
            image[y, x] *= np.float32(1.0 - strength * (1.0 - lit))
