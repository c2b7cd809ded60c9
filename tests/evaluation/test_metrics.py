from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from eventhpe.errors import ShapeError
from eventhpe.evaluation.metrics import (
    accel_error,
    aee,
    bootstrap_interval,
    epe,
    head_size,
    jerk,
    joint_errors,
    mpjpe,
    pa_mpjpe,
    pa_pve,
    pck,
    pck_auc,
    pixel_error,
    pve,
    root_aligned_mpjpe,
    root_aligned_pve,
    root_drift,
    rotation_error_deg,
    torso_size,
)

RNG = np.random.default_rng(0)
TRUE = RNG.normal(size=(5, 24, 3))


def test_a_constant_offset() -> None:
    pred = TRUE + np.array([0.03, 0.0, 0.04])
    np.testing.assert_allclose(mpjpe(pred, TRUE), np.full(5, 50.0))
    np.testing.assert_allclose(root_aligned_mpjpe(pred, TRUE), np.zeros(5), atol=1e-9)
    np.testing.assert_allclose(pa_mpjpe(pred, TRUE), np.zeros(5), atol=1e-9)
    np.testing.assert_allclose(pve(pred, TRUE), np.full(5, 50.0))


def test_root_alignment_uses_the_hip_midpoint_not_the_pelvis() -> None:
    pred = TRUE.copy()
    pred[:, 0] += 1.0  # the pelvis alone: it must not move the others
    np.testing.assert_allclose(root_aligned_mpjpe(pred, TRUE), np.full(5, 1000 * np.sqrt(3) / 24))
    pred = TRUE.copy()
    pred[:, 1, 0] += 0.24  # one hip: the midpoint moves by 0.12, so the hip errs 0.12 and all others 0.12
    np.testing.assert_allclose(root_aligned_mpjpe(pred, TRUE), np.full(5, 120.0))
    other = root_aligned_mpjpe(pred, TRUE, hips=(3, 4))
    np.testing.assert_allclose(other, np.full(5, 10.0))


def test_pa_removes_similarities_but_not_mirrors() -> None:
    R = Rotation.random(5, random_state=0).as_matrix()
    pred = 1.7 * TRUE @ R.swapaxes(1, 2) + 2.0
    np.testing.assert_allclose(pa_mpjpe(pred, TRUE), np.zeros(5), atol=1e-9)
    assert pa_mpjpe(TRUE * [-1, 1, 1], TRUE).min() > 100


def test_valid_joints_only() -> None:
    pred = TRUE.copy()
    pred[:, 3] += 1.0
    valid = np.ones((5, 24), dtype=bool)
    valid[:, 3] = False
    valid[4] = False
    errors = mpjpe(pred, TRUE, valid=valid)
    np.testing.assert_allclose(errors[:4], 0.0)
    assert np.isnan(errors[4])


def test_vertex_errors() -> None:
    vertices = RNG.normal(size=(5, 40, 3))
    fatter = vertices * 1.1
    assert pve(fatter, vertices).min() > 1.0
    shift = np.array([0.5, 0.0, 0.0])
    np.testing.assert_allclose(
        root_aligned_pve(vertices + shift, vertices, TRUE + shift, TRUE), 0.0, atol=1e-9
    )
    np.testing.assert_allclose(
        root_aligned_pve(vertices + shift, vertices, TRUE, TRUE), np.full(5, 500.0), atol=1e-9
    )
    np.testing.assert_allclose(pa_pve(2 * vertices + shift, vertices, 2 * TRUE + shift, TRUE), 0.0, atol=1e-9)
    assert pa_pve(fatter, vertices, TRUE, TRUE).min() > 1.0


def test_pck() -> None:
    errors = np.array([[10.0, 99.9, 100.0, 300.0]])
    assert pck(errors)[0] == 0.5
    np.testing.assert_allclose(pck(np.repeat(errors, 2, 0), [50.0, 1000.0]), [0.25, 1.0])
    # 76 mm is below 76/150 of the range: thresholds 80, 85, ... 150 of 0, 5, ... 150.
    assert pck_auc(np.array([[76.0]]))[0] == pytest.approx(15 / 31)
    joints = np.zeros((1, 24, 3))
    joints[0, 12], joints[0, 15] = [0, 0.5, 0], [0, 0.6, 0]
    np.testing.assert_allclose(head_size(joints), [200.0])
    np.testing.assert_allclose(torso_size(joints), [500.0])
    np.testing.assert_allclose(
        joint_errors(joints, np.zeros_like(joints))[0, [0, 12, 15]], [0.0, 500.0, 600.0]
    )


def test_acceleration_jerk_and_drift_of_polynomials() -> None:
    t = np.arange(8.0)[:, None, None]
    line = np.broadcast_to(t, (8, 24, 3)) * [0.1, 0.0, 0.0]
    parabola = 0.5 * t**2 * np.array([0.003, 0.0, 0.004]) + np.zeros((8, 24, 3))
    cubic = t**3 * np.array([0.001, 0.0, 0.0]) + np.zeros((8, 24, 3))
    np.testing.assert_allclose(accel_error(line, np.zeros_like(line)), np.zeros(6), atol=1e-9)
    np.testing.assert_allclose(accel_error(parabola, line), np.full(6, 5.0))
    np.testing.assert_allclose(accel_error(parabola, line, fps=10), np.full(6, 500.0))
    np.testing.assert_allclose(jerk(cubic), np.full(5, 6.0))
    np.testing.assert_allclose(jerk(parabola, fps=20), np.zeros(5), atol=1e-6)
    assert root_drift(line, np.zeros_like(line), fps=20) == pytest.approx(2000.0)


def test_rotation_error() -> None:
    a = Rotation.random(6, random_state=1)
    b = a * Rotation.from_rotvec(
        np.deg2rad([[0, 0, 0], [30, 0, 0], [0, 90, 0], [0, 0, 179], [1, 0, 0], [0, 180, 0]])
    )
    np.testing.assert_allclose(
        rotation_error_deg(a.as_matrix(), b.as_matrix()), [0, 30, 90, 179, 1, 180], atol=1e-5
    )


def test_flow_errors() -> None:
    true = np.zeros((2, 2, 4, 6))
    pred = true.copy()
    pred[:, 0], pred[:, 1] = 3.0, 4.0
    np.testing.assert_allclose(epe(pred, true), [5.0, 5.0])
    np.testing.assert_allclose(aee(pred, true), np.degrees(np.arctan(5.0)) * np.ones(2))
    np.testing.assert_allclose(aee(pred, pred), 0.0)
    valid = np.zeros((2, 4, 6), dtype=bool)
    valid[0, :2] = True
    pred[0, :, :2] = 0.0
    masked = epe(pred, true, valid=valid)
    assert masked[0] == 0.0 and np.isnan(masked[1])
    np.testing.assert_allclose(pixel_error([[[0.0, 0.0], [3.0, 4.0]]], [[[0.0, 0.0], [0.0, 0.0]]]), [2.5])


def test_bootstrap_interval() -> None:
    values = np.random.default_rng(1).normal(50, 10, 100)
    low, high = bootstrap_interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 10, rel=0.1)
    assert bootstrap_interval(values) == (low, high)
    assert bootstrap_interval([4.0]) == (4.0, 4.0)


def test_shape_errors() -> None:
    with pytest.raises(ShapeError, match="same shape"):
        mpjpe(TRUE, TRUE[:1])
    with pytest.raises(ShapeError, match="T >= 3"):
        accel_error(TRUE[:2], TRUE[:2])
    with pytest.raises(ShapeError, match="per_sequence"):
        bootstrap_interval([])
