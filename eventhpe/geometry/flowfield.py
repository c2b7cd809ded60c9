"""Dense optical flow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import ShapeError


@dataclass(frozen=True)
class FlowField:
    """Forward displacement of pixels over the window [t0, t1), indexed at t0.

    Attributes:
        uv: (2, H, W) float32 pixels; channel 0 = +x right, channel 1 = +y down.
        valid: (H, W) bool, where the flow is known.
        t0_us, t1_us: the window.
    """

    uv: NDArray[np.float32]
    valid: NDArray[np.bool_]
    t0_us: int
    t1_us: int

    def __post_init__(self) -> None:
        if self.uv.ndim != 3 or self.uv.shape[0] != 2:
            hint = " Move channels first with np.moveaxis(a, -1, 0)." if self.uv.shape[-1:] == (2,) else ""
            raise ShapeError(f"flow must be (2, H, W); got {self.uv.shape}.{hint}")
        if self.valid.shape != self.uv.shape[1:]:
            raise ShapeError(f"FlowField.valid must be {self.uv.shape[1:]}; got {self.valid.shape}.")
