"""Loose clothes: how far cloth stands off the skin, and the body that wears it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray

from eventhpe.body.garments import GarmentFields, Outfit
from eventhpe.body.kernels import vertex_normals
from eventhpe.body.landmarks import Landmarks
from eventhpe.body.patterns import Noise
from eventhpe.body.wardrobe import WardrobeRanges
from eventhpe.errors import ShapeError

F32 = NDArray[np.float32]

FADE_M = 0.05
"""Distance from a hem over which cloth comes back to the skin."""

CREASE_M = 0.11
"""Distance from armpit and crotch within which cloth lies closer, as there is no room for it."""

SMOOTHING = 30
"""Rounds of averaging over neighbours that take creases and folds of skin out of the normals."""


def draw_loose_offsets(
    rng: np.random.Generator, ranges: WardrobeRanges, arrays: Mapping[str, NDArray[Any]], outfit: Outfit
) -> F32:
    """(V,) float32 metres by which an outfit stands off the skin, along `outward_directions`.

    Trunk, upper arms and legs move where top or bottom covers them; hands, forearms, head, feet and bare skin
    stay. The offsets are low-frequency, fall smoothly to zero at hems, and leave the other limb its room.

    Args:
        rng: source of randomness; equal states give equal offsets.
        ranges: `looseness_m` and `looseness_scale_m` are used.
        arrays: body arrays in T-pose with `v_template`, `J_regressor` and `f`.
        outfit: what is worn, the same as in `draw_wardrobe`.
    """
    vertices = np.asarray(arrays["v_template"], np.float32)
    landmarks = Landmarks.of(arrays)
    worn = GarmentFields(landmarks, outfit)
    scale, amounts = float(rng.uniform(*ranges.looseness_scale_m)), rng.uniform(*ranges.looseness_m, size=2)
    folds = Noise.draw(rng, (scale, scale, scale)).at(vertices)
    top, bottom = worn.top(vertices), worn.bottom(vertices)
    # Deep inside both (a shirt over trousers) the looser one counts; at the border of two there is no jump.
    upper = _smoothstep((top - bottom) / FADE_M + 0.5)
    amount = amounts[1] + upper * (amounts[0] - amounts[1])
    room = _room(landmarks, worn, vertices, np.maximum(top, bottom))
    offsets = amount * room * (0.65 + 0.35 * folds)
    directions = outward_directions(arrays)
    # The other leg comes to meet the inner side of this one: a gap stays between the two.
    towards = -np.sign(vertices[:, 0]) * directions[:, 0]
    inner = (vertices[:, 1] < landmarks.crotch_y) & (towards > 0)
    limit = 0.45 * np.abs(vertices[:, 0]) / np.maximum(towards, 1e-3)
    return np.where(inner, np.minimum(offsets, limit), offsets).astype(np.float32)


def outward_directions(arrays: Mapping[str, NDArray[Any]]) -> F32:
    """(V, 3) unit vectors off the template's skin: vertex normals, smoothed so that neighbours do not cross.

    Read-only; the last few bodies are remembered by their content.
    """
    vertices, faces = np.asarray(arrays["v_template"], np.float32), np.asarray(arrays["f"], np.int32)
    return _smooth_normals(vertices.tobytes(), faces.tobytes())


@lru_cache(maxsize=4)
def _smooth_normals(vertex_bytes: bytes, face_bytes: bytes) -> F32:
    vertices = np.frombuffer(vertex_bytes, np.float32).reshape(-1, 3)
    faces = np.frombuffer(face_bytes, np.int32).reshape(-1, 3)
    normals: F32 = vertex_normals(vertices, faces)
    ends = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    start, end = np.concatenate([ends, ends[:, ::-1]]).T
    count = len(vertices)
    links = scipy.sparse.csr_matrix((np.ones(len(start), np.float32), (start, end)), shape=(count, count))
    links.sum_duplicates()
    links.data[:] = 1.0  # an edge counts once, however many faces share it
    links += scipy.sparse.identity(count, np.float32, "csr")
    for _ in range(SMOOTHING):
        normals = links @ normals
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    normals.setflags(write=False)
    return normals


def offset_vectors(arrays: Mapping[str, NDArray[Any]], offsets: ArrayLike) -> F32:
    """(V, 3) float32 metres for `BodyPoser(..., offsets=...)` from (V,) offsets along the outward directions.

    Raises:
        ShapeError: not one offset per vertex.
    """
    amount = np.asarray(offsets, np.float32)
    if amount.shape != (len(arrays["v_template"]),):
        raise ShapeError(f"offsets must be (V,) = ({len(arrays['v_template'])},); got {amount.shape}.")
    return amount[:, None] * outward_directions(arrays)


def _room(landmarks: Landmarks, worn: GarmentFields, vertices: F32, cover: F32) -> F32:
    """(V,) float32 in [0, 1]: how freely cloth may stand off, given the depth below the nearest hem."""
    x, y, _ = np.abs(vertices[:, 0]), vertices[:, 1], vertices[:, 2]
    elbow, neck, ankle = (landmarks.joint(name) for name in ("elbow_left", "neck", "ankle_left"))
    inside = np.minimum(cover, np.float32(elbow[0]) - x)
    inside = np.minimum(inside, np.float32(neck[1]) - y)
    inside = np.minimum(inside, y - np.float32(ankle[1]))
    inside = np.minimum(inside, -np.maximum(worn.shoes(vertices), worn.soles(vertices)))
    shoulder = landmarks.joint("shoulder_left")
    creases = ((shoulder[0], shoulder[1] - 1.2 * landmarks.arm_radius), (0.0, landmarks.crotch_y))
    room = _smoothstep(inside / FADE_M)
    # Sleeves hang closer than the trunk's cloth, the more so towards the elbow.
    room *= 1 - _smoothstep((x - np.float32(shoulder[0])) / np.float32(elbow[0] - shoulder[0])) * 0.8
    for across, height in creases:
        room *= _smoothstep(np.hypot(x - np.float32(across), y - np.float32(height)) / CREASE_M)
    return room


def _smoothstep(value: F32) -> F32:
    part = np.clip(value, 0, 1)
    return part * part * (3 - 2 * part)
