from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from eventhpe.geometry.rotation import rotvec_to_rotmat
from eventhpe.shapenet.losses import (
    BodyTargets,
    ParityLossWeights,
    ShapeLossWeights,
    arccos_angle,
    parity_losses,
    shape_losses,
)
from eventhpe.shapenet.state import ShapeOutput

CROP = torch.tensor([0.03, -0.03, 0.4]).expand(2, 3, 3)
K = torch.tensor([[335.86, 0, 128.2], [0, 335.86, 128.2], [0, 0, 1]])


def perfect(targets: BodyTargets) -> ShapeOutput:
    return ShapeOutput(
        rotmats=targets.rotmats.clone(),
        betas=targets.betas.clone(),
        transl=targets.transl.clone(),
        rotmats_start=targets.rotmats[:, 0].clone(),
        transl_start=targets.transl[:, 0].clone(),
        hidden=torch.zeros(2, 4),
        rotmats_abs=targets.rotmats.clone(),
        transl_abs=targets.transl.clone(),
        log_var=torch.full((2, 3, 24), -4.0),
    )


def test_the_truth_costs_nothing(body: Any, targets: BodyTargets) -> None:
    terms = shape_losses(perfect(targets), targets, body=body, crop=CROP)[1]
    for name, value in terms.items():
        assert float(value) == pytest.approx(-2.0 if name == "nll" else 0.0, abs=2e-5), name


def test_each_term_sees_its_own_error(body: Any, targets: BodyTargets) -> None:
    true = perfect(targets)
    turn = torch.tensor(rotvec_to_rotmat([0.0, 0.0, 0.1]), dtype=torch.float32)
    turned = shape_losses(replace(true, rotmats=turn @ true.rotmats), targets, body=body, crop=CROP)[1]
    assert float(turned["geodesic"]) == pytest.approx(0.1, abs=1e-4)
    assert float(turned["geodesic_abs"]) == pytest.approx(0.0, abs=1e-5)
    moved = shape_losses(
        replace(true, transl=true.transl + torch.tensor([0.2, 0.0, 0.0])), targets, body=body, crop=CROP
    )[1]
    assert float(moved["joints3d"]) == pytest.approx(0.0, abs=1e-6)
    assert float(moved["joints2d"]) > 0.02 and float(moved["translation"]) > 0.02
    shaped = shape_losses(replace(true, betas=true.betas + 0.5), targets, body=body, crop=CROP)[1]
    assert float(shaped["betas"]) == pytest.approx(0.25, abs=1e-5)
    jittery = true.rotmats.clone()
    jittery[:, 1] = turn @ jittery[:, 1]
    assert (
        float(shape_losses(replace(true, rotmats=jittery), targets, body=body, crop=CROP)[1]["velocity"])
        > 1e-3
    )


def test_translation_error_is_relative(body: Any, targets: BodyTargets) -> None:
    """Twice as far means log 2 of error in depth, in crop units nothing sideways."""
    true = perfect(targets)
    pelvis = body.joints(true.rotmats, true.betas, true.transl)[..., 0, :]
    doubled = replace(true, transl=true.transl + pelvis)
    term = shape_losses(doubled, targets, body=body, crop=CROP)[1]["translation"]
    assert float(term) == pytest.approx((0.6931 - 0.01) / 3, abs=1e-3)


def test_invalid_windows_do_not_count(body: Any, targets: BodyTargets) -> None:
    true = perfect(targets)
    bad = true.rotmats.clone()
    bad[1, 2] = torch.eye(3)
    valid = torch.ones(2, 3, dtype=torch.bool)
    valid[1, 2] = False
    total = {}
    for name, mask in {"all": None, "masked": valid}.items():
        total[name] = shape_losses(
            replace(true, rotmats=bad), replace(targets, valid=mask), body=body, crop=CROP
        )[1]
    assert float(total["all"]["geodesic"]) > 0.05 > 1e-4 > float(total["masked"]["geodesic"])
    assert float(total["masked"]["velocity"]) == pytest.approx(0.0, abs=1e-7)


def test_uncertainty_is_best_at_the_size_of_the_error(body: Any, targets: BodyTargets) -> None:
    true = perfect(targets)
    shifted = replace(targets, joints=targets.joints.clone())
    shifted.joints[..., 20, :] += torch.tensor([0.3, 0.0, 0.0])
    scales = (0.1, 0.3, 0.9)
    losses = []
    for scale in scales:
        log_var = torch.full((2, 3, 24), -4.0)
        log_var[..., 20] = 2 * torch.log(torch.tensor(scale))
        losses.append(
            float(shape_losses(replace(true, log_var=log_var), shifted, body=body, crop=CROP)[1]["nll"])
        )
    assert losses.index(min(losses)) == 1


def test_total_is_the_weighted_sum_and_zero_weights_drop_terms(body: Any, targets: BodyTargets) -> None:
    true = replace(perfect(targets), betas=targets.betas + 0.1)
    weights = ShapeLossWeights(nll=0.0, velocity=0.0, joints2d=3.0)
    total, terms = shape_losses(true, targets, body=body, crop=CROP, weights=weights)
    assert "nll" not in terms and "velocity" not in terms and "coherence" not in terms
    assert float(total) == pytest.approx(
        sum(float(v) * weights.to_json()[k] for k, v in terms.items()), rel=1e-5
    )


def test_parity_losses_by_hand(body: Any, targets: BodyTargets) -> None:
    true = perfect(targets)
    out = replace(true, transl=true.transl + torch.tensor([0.0, 0.0, 0.3]))
    total, terms = parity_losses(out, targets, body=body, K=K)
    assert float(terms["translation"]) == pytest.approx(0.09 / 3, rel=1e-4)
    assert float(terms["joints3d"]) == pytest.approx(0.09 / 3, rel=1e-3)
    assert float(terms["geodesic"]) == pytest.approx(float(torch.arccos(torch.tensor(1 - 1e-6))), rel=0.05)
    uvw, true_uvw = out.transl[..., None, :] - true.transl[..., None, :] + targets.joints, targets.joints
    uv, true_uv = ((p @ K.T)[..., :2] / p[..., 2:] / 256 for p in (uvw, true_uvw))
    assert float(terms["joints2d"]) == pytest.approx(
        float((uv.clamp(0, 1) - true_uv).square().mean()), rel=1e-3
    )
    w = ParityLossWeights()
    expected = terms["translation"] + 10 * terms["geodesic"] + terms["joints3d"] + 10 * terms["joints2d"]
    assert (w.translation, w.geodesic, w.joints3d, w.joints2d, w.coherence) == (1, 10, 1, 10, 0.1)
    assert float(total) == pytest.approx(float(expected), rel=1e-5)


def test_parity_translation_learns_from_its_own_term_only(body: Any, targets: BodyTargets) -> None:
    true = perfect(targets)
    flow = 8 * torch.ones(2, 3, 2, 256, 256)
    transl = (true.transl + 0.2).requires_grad_()
    weights = ParityLossWeights(translation=0.0)
    out = replace(true, transl=transl, rotmats=true.rotmats.clone().requires_grad_())
    total = parity_losses(out, targets, body=body, K=K, flow=flow, weights=weights)[0]
    total.backward()
    assert transl.grad is None or float(transl.grad.abs().max()) == 0.0
    assert float(out.rotmats.grad.abs().max()) > 0  # type: ignore[union-attr]


def test_published_angle_is_clamped() -> None:
    eye = torch.eye(3)
    quarter = torch.tensor(rotvec_to_rotmat([0, torch.pi / 2, 0]), dtype=torch.float32)
    assert float(arccos_angle(eye, quarter)) == pytest.approx(torch.pi / 2, abs=1e-5)
    same = eye.clone().requires_grad_()
    arccos_angle(same, eye).backward()
    assert float(same.grad.abs().max()) == 0.0  # type: ignore[union-attr]
