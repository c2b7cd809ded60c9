"""DHP19 prepared: the authors' files, written, read, taken up again; what becomes of damaged recordings."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import shutil
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import yaml

from eventhpe.data.dhp19 import SPLITS, DHP19Movement, find_movements
from eventhpe.data.dhp19_frames import official_frames
from eventhpe.data.dhp19_prepare import (
    REPORT_NAME,
    PrepareUnit,
    prepare_dhp19,
    prepare_movement,
)
from eventhpe.data.dhp19_prepared import PreparedDHP19, PreparedName
from eventhpe.data.dhp19_settings import DHP19Settings, settings_of
from eventhpe.errors import FormatError, MissingAssetError
from tests.data.dhp19_fixture import f1_vicon, write_f1

SETTINGS = DHP19Settings(events_per_frame=5000)
SUMS = [675900, 657297, 658474, 667615, 677708, 679206, 674270]
FOLDER = "h5_dataset_1250_events/346x260"
CHECKOUT = Path(__file__).resolve().parents[2]


def add(root: Path, name: str, source: Path, *, rows: int = 300) -> None:
    """Give a movement F1's events and markers."""
    s, e, m = name[1:].split("_")
    events = root / "DVS_movies" / f"S{s}" / f"session{e}" / f"mov{m}.aedat"
    events.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, events)
    (root / "Vicon_data").mkdir(exist_ok=True)
    scipy.io.savemat(root / "Vicon_data" / f"{name}.mat", {"XYZPOS": f1_vicon(rows)})


@pytest.fixture(scope="module")
def f1(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("f1") / "f1.aedat"
    write_f1(path)
    return path


@pytest.fixture
def root(tmp_path, f1) -> Path:
    add(tmp_path / "root", "S1_1_1", f1)
    add(tmp_path / "root", "S10_2_3", f1, rows=200)
    return tmp_path / "root"


def test_the_authors_files(root, tmp_path):
    outcomes = prepare_dhp19(root, tmp_path / "out", SETTINGS)
    assert [(o.name, o.status, o.num_windows) for o in outcomes] == [
        ("S1_1_1", "done", 7), ("S10_2_3", "done", 5),
    ]  # fmt: skip
    assert outcomes[0].stages["box2"] == 37_463
    folder = tmp_path / "out" / FOLDER
    assert sorted(p.name for p in folder.iterdir()) == [
        "S10_session2_mov3_1250events.h5", "S10_session2_mov3_1250events_label.h5",
        "S1_session1_mov1_1250events.h5", "S1_session1_mov1_1250events_label.h5",
    ]  # fmt: skip
    with h5py.File(folder / "S1_session1_mov1_1250events.h5") as file:
        data = file["DVS"]
        assert (data.shape, data.dtype, data.compression) == ((7, 260, 346, 4), np.uint8, "gzip")
        assert data[:].sum((1, 2, 3)).tolist() == SUMS
        assert list(file) == ["DVS"]
    with h5py.File(folder / "S1_session1_mov1_1250events_label.h5") as file:
        assert (file["XYZ"].shape, file["XYZ"].dtype) == ((7, 3, 13), np.float64)
        assert file["XYZ"][0, :, 0].tolist() == [122, -6, 1691]
    with h5py.File(folder / "S10_session2_mov3_1250events.h5") as file:
        assert file["DVS"][:].sum((1, 2, 3)).tolist() == [*SUMS[:4], 0]


def test_the_official_name_and_type(root, tmp_path):
    settings = DHP19Settings(events_per_frame=30_000)
    prepare_dhp19(root, tmp_path / "out", settings, official_dtype=True, only=["S1_1_1"])
    path = tmp_path / "out/h5_dataset_7500_events/346x260/S1_session1_mov1_7500events.h5"
    with h5py.File(path) as file:
        assert (file["DVS"].shape, file["DVS"].dtype) == ((1, 260, 346, 4), np.float64)
        floats = file["DVS"][0]
    (frame,) = official_frames(find_movements(root)[0], settings)
    assert np.array_equal(floats, frame.data)
    (recording,) = PreparedDHP19(tmp_path / "out")
    assert recording.frames(0).dtype == np.uint8 and np.array_equal(recording.frames(0), frame.data)


def test_reading_gives_what_was_made(root, tmp_path):
    prepare_dhp19(root, tmp_path / "out", SETTINGS)
    prepared = PreparedDHP19(tmp_path / "out")
    assert [(r.subject, r.session, r.movement) for r in prepared] == [(1, 1, 1), (10, 2, 3)]
    recording = prepared[0]
    packets = list(official_frames(find_movements(root)[0], SETTINGS))
    assert recording.num_frames == len(recording) == len(packets) == 7
    for k in (3, 0, 6, -1):
        assert np.array_equal(recording.frames(k), packets[k].data)
    assert np.array_equal(recording.labels, [p.label_mm for p in packets], equal_nan=True)
    assert recording.t_last_us.tolist() == [p.t_last_us for p in packets]
    assert recording.num_events.tolist() == [p.num_events.tolist() for p in packets]
    with pytest.raises(IndexError, match="frame 7 of 7"):
        recording.frames(7)
    assert prepared.of((10,)) == (prepared[1],)
    for part in ("h5_dataset_1250_events", FOLDER):
        assert len(PreparedDHP19(tmp_path / "out" / part)) == 2


def _sum_of(recording, k: int) -> int:
    return int(recording.frames(k).sum())


def test_recordings_go_to_other_processes(root, tmp_path):
    prepare_dhp19(root, tmp_path / "out", SETTINGS, only=["S1_1_1"])
    (recording,) = PreparedDHP19(tmp_path / "out")
    assert _sum_of(recording, 0) == SUMS[0]  # open here already
    assert _sum_of(pickle.loads(pickle.dumps(recording)), 1) == SUMS[1]
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.starmap(_sum_of, [(recording, 2)]) == [SUMS[2]]
    recording.close()
    assert _sum_of(recording, 3) == SUMS[3]


def test_the_authors_own_files_are_read(tmp_path):
    """Floats, no chunks, nothing but the two data sets."""
    name = PreparedName(2, 5, 7)
    name.folder(tmp_path).mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (3, 260, 346, 4)).astype(float)
    xyz = np.random.default_rng(1).normal(size=(3, 3, 13))
    with h5py.File(name.frames_path(tmp_path), "w") as file:
        file["DVS"] = images
    with h5py.File(name.labels_path(tmp_path), "w") as file:
        file["XYZ"] = xyz
    (recording,) = PreparedDHP19(tmp_path)
    assert recording.frames(1).dtype == np.uint8 and np.array_equal(recording.frames(1), images[1])
    assert np.array_equal(recording.labels[2, 4], xyz[2, :, 4])
    assert recording.t_last_us is None and recording.num_events is None
    recording.close()
    with h5py.File(name.frames_path(tmp_path), "r+") as file:
        file["DVS"][1, 5, 5, 0] = 0.5
    with pytest.raises(FormatError, match=r"integers of 0\.\.255; frame 1"):
        recording.frames(1)
    recording.close()
    with h5py.File(name.frames_path(tmp_path), "w") as file:
        file["DVS"] = images[:2]
    with pytest.raises(FormatError, match="must hold 3 items"):
        recording.frames(0)
    name.labels_path(tmp_path).unlink()
    with pytest.raises(MissingAssetError, match="prepare this movement again"):
        len(PreparedDHP19(tmp_path)[0])


def test_no_set_or_several(tmp_path):
    with pytest.raises(MissingAssetError, match="eventhpe prepare dhp19"):
        PreparedDHP19(tmp_path)
    for variant in ("7500events", "20000us"):
        name = PreparedName(1, 1, 1, variant)
        name.folder(tmp_path).mkdir(parents=True)
        name.frames_path(tmp_path).touch()
    with pytest.raises(FormatError, match="20000us, 7500events"):
        PreparedDHP19(tmp_path)
    with pytest.raises(FormatError, match="no set '50us'"):
        PreparedDHP19(tmp_path, "50us")
    assert PreparedDHP19(tmp_path, "20000us").variant == "20000us"


def test_names():
    official = PreparedName(13, 1, 8)
    assert official.frames_path(Path("out")).as_posix() == (
        "out/h5_dataset_7500_events/346x260/S13_session1_mov8_7500events.h5"
    )
    assert official.labels_path(Path("out")).name == "S13_session1_mov8_7500events_label.h5"
    for name in (official, PreparedName(1, 2, 3, "50000us5bins"), PreparedName(1, 2, 3, "7500percamera", 2)):
        assert PreparedName.parse(name.frames_path(Path()).name) == name
        assert PreparedName.parse(name.labels_path(Path()).name) is None
    for wrong in (
        "S18_session1_mov1_7500events.h5",
        "S1_session2_mov7_7500events.h5",
        "xS1_session1_mov1_a.h5",
    ):
        assert PreparedName.parse(wrong) is None


def test_a_second_run_does_nothing_and_an_interrupted_one_goes_on(root, tmp_path):
    out = tmp_path / "out"
    prepare_dhp19(root, out, SETTINGS)
    first, second = (PreparedName(*n, "1250events").frames_path(out) for n in ((1, 1, 1), (10, 2, 3)))
    before = first.stat().st_mtime_ns
    second.unlink()  # labels come first, so this is what an interruption leaves
    told = []
    outcomes = prepare_dhp19(root, out, SETTINGS, told=told.append)
    assert [o.status for o in outcomes] == ["skipped", "done"] and told == outcomes
    assert first.stat().st_mtime_ns == before and second.is_file()
    lines = [json.loads(line) for line in (out / REPORT_NAME).read_text().splitlines()]
    assert lines == json.loads(json.dumps([asdict(o) for o in outcomes]))


def test_other_settings_or_markers_do_not_mix(root, tmp_path):
    out = tmp_path / "out"
    prepare_dhp19(root, out, SETTINGS)
    floor = DHP19Settings(events_per_frame=5000, label_k="floor")
    outcomes = prepare_dhp19(root, out, floor)
    assert [o.status for o in outcomes] == ["failed"] * 2 and "--overwrite" in outcomes[0].error
    with h5py.File(PreparedName(1, 1, 1, "1250events").labels_path(out)) as file:
        assert file["XYZ"][4, :, 0].tolist() == [282, 314, 1771]  # what was there
    outcomes = prepare_dhp19(root, out, floor, overwrite=True)
    assert [o.status for o in outcomes] == ["done"] * 2
    assert PreparedDHP19(out)[0].labels[4, 0].tolist() == [281.5, 313, 1770.75]
    scipy.io.savemat(root / "Vicon_data/S1_1_1.mat", {"XYZPOS": f1_vicon(299)})
    assert [o.status for o in prepare_dhp19(root, out, floor)] == ["failed", "skipped"]


def test_files_of_somebody_else_stay(root, tmp_path):
    name = PreparedName(1, 1, 1, "1250events")
    name.folder(tmp_path).mkdir(parents=True)
    name.frames_path(tmp_path).write_bytes(b"something else")
    (outcome,) = prepare_dhp19(root, tmp_path, SETTINGS, only=["S1_1_1"])
    assert outcome.status == "failed" and "exists already" in outcome.error
    assert name.frames_path(tmp_path).read_bytes() == b"something else"


def test_several_processes_give_the_same_files(root, tmp_path):
    one = prepare_dhp19(root, tmp_path / "one", SETTINGS)
    two = prepare_dhp19(root, tmp_path / "two", SETTINGS, jobs=2)
    assert [(o.name, o.num_windows, o.stages) for o in one] == [
        (o.name, o.num_windows, o.stages) for o in two
    ]
    for a in sorted((tmp_path / "one" / FOLDER).iterdir()):
        with h5py.File(a) as left, h5py.File(tmp_path / "two" / FOLDER / a.name) as right:
            key = "DVS" if "DVS" in left else "XYZ"
            assert np.array_equal(left[key][:], right[key][:], equal_nan=key == "XYZ")
            assert left.attrs["provenance"] == right.attrs["provenance"]


def test_damaged_recordings_stop_no_others(root, tmp_path, f1):
    content = f1.read_bytes()
    header = content[: content.index(b"# End of Preferences\r\n") + 22]
    special = np.array([[0x400, 950_000]], ">u4").tobytes()
    for name in ("S4_3_4", "S5_1_1", "S6_1_1", "S7_1_1"):
        add(root, name, f1)
    events = {m.name: m.events for m in find_movements(root)}
    events["S4_3_4"].write_bytes(header + special * 700 + content[len(header) :])
    events["S5_1_1"].write_bytes(content[:-3])
    events["S6_1_1"].write_bytes(b"\0" * 1000)
    (root / "Vicon_data/S7_1_1.mat").unlink()
    outcomes = {o.name: o for o in prepare_dhp19(root, tmp_path / "out", SETTINGS, drop=["S10_2_3"])}
    assert {n: o.status for n, o in outcomes.items()} == {
        "S1_1_1": "done", "S4_3_4": "left out", "S5_1_1": "done", "S6_1_1": "failed", "S7_1_1": "failed",
        "S10_2_3": "left out",
    }  # fmt: skip
    assert "702 special events" in outcomes["S4_3_4"].error  # the first record of the file is skipped
    assert "5 bytes at the end are no complete record; ignored" in outcomes["S5_1_1"].faults
    assert "S7_1_1.mat" in outcomes["S7_1_1"].error
    assert outcomes["S10_2_3"].error == "dropped as asked"
    told = outcomes["S1_1_1"].faults
    assert {"100 events with rows beyond 259: dropped", "hipL is missing throughout"} <= set(told)
    assert not list((tmp_path / "out").rglob("*.part"))


def test_a_recording_without_a_window_is_told_and_can_be_read(root, tmp_path):
    (outcome, _) = prepare_dhp19(root, tmp_path, DHP19Settings(events_per_frame=40_000))
    assert outcome.status == "done" and outcome.faults[-1] == "gives no window: too few events"
    recording = PreparedDHP19(tmp_path)[0]
    assert recording.num_frames == 0 and recording.labels.shape == (0, 13, 3)
    with pytest.raises(IndexError):
        recording.frames(0)


def test_modern_sets(root, tmp_path):
    per_camera = settings_of("modern", windows="per_camera", events_per_frame=5000)
    (outcome,) = prepare_dhp19(root, tmp_path, per_camera, only=["S1_1_1"])
    prepared = PreparedDHP19(tmp_path)
    assert prepared.variant == "1250percamera" and [r.channel for r in prepared] == [0, 1, 2, 3]
    assert sum(r.num_frames for r in prepared) == outcome.num_windows
    assert all(r.frames(0).shape == (260, 346, 1) and (r.num_events == 1250).all() for r in prepared)
    assert (tmp_path / "h5_dataset_1250_percamera/346x260/S1_session1_mov1_1250percamera_ch3.h5").is_file()

    voxels = settings_of("modern", windows="fixed_rate", window_us=500_000, voxel_bins=2)
    prepare_dhp19(root, tmp_path, voxels, only=["S1_1_1"])
    (recording,) = PreparedDHP19(tmp_path, "500000us2bins")
    packets = list(official_frames(find_movements(root)[0], voxels))
    assert np.array_equal(recording.voxels(1), packets[1].data)
    with pytest.raises(FormatError, match="DVS"):
        recording.frames(0)


def test_labels_of_known_recordings_can_be_put_right(tmp_path, f1):
    """S2_4_5: right elbow and hand, in all rows."""
    add(tmp_path / "root", "S2_4_5", f1)
    (movement,) = find_movements(tmp_path / "root")
    as_told, fixed = (
        next(iter(official_frames(movement, DHP19Settings(events_per_frame=5000, fix_labels=fix))))
        for fix in (False, True)
    )
    assert np.array_equal(fixed.label_mm[3], as_told.label_mm[7])
    assert np.array_equal(fixed.label_mm[7], as_told.label_mm[3])
    others = [j for j in range(13) if j not in (3, 7)]
    assert np.array_equal(fixed.label_mm[others], as_told.label_mm[others], equal_nan=True)


def test_names_that_are_not_there(root, tmp_path):
    for words in ({"only": ["S1_1_2"]}, {"drop": ["S1_9_9"]}):
        with pytest.raises(FormatError, match="no recording S1_"):
            prepare_dhp19(root, tmp_path / "out", SETTINGS, **words)
    with pytest.raises(MissingAssetError):
        prepare_dhp19(tmp_path, tmp_path / "out")


def test_a_unit_needs_nothing_else(root, tmp_path):
    unit = PrepareUnit(find_movements(root)[0], tmp_path / "out", SETTINGS)
    assert prepare_movement(pickle.loads(pickle.dumps(unit))).num_windows == 7
    gone = PrepareUnit(DHP19Movement(1, 1, 1, tmp_path / "no.aedat", tmp_path / "no.mat"), tmp_path, SETTINGS)
    assert prepare_movement(gone).status == "failed"


def test_splits_are_those_of_the_description():
    described = yaml.safe_load((CHECKOUT / "datasets/dhp19/splits.yaml").read_text())
    assert set(described["splits"]) == set(SPLITS)
    for name, split in SPLITS.items():
        told = described["splits"][name]
        assert {k: tuple(told[k]) for k in ("train", "validation", "test", "channels")} == asdict(split)
        assert not set(split.train) & set(split.test) and set(split.validation) <= set(split.train)
        assert set(split.train) | set(split.test) == set(range(1, 18))
