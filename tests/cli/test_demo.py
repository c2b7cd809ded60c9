"""`eventhpe demo`: the main job on the shipped recording with the shipped weights."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from eventhpe.body.motion_file import load_motion
from eventhpe.cli.main import main
from eventhpe.data.demo import demo_recording
from eventhpe.events.open import open_recording
from eventhpe.weights import files

SHIPPED = demo_recording().is_file() and {"flownet", "shapenet"} <= set(files.shipped_names())


@pytest.mark.skipif(
    not SHIPPED, reason="the demo recording or the trained weights are not in the package yet"
)
def test_demo_finds_the_person(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    av = pytest.importorskip("av")
    out = tmp_path / "demo"
    assert main(["demo", "-o", str(out)]) == 0
    told = capsys.readouterr().out
    wanted = {"motion.npz", "overlay.mp4", "report.html", "scores.json"}
    assert {p.name for p in out.iterdir()} == wanted
    scores = json.loads((out / "scores.json").read_text())
    assert scores["mask_iou"] >= 0.6, scores
    assert scores["root_aligned_mm"] < 200 and np.isfinite(list(scores.values())).all()
    assert re.search(rf"^mask IoU: {scores['mask_iou']:.2f}$", told, re.MULTILINE)
    clip = load_motion(out / "motion.npz")
    with open_recording(demo_recording()) as recording:
        assert len(clip) == round(recording.duration_us / 50_000)
        assert clip.camera is not None and clip.camera.size == recording.sensor_size
    with av.open(str(out / "overlay.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == len(clip)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<h2>Errors against truth</h2>" in page and "http://" not in page and "https://" not in page


def test_demo_says_what_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(files, "shipped_names", lambda: [])
    assert main(["demo", "-o", str(tmp_path / "demo")]) == 2
    told = capsys.readouterr().err
    assert "MissingAssetError: no shipped weights named 'shapenet'; there are: none." in told
    assert told.startswith("eventhpe: ") and told.count("\n") == 1 and not (tmp_path / "demo").exists()
