"""Mini-DHP19: people that were generated, in DHP19's files, through every step from raw events to a table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from eventhpe.cli.main import main
from eventhpe.data.dhp19_cameras import world_to_dhp19
from eventhpe.data.dhp19_prepared import PreparedDHP19
from eventhpe.data.labels import read_labels

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
    torch.set_num_threads(1)
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
