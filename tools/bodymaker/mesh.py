"""Surface work: fairing, visibility, closing holes, decimation."""

from __future__ import annotations

import logging

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import splu

log = logging.getLogger("make_body")


def cotangent_laplacian(vertices: np.ndarray, faces: np.ndarray) -> sp.csr_matrix:
    """(V, V) cotangent Laplacian divided by vertex areas."""
    count = len(vertices)
    rows, cols, values = [], [], []
    area = np.zeros(count)
    for k in range(3):
        i, j, o = faces[:, k], faces[:, (k + 1) % 3], faces[:, (k + 2) % 3]
        a, b = vertices[i] - vertices[o], vertices[j] - vertices[o]
        cross = np.linalg.norm(np.cross(a, b), axis=1)
        cot = np.clip((a * b).sum(1) / np.maximum(cross, 1e-12), 0.02, 20) / 2
        rows += [i, j]
        cols += [j, i]
        values += [cot, cot]
        np.add.at(area, o, cross / 6)
    W = sp.csr_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(cols))), shape=(count, count)
    )
    L = sp.diags(np.asarray(W.sum(1)).ravel()) - W
    return (sp.diags(1 / np.maximum(area, 1e-12)) @ L).tocsr()


def fairing_map(vertices: np.ndarray, faces: np.ndarray, centres: list[int], radius: float) -> sp.csr_matrix:
    """Linear map that replaces a disc around each centre by its bi-Laplacian (minimal bending) patch."""
    L = cotangent_laplacian(vertices, faces)
    energy = (L @ L).tocsr()
    used = np.unique(faces)
    inside = np.zeros(len(vertices), bool)
    for centre in centres:
        inside[used[np.linalg.norm(vertices[used] - vertices[centre], axis=1) < radius]] = True
    free, fixed = np.nonzero(inside)[0], np.nonzero(~inside)[0]
    block = energy[free]
    solution = splu(block[:, free].tocsc()).solve(-block[:, fixed].toarray())
    solution[np.abs(solution) < 1e-9] = 0
    rows = sp.csr_matrix(solution)
    rows = sp.diags(1 / np.asarray(rows.sum(1)).ravel()) @ rows
    out = sp.eye(len(vertices), format="lil")
    out = (out - sp.diags(inside.astype(float))).tolil()
    out[free[:, None], fixed[None]] = rows.toarray()
    return out.tocsr()


def visible_faces(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(F,) True where any of four points of a face sees the sky in one of 642 directions."""
    import trimesh

    mesh = trimesh.Trimesh(vertices, faces, process=False)
    directions = trimesh.creation.icosphere(subdivisions=3).vertices
    normals, corners = mesh.face_normals, vertices[faces]
    centre = corners.mean(1)
    points = np.concatenate([centre[:, None], 0.8 * corners + 0.2 * centre[:, None]], 1)
    seen = np.zeros(len(faces), bool)
    for direction in directions:
        todo = np.nonzero(~seen & (normals @ direction > 0.02))[0]
        for k in range(4):
            origin = points[todo, k] + 1e-5 * normals[todo] + 1e-5 * direction
            hit = mesh.ray.intersects_any(origin, np.broadcast_to(direction, origin.shape))
            seen[todo[~hit]] = True
            todo = todo[hit]
    return seen


def barycentric_map(points: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> sp.csr_matrix:
    """(P, V) rows that express the closest surface points by the mesh's vertices."""
    import trimesh

    mesh = trimesh.Trimesh(vertices, faces, process=False)
    closest, distance, face = trimesh.proximity.closest_point(mesh, points)
    log.info("largest distance to the source surface: %.2f mm", distance.max() * 1e3)
    bary = np.clip(trimesh.triangles.points_to_barycentric(vertices[faces[face]], closest), 0, 1)
    bary /= bary.sum(1, keepdims=True)
    rows = np.repeat(np.arange(len(points)), 3)
    return sp.csr_matrix((bary.ravel(), (rows, faces[face].ravel())), shape=(len(points), len(vertices)))


def decimate(vertices: np.ndarray, faces: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    import fast_simplification

    used, compact = np.unique(faces, return_inverse=True)
    out, tri = fast_simplification.simplify(
        vertices[used], compact.reshape(-1, 3), target_count=count, agg=3.0, verbose=False
    )[:2]
    tri = tri[(tri[:, 0] != tri[:, 1]) & (tri[:, 1] != tri[:, 2]) & (tri[:, 2] != tri[:, 0])]
    # Two faces over the same three corners are a flap without volume; drop both.
    _, group, size = np.unique(np.sort(tri, axis=1), axis=0, return_inverse=True, return_counts=True)
    tri = tri[size[group.ravel()] == 1]
    used, compact = np.unique(tri, return_inverse=True)
    return np.asarray(out, float)[used], compact.reshape(-1, 3)


def face_normals(v: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(F, 3) normals of length twice the area."""
    tri = v[faces]
    return np.cross(tri[:, 1] - tri[:, 0], tri[:, 2] - tri[:, 0])


def boundary_loops(faces: np.ndarray) -> list[list[int]]:
    """Vertices along every hole, in the order that continues the surface's orientation; pinched loops are
    split."""
    half = {(int(a), int(b)) for a, b in faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)}
    follow: dict[int, list[int]] = {}
    for a, b in sorted(half):
        if (b, a) not in half:
            follow.setdefault(b, []).append(a)
    loops = []
    for start in sorted(follow):
        while follow[start]:
            path, here = [start], follow[start].pop()
            while True:
                if here in path:
                    cut = path.index(here)
                    loops.append(path[cut:])
                    path = path[: cut + 1]
                    if here == start:
                        break
                else:
                    path.append(here)
                here = follow[here].pop()
    return [loop for loop in loops if len(loop) > 2]


def fill_loop(loop: list[int], v: np.ndarray) -> list[list[int]]:
    """Triangles over a hole with least total area (Barequet and Sharir 1995)."""
    n, p = len(loop), v[loop]
    cost, best = np.zeros((n, n)), np.zeros((n, n), int)
    for gap in range(2, n):
        for i in range(n - gap):
            k, j = np.arange(i + 1, i + gap), i + gap
            area = np.linalg.norm(np.cross(p[k] - p[i], p[j] - p[i]), axis=1)
            total = cost[i, k] + cost[k, j] + area
            cost[i, j], best[i, j] = total.min(), k[total.argmin()]
    out, todo = [], [(0, n - 1)]
    while todo:
        i, j = todo.pop()
        if j - i > 1:
            k = int(best[i, j])
            out.append([loop[i], loop[k], loop[j]])
            todo += [(i, k), (k, j)]
    return out


def drop_small_pieces(faces: np.ndarray, least: int) -> np.ndarray:
    """Faces of connected pieces with more than `least` faces."""
    count = faces.max() + 1
    graph = sp.coo_matrix(
        (np.ones(2 * len(faces)), (faces[:, :2].T.ravel(), faces[:, 1:].T.ravel())), (count, count)
    )
    _, label = sp.csgraph.connected_components(graph, directed=False)
    sizes = np.bincount(label[faces[:, 0]])
    return faces[sizes[label[faces[:, 0]]] > least]
