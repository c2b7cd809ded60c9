"""The capture protocol against estimates whose scores are known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eventhpe.body.params import BodyParams
from eventhpe.body.posing import BodyPoser
from eventhpe.data.labels import Labels, read_labels
from eventhpe.errors import ShapeError
from eventhpe.evaluation.protocols import (
    METRICS,
    CaptureEstimate,
    ClipScores,
    average,
    evaluate_capture,
    hold_start,
    mask_iou,
    score_track,
)


@pytest.fixture(scope="module")
def labels(recordings: Path) -> Labels:
    return read_labels(recordings / "jumping_jack.h5")


def at(labels: Labels, k: slice) -> tuple[np.ndarray, BodyParams]:
    p = labels.params
    names = ("betas", "global_orient", "body_pose", "transl")
    return labels.t_us[k], replace(p, **{n: getattr(p, n)[k] for n in names})


def test_the_truth_has_no_error(labels: Labels, poser: BodyPoser) -> None:
    times, body = at(labels, slice(5, None, 15))
    scores = score_track(body, times, labels, poser)
    assert tuple(scores) == METRICS
    assert scores["pve_mm"] == 0.0 and scores["mask_iou"] == 1.0
    for name in ("mpjpe_mm", "root_aligned_mm", "pa_mpjpe_mm"):
        assert scores[name] == pytest.approx(0, abs=0.01), name


def test_a_body_beside_the_truth(labels: Labels, poser: BodyPoser) -> None:
    times, body = at(labels, slice(5, None, 15))
    beside = replace(body, transl=body.transl + np.array([0.06, 0.08, 0.0]))
    scores = score_track(beside, times, labels, poser)
    assert scores["mpjpe_mm"] == pytest.approx(100, rel=1e-4) and scores["pve_mm"] == pytest.approx(
        100, rel=1e-4
    )
    assert scores["root_aligned_mm"] == pytest.approx(0, abs=0.01)
    assert 0.2 < scores["mask_iou"] < 0.95
    gone = replace(body, transl=body.transl + np.array([50.0, 0.0, 0.0]))
    assert score_track(gone, times, labels, poser)["mask_iou"] == 0.0


def test_a_turned_body_has_a_root_aligned_but_no_procrustes_error(labels: Labels, poser: BodyPoser) -> None:
    times, body = at(labels, slice(5, None, 15))
    turned = replace(body, global_orient=np.zeros_like(body.global_orient))
    scores = score_track(turned, times, labels, poser)
    assert scores["root_aligned_mm"] > 200 and scores["pa_mpjpe_mm"] == pytest.approx(0, abs=0.01)


def test_bodies_and_times_that_do_not_belong(labels: Labels, poser: BodyPoser) -> None:
    times, body = at(labels, slice(5, None, 15))
    with pytest.raises(ShapeError, match="'smpl'"):
        score_track(replace(body, model="smpl"), times, labels, poser)
    with pytest.raises(ShapeError, match="past the labels"):
        score_track(body, times + 300_000, labels, poser)


def test_start_pose_held(labels: Labels) -> None:
    held = hold_start(labels, 4)
    for name in ("betas", "global_orient", "body_pose", "transl"):
        assert np.array_equal(getattr(held, name), np.stack([getattr(labels.params, name)[0]] * 4))
    assert held.model == labels.params.model


def test_mask_iou() -> None:
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    assert mask_iou(a, b) == 1.0
    a[0, :3], b[0, 1:] = True, True
    assert mask_iou(a, b) == 0.5 and mask_iou(a, np.zeros_like(a)) == 0.0


def test_whole_protocol(recordings: Path, poser: BodyPoser) -> None:
    asked: list[str] = []
    told: list[ClipScores] = []

    def estimate(path: Path, labels: Labels) -> CaptureEstimate:
        asked.append(path.stem)
        times, truth = at(labels, slice(20, None, 20))
        beside = replace(truth, transl=truth.transl + np.array([0.0, 0.0, 0.25]))
        return CaptureEstimate(times, truth, beside)

    paths = sorted(recordings.glob("*.h5"))
    results = evaluate_capture(paths, read_labels, estimate, poser, on_clip=told.append)
    assert asked == [r.name for r in results] == ["jumping_jack", "squat"] and told == results
    for result in results:
        assert list(result.scores) == ["capture", "mean pose", "start pose held"]
        assert result.scores["capture"]["mpjpe_mm"] == pytest.approx(0, abs=0.01)
        assert result.scores["mean pose"]["mpjpe_mm"] == pytest.approx(250, rel=1e-4)
        assert result.scores["start pose held"]["root_aligned_mm"] > 5
    table = average(results)
    mean = np.mean([r.scores["start pose held"]["pve_mm"] for r in results])
    assert table["start pose held"]["pve_mm"]["mean"] == pytest.approx(mean)


def test_averages_and_intervals_over_clips() -> None:
    def clip(value: float) -> ClipScores:
        return ClipScores(str(value), {"capture": dict.fromkeys(METRICS, value)})

    table = average([clip(1.0), clip(3.0), clip(8.0)])
    cell = table["capture"]["pve_mm"]
    assert set(table["capture"]) == set(METRICS) and cell["mean"] == pytest.approx(4.0)
    assert 1.0 <= cell["low"] < 4.0 < cell["high"] <= 8.0
    assert average([clip(1.0), clip(3.0), clip(8.0)]) == table
    alone = average([clip(2.0)])["capture"]["mpjpe_mm"]
    assert alone == {"mean": 2.0, "low": 2.0, "high": 2.0}
