"""LNES, locally normalised event surface: time of the last event of each pixel and polarity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eventhpe.events import kernels_grid as kernels
from eventhpe.events.types import Events
from eventhpe.events.voxel import check_inside, check_window, output_array


def lnes(
    events: Events, *, t0_us: int, t1_us: int, out: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    """Normalised time of the last event per pixel and polarity (Rudnev et al. 2021, EventHands).

    Args:
        events: N events inside [t0_us, t1_us); may be empty.
        t0_us, t1_us: half-open window.
        out: (2, H, W) float32 to reuse.
    Returns:
        (2, H, W) float32 in [0, 1); channel 0 OFF, channel 1 ON.
    Raises:
        UnitError: timestamps outside the window (usually seconds passed as microseconds).
    Convention:
        A cell holds (t - t0) / (t1 - t0) of its last event, so newer is larger. 0 is a cell without events,
        and also one whose last event lies at t0 itself. The window is the given one, not the events' span.
    """
    t0_us, t1_us = check_window(t0_us, t1_us)
    check_inside(events, t0_us, t1_us)
    surface = output_array(out, (2, *events.sensor_size))
    kernels.last_times(events.t, events.x, events.y, events.p, t0_us, t1_us, surface)
    return surface
