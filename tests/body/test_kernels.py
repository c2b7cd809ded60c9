"""BodyPoser against BodyModel, sparse and dense; normals against a plain twin."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from eventhpe.body.default import open_body, open_body_arrays
from eventhpe.body.kernels import forward_kinematics, vertex_normals
from eventhpe.body.model import BodyModel
from eventhpe.body.posing import BodyPoser
from eventhpe.errors import ShapeError
from eventhpe.geometry.rotation import rotvec_to_rotmat


def dense_arrays(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The open body made as dense as a real SMPL file: every pose entry and every skin weight non-zero."""
    arrays = dict(open_body_arrays())
    arrays["posedirs"] = arrays["posedirs"] + 1e-4 * rng.normal(size=arrays["posedirs"].shape)
    weights = arrays["weights"] + 0.01 * rng.random(arrays["weights"].shape)
    arrays["weights"] = weights / weights.sum(1, keepdims=True)
    return arrays


@pytest.mark.parametrize("kind", ["open", "dense"])
def test_poser_equals_model(kind):
    rng = np.random.default_rng(0)
    model = open_body() if kind == "open" else BodyModel.from_arrays(dense_arrays(rng), name="dense")
    poser = BodyPoser(model)
    for scale in (0.0, 1e-9, 0.5, 2.0):
        betas, pose, transl = rng.normal(size=10), scale * rng.normal(size=(24, 3)), rng.normal(size=3)
        args = [torch.tensor(a).float() for a in (rotvec_to_rotmat(pose), betas, transl)]
        expected = model(*args)
        vertices, joints = poser.pose(betas, pose, transl)
        assert vertices.dtype == np.float32
        np.testing.assert_allclose(vertices, expected.vertices, atol=1e-5)
        np.testing.assert_allclose(joints, expected.joints, atol=1e-5)
        np.testing.assert_array_equal(poser.joints(betas, pose, transl), joints)
        np.testing.assert_array_equal(poser.vertices(betas, pose, transl), vertices)


def test_poser_takes_plain_arrays_and_follows_new_betas():
    poser = BodyPoser(open_body_arrays())
    pose, zero = np.zeros((24, 3)), np.zeros(3)
    betas = np.zeros(10)
    first = poser.vertices(betas, pose, zero)
    np.testing.assert_allclose(first, open_body_arrays()["v_template"], atol=1e-6)
    betas[0] = 2.0  # the caller's array changes in place: the kept template must not be reused
    taller = poser.vertices(betas, pose, zero)
    assert np.ptp(taller[:, 1]) > np.ptp(first[:, 1]) + 0.1
    np.testing.assert_array_equal(poser.vertices(np.zeros(10), pose, zero), first)


def test_poser_refuses_batches():
    with pytest.raises(ShapeError, match="one body at a time"):
        BodyPoser(open_body_arrays()).vertices(np.zeros(10), np.zeros((2, 24, 3)), np.zeros(3))


def test_one_body_is_posed_in_well_under_a_millisecond():
    poser = BodyPoser(open_body_arrays())
    betas, pose, transl = np.zeros(10), np.full((24, 3), 0.2), np.zeros(3)
    poser.vertices(betas, pose, transl)
    times = []
    for _ in range(50):
        start = time.process_time()
        poser.vertices(betas, pose, transl)
        times.append(time.process_time() - start)
    assert min(times) < 2e-3  # about 0.13 ms on an idle core; the bound leaves room for slow machines


def test_small_angles_keep_their_series():
    rest, parents = np.zeros((2, 3)), np.array([-1, 0])
    for angle in (0.0, 1e-12, 1e-7, 9e-7, 1.1e-6, 1e-3, np.pi, 3.5):
        pose = np.array([[0.6, -0.8, 0.0], [0.0, 0.0, 1.0]]) * angle
        feature, _, _ = forward_kinematics(pose, rest, parents)
        expected = rotvec_to_rotmat(pose) - np.eye(3)
        np.testing.assert_allclose(feature.reshape(2, 3, 3), expected, atol=1e-14 + 1e-9 * angle)


def test_normals_equal_twin_and_point_outwards():
    rng = np.random.default_rng(1)
    arrays = open_body_arrays()
    v, f = arrays["v_template"], arrays["f"]
    expected = np.zeros((len(v), 3))
    cross = np.cross(v[f[:, 1]] - v[f[:, 0]], v[f[:, 2]] - v[f[:, 0]]).astype(np.float64)
    for k in range(3):
        np.add.at(expected, f[:, k], cross)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(vertex_normals(v, f), expected, atol=1e-4)
    octahedron = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], np.float32)
    faces = np.array([[0, 2, 4], [2, 1, 4], [1, 3, 4], [3, 0, 4], [2, 0, 5], [1, 2, 5], [3, 1, 5], [0, 3, 5]])
    np.testing.assert_allclose(vertex_normals(octahedron, faces), octahedron, atol=1e-6)
    lonely = vertex_normals(rng.normal(size=(4, 3)).astype(np.float32), np.array([[0, 1, 2]]))
    assert np.array_equal(lonely[3], np.zeros(3))
