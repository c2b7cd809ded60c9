"""What is visible of whom: joints and markers, of one person and of two behind each other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from eventhpe.body.default import open_body_arrays
from eventhpe.body.dhp19_markers import open_body_markers
from eventhpe.body.posing import BodyPoser
from eventhpe.data.annotate import label_scene, scene_mesh
from eventhpe.data.cast import Cast
from eventhpe.data.labels import Labels
from eventhpe.data.scene import Scene
from eventhpe.geometry.rotation import rotvec_to_rotmat
from eventhpe.geometry.skeleton import DHP19_SKELETON, SMPL_SKELETON
from eventhpe.render.raster import rasterize
from tests.data.staging import camera_at, joint, performer, person, shaking, stage, standing

TRUNK = ("pelvis", "spine1", "spine2", "spine3")
LARGE = camera_at(size=(160, 160), focal=190.0)


def labels_of(scene: Scene) -> list[Labels]:
    return label_scene(scene, Cast.of_scene(scene))


def seen_joints(labels: Labels, k: int = 0) -> set[str]:
    assert labels.joints_visible is not None
    return {n for n, v in zip(SMPL_SKELETON.joints, labels.joints_visible[k], strict=True) if v}


def seen_markers(labels: Labels, k: int = 0) -> set[str]:
    assert labels.markers_visible is not None
    return {n for n, v in zip(DHP19_SKELETON.joints, labels.markers_visible[k], strict=True) if v}


def test_the_mesh_of_everybody_is_one_after_the_other():
    cast = Cast.of_scene(stage([person(standing(2)), person(standing(2), place=(1.0, 0, 0))]))
    instant = cast.at_label(0)
    vertices, faces = scene_mesh(cast, instant)
    V, F = len(instant.vertices[0]), len(cast.faces)
    assert vertices.shape == (2 * V, 3) and faces.shape == (2 * F, 3) and faces.dtype == np.int32
    for i in range(2):
        np.testing.assert_array_equal(vertices[i * V : (i + 1) * V], instant.vertices[i])
        np.testing.assert_array_equal(faces[i * F : (i + 1) * F], cast.faces + i * V)


@pytest.mark.parametrize("shake", [False, True])
def test_labels_are_those_of_the_cast_at_the_label_times(shake):
    scene = stage(
        [performer("jumping_jack", 0.05, speed=2.0), performer("squat", 0.05, place=(0.8, 0, -0.5), seed=4)],
        shake=shaking(6) if shake else None,
    )
    cast = Cast.of_scene(scene)
    people = label_scene(scene, cast)
    assert len(people) == 2
    for i, labels in enumerate(people):
        assert labels.t_us.tolist() == [0, 10_000, 20_000, 30_000, 40_000, 50_000]
        assert labels.params.frame == "camera"
        for k in (0, 3, 5):
            instant = cast.at_label(k)
            np.testing.assert_allclose(labels.joints3d[k], instant.joints[i], atol=1e-6)
            markers = open_body_markers().positions(instant.vertices[i])
            np.testing.assert_allclose(labels.markers3d[k], markers, atol=1e-6)
        np.testing.assert_allclose(labels.joints2d, scene.camera.project(labels.joints3d), atol=1e-3)
        np.testing.assert_allclose(labels.markers2d, scene.camera.project(labels.markers3d), atol=1e-3)
        assert (labels.track is not None) == shake


@pytest.mark.parametrize("shake", [False, True])
def test_to_world_takes_the_joints_back_to_where_the_motion_is(shake):
    who = performer("jumping_jack", 0.05, speed=2.0)
    shaken = shaking(6, size_rad=0.1) if shake else None
    (moving,) = labels_of(stage(who, shake=shaken))
    world = moving.to_world(moving.joints3d)
    poser, m = BodyPoser(open_body_arrays()), who.motion
    expected = [poser.joints(m.betas[k], m.pose[k], m.transl[k]) for k in range(6)]
    np.testing.assert_allclose(world, expected, atol=2e-6)
    back = moving.camera.to_camera_frame(world)
    if shaken is not None:
        back = np.einsum("kij,knj->kni", rotvec_to_rotmat(shaken), back)
    np.testing.assert_allclose(back, moving.joints3d, atol=2e-6)


@pytest.mark.parametrize("heading", [0, 45, 90, 135, 180, 225, 270, 315])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_own_trunk_hides_no_joint_inside_it(heading, seed):
    """Joints sit deep in the body; of somebody with raised arms the trunk is seen from every side."""
    pose = standing(2)
    pose[:, joint("shoulder_left"), 2], pose[:, joint("shoulder_right"), 2] = 1.4, -1.4
    betas = np.clip(np.random.default_rng(seed).normal(size=10), -2.5, 2.5)
    loose = np.full(len(open_body_arrays()["v_template"]), 0.03, np.float32)
    (labels,) = labels_of(stage(person(pose, heading_deg=heading, betas=betas, offsets=loose), camera=LARGE))
    assert {*TRUNK, "neck", "head"} - seen_joints(labels) <= (
        {"neck", "head"} if heading in (90, 270) else set()
    )


@pytest.mark.parametrize(("heading", "near", "far"), [(90, "right", "left"), (270, "left", "right")])
def test_from_the_side_the_far_limbs_are_hidden(heading, near, far):
    """Heading 90 looks along +x of the world, which is the right of the image: the right side is near."""
    (labels,) = labels_of(stage(person(standing(2), heading_deg=heading), camera=LARGE))
    seen, markers = seen_joints(labels), seen_markers(labels)
    for name in ("elbow", "wrist", "hand", "knee", "ankle", "shoulder"):
        assert f"{name}_{near}" in seen and f"{name}_{far}" not in seen
    for name in ("elbow", "hand", "knee"):
        assert f"{name}_{near}" in markers and f"{name}_{far}" not in markers


@pytest.mark.parametrize("heading", [0, 180])
@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_hand_on_the_other_side_of_the_trunk_is_hidden(heading, side):
    """The forearm lies across the back (side 1) or the belly (-1) of somebody seen from front or back."""
    pose = standing(2)
    pose[:, joint("elbow_left")] = 1.47 * np.array([0.0, 0.6 * side, -0.8])
    (labels,) = labels_of(stage(person(pose, heading_deg=heading), camera=LARGE))
    seen = seen_joints(labels)
    assert ("hand_left" in seen) == ((heading == 0) == (side < 0))
    assert {"wrist_right", "elbow_right", "spine2", "knee_left"} <= seen


def test_from_behind_the_markers_of_the_front_are_hidden():
    (front,) = labels_of(stage(person(standing(2)), camera=LARGE))
    (back,) = labels_of(stage(person(standing(2), heading_deg=180), camera=LARGE))
    assert {"hip_left", "hip_right", "foot_left", "foot_right"} <= seen_markers(front)
    assert not {"hip_left", "hip_right"} & seen_markers(back)


def test_who_stands_behind_somebody_is_hidden_and_beside_them_not():
    front = person(standing(2), place=(0.0, 0.0, 0.6))
    behind = person(standing(2), place=(0.0, 0.0, -0.5))
    camera = camera_at((0.0, 0.9, 2.8), size=(160, 160), focal=150.0)
    near, far = labels_of(stage([front, behind], camera=camera))
    (alone,) = labels_of(stage([behind], camera=camera))
    hidden = seen_joints(alone) - seen_joints(far)
    assert {"pelvis", "spine1", "spine2", "spine3", "hip_left", "hip_right", "neck"} <= hidden
    assert seen_markers(alone) - seen_markers(far) >= {"hip_left", "hip_right"}
    (front_alone,) = labels_of(stage([front], camera=camera))
    assert seen_joints(near) == seen_joints(front_alone) and seen_markers(near) == seen_markers(front_alone)
    aside = person(standing(2), place=(1.2, 0.0, -0.5))
    _, free = labels_of(stage([front, aside], camera=camera))
    (aside_alone,) = labels_of(stage([aside], camera=camera))
    assert seen_joints(free) == seen_joints(aside_alone)
    np.testing.assert_array_equal(far.joints3d, alone.joints3d, err_msg="hidden is not unknown")


def test_out_of_the_image_is_not_visible():
    camera = camera_at((0.0, 1.6, 0.9), (0.0, 1.6, 0.0), size=(64, 64), focal=60.0)
    (labels,) = labels_of(stage(person(standing(2)), camera=camera))
    seen = seen_joints(labels)
    assert "head" in seen and not {"knee_left", "ankle_right", "foot_left"} & seen
    uv = labels.joints2d[0]
    outside = (uv < -0.5).any(axis=1) | (uv >= 63.5).any(axis=1)
    assert outside.any() and not labels.joints_visible[0][outside].any()


@pytest.mark.parametrize("movement", ["jumping_jack", "walk", "punch", "squat", "sit"])
def test_visible_joints_lie_inside_the_mask(movement):
    """All of them within two pixels of it, nearly all in it: hands and toes end at its edge."""
    scene = stage(performer(movement, 0.2, heading_deg=30.0, speed=2.0), camera=LARGE)
    cast, (labels,) = Cast.of_scene(scene), labels_of(scene)
    inside, near, shown = [], [], []
    for k in range(0, scene.num_labels, 4):
        mask = rasterize(*scene_mesh(cast, cast.at_label(k)), scene.camera).face_id >= 0
        for uv, visible in ((labels.joints2d[k], labels.joints_visible[k]),
                            (labels.markers2d[k], labels.markers_visible[k])):  # fmt: skip
            u, v = np.rint(uv[visible]).astype(int).T
            inside.append(mask[v, u])
            near.append(ndimage.binary_dilation(mask, iterations=2)[v, u])
            shown.append(visible)
    assert np.concatenate(shown).mean() > 0.6
    assert np.concatenate(near).all()
    assert np.concatenate(inside).mean() > 0.93


def test_loose_clothes_do_not_hide_their_markers():
    """Markers stick to the cloth, so about as many are seen; and they move with it."""
    loose = np.full(len(open_body_arrays()["v_template"]), 0.03, np.float32)
    counts = []
    for heading in range(0, 360, 45):
        who = person(standing(2), heading_deg=heading)
        (tight,), (dressed,) = (
            labels_of(stage(replace(who, offsets=o), camera=LARGE)) for o in (None, loose)
        )
        counts.append((tight.markers_visible[0].sum(), dressed.markers_visible[0].sum()))
        assert np.abs(tight.markers3d - dressed.markers3d).max() > 0.02
        np.testing.assert_array_equal(tight.joints3d, dressed.joints3d)
        np.testing.assert_array_equal(dressed.offsets, loose)
    tight_sum, dressed_sum = np.sum(counts, axis=0)
    assert tight_sum > 40 and dressed_sum > 0.75 * tight_sum
