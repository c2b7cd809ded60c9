"""Reports on MMHPSD: averages, published rows and the three ways to write them."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest

from eventhpe.data.mmhpsd_stored import BodySource
from eventhpe.errors import MissingAssetError, ShapeError
from eventhpe.evaluation.metrics import bootstrap_interval
from eventhpe.evaluation.mmhpsd import METRICS, PROTOCOLS
from eventhpe.evaluation.mmhpsd_published import PUBLISHED
from eventhpe.evaluation.mmhpsd_report import (
    average_mmhpsd,
    comma_separated,
    main_tables,
    markdown,
    report_mmhpsd,
    report_text,
)

A, B = "subject01_group1_time1", "subject07_group2_time3"
NAN = float("nan")


def row(value: float, frames: int, **others: float) -> dict[str, float]:
    return dict.fromkeys(METRICS, value) | {"frames": float(frames)} | others


RESULTS = {
    A: {"net": row(10.0, 30), "start pose held": row(20.0, 30)},
    B: {"net": row(40.0, 10, accel_mm=NAN), "start pose held": row(80.0, 10, accel_mm=NAN)},
}


def test_frames_or_sequences_weigh_the_same() -> None:
    by_frame, by_sequence = average_mmhpsd(RESULTS), average_mmhpsd(RESULTS, by="sequence")
    assert by_frame["net"]["mpjpe_mm"]["mean"] == 17.5 and by_sequence["net"]["mpjpe_mm"]["mean"] == 25.0
    assert by_frame["net"]["accel_mm"]["mean"] == 10.0, "what is unknown does not count"
    assert by_frame["net"]["mpjpe_mm"]["low"] == 10.0 and by_frame["net"]["mpjpe_mm"]["high"] == 40.0


def test_intervals_of_weighted_means() -> None:
    """Of two sequences, half of the drawn means are the weighted one, a quarter each is one alone."""
    assert bootstrap_interval([0.0, 1.0], weights=[3, 1], level=0.4) == (0.25, 0.25)
    assert bootstrap_interval([0.0, 1.0], weights=[3, 1], level=0.9) == (0.0, 1.0)
    low, high = bootstrap_interval([1.0, 2.0, 9.0], weights=[1, 1, 50])
    assert low < (1 + 2 + 9 * 50) / 52 <= high == 9
    assert bootstrap_interval([1.0, 2.0, 9.0], weights=[2, 2, 2]) == bootstrap_interval([1.0, 2.0, 9.0])
    with pytest.raises(ShapeError, match="positive"):
        bootstrap_interval([1.0, 2.0], weights=[1, 0])
    with pytest.raises(ShapeError, match=r"\(2,\) positive numbers; got \(3,\)"):
        bootstrap_interval([1.0, 2.0], weights=[1, 1, 1])


def test_a_report_says_its_conditions() -> None:
    report = report_mmhpsd(RESULTS, PROTOCOLS["tracker-64"], "true", notes=("net sees nothing",))
    assert report.conditions[:3] == (
        "test subjects, clips of 64 steps (8.53 s), without overlap; the true pose, shape and place at the "
        "clip's first frame are given; frame 0 is not scored",
        "net sees nothing",
        "2 sequences of subjects 01, 07, 40 scored poses, which weigh the same; 95 % bootstrap intervals "
        "over sequences in brackets",
    )
    assert report.conditions[-1].endswith("07, not measured here")
    own = report_mmhpsd(RESULTS, PROTOCOLS["tracker-8"], "true", body=BodySource("open", "neutral"))
    assert own.conditions[-1].endswith("this set is a synthetic one, so they are no comparison for it")
    # Means over 30 and 10 poses: 17.5 against 35.
    assert report.summary == {"root-aligned error below start pose held": "50.0 %"}
    with pytest.raises(MissingAssetError, match="at least one sequence"):
        report_mmhpsd({}, PROTOCOLS["eventhpe"], "none")


def test_text_csv_markdown_and_json_hold_the_same_numbers() -> None:
    report = report_mmhpsd(RESULTS, PROTOCOLS["tracker-64"], "true")
    text, page = report_text(report), markdown(report)
    assert text.splitlines()[0].split() == ["method", *METRICS[:5]]
    assert text.splitlines()[1].startswith("net  ") and "17.5 [10.0, 40.0]" in text.splitlines()[1]
    assert "17.500 [10.000, 40.000]" in text, "shares get three digits"
    assert "published: SNN tracker (sees events; start: nothing)" in text and "111.7" in text
    assert "107.2" not in text, "that is of clips of 8 steps"
    assert page.startswith("# MMHPSD\n\n| method | mpjpe_mm |")
    assert f"| {B} | 10 | 40.0 | 40.0 | 40.0 | 40.000 |" in page, "sequences and their poses"
    assert page.count("Zou et al., TCSVT 35(10), 2025") == 3
    assert "- root-aligned error below start pose held: 50.0 %" in page

    lines = list(csv.DictReader(io.StringIO(comma_separated(report))))
    found = {(line["method"], line["sequence"], line["metric"]): line for line in lines}
    assert len(found) == len(lines) == 3 * 2 * len(METRICS) + 2 + 3 + 3
    whole = found["net", "all", "pa_mpjpe_mm"]
    assert [whole[k] for k in ("mean", "low", "high", "poses")] == ["17.5", "10", "40", "40"]
    assert found["net", B, "accel_mm"]["mean"] == "" and found["net", B, "px_256"]["mean"] == "40"
    assert found["published: ResNet-Transformer", "all", "pel_mpjpe_mm"]["mean"] == "66"

    told = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert told["table"]["net"]["pve_mm"] == {"mean": 17.5, "low": 10.0, "high": 40.0}
    assert told["sequences"][B]["net"]["accel_mm"] is None and told["metrics"] == list(METRICS)
    assert (told["protocol"], told["clips_of"], told["start"]) == ("mmhpsd", "tracker-64", "true")
    assert [p["num_steps"] for p in told["published, not measured here"]] == [64, 64, 64]


def test_unknown_numbers_are_dashes() -> None:
    report = report_mmhpsd({A: {"net": row(NAN, 3, mpjpe_mm=5.0)}}, PROTOCOLS["eventhpe"], "none")
    (_, (ours, *_)), (_, (others,)) = main_tables(report)
    assert ours == ["net", "5.0 [5.0, 5.0]", "-", "-", "-", "-"] and others == ["net", *["-"] * 5]
    assert report.summary == {} and math.isnan(report.rows["net"]["pve_mm"]["mean"])


def test_published_rows_say_their_conditions() -> None:
    assert all(row.start and row.sees and row.source for row in PUBLISHED)
    tracker = next(row for row in PUBLISHED if row.method == "SNN tracker" and row.num_steps == 64)
    assert (tracker.mpjpe_mm, tracker.pel_mpjpe_mm, tracker.pa_mpjpe_mm) == (111.7, 61.9, 45.7)
    human = next(row for row in PUBLISHED if row.method == "EvHuman")
    assert human.pckh == 0.862 and "first of 8 scored frames" in human.note
