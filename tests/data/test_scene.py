"""Scenes: what they refuse, flicker, and where a shaking camera is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from eventhpe.body.params import BodyParams
from eventhpe.data.scene import Flicker, Person
from eventhpe.errors import ShapeError, UnitError
from eventhpe.geometry.rotation import rotvec_to_rotmat
from tests.data.staging import person, shaking, stage, standing


def test_a_scene_knows_its_labels_and_length():
    scene = stage([person(standing(6)), person(standing(6), place=(1.0, 0.0, 0.0))])
    assert (scene.num_labels, scene.duration_us) == (6, 50_000)


def test_a_motion_in_the_camera_frame_or_of_one_instant_is_refused():
    motion, tone = person(standing(3)).motion, np.ones(1, np.float32)
    with pytest.raises(ShapeError, match="world frame"):
        Person(replace(motion, frame="camera"), "x", tone)
    one = BodyParams(motion.betas[0], motion.global_orient[0], motion.body_pose[0], motion.transl[0],
                     frame="world")  # fmt: skip
    with pytest.raises(ShapeError, match="over \\(K,\\)"):
        Person(one, "x", tone)


@pytest.mark.parametrize("people", [(), (person(standing(1)),), (person(standing(3)), person(standing(4)))])
def test_people_must_be_there_move_and_be_equally_long(people):
    with pytest.raises(ShapeError, match=r"Scene\.people"):
        stage(people)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("shake", np.zeros((4, 3))),
        ("shadow", 1.1),
        ("shadow", -0.1),
        ("ambient", 2.0),
        ("ambient", float("nan")),
        ("step_us", 0),
        ("exposure_dn", 0.0),
        ("gray_exposure_us", -1),
    ],
)
def test_bad_values_are_refused_by_name(name, value):
    with pytest.raises((ShapeError, UnitError), match=rf"Scene\.{name}"):
        stage(person(standing(3)), **{name: value})


@pytest.mark.parametrize(
    ("hz", "depth"), [(0.0, 0.1), (-50.0, 0.1), (2000.0, 0.1), (100.0, 1.0), (100.0, -0.1)]
)
def test_lamps_that_cannot_be_are_refused(hz, depth):
    with pytest.raises(UnitError, match="Flicker"):
        Flicker(hz, depth)


def test_flicker_has_its_frequency_depth_and_mean():
    lamp = Flicker(100.0, 0.2, phase=0.7)
    gains = np.array([lamp.gain(t) for t in range(0, 100_000, 50)])
    assert gains.mean() == pytest.approx(1.0, abs=1e-9)
    assert gains.max() == pytest.approx(1.2, abs=1e-3) and gains.min() == pytest.approx(0.8, abs=1e-3)
    spectrum = np.abs(np.fft.rfft(gains - 1))
    assert np.fft.rfftfreq(len(gains), 50e-6)[spectrum.argmax()] == pytest.approx(100.0)
    assert lamp.gain(0) == pytest.approx(1 + 0.2 * np.cos(0.7))


def test_a_still_camera_stays_where_it_is():
    scene = stage(person(standing(4)))
    R, t = scene.extrinsics()
    assert R.shape == (4, 3, 3) and t.shape == (4, 3)
    assert (R == scene.camera.R_world_to_cam).all() and (t == scene.camera.t_world_to_cam).all()


def test_shake_turns_the_camera_about_its_own_centre():
    shake = shaking(4, size_rad=0.2)
    scene = stage(person(standing(4)), shake=shake)
    R, t = scene.extrinsics()
    rest = scene.camera
    eye = -rest.R_world_to_cam.T @ rest.t_world_to_cam
    points = np.random.default_rng(0).normal(size=(10, 3))
    for k in range(4):
        np.testing.assert_allclose(-R[k].T @ t[k], eye, atol=1e-12)
        expected = rest.to_camera_frame(points) @ rotvec_to_rotmat(shake[k]).T
        np.testing.assert_allclose(points @ R[k].T + t[k], expected, atol=1e-12)
    assert np.ptp(R, axis=0).max() > 0.1
