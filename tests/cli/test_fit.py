"""`eventhpe fit`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from numpy.typing import NDArray

from eventhpe.body.choreography import perform
from eventhpe.body.default import open_body
from eventhpe.body.fk import forward_kinematics
from eventhpe.body.motion_file import load_motion
from eventhpe.cli.main import main
from eventhpe.geometry.skeleton import SMPL_SKELETON

MARKERS = {
    "head": "head", "shoulderR": "shoulder_right", "shoulderL": "shoulder_left", "elbowR": "elbow_right",
    "elbowL": "elbow_left", "hipR": "hip_right", "hipL": "hip_left", "handR": "wrist_right",
    "handL": "wrist_left", "kneeR": "knee_right", "kneeL": "knee_left", "footR": "ankle_right",
    "footL": "ankle_left",
}  # fmt: skip


@pytest.fixture(scope="module")
def joints() -> NDArray[np.float64]:
    """(30, 24, 3) metres, Y up, 50 frames per second."""
    rest = open_body().J_template.numpy().astype(np.float64)
    params = perform("squat", duration_s=0.6, fps=50, rng=np.random.default_rng(0), rest_joints=rest)
    return forward_kinematics(rest, params.pose, params.transl)[0]


def vicon(path: Path, joints: NDArray[np.float64]) -> Path:
    """As DHP19 stores them: millimetres, Z up, the subject looks towards -y."""
    x, y, z = np.moveaxis(joints * 1e3, -1, 0)
    stored = np.stack([x, -z, y], -1)
    scipy.io.savemat(path, {"XYZPOS": {m: stored[:, SMPL_SKELETON.index(j)] for m, j in MARKERS.items()}})
    return path


def test_vicon_file_becomes_a_motion(
    joints: NDArray[np.float64], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "motion.npz"
    assert main(["fit", str(vicon(tmp_path / "S1_1_1.mat", joints)), "-o", str(out), "--rate", "50"]) == 0
    text = capsys.readouterr().out
    assert "30 frames, 30 valid" in text and f"written to {out}" in text
    assert all(f"    {name} " in text for name in ("head", "knee_left", "foot_right"))
    clip = load_motion(out)
    assert clip.framerate == pytest.approx(50) and clip.params.model == "open"
    wanted = joints[:, 16:18].mean(1)
    got = clip.to_world().joints()[:, 16:18].mean(1)
    assert np.linalg.norm(got - wanted, axis=-1).max() < 0.08
    assert clip.provenance["fit"]["mean_residual_mm"] < 15


def test_several_files_and_json(
    joints: NDArray[np.float64], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [SMPL_SKELETON.joints[i] for i in (0, 1, 2, 12, 16, 17, 4, 5)]
    xyz = joints[:, [SMPL_SKELETON.index(n) for n in names]]
    first, second = tmp_path / "a.npz", tmp_path / "b.csv"
    np.savez(first, xyz=xyz[:15], names=np.array(names), t_us=np.arange(15) * 20_000)
    rows = [",".join(f"{n}_{a}" for n in names for a in "xyz")]
    rows += [",".join(f"{v:.5f}" for v in frame.ravel()) for frame in xyz[15:]]
    second.write_text("\n".join(rows), encoding="utf-8")
    words = ["fit", str(first), str(second), "-o", str(tmp_path / "out"), "--rate", "50", "--json"]
    assert main(words) == 0
    reports = json.loads(capsys.readouterr().out)
    a, b = load_motion(tmp_path / "out" / "a.npz"), load_motion(tmp_path / "out" / "b.npz")
    assert set(reports) == {str(tmp_path / "out" / "a.npz"), str(tmp_path / "out" / "b.npz")}
    np.testing.assert_array_equal(a.params.betas[0], b.params.betas[0])
    assert len(a) == len(b) == 15


def test_bad_input_is_one_line(
    joints: NDArray[np.float64], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mat, out = str(vicon(tmp_path / "a.mat", joints)), str(tmp_path / "m.npz")
    for words, message in (
        ([mat, "-o", out, "--unit", "m"], "metres"),
        ([mat, "-o", str(tmp_path / "m.mp4")], "ends in .npz"),
        ([mat, mat, "-o", out], "need a folder"),
        ([mat, mat, "-o", str(tmp_path / "d")], "same name"),
        ([str(tmp_path / "none.mat"), "-o", out], "no such file"),
        ([str(tmp_path / "a.h5"), "-o", out], "hold no keypoints"),
    ):
        assert main(["fit", *words]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1, error
    assert not Path(out).exists() and not list(tmp_path.glob("d/*"))
