"""How far people move within one window: a Gaussian over small turns of all joints and the pelvis' step
(tools/make_step_prior.py).

Knees and elbows bend about one axis, both legs swing against each other, people turn about the vertical: the
covariance says so, and what is seen of one joint moves the others with it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.body.smpl_file import read_npz
from eventhpe.errors import FormatError, ShapeError
from eventhpe.geometry.skeleton import SMPL_SKELETON

F64 = NDArray[np.float64]

ASSET = Path(__file__).parent / "assets" / "step_prior.npz"
NUM_TURNS = 3 * len(SMPL_SKELETON.joints)
SIZE = NUM_TURNS + 3


@dataclass(frozen=True)
class StepPrior:
    """Steps of a body over `step_us`.

    Attributes:
        covariance: (75, 75): of 24 rotation vectors (radians) w with R_after = exp(w) R_before, each in the
            frame of the joint's parent and the root's in that of a level camera (y down, z forward), and of
            the pelvis' step in that frame (metres). The mean is zero.
        step_us: length of a step.
        provenance: how it was made; JSON-able.
    """

    covariance: F64
    step_us: int
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        value = np.array(self.covariance, np.float64)
        if value.shape != (SIZE, SIZE) or not np.isfinite(value).all():
            raise ShapeError(f"StepPrior.covariance must be finite and {(SIZE, SIZE)}; got {value.shape}.")
        if not np.allclose(value, value.T) or np.linalg.eigvalsh(value).min() < -1e-8:
            raise ShapeError("StepPrior.covariance must be symmetric and positive semidefinite.")
        if self.step_us <= 0:
            raise ShapeError(f"StepPrior.step_us must be positive; got {self.step_us}.")
        value.setflags(write=False)
        object.__setattr__(self, "covariance", value)


@lru_cache(maxsize=1)
def load_step_prior() -> StepPrior:
    """The prior that comes with the package (docs/capture.md says how it was made)."""
    return read_step_prior(ASSET)


def read_step_prior(path: str | Path) -> StepPrior:
    """Read a file of tools/make_step_prior.py.

    Raises:
        FormatError: damaged, or arrays are missing or contradict each other.
    """
    path = Path(path)
    arrays = read_npz(path)
    missing = [key for key in ("covariance", "step_us", "joint_names", "provenance") if key not in arrays]
    if missing:
        raise FormatError(f"{path.name}: no step prior; missing {', '.join(missing)}. Make it again.")
    if tuple(map(str, arrays["joint_names"])) != SMPL_SKELETON.joints:
        raise FormatError(
            f"{path.name}: the prior is about other joints than {', '.join(SMPL_SKELETON.joints)}."
        )
    try:
        return StepPrior(
            np.asarray(arrays["covariance"], np.float64),
            int(arrays["step_us"]),
            json.loads(str(arrays["provenance"])),
        )
    except (ShapeError, TypeError, ValueError) as error:
        raise FormatError(f"{path.name}: {error}") from None
