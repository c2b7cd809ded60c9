"""Compiled loops of the event simulator: low-pass and threshold crossings, run by run (Numba)."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from eventhpe.events.kernels_levels import exp_of_negative
from eventhpe.events.kernels_noise import add_noise
from eventhpe.events.kernels_packed import packed, with_room
from eventhpe.events.kernels_pixels import (
    LEVEL,
    NEVER,
    NEXT,
    OFF,
    ON,
    REFERENCE,
    RUN,
    TARGET,
    Noise,
    Pixels,
)

F32 = NDArray[np.float32]
I64 = NDArray[np.int64]
U64 = NDArray[np.uint64]

_F = np.float32
_ONE, _FULL_DN, _DARK_DN = _F(1), _F(255), _F(20)
#: A low-passed level this near to its target is set to it (log units; 1/1000 of the smallest threshold).
_SETTLED = _F(1e-5)
#: Distances to a threshold are estimates in float32; pixels nearer than this are looked at.
_SLACK = _F(2e-6)
_FAR_BITS = np.int32(_F(NEVER).view(np.int32))


@njit(cache=True, nogil=True, error_model="numpy")
def _emit_run(
    r: int, field: int, pixels: Pixels, leak0: float, leak1: float, t0: int, dt: int, refractory: int,
    cols: int, near: F32, chosen: I64, buffer: U64, n: int,
) -> int:  # fmt: skip
    """Write the events of one run; the buffer has room. Levels are linear in time between images.

    Args:
        field: of the new levels.
        near: (RUN,) distance to the nearer threshold; negative when it has been passed.
        chosen: (RUN,) scratch.
    """
    state, leak_share, last_t = pixels.state, pixels.leak_share, pixels.last_t
    fire = 0
    share = min(r, leak_share.shape[0] - 1)
    for i in range(RUN):
        chosen[fire] = i
        fire += near[i] <= _SLACK
    row = r * RUN // cols
    column = r * RUN - row * cols
    for j in range(fire):
        i = chosen[j]
        reference, leaked = float(state[r, REFERENCE, i]), float(leak_share[share, i])
        end = float(state[r, field, i]) - reference + leak1 * leaked
        begin = float(state[r, LEVEL, i]) - reference + leak0 * leaked
        rises = end > 0
        step = float(state[r, ON, i]) if rises else -float(state[r, OFF, i])
        scale = dt / (end - begin) if end != begin else 0.0
        late = dt if end == begin else 0
        y, x = row, column + i
        while x >= cols:
            x -= cols
            y += 1
        last = last_t[r, i]
        count = 0
        while (count + 1) * abs(step) <= abs(end):
            count += 1
            micro = min(max(int((count * step - begin) * scale) + late, 0), dt - 1)
            buffer[n] = packed(micro, y, x, rises)
            if t0 + micro - last >= refractory:
                last = t0 + micro
                n += 1
        last_t[r, i] = last
        state[r, REFERENCE, i] += count * step
    return n


@njit(cache=True, nogil=True, error_model="numpy")
def fire_between_images(
    pixels: Pixels, noise: Noise, cutoff: float, gain: float, leak0: float, leak1: float,
    largest_share: float, smallest_threshold: float, t0: int, dt: int, refractory: int,
    size: tuple[int, int], buffer: U64,
) -> tuple[U64, int]:  # fmt: skip
    """The events of one interval, in no order.

    Levels move to or towards their targets; an event each time level - reference + leak passes a threshold.
    Noise comes after.

    Largest and smallest values of a run are found among float32 as bits: positive floats are ordered like
    their bits, and only integers have a vector instruction for it that needs no assumption.

    Args:
        cutoff: 2 pi cutoff_hz dt / 275, or 0 without a low-pass; a pixel of I DN moves by the share
            1 - exp(-cutoff (I + 20)), I in whole DN up to 255.
        leak0, leak1: what leaked from the references until both ends of the interval.
        largest_share: of pixels.leak_share.
        smallest_threshold: of all thresholds.
        refractory: an event within this time after the pixel's last one is dropped, the reference moves.
        buffer: events are written to its start.
    Returns:
        The (perhaps larger) buffer and the number of events in it.
    """
    seen, state, leak_share = pixels.seen, pixels.state, pixels.leak_share
    changed, settled, margin = pixels.changed, pixels.settled, pixels.margin
    brightness, rate = np.float32(gain), np.float32(cutoff)
    moved, near, chosen = np.empty(RUN, state.dtype), np.empty(RUN, np.float32), np.empty(RUN, np.int64)
    leak = leak_share.dtype.type(leak1)
    drift = (leak1 - leak0) * largest_share
    cols, n = size[1], 0
    for r in range(changed.size):
        fresh = changed[r] != 0
        if fresh:
            changed[r] = 0
            if cutoff > 0:
                settled[r] = 0
        if not settled[r]:
            field = NEXT
            move, gap = np.int32(0), np.int32(0)
            for i in range(RUN):
                dn = np.float32(seen[r, i]) * brightness
                dn = np.float32(np.int32(dn if dn < _FULL_DN else _FULL_DN)) + _DARK_DN
                before, goal = np.float32(state[r, LEVEL, i]), np.float32(state[r, TARGET, i])
                after = before + (_ONE - exp_of_negative(rate * dn)) * (goal - before)
                moved[i] = after
                move = max(move, np.float32(abs(after - before)).view(np.int32))
                gap = max(gap, np.float32(abs(goal - after)).view(np.int32))
            margin[r] -= np.int32(move).view(np.float32) + drift
            if np.int32(gap).view(np.float32) < _SETTLED:
                settled[r] = 1
                margin[r] -= _SETTLED
                field = TARGET
            else:
                for i in range(RUN):
                    state[r, NEXT, i] = moved[i]
        elif fresh:
            field = TARGET
            margin[r] = 0.0
        elif drift == 0.0:
            continue
        else:
            field = LEVEL
            margin[r] -= drift
        if margin[r] <= _SLACK:
            nearest, furthest = _FAR_BITS, np.int32(0)
            share = min(r, leak_share.shape[0] - 1)
            for i in range(RUN):
                d = np.float32(state[r, field, i] - state[r, REFERENCE, i] + leak * leak_share[share, i])
                up, down = np.float32(state[r, ON, i]) - d, np.float32(state[r, OFF, i]) + d
                near[i] = up if up < down else down
                nearest = min(nearest, np.float32(near[i]).view(np.int32))
                furthest = max(furthest, np.float32(abs(d)).view(np.int32))
            margin[r] = np.int32(nearest).view(np.float32)  # some negative number where one is negative
            if margin[r] <= _SLACK:
                room = RUN * (int(np.int32(furthest).view(np.float32) / smallest_threshold) + 2)
                if n + room > buffer.size:
                    buffer = with_room(buffer, n, room)
                n = _emit_run(
                    r, field, pixels, leak0, leak1, t0, dt, refractory, cols, near, chosen, buffer, n
                )
                margin[r] = 0.0
        if field != LEVEL:
            for i in range(RUN):
                state[r, LEVEL, i] = state[r, field, i]
    return add_noise(noise, pixels, gain, leak1, t0, dt, refractory, size, buffer, n)
