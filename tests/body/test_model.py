"""BodyModel: against smplx, against a plain NumPy twin, batches, subsets, gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eventhpe.body.default import open_body, open_body_arrays
from eventhpe.body.model import BodyModel, params_to_tensors, pose_rotmats
from eventhpe.body.params import BodyParams
from eventhpe.errors import FormatError, ShapeError
from eventhpe.geometry.rotation import rotvec_to_rotmat
from eventhpe.geometry.skeleton import SMPL_SKELETON


def random_body(rng: np.random.Generator, *lead: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """pose (*, 24, 3) rotation vectors, betas (*, 10), transl (*, 3)."""
    return 0.5 * rng.normal(size=(*lead, 24, 3)), rng.normal(size=(*lead, 10)), rng.normal(size=(*lead, 3))


def to_torch(pose, betas, transl, dtype=torch.float32):
    return tuple(torch.tensor(a, dtype=dtype) for a in (rotvec_to_rotmat(pose), betas, transl))


def reference_body(arrays, pose, betas, transl):
    """Slow twin: one body, joint by joint, vertex by vertex formula of SMPL in float64."""
    a = {k: np.asarray(arrays[k], dtype=np.float64) for k in
         ("v_template", "shapedirs", "posedirs", "J_regressor", "weights")}  # fmt: skip
    shaped = a["v_template"] + a["shapedirs"] @ betas
    rest = a["J_regressor"] @ shaped
    R = rotvec_to_rotmat(pose)
    G = []
    for j, parent in enumerate(SMPL_SKELETON.parents):
        local = np.eye(4)
        local[:3, :3] = R[j]
        local[:3, 3] = rest[j] - (rest[parent] if parent >= 0 else 0)
        G.append(local if parent < 0 else G[parent] @ local)
    v = shaped + a["posedirs"] @ (R[1:] - np.eye(3)).ravel()
    posed = np.zeros_like(v)
    for j in range(24):
        posed += a["weights"][:, j : j + 1] * ((v - rest[j]) @ G[j][:3, :3].T + G[j][:3, 3])
    return posed + transl, np.stack([g[:3, 3] for g in G]) + transl


def test_equals_smplx():
    smplx = pytest.importorskip("smplx")
    arrays = dict(open_body_arrays())
    ids = dict(zip(arrays["vertex_id_names"].tolist(), arrays["vertex_ids"].tolist(), strict=True))
    data = smplx.utils.Struct(**{key: arrays[key] for key in
        ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f")})  # fmt: skip
    oracle = smplx.SMPL(model_path="", data_struct=data, vertex_ids=ids, num_betas=10, batch_size=4)
    pose, betas, transl = random_body(np.random.default_rng(0), 4)
    p, b, t = (torch.tensor(a, dtype=torch.float32) for a in (pose, betas, transl))
    with torch.no_grad():
        expected = oracle(betas=b, global_orient=p[:, 0], body_pose=p[:, 1:].reshape(4, 69), transl=t)
        got = open_body()(*to_torch(pose, betas, transl))
    torch.testing.assert_close(got.vertices, expected.vertices, atol=1e-5, rtol=0)
    torch.testing.assert_close(got.joints, expected.joints[:, :24], atol=1e-5, rtol=0)
    # smplx appends our 21 landmark vertices as joints 24..44.
    assert expected.joints.shape[1] == 45
    nose = got.vertices[:, ids["nose"]]
    torch.testing.assert_close(nose, expected.joints[:, 24], atol=1e-5, rtol=0)


def test_equals_reference_twin_in_float64():
    model = BodyModel.from_arrays(open_body_arrays(), name="open").double()
    pose, betas, transl = random_body(np.random.default_rng(1))
    vertices, joints = reference_body(open_body_arrays(), pose, betas, transl)
    got = model(*to_torch(pose, betas, transl, torch.float64))
    np.testing.assert_allclose(got.vertices, vertices, atol=1e-6)  # J_template is rounded to float32
    np.testing.assert_allclose(got.joints, joints, atol=1e-6)


def test_leading_shapes_broadcast_and_agree_with_single_bodies():
    model = open_body()
    pose, betas, transl = random_body(np.random.default_rng(2), 2, 3)
    R, b, t = to_torch(pose, betas[0, 0], transl)
    out = model(R, b, t)
    assert out.vertices.shape == (2, 3, model.num_vertices, 3)
    assert out.joints.shape == (2, 3, 24, 3)
    torch.testing.assert_close(out.vertices[1, 2], model(R[1, 2], b, t[1, 2]).vertices, atol=2e-6, rtol=0)
    empty = model(R[:0], b, t[:0])
    assert empty.vertices.shape == (0, 3, model.num_vertices, 3)


def test_joints_and_subset_equal_the_full_forward():
    model = open_body()
    args = to_torch(*random_body(np.random.default_rng(3), 5))
    full = model(*args)
    subset = torch.tensor([0, 17, 17, model.num_vertices - 1])
    torch.testing.assert_close(model.joints(*args), full.joints)
    torch.testing.assert_close(
        model.vertices(*args, subset=subset), full.vertices[:, subset], atol=2e-6, rtol=0
    )


def test_rest_joints_are_the_regressed_joints():
    arrays, model = open_body_arrays(), open_body()
    betas = np.random.default_rng(4).normal(size=10)
    expected = arrays["J_regressor"] @ (arrays["v_template"] + arrays["shapedirs"] @ betas)
    np.testing.assert_allclose(model.rest_joints(torch.tensor(betas).float()), expected, atol=2e-6)


def test_root_rotates_about_the_rest_pelvis_and_translation_is_added_last():
    model = open_body()
    pose = np.zeros((24, 3))
    pose[0] = [0.3, 1.0, -0.2]
    R, b, t = to_torch(pose, np.zeros(10), np.array([1.0, 2.0, 3.0]))
    pelvis = model.rest_joints(b)[0]
    assert pelvis.norm() > 0.01, (
        "the pelvis must not sit at the origin, or a forgotten offset would go unseen"
    )
    torch.testing.assert_close(model.joints(R, b, t)[0], pelvis + t)


def test_gradients_reach_every_argument():
    model = BodyModel.from_arrays(open_body_arrays(), name="open").double()
    args = [a.requires_grad_() for a in to_torch(*random_body(np.random.default_rng(5), 2), torch.float64)]
    subset = torch.tensor([5, 900])
    assert torch.autograd.gradcheck(lambda *a: model(*a, subset=subset), args)


def test_buffers_stay_out_of_checkpoints():
    assert open_body().state_dict() == {}
    assert not list(open_body().parameters())


def test_body_params_become_tensors_and_refuse_another_model():
    pose, betas, transl = random_body(np.random.default_rng(6), 3)
    params = BodyParams(betas, pose[:, 0], pose[:, 1:], transl, model="open", frame="world")
    model = open_body()
    R, b, t = params_to_tensors(params, like=model.v_template)
    assert R.dtype == b.dtype == t.dtype == torch.float32
    torch.testing.assert_close(pose_rotmats(params), R)
    torch.testing.assert_close(model.pose(params).joints, model(*to_torch(pose, betas, transl)).joints)
    with pytest.raises(ShapeError, match="smpl"):
        model.pose(BodyParams(betas, pose[:, 0], pose[:, 1:], transl, model="smpl"))


def test_bad_shapes_are_named():
    R, b, t = to_torch(*random_body(np.random.default_rng(7), 2))
    with pytest.raises(ShapeError, match=r"betas must be \(\*, 10\)"):
        open_body()(R, b[:, :9], t)
    with pytest.raises(ShapeError, match="do not broadcast"):
        open_body()(R, b, torch.zeros(3, 3))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("posedirs", np.zeros((6910, 3, 135)), "posedirs"),
        ("weights", np.zeros((6910, 52)), "SMPL-H"),
        ("weights", np.zeros((6910, 55)), "SMPL-X"),
        ("f", np.array([[0, 1, 10**6]]), "vertex numbers"),
        ("f", np.array([["a", "b", "c"]]), "numbers"),
        ("v_template", np.full((6910, 3), np.nan), "finite"),
        ("shapedirs", np.zeros((6910, 3, 8)), "at least 10"),
        ("kintree_table", np.zeros((2, 24)), "24 joints"),
    ],
)
def test_damaged_arrays_are_refused(key, value, message):
    arrays = dict(open_body_arrays())
    count = len(arrays["v_template"])
    if value.shape[0] == 6910:
        value = np.resize(value, (count, *value.shape[1:]))
    with pytest.raises(FormatError, match=message):
        BodyModel.from_arrays({**arrays, key: value}, name="open")


def test_missing_key_is_named():
    arrays = dict(open_body_arrays())
    del arrays["posedirs"]
    with pytest.raises(FormatError, match="missing posedirs"):
        BodyModel.from_arrays(arrays, name="open")
