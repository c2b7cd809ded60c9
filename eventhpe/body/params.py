"""Body parameters: pose, shape and place of a body in SMPL's structure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import ShapeError


@dataclass(frozen=True)
class BodyParams:
    """Parameters of a body model over any leading batch `*` (usually time).

    Attributes:
        betas: (*, 10) shape coefficients. They mean nothing without `model`.
        global_orient: (*, 3) rotation vector of the root, in `frame`.
        body_pose: (*, 23, 3) rotation vectors of joints 1..23 relative to their parents.
        transl: (*, 3) metres, added to the posed mesh in `frame` (SMPL's rule: the pelvis lies at
            rest pelvis + transl).
        model: name of the body model, e.g. "open" or "smpl".
        gender: "neutral", "male" or "female".
        frame: "camera" (x right, y down, z forward) or "world" (Y up).
    """

    betas: NDArray[np.float64]
    global_orient: NDArray[np.float64]
    body_pose: NDArray[np.float64]
    transl: NDArray[np.float64]
    model: str = "open"
    gender: str = "neutral"
    frame: str = "camera"

    def __post_init__(self) -> None:
        lead = self.transl.shape[:-1]
        for name, tail in (
            ("betas", (10,)),
            ("global_orient", (3,)),
            ("body_pose", (23, 3)),
            ("transl", (3,)),
        ):
            value = np.array(getattr(self, name), dtype=np.float64)
            if value.shape != lead + tail:
                raise ShapeError(f"BodyParams.{name} must be {lead + tail}; got {value.shape}.")
            value.setflags(write=False)
            object.__setattr__(self, name, value)
        if self.frame not in ("camera", "world"):
            raise ShapeError(f'BodyParams.frame must be "camera" or "world"; got {self.frame!r}.')

    @property
    def pose(self) -> NDArray[np.float64]:
        """(*, 24, 3) rotation vectors, root first."""
        return np.concatenate([self.global_orient[..., None, :], self.body_pose], axis=-2)

    def require_model(self, model: str) -> None:
        """Refuse to use shape coefficients of one body model with another.

        Raises:
            ShapeError: the parameters belong to a different model.
        """
        if self.model != model:
            raise ShapeError(
                f"these parameters belong to body model {self.model!r} and cannot drive {model!r}: "
                "shape coefficients of different models never mix. Load the matching model, or refit."
            )
