"""Boxes of people found in events against labelled boxes, at the end of each recording."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eventhpe.data.voc_boxes import read_voc
from eventhpe.data.windows import WINDOW_US
from eventhpe.errors import FormatError
from eventhpe.events.filters import background_activity
from eventhpe.events.open import open_recording
from eventhpe.events.person_box import PersonFinder
from eventhpe.events.recording import Recording
from eventhpe.events.types import Events
from eventhpe.shapenet.heads.people import best_overlaps

GOOD_IOU = 0.5

Finder = Callable[[Recording, int], NDArray[np.float64]]
"""A recording and the start of one of its windows, µs, to (M, 4) boxes in pixels."""


@dataclass(frozen=True)
class BoxResult:
    """One recording's last window.

    Attributes:
        path: of the recording.
        events: of the window.
        true: (N, 4) labelled boxes, pixels.
        found: method -> (M, 4) boxes, pixels.
    """

    path: Path
    events: Events
    true: NDArray[np.float64]
    found: dict[str, NDArray[np.float64]]

    def overlaps(self, method: str) -> NDArray[np.float64]:
        """(N,) best intersection over union of each labelled box, each found box used once."""
        return best_overlaps(self.true, self.found[method])


def evaluate_boxes(pairs: Sequence[tuple[Path, Path]], finders: Mapping[str, Finder]) -> list[BoxResult]:
    """Find people in the last 50 ms of recordings.

    Args:
        pairs: recording and its labels (data/voc_boxes.py).
        finders: method -> what finds people.
    Raises:
        FormatError: labels of another sensor than the recording's.
    """
    results = []
    for path, label in pairs:
        true = read_voc(label)
        with open_recording(path, sensor=f"{true.size[1]}x{true.size[0]}") as recording:
            if recording.sensor_size != true.size:
                raise FormatError(
                    f"{label}: labels an image of {true.size[1]}x{true.size[0]}, the recording has "
                    f"{recording.sensor_size[1]}x{recording.sensor_size[0]} pixels."
                )
            t0 = max(0, recording.duration_us + 1 - WINDOW_US)
            events = recording.between(t0, t0 + WINDOW_US)
            found = {name: find(recording, t0) for name, find in finders.items()}
        results.append(BoxResult(path, events, true.boxes, found))
    return results


def box_scores(results: Sequence[BoxResult], method: str) -> dict[str, float]:
    """Mean IoU over labelled people, share of them met with at least 0.5, and spare boxes per window."""
    overlaps = np.concatenate([r.overlaps(method) for r in results])
    spare = sum(len(r.found[method]) - int((r.overlaps(method) > 0).sum()) for r in results)
    return {
        "mean_iou": float(overlaps.mean()) if len(overlaps) else float("nan"),
        "recall": float((overlaps >= GOOD_IOU).mean()) if len(overlaps) else float("nan"),
        "spare_per_window": spare / len(results),
    }


def box_by_density(recording: Recording, t0_us: int) -> NDArray[np.float64]:
    """The one box that a capture without a network would follow, (0 or 1, 4)."""
    events, finder = recording.between(t0_us, t0_us + WINDOW_US), PersonFinder()
    density = finder.density(background_activity(events, dt_us=20_000))
    (box,) = finder.boxes([density], events.sensor_size)
    return np.array([] if box is None else [box], np.float64).reshape(-1, 4)
