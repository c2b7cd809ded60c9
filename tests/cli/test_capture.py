"""`eventhpe capture`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eventhpe.body.motion_file import load_motion
from eventhpe.cli.main import main
from eventhpe.data.calibration import assumed_camera, write_calibration
from eventhpe.events.formats.aedat2 import write_aedat2
from eventhpe.events.open import open_recording
from eventhpe.events.store_writer import StoreWriter
from eventhpe.geometry.camera import Camera
from tests.small_world import SENSOR, noise_recording


def weights(networks: Path) -> list[str]:
    return ["--weights", str(networks / "shapenet"), "--flow-weights", str(networks / "flownet")]


def test_capture_with_a_calibration(
    recordings: Path, networks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    camera = Camera.from_focal(123.0, SENSOR)
    write_calibration(tmp_path / "camera.yaml", camera)
    out = tmp_path / "out"
    words = ["--calibration", str(tmp_path / "camera.yaml"), "-o", str(out)]
    assert main(["capture", str(recordings / "squat.h5"), *weights(networks), *words]) == 0
    told = capsys.readouterr()
    assert "12 at 20 per second" in told.out and "0.60 s" in told.out and told.err == ""
    assert "note: first-frame knowledge: none" in told.out and str(out / "overlay.mp4") in told.out
    clip = load_motion(out / "motion.npz")
    assert clip.camera is not None and clip.camera.K[0, 0] == pytest.approx(123.0)
    facts = clip.provenance
    assert facts["recording"] == "squat.h5" and facts["camera"] == "focal length 123.0 px, from camera.yaml"
    assert facts["shape weights"].startswith("shapenet, sha256 ") and "flow weights" in facts
    assert facts["body model"] == "open (CC0)" and facts["notes"] == list(facts["notes"])
    assert str(tmp_path) not in str(facts)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "from camera.yaml" in page and str(tmp_path) not in page


def test_without_calibration_the_assumption_is_told(recordings: Path, networks: Path, tmp_path: Path) -> None:
    with open_recording(recordings / "jumping_jack.h5") as recording:
        write_aedat2(tmp_path / "a.aedat", recording.read(), chip="DVS128", t_offset_us=0)
    words = ["--weights", str(networks / "shapenet-noflow"), "-o", str(tmp_path / "out")]
    assert main(["capture", str(tmp_path / "a.aedat"), *words]) == 0
    clip = load_motion(tmp_path / "out" / "motion.npz")
    assert clip.camera is not None
    assert clip.camera.K[0, 0] == pytest.approx(assumed_camera(SENSOR).K[0, 0])
    assert "assumed (no calibration given)" in clip.provenance["camera"]
    assert "flow weights" not in clip.provenance
    assert "Optical flow" not in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_a_start_can_be_given(
    recordings: Path, networks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(recordings / "squat.h5"), *weights(networks)]
    assert main(["capture", *words, "-o", str(tmp_path / "first")]) == 0
    first = load_motion(tmp_path / "first" / "motion.npz")
    begin = ["--start", str(tmp_path / "first" / "motion.npz"), "-o", str(tmp_path / "second")]
    assert main(["capture", *words, *begin]) == 0
    assert "followed by contours" in capsys.readouterr().out
    second = load_motion(tmp_path / "second" / "motion.npz")
    np.testing.assert_allclose(second.params.betas[0], first.params.betas[0], atol=1e-5)
    assert main(["capture", *words, *begin, "--start-weights", "shipped"]) == 2
    assert "--start-weights guesses it" in capsys.readouterr().err


def test_refusals_are_one_line_and_write_nothing(
    recordings: Path, networks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quiet = tmp_path / "quiet.h5"
    with StoreWriter(quiet, SENSOR) as writer:
        writer.append(noise_recording(num_events=50, duration_us=500_000).read())
    (tmp_path / "text.aedat").write_text("hello")
    write_calibration(tmp_path / "other.yaml", Camera.from_focal(100.0, (260, 346)))
    good, out = str(recordings / "squat.h5"), tmp_path / "out"
    for words, complaint in (
        ([str(tmp_path / "nowhere.h5")], "FormatError: "),
        ([str(tmp_path / "text.aedat")], "FormatError: "),
        ([str(quiet)], "found no moving person: 50 events"),
        ([good, "--calibration", str(tmp_path / "other.yaml")], "CalibrationError: "),
        ([good, "--weights", str(tmp_path / "nowhere")], "MissingAssetError: "),
        ([good, "--weights", str(networks / "flownet")], "capture needs ShapeNet's fixed variant"),
        ([good, "--stream", "3"], "no event stream '3'"),
    ):
        assert main(["capture", *weights(networks), *words, "-o", str(out)]) == 2, words
        told = capsys.readouterr()
        assert complaint in told.err and told.err.startswith("eventhpe: ") and told.err.count("\n") == 1
        assert told.out == "" and not out.exists()
