"""The open body: what the asset promises, its clothes, and loading by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eventhpe.body.default import (
    ASSET,
    DEFAULT_PALETTE,
    face_albedo,
    load_body,
    mean_betas,
    open_body,
    open_body_arrays,
    region_albedo,
    split_by_region,
)
from eventhpe.errors import FormatError, MissingAssetError, ShapeError
from eventhpe.geometry.skeleton import SMPL_SKELETON


def shaped(betas: np.ndarray) -> np.ndarray:
    arrays = open_body_arrays()
    return arrays["v_template"] + arrays["shapedirs"] @ betas


def volume_litres(v: np.ndarray) -> float:
    t = v[open_body_arrays()["f"]].astype(np.float64)
    return float(np.einsum("fc,fc->", t[:, 0], np.cross(t[:, 1], t[:, 2])) / 6 * 1e3)


def test_asset_is_small_plain_and_says_where_it_comes_from():
    assert ASSET.stat().st_size < 2_000_000
    with np.load(ASSET, allow_pickle=False) as file:
        names = set(file.files)
        texts = {key: str(file[key]) for key in ("name", "licence", "generator", "source_sha256")}
    assert texts["name"] == "open"
    assert "CC0" in texts["licence"] and "MakeHuman" in texts["licence"]
    assert len(texts["source_sha256"]) == 64 and "make_body" in texts["generator"]
    assert {"v_template", "vertex_ids", "region_fields", "face_region", "betas_male"} <= names


def test_joints_are_smpls_and_stand_like_smpl():
    arrays = open_body_arrays()
    assert tuple(arrays["joint_names"]) == SMPL_SKELETON.joints
    joints = dict(zip(SMPL_SKELETON.joints, arrays["J_regressor"] @ arrays["v_template"], strict=True))
    assert joints["wrist_left"][0] > 0.5 and joints["wrist_right"][0] < -0.5  # +x is the subject's left
    assert joints["head"][1] > joints["pelvis"][1] > joints["foot_left"][1]  # +y up
    assert joints["foot_left"][2] > joints["ankle_left"][2] + 0.05  # +z forward
    for name in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"):
        left, right = joints[f"{name}_left"], joints[f"{name}_right"]
        np.testing.assert_allclose(left * [-1, 1, 1], right, atol=3e-3)
    elbow, wrist, shoulder = joints["elbow_left"], joints["wrist_left"], joints["shoulder_left"]
    np.testing.assert_allclose([elbow[1], wrist[1]], shoulder[1], atol=5e-3)  # T-pose
    assert np.linalg.norm(joints["pelvis"]) > 0.01


def test_surface_is_closed_and_faces_outwards():
    arrays = open_body_arrays()
    eyes = arrays["face_region"] == arrays["region_names"].tolist().index("eyes")
    f = arrays["f"][~eyes].astype(np.int64)
    directed = f[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    balance: dict[tuple[int, int], int] = {}
    for a, b in directed.tolist():
        key, step = ((a, b), 1) if a < b else ((b, a), -1)
        balance[key] = balance.get(key, 0) + step
    assert not any(balance.values())  # each edge is walked equally often in both directions: no hole anywhere
    assert 50 < volume_litres(arrays["v_template"]) < 75
    assert np.unique(arrays["f"]).size == len(arrays["v_template"])


def test_weights_and_regressor_are_convex():
    arrays = open_body_arrays()
    for key in ("weights", "J_regressor"):
        assert arrays[key].min() >= 0
        np.testing.assert_allclose(arrays[key].sum(1), 1, atol=1e-5)
    assert (arrays["weights"] > 0).sum(1).max() <= 4


def test_first_beta_is_stature_and_population_is_plausible():
    betas = np.random.default_rng(0).normal(size=(200, 10))
    stature = np.array([np.ptp(shaped(b)[:, 1]) for b in betas])
    volume = np.array([volume_litres(shaped(b)) for b in betas])
    assert np.corrcoef(betas[:, 0], stature)[0, 1] > 0.95
    assert 1.6 < stature.mean() < 1.75 and 0.07 < stature.std() < 0.13
    assert 55 < volume.mean() < 75 and volume.min() > 15
    assert np.ptp(shaped(mean_betas("male"))[:, 1]) > np.ptp(shaped(mean_betas("female"))[:, 1]) + 0.05
    assert np.array_equal(mean_betas(), np.zeros(10))
    with pytest.raises(ShapeError, match="sex"):
        mean_betas("other")


def test_landmarks_lie_where_their_names_say():
    arrays = open_body_arrays()
    at = dict(
        zip(arrays["vertex_id_names"].tolist(), arrays["v_template"][arrays["vertex_ids"]], strict=True)
    )
    assert len(at) == 21
    assert at["nose"][2] > at["leye"][2] > at["lear"][2]
    assert at["leye"][0] > 0 > at["reye"][0]
    assert at["lmiddle"][0] > 0.75 and at["rmiddle"][0] < -0.75
    assert at["LBigToe"][2] > at["LHeel"][2] + 0.15 and at["LBigToe"][0] < at["LSmallToe"][0]


def test_regions_are_clothes_with_straight_borders():
    arrays = open_body_arrays()
    assert set(arrays["region_names"].tolist()) == set(DEFAULT_PALETTE)
    names, f = arrays["region_names"].tolist(), arrays["f"]
    shirt, trousers = (np.unique(f[arrays["face_region"] == names.index(n)]) for n in ("shirt", "trousers"))
    border = np.intersect1d(shirt, trousers)
    assert len(border) > 30
    waist = arrays["region_fields"][:, arrays["region_field_names"].tolist().index("waist")]
    assert np.abs(waist[border]).max() == 0  # the waist line is exactly the zero line of its field
    heights = arrays["v_template"][border, 1]
    assert np.ptp(heights) < 0.02
    spans = [np.unique(np.sign(waist[f][:, k])) for k in range(3)]
    assert all(len(s) == 3 for s in spans)
    assert not ((waist[f] > 0).any(1) & (waist[f] < 0).any(1)).any()  # no face crosses it


def test_albedo_per_face_vertex_and_split_vertex():
    arrays = open_body_arrays()
    palette = {"shirt": (1.0, 0.0, 0.0)}
    names, f = arrays["region_names"].tolist(), arrays["f"]
    per_face = face_albedo(arrays, palette)
    is_shirt = arrays["face_region"] == names.index("shirt")
    assert (per_face[is_shirt] == [1, 0, 0]).all()
    np.testing.assert_allclose(per_face[~is_shirt], face_albedo(arrays)[~is_shirt])
    per_vertex = region_albedo(arrays, palette)
    inside = np.setdiff1d(f[is_shirt], f[~is_shirt])
    np.testing.assert_allclose(per_vertex[inside], np.tile([1.0, 0, 0], (len(inside), 1)))
    others = np.isin(arrays["face_region"], [names.index(n) for n in ("skin", "hair")])
    trousers = arrays["face_region"] == names.index("trousers")
    edge = np.setdiff1d(np.intersect1d(f[is_shirt], f[trousers]), f[others])
    assert len(edge) > 30
    mean = (np.array([1.0, 0, 0]) + DEFAULT_PALETTE["trousers"]) / 2
    np.testing.assert_allclose(per_vertex[edge], np.tile(mean, (len(edge), 1)), atol=1e-6)
    index, faces, region = split_by_region(arrays)
    np.testing.assert_array_equal(index[faces], f)
    np.testing.assert_array_equal(region[faces], np.repeat(arrays["face_region"][:, None], 3, 1))
    with pytest.raises(ShapeError, match="hat"):
        region_albedo(arrays, {"hat": (0, 0, 0)})
    with pytest.raises(FormatError, match="no regions"):
        face_albedo({"f": f, "v_template": arrays["v_template"]})


def test_load_body():
    assert load_body() is open_body() is load_body("open")
    assert open_body().name == "open"
    with pytest.raises(MissingAssetError):
        load_body("nowhere.npz")


def test_arrays_cannot_be_changed_by_accident():
    with pytest.raises(ValueError, match="read-only"):
        open_body_arrays()["v_template"][0] = 0
    with pytest.raises(TypeError):
        open_body_arrays()["v_template"] = np.zeros(3)


def test_limbs_bend_the_right_way():
    """Signs every motion relies on: arm down, hip and knee flexion, elbow flexion."""
    from eventhpe.geometry.rotation import rotvec_to_rotmat

    def joints(name: str, rotvec: list[float]) -> dict[str, np.ndarray]:
        pose = np.zeros((24, 3))
        pose[SMPL_SKELETON.index(name)] = rotvec
        R = torch.tensor(rotvec_to_rotmat(pose)).float()
        out = open_body().joints(R, torch.zeros(10), torch.zeros(3)).numpy()
        return dict(zip(SMPL_SKELETON.joints, out, strict=True))

    assert (
        joints("shoulder_left", [0, 0, -1.2])["wrist_left"][1]
        < joints("shoulder_left", [0, 0, 0])["elbow_left"][1]
    )
    assert joints("hip_left", [-1.5, 0, 0])["knee_left"][2] > 0.3
    assert joints("knee_left", [1.5, 0, 0])["ankle_left"][2] < -0.3
    assert joints("elbow_left", [0, -1.5, 0])["wrist_left"][2] > 0.15
