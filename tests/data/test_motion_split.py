"""Who performs in a motion file, and who is held out whatever the file is called."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from eventhpe.data import motion_split
from eventhpe.data.benchmark_v1 import BENCHMARK_V1
from eventhpe.data.motion_split import (
    BENCHMARK_CONTENT,
    HELD_OUT_SUBJECTS,
    classify,
    is_benchmark_clip,
    root_heights,
    subject_of,
)
from eventhpe.data.motions import file_checksum, list_clips


def test_the_held_out_subjects_are_those_of_the_clips():
    assert HELD_OUT_SUBJECTS == {"cmu14", "cmu60", "cmu86", "cmu94"}


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("cmu14_14_jumpjack1.bvh", "cmu14"),
        ("cmu140_no.bvh", "cmu140"),
        ("deep/er/cmu13_29_twist1.bvh", "cmu13"),
        ("mirrored_cmu86_01_kick1.bvh", "cmu86"),
        ("CMU-086_kick.bvh", "cmu86"),
        ("my walk cmu 94.bvh", "cmu94"),
        ("14_20.bvh", "cmu14"),
        ("mirror_14_20.bvh", "cmu14"),
        ("014_20_poses.npz", "cmu14"),
        ("CMU/14/14_01_poses.npz", "cmu14"),
        ("AMASS/CMU/86/renamed.npz", "cmu86"),
        ("CMU/60_61/salsa.npz", "cmu60"),
        ("cmu60/salsa.bvh", "cmu60"),
        ("KIT/14/WalkingStraight01_poses.npz", "KIT/14"),
        ("ACCAD/Female1Walking_c3d/B3_walk_poses.npz", "ACCAD/Female1Walking_c3d"),
        ("AMASS/EKUT/300/Handstand_poses.npz", "EKUT/300"),
        ("cmux_walk1.bvh", "clips"),
        ("dance/a.bvh", "dance"),
        ("1400_20.bvh", "clips"),
        ("take_14_20.bvh", "clips"),
    ],
)
def test_subjects_are_read_from_names(tmp_path, name, subject):
    folder = tmp_path / "clips"
    assert subject_of(folder / name, folder) == subject


def test_the_folder_given_may_itself_lie_in_amass(tmp_path):
    folder = tmp_path / "CMU" / "14"
    assert subject_of(folder / "walk.npz", folder) == "cmu14"
    assert subject_of(folder / "walk.npz", folder.parent) == "cmu14"


def test_a_couple_is_held_out_when_one_of_them_is(tmp_path, write_bvh):
    for name, held_out in (
        ("CMU/61_60/a.bvh", True),
        ("CMU/61_62/a.bvh", False),
        ("cmu13/cmu86_x.bvh", True),
    ):
        assert classify(write_bvh(tmp_path / name), tmp_path).held_out == held_out, name


def test_a_link_does_not_hide_the_subject(tmp_path, write_bvh):
    real = write_bvh(tmp_path / "elsewhere" / "cmu14_20_x.bvh")
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "walk.bvh").symlink_to(real)
    file = classify(folder / "walk.bvh", folder)
    assert file.held_out and file.subject == "cmu14"


@pytest.fixture
def known(tmp_path, write_bvh, monkeypatch) -> Path:
    """A clip that counts as one of benchmark-v1, under a harmless name."""
    path = write_bvh(tmp_path / "known" / "swing.bvh", frames=50)
    rows = path.read_text().splitlines(keepends=True)
    for i, row in enumerate(rows):  # the root of the written clip has one height; give it its own
        words = row.split()
        if len(words) > 50:
            words[1] = f"{95 + 8 * np.sin(0.37 * i) + 3 * np.sin(1.1 * i):.4f}"
            rows[i] = " ".join(words) + "\n"
    path.write_text("".join(rows))
    heights = root_heights(path)
    assert heights is not None
    content = {file_checksum(path): (heights[0], tuple(np.round(heights[1], 5)))}
    monkeypatch.setattr(motion_split, "BENCHMARK_CONTENT", content)
    return path


def rewritten(path: Path, target: Path, change) -> Path:
    """A copy with every line of values changed."""
    out = []
    for row in path.read_text().splitlines():
        words = row.split()
        out.append(" ".join(change([float(w) for w in words])) if len(words) > 50 else row)
    target.write_text("\n".join(out) + "\n")
    return target


def test_copies_of_benchmark_clips_are_held_out_under_any_name(known, tmp_path, write_bvh):
    folder = tmp_path / "clips"
    (folder / "deep").mkdir(parents=True)
    same = shutil.copy(known, folder / "deep" / "cmu13_walk.bvh")
    dos = folder / "dos.bvh"
    dos.write_bytes(known.read_bytes().replace(b"\n", b"\r\n"))
    mirrored = rewritten(known, folder / "m.bvh", lambda v: [f"{-v[0]:.3f}", *(f"{x:.3f}" for x in v[1:])])
    metres = rewritten(known, folder / "metres.bvh", lambda v: [f"{x * 0.01:.6f}" for x in v])
    assert file_checksum(dos) != file_checksum(known) != file_checksum(mirrored)
    for path in (same, dos, mirrored, metres):
        assert classify(Path(path), folder).held_out, path
    assert not classify(write_bvh(folder / "other.bvh", frames=50), folder).held_out
    cut = folder / "cut.bvh"
    lines = known.read_text().splitlines()
    cut.write_text("\n".join([*lines[:-1], ""]))
    assert root_heights(cut)[0] == 49 and not classify(cut, folder).held_out, "another clip, by its length"


@pytest.mark.parametrize(
    "text",
    ["", "HIERARCHY\n", "HIERARCHY\nCHANNELS 3 Zrotation Yrotation Xrotation\nMOTION\nFrames: 1\nF\n1 2 3"],
)
def test_what_cannot_be_read_is_no_benchmark_clip(tmp_path, text):
    path = tmp_path / "x.bvh"
    path.write_text(text)
    assert root_heights(path) is None and not is_benchmark_clip(path)


def test_the_table_holds_the_clips_of_benchmark_v1():
    assert list(BENCHMARK_CONTENT) == [checksum for _, checksum in BENCHMARK_V1]


def test_heights_tell_the_shared_clips_apart(shared):
    folder = shared / "motion" / "bvh"
    paths = sorted(folder.rglob("*.bvh"))
    checksums = {file_checksum(p) for p in paths if is_benchmark_clip(p)}
    assert checksums == set(BENCHMARK_CONTENT), "every benchmark clip, and no other"
    files = [classify(p, folder) for p in paths]
    assert {f.path for f in files if f.held_out} == set(list_clips(folder, held_out=True))


def test_mirrored_shared_clips_are_recognised(shared, tmp_path):
    source = next((shared / "motion" / "bvh").rglob("cmu86_01_kick1.bvh"))
    mirrored = rewritten(
        source, tmp_path / "kick.bvh", lambda v: [f"{-v[0]:.2f}", *(f"{x:.2f}" for x in v[1:])]
    )
    assert classify(mirrored, tmp_path).held_out
