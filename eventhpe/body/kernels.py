"""Numba kernels for posing one body at a time, and vertex normals."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def forward_kinematics(
    pose: NDArray[Any], rest: NDArray[Any], parents: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Rodrigues' formula and the kinematic chain in float64.

    Args:
        pose: (J, 3) rotation vectors; rest: (J, 3) rest joints; parents: (J,) with -1 for the root.
    Returns:
        local rotations minus identity (J, 9), skinning matrices (J, 12) as [R | t - R j] by rows, joints (J,
        3).
    """
    count = pose.shape[0]
    feature = np.zeros((count, 9))
    skin = np.zeros((count, 12))
    joints = np.zeros((count, 3))
    world = np.zeros((count, 3, 3))
    local = np.zeros((3, 3))
    for j in range(count):
        x, y, z = pose[j, 0], pose[j, 1], pose[j, 2]
        square = x * x + y * y + z * z
        if square < 1e-12:  # series of sin(a)/a and (1 - cos(a))/a^2
            s, c = 1.0 - square / 6.0, 0.5 - square / 24.0
        else:
            angle = np.sqrt(square)
            half = np.sin(0.5 * angle)
            s, c = np.sin(angle) / angle, 2.0 * half * half / square
        feature[j, 0], feature[j, 1], feature[j, 2] = (
            -c * (y * y + z * z),
            c * x * y - s * z,
            c * x * z + s * y,
        )
        feature[j, 3], feature[j, 4], feature[j, 5] = (
            c * x * y + s * z,
            -c * (x * x + z * z),
            c * y * z - s * x,
        )
        feature[j, 6], feature[j, 7], feature[j, 8] = (
            c * x * z - s * y,
            c * y * z + s * x,
            -c * (x * x + y * y),
        )
        for a in range(3):
            for b in range(3):
                local[a, b] = feature[j, 3 * a + b] + (1.0 if a == b else 0.0)
        p = parents[j]
        if p < 0:
            world[j] = local
            joints[j] = rest[j]
        else:
            for a in range(3):
                total = joints[p, a]
                for b in range(3):
                    total += world[p, a, b] * (rest[j, b] - rest[p, b])
                    world[j, a, b] = (
                        world[p, a, 0] * local[0, b]
                        + world[p, a, 1] * local[1, b]
                        + world[p, a, 2] * local[2, b]
                    )
                joints[j, a] = total
        for a in range(3):
            shift = joints[j, a]
            for b in range(3):
                skin[j, 4 * a + b] = world[j, a, b]
                shift -= world[j, a, b] * rest[j, b]
            skin[j, 4 * a + 3] = shift
    return feature, skin, joints


@njit(cache=True, nogil=True)
def add_pose_offsets(
    shaped: NDArray[Any],
    start: NDArray[Any],
    block_joint: NDArray[Any],
    blocks: NDArray[Any],
    feature: NDArray[Any],
) -> NDArray[Any]:
    """Shaped vertices plus sparse pose blend shapes.

    Args:
        shaped: (V, 3); start: (V + 1,) where the blocks of each vertex begin; block_joint: (N,) joint of a
            block;
        blocks: (N, 9, 3) coefficients; feature: (J, 9) rotations minus identity, same dtype as blocks.
    Returns:
        (V, 3) float32.
    """
    out = np.empty_like(shaped)
    for i in range(shaped.shape[0]):
        x, y, z = shaped[i, 0], shaped[i, 1], shaped[i, 2]
        for n in range(start[i], start[i + 1]):
            j = block_joint[n]
            for k in range(9):
                f = feature[j, k]
                x += f * blocks[n, k, 0]
                y += f * blocks[n, k, 1]
                z += f * blocks[n, k, 2]
        out[i, 0], out[i, 1], out[i, 2] = x, y, z
    return out


@njit(cache=True, nogil=True)
def skin_vertices(
    rest: NDArray[Any],
    weight_joint: NDArray[Any],
    weights: NDArray[Any],
    skin: NDArray[Any],
    transl: NDArray[Any],
) -> NDArray[Any]:
    """Linear blend skinning.

    Args:
        rest: (V, 3) float32; weight_joint, weights: (V, K), largest first, zeros at the end;
        skin: (J, 12) float32 matrices by rows; transl: (3,) float32.
    Returns:
        (V, 3) float32.
    """
    out = np.empty_like(rest)
    most = weights.shape[1]
    for i in range(rest.shape[0]):
        x, y, z = rest[i, 0], rest[i, 1], rest[i, 2]
        px, py, pz = transl[0], transl[1], transl[2]
        for k in range(most):
            w = weights[i, k]
            if w == 0:
                break
            j = weight_joint[i, k]
            px += w * (skin[j, 0] * x + skin[j, 1] * y + skin[j, 2] * z + skin[j, 3])
            py += w * (skin[j, 4] * x + skin[j, 5] * y + skin[j, 6] * z + skin[j, 7])
            pz += w * (skin[j, 8] * x + skin[j, 9] * y + skin[j, 10] * z + skin[j, 11])
        out[i, 0], out[i, 1], out[i, 2] = px, py, pz
    return out


@njit(cache=True, nogil=True)
def vertex_normals(vertices: NDArray[Any], faces: NDArray[Any]) -> NDArray[Any]:
    """Unit normals (V, 3) float32, faces weighted by area; zero for a vertex without area.

    Args:
        vertices: (V, 3); faces: (F, 3), counter-clockwise seen from outside.
    """
    out = np.zeros((vertices.shape[0], 3), np.float32)
    for n in range(faces.shape[0]):
        a, b, c = faces[n, 0], faces[n, 1], faces[n, 2]
        ux, uy, uz = (
            vertices[b, 0] - vertices[a, 0],
            vertices[b, 1] - vertices[a, 1],
            vertices[b, 2] - vertices[a, 2],
        )
        vx, vy, vz = (
            vertices[c, 0] - vertices[a, 0],
            vertices[c, 1] - vertices[a, 1],
            vertices[c, 2] - vertices[a, 2],
        )
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for i in (a, b, c):
            out[i, 0] += nx
            out[i, 1] += ny
            out[i, 2] += nz
    for i in range(out.shape[0]):
        length = np.sqrt(out[i, 0] * out[i, 0] + out[i, 1] * out[i, 1] + out[i, 2] * out[i, 2])
        if length > 0:
            out[i, 0] /= length
            out[i, 1] /= length
            out[i, 2] /= length
    return out
