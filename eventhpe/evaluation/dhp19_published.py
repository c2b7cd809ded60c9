"""Results on DHP19 as published: what ours stand beside, with their conditions. None is measured here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Source = Literal["verified", "reported", "recalled"]
"""verified = read in the code or text that reports it; reported = stated by an author or user elsewhere;
recalled = quoted in later literature, not confirmed in the text itself: check before quoting."""


@dataclass(frozen=True)
class Published:
    """One published result.

    Attributes:
        method: name, as in its paper.
        px: pixels of camera 2, of camera 3, and their mean; None where not given.
        mm: absolute 3D error in millimetres, or None.
        conditions: what differs from the protocol or must be known to compare.
        source: how sure the digits are.
        comparable: the published protocol: two front views, triangulated, absolute, S13 to S17.
    """

    method: str
    px: tuple[float | None, float | None, float | None]
    mm: float | None
    conditions: str
    source: Source
    comparable: bool = True


_EVENT_POINTS = "per_batch16, labels re-quantised, W = 346, last frame of every recording left out"
_PIXELS_RECALLED = f"pixels recalled only; {_EVENT_POINTS}"

PUBLISHED = (
    Published(
        "DHP19 CNN", (7.72, 7.61, 7.67), 87.90,
        "every frame by itself; 0.22 M parameters; Calabrese 2019", "recalled",
    ),
    Published(
        "DHP19 CNN, hold 0.3", (None, None, None), 79.63, "confidence hold; Calabrese 2019", "recalled"
    ),
    Published(
        "DHP19 CNN, again", (7.70, 7.92, None), None,
        "published weights, no hold; thesis of Manilii", "verified",
    ),
    Published(
        "DHP19 CNN, hold 0.3, again", (7.22, 6.91, None), 80.31,
        "published weights; thesis of Manilii", "verified",
    ),
    Published(
        "one view, retrained", (10.56, 10.16, None), 118.23,
        "sigma 2, frames with any invalid joint left out of training; thesis of Manilii", "verified",
    ),
    Published(
        "two views, retrained", (10.40, 9.58, None), 115.48,
        "one network for both views, 0.31 M parameters; thesis of Manilii", "verified",
    ),
    Published("MobileHP-S", (None, None, 5.65), 64.14, "event frames; 1.8 M parameters", "recalled"),
    Published("Pose-ResNet18", (None, None, 5.37), 61.03, "event frames; 15.4 M parameters", "recalled"),
    Published("Pose-ResNet50", (None, None, 5.28), 59.83, "event frames; 34.0 M parameters", "recalled"),
    Published("EventPointPose PointNet-2048", (None, None, 7.29), 82.46, _PIXELS_RECALLED, "reported"),
    Published("EventPointPose DGCNN-2048", (None, None, 6.83), 77.32, _EVENT_POINTS, "recalled"),
    Published(
        "EventPointPose Point Transformer-2048", (None, None, 6.46), 73.37, _PIXELS_RECALLED, "reported",
    ),
    Published("VMV-PointTrans", (None, None, 9.1), 103.0, "as compared in later papers; rounded", "recalled"),
    Published(
        "Hybrid ANN-SNN, CNN", (5.03, 4.67, None), None,
        "a network per view, 256 px crop, 7500 events per view, without S16_2_1; Aydin 2024", "verified",
        comparable=False,
    ),
    Published(
        "Hybrid ANN-SNN, 100 Hz", (5.19, 4.97, None), 74.9,
        "as above; ten steps against the first one's label, their mean; Aydin 2024", "verified",
        comparable=False,
    ),
)  # fmt: skip
"""Of the two-view protocol, and two that look alike and are not. Monocular and root-relative results are left
out: they measure something else."""
