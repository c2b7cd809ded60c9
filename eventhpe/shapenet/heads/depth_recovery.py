"""From pixels and depths relative to the root to metres before the camera, by the lengths of bones.

HEMlets' released code finds the root's depth by a grid search over one number; here the camera, the bones and
the search are general, and a least-squares answer is given too.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from eventhpe.errors import ShapeError
from eventhpe.geometry.skeleton import Skeleton
from eventhpe.shapenet.heads.parts import body_parts

Bones = Mapping[tuple[str, str], float]

METHODS = ("least_squares", "grid")
COARSE_STEPS = 12
"""The range of depths in as many steps (published: 2.0 to 8.0 in halves), and each of those in FINE_STEPS."""
FINE_STEPS = 5
NEWTON_STEPS = 8

PART_LENGTHS_MM: Mapping[int, float] = MappingProxyType(
    {
        0: 132.9, 1: 442.9, 2: 454.2, 3: 132.9, 4: 442.9, 5: 454.2,
        7: 151.0, 8: 278.9, 9: 251.7, 10: 151.0, 11: 278.9, 12: 251.7,
    }
)  # fmt: skip
"""Mean lengths in Human3.6M by the number of the part (heads/parts.py), from HEMlets' released code.

Without the trunk and the head, whose joints differ between skeletons.
"""


def adult_bones(skeleton: Skeleton) -> dict[tuple[str, str], float]:
    """Mean bone lengths in mm of adults, by (parent, child) names, for a skeleton with HEMlets' parts."""
    parts, names = body_parts(skeleton), skeleton.joints
    return {(names[parts[i][0]], names[parts[i][1]]): mm for i, mm in PART_LENGTHS_MM.items()}


def recover_root_depth(
    uv: Tensor,
    depth: Tensor,
    K: Tensor,
    *,
    skeleton: Skeleton,
    bones_mm: Bones,
    known: Tensor | None = None,
    method: str = "least_squares",
    depth_range: tuple[float, float] = (1.0, 10.0),
) -> Tensor:
    """Depth of the root at which bones have the lengths that they should.

    A joint at relative depth d on the ray n (with n_z = 1) lies at n (z + d) for the root's depth z.
    Noise in the image lengthens bones on average, so small people come out too near.

    Args:
        uv: (*, J, 2) pixels of the image that K belongs to.
        depth: (*, J) metres from the root along the optical axis, farther = larger.
        K: (3, 3) or (*, 3, 3) intrinsics, e.g. `crop.crop_to_intrinsics`.
        skeleton: names of the J joints.
        bones_mm: lengths in mm by pairs of joint names.
        known: (*, J) bool joints to use; None = all that are finite.
        method: "grid" takes the best of two nested grids, as published; "least_squares" goes on from there by
            Gauss-Newton.
        depth_range: metres, where to look.
    Returns:
        (*) metres; NaN where no bone has both ends known.
    Raises:
        ShapeError: shapes differ, no bone or an unknown joint is named, or no such method.
    """
    ends, lengths = _bones(skeleton, bones_mm)
    _check(uv, depth, len(skeleton.joints), method, depth_range)
    usable = torch.isfinite(uv).all(-1) & torch.isfinite(depth)
    usable = usable if known is None else usable & known
    rays = image_rays(torch.where(usable[..., None], uv, 0.0).double(), K.double())
    depth64 = torch.where(usable, depth, 0.0).double()[..., None]
    # The bone at root depth z is slope * z + offset.
    a, b = ends[0].to(uv.device), ends[1].to(uv.device)
    points = rays * depth64
    slope, offset = (v[..., a, :] - v[..., b, :] for v in (rays, points))
    bone = _BoneFit(slope, offset, lengths.to(uv.device), usable[..., a] & usable[..., b])
    near, far = depth_range
    step = (far - near) / COARSE_STEPS
    candidates = torch.linspace(near, far, COARSE_STEPS + 1, dtype=torch.float64, device=uv.device)
    root = bone.best(candidates.expand(*depth.shape[:-1], -1))
    fine = torch.linspace(-step, step, 2 * FINE_STEPS + 1, dtype=torch.float64, device=uv.device)
    root = bone.best((root[..., None] + fine).clamp(near, far))
    if method == "least_squares":
        for _ in range(NEWTON_STEPS):
            root = bone.newton(root).clamp(near, far)
    return torch.where(bone.known.any(-1), root, torch.nan).to(depth.dtype)


def lift(uv: Tensor, depth: Tensor, root_depth: Tensor, K: Tensor) -> Tensor:
    """Joints in the camera's frame.

    Args:
        uv: (*, J, 2) pixels of the image that K belongs to.
        depth: (*, J) metres from the root along the optical axis.
        root_depth: (*) metres.
        K: (3, 3) or (*, 3, 3) intrinsics.
    Returns:
        (*, J, 3) metres.
    """
    return image_rays(uv, K) * (root_depth[..., None] + depth)[..., None]


def image_rays(uv: Tensor, K: Tensor) -> Tensor:
    """(*, J, 2) pixels to rays (*, J, 3) with z = 1."""
    focal = torch.stack([K[..., 0, 0], K[..., 1, 1]], -1)[..., None, :]
    xy = (uv - K[..., None, :2, 2]) / focal
    return torch.cat([xy, torch.ones_like(xy[..., :1])], -1)


class _BoneFit:
    """Sum of squared errors of bone lengths as a function of the root's depth."""

    def __init__(self, slope: Tensor, offset: Tensor, lengths: Tensor, known: Tensor) -> None:
        self.slope, self.offset, self.lengths, self.known = slope, offset, lengths, known

    def best(self, candidates: Tensor) -> Tensor:
        """(*, N) depths to the best of each row."""
        bone = self.slope[..., None, :, :] * candidates[..., None, None] + self.offset[..., None, :, :]
        error = (bone.norm(dim=-1) - self.lengths).square() * self.known[..., None, :]
        return candidates.gather(-1, error.sum(-1).argmin(-1, keepdim=True))[..., 0]

    def newton(self, root: Tensor) -> Tensor:
        """One Gauss-Newton step from (*) depths."""
        bone = self.slope * root[..., None, None] + self.offset
        length = bone.norm(dim=-1).clamp(min=1e-9)
        change = (bone * self.slope).sum(-1) / length * self.known
        error = (length - self.lengths) * self.known
        return root - (change * error).sum(-1) / change.square().sum(-1).clamp(min=1e-12)


def _bones(skeleton: Skeleton, bones_mm: Bones) -> tuple[tuple[Tensor, Tensor], Tensor]:
    if not bones_mm:
        raise ShapeError("recovering the root's depth needs the length of at least one bone; got none.")
    pairs = torch.tensor([[skeleton.index(a), skeleton.index(b)] for a, b in bones_mm])
    lengths = torch.tensor(list(bones_mm.values()), dtype=torch.float64) / 1000
    return (pairs[:, 0], pairs[:, 1]), lengths


def _check(uv: Tensor, depth: Tensor, joints: int, method: str, depth_range: tuple[float, float]) -> None:
    if depth.shape[-1] != joints or uv.shape != (*depth.shape, 2):
        raise ShapeError(
            f"uv must be (*, {joints}, 2) and depth (*, {joints}); got {tuple(uv.shape)} and "
            f"{tuple(depth.shape)}."
        )
    if method not in METHODS:
        raise ShapeError(f"method must be one of {', '.join(METHODS)}; got {method!r}.")
    if not 0 < depth_range[0] < depth_range[1]:
        raise ShapeError(f"depth_range must be two positive metres, the nearer first; got {depth_range}.")
