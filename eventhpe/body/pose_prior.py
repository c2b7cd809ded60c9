"""How people hold their joints: a mixture of Gaussians over rotation vectors (tools/make_pose_prior.py)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eventhpe.body.smpl_file import read_npz
from eventhpe.errors import FormatError, ShapeError
from eventhpe.geometry.skeleton import SMPL_SKELETON

F64 = NDArray[np.float64]

ASSET = Path(__file__).parent / "assets" / "pose_prior.npz"

PRIOR_JOINTS = SMPL_SKELETON.joints[1:22]
"""The joints that the prior is about: all but the root and the two hands, in SMPL's order."""

SIZE = 3 * len(PRIOR_JOINTS)
_ARRAYS = ("weights", "means", "variances", "factors")


@dataclass(frozen=True)
class PosePrior:
    """Mixture of M Gaussians over the rotation vectors (63) of `PRIOR_JOINTS`, in radians.

    Each covariance is diagonal plus low rank, diag(variances) + factors factors^T: a mixture of factor
    analysers (Ghahramani and Hinton 1996). A mixture as the prior of a fit follows Bogo et al. (ECCV 2016).

    Attributes:
        weights: (M,), positive, summing to 1.
        means: (M, 63).
        variances: (M, 63), positive.
        factors: (M, 63, R).
        provenance: how it was made; JSON-able.
    """

    weights: F64
    means: F64
    variances: F64
    factors: F64
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        M = len(self.weights)
        rank = self.factors.shape[-1] if self.factors.ndim == 3 else 0
        shapes = {
            "weights": (M,),
            "means": (M, SIZE),
            "variances": (M, SIZE),
            "factors": (M, SIZE, rank),
        }
        for name, shape in shapes.items():
            value = np.array(getattr(self, name), np.float64)
            if value.shape != shape or not np.isfinite(value).all():
                raise ShapeError(f"PosePrior.{name} must be finite and {shape}; got {value.shape}.")
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        if M < 1 or (self.weights <= 0).any() or abs(self.weights.sum() - 1) > 1e-3:
            raise ShapeError("PosePrior.weights must be positive and sum to 1.")
        if (self.variances <= 0).any():
            raise ShapeError("PosePrior.variances must be positive.")

    @property
    def covariances(self) -> F64:
        """(M, 63, 63)."""
        low = self.factors @ self.factors.swapaxes(1, 2)
        return np.asarray(low + self.variances[:, :, None] * np.eye(SIZE))

    def negative_log_density(self, pose: Tensor) -> Tensor:
        """(*) negative log density in nats, in the dtype and on the device of the pose.

        Args:
            pose: (*, 21, 3) rotation vectors of `PRIOR_JOINTS`.
        Raises:
            ShapeError: not (*, 21, 3).
        """
        if pose.ndim < 2 or tuple(pose.shape[-2:]) != (len(PRIOR_JOINTS), 3):
            raise ShapeError(f"pose must be (*, {len(PRIOR_JOINTS)}, 3); got {tuple(pose.shape)}.")
        whiten, shift, constant = (v.to(pose) for v in self._whitening)
        M = len(self.weights)
        x = pose.reshape(-1, SIZE)
        z = (x @ whiten - shift).reshape(-1, M, SIZE)
        return -torch.logsumexp(constant - 0.5 * z.square().sum(-1), -1).reshape(pose.shape[:-2])

    @property
    def _whitening(self) -> tuple[Tensor, Tensor, Tensor]:
        """(63, M * 63), (M * 63) and (M,): z = x W - s is white under each Gaussian; its log peak."""
        cached = self.__dict__.get("_white")
        if cached is None:
            lower = np.linalg.cholesky(self.covariances)
            inverse = np.linalg.inv(lower)  # (M, 63, 63): z = L^-1 (x - mean)
            shift = np.einsum("mij,mj->mi", inverse, self.means).ravel()
            log_det = 2 * np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(1)
            constant = np.log(self.weights) - 0.5 * (log_det + SIZE * np.log(2 * np.pi))
            whiten = inverse.transpose(2, 0, 1).reshape(SIZE, -1)
            cached = tuple(torch.tensor(v) for v in (whiten, shift, constant))
            object.__setattr__(self, "_white", cached)
        return cached


@lru_cache(maxsize=1)
def load_pose_prior() -> PosePrior:
    """The prior that comes with the package (docs/fit.md says how it was made)."""
    return read_pose_prior(ASSET)


def read_pose_prior(path: str | Path) -> PosePrior:
    """Read a file of tools/make_pose_prior.py.

    Raises:
        FormatError: damaged, or arrays are missing or contradict each other.
    """
    path = Path(path)
    arrays = read_npz(path)
    missing = [key for key in (*_ARRAYS, "joint_names", "provenance") if key not in arrays]
    if missing:
        raise FormatError(f"{path.name}: no pose prior; missing {', '.join(missing)}. Make it again.")
    if tuple(map(str, arrays["joint_names"])) != PRIOR_JOINTS:
        raise FormatError(f"{path.name}: the prior is about other joints than {', '.join(PRIOR_JOINTS)}.")
    try:
        provenance = json.loads(str(arrays["provenance"]))
        values = {key: np.asarray(arrays[key], np.float64) for key in _ARRAYS}
        values["weights"] = values["weights"] / values["weights"].sum()
        return PosePrior(**values, provenance=provenance)
    except (ShapeError, ValueError) as error:
        raise FormatError(f"{path.name}: {error}") from None
