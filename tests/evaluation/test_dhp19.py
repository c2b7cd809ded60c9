"""DHP19's protocol on labels, pixels and a network that sees perfectly."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from eventhpe.data.dhp19_cameras import CAMERA_POSITIONS_MM, PROJECTION_MATRICES
from eventhpe.data.dhp19_prepared import PreparedDHP19, PreparedName
from eventhpe.errors import FormatError, MissingAssetError, ShapeError
from eventhpe.evaluation.dhp19 import (
    ViewPredictions,
    floor_recording,
    predict_recording,
    score_pixels,
    score_recording,
    triangulate_front,
)
from eventhpe.evaluation.dhp19_averages import METRICS
from eventhpe.evaluation.dhp19_published import PUBLISHED
from eventhpe.evaluation.dhp19_report import (
    FLOOR,
    INSTANT,
    DHP19Protocol,
    comma_separated,
    evaluate_dhp19,
    main_table,
    markdown,
    report_text,
)
from eventhpe.geometry.triangulate import triangulate_rays
from tests.data.prepared_files import Seer, walk, write_prepared

NAME = PreparedName(13, 2, 1)


def pixels_of(labels_mm: np.ndarray) -> np.ndarray:
    """(2, N, 13, 2) cut labels of cameras 2 and 3, by the authors' formula."""
    views = []
    for camera in (2, 3):
        x, y, w = np.moveaxis(
            np.c_[labels_mm.reshape(-1, 3), np.ones(labels_mm[..., 0].size)] @ PROJECTION_MATRICES[camera].T,
            -1,
            0,
        )
        views.append(np.stack([np.trunc(x / w), np.trunc(260 - y / w)], -1).reshape(*labels_mm.shape[:2], 2))
    return np.stack(views)


def test_errors_follow_their_definitions() -> None:
    truth = walk(6, 0)
    uv = pixels_of(truth) + np.random.default_rng(1).integers(-6, 7, (2, 6, 13, 2))
    errors = score_pixels(NAME, uv, truth)
    np.testing.assert_allclose(errors.px, np.linalg.norm(uv - pixels_of(truth), axis=-1))
    for n in range(6):
        points = np.stack(
            [
                triangulate_rays(
                    uv[:, n, j], [PROJECTION_MATRICES[2], PROJECTION_MATRICES[3]],
                    centres=CAMERA_POSITIONS_MM[[1, 2]], image_height=260,
                )
                for j in range(13)
            ]
        )  # fmt: skip
        np.testing.assert_allclose(errors.mm["absolute"][n], np.linalg.norm(points - truth[n], axis=-1))
        moved = points - points[[5, 6]].mean(0) + truth[n, [5, 6]].mean(0)
        np.testing.assert_allclose(errors.mm["root_relative"][n], np.linalg.norm(moved - truth[n], axis=-1))
    squares = {mode: np.square(e).sum(1) for mode, e in errors.mm.items()}
    assert (squares["procrustes"] < squares["absolute"]).all()
    assert (squares["procrustes"] < squares["root_relative"]).all()


def test_procrustes_forgives_a_similarity_and_nothing_else() -> None:
    """A person seen somewhere else, turned and larger, has no error left but the cut pixels'."""
    truth = walk(4, 3)
    turn = np.array([[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, 1]])
    seen = 1.15 * truth @ turn.T + (60, -40, 20)
    errors = score_pixels(NAME, pixels_of(seen), truth)
    assert errors.mm["absolute"].mean() > 150 and errors.mm["root_relative"].mean() > 80
    assert errors.mm["procrustes"].mean() < 12
    mirrored = score_pixels(NAME, pixels_of(truth * (-1, 1, 1)), truth)
    assert mirrored.mm["procrustes"].mean() > 60


def test_the_floor_is_what_cutting_costs() -> None:
    truth = walk(30, 4)
    floor = floor_recording(NAME, truth)
    assert np.isnan(floor.px).all()
    points = triangulate_front(pixels_of(truth))
    np.testing.assert_allclose(floor.mm["absolute"], np.linalg.norm(points - truth, axis=-1))
    # Half a pixel to the left and above, at about 3 m with 350 px focal length: some mm, mostly shared.
    assert 3 < floor.mm["absolute"].mean() < 12
    assert floor.mm["root_relative"].mean() < floor.mm["absolute"].mean()


def test_missing_labels_count_for_nothing() -> None:
    truth = walk(5, 5)
    whole = floor_recording(NAME, truth)
    holed = truth.copy()
    holed[1, 7] = np.nan  # a hand
    holed[2, 6] = np.nan  # a hip: no root
    holed[3, 3:] = np.nan  # too few for an alignment
    holed[4] = np.nan
    uv = pixels_of(truth) + 3
    errors, full = score_pixels(NAME, uv, holed), score_pixels(NAME, uv, truth)
    known = np.isfinite(holed).all(-1)
    np.testing.assert_array_equal(np.isfinite(errors.mm["absolute"]), known)
    np.testing.assert_array_equal(errors.mm["absolute"][known], full.mm["absolute"][known])
    np.testing.assert_array_equal(np.isfinite(errors.px), np.broadcast_to(known, (2, 5, 13)))
    assert np.isfinite(errors.mm["root_relative"]).sum(1).tolist() == [13, 12, 0, 0, 0]
    assert np.isfinite(errors.mm["procrustes"]).sum(1).tolist() == [13, 12, 12, 0, 0]
    np.testing.assert_allclose(floor_recording(NAME, holed).mm["absolute"][:1], whole.mm["absolute"][:1])


def test_labels_outside_the_image_count_for_3d_only() -> None:
    truth = walk(2, 6)
    truth[:, 7] = (-3000, -1500, 1000)  # a hand far beyond camera 2's image
    errors = score_pixels(NAME, np.zeros((2, 2, 13, 2)), truth)
    assert np.isnan(errors.px[:, :, 7]).any(0).all() and np.isfinite(errors.mm["absolute"][:, 7]).all()


def test_hold_bridges_frames_without_confidence() -> None:
    truth = np.repeat(walk(1, 7), 8, axis=0)  # a person who stands still
    uv = pixels_of(truth).astype(np.int64)
    confidence = np.ones(uv.shape[:-1], np.float32)
    uv[:, 3:5] += 40
    confidence[:, 3:5] = 0.1
    predictions = ViewPredictions(NAME, uv, confidence)
    instant, held = (score_recording(predictions, truth, hold=h) for h in (0.0, 0.3))
    assert np.nanmax(held.px) == 0 and np.nanmax(instant.px) == pytest.approx(40 * 2**0.5)
    np.testing.assert_allclose(held.mm["absolute"], floor_recording(NAME, truth).mm["absolute"])


def test_shapes_are_checked() -> None:
    with pytest.raises(ShapeError, match=r"\(2, 5, 13, 2\)"):
        score_pixels(NAME, np.zeros((2, 4, 13, 2)), walk(5, 0))


@pytest.fixture(scope="module")
def small_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Recordings of S1 (training), S13 and S14; an empty last frame in one."""
    root = tmp_path_factory.mktemp("prepared")
    labels = walk(4, 1)
    labels[3] = np.nan
    write_prepared(root, 13, 1, 2, labels)
    write_prepared(root, 13, 5, 7, walk(2, 2))
    write_prepared(root, 14, 5, 3, walk(3, 3), official=False)
    write_prepared(root, 1, 1, 1, walk(1, 4))
    return root


def test_predictions_are_those_of_the_right_cameras(small_set: Path) -> None:
    recording = PreparedDHP19(small_set).of((13,))[1]
    predictions = predict_recording(Seer(0.6), recording, batch_size=1)  # type: ignore[arg-type]
    np.testing.assert_array_equal(predictions.pixels, pixels_of(recording.labels))
    np.testing.assert_allclose(predictions.confidence, 0.6)


def test_a_perfect_network_reaches_the_floor(small_set: Path) -> None:
    seen = []
    report = evaluate_dhp19(
        Seer(), PreparedDHP19(small_set), DHP19Protocol(hold=(0.3, 0.5)), on_recording=seen.append  # type: ignore[arg-type]
    )  # fmt: skip
    assert [e.name.stem[:10] for e in seen] == ["S13_sessio"] * 2 + ["S14_sessio"]
    assert list(report.rows) == [INSTANT, "hold 0.3", "hold 0.5", FLOOR]
    for method in (INSTANT, "hold 0.3", "hold 0.5"):
        cells = report.rows[method]
        assert cells["cam2_px"].mean == cells["cam3_px"].mean == cells["mean_px"].mean == 0
        for metric in ("mm", "root_relative_mm", "procrustes_mm"):
            assert cells[metric] == report.rows[FLOOR][metric]
            assert cells[metric].low <= cells[metric].mean <= cells[metric].high and cells[metric].frames == 8
    conditions = report.conditions
    assert conditions["subjects"] == [13, 14] and conditions["recordings"] == 3
    assert (conditions["frames"], conditions["frames_with_labels"]) == (9, 8)
    assert conditions["windows"] == "7500events" and conditions["gmac_per_view"] == pytest.approx(2.859)
    assert list(report.details[INSTANT]["subject"]) == ["S13", "S14"]
    assert list(report.details[INSTANT]["session"]) == ["session 1", "session 5"]
    assert list(report.details[INSTANT]["movement"]) == ["2 (1.2)", "29 (5.3)", "33 (5.7)"]
    assert len(report.details[INSTANT]["joint"]) == 13


def test_hold_starts_anew_in_every_recording(small_set: Path) -> None:
    """With a threshold that nothing reaches, every recording keeps its own first frame."""
    prepared = PreparedDHP19(small_set)
    report = evaluate_dhp19(Seer(0.2), prepared, DHP19Protocol(hold=(0.3,)))  # type: ignore[arg-type]
    assert report.rows[INSTANT]["mean_px"].mean == 0 < report.rows["hold 0.3"]["mean_px"].mean
    frames = []
    for recording in prepared.of((13, 14)):
        uv = pixels_of(recording.labels[np.isfinite(recording.labels).all((1, 2))])
        frames += list(np.linalg.norm(uv - uv[:, :1], axis=-1).mean((0, 2)))
    assert report.rows["hold 0.3"]["mean_px"].mean == pytest.approx(np.mean(frames))


def test_recordings_can_be_dropped(small_set: Path) -> None:
    prepared = PreparedDHP19(small_set)
    protocol = DHP19Protocol(hold=(), drop=("S14_5_3", "S16_2_1"), drop_last=True)
    report = evaluate_dhp19(Seer(), prepared, protocol)  # type: ignore[arg-type]
    assert report.conditions["recordings"] == 2 and report.rows[INSTANT]["mm"].frames == 3 + 1
    with pytest.raises(FormatError, match="S18_1_1"):
        evaluate_dhp19(Seer(), prepared, DHP19Protocol(drop=("S18_1_1",)))  # type: ignore[arg-type]
    with pytest.raises(MissingAssetError, match="asked for S17, prepared are S1, S13, S14"):
        evaluate_dhp19(Seer(), prepared, DHP19Protocol(subjects=(17,)))  # type: ignore[arg-type]


def test_views_must_belong_together(tmp_path: Path) -> None:
    write_prepared(tmp_path, 13, 1, 1, walk(2, 1), channel=3)
    with pytest.raises(FormatError, match="windows of one camera"):
        evaluate_dhp19(Seer(), PreparedDHP19(tmp_path), DHP19Protocol())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "named"),
    [({"subjects": ()}, "subjects"), ({"subjects": (18,)}, "subjects"), ({"hold": (0.0,)}, "hold"),
     ({"width": 300}, "width"), ({"drop": ("14_5_3",)}, "drop")],
)  # fmt: skip
def test_settings_are_validated(options: dict, named: str) -> None:
    with pytest.raises(ShapeError, match=f"DHP19Protocol.{named}"):
        DHP19Protocol(**options)


def test_tables(small_set: Path) -> None:
    report = evaluate_dhp19(Seer(), PreparedDHP19(small_set), DHP19Protocol())  # type: ignore[arg-type]
    header, rows = main_table(report)
    assert header == ["method", *METRICS] and len(rows) == 3 + len(PUBLISHED)
    mm = report.rows[INSTANT]["mm"]
    assert rows[0][4] == f"{mm.mean:.2f} [{mm.low:.2f}, {mm.high:.2f}]" and rows[2][1] == "-"
    assert all(row[0].startswith("published: ") for row in rows[3:])

    text = report_text(report)
    assert len({len(line) for line in text.split("\n\n")[0].splitlines()}) == 1, "columns line up"
    assert "not measured here" in text and "S13" in text and "hip_left" in text

    lines = list(csv.DictReader(io.StringIO(comma_separated(report))))
    (ours,) = (r for r in lines if (r["method"], r["by"], r["metric"]) == (INSTANT, "all", "mm"))
    assert float(ours["mean"]) == pytest.approx(mm.mean, rel=1e-5) and ours["frames"] == "8"
    assert sum(r["by"] == "joint" and r["method"] == INSTANT for r in lines) == 13 * len(METRICS)

    page = markdown(report)
    assert page.startswith("# DHP19\n") and page.count("\n| S14 |") == 3
    assert all(p.conditions in page for p in PUBLISHED)
    table = page.split("\n\n")[1].splitlines()
    assert {line.count("|") for line in table} == {len(METRICS) + 2}

    told = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert told["table"][INSTANT]["mm"]["mean"] == mm.mean and told["table"][FLOOR]["cam2_px"]["mean"] is None
    assert told["conditions"]["average"] == "per_frame"


def test_published_rows_are_marked_and_complete() -> None:
    assert len({p.method for p in PUBLISHED}) == len(PUBLISHED)
    for p in PUBLISHED:
        assert p.conditions and (p.mm is not None or any(v is not None for v in p.px))
        if p.px[2] is not None and p.px[0] is not None and p.px[1] is not None:
            assert p.px[2] == pytest.approx((p.px[0] + p.px[1]) / 2, abs=0.01)
    assert min(p.mm for p in PUBLISHED if p.comparable and p.mm) == 59.83
    assert all("per_batch16" in p.conditions for p in PUBLISHED if p.method.startswith("EventPointPose"))
    assert [p.method for p in PUBLISHED if not p.comparable] == [
        "Hybrid ANN-SNN, CNN",
        "Hybrid ANN-SNN, 100 Hz",
    ]
