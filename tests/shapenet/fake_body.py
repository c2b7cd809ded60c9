"""A stick figure with SMPL's tree: enough of a body model for the networks' tests."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from eventhpe.geometry.skeleton import SMPL_SKELETON

REST = np.array(
    [
        [0, 0.0, 0], [0.1, -0.1, 0], [-0.1, -0.1, 0], [0, 0.12, 0],
        [0.1, -0.5, 0], [-0.1, -0.5, 0], [0, 0.25, 0], [0.1, -0.9, 0],
        [-0.1, -0.9, 0], [0, 0.32, 0], [0.1, -0.95, 0.12], [-0.1, -0.95, 0.12],
        [0, 0.5, 0], [0.08, 0.42, 0], [-0.08, 0.42, 0], [0, 0.6, 0.05],
        [0.18, 0.45, 0], [-0.18, 0.45, 0], [0.45, 0.45, 0], [-0.45, 0.45, 0],
        [0.7, 0.45, 0], [-0.7, 0.45, 0], [0.78, 0.45, 0], [-0.78, 0.45, 0],
    ]
)  # fmt: skip


class StickBody:
    """Joints by forward kinematics; the vertices are a little cloud around each joint."""

    def __init__(self, cloud: int = 4) -> None:
        rng = np.random.default_rng(0)
        self.rest = torch.tensor(REST + np.array([0.0, 0.2, 0.0]), dtype=torch.float32)
        self.dirs = torch.tensor(rng.normal(0, 0.02, (24, 3, 10)), dtype=torch.float32)
        self.cloud = torch.tensor(rng.normal(0, 0.03, (24, cloud, 3)), dtype=torch.float32)

    def _chain(self, rotmats: Tensor, betas: Tensor, transl: Tensor) -> tuple[Tensor, Tensor]:
        rest = self.rest + torch.einsum("jxb,...b->...jx", self.dirs, betas)
        positions, turns = [rest[..., 0, :] + transl], [rotmats[..., 0, :, :]]
        for j, parent in list(enumerate(SMPL_SKELETON.parents))[1:]:
            offset = (rest[..., j, :] - rest[..., parent, :])[..., None]
            positions.append(positions[parent] + (turns[parent] @ offset)[..., 0])
            turns.append(turns[parent] @ rotmats[..., j, :, :])
        return torch.stack(positions, -2), torch.stack(turns, -3)

    def joints(self, rotmats: Tensor, betas: Tensor, transl: Tensor) -> Tensor:
        return self._chain(rotmats, betas, transl)[0]

    def vertices(
        self, rotmats: Tensor, betas: Tensor, transl: Tensor, *, subset: Tensor | None = None
    ) -> Tensor:
        positions, turns = self._chain(rotmats, betas, transl)
        points = torch.einsum("...jxy,jcy->...jcx", turns, self.cloud) + positions[..., None, :]
        points = points.flatten(-3, -2)
        return points if subset is None else points[..., subset, :]
