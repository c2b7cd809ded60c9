"""Landmarks follow the template; garments cover what they should and nothing else, with smooth edges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from eventhpe.body.default import open_body_arrays
from eventhpe.body.garments import GARMENTS, GarmentFields, Outfit
from eventhpe.body.landmarks import Landmarks
from eventhpe.errors import FormatError, ShapeError, UnitError

LEAST = Outfit(sleeve=0.0, neckline="wide", neck_size=1.0, hem=1.0, leg=0.0, shoe=-1.0, hair="bald")
MOST = Outfit(sleeve=1.0, neckline="high", neck_size=1.0, hem=-1.0, shoe=1.0, gloves=True, hair="long")


@pytest.fixture(scope="module")
def landmarks() -> Landmarks:
    return Landmarks.of(open_body_arrays())


@pytest.fixture(scope="module")
def skin() -> np.ndarray:
    return np.asarray(open_body_arrays()["v_template"])


def part(skin: np.ndarray, joints: str) -> np.ndarray:
    """Vertices that move with one of some joints (parts of names) by more than a half."""
    names, weights = open_body_arrays()["joint_names"], open_body_arrays()["weights"]
    chosen = [i for i, name in enumerate(names) if any(word in str(name) for word in joints.split())]
    return skin[weights[:, chosen].sum(1) > 0.5]


def moved_body(scale: float, shift: tuple[float, float, float]) -> dict[str, np.ndarray]:
    arrays = dict(open_body_arrays())
    arrays["v_template"] = (arrays["v_template"] * scale + np.array(shift)).astype(np.float32)
    return arrays


def test_landmarks_of_the_open_body(landmarks, skin):
    assert landmarks.crown_y == skin[:, 1].max() and landmarks.sole_y == skin[:, 1].min()
    ids = dict(zip(*(open_body_arrays()[key] for key in ("vertex_id_names", "vertex_ids")), strict=True))
    np.testing.assert_allclose(landmarks.nose, skin[ids["nose"]], atol=0.005)
    eyes = skin[open_body_arrays()["region"] == list(open_body_arrays()["region_names"]).index("eyes")]
    middle = landmarks.crown_y - landmarks.head_height / 2
    assert abs(eyes[:, 1].mean() - middle) < 0.01  # the canon puts eyes at half of the head
    midline = skin[np.abs(skin[:, 0]) < 0.004]
    assert abs(landmarks.crotch_y - midline[:, 1].min()) < 0.015
    assert 0.03 < landmarks.arm_radius < 0.06 < landmarks.leg_radius < landmarks.chest_radius < 0.17


def test_landmarks_move_and_grow_with_the_body(landmarks):
    other = Landmarks.of(moved_body(0.8, (0.0, 0.7, -0.2)))
    np.testing.assert_allclose(other.joints, landmarks.joints * 0.8 + [0, 0.7, -0.2], atol=1e-5)
    np.testing.assert_allclose(other.nose, landmarks.nose * 0.8 + [0, 0.7, -0.2], atol=1e-5)
    for name in ("crown_y", "sole_y", "crotch_y", "chin_y"):
        assert getattr(other, name) == pytest.approx(getattr(landmarks, name) * 0.8 + 0.7, abs=1e-5)
    for name in ("chest_radius", "arm_radius", "leg_radius", "head_height"):
        assert getattr(other, name) == pytest.approx(getattr(landmarks, name) * 0.8, abs=1e-5)


def test_landmarks_refuse_what_is_no_person_in_t_pose():
    turned = dict(open_body_arrays())
    turned["v_template"] = turned["v_template"][:, [1, 0, 2]]
    with pytest.raises(FormatError, match="T-pose"):
        Landmarks.of(turned)
    with pytest.raises(ShapeError, match="J_regressor"):
        Landmarks.of({"v_template": turned["v_template"]})


@pytest.mark.parametrize(
    "outfit", [Outfit(), LEAST, MOST, Outfit(tucked=True, belt=True, beard=True, hair="hat")]
)
def test_shares_sum_to_one_and_are_symmetric(landmarks, skin, outfit):
    worn = GarmentFields(landmarks, outfit)
    shares = worn.shares(skin)
    assert tuple(shares) == GARMENTS
    stacked = np.stack(list(shares.values()))
    assert stacked.dtype == np.float32 and stacked.min() >= 0
    np.testing.assert_allclose(stacked.sum(0), 1, atol=1e-6)
    mirrored = worn.shares(skin * np.array([-1, 1, 1], np.float32))
    for name in GARMENTS:
        np.testing.assert_array_equal(mirrored[name], shares[name])


def test_each_garment_stays_on_its_limb(landmarks, skin):
    dress = Outfit(hem=-1.0, sleeve=0.5, leg=1.0, hair="bald", neckline="crew", neck_size=0.0)
    worn = GarmentFields(landmarks, dress)
    hands = worn.shares(part(skin, "wrist hand"))
    np.testing.assert_array_equal(hands["skin"], 1)  # at the dress's height or not: an arm is no leg
    shins = part(skin, "knee")
    assert worn.shares(shins[shins[:, 1] < landmarks.joint("knee_left")[1] - 0.02])["top"].max() == 0
    belly = part(skin, "spine1 spine2")
    np.testing.assert_allclose(worn.shares(belly[belly[:, 1] > worn.waist_y])["top"], 1)
    face = part(skin, "head")
    np.testing.assert_array_equal(worn.shares(face[face[:, 1] > landmarks.chin_y])["skin"], 1)
    toes = worn.shares(part(skin, "foot"))
    np.testing.assert_allclose(toes["shoes"] + toes["soles"], 1, atol=1e-6)
    gloved = GarmentFields(landmarks, replace(dress, gloves=True)).shares(part(skin, "hand"))
    np.testing.assert_array_equal(gloved["gloves"], 1)


@pytest.mark.parametrize(
    ("field", "values", "garment"),
    [
        ("sleeve", (0.0, 0.3, 0.6, 1.0), "top"),
        ("hem", (1.0, 0.5, 0.0, -0.5, -1.0), "top"),
        ("leg", (0.0, 0.3, 0.6, 1.0), "bottom"),
        ("shoe", (-1.0, 0.0, 0.5, 1.0), "shoes"),
        ("hair_length", (0.0, 0.5, 1.0), "hair"),
        ("neck_size", (1.0, 0.5, 0.0), "top"),
    ],
)
def test_longer_garments_cover_more(landmarks, skin, field, values, garment):
    base = Outfit(hair="long", neckline="v", leg=0.6)
    covered = [
        GarmentFields(landmarks, replace(base, **{field: value})).shares(skin)[garment].sum()
        for value in values
    ]
    assert (np.diff(covered) > 20).all(), covered  # vertices


def test_lengths_are_those_of_the_body(landmarks, skin):
    worn = GarmentFields(landmarks, Outfit(sleeve=1.0, leg=1.0, hem=0.0, waist=0.0))
    assert worn.sleeve_x == pytest.approx(landmarks.joint("wrist_left")[0])
    assert worn.leg_y == pytest.approx(landmarks.joint("ankle_left")[1])
    assert worn.hem_y == pytest.approx(landmarks.crotch_y)
    assert worn.waist_y == pytest.approx(landmarks.joint("hip_left")[1])
    small = GarmentFields(Landmarks.of(moved_body(0.7, (0, 0.3, 0))), worn.outfit)
    at_small = small.shares((skin * 0.7 + [0, 0.3, 0]).astype(np.float32), edge_m=0.7 * 0.008)
    at_big = worn.shares(skin, edge_m=0.008)
    for name in GARMENTS:
        assert np.abs(at_small[name] - at_big[name]).max() < 0.02, name


def test_tucked_top_ends_in_the_waistband(landmarks, skin):
    tucked = GarmentFields(landmarks, Outfit(tucked=True, hem=-1.0, belt=True))
    loose = GarmentFields(landmarks, Outfit(tucked=False, hem=0.0, belt=True))
    below = skin[(skin[:, 1] < tucked.waist_y - 0.05) & (skin[:, 1] > landmarks.crotch_y + 0.02)]
    below = below[np.abs(below[:, 0]) < landmarks.joint("shoulder_left")[0]]
    assert len(below) > 100
    np.testing.assert_array_equal(tucked.shares(below)["bottom"], 1)
    np.testing.assert_array_equal(loose.shares(below)["top"], 1)
    assert tucked.shares(skin)["belt"].sum() > 30
    assert loose.shares(skin)["belt"].sum() == 0  # worn under the shirt


@pytest.mark.parametrize(
    "outfit", [Outfit(), LEAST, MOST, Outfit(neckline="v", neck_size=1.0, beard=True, sock=0.4)]
)
def test_edges_are_smooth(landmarks, outfit):
    """Fields change at most about as fast as a distance does, so an edge is a line and no noise."""
    rng = np.random.default_rng(3)
    worn = GarmentFields(landmarks, outfit)
    points = rng.uniform([-0.8, -0.9, -0.12], [0.8, 0.75, 0.16], size=(20000, 3)).astype(np.float32)
    step = rng.normal(size=points.shape)
    step *= 1e-3 / np.linalg.norm(step, axis=1, keepdims=True)
    checked = 0
    for name in GARMENTS[1:]:
        field: np.ndarray = getattr(worn, name)(points)
        border = np.abs(field) < 0.02
        if not border.any():  # not worn
            continue
        change = np.abs(getattr(worn, name)(points + step.astype(np.float32)) - field)
        # Two rules (front and back of a V, mane and short hair) meet in places: there a field may jump.
        assert np.quantile(change[border], 0.98) < 1.4e-3, name
        checked += 1
    assert checked >= 2  # top and bottom at least


def test_cloth_rings_the_limbs(landmarks):
    worn = GarmentFields(landmarks, Outfit())
    turn = np.linspace(-3, 3, 50)
    shoulder, hip = landmarks.joint("shoulder_left"), landmarks.joint("hip_left")
    sleeve = np.stack(
        [np.full(50, 0.3), shoulder[1] + 0.04 * np.sin(turn), shoulder[2] + 0.04 * np.cos(turn)], 1
    )
    around, along, off = worn.cloth(sleeve, "top").T
    np.testing.assert_allclose(around, turn * landmarks.arm_radius, atol=1e-5)
    np.testing.assert_allclose(along, shoulder[1] - (0.3 - shoulder[0]), atol=1e-5)
    np.testing.assert_allclose(off, 0.04 - landmarks.arm_radius, atol=1e-5)
    leg = np.stack([hip[0] + 0.08 * np.sin(turn), np.full(50, -0.4), hip[2] + 0.08 * np.cos(turn)], 1)
    for side in (1, -1):  # both legs alike
        around, along, off = worn.cloth(leg * [side, 1, 1], "bottom").T
        np.testing.assert_allclose(around, turn * landmarks.leg_radius, atol=1e-5)
        np.testing.assert_allclose(along, -0.4, atol=1e-6)
        np.testing.assert_allclose(off, 0.08 - landmarks.leg_radius, atol=1e-5)
    with pytest.raises(ShapeError, match="part"):
        worn.cloth(leg, "hat")


def test_outfits_that_make_no_sense_are_named():
    for field, value, error in (
        ("sleeve", 1.1, UnitError),
        ("hem", -1.5, UnitError),
        ("leg", float("nan"), UnitError),
        ("neckline", "square", ShapeError),
        ("hair", "green", ShapeError),
    ):
        with pytest.raises(error, match=f"Outfit.{field}"):
            Outfit(**{field: value})
    with pytest.raises(ShapeError, match=r"\(N, 3\)"):
        GarmentFields(Landmarks.of(open_body_arrays()), Outfit()).top(np.zeros(3))
