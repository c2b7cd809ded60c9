"""Rotations: round trips, the 6D column convention, geodesic angle and its gradient, interpolation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from eventhpe.geometry.rotation import (
    geodesic_angle,
    interpolate_rotvec,
    rotmat_to_rotvec,
    rotmat_to_sixd,
    rotvec_to_rotmat,
    sixd_to_rotmat,
)


def random_rotations(n: int, seed: int = 0) -> np.ndarray:
    return Rotation.random(n, random_state=seed).as_matrix()


def test_rotvec_round_trip_and_direction() -> None:
    rotvec = np.random.default_rng(0).normal(0, 0.9, (3, 5, 3))
    back = rotmat_to_rotvec(rotvec_to_rotmat(rotvec))
    np.testing.assert_allclose(rotvec_to_rotmat(back), rotvec_to_rotmat(rotvec), atol=1e-12)
    quarter = rotvec_to_rotmat([0, 0, np.pi / 2])
    np.testing.assert_allclose(quarter @ [1, 0, 0], [0, 1, 0], atol=1e-12)


def test_rotvec_angle_is_at_most_pi() -> None:
    np.testing.assert_allclose(
        rotmat_to_rotvec(rotvec_to_rotmat([0, 3 * np.pi / 2, 0])), [0, -np.pi / 2, 0], atol=1e-12
    )
    assert np.linalg.norm(rotmat_to_rotvec(random_rotations(200)), axis=-1).max() <= np.pi + 1e-12
    np.testing.assert_array_equal(rotmat_to_rotvec(np.eye(3)), 0)


def test_sixd_is_first_column_then_second_column() -> None:
    R = torch.arange(9.0).reshape(3, 3)
    assert rotmat_to_sixd(R).tolist() == [0, 3, 6, 1, 4, 7]


def test_sixd_round_trip_and_gram_schmidt() -> None:
    R = torch.from_numpy(random_rotations(50)).reshape(5, 10, 3, 3)
    torch.testing.assert_close(sixd_to_rotmat(rotmat_to_sixd(R)), R, atol=1e-10, rtol=0)
    raw = torch.randn(100, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    M = sixd_to_rotmat(raw)
    torch.testing.assert_close(M.transpose(-1, -2) @ M, torch.eye(3, dtype=torch.float64).expand(100, 3, 3))
    torch.testing.assert_close(torch.linalg.det(M), torch.ones(100, dtype=torch.float64))
    a, b = raw[:, :3].numpy(), raw[:, 3:].numpy()
    x = a / np.linalg.norm(a, axis=1, keepdims=True)
    y = b - (x * b).sum(1, keepdims=True) * x
    np.testing.assert_allclose(M[..., 0].numpy(), x, atol=1e-12)
    np.testing.assert_allclose(M[..., 1].numpy(), y / np.linalg.norm(y, axis=1, keepdims=True), atol=1e-12)


def test_sixd_stays_finite_for_degenerate_input() -> None:
    raw = torch.zeros(2, 6, requires_grad=True)
    with torch.no_grad():
        raw[1] = torch.tensor([1.0, 2, 3, 2, 4, 6])  # parallel vectors
    M = sixd_to_rotmat(raw)
    assert torch.isfinite(M).all()
    M.sum().backward()
    assert torch.isfinite(raw.grad).all()


@pytest.mark.parametrize("angle", [1e-3, 0.5, 2.0, 3.0, np.pi - 1e-3])
def test_geodesic_angle(angle: float) -> None:
    a = random_rotations(20, 1)
    axis = np.random.default_rng(2).normal(size=(20, 3))
    b = a @ rotvec_to_rotmat(angle * axis / np.linalg.norm(axis, axis=1, keepdims=True))
    found = geodesic_angle(torch.from_numpy(a), torch.from_numpy(b))
    np.testing.assert_allclose(found.numpy(), angle, atol=1e-6)


@pytest.mark.parametrize("angle", [0.0, np.pi])
def test_geodesic_gradient_is_finite_at_its_ends(angle: float) -> None:
    rotvec = torch.tensor([angle, 0.0, 0.0], dtype=torch.float64)
    b = torch.from_numpy(rotvec_to_rotmat(rotvec.numpy())).requires_grad_()
    value = geodesic_angle(torch.eye(3, dtype=torch.float64), b)
    assert value.item() == pytest.approx(angle, abs=1e-5)
    value.backward()
    assert torch.isfinite(b.grad).all()


def test_interpolation() -> None:
    r = np.zeros((3, 2, 3))
    r[1, 0] = [0, 0, 1.0]
    r[2, 0] = [0, 0, 2.0]
    r[:, 1] = [[3.0, 0, 0], [-3.0, 0, 0], [3.0, 0, 0]]  # neighbours over pi: the short way is through pi
    out = interpolate_rotvec([-5, 0, 50, 100, 150, 999], [0, 100, 200], r)
    np.testing.assert_allclose(out[:, 0, 2], [0, 0, 0.5, 1, 1.5, 2], atol=1e-12)
    assert abs(np.linalg.norm(out[2, 1]) - np.pi) < 1e-9
    single = interpolate_rotvec([1, 2], [0], r[:1])
    np.testing.assert_array_equal(single, np.repeat(r[:1], 2, axis=0))
