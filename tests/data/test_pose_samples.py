"""Samples of single people: joints, crops and bodies describe one picture, mirrored, turned or not."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from eventhpe.body.default import open_body
from eventhpe.data import pose_samples
from eventhpe.data.crops import SquareCrop
from eventhpe.data.labels import read_labels
from eventhpe.data.pose_labels import labelled_joints, middles, root_of
from eventhpe.data.pose_sample import PoseSample, mirror_pose, part_order, pose_sample, without_depth
from eventhpe.data.pose_samples import PoseDataset, PoseSamples, centred_crop
from eventhpe.data.pose_support import near, num_inside
from eventhpe.data.sample import collate
from eventhpe.data.windows import gray_input, window_frames
from eventhpe.errors import FormatError, MissingAssetError, ShapeError
from eventhpe.events.filters import background_activity
from eventhpe.events.open import open_recording
from eventhpe.geometry.skeleton import DHP19_15_SKELETON, DHP19_SKELETON, SMPL_SKELETON, skeleton_by_name
from eventhpe.shapenet.crop import crop_to_pixels, project_to_crop
from eventhpe.shapenet.heads.base import HeadSize, check_labels
from eventhpe.shapenet.heads.parts import body_parts
from tests.small_world import copy_without

SKELETONS = ("dhp19", "dhp19_15", "smpl24")


def draw(folder: Path, length: int = 8, seed: int = 1, **changes) -> PoseDataset:
    return PoseSamples(**({"size_px": 48} | changes)).open(folder, length, seed)


def same(a: PoseSample, b: PoseSample) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def crop_of(sample: PoseSample, K: np.ndarray) -> SquareCrop:
    x, y, half = sample.crop.double().tolist()
    fx, fy, cx, cy = K[[0, 1, 0, 1], [0, 1, 2, 2]]
    side = half * (fx + fy)
    return SquareCrop(x * fx + cx + 0.5 - side / 2, y * fy + cy + 0.5 - side / 2, side)


@pytest.fixture(scope="module")
def half_valid(jacks, tmp_path_factory) -> Path:
    """The jumping jack with valid bodies from label 20 on."""
    path = tmp_path_factory.mktemp("half_valid") / "jacks.h5"
    path.write_bytes(jacks.read_bytes())
    with h5py.File(path, "r+") as file:
        people = file["labels/people/0"]
        people["valid"] = np.arange(len(people["joints2d"])) >= 20
    return path.parent


# ---------------------------------------------------------------- what a sample is


@pytest.mark.parametrize("name", SKELETONS)
def test_shapes(recordings, name):
    skeleton = skeleton_by_name(name)
    J = len(skeleton.joints)
    batch = collate([draw(recordings, skeleton=name)[k] for k in range(3)])
    shapes = {field: tuple(getattr(batch, field).shape[1:]) for field in PoseSample._fields}
    assert shapes == {
        "frames": (8, 48, 48), "uv": (J, 2), "known": (J,), "xyz": (J, 3), "known3d": (J,), "order": (14,),
        "order_known": (14,), "root": (3,), "crop": (3,), "rotmats": (24, 3, 3), "betas": (10,),
        "transl": (3,), "body_known": (), "visible": (J,), "support": (J,), "num_events": (),
    }  # fmt: skip
    check_labels(batch.labels, HeadSize(skeleton, 8, 64))
    assert batch.known.all() and batch.known3d.all() and batch.body_known.all()
    assert bool(batch.order_known.all()) == (name != "dhp19")
    assert all(torch.isfinite(value).all() for value in batch)


def test_equal_index_equal_sample_in_any_order_and_process(recordings):
    first = [draw(recordings)[k] for k in range(4)]
    other = draw(recordings)
    for k in (3, 1, 0, 2, 1):
        assert same(other[k], first[k])
    assert same(pickle.loads(pickle.dumps(other))[2], first[2])
    assert not same(first[0], first[1]) and not same(draw(recordings, seed=2)[0], first[0])
    other.offset = 2
    assert same(other[1], first[3])
    other.close()
    assert same(other[0], first[2]), "closed recordings open again"
    with pytest.raises(IndexError):
        other[8]
    assert sum(1 for _ in draw(recordings)) == 8


@pytest.mark.parametrize("name", SKELETONS)
def test_joints_are_those_of_the_labels_in_the_crop_at_the_end_of_the_window(recordings, name):
    data = draw(recordings, skeleton=name, augment=False, window_us=30_000)
    for index in range(4):
        sample, (path, person, k) = data[index], data.place(index)
        labels = read_labels(path, person)
        crop = crop_of(sample, labels.camera.K)
        joints = labelled_joints(labels, data.skeleton)
        stored = labels.joints2d if name == "smpl24" else labels.markers2d
        assert stored is not None
        N = stored.shape[1]
        uv = crop.place(stored[k], 48)
        np.testing.assert_allclose(sample.uv[:N], uv, atol=1e-3)
        np.testing.assert_allclose(uv, (stored[k] + 0.5 - [crop.left, crop.top]) * 48 / crop.side - 0.5)
        np.testing.assert_allclose(sample.xyz + sample.root, joints.xyz[k], atol=1e-6)
        t1 = int(labels.t_us[k])
        with open_recording(path) as recording:
            events = recording.between(t1 - 30_000, t1)
            wanted = window_frames(events, crop, t0_us=t1 - 30_000, t1_us=t1, out_px=48)
        # The ray is float32, so a pixel on the crop's border may fall to the other side.
        assert (np.abs(sample.frames.numpy() - wanted) < 0.1).mean() > 0.995
        assert abs(int(sample.num_events) - num_inside(crop, np.stack([events.x, events.y], -1))) <= 2


# ---------------------------------------------------------------- one picture


@pytest.mark.parametrize("name", SKELETONS)
def test_positions_project_to_places_whatever_was_changed(recordings, name):
    """The ray, the crop, root and joints of turned and mirrored samples describe one picture."""
    batch = collate([draw(recordings, 24, skeleton=name, roll_share=1.0)[k] for k in range(24)])
    projected = crop_to_pixels(project_to_crop(batch.xyz + batch.root[:, None], batch.crop), 48)
    torch.testing.assert_close(projected, batch.uv, atol=2e-3, rtol=0)


def test_bodies_stand_where_their_joints_are(recordings):
    """Turning is exact; the mirrored open body is nearly the mirror image."""
    body = open_body()

    def error(**changes) -> torch.Tensor:
        batch = collate([draw(recordings, 12, skeleton="smpl24", **changes)[k] for k in range(12)])
        with torch.no_grad():
            joints = body.joints(batch.rotmats, batch.betas, batch.transl)
        return (joints - batch.xyz - batch.root[:, None]).norm(dim=-1).amax(1)

    assert error(roll_share=1.0, flip_share=0.0).max() < 1e-4
    mirrored = error(roll_share=1.0, flip_share=1.0)
    assert 1e-4 < mirrored.max() < 0.015


def test_events_turn_with_the_joints(jacks, monkeypatch):
    """In crops of one scale, as many events lie near each joint before and after the turn."""

    def fixed(uv: np.ndarray, rng: np.random.Generator) -> SquareCrop:
        u, v = np.nanmean(uv.reshape(-1, 2), 0)
        return SquareCrop(u - 80, v - 80, 160)

    monkeypatch.setattr(pose_samples, "random_crop", fixed)
    monkeypatch.setattr(pose_samples, "jitter_events", lambda events, rng: events)
    options = {"flip_share": 0.0, "size_px": 160, "skeleton": "smpl24", "kind": "binary"}
    upright = draw(jacks.parent, 8, **options, roll_share=0.0)
    turned = draw(jacks.parent, 8, **options, roll_share=1.0)
    largest = 0.0
    for a, b in zip(upright, turned, strict=True):
        angle = torch.arccos(((a.rotmats[0].T @ b.rotmats[0]).trace() - 1) / 2)
        largest = max(largest, float(angle))
        assert torch.equal(a.support, b.support) and a.num_events == b.num_events
        images = [(s.frames.amax(0) > 0).numpy().astype(np.int64) for s in (a, b)]
        counts = [near(image, s.uv.numpy(), 9).sum() for image, s in zip(images, (a, b), strict=True)]
        assert counts[0] > 200 and abs(counts[1] / counts[0] - 1) < 0.1
        askew = near(images[1], a.uv.numpy(), 9).sum()
        assert angle < 0.2 or abs(askew / counts[0] - 1) > 0.1, "the check can fail"
    assert largest > 0.3


# ---------------------------------------------------------------- mirror


@pytest.mark.parametrize("name", SKELETONS)
def test_mirroring_twice_changes_nothing(recordings, name):
    skeleton = skeleton_by_name(name)
    sample = draw(recordings, skeleton=name, augment=False)[0]
    before = PoseSample(*(value.clone() for value in sample))
    once = mirror_pose(sample, skeleton, 0.01)
    assert same(sample, before), "the sample itself stays"
    for field, a, b in zip(PoseSample._fields, mirror_pose(once, skeleton, 0.01), sample, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0, msg=field)
    left, right = skeleton.index("hip_left"), skeleton.index("hip_right")
    torch.testing.assert_close(once.uv[left], torch.stack([47 - sample.uv[right, 0], sample.uv[right, 1]]))
    torch.testing.assert_close(once.xyz[left], sample.xyz[right] * torch.tensor([-1.0, 1.0, 1.0]))
    assert torch.equal(once.frames, sample.frames.flip(-1)), "polarities keep their channels"


def test_orders_change_places_but_not_signs(recordings):
    skeleton = DHP19_15_SKELETON
    sample = draw(recordings, augment=False)[0]
    order = torch.arange(14) % 3 - 1
    mirrored = mirror_pose(sample._replace(order=order), skeleton).order
    parts = body_parts(skeleton)
    arms = [
        parts.index((skeleton.index(f"elbow_{side}"), skeleton.index(f"hand_{side}")))
        for side in ("left", "right")
    ]
    assert mirrored[arms[0]] == order[arms[1]] and mirrored[arms[1]] == order[arms[0]]
    spine = parts.index((skeleton.index("pelvis"), skeleton.index("thorax")))
    assert mirrored[spine] == order[spine]
    exact, known = part_order((mirror_pose(sample, skeleton)).xyz, skeleton)
    assert torch.equal(exact, mirror_pose(sample, skeleton).order) and known.all()


def test_a_hand_towards_the_camera_is_plus_one():
    xyz = np.zeros((15, 3))
    elbow, hand = DHP19_15_SKELETON.index("elbow_left"), DHP19_15_SKELETON.index("hand_left")
    part = body_parts(DHP19_15_SKELETON).index((elbow, hand))
    for degrees, sign in ((29, 0), (31, 1), (-29, 0), (-31, -1)):
        angle = np.deg2rad(degrees)
        xyz[hand] = 0.25 * np.array([np.cos(angle), 0.0, -np.sin(angle)])  # z grows away from the camera
        order, known = part_order(torch.from_numpy(xyz + np.array([0, 0, 3.0])), DHP19_15_SKELETON)
        assert order[part] == sign and known[part]


# ---------------------------------------------------------------- labels


def test_virtual_joints_are_the_middles_in_space(recordings):
    labels = read_labels(recordings / "00000.h5")
    assert labels.markers3d is not None
    joints = labelled_joints(labels, DHP19_15_SKELETON)
    hips = [DHP19_SKELETON.index(f"hip_{s}") for s in ("left", "right")]
    pelvis = labels.markers3d[:, hips].astype(float).mean(1)
    np.testing.assert_allclose(joints.xyz[:, 13], pelvis, atol=1e-6)
    np.testing.assert_allclose(joints.uv[:, 13], labels.camera.project(pelvis), atol=1e-4)
    np.testing.assert_allclose(middles(labels.markers3d)[:, 1], joints.xyz[:, 14])
    np.testing.assert_allclose(root_of(joints.xyz[:, :13], DHP19_SKELETON), pelvis, atol=1e-6)
    np.testing.assert_allclose(root_of(joints.xyz, DHP19_15_SKELETON), pelvis, atol=1e-6)
    smpl = labelled_joints(labels, SMPL_SKELETON)
    np.testing.assert_array_equal(root_of(smpl.xyz, SMPL_SKELETON), smpl.xyz[:, 0])


def test_what_is_not_known_is_zero_and_masked():
    xyz = np.random.default_rng(0).normal(size=(15, 3)) + np.array([0, 0, 3])
    hip = DHP19_15_SKELETON.index("hip_left")
    xyz[[hip, 13]] = np.nan
    uv = xyz[:, :2] * 10
    sample = pose_sample(
        np.zeros((8, 32, 32), np.float32), uv, xyz, DHP19_15_SKELETON, crop=np.ones(3),
        visible=np.ones(15, bool), support=np.zeros(15, int), num_events=0,
    )  # fmt: skip
    assert sample.known.tolist() == [j not in (hip, 13) for j in range(15)]
    assert not sample.known3d.any(), "nothing is relative to an unknown root"
    touched = [bool({hip, 13} & set(part)) for part in body_parts(DHP19_15_SKELETON)]
    assert sample.order_known.tolist() == [not t for t in touched] and sum(touched) == 4
    assert not sample.uv[hip].any() and not sample.xyz.any() and not sample.body_known
    assert all(torch.isfinite(value).all() for value in sample)
    once = mirror_pose(sample, DHP19_15_SKELETON, 0.1)
    assert not once.uv[~once.known].any() and not once.transl.any()
    with pytest.raises(ShapeError, match=r"dhp19_15 has uv \(15, 2\)"):
        pose_sample(
            np.zeros((8, 32, 32), np.float32), uv[:13], xyz, DHP19_15_SKELETON, crop=np.ones(3),
            visible=np.ones(15, bool), support=np.zeros(15, int), num_events=0,
        )  # fmt: skip


def test_weak_samples_keep_places_and_orders_only(recordings):
    full, weak = draw(recordings, 12)[0], draw(recordings, 12, weak_share=1.0)[0]
    for field in ("frames", "uv", "known", "order", "order_known", "crop", "support"):
        assert torch.equal(getattr(weak, field), getattr(full, field))
    assert not weak.known3d.any() and not weak.xyz.any() and not weak.root.any()
    assert (
        not weak.body_known
        and not weak.transl.any()
        and torch.equal(weak.rotmats, torch.eye(3).expand(24, 3, 3))
    )
    assert same(without_depth(weak), weak)
    known = {}
    data = draw(recordings, 40, weak_share=0.5, num_labelled=6)
    for k in range(40):
        known.setdefault(data.place(k), set()).add(bool(data[k].body_known))
    assert all(len(v) == 1 for v in known.values()), "a pose is weakly labelled or not, whenever it comes"
    assert set.union(*known.values()) == {True, False}


def test_few_labels_come_again_in_new_variations(recordings):
    data = draw(recordings, 12, num_labelled=3)
    places = [data.place(k) for k in range(12)]
    assert places[:3] * 4 == places and len(set(places)) == 3
    assert not torch.equal(data[0].frames, data[3].frames)
    plain = draw(recordings, 12, num_labelled=3, augment=False)
    assert same(plain[0], plain[3])


def test_windows_of_people_who_stand_still_can_be_left_out(recordings):
    any_window, busy = draw(recordings, 20), draw(recordings, 20, min_events=60)

    def supported(data: PoseDataset, k: int) -> int:
        path, person, label = data.place(k)
        labels = read_labels(path, person)
        t1 = int(labels.t_us[label])
        with open_recording(path) as recording:
            events = background_activity(recording.between(t1 - 50_000, t1), 20_000)
        box = centred_crop(labelled_joints(labels, data.skeleton).uv[label], 1.0)
        return num_inside(box, np.stack([events.x, events.y], -1))

    assert min(supported(busy, k) for k in range(20)) >= 60 > min(supported(any_window, k) for k in range(20))
    with pytest.raises(FormatError, match=r"none of 100 windows.*min_events = 100000"):
        draw(recordings, min_events=100_000)[0]


def test_bodies_that_are_not_valid(half_valid):
    """Joints of the body need a valid one; markers do not, but the body then counts as unknown."""
    smpl = draw(half_valid, 20, skeleton="smpl24")
    assert all(smpl.place(k)[2] >= 20 for k in range(20)) and all(smpl[k].body_known for k in range(4))
    markers = draw(half_valid, 30, augment=False)
    for k in range(30):
        valid = markers.place(k)[2] >= 20
        assert bool(markers[k].body_known) == valid and markers[k].known3d.all()
    assert {markers.place(k)[2] >= 20 for k in range(30)} == {True, False}


def test_support_counts_events_near_joints():
    counts = np.zeros((20, 30), np.int64)
    counts[5, 7], counts[5, 10], counts[19, 29] = 3, 4, 1
    uv = np.array([[7.0, 5.0], [8.5, 5.0], [29.4, 19.4], [np.nan, 1.0], [-50.0, 3.0], [20.0, 12.0]])
    assert near(counts, uv, 2.0).tolist() == [3, 7, 1, 0, 0, 0]


# ---------------------------------------------------------------- folders and errors


def test_recordings_of_a_data_set_are_found_in_their_subfolder(recordings, tmp_path):
    (tmp_path / "recordings").symlink_to(recordings)
    assert len(draw(tmp_path).paths) == 3
    assert draw([recordings / "00001.h5"]).place(0)[0].name == "00001.h5"


def test_two_people_are_both_drawn(duo):
    data = draw(duo[0].parent, 24, skeleton="smpl24", min_inside=0.2)
    assert {data.place(k)[1] for k in range(24)} == {0, 1}
    assert all(torch.isfinite(value).all() for value in data[0])


def test_errors(recordings, tmp_path):
    with pytest.raises(MissingAssetError, match="eventhpe simulate"):
        draw(tmp_path)
    with pytest.raises(FormatError, match="none of 3 recordings has a pose"):
        draw(recordings, window_us=900_000)[0]
    old = tmp_path / "old.h5"
    old.write_bytes((recordings / "00000.h5").read_bytes())
    with h5py.File(old, "r+") as file:
        for name in ("markers3d", "markers2d", "markers_visible"):
            del file[f"labels/people/0/{name}"]
    with pytest.raises(FormatError, match=r"old\.h5: skeleton dhp19_15 consists of DHP19's markers"):
        draw(old)[0]
    assert draw(old, skeleton="smpl24")[0].known.all()


@pytest.mark.parametrize(
    "changes", [
        {"kind": "voxels"}, {"skeleton": "coco"}, {"flip_share": 1.5}, {"weak_share": -0.1}, {"size_px": 0},
        {"window_us": 0}, {"num_labelled": -1}, {"min_inside": 2.0}, {"roll_deg": -1.0}, {"min_events": -1},
    ],
)  # fmt: skip
def test_options_out_of_range_are_named(changes):
    with pytest.raises(ShapeError, match="skeleton" if "skeleton" in changes else next(iter(changes))):
        replace(PoseSamples(size_px=32), **changes)


def test_gray_samples_are_the_images_at_their_poses(recordings: Path) -> None:
    data = draw(recordings, 6, kind="gray", augment=False)
    for i in range(6):
        path, number, k = data.place(i)
        labels = read_labels(path, number)
        with open_recording(path) as recording:
            images = recording.frames
            assert images is not None
            (at,) = np.flatnonzero(images.t_us == labels.t_us[k])
            image = images[int(at)]
        crop = centred_crop(labels.joints2d[k - 5 : k + 1].astype(np.float64))
        cut = crop.cut_image(image, 48).astype(np.float64)
        sample = data[i]
        assert sample.frames.shape == (1, 48, 48)
        np.testing.assert_allclose(sample.frames[0], (cut - cut.mean()) / cut.std(), atol=1e-4)
    varied = draw(recordings, 6, kind="gray")
    assert any(not torch.equal(varied[i].frames, data[i].frames) for i in range(6))
    assert all(abs(float(varied[i].frames.mean())) < 1e-3 for i in range(6))


def test_recordings_without_images_give_no_gray_samples(recordings: Path, tmp_path: Path) -> None:
    copy_without(sorted(recordings.glob("*.h5"))[0], tmp_path / "a.h5", "frames")
    with pytest.raises(FormatError, match="at the time of a gray image"):
        draw(tmp_path, kind="gray")[0]


def test_plain_images_are_not_blown_up() -> None:
    flat = np.full((8, 8), 90, np.uint8)
    assert not gray_input(flat).any()
    flat[0, 0] = 92
    assert abs(gray_input(flat)).max() < 2 / 5 and gray_input(flat).shape == (1, 8, 8)
