"""What `doctor --data` finds in folders of MMHPSD and DHP19."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import joblib
import numpy as np
import pytest

from eventhpe.data.dhp19_inspection import inspect_dhp19
from eventhpe.data.inspection import Inspection, file_fault
from eventhpe.data.mmhpsd_export import export_mmhpsd
from eventhpe.data.mmhpsd_inspection import inspect_mmhpsd
from eventhpe.data.mmhpsd_sequence import SequenceSource
from eventhpe.errors import FormatError, MissingAssetError
from tests.data.mmhpsd_fixture import labels_of, moving_params, write_sequence_recording

NAME = "subject03_group1_time1"
Copy = Callable[[str], Path]


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("layouts")
    path = write_sequence_recording(base / "a.h5", labels_of(moving_params()))
    for layout in ("A", "B"):
        export_mmhpsd(
            base / layout, layout=layout, sequences=[SequenceSource(path, 3, 1, 1)]  # type: ignore[arg-type]
        )  # fmt: skip
    return {layout: base / layout for layout in ("A", "B")}


@pytest.fixture
def copy(roots: dict[str, Path], tmp_path: Path) -> Copy:
    def make(layout: str) -> Path:
        shutil.copytree(roots[layout], tmp_path / layout)
        return tmp_path / layout

    return make


def told(found: Inspection) -> dict[str, str]:
    return {problem.path: problem.text for problem in found.problems if problem.grave}


@pytest.mark.parametrize("layout", ["A", "B"])
def test_a_whole_set_has_no_problems(roots: dict[str, Path], layout: str) -> None:
    found = inspect_mmhpsd(roots[layout])
    assert found.whole and found.problems == [] and found.what == f"mmhpsd, layout {layout}"
    files = {p for p in roots[layout].rglob("*") if p.is_file()}
    others = {p for p in files if "poses_flip" in p.parts or p.parent.name == "sources"}
    assert found.files == len(files - others) - 1, "all but README.txt, sources and mirrored poses"
    assert found.facts == [
        "1 sequences of our own making", "19 gray frames, 19 poses; body model open",
    ]  # fmt: skip


def test_every_damage_of_layout_a_is_told_with_its_file(copy: Copy) -> None:
    root = copy("A")
    events, pictures = root / "events_256" / NAME, root / "full_pic_256" / NAME
    poses, flows = root / "pose_events" / NAME, root / "pred_flow_events_256" / NAME
    (events / "event0003.png").unlink()
    (pictures / "fullpic0005.jpg").write_bytes(b"")
    cut(pictures / "fullpic0006.jpg")
    cut(events / "event0007.png")
    (poses / "pose0004.pkl").unlink()
    cut(poses / "pose0008.pkl")
    (poses / "pose0009.pkl").write_bytes(b"<html>not found</html>")
    cut(flows / "flow0016.pkl")  # the last one, compressed: only reading it tells
    joblib.dump(print, root / "test_track0802.pkl")
    found = inspect_mmhpsd(root)
    problems = told(found)
    assert problems.keys() == {
        f"events_256/{NAME}/event0003.png", f"full_pic_256/{NAME}/fullpic0005.jpg",
        f"full_pic_256/{NAME}/fullpic0006.jpg", f"events_256/{NAME}/event0007.png",
        f"pose_events/{NAME}/pose0004.pkl", f"pose_events/{NAME}/pose0008.pkl",
        f"pose_events/{NAME}/pose0009.pkl", f"pred_flow_events_256/{NAME}/flow0016.pkl",
        "test_track0802.pkl",
    }  # fmt: skip
    assert problems[f"events_256/{NAME}/event0003.png"] == "is absent"
    assert problems[f"full_pic_256/{NAME}/fullpic0005.jpg"] == "is empty"
    assert problems[f"events_256/{NAME}/event0007.png"] == "is cut short"
    assert "does not begin like a .pkl file" in problems[f"pose_events/{NAME}/pose0009.pkl"]
    assert "refused" in problems["test_track0802.pkl"] and not found.whole


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-70])


def test_a_folder_that_was_downloaded_by_half(copy: Copy) -> None:
    root = copy("B")
    folder = root / "mmhpsd_events" / NAME
    for k in range(10, 18):
        (folder / "events_frame_04" / f"events_{k:04d}.npz").unlink()
        (folder / "events" / f"events_{k:04d}.npz").unlink()
    cut(folder / "poses" / "pose_0018.npz")
    shutil.rmtree(root / "mmhpsd_grayscale_img" / NAME / "imgs")
    found = inspect_mmhpsd(root)
    assert f"mmhpsd_events/{NAME}/poses/pose_0018.npz" in told(found)
    absent = {path for path, text in told(found).items() if text == "is absent"}
    assert absent == {f"mmhpsd_grayscale_img/{NAME}/imgs/fullpic{k:04d}.jpg" for k in range(10)}
    root = copy_again(root)
    assert {p for p, text in told(inspect_mmhpsd(root)).items() if text == "is absent"} == {
        f"mmhpsd_events/{NAME}/{kind}/events_{k:04d}.npz"
        for kind in ("events_frame_04", "events")
        for k in range(10, 17)  # 19 gray frames: the authors leave out the last file of events
    }


def copy_again(root: Path) -> Path:
    """Put the pictures back, so that they tell how long the sequence is."""
    import cv2

    pictures = root / "mmhpsd_grayscale_img" / NAME / "imgs"
    pictures.mkdir()
    for k in range(19):
        cv2.imwrite(str(pictures / f"fullpic{k:04d}.jpg"), np.zeros((256, 256), np.uint8))
    return root


def test_what_only_some_uses_need_is_a_note(copy: Copy) -> None:
    root = copy("A")
    for folder in ("pred_flow_events_256", "hmr_results"):
        shutil.rmtree(root / folder)
    (root / "train_track0802.pkl").unlink()
    found = inspect_mmhpsd(root)
    assert found.whole and [p.path for p in found.problems] == [
        f"pred_flow_events_256/{NAME}", f"hmr_results/{NAME}", "train_track0802.pkl",
    ]  # fmt: skip
    root = copy("B")
    shutil.rmtree(root / "mmhpsd_events" / NAME / "events")
    assert inspect_mmhpsd(root).whole


def test_sequences_of_the_release_are_counted(copy: Copy) -> None:
    root = copy("B")
    (root / "README.txt").unlink()
    found = inspect_mmhpsd(root)
    absent = [p for p in told(found) if p.startswith("mmhpsd_events/subject") and p.count("/") == 1]
    assert len(absent) == 179 and f"mmhpsd_events/{NAME}" not in absent
    assert found.facts[0] == "1 sequences of 178 released"
    for k in range(177):
        name = absent[k].split("/")[1]
        shutil.copytree(root / "mmhpsd_events" / NAME / "poses", root / "mmhpsd_events" / name / "poses")
    two = [p for p in inspect_mmhpsd(root).problems if p.path in absent]
    assert len(two) == 2 and not any(p.grave for p in two), "178 of 180 were released"


def test_folders_without_a_set(tmp_path: Path) -> None:
    with pytest.raises(MissingAssetError):
        inspect_mmhpsd(tmp_path)
    with pytest.raises(MissingAssetError, match=r"DVS_movies/S1/session1/mov1\.aedat"):
        inspect_dhp19(tmp_path)


def dhp19(root: Path, header: str) -> Path:
    """A tree of DHP19 whose files are heads only."""
    (root / "Vicon_data").mkdir(parents=True)
    (root / "P_matrices").mkdir()
    for name in ("P1", "P2", "P3", "P4"):
        np.save(root / "P_matrices" / f"{name}.npy", np.zeros((3, 4)))
    np.save(root / "P_matrices" / "camera_positions.npy", np.zeros((4, 3)))
    for s in (1, 2):
        for e, last in enumerate((8, 6, 6, 6, 7), start=1):
            folder = root / "DVS_movies" / f"S{s}" / f"session{e}"
            folder.mkdir(parents=True)
            for m in range(1, last + 1):
                (folder / f"mov{m}.aedat").write_text(f"#!AER-DAT2.0\r\n# {header}\r\n")
                (root / "Vicon_data" / f"S{s}_{e}_{m}.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    return root


def test_recordings_of_dhp19(tmp_path: Path) -> None:
    root = dhp19(tmp_path / "a", "synthetic recording in the format of DHP19; not part of DHP19")
    found = inspect_dhp19(root)
    assert found.whole and found.problems == [] and found.files == 2 * 66 + 5
    assert found.facts == ["66 recordings with labels of our own making, 2 subjects"]
    (root / "DVS_movies" / "S1" / "session4" / "mov2.aedat").unlink()
    (root / "DVS_movies" / "S2" / "session1" / "mov1.aedat").write_bytes(b"")
    (root / "Vicon_data" / "S2_3_4.mat").write_bytes(b"nothing")
    np.save(root / "P_matrices" / "P2.npy", np.zeros((3, 3)))
    (root / "P_matrices" / "P3.npy").write_bytes((root / "P_matrices" / "P3.npy").read_bytes()[:-5])
    found = inspect_dhp19(root)
    problems = told(found)
    assert problems.keys() == {
        "DVS_movies/S2/session1/mov1.aedat", "Vicon_data/S2_3_4.mat",
        "P_matrices/P2.npy", "P_matrices/P3.npy",
    }  # fmt: skip
    assert "(3, 4)" in problems["P_matrices/P2.npy"] and problems["P_matrices/P3.npy"] == "is cut short"
    notes = [p for p in found.problems if not p.grave]
    assert [p.path for p in notes] == ["DVS_movies/S1/session4/mov2.aedat"], "the release lacks it"


def test_a_part_of_the_real_dhp19_names_every_absent_file(tmp_path: Path) -> None:
    found = inspect_dhp19(dhp19(tmp_path / "a", "This is a raw AE data file - do not edit"))
    absent = told(found)
    assert len(absent) == 2 * 15 * 33 and set(absent.values()) == {"is absent"}
    assert "DVS_movies/S3/session1/mov1.aedat" in absent and "Vicon_data/S17_5_7.mat" in absent
    assert found.facts == ["66 recordings with labels of 561, 2 subjects"]


def test_prepared_files_of_dhp19(tmp_path: Path) -> None:
    folder = tmp_path / "h5_dataset_7500_events" / "346x260"
    folder.mkdir(parents=True)
    for m in (1, 2, 3):
        stem = f"S1_session1_mov{m}_7500events"
        with h5py.File(folder / f"{stem}.h5", "w") as file:
            file["DVS"] = np.zeros((2, 260, 346, 4), np.uint8)
        with h5py.File(folder / f"{stem}_label.h5", "w") as file:
            file["XYZ"] = np.zeros((2, 3, 13))
    found = inspect_dhp19(tmp_path)
    assert found.whole and found.files == 6
    assert found.facts == ["3 files of frames (7500events), 1 subjects", "6 frames with labels"]
    (folder / "S1_session1_mov1_7500events_label.h5").unlink()
    broken = folder / "S1_session1_mov2_7500events.h5"
    broken.write_bytes(broken.read_bytes()[:-1000])
    with h5py.File(folder / "S1_session1_mov3_7500events_label.h5", "w") as file:
        file["XYZ"] = np.zeros((5, 3, 13))
    problems = {Path(path).name: text for path, text in told(inspect_dhp19(tmp_path)).items()}
    assert problems["S1_session1_mov1_7500events_label.h5"] == "is absent"
    assert "cut short or damaged" in problems["S1_session1_mov2_7500events.h5"]
    assert "5 items" in problems["S1_session1_mov3_7500events.h5"] and len(problems) == 3


def test_reading_faults_are_told_once(tmp_path: Path) -> None:
    found = Inspection("x", tmp_path)
    path = tmp_path / "a.npz"
    path.write_bytes(b"PK\x03\x04")
    found.look_at([path])

    def read() -> None:
        raise FormatError(f"{path}: broken inside.")

    found.try_reading(path, read)
    assert [p.text for p in found.problems] == ["is cut short"]
    found.try_reading(tmp_path / "b.npz", read)
    assert [p.path for p in found.problems] == ["a.npz", "b.npz"]
    assert file_fault(tmp_path) == "is absent" and file_fault(Path(__file__)) is None
