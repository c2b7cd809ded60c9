"""Coordinates to 1-D labels and back, and the divergence between them (Li et al., ECCV 2022).

Convention:
    Bin i of an axis with k bins a pixel stands for pixel i / k, pixel centres at integers. The n = S * k bins
    reach from pixel 0 to S - 1/k. Depth bins tile the range: bin i of n is centred at
    range * ((2i + 1) / n - 1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import kl_div, log_softmax


@dataclass(frozen=True)
class AxisLabels:
    """How a position on an axis becomes a label.

    Attributes:
        sigma: of a Gaussian in bins; None makes one-hot labels on the nearest bin.
        smoothing: of one-hot labels: 1 - smoothing on the bin, the rest evenly on the others.
        rounded: centre the Gaussian on the nearest bin instead of the real position.
        renormalise: scale the Gaussian to sum 1. False leaves it the continuous density, which the border
            cuts, as published.
    """

    sigma: float | None
    smoothing: float = 0.1
    rounded: bool = False
    renormalise: bool = True


def axis_targets(position: Tensor, known: Tensor, *, bins: int, labels: AxisLabels) -> tuple[Tensor, Tensor]:
    """Positions on one axis to labels.

    Args:
        position: (B, J) in bins; anything where not known, NaN included.
        known: (B, J) bool.
        bins: n.
        labels: their kind.

    Returns:
        Labels (B, J, n) float32, zeros where the weight is, and weights (B, J) 0 or 1: the joint is known and
        its nearest bin exists. Published Gaussians (not renormalised) count until 3 sigma beyond the border
        instead; renormalised, such a tail would claim that the joint lies at the border.
    """
    position = torch.where(known, position, 0.0).float()
    nearest = position.round()
    index = torch.arange(bins, device=position.device, dtype=torch.float32)
    if labels.sigma is None:
        hit = index == nearest[..., None]
        target = torch.where(hit, 1 - labels.smoothing, labels.smoothing / (bins - 1))
    else:
        centre = nearest if labels.rounded else position
        exponent = -((index - centre[..., None]) ** 2) / (2 * labels.sigma**2)
        if labels.renormalise:
            target = exponent.softmax(-1)
        else:
            target = exponent.exp() / (labels.sigma * math.sqrt(2 * math.pi))
    if labels.sigma is None or labels.renormalise:
        inside = (nearest >= 0) & (nearest < bins)
    else:
        reach = 3 * labels.sigma
        inside = (position + reach >= 0) & (position - reach < bins)
    weight = (known & inside).float()
    return target * weight[..., None], weight


def simdr_targets(
    uv: Tensor, known: Tensor, *, size: int, k: float, labels: AxisLabels
) -> tuple[Tensor, Tensor, Tensor]:
    """Joints in pixels to labels of both axes.

    Args:
        uv: (B, J, 2) pixels of the crop; anything where not known, NaN included.
        known: (B, J) bool.
        size: S.
        k: bins a pixel; S * k is whole.
        labels: their kind.

    Returns:
        x and y labels (B, J, S * k) and weights (B, J): 1 where both axes count (see `axis_targets`), else 0
        with labels of zeros.
    """
    bins = round(size * k)
    x, weight_x = axis_targets(uv[..., 0] * k, known, bins=bins, labels=labels)
    y, weight_y = axis_targets(uv[..., 1] * k, known, bins=bins, labels=labels)
    weight = weight_x * weight_y
    return x * weight[..., None], y * weight[..., None], weight


def simdr_loss(logits: Tensor, target: Tensor, weight: Tensor, *, reduction: str) -> Tensor:
    """Kullback-Leibler divergence of the label from the softmax of the logits, on one axis.

    Args:
        logits, target: (B, J, n).
        weight: (B, J).
        reduction: "visible": sum over bins, mean over the joints that count, fit to be mixed with others;
            "sum": sum over bins and joints, mean over the batch (published SimDR);
            "mean": mean over bins, joints and batch, where joints of weight 0 add nothing but are counted
            (published SA-SimDR; 1/n of the others' scale).

    Returns:
        Scalar in float32; zero with a gradient if no joint counts.
    """
    with torch.autocast(device_type=logits.device.type, enabled=False):
        each = kl_div(log_softmax(logits.float(), -1), target.float(), reduction="none").sum(-1) * weight
        if reduction == "mean":
            return each.mean() / logits.shape[-1]
        if reduction == "sum":
            return each.sum() / logits.shape[0]
        return each.sum() / weight.sum().clamp(min=1)


def decode_axis(logits: Tensor, *, soft: bool = False) -> tuple[Tensor, Tensor]:
    """Logits of one axis to positions.

    Args:
        logits: (B, J, n).
        soft: the mean of the distribution instead of its maximum; also between bins, but drawn to the middle
            by mass far away, such as that of smoothed labels.

    Returns:
        Positions (B, J) in bins and maximal probabilities (B, J), float32.
    """
    probability = logits.detach().float().softmax(-1)
    score, nearest = probability.max(-1)
    if not soft:
        return nearest.float(), score
    index = torch.arange(logits.shape[-1], device=logits.device, dtype=torch.float32)
    return (probability * index).sum(-1), score


def decode_simdr(x: Tensor, y: Tensor, *, k: float, soft: bool = False) -> tuple[Tensor, Tensor]:
    """Logits of both axes (B, J, n) to pixels (B, J, 2) and each axis' maximal probability (B, J, 2)."""
    (u, score_x), (v, score_y) = decode_axis(x, soft=soft), decode_axis(y, soft=soft)
    return torch.stack((u, v), dim=-1) / k, torch.stack((score_x, score_y), dim=-1)


def mirror_bins(values: Tensor, *, k: float) -> Tensor:
    """(*, n) of the x axis of a mirrored crop, put back: x -> S - 1 - x, that is bin i -> n - k - i.

    Reversing alone is off by k - 1 bins, the one bin of the published flip test at its k = 2. Between bins (k
    not whole) neighbours are mixed; the last k - 1 bins have no partner and repeat the nearest.
    """
    back = values.flip(-1)
    below = math.floor(k - 1)
    mix = k - 1 - below
    index = torch.arange(back.shape[-1], device=back.device)
    last = back.shape[-1] - 1
    shifted = back[..., (index + below).clamp(max=last)]
    if mix == 0:
        return shifted
    return (1 - mix) * shifted + mix * back[..., (index + below + 1).clamp(max=last)]


def depth_to_bins(depth: Tensor, *, bins: int, depth_range: float) -> Tensor:
    """Metres from the root, -range..range, to (fractional) bins."""
    return (depth / depth_range + 1) * bins / 2 - 0.5


def bins_to_depth(position: Tensor, *, bins: int, depth_range: float) -> Tensor:
    """Bins to metres from the root."""
    return depth_range * ((2 * position + 1) / bins - 1)
