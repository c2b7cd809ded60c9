"""Regions of clothing as smooth fields, with mesh edges along their borders."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bodymaker.mesh import face_normals
from bodymaker.rig import J, unit
from eventhpe.geometry.skeleton import SMPL_SKELETON


@dataclass
class Garments:
    """Smooth scalar fields over the rest pose, in metres; borders of clothing are their zero lines."""

    joints: np.ndarray

    names = ("waist", "sleeve", "neck", "ankle", "hair")

    def fields(self, v: np.ndarray) -> np.ndarray:
        """(V, 5): above the waist, inside the sleeve, outside the neck opening, above the shoe, under the
        hair."""
        at = {name: self.joints[J[name]] for name in SMPL_SKELETON.joints}
        x, y, z = v.T
        waist = y - (at["spine1"][1] - 0.035)
        sleeve = 0.65 * at["elbow_left"][0] + 0.35 * at["shoulder_left"][0] - np.abs(x)
        neck_centre = at["neck"] + [0, 0.055, 0.02]
        neck = np.linalg.norm((v - neck_centre) * [1.0, 1.0, 0.8], axis=1) - 0.098
        neck = np.where(y > at["neck"][1] + 0.05, -0.05, neck)  # the head is outside the shirt altogether
        ankle = y - (at["ankle_left"][1] + 0.035)
        hair_line = at["head"][1] + 0.06 + 0.75 * (z - at["head"][2])
        hair = np.where(y > at["neck"][1], (y - hair_line) * 0.8, -0.3)
        return np.stack([waist, sleeve, neck, ankle, hair], 1)

    def border(self, v: np.ndarray, name: str) -> np.ndarray:
        """(V,) one field."""
        return self.fields(v)[:, self.names.index(name)]


REGIONS = ("skin", "shirt", "trousers", "shoes", "hair", "eyes")


def regions_of(fields: np.ndarray, eyes: np.ndarray) -> np.ndarray:
    """Region index per row of fields."""
    waist, sleeve, neck, ankle, hair = fields.T
    region = np.zeros(len(fields), np.uint8)
    region[(waist >= 0) & (sleeve >= 0) & (neck >= 0)] = REGIONS.index("shirt")
    region[(waist < 0) & (ankle >= 0)] = REGIONS.index("trousers")
    region[ankle < 0] = REGIONS.index("shoes")
    region[hair > 0] = REGIONS.index("hair")
    region[eyes] = REGIONS.index("eyes")
    return region


def crossings(value: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges (E, 2) that a zero line crosses and where along them, from the first end."""
    a, b = edges.T
    cross = value[a] * value[b] < 0
    a, b = a[cross], b[cross]
    return edges[cross], value[a] / (value[a] - value[b])


def cut_along_borders(v: np.ndarray, faces: np.ndarray, garments: Garments) -> tuple[np.ndarray, np.ndarray]:
    """Make the zero lines of all fields follow mesh edges, so that borders of clothing are crisp.

    Vertices close to a line slide onto it along an edge unless that would bend the surface; the edges that
    still cross are split.
    """
    for name in garments.names:
        edges = np.unique(np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)
        value = garments.border(v, name)
        crossing, t = crossings(value, edges)
        share, vertex = np.minimum(t, 1 - t), np.where(t > 0.5, crossing[:, 1], crossing[:, 0])
        point = v[crossing[:, 0]] + t[:, None] * (v[crossing[:, 1]] - v[crossing[:, 0]])
        moved = v.copy()
        for i in np.lexsort((share, vertex))[::-1]:  # the smallest move of each vertex is written last
            if share[i] < 0.3 and np.linalg.norm(point[i] - v[vertex[i]]) < 4e-3:
                moved[vertex[i]] = point[i]
        before = face_normals(v, faces)
        while True:
            after = face_normals(moved, faces)
            bad = ((unit(before + 1e-15) * unit(after + 1e-15)).sum(1) < 0.95) | (
                np.linalg.norm(after, axis=1) < 0.2 * np.linalg.norm(before, axis=1)
            )
            guilty = np.unique(faces[bad])
            guilty = guilty[(moved[guilty] != v[guilty]).any(1)]
            if len(guilty) == 0:
                break
            moved[guilty] = v[guilty]
        value = garments.border(moved, name)
        value[(moved != v).any(1)] = 0
        crossing, t = crossings(value, edges)
        middle = {(int(a), int(b)): len(v) + k for k, (a, b) in enumerate(crossing)}
        point = moved[crossing[:, 0]] + t[:, None] * (moved[crossing[:, 1]] - moved[crossing[:, 0]])
        faces = np.array([tri for face in faces.tolist() for tri in split_face(face, middle)])
        v = np.concatenate([moved, point])
    return v, faces


def split_face(face: list[int], middle: dict[tuple[int, int], int]) -> list[list[int]]:
    """A triangle cut at the new vertices on its edges (none, one or two of them)."""
    on = [middle.get((min(p, q), max(p, q))) for p, q in zip(face, face[1:] + face[:1], strict=True)]
    cut = [k for k in range(3) if on[k] is not None]
    if not cut:
        return [face]
    if len(cut) == 1:
        k = cut[0]
        a, b, c, m = face[k], face[(k + 1) % 3], face[(k + 2) % 3], on[k]
        return [[a, m, c], [m, b, c]]
    k = next(k for k in range(3) if on[k] is None)  # the uncut edge is a-b; the tip c stands alone
    a, b, c, bc, ca = face[k], face[(k + 1) % 3], face[(k + 2) % 3], on[(k + 1) % 3], on[(k + 2) % 3]
    return [[a, b, bc], [a, bc, ca], [ca, bc, c]]
