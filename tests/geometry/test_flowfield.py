"""FlowField, and the exact flow of a mesh that fills it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eventhpe.errors import ShapeError
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.flowfield import FlowField
from eventhpe.render.raster import depth_visible, mesh_flow, rasterize


def grid(n: int, half: float) -> tuple[np.ndarray, np.ndarray]:
    """Square sheet z = 0 with n x n vertices."""
    x, y = np.meshgrid(np.linspace(-half, half, n), np.linspace(-half, half, n))
    v = np.stack([x, y, np.zeros_like(x)], -1).reshape(-1, 3)
    i = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    return v, np.concatenate([np.stack([i, i + n, i + n + 1], -1), np.stack([i, i + n + 1, i + 1], -1)])


def bilinear(image: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    x, y = np.floor(u).astype(int), np.floor(v).astype(int)
    a, b = u - x, v - y
    return (
        image[y, x] * (1 - a) * (1 - b) + image[y, x + 1] * a * (1 - b)
        + image[y + 1, x] * (1 - a) * b + image[y + 1, x + 1] * a * b
    )  # fmt: skip


def test_shapes_are_checked() -> None:
    valid = np.ones((4, 5), bool)
    FlowField(np.zeros((2, 4, 5), np.float32), valid, 0, 1)
    with pytest.raises(ShapeError, match="moveaxis"):
        FlowField(np.zeros((4, 5, 2), np.float32), valid, 0, 1)
    with pytest.raises(ShapeError, match="valid"):
        FlowField(np.zeros((2, 4, 5), np.float32), valid.T, 0, 1)


def test_translation_and_approach_match_closed_form() -> None:
    camera = Camera.from_focal(200.0, (120, 160))
    v, f = grid(9, 0.4)
    start, shift = v + np.array([0, 0, 2.0]), np.array([0.03, -0.02, -0.25])
    flow = mesh_flow(start, start + shift, f, camera, 0, 10_000)
    rows, cols = np.nonzero(flow.valid)
    assert len(rows) > 5000
    X = np.stack([(cols - 79.5) / 200 * 2, (rows - 59.5) / 200 * 2], -1) + shift[:2]
    expected = X / 1.75 * 200 + [79.5, 59.5] - np.stack([cols, rows], -1)
    np.testing.assert_allclose(flow.uv[:, rows, cols].T, expected, atol=1e-3)
    assert (flow.uv[:, ~flow.valid] == 0).all() and not flow.occluded[~flow.valid].any()
    assert (flow.t0_us, flow.t1_us) == (0, 10_000)


@pytest.mark.parametrize("dist", [(0, 0, 0, 0, 0), (-0.3, 0.1, 0.001, 0.002, 0)])
def test_flow_carries_visible_vertices_to_their_next_projection(shared: Path, dist: tuple) -> None:
    body = np.load(shared / "body" / "prototype.npz")
    f = body["f"].astype(np.int64)
    rest = body["v_template"].astype(float) * [1, -1, -1]
    camera = Camera(K=Camera.from_focal(300.0, (260, 346)).K, size=(260, 346), dist=np.array(dist))
    angle = 0.06
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    v0 = rest + np.array([0.1, 0, 2.6])
    v1 = rest @ turn.T + [0.13, -0.02, 2.55]
    flow = mesh_flow(v0, v1, f, camera, 0, 1)
    uv0, uv1 = camera.project(v0), camera.project(v1)
    inside = (uv0 > 1).all(1) & (uv0 < [344, 258]).all(1)
    visible = inside & depth_visible(v0, flow.depth, camera, 0.003)
    # interior: all four pixels around the vertex lie on one smooth piece of surface
    x, y = (np.floor(np.where(inside, uv0[:, k], 0)).astype(int) for k in (0, 1))
    corners = np.stack([flow.depth[y + j, x + i] for j in (0, 1) for i in (0, 1)])
    with np.errstate(invalid="ignore"):
        interior = visible & (np.ptp(corners, axis=0) < 0.01)
    assert interior.sum() > 1000
    u, v = uv0[interior].T
    moved = np.stack([u + bilinear(flow.uv[0], u, v), v + bilinear(flow.uv[1], u, v)], -1)
    error = np.linalg.norm(moved - uv1[interior], axis=1)
    assert np.abs(uv1 - uv0)[interior].max() > 3
    assert np.quantile(error, 0.99) < 0.05 and np.median(error) < 0.01


def test_what_gets_hidden_is_marked() -> None:
    camera = Camera.from_focal(200.0, (120, 160))
    v, f = grid(5, 1.0)
    small, g = grid(5, 0.15)
    faces = np.concatenate([f, g + len(v)])
    wall = v + np.array([0, 0, 3.0])
    before = np.concatenate([wall, small + np.array([-0.4, 0, 2.0])])
    after = np.concatenate([wall, small + np.array([0.4, 0, 2.0])])
    flow = mesh_flow(before, after, faces, camera, 0, 1)
    assert flow.valid[59, 119] and flow.occluded[59, 119]  # wall where the small sheet goes
    assert flow.valid[59, 39] and not flow.occluded[59, 39]  # the sheet itself
    np.testing.assert_allclose(flow.uv[:, 59, 39], [80, 0], atol=1e-3)
    np.testing.assert_allclose(flow.uv[:, 20, 80], 0, atol=1e-3)
    now_hidden = rasterize(small + np.array([0.4, 0, 2.0]), g, camera).coverage > 0
    assert (flow.occluded == (now_hidden & (flow.depth > 2.5))).mean() > 0.99
    # out of the image, and behind the camera
    away = mesh_flow(wall, wall + np.array([5.0, 0, 0]), f, camera, 0, 1)
    assert away.valid.any() and away.occluded[away.valid].all()
    behind = mesh_flow(wall, wall - np.array([0, 0, 4.0]), f, camera, 0, 1)
    assert not behind.valid.any()
