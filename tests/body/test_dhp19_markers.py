"""DHP19's markers on the open body: where they sit, and that they stay there."""

from __future__ import annotations

import numpy as np
import pytest

from eventhpe.body.default import mean_betas, open_body, open_body_arrays
from eventhpe.body.dhp19_markers import SKIN_RULES, MarkerSet, open_body_markers, skin_markers
from eventhpe.body.posing import BodyPoser
from eventhpe.errors import FormatError, ShapeError
from eventhpe.geometry.rotation import rotvec_to_rotmat
from eventhpe.geometry.skeleton import DHP19_SKELETON, SMPL_SKELETON
from eventhpe.render.shading import vertex_normals

REST = np.zeros((24, 3))
ORIGIN = np.zeros(3)


@pytest.fixture(scope="module")
def body() -> BodyPoser:
    return BodyPoser(open_body())


def placed(body: BodyPoser, betas: np.ndarray, pose: np.ndarray) -> tuple[dict, dict, np.ndarray]:
    """Markers by name, joints by name, vertices."""
    vertices, joints = body.pose(betas, pose, ORIGIN)
    at = open_body_markers().positions(vertices)
    return (
        dict(zip(DHP19_SKELETON.joints, at, strict=True)),
        dict(zip(SMPL_SKELETON.joints, joints, strict=True)),
        vertices.astype(np.float64),
    )


def solid_angle(point: np.ndarray, vertices: np.ndarray) -> float:
    """Winding number of the closed surface around a point (van Oosterom and Strackee 1983)."""
    a, b, c = np.moveaxis(vertices[open_body_arrays()["f"]] - point, 1, 0)
    la, lb, lc = (np.linalg.norm(x, axis=1) for x in (a, b, c))
    top = np.einsum("fc,fc->f", a, np.cross(b, c))
    bottom = la * lb * lc + (a * b).sum(1) * lc + (b * c).sum(1) * la + (c * a).sum(1) * lb
    return float(np.arctan2(top, bottom).sum() * 2 / (4 * np.pi))


def test_names_and_order_are_dhp19s():
    markers = open_body_markers()
    assert markers.names == DHP19_SKELETON.joints
    assert markers.vertex_ids.shape == markers.weights.shape == (13, 3)
    assert {name.partition("_")[0] for name in markers.names} == set(SKIN_RULES)
    faces = {tuple(sorted(f)) for f in open_body_arrays()["f"].tolist()}
    assert all(tuple(sorted(ids)) in faces for ids in markers.vertex_ids.tolist())
    np.testing.assert_allclose(markers.weights.sum(1), 1)
    with pytest.raises(ValueError, match="read-only"):
        markers.weights[0] = 0


def test_left_and_right_mirror_each_other_within_millimetres(body: BodyPoser):
    for betas in (np.zeros(10), mean_betas("female"), mean_betas("male")):
        at = open_body_markers().positions(body.vertices(betas, REST, ORIGIN))
        np.testing.assert_allclose(at[DHP19_SKELETON.flip] * [-1, 1, 1], at, atol=3e-3)


# metres from the joint of the same name, on the mean body
DISTANCES = {
    "head": (0.10, 0.18),  # crown over the skull's joint
    "shoulder": (0.03, 0.08),
    "elbow": (0.02, 0.06),
    "hip": (0.08, 0.15),
    "hand": (0.03, 0.07),  # knuckle joint to the middle of the back of the hand
    "knee": (0.03, 0.08),
    "foot": (0.03, 0.09),
}


def test_distances_to_their_joints_are_a_limbs_thickness(body: BodyPoser):
    markers, joints, _ = placed(body, np.zeros(10), REST)
    for name, at in markers.items():
        low, high = DISTANCES[name.partition("_")[0]]
        assert low < np.linalg.norm(at - joints[name]) < high, name


def test_sides_of_the_limbs_are_the_ones_that_markers_are_stuck_to(body: BodyPoser):
    markers, joints, vertices = placed(body, np.zeros(10), REST)
    assert markers["head"][1] > vertices[:, 1].max() - 0.01
    for side, out in (("left", 1.0), ("right", -1.0)):
        off = {
            part: markers[f"{part}_{side}"] - joints[f"{part}_{side}"] for part in DISTANCES if part != "head"
        }
        assert off["shoulder"][1] > 0.03 and abs(off["shoulder"][2]) < 0.01
        assert -0.05 < out * off["shoulder"][0] < 0  # towards the neck
        assert out * off["hip"][0] > 0.03 and off["hip"][1] > 0.05 and off["hip"][2] > 0.03
        assert out * off["knee"][0] > 0.03 and np.abs(off["knee"][1:]).max() < 0.01
        assert off["elbow"][1] > 0.02
        wrist, knuckles = joints[f"wrist_{side}"], joints[f"hand_{side}"]
        along = (markers[f"hand_{side}"] - wrist) @ (knuckles - wrist) / ((knuckles - wrist) ** 2).sum()
        assert 0.2 < along < 0.9 and markers[f"hand_{side}"][1] > wrist[1]
        ankle, toes, foot = joints[f"ankle_{side}"], joints[f"foot_{side}"], markers[f"foot_{side}"]
        assert ankle[2] + 0.02 < foot[2] < toes[2] and foot[1] > toes[1]


def test_markers_of_a_hanging_arm_show_outwards(body: BodyPoser):
    """What the T-pose calls up is outside once the arm hangs, as on a marker suit."""
    pose = REST.copy()
    pose[SMPL_SKELETON.index("shoulder_left")] = [0, 0, -1.3]
    pose[SMPL_SKELETON.index("shoulder_right")] = [0, 0, 1.3]
    markers, joints, _ = placed(body, np.zeros(10), pose)
    for side, out in (("left", 1.0), ("right", -1.0)):
        assert out * (markers[f"elbow_{side}"] - joints[f"elbow_{side}"])[0] > 0.02
        assert out * (markers[f"hand_{side}"] - joints[f"wrist_{side}"])[0] > 0.0
        assert markers[f"shoulder_{side}"][1] > joints[f"shoulder_{side}"][1] + 0.02


@pytest.mark.parametrize("seed", range(3))
def test_markers_lie_on_the_skin_of_any_shape(body: BodyPoser, seed: int):
    betas = np.random.default_rng(seed).normal(size=10) * 1.5
    markers, joints, vertices = placed(body, betas, REST)
    scale = np.ptp(vertices[:, 1]) / np.ptp(open_body_arrays()["v_template"][:, 1])
    for name, at in markers.items():
        part, _, side = name.partition("_")
        away = np.array(SKIN_RULES[part].towards) * [-1 if side == "right" else 1, 1, 1]
        away /= np.linalg.norm(away)
        assert solid_angle(at + 2e-3 * away, vertices) < 0.1, f"{name}: 2 mm further out is outside"
        assert solid_angle(at - 2e-3 * away, vertices) > 0.9, f"{name}: 2 mm further in is inside"
        low, high = DISTANCES[part]
        assert 0.6 * low < np.linalg.norm(at - joints[name]) / scale < 1.5 * high, name


def test_markers_follow_the_pose(body: BodyPoser):
    rest, joints, _ = placed(body, np.zeros(10), REST)
    # the whole body turns rigidly about the rest pelvis
    turn = np.array([0.3, 1.1, -0.4])
    pose = REST.copy()
    pose[0] = turn
    turned, _, _ = placed(body, np.zeros(10), pose)
    R = rotvec_to_rotmat(turn)
    for name in rest:
        expected = R @ (rest[name] - joints["pelvis"]) + joints["pelvis"]
        np.testing.assert_allclose(turned[name], expected, atol=1e-5)
    # an elbow moves the hand's marker rigidly with the forearm, and nothing beyond it
    pose = REST.copy()
    bend = np.array([0.0, -1.2, 0.0])
    pose[SMPL_SKELETON.index("elbow_left")] = bend
    bent, _, _ = placed(body, np.zeros(10), pose)
    expected = rotvec_to_rotmat(bend) @ (rest["hand_left"] - joints["elbow_left"]) + joints["elbow_left"]
    np.testing.assert_allclose(bent["hand_left"], expected, atol=2e-3)
    still = [name for name in rest if name not in ("hand_left", "elbow_left")]
    np.testing.assert_allclose([bent[n] for n in still], [rest[n] for n in still], atol=1e-4)
    assert 0.001 < np.linalg.norm(bent["elbow_left"] - rest["elbow_left"]) < 0.05
    # a raised thigh takes the knee's and the foot's marker along, hardly the one on the pelvis
    pose = REST.copy()
    pose[SMPL_SKELETON.index("hip_right")] = [-1.2, 0, 0]
    raised, _, _ = placed(body, np.zeros(10), pose)
    assert raised["knee_right"][2] > rest["knee_right"][2] + 0.3
    assert raised["foot_right"][2] > rest["foot_right"][2] + 0.5
    assert np.linalg.norm(raised["hip_right"] - rest["hip_right"]) < 0.03


def test_batches_and_frames_pass_through(body: BodyPoser):
    vertices = np.stack([body.vertices(np.zeros(10), REST, [0.1 * k, 0, 2]) for k in range(4)])
    at = open_body_markers().positions(vertices.reshape(2, 2, -1, 3))
    assert at.shape == (2, 2, 13, 3)
    np.testing.assert_allclose(at[1, 1] - at[0, 0], np.tile([0.3, 0, 0], (13, 1)), atol=1e-6)


def test_rays_find_the_nearest_of_several_walls():
    """A rule takes the first skin from the inside: a coat around the body changes nothing."""
    arrays = dict(open_body_arrays())
    shell = arrays["v_template"] + 0.03 * vertex_normals(arrays["v_template"], arrays["f"]).astype(np.float32)
    nested = {**arrays, "v_template": np.concatenate([arrays["v_template"], shell])}
    nested["f"] = np.concatenate([arrays["f"] + len(shell), arrays["f"]])
    nested["J_regressor"] = np.concatenate(
        [arrays["J_regressor"], np.zeros_like(arrays["J_regressor"])], axis=1
    )
    inner = skin_markers(nested)
    np.testing.assert_array_equal(inner.vertex_ids, open_body_markers().vertex_ids)
    np.testing.assert_allclose(inner.weights, open_body_markers().weights, atol=1e-9)


def test_bad_input_is_named():
    markers = open_body_markers()
    with pytest.raises(ShapeError, match=r"\(\*, V, 3\)"):
        markers.positions(np.zeros(3))
    with pytest.raises(ShapeError, match="at least"):
        markers.positions(np.zeros((50, 3)))
    with pytest.raises(ShapeError, match="sum to 1"):
        MarkerSet(("a",), np.array([[0, 1, 2]]), np.array([[0.5, 0.1, 0.1]]))
    with pytest.raises(ShapeError, match="weights must be"):
        MarkerSet(("a",), np.array([[0, 1, 2]]), np.zeros((2, 3)))
    arrays = dict(open_body_arrays())
    low = arrays["v_template"][arrays["f"]][:, :, 1].max(1) < 0.6
    with pytest.raises(FormatError, match="head"):
        skin_markers({**arrays, "f": arrays["f"][low]})  # a body without the top of its head
