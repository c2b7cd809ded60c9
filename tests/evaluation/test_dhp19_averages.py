"""DHP19's ways of averaging, on errors made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from eventhpe.data.dhp19_prepared import PreparedName
from eventhpe.errors import ShapeError
from eventhpe.evaluation.dhp19 import MODES_3D, RecordingErrors
from eventhpe.evaluation.dhp19_averages import (
    METRICS,
    average_errors,
    break_down,
    drop_frames,
    movement_index,
)
from eventhpe.geometry.skeleton import DHP19_SKELETON


def errors(name: tuple[int, int, int], frames: np.ndarray) -> RecordingErrors:
    """All 3D errors of a frame alike, (N,); camera 2 a tenth of it in pixels, camera 3 a fifth."""
    mm = np.repeat(np.asarray(frames, float)[:, None], 13, 1)
    return RecordingErrors(PreparedName(*name), np.stack([mm / 10, mm / 5]), {m: mm.copy() for m in MODES_3D})


THREE = [
    errors((13, 1, 1), np.full(20, 10)),
    errors((13, 2, 3), np.full(4, 40)),
    errors((14, 1, 1), np.full(10, 100)),
]


@pytest.mark.parametrize(
    ("average", "mm"),
    [
        ("per_frame", (20 * 10 + 4 * 40 + 10 * 100) / 34),
        ("per_recording", (10 + 40 + 100) / 3),
        ("per_subject", ((20 * 10 + 4 * 40) / 24 + 100) / 2),
        # Batches run on over recordings; the last one, of two frames, weighs as much as the others.
        ("per_batch16", (10 + (4 * 10 + 4 * 40 + 8 * 100) / 16 + 100) / 3),
    ],
)
def test_what_weighs_the_same(average: str, mm: float) -> None:
    cells = average_errors(THREE, average)  # type: ignore[arg-type]
    assert list(cells) == list(METRICS) == [
        "cam2_px", "cam3_px", "mean_px", "mm", "root_relative_mm", "procrustes_mm",
    ]  # fmt: skip
    assert cells["mm"].mean == cells["procrustes_mm"].mean == pytest.approx(mm)
    assert [cells[m].mean for m in METRICS[:3]] == pytest.approx([mm / 10, mm / 5, 0.15 * mm])
    assert all(cell.frames == 34 for cell in cells.values())
    assert cells["mm"].low < mm < cells["mm"].high


def test_joints_are_averaged_within_frames_first_and_pooled_in_batches() -> None:
    one = errors((13, 1, 1), np.array([10.0, 50.0]))
    one.mm["absolute"][1, 1:] = np.nan  # one joint left
    assert average_errors([one])["mm"].mean == pytest.approx(30)
    assert average_errors([one], "per_batch16")["mm"].mean == pytest.approx((13 * 10 + 50) / 14)


def test_missing_frames_and_recordings_count_for_nothing() -> None:
    lost = errors((14, 1, 2), np.full(6, np.nan))
    for average in ("per_frame", "per_batch16", "per_recording", "per_subject"):
        with_lost = average_errors([*THREE, lost], average)["mm"]  # type: ignore[arg-type]
        assert with_lost.frames == 34
        if average != "per_batch16":
            assert with_lost.mean == pytest.approx(average_errors(THREE, average)["mm"].mean)  # type: ignore[arg-type]
    nothing = average_errors([lost])["mm"]
    assert np.isnan([nothing.mean, nothing.low, nothing.high]).all() and nothing.frames == 0


def test_intervals() -> None:
    rng = np.random.default_rng(0)
    many = [errors((13 + k % 5, 1, 1), rng.normal(60 + 10 * rng.normal(), 5, 30)) for k in range(60)]
    cell, again = (average_errors(many)["mm"] for _ in range(2))
    assert cell == again, "the same draws every time"
    spread = np.std([e.mm["absolute"].mean() for e in many]) / 60**0.5
    assert cell.high - cell.low == pytest.approx(2 * 1.96 * spread, rel=0.1)
    # Frames of a recording hang together: drawing them one by one would claim ten times the precision.
    alone = average_errors(many[:1])["mm"]
    assert alone.low == alone.mean == alone.high
    few = average_errors(many[:10])["mm"]
    assert few.high - few.low > 1.5 * (cell.high - cell.low)


def test_the_cameras_mean_is_the_mean_of_their_numbers() -> None:
    one, other = errors((13, 1, 1), np.full(4, 10)), errors((13, 1, 2), np.full(8, 30))
    other.px[1, 2:] = np.nan  # camera 3 has fewer labels
    cells = average_errors([one, other])
    assert cells["mean_px"].mean == pytest.approx((cells["cam2_px"].mean + cells["cam3_px"].mean) / 2)
    assert (cells["cam2_px"].frames, cells["cam3_px"].frames) == (12, 6)


def test_break_down() -> None:
    one = errors((13, 1, 1), np.full(20, 10))
    one.mm["absolute"][:, 4] = 23.0
    parts = break_down([one, *THREE[1:]])
    assert parts["subject"]["S14"]["mm"] == 100 and list(parts["subject"]) == ["S13", "S14"]
    assert parts["subject"]["S13"]["mm"] == pytest.approx((20 * 11 + 4 * 40) / 24)
    assert parts["session"]["session 2"]["cam3_px"] == pytest.approx(8)
    assert list(parts["movement"]) == ["1 (1.1)", "11 (2.3)"]
    assert list(parts["joint"]) == list(DHP19_SKELETON.joints)
    assert parts["joint"]["elbow_left"]["mm"] == pytest.approx((20 * 23 + 160 + 1000) / 34)
    assert parts["joint"]["head"]["mm"] == pytest.approx(1360 / 34)


def test_movements_are_numbered_through() -> None:
    names = [(1, 1), (1, 8), (2, 1), (3, 1), (4, 1), (4, 6), (5, 1), (5, 7)]
    assert [movement_index(PreparedName(1, *n)) for n in names] == [1, 8, 9, 15, 21, 26, 27, 33]


def test_the_last_frame_can_be_left_out() -> None:
    one = errors((13, 1, 1), np.array([10.0, 20.0, 60.0]))
    assert average_errors([drop_frames(one, last=True)])["mm"].mean == 15
    assert average_errors([drop_frames(one)])["mean_px"].mean == pytest.approx(4.5)


def test_refusals() -> None:
    with pytest.raises(ShapeError, match="no recordings"):
        average_errors([])
    with pytest.raises(ShapeError, match="per_frame, per_batch16"):
        average_errors(THREE, "per_joint")  # type: ignore[arg-type]
