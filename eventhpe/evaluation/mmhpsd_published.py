"""Published results on MMHPSD beside the conditions they were reached under; none was measured here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PublishedRow:
    """A row of a published table, mm and shares; None where the source gives no figure.

    Attributes:
        method: the system.
        source: where the figures stand.
        num_steps: T of the clips.
        sees: what the network reads.
        start: what is known about the first frame.
        mpjpe_mm, pel_mpjpe_mm, pa_mpjpe_mm: see `evaluation.metrics`.
        pckh: PCKh@0.5 in 0..1.
        note: what makes the row hard to compare.
    """

    method: str
    source: str
    num_steps: int
    sees: str
    start: str
    mpjpe_mm: float | None
    pel_mpjpe_mm: float | None
    pa_mpjpe_mm: float | None
    pckh: float | None = None
    note: str = ""


_TRACKER = "Zou et al., TCSVT 35(10), 2025"
_ESTIMATED = "estimated from the first gray image"
_TO_COMPARE = (
    "the first of 8 scored frames takes the true rotations and place, shape is true; compare only with "
    "systems that know the start"
)

PUBLISHED: tuple[PublishedRow, ...] = (
    PublishedRow("EventHPE", _TRACKER, 8, "gray image and events", _ESTIMATED, None, 65.1, 46.5),
    PublishedRow("ResNet-GRU", _TRACKER, 8, "events", "nothing", None, 60.0, None),
    PublishedRow("ResNet-Transformer", _TRACKER, 8, "events", "nothing", 108.5, 59.9, 44.1),
    PublishedRow("SNN tracker", _TRACKER, 8, "events", "nothing", 107.2, 58.7, 44.1),
    PublishedRow(
        "SNN tracker, + synthetic data", _TRACKER, 8, "events", "nothing", 99.2, 55.8, 42.9,
        note="trained on synthetic and real data with domain adaptation",
    ),
    PublishedRow("EventHPE", _TRACKER, 64, "gray image and events", _ESTIMATED, None, 66.8, 48.1),
    PublishedRow("ResNet-Transformer", _TRACKER, 64, "events", "nothing", 114.2, 66.0, 50.1),
    PublishedRow("SNN tracker", _TRACKER, 64, "events", "nothing", 111.7, 61.9, 45.7),
    PublishedRow(
        "EvHuman", "released checkpoint, arXiv 2412.01747", 8, "events",
        "true pose of the first scored frame", 65.89, 49.95, 39.03, 0.862, _TO_COMPARE,
    ),
)  # fmt: skip
"""Test subjects 01, 02 and 07. EventHPE's own paper is left out: its figures could not be checked."""
