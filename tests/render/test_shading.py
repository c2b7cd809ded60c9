"""Normals and Lambertian light."""

from __future__ import annotations

import numpy as np
import pytest

from eventhpe.errors import ShapeError, UnitError
from eventhpe.render.shading import Light, shade, vertex_normals

QUAD = np.array([[0, 1, 2], [0, 2, 3]])


def quad(x0: float, x1: float, y0: float, y1: float, z: float) -> np.ndarray:
    return np.array([[x0, y0, z], [x0, y1, z], [x1, y1, z], [x1, y0, z]], float)


def dome(radius: float, centre: tuple[float, float, float], n: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """The part of a sphere that looks at the camera, faces anticlockwise seen from there."""
    x, y = np.meshgrid(np.linspace(-0.65, 0.65, n), np.linspace(-0.65, 0.65, n))
    v = np.stack([x, y, -np.sqrt(1 - x**2 - y**2)], -1).reshape(-1, 3) * radius + centre
    i = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    return v, np.concatenate([np.stack([i, i + n, i + n + 1], -1), np.stack([i, i + n + 1, i + 1], -1)])


def reference_normals(v: np.ndarray, f: np.ndarray) -> np.ndarray:
    out = np.zeros_like(v)
    face = np.cross(v[f[:, 1]] - v[f[:, 0]], v[f[:, 2]] - v[f[:, 0]])
    for k in range(3):
        np.add.at(out, f[:, k], face)
    return out / np.linalg.norm(out, axis=1, keepdims=True)


def test_normals_point_outside_and_match_numpy() -> None:
    v, f = dome(0.7, (0.1, 0.2, 3.0))
    n = vertex_normals(v, f)
    np.testing.assert_allclose(n, reference_normals(v, f), atol=1e-12)
    radial = (v - [0.1, 0.2, 3.0]) / 0.7
    inner = np.abs(radial[:, :2]).max(1) < 0.6
    assert ((n * radial).sum(1)[inner] > 0.999).all()
    assert (vertex_normals(np.zeros((3, 3)), np.array([[0, 1, 2]])) == 0).all()


def test_lambert_by_hand() -> None:
    v = quad(-1, 1, -1, 1, 2.0)  # seen face on, normal (0, 0, -1)
    lights = [Light((0, 0, -5), 2.0), Light((0, -1, -1), 0.5), Light((0, 0, 1), 100.0)]
    expected = 0.4 * (0.1 + 2.0 + 0.5 * np.sqrt(0.5))
    np.testing.assert_allclose(shade(v, QUAD, None, np.full(4, 0.4), lights, 0.1), expected, rtol=1e-6)
    # the same with the faces turned round: open surfaces are lit on both sides
    np.testing.assert_allclose(
        shade(v, QUAD[:, ::-1], None, np.full(4, 0.4), lights, 0.1), expected, rtol=1e-6
    )


def test_colour_channels() -> None:
    v = quad(-1, 1, -1, 1, 2.0)
    out = shade(v, QUAD, None, np.tile([0.1, 0.2, 0.4], (4, 1)), [Light((0, 0, -1), (1.0, 2.0, 3.0))], 0.0)
    np.testing.assert_allclose(out, np.tile([0.1, 0.4, 1.2], (4, 1)), rtol=1e-6)
    np.testing.assert_allclose(shade(v, QUAD, None, np.ones(4), [], 0.3), 0.3, rtol=1e-6)


def test_bad_input_is_named() -> None:
    v = quad(-1, 1, -1, 1, 2.0)
    with pytest.raises(ShapeError, match="direction"):
        Light((0, 0, 0))
    with pytest.raises(UnitError, match="intensity"):
        Light((0, 0, 1), -1.0)
    with pytest.raises(ShapeError, match="albedo"):
        shade(v, QUAD, None, np.ones(3), [])
    with pytest.raises(ShapeError, match="intensities"):
        shade(v, QUAD, None, np.ones((4, 3)), [Light((0, 0, -1), (1.0, 2.0))])
