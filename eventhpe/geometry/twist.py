"""Errors of rotation, split into what joints show and what they do not: the twist about a bone."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from eventhpe.errors import ShapeError
from eventhpe.geometry.skeleton import Skeleton

if TYPE_CHECKING:
    import torch


class TwistError(NamedTuple):
    """Errors of P bones in radians, in [0, pi].

    Attributes:
        twist: (*, P) about the bone's own axis; the places of its two ends do not show it.
        swing: (*, P) angle between predicted and true direction of the bone.
        joints: the P joints at whose far side a single bone hangs.
    """

    twist: torch.Tensor
    swing: torch.Tensor
    joints: tuple[int, ...]


def twist_error(
    rotmats: torch.Tensor, true: torch.Tensor, *, skeleton: Skeleton, rest: torch.Tensor
) -> TwistError:
    """Swing-twist decomposition (Dobrowolski 2015) of each bone's error of orientation.

    Orientations are compared as a whole, not joint by joint against the parent, so that an upper arm's twist
    that the elbow takes back counts for the upper arm and not for the forearm.

    Args:
        rotmats, true: (*, J, 3, 3) rotations relative to the parent, root first; parents precede children.
        skeleton: joints and parents.
        rest: (J, 3) joints of the unposed body, any unit.
    Returns:
        Errors of the joints with exactly one child (17 of SMPL's: not pelvis, upper chest and ends).
    Raises:
        ShapeError: shapes differ, or a joint comes before its parent.
    """
    import torch

    J = len(skeleton.joints)
    if rotmats.shape != true.shape or rotmats.shape[-3:] != (J, 3, 3) or rest.shape != (J, 3):
        raise ShapeError(
            f"rotmats and true must both be (*, {J}, 3, 3) and rest ({J}, 3); got {tuple(rotmats.shape)}, "
            f"{tuple(true.shape)} and {tuple(rest.shape)}."
        )
    children: list[list[int]] = [[] for _ in range(J)]
    for parent, child in skeleton.bones:
        children[parent].append(child)
    joints = tuple(j for j in range(J) if len(children[j]) == 1)
    axis = torch.stack([rest[children[j][0]] - rest[j] for j in joints]).to(rotmats)
    axis = axis / axis.norm(dim=-1, keepdim=True)
    picked = list(joints)
    error = (
        world_rotations(true, skeleton)[..., picked, :, :].transpose(-1, -2)
        @ world_rotations(rotmats, skeleton)[..., picked, :, :]
    )
    turned = (error @ axis[..., None])[..., 0]
    off = torch.linalg.cross(axis.expand_as(turned), turned).norm(dim=-1)
    swing = torch.atan2(off, (axis * turned).sum(-1))
    return TwistError(_twist_angle(error, axis, turned), swing, joints)


def world_rotations(rotmats: torch.Tensor, skeleton: Skeleton) -> torch.Tensor:
    """(*, J, 3, 3) relative to the parent, root first, to the frame that the root is given in.

    Raises:
        ShapeError: a joint comes before its parent.
    """
    import torch

    if any(parent >= j for j, parent in enumerate(skeleton.parents)):
        raise ShapeError(f"skeleton {skeleton.name} has joints before their parents; use e.g. smpl24.")
    world: list[torch.Tensor] = []
    for j, parent in enumerate(skeleton.parents):
        world.append(rotmats[..., j, :, :] if parent < 0 else world[parent] @ rotmats[..., j, :, :])
    return torch.stack(world, -3)


def _twist_angle(rotmat: torch.Tensor, axis: torch.Tensor, turned: torch.Tensor) -> torch.Tensor:
    """(*) in [0, pi]: what is left about the axis when the smallest rotation from it to `turned` is undone.

    Undefined, but finite, at a swing of exactly half a turn.
    """
    import torch

    smallest = torch.nn.functional.one_hot(axis.abs().argmin(-1), 3).to(axis)
    across = torch.linalg.cross(axis, smallest)
    across = (across / across.norm(dim=-1, keepdim=True)).expand_as(turned)
    moved = (rotmat @ across[..., None])[..., 0]
    middle = turned + axis
    share = (moved * middle).sum(-1) / (1 + (turned * axis).sum(-1)).clamp(min=1e-6)
    back = moved - share[..., None] * middle + 2 * (moved * turned).sum(-1)[..., None] * axis
    sine = (axis * torch.linalg.cross(across, back)).sum(-1)
    return torch.atan2(sine, (across * back).sum(-1)).abs()
