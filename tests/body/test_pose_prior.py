"""The pose prior: its density, its file, and the tool that makes it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from eventhpe.body.choreography import perform
from eventhpe.body.default import open_body
from eventhpe.body.pose_prior import ASSET, PRIOR_JOINTS, SIZE, PosePrior, load_pose_prior, read_pose_prior
from eventhpe.body.retarget import mirror
from eventhpe.errors import FormatError, ShapeError

TOOLS = Path(__file__).resolve().parents[2] / "tools"


@pytest.fixture(scope="module")
def tool() -> Iterator[Any]:
    sys.path.insert(0, str(TOOLS))
    yield import_module("make_pose_prior")
    sys.path.remove(str(TOOLS))


def test_density_is_that_of_the_mixture() -> None:
    prior = load_pose_prior()
    x = np.random.default_rng(0).normal(scale=0.4, size=(5, SIZE))
    parts = [
        np.log(w) + multivariate_normal(m, c).logpdf(x)
        for w, m, c in zip(prior.weights, prior.means, prior.covariances, strict=True)
    ]
    got = prior.negative_log_density(torch.tensor(x).reshape(5, len(PRIOR_JOINTS), 3))
    np.testing.assert_allclose(got.numpy(), -logsumexp(parts, axis=0), rtol=1e-9)


def test_density_over_any_batch_has_right_gradients() -> None:
    prior = load_pose_prior()
    x = torch.randn(2, 1, 21, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 0.3
    assert prior.negative_log_density(x).shape == (2, 1)
    assert prior.negative_log_density(x.float()).dtype == torch.float32
    assert torch.autograd.gradcheck(prior.negative_log_density, (x.requires_grad_(),))
    with pytest.raises(ShapeError, match="21, 3"):
        prior.negative_log_density(torch.zeros(24, 3))


@pytest.mark.parametrize("name", ["walk", "punch", "squat"])
def test_human_poses_are_likelier_than_scrambled_ones(name: str) -> None:
    rest = open_body().J_template.numpy()
    params = perform(name, duration_s=2, fps=10, rng=np.random.default_rng(7), rest_joints=rest)
    poses = {"own": params, "mirrored": mirror(params)}
    energy = {
        k: load_pose_prior().negative_log_density(torch.tensor(p.body_pose[:, :21])).numpy()
        for k, p in poses.items()
    }
    turned = torch.tensor(params.body_pose[:, :21][:, ::-1].copy())  # the same angles at other joints
    scrambled = load_pose_prior().negative_log_density(turned).numpy()
    assert energy["own"].max() < scrambled.min()
    assert abs(energy["own"].mean() - energy["mirrored"].mean()) < 10  # either side is as usual as the other


def test_shipped_file_says_where_it_comes_from() -> None:
    assert ASSET.stat().st_size < 12_000
    provenance = load_pose_prior().provenance
    assert provenance["clips"] > 50 and provenance["movements"] >= 40
    assert len(provenance["clips_sha256"]) == 64
    assert not {"cmu14", "cmu60", "cmu86", "cmu94"} & set(provenance["subjects"])


def test_tool_finds_a_mixture_again(tool: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    means = rng.normal(scale=0.5, size=(2, SIZE))
    factor = np.zeros((SIZE, 1))
    factor[10:20] = 0.3
    which = rng.random(3000) < 0.7
    x = means[np.where(which, 0, 1)] + rng.normal(scale=0.1, size=(3000, SIZE))
    x += rng.normal(size=(3000, 1)) * factor.T
    prior = tool.fit_mixture(x, 2, 1, np.random.default_rng(0), rounds=15)
    np.testing.assert_allclose(prior.weights, [0.7, 0.3], atol=0.03)
    np.testing.assert_allclose(prior.means, means, atol=0.05)
    wanted = factor @ factor.T + (0.1**2 + tool.FLOOR_RAD**2) * np.eye(SIZE)
    np.testing.assert_allclose(prior.covariances[0], wanted, atol=0.012)
    tool.save(tmp_path / "a.npz", prior, {"clips": 0})
    tool.save(
        tmp_path / "b.npz", tool.fit_mixture(x, 2, 1, np.random.default_rng(0), rounds=15), {"clips": 0}
    )
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    again = read_pose_prior(tmp_path / "a.npz")
    np.testing.assert_allclose(again.means, prior.means, atol=1e-3)
    assert again.provenance == {"clips": 0}


def test_principal_factors_keep_the_diagonal(tool: Any) -> None:
    rng = np.random.default_rng(4)
    factors = rng.normal(scale=0.4, size=(SIZE, 2))
    covariance = factors @ factors.T + np.diag(rng.uniform(0.01, 0.05, SIZE))
    variances, found = tool.principal_factors(covariance, 2, rounds=300)
    np.testing.assert_allclose(np.diag(variances) + found @ found.T, covariance, atol=2e-3)


def test_wrong_arrays_and_files_are_refused(tmp_path: Path) -> None:
    prior = load_pose_prior()
    with pytest.raises(ShapeError, match="weights"):
        replace(prior, weights=prior.weights * 2)
    with pytest.raises(ShapeError, match="variances must be positive"):
        replace(prior, variances=np.zeros_like(prior.variances))
    with pytest.raises(ShapeError, match="means"):
        PosePrior(prior.weights, prior.means[:, :60], prior.variances, prior.factors)
    path = tmp_path / "prior.npz"
    np.savez(path, weights=prior.weights)
    with pytest.raises(FormatError, match="missing means"):
        read_pose_prior(path)
    path.write_bytes(ASSET.read_bytes()[:3000])
    with pytest.raises(FormatError, match=r"prior\.npz"):
        read_pose_prior(path)
