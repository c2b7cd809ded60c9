"""Occluding contours of a posed body: where its surface turns away from the camera.

A moving body makes events there whatever it wears. The contour is that of the smooth surface (Hertzmann and
Zorin, SIGGRAPH 2000): points of mesh edges at which the interpolated normal is perpendicular to the line of
sight.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from eventhpe.body.kernels import vertex_normals
from eventhpe.body.model import BodyModel
from eventhpe.body.tree import JointTree
from eventhpe.shapenet.coherence import visible_in_crop
from eventhpe.shapenet.crop import NEAR_M
from eventhpe.shapenet.flow_motion import below

GRID, TOLERANCE_M = 64, 0.08
"""Cells of the z-buffer that hides contours behind the body, and how far behind still counts as seen."""


class Contour(NamedTuple):
    """N points on a contour.

    Attributes:
        points: (N, 3) camera metres.
        normals: (N, 2) unit normals of the contour in the image plane, pointing away from the body.
        below: (N, 24) share of the skin there that follows each joint (skinning weights of the joint and all
            below it).
    """

    points: Tensor
    normals: Tensor
    below: Tensor


class BodyContours:
    """Contours of one body model in any pose and shape.

    Args:
        body: the model, on the CPU.
    """

    def __init__(self, body: BodyModel) -> None:
        self.body, self.tree = body, JointTree(body.skeleton.parents)
        faces = body.faces
        pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
        edges = np.unique(np.sort(pairs, axis=1), axis=0).astype(np.int64)
        self.first, self.second = torch.from_numpy(edges.T.copy())
        normals = vertex_normals(body.v_template.numpy().astype(np.float64), faces)
        self.normals = torch.from_numpy(normals.astype(np.float32))
        self.below = below(body.weights, self.tree)

    def of(self, rotmats: Tensor, betas: Tensor, transl: Tensor, crop: Tensor) -> Contour:
        """Visible contours within a crop.

        Args:
            rotmats, betas, transl: (24, 3, 3), (10,), (3,) in the camera frame.
            crop: (3,).
        """
        vertices = self.body.vertices(rotmats, betas, transl)
        world, _ = self.tree.pose(rotmats, self.body.rest_joints(betas))
        turn = (self.body.weights @ world.flatten(1)).unflatten(1, (3, 3))
        normals = (turn @ self.normals[:, :, None])[..., 0]
        facing = (normals * vertices).sum(-1)
        seen = visible_in_crop(vertices, crop, grid=GRID, tolerance_m=TOLERANCE_M)
        a, b = self.first, self.second
        chosen = torch.nonzero((facing[a] * facing[b] < 0) & (seen[a] | seen[b]))[:, 0]
        a, b = a[chosen], b[chosen]
        share = (facing[b] / (facing[b] - facing[a]))[:, None]

        def between(values: Tensor) -> Tensor:
            return values[a] * share + values[b] * (1 - share)

        points, outward = between(vertices), between(normals)
        ray = points[:, :2] / points[:, 2:].clamp(min=NEAR_M)
        flat = outward[:, :2] - ray * outward[:, 2:]
        flat = flat / flat.norm(dim=-1, keepdim=True).clamp(min=1e-9)
        return Contour(points, flat, between(self.below))
