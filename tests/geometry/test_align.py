from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from eventhpe.errors import ShapeError
from eventhpe.geometry.align import align_similarity, fit_similarity


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10_000), frames=st.sampled_from([(), (1,), (2,), (3,), (4, 2)]), n=st.integers(4, 24)
)
def test_recovers_a_random_similarity(seed: int, frames: tuple[int, ...], n: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(*frames, n, 3))
    count = int(np.prod(frames, dtype=int))
    R = Rotation.random(count, random_state=seed).as_matrix().reshape(*frames, 3, 3)
    scale, t = rng.uniform(0.2, 5, frames), rng.normal(size=(*frames, 3))
    target = np.asarray(scale)[..., None, None] * points @ np.swapaxes(R, -1, -2) + t[..., None, :]
    fit = fit_similarity(points, target)
    np.testing.assert_allclose(fit.R, R, atol=1e-8)
    np.testing.assert_allclose(fit.scale, scale, rtol=1e-8)
    np.testing.assert_allclose(fit.t, t, atol=1e-8)
    np.testing.assert_allclose(fit.apply(points), target, atol=1e-8)


def test_a_mirrored_set_is_not_mirrored_back() -> None:
    points = np.random.default_rng(0).normal(size=(3, 10, 3))
    mirrored = points * [-1, 1, 1]
    fit = fit_similarity(points, mirrored)
    np.testing.assert_allclose(np.linalg.det(fit.R), 1.0)
    assert np.linalg.norm(fit.apply(points) - mirrored, axis=-1).mean() > 0.1


def test_is_the_least_squares_optimum() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 12, 3))
    fit = fit_similarity(a, b)
    best = np.square(fit.apply(a) - b).sum()
    for _ in range(50):
        R = fit.R @ Rotation.from_rotvec(rng.normal(scale=0.1, size=3)).as_matrix()
        other = fit.scale * rng.uniform(0.9, 1.1) * a @ R.T + fit.t + rng.normal(scale=0.05, size=3)
        assert np.square(other - b).sum() > best


def test_flat_line_and_point_sets() -> None:
    rng = np.random.default_rng(2)
    R = Rotation.random(random_state=3).as_matrix()
    flat = rng.normal(size=(8, 3)) * [1, 1, 0]
    line = rng.normal(size=(8, 1)) * np.array([1.0, 2.0, 3.0])
    for points in (flat, line):
        target = 2.0 * points @ R.T + 1.0
        fit = fit_similarity(points, target)
        np.testing.assert_allclose(fit.apply(points), target, atol=1e-8)
        assert np.linalg.det(fit.R) == pytest.approx(1.0)
    point = np.ones((8, 3))
    fit = fit_similarity(point, rng.normal(size=(8, 3)))
    assert fit.scale == 0.0 and np.isfinite(fit.t).all() and np.linalg.det(fit.R) == pytest.approx(1.0)
    collapsed = align_similarity(flat, point)
    np.testing.assert_allclose(collapsed, point, atol=1e-12)


def test_without_scale() -> None:
    points = np.random.default_rng(4).normal(size=(5, 9, 3))
    R = Rotation.random(random_state=1).as_matrix()
    fit = fit_similarity(points, 3.0 * points @ R.T, with_scale=False)
    np.testing.assert_allclose(fit.scale, 1.0)
    np.testing.assert_allclose(fit.R, np.broadcast_to(R, (5, 3, 3)), atol=1e-8)


def test_input_errors_and_no_mutation() -> None:
    a = np.random.default_rng(0).normal(size=(4, 3))
    kept = a.copy()
    align_similarity(a, 2 * a)
    np.testing.assert_array_equal(a, kept)
    with pytest.raises(ShapeError, match=r"\(\*, N, 3\)"):
        fit_similarity(a, a[:3])
    with pytest.raises(ShapeError, match="NaN"):
        fit_similarity(a, np.full((4, 3), np.nan))
