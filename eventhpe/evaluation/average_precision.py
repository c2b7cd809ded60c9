"""Average precision of people found in images, by object keypoint similarity (COCO)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import ShapeError
from eventhpe.shapenet.heads.people import People, found_joints, keypoint_similarity

THRESHOLDS = tuple(np.round(np.arange(0.5, 0.96, 0.05), 2))
RECALLS = np.linspace(0, 1, 101)
FALLOFF = 0.2
"""COCO's constant k, the same for all joints; its hips have 0.21, shoulders 0.16, ankles 0.18."""


class TruePeople(NamedTuple):
    """Q people of one image: (Q, J, 2) pixels, (Q, J) bool, (Q,) area in px^2."""

    uv: NDArray[np.floating]
    known: NDArray[np.bool_]
    area: NDArray[np.floating]


def average_precision(
    found: Sequence[People], true: Sequence[TruePeople], *, area: tuple[float, float] = (0.0, np.inf)
) -> dict[str, float]:
    """AP, AP50, AP75 and recall at 0.5, in 0..1.

    Args:
        found: people of each image with scores.
        true: of the same images. People without a known joint do not count.
        area: only true people of low <= area < high count; found people that match others, or nobody and are
            themselves outside the range, are left out, as COCO does.
    Returns:
        NaN where nobody counts.
    Raises:
        ShapeError: lists of different length.
    """
    if len(found) != len(true):
        raise ShapeError(f"people of {len(found)} images against truth of {len(true)}.")
    images = [_Matches.of(p, t, area) for p, t in zip(found, true, strict=True)]
    total = sum(int(m.counts.sum()) for m in images)
    if not total:
        return dict.fromkeys(("ap", "ap50", "ap75", "recall50"), float("nan"))
    curves = {t: _curve(images, t, total) for t in THRESHOLDS}
    return {
        "ap": float(np.mean([c[0] for c in curves.values()])),
        "ap50": curves[0.5][0],
        "ap75": curves[0.75][0],
        "recall50": curves[0.5][1],
    }


class _Matches(NamedTuple):
    """Similarities (P, Q) of one image, scores (P,), whose areas count (P,) and (Q,)."""

    similar: NDArray[np.float64]
    score: NDArray[np.floating]
    inside: NDArray[np.bool_]
    counts: NDArray[np.bool_]

    @classmethod
    def of(cls, people: People, true: TruePeople, area: tuple[float, float]) -> _Matches:
        there = true.known.any(1)
        known = np.broadcast_to(true.known[None], (len(people.uv), *true.known.shape))
        uv = np.where(found_joints(people.uv)[..., None], people.uv, 1e9)  # a joint not found is wrong
        similar = keypoint_similarity(
            uv, true.uv, known, area=np.broadcast_to(true.area, known.shape[:2]), falloff=FALLOFF
        )
        own = np.prod(np.maximum(people.box[:, 2:] - people.box[:, :2], 0), axis=-1)
        low, high = area
        return cls(
            np.where(there, similar, 0.0), people.score, (own >= low) & (own < high),
            there & (true.area >= low) & (true.area < high),
        )  # fmt: skip


def _curve(images: Sequence[_Matches], threshold: float, total: int) -> tuple[float, float]:
    """Average precision over 101 recalls, and the recall reached."""
    scores: list[float] = []
    right: list[bool] = []
    for m in images:
        taken: set[int] = set()
        for p in np.argsort(-m.score, kind="stable"):
            free = [q for q in range(m.similar.shape[1]) if q not in taken and m.similar[p, q] >= threshold]
            if not free:
                if m.inside[p]:
                    scores.append(float(m.score[p]))
                    right.append(False)
                continue
            # People who count come before those who do not, then the most similar.
            best = max(free, key=lambda q: (bool(m.counts[q]), float(m.similar[p, q])))
            taken.add(best)
            if m.counts[best]:
                scores.append(float(m.score[p]))
                right.append(True)
    if not scores:
        return 0.0, 0.0
    hits = np.array(right)[np.argsort(-np.array(scores), kind="stable")]
    true_positives = np.cumsum(hits)
    recall = true_positives / total
    precision = true_positives / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    at = np.searchsorted(recall, RECALLS, side="left")
    padded = np.append(envelope, 0.0)
    return float(padded[np.minimum(at, len(envelope))].mean()), float(recall[-1])
