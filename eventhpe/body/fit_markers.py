"""Where keypoints sit on a body: one offset each in the frame of a joint.

The idea of MoSh (Loper et al., ACM TOG 2014), reduced to one marker per joint.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eventhpe.body.dhp19_markers import SKIN_RULES, skin_markers
from eventhpe.body.model import BodyModel
from eventhpe.errors import ShapeError
from eventhpe.geometry.skeleton import DHP19_SKELETON, SMPL_SKELETON, Skeleton

F64 = NDArray[np.float64]

DHP19_JOINTS = {
    "head": "head", "shoulder": "shoulder", "elbow": "elbow", "hip": "hip", "hand": "wrist", "knee": "knee",
    "foot": "ankle",
}  # fmt: skip
"""Joint of the body that each marker of DHP19 belongs to."""

_TILT = 0.05  # unit of the shares' variables
_MIRROR = np.array([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Attachment:
    """Places of J keypoints on a body.

    A keypoint lies at P_a + ((1 - s) R_p + s R_a) o, with P_a the position of its joint a, R_a and R_p the
    rotations of a and of its parent from the rest frame, o the offset and s the share: skin beside a joint
    follows both bones. s = 1 is a point fixed in the joint's own frame.

    Attributes:
        names: J names of keypoints.
        joints: (J,) int64, joint of each in SMPL's order.
        offsets: (J, 3) metres in the joint's rest frame (+x the subject's left, +y up, +z forward).
        shares: (J,) in [0, 1].
    """

    names: tuple[str, ...]
    joints: NDArray[np.int64]
    offsets: F64
    shares: F64

    def positions(self, joints: Tensor, rotations: Tensor) -> Tensor:
        """(T, J, 3) keypoints of bodies with joints (T, 24, 3) and rotations from the rest frame
        (T, 24, 3, 3)."""
        offsets, shares = (torch.tensor(v, dtype=joints.dtype) for v in (self.offsets, self.shares))
        return place_keypoints(self.joints, offsets, shares, joints, rotations)


def place_keypoints(
    anchors: NDArray[np.int64], offsets: Tensor, shares: Tensor, joints: Tensor, rotations: Tensor
) -> Tensor:
    """`Attachment.positions` with gradients to offsets (J, 3) and shares (J,)."""
    above = [max(SMPL_SKELETON.parents[a], 0) for a in anchors]
    share = shares[:, None, None]
    turn = (1 - share) * rotations[:, above] + share * rotations[:, anchors.tolist()]
    return joints[:, anchors.tolist()] + (turn * offsets[:, None, :]).sum(-1)


def usual_attachment(skeleton: Skeleton, body: BodyModel, *, depth: float = 0.5) -> Attachment:
    """Where keypoints usually sit, the centre of the prior on offsets.

    Markers of DHP19 (`skeleton.name` "dhp19", any subset of the 13) lie half-way between joint and skin,
    because the data set says no more than that they are approximations derived from markers. Every other
    skeleton must use joint names of SMPL's, and its keypoints lie at the joints.

    Args:
        depth: where DHP19's markers lie between the joint (0) and the skin (1).
    Raises:
        ShapeError: a name is unknown.
    """
    if skeleton.name == DHP19_SKELETON.name:
        return _dhp19_attachment(skeleton.joints, body, depth)
    unknown = [name for name in skeleton.joints if name not in SMPL_SKELETON.joints]
    if unknown:
        raise ShapeError(
            f"keypoints {', '.join(unknown)} of skeleton {skeleton.name!r} are no joints of the body; it has "
            f"{', '.join(SMPL_SKELETON.joints)}."
        )
    anchors = np.array([SMPL_SKELETON.index(name) for name in skeleton.joints], np.int64)
    J = len(anchors)
    return Attachment(skeleton.joints, anchors, np.zeros((J, 3)), np.ones(J))


def _dhp19_attachment(names: tuple[str, ...], body: BodyModel, depth: float) -> Attachment:
    arrays = body.arrays()
    markers = skin_markers(arrays)
    template = arrays["v_template"].astype(np.float64)
    joints = body.J_template.detach().cpu().numpy().astype(np.float64)
    skin = markers.positions(template)
    weights = np.einsum("mk,mkj->mj", markers.weights, arrays["weights"][markers.vertex_ids])
    anchors, offsets, shares = [], [], []
    for name in names:
        if name not in markers.names:
            raise ShapeError(f"keypoint {name!r} is none of DHP19's: {', '.join(markers.names)}.")
        part, _, side = name.partition("_")
        suffix = f"_{side}" if side else ""
        m, anchor = markers.names.index(name), SMPL_SKELETON.index(DHP19_JOINTS[part] + suffix)
        inside = sum(
            (w * joints[SMPL_SKELETON.index(joint + suffix)] for joint, w in SKIN_RULES[part].start),
            np.zeros(3),
        )
        anchors.append(anchor)
        offsets.append((1 - depth) * inside + depth * skin[m] - joints[anchor])
        shares.append(float(weights[m, _below(anchor)].sum()))
    return Attachment(names, np.array(anchors, np.int64), np.array(offsets), np.array(shares))


def _below(joint: int) -> list[int]:
    """A joint and all that hang on it."""
    found = [joint]
    for child, parent in enumerate(SMPL_SKELETON.parents):
        if parent in found:
            found.append(child)
    return found


class OffsetVariables:
    """Unknowns of an attachment, with their prior: mirrored offsets, small asymmetries, bounded deviations.

    Args:
        usual: centre of the prior.
        max_offset_m, offset_sigma_m, asymmetry_sigma_m, share_sigma: see `FitSettings`.
        step_m: unit of the variables, about the precision in metres with which offsets will be known.
    """

    def __init__(
        self,
        usual: Attachment,
        *,
        max_offset_m: float,
        offset_sigma_m: float,
        asymmetry_sigma_m: float,
        share_sigma: float,
        step_m: float = 1.0,
    ) -> None:
        self._usual = usual
        self._max, self._sigma, self._step = max_offset_m, offset_sigma_m, step_m
        self._asymmetry, self._share_sigma = asymmetry_sigma_m, share_sigma
        J = len(usual.names)
        pair = [_pair(name) for name in usual.names]
        self._group = [pair.index(p) for p in pair]  # both of a pair share the entry of the first
        self._side = torch.tensor(
            np.array([_MIRROR if n.endswith("_right") else np.ones(3) for n in usual.names])
        )
        first = np.clip(usual.shares, 0.03, 0.97)
        self.common = torch.zeros(J, 3, dtype=torch.float64, requires_grad=True)
        self.own = torch.zeros(J, 3, dtype=torch.float64, requires_grad=True)
        self._first_logits = torch.tensor(np.log(first / (1 - first)))
        self.tilt = torch.zeros(J, dtype=torch.float64, requires_grad=True)
        self._first_share = torch.tensor(first)

    @property
    def variables(self) -> list[Tensor]:
        """What an optimiser changes."""
        return [self.common, self.tilt] + ([self.own] if self._asymmetry > 0 else [])

    def values(self) -> tuple[Tensor, Tensor]:
        """Offsets (J, 3) and shares (J,)."""
        deviation = self._step * (self._side * self.common[self._group] + self.own)
        size = deviation.square().sum(-1, keepdim=True)
        bounded = deviation / torch.sqrt(1 + size / self._max**2)  # never longer than max
        return torch.tensor(self._usual.offsets) + bounded, self._shares()[self._group]

    def _shares(self) -> Tensor:
        """(J,) of the first of each pair."""
        return torch.sigmoid(self._first_logits + _TILT * self.tilt)

    def energy(self) -> Tensor:
        """Negative log prior."""
        out = (self._step * self.common).square().sum() / self._sigma**2
        out = out + (self._shares() - self._first_share).square().sum() / self._share_sigma**2
        if self._asymmetry > 0:
            out = out + (self._step * self.own).square().sum() / self._asymmetry**2
        return 0.5 * out

    def attachment(self) -> Attachment:
        """The present values."""
        offsets, shares = (v.detach().numpy().copy() for v in self.values())
        return Attachment(self._usual.names, self._usual.joints, offsets, shares)


def _pair(name: str) -> str:
    return name.removesuffix("_left").removesuffix("_right")
