"""The preset dhp19, end to end: our people in DHP19's files, read back with what reads DHP19."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from eventhpe.body.dhp19_movements import DHP19_MOVEMENTS
from eventhpe.data.dhp19 import TEST_SUBJECTS, find_movements, require_labelled
from eventhpe.data.dhp19_cameras import CHANNEL_TO_CAMERA, dhp19_camera, dhp19_to_world
from eventhpe.data.dhp19_export import VICON_FIELDS
from eventhpe.data.dhp19_set import make_movement, movement_of, paths_of
from eventhpe.data.generator import Generator
from eventhpe.data.labels import Labels, read_labels
from eventhpe.data.presets import preset_config
from eventhpe.errors import FormatError
from eventhpe.events.open import open_recording
from eventhpe.geometry.skeleton import DHP19_SKELETON

CONFIG = replace(preset_config("dhp19"), duration_s=0.2, supersample=1, max_motion_px=1.0)
K = 4  # the training subject's third movement


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("DHP19")
    made = make_movement(root, Generator(CONFIG), seed=6, k=K)
    assert [p.name for p in made] == [f"S1_1_3_ch{c}.h5" for c in range(4)] and all(
        p.parent == root / "recordings" for p in made
    )
    return root


def recording(root: Path, channel: int) -> Path:
    return root / "recordings" / f"S1_1_3_ch{channel}.h5"


def vicon(root: Path) -> np.ndarray:
    """(T, 13, 3) millimetres in DHP19's world."""
    xyz = scipy.io.loadmat(root / "Vicon_data" / "S1_1_3.mat")["XYZPOS"][0, 0]
    assert xyz.dtype.names == VICON_FIELDS
    return np.stack([xyz[name] for name in VICON_FIELDS], axis=1)  # in the order of DHP19_SKELETON


def world_markers(labels: Labels) -> np.ndarray:
    assert labels.markers3d is not None
    return labels.to_world(labels.markers3d)


def test_every_subject_has_all_movements_once() -> None:
    all_of_them = [movement_of(k) for k in range(17 * 33)]
    assert len(set(all_of_them)) == 561
    assert {s for s, _, _ in all_of_them} == set(range(1, 18))
    numbers = [(m.session, m.movement) for m in DHP19_MOVEMENTS]
    for subject in range(1, 18):
        assert [(e, m) for s, e, m in all_of_them if s == subject] == numbers
    few = [s for s, _, _ in islice(all_of_them, 10)]
    assert sum(s in TEST_SUBJECTS for s in few) == 5, "a few recordings hold both splits"
    with pytest.raises(FormatError, match="--n: DHP19 has 561"):
        movement_of(561)


def test_the_tree_is_dhp19s(root: Path) -> None:
    (found,) = find_movements(root)
    assert found == paths_of(root, movement_of(K)) == require_labelled(root)[0]
    assert (found.subject, found.session, found.movement) == (1, 1, 3)
    assert sorted(p.name for p in (root / "P_matrices").iterdir()) == [
        "P1.npy", "P2.npy", "P3.npy", "P4.npy", "camera_positions.npy"
    ]  # fmt: skip


def test_markers_are_those_of_the_labels_a_hundred_times_a_second(root: Path) -> None:
    xyz, labels = vicon(root), read_labels(recording(root, 0))
    truth = world_markers(labels)
    assert len(xyz) == len(truth) == 21, "both ends, every 10 ms"
    np.testing.assert_allclose(dhp19_to_world(xyz), truth, atol=1e-4)
    heights = xyz[:, :, 2]
    head = DHP19_SKELETON.index("head")
    assert (heights.argmax(axis=1) == head).mean() > 0.5 and 1300 < heights[:, head].mean() < 2100


@pytest.mark.parametrize("channel", range(4))
def test_markers_lie_on_the_person_in_every_camera(root: Path, channel: int) -> None:
    """By the published matrices, on the masks of the camera's own recording."""
    P = np.load(root / "P_matrices" / f"P{CHANNEL_TO_CAMERA[channel]}.npy")
    with h5py.File(recording(root, channel), "r", locking=False) as file:
        masks, t_us = file["labels/mask"][:] > 0, file["labels/mask_t_us"][:]
    assert 0.02 < masks.mean() < 0.5
    inside = []
    for mask, t in zip(masks, t_us, strict=True):
        x, y, w = P @ np.c_[vicon(root)[t // 10_000], np.ones(13)].T
        u, v = np.rint(x / w).astype(int), np.rint(260 - y / w).astype(int)
        seen = (u >= 2) & (u < 344) & (v >= 2) & (v < 258)
        inside += [mask[b - 2 : b + 3, a - 2 : a + 3].any() for a, b in zip(u[seen], v[seen], strict=True)]
    assert len(inside) > 40 and np.mean(inside) > 0.95


@pytest.mark.parametrize("channel", range(4))
def test_events_read_back_from_the_four_in_one_file(root: Path, channel: int) -> None:
    (found,) = find_movements(root)
    ends_us = []
    for c in range(4):
        with open_recording(recording(root, c)) as one:
            ends_us.append(one.end_us)
    assert max(ends_us) - min(ends_us) < 1000
    with (
        open_recording(recording(root, channel)) as ours,
        open_recording(found.events, stream=channel) as out,
    ):
        assert out.sensor_size == (260, 346)
        # What is read out after the first of the four has ended is left out.
        mine, theirs = ours.read(0, ours.index_at(min(ends_us))), out.read()
    skip = 1 if channel == 0 else 0  # the dummy record that DHP19's reader drops
    theirs = theirs.slice(skip, len(theirs))
    assert len(mine) == len(theirs) > 1000
    for column in "xyp":
        np.testing.assert_array_equal(getattr(theirs, column), getattr(mine, column))
    shift = theirs.t[0] - mine.t[0]
    np.testing.assert_array_equal(theirs.t - shift, mine.t)


def test_one_person_with_one_sensor_before_four_cameras(root: Path) -> None:
    labels = [read_labels(recording(root, c)) for c in range(4)]
    told = []
    for c, one in enumerate(labels):
        np.testing.assert_allclose(one.camera.K, dhp19_camera(c).K)
        np.testing.assert_allclose(world_markers(one), world_markers(labels[0]), atol=1e-5)
        with h5py.File(recording(root, c), "r", locking=False) as file:
            told.append(json.loads(file.attrs["provenance"]))
    assert len({json.dumps(t["sensor_model"]) for t in told}) == 1
    assert {t["motion"] for t in told} == {"dhp19:S1_1_3"}
    assert [t["factors"]["camera"] for t in told] == [f"dhp19 channel {c}" for c in range(4)]


def test_a_subject_keeps_body_and_clothes_over_movements(root: Path, tmp_path: Path) -> None:
    short = replace(CONFIG, duration_s=0.05)
    again = [make_movement(tmp_path, Generator(short), seed=6, k=k)[0] for k in (6, 7)]
    assert [p.name for p in again] == ["S1_1_4_ch0.h5", "S13_1_4_ch0.h5"]
    mine = read_labels(recording(root, 0))
    same, other = (read_labels(p) for p in again)
    np.testing.assert_array_equal(same.params.betas[0], mine.params.betas[0])
    np.testing.assert_array_equal(same.offsets, mine.offsets)
    assert not np.array_equal(other.params.betas[0], mine.params.betas[0])
    assert len(find_movements(tmp_path)) == 2


def test_labels_must_come_at_the_markers_rate(tmp_path: Path) -> None:
    config = replace(CONFIG, label_step_us=5_000)
    with pytest.raises(FormatError, match=r"GeneratorConfig\.label_step_us must be 10000"):
        make_movement(tmp_path, Generator(config), seed=1, k=0)
    assert list(tmp_path.iterdir()) == []
