"""Numba kernels of forward kinematics and its gradient, from rotation vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, nogil=True)
def _rotation(x: float, y: float, z: float, out: NDArray[Any]) -> None:
    """Rotation vector to matrix (Rodrigues)."""
    square = x * x + y * y + z * z
    if square < 1e-8:
        a, b = 1.0 - square / 6.0, 0.5 - square / 24.0
    else:
        angle = np.sqrt(square)
        a, b = np.sin(angle) / angle, (1.0 - np.cos(angle)) / square
    out[0, 0] = 1.0 - b * (y * y + z * z)
    out[0, 1] = b * x * y - a * z
    out[0, 2] = b * x * z + a * y
    out[1, 0] = b * x * y + a * z
    out[1, 1] = 1.0 - b * (x * x + z * z)
    out[1, 2] = b * y * z - a * x
    out[2, 0] = b * x * z - a * y
    out[2, 1] = b * y * z + a * x
    out[2, 2] = 1.0 - b * (x * x + y * y)


@njit(cache=True, nogil=True)
def _to_rotvec_gradient(
    x: float, y: float, z: float, p: float, q: float, r: float, out: NDArray[Any]
) -> None:
    """Transposed right Jacobian of the exponential map at (x, y, z), applied to (p, q, r).

    J_r(v) = I - b [v] + c [v]^2 with b = (1 - cos) / angle^2, c = (angle - sin) / angle^3 (Chirikjian 2012).
    """
    square = x * x + y * y + z * z
    if square < 1e-6:
        b, c = 0.5 - square / 24.0, 1.0 / 6.0 - square / 120.0
    else:
        angle = np.sqrt(square)
        b, c = (1.0 - np.cos(angle)) / square, (angle - np.sin(angle)) / (square * angle)
    u, v, w = y * r - z * q, z * p - x * r, x * q - y * p
    out[0] = p + b * u + c * (y * w - z * v)
    out[1] = q + b * v + c * (z * u - x * w)
    out[2] = r + b * w + c * (x * v - y * u)


@njit(cache=True, nogil=True)
def forward_chain(
    pose: NDArray[Any],
    base: NDArray[Any],
    transl: NDArray[Any],
    rest: NDArray[Any],
    parents: NDArray[Any],
    local: NDArray[Any],
    world: NDArray[Any],
    joints: NDArray[Any],
) -> None:
    """Positions and rotations along the tree; parents come before their children.

    Args:
        pose: (T, K, 3) rotation vectors relative to the parent; the root turns by base times its own.
        base: (T, 3, 3) rotation of the root that its rotation vector adds to.
        transl: (T, 3); the root stands at rest[0] + transl.
        rest: (K, 3) joints of the rest pose.
        parents: (K,) int64, -1 for the root.
        local, world: (T, K, 3, 3) written: rotations relative to the parent (the root's without base) and
            from the rest frame.
        joints: (T, K, 3) written.
    """
    T, K = pose.shape[:2]
    for t in range(T):
        for k in range(K):
            _rotation(pose[t, k, 0], pose[t, k, 1], pose[t, k, 2], local[t, k])
            parent = parents[k]
            for i in range(3):
                if parent < 0:
                    joints[t, k, i] = rest[k, i] + transl[t, i]
                    for j in range(3):
                        total = 0.0
                        for m in range(3):
                            total += base[t, i, m] * local[t, k, m, j]
                        world[t, k, i, j] = total
                else:
                    place = joints[t, parent, i]
                    for m in range(3):
                        place += world[t, parent, i, m] * (rest[k, m] - rest[parent, m])
                    joints[t, k, i] = place
                    for j in range(3):
                        total = 0.0
                        for m in range(3):
                            total += world[t, parent, i, m] * local[t, k, m, j]
                        world[t, k, i, j] = total


@njit(cache=True, nogil=True)
def backward_chain(
    pose: NDArray[Any],
    base: NDArray[Any],
    rest: NDArray[Any],
    parents: NDArray[Any],
    local: NDArray[Any],
    world: NDArray[Any],
    to_world: NDArray[Any],
    to_joints: NDArray[Any],
    to_pose: NDArray[Any],
    to_transl: NDArray[Any],
    to_rest: NDArray[Any],
) -> None:
    """Gradient of `forward_chain`.

    Args:
        pose, base, rest, parents, local, world: as taken and written by `forward_chain`.
        to_world, to_joints: (T, K, 3, 3) and (T, K, 3) gradients of its results; used up as scratch.
        to_pose, to_transl, to_rest: (T, K, 3), (T, 3) and (K, 3) written.
    """
    T, K = pose.shape[:2]
    to_rest[:] = 0.0
    turn = np.empty((3, 3))
    axis = np.empty(3)
    for t in range(T):
        for k in range(K - 1, -1, -1):
            parent = parents[k]
            for i in range(3):
                for j in range(3):
                    total = 0.0
                    for m in range(3):
                        above = base[t, m, i] if parent < 0 else world[t, parent, m, i]
                        total += above * to_world[t, k, m, j]
                    turn[i, j] = total  # gradient of the local rotation
            # along R [w]: the part of R^T turn that turns
            for i in range(3):
                a, b = (i + 1) % 3, (i + 2) % 3
                total = 0.0
                for m in range(3):
                    total += local[t, k, m, b] * turn[m, a] - local[t, k, m, a] * turn[m, b]
                axis[i] = total
            _to_rotvec_gradient(
                pose[t, k, 0], pose[t, k, 1], pose[t, k, 2], axis[0], axis[1], axis[2], to_pose[t, k]
            )
            if parent < 0:
                for i in range(3):
                    to_transl[t, i] = to_joints[t, k, i]
                    to_rest[k, i] += to_joints[t, k, i]
                continue
            for i in range(3):
                total = 0.0
                for m in range(3):
                    total += world[t, parent, m, i] * to_joints[t, k, m]
                to_rest[k, i] += total
                to_rest[parent, i] -= total
                to_joints[t, parent, i] += to_joints[t, k, i]
                for j in range(3):
                    total = to_joints[t, k, i] * (rest[k, j] - rest[parent, j])
                    for m in range(3):
                        total += to_world[t, k, i, m] * local[t, k, j, m]
                    to_world[t, parent, i, j] += total
