"""Truth at any instant: what was rendered, what the file holds, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from eventhpe.body.default import open_body_arrays
from eventhpe.body.posing import BodyPoser
from eventhpe.data.cast import Cast
from eventhpe.data.labels import read_flow_labels
from eventhpe.data.scene import Scene
from eventhpe.data.truth import Truth
from eventhpe.errors import FormatError, UnitError
from eventhpe.events.open import open_recording
from eventhpe.events.store_writer import StoreWriter
from tests.data.staging import camera_at, performer, person, record, stage, standing

BETWEEN = [0, 1, 4_999, 10_000, 73_123, 150_000, 199_999, 200_000]


@pytest.fixture(scope="module")
def truth(duo: tuple[Path, Scene]) -> Truth:
    return Truth(duo[0])


@pytest.fixture(scope="module")
def cast(duo: tuple[Path, Scene]) -> Cast:
    """What the simulation rendered."""
    return Cast.of_scene(duo[1])


@pytest.mark.parametrize("t_us", BETWEEN)
def test_between_labels_truth_is_what_was_rendered(truth, cast, t_us):
    """Labels are stored as float32, which costs micrometres."""
    (rendered,) = cast.at(t_us)
    for got, expected in zip(truth.vertices(t_us), rendered.vertices, strict=True):
        assert np.abs(got - expected).max() < 2e-5
    joints = truth.joints(t_us)
    assert (
        joints.xyz.shape == (2, 24, 3) and joints.uv.shape == (2, 24, 2) and joints.visible.shape == (2, 24)
    )
    np.testing.assert_allclose(joints.xyz, np.stack(rendered.joints), atol=2e-5)
    np.testing.assert_allclose(joints.uv, truth.camera.project(joints.xyz), atol=1e-9)


@pytest.mark.parametrize("t_us", [0, 73_123])
def test_body_parameters_pose_the_same_body(truth, t_us):
    for person_id in range(2):
        p = truth.body(t_us, person_id)
        assert p.frame == "camera" and p.transl.shape == (3,)
        joints = BodyPoser(open_body_arrays()).joints(p.betas, p.pose, p.transl)
        np.testing.assert_allclose(joints, truth.joints(t_us).xyz[person_id], atol=1e-6)


def test_at_the_labels_it_agrees_with_them(truth):
    for k in (0, 7, 20):
        t = int(truth.t_us[k])
        joints, markers = truth.joints(t), truth.markers(t)
        assert markers.xyz.shape == (2, 13, 3)
        for i, labels in enumerate(truth.people):
            np.testing.assert_allclose(joints.xyz[i], labels.joints3d[k], atol=1e-5)
            np.testing.assert_allclose(joints.uv[i], labels.joints2d[k], atol=2e-3)
            np.testing.assert_allclose(markers.xyz[i], labels.markers3d[k], atol=2e-5)
            assert (joints.visible[i] == labels.joints_visible[k]).mean() > 0.95
            assert (markers.visible[i] == labels.markers_visible[k]).mean() > 0.9


def test_masks_depth_and_flow_agree_with_the_file(duo, truth):
    fields = read_flow_labels(duo[0])
    with h5py.File(duo[0], "r", locking=False) as file:
        g = file["labels"]
        times, masks, depths = g["mask_t_us"][:], g["mask"][:], g["depth"][:]
        occluded = g["flow/occluded"][:].astype(bool)
    assert times.tolist() == [0, 50_000, 100_000, 150_000, 200_000] and len(fields) == 4
    for i, t in enumerate(times):
        mask, depth = truth.mask(int(t)), truth.depth(int(t))
        assert mask.dtype == np.uint8 and (mask != masks[i]).mean() < 1e-3
        np.testing.assert_array_equal(np.isfinite(depth), mask > 0)
        same = (mask == masks[i]) & (mask > 0)
        assert np.quantile(np.abs(depth[same] - depths[i][same]), 0.99) < 0.002
    for i, field in enumerate(fields):
        flow = truth.flow(field.t0_us, field.t1_us)
        both = flow.valid & field.valid
        assert (flow.valid != field.valid).mean() < 1e-3 and both.sum() > 500
        assert np.quantile(np.abs(flow.uv - field.uv)[:, both], 0.99) < 0.02
        assert (flow.occluded != occluded[i]).mean() < 2e-3


def test_flow_over_any_window_moves_the_skin_there(truth):
    """Vertices that are seen at t0: their flow is where they are at t1, interpolated to their place."""
    t0, t1 = 33_333, 61_000
    flow = truth.flow(t0, t1)
    assert (flow.t0_us, flow.t1_us) == (t0, t1)
    start, end = np.concatenate(truth.vertices(t0)), np.concatenate(truth.vertices(t1))
    a, b, depth = truth.camera.project(start), truth.camera.project(end), truth.depth(t0)
    near = np.rint(a).astype(int)
    ok = (np.abs(a - near).max(axis=1) < 0.15) & ((near >= 0) & (near < 96)).all(axis=1)
    x, y = near[ok].T
    seen = np.abs(depth[y, x] - start[ok, 2]) < 0.01
    error = np.linalg.norm(flow.uv[:, y, x].T - (b - a)[ok], axis=1)[seen]
    assert seen.sum() > 50 and np.linalg.norm((b - a)[ok][seen], axis=1).max() > 3
    assert np.median(error) < 0.05 and np.quantile(error, 0.95) < 0.3


def test_support_is_what_was_counted_while_recording(duo, truth):
    """Although events wait at the read-out and carry the times at which they leave."""
    with h5py.File(duo[0], "r", locking=False) as file:
        stored = np.stack([file[f"labels/people/{i}/joint_events"][:] for i in range(2)], axis=1)
    assert stored.shape == (4, 2, 24) and stored.sum() > 500
    with Truth(duo[0]) as own:
        for k in range(4):
            counts = own.support(50_000 * k, 50_000 * (k + 1))
            # float32 labels move a silhouette by nothing, but a pixel may fall to the other side of it
            assert np.abs(counts - stored[k]).sum() <= 0.01 * stored[k].sum() + 2
        whole = own.support(0, 200_000)
        assert whole.shape == (2, 24)
    with open_recording(duo[0]) as recording:
        assert stored.sum() <= len(recording.read())


def test_a_closed_truth_opens_again_when_it_is_needed(duo):
    with Truth(duo[0]) as own:
        first = own.support(0, 50_000)
    own.close()
    np.testing.assert_array_equal(own.support(0, 50_000), first)
    own.close()


@pytest.mark.parametrize("t_us", [-1, 200_001])
def test_times_that_are_not_labelled_are_refused(truth, t_us):
    for ask in (truth.body, truth.vertices, truth.joints, truth.markers, truth.depth, truth.mask):
        with pytest.raises(UnitError, match=rf"labelled from 0 to 200000 us; {t_us} was asked for"):
            ask(t_us)
    for ask in (truth.flow, truth.support):
        with pytest.raises(UnitError, match=str(t_us)):
            ask(0, t_us)


def test_a_recording_without_labels_is_refused(tmp_path):
    with StoreWriter(tmp_path / "plain.h5", (8, 8)):
        pass
    with pytest.raises(FormatError, match=r"plain\.h5: no labels"):
        Truth(tmp_path / "plain.h5")


def test_two_people_behind_each_other(tmp_path):
    """Hidden joints and markers say so at any time, and the mask belongs to who stands in front."""
    front, back = (person(standing(6), place=(0.0, 0.0, z)) for z in (0.6, -0.6))
    scene = stage([back, front], camera=camera_at((0.0, 0.9, 2.8), size=(128, 128), focal=120.0))
    with Truth(record(scene, tmp_path / "a.h5")) as truth:
        joints, markers, mask = truth.joints(25_000), truth.markers(25_000), truth.mask(25_000)
        u, v = np.rint(joints.uv[0][[0, 3, 6, 9]]).astype(int).T  # pelvis and spine
        assert (mask[v, u] == 2).all()
        assert not joints.visible[0][[0, 3, 6, 9]].any() and joints.visible[1][[0, 3, 6, 9]].all()
        assert markers.visible[0].sum() < markers.visible[1].sum() - 3


def test_one_person_in_clothes_keeps_them(tmp_path):
    offsets = np.full(len(open_body_arrays()["v_template"]), 0.02, np.float32)
    who = performer("wave", 0.05)
    with Truth(record(stage(replace(who, offsets=offsets)), tmp_path / "a.h5")) as truth:
        (dressed,) = truth.vertices(25_000)
    (tight,) = Cast.of_scene(stage(who)).at(25_000)
    assert np.median(np.linalg.norm(dressed - tight.vertices[0], axis=1)) == pytest.approx(0.02, abs=1e-3)
