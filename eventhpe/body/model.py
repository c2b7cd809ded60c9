"""SMPL-structured body model in torch (Loper et al. 2015): blend shapes and linear blend skinning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eventhpe.body.arrays import check_body_arrays
from eventhpe.body.params import BodyParams
from eventhpe.body.tree import JointTree
from eventhpe.errors import ShapeError
from eventhpe.geometry.rotation import rotvec_to_rotmat
from eventhpe.geometry.skeleton import SMPL_SKELETON


class BodyOutput(NamedTuple):
    """Posed body: vertices (*, V or S, 3) and joints (*, 24, 3), metres."""

    vertices: Tensor
    joints: Tensor


class BodyModel(nn.Module):
    """Body of 24 joints driven by rotation matrices, 10 shape coefficients and a translation.

    Works over any leading batch `*`; the leading shapes of the arguments broadcast. Gradients flow to every
    argument. The arrays are non-persistent buffers: they follow `.to()` but never enter a checkpoint.

    Attributes:
        name: which shape space the betas belong to, e.g. "open" or "smpl".
        gender: "neutral", "male" or "female".
        faces: (F, 3) int32.
        num_vertices: V.
        skeleton: the 24 joints by name.

    Convention:
        Rest pose: +x the subject's left, +y up, +z forward. As in SMPL, the root rotation turns about the
        rest pelvis, which is not at the origin, and `transl` is added last.
    """

    v_template: Tensor
    shapedirs: Tensor
    posedirs: Tensor
    weights: Tensor
    J_template: Tensor
    J_shapedirs: Tensor

    def __init__(self, arrays: Mapping[str, Any], *, name: str, gender: str = "neutral") -> None:
        super().__init__()
        checked = check_body_arrays(arrays, f"body {name!r}")
        self.name, self.gender, self.skeleton = name, gender, SMPL_SKELETON
        self.faces: NDArray[np.int32] = checked["f"]
        self.num_vertices: int = len(checked["v_template"])
        self._arrays = checked
        regressor = checked["J_regressor"].astype(np.float64)
        buffers = {
            "v_template": checked["v_template"],
            "shapedirs": checked["shapedirs"],
            "posedirs": checked["posedirs"].reshape(-1, 207).T.reshape(207, self.num_vertices, 3),
            "weights": checked["weights"],
            "J_template": regressor @ checked["v_template"],
            "J_shapedirs": np.einsum("jv,vck->jck", regressor, checked["shapedirs"]),
        }
        for key, value in buffers.items():
            tensor = torch.from_numpy(np.array(value, dtype=np.float32, order="C"))
            self.register_buffer(key, tensor, persistent=False)
        self._tree = JointTree(SMPL_SKELETON.parents)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Any], *, name: str, gender: str = "neutral") -> BodyModel:
        """Body from SMPL's arrays; see `eventhpe.body.arrays.check_body_arrays` for keys and errors."""
        return cls(arrays, name=name, gender=gender)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The checked arrays, read-only, by their names in the file."""
        return dict(self._arrays)

    def forward(
        self, rotmats: Tensor, betas: Tensor, transl: Tensor, *, subset: Tensor | None = None
    ) -> BodyOutput:
        """Vertices and joints.

        Args:
            rotmats: (*, 24, 3, 3) rotations relative to the parent, root first.
            betas: (*, 10).
            transl: (*, 3) metres, added last.
            subset: (S,) vertex numbers; only these are computed.
        Raises:
            ShapeError: an argument does not end in the shape above, or the leading shapes do not broadcast.
        """
        rotmats, betas, transl = _broadcast(rotmats, betas, transl)
        rest = self.rest_joints(betas)
        world, joints = self._tree.pose(rotmats, rest)
        pick: Tensor | slice = slice(None) if subset is None else subset
        template, shapedirs, posedirs = self.v_template[pick], self.shapedirs[pick], self.posedirs[:, pick]
        weights = self.weights[pick]
        lead, count = rotmats.shape[:-3], template.shape[0]
        identity = torch.eye(3, dtype=rotmats.dtype, device=rotmats.device)
        feature = (rotmats[..., 1:, :, :] - identity).reshape(*lead, 207)
        v = template + (betas @ shapedirs.reshape(-1, betas.shape[-1]).T).reshape(*lead, count, 3)
        v = v + (feature @ posedirs.reshape(207, -1)).reshape(*lead, count, 3)
        # x -> R x + (t - R j): rotation about the rest joint, then to the posed joint.
        shift = joints - (world @ rest[..., None])[..., 0]
        blend = weights @ torch.cat([world.flatten(-2), shift], dim=-1)
        rotation = blend[..., :9].unflatten(-1, (3, 3))
        v = (rotation @ v[..., None])[..., 0] + blend[..., 9:]
        return BodyOutput(v + transl[..., None, :], joints + transl[..., None, :])

    def joints(self, rotmats: Tensor, betas: Tensor, transl: Tensor) -> Tensor:
        """(*, 24, 3) joints by forward kinematics alone; no vertex is computed. Arguments as in `forward`."""
        rotmats, betas, transl = _broadcast(rotmats, betas, transl)
        return self._tree.pose(rotmats, self.rest_joints(betas))[1] + transl[..., None, :]

    def vertices(
        self, rotmats: Tensor, betas: Tensor, transl: Tensor, *, subset: Tensor | None = None
    ) -> Tensor:
        """(*, V or S, 3) vertices. Arguments as in `forward`."""
        return self.forward(rotmats, betas, transl, subset=subset).vertices

    def rest_joints(self, betas: Tensor) -> Tensor:
        """(*, 24, 3) joints of the shaped body in the rest pose."""
        flat = betas @ self.J_shapedirs.reshape(-1, betas.shape[-1]).T
        return self.J_template + flat.reshape(*betas.shape[:-1], 24, 3)

    def pose(self, params: BodyParams, *, subset: Tensor | None = None) -> BodyOutput:
        """Vertices and joints of body parameters, in their frame.

        Raises:
            ShapeError: the parameters belong to another body model.
        """
        params.require_model(self.name)
        rotmats, betas, transl = params_to_tensors(params, like=self.v_template)
        return self.forward(rotmats, betas, transl, subset=subset)


def _broadcast(rotmats: Tensor, betas: Tensor, transl: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The arguments over one common leading shape."""
    for name, value, tail in (
        ("rotmats", rotmats, (24, 3, 3)),
        ("betas", betas, (10,)),
        ("transl", transl, (3,)),
    ):
        if tuple(value.shape[-len(tail) :]) != tail:
            raise ShapeError(f"{name} must be (*, {', '.join(map(str, tail))}); got {tuple(value.shape)}.")
    leads = rotmats.shape[:-3], betas.shape[:-1], transl.shape[:-1]
    try:
        lead = torch.broadcast_shapes(*leads)
    except RuntimeError as error:
        raise ShapeError(
            f"leading shapes of rotmats {tuple(leads[0])}, betas {tuple(leads[1])} and "
            f"transl {tuple(leads[2])} do not broadcast."
        ) from error
    return rotmats.expand(*lead, 24, 3, 3), betas.expand(*lead, 10), transl.expand(*lead, 3)


def pose_rotmats(params: BodyParams, *, like: Tensor | None = None) -> Tensor:
    """(*, 24, 3, 3) rotation matrices of body parameters, in the dtype and on the device of `like` (default
    float32)."""
    kind = torch.empty(0) if like is None else like
    return torch.from_numpy(rotvec_to_rotmat(params.pose)).to(kind)


def params_to_tensors(params: BodyParams, *, like: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Body parameters as (rotmats, betas, transl), the arguments of `BodyModel.forward`."""
    kind = torch.empty(0) if like is None else like
    betas, transl = torch.tensor(params.betas).to(kind), torch.tensor(params.transl).to(kind)
    return pose_rotmats(params, like=kind), betas, transl
