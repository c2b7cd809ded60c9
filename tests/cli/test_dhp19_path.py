"""Mini-DHP19: people that were generated, in DHP19's files, through every step from raw events to a table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from eventhpe.cli.main import main
from eventhpe.data.dhp19_cameras import world_to_dhp19
from eventhpe.data.dhp19_prepared import PreparedDHP19
from eventhpe.data.labels import read_labels
from eventhpe.training import run
from eventhpe.weights.files import read_card

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice on workers and logging intervals

LIVELY = """
ranges:
  threshold: [0.1, 0.1]
  threshold_ratio: [1.0, 1.0]
  exposure_dn: [200.0, 200.0]
  cutoff_share: 0.0
  readout_share: 0.0
wardrobe:
  pattern_contrast: [0.6, 0.9]
"""
"""A sensor so sensitive that half a second fills frames of 30,000 events."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mini-dhp19")
    (root / "lively.yaml").write_text(LIVELY)
    words = ["--preset", "dhp19", "--n", "2", "--seed", "7", "--duration", "0.5"]
    assert main(["simulate", *words, "--settings", str(root / "lively.yaml"), "-o", str(root / "raw")]) == 0
    assert main(["prepare", "dhp19", str(root / "raw"), "-o", str(root / "prepared")]) == 0
    return root


def test_labels_of_frames_are_the_markers_that_were_simulated(folder: Path) -> None:
    prepared = PreparedDHP19(folder / "prepared")
    assert [(r.subject, r.session, r.movement) for r in prepared.recordings] == [(1, 1, 1), (13, 1, 1)]
    for recording in prepared.recordings:
        assert recording.num_frames >= 1
        truth = read_labels(folder / "raw" / "recordings" / f"S{recording.subject}_1_1_ch0.h5")
        assert truth.markers3d is not None
        markers = world_to_dhp19(truth.to_world(truth.markers3d))
        low, high = markers.min(axis=0) - 1, markers.max(axis=0) + 1
        real = recording.labels[~np.isnan(recording.labels).all(axis=(1, 2))]
        assert len(real) >= 1
        assert ((real >= low) & (real <= high)).all(), "a mean over rows lies among them"
        assert recording.frames(0).any(axis=(0, 1)).all(), "all four cameras saw the person"


def test_the_network_trains_and_is_scored_on_an_unseen_subject(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, run = str(folder / "prepared"), str(folder / "cnn")
    words = ["--epochs", "0.5", "--no-hold-out", "--batch-size", "1", "--precision", "32-true"]
    assert main(["train", "cnn", "--data", f"dhp19:{data}", *words, "--workers", "0", "-o", run]) == 0
    capsys.readouterr()
    weights = f"{run}/dhp19_cnn.safetensors"
    assert main(["evaluate", "dhp19", "--data", data, "--weights", weights, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    told = json.dumps(report)
    assert "S13" in told and "S1_" not in told, "the subject it was trained on is not scored"
    floor = next(row for name, row in report["table"].items() if name.startswith("floor"))
    assert floor["mm"]["mean"] < 15, "labels, cameras and triangulation belong together"


SMALL = "--steps 2 --batch-size 2 --size-px 64 --width 8 --workers 0 --precision 32-true".split()


@pytest.fixture(scope="module")
def bodies(folder: Path) -> Path:
    out = folder / "bodies"
    assert main(["prepare", "dhp19", str(folder / "raw"), "-o", str(out), "--mode", "bodies"]) == 0
    return out


def test_bodies_are_fitted_to_the_markers(
    bodies: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {p.name for p in bodies.glob("*.h5")} == {f"S{s}_1_1_cam{c}.h5" for s in (1, 13) for c in (2, 3)}
    for path in bodies.glob("*.h5"):
        labels = read_labels(path)
        channel = {2: 3, 3: 2}[int(path.stem[-1])]
        truth = read_labels(folder / "raw" / "recordings" / f"{path.stem[:-5]}_ch{channel}.h5")
        assert labels.markers2d is not None and truth.markers2d is not None and labels.valid is not None
        k = truth.index(labels.t_us)
        assert np.abs(labels.markers2d - truth.markers2d[k]).max() < 0.01, "pixels of the camera that saw it"
        assert labels.valid.all()
        off = np.linalg.norm(labels.joints3d - truth.joints3d[k], axis=-1)
        assert off.mean() < 0.08, "a person that nobody has told the fit, from 13 points of half a second"
    words = ["prepare", "dhp19", str(folder / "raw"), "-o", str(bodies), "--mode", "bodies"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "S13: fitted 11 frames, 100.0% valid" in said and "(there already)" in said
    assert "0 prepared, 2 there already, 0 left out, 0 failed" in said


def test_flownet_and_shapenet_train_on_bodies_and_are_scored_on_markers(
    bodies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "PROBE_CLIPS", 8)
    data, flow, shape = f"dhp19:{bodies}", tmp_path / "flow", tmp_path / "shape"
    words = ["--objective", "contrast", "-o", str(flow)]
    assert main(["train", "flownet", "--data", data, *SMALL, *words]) == 0
    assert "train/contrast" in capsys.readouterr().out
    clips = ["--num-windows", "3", "--flow-weights", str(flow / "flownet"), "-o", str(shape)]
    assert main(["train", "shapenet", "--data", data, *SMALL, *clips]) == 0
    assert f"finished: {shape / 'shapenet.safetensors'}" in capsys.readouterr().out
    for card in (read_card(flow / "flownet"), read_card(shape / "shapenet")):
        assert (card.data["source"], card.data["subjects"], card.data["recordings"]) == ("dhp19", [1], 2)
    assert main(["train", "shapenet", "--data", data, "--val-data", data, *SMALL, *clips[:-1], "x"]) == 2
    assert "no recording of S10, S11, S12; there are those of S1, S13" in capsys.readouterr().err

    page = tmp_path / "dhp19.md"
    weights = ["--weights", str(shape / "shapenet"), "--flow-weights", str(flow / "flownet")]
    scored = ["evaluate", "dhp19", "--data", str(bodies), *weights]
    assert main([*scored, "--start", "true", "--json", "-o", str(page)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["conditions"]["subjects"] == [13] and report["conditions"]["frames"] == 2 * 10
    assert list(report["table"]) == ["EventHPE", "start pose held", "mean pose", "floor: fitted body"]
    mm = {method: cells["mm"]["mean"] for method, cells in report["table"].items()}
    assert mm["floor: fitted body"] < mm["start pose held"] < mm["mean pose"]
    assert page.read_text().startswith("# DHP19")

    assert main([*scored, "--subjects", "1", "--average", "per_recording"]) == 0
    said = capsys.readouterr()
    assert "trained on S1, which is tested here" in said.err and "given to EventHPE: nothing" in said.out
    assert main([*scored, "--crop", "true-box", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["conditions"]["crop"] == "true-box" and report["conditions"]["start"] == "none"
    assert main([*scored, "--crop", "image"]) == 2
    assert "--crop image goes with `evaluate mmhpsd`" in capsys.readouterr().err
    assert main([*scored, "--hold", "0.3"]) == 2
    assert "--hold goes with the CNN's weights" in capsys.readouterr().err
    assert main([*scored, "--start", "image"]) == 2
    assert "--start image goes with `evaluate mmhpsd`" in capsys.readouterr().err


def test_heads_train_on_whole_frames_and_are_scored_beside_the_network(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = folder / "prepared", tmp_path / "simdr"
    words = (
        "--steps 2 --batch-size 1 --width 4 --workers 0 --precision 32-true --head-options channels=4".split()
    )
    frames = ["--data", f"dhp19:{data}", "--view", "frame", "--size-px", "352"]
    assert main(["train", "simdr", *frames, *words, "-o", str(out)]) == 0
    card = read_card(out / "simdr")
    assert card.config["in_channels"] == 1 and card.data["training"]["view"] == "frame"
    assert (card.data["source"], card.data["subjects"]) == ("dhp19", [1])
    capsys.readouterr()
    asked = ["evaluate", "dhp19", "--data", str(data), "--weights", str(out / "simdr.safetensors"), "--json"]
    assert main(asked) == 0
    report = json.loads(capsys.readouterr().out)
    one = report["table"]["every frame by itself"]["mean_px"]["mean"]
    assert 0 < one < 350 and report["conditions"]["gmac_per_view"] > 0
    # A head that sees the square around the person has no place for a whole frame.
    square = ["--data", f"dhp19:{data}", "--size-px", "64", *words, "-o", str(tmp_path / "square")]
    assert main(["train", "simdr", *square]) == 0
    capsys.readouterr()
    assert main([*asked[:4], "--weights", str(tmp_path / "square" / "simdr.safetensors")]) == 2
    assert "--view frame --size-px 352" in capsys.readouterr().err


def test_heads_train_on_bodies_and_are_scored_on_test_subjects(
    bodies: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "hemlets"
    words = [*SMALL, "--head-options", "width=0.05", "depth_bins=8"]
    assert main(["train", "hemlets", "--data", f"dhp19:{bodies}", *words, "-o", str(out)]) == 0
    assert read_card(out / "hemlets").data["subjects"] == [1]
    capsys.readouterr()
    weights = ["--weights", str(out / "hemlets.safetensors"), "--json"]
    assert main(["evaluate", "pose3d", "--data", str(bodies), *weights]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["clips"]) == {"S13_1_1_cam2", "S13_1_1_cam3"}, "S1 was trained on"
