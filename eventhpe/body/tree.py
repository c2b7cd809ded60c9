"""Forward kinematics of the 24 joints in torch, one matrix product per level of the tree."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor


class JointTree:
    """A kinematic tree, its joints grouped by depth.

    Args:
        parents: parent of every joint, -1 for the root, which is joint 0.
    """

    def __init__(self, parents: Sequence[int]) -> None:
        self.parents = tuple(parents)
        depth = [0] * len(parents)
        for child, parent in enumerate(parents):
            depth[child] = 0 if parent < 0 else depth[parent] + 1
        levels = [[j for j, d in enumerate(depth) if d == level] for level in range(max(depth) + 1)]
        self._levels = [(ids, [above.index(parents[j]) for j in ids]) for above, ids in pairwise(levels)]
        order = [j for ids in levels for j in ids]
        self._unsort = [order.index(j) for j in range(len(order))]

    def pose(self, rotmats: Tensor, rest: Tensor) -> tuple[Tensor, Tensor]:
        """Posed joints (Loper et al. 2015, eq. 3 and 4).

        Args:
            rotmats: (*, J, 3, 3) relative to the parent, root first.
            rest: (*, J, 3) joints of the unposed body.
        Returns:
            World rotations (*, J, 3, 3) and joints (*, J, 3); the root stays where it is at rest.
        """
        world, joints = [rotmats[..., :1, :, :]], [rest[..., :1, :]]
        for ids, above in self._levels:
            bone = rest[..., ids, :] - rest[..., [self.parents[j] for j in ids], :]
            turn = world[-1][..., above, :, :]
            joints.append(joints[-1][..., above, :] + (turn @ bone[..., None])[..., 0])
            world.append(turn @ rotmats[..., ids, :, :])
        return torch.cat(world, -3)[..., self._unsort, :, :], torch.cat(joints, -2)[..., self._unsort, :]
