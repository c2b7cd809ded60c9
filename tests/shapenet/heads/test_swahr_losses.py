"""Scale- and weight-adaptive heatmap losses against their formulae."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch
from torch import Tensor

from eventhpe.errors import ShapeError
from eventhpe.shapenet.heads.swahr_losses import (
    AdaptiveOptions,
    adaptive_weights,
    heatmap_losses,
    rescaled,
)
from eventhpe.shapenet.heads.swahr_targets import people_heatmaps

OPTIONS = [
    AdaptiveOptions(sahr=s, wahr=w, expansion=e, weighting=v)
    for s, w, e, v in product(
        (False, True), (False, True), ("taylor2", "exact"), ("published", "scaled", "target")
    )
]


@pytest.fixture
def heat() -> Tensor:
    uv = torch.tensor([[[[10.0, 12.0], [25.0, 20.0]], [[14.0, 13.0], [5.0, 28.0]]]])
    return people_heatmaps(uv, torch.ones(1, 2, 2, dtype=torch.bool), stride=1, size=(32, 32))


@pytest.mark.parametrize("expansion", ["taylor2", "exact"])
def test_alpha_zero_changes_no_bit(heat: Tensor, expansion: str) -> None:
    assert torch.equal(rescaled(heat, torch.zeros_like(heat), expansion), heat)
    assert torch.equal(rescaled(heat, -torch.zeros_like(heat), expansion), heat)


@pytest.mark.parametrize("expansion", ["taylor2", "exact"])
def test_zero_stays_zero(heat: Tensor, expansion: str) -> None:
    for alpha in (-0.8, 0.5, 3.0, 1e6):
        assert not rescaled(heat, torch.full_like(heat, alpha), expansion)[heat == 0].any()


def test_the_expansion_is_as_good_as_stated() -> None:
    H = torch.linspace(1e-6, 1, 2001, dtype=torch.float64)[:, None]
    for limit, bound in ((0.25, 0.005), (0.5, 0.045)):
        alpha = torch.linspace(-limit, limit, 101, dtype=torch.float64)[None]
        error = float((rescaled(H, alpha) - rescaled(H, alpha, "exact")).abs().max())
        assert bound / 10 < error < bound
        assert torch.allclose(rescaled(H, alpha, "exact"), H ** (1 + alpha), rtol=1e-12)
    for alpha in (-3.0, 0.3, 5.0):
        assert (rescaled(H, torch.tensor(alpha)) >= H / 2 - 1e-12).all(), "never below half height"


def test_hand_computed_scales() -> None:
    one = torch.tensor(1.0)
    assert float(rescaled(torch.tensor(0.011), one)) == pytest.approx(0.0733, abs=2e-4), "the tail rises"
    assert float(rescaled(torch.tensor(0.011), one, "exact")) == pytest.approx(0.000121, rel=1e-4)
    wide = torch.tensor(-0.75)
    assert float(rescaled(torch.tensor(0.1), wide)) == pytest.approx(0.4218, abs=1e-4)
    assert float(rescaled(torch.tensor(0.1), wide, "exact")) == pytest.approx(0.1**0.25, abs=1e-5)
    assert float(rescaled(torch.tensor(0.1), -5 * one, "exact")) == pytest.approx(0.1**0.1, abs=1e-5), (
        "clamped"
    )


def test_the_exact_form_is_a_gaussian_of_another_width(heat: Tensor) -> None:
    single = heat[:, 1:]
    s = 2.0
    wider = rescaled(single, torch.full_like(single, 1 / s - 1), "exact")
    assert float(wider[0, 0, 20, 27]) == pytest.approx(math.exp(-4 / (2 * (2 * math.sqrt(s)) ** 2)), rel=1e-5)
    assert torch.equal(wider > 0, single > 0), "the support stays"


def test_weights_in_the_two_clear_cases(heat: Tensor) -> None:
    nothing = adaptive_weights(torch.zeros_like(heat), heat, heat)
    assert torch.allclose(nothing[heat > 0], heat[heat > 0] ** 0.01)
    assert not nothing[heat == 0].any()
    full = adaptive_weights(torch.ones_like(heat), heat, heat)
    assert (full[heat == 0] == 1).all()
    assert torch.allclose(full[heat > 0], 1 - heat[heat > 0] ** 0.01, atol=1e-6)


def test_weights_follow_the_formula(heat: Tensor) -> None:
    P, alpha = torch.randn_like(heat), torch.full_like(heat, 0.4)
    target = rescaled(heat, alpha)
    for variant, base, easy in (
        ("published", heat, 1 - P),
        ("scaled", target, 1 - P),
        ("target", heat, target - P),
    ):
        power = base**0.3
        expected = easy.abs() * power + P.abs() * (1 - power)
        got = adaptive_weights(P, heat, target, variant=variant, gamma=0.3)
        assert torch.allclose(got, expected, atol=1e-6), variant
    perfect = adaptive_weights(target, heat, target, variant="target")
    assert float(perfect[heat > 0].max()) < 0.12 and not perfect[heat == 0].any()


def test_terms_by_hand() -> None:
    H = torch.tensor([[[[0.0, 0.5], [1.0, 0.0]]]])
    P = torch.tensor([[[[0.5, 0.5], [0.5, -2.0]]]])
    alpha = torch.tensor([[[[9.0, 0.2], [0.1, 9.0]]]])
    mask = torch.tensor([[[1.0, 1.0], [1.0, 0.0]]])
    plain = heatmap_losses(P, None, H, mask, AdaptiveOptions(sahr=False, wahr=False))
    assert plain.keys() == {"heat"} and float(plain["heat"]) == pytest.approx((0.25 + 0 + 0.25) / 4)
    length = 0.2 * math.log(0.5)
    scaled = 0.5 * (1 + length + length**2 / 2)
    sahr = heatmap_losses(P, alpha, H, mask, AdaptiveOptions(wahr=False, regulariser=0.1))
    assert float(sahr["heat"]) == pytest.approx((0.25 + (0.5 - scaled) ** 2 + 0.25) / 4)
    assert float(sahr["scale"]) == pytest.approx(0.1 * (0.2**2 + 0.1**2) / 4)
    wahr = heatmap_losses(P, None, H, mask, AdaptiveOptions(sahr=False))
    assert float(wahr["heat"]) == pytest.approx((0.5 * 0.25 + 0 + 0.5 * 0.25) / 4)
    both = heatmap_losses(P, alpha, H, mask, AdaptiveOptions())
    power = 0.5**0.01
    weight = 0.5 * power + 0.5 * (1 - power)
    expected = (0.5 * 0.25 + weight * (0.5 - scaled) ** 2 + 0.5 * 0.25) / 4
    assert float(both["heat"]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: f"{o.arm}-{o.expansion}-{o.weighting}")
def test_gradients_are_finite_and_masked_pixels_give_none(heat: Tensor, options: AdaptiveOptions) -> None:
    torch.manual_seed(0)
    P = (torch.randn_like(heat) * (torch.rand_like(heat) > 0.5)).requires_grad_()
    alpha = (torch.randn_like(heat) * 0.5).requires_grad_()
    mask = (torch.rand(1, 32, 32) > 0.3).float()
    terms = heatmap_losses(P, alpha, heat, mask, options)
    sum(terms.values(), torch.zeros(())).backward()
    assert P.grad is not None and torch.isfinite(P.grad).all() and P.grad.any()
    away = (mask == 0)[:, None].expand_as(heat)
    assert not P.grad[away].any()
    assert (alpha.grad is not None) == options.sahr
    if alpha.grad is not None:
        assert torch.isfinite(alpha.grad).all() and alpha.grad.any()
        assert not alpha.grad[away].any() and not alpha.grad[heat == 0].any()


def test_a_perfect_prediction_costs_nothing(heat: Tensor) -> None:
    for options in OPTIONS:
        terms = heatmap_losses(heat, torch.zeros_like(heat), heat, torch.ones(1, 32, 32), options)
        assert all(float(t) == 0 for t in terms.values())


def test_detaching_the_weight_drops_its_gradient(heat: Tensor) -> None:
    def gradient(detach: bool) -> Tensor:
        P = torch.full_like(heat, 0.3).requires_grad_()
        heatmap_losses(P, None, heat, torch.ones(1, 32, 32), AdaptiveOptions(sahr=False, detach=detach))[
            "heat"
        ].backward()
        assert P.grad is not None
        return P.grad * P.numel()

    apart, whole = gradient(True), gradient(False)
    off = heat == 0
    assert torch.allclose(apart[off], torch.tensor(2 * 0.3 * 0.3)), "W 2 (P - H)"
    assert torch.allclose(whole[off], torch.tensor(3 * 0.3**2)), "the derivative of |P|^3"


def test_losses_stay_in_float32_under_autocast(heat: Tensor) -> None:
    P, alpha = torch.randn_like(heat), torch.randn_like(heat)
    full = heatmap_losses(P.bfloat16(), alpha.bfloat16(), heat, torch.ones(1, 32, 32), AdaptiveOptions())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = heatmap_losses(P.bfloat16(), alpha.bfloat16(), heat, torch.ones(1, 32, 32), AdaptiveOptions())
    for name, value in cast.items():
        assert value.dtype == torch.float32 and torch.equal(value, full[name])


def test_wrong_options_are_refused(heat: Tensor) -> None:
    with pytest.raises(ShapeError, match="expansion"):
        AdaptiveOptions(expansion="cubic")
    with pytest.raises(ShapeError, match="weighting"):
        AdaptiveOptions(weighting="focal")
    with pytest.raises(ShapeError, match="gamma"):
        AdaptiveOptions(gamma=0.0)
    with pytest.raises(ShapeError, match="scale heads"):
        heatmap_losses(heat, None, heat, torch.ones(1, 32, 32), AdaptiveOptions())
    arms = [AdaptiveOptions(sahr=s, wahr=w).arm for s, w in product((False, True), (False, True))]
    assert arms == ["mse", "wahr", "sahr", "swahr"]
