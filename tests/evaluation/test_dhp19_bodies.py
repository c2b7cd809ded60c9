"""Bodies on DHP19's markers: scores that can be told beforehand, what is scored, what is left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eventhpe.body.params import BodyParams
from eventhpe.data.dhp19_bodies_files import BodiesName, read_body_attachment
from eventhpe.data.labels import Labels, read_labels
from eventhpe.errors import FormatError, MissingAssetError, ShapeError
from eventhpe.evaluation.dhp19_averages import METRICS
from eventhpe.evaluation.dhp19_bodies import (
    FIT,
    HELD,
    MEAN,
    METHODS,
    OURS,
    BodiesProtocol,
    body_markers,
    evaluate_bodies,
    marker_errors,
    true_boxes,
)
from eventhpe.evaluation.dhp19_report import comma_separated, markdown, report_text
from eventhpe.evaluation.protocols import CaptureEstimate
from tests.data.bodies_fixture import moving_fit, write_body_recording

SHIFT_M = np.array([0.03, 0.0, 0.04])
WINDOWS = 8


def cut(params: BodyParams, which: np.ndarray, shift: np.ndarray | float = 0.0) -> BodyParams:
    return BodyParams(
        params.betas[which], params.global_orient[which], params.body_pose[which],
        params.transl[which] + shift,
    )  # fmt: skip


def shifted(path: Path, labels: Labels) -> CaptureEstimate:
    """The fitted bodies at the ends of the windows, 50 mm off; the mean pose is that of the start, 100 mm."""
    k = 5 * np.arange(1, WINDOWS + 1)
    mean = cut(labels.params, 0 * k, 2 * SHIFT_M)
    return CaptureEstimate(labels.t_us[k], cut(labels.params, k, SHIFT_M), mean)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bodies")
    for camera in (1, 2, 3):
        write_body_recording(root, BodiesName(13, 2, 1, camera))
    write_body_recording(root, BodiesName(14, 1, 1, 2), moving_fit(seed=3))
    return root


def paths(folder: Path, *names: str) -> list[Path]:
    return [folder / f"{name}.h5" for name in names]


def test_scores_are_those_one_can_tell(folder: Path) -> None:
    report = evaluate_bodies(
        paths(folder, "S13_2_1_cam2", "S13_2_1_cam3", "S14_1_1_cam2"), shifted, BodiesProtocol("true")
    )
    assert tuple(report.rows) == METHODS and tuple(report.rows[OURS]) == METRICS
    ours, held, mean, floor = (report.rows[m] for m in (OURS, HELD, MEAN, FIT))
    assert floor["mm"].mean < 0.02 and floor["mean_px"].mean < 0.01, "markers were made from the bodies"
    assert ours["mm"].mean == pytest.approx(50, abs=0.05)
    assert ours["root_relative_mm"].mean < 0.02 and ours["procrustes_mm"].mean < 0.02
    labels = read_labels(folder / "S13_2_1_cam3.h5")
    assert labels.markers3d is not None and labels.markers2d is not None
    k = 5 * np.arange(1, WINDOWS + 1)
    moved = labels.camera.project(labels.markers3d[k] + SHIFT_M) - labels.markers2d[k]
    assert ours["cam3_px"].mean == pytest.approx(np.linalg.norm(moved, axis=-1).mean(), abs=0.01)
    assert held["mm"].mean > 20 and held["root_relative_mm"].mean == pytest.approx(
        mean["root_relative_mm"].mean, abs=0.02
    )
    assert ours["mm"].frames == 3 * WINDOWS == report.conditions["frames"]
    assert report.details[OURS]["subject"]["S13"]["mm"] == pytest.approx(50, abs=0.05)
    assert list(report.details[OURS]["movement"]) == ["1 (1.1)", "9 (2.1)"]
    assert report.conditions["movements"] == 2 and report.conditions["recordings"] == 3
    assert report.published == () and report.as_dict()["published, not measured here"] == []


def test_text_and_files_come_from_one_report(folder: Path) -> None:
    report = evaluate_bodies(
        paths(folder, "S14_1_1_cam2"), shifted, BodiesProtocol("none", average="per_subject")
    )
    text, page, table = report_text(report), markdown(report), comma_separated(report)
    assert "given to EventHPE: nothing" in text and "averaged per subject" in text
    assert "not the published two-view protocol" in text and "fitted offsets" in text
    assert page.startswith("# DHP19") and "Conditions of the published rows" not in page
    assert f"## {FIT}, by joint" in page
    assert table.splitlines()[0].startswith("method,by,group,metric,mean")
    assert sum(f"{OURS},joint," in line for line in table.splitlines()) == 13 * len(METRICS)


def test_side_cameras_have_no_pixels_of_the_front_ones(folder: Path) -> None:
    report = evaluate_bodies(paths(folder, "S13_2_1_cam1"), shifted, BodiesProtocol("none"))
    assert np.isnan(report.rows[OURS]["mean_px"].mean) and report.rows[OURS]["mm"].mean == pytest.approx(
        50, abs=0.05
    )


def test_frames_that_fail_the_gates_are_not_scored(tmp_path: Path) -> None:
    valid = np.ones(41, bool)
    valid[10] = valid[20] = False
    write_body_recording(tmp_path, BodiesName(13, 1, 1, 2), valid=valid)
    report = evaluate_bodies(paths(tmp_path, "S13_1_1_cam2"), shifted, BodiesProtocol("none"))
    assert report.conditions["frames"] == WINDOWS - 2
    assert all(cells["mm"].frames == WINDOWS - 2 for cells in report.rows.values())


def test_missing_markers_count_for_nobody(tmp_path: Path) -> None:
    _, labels = write_body_recording(tmp_path, BodiesName(13, 1, 1, 2))
    assert labels.markers3d is not None and labels.markers2d is not None
    xyz, uv = labels.markers3d.copy(), labels.markers2d.copy()
    xyz[:, 5], uv[:, 5] = np.nan, np.nan  # a hip
    write_body_recording(tmp_path, BodiesName(13, 1, 2, 2), markers3d=xyz, markers2d=uv)
    report = evaluate_bodies(paths(tmp_path, "S13_1_1_cam2", "S13_1_2_cam2"), shifted, BodiesProtocol("none"))
    assert report.rows[OURS]["mm"].frames == 2 * WINDOWS
    assert report.rows[OURS]["root_relative_mm"].frames == WINDOWS, "no root without a hip"
    assert report.rows[OURS]["mm"].mean == pytest.approx(50, abs=0.05)


def test_what_cannot_be_scored_is_told(folder: Path, tmp_path: Path) -> None:
    valid = np.arange(41) > 0
    write_body_recording(tmp_path, BodiesName(13, 1, 1, 2), valid=valid)
    write_body_recording(tmp_path, BodiesName(13, 1, 2, 2))
    write_body_recording(tmp_path, BodiesName(13, 1, 3, 2))
    all_three = paths(tmp_path, "S13_1_1_cam2", "S13_1_2_cam2", "S13_1_3_cam2")

    def fails(path: Path, labels: Labels) -> CaptureEstimate:
        if path.stem == "S13_1_2_cam2":
            raise FormatError(f"{path}: nobody moves.")
        return shifted(path, labels)

    heard: dict[str, object] = {}
    report = evaluate_bodies(
        all_three,
        fails,
        BodiesProtocol("true"),
        on_recording=lambda name, result: heard.update({name: result}),
    )
    left = report.conditions["left_out"]
    assert left["S13_1_1_cam2"] == "the fit is not valid at the start" == heard["S13_1_1_cam2"]
    assert "nobody moves" in left["S13_1_2_cam2"] and report.conditions["recordings"] == 1
    assert "S13_1_1_cam2 (the fit is not valid at the start)" in report_text(report)
    with pytest.raises(
        MissingAssetError, match=r"no recording could be scored of 3: .*not valid at the start"
    ):
        evaluate_bodies(all_three, fails, BodiesProtocol("true", drop=("S13_1_3",)))
    bare = tmp_path / "other.h5"
    all_three[2].rename(bare)
    with pytest.raises(FormatError, match=r"such as S1_1_1_cam2\.h5"):
        evaluate_bodies([bare], shifted, BodiesProtocol("true"))


def test_markers_of_a_body_follow_it(folder: Path) -> None:
    path = folder / "S14_1_1_cam2.h5"
    labels, attachment = read_labels(path), read_body_attachment(path)
    at = body_markers(labels.params, attachment)
    assert at.shape == (41, 13, 3)
    moved = body_markers(cut(labels.params, np.arange(41), SHIFT_M), attachment)
    np.testing.assert_allclose(moved - at, np.broadcast_to(SHIFT_M, at.shape), atol=1e-12)
    with pytest.raises(ShapeError, match="'open'"):
        body_markers(replace(labels.params, model="smpl"), attachment)
    with pytest.raises(ShapeError, match="markers must be"):
        marker_errors(BodiesName(14, 1, 1, 2), at[:, :12], labels, np.arange(41))


def test_true_boxes_hold_the_joints_of_their_windows(folder: Path) -> None:
    labels = read_labels(folder / "S14_1_1_cam2.h5")
    starts = 50_000 * np.arange(9)  # the last window lies past the labels
    crops = true_boxes(labels, starts, margin=1.2)
    for k, crop in enumerate(crops):
        points = labels.joints2d[min(5 * k, 40) : 5 * k + 6].reshape(-1, 2) + 0.5 - [crop.left, crop.top]
        assert points.min() > 0 and points.max() < crop.side
        assert np.ptp(points, axis=0).max() * 1.2 == pytest.approx(crop.side, rel=1e-4)
