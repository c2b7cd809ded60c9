"""Projection and triangulation by 3x4 matrices, with the golden sample of DHP19's evaluation."""

from __future__ import annotations

import re

import numpy as np
import pytest

from eventhpe.data.dhp19_cameras import CAMERA_POSITIONS_MM, PROJECTION_MATRICES
from eventhpe.errors import CalibrationError, ShapeError
from eventhpe.geometry.skeleton import DHP19_SKELETON
from eventhpe.geometry.triangulate import camera_centre, project_dhp19, triangulate_rays, triangulate_views

# S16_2_1, frame 24: (v, u) of the 13 markers, labels and predictions of the published network, by camera.
LABEL = {
    2: "[45,124][72,129][70,158][101,142][111,169][126,130][129,151][134,135][144,156][172,113][178,149]"
    "[216,129][231,144]",
    3: "[36,197][71,163][58,193][101,155][92,203][123,183][114,199][138,158][117,224][171,198][163,194]"
    "[214,187][211,204]",
}
PREDICTED = {
    2: "[32,132][68,131][68,161][100,142][106,171][118,135][127,157][126,130][147,159][168,117][175,154]"
    "[211,134][223,153]",
    3: "[24,186][67,160][54,189][105,151][88,199][118,179][109,196][136,156][112,220][168,195][163,195]"
    "[210,184][206,202]",
}
FRONT = [PROJECTION_MATRICES[2], PROJECTION_MATRICES[3]]
ALL = [PROJECTION_MATRICES[k] for k in (1, 2, 3, 4)]


def pixels(sample: dict[int, str]) -> np.ndarray:
    """(2, 13, 2) uv of cameras 2 and 3."""
    vu = [[(int(v), int(u)) for v, u in re.findall(r"\[(\d+),(\d+)\]", sample[k])] for k in (2, 3)]
    return np.array(vu, float)[..., ::-1]


def marker(name: str) -> int:
    return DHP19_SKELETON.index(name)


@pytest.mark.parametrize("centres", [None, CAMERA_POSITIONS_MM[[1, 2]]], ids=["of matrices", "published"])
def test_the_golden_sample_of_the_evaluation(centres: np.ndarray | None) -> None:
    label, predicted = pixels(LABEL), pixels(PREDICTED)
    px = np.linalg.norm(predicted - label, axis=-1).mean(-1)
    np.testing.assert_allclose(px, [6.904832, 5.795601], atol=1e-6)

    of_predicted, of_label = (
        triangulate_rays(uv, FRONT, centres=centres, image_height=260) for uv in (predicted, label)
    )
    for name, xyz in {
        "head": (14.20, -328.96, 1876.17),
        "shoulder_right": (-171.58, -179.50, 1553.95),
        "hand_left": (368.01, -398.92, 1006.10),
        "foot_left": (142.33, -292.21, 93.40),
    }.items():
        np.testing.assert_allclose(of_predicted[marker(name)], xyz, atol=0.006)
    np.testing.assert_allclose(of_label[marker("head")], (23.55, -433.85, 1780.88), atol=0.006)
    np.testing.assert_allclose(of_label[marker("foot_left")], (107.01, -364.14, 55.31), atol=0.006)
    assert np.linalg.norm(of_predicted - of_label, axis=-1).mean() == pytest.approx(64.014, abs=5e-4)


@pytest.mark.parametrize("camera", [1, 2, 3, 4])
def test_centres_of_the_matrices_are_the_published_ones(camera: int) -> None:
    np.testing.assert_allclose(
        camera_centre(PROJECTION_MATRICES[camera]), CAMERA_POSITIONS_MM[camera - 1], rtol=1e-12
    )


def test_golden_projections() -> None:
    golden = {
        1: ((226.327, 240.891), (234.719, 141.061), (238.356, 173.292)),
        2: ((160.948, 216.613), (159.145, 125.014), (201.546, 133.868)),
        3: ((171.924, 207.309), (164.930, 119.527), (198.914, 106.416)),
        4: ((195.347, 227.889), (191.474, 132.923), (192.561, 108.668)),
    }
    for camera, expected in golden.items():
        uv, valid = project_dhp19(PROJECTION_MATRICES[camera], [(0, 0, 0), (0, 0, 1000), (500, 0, 1000)])
        np.testing.assert_allclose(uv, expected, atol=1e-3)
        assert valid.all()


@pytest.mark.parametrize(
    ("uv", "size", "valid"),
    [
        ((0.0, 100.0), (260, 344), False),
        ((0.3, 100.0), (260, 344), True),  # column 0, but not at 0
        ((100.0, 0.0), (260, 344), False),
        ((344.0, 260.0), (260, 344), True),  # as published, beyond the last pixel
        ((344.1, 100.0), (260, 344), False),
        ((344.1, 100.0), (260, 346), True),
        ((100.0, 260.1), (260, 344), False),
        ((-3.0, 100.0), (260, 344), False),
        ((np.nan, np.nan), (260, 344), False),
    ],
)
def test_what_counts_as_a_label(uv: tuple[float, float], size: tuple[int, int], valid: bool) -> None:
    # A camera that sees (x, y, 1) at u = x and 260 - v = y.
    P = np.eye(3, 4)
    at, ok = project_dhp19(P, (uv[0], 260 - uv[1], 1.0), size=size)
    np.testing.assert_array_equal(at, uv)
    assert ok == valid


def scene(n: int = 50) -> tuple[np.ndarray, np.ndarray]:
    """(n, 3) points in the volume and their (4, n, 2) exact pixels."""
    xyz = np.random.default_rng(3).uniform((-800, -800, 0), (800, 800, 2000), (n, 3))
    return xyz, np.stack([project_dhp19(P, xyz)[0] for P in ALL])


@pytest.mark.parametrize("method", [triangulate_rays, triangulate_views])
def test_exact_pixels_give_the_point_back(method) -> None:
    xyz, uv = scene()
    np.testing.assert_allclose(method(uv[1:3], FRONT, image_height=260), xyz, atol=1e-5)
    np.testing.assert_allclose(method(uv, ALL, image_height=260), xyz, atol=1e-5)
    # Any batch shape, and matrices with v downwards instead.
    down = [np.stack([P[0], 260 * P[2] - P[1], P[2]]) for P in ALL]
    np.testing.assert_allclose(method(uv.reshape(4, 5, 10, 2), down), xyz.reshape(5, 10, 3), atol=1e-5)


@pytest.mark.parametrize("method", [triangulate_rays, triangulate_views])
def test_unseen_views_and_weights(method) -> None:
    xyz, uv = scene(6)
    uv[0, 0] = np.nan  # three views are left
    uv[1:, 1] = np.nan  # one is left
    uv[:, 2] = np.nan
    uv[3, 3] += 40.0  # wrong, and its weight is 0
    weights = np.ones(uv.shape[:2])
    weights[3, 3] = 0.0
    weights[:3, 4] = 0.0  # one view left
    found = method(uv, ALL, weights=weights, image_height=260)
    assert np.isnan(found[[1, 2, 4]]).all()
    np.testing.assert_allclose(found[[0, 3, 5]], xyz[[0, 3, 5]], atol=1e-5)
    assert np.linalg.norm(method(uv, ALL, image_height=260)[3] - xyz[3]) > 20


def test_views_minimise_the_weighted_pixel_error() -> None:
    xyz, uv = scene(400)
    rng = np.random.default_rng(5)
    sigma = rng.uniform(0.5, 8.0, uv.shape[:2])
    seen = uv + sigma[..., None] * rng.normal(size=uv.shape)
    weights = sigma**-2

    def cost(points: np.ndarray) -> np.ndarray:
        projected = np.stack([project_dhp19(P, points)[0] for P in ALL])
        return (weights * np.square(projected - seen).sum(-1)).sum(0)

    found = triangulate_views(seen, ALL, weights=weights, image_height=260)
    rays = triangulate_rays(seen, ALL, image_height=260)
    assert (cost(found) <= cost(rays) + 1e-9).all()
    for axis in np.eye(3):
        assert (cost(found) < cost(found + 0.5 * axis)).all() and (
            cost(found) < cost(found - 0.5 * axis)
        ).all()
    # Knowing how much each view is worth pays.
    errors = [
        np.linalg.norm(p - xyz, axis=-1).mean()
        for p in (found, triangulate_views(seen, ALL, image_height=260), rays)
    ]
    assert errors[0] < 0.8 * min(errors[1:])


def test_parallel_rays_stay_finite() -> None:
    P = np.array([[300.0, 0, 170, 0], [0, 300, 130, 0], [0, 0, 1, 1000]])
    found = triangulate_rays(np.full((2, 2), 150.0), [P, P])
    assert np.isfinite(found).all()


def test_refusals() -> None:
    _, uv = scene(2)
    with pytest.raises(ShapeError, match="V >= 2"):
        triangulate_rays(uv[:1], ALL[:1])
    with pytest.raises(ShapeError, match="4 matrices"):
        triangulate_rays(uv[:3], ALL)
    with pytest.raises(ShapeError, match="not negative"):
        triangulate_views(uv, ALL, weights=-np.ones((4, 2)))
    with pytest.raises(ShapeError, match=r"centres must be \(4, 3\)"):
        triangulate_rays(uv, ALL, centres=np.zeros((3, 3)))
    with pytest.raises(ShapeError, match=r"\(3, 4\)"):
        camera_centre(np.eye(3))
    with pytest.raises(CalibrationError, match="singular"):
        triangulate_rays(uv[:2], [ALL[0], np.zeros((3, 4))])
    with pytest.raises(ShapeError, match=r"\(\*, 3\)"):
        project_dhp19(ALL[0], np.zeros((5, 2)))
