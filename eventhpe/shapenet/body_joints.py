"""Joints of any skeleton on a body of SMPL's structure."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from eventhpe.body.dhp19_markers import skin_markers
from eventhpe.body.model import BodyModel
from eventhpe.errors import ShapeError
from eventhpe.geometry.skeleton import DHP19_15_SKELETON, DHP19_SKELETON, SMPL_SKELETON, Skeleton

JointsOf = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(*, 24, 3, 3), (*, 10), (*, 3) to (*, J, 3)."""


def body_joints(body: BodyModel, skeleton: Skeleton) -> JointsOf:
    """The joints of a skeleton as a differentiable function of the body's parameters.

    SMPL's joints come from the kinematic chain; DHP19's markers are points of the skin
    (`body.dhp19_markers`), its virtual pelvis and thorax the middles of hips and shoulders.

    Raises:
        ShapeError: another skeleton.
    """
    if skeleton == SMPL_SKELETON:
        return body.joints
    if skeleton in (DHP19_SKELETON, DHP19_15_SKELETON):
        return MarkersOnBody(body, virtual=skeleton == DHP19_15_SKELETON)
    raise ShapeError(f"no rule places the joints of skeleton {skeleton.name} on a body.")


class MarkersOnBody(nn.Module):
    """DHP19's 13 markers, and with `virtual` the pelvis and the thorax, on a body of any shape and pose.

    Args:
        body: in T-pose at rest.
        virtual: add the two.
    """

    vertex_ids: Tensor
    corners: Tensor
    weights: Tensor

    def __init__(self, body: BodyModel, *, virtual: bool) -> None:
        super().__init__()
        self.body, self.virtual = body, virtual
        markers = skin_markers(body.arrays())
        ids, corners = torch.unique(torch.tensor(markers.vertex_ids), return_inverse=True)
        device = body.v_template.device
        self.register_buffer("vertex_ids", ids.to(device), persistent=False)
        self.register_buffer("corners", corners.to(device), persistent=False)
        self.register_buffer("weights", torch.tensor(markers.weights).to(body.v_template), persistent=False)

    def forward(self, rotmats: Tensor, betas: Tensor, transl: Tensor) -> Tensor:
        """(*, 24, 3, 3), (*, 10), (*, 3) to (*, 13 or 15, 3) metres."""
        skin = self.body.vertices(rotmats, betas, transl, subset=self.vertex_ids)
        joints = (skin[..., self.corners, :] * self.weights[..., None]).sum(-2)
        if not self.virtual:
            return joints
        index = DHP19_SKELETON.index
        middles = [
            (joints[..., index(f"{pair}_left"), :] + joints[..., index(f"{pair}_right"), :]) / 2
            for pair in ("hip", "shoulder")
        ]
        return torch.cat([joints, torch.stack(middles, -2)], -2)
