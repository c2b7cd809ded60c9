"""The scripts in tools/ that users know from elsewhere, run as scripts."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from eventhpe.body.motion import MotionClip
from eventhpe.body.motion_file import save_motion
from eventhpe.capture import rest_joints
from eventhpe.data.labels import read_labels
from eventhpe.events.formats.aedat2 import write_aedat2
from eventhpe.events.open import open_recording
from eventhpe.events.types import Events
from tests.small_world import recordings

__all__ = ["recordings"]

ROOT = Path(__file__).resolve().parents[1]


def door(name: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, str(ROOT / "tools" / name), *map(str, words)],
        capture_output=True, text=True, timeout=240, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip


def test_convert_events(tmp_path: Path) -> None:
    events = Events.from_columns(
        np.arange(1000) * 50, np.arange(1000) % 128, np.arange(1000) % 100, np.arange(1000) % 2, (128, 128)
    )
    write_aedat2(tmp_path / "a.aedat", events, chip="DVS128", t_offset_us=7)
    done = door("convert_events.py", tmp_path / "a.aedat", "-o", tmp_path / "a.h5")
    assert (done.returncode, done.stderr) == (0, "") and "1,000 events" in done.stdout
    with open_recording(tmp_path / "a.h5") as recording:
        for column in "txyp":
            assert np.array_equal(getattr(recording.read(), column), getattr(events, column))
    done = door("convert_events.py", tmp_path / "b.aedat", "-o", tmp_path / "b.h5")
    assert done.returncode == 2 and done.stderr.startswith("eventhpe: FormatError: ")
    assert not (tmp_path / "b.h5").exists()


def test_render_overlay(recordings: Path, tmp_path: Path) -> None:
    labels = read_labels(recordings / "squat.h5")
    p = labels.params
    picked = {n: getattr(p, n)[20::20] for n in ("betas", "global_orient", "body_pose", "transl")}
    clip = MotionClip(
        replace(p, **picked), labels.t_us[20::20], rest_joints(p.betas[0]), camera=labels.camera
    )
    save_motion(tmp_path / "m.npz", clip)
    words = (tmp_path / "m.npz", recordings / "squat.h5", "-o", tmp_path / "o.mp4", "--what", "skeleton")
    done = door("render_overlay.py", *words)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout == f"{tmp_path / 'o.mp4'}: 3 pictures\n"
    assert b"ftyp" in (tmp_path / "o.mp4").read_bytes()[:16]


def test_train_dhp19_says_what_is_absent(tmp_path: Path) -> None:
    usage = door("train_dhp19.py")
    assert usage.returncode == 1 and "python tools/train_dhp19.py [--system SYSTEM] ROOT" in usage.stderr
    nothing = door("train_dhp19.py", tmp_path)
    assert nothing.returncode == 2 and "datasets/dhp19/README.md" in nothing.stderr
    for name in ("DVS_movies/S1/session1/mov1.aedat", "Vicon_data/S1_1_1.mat"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    matrices = door("train_dhp19.py", tmp_path)
    assert matrices.returncode == 2 and "P1.npy, P2.npy, P3.npy, P4.npy" in matrices.stderr
    assert matrices.stderr.startswith("eventhpe: MissingAssetError: ") and matrices.stderr.count("\n") == 1
    unknown = door("train_dhp19.py", "--system", "resnet", tmp_path)
    assert unknown.returncode == 2 and "cnn, shapenet, flownet" in unknown.stderr


def test_the_walk_through_dhp19_is_made_of_real_commands(tmp_path: Path) -> None:
    from importlib import import_module

    from eventhpe.cli.dhp19_walk import SYSTEMS, commands, walk
    from eventhpe.cli.parse import parse_options

    for system in SYSTEMS:
        steps = commands(Path("DHP19"), Path("out"), system, ["--batch-size", "4"])
        assert [step[0] for step in steps] == ["prepare", "train", "evaluate"][: len(steps)]
        for verb, *words in steps:
            module = import_module(f"eventhpe.cli.{verb}")
            parse_options(verb, module.HELP, module.Options, words)
    # The first command that fails ends the walk, with its code.
    root = tmp_path / "DHP19"
    for name in (
        "DVS_movies/S1/session1/mov1.aedat",
        "Vicon_data/S1_1_1.mat",
        *(f"P_matrices/P{i}.npy" for i in range(1, 5)),
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    ran: list[str] = []

    def run(words: list[str]) -> int:
        ran.append(words[0])
        return 2 if words[0] == "train" else 0

    assert walk(["--system", "shapenet", str(root)], run) == 2 and ran == ["prepare", "train"]
