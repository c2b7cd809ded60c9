"""Labels: they fit the images of the recording they come with, and survive the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from scipy import ndimage

from eventhpe.body.default import open_body
from eventhpe.body.model import pose_rotmats
from eventhpe.body.params import BodyParams
from eventhpe.body.posing import BodyPoser
from eventhpe.data.labels import (
    LABELS_SCHEMA,
    Labels,
    num_people,
    read_flow_labels,
    read_labels,
    write_labels,
)
from eventhpe.data.scene import Scene
from eventhpe.errors import FormatError
from eventhpe.events.store_writer import StoreWriter
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.rotation import rotvec_to_rotmat


def some_labels(K: int = 5, seed: int = 0) -> Labels:
    rng = np.random.default_rng(seed)
    params = BodyParams(
        betas=np.broadcast_to(rng.normal(size=10), (K, 10)),
        global_orient=rng.normal(size=(K, 3)),
        body_pose=0.3 * rng.normal(size=(K, 23, 3)),
        transl=rng.normal(size=(K, 3)) + np.array([0, 0, 3]),
    )
    camera = Camera(
        K=[[90.0, 0, 31.0], [0, 91.0, 30.0], [0, 0, 1]],
        size=(60, 64),
        dist=[0.1, -0.02, 0.001, 0.002, 0.0],
        R_world_to_cam=np.diag([1.0, -1.0, -1.0]),
        t_world_to_cam=[0.1, 1.0, 3.0],
    )
    joints = rng.normal(size=(K, 24, 3)) + np.array([0, 0, 3.5])
    return Labels(
        t_us=np.arange(K, dtype=np.int64) * 10_000,
        params=params,
        joints3d=joints.astype(np.float32),
        joints2d=camera.project(joints).astype(np.float32),
        camera=camera,
    )


def test_round_trip(tmp_path):
    labels = some_labels()
    with h5py.File(tmp_path / "a.h5", "w") as file:
        write_labels(file, labels)
    back = read_labels(tmp_path / "a.h5")
    assert np.array_equal(back.t_us, labels.t_us) and back.t_us.dtype == np.int64
    assert np.array_equal(back.joints3d, labels.joints3d)
    assert np.array_equal(back.joints2d, labels.joints2d)
    for name in ("betas", "global_orient", "body_pose", "transl"):
        np.testing.assert_allclose(getattr(back.params, name), getattr(labels.params, name), rtol=1e-6)
    assert (back.params.model, back.params.gender, back.params.frame) == ("open", "neutral", "camera")
    assert back.camera.size == (60, 64)
    for name in ("K", "dist", "R_world_to_cam", "t_world_to_cam"):
        assert np.array_equal(getattr(back.camera, name), getattr(labels.camera, name)), name
    assert read_flow_labels(tmp_path / "a.h5") == []
    for name in ("joints_visible", "markers3d", "markers2d", "markers_visible", "track", "offsets", "valid"):
        assert getattr(back, name) is None, name


def full_labels(seed: int) -> Labels:
    """Labels with everything that may be there."""
    rng, labels = np.random.default_rng(seed), some_labels(seed=seed)
    R = rotvec_to_rotmat(rng.normal(size=(5, 3)))
    return replace(
        labels,
        joints_visible=rng.random((5, 24)) < 0.5,
        markers3d=rng.normal(size=(5, 13, 3)).astype(np.float32),
        markers2d=rng.normal(size=(5, 13, 2)).astype(np.float32),
        markers_visible=rng.random((5, 13)) < 0.5,
        track=(R, rng.normal(size=(5, 3))),
        offsets=rng.random(100).astype(np.float32),
    )


def test_round_trip_of_several_people_before_a_moving_camera(tmp_path):
    path, people = tmp_path / "a.h5", [full_labels(0), full_labels(1)]
    with h5py.File(path, "w") as file:
        group = write_labels(file, [people[0], replace(people[1], track=people[0].track)])
        assert group.name == "/labels" and group.attrs["schema_version"] == LABELS_SCHEMA == 2
    assert num_people(path) == 2
    for i, labels in enumerate(people):
        back = read_labels(path, i)
        for name in ("joints3d", "joints2d", "joints_visible", "markers3d", "markers2d", "markers_visible",
                     "offsets"):  # fmt: skip
            np.testing.assert_array_equal(getattr(back, name), getattr(labels, name), err_msg=name)
            assert getattr(back, name).dtype == getattr(labels, name).dtype, name
        np.testing.assert_allclose(back.params.pose, labels.params.pose, rtol=1e-6)
        assert back.track is not None and people[0].track is not None
        for got, expected in zip(back.track, people[0].track, strict=True):
            assert np.array_equal(got, expected)
    for person in (2, -1):
        with pytest.raises(FormatError, match=f"labels of 2 people are there; number {person} "):
            read_labels(path, person)


def test_files_of_the_first_schema_are_read(tmp_path):
    """One person, whose arrays lie in the group itself; nothing about visibility, markers or clothes."""
    path, labels = tmp_path / "old.h5", some_labels()
    with h5py.File(path, "w") as file:
        g = file.create_group("labels")
        g.attrs["schema_version"] = 1
        g.attrs["body_model"], g.attrs["gender"] = "open", "female"
        g["t_us"] = labels.t_us
        g["betas"] = labels.params.betas[0].astype(np.float32)
        for name in ("global_orient", "body_pose", "transl"):
            g[name] = getattr(labels.params, name).astype(np.float32)
        g["joints3d"], g["joints2d"] = labels.joints3d, labels.joints2d
        camera = g.create_group("camera")
        for name in ("K", "dist", "R_world_to_cam", "t_world_to_cam"):
            camera[name] = getattr(labels.camera, name)
        camera.attrs["size"] = (60, 64)
    assert num_people(path) == 1
    back = read_labels(path)
    assert np.array_equal(back.joints3d, labels.joints3d) and back.params.gender == "female"
    assert back.track is None and back.joints_visible is None and back.markers3d is None
    np.testing.assert_allclose(back.params.pose, labels.params.pose, rtol=1e-6)
    np.testing.assert_allclose(back.to_world(back.joints3d), labels.to_world(labels.joints3d), atol=1e-9)
    with pytest.raises(FormatError, match="labels of 1 people are there; number 1 was asked for"):
        read_labels(path, 1)


def test_to_world_undoes_the_camera_at_rest_or_on_its_track():
    world = np.random.default_rng(3).normal(size=(5, 7, 3))
    still, moving = some_labels(), full_labels(0)
    np.testing.assert_allclose(still.to_world(still.camera.to_camera_frame(world)), world, atol=1e-12)
    R, t = moving.track  # type: ignore[misc]
    seen = np.einsum("kij,knj->kni", R, world) + t[:, None]
    np.testing.assert_allclose(moving.to_world(seen), world, atol=1e-12)
    np.testing.assert_allclose(moving.to_world(seen.astype(np.float32)), world, atol=1e-5)


def test_index_finds_the_nearest_label_and_stays_inside():
    labels = some_labels(5)
    assert labels.step_us == 10_000
    assert labels.index(20_000) == 2
    assert labels.index(np.array([0, 14_000, 16_000, 40_000])).tolist() == [0, 1, 2, 4]
    assert labels.index(np.array([-50_000, 10**7])).tolist() == [0, 4]


def test_a_recording_without_labels_is_named(tmp_path):
    path = tmp_path / "plain.h5"
    with StoreWriter(path, (8, 8)):
        pass
    with pytest.raises(FormatError, match=r"plain\.h5: no labels .*eventhpe simulate"):
        read_labels(path)
    assert read_flow_labels(path) == []


@pytest.mark.parametrize("content", [None, b"", b"not an HDF5 file at all" * 40])
@pytest.mark.parametrize("read", [read_labels, read_flow_labels, num_people])
def test_a_foreign_or_missing_file_is_refused(tmp_path, content, read):
    path = tmp_path / "foreign.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FormatError, match=r"foreign\.h5"):
        read(path)


def test_another_schema_and_a_missing_part_are_refused(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        write_labels(file, some_labels()).attrs["schema_version"] = LABELS_SCHEMA + 1
    for read in (read_labels, num_people):
        with pytest.raises(FormatError, match=f"schema {LABELS_SCHEMA + 1}"):
            read(path)
    with h5py.File(path, "w") as file:
        del write_labels(file, some_labels())["people/0/transl"]
    with pytest.raises(FormatError, match=r"a\.h5: cannot read labels"):
        read_labels(path)


def test_label_times_are_a_grid_from_zero_to_the_end(recordings):
    labels = read_labels(recordings / "00000.h5")
    assert labels.t_us.tolist() == list(range(0, 300_001, 10_000))
    assert labels.joints3d.shape == (31, 24, 3) and labels.joints2d.shape == (31, 24, 2)


@pytest.mark.parametrize("name", ["00000.h5", "00001.h5", "00002.h5"])
def test_2d_joints_are_the_projection_of_3d_joints(recordings, name):
    labels = read_labels(recordings / name)
    np.testing.assert_allclose(labels.joints2d, labels.camera.project(labels.joints3d), atol=1e-3)
    assert labels.joints3d[..., 2].min() > 0.3, "the person stays before the camera"


def test_3d_joints_are_the_joints_of_the_body_parameters(recordings):
    labels = read_labels(recordings / "00001.h5")
    p = labels.params
    with torch.no_grad():
        joints = open_body().joints(
            pose_rotmats(p).float(), torch.tensor(p.betas).float(), torch.tensor(p.transl).float()
        )
    np.testing.assert_allclose(joints.numpy(), labels.joints3d, atol=1e-4)


def test_the_camera_places_the_person_on_the_floor_of_its_world(jacks):
    labels = read_labels(jacks)
    camera = labels.camera
    world = labels.to_world(labels.joints3d)
    np.testing.assert_allclose(camera.to_camera_frame(world), labels.joints3d, atol=1e-5)
    heights = world[..., 1]
    assert -0.05 < heights.min() < 0.15, "feet are near y = 0"
    assert 1.2 < heights[:, 15].min() and heights[:, 15].max() < 2.3, "the head is at a head's height"
    assert np.abs(np.median(world[:, 0], axis=0)[[0, 2]]).max() < 0.05, "the pelvis stands over the origin"


def test_most_joints_lie_inside_the_person_mask(jacks):
    labels = read_labels(jacks)
    with h5py.File(jacks, "r", locking=False) as file:
        times, masks = file["labels/mask_t_us"][:], file["labels/mask"][:].astype(bool)
    assert np.diff(times).tolist() == [50_000] * (len(times) - 1)
    inside = []
    for t, mask in zip(times, masks, strict=True):
        u, v = np.rint(labels.joints2d[labels.index(t)]).astype(int).T
        seen = (u >= 0) & (u < 128) & (v >= 0) & (v < 128)
        assert seen.mean() > 0.8
        inside.append(mask[v[seen], u[seen]].mean())
        assert 0.02 < mask.mean() < 0.5
    assert np.mean(inside) > 0.9


def test_flow_carries_the_mask_into_the_next_mask(jacks):
    fields = read_flow_labels(jacks)
    with h5py.File(jacks, "r", locking=False) as file:
        masks = file["labels/mask"][:].astype(bool)
    assert [(f.t0_us, f.t1_us) for f in fields] == [(t, t + 50_000) for t in range(0, 400_000, 50_000)]
    assert len(masks) == len(fields) + 1
    moved_share, still_share, edge_share = [], [], []
    for k, field in enumerate(fields):
        assert field.uv.shape == (2, 128, 128) and field.uv.dtype == np.float32
        assert (field.valid == masks[k]).mean() > 0.999, "flow is known where the person is"
        rows, cols = np.nonzero(field.valid)
        u, v = field.uv[:, rows, cols]
        x, y = np.rint(cols + u).astype(int), np.rint(rows + v).astype(int)
        ok = (x >= 0) & (x < 128) & (y >= 0) & (y < 128)
        near = ndimage.binary_dilation(masks[k + 1])
        moved_share.append(near[y[ok], x[ok]].mean())
        # What moves fast and would land outside if it did not move.
        fast = ok & (np.hypot(u, v) > 3)
        if fast.sum() > 20:
            edge_share.append(near[y[fast], x[fast]].mean())
            still_share.append(near[rows[fast], cols[fast]].mean())
    assert min(moved_share) > 0.98
    assert edge_share, "the jumping jack moves faster than 3 px per window"
    assert np.mean(edge_share) > 0.97 > np.mean(still_share)


def test_flow_carries_vertices_to_their_next_projection(jacks):
    labels, fields = read_labels(jacks), read_flow_labels(jacks)
    poser, p = BodyPoser(open_body()), labels.params
    field = max(fields, key=lambda f: float(np.abs(f.uv).max()))
    a, b = labels.index(field.t0_us), labels.index(field.t1_us)
    start, end = (labels.camera.project(poser.vertices(p.betas[k], p.pose[k], p.transl[k])) for k in (a, b))
    depth = poser.vertices(p.betas[a], p.pose[a], p.transl[a])[:, 2]
    cols, rows = np.rint(start).astype(int).T
    ok = (cols >= 0) & (cols < 128) & (rows >= 0) & (rows < 128)
    ok[ok] = field.valid[rows[ok], cols[ok]]
    nearest = np.full((128, 128), np.inf)
    np.minimum.at(nearest, (rows[ok], cols[ok]), depth[ok])
    ok[ok] = depth[ok] < nearest[rows[ok], cols[ok]] + 0.01  # the visible side of the body
    truth = (end - start)[ok]
    error = np.linalg.norm(field.uv[:, rows[ok], cols[ok]].T - truth, axis=1)
    assert ok.sum() > 300
    assert np.linalg.norm(truth, axis=1).max() > 3
    assert np.median(error) < 0.1 and np.quantile(error, 0.9) < 0.6


def test_a_recording_of_two_people_before_a_shaking_camera_holds_both(duo: tuple[Path, Scene]):
    path, scene = duo
    assert num_people(path) == 2
    for i, who in enumerate(scene.people):
        labels = read_labels(path, i)
        poser, m = BodyPoser(open_body(), offsets=None), who.motion
        expected = [poser.joints(m.betas[k], m.pose[k], m.transl[k]) for k in range(scene.num_labels)]
        np.testing.assert_allclose(labels.to_world(labels.joints3d), expected, atol=1e-5)
        np.testing.assert_allclose(labels.joints2d, labels.camera.project(labels.joints3d), atol=1e-3)
        assert (labels.offsets is None) == (who.offsets is None)
        assert labels.markers_visible is not None and labels.markers_visible.any()


def test_visible_joints_lie_in_their_own_persons_mask(duo: tuple[Path, Scene]):
    """Or within two pixels of it: hands and toes end at its edge."""
    with h5py.File(duo[0], "r", locking=False) as file:
        times, masks = file["labels/mask_t_us"][:], file["labels/mask"][:]
    near = []
    for i in range(2):
        labels = read_labels(duo[0], i)
        for t, mask in zip(times, masks, strict=True):
            k = labels.index(t)
            u, v = np.rint(labels.joints2d[k][labels.joints_visible[k]]).astype(int).T
            near.append(ndimage.binary_dilation(mask == i + 1, iterations=2)[v, u])
    assert np.concatenate(near).size > 150 and np.concatenate(near).mean() > 0.97


def test_valid_survives_the_file_and_bounds_clips(tmp_path):
    """Without it every label is valid; with it, clips lie inside the runs of valid labels."""
    labels = some_labels(K=8)
    assert labels.valid is None and labels.clip_starts(3).tolist() == [0, 1, 2, 3, 4]
    assert labels.clip_starts(7).tolist() == [0] and labels.clip_starts(8).tolist() == []
    marked = replace(labels, valid=np.array([1, 1, 1, 0, 1, 1, 1, 1], bool))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        write_labels(file, marked)
    back = read_labels(tmp_path / "a.h5")
    assert back.valid is not None and back.valid.dtype == bool and np.array_equal(back.valid, marked.valid)
    for span in range(1, 8):
        wanted = [k for k in range(8 - span) if marked.valid[k : k + span + 1].all()]
        assert back.clip_starts(span).tolist() == wanted
