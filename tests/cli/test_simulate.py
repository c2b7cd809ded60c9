"""`eventhpe simulate`: one file, a folder, what is kept, the contact sheet, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from eventhpe.cli.main import main
from eventhpe.data.labels import read_flow_labels, read_labels
from eventhpe.events.open import open_recording

SHORT = ["--duration", "0.1", "--seed", "3"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("simulated") / "set"
    assert main(["simulate", *SHORT, "--n", "2", "--no-flow-labels", "-o", str(out)]) == 0
    return out


def columns(path: Path) -> list[np.ndarray]:
    with open_recording(path) as recording:
        events = recording.read()
        return [events.t, events.x, events.y, events.p]


def test_a_folder_of_labelled_recordings(folder: Path) -> None:
    assert sorted(p.name for p in folder.iterdir()) == ["00000.h5", "00001.h5"]
    for path in folder.iterdir():
        labels = read_labels(path)
        assert labels.t_us[-1] == 100_000 and np.isfinite(labels.joints3d).all()
        assert read_flow_labels(path) == []
        with open_recording(path) as recording:
            assert recording.num_events > 0 and recording.sensor_size == labels.camera.size
            assert recording.frames is not None and len(recording.frames.t_us) == 3
    a, b = (columns(folder / name) for name in ("00000.h5", "00001.h5"))
    assert len(a[0]) != len(b[0])


def test_one_file_with_flow_and_a_contact_sheet(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, sheet = tmp_path / "one.h5", tmp_path / "sheet.png"
    assert main(["simulate", *SHORT, "-o", str(out), "--preview", str(sheet)]) == 0
    told = capsys.readouterr().out
    report = json.loads(told.splitlines()[0])
    assert (report["recordings"], report["made"], report["output"]) == (1, 1, str(out))
    assert report["events"] == len(columns(out)[0])
    assert f"wrote {sheet}" in told and cv2.imread(str(sheet)).shape[2] == 3
    assert len(read_flow_labels(out)) == 2
    # The same seed makes the same first recording, whether alone or in a set.
    for a, b in zip(columns(out), columns(folder / "00000.h5"), strict=True):
        assert np.array_equal(a, b)


def test_existing_files_are_kept_unless_told_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "set"
    out.mkdir()
    (out / "00000.h5").write_bytes(b"mine")
    words = ["simulate", "--duration", "0.1", "--n", "1", "-o", str(out)]
    assert main(words) == 0
    captured = capsys.readouterr()
    assert "kept 1 existing recordings" in captured.err and json.loads(captured.out)["made"] == 0
    assert (out / "00000.h5").read_bytes() == b"mine"
    assert main([*words, "--overwrite"]) == 0
    assert json.loads(capsys.readouterr().out)["made"] == 1
    assert read_labels(out / "00000.h5").t_us[-1] == 100_000


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--n", "0", "-o", "set"], "FormatError: --n must be at least 1; got 0."),
        (["--n", "2", "-o", "one.h5"], "names one file, but --n 2 recordings were asked for"),
        (["--motion", "no.bvh", "-o", "one.h5"], "MissingAssetError: --motion no.bvh: no such file."),
        (["--motions", "nowhere", "-o", "set"], "found no training BVH clips"),
        (["--preset", "benchmark-v1", "-o", "set"], "needs --motions FOLDER"),
        (["--duration", "0", "-o", "set"], "duration_s must be positive"),
    ],
)
def test_refusals_are_one_line(
    words: list[str], complaint: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["simulate", *words]) == 2
    captured = capsys.readouterr()
    assert complaint in captured.err and captured.err.startswith("eventhpe: ")
    assert captured.err.count("\n") == 1 and captured.out == ""
    assert not list(tmp_path.glob("**/*.h5"))
