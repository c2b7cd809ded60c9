"""The flow protocol against estimators that know the answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eventhpe.data.crops import SquareCrop
from eventhpe.data.labels import read_flow_labels, read_labels
from eventhpe.errors import FormatError
from eventhpe.evaluation.flow import CROP_MARGIN, FLOW_CROP_PX, average_flow, evaluate_flow
from tests.small_world import copy_without


def true_flows(path: Path) -> list[NDArray[np.float32]]:
    """(2, 128, 128) true flow of each window in crop pixels, 0 beside the person."""
    labels = read_labels(path)
    found = []
    for field in read_flow_labels(path):
        inside = (labels.t_us >= field.t0_us) & (labels.t_us <= field.t1_us)
        joints = labels.joints2d[inside].reshape(-1, 2) + 0.5
        crop = SquareCrop.around((*joints.min(0), *joints.max(0)), CROP_MARGIN)
        scale = FLOW_CROP_PX / crop.side
        found.append(np.stack([crop.cut_map(c * scale, FLOW_CROP_PX) for c in field.uv]))
    return found


class Estimator:
    """Gives one prepared flow after the other and keeps the frames it was shown."""

    def __init__(self, flows: list[NDArray[np.float32]], offset: tuple[float, float] = (0, 0)) -> None:
        self.flows = iter(flows)
        self.offset = np.array(offset, np.float32).reshape(2, 1, 1)
        self.shown: list[NDArray[np.float32]] = []

    def estimate(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        self.shown.append(frames)
        return (next(self.flows) + self.offset)[None]


def test_known_answers(recordings: Path) -> None:
    path = recordings / "jumping_jack.h5"
    flows = true_flows(path)
    exact, off = Estimator(flows), Estimator(flows, offset=(3.0, -4.0))
    estimators: dict[str, Any] = {"exact": (exact, "counts"), "off": (off, "binary")}
    scores = evaluate_flow([path], estimators)["jumping_jack"]
    assert list(scores) == ["zero flow", "exact", "off"]
    for metric in ("epe_events_px", "epe_person_px"):
        assert scores["exact"][metric] == pytest.approx(0, abs=1e-5)
        assert scores["off"][metric] == pytest.approx(5, rel=1e-5)
    persons = [np.linalg.norm(f, axis=0)[(f != 0).any(0)] for f in flows]
    # Person pixels that do not move at all are not told apart here, so this is a little above the mean.
    assert scores["zero flow"]["epe_person_px"] == pytest.approx(np.concatenate(persons).mean(), rel=0.02)
    assert scores["zero flow"]["epe_events_px"] > scores["zero flow"]["epe_person_px"] > 0.5
    assert len(exact.shown) == len(off.shown) == 12 and exact.shown[0].shape == (1, 8, 128, 128)
    assert set(np.unique(off.shown[3])) == {0.0, 1.0} and len(np.unique(exact.shown[3])) > 2


def test_recordings_without_flow_labels_are_told(recordings: Path, tmp_path: Path) -> None:
    bare = copy_without(recordings / "squat.h5", tmp_path / "bare.h5", "labels/flow")
    with pytest.raises(FormatError, match=r"bare\.h5: has no flow labels; make it without --no-flow-labels"):
        evaluate_flow([bare], {})


def test_averages_over_recordings() -> None:
    results = {str(v): {"zero flow": {"epe_events_px": v, "epe_person_px": 2 * v}} for v in (1.0, 2.0, 6.0)}
    table = average_flow(results)
    assert table["zero flow"]["epe_events_px"]["mean"] == 3.0
    assert table["zero flow"]["epe_person_px"]["mean"] == 6.0
    low, high = (table["zero flow"]["epe_events_px"][k] for k in ("low", "high"))
    assert 1.0 <= low < 3.0 < high <= 6.0
    results["1.0"]["zero flow"]["epe_events_px"] = float("nan")  # no event fell on the person
    assert average_flow(results)["zero flow"]["epe_events_px"]["mean"] == 4.0
