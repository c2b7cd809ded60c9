"""`eventhpe simulate`: one file, a folder, settings, presets, what is kept, pictures, exports, refusals."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest

from eventhpe.cli.main import main
from eventhpe.data import presets
from eventhpe.data.dhp19 import find_movements
from eventhpe.data.labels import num_people, read_flow_labels, read_labels
from eventhpe.data.presets import preset_config
from eventhpe.data.settings_file import read_settings
from eventhpe.events.open import open_recording

SMALL = "{supersample: 1, ranges: {sensor_sizes: [[64, 64]]}}"
SHORT = ["--duration", "0.1", "--seed", "3"]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings of small recordings."""
    path = tmp_path_factory.mktemp("settings") / "small.yaml"
    path.write_text(SMALL)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, small: Path) -> Path:
    out = tmp_path_factory.mktemp("simulated") / "set"
    words = [*SHORT, "--settings", str(small), "--n", "2", "--no-flow-labels", "--jobs", "2", "-o", str(out)]
    assert main(["simulate", *words]) == 0
    return out


def columns(path: Path) -> list[np.ndarray]:
    with open_recording(path) as recording:
        events = recording.read()
        return [events.t, events.x, events.y, events.p]


def everything(path: Path) -> dict[str, bytes]:
    """Bytes of every dataset of a file, by name, and of its provenance."""
    out: dict[str, bytes] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            out[name] = item[()].tobytes()

    with h5py.File(path, "r", locking=False) as file:
        file.visititems(visit)
        out["provenance"] = str(file.attrs["provenance"]).encode()
    return out


def test_a_folder_of_labelled_recordings(folder: Path) -> None:
    names = sorted(p.name for p in folder.iterdir())
    assert names == ["00000.h5", "00001.h5", "settings.yaml"]
    for path in sorted(folder.glob("*.h5")):
        labels = read_labels(path)
        assert labels.t_us[-1] == 100_000 and np.isfinite(labels.joints3d).all()
        assert read_flow_labels(path) == []
        with open_recording(path) as recording:
            assert recording.num_events > 0 and recording.sensor_size == labels.camera.size == (64, 64)
            assert recording.frames is not None and len(recording.frames.t_us) == 3
    a, b = (columns(folder / name) for name in names[:2])
    assert len(a[0]) != len(b[0])


def test_same_seed_same_bytes_at_one_and_two_jobs(folder: Path, small: Path, tmp_path: Path) -> None:
    words = [*SHORT, "--settings", str(small), "--n", "2", "--no-flow-labels", "-o", str(tmp_path / "one")]
    assert main(["simulate", *words]) == 0
    for path in sorted(folder.glob("*.h5")):
        first = everything(path)
        assert {"events/t", "labels/mask", "labels/people/0/joints3d", "frames/data"} <= set(first)
        assert everything(tmp_path / "one" / path.name) == first
    assert (tmp_path / "one" / "settings.yaml").read_text() == (folder / "settings.yaml").read_text()


def test_the_settings_beside_a_set_make_it_again(folder: Path, tmp_path: Path) -> None:
    words = ["--preset", "wild", "--seed", "3", "--settings", str(folder / "settings.yaml")]
    assert main(["simulate", *words, "-o", str(tmp_path / "again")]) == 0
    assert everything(tmp_path / "again" / "00000.h5") == everything(folder / "00000.h5")


def test_one_file_with_flow_depth_and_pictures(
    folder: Path, small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, sheet, movie = tmp_path / "one.h5", tmp_path / "sheet.png", tmp_path / "labels.mp4"
    words = [
        *SHORT,
        "--settings",
        str(small),
        "--depth-labels",
        "--preview",
        str(sheet),
        "--video",
        str(movie),
    ]
    assert main(["simulate", *words, "-o", str(out)]) == 0
    told = capsys.readouterr().out
    report = json.loads(told.splitlines()[0])
    assert (report["recordings"], report["made"], report["output"]) == (1, 1, str(out))
    assert report["events"] == len(columns(out)[0])
    assert f"wrote {sheet}" in told and cv2.imread(str(sheet)).shape[2] == 3
    video = cv2.VideoCapture(str(movie))
    assert f"wrote {movie}" in told and video.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert len(read_flow_labels(out)) == 2
    with h5py.File(out, "r", locking=False) as file:
        depth, mask = file["labels/depth"][:], file["labels/mask"][:]
    assert ((depth > 0) == (mask > 0)).all() and 1 < depth[mask > 0].mean() < 9
    # The same seed makes the same first recording, whether alone or in a set.
    for a, b in zip(columns(out), columns(folder / "00000.h5"), strict=True):
        assert np.array_equal(a, b)
    assert {p.name for p in tmp_path.iterdir()} == {"one.h5", "sheet.png", "labels.mp4"}


def test_existing_files_are_kept_unless_told_otherwise(
    small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "set"
    out.mkdir()
    (out / "00000.h5").write_bytes(b"mine")
    words = ["simulate", "--duration", "0.1", "--settings", str(small), "--n", "1", "-o", str(out)]
    assert main(words) == 0
    captured = capsys.readouterr()
    assert "kept 1 existing recordings" in captured.err and json.loads(captured.out)["made"] == 0
    assert (out / "00000.h5").read_bytes() == b"mine"
    assert main([*words, "--overwrite"]) == 0
    assert json.loads(capsys.readouterr().out)["made"] == 1
    assert read_labels(out / "00000.h5").t_us[-1] == 100_000


def test_a_set_grows_but_only_with_the_same_settings(
    folder: Path, small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "set"
    words = ["simulate", *SHORT, "--settings", str(small), "--no-flow-labels", "-o", str(out)]
    assert main([*words, "--n", "1"]) == 0
    first = (out / "00000.h5").read_bytes()
    for other in (
        ["simulate", *SHORT, "-o", str(out)],
        [*words, "--seed", "4"],
        [*words, "--preset", "wild"],
        [*words, "--duration", "0.2"],
        [*words[:-3], "-o", str(out)],
    ):
        capsys.readouterr()
        assert main([*other, "--n", "2"]) == 2
        told = capsys.readouterr()
        assert f"{out / 'settings.yaml'}: the recordings of this folder were made with another" in told.err
        assert told.err.count("\n") == 1 and told.out == ""
    assert sorted(p.name for p in out.iterdir()) == ["00000.h5", "settings.yaml"]
    assert main([*words, "--n", "2"]) == 0
    assert (out / "00000.h5").read_bytes() == first
    assert everything(out / "00001.h5") == everything(folder / "00001.h5")


def test_motions_are_part_of_how_a_set_is_made(
    tmp_path: Path, small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["simulate", *SHORT, "--settings", str(small), "-o", str(tmp_path / "set")]
    assert main(words) == 0
    clip = tmp_path / "clip.bvh"
    clip.touch()
    assert main([*words, "--motion", str(clip), "--n", "2"]) == 2
    assert "made with another preset, seed, motions or settings" in capsys.readouterr().err


@pytest.mark.parametrize(("target", "suffix"), [("aedat2", ".aedat"), ("aedat4", ".aedat4")])
def test_exports_read_back_equal(
    folder: Path, small: Path, tmp_path: Path, target: str, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "one.h5"
    words = [
        "simulate",
        *SHORT,
        "--settings",
        str(small),
        "--no-flow-labels",
        "--also",
        target,
        "-o",
        str(out),
    ]
    if target == "aedat2":  # a format of cameras that exist
        words[words.index(str(small))] = str(tmp_path / "davis.yaml")
        (tmp_path / "davis.yaml").write_text("{supersample: 1, ranges: {sensor_sizes: [[180, 240]]}}")
    assert main(words) == 0
    exported = out.with_suffix(suffix)
    assert f"wrote {exported}" in capsys.readouterr().out
    with open_recording(exported) as recording, open_recording(out) as ours:
        assert recording.sensor_size == ours.sensor_size
        a, b = recording.read(), ours.read()
        for column in "xyp":
            np.testing.assert_array_equal(getattr(a, column), getattr(b, column))
        np.testing.assert_array_equal(a.t + recording.t_offset_us, b.t + ours.t_offset_us)
    stamp = exported.stat().st_mtime_ns
    assert main(words) == 0 and exported.stat().st_mtime_ns == stamp, "kept like the recording"


def test_wild_has_several_people(tmp_path: Path) -> None:
    (tmp_path / "crowd.yaml").write_text(
        "{supersample: 1, max_motion_px: 2.0, ranges: {sensor_sizes: [[64, 64]], people: [3, 3], "
        "shake_share: 1.0, distractor_share: 1.0}}"
    )
    out = tmp_path / "crowd.h5"
    words = ["--preset", "wild", "--settings", str(tmp_path / "crowd.yaml"), "--duration", "0.1"]
    assert main(["simulate", *words, "-o", str(out)]) == 0
    assert num_people(out) == 3 and read_labels(out, 2).track is not None
    with h5py.File(out, "r", locking=False) as file:
        told = json.loads(file.attrs["provenance"])
    assert told["motion"].count("procedural:") >= 3 and told["factors"]["distractors"] >= 1
    assert told["config"]["ranges"]["people"] == [3, 3]


def test_a_data_set_like_dhp19(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "quick.yaml").write_text("{supersample: 1, max_motion_px: 2.0}")
    root = tmp_path / "DHP19"
    words = ["--preset", "dhp19", "--settings", str(tmp_path / "quick.yaml"), "--duration", "0.1"]
    assert main(["simulate", *words, "-o", str(root)]) == 0
    report = json.loads(capsys.readouterr().out)
    (movement,) = find_movements(root)
    assert (report["recordings"], report["made"]) == (1, 1) and movement.labels.is_file()
    recordings = sorted((root / "recordings").glob("*.h5"))
    assert report["events"] == sum(len(columns(p)[0]) for p in recordings) and len(recordings) == 4
    assert main(["simulate", *words, "-o", str(root)]) == 0
    assert json.loads(capsys.readouterr().out)["made"] == 0


def test_the_pages_python_runs(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "simulate.md"
    sensor, truth, stream = re.findall(
        r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S
    )
    words = ["--duration", "0.2", "--settings", str(small), "-o", str(tmp_path / "one.h5")]
    assert main(["simulate", *words]) == 0
    monkeypatch.chdir(tmp_path)
    got: dict[str, Any] = {}
    exec(compile(sensor, "sensor", "exec"), got)
    assert got["events"].sensor_size == (180, 240)
    exec(compile(truth, "truth", "exec"), got)
    assert got["joints"].xyz.shape == (1, 24, 3) and got["mask"].max() == 1 and got["flow"].valid.any()
    assert got["counts"].shape == (1, 24) and len(got["skin"]) == 1
    lab = read_settings(small, preset_config("lab"))
    monkeypatch.setattr(presets, "preset_config", lambda name: lab)
    exec(compile(stream, "stream", "exec"), got)
    assert got["clip"].frames.shape == (2, 4, 8, 64, 64) and got["clip"].rotmats.shape == (2, 5, 24, 3, 3)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--n", "0", "-o", "set"], "FormatError: --n must be at least 1; got 0."),
        (["--n", "2", "-o", "one.h5"], "names one file, but --n 2 recordings were asked for"),
        (["--motion", "no.bvh", "-o", "one.h5"], "MissingAssetError: --motion no.bvh: no such file."),
        (["--motions", "nowhere", "-o", "set"], "nowhere: found no training motion clips"),
        (["--motions", "empty", "-o", "set"], "empty: found no training motion clips"),
        (["--preset", "benchmark-v1", "-o", "set"], "needs --motions FOLDER"),
        (["--preset", "benchmark-v1", "--motions", "empty", "-o", "set"], "cmu14_14_jumpjack1.bvh"),
        (["--preset", "benchmark-p1", "--motions", "empty", "-o", "set"], "has movements of its own"),
        (["--preset", "benchmark-p1", "-o", "one.h5"], "makes a folder of recordings"),
        (["--preset", "benchmark-p1", "--settings", "a.yaml", "-o", "set"], "benchmark-p1 is frozen"),
        (["--preset", "benchmark-v1", "--duration", "1", "-o", "set"], "benchmark-v1 is frozen"),
        (["--preset", "benchmark-p1", "--no-flow-labels", "-o", "set"], "benchmark-p1 is frozen"),
        (["--preset", "dhp19", "--n", "562", "-o", "set"], "DHP19 has 561 recordings"),
        (["--duration", "0", "-o", "set"], "GeneratorConfig.duration_s must be positive"),
        (["--duration", "-1", "-o", "one.h5"], "GeneratorConfig.duration_s must be positive"),
        (["--settings", "nowhere.yaml", "-o", "set"], "nowhere.yaml: cannot read settings"),
        (["--settings", "a.yaml", "-o", "set"], "SceneRanges.threshold must not be negative"),
        (["--settings", "b.yaml", "-o", "set"], "SceneRanges.distance_m: 0.1 m puts the camera inside"),
        (["--settings", "c.yaml", "-o", "set"], "ranges.treshold; did you mean ranges.threshold?"),
        (["--settings", "d.yaml", "-o", "set"], "duration_s must be of the kind of 4.0; got 'long'"),
    ],
)
def test_refusals_are_one_line(
    words: list[str], complaint: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for name, text in (
        ("a", "ranges: {threshold: [-0.2, 0.4]}"),
        ("b", "ranges: {distance_m: [0.1, 3.0]}"),
        ("c", "ranges: {treshold: [0.2, 0.4]}"),
        ("d", "duration_s: long"),
    ):
        (tmp_path / f"{name}.yaml").write_text(text)
    assert main(["simulate", *words]) == 2
    captured = capsys.readouterr()
    assert complaint in captured.err and captured.err.startswith("eventhpe: ")
    assert captured.err.count("\n") == 1 and captured.out == ""
    assert not list(tmp_path.glob("**/*.h5")) and not (tmp_path / "set").exists()


def test_an_unknown_preset_is_answered_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["simulate", "--preset", "labor", "-o", "set"])
    told = capsys.readouterr().err
    assert stop.value.code == 2 and "labor" in told and "benchmark-p1" in told
