"""Scale- and weight-adaptive heatmap regression (Luo et al., "Rethinking the Heatmap Regression for Bottom-up
Human Pose Estimation", CVPR 2021).

SAHR lets the network predict alpha = 1/s - 1 per pixel and joint, and regresses H^(1 + alpha) instead of H: a
Gaussian of sigma * sqrt(s). WAHR weighs pixels softly by how easy they are. Both can be switched off, which
leaves HigherHRNet's plain squared error.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from eventhpe.errors import ShapeError

EXPANSIONS = ("taylor2", "exact")
WEIGHTINGS = ("published", "scaled", "target")
ALPHA_LIMITS = (-0.9, 1.0)
"""The exact form needs 1 + alpha > 0, with room."""


@dataclass(frozen=True)
class AdaptiveOptions:
    """Which heatmap loss.

    Attributes:
        sahr: adapt the scale.
        wahr: adapt the weights. Neither = mean squared error.
        expansion: of H^(1 + alpha): "taylor2" as published, which never sinks below H / 2, or "exact".
        regulariser: weight of alpha's squares.
        weighting: W of WAHR: "published" (plain H in the focal power), "scaled" (H^(1 + alpha) there),
            "target" (as published, but |H' - P| instead of |1 - P|, H' being what is regressed, so that a
            perfect prediction has no weight on the support).
        gamma: the focal power.
        detach: keep gradients from flowing through W (published: they do).
    Raises:
        ShapeError: no such variant, or a negative number.
    """

    sahr: bool = True
    wahr: bool = True
    expansion: str = "taylor2"
    regulariser: float = 1.0
    weighting: str = "published"
    gamma: float = 0.01
    detach: bool = False

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("expansion", self.expansion, EXPANSIONS),
            ("weighting", self.weighting, WEIGHTINGS),
        ):
            if value not in choices:
                raise ShapeError(f"{name} must be one of {', '.join(choices)}; got {value!r}.")
        if self.regulariser < 0 or self.gamma <= 0:
            raise ShapeError(
                f"regulariser must be >= 0 and gamma > 0; got {self.regulariser} and {self.gamma}."
            )

    @property
    def arm(self) -> str:
        """Name of the comparison's arm: mse, sahr, wahr or swahr."""
        return {(0, 0): "mse", (1, 0): "sahr", (0, 1): "wahr", (1, 1): "swahr"}[(self.sahr, self.wahr)]


def rescaled(heat: Tensor, alpha: Tensor, expansion: str = "taylor2") -> Tensor:
    """H^(1 + alpha) on H > 0, else 0.

    Args:
        heat: (B, K, h, w) Gaussians in [0, 1].
        alpha: (B, K, h, w); for the exact form clamped to `ALPHA_LIMITS`.
        expansion: "taylor2": H (1 + l + l^2 / 2) with l = alpha ln H, good to 0.005 for |alpha| <= 0.25, to
            0.045 for |alpha| <= 0.5; or "exact": H exp(l).
    """
    if expansion == "exact":
        exponent = alpha.clamp(*ALPHA_LIMITS) * _log(heat)
        return heat * torch.exp(exponent)
    exponent = alpha * _log(heat)
    return heat + heat * exponent + 0.5 * heat * exponent**2


def adaptive_weights(
    prediction: Tensor, heat: Tensor, target: Tensor, *, variant: str = "published", gamma: float = 0.01
) -> Tensor:
    """W = |1 - P| H^gamma + |P| (1 - H^gamma), all (B, K, h, w).

    With a small gamma that is |1 - P| on the Gaussians' support and |P| off it.

    Args:
        prediction: P, as the network gives it.
        heat: H, plain Gaussians.
        target: H', what is regressed: `heat`, rescaled if SAHR is on.
        variant: see `AdaptiveOptions.weighting`.
        gamma: the focal power.
    """
    base = target if variant == "scaled" else heat
    power = torch.where(base > 0, torch.exp(gamma * _log(base)), 0.0)
    easy = target - prediction if variant == "target" else 1 - prediction
    return easy.abs() * power + prediction.abs() * (1 - power)


def heatmap_losses(
    prediction: Tensor, alpha: Tensor | None, heat: Tensor, mask: Tensor, options: AdaptiveOptions
) -> dict[str, Tensor]:
    """Loss of one resolution.

    Args:
        prediction: (B, K, h, w).
        alpha: (B, K, h, w) of the scale head; needed if `options.sahr`.
        heat: (B, K, h, w) from `people_heatmaps`.
        mask: (B, h, w), 0 where the loss looks away.
        options: which loss.
    Returns:
        heat: mean over everything of mask * W * (P - H')^2; scale, if SAHR is on: regulariser * mean of
        mask * alpha^2 where H > 0. Float32, also under autocast.
    Raises:
        ShapeError: SAHR without alpha.
    """
    if options.sahr and alpha is None:
        raise ShapeError(
            "scale-adaptive regression needs the scale maps; run the network with its scale heads."
        )
    with torch.autocast(device_type=prediction.device.type, enabled=False):
        prediction, mask = prediction.float(), mask[:, None].float()
        target, terms = heat, {}
        if options.sahr and alpha is not None:
            alpha = alpha.float() * (heat > 0)
            target = rescaled(heat, alpha, options.expansion)
            terms["scale"] = options.regulariser * (mask * alpha**2).mean()
        error = mask * (prediction - target) ** 2
        if options.wahr:
            weights = adaptive_weights(
                prediction, heat, target, variant=options.weighting, gamma=options.gamma
            )
            error = error * (weights.detach() if options.detach else weights)
        return {"heat": error.mean(), **terms}


def _log(heat: Tensor) -> Tensor:
    """ln H, and 0 instead of -inf where H = 0; its gradient is finite everywhere."""
    return torch.log(torch.where(heat > 0, heat, 1.0))
