"""How far people move within a window."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from eventhpe.body.choreography import perform
from eventhpe.body.default import open_body
from eventhpe.body.step_prior import ASSET, NUM_TURNS, SIZE, StepPrior, load_step_prior, read_step_prior
from eventhpe.data.windows import WINDOW_US
from eventhpe.errors import FormatError, ShapeError
from eventhpe.geometry.skeleton import SMPL_SKELETON

TOOLS = Path(__file__).resolve().parents[2] / "tools"
JOINTS = SMPL_SKELETON.joints


@pytest.fixture(scope="module")
def tool() -> Iterator[Any]:
    sys.path.insert(0, str(TOOLS))
    yield import_module("make_step_prior")
    sys.path.remove(str(TOOLS))


def test_shipped_prior_knows_how_joints_bend() -> None:
    prior = load_step_prior()
    assert prior.step_us == WINDOW_US and ASSET.stat().st_size < 20_000
    assert prior.provenance["clips"] > 50 and prior.provenance["steps"] > 10_000
    assert not {"cmu14", "cmu60", "cmu86", "cmu94"} & set(prior.provenance["subjects"])
    std = np.sqrt(np.diag(prior.covariance))
    knee = std[3 * JOINTS.index("knee_left") :][:3]
    elbow = std[3 * JOINTS.index("elbow_right") :][:3]
    root = std[:3]
    assert knee[0] > 5 * knee[1:].max()  # a hinge about the body's x
    assert elbow[1] > 3 * elbow[[0, 2]].max()  # a hinge about y, arms stretched sideways at rest
    assert root[1] > 2 * root[[0, 2]].max()  # people turn about the vertical
    assert 0.005 < std[NUM_TURNS:].min() and std[NUM_TURNS:].max() < 0.05
    # Legs swing against each other.
    hips = [3 * JOINTS.index(f"hip_{side}") for side in ("left", "right")]
    swing = prior.covariance[hips[0], hips[1]] / (std[hips[0]] * std[hips[1]])
    assert swing < -0.1


def test_steps_lead_from_frame_to_frame(tool: Any) -> None:
    rest = open_body().J_template.numpy().astype(np.float64)
    params = perform("walk", duration_s=1, fps=20, rng=np.random.default_rng(0), rest_joints=rest)
    steps = tool.steps_of(params, rest[0])
    assert steps.shape == (len(params.transl) - 1, SIZE)
    R = Rotation.from_rotvec(np.array(params.body_pose[:, 3]))  # knee_left
    np.testing.assert_allclose(
        (Rotation.from_rotvec(steps[:, 12:15]) * R[:-1]).as_matrix(), R[1:].as_matrix(), atol=1e-9
    )
    # The camera is level and looks along -z of the world.
    np.testing.assert_allclose(steps[:, NUM_TURNS:], np.diff(params.transl, axis=0) * [1, -1, -1], atol=1e-12)


def test_files_come_back_and_tell_what_is_wrong(tool: Any, tmp_path: Path) -> None:
    prior = StepPrior(np.eye(SIZE) * 0.01, WINDOW_US, {"steps": 7})
    tool.save(tmp_path / "a.npz", prior)
    again = read_step_prior(tmp_path / "a.npz")
    np.testing.assert_allclose(again.covariance, prior.covariance, atol=1e-7)
    assert again.provenance == {"steps": 7} and again.step_us == WINDOW_US
    assert not again.covariance.flags.writeable
    with pytest.raises(ShapeError, match="symmetric"):
        replace(prior, covariance=np.triu(np.ones((SIZE, SIZE))))
    with pytest.raises(ShapeError, match="symmetric"):
        replace(prior, covariance=-np.eye(SIZE))
    with pytest.raises(ShapeError, match="75, 75"):
        replace(prior, covariance=np.eye(72))
    with pytest.raises(ShapeError, match="step_us"):
        replace(prior, step_us=0)
    np.savez(tmp_path / "b.npz", covariance=prior.covariance)
    with pytest.raises(FormatError, match="missing step_us, joint_names, provenance"):
        read_step_prior(tmp_path / "b.npz")
    (tmp_path / "a.npz").write_bytes(ASSET.read_bytes()[:5000])
    with pytest.raises(FormatError, match=r"a\.npz"):
        read_step_prior(tmp_path / "a.npz")
