"""Which end of a body part is nearer to the camera, as maps (HEMlets; Zhou et al., ICCV 2019, section 3).

Convention:
    Depth z grows away from the camera. The order of a part (parent, child) is +1 where the child is nearer to
    the camera than the parent, -1 where it is farther, 0 where the part lies along the image. Maps of a part
    stand in rising order: (-1, 0, +1), or (-2 .. +2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from eventhpe.errors import ShapeError
from eventhpe.shapenet.heads.base import JointLabels

THRESHOLDS: Mapping[int, tuple[float, ...]] = MappingProxyType({2: (0.0,), 3: (0.5,), 5: (0.2, 0.6)})
"""Number of states to the shares of a part's length at which |z_parent - z_child| enters the next state.

Three states as published: 0.5 of the length is 30 degrees from the image plane. The five states cut the range
of that sine into equal parts; two states know no 0.
"""

OVERLAPS = ("max", "sum")


class DepthOrder(NamedTuple):
    """Order (*, P) int64 of the parts, and where it is known (*, P) bool; 0 where it is not."""

    order: Tensor
    known: Tensor


class OrderAccuracy(NamedTuple):
    """Share of parts whose order was read right, and the share that the best constant per part would get."""

    accuracy: float
    majority: float


def maps_per_part(states: int) -> int:
    """Maps that a part has: the middle one holds the parent, so two states need three maps as well.

    Raises:
        ShapeError: neither 2, 3 nor 5 states.
    """
    if states not in THRESHOLDS:
        raise ShapeError(f"depth order has 2, 3 or 5 states; got {states}.")
    return max(states, 3)


def depth_order(
    xyz: Tensor, parts: Sequence[tuple[int, int]], known: Tensor | None = None, *, states: int = 3
) -> DepthOrder:
    """Depth order of body parts from joints in space, against thresholds that follow each part's length.

    Args:
        xyz: (*, J, 3) in any one unit, camera axes; rows with NaN count as unknown.
        parts: (parent, child) joint indices, see heads/parts.py.
        known: (*, J) bool; None = all that are finite.
        states: 2, 3 or 5.
    Raises:
        ShapeError: no such number of states.
    """
    maps_per_part(states)
    parent, child = _ends(parts, xyz.device)
    finite = torch.isfinite(xyz).all(-1)
    known = finite if known is None else known & finite
    bone = torch.where(finite[..., None], xyz, 0.0)
    bone = bone[..., parent, :] - bone[..., child, :]
    depth, length = bone[..., 2], bone.norm(dim=-1)
    steps = torch.stack([depth.abs() > share * length for share in THRESHOLDS[states]]).sum(0)
    order = torch.sign(depth).long() * steps
    sure = known[..., parent] & known[..., child]
    if states == 2:
        sure = sure & (order != 0)
    return DepthOrder(torch.where(sure, order, 0), sure)


def order_to_learn(labels: JointLabels, parts: Sequence[tuple[int, int]], *, states: int = 3) -> DepthOrder:
    """Order (B, P) that the labels hold for a head of that many states, and the mask Lambda of the loss.

    A part counts where its order is known and both its ends are known in the image. Labels carry three
    states; two and five come from the joints in space, and two also from a weak label that is not 0.
    """
    order, known = labels.order, labels.order_known
    if states != 3:
        exact = depth_order(labels.xyz, parts, labels.known3d, states=states)
        weak = known & (order != 0) if states == 2 else torch.zeros_like(known)
        order = torch.where(exact.known, exact.order, order)
        known = known & exact.known | weak & ~exact.known
    parent, child = _ends(parts, labels.known.device)
    known = known & labels.known[:, parent] & labels.known[:, child]
    return DepthOrder(torch.where(known, order, 0), known)


def triplet_targets(
    gaussians: Tensor,
    order: Tensor,
    parts: Sequence[tuple[int, int]],
    *,
    states: int = 3,
    overlap: str = "max",
) -> Tensor:
    """Maps of the parts: the parent always in the middle one, the child in the one of its order.

    Args:
        gaussians: (B, J, h, w) of peak 1, one per joint.
        order: (B, P) int64; where it is unknown any number in range, as the loss leaves the part out.
        parts: P (parent, child) joint indices.
        states: 2, 3 or 5.
        overlap: parent and child in one map: the larger of the two, so that the peak stays 1, or their sum.
    Returns:
        (B, P, 3 or 5, h, w).
    Raises:
        ShapeError: no such number of states, or another overlap.
    """
    count = maps_per_part(states)
    if overlap not in OVERLAPS:
        raise ShapeError(f"overlap must be one of {', '.join(OVERLAPS)}; got {overlap!r}.")
    middle = count // 2
    parent, child = _ends(parts, gaussians.device)
    place = torch.nn.functional.one_hot((order + middle).clamp(0, count - 1), count).to(gaussians.dtype)
    targets = place[..., None, None] * gaussians[:, child, None]
    above = gaussians[:, parent]
    both = torch.maximum(targets[:, :, middle], above) if overlap == "max" else targets[:, :, middle] + above
    return torch.cat([targets[:, :, :middle], both[:, :, None], targets[:, :, middle + 1 :]], 2)


def triplet_loss(triplets: Tensor, targets: Tensor, known: Tensor) -> Tensor:
    """Squared error of the maps: sum over parts and cells, mean over the batch, as published.

    Args:
        triplets, targets: (B, P, q, h, w).
        known: (B, P) bool, Lambda; a part that is not known adds nothing, not even to its parent's map.
    Returns:
        Scalar float32; zero with a gradient if no part is known.
    """
    with torch.autocast(device_type=triplets.device.type, enabled=False):
        error = (triplets.float() - targets.float()).square().sum((-3, -2, -1))
        return (error * known).sum() / len(triplets)


def predicted_order(
    triplets: Tensor,
    gaussians: Tensor,
    parts: Sequence[tuple[int, int]],
    *,
    states: int = 3,
    overlap: str = "max",
) -> Tensor:
    """Order (B, P) int64 whose target maps lie nearest to predicted ones.

    Whole targets are compared, not peaks, lest a parent that stands near its child in the image be taken for
    the child.

    Args:
        triplets: (B, P, q, h, w) predicted.
        gaussians: (B, J, h, w) at the predicted joints.
    """
    middle = maps_per_part(states) // 2
    orders = [o for o in range(-middle, middle + 1) if states != 2 or o != 0]
    B, P = triplets.shape[:2]
    errors = []
    for o in orders:
        wanted = triplet_targets(
            gaussians, torch.full((B, P), o, device=triplets.device), parts, states=states, overlap=overlap
        )
        errors.append((triplets.float() - wanted).square().sum((-3, -2, -1)))
    return torch.tensor(orders, device=triplets.device)[torch.stack(errors).argmin(0)]


def order_accuracy(predicted: Tensor, order: Tensor, known: Tensor) -> OrderAccuracy:
    """How well orders were read over N samples, beside the best constant per part; NaN if none is known.

    Args:
        predicted, order: (N, P) int64.
        known: (N, P) bool.
    """
    count = int(known.sum())
    if not count:
        return OrderAccuracy(float("nan"), float("nan"))
    values = torch.unique(order[known])
    best = torch.stack([((order == v) & known).sum(0) for v in values]).max(0).values.sum()
    right = ((predicted == order) & known).sum()
    return OrderAccuracy(float(right) / count, float(best) / count)


def _ends(parts: Sequence[tuple[int, int]], device: torch.device) -> tuple[Tensor, Tensor]:
    ends = torch.tensor(tuple(parts), device=device)
    return ends[:, 0], ends[:, 1]
