"""Windows with found joints: at the right time and place, mirrored rightly, wrong folders refused."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from eventhpe.data.framed_clips import WINDOWS_PER_CLIP, FramedClipSamples
from eventhpe.data.labels import read_labels
from eventhpe.data.pose_files import read_poses, write_poses
from eventhpe.data.pose_labels import labelled_joints
from eventhpe.data.poses import PersonPoses, Poses
from eventhpe.data.pseudo_samples import PseudoSamples, pair_poses
from eventhpe.data.sample import collate
from eventhpe.data.streaming import ClipSamples
from eventhpe.errors import FormatError, MissingAssetError, ShapeError
from eventhpe.events.open import open_recording
from eventhpe.geometry.skeleton import DHP19_15_SKELETON, DHP19_SKELETON, Skeleton
from eventhpe.shapenet.heads.parts import NUM_PARTS, mirrored_parts

WINDOWS = (2, 5, 8)
PLAIN = PseudoSamples(64, augment=False)


def found_poses(path: Path, skeleton: Skeleton = DHP19_15_SKELETON, *, order: bool = True) -> Poses:
    """The labelled joints as if another network had found them; the left hand is not trusted."""
    labels = read_labels(path)
    t_us = np.arange(1, 12, dtype=np.int64) * 50_000
    uv = labelled_joints(labels, skeleton).uv[labels.index(t_us[list(WINDOWS)])]
    confidence = np.full(uv.shape[:2], 0.8)
    confidence[:, skeleton.index("hand_left")] = 0.1
    low, high = uv.min(1) - 6, uv.max(1) + 6
    orders = np.arange(NUM_PARTS)[None] % 3 - 1 + np.zeros((len(WINDOWS), 1), np.int64)
    person = PersonPoses(
        0, np.array(WINDOWS), uv, confidence, np.concatenate([low, high], 1),
        order=orders if order else None,
    )  # fmt: skip
    return Poses(skeleton, t_us, labels.camera.size, (person,), labels.camera)


@pytest.fixture
def poses(recordings: Path, tmp_path: Path) -> Path:
    for path in sorted(recordings.glob("*.h5")):
        (tmp_path / path.stem).mkdir()
        write_poses(tmp_path / path.stem / "poses.npz", found_poses(path))
    return tmp_path


def test_orders_come_back_from_the_file(recordings: Path, poses: Path) -> None:
    (_, file), *_ = pair_poses(recordings, poses)
    back, given = read_poses(file), found_poses(sorted(recordings.glob("*.h5"))[0])
    assert back.people[0].order is not None and given.people[0].order is not None
    np.testing.assert_array_equal(back.people[0].order, given.people[0].order)
    with pytest.raises(ShapeError, match="order must be"):
        replace(given, people=(replace(given.people[0], order=np.zeros((3, 5), np.int64)),))


def test_windows_end_at_their_pose(recordings: Path, poses: Path) -> None:
    data = PLAIN.open(recordings, poses, seed=1)
    assert data.num_poses == len(WINDOWS) * len(list(recordings.glob("*.h5")))
    counts = []
    for index in range(12):
        sample = data[index]
        i, _, row = data._places[
            int(np.random.default_rng([1, 4, index]).integers(data.num_poses))
        ]  # which one was drawn
        path = sorted(recordings.glob("*.h5"))[i]
        t1 = 50_000 * (WINDOWS[row] + 1)
        with open_recording(path) as recording:
            events = recording.between(t1 - 50_000, t1)
        given = found_poses(path)
        left, top, right, bottom = given.people[0].box[row]
        side = max(right - left, bottom - top)
        inside = (np.abs(events.x + 0.5 - (left + right) / 2) < side / 2) & (
            np.abs(events.y + 0.5 - (top + bottom) / 2) < side / 2
        )
        assert int(sample.num_events) == inside.sum()
        counts.append(int(sample.num_events))
        hand = DHP19_15_SKELETON.index("hand_left")
        assert not sample.known[hand] and sample.known.sum() == 14
        scale = 64 / side
        expected = (
            given.people[0].uv[row, 0] + 0.5 - [(left + right) / 2, (top + bottom) / 2]
        ) * scale + 31.5
        np.testing.assert_allclose(sample.uv[0], expected, atol=1e-3)
        assert not sample.known3d.any() and not sample.body_known
        # The part that ends at the hand is unknown with it.
        assert sample.order_known.sum() == NUM_PARTS - 1
        assert sample.order[0] == -1
    assert max(counts) > 100


def test_the_draws_depend_on_seed_and_number_alone(recordings: Path, poses: Path) -> None:
    a, b = (PseudoSamples(64).open(recordings, poses, seed=3) for _ in range(2))
    b[7]
    torch.testing.assert_close(a[4].frames, b[4].frames)
    torch.testing.assert_close(a[4].uv, b[4].uv)
    other = PseudoSamples(64).open(recordings, poses, seed=4)
    assert any(not torch.equal(a[i].uv, other[i].uv) for i in range(4))


def test_some_samples_are_mirrored_with_their_orders(recordings: Path, poses: Path) -> None:
    data = PseudoSamples(64).open(recordings, poses, seed=3)
    plain = torch.arange(NUM_PARTS) % 3 - 1
    turned = plain[list(mirrored_parts(DHP19_15_SKELETON))]
    kinds = {tuple(data[i].order.tolist()) for i in range(30)}
    assert kinds == {tuple(plain.tolist()), tuple(turned.tolist())}


def test_clips_come_with_windows(recordings: Path, poses: Path) -> None:
    samples = FramedClipSamples(ClipSamples(3, 64), PseudoSamples(64), recordings, poses)
    data = samples.open(recordings, 4, 1)
    batch = collate([data[0], data[1]])
    assert batch.clip.frames.shape == (2, 3, 8, 64, 64)
    assert batch.windows.frames.shape == (2, WINDOWS_PER_CLIP, 8, 64, 64)
    assert batch.windows.labels.uv.shape == (2, WINDOWS_PER_CLIP, 15, 2)
    later = samples.open(recordings, 4, 1)
    later.offset = 1
    torch.testing.assert_close(later[0].windows.uv, data[1].windows.uv)
    torch.testing.assert_close(later[0].clip.frames, data[1].clip.frames)


def test_wrong_folders(recordings: Path, poses: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(MissingAssetError, match="eventhpe pose"):
        PLAIN.open(recordings, empty, seed=1)
    with pytest.raises(FormatError, match="lower the limit"):
        replace(PLAIN, min_confidence=0.9).open(recordings, poses, seed=1)
    with pytest.raises(ShapeError, match="min_confidence"):
        PseudoSamples(64, min_confidence=1.5)
    path = sorted(recordings.glob("*.h5"))[0]
    mixed = empty / "mixed"
    shutil.copytree(poses, mixed)
    write_poses(mixed / path.stem / "poses.npz", found_poses(path, DHP19_SKELETON, order=False))
    with pytest.raises(FormatError, match="different skeletons"):
        PLAIN.open(recordings, mixed, seed=1)
