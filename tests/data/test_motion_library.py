"""The library: what it finds, who is left out, what it draws, and what it says about broken files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eventhpe.body.choreography import perform
from eventhpe.body.default import open_body_arrays
from eventhpe.body.fk import body_joints, forward_kinematics, sole_points
from eventhpe.body.motion import MotionClip, move_params
from eventhpe.body.motion_file import Y_UP_TO_Z_UP, save_motion
from eventhpe.data import motion_library
from eventhpe.data.motion_library import MotionLibrary
from eventhpe.data.motion_style import in_reserved_cell
from eventhpe.data.motions import list_clips
from eventhpe.errors import FormatError, MissingAssetError, ShapeError

BETAS = np.linspace(-0.5, 0.5, 10)


@pytest.fixture(scope="module")
def rest() -> np.ndarray:
    arrays = open_body_arrays()
    return arrays["J_regressor"].astype(np.float64) @ arrays["v_template"]


def walk(rest: np.ndarray, frames: int = 60):
    return perform("walk", duration_s=frames / 60, fps=60, rng=np.random.default_rng(0), rest_joints=rest)


def write_amass(path: Path, rest: np.ndarray, frames: int = 60) -> Path:
    params = walk(rest, frames)
    z_up = move_params(params, Y_UP_TO_Z_UP, np.zeros(3), rest[0], frame="world")
    poses = np.zeros((frames, 156))
    poses[:, :66] = z_up.pose[:, :22].reshape(frames, 66)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path, poses=poses, trans=z_up.transl, betas=np.full(16, 9.0), mocap_framerate=60.0, gender="male"
    )
    return path


@pytest.fixture
def folder(tmp_path, write_bvh, rest) -> Path:
    folder = tmp_path / "clips"
    for name in ("cmu13_a", "cmu14_b", "deep/cmu86_c", "deep/er/cmux_d", "mirrored_cmu60_e", "cmu135_f"):
        write_bvh(folder / f"{name}.bvh", frames=20)
    for name in ("CMU/14/14_01_poses", "CMU/13/13_01_poses", "ACCAD/Female1/Walk_poses"):
        write_amass(folder / f"{name}.npz", rest)
    np.savez(folder / "ACCAD" / "Female1" / "shape.npz", betas=np.zeros(16))
    (folder / "notes.txt").write_text("no clip\n")
    return folder


def names(library: MotionLibrary) -> list[str]:
    return [f.path.stem for f in library.files]


def test_splits_are_disjoint_and_complete(folder):
    train, held_out, everything = (MotionLibrary(folder, split=s) for s in ("train", "held_out", "all"))
    assert names(train) == ["Walk_poses", "13_01_poses", "cmu135_f", "cmu13_a", "cmux_d"], "ordered by path"
    assert names(held_out) == ["14_01_poses", "cmu14_b", "cmu86_c", "mirrored_cmu60_e"]
    assert sorted(names(everything)) == sorted(names(train) + names(held_out))
    assert not set(train.subjects) & set(held_out.subjects)
    assert train.subjects == ("ACCAD/Female1", "cmu13", "cmu135", "deep/er")
    assert held_out.subjects == ("cmu14", "cmu60", "cmu86")
    assert MotionLibrary(str(folder)).files == train.files


def test_further_subjects_can_be_left_out(folder):
    library = MotionLibrary(folder, exclude_subjects={"cmu13", "ACCAD/Female1"})
    assert names(library) == ["cmu135_f", "cmux_d"]
    with pytest.raises(MissingAssetError, match="9 other clips"):
        MotionLibrary(folder, exclude_subjects=MotionLibrary(folder).subjects)


def test_the_split_of_the_shared_clips_is_the_old_one(shared):
    folder = shared / "motion" / "bvh"
    for split, held_out in (("train", False), ("held_out", True)):
        assert {f.path for f in MotionLibrary(folder, split=split).files} == set(
            list_clips(folder, held_out=held_out)
        )


def test_folders_without_clips_are_refused(tmp_path, write_bvh):
    with pytest.raises(MissingAssetError, match=r"--motions .*nowhere.*does not exist"):
        MotionLibrary(tmp_path / "nowhere")
    with pytest.raises(MissingAssetError, match=r"--motions .*training.*docs/motion\.md"):
        MotionLibrary(tmp_path)
    write_bvh(tmp_path / "cmu14_x.bvh")
    with pytest.raises(MissingAssetError, match=r"--motions .*1 other clips"):
        MotionLibrary(tmp_path)
    assert names(MotionLibrary(tmp_path, split="held_out")) == ["cmu14_x"]


def test_clips_of_all_kinds_are_put_on_the_body(folder, rest):
    library = MotionLibrary(folder, split="all")
    by_name = {f.path.stem: f for f in library.files}
    for name in ("cmu13_a", "Walk_poses"):
        draw = library.load(by_name[name], rest, BETAS)
        assert np.array_equal(draw.params.betas, np.broadcast_to(BETAS, draw.params.betas.shape))
        assert draw.params.model == "open" and draw.params.frame == "world"
        assert draw.fps == pytest.approx(60, rel=1e-3) and draw.source.startswith(f"{name} sha256:")
    amass = library.load(by_name["Walk_poses"], rest, BETAS).params
    truth = body_joints(walk(rest), rest)[:, :22]
    got = body_joints(amass, rest)[:, :22]
    assert np.abs(got - truth - (got - truth).mean(axis=(0, 1))).max() < 0.01
    positions, rotations = forward_kinematics(rest, amass.pose, amass.transl)
    assert np.abs(sole_points(rest, positions, rotations)[..., 1].min(axis=1)).max() < 0.02


def test_motion_files_of_the_package_are_clips_too(tmp_path, rest):
    own = rest * 1.1
    clip = MotionClip(walk(own), np.arange(60, dtype=np.int64) * 16_667, own)
    save_motion(tmp_path / "captured.npz", clip)
    (file,) = MotionLibrary(tmp_path).files
    draw = MotionLibrary(tmp_path).load(file, rest, BETAS)
    truth = body_joints(walk(own), own) / 1.1
    got = body_joints(draw.params, rest)
    assert np.abs((got - got[:1, :1]) - (truth - truth[:1, :1])).max() < 0.02
    assert draw.fps == pytest.approx(60, rel=1e-3)


def test_draws_come_from_the_split_and_mix_in_movements(folder, rest):
    library = MotionLibrary(folder, procedural_share=0.5)
    sources = [library.draw(np.random.default_rng(s), rest, BETAS, 0.2).source for s in range(50)]
    clips = [s.split(" ")[0] for s in sources if not s.startswith("procedural:")]
    assert set(clips) == set(names(library)), "every clip is drawn, and no other"
    assert 12 <= len(clips) <= 38
    never, always = (MotionLibrary(folder, procedural_share=s) for s in (0.0, 1.0))
    for seed in range(4):
        rng = np.random.default_rng(seed)
        assert not never.draw(rng, rest, BETAS, 0.2).source.startswith("procedural:")
        assert always.draw(rng, rest, BETAS, 0.2).source.startswith("procedural:")
        assert MotionLibrary(None).draw(rng, rest, BETAS, 0.2).source.startswith("procedural:")
        assert never.draw(rng, rest, BETAS, 0.2, movement="kick").source == "procedural:kick"


def test_equal_states_give_equal_motions(folder, rest):
    library = MotionLibrary(folder)
    for seed in range(6):
        a, b = (library.draw(np.random.default_rng(seed), rest, BETAS, 0.5) for _ in range(2))
        assert a.source == b.source and a.fps == b.fps
        assert np.array_equal(a.params.pose, b.params.pose)
        assert np.array_equal(a.params.transl, b.params.transl)


@pytest.mark.parametrize("speed", [0.8, 1.0, 1.4])
def test_reserved_styles_are_never_trained_on(rest, monkeypatch, speed):
    seen: list[tuple[float, float, float]] = []

    def note(rng, duration_s, rest_joints, betas, *, name, amplitude, tempo):
        seen.append((amplitude, tempo * speed, duration_s))

    monkeypatch.setattr(motion_library, "draw_movement", note)
    rng = np.random.default_rng(0)
    for split, inside in (("train", {False}), ("held_out", {True}), ("all", {True, False})):
        seen.clear()
        library = MotionLibrary(None, split=split)
        for _ in range(1500):
            library.draw(rng, rest, BETAS, 2.0, speed=speed)
        assert {in_reserved_cell(a, t) for a, t, _ in seen} == inside
        assert min(d for *_, d in seen) > 2.0 * speed, "long enough to be played that fast"


def test_broken_files_are_named(folder, rest, write_bvh):
    def load(name: str) -> None:
        library = MotionLibrary(folder)
        library.load(next(f for f in library.files if f.path.stem == name), rest, BETAS)

    (folder / "cut.bvh").write_text("HIERARCHY\nROOT Hips\n{\n")
    with pytest.raises(FormatError, match=r"cut\.bvh: line 3: .*cut short"):
        load("cut")
    (folder / "odd.bvh").write_text((folder / "cmu13_a.bvh").read_text().replace("ROOT Hips", "ROOT Rump"))
    with pytest.raises(FormatError, match=r"odd\.bvh: unknown skeleton"):
        load("odd")
    write_bvh(folder / "still.bvh", frames=1)
    with pytest.raises(FormatError, match=r"still\.bvh: one frame"):
        load("still")
    write_amass(folder / "short.npz", rest, frames=1)
    with pytest.raises(FormatError, match=r"short\.npz: one frame"):
        load("short")
    np.savez(folder / "bad.npz", poses=np.zeros((5, 7)), trans=np.zeros((5, 3)))
    with pytest.raises(FormatError, match=r"bad\.npz: key 'poses'"):
        load("bad")
    whole = (folder / "CMU" / "13" / "13_01_poses.npz").read_bytes()
    (folder / "half.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FormatError, match=r"half\.npz: not an npz file, or damaged"):
        load("half")


def test_arguments_are_checked(folder):
    with pytest.raises(ShapeError, match="split"):
        MotionLibrary(folder, split="test")
    with pytest.raises(ShapeError, match="procedural_share"):
        MotionLibrary(folder, procedural_share=1.5)
