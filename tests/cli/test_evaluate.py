"""`eventhpe evaluate`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from eventhpe.cli.main import main
from eventhpe.evaluation.protocols import METRICS
from tests.small_world import copy_without


def weights(networks: Path) -> list[str]:
    return ["--weights", str(networks / "shapenet"), "--flow-weights", str(networks / "flownet")]


def evaluated(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["evaluate", *words, "--json"]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    return report


def test_capture_protocol(recordings: Path, networks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["capture", "--data", str(recordings), *weights(networks)]
    report = evaluated(words, capsys)
    assert (report["protocol"], report["start"], report["recordings"]) == ("capture", "none", 2)
    assert report["metrics"] == list(METRICS) and set(report["clips"]) == {"jumping_jack", "squat"}
    assert list(report["table"]) == ["capture", "mean pose", "start pose held"]
    for scores in report["table"].values():
        assert list(scores) == list(METRICS)
        for metric, cell in scores.items():
            assert set(cell) == {"mean", "low", "high"} and cell["low"] <= cell["mean"] <= cell["high"], (
                metric
            )
    for method, scores in report["table"].items():
        mean = sum(clip[method]["mpjpe_mm"] for clip in report["clips"].values()) / 2
        assert scores["mpjpe_mm"]["mean"] == pytest.approx(mean)
    ours, base = (report["table"][m]["root_aligned_mm"]["mean"] for m in ("capture", "mean pose"))
    below = report["summary"]["root-aligned error below mean pose"]
    assert below == f"{100 * (1 - ours / base):.1f} %"

    known = evaluated([*words, "--start", "true"], capsys)
    assert known["start"] == "true" and list(known["summary"]) == ["root-aligned error below start pose held"]
    # A network that knows nothing does better from the true start, and baselines do not depend on it.
    assert (
        known["table"]["capture"]["pa_mpjpe_mm"]["mean"] < report["table"]["capture"]["pa_mpjpe_mm"]["mean"]
    )
    assert known["table"]["start pose held"] == report["table"]["start pose held"]
    assert known["table"]["mean pose"] == report["table"]["mean pose"]


def test_flow_protocol_compares_variants(
    recordings: Path, networks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["flow", "--data", str(recordings), "--weights", str(networks / "flownet")]
    report = evaluated([*words, "--compare", str(networks / "flownet-parity")], capsys)
    assert (report["protocol"], report["recordings"]) == ("flow", 2)
    assert list(report["table"]) == ["zero flow", "flownet", "compared"]
    assert report["metrics"] == ["epe_events_px", "epe_person_px"]
    for scores in report["table"].values():
        assert all(0 < cell["mean"] < 500 and math.isfinite(cell["high"]) for cell in scores.values())
    assert report["table"]["flownet"] != report["table"]["compared"]


def test_table_for_people(recordings: Path, networks: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "flow", "--data", str(recordings), "--weights", str(networks / "flownet")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["method", "epe_events_px", "epe_person_px"]
    assert [line.split("  ")[0] for line in lines[1:3]] == ["zero flow", "flownet"]
    assert lines[-1] == "means over 2 recordings, 95 % bootstrap intervals in brackets"


def test_refusals_are_one_line(
    recordings: Path, networks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy_without(recordings / "squat.h5", tmp_path / "bare.h5", "labels")
    flow = ["--weights", str(networks / "flownet")]
    for words, complaint in (
        (["capture", "--data", str(tmp_path / "nowhere"), *weights(networks)], "no .h5 recordings there"),
        (["capture", "--data", str(tmp_path), *weights(networks)], "no labels in this recording"),
        (["flow", "--data", str(tmp_path), *flow], "no labels in this recording"),
        (["flow", "--data", str(recordings), "--weights", str(tmp_path / "no")], "no weights card"),
        (["flow", "--data", str(recordings), "--weights", str(networks / "shapenet")], "FlowNet"),
    ):
        assert main(["evaluate", *words]) == 2, words
        told = capsys.readouterr()
        assert complaint in told.err and told.err.startswith("eventhpe: ") and told.out == ""
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "capture"])
    assert stop.value.code == 2 and "data" in capsys.readouterr().err
