"""Synthetic movements in DHP19's files: read back with what reads DHP19."""

from __future__ import annotations

import hashlib
import shutil
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from numpy.typing import NDArray

from eventhpe.body.params import BodyParams
from eventhpe.data.dhp19 import find_movements, require_labelled
from eventhpe.data.dhp19_cameras import dhp19_camera
from eventhpe.data.dhp19_export import VICON_FIELDS, export_dhp19, trigger_times, write_matrices
from eventhpe.data.labels import Labels, write_labels
from eventhpe.errors import CalibrationError, FormatError, ShapeError, UnitError
from eventhpe.events.formats.aedat2 import write_aedat2
from eventhpe.events.open import open_recording
from eventhpe.events.store_writer import StoreWriter
from eventhpe.events.types import Events
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.skeleton import DHP19_SKELETON

SIZE = (260, 346)
ENDS_US = {0: 203_000, 1: 200_400, 2: 204_000, 3: 201_000}
"""What the four recordings state as their length; the shortest decides."""
END_US = min(ENDS_US.values())
T_START_US = 150_000_000
MATRIX_OF_CHANNEL = {0: "P4", 1: "P1", 2: "P3", 3: "P2"}


def markers(t_us: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N, 13, 3) metres: 13 points of a person about 1.7 m tall, drifting to its left."""
    j = np.arange(13)
    side = np.array([0] + [-1, 1] * 6) * 0.2
    rest = np.stack([side, 1.7 - 0.12 * j, 0.02 * j], axis=-1)
    return rest + np.stack([1e-6 * t_us, 0.0 * t_us, 0.0 * t_us], axis=-1)[:, None]


def official_pixels(P: NDArray[np.float64], xyz_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 2) u, v by the authors' rule."""
    x, y, w = P @ np.c_[xyz_mm, np.ones(len(xyz_mm))].T
    return np.stack([x / w, 260 - y / w], axis=-1)


def events_of(channel: int, duration_us: int) -> Events:
    """Every millisecond, an event of each marker where this camera sees it."""
    t = np.arange(0, duration_us, 1000)
    camera = dhp19_camera(channel)
    uv = np.rint(camera.project(camera.to_camera_frame(markers(t))).reshape(-1, 2)).astype(int)
    p = np.tile(np.arange(13) % 2, len(t))
    return Events.from_columns(np.repeat(t, 13), uv[:, 0], uv[:, 1], p, SIZE)


def labels_of(camera: Camera) -> Labels:
    still = BodyParams(
        betas=np.zeros((2, 10)), global_orient=np.zeros((2, 3)), body_pose=np.zeros((2, 23, 3)),
        transl=np.zeros((2, 3)), model="open", gender="neutral",
    )  # fmt: skip
    points = np.zeros((2, 24, 3), np.float32)
    return Labels(np.array([0, 10_000]), still, points, points[..., :2], camera)


def write_recording(
    path: Path, events: Events, *, duration_us: int | None = None, labels: Labels | None = None
) -> Path:
    with StoreWriter(path, events.sensor_size, duration_us=duration_us) as writer:
        writer.append(events)
        if labels is not None:
            write_labels(writer.file, labels)
    return path


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    folder = tmp_path_factory.mktemp("cameras")
    return {
        channel: write_recording(
            folder / f"{channel}.h5", events_of(channel, end), duration_us=end,
            labels=labels_of(dhp19_camera(channel)),
        )
        for channel, end in ENDS_US.items()
    }  # fmt: skip


@pytest.fixture
def export(tmp_path: Path, recordings: dict[int, Path]) -> Callable[..., Any]:
    def run(**changes: Any) -> Any:
        arguments: dict[str, Any] = {
            "subject": 3, "session": 2, "movement": 4, "recordings": recordings, "markers": markers,
            "t_start_us": T_START_US,
        }  # fmt: skip
        return export_dhp19(tmp_path / "DHP19", **arguments | changes)

    return run


def files(root: Path) -> dict[str, str]:
    return {
        p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob("*"))
        if p.is_file()
    }


def test_a_movement_goes_out_and_comes_back(export: Callable[..., Any], tmp_path: Path) -> None:
    made = export()
    root = tmp_path / "DHP19"
    assert list(files(root)) == [
        "DVS_movies/S3/session2/mov4.aedat",
        *(f"P_matrices/P{k}.npy" for k in (1, 2, 3, 4)),
        "P_matrices/camera_positions.npy",
        "Vicon_data/S3_2_4.mat",
    ]
    assert find_movements(root) == require_labelled(root) == [made]
    vicon = scipy.io.loadmat(made.labels)["XYZPOS"][0, 0]
    assert vicon.dtype.names == VICON_FIELDS
    assert {(vicon[name].shape, vicon[name].dtype.str) for name in VICON_FIELDS} == {((21, 3), "<f8")}
    assert {p.stat().st_size for p in (root / "P_matrices").iterdir()} == {224}
    head = vicon["head"]
    assert head[0].tolist() == pytest.approx([0, 0, 1700]) and head[10, 0] == pytest.approx(100)
    for channel, matrix in MATRIX_OF_CHANNEL.items():
        P = np.load(root / "P_matrices" / f"{matrix}.npy")
        with open_recording(made.events, stream=channel) as recording:
            events, zero, triggers = recording.read(), recording.t_offset_us, recording.triggers
            assert recording.warnings == ()
        skip = 1 if channel == 0 else 0  # the dummy record that DHP19's reader drops
        t = events.t[skip:] + zero - T_START_US
        sent = events_of(channel, END_US)
        assert np.array_equal(t, sent.t)
        for column in "xyp":
            assert np.array_equal(getattr(events, column)[skip:], getattr(sent, column))
        assert triggers is not None and (triggers.t_us + zero - T_START_US).tolist() == [0, 1]
        # With nothing but the files: the events of a marker lie where its row and the matrix put it.
        for row in (0, 7, 20):
            here = np.flatnonzero(t == row * 10_000) + skip
            seen = np.stack([events.x[here], events.y[here]], axis=-1)
            xyz = np.stack([vicon[name][row] for name in VICON_FIELDS])
            assert np.abs(official_pixels(P, xyz) - seen).max() <= 0.5 + 1e-6


def test_fields_are_the_joints_of_the_skeleton() -> None:
    plain = [f"{name}_right" if side == "R" else f"{name}_left" if side == "L" else name + side
             for name, side in ((f[:-1], f[-1]) for f in VICON_FIELDS)]  # fmt: skip
    assert tuple(plain) == DHP19_SKELETON.joints


def test_equal_arguments_give_equal_bytes_and_the_header_says_synthetic(
    export: Callable[..., Any], tmp_path: Path
) -> None:
    made = export()
    first = files(tmp_path / "DHP19")
    export(overwrite=True)
    assert files(tmp_path / "DHP19") == first
    header = made.events.read_bytes()[:600]
    assert b"\r\n# synthetic recording in the format of DHP19; not part of DHP19\r\n" in header
    assert made.labels.read_bytes()[:20] == b"MATLAB 5.0 MAT-file,"
    assert b"synthetic" in made.labels.read_bytes()[:116]


def record_times(path: Path) -> tuple[list[int], list[int]]:
    """Times of special events and of events after the first record, from the start of the motion."""
    data = path.read_bytes()
    data = data[data.index(b"\n", data.index(b"#End of Preferences")) + 1 :]
    words = np.frombuffer(data, ">u4").reshape(-1, 2)[1:].astype(np.int64)
    special = words[:, 0] & 0x400 != 0
    return (words[special, 1] - T_START_US).tolist(), (words[~special, 1] - T_START_US).tolist()


def official_window(specials: list[int], events: list[int], vicon_rows: int) -> tuple[int, int]:
    """Start and stop as the authors' script finds them, for recordings whose clock does not jump back."""
    length = 10_000 * vicon_rows
    if not specials:
        return events[0], events[-1]
    if len(specials) in (3, 5):
        return specials[0], specials[-1]
    at = specials[0]
    return (at - length, at) if at - events[0] > events[-1] - at else (at, at + length)


@pytest.mark.parametrize(
    ("specials", "times", "window"),
    [
        (0, [], (0, END_US // 1000 * 1000)),
        (1, [0], (0, 210_000)),
        (2, [0, 1], (0, 210_000)),
        (3, [0, 1, END_US], (0, END_US)),
        (4, [0, 0, 0, 1], (0, 210_000)),
        (5, [0, 0, 0, 1, END_US], (0, END_US)),
        ((210_000, 210_001), [210_000, 210_001], (0, 210_000)),
        ((-2000, 100_000, 190_000), [-2000, 100_000, 190_000], (-2000, 190_000)),
    ],
)
def test_special_events_tell_start_and_stop(
    export: Callable[..., Any], specials: Any, times: list[int], window: tuple[int, int]
) -> None:
    made = export(specials=specials)
    found, events = record_times(made.events)
    assert found == times
    rows = len(scipy.io.loadmat(made.labels)["XYZPOS"][0, 0]["head"])
    assert official_window(found, events, rows) == window
    with open_recording(made.events, stream=2) as recording:
        assert len(recording.triggers or []) == len(times)
        assert np.array_equal(recording.read().y, events_of(2, END_US).y)


def test_only_the_numbers_of_special_events_that_dhp19_knows() -> None:
    assert [len(trigger_times(case, END_US)) for case in range(6)] == list(range(6))
    for case in (-1, 6):
        with pytest.raises(FormatError, match="0 to 5"):
            trigger_times(case, END_US)


def test_markers_as_arrays_with_dropouts(export: Callable[..., Any]) -> None:
    given = markers(np.arange(40) * 10_000)
    given[3:5, 7] = np.nan
    given[:, 6] = np.nan
    made = export(markers=given)
    vicon = scipy.io.loadmat(made.labels)["XYZPOS"][0, 0]
    assert len(vicon["head"]) == 21, "200.4 ms end nearest to row 20"
    assert np.isnan(vicon["hipL"]).all()
    assert np.flatnonzero(np.isnan(vicon["handR"]).all(axis=1)).tolist() == [3, 4]
    assert np.isnan(vicon["handL"]).sum() == 0
    export(markers=given[:21], overwrite=True)
    with pytest.raises(ShapeError, match=r"200400 µs need 21 rows.*got 20"):
        export(markers=given[:20], overwrite=True)
    with pytest.raises(ShapeError, match=r"\(N, 13, 3\)"):
        export(markers=given[:, :12], overwrite=True)
    given[0, 0] = np.inf
    with pytest.raises(ShapeError, match="NaN"):
        export(markers=given, overwrite=True)


def test_what_is_there_is_kept(export: Callable[..., Any], tmp_path: Path) -> None:
    root = tmp_path / "DHP19"
    made = export()
    before = files(root)
    with pytest.raises(FormatError, match=r"mov4\.aedat: exists already"):
        export()
    export(movement=5)
    made.events.unlink()  # as after an interruption: the labels are the same and may stay
    export()
    assert {name: before[name] for name in before} == {name: files(root)[name] for name in before}
    made.events.unlink()
    with pytest.raises(FormatError, match="other labels exist already"):
        export(markers=lambda t: markers(t) + 0.001)
    assert (
        not made.events.exists() and files(root)["Vicon_data/S3_2_4.mat"] == before["Vicon_data/S3_2_4.mat"]
    )
    np.save(root / "P_matrices" / "P2.npy", np.eye(3, 4))
    with pytest.raises(CalibrationError, match=r"P2\.npy: holds other numbers"):
        write_matrices(root)


def test_a_failure_on_the_way_leaves_no_movement(
    export: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("eventhpe.data.dhp19_export._write_bytes", broken)
    with pytest.raises(OSError, match="disk full"):
        write_matrices(tmp_path / "other")
    monkeypatch.undo()
    write_matrices(tmp_path / "DHP19")
    monkeypatch.setattr("eventhpe.data.dhp19_export._write_bytes", broken)
    with pytest.raises(OSError, match="disk full"):
        export()
    assert [name for name in files(tmp_path / "DHP19") if not name.startswith("P_matrices")] == []


def test_recordings_that_cannot_be_a_movement(
    export: Callable[..., Any], recordings: dict[int, Path], tmp_path: Path
) -> None:
    with pytest.raises(FormatError, match=r"channel 0 to 3; got \[0, 1\]"):
        export(recordings={k: recordings[k] for k in (0, 1)})
    for changes, match in (
        ({"subject": 18}, "subject must be 1 to 17"),
        ({"session": 0}, "session must be 1 to 5"),
        ({"movement": 7}, "movement must be 1 to 6"),
        ({"specials": (5, 4)}, "must not decrease"),
        ({"specials": (-T_START_US,)}, "32-bit"),
    ):
        with pytest.raises(FormatError, match=match):
            export(**changes)
    for t_start_us in (70_000, (1 << 32) - END_US):
        with pytest.raises(UnitError, match="above 70000 µs"):
            export(t_start_us=t_start_us)
    small = write_recording(tmp_path / "small.h5", Events.from_columns([0], [0], [0], [0], (180, 240)))
    with pytest.raises(FormatError, match=r"small\.h5.*\(260, 346\)"):
        export(recordings={**recordings, 1: small})
    empty = write_recording(tmp_path / "empty.h5", Events.empty(SIZE))
    with pytest.raises(FormatError, match="with 0 events"):
        export(recordings={**recordings, 1: empty})
    write_aedat2(tmp_path / "foreign.aedat", events_of(1, 5000))
    with pytest.raises(FormatError, match=r"is AEDAT 2\.0; only recordings of ours"):
        export(recordings={**recordings, 1: tmp_path / "foreign.aedat"})
    assert not (tmp_path / "DHP19").exists()


def test_a_recording_of_another_camera_is_found(
    export: Callable[..., Any], recordings: dict[int, Path], tmp_path: Path
) -> None:
    swapped = {**recordings, 2: recordings[3], 3: recordings[2]}
    with pytest.raises(CalibrationError, match=r"3\.h5: was made with another camera than dhp19_camera\(2\)"):
        export(recordings=swapped)
    camera = dhp19_camera(1)
    moving = replace(labels_of(camera), track=(np.tile(np.eye(3), (2, 1, 1)), np.zeros((2, 3))))
    path = write_recording(tmp_path / "moving.h5", events_of(1, END_US), labels=moving)
    with pytest.raises(CalibrationError, match="moves"):
        export(recordings={**recordings, 1: path})
    plain = write_recording(tmp_path / "plain.h5", events_of(1, END_US), duration_us=END_US)
    made = export(recordings={**recordings, 1: plain})  # one that tells nothing of its camera is believed
    expected = made.events.read_bytes()
    export(overwrite=True)
    assert made.events.read_bytes() == expected


def test_memory_does_not_grow_with_the_recordings(
    export: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventhpe.data.dhp19_export._READ_BLOCK", 1 << 12)
    rng = np.random.default_rng(0)
    peaks = []
    for n in (20_000, 200_000):
        t = np.sort(rng.integers(0, 100_000, n))
        x, y, p = (rng.integers(0, end, n) for end in (346, 260, 2))
        path = write_recording(
            tmp_path / f"{n}.h5", Events.from_columns(t, x, y, p, SIZE), duration_us=100_000
        )
        four = {channel: path for channel in range(4)}
        shutil.rmtree(tmp_path / "DHP19", ignore_errors=True)
        tracemalloc.start()
        made = export(recordings=four)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert made.events.stat().st_size > 4 * 8 * n
    assert peaks[1] < 1.5 * peaks[0]
