"""Training losses of FlowNet: photometric and smoothness (needs images), contrast (events only), end point
(labels).

`parity_flow_losses` repeats the published objective on 0..255 images; `flow_losses` is the repaired one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d

from eventhpe.errors import ShapeError
from eventhpe.flownet.warp import backward_warp, parity_warp, pixel_grid

ALPHA = 0.45
EPSILON = 1e-3


@dataclass(frozen=True)
class FlowLossConfig:
    """Repaired photometric objective.

    Attributes:
        smoothness: weight of the smoothness term. The published 0.5 on 0..255 images corresponds to
            0.5 / 255**0.9 = 0.003 on 0..1 images; ten times that already flattens
            the flow of a moving textured disc.
        edge: falloff of smoothness across image edges, per unit of brightness difference (0..1).
        event_floor: weight of pixels without events, against 1 at pixels with events.
        dilation: radius in pixels, at every scale, by which occupied pixels grow.
    """

    smoothness: float = 0.003
    edge: float = 10.0
    event_floor: float = 0.05
    dilation: int = 2


def charbonnier(difference: Tensor) -> Tensor:
    """(d^2 + eps^2)^alpha per entry, alpha = 0.45, eps = 1e-3."""
    return (difference * difference + EPSILON**2) ** ALPHA


def parity_flow_losses(
    flows: Sequence[Tensor], image0: Tensor, image1: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """Published objective: photometric + 0.5 smoothness, averaged over scales.

    Args:
        flows: coarse to fine, (N, 2, h, w).
        image0, image1: (N, C, H, W) brightness 0..255 at the start and the end of the window.
    """
    _check(flows, image0, image1)
    photo, smooth = [], []
    for flow in flows:
        size = tuple(flow.shape[-2:])
        first = interpolate(image0.float(), size=size, mode="bilinear", align_corners=False)
        second = interpolate(image1.float(), size=size, mode="bilinear", align_corners=False)
        photo.append(charbonnier(first - parity_warp(second, flow)).mean())
        smooth.append(torch.stack([charbonnier(d).mean() for d in _differences(flow)]).mean())
    terms = {"photometric": torch.stack(photo).mean(), "smoothness": torch.stack(smooth).mean()}
    return terms["photometric"] + 0.5 * terms["smoothness"], terms


def flow_losses(
    flows: Sequence[Tensor],
    image0: Tensor,
    image1: Tensor,
    *,
    frames: Tensor | None = None,
    config: FlowLossConfig | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Repaired objective: masked, event-weighted photometric error and edge-aware smoothness.

    Args:
        flows: coarse to fine, (N, 2, h, w), each in pixels of its own scale.
        image0, image1: (N, C, H, W) brightness 0..1 at the start and the end of the window.
        frames: (N, B, H, W) event frames; where they are empty the photometric error counts `event_floor`.
    Raises:
        ShapeError: shapes do not fit, or the images are not in 0..1.
    """
    config = config or FlowLossConfig()
    _check(flows, image0, image1)
    if image0.numel() and float(image0.max()) > 1.5:
        raise ShapeError(
            f"flow_losses expects brightness 0..1; got a maximum of {float(image0.max()):.1f}. Divide by 255."
        )
    photo, smooth = [], []
    for flow in flows:
        flow = flow.float()
        size = (flow.shape[-2], flow.shape[-1])
        first, second = _shrink(image0, size), _shrink(image1, size)
        warped, inside = backward_warp(second, flow)
        weight = inside.float()
        if frames is not None:
            weight = weight * event_weight(frames, size, floor=config.event_floor, dilation=config.dilation)
        error = charbonnier(first - warped).mean(1, keepdim=True)
        photo.append((weight * error).sum() / weight.sum().clamp(min=1.0))
        smooth.append(_edge_aware_smoothness(flow, first, config.edge))
    terms = {"photometric": torch.stack(photo).mean(), "smoothness": torch.stack(smooth).mean()}
    return terms["photometric"] + config.smoothness * terms["smoothness"], terms


def event_weight(frames: Tensor, size: tuple[int, int], *, floor: float, dilation: int) -> Tensor:
    """(N, B, H, W) event frames to (N, 1, h, w): 1 near events, `floor` elsewhere."""
    occupied = (frames != 0).any(1, keepdim=True).float()
    occupied = torch.nn.functional.adaptive_max_pool2d(occupied, size)
    if dilation:
        occupied = max_pool2d(occupied, 2 * dilation + 1, stride=1, padding=dilation)
    return floor + (1 - floor) * occupied


def end_point_loss(flows: Sequence[Tensor], target: Tensor, valid: Tensor) -> Tensor:
    """Supervised flow for synthetic data, where the true flow is known: robust end-point error over all
    scales.

    Args:
        flows: coarse to fine, (N, 2, h, w), each in pixels of its own scale.
        target: (N, 2, H, W) pixels of the finest scale.
        valid: (N, H, W) bool, or weights >= 0.
    Returns:
        Mean over scales of sqrt(|d|^2 + 0.01^2) in pixels of each scale, over the valid pixels.
    """
    if target.ndim != 4 or target.shape[1] != 2 or valid.shape != (target.shape[0], *target.shape[2:]):
        raise ShapeError(
            f"expected target (N, 2, H, W), valid (N, H, W); got {tuple(target.shape)}, {tuple(valid.shape)}."
        )
    target = target.float()
    weight = valid[:, None].float()
    losses = []
    for flow in flows:
        size = (flow.shape[-2], flow.shape[-1])
        share = _shrink(weight, size)
        # Average over the valid pixels of a cell only, so that the unknown background does not pull it to 0.
        scale = target.new_tensor([size[1] / target.shape[3], size[0] / target.shape[2]]).view(1, 2, 1, 1)
        coarse = _shrink(target * weight, size) / share.clamp(min=1e-6) * scale
        error = torch.sqrt((flow.float() - coarse).square().sum(1, keepdim=True) + 1e-4)
        losses.append((error * share).sum() / share.sum().clamp(min=1.0))
    return torch.stack(losses).mean()


def contrast_loss(
    flow: Tensor,
    x: Tensor,
    y: Tensor,
    t_rel: Tensor,
    valid: Tensor | None = None,
    *,
    weights: Tensor | None = None,
    references: Sequence[float] = (0.0, 0.5, 1.0),
) -> Tensor:
    """Sharpness of the events warped along the flow: variance without flow over variance with flow.

    Needs no images (Gallego et al. 2018; several reference times and the ratio to the unwarped picture after
    Shiba et al. 2022, which keeps the flow from gathering all events in one place).

    Args:
        flow: (*, 2, H, W) displacement in pixels over the whole window.
        x, y: (*, N) event positions in pixels.
        t_rel: (*, N) time within the window, 0..1.
        valid: (*, N) bool, False for padding.
        weights: (*, N) counts; 1 where left out.
        references: times to which the events are moved.
    Returns:
        Scalar, 1 at zero flow, below 1 where the flow sharpens the picture. Differentiable in `flow`.
    """
    if flow.ndim < 3 or flow.shape[-3] != 2 or x.shape[:-1] != flow.shape[:-3]:
        raise ShapeError(
            f"expected flow (*, 2, H, W) and events (*, N); got {tuple(flow.shape)} and {tuple(x.shape)}."
        )
    H, W = flow.shape[-2:]
    flow = flow.float().reshape(-1, 2, H, W)
    n, count = flow.shape[0], x.shape[-1]
    x, y, t = (v.reshape(n, count).float() for v in (x, y, t_rel))
    mass = torch.ones_like(x) if weights is None else weights.reshape(n, count).float()
    if valid is not None:
        mass = mass * valid.reshape(n, count)
    uv = _at_events(flow, x, y)
    plain = _image_variance(x, y, mass, (H, W)).clamp(min=1e-9)
    ratios = []
    for reference in references:
        dt = reference - t
        sharp = _image_variance(x + dt * uv[:, 0], y + dt * uv[:, 1], mass, (H, W))
        ratios.append(plain / sharp.clamp(min=1e-9))
    has_events = (mass.sum(1) > 0).float()
    ratio = torch.stack(ratios).mean(0)
    return (ratio * has_events).sum() / has_events.sum().clamp(min=1.0)


def contrast_loss_frames(flow: Tensor, frames: Tensor) -> Tensor:
    """`contrast_loss` from B-bin event frames: a filled pixel of bin b is an event at time (b + 0.5) / B.

    Args:
        flow: (N, 2, H, W) pixels over the window.
        frames: (N, B, H, W) occupancy or counts, time ascending; the sign is ignored.
    """
    N, B, H, W = frames.shape
    grid = pixel_grid(H, W, device=frames.device)
    x, y = (g.expand(N, B, H, W).reshape(N, -1) for g in grid)
    t = ((torch.arange(B, device=frames.device) + 0.5) / B).view(1, B, 1, 1).expand(N, B, H, W).reshape(N, -1)
    return contrast_loss(flow, x, y, t, weights=frames.abs().reshape(N, -1))


def splat(x: Tensor, y: Tensor, mass: Tensor, size: tuple[int, int]) -> Tensor:
    """(n, N) positions and masses to (n, H, W) by bilinear splatting; what falls outside is lost."""
    H, W = size
    x0, y0 = x.detach().floor(), y.detach().floor()
    image = torch.zeros(x.shape[0], H * W, dtype=x.dtype, device=x.device)
    for dx in (0, 1):
        for dy in (0, 1):
            cx, cy = x0 + dx, y0 + dy
            share = (1 - (x - cx).abs()) * (1 - (y - cy).abs()) * mass
            inside = (cx >= 0) & (cx < W) & (cy >= 0) & (cy < H)
            index = cy.clamp(0, H - 1).long() * W + cx.clamp(0, W - 1).long()
            image = image.scatter_add(1, index, share * inside)
    return image.view(-1, H, W)


def _image_variance(x: Tensor, y: Tensor, mass: Tensor, size: tuple[int, int]) -> Tensor:
    return splat(x, y, mass, size).flatten(1).var(dim=1, unbiased=False)


def _at_events(flow: Tensor, x: Tensor, y: Tensor) -> Tensor:
    H, W = flow.shape[-2:]
    grid = torch.stack([(2 * x + 1) / W - 1, (2 * y + 1) / H - 1], -1)[:, None]
    sampled = torch.nn.functional.grid_sample(
        flow, grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    return sampled[:, :, 0]


def _differences(flow: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """First differences along x, y, the diagonal and the antidiagonal."""
    return (
        flow[..., :, 1:] - flow[..., :, :-1],
        flow[..., 1:, :] - flow[..., :-1, :],
        flow[..., 1:, 1:] - flow[..., :-1, :-1],
        flow[..., 1:, :-1] - flow[..., :-1, 1:],
    )


def _edge_aware_smoothness(flow: Tensor, image: Tensor, edge: float) -> Tensor:
    terms = []
    for along_flow, along_image in zip(_differences(flow), _differences(image), strict=True):
        weight = torch.exp(-edge * along_image.abs().mean(1, keepdim=True))
        # Relative to the loss of constant flow, so that constant flow costs nothing.
        terms.append((weight * (charbonnier(along_flow) - EPSILON ** (2 * ALPHA))).mean())
    return torch.stack(terms).mean()


def _shrink(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Area average, so that coarse scales see the image without aliasing."""
    return torch.nn.functional.adaptive_avg_pool2d(image.float(), size)


def _check(flows: Sequence[Tensor], image0: Tensor, image1: Tensor) -> None:
    if image0.ndim != 4 or image0.shape != image1.shape:
        raise ShapeError(
            f"images must both be (N, C, H, W); got {tuple(image0.shape)} and {tuple(image1.shape)}."
        )
    if not flows:
        raise ShapeError("at least one flow is needed; got an empty list.")
