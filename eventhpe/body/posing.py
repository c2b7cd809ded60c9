"""Fast posing of one body on the CPU, for rendering; the twin of `BodyModel` without gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventhpe.body.arrays import check_body_arrays
from eventhpe.body.kernels import add_pose_offsets, forward_kinematics, skin_vertices
from eventhpe.errors import ShapeError, UnitError

if TYPE_CHECKING:
    from eventhpe.body.model import BodyModel

DENSE_FROM = 0.5
"""Share of non-zero joint blocks above which the pose blend shapes are applied as one matrix product."""


class BodyPoser:
    """Poses bodies one at a time from rotation vectors.

    Sparse pose blend shapes and skin weights are used as such; a model without sparsity (a real SMPL file)
    takes a dense product instead. The shaped template is kept until the betas change. Safe to use from
    several threads.

    Args:
        source: a `BodyModel`, or a mapping with SMPL's arrays.
        offsets: (V, 3) metres added to the shaped template before posing (loose clothes); joints stay.

    Raises:
        ShapeError: `offsets` has another shape. UnitError: it is not finite.

    Attributes:
        faces: (F, 3) int32.
        num_vertices: V.
    """

    def __init__(self, source: BodyModel | Mapping[str, Any], offsets: ArrayLike | None = None) -> None:
        arrays = check_body_arrays(source if isinstance(source, Mapping) else source.arrays())
        self.faces: NDArray[np.int32] = arrays["f"]
        self.num_vertices: int = len(arrays["v_template"])
        self._template, self._shapedirs = arrays["v_template"], arrays["shapedirs"].reshape(-1, 10)
        if offsets is not None:
            self._template = self._template + _checked_offsets(offsets, self.num_vertices)
        regressor = arrays["J_regressor"].astype(np.float64)
        self._joint_template = regressor @ arrays["v_template"]
        self._joint_shapedirs = np.einsum("jv,vck->jck", regressor, arrays["shapedirs"])
        self._parents = np.ascontiguousarray(arrays["kintree_table"][0])
        weights = arrays["weights"]
        order = np.argsort(-np.abs(weights), axis=1, kind="stable")[:, : int((weights != 0).sum(1).max())]
        self._weight_joint = order.astype(np.int32)
        self._weights = np.ascontiguousarray(np.take_along_axis(weights, order, 1))
        blocks = (
            arrays["posedirs"].reshape(self.num_vertices, 3, 23, 9).transpose(0, 2, 3, 1)
        )  # (V, joint, entry, xyz)
        used = (blocks != 0).any((2, 3))
        self._dense: NDArray[np.float32] | None = None
        if used.mean() > DENSE_FROM:
            self._dense = np.ascontiguousarray(arrays["posedirs"].reshape(-1, 207))
            used = np.zeros_like(used)
        vertex, joint = np.nonzero(used)
        self._block_start = np.searchsorted(vertex, np.arange(self.num_vertices + 1)).astype(np.int32)
        self._block_joint = (joint + 1).astype(np.int32)
        self._blocks = np.ascontiguousarray(blocks[vertex, joint])
        self._shaped: tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.float64]] | None = None

    def vertices(self, betas: ArrayLike, pose: ArrayLike, transl: ArrayLike) -> NDArray[np.float32]:
        """(V, 3) float32 vertices, metres.

        Args:
            betas: (10,); pose: (24, 3) rotation vectors, root first; transl: (3,) metres, added last.
        Raises:
            ShapeError: an argument has another shape.
        """
        return self.pose(betas, pose, transl)[0]

    def joints(self, betas: ArrayLike, pose: ArrayLike, transl: ArrayLike) -> NDArray[np.float64]:
        """(24, 3) joints, metres; no vertex is computed unless the betas changed. Arguments as in
        `vertices`."""
        b, p, t = _checked(betas, pose, transl)
        return forward_kinematics(p, self._shape(b)[1], self._parents)[2] + t

    def pose(
        self, betas: ArrayLike, pose: ArrayLike, transl: ArrayLike
    ) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Vertices (V, 3) float32 and joints (24, 3). Arguments as in `vertices`."""
        b, p, t = _checked(betas, pose, transl)
        shaped, rest_joints = self._shape(b)
        feature, skin, joints = forward_kinematics(p, rest_joints, self._parents)
        feature32 = feature.astype(np.float32)
        if self._dense is None:
            rest = add_pose_offsets(shaped, self._block_start, self._block_joint, self._blocks, feature32)
        else:
            rest = shaped + (self._dense @ feature32[1:].ravel()).reshape(-1, 3)
        skinned = skin_vertices(
            rest, self._weight_joint, self._weights, skin.astype(np.float32), t.astype(np.float32)
        )
        return skinned, joints + t

    def _shape(self, betas: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        kept = self._shaped
        if kept is None or not np.array_equal(kept[0], betas):
            offsets = (self._shapedirs @ betas.astype(np.float32)).reshape(-1, 3)
            kept = (
                betas.copy(),
                self._template + offsets,
                self._joint_template + self._joint_shapedirs @ betas,
            )
            self._shaped = kept
        return kept[1], kept[2]


def _checked_offsets(offsets: ArrayLike, num_vertices: int) -> NDArray[np.float32]:
    array = np.asarray(offsets, dtype=np.float32)
    if array.shape != (num_vertices, 3):
        raise ShapeError(f"offsets must be (V, 3) = {(num_vertices, 3)}; got {array.shape}.")
    if not np.isfinite(array).all():
        raise UnitError("offsets must be finite metres.")
    return array


def _checked(
    betas: ArrayLike, pose: ArrayLike, transl: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    out = []
    for name, value, shape in (("betas", betas, (10,)), ("pose", pose, (24, 3)), ("transl", transl, (3,))):
        array = np.ascontiguousarray(value, dtype=np.float64)
        if array.shape != shape:
            raise ShapeError(
                f"{name} must be {shape}; got {array.shape}. BodyPoser poses one body at a time."
            )
        out.append(array)
    return out[0], out[1], out[2]
