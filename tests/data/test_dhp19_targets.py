"""DHP19 as samples of the pose systems: prepared frames, and EventPointPose's files both ways."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from eventhpe.data.crops import SquareCrop
from eventhpe.data.dhp19_cameras import DHP19_SIZE, dhp19_camera, dhp19_to_world, projection_matrix
from eventhpe.data.dhp19_dataset import view_labels
from eventhpe.data.dhp19_prepared import PreparedDHP19, PreparedName
from eventhpe.data.dhp19_targets import DHP19PoseDataset, DHP19PoseSamples, cut_channels, squash, view_joints
from eventhpe.data.point_pose_files import (
    PointFrameName,
    list_point_frames,
    read_point_frame,
    write_point_counts,
    write_point_frame,
)
from eventhpe.data.point_pose_samples import PointPoseDataset, PointPoseSamples
from eventhpe.data.pose_sample import PoseSample, part_order
from eventhpe.data.sample import collate
from eventhpe.errors import FormatError, MissingAssetError, ShapeError
from eventhpe.events.types import Events
from eventhpe.geometry.skeleton import DHP19_15_SKELETON, DHP19_SKELETON
from eventhpe.shapenet.heads.base import HeadSize, check_labels
from eventhpe.shapenet.heads.parts import body_parts
from tests.data.prepared_files import STANDING, walk, write_prepared

HIP = DHP19_SKELETON.index("hip_left")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """S1 with four frames, the last one without a left hip; S13 with two, in the authors' form."""
    root = tmp_path_factory.mktemp("prepared")
    labels = walk(4, 0)
    labels[3, HIP] = np.nan
    write_prepared(root, 1, 1, 1, labels, official=False, num_events=np.arange(16).reshape(4, 4))
    write_prepared(root, 13, 1, 1, walk(2, 1))
    return root


def in_order(prepared: Path, **changes) -> DHP19PoseDataset:
    options = DHP19PoseSamples(**({"size_px": 352, "view": "frame", "augment": False} | changes))
    return options.open(prepared, 0, 0)


def same(a: PoseSample, b: PoseSample) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


# ---------------------------------------------------------------- prepared frames


def test_whole_frames_keep_their_pixels(prepared):
    """346 x 260 in the middle of 352 x 352; joint j is the pixel of value 10 (j + 1)."""
    data = in_order(prepared, skeleton="dhp19")
    assert len(data) == 2 * 4
    for index in range(3):
        sample, (recording, channel, k) = data[index], data.place(index)
        uv, valid = view_labels(recording.labels, channel, DHP19_SIZE)
        np.testing.assert_allclose(sample.uv, uv[k] + [3, 46], atol=1e-4)
        image = recording.frames(k)[..., channel].astype(np.float32) / 255
        np.testing.assert_array_equal(sample.frames[0, 46:306, 3:349], image)
        assert not sample.frames[0, :46].any() and not sample.frames[0, :, 349:].any()
        for j in np.flatnonzero(valid[k]):
            u, v = (int(x) for x in sample.uv[j])
            assert float(sample.frames[0, v, u]) * 255 == pytest.approx(10 * (j + 1))
        assert sample.num_events == 4 * k + channel
        assert (sample.support >= 1).all(), "each joint is drawn"


@pytest.mark.parametrize("size", [256, 128])
def test_smaller_inputs_cut_the_frame_in_the_middle(prepared, size):
    whole, part = in_order(prepared)[0], in_order(prepared, size_px=size)[0]
    a = (352 - size) // 2
    torch.testing.assert_close(part.frames, whole.frames[:, a : a + size, a : a + size])
    torch.testing.assert_close(part.uv, whole.uv - a, atol=1e-4, rtol=0)


def test_positions_are_in_the_cameras_axes(prepared):
    data = in_order(prepared)
    for index in (0, 5):
        sample, (recording, channel, k) = data[index], data.place(index)
        P, mm = projection_matrix(channel), recording.labels[k]
        xyz = (sample.xyz + sample.root).double().numpy()
        depth = (
            (P[2, :3] @ mm.T + P[2, 3]) / np.linalg.norm(P[2, :3]) / 1000
        )  # spec: z = (P X)_3 / |P[2, :3]|
        np.testing.assert_allclose(xyz[:13, 2], depth, atol=1e-5)
        lengths = np.linalg.norm(np.diff(mm, axis=0), axis=1) / 1000
        np.testing.assert_allclose(np.linalg.norm(np.diff(xyz[:13], axis=0), axis=1), lengths, atol=1e-5)
        pelvis = dhp19_camera(channel).to_camera_frame(dhp19_to_world(mm[[5, 6]].mean(0)))
        np.testing.assert_allclose(sample.root, pelvis, atol=1e-5)
        np.testing.assert_allclose(xyz[13], pelvis, atol=1e-5)
        np.testing.assert_allclose(
            sample.uv[13] - torch.tensor([3, 46]), dhp19_camera(channel).project(pelvis), atol=1e-3
        )


def test_depth_order_by_hand():
    """Camera 2 looks along (-.618, .727, -.298): a hand moved against that axis is nearer."""
    mm = STANDING.copy()
    elbow, hand = DHP19_15_SKELETON.index("elbow_left"), DHP19_15_SKELETON.index("hand_left")
    part = body_parts(DHP19_15_SKELETON).index((elbow, hand))
    axis = projection_matrix(3)[2, :3] / np.linalg.norm(projection_matrix(3)[2, :3])
    for direction, sign in ((-axis, 1), (axis, -1), (np.cross(axis, [0, 0, 1.0]), 0)):
        mm[hand] = mm[elbow] + 250 * direction
        xyz = view_joints(mm, 3, DHP19_15_SKELETON).xyz
        order, known = part_order(torch.from_numpy(xyz), DHP19_15_SKELETON)
        assert known.all() and order[part] == sign


def test_a_missing_hip_masks_what_hangs_on_it(prepared):
    data = in_order(prepared)
    index = next(i for i in range(len(data)) if data.place(i)[2] == 3)
    sample = data[index]
    assert sample.known.tolist() == [j not in (HIP, 13) for j in range(15)]
    assert not sample.known3d.any() and not sample.body_known
    touched = [bool({HIP, 13} & set(part)) for part in body_parts(DHP19_15_SKELETON)]
    assert sample.order_known.tolist() == [not t for t in touched] and sum(touched) == 4
    batch = collate([data[i] for i in range(len(data))])
    check_labels(batch.labels, HeadSize(DHP19_15_SKELETON, 8, 352))


def test_person_crops_are_drawn_by_index_alone(prepared):
    options = DHP19PoseSamples(size_px=64, subjects=(1, 13), weak_share=0.5)
    data, other = options.open(prepared, 12, 3), options.open(prepared, 12, 3)
    samples = [data[k] for k in range(12)]
    for k in (7, 0, 3):
        assert same(other[k], samples[k])
    other.offset = 5
    assert same(other[2], samples[7])
    inside = torch.stack([((s.uv > -0.5) & (s.uv < 63.5)).all(-1)[s.known].float().mean() for s in samples])
    assert inside.mean() > 0.85
    by_frame: dict[tuple, set[bool]] = {}
    for k in range(12):
        recording, channel, frame = data.place(k)
        if frame != 3 or recording.subject != 1:
            by_frame.setdefault((recording.subject, channel, frame), set()).add(
                bool(samples[k].known3d.any())
            )
    assert all(len(v) == 1 for v in by_frame.values()) and set.union(*by_frame.values()) == {True, False}
    mirrored = replace(options, flip_share=1.0, weak_share=0.0).open(prepared, 12, 3)
    plain = replace(options, flip_share=0.0, weak_share=0.0).open(prepared, 12, 3)
    a, b = mirrored[0], plain[0]
    assert torch.equal(a.frames, b.frames.flip(-1))
    torch.testing.assert_close(a.xyz[1], b.xyz[2] * torch.tensor([-1.0, 1, 1]))
    with pytest.raises(IndexError):
        data[12]
    data.close()


def test_voxel_sets(tmp_path):
    """Each camera's own windows with voxel grids."""
    write_prepared(tmp_path, 1, 1, 1, walk(2, 0), official=False, channel=3)
    path = next(tmp_path.rglob("S1_session1_mov1_7500events_ch3.h5"))
    grids = np.random.default_rng(0).normal(size=(2, 1, 5, 260, 346)).astype(np.float32)
    grids[np.abs(grids) < 1] = 0
    with h5py.File(path, "r+") as file:
        file["voxels"] = grids
    data = in_order(tmp_path, content="voxels")
    assert len(data) == 2 and data[0].frames.shape == (5, 352, 352)
    np.testing.assert_allclose(data[1].frames[:, 46:306, 3:349], squash(grids[1, 0]), atol=1e-6)
    assert -1 < data[0].frames.min() < -0.3 and not squash(np.zeros((2, 3, 3), np.float32)).any()


def test_cut_channels():
    image = np.random.default_rng(0).random((2, 20, 30)).astype(np.float32)
    np.testing.assert_array_equal(cut_channels(image, SquareCrop(4, 3, 12), 12), image[:, 3:15, 4:16])
    wide = cut_channels(image, SquareCrop(-10, -5, 40), 40)
    np.testing.assert_array_equal(wide[:, 5:25, 10:40], image)
    assert not wide[:, :5].any() and not wide[:, :, :10].any()
    flat = cut_channels(np.ones((1, 60, 60), np.float32), SquareCrop(10, 10, 30), 10)
    np.testing.assert_allclose(flat, 1.0, atol=1e-5)


def test_errors_of_prepared_sets(prepared, tmp_path):
    with pytest.raises(MissingAssetError, match="prepare dhp19"):
        in_order(tmp_path)
    with pytest.raises(FormatError, match="no labelled frame"):
        in_order(prepared, subjects=(2,))
    with pytest.raises(FormatError, match="number of events"):
        in_order(prepared, subjects=(13,), min_events=1)
    few = in_order(prepared, min_events=8)
    assert {few.place(i)[2] for i in range(len(few))} == {2, 3}
    for changes in (
        {"skeleton": "smpl24"},
        {"view": "x"},
        {"content": "x"},
        {"flip_share": 2.0},
        {"size_px": 0},
    ):
        with pytest.raises(ShapeError, match=next(iter(changes))):
            DHP19PoseSamples(**({"size_px": 64} | changes))
    assert PreparedName(1, 1, 1) in {r.name for r in PreparedDHP19(prepared)}


# ---------------------------------------------------------------- EventPointPose's files


def window(n: int = 400, seed: int = 0) -> Events:
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(10**9, 10**9 + 40_000, n))
    return Events.from_columns(
        t, rng.integers(0, 346, n), rng.integers(0, 260, n), rng.integers(0, 2, n), DHP19_SIZE
    )


@pytest.fixture(scope="module", params=["mean", "last"])
def points(request, tmp_path_factory) -> tuple[Path, list[PointFrameName], np.ndarray]:
    root = tmp_path_factory.mktemp("points")
    labels = walk(3, 4)
    labels[2, HIP] = np.nan
    names = []
    for k, label in enumerate(labels):
        for channel in (2, 3):
            name = PointFrameName(1, 2, 3, k, channel, request.param)
            write_point_frame(root, name, window(seed=10 * k + channel), label)
            names.append(name)
    return root, names, labels


def test_names():
    mean, last = PointFrameName(1, 2, 3, 40, 2), PointFrameName(1, 2, 3, 40, 2, "last")
    assert mean.stem == "S1_session2_mov3_frame40_cam2" and last.stem == "S1_session2_mov3_cam2_frame40"
    for name in (mean, last):
        assert PointFrameName.parse(f"{name.stem}.npy") == name
    assert PointFrameName.parse("S1_session2_mov3_frame40_cam4.npy") is None
    assert PointFrameName.parse("S1_session2_mov3_frame40_3Dlabel.npy") is None


def test_files_as_their_scripts_leave_them(points):
    """Columns, 1-based x, y from the bottom, truncated labels, mask."""
    root, names, labels = points
    name = names[1]
    table = np.load(root / "data" / f"{name.stem}.npy")
    events = window(seed=3)
    x, y, t, p = table.T if name.kind == "mean" else table[:, [0, 2, 1, 3]].T
    assert np.array_equal(x, events.x + 1) and np.array_equal(y, 259 - events.y.astype(int))
    assert np.array_equal(t, events.t) and np.array_equal(p, events.p)
    u, v, mask = np.load(root / "label" / f"{name.stem}_label.npy")
    h = projection_matrix(name.channel) @ np.append(labels[0, 4], 1)
    assert (u[4], v[4], mask[4]) == (int(h[0] / h[2]), int(260 - h[1] / h[2]), 1)
    three = root / "3Dlabel" / "S1_session2_mov3_frame0_3Dlabel.npy"
    assert three.is_file() == (name.kind == "mean")
    if name.kind == "mean":
        np.testing.assert_array_equal(np.load(three), labels[0].T)


def test_a_round_trip(points):
    root, names, labels = points
    assert list_point_frames(root) == sorted(names)
    for k, name in enumerate(names):
        frame, events = read_point_frame(root, name), window(seed=10 * (k // 2) + name.channel)
        for column in "txyp":
            assert np.array_equal(getattr(frame.events, column), getattr(events, column))
        uv, valid = view_labels(labels[k // 2][None], name.channel, DHP19_SIZE)
        assert np.array_equal(frame.known, valid[0]), "a missing marker is not known, although its mask is 1"
        assert np.array_equal(frame.pixels[frame.known], np.trunc(uv[0][frame.known]))
        if name.kind == "mean":
            np.testing.assert_array_equal(frame.xyz_mm, labels[k // 2])
        else:
            assert frame.xyz_mm is None
    stored = np.load(root / "label" / f"{names[-1].stem}_label.npy")
    assert stored[2, HIP] == 1 and stored[0, HIP] == -(2**31)


def test_point_samples(points):
    root, _, labels = points
    options = PointPoseSamples(size_px=64, augment=False)
    data = options.open(root, 0, 0)
    assert isinstance(data, PointPoseDataset) and len(data) == 6
    for index in range(6):
        sample, name = data[index], data.place(index)
        uv = view_labels(labels[name.frame][None], name.channel, DHP19_SIZE)[0][0]
        x, y, half = sample.crop.double().tolist()
        K = dhp19_camera(name.channel).K
        side = half * (K[0, 0] + K[1, 1])
        crop = SquareCrop(
            x * K[0, 0] + K[0, 2] + 0.5 - side / 2, y * K[1, 1] + K[1, 2] + 0.5 - side / 2, side
        )
        known = sample.known[:13].numpy()
        off = np.abs(sample.uv[:13].numpy() - crop.place(uv, 64))[known].max()
        assert off < (1e-3 if name.kind == "mean" else 0.51 * 64 / side)
        assert bool(sample.known3d.any()) == (name.kind == "mean" and name.frame != 2)
        assert bool(sample.known[13]) == (name.kind == "mean" and name.frame != 2)
        assert sample.frames.shape == (8, 64, 64) and sample.frames.any() and sample.num_events > 0
    drawn = replace(options, augment=True).open(root, 5, 1)
    again = replace(options, augment=True).open(root, 5, 1)
    assert same(drawn[3], again[3]) and len(drawn) == 5
    with pytest.raises(FormatError, match="at least 401 events"):
        replace(options, min_events=401).open(root, 0, 0)
    for changes in ({"kind": "x"}, {"skeleton": "smpl24"}, {"size_px": 0}):
        with pytest.raises(ShapeError, match=next(iter(changes))):
            replace(options, **changes)


def test_the_dictionary_of_counts(points):
    root, names, _ = points
    if names[0].kind == "last":
        return
    held = np.load(write_point_counts(root), allow_pickle=True).item()  # as their program reads it
    assert held == {f"{name.stem}.npy": 400 for name in names}


def test_damaged_point_files(tmp_path):
    with pytest.raises(MissingAssetError, match=r"data/S1_session1_mov1_frame0_cam2\.npy"):
        list_point_frames(tmp_path)
    name = PointFrameName(1, 1, 1, 0, 2)
    write_point_frame(tmp_path, name, window(), STANDING)
    data, label = name.events_path(tmp_path), name.label_path(tmp_path)
    good = np.load(data)
    np.save(data, good[:, [0, 2, 1, 3]])  # the columns of the other kind
    with pytest.raises(FormatError, match="other kind"):
        read_point_frame(tmp_path, name)
    np.save(data, good[:, :3])
    with pytest.raises(FormatError, match=r"\(n, 4\)"):
        read_point_frame(tmp_path, name)
    np.save(data, np.array({"a": 1}, dtype=object), allow_pickle=True)
    with pytest.raises(FormatError, match="cannot be read as a NumPy array of numbers"):
        read_point_frame(tmp_path, name)
    np.save(data, good)
    np.save(label, np.zeros((2, 13)))
    with pytest.raises(FormatError, match=r"must be \(3, 13\)"):
        read_point_frame(tmp_path, name)
    label.unlink()
    with pytest.raises(MissingAssetError, match="label"):
        read_point_frame(tmp_path, name)
    with pytest.raises(ShapeError, match="DHP19 has"):
        write_point_frame(tmp_path, name, window(), STANDING[:5])
