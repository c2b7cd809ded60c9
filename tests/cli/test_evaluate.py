"""`eventhpe evaluate`."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eventhpe.cli.main import main
from eventhpe.evaluation.protocols import METRICS
from eventhpe.evaluation.realism import STATISTICS
from eventhpe.events.conversion import convert
from eventhpe.events.open import open_recording
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


def blob(path: Path, num_events: int, *, size: tuple[int, int] = (128, 128), seed: int = 0) -> Path:
    """A .npy file, which tells no sensor size: a dense blob that moves to the right, in noise, for 1.2 s.

    A quarter of the events are noise; they reach every border of a sensor of (H, W).
    """
    rng = np.random.default_rng(seed)
    height, width = size
    t = np.sort(rng.integers(0, 1_200_000, num_events))
    x = np.clip(rng.normal(30 + 40e-6 * t, 5), 0, width - 1).astype(int)
    y = np.clip(rng.normal(50, 8, num_events), 0, height - 1).astype(int)
    x[::4], y[::4] = rng.integers(0, width, len(x[::4])), rng.integers(0, height, len(y[::4]))
    x[:2], y[:2] = (0, width - 1), (0, height - 1)
    np.save(path, np.stack([t, x, y, rng.integers(0, 2, num_events)], axis=1))
    return path


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with two recordings `0.h5` and `1.h5` of 20,000 and 30,000 events."""
    folder = tmp_path_factory.mktemp("blobs")
    for k, number in enumerate((20_000, 30_000)):
        with open_recording(blob(folder / f"{k}.npy", number, seed=k)) as recording:
            convert(recording, folder / f"{k}.h5")
        (folder / f"{k}.npy").unlink()
    return folder


def test_realism_of_equal_sets_is_perfect(
    blobs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "picture.png"
    report = evaluated(["realism", "--data", str(blobs), "--real", str(blobs), "-o", str(picture)], capsys)
    assert report["protocol"] == "realism" and report["total"] == 0 and report["left_out"] == {}
    assert list(report["statistics"]) == [s.name for s in STATISTICS]
    for row in report["statistics"].values():
        assert row["real"] == row["synthetic"] and row["distance"] == 0 and row["overlap"] == 1
    assert set(report["real"]) == set(report["synthetic"]) == {str(blobs / f"{k}.h5") for k in range(2)}
    assert {m["num_events"] for m in report["real"].values()} == {20_000, 30_000}
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_realism_table_names_what_differs(
    blobs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [str(blob(tmp_path / f"{k}.npy", 100_000 + k, seed=k)) for k in range(3)]
    picture = tmp_path / "picture.png"
    words = ["evaluate", "realism", "--data", str(blobs), "--real", *files, "-o", str(picture)]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["statistic", "real", "synthetic", "overlap", "covered", "distance"]
    for line, statistic in zip(lines[1:], STATISTICS, strict=False):
        assert line.startswith(statistic.label)
        assert line.endswith(")") != statistic.counted
    background = next(line for line in lines if line.startswith("background rate (Hz"))
    # Log10(25000 / 4 / 1.2 / 16384 against 100000 / 4 / ...) = 0.6 decades, over the least spread of 0.2.
    assert float(background.split()[-1]) == pytest.approx(0.6 / 0.2, abs=0.3)
    total = next(line for line in lines if line.startswith("total distance: "))
    assert float(total.split()[2].strip(",")) > 1
    assert any("of 3 real and 2 synthetic recordings" in line for line in lines)
    assert lines[-1] == f"wrote {picture}" and picture.is_file()


def test_realism_leaves_out_what_it_cannot_measure(
    blobs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "real"
    (folder / "below").mkdir(parents=True)
    good = blob(folder / "a.npy", 20_000)
    shutil.copy(good, folder / "below" / "again.npy")
    blob(folder / "few.npy", 4_999)
    blob(folder / "odd.npy", 6_000, size=(100, 90))
    (folder / "notes.xml").write_text("<notes/>")
    assert main(["evaluate", "realism", "--data", str(blobs), "--real", str(folder), "--json"]) == 0
    told = capsys.readouterr()
    report = json.loads(told.out)
    assert list(report["real"]) == [str(good)]
    left_out = {Path(k).name: reason for k, reason in report["left_out"].items()}
    assert left_out["again.npy"] == f"the same events as {good}"
    assert left_out["few.npy"] == "4,999 events, where 5,000 are needed"
    assert left_out["odd.npy"] == "unknown sensor size; events reach 90x100"
    assert left_out["notes.xml"].startswith("of unknown format") and len(left_out) == 4
    assert told.err.count("left out ") == 4


def test_realism_refusals(blobs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    few = blob(tmp_path / "few.npy", 10)
    data = ["--data", str(blobs)]
    for words, complaint in (
        (["realism", *data], "needs --real"),
        (["realism", *data, "--real", str(few)], "no real recording to measure"),
        (["realism", *data, "--real", str(tmp_path / "none")], "no real recording to measure"),
        (["realism", *data, "--real", str(few), "-o", "a.jpg"], "pictures are written as .png"),
        (["flow", *data, "--real", str(few)], "--real and --output go with"),
        (["capture", *data, "-o", "a.png"], "--real and --output go with"),
    ):
        assert main(["evaluate", *words]) == 2, words
        told = capsys.readouterr()
        assert complaint in told.err and told.out == ""
