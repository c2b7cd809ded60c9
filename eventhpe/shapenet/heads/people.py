"""People found in an image: joints, confidences and boxes (NumPy only)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import ShapeError


class People(NamedTuple):
    """P people in one image, the most certain first.

    Attributes:
        uv: (P, J, 2) float32 pixels, pixel centres at integers; NaN where a joint was not found.
        confidence: (P, J) float32 in [0, 1]; 0 where a joint was not found.
        score: (P,) float32 in [0, 1], mean confidence over all joints before missing ones were filled in.
        box: (P, 4) float32 x0, y0, x1, y1 pixels, inside the image.
    """

    uv: NDArray[np.float32]
    confidence: NDArray[np.float32]
    score: NDArray[np.float32]
    box: NDArray[np.float32]


def nobody(joints: int) -> People:
    """An image without people."""
    return People(
        np.zeros((0, joints, 2), np.float32),
        np.zeros((0, joints), np.float32),
        np.zeros(0, np.float32),
        np.zeros((0, 4), np.float32),
    )


def found_joints(uv: NDArray[np.floating]) -> NDArray[np.bool_]:
    """(*, J, 2) to (*, J): whether there is a place at all."""
    return np.asarray(np.isfinite(uv).all(-1))


def joint_boxes(
    uv: NDArray[np.float32],
    confidence: NDArray[np.float32],
    *,
    size: tuple[int, int],
    least: float = 0.0,
    margin: float = 0.15,
) -> NDArray[np.float32]:
    """Box around each person's joints.

    Args:
        uv: (P, J, 2) pixels.
        confidence: (P, J).
        size: (H, W) of the image, to which boxes are clipped.
        least: only joints above this confidence count.
        margin: added on each side, as a share of the joints' longer extent; joints lie inside the body.
    Returns:
        (P, 4) float32 x0, y0, x1, y1; NaN for a person of whom no joint counts.
    Raises:
        ShapeError: shapes that do not fit.
    """
    if uv.ndim != 3 or uv.shape[2] != 2 or confidence.shape != uv.shape[:2]:
        raise ShapeError(
            f"uv must be (P, J, 2) and confidence (P, J); got {uv.shape} and {confidence.shape}."
        )
    counts = (confidence > least) & found_joints(uv)
    low = np.where(counts[..., None], uv, np.inf).min(1, initial=np.inf)
    high = np.where(counts[..., None], uv, -np.inf).max(1, initial=-np.inf)
    seen = counts.any(1, keepdims=True)
    low, high = np.where(seen, low, np.nan), np.where(seen, high, np.nan)
    pad = margin * (high - low).max(-1, keepdims=True)
    limit = np.array([size[1] - 1, size[0] - 1])
    return np.concatenate([np.clip(low - pad, 0, limit), np.clip(high + pad, 0, limit)], -1).astype(
        np.float32
    )


def box_iou(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """(P, 4) and (Q, 4) boxes x0, y0, x1, y1 to (P, Q) intersection over union; 0 for boxes without area."""
    a, b = np.asarray(a, np.float64)[:, None], np.asarray(b, np.float64)[None]
    shared = _area(
        np.concatenate([np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])], -1)
    )
    both = _area(a) + _area(b) - shared
    return np.divide(shared, both, out=np.zeros_like(shared), where=both > 0)


def best_overlaps(true: NDArray[np.floating], found: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N, 4) and (M, 4) boxes to the best intersection over union (N,) of each true one.

    A found box meets one of them only, the better matches first.
    """
    iou = box_iou(true, found)
    best = np.zeros(len(true))
    while iou.size and iou.max() > 0:
        i, k = np.unravel_index(int(iou.argmax()), iou.shape)
        best[i] = iou[i, k]
        iou[i], iou[:, k] = 0, 0
    return best


def keypoint_similarity(
    uv_a: NDArray[np.floating],
    uv_b: NDArray[np.floating],
    known: NDArray[np.bool_],
    *,
    area: NDArray[np.floating],
    falloff: float = 0.2,
) -> NDArray[np.float64]:
    """Object keypoint similarity (COCO) with one constant for all joints.

    Args:
        uv_a: (P, J, 2) pixels.
        uv_b: (Q, J, 2) pixels.
        known: (P, Q, J) joints to compare.
        area: (P, Q) of the people, px^2.
        falloff: k of COCO, twice its sigma (0.05 eyes, 0.16 shoulders, 0.21 hips).
    Returns:
        (P, Q) mean over the joints of exp(-d^2 / (2 area k^2)); 0 where none is known.
    """
    d2 = ((np.asarray(uv_a, np.float64)[:, None] - np.asarray(uv_b, np.float64)[None]) ** 2).sum(-1)
    scale = 2 * np.maximum(area, 1.0)[..., None] * falloff**2
    similar = np.where(known, np.exp(-np.where(known, d2, 0.0) / scale), 0.0)
    return similar.sum(-1) / np.maximum(known.sum(-1), 1)


def without_repetitions(people: People, *, similar: float = 0.5) -> People:
    """Drop people whose joints nearly are those of a more certain one.

    Tags that hardly part people, and joints that are filled in from the same peaks, make one body twice. Not
    part of the published method.

    Args:
        people: the most certain first.
        similar: keypoint similarity over the joints of both, relative to the smaller one's area, from which
            on two are the same.
    """
    there = found_joints(people.uv)
    both = there[:, None] & there[None]
    area = np.maximum(_area(people.box.astype(np.float64)), 1.0)
    smaller = np.minimum(area[:, None], area[None])
    same = keypoint_similarity(people.uv, people.uv, both, area=smaller) >= similar
    kept: list[int] = []
    for p in range(len(people.score)):
        if not same[p, kept].any():
            kept.append(p)
    return People(*(values[kept] for values in people))


def _area(box: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(box[..., 2] - box[..., 0], 0) * np.maximum(box[..., 3] - box[..., 1], 0)
