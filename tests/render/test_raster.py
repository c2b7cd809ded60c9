"""The rasteriser against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from eventhpe.errors import ShapeError, UnitError
from eventhpe.geometry.camera import Camera
from eventhpe.render.raster import NEAR_M, RasterBuffers, depth_visible, mesh_flow, rasterize

QUAD = np.array([[0, 1, 2], [0, 2, 3]])


def sphere(
    radius: float, centre: tuple[float, float, float], rings: int = 60
) -> tuple[np.ndarray, np.ndarray]:
    """Closed sphere, faces anticlockwise seen from outside."""
    theta = np.linspace(0, np.pi, rings + 1)
    phi = np.arange(2 * rings) * np.pi / rings
    th, ph = np.meshgrid(theta, phi, indexing="ij")
    v = np.stack([np.sin(th) * np.cos(ph), np.sin(th) * np.sin(ph), np.cos(th)], -1).reshape(-1, 3)
    n = 2 * rings
    i, j = np.meshgrid(np.arange(rings), np.arange(n), indexing="ij")
    a, b, c, d = i * n + j, (i + 1) * n + j, (i + 1) * n + (j + 1) % n, i * n + (j + 1) % n
    f = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    return v * radius + centre, f


def quad(x0: float, x1: float, y0: float, y1: float, z: float) -> np.ndarray:
    return np.array([[x0, y0, z], [x0, y1, z], [x1, y1, z], [x1, y0, z]], float)


@pytest.fixture
def camera() -> Camera:
    return Camera.from_focal(100.0, (80, 120))


def unproject(camera: Camera, z: float, u: float, v: float) -> tuple[float, float]:
    return (u - camera.K[0, 2]) / camera.K[0, 0] * z, (v - camera.K[1, 2]) / camera.K[1, 1] * z


def test_quad_covers_exactly_the_pixels_whose_centres_it_holds(camera: Camera) -> None:
    (x0, y0), (x1, y1) = unproject(camera, 2.0, 9.6, 20.4), unproject(camera, 2.0, 30.4, 40.6)
    frame = rasterize(quad(x0, x1, y0, y1, 2.0), QUAD, camera)
    expected = np.zeros((80, 120), bool)
    expected[21:41, 10:31] = True
    np.testing.assert_array_equal(frame.coverage > 0, expected)
    np.testing.assert_allclose(frame.depth[expected], 2.0, rtol=1e-6)
    assert np.isinf(frame.depth[~expected]).all()
    assert set(np.unique(frame.face_id)) == {-1, 0, 1}
    assert frame.attributes.shape == (80, 120, 0)


@pytest.mark.parametrize("supersample", [1, 2, 3, 4])
def test_supersampled_coverage_is_the_share_of_the_pixel(camera: Camera, supersample: int) -> None:
    # edges at u = 10.25, v = 20.25 cut pixels 10 and 20 at three quarters of their extent
    (x0, y0), (x1, y1) = unproject(camera, 2.0, 10.25, 20.25), unproject(camera, 2.0, 30.5, 40.5)
    frame = rasterize(quad(x0, x1, y0, y1, 2.0), QUAD, camera, supersample=supersample)
    centres = (np.arange(supersample) + 0.5) / supersample - 0.5
    share = np.mean(centres >= 0.25)
    np.testing.assert_allclose(frame.coverage[25:40, 10], share)
    np.testing.assert_allclose(frame.coverage[20, 15:30], share)
    np.testing.assert_allclose(frame.coverage[20, 10], share**2)
    assert (frame.coverage[21:41, 11:31] == 1).all()
    if supersample == 4:
        assert share == 0.25


@pytest.mark.parametrize("cull", [False, True])
def test_sphere_silhouette_and_depth_match_closed_form(camera: Camera, cull: bool) -> None:
    radius, centre = 0.5, np.array([0.2, -0.1, 3.0])
    v, f = sphere(radius, tuple(centre), rings=120)
    frame = rasterize(v, f, camera, supersample=4, cull=cull)
    cols, rows = np.meshgrid(np.arange(120), np.arange(80))
    ray = np.stack([(cols - camera.K[0, 2]) / 100, (rows - camera.K[1, 2]) / 100, np.ones_like(cols)], -1)
    b, rr = ray @ centre, (ray**2).sum(-1)
    disc = b**2 - rr * (centre @ centre - radius**2)
    # the silhouette of a sphere is a cone, cut by the image plane in an ellipse: compare its area
    d2 = centre @ centre
    sin2 = radius**2 / d2
    cos_axis = centre[2] / np.sqrt(d2)
    area = np.pi * 100**2 * sin2 * np.sqrt(1 - sin2) * cos_axis / (cos_axis**2 - sin2) ** 1.5
    assert abs(frame.coverage.sum() / area - 1) < 0.003
    one = rasterize(v, f, camera, cull=cull)
    inside = disc > 0.002 * disc.max()
    depth = (b - np.sqrt(np.maximum(disc, 0))) / rr
    assert (one.coverage[disc > 0.01 * disc.max()] == 1).all()
    assert (one.coverage[disc < -0.01 * disc.max()] == 0).all()
    inside &= one.coverage == 1
    np.testing.assert_allclose(one.depth[inside], depth[inside], atol=0.01)
    core = disc > 0.5 * disc.max()
    np.testing.assert_allclose(one.depth[core], depth[core], atol=4e-4)


def test_attributes_of_a_slanted_plane_are_perspective_correct(camera: Camera) -> None:
    # plane with texture coordinates (s, t); x from -1 to 1, depth from 1.5 to 6
    corners = np.array([[-1, -0.6, 1.5], [-1, 0.6, 1.5], [1, 0.6, 6.0], [1, -0.6, 6.0]])
    texture = np.array([[0, 0], [0, 1], [1, 1], [1, 0]], np.float32)
    frame = rasterize(corners, QUAD, camera, attributes=texture)
    rows, cols = np.nonzero(frame.coverage)
    assert len(rows) > 1000
    rx, ry = (cols - camera.K[0, 2]) / 100, (rows - camera.K[1, 2]) / 100
    # x = -1 + 2 s, z = 1.5 + 4.5 s, rx = x / z
    s = (1 + 1.5 * rx) / (2 - 4.5 * rx)
    z = 1.5 + 4.5 * s
    t = (ry * z + 0.6) / 1.2
    np.testing.assert_allclose(frame.attributes[rows, cols, 0], s, atol=1e-5)
    np.testing.assert_allclose(frame.attributes[rows, cols, 1], t, atol=1e-5)
    np.testing.assert_allclose(frame.depth[rows, cols], z, rtol=1e-5)
    # affine interpolation would be far off
    u_left, u_right = cols.min(), cols.max()
    assert np.abs((cols - u_left) / (u_right - u_left) - s).max() > 0.1


def test_floor_through_the_camera_is_cut_not_dropped(camera: Camera) -> None:
    floor = np.array([[-50, 1, -50], [-50, 1, 50], [50, 1, 50], [50, 1, -50]], float)
    frame = rasterize(floor, QUAD, camera, attributes=floor)
    rows = np.arange(80)
    ry = (rows - camera.K[1, 2]) / 100
    visible = ry > 1 / 50 + 1e-9
    assert (frame.coverage[visible] == 1).all() and (frame.coverage[~visible] == 0).all()
    np.testing.assert_allclose(frame.depth[visible], np.repeat(1 / ry[visible, None], 120, 1), rtol=1e-4)
    np.testing.assert_allclose(frame.attributes[visible][..., 2], frame.depth[visible], rtol=1e-4)
    assert set(np.unique(frame.face_id[visible])) <= {0, 1}


def test_near_plane_cuts_at_five_centimetres(camera: Camera) -> None:
    # a wall along the optical axis, 1 cm to the right, from z = -1 to 1: it appears at u = cx + f * 0.01 / z
    wall = np.array([[0.01, -9, -1], [0.01, 9, -1], [0.01, 9, 1], [0.01, -9, 1]], float)
    frame = rasterize(wall, QUAD, camera)
    assert frame.coverage.any()
    assert frame.depth.min() >= NEAR_M - 1e-6
    last = camera.K[0, 2] + 100 * 0.01 / NEAR_M
    cols = np.nonzero(frame.coverage.any(0))[0]
    assert cols.max() == np.floor(last)
    assert rasterize(quad(-1, 1, -1, 1, 0.04), QUAD, camera).coverage.sum() == 0


def test_two_bodies_hide_each_other_in_any_order(camera: Camera) -> None:
    near, f = sphere(0.3, (0.1, 0, 2.0), 20)
    far, _ = sphere(0.6, (0, 0, 3.0), 20)
    a = rasterize(np.concatenate([near, far]), np.concatenate([f, f + len(near)]), camera)
    b = rasterize(np.concatenate([far, near]), np.concatenate([f, f + len(far)]), camera)
    np.testing.assert_array_equal(a.depth, b.depth)
    alone = rasterize(near, f, camera)
    np.testing.assert_array_equal(a.face_id[alone.coverage > 0], alone.face_id[alone.coverage > 0])
    behind = rasterize(far, f, camera, occluder_depth=alone.depth)
    assert not (behind.coverage[alone.coverage > 0]).any()
    np.testing.assert_array_equal(np.minimum(behind.depth, alone.depth), a.depth)
    in_front = rasterize(near, f, camera, occluder_depth=rasterize(far, f, camera).depth)
    np.testing.assert_array_equal(in_front.coverage, alone.coverage)


def test_buffers_leave_no_trace(camera: Camera) -> None:
    buffers = RasterBuffers()
    v, f = sphere(0.3, (-0.4, 0.1, 2.0), 20)
    w = v + np.array([0.8, 0, 0])
    rasterize(w, f, camera, buffers=buffers, supersample=2)
    rasterize(v, f, camera, buffers=buffers, occluder_depth=np.full((80, 120), 1.0, np.float32))
    for mesh, s in ((v, 1), (w, 1), (v, 2), (v, 2)):
        fresh, reused = (rasterize(mesh, f, camera, supersample=s, buffers=b) for b in (None, buffers))
        np.testing.assert_array_equal(fresh.depth, reused.depth)
        np.testing.assert_array_equal(fresh.face_id, reused.face_id)


def test_cull_drops_the_inside_only(camera: Camera) -> None:
    v, f = sphere(0.5, (0, 0, 3.0), 40)
    np.testing.assert_array_equal(rasterize(v, f, camera).face_id, rasterize(v, f, camera, cull=True).face_id)
    assert rasterize(v, f[:, ::-1], camera, cull=True).depth[40, 60] > 3.4  # the far wall, seen from inside


def test_distortion_moves_the_mesh_and_never_folds(camera: Camera) -> None:
    bent = Camera(K=camera.K, size=camera.size, dist=np.array([-0.4, 0.1, 0.001, -0.001, 0.0]))
    v, f = sphere(0.05, (0.9, 0.5, 2.0), 10)
    frame = rasterize(v, f, bent, supersample=4)
    w = frame.coverage
    centre = [(w.sum(0) * np.arange(120)).sum() / w.sum(), (w.sum(1) * np.arange(80)).sum() / w.sum()]
    np.testing.assert_allclose(centre, bent.project(np.array([0.9, 0.5, 2.0])), atol=0.1)
    barrel = Camera(K=camera.K, size=camera.size, dist=np.array([-0.4, 0, 0, 0, 0]))
    far_off, f = sphere(0.1, (3.16, 0, 2.0), 10)  # r = 1.58 maps to 0.002 by the bare polynomial
    assert abs(barrel.project(np.array([3.16, 0, 2.0]))[0] - camera.K[0, 2]) < 1
    assert rasterize(far_off, f, barrel).coverage.sum() == 0


def test_depth_visible(camera: Camera) -> None:
    v, f = sphere(0.5, (0, 0, 3.0), 40)
    depth = rasterize(v, f, camera).depth
    points = np.array([[0, 0, 2.5], [0, 0, 3.5], [0, 0, 1.0], [5.0, 0, 9.0], [9.0, 0, 3.0], [0, 0, -1.0]])
    seen = depth_visible(points, depth, camera, 0.02)
    np.testing.assert_array_equal(seen, [True, False, True, True, False, False])
    assert depth_visible(np.array([[0, 0, 3.0]]), depth, camera, 0.6).all()


def test_bad_input_is_named(camera: Camera) -> None:
    v, f = sphere(0.5, (0, 0, 3.0), 4)
    with pytest.raises(ShapeError, match="faces point"):
        rasterize(v[:5], f, camera)
    with pytest.raises(ShapeError, match="supersample"):
        rasterize(v, f, camera, supersample=5)
    with pytest.raises(ShapeError, match="attributes"):
        rasterize(v, f, camera, attributes=np.zeros((3, 1)))
    with pytest.raises(UnitError, match="not finite"):
        rasterize(np.full_like(v, np.nan), f, camera)
    with pytest.raises(ShapeError, match="same shape"):
        mesh_flow(v, v[:-1], f, camera, 0, 1)
    empty = rasterize(np.zeros((0, 3)), np.zeros((0, 3), int), camera)
    assert empty.coverage.sum() == 0
