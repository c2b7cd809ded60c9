"""Loose cloth stands off where it is worn, stays smooth, and leaves joints and bare skin alone."""

from __future__ import annotations

import numpy as np
import pytest

from eventhpe.body.default import open_body_arrays
from eventhpe.body.garments import GarmentFields, Outfit
from eventhpe.body.kernels import vertex_normals
from eventhpe.body.landmarks import Landmarks
from eventhpe.body.loose_clothes import draw_loose_offsets, offset_vectors, outward_directions
from eventhpe.body.posing import BodyPoser
from eventhpe.body.wardrobe import WardrobeRanges, draw_outfit
from eventhpe.errors import ShapeError, UnitError

LOOSEST = WardrobeRanges(looseness_m=(0.03, 0.03))


def drawn(seed: int, ranges: WardrobeRanges = LOOSEST) -> tuple[Outfit, np.ndarray]:
    rng = np.random.default_rng(seed)
    outfit = draw_outfit(rng, ranges)
    return outfit, draw_loose_offsets(rng, ranges, open_body_arrays(), outfit)


def test_only_what_is_dressed_moves():
    arrays = open_body_arrays()
    landmarks, skin = Landmarks.of(arrays), np.asarray(arrays["v_template"])
    reach, height = np.abs(skin[:, 0]), skin[:, 1]
    for seed in range(12):
        outfit, offsets = drawn(seed)
        assert offsets.shape == (len(skin),) and offsets.dtype == np.float32
        assert offsets.min() == 0 and 0.01 < offsets.max() <= 0.03
        worn = GarmentFields(landmarks, outfit)
        shares = worn.shares(skin)
        covered = (
            shares["top"] + shares["bottom"] + shares["belt"] + shares["hair"]
        )  # it falls over the shirt
        assert offsets[covered < 0.01].max() == 0
        assert offsets[reach > landmarks.joint("elbow_left")[0]].max() == 0  # forearms and hands
        assert offsets[height > landmarks.joint("neck")[1]].max() == 0
        assert offsets[height < landmarks.joint("ankle_left")[1]].max() == 0
        assert offsets[(shares["shoes"] > 0) | (shares["soles"] > 0)].max(initial=0) < 0.001
    assert (offsets > 0.005).mean() > 0.15


def test_offsets_are_smooth_and_turn_no_face_over():
    arrays = open_body_arrays()
    skin, faces = arrays["v_template"].astype(float), arrays["f"]
    before = np.cross(skin[faces[:, 1]] - skin[faces[:, 0]], skin[faces[:, 2]] - skin[faces[:, 0]])
    ends = np.unique(np.sort(faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)
    length = np.linalg.norm(skin[ends[:, 0]] - skin[ends[:, 1]], axis=1)
    for seed in range(12):
        offsets = drawn(seed)[1]
        slope = np.abs(offsets[ends[:, 0]] - offsets[ends[:, 1]]) / np.maximum(length, 0.002)
        assert slope.max() < 1.3 and np.quantile(slope, 0.9) < 0.45
        moved = skin + offset_vectors(arrays, offsets)
        after = np.cross(moved[faces[:, 1]] - moved[faces[:, 0]], moved[faces[:, 2]] - moved[faces[:, 0]])
        cosine = (before * after).sum(1) / np.linalg.norm(before, axis=1) / np.linalg.norm(after, axis=1)
        assert cosine.min() > 0.3
        legs = skin[:, 1] < Landmarks.of(arrays).crotch_y
        assert (moved[legs, 0] * skin[legs, 0] > 0).all()  # no leg crosses into the other


def test_amount_follows_the_range():
    zero = drawn(2, WardrobeRanges(looseness_m=(0.0, 0.0)))[1]
    assert not zero.any()
    one = drawn(2, WardrobeRanges(looseness_m=(0.01, 0.01)))[1]
    three = drawn(2, WardrobeRanges(looseness_m=(0.03, 0.03)))[1]
    assert one.max() <= 0.01
    assert (three <= 3.0001 * one).all() and (three >= one).all()  # less where the other leg is in the way
    assert np.median(three[one > 1e-4] / one[one > 1e-4]) == pytest.approx(3, rel=1e-3)


def test_equal_seeds_give_equal_offsets():
    assert drawn(5)[1].tobytes() == drawn(5)[1].tobytes()
    assert drawn(5)[1].tobytes() != drawn(6)[1].tobytes()


def test_directions_are_smoothed_normals():
    arrays = open_body_arrays()
    directions = outward_directions(arrays)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1, atol=1e-5)
    normals = vertex_normals(arrays["v_template"], arrays["f"])
    ends = arrays["f"][:, :2]

    def bend(n: np.ndarray) -> float:
        return float((1 - (n[ends[:, 0]] * n[ends[:, 1]]).sum(1)).mean())

    assert bend(directions) < 0.3 * bend(normals)
    trunk = np.abs(arrays["weights"][:, [0, 3, 6, 9]].sum(1) - 1) < 0.1
    assert np.quantile((directions * normals).sum(1)[trunk], 0.05) > 0.8


def test_poser_without_offsets_is_as_it_was():
    rng = np.random.default_rng(0)
    arrays = open_body_arrays()
    plain, zero = BodyPoser(arrays), BodyPoser(arrays, offsets=np.zeros((len(arrays["v_template"]), 3)))
    for _ in range(3):
        pose = rng.normal(size=10), 0.4 * rng.normal(size=(24, 3)), rng.normal(size=3)
        for a, b in zip(plain.pose(*pose), zero.pose(*pose), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dense", [False, True])
def test_poser_adds_offsets_to_the_shaped_template(dense):
    rng = np.random.default_rng(1)
    arrays = dict(open_body_arrays())
    if dense:
        arrays["posedirs"] = arrays["posedirs"] + np.float32(1e-5)
    vectors = offset_vectors(arrays, drawn(3)[1])
    plain, dressed = BodyPoser(arrays), BodyPoser(arrays, offsets=vectors)
    betas, transl, rest = rng.normal(size=10), rng.normal(size=3), np.zeros((24, 3))
    moved = dressed.vertices(betas, rest, transl) - plain.vertices(betas, rest, transl)
    np.testing.assert_allclose(moved, vectors, atol=1e-6)
    pose = 0.5 * rng.normal(size=(24, 3))
    np.testing.assert_array_equal(dressed.joints(betas, pose, transl), plain.joints(betas, pose, transl))
    posed, bare = dressed.vertices(betas, pose, transl), plain.vertices(betas, pose, transl)
    # Skinning turns the offset with its limb: blends of rotations shorten it at joints, never lengthen it.
    length = np.linalg.norm(posed - bare, axis=1)
    assert (length <= np.linalg.norm(vectors, axis=1) + 1e-5).all()
    rigid = arrays["weights"].max(1) > 0.999
    np.testing.assert_allclose(length[rigid], np.linalg.norm(vectors, axis=1)[rigid], atol=1e-5)
    assert length[rigid].max() > 0.005


def test_wrong_offsets_are_refused():
    arrays = open_body_arrays()
    with pytest.raises(ShapeError, match=r"\(V, 3\)"):
        BodyPoser(arrays, offsets=np.zeros(len(arrays["v_template"])))
    with pytest.raises(UnitError, match="finite"):
        BodyPoser(arrays, offsets=np.full((len(arrays["v_template"]), 3), np.nan))
    with pytest.raises(ShapeError, match=r"\(V,\)"):
        offset_vectors(arrays, np.zeros(5))
