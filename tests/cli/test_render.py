"""`eventhpe render`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from eventhpe.body.motion import MotionClip
from eventhpe.body.motion_file import save_motion
from eventhpe.body.posing import BodyPoser
from eventhpe.capture import rest_joints
from eventhpe.cli.main import main
from eventhpe.data.labels import read_labels
from eventhpe.events.store_writer import StoreWriter
from eventhpe.events.types import Events
from eventhpe.geometry.camera import Camera
from eventhpe.render.raster import rasterize

av = pytest.importorskip("av")


@pytest.fixture(scope="module")
def clip(recordings: Path) -> MotionClip:
    labels = read_labels(recordings / "squat.h5")
    p = labels.params
    picked = {n: getattr(p, n)[10::10] for n in ("betas", "global_orient", "body_pose", "transl")}
    return MotionClip(
        replace(p, **picked), labels.t_us[10::10], rest_joints(p.betas[0]), camera=labels.camera
    )


@pytest.mark.parametrize("what", ["mesh", "skeleton", "events"])
def test_video_of_each_kind(
    clip: MotionClip,
    recordings: Path,
    poser: BodyPoser,
    tmp_path: Path,
    what: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    motion, out = save_motion(tmp_path / "m.npz", clip), tmp_path / "out.mp4"
    words = [str(motion), str(recordings / "squat.h5"), "--what", what, "-o", str(out)]
    assert main(["render", *words]) == 0
    assert capsys.readouterr().out == f"{out}: 6 pictures\n"
    with av.open(str(out)) as container:
        stream = container.streams.video[0]
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(stream)]
        assert stream.codec_context.name == "h264" and float(stream.average_rate) == 10.0
    assert len(frames) == 6
    camera, p = clip.camera, clip.params
    assert camera is not None
    vertices = poser.vertices(p.betas[3], p.pose[3], p.transl[3])
    body = rasterize(vertices, poser.faces, camera).coverage > 0.5
    scale = frames[3].shape[0] // camera.size[0]
    blue = frames[3][..., 2].astype(int) - frames[3][..., 0] > 40
    share = blue[body.repeat(scale, 0).repeat(scale, 1)].mean()
    assert share > 0.5 if what == "mesh" else share < 0.3, share


def test_refusals_are_one_line_and_write_nothing(
    clip: MotionClip, recordings: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("EVENTHPE_HOME", str(tmp_path / "home"))
    motion = save_motion(tmp_path / "m.npz", clip)
    other = save_motion(tmp_path / "o.npz", replace(clip, camera=Camera.from_focal(200.0, (260, 346))))
    smpl = save_motion(tmp_path / "s.npz", replace(clip, params=replace(clip.params, model="smpl")))
    np.savez(tmp_path / "x.npz", a=1)
    recording = str(recordings / "squat.h5")
    for words, complaint in (
        ([str(motion), recording, "-o", "out.avi"], "FormatError: -o out.avi: videos are written as .mp4."),
        ([str(other), recording], "ShapeError: the motion's camera is (H, W) = (260, 346)"),
        ([str(smpl), recording], "MissingAssetError: "),
        ([str(tmp_path / "x.npz"), recording], "not a motion file of this package"),
        ([str(tmp_path / "nowhere.npz"), recording], "nowhere.npz"),
        ([str(motion), str(tmp_path / "nowhere.h5")], "FormatError: "),
    ):
        output = [] if "-o" in words else ["-o", str(tmp_path / "out.mp4")]
        assert main(["render", *words, *output]) == 2, words
        told = capsys.readouterr()
        assert complaint in told.err and told.err.startswith("eventhpe: ") and told.err.count("\n") == 1
        assert told.out == "" and not list(tmp_path.glob("*.mp4"))


def test_the_message_about_absent_smpl_says_what_to_do(
    clip: MotionClip, recordings: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("EVENTHPE_HOME", str(tmp_path / "home"))
    smpl = save_motion(tmp_path / "s.npz", replace(clip, params=replace(clip.params, model="smpl")))
    assert main(["render", str(smpl), str(recordings / "squat.h5"), "-o", str(tmp_path / "o.mp4")]) == 2
    told = capsys.readouterr().err
    assert str(tmp_path / "home") in told and "smpl" in told.lower() and "smpl.is.tue.mpg.de" in told


def edge_recording(path: Path) -> Path:
    """0.5 s: a column that moves to the right, one pixel in 10 ms."""
    k, y = np.mgrid[:50, :40].reshape(2, -1)
    with StoreWriter(path, (40, 56)) as writer:
        writer.append(Events.from_columns(k * 10_000 + y, k, y, y < 20, (40, 56)))
    return path


def test_a_recording_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recording, out = edge_recording(tmp_path / "a.h5"), tmp_path / "out.mp4"
    for words, pictures, fps in (
        ([], 15, 30.0),  # 0.49 s at 30 pictures per second
        (["--what", "events", "--fps", "20"], 10, 20.0),
        (["--slow", "4", "--fps", "25", "--start", "0.1", "--stop", "0.2"], 10, 25.0),
        (["--slow", "0.5", "--window-us", "10000", "--style", "light", "--scale", "2"], 8, 30.0),
    ):
        assert main(["render", str(recording), "-o", str(out), *words]) == 0, words
        assert capsys.readouterr().out == f"{out}: {pictures} pictures\n"
        with av.open(str(out)) as container:
            stream = container.streams.video[0]
            frames = [f.to_ndarray(format="rgb24") for f in container.decode(stream)]
            assert len(frames) == pictures and float(stream.average_rate) == fps
    assert frames[0].shape == (80, 112, 3) and frames[0][40:].mean() > 200, "light, twice as large"


def test_wrong_combinations_are_told(
    clip: MotionClip, recordings: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    motion, alone = save_motion(tmp_path / "m.npz", clip), edge_recording(tmp_path / "a.h5")
    recording = str(recordings / "squat.h5")
    for words, complaint in (
        (
            [str(alone), "--what", "mesh"],
            "--what mesh draws a motion over its recording and needs both files",
        ),
        ([str(alone), "--what", "skeleton"], "Events alone: --what events."),
        ([str(motion)], "is a motion; give the recording it was captured from too"),
        ([str(motion), "--what", "events"], "is a motion; give the recording"),
        (
            [str(motion), recording, "--slow", "2", "--frames"],
            "--slow, --frames cannot be used with a motion",
        ),
        ([str(motion), recording, str(alone)], "expected RECORDING, or MOTION RECORDING; got 3 files"),
        ([recording, recording], "squat.h5: not an npz file"),
        ([recording, str(motion)], f"the motion comes first: eventhpe render {motion} {recording} -o"),
        ([str(alone), "--frames"], "holds no gray frames; leave out --frames"),
        ([str(alone), "--start", "3"], "nothing lies between 3 s and 0.49004 s"),
        ([str(alone), "--fps", "0"], "fps must be > 0"),
        ([str(tmp_path / "nowhere.npz"), recording], "nowhere.npz: no such motion file"),
    ):
        assert main(["render", *words, "-o", str(tmp_path / "out.mp4")]) == 2, words
        told = capsys.readouterr()
        assert complaint in told.err, told.err
        assert told.err.startswith("eventhpe: ") and told.err.count("\n") == 1
        assert told.out == "" and not list(tmp_path.glob("*.mp4"))
