"""AMASS motions on the open body: by hand against forward kinematics, on the floor, with fitting steps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from eventhpe.body.amass import fit_path, retarget_amass, stride_factor
from eventhpe.body.choreography import perform
from eventhpe.body.default import open_body_arrays
from eventhpe.body.fk import body_joints, forward_kinematics, sole_points
from eventhpe.body.motion import move_params
from eventhpe.body.motion_file import Y_UP_TO_Z_UP
from eventhpe.body.params import BodyParams
from eventhpe.errors import FormatError
from eventhpe.geometry.skeleton import SMPL_SKELETON


@pytest.fixture(scope="module")
def rest() -> np.ndarray:
    arrays = open_body_arrays()
    return arrays["J_regressor"].astype(np.float64) @ arrays["v_template"]


def write_amass(path: Path, poses: np.ndarray, trans: np.ndarray, *, fps: float = 120.0) -> Path:
    np.savez(
        path,
        poses=poses,
        trans=trans,
        betas=np.linspace(-2, 2, 16),
        mocap_framerate=fps,
        gender="female",
        dmpls=np.zeros((len(poses), 8)),
    )
    return path


def as_amass(path: Path, params: BodyParams, rest: np.ndarray, *, fps: float) -> Path:
    z_up = move_params(params, Y_UP_TO_Z_UP, np.zeros(3), rest[0], frame="world")
    poses = np.zeros((len(params.transl), 156))
    poses[:, :66] = z_up.pose[:, :22].reshape(-1, 66)
    return write_amass(path, poses, z_up.transl, fps=fps)


def sole_heights(params: BodyParams, rest: np.ndarray) -> np.ndarray:
    positions, rotations = forward_kinematics(rest, params.pose, params.transl)
    return sole_points(rest, positions, rotations)[..., 1].min(axis=1)


@pytest.mark.parametrize("width", [72, 156, 165])
def test_joints_are_those_of_forward_kinematics_by_hand(tmp_path, rest, width):
    rng = np.random.default_rng(width)
    T = 20
    start = rng.normal(0, 0.4, (1, width))
    poses = start + np.linspace(0, 1, T)[:, None] * rng.normal(0, 0.3, (1, width))
    trans = np.array([1.0, -2.0, 0.9]) + np.linspace(0, 0.4, T)[:, None] * [1.0, 0.5, 0.0]
    params, fps = retarget_amass(write_amass(tmp_path / "a.npz", poses, trans), rest)

    world = np.empty((T, 24, 3))
    kept = 24 if width == 72 else 22
    for k in range(T):
        R, x = [np.eye(3)] * 24, np.zeros((24, 3))
        for j, parent in enumerate(SMPL_SKELETON.parents):
            local = poses[k, 3 * j : 3 * j + 3] if j < kept else np.zeros(3)
            matrix = Rotation.from_rotvec(local).as_matrix()
            R[j] = matrix if parent < 0 else R[parent] @ matrix
            if parent >= 0:
                x[j] = x[parent] + R[parent] @ (rest[j] - rest[parent])
        world[k] = np.stack([x[:, 0], x[:, 2], -x[:, 1]], axis=-1)  # Z up to Y up: (x, y, z) -> (x, z, -y)

    joints = body_joints(params, rest)
    np.testing.assert_allclose(joints - joints[:, :1], world, atol=1e-9)
    path = joints[:, 0] - joints[0, 0]
    turned = (trans - trans[0])[:, [0, 2, 1]] * [1, 1, -1]
    factor = path[-1, 0] / turned[-1, 0]
    np.testing.assert_allclose(path, factor * turned, atol=1e-9, err_msg="one factor for the whole path")
    assert 0.7 <= factor <= 1.4 and fps == pytest.approx(120, rel=1e-4) and params.frame == "world"
    assert params.model == "open" and not params.betas.any(), "shapes of other models are not taken over"


def test_steps_and_floor_fit_legs_of_another_length(tmp_path, rest):
    long = rest * 1.15
    walk = perform("walk", duration_s=3, fps=120, rng=np.random.default_rng(2), rest_joints=long)
    path = as_amass(tmp_path / "walk.npz", walk, long, fps=120)
    params, _ = retarget_amass(path, rest, betas=np.full(10, 0.5))
    travel = np.linalg.norm(np.ptp(params.transl, axis=0)[[0, 2]])
    assert travel == pytest.approx(np.linalg.norm(np.ptp(walk.transl, axis=0)[[0, 2]]) / 1.15, rel=0.03)
    low = sole_heights(params, rest)
    assert abs(np.percentile(low, 5)) < 1e-6 and low.max() < 0.02, "on the floor throughout"
    assert np.array_equal(params.betas, np.full((360, 10), 0.5))


def test_squats_of_long_legs_do_not_sink_into_the_floor(tmp_path, rest):
    long = rest * 1.15
    squat = perform("squat", duration_s=4, fps=60, rng=np.random.default_rng(0), rest_joints=long)
    low = sole_heights(retarget_amass(as_amass(tmp_path / "s.npz", squat, long, fps=60), rest)[0], rest)
    assert np.ptp(low) < 0.02


def test_the_bodys_own_motion_keeps_its_path(rest):
    for name in ("walk", "stand_sway", "jump", "wave"):
        own = perform(name, duration_s=3, fps=60, rng=np.random.default_rng(1), rest_joints=rest)
        assert stride_factor(own, rest, step_s=1 / 60) == pytest.approx(1.0, abs=0.03), name
    np.testing.assert_allclose(
        np.ptp(fit_path(own, rest, step_s=1 / 60).transl, axis=0), np.ptp(own.transl, axis=0), rtol=0.03
    )


def test_a_jump_keeps_its_flight(tmp_path, rest):
    jump = perform("jump", duration_s=4, fps=120, rng=np.random.default_rng(3), rest_joints=rest)
    flight = sole_heights(jump, rest).max()
    assert flight > 0.05
    got, _ = retarget_amass(as_amass(tmp_path / "j.npz", jump, rest, fps=120), rest)
    assert sole_heights(got, rest).max() == pytest.approx(flight, rel=0.1)


def test_files_that_are_no_motion_are_refused(tmp_path, rest):
    with pytest.raises(FormatError, match=r"one\.npz.*at least 2"):
        retarget_amass(write_amass(tmp_path / "one.npz", np.zeros((1, 156)), np.zeros((1, 3))), rest)
    with pytest.raises(FormatError, match=r"odd\.npz.*poses"):
        retarget_amass(write_amass(tmp_path / "odd.npz", np.zeros((5, 99)), np.zeros((5, 3))), rest)
    np.savez(tmp_path / "pickled.npz", poses=np.array([None] * 3, dtype=object), trans=np.zeros((3, 3)))
    with pytest.raises(FormatError, match=r"pickled\.npz.*poses"):
        retarget_amass(tmp_path / "pickled.npz", rest)
