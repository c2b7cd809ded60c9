"""Flow coherence as a measurement: how a known body must have moved for its surface to move like the flow.

The coherence loss of EventHPE (Zou et al., ICCV 2021) asks this of ShapeNet's training; here the same
question is solved for every window, in closed form. To first order a rotation of joint j by a small vector
w about its place p_j moves a vertex x by W_j(x) w x (x - p_j), where W_j(x) is the sum of the vertex'
skinning weights over the joints below j. Projected into the crop this is linear in 72 + 3 unknowns, and
with Gaussian priors on them a robust least-squares problem.
"""

from __future__ import annotations

from dataclasses import dataclass

import roma
import torch
from torch import Tensor

from eventhpe.body.model import BodyModel
from eventhpe.body.tree import JointTree
from eventhpe.geometry.rotation import rotmat_to_sixd, sixd_to_rotmat
from eventhpe.shapenet.coherence import visible_in_crop
from eventhpe.shapenet.crop import NEAR_M, project_to_crop
from eventhpe.shapenet.state import NUM_JOINTS

JOINT_STEP = (
    0.045, 0.050, 0.050, 0.015, 0.068, 0.068, 0.009, 0.052, 0.052, 0.008, 0.031, 0.031,
    0.014, 0.003, 0.003, 0.009, 0.055, 0.055, 0.037, 0.037, 0.034, 0.034, 0.003, 0.003,
)  # fmt: skip
"""Radians about each axis by which the joints turn within a window of 50 ms: root mean square over generated
people with captured motions (left and right averaged, at least 0.003). The root's is twice that, for people
who turn."""
PLACE_STEP_M = (0.025, 0.013, 0.023)
"""The same for the root's place, camera axes."""


@dataclass(frozen=True)
class FlowMotionConfig:
    """How much flow and priors are believed.

    Attributes:
        flow_px: standard deviation of the flow, in pixels of a crop of 128.
        robust_px: differences beyond this count linearly (Huber).
        independent: vertices that count as independent measurements; more share their weight.
        rounds: reweightings of the robust estimate.
        vertices: of the body that are compared with the flow.
    """

    flow_px: float = 3.0
    robust_px: float = 2.0
    independent: float = 80.0
    rounds: int = 3
    vertices: int = 600


class FlowMotion:
    """Moves bodies along with the flow below them.

    Args:
        body: whose surface it is; not a part of any network.
        config: how much to believe.
    """

    def __init__(self, body: BodyModel, config: FlowMotionConfig | None = None) -> None:
        self.body, self.config = body, config or FlowMotionConfig()
        spread = torch.linspace(0, body.num_vertices - 1, self.config.vertices).round().long()
        self.subset = spread.to(body.v_template.device)
        self.tree = JointTree(body.skeleton.parents)
        self.weights = below(body.weights[self.subset], self.tree)
        steps = torch.cat([torch.tensor(JOINT_STEP).repeat_interleave(3), torch.tensor(PLACE_STEP_M)])
        self.precision = torch.diag(steps**-2).to(self.weights)

    def follow(
        self, rotmats: Tensor, betas: Tensor, transl: Tensor, flow: Tensor, crop: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The bodies at the end of a window.

        Args:
            rotmats, betas, transl: (B, 24, 3, 3), (B, 10), (B, 3) at the window's start, camera frame.
            flow: (B, 2, S, S) crop pixels over the window.
            crop: (B, 3).
        Returns:
            (B, 24, 3, 3) and (B, 3). Where no vertex is seen in the crop the body stays. How it moves is
            differentiable in the flow alone, since the body only says where to look; it is carried along.
        """
        turn, shift = self._motion(rotmats.detach(), betas.detach(), transl.detach(), flow, crop)
        # Rounding errors of products would grow from window to window.
        return sixd_to_rotmat(rotmat_to_sixd(turn @ rotmats)), transl + shift

    def _motion(
        self, rotmats: Tensor, betas: Tensor, transl: Tensor, flow: Tensor, crop: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Turns (B, 24, 3, 3) of the joints, each seen from its parent, and the root's shift (B, 3)."""
        S, c = flow.shape[-1], self.config
        world, joints = self.tree.pose(rotmats, self.body.rest_joints(betas))
        joints = joints + transl[:, None]
        vertices = self.body.vertices(rotmats, betas, transl, subset=self.subset)
        uv = project_to_crop(vertices, crop)
        seen = visible_in_crop(vertices, crop) & (uv.abs() < 1).all(-1)
        image = torch.nn.functional.grid_sample(flow.float(), uv[:, :, None], align_corners=False)
        image = image[..., 0].transpose(1, 2)
        jacobian = self._jacobian(vertices, joints, crop, S)
        unit = S / 128
        weight = seen / (c.flow_px * unit) ** 2
        weight = weight * (c.independent / seen.sum(-1, keepdim=True).clamp(min=c.independent))
        step = torch.zeros_like(jacobian[:, 0, 0])
        for _ in range(c.rounds):
            error = (image - (jacobian @ step[:, None, :, None])[..., 0]).norm(dim=-1)
            robust = weight * (c.robust_px * unit / error.clamp(min=c.robust_px * unit))
            weighted = (jacobian * robust[..., None, None]).flatten(1, 2).transpose(1, 2)
            normal = weighted @ jacobian.flatten(1, 2) + self.precision
            step = torch.linalg.solve(normal, (weighted @ image.flatten(1, 2)[..., None])[..., 0])
        turn = roma.rotvec_to_rotmat(step[:, : 3 * NUM_JOINTS].unflatten(-1, (NUM_JOINTS, 3)))
        # Turns about axes of the camera, seen from each joint's parent.
        parents = torch.tensor(self.tree.parents[1:], device=world.device)
        above = torch.cat([torch.eye(3).to(world).expand(len(world), 1, 3, 3), world[:, parents]], 1)
        return above.transpose(-1, -2) @ turn @ above, step[:, 3 * NUM_JOINTS :]

    def _jacobian(self, vertices: Tensor, joints: Tensor, crop: Tensor, size: int) -> Tensor:
        """(B, V, 2, 75) crop pixels per radian and metre."""
        arm = vertices[:, :, None] - joints[:, None]
        x, y, z = (arm * self.weights[..., None]).unbind(-1)
        zero = torch.zeros_like(x)
        # Columns are e_k x arm.
        turn = torch.stack([zero, z, -y, -z, zero, x, y, -x, zero], -1).unflatten(-1, (3, 3))
        turn = turn.permute(0, 1, 3, 2, 4).flatten(3)  # (B, V, xyz, 24 * 3)
        moved = torch.cat([turn, torch.eye(3).to(turn).expand(*turn.shape[:2], 3, 3)], -1)
        depth = vertices[..., 2:].clamp(min=NEAR_M)
        scale = (size / 2 / crop[:, None, 2:] / depth)[..., None]
        ray = (vertices[..., :2] / depth)[..., None]
        return scale * (moved[:, :, :2] - ray * moved[:, :, 2:])


def below(weights: Tensor, tree: JointTree) -> Tensor:
    """(V, J) skinning weights summed over each joint and those below it."""
    total = weights.clone()
    for child in range(len(tree.parents) - 1, 0, -1):  # children have higher numbers
        total[:, tree.parents[child]] += total[:, child]
    return total
