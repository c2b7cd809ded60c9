"""SMPL-H and SMPL-X bodies of the user, driven by the 24 joints used here.

Skinning is that of the `smplx` package, whose code is for non-commercial research only; it is an optional
extra, imported here and nowhere else, and only when a body is made. Model files are read without pickle by
`smpl_file.read_npz`, never by smplx itself, which would unpickle them.

Romero et al., *Embodied Hands*, SIGGRAPH Asia 2017 (SMPL-H); Pavlakos et al., *Expressive Body Capture*,
CVPR 2019 (SMPL-X).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eventhpe.body.model import BodyOutput, params_to_tensors
from eventhpe.body.params import BodyParams
from eventhpe.body.smpl_file import GENDERS, read_npz
from eventhpe.errors import FormatError, MissingAssetError, MissingExtraError, ShapeError
from eventhpe.geometry.rotation import rotvec_to_rotmat
from eventhpe.geometry.skeleton import SMPL_SKELETON

NUM_BETAS = 10
BODY_JOINTS = 22
"""Pelvis to wrists: the same in SMPL, SMPL-H and SMPL-X, in the same order."""

FINGER_JOINTS = 15
"""Of one hand: index, middle, little, ring finger and thumb, three joints each."""

_KINDS = {52: "smplh", 55: "smplx"}
_MIDDLE = 3  # first joint of the middle finger within a hand
_KEYS = ("v_template", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table", "f")
_HAND_KEYS = ("hands_meanl", "hands_meanr")

Hands = Literal["flat", "mean"]


class SmplxBody(nn.Module):
    """A body with fingers, called like `BodyModel`.

    The first 22 joints turn as in SMPL. SMPL's hand joints, 22 and 23, have no counterpart: their rotations
    are not used, and as positions the first joints of the middle fingers are given. Jaw, eyes and expression
    rest.

    Attributes:
        name: "smplh" or "smplx", the shape space of the betas.
        gender: as the file's name says.
        faces: (F, 3) int32.
        num_vertices: V.
        skeleton: the 24 joints by name.
    """

    v_template: Tensor
    shapedirs: Tensor
    posedirs: Tensor
    J_regressor: Tensor
    weights: Tensor
    parents: Tensor
    hand_pose: Tensor

    def __init__(self, arrays: dict[str, NDArray[Any]], *, gender: str, hands: Hands, where: str) -> None:
        super().__init__()
        checked = _check(arrays, where)
        joints = len(checked["parents"])
        self.name, self.gender, self.skeleton = _KINDS[joints], gender, SMPL_SKELETON
        self.faces: NDArray[np.int32] = checked.pop("f")
        self.num_vertices: int = len(checked["v_template"])
        means = [checked.pop(key) for key in _HAND_KEYS]
        fingers = np.concatenate(means).reshape(-1, 3) * (hands == "mean")
        checked["hand_pose"] = rotvec_to_rotmat(fingers).astype(np.float32)
        for key, value in checked.items():
            self.register_buffer(key, torch.from_numpy(value), persistent=False)
        self._first_finger = joints - 2 * FINGER_JOINTS

    def forward(
        self, rotmats: Tensor, betas: Tensor, transl: Tensor, *, subset: Tensor | None = None
    ) -> BodyOutput:
        """Vertices and joints; arguments as in `BodyModel.forward`.

        Args:
            rotmats: (*, 24, 3, 3) rotations relative to the parent, root first; 22 and 23 are not used.
            betas: (*, 10) of this body's shape space.
            transl: (*, 3) metres, added last.
            subset: (S,) vertex numbers to give.
        Raises:
            ShapeError: an argument does not end in the shape above.
        """
        for name, value, tail in (
            ("rotmats", rotmats, (24, 3, 3)),
            ("betas", betas, (NUM_BETAS,)),
            ("transl", transl, (3,)),
        ):
            if tuple(value.shape[-len(tail) :]) != tail:
                raise ShapeError(
                    f"{name} must be (*, {', '.join(map(str, tail))}); got {tuple(value.shape)}."
                )
        lead = torch.broadcast_shapes(rotmats.shape[:-3], betas.shape[:-1], transl.shape[:-1])
        pose = self._full_pose(rotmats.expand(*lead, 24, 3, 3).reshape(-1, 24, 3, 3))
        vertices, joints = _lbs()(
            betas.expand(*lead, NUM_BETAS).reshape(-1, NUM_BETAS),
            pose,
            self.v_template,
            self.shapedirs,
            self.posedirs,
            self.J_regressor,
            self.parents,
            self.weights,
            pose2rot=False,
        )
        hands = [self._first_finger + side * FINGER_JOINTS + _MIDDLE for side in (0, 1)]
        kept = joints[:, [*range(BODY_JOINTS), *hands]].reshape(*lead, 24, 3)
        if subset is not None:
            vertices = vertices[:, subset]
        shift = transl.expand(*lead, 3)[..., None, :]
        return BodyOutput(vertices.reshape(*lead, -1, 3) + shift, kept + shift)

    def joints(self, rotmats: Tensor, betas: Tensor, transl: Tensor) -> Tensor:
        """(*, 24, 3) joints. Arguments as in `forward`."""
        return self.forward(rotmats, betas, transl).joints

    def vertices(
        self, rotmats: Tensor, betas: Tensor, transl: Tensor, *, subset: Tensor | None = None
    ) -> Tensor:
        """(*, V or S, 3) vertices. Arguments as in `forward`."""
        return self.forward(rotmats, betas, transl, subset=subset).vertices

    def pose(self, params: BodyParams, *, subset: Tensor | None = None) -> BodyOutput:
        """Vertices and joints of body parameters, in their frame.

        Raises:
            ShapeError: the parameters belong to another body model.
        """
        params.require_model(self.name)
        rotmats, betas, transl = params_to_tensors(params, like=self.v_template)
        return self.forward(rotmats, betas, transl, subset=subset)

    def _full_pose(self, rotmats: Tensor) -> Tensor:
        """(N, 52 or 55, 3, 3): body, face at rest (SMPL-X), fingers."""
        N = len(rotmats)
        face = torch.eye(3, dtype=rotmats.dtype, device=rotmats.device)
        faces = face.expand(N, self._first_finger - BODY_JOINTS, 3, 3)
        fingers = self.hand_pose.to(rotmats).expand(N, 2 * FINGER_JOINTS, 3, 3)
        return torch.cat([rotmats[:, :BODY_JOINTS], faces, fingers], 1)


def load_smplx(
    path: str | os.PathLike[str], *, gender: str | None = None, hands: Hands = "mean"
) -> SmplxBody:
    """SMPL-H or SMPL-X body from the user's own .npz file; which of them, the number of joints tells.

    Args:
        path: `SMPLX_NEUTRAL.npz`, `smplh/male/model.npz` and the like.
        gender: by default a word of the path, else "neutral".
        hands: "mean" = fingers relaxed as in the file, "flat" = stretched.
    Raises:
        MissingExtraError: the package smplx is not installed.
        MissingAssetError: no such file.
        FormatError: damaged, pickled, or another body.
    """
    path = Path(path)
    _lbs()
    if not path.is_file():
        raise MissingAssetError(
            f"{path}: no such file. SMPL-H and SMPL-X are licensed: download them yourself from "
            "mano.is.tue.mpg.de or smpl-x.is.tue.mpg.de."
        )
    if hands not in ("flat", "mean"):
        raise ShapeError(f'hands must be "flat" or "mean"; got {hands!r}.')
    arrays = read_npz(path, (*_KEYS, *_HAND_KEYS))
    return SmplxBody(arrays, gender=gender or _gender_of(path), hands=hands, where=path.name)


def _lbs() -> Any:
    """Linear blend skinning of the smplx package."""
    try:
        from smplx.lbs import lbs  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtraError(
            "SMPL-H and SMPL-X bodies need the package smplx, whose code is for non-commercial research "
            'only: read its licence, then `pip install "eventhpe[smpl]"`. SMPL files and the open body need '
            "nothing."
        ) from error
    return lbs


def _gender_of(path: Path) -> str:
    words = [path.stem.lower().rpartition("_")[2], path.parent.name.lower()]
    return next((word for word in words if word in GENDERS), "neutral")


def _check(arrays: dict[str, NDArray[Any]], where: str) -> dict[str, NDArray[Any]]:
    """The arrays that skinning takes, float32, shapes compared with each other."""
    if missing := [key for key in (*_KEYS, *_HAND_KEYS) if key not in arrays]:
        raise FormatError(f"{where}: no SMPL-H or SMPL-X body; missing {', '.join(missing)}.")
    if wrong := [key for key in (*_KEYS, *_HAND_KEYS) if arrays[key].dtype.kind not in "fiu"]:
        raise FormatError(f"{where}: {', '.join(wrong)} must hold numbers.")
    weights = arrays["weights"]
    joints = weights.shape[-1] if weights.ndim == 2 else 0
    if joints not in _KINDS:
        raise FormatError(
            f"{where}: a body of {joints} joints; SMPL-H has 52 and SMPL-X 55. SMPL itself (24) is read by "
            "eventhpe.body.smpl_file."
        )
    V, P = len(arrays["v_template"]), 9 * (joints - 1)
    shapes = {
        "v_template": (V, 3), "posedirs": (V, 3, P), "J_regressor": (joints, V), "weights": (V, joints),
        "kintree_table": (2, joints), **dict.fromkeys(_HAND_KEYS, (3 * FINGER_JOINTS,)),
    }  # fmt: skip
    for key, shape in shapes.items():
        if arrays[key].shape != shape:
            raise FormatError(f"{where}: {key} must be {shape}; got {arrays[key].shape}.")
    shapedirs, faces = arrays["shapedirs"], arrays["f"]
    if shapedirs.ndim != 3 or shapedirs.shape[:2] != (V, 3) or shapedirs.shape[2] < NUM_BETAS:
        raise FormatError(f"{where}: shapedirs must be ({V}, 3, 10 or more); got {shapedirs.shape}.")
    if faces.ndim != 2 or faces.shape[1] != 3 or not len(faces) or int(faces.max()) >= V:
        raise FormatError(f"{where}: f must be (F, 3) vertex numbers below {V}; got {faces.shape}.")
    parents = arrays["kintree_table"][0].astype(np.int64)
    parents[0] = -1  # the files write 2**32 - 1
    if (
        parents[:BODY_JOINTS].tolist() != list(SMPL_SKELETON.parents[:BODY_JOINTS])
        or not ((parents[1:] >= 0) & (parents[1:] < np.arange(1, joints))).all()
    ):
        raise FormatError(
            f"{where}: kintree_table gives parents {parents.tolist()}, which are not the body's."
        )
    out: dict[str, NDArray[Any]] = {
        key: np.array(arrays[key], np.float32)
        for key in ("v_template", "J_regressor", "weights", *_HAND_KEYS)
    }
    out["shapedirs"] = np.array(shapedirs[:, :, :NUM_BETAS], np.float32)
    out["posedirs"] = np.ascontiguousarray(arrays["posedirs"].reshape(-1, P).T, np.float32)
    if bad := [key for key, value in out.items() if not np.isfinite(value).all()]:
        raise FormatError(f"{where}: {', '.join(bad)} hold values that are not finite.")
    return out | {"parents": parents, "f": faces.astype(np.int32)}
