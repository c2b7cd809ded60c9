"""Events as v2e makes them: evenly spread over each interval (Numba, double precision)."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from eventhpe.events.kernels_noise import add_noise
from eventhpe.events.kernels_packed import packed, with_room
from eventhpe.events.kernels_pixels import LEVEL, OFF, ON, REFERENCE, RUN, TARGET, Noise, Pixels

I32 = NDArray[np.int32]
U64 = NDArray[np.uint64]


@njit(cache=True, nogil=True, error_model="numpy")
def fire_in_steps(
    pixels: Pixels, noise: Noise, cutoff: float, gain: float, leak1: float, t0: int, dt: int,
    refractory: int, size: tuple[int, int], counts: I32, buffer: U64,
) -> tuple[U64, int]:  # fmt: skip
    """The events of one interval, in no order, by the rule of v2e (Hu et al. 2021). Noise comes after.

    A pixel owes floor(|difference| / threshold) events. The interval is cut into as many steps as the busiest
    pixel owes events; a pixel gives one at the end of each of the first steps. Where its refractory period
    forbids one, it is not given and the reference does not move for it.

    Args:
        cutoff: 2 pi cutoff_hz dt / 275, or 0 without a low-pass; a pixel of I DN moves by the share
            min(1, cutoff (I + 20)).
        leak1: what has leaked from the references.
        counts: (R * RUN,) scratch.
        buffer: events are written to its start; their microsecond may be `dt`, the interval's end.
    Returns:
        The (perhaps larger) buffer and the number of events in it.
    """
    state = pixels.state
    busiest, total = 0, 0
    for r in range(pixels.changed.size):
        share = min(r, pixels.leak_share.shape[0] - 1)
        pixels.changed[r] = 0
        for i in range(RUN):
            a = min(1.0, cutoff * (float(pixels.seen[r, i]) * gain + 20.0)) if cutoff > 0 else 1.0
            if a < 1.0:
                state[r, LEVEL, i] += a * (state[r, TARGET, i] - state[r, LEVEL, i])
            else:
                state[r, LEVEL, i] = state[r, TARGET, i]
            d = state[r, LEVEL, i] - state[r, REFERENCE, i] + leak1 * pixels.leak_share[share, i]
            owed = int(d / state[r, ON, i]) if d > 0 else -int(-d / state[r, OFF, i])
            counts[r * RUN + i] = owed
            busiest = max(busiest, abs(owed))
            total += abs(owed)
    cols, n = size[1], 0
    buffer = with_room(buffer, n, total)
    for pixel in range(counts.size):
        owed = counts[pixel]
        if owed == 0:
            continue
        r, i = pixel // RUN, pixel % RUN
        y = pixel // cols
        last = pixels.last_t[r, i]
        given = 0
        for k in range(abs(owed)):
            micro = (k + 1) * dt // busiest
            if t0 + micro - last < refractory:
                continue
            last = t0 + micro
            buffer[n] = packed(micro, y, pixel - y * cols, 1 if owed > 0 else 0)
            n += 1
            given += 1
        pixels.last_t[r, i] = last
        state[r, REFERENCE, i] += given * (state[r, ON, i] if owed > 0 else -state[r, OFF, i])
    return add_noise(noise, pixels, gain, leak1, t0, dt, refractory, size, buffer, n)
