"""Rotations in NumPy and torch, thin over scipy. Names read a_to_b.

6D (Zhou et al., CVPR 2019) = the first two columns of the matrix, one after the other (not interleaved).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation, Slerp

if TYPE_CHECKING:
    import torch


def rotvec_to_rotmat(rotvec: ArrayLike) -> NDArray[np.float64]:
    """(*, 3) rotation vectors in radians to (*, 3, 3) matrices."""
    r = np.array(rotvec, dtype=np.float64)  # a copy: scipy refuses read-only arrays
    return Rotation.from_rotvec(r.reshape(-1, 3)).as_matrix().reshape(*r.shape[:-1], 3, 3)


def rotmat_to_rotvec(rotmat: ArrayLike) -> NDArray[np.float64]:
    """(*, 3, 3) matrices to (*, 3) rotation vectors in radians, angle in [0, pi]."""
    m = np.array(rotmat, dtype=np.float64)  # a copy: scipy refuses read-only arrays
    return Rotation.from_matrix(m.reshape(-1, 3, 3)).as_rotvec().reshape(*m.shape[:-2], 3)


def interpolate_rotvec(t_new: ArrayLike, t: ArrayLike, rotvec: ArrayLike) -> NDArray[np.float64]:
    """Spherical interpolation of (T, *, 3) rotation vectors, known at times t (T,), at times t_new (N,).

    Times outside [t[0], t[-1]] take the nearest end.
    """
    r = np.array(rotvec, dtype=np.float64)  # a copy: scipy refuses read-only arrays
    t = np.asarray(t, dtype=np.float64)
    query = np.clip(np.asarray(t_new, dtype=np.float64), t[0], t[-1])
    flat = r.reshape(len(t), -1, 3)
    if len(t) == 1:
        return np.broadcast_to(r, (len(query), *r.shape[1:])).copy()
    out = np.stack(
        [Slerp(t, Rotation.from_rotvec(flat[:, j]))(query).as_rotvec() for j in range(flat.shape[1])], 1
    )
    return out.reshape(len(query), *r.shape[1:])


def sixd_to_rotmat(sixd: torch.Tensor) -> torch.Tensor:
    """(*, 6) two consecutive 3-vectors to (*, 3, 3): x = a/|a|, z = norm(x × b), y = z × x."""
    import torch
    from torch.nn.functional import normalize

    x = normalize(sixd[..., :3], dim=-1, eps=1e-8)
    z = normalize(torch.linalg.cross(x, sixd[..., 3:]), dim=-1, eps=1e-8)
    return torch.stack([x, torch.linalg.cross(z, x), z], dim=-1)


def rotmat_to_sixd(rotmat: torch.Tensor) -> torch.Tensor:
    """(*, 3, 3) to (*, 6): first column, then second column."""
    import torch

    return torch.cat([rotmat[..., :, 0], rotmat[..., :, 1]], dim=-1)


def geodesic_angle(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Angle in radians between (*, 3, 3) rotations, by atan2: gradients stay finite at 0 and near pi."""
    import torch

    m = a.transpose(-1, -2) @ b
    skew = torch.stack(
        [m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]], -1
    )
    trace = m.diagonal(dim1=-2, dim2=-1).sum(-1)
    return torch.atan2(torch.sqrt((skew * skew).sum(-1) + 1e-12), trace - 1)
