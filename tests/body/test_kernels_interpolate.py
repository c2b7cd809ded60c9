"""Interpolated poses against scipy's, and where scipy is no help: ends, half turns, tiny angles."""

from __future__ import annotations

import numpy as np
import pytest

from eventhpe.body.kernels_interpolate import slerp_pose
from eventhpe.geometry.rotation import interpolate_rotvec, rotvec_to_rotmat

RNG = np.random.default_rng(0)


def random_rotvecs(n: int, largest: float = 3.1) -> np.ndarray:
    """(n, 3) of angles up to `largest` radians."""
    axis = RNG.normal(size=(n, 3))
    return axis / np.linalg.norm(axis, axis=1, keepdims=True) * RNG.uniform(0, largest, (n, 1))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.93, 1.0])
def test_it_is_scipys_slerp(share):
    start, end = random_rotvecs(200), random_rotvecs(200)
    expected = interpolate_rotvec([share], [0.0, 1.0], np.stack([start, end]))[0]
    got = slerp_pose(start, end, share)
    np.testing.assert_allclose(rotvec_to_rotmat(got), rotvec_to_rotmat(expected), atol=1e-9)
    assert np.linalg.norm(got, axis=1).max() <= np.pi + 1e-9, "the short form of a rotation"


def test_the_ends_are_the_poses_and_the_arguments_stay():
    start, end = random_rotvecs(50), random_rotvecs(50)
    start.setflags(write=False)
    end.setflags(write=False)
    np.testing.assert_allclose(slerp_pose(start, end, 0.0), start, atol=1e-12)
    np.testing.assert_allclose(slerp_pose(start, end, 1.0), end, atol=1e-12)


def test_angles_beyond_half_a_turn_mean_the_rotation_they_are():
    """340 degrees one way is 20 degrees the other way: half-way to rest lies 10 degrees, not 170."""
    axis = np.array([0.0, 0.6, 0.8])
    half = slerp_pose(np.zeros((1, 3)), (np.deg2rad(340) * axis)[None], 0.5)[0]
    np.testing.assert_allclose(half, -np.deg2rad(10) * axis, atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-9, 1e-7, 1e-4, 1e-2])
def test_small_steps_keep_their_share(angle):
    start = np.array([[0.3, -0.2, 0.9]])
    end = start + angle * np.array([[0.0, 0.6, 0.8]])
    got = slerp_pose(start, end, 0.25)
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got - start, 0.25 * (end - start), atol=2e-3 * angle + 1e-15)


def test_speed_is_even_along_the_way():
    start, end = random_rotvecs(20), random_rotvecs(20)
    way = np.stack([rotvec_to_rotmat(slerp_pose(start, end, s)) for s in np.linspace(0, 1, 11)])
    relative = np.einsum("sjab,sjac->sjbc", way[:-1], way[1:])
    angles = np.arccos(np.clip((np.trace(relative, axis1=2, axis2=3) - 1) / 2, -1, 1))
    np.testing.assert_allclose(angles, np.broadcast_to(angles[:1], angles.shape), atol=1e-6)


def test_half_a_turn_apart_ends_up_somewhere_in_the_middle():
    """Two ways are equally short; either is right."""
    start, end = np.zeros((1, 3)), np.array([[0.0, np.pi, 0.0]])
    assert np.linalg.norm(slerp_pose(start, end, 0.5)) == pytest.approx(np.pi / 2)
