"""What the package means by left, up, near, forward and "in this window": a cube, a camera, a motion.

docs/conventions.md states everything here. A change that breaks this file changes the meaning of results.
"""

from __future__ import annotations

import numpy as np
import pytest

from eventhpe.geometry.camera import Camera
from eventhpe.geometry.rotation import rotmat_to_sixd, rotvec_to_rotmat, sixd_to_rotmat
from eventhpe.geometry.skeleton import SMPL_SKELETON

H, W, FOCAL = 61, 81, 100.0
CENTRE_ROW, CENTRE_COL = 30, 40
CUBE_FACES = np.array(
    [[0, 1, 2], [0, 2, 3], [4, 6, 5], [4, 7, 6], [0, 4, 5], [0, 5, 1],
     [1, 5, 6], [1, 6, 2], [2, 6, 7], [2, 7, 3], [3, 7, 4], [3, 4, 0]]
)  # fmt: skip


def cube_at(centre: tuple[float, float, float], side: float = 0.4) -> np.ndarray:
    """(8, 3) corners of a cube, metres, in the frame of its centre."""
    near = np.array([[-1, -1, -1], [1, -1, -1], [1, 1, -1], [-1, 1, -1]], dtype=float)
    return np.concatenate([near, near * [1, 1, -1]]) * side / 2 + centre


@pytest.fixture
def facing_camera() -> Camera:
    """A level camera 3 m in front of a person who stands at the world's origin and looks along +z."""
    R = np.diag([1.0, -1.0, -1.0])  # x right, y down, z forward = towards the person's -z
    eye = np.array([0.0, 1.0, 3.0])
    return Camera(
        K=Camera.from_focal(FOCAL, (H, W)).K, size=(H, W), R_world_to_cam=R, t_world_to_cam=-R @ eye
    )


def test_pixel_centres_are_integers():
    camera = Camera.from_focal(FOCAL, (H, W))
    np.testing.assert_allclose(camera.project([0.0, 0.0, 2.0]), [CENTRE_COL, CENTRE_ROW])
    np.testing.assert_allclose(camera.K[:2, 2], [(W - 1) / 2, (H - 1) / 2])


def test_world_y_is_up_and_image_y_is_down(facing_camera):
    low, high = facing_camera.project(facing_camera.to_camera_frame([[0.0, 0.8, 0.0], [0.0, 1.2, 0.0]]))
    assert high[1] < CENTRE_ROW < low[1]


def test_the_subjects_left_is_on_the_right_of_the_image_when_they_face_the_camera(facing_camera):
    # In the rest pose +x is the subject's left.
    left, right = facing_camera.project(facing_camera.to_camera_frame([[0.3, 1.0, 0.0], [-0.3, 1.0, 0.0]]))
    assert right[0] < CENTRE_COL < left[0]


def test_z_is_forward(facing_camera):
    nearer, farther = facing_camera.to_camera_frame([[0.0, 1.0, 0.5], [0.0, 1.0, -0.5]])
    np.testing.assert_allclose([nearer[2], farther[2]], [2.5, 3.5])
    assert np.isnan(facing_camera.project([0.0, 0.0, -1.0])).all(), "behind the camera there is no image"


def test_depth_is_along_the_axis_and_the_near_face_wins():
    raster = pytest.importorskip("eventhpe.render.raster")
    frame = raster.rasterize(cube_at((0.0, 0.0, 2.2)), CUBE_FACES, Camera.from_focal(FOCAL, (H, W)))
    assert frame.depth.shape == (H, W)
    np.testing.assert_allclose(frame.depth[CENTRE_ROW, CENTRE_COL], 2.0, rtol=1e-5)
    np.testing.assert_allclose(frame.depth[CENTRE_ROW + 5, CENTRE_COL - 5], 2.0, rtol=1e-5)
    assert np.isinf(frame.depth[0, 0])


def test_a_cube_above_the_axis_is_drawn_in_the_upper_rows():
    raster = pytest.importorskip("eventhpe.render.raster")
    frame = raster.rasterize(cube_at((0.0, -0.4, 2.2)), CUBE_FACES, Camera.from_focal(FOCAL, (H, W)))
    rows, _ = np.nonzero(frame.coverage > 0)
    assert rows.size and rows.max() < CENTRE_ROW


@pytest.mark.parametrize(
    ("step", "expected_uv"),
    [((0.02, 0.0, 0.0), (1.0, 0.0)), ((0.0, 0.02, 0.0), (0.0, 1.0)), ((-0.04, -0.02, 0.0), (-2.0, -1.0))],
)
def test_flow_is_forward_displacement_x_right_y_down(step, expected_uv):
    raster = pytest.importorskip("eventhpe.render.raster")
    start = cube_at((0.0, 0.0, 2.2))
    flow = raster.mesh_flow(start, start + step, CUBE_FACES, Camera.from_focal(FOCAL, (H, W)), 0, 50_000)
    assert flow.uv.shape == (2, H, W)
    np.testing.assert_allclose(flow.uv[:, CENTRE_ROW, CENTRE_COL], expected_uv, atol=1e-4)
    # Indexed at t0: the pixels the cube leaves have a flow, those it enters have none yet.
    assert flow.valid[CENTRE_ROW, CENTRE_COL] and not flow.valid[0, 0]


def test_a_cube_that_comes_nearer_expands():
    raster = pytest.importorskip("eventhpe.render.raster")
    start = cube_at((0.0, 0.0, 2.2))
    camera = Camera.from_focal(FOCAL, (H, W))
    u, v = raster.mesh_flow(start, start - [0.0, 0.0, 0.1], CUBE_FACES, camera, 0, 50_000).uv
    assert u[CENTRE_ROW, CENTRE_COL + 6] > 0 > u[CENTRE_ROW, CENTRE_COL - 6]
    assert v[CENTRE_ROW + 6, CENTRE_COL] > 0 > v[CENTRE_ROW - 6, CENTRE_COL]


def test_windows_are_half_open():
    events_types = pytest.importorskip("eventhpe.events.types")
    events = events_types.Events.from_columns(
        t=[0, 10, 10, 19, 20], x=[0, 1, 2, 3, 4], y=[0] * 5, p=[1, 0, 1, 0, 1], sensor_size=(H, W)
    )
    assert events.between(0, 10).x.tolist() == [0]
    assert events.between(10, 20).x.tolist() == [1, 2, 3], "an event at t1 belongs to the next window"
    assert events.between(20, 30).x.tolist() == [4]
    assert events.t.dtype == np.int64 and set(events.p.tolist()) == {0, 1}


def test_a_window_is_rows_by_columns_and_on_events_are_positive():
    types = pytest.importorskip("eventhpe.events.types")
    voxel = pytest.importorskip("eventhpe.events.voxel")
    events = types.Events.from_columns(t=[0, 40], x=[70, 2], y=[5, 50], p=[1, 0], sensor_size=(H, W))
    grid = voxel.voxelize(events, 5, t0_us=0, t1_us=50)
    assert grid.data.shape == (5, H, W)
    np.testing.assert_allclose(grid.data[:, 5, 70].sum(), 1.0, atol=1e-6)
    np.testing.assert_allclose(grid.data[:, 50, 2].sum(), -1.0, atol=1e-6)
    np.testing.assert_allclose(grid.data.sum(), 0.0, atol=1e-6)


def test_a_brighter_pixel_gives_on_events_in_its_place():
    simulate = pytest.importorskip("eventhpe.events.simulate")
    camera = simulate.EventSimulator((H, W), simulate.SensorModel(mismatch_sigma=0.0), seed=0)
    before = np.full((H, W), 60, np.uint8)
    after = before.copy()
    after[5, 70], after[50, 2] = 200, 15
    camera.feed(before, 0)
    events = camera.feed(after, 10_000)
    on, off = events.p == 1, events.p == 0
    assert set(zip(events.y[on].tolist(), events.x[on].tolist(), strict=True)) == {(5, 70)}
    assert set(zip(events.y[off].tolist(), events.x[off].tolist(), strict=True)) == {(50, 2)}
    assert 0 <= events.t.min() and events.t.max() < 10_000


def test_sixd_is_the_first_two_columns_one_after_the_other():
    torch = pytest.importorskip("torch")
    R = rotvec_to_rotmat([0.3, -0.7, 1.1])
    sixd = rotmat_to_sixd(torch.as_tensor(R))
    np.testing.assert_allclose(sixd.numpy(), np.concatenate([R[:, 0], R[:, 1]]))
    np.testing.assert_allclose(sixd_to_rotmat(sixd).numpy(), R, atol=1e-7)


def test_rotation_vectors_turn_anticlockwise():
    np.testing.assert_allclose(
        rotvec_to_rotmat([0.0, np.pi / 2, 0.0]) @ [0.0, 0.0, 1.0], [1.0, 0.0, 0.0], atol=1e-12
    )


def test_left_and_right_joints_are_named_side_last_and_mirror_each_other():
    for index, name in enumerate(SMPL_SKELETON.joints):
        partner = SMPL_SKELETON.joints[SMPL_SKELETON.flip[index]]
        part, _, side = name.rpartition("_")
        opposite = {"left": "right", "right": "left"}.get(side)
        assert partner == (f"{part}_{opposite}" if opposite else name)


def test_the_rest_pose_has_its_left_at_plus_x_and_its_head_up():
    torch, default = pytest.importorskip("torch"), pytest.importorskip("eventhpe.body.default")
    joints = default.open_body().rest_joints(torch.zeros(1, 10))[0].numpy()
    at = {name: joints[SMPL_SKELETON.index(name)] for name in SMPL_SKELETON.joints}
    for part in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist"):
        assert at[f"{part}_left"][0] > 0 > at[f"{part}_right"][0]
    assert at["head"][1] > at["pelvis"][1] > at["ankle_left"][1]
    assert at["foot_left"][2] > at["ankle_left"][2], "toes point to +z"
