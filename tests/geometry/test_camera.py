"""Camera: projection against OpenCV, decomposition of projection matrices, crops, refusals."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from eventhpe.errors import CalibrationError, ShapeError
from eventhpe.geometry.camera import Camera

RNG = np.random.default_rng(0)


def camera(distorted: bool = True) -> Camera:
    return Camera(
        K=np.array([[310.0, 0, 170.5], [0, 305.0, 128.25], [0, 0, 1]]),
        size=(260, 346),
        dist=np.array([-0.3, 0.12, 0.001, -0.002, -0.02]) if distorted else np.zeros(5),
        R_world_to_cam=Rotation.from_rotvec([0.3, -0.8, 0.2]).as_matrix(),
        t_world_to_cam=np.array([0.1, -0.4, 3.5]),
    )


@pytest.mark.parametrize("distorted", [False, True])
def test_projection_agrees_with_opencv(distorted: bool) -> None:
    cam = camera(distorted)
    world = RNG.normal(0, 0.6, (200, 3))
    rvec, _ = cv2.Rodrigues(cam.R_world_to_cam)
    expected, _ = cv2.projectPoints(world, rvec, cam.t_world_to_cam, cam.K, cam.dist)
    found = cam.project(cam.to_camera_frame(world))
    np.testing.assert_allclose(found, expected.reshape(-1, 2), atol=1e-8)


def test_axes_and_pixel_centres() -> None:
    cam = Camera.from_focal(100.0, (11, 21))
    np.testing.assert_allclose(cam.project([0, 0, 2.0]), [10, 5])  # the middle pixel's centre is an integer
    right, down = cam.project([0.1, 0, 1]), cam.project([0, 0.1, 1])
    assert right[0] == pytest.approx(20) and down[1] == pytest.approx(15)


def test_points_behind_the_camera_have_no_pixel() -> None:
    cam = camera(False)
    uv = cam.project([[0, 0, 1.0], [0, 0, 0.0], [0.1, 0, -1.0]])
    assert np.isfinite(uv[0]).all() and np.isnan(uv[1:]).all()


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("unit", ["m", "mm"])
def test_projection_matrix_is_split_up_to_sign_and_scale(sign: float, unit: str) -> None:
    cam = camera(False)
    scale = 1000.0 if unit == "mm" else 1.0
    P = sign * 7.3 * cam.K @ np.column_stack([cam.R_world_to_cam, cam.t_world_to_cam * scale])
    found = Camera.from_projection_matrix(P, cam.size, unit=unit)
    np.testing.assert_allclose(found.K, cam.K, atol=1e-8)
    np.testing.assert_allclose(found.R_world_to_cam, cam.R_world_to_cam, atol=1e-10)
    np.testing.assert_allclose(found.t_world_to_cam, cam.t_world_to_cam, atol=1e-9)
    world = RNG.normal(0, 0.5, (20, 3))
    h = np.column_stack([world * scale, np.ones(20)]) @ P.T
    np.testing.assert_allclose(found.project(found.to_camera_frame(world)), h[:, :2] / h[:, 2:], atol=1e-8)


def test_crop_moves_pixels_as_resizing_the_image_does() -> None:
    cam = camera()
    points = cam.to_camera_frame(RNG.normal(0, 0.4, (30, 3)))
    left, top, side, out = 40.0, 12.5, 200.0, 128
    cropped = cam.crop(left, top, side, out)
    uv = cam.project(points)
    # on the grid where pixel 0 covers [0, 1), cropping and scaling is (u + 0.5 - left) * out / side
    np.testing.assert_allclose(
        cropped.project(points), (uv + 0.5 - [left, top]) * out / side - 0.5, atol=1e-9
    )
    assert cropped.size == (128, 128)
    np.testing.assert_allclose(cam.crop(0, 0, 260, 260).K, cam.K)


def test_bad_cameras_are_refused() -> None:
    cam = camera()
    with pytest.raises(ShapeError, match="dist"):
        replace(cam, dist=np.zeros(4))
    with pytest.raises(CalibrationError, match="finite"):
        replace(cam, t_world_to_cam=np.array([0, np.nan, 0]))
    with pytest.raises(CalibrationError, match="focal"):
        replace(cam, K=np.diag([-1.0, 1, 1]))
    with pytest.raises(CalibrationError, match="size"):
        replace(cam, size=(0, 10))
    with pytest.raises(CalibrationError, match="singular"):
        Camera.from_projection_matrix(np.tile([1.0, 2, 3, 4], (3, 1)), (10, 10))
    with pytest.raises(CalibrationError, match="unit"):
        Camera.from_projection_matrix(np.eye(3, 4), (10, 10), unit="cm")
    with pytest.raises(ShapeError, match="projection matrix"):
        Camera.from_projection_matrix(np.eye(4), (10, 10))


def test_arrays_are_copied_and_read_only() -> None:
    K = np.array([[100.0, 0, 5], [0, 100, 5], [0, 0, 1]])
    cam = Camera(K=K, size=(10, 10))
    K[0, 0] = 1
    assert cam.K[0, 0] == 100
    with pytest.raises(ValueError, match="read-only"):
        cam.K[0, 0] = 2


def test_undistort_undoes_distortion():
    dist = np.array([-0.35, 0.12, 0.002, -0.001, 0.01])
    camera = Camera(K=np.array([[210.0, 0.5, 170], [0, 208, 131], [0, 0, 1]]), size=(260, 346), dist=dist)
    ideal = Camera(K=camera.K, size=camera.size)
    rng = np.random.default_rng(0)
    points = np.stack([rng.uniform(-0.6, 0.6, 400), rng.uniform(-0.5, 0.5, 400), np.ones(400)], -1)
    assert np.abs(camera.undistort(camera.project(points)) - ideal.project(points)).max() < 0.02
    assert np.allclose(ideal.undistort([[3.0, 4.0]]), [[3.0, 4.0]])
    assert np.isnan(camera.undistort([[5000.0, 5000.0]])).all()
