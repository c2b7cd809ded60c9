"""Fits over many people and poses: shape space, joint regressor, pose correctives."""

from __future__ import annotations

import logging

import numpy as np
import scipy.sparse as sp
from scipy.optimize import nnls

from bodymaker.rig import PARENTS, repose, unit
from eventhpe.geometry.rotation import rotvec_to_rotmat
from eventhpe.geometry.skeleton import SMPL_SKELETON

log = logging.getLogger("make_body")


def fit_regressor(
    vertices: np.ndarray, joints: np.ndarray, usable: np.ndarray, near: int = 400
) -> np.ndarray:
    """(24, V) non-negative rows summing to one with R @ vertices ~ joints over S people.

    Args:
        vertices: (S, V, 3); joints: (S, 24, 3); usable: (V,) vertices that may take part.
    """
    rows = np.zeros((24, vertices.shape[1]))
    mean_v, mean_j = vertices.mean(0), joints.mean(0)
    ids = np.nonzero(usable)[0]
    for j in range(24):
        pick = ids[np.argsort(np.linalg.norm(mean_v[ids] - mean_j[j], axis=1), kind="stable")[:near]]
        A = vertices[:, pick].transpose(0, 2, 1).reshape(-1, near)
        A = np.concatenate([A, np.full((1, near), 30.0)])
        weight, _ = nnls(A, np.append(joints[:, j].ravel(), 30.0), maxiter=20 * near)
        weight[weight < 1e-4] = 0
        rows[j, pick] = weight / weight.sum()
    error = np.linalg.norm(np.einsum("jv,svc->sjc", rows, vertices) - joints, axis=-1).mean(0) * 1e3
    log.info("joint regressor, mean error mm: %s", np.round(error, 1))
    return rows


RANGES: dict[str, tuple[tuple[float, float], ...]] = {
    "hip": ((-2.0, 0.6), (-0.6, 0.6), (-0.5, 0.9)), "knee": ((0.0, 2.4), (-0.1, 0.1), (-0.1, 0.1)),
    "ankle": ((-0.6, 0.8), (-0.3, 0.3), (-0.3, 0.3)), "foot": ((-0.7, 0.4), (-0.1, 0.1), (-0.1, 0.1)),
    "spine": ((-0.4, 0.6), (-0.5, 0.5), (-0.4, 0.4)), "neck": ((-0.6, 0.6), (-0.7, 0.7), (-0.5, 0.5)),
    "head": ((-0.5, 0.5), (-0.6, 0.6), (-0.4, 0.4)), "collar": ((-0.2, 0.2), (-0.4, 0.4), (-0.3, 0.5)),
    "shoulder": ((-0.9, 0.9), (-1.6, 0.7), (-1.5, 1.3)), "elbow": ((-0.7, 0.7), (-2.5, 0.1), (-0.2, 0.2)),
    "wrist": ((-0.6, 0.6), (-0.5, 0.5), (-1.1, 1.1)), "hand": ((-0.2, 0.2), (-0.2, 0.2), (-1.2, 0.4)),
}  # fmt: skip
"""Rotation vectors of the left side (radians) over which pose correctives are fitted; the right side mirrors
y and z."""


class DeltaMush:
    """Smooth, then add back the rest pose's detail in local frames (Mancewicz et al. 2014)."""

    def __init__(self, rest: np.ndarray, faces: np.ndarray, steps: int = 10) -> None:
        count = len(rest)
        i = faces[:, [0, 1, 2, 1, 2, 0]].ravel()
        j = faces[:, [1, 2, 0, 0, 1, 2]].ravel()
        adjacency = sp.csr_matrix((np.ones(len(i)), (i, j)), shape=(count, count))
        adjacency.data[:] = 1
        self.average = (
            0.5 * sp.eye(count) + 0.5 * sp.diags(1 / np.asarray(adjacency.sum(1)).ravel()) @ adjacency
        )
        self.faces, self.steps = faces, steps
        smooth = self.smooth(rest)
        length = adjacency.tocoo()
        apart = np.linalg.norm(smooth[length.row] - smooth[length.col], axis=1)
        order = np.lexsort((apart, length.row))  # the farthest neighbour gives the steadiest tangent
        self.neighbour = length.col[order[np.cumsum(np.bincount(length.row, minlength=count)) - 1]]
        self.detail = np.einsum("vab,va->vb", self.frames(smooth), rest - smooth)

    def smooth(self, v: np.ndarray) -> np.ndarray:
        for _ in range(self.steps):
            v = self.average @ v
        return v

    def frames(self, v: np.ndarray) -> np.ndarray:
        tri = v[self.faces]
        cross = np.cross(tri[:, 1] - tri[:, 0], tri[:, 2] - tri[:, 0])
        normal = np.zeros_like(v)
        for k in range(3):
            np.add.at(normal, self.faces[:, k], cross)
        n = unit(normal + 1e-12)
        t = v[self.neighbour] - v
        t = unit(t - (t * n).sum(1, keepdims=True) * n + 1e-12)
        return np.stack([t, np.cross(n, t), n], -1)

    def __call__(self, v: np.ndarray) -> np.ndarray:
        smooth = self.smooth(v)
        return smooth + np.einsum("vab,vb->va", self.frames(smooth), self.detail)


def fit_posedirs(
    rest: np.ndarray, faces: np.ndarray, weights: np.ndarray, joints: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(V, 3, 207) linear pose correctives in the entries of R - I, fitted to delta mush of the skinned
    mesh."""
    mush = DeltaMush(rest, faces)
    posedirs = np.zeros((len(rest), 3, 207))
    for j in range(1, 24):
        name = SMPL_SKELETON.joints[j]
        stem = "spine" if name.startswith("spine") else name.split("_")[0]
        low, high = np.array(RANGES[stem]).T
        rotvec = rng.uniform(low, high, (48, 3))
        if name.endswith("right"):
            rotvec *= [1, -1, -1]
        children = [j]
        for k in range(j + 1, 24):
            if PARENTS[k] in children:
                children.append(k)
        features, corrections = [], []
        for R in rotvec_to_rotmat(rotvec):
            world = np.tile(np.eye(3), (24, 1, 1))
            world[children] = R
            posed, _ = repose(rest, joints, weights, world)
            blended = (weights @ world.reshape(24, 9)).reshape(-1, 3, 3)
            corrections.append(np.linalg.solve(blended, (mush(posed) - posed)[..., None])[..., 0])
            features.append((R - np.eye(3)).ravel())
        X, Y = np.array(features), np.array(corrections).reshape(48, -1)
        solution = np.linalg.solve(X.T @ X + 0.05 * np.eye(9), X.T @ Y)
        solution = solution.reshape(9, -1, 3).transpose(1, 0, 2).reshape(len(rest), 27)
        for _ in range(3):  # correctives are smooth; noise of thin triangles is not
            solution = mush.average @ solution
        solution = solution.reshape(-1, 9, 3).transpose(1, 0, 2).reshape(9, -1)
        fitted = (X @ solution).reshape(48, -1, 3)
        strength = np.linalg.norm(fitted, axis=-1).max(0)
        fade = np.clip((strength - 0.6e-3) / 1.0e-3, 0, 1)[
            None, :, None
        ]  # nothing below 0.6 mm, all above 1.6 mm
        posedirs[:, :, 9 * (j - 1) : 9 * j] = (solution.reshape(9, -1, 3) * fade).transpose(1, 2, 0)
    posedirs[np.abs(posedirs) < 1e-4] = 0
    return posedirs


def principal_components(people: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Mean (V, 3), unit-variance components (V, 3, count), coefficients (S, count) and the rms rest in
    metres."""
    samples = len(people)
    mean = people.mean(0, dtype=np.float64)
    flat = (people - mean.astype(np.float32)).reshape(samples, -1)
    values, vectors = np.linalg.eigh((flat @ flat.T).astype(np.float64))
    values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
    directions = (flat.T @ vectors.astype(np.float32)).astype(np.float64)  # column norms are sqrt(values)
    directions /= np.sqrt(samples)
    taller = directions.reshape(-1, 3, count)
    taller = np.sign(taller[mean[:, 1].argmax(), 1] - taller[mean[:, 1].argmin(), 1])
    total = float((flat.astype(np.float64) ** 2).sum())
    rest = np.sqrt(max(total - values.sum(), 0) / (samples * people.shape[1]))
    log.info("share of variance: %s", np.round(np.cumsum(values) / total, 4))
    return mean, (directions * taller).reshape(-1, 3, count), vectors * taller * np.sqrt(samples), float(rest)
