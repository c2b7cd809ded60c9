"""Synthetic sequences in MMHPSD's files: every file is decoded and compared with labels and events."""

from __future__ import annotations

import hashlib
import os
import pickletools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eventhpe.data.labels import Labels, read_labels
from eventhpe.data.mmhpsd_export import export_mmhpsd
from eventhpe.data.mmhpsd_layout_a import (
    HMR_PLACE_SIGMA_M,
    HMR_POSE_SIGMA_RAD,
    clip_starts,
    pack_flow,
    write_track_lists,
)
from eventhpe.data.mmhpsd_layout_b import pack_frame, unpack_frame
from eventhpe.data.mmhpsd_sequence import MMHPSD_CAMERA, SequenceReader, SequenceSource, event_frame
from eventhpe.data.truth import Truth
from eventhpe.errors import CalibrationError, FormatError, ShapeError
from eventhpe.events.frames import binary_bins
from eventhpe.events.types import Events
from eventhpe.geometry.skeleton import SMPL_SKELETON
from tests.data.mmhpsd_fixture import (
    AT_ONCE,
    EMPTY,
    FRAME_US,
    LABEL_US,
    NUM_FRAMES,
    SINGLE,
    gray_image,
    labels_of,
    moving_params,
    read_joblib,
    some_events,
    write_sequence_recording,
)

TRAIN, TEST = "subject03_group2_time4", "subject07_group1_time1"
MISSING = (1,)
VALID = [k for k in range(NUM_FRAMES) if k not in MISSING]
INTERVALS = range(NUM_FRAMES - 1)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sequence_recording(tmp_path_factory.mktemp("recording") / "a.h5", labels_of(moving_params()))


@pytest.fixture(scope="module")
def sources(recording: Path) -> list[SequenceSource]:
    return [SequenceSource(recording, 3, 2, 4, MISSING), SequenceSource(recording, 7, 1, 1)]


@pytest.fixture(scope="module")
def layout_a(tmp_path_factory: pytest.TempPathFactory, sources: list[SequenceSource]) -> Path:
    root = tmp_path_factory.mktemp("layouts") / "a"
    made = export_mmhpsd(root, layout="A", sequences=sources)
    assert made == [root / "events_256" / name / f"{name}_info.pkl" for name in (TRAIN, TEST)]
    return root


@pytest.fixture(scope="module")
def layout_b(tmp_path_factory: pytest.TempPathFactory, sources: list[SequenceSource]) -> Path:
    root = tmp_path_factory.mktemp("layouts") / "b"
    made = export_mmhpsd(root, layout="B", sequences=sources)
    assert made == [root / "mmhpsd_grayscale_img" / n / "imgs" / "fullpic0000.jpg" for n in (TRAIN, TEST)]
    return root


@pytest.fixture(scope="module")
def labels(recording: Path) -> Labels:
    return read_labels(recording)


def interval(k: int) -> Events:
    return some_events().between(k * FRAME_US, (k + 1) * FRAME_US)


def published_frame(events: Events) -> np.ndarray:
    """The rule of EventHPE's preparation, event by event, in exact whole numbers."""
    frame = np.zeros((256, 256, 4), bool)
    for t, x, y in zip(events.t.tolist(), events.x, events.y, strict=True):
        first, last = int(events.t[0]), int(events.t[-1])
        for b in range(4):
            if 4 * first + b * (last - first) <= 4 * t < 4 * first + (b + 1) * (last - first):
                frame[y, x, b] = True
    return frame


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def tree(root: Path) -> dict[str, str]:
    return {
        p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(root.rglob("*"))
        if p.is_file()
    }


def test_the_camera_is_the_published_one() -> None:
    assert MMHPSD_CAMERA.size == (256, 256) and not MMHPSD_CAMERA.dist.any()
    K = MMHPSD_CAMERA.K
    assert [K[0, 0], K[1, 1], K[0, 2], K[1, 2]] == pytest.approx([335.86, 335.86, 128.2, 128.2], abs=1e-9)


def test_layout_a_has_the_published_names(layout_a: Path) -> None:
    assert names(layout_a) == [
        "README.txt", "events_256", "full_pic_256", "hmr_results", "pose_events", "pred_flow_events_256",
        "sources", "test_track0802.pkl", "train_track0802.pkl",
    ]  # fmt: skip
    for name, valid in ((TRAIN, VALID), (TEST, list(range(NUM_FRAMES)))):
        assert names(layout_a / "events_256" / name) == [
            *(f"event{k:04d}.png" for k in INTERVALS),
            f"{name}_info.pkl",
        ]
        assert names(layout_a / "full_pic_256" / name) == [f"fullpic{k:04d}.jpg" for k in range(NUM_FRAMES)]
        assert names(layout_a / "pose_events" / name) == [
            *(f"pose{k:04d}.pkl" for k in valid),
            "pose_info.pkl",
        ]
        assert names(layout_a / "hmr_results" / name) == [
            f"fullpic{k:04d}_hmr.pkl" for k in range(NUM_FRAMES)
        ]
        flows = names(layout_a / "pred_flow_events_256" / name)
        assert flows == [f"flow{k:04d}.pkl" for k in range(NUM_FRAMES - 2)]
    assert "OPEN body" in (layout_a / "README.txt").read_text() and not list(layout_a.rglob("*.part"))


def test_event_images_hold_the_published_bins(layout_a: Path) -> None:
    indices, counts = read_joblib(layout_a / "events_256" / TRAIN / f"{TRAIN}_info.pkl")
    assert indices == list(INTERVALS)
    for k in INTERVALS:
        image = cv2.imread(str(layout_a / "events_256" / TRAIN / f"event{k:04d}.png"), cv2.IMREAD_UNCHANGED)
        assert image.shape == (256, 256, 4) and image.dtype == np.uint8
        assert np.array_equal(image, published_frame(interval(k)).astype(np.uint8)), k
        assert counts[k] == int(np.count_nonzero(image))
    assert counts[EMPTY] == counts[SINGLE] == counts[AT_ONCE] == 0 and min(counts[:3]) > 500
    # Each event but the last of its interval is in one bin; only events of one pixel and bin fall together.
    total = sum(len(interval(k)) - 1 for k in INTERVALS if k not in (EMPTY, SINGLE, AT_ONCE))
    assert 0.98 * total < sum(counts) <= total


def test_two_event_images_are_the_eight_channels_of_a_step(layout_a: Path) -> None:
    def image(k: int) -> np.ndarray:
        return cv2.imread(str(layout_a / "events_256" / TEST / f"event{k:04d}.png"), cv2.IMREAD_UNCHANGED)

    step = np.concatenate([image(7), image(8)], axis=-1).transpose(2, 0, 1)
    a, b = interval(7), interval(8)
    halves = [
        binary_bins(e.between(int(e.t[0]), int(e.t[-1])), int(e.t[0]), int(e.t[-1]), num_bins=4)
        for e in (a, b)
    ]
    assert np.array_equal(step, np.concatenate(halves))
    # Time ascends with the channels: what fires only in the first eighth is in channel 0 alone.
    first = a.between(int(a.t[0]), int(a.t[0]) + 1)
    assert step[0, first.y, first.x].all()


@settings(max_examples=60, deadline=None)
@given(times=st.lists(st.integers(0, 40), max_size=12).map(sorted), seed=st.integers(0, 9))
def test_event_frame_follows_the_published_rule(times: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y, p = (rng.integers(0, n, len(times)) for n in (5, 4, 2))
    events = Events.from_columns(np.array(times, np.int64), x, y, p, (256, 256))
    assert np.array_equal(event_frame(events), published_frame(events))


def test_pictures_are_the_gray_frames(layout_a: Path, layout_b: Path) -> None:
    for k in (0, 11, NUM_FRAMES - 1):
        a = layout_a / "full_pic_256" / TEST / f"fullpic{k:04d}.jpg"
        image = cv2.imread(str(a), cv2.IMREAD_UNCHANGED)
        assert image.shape == (256, 256) and np.abs(image.astype(int) - gray_image(k)).max() <= 3
        b = layout_b / "mmhpsd_grayscale_img" / TEST / "imgs" / a.name
        assert b.read_bytes() == a.read_bytes()


def test_poses_of_layout_a_are_the_labels(layout_a: Path, labels: Labels) -> None:
    folder = layout_a / "pose_events" / TRAIN
    assert read_joblib(folder / "pose_info.pkl") == VALID
    for k in VALID:
        record = read_joblib(folder / f"pose{k:04d}.pkl")
        assert isinstance(record, tuple)
        beta, theta, tran, joints3d, joints2d = record
        shapes = [(1, 10), (1, 72), (1, 3), (24, 3), (24, 3)]
        assert [a.shape for a in record] == shapes and {a.dtype.str for a in record} == {"<f4"}
        at = k * FRAME_US // LABEL_US
        p = labels.params
        np.testing.assert_allclose(beta[0], p.betas[at], atol=1e-6)
        np.testing.assert_allclose(theta.reshape(24, 3), p.pose[at], atol=1e-5)
        np.testing.assert_allclose(tran[0], p.transl[at], atol=1e-6)
        np.testing.assert_allclose(joints3d, labels.joints3d[at], atol=1e-5)
        np.testing.assert_allclose(joints2d[:, :2], labels.joints2d[at], atol=1e-2)
        np.testing.assert_allclose(joints2d[:, 2], joints3d[:, 2], atol=1e-6)


def test_poses_between_labels_are_interpolated(tmp_path: Path, labels: Labels) -> None:
    """Labels every 40 ms meet no gray frame but the first."""
    every = replace(labels, t_us=labels.t_us * 4)
    path = write_sequence_recording(tmp_path / "a.h5", every)
    with SequenceReader(SequenceSource(path, 1, 1, 1)) as reader:
        poses = reader.poses
    k = 5
    at = k * FRAME_US / (4 * LABEL_US)
    low, share = int(at), at - int(at)
    p = labels.params
    expected = (1 - share) * p.transl[low] + share * p.transl[low + 1]
    np.testing.assert_allclose(poses.params.transl[k], expected, atol=1e-9)
    angle = (1 - share) * p.body_pose[low, 16, 2] + share * p.body_pose[low + 1, 16, 2]
    np.testing.assert_allclose(poses.params.body_pose[k, 16], [0, 0, angle], atol=1e-6)
    np.testing.assert_allclose(MMHPSD_CAMERA.project(poses.joints3d), poses.joints2d[..., :2], atol=1e-9)


def test_joblib_itself_reads_the_files(layout_a: Path) -> None:
    """The published files are read with joblib.load; these were made a moment ago by this test."""
    for path in (
        layout_a / "pose_events" / TEST / "pose0002.pkl",
        layout_a / "pred_flow_events_256" / TEST / "flow0002.pkl",
        layout_a / "hmr_results" / TEST / "fullpic0002_hmr.pkl",
        layout_a / "events_256" / TEST / f"{TEST}_info.pkl",
    ):
        theirs, ours = joblib.load(path), read_joblib(path)
        if isinstance(ours, np.ndarray):
            theirs, ours = [theirs], [ours]
        for a, b in zip(theirs, ours, strict=True):
            assert np.array_equal(a, b)


def test_flow_files_hold_hundredths_of_the_true_flow_over_two_frames(layout_a: Path, recording: Path) -> None:
    with Truth(recording) as truth:
        for k in (0, 10, NUM_FRAMES - 3):
            flow = read_joblib(layout_a / "pred_flow_events_256" / TRAIN / f"flow{k:04d}.pkl")
            assert flow.shape == (2, 256, 256) and flow.dtype == np.int16
            field = truth.flow(k * FRAME_US, (k + 2) * FRAME_US)
            assert not flow[:, ~field.valid].any() and field.valid.sum() > 2000
            error = field.uv - flow / 100.0
            assert np.abs(error[:, field.valid]).max() < 0.01 + 1e-4
            assert np.median(field.uv[0][field.valid]) > 4, "the body walks to the right"


def test_flow_is_cut_towards_zero_and_to_sixteen_bits() -> None:
    uv = np.array([[[0.019, -0.019, 1.0], [327.68, -400.0, -1.005]]], np.float32)
    assert pack_flow(uv).tolist() == [[[1, -1, 100], [32767, -32768, -100]]]


def test_hmr_results_are_the_truth_with_the_stated_noise(layout_a: Path, labels: Labels) -> None:
    folder = layout_a / "hmr_results" / TRAIN
    pose_errors, place_errors = [], []
    for k in range(NUM_FRAMES):
        joints2d, joints3d, params, tran, feature = read_joblib(folder / f"fullpic{k:04d}_hmr.pkl")
        shapes = [a.shape for a in (joints2d, joints3d, params, tran, feature)]
        assert shapes == [(24, 2), (24, 3), (85,), (1, 3), (2048,)] and not feature.any()
        at = k * FRAME_US // LABEL_US
        pose_errors.append(params[3:75] - labels.params.pose[at].ravel())
        place_errors.append(tran[0] - labels.params.transl[at])
        np.testing.assert_allclose(MMHPSD_CAMERA.project(joints3d), joints2d, atol=1e-2)
        assert 0 < np.abs(joints3d - labels.joints3d[at]).max() < 1.0
        scale = 2 * 335.86 / 256 / tran[0, 2]
        np.testing.assert_allclose(params[:3], [scale, tran[0, 0], tran[0, 1]], rtol=1e-5)
    assert np.std(pose_errors) == pytest.approx(HMR_POSE_SIGMA_RAD, rel=0.1)
    assert np.std(place_errors, axis=0) == pytest.approx(HMR_PLACE_SIGMA_M, rel=0.6)


def test_track_lists_split_by_subject_and_skip_clips_with_missing_poses(layout_a: Path) -> None:
    def clips(split: str) -> Any:
        path = layout_a / f"{split}_track0802.pkl"
        codes = {code.name for code, _, _ in pickletools.genops(path.read_bytes())}
        assert not codes & {"GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD"}, "plain lists, nothing to import"
        return read_joblib(path)

    assert clips("test") == [(TEST, 0), (TEST, 1), (TEST, 2)]
    assert clips("train") == [(TRAIN, 2)], "clips that would hold frame 1 are left out"


def test_a_clip_needs_the_frame_sixteen_places_further_to_be_sixteen_later() -> None:
    frames = [k for k in range(60) if k not in (20, 41)]
    starts = clip_starts(frames)
    assert starts == [a for a in range(44) if all(k in frames for k in range(a, a + 17))]
    assert clip_starts(list(range(16))) == []


def test_track_lists_know_sequences_added_later_but_no_unfinished_ones(tmp_path: Path) -> None:
    def poses(name: str, done: bool) -> None:
        folder = tmp_path / "pose_events" / name
        folder.mkdir(parents=True)
        for k in range(9_990, 10_007):  # numbers of frames have at least four digits
            (folder / f"pose{k:04d}.pkl").touch()
        if done:
            (folder / "pose_info.pkl").touch()

    poses("subject02_group1_time1", True)
    poses("subject05_group1_time1", False)
    write_track_lists(tmp_path)
    assert read_joblib(tmp_path / "train_track0802.pkl") == []
    poses("subject15_group3_time2", True)
    write_track_lists(tmp_path)
    assert read_joblib(tmp_path / "train_track0802.pkl") == [("subject15_group3_time2", 9_990)]
    assert read_joblib(tmp_path / "test_track0802.pkl") == [("subject02_group1_time1", 9_990)]


def test_layout_b_has_the_published_names(layout_b: Path) -> None:
    assert names(layout_b) == ["README.txt", "mmhpsd_events", "mmhpsd_grayscale_img", "sources"]
    folder = layout_b / "mmhpsd_events" / TRAIN
    assert names(folder) == ["events", "events_frame_04", "poses", "poses_flip"]
    for kind in ("events", "events_frame_04"):
        assert names(folder / kind) == [f"events_{k:04d}.npz" for k in INTERVALS]
    for kind in ("poses", "poses_flip"):
        assert names(folder / kind) == [f"pose_{k:04d}.npz" for k in VALID]
    pictures = names(layout_b / "mmhpsd_grayscale_img" / TRAIN / "imgs")
    assert pictures == [f"fullpic{k:04d}.jpg" for k in range(NUM_FRAMES)]


def load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


def test_events_of_layout_b_are_all_events(layout_b: Path) -> None:
    parts = [load(layout_b / "mmhpsd_events" / TEST / "events" / f"events_{k:04d}.npz") for k in INTERVALS]
    assert len(parts[EMPTY]["t"]) == 0 and parts[EMPTY]["xy"].shape == (0, 2) and len(parts[SINGLE]["t"]) == 1
    whole = some_events()
    assert np.array_equal(np.concatenate([p["t"] for p in parts]), whole.t)
    assert np.array_equal(np.concatenate([p["xy"] for p in parts]), np.stack([whole.x, whole.y], -1))
    assert np.array_equal(np.concatenate([p["p"] for p in parts]), whole.p)
    for k, part in enumerate(parts):
        assert ((part["t"] >= k * FRAME_US) & (part["t"] < (k + 1) * FRAME_US)).all()


def test_packed_frames_are_those_of_layout_a(layout_a: Path, layout_b: Path) -> None:
    for k in INTERVALS:
        packed = load(layout_b / "mmhpsd_events" / TRAIN / "events_frame_04" / f"events_{k:04d}.npz")
        assert list(packed) == ["events_frame"]
        assert packed["events_frame"].shape == (32_768,) and packed["events_frame"].dtype == np.uint8
        image = cv2.imread(str(layout_a / "events_256" / TRAIN / f"event{k:04d}.png"), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(np.unpackbits(packed["events_frame"]).reshape(256, 256, 4), image)


def test_packing_goes_there_and_back_and_begins_with_the_highest_bit() -> None:
    frame = np.random.default_rng(3).random((256, 256, 4)) < 0.1
    assert np.array_equal(unpack_frame(pack_frame(frame)), frame)
    one = np.zeros((256, 256, 4), bool)
    one[0, 0, 0] = one[0, 2, 3] = True
    assert pack_frame(one)[:2].tolist() == [0b1000_0000, 0b0001_0000]
    with pytest.raises(ShapeError, match="32768"):
        unpack_frame(np.zeros(32_767, np.uint8))
    with pytest.raises(ShapeError, match="bool"):
        pack_frame(frame.astype(np.uint8))


def test_poses_of_layout_b_are_those_of_layout_a(layout_a: Path, layout_b: Path) -> None:
    for k in VALID:
        pose = load(layout_b / "mmhpsd_events" / TRAIN / "poses" / f"pose_{k:04d}.npz")
        assert sorted(pose) == ["beta", "body_pose", "joints2d", "joints3d", "trans"]
        record = read_joblib(layout_a / "pose_events" / TRAIN / f"pose{k:04d}.pkl")
        for name, array in zip(("beta", "body_pose", "trans", "joints3d", "joints2d"), record, strict=True):
            assert np.array_equal(pose[name], array), name


def test_flipped_poses_are_the_mirror_image(layout_b: Path) -> None:
    flip = SMPL_SKELETON.flip
    for k in VALID:
        pose, mirrored = (
            load(layout_b / "mmhpsd_events" / TRAIN / kind / f"pose_{k:04d}.npz")
            for kind in ("poses", "poses_flip")
        )
        assert np.array_equal(mirrored["beta"], pose["beta"])
        expected = pose["joints3d"][flip] * [-1, 1, 1]
        np.testing.assert_allclose(mirrored["joints3d"], expected, atol=2e-3)  # no body is quite symmetric
        np.testing.assert_allclose(mirrored["joints3d"][0], expected[0], atol=1e-5)
        uv = pose["joints2d"][flip, :2]
        np.testing.assert_allclose(
            mirrored["joints2d"][:, :2], np.stack([2 * 128.2 - uv[:, 0], uv[:, 1]], -1), atol=0.3
        )
    theta, turned = pose["body_pose"].reshape(24, 3), mirrored["body_pose"].reshape(24, 3)
    right, left = SMPL_SKELETON.index("shoulder_right"), SMPL_SKELETON.index("shoulder_left")
    assert theta[right, 2] == pytest.approx(1.3, abs=1e-5) and not theta[left].any()
    np.testing.assert_allclose(turned[left], [0, 0, -1.3], atol=1e-5)
    assert not turned[right].any()


def test_frames_without_a_person_in_view_have_no_pose(tmp_path: Path) -> None:
    params = moving_params()
    K = len(params.transl)
    out = np.where(np.arange(K)[:, None] >= K // 2, [3.0, 0.0, 0.0], 0.0)
    path = write_sequence_recording(tmp_path / "a.h5", labels_of(replace(params, transl=params.transl + out)))
    with SequenceReader(SequenceSource(path, 1, 1, 1, missing=(0,))) as reader:
        assert reader.poses.frames == [1, 2, 3, 4, 5, 6, 7, 8]
        assert reader.poses.mirrored().frames == reader.poses.frames


@pytest.mark.parametrize("layout", ["A", "B"])
def test_an_interrupted_export_goes_on_and_gives_the_same_files(
    tmp_path: Path, recording: Path, layout: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SequenceSource(recording, 7, 1, 1)
    export_mmhpsd(tmp_path / "whole", layout=layout, sequences=[source])
    whole = tree(tmp_path / "whole")

    written = 0
    complete = os.replace

    def replace_until(a: Any, b: Any) -> None:
        nonlocal written
        written += 1
        if written > len(whole) // 2:
            raise OSError("the disk is full")
        complete(a, b)

    root = tmp_path / "halves"
    monkeypatch.setattr(os, "replace", replace_until)
    with pytest.raises(OSError, match="disk is full"):
        export_mmhpsd(root, layout=layout, sequences=[source])
    monkeypatch.undo()
    half = tree(root)
    assert len(half) == len(whole) // 2 and half.items() <= whole.items()
    dead = root / "sources" / f".{TEST}.json.999999999-x.part"
    dead.touch()  # left by a process that was killed
    before = {p: p.stat().st_mtime_ns for p in root.rglob("*") if p.is_file()}
    (marker,) = export_mmhpsd(root, layout=layout, sequences=[source])
    assert tree(root) == whole and not dead.exists()
    assert all(p.stat().st_mtime_ns == t for p, t in before.items() if p.exists()), "what was there is kept"
    newest = max(p.stat().st_mtime_ns for p in root.rglob("*") if p.is_file())
    assert marker.stat().st_mtime_ns == newest, "the marker is written last"


def test_a_sequence_is_never_mixed_from_two_recordings(
    layout_a: Path, recording: Path, labels: Labels, tmp_path: Path
) -> None:
    before = tree(layout_a)
    with pytest.raises(FormatError, match=f"{TRAIN} is there already"):
        export_mmhpsd(layout_a, layout="A", sequences=[SequenceSource(recording, 3, 2, 4)])
    moved = replace(labels, params=replace(labels.params, transl=labels.params.transl + 0.01))
    other = write_sequence_recording(tmp_path / "a.h5", moved)
    with pytest.raises(FormatError, match="another recording"):
        export_mmhpsd(layout_a, layout="A", sequences=[SequenceSource(other, 7, 1, 1)])
    assert tree(layout_a) == before


Change = Callable[[Labels], Any]


@pytest.mark.parametrize(
    ("error", "message", "change", "options"),
    [
        (FormatError, r"\(256, 256\); got .*\(260, 346\)", None, {"size": (260, 346)}),
        (FormatError, "every 50000 us; MMHPSD has 15", None, {"step_us": 50_000}),
        (FormatError, "at least 3 gray frames; got 2", None, {"num_frames": 2}),
        (FormatError, "at least 3 gray frames; got 0", None, {"num_frames": 0}),
        (FormatError, "labels only from 5000 to", lambda a: replace(a, t_us=a.t_us + 5000), {}),
        (FormatError, "one person; 2 are labelled", lambda a: [a, a], {}),
        (
            ShapeError,
            "must be of body model 'open'; got 'smpl'",
            lambda a: replace(a, params=replace(a.params, model="smpl")),
            {},
        ),
        (
            CalibrationError,
            "readers of MMHPSD take its constants",
            lambda a: replace(a, camera=replace(a.camera, K=a.camera.K * [[1.01], [1], [1]])),
            {},
        ),
        (
            CalibrationError,
            "moves",
            lambda a: replace(a, track=(np.tile(np.eye(3), (len(a.t_us), 1, 1)), np.zeros((len(a.t_us), 3)))),
            {},
        ),
    ],
)
def test_recordings_that_cannot_be_a_sequence_are_refused(
    tmp_path: Path,
    labels: Labels,
    error: type[Exception],
    message: str,
    change: Change | None,
    options: dict[str, Any],
) -> None:
    path = write_sequence_recording(tmp_path / "a.h5", change(labels) if change else labels, **options)
    with pytest.raises(error, match=rf"a\.h5: .*{message}"):
        export_mmhpsd(tmp_path / "out", layout="A", sequences=[SequenceSource(path, 1, 1, 1)])
    assert names(tmp_path / "out") == ["README.txt"]


def test_impossible_requests_are_refused(recording: Path, tmp_path: Path) -> None:
    for name, wrong in (("subject", (16, 1, 1)), ("group", (1, 4, 1)), ("time", (1, 1, 0))):
        with pytest.raises(FormatError, match=f"SequenceSource.{name} must be 1 to"):
            SequenceSource(recording, *wrong)
    with pytest.raises(FormatError, match="missing"):
        SequenceSource(recording, 1, 1, 1, missing=(-1,))
    source = SequenceSource(recording, 1, 1, 1)
    with pytest.raises(FormatError, match="'A' or 'B'; got 'C'"):
        export_mmhpsd(tmp_path, layout="C", sequences=[source])  # type: ignore[arg-type]
    with pytest.raises(FormatError, match="subject01_group1_time1 came more than once"):
        export_mmhpsd(tmp_path, layout="A", sequences=[source, source])
