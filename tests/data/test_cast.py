"""People at any instant: posed as the body model says, moved into the camera's frame, dressed, one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from eventhpe.body.default import open_body, open_body_arrays
from eventhpe.body.loose_clothes import offset_vectors
from eventhpe.body.posing import BodyPoser
from eventhpe.data.cast import Cast, rest_joints
from eventhpe.geometry.rotation import interpolate_rotvec, rotvec_to_rotmat
from tests.data.staging import STEP_US, performer, person, shaking, stage, standing

BETAS = np.linspace(-1.5, 1.5, 10)


@pytest.fixture(scope="module")
def two() -> Cast:
    left = performer("jumping_jack", 0.1, speed=2.0, place=(-0.5, 0.0, 0.0))
    right = performer("wave", 0.1, speed=2.0, place=(0.5, 0.0, 0.3), seed=1)
    return Cast.of_scene(stage([left, right]))


def world_bodies(who, k: int, offsets=None) -> tuple[np.ndarray, np.ndarray]:
    """Vertices and joints in the world, posed without the cast."""
    arrays = open_body_arrays()
    poser = BodyPoser(arrays, None if offsets is None else offset_vectors(arrays, offsets))
    m = who.motion
    return poser.pose(m.betas[k], m.pose[k], m.transl[k])


def test_rest_joints_are_those_of_the_body_model():
    with torch.no_grad():
        expected = open_body()(
            torch.eye(3).expand(24, 3, 3), torch.tensor(BETAS).float(), torch.zeros(3)
        ).joints
    np.testing.assert_allclose(rest_joints(BETAS), expected, atol=1e-5)
    assert rest_joints(BETAS).dtype == np.float64


def test_at_a_label_everybody_stands_where_the_scene_says():
    people = [
        performer("jumping_jack", 0.1, speed=2.0),
        performer("squat", 0.1, seed=3, place=(0.7, 0.0, -0.4)),
    ]
    scene = stage(people)
    cast = Cast.of_scene(scene)
    assert cast.t_us.tolist() == [STEP_US * k for k in range(11)]
    for k in (0, 5, 10):
        instant = cast.at_label(k)
        for i, who in enumerate(people):
            vertices, joints = world_bodies(who, k)
            np.testing.assert_allclose(instant.vertices[i], scene.camera.to_camera_frame(vertices), atol=2e-5)
            np.testing.assert_allclose(instant.joints[i], scene.camera.to_camera_frame(joints), atol=1e-6)
            assert instant.vertices[i].dtype == np.float32


def test_at_a_label_time_and_at_the_label_is_the_same(two):
    for k, instant in enumerate(two.at(two.t_us)):
        for a, b in zip(instant.vertices, two.at_label(k).vertices, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)


def test_between_labels_rotations_go_along_the_sphere_and_places_along_lines(two):
    times = np.array([1_234, 5_000, 48_765, 99_999])
    for t, instant in zip(times, two.at(times), strict=True):
        for i, p in enumerate(two.people):
            pose = interpolate_rotvec([t], two.t_us, p.pose)[0]
            transl = [np.interp(t, two.t_us, c) for c in p.transl.T]
            expected = BodyPoser(open_body_arrays()).vertices(p.betas[0], pose, transl)
            np.testing.assert_allclose(instant.vertices[i], expected, atol=1e-6)


def test_times_outside_the_labels_take_the_nearest_end(two):
    before, after = two.at([-5_000, 1_000_000])
    np.testing.assert_allclose(before.joints[0], two.at_label(0).joints[0], atol=1e-9)
    np.testing.assert_allclose(after.joints[1], two.at_label(10).joints[1], atol=1e-9)


def test_people_keep_their_own_shapes(two):
    heights = [np.ptp(v @ np.array([0, 1, 0])) for v in two.at_label(0).vertices]
    again = [np.ptp(v @ np.array([0, 1, 0])) for v in two.at_label(0).vertices]
    assert heights == again and abs(heights[0] - heights[1]) > 0.02


def test_clothes_move_the_skin_and_leave_the_joints():
    who = person(standing(3), betas=BETAS)
    V = len(open_body_arrays()["v_template"])
    loose = np.zeros(V, np.float32)
    loose[: V // 2] = 0.02
    tight, dressed = (Cast.of_scene(stage(replace(who, offsets=o))).at_label(1) for o in (None, loose))
    apart = np.linalg.norm(dressed.vertices[0] - tight.vertices[0], axis=1)
    # Where bones bend, linear skinning shrinks.
    assert np.median(apart[: V // 2]) == pytest.approx(0.02, abs=1e-4)
    assert 0.015 < apart[: V // 2].min() and apart.max() < 0.0205
    assert apart[V // 2 :].max() < 1e-6
    np.testing.assert_array_equal(dressed.joints[0], tight.joints[0])


def test_a_shaking_camera_sees_the_world_turn():
    who = performer("jumping_jack", 0.1, speed=2.0)
    shake = shaking(11, size_rad=0.1)
    scene = stage(who, shake=shake)
    still, shaken = Cast.of_scene(replace(scene, shake=None)), Cast.of_scene(scene)
    for k in (0, 4, 10):
        R = rotvec_to_rotmat(shake[k])
        np.testing.assert_allclose(
            shaken.at_label(k).vertices[0], still.at_label(k).vertices[0] @ R.T, atol=2e-5
        )
        np.testing.assert_allclose(shaken.at_label(k).joints[0], still.at_label(k).joints[0] @ R.T, atol=1e-6)
    R_label, t_label = scene.extrinsics()
    _, joints = world_bodies(who, 4)
    np.testing.assert_allclose(shaken.at_label(4).joints[0], joints @ R_label[4].T + t_label[4], atol=1e-6)


def test_posing_changes_nothing_that_was_handed_in(two):
    pose = two.people[0].pose.copy()
    first = two.at([12_345])[0].vertices[0].copy()
    two.at([77_777])
    np.testing.assert_array_equal(two.at([12_345])[0].vertices[0], first)
    np.testing.assert_array_equal(two.people[0].pose, pose)
