"""Both layouts are read back as they were exported, and what is damaged or hostile is named."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import cv2
import joblib
import numpy as np
import pytest
import yaml

from eventhpe.body.params import BodyParams
from eventhpe.data.image_file import read_image
from eventhpe.data.labels import read_labels
from eventhpe.data.mmhpsd import (
    MMHPSD,
    SPLITS,
    VAL_SUBJECTS,
    read_body_source,
)
from eventhpe.data.mmhpsd_export import export_mmhpsd
from eventhpe.data.mmhpsd_layout_a import noisy_estimate, pack_flow
from eventhpe.data.mmhpsd_read_a import SequenceA, read_track_list
from eventhpe.data.mmhpsd_sequence import SequenceReader, SequenceSource, event_frame
from eventhpe.data.mmhpsd_stored import BodySource
from eventhpe.errors import FormatError, MissingAssetError, ShapeError, UnitError
from tests.data.mmhpsd_fixture import (
    EMPTY,
    NUM_FRAMES,
    gray_image,
    labels_of,
    moving_params,
    write_sequence_recording,
)

TRAIN, TEST = "subject03_group2_time4", "subject07_group1_time1"
MISSING = (1,)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[SequenceSource]:
    path = write_sequence_recording(tmp_path_factory.mktemp("recording") / "a.h5", labels_of(moving_params()))
    return [SequenceSource(path, 3, 2, 4, MISSING), SequenceSource(path, 7, 1, 1)]


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory, sources: list[SequenceSource]) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("layouts")
    for layout in ("A", "B"):
        export_mmhpsd(base / layout, layout=layout, sequences=sources)  # type: ignore[arg-type]
    return {layout: base / layout for layout in ("A", "B")}


@pytest.fixture
def copy(roots: dict[str, Path], tmp_path: Path) -> Any:
    """A copy of one layout's training sequence that a test may damage."""

    def make(layout: str) -> Path:
        target = tmp_path / layout
        shutil.copytree(roots[layout], target, ignore=shutil.ignore_patterns(TEST))
        return target

    return make


@pytest.mark.parametrize("layout", ["A", "B"])
def test_the_layout_is_known_by_its_folders(roots: dict[str, Path], layout: str) -> None:
    data = MMHPSD(roots[layout])
    assert data.layout == layout and data.names == [TRAIN, TEST]
    assert data.body == BodySource("open", "neutral"), "README.txt says whose shape coefficients these are"
    sequence = data.sequence(TRAIN)
    assert (sequence.subject, sequence.group, sequence.time) == (3, 2, 4)
    assert sequence.event_frames == tuple(range(NUM_FRAMES - 1))
    assert sequence.image_frames == tuple(range(NUM_FRAMES))
    assert sequence.pose_frames == tuple(k for k in range(NUM_FRAMES) if k not in MISSING)
    with pytest.raises(MissingAssetError, match="no sequence subject01_group1_time1; 2 others"):
        data.sequence("subject01_group1_time1")


@pytest.mark.parametrize("layout", ["A", "B"])
def test_everything_comes_back_as_it_was(
    roots: dict[str, Path], sources: list[SequenceSource], layout: str
) -> None:
    sequence = MMHPSD(roots[layout]).sequence(TRAIN)
    labels = read_labels(sources[0].recording)
    with SequenceReader(sources[0]) as reader:
        for k in range(NUM_FRAMES - 1):
            assert np.array_equal(sequence.event_frame(k), event_frame(reader.events(k))), k
        for k in range(NUM_FRAMES):
            assert np.abs(sequence.image(k).astype(int) - gray_image(k)).max() <= 3  # JPEG
        frames = reader.poses.frames
        poses = sequence.poses(frames)
        expected = reader.poses
        assert poses.frames.tolist() == frames
        for name in ("betas", "global_orient", "body_pose", "transl"):
            found, true = getattr(poses.params, name), getattr(expected.params, name)[frames]
            assert np.array_equal(found, true.astype(np.float32)), name
        assert (poses.params.model, poses.params.gender, poses.params.frame) == ("open", "neutral", "camera")
        assert np.array_equal(poses.joints3d, expected.joints3d[frames].astype(np.float32))
        assert np.array_equal(poses.joints2d, expected.joints2d[frames, :, :2].astype(np.float32))
    np.testing.assert_allclose(poses.params.betas[0], labels.params.betas[0], atol=1e-6)
    empty = sequence.poses([])
    assert empty.params.transl.shape == (0, 3) and empty.joints2d.shape == (0, 24, 2)


def test_single_events_of_layout_b(roots: dict[str, Path], sources: list[SequenceSource]) -> None:
    sequence = MMHPSD(roots["B"]).sequence(TRAIN)
    with SequenceReader(sources[0]) as reader:
        for k in range(NUM_FRAMES - 1):
            found, true = sequence.events(k), reader.events(k)
            for name in ("t", "x", "y", "p"):
                assert np.array_equal(getattr(found, name), getattr(true, name)), (k, name)
    assert len(sequence.events(EMPTY)) == 0 and sequence.interval_frames == sequence.event_frames


def test_flow_estimates_and_lists_of_layout_a(roots: dict[str, Path], sources: list[SequenceSource]) -> None:
    root = roots["A"]
    sequence = MMHPSD(root).sequence(TRAIN)
    assert isinstance(sequence, SequenceA)
    with SequenceReader(sources[0]) as reader:
        for k in (0, 7, NUM_FRAMES - 3):
            assert np.array_equal(sequence.flow(k), pack_flow(reader.flow(k)) / np.float32(100))
        assert np.abs(sequence.flow(7)).max() > 0.5
        joints2d, joints3d, params, tran, _ = noisy_estimate(sources[0], reader.poses, 5)
        counts = {k: int(event_frame(reader.events(k)).sum()) for k in range(NUM_FRAMES - 1)}
    estimate = sequence.estimate(5)
    assert np.array_equal(estimate.params.transl, tran[0]) and np.array_equal(estimate.joints3d, joints3d)
    assert np.array_equal(estimate.params.pose.ravel(), params[3:75])
    assert np.array_equal(estimate.params.betas, params[75:]) and estimate.params.model == "open"
    assert np.array_equal(estimate.joints2d, joints2d) and estimate.feature.shape == (2048,)
    assert sequence.event_counts() == counts
    assert read_track_list(root / "test_track0802.pkl") == [(TEST, 0), (TEST, 1), (TEST, 2)]
    b = MMHPSD(roots["B"]).sequence(TRAIN)
    for call, what in ((b.flow, "without flow"), (b.estimate, "without estimates")):
        with pytest.raises(FormatError, match=what):
            call(0)
    with pytest.raises(FormatError, match="no single events"):
        sequence.events(0)


@pytest.mark.parametrize("layout", ["A", "B"])
def test_clips_agree_with_the_published_list(roots: dict[str, Path], layout: str) -> None:
    data = MMHPSD(roots[layout])
    for split in ("train", "test"):
        clips = data.clips(split, splits="eventhpe")  # type: ignore[arg-type]
        assert [(c.sequence.name, c.start) for c in clips] == read_track_list(
            roots["A"] / f"{split}_track0802.pkl"
        )
    clip = data.clips("test")[0]
    assert clip.pose_frames == list(range(0, 17, 2))
    disjoint = data.clips(num_steps=2, disjoint=True)
    assert [(c.sequence.name, c.start) for c in disjoint] == [
        *((TRAIN, k) for k in (2, 6, 10, 14)), *((TEST, k) for k in (0, 4, 8, 12)),
    ]  # fmt: skip
    assert data.clips(num_steps=64) == []
    with pytest.raises(ShapeError, match="num_steps"):
        data.clips(num_steps=0)


def test_splits_are_those_of_the_description() -> None:
    path = Path(__file__).resolve().parents[2] / "datasets" / "mmhpsd" / "splits.yaml"
    described = yaml.safe_load(path.read_text())
    assert {
        name: {split: tuple(subjects) for split, subjects in parts.items()}
        for name, parts in described["splits"].items()
    } == {name: dict(parts) for name, parts in SPLITS.items()}
    for name, parts in SPLITS.items():
        everybody = sorted(s for subjects in parts.values() for s in subjects)
        assert everybody == list(range(1, 16)), name
    assert SPLITS["recommended"]["test"] == SPLITS["eventhpe"]["test"] == (1, 2, 7)
    assert SPLITS["eventhpe-flow"]["test"] == (2,) and len(VAL_SUBJECTS) == 2


def test_splits_choose_sequences_by_subject(roots: dict[str, Path]) -> None:
    data = MMHPSD(roots["A"])
    assert [s.name for s in data.sequences("train")] == [TRAIN]
    assert [s.name for s in data.sequences("test")] == [TEST]
    assert [s.name for s in data.sequences("train", splits="eventhpe-flow")] == [TRAIN, TEST]
    with pytest.raises(MissingAssetError, match=r"val split \(subjects 4, 5\); subjects 3, 7 are there"):
        data.sequences("val")
    with pytest.raises(MissingAssetError, match="subjects none"):
        data.sequences("val", splits="eventhpe")
    with pytest.raises(FormatError, match="'dev' of 'recommended'"):
        data.sequences("dev")  # type: ignore[arg-type]


def test_sets_that_do_not_say_whose_they_are_belong_to_smpl(copy: Any, tmp_path: Path) -> None:
    root = copy("B")
    (root / "README.txt").unlink()
    data = MMHPSD(root)
    assert data.body == BodySource("smpl", "male")
    params = data.sequence(TRAIN).poses([0]).params
    assert (params.model, params.gender) == ("smpl", "male")
    with pytest.raises(ShapeError, match="never mix"):
        params.require_model("open")
    (root / "README.txt").write_text("MMHPSD. Released by its authors.")
    assert read_body_source(root).model == "smpl"
    assert isinstance(params, BodyParams)


def test_folders_without_the_set(tmp_path: Path, roots: dict[str, Path]) -> None:
    with pytest.raises(MissingAssetError, match=r"events_256 and pose_events .* or mmhpsd_events .*neither"):
        MMHPSD(tmp_path / "absent")
    (tmp_path / "layout_a").mkdir()
    with pytest.raises(MissingAssetError, match=r"Give one of its folders: .*layout_a"):
        MMHPSD(tmp_path)
    (tmp_path / "mmhpsd_events").mkdir()
    with pytest.raises(MissingAssetError, match="no sequence in them"):
        MMHPSD(tmp_path)
    (tmp_path / "pose_events").mkdir()
    with pytest.raises(FormatError, match="both layouts"):
        MMHPSD(tmp_path)


class _Run:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


def test_a_hostile_pose_is_refused(copy: Any, tmp_path: Path) -> None:
    root, mark = copy("A"), tmp_path / "ran"
    path = root / "pose_events" / TRAIN / "pose0004.pkl"
    joblib.dump((*joblib.load(path)[:4], _Run(mark)), path)
    sequence = MMHPSD(root).sequence(TRAIN)
    with pytest.raises(FormatError, match=r"pose0004\.pkl: the pickle names posix\.system.*refused"):
        sequence.poses([3, 4])
    joblib.dump([_Run(mark)], root / "pose_events" / TRAIN / "pose_info.pkl")
    with pytest.raises(FormatError, match="nothing was executed"):
        MMHPSD(root).clips()
    assert not mark.exists()


def test_wrong_content_is_named(copy: Any) -> None:
    root = copy("A")
    poses, events = root / "pose_events" / TRAIN, root / "events_256" / TRAIN
    sequence = MMHPSD(root).sequence(TRAIN)
    beta, theta, tran, joints3d, joints2d = joblib.load(poses / "pose0004.pkl")

    def pose(*record: Any) -> Any:
        joblib.dump(record, poses / "pose0004.pkl")
        return sequence.poses([4])

    with pytest.raises(FormatError, match="must hold five arrays; got tuple of 4"):
        pose(beta, theta, tran, joints3d)
    with pytest.raises(FormatError, match=r"pose 4: theta must hold 72 numbers; got \(1, 69\)"):
        pose(beta, theta[:, :69], tran, joints3d, joints2d)
    with pytest.raises(FormatError, match="tran holds values that are not finite"):
        pose(beta, theta, tran * np.nan, joints3d, joints2d)
    with pytest.raises(UnitError, match="expected metres"):
        pose(beta, theta, tran * 1000, joints3d * 1000, joints2d)
    with pytest.raises(FormatError, match="joints2d"):
        pose(beta, theta, tran, joints3d, joints2d[:13])
    flat = pose(beta.ravel(), theta.reshape(24, 3), tran.ravel(), joints3d, joints2d[:, :2])
    assert np.array_equal(flat.joints2d[0], joints2d[:, :2]), "axes of one entry do not matter"
    joblib.dump(np.zeros((2, 256, 256), np.float32), root / "pred_flow_events_256" / TRAIN / "flow0000.pkl")
    with pytest.raises(FormatError, match=r"int16; got \(2, 256, 256\) float32"):
        sequence.flow(0)
    joblib.dump([[0, 1], [5]], events / f"{TRAIN}_info.pkl")
    with pytest.raises(FormatError, match="as many counts"):
        sequence.event_counts()  # type: ignore[attr-defined]
    cv2.imwrite(str(events / "event0002.png"), np.full((256, 256, 4), 7, np.uint8))
    with pytest.raises(FormatError, match="of 0 and 1"):
        sequence.event_frame(2)
    (poses / "pose0006.pkl").unlink()
    assert 6 not in MMHPSD(root).sequence(TRAIN).pose_frames
    with pytest.raises(MissingAssetError, match=r"pose0006\.pkl"):
        sequence.poses([6])


def test_wrong_content_of_layout_b_is_named(copy: Any) -> None:
    root = copy("B")
    folder = root / "mmhpsd_events" / TRAIN
    sequence = MMHPSD(root).sequence(TRAIN)
    path = folder / "events" / "events_0006.npz"
    t, p = np.array([3, 1, 2]), np.array([1, -1, 1])
    np.savez(path, xy=np.array([[5.0, 7.0], [6, 8], [255, 0]]), t=t, p=p)
    events = sequence.events(6)
    assert (
        events.t.tolist() == [1, 2, 3] and events.x.tolist() == [6, 255, 5] and events.p.tolist() == [0, 1, 1]
    )
    np.savez(path, xy=np.zeros((3, 2)), t=np.array([0.5, 0.25, 1.0]), p=p)
    assert sequence.events(6).t.tolist() == [250_000, 500_000, 1_000_000], "floats are seconds"
    for arrays, message in (
        ({"xy": np.zeros((3, 3)), "t": t, "p": p}, r"expected xy \(N, 2\)"),
        ({"xy": np.full((3, 2), 256), "t": t, "p": p}, "outside 256 x 256"),
        ({"xy": np.full((3, 2), -1), "t": t, "p": p}, "outside 256 x 256"),
        ({"xy": np.zeros((3, 2)), "t": t}, "lacks p"),
        ({"xy": np.zeros((3, 2)), "t": t, "p": np.array([None] * 3)}, "never unpickled"),
    ):
        np.savez(path, **arrays)  # type: ignore[arg-type]
        with pytest.raises(FormatError, match=rf"events_0006\.npz.*{message}"):
            sequence.events(6)
    np.savez(folder / "events_frame_04" / "events_0006.npz", events_frame=np.zeros(9, np.uint8))
    with pytest.raises(FormatError, match=r"events_frame_04/events_0006\.npz.*32768"):
        sequence.event_frame(6)
    (folder / "poses" / "pose_0004.npz").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(FormatError, match=rf"{TRAIN}/poses/pose_0004\.npz"):
        sequence.poses([4])


def test_event_frames_of_layout_b_can_be_made_from_single_events(copy: Any, roots: dict[str, Path]) -> None:
    root = copy("B")
    shutil.rmtree(root / "mmhpsd_events" / TRAIN / "events_frame_04")
    made, packed = MMHPSD(root).sequence(TRAIN), MMHPSD(roots["B"]).sequence(TRAIN)
    assert made.event_frames == packed.event_frames
    for k in made.event_frames:
        assert np.array_equal(made.event_frame(k), packed.event_frame(k))


def test_pictures_are_measured_before_they_are_decoded(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    for image in (np.zeros((8, 300), np.uint8), np.zeros((8, 300, 3), np.uint8)):
        cv2.imwrite(str(path), image)
        assert read_image(path, (8, 300), 1).shape == (8, 300)
        with pytest.raises(FormatError, match=r"300 x 8 pixels .* where 256 x 256"):
            read_image(path, (256, 256), 1)
    content = path.read_bytes()
    png = tmp_path / "a.png"
    cv2.imwrite(str(png), np.zeros((6, 5), np.uint8))
    with pytest.raises(FormatError, match="5 x 6 pixels with 1 channels, where 5 x 6 with 4"):
        read_image(png, (6, 5), 4)
    cv2.imwrite(str(png), np.arange(6 * 5 * 4, dtype=np.uint8).reshape(6, 5, 4))
    assert read_image(png, (6, 5), 4).ravel().tolist() == list(range(120))
    whole = png.read_bytes()
    for broken in (b"", b"hello", content[:20], whole[:20], whole[:40], b"\xff\xd8\xff\xe0\xff\xff"):
        path.write_bytes(broken)
        with pytest.raises(FormatError, match=r"a\.jpg"):
            read_image(path, (6, 5), 4)
    with pytest.raises(MissingAssetError):
        read_image(tmp_path / "b.png", (6, 5), 4)
