"""State of the simulated pixels, as the kernels pass it on."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.floating]

#: Pixels in a run.
RUN = 64
#: Log intensity of the latest image; log intensity that the photoreceptor shows (the same without a
#: low-pass); what LEVEL is about to become; level at the pixel's last event, before leaks; thresholds.
TARGET, LEVEL, NEXT, REFERENCE, ON, OFF = range(6)
NUM_FIELDS = 6
#: Threshold of the padding, which never fires.
NEVER = 1e30


class Pixels(NamedTuple):
    """State of every pixel; R runs.

    Attributes:
        seen: (R, RUN) latest image, its own dtype.
        state: (R, 6, RUN) TARGET, LEVEL, NEXT, REFERENCE, ON and OFF of each pixel. What belongs to a run
            lies together, because a few runs here and there are what usually changes.
        leak_share: (R or 1, RUN) factor on the leak; one row when all pixels are alike.
        last_t: (R, RUN) µs of the pixel's last event.
        changed: (R,) 1 where `seen` has changed since TARGET or LEVEL followed it.
        settled: (R,) 1 where LEVEL equals TARGET.
        margin: (R,) no pixel of the run is nearer than this to a threshold.
    """

    seen: NDArray[Any]
    state: Real
    leak_share: Real
    last_t: NDArray[np.int64]
    changed: NDArray[np.uint8]
    settled: NDArray[np.uint8]
    margin: NDArray[np.float64]


class Noise(NamedTuple):
    """Events without light.

    Attributes:
        state: (1,) state of the random numbers; moved on.
        shot_per_us: mean rate of a pixel's shot noise in darkness; 0 = none.
        on_share: share of ON events in it.
        ends: (H * W,) where each pixel's share of the rates ends when all are laid end to end (mean length
            1); empty when all pixels are alike.
        guide: `first_in_each_unit(ends)`.
        hot: (K,) flat indices of the hot pixels.
        hot_per_us: rate of each; 0 = none.
        hot_on_share: share of ON events in theirs.
    """

    state: NDArray[np.uint64]
    shot_per_us: float
    on_share: float
    ends: NDArray[np.float64]
    guide: NDArray[np.int32]
    hot: NDArray[np.int64]
    hot_per_us: float
    hot_on_share: float
