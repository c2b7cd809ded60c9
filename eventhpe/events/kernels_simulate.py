"""Compiled loops of the event simulator (Numba).

Between kernels one event is one uint64: microseconds since the interval's start << 32 | pixel << 1 |
polarity. Random numbers come from a splitmix64 state that the caller owns, never from a global one.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
U8 = NDArray[np.uint8]
U16 = NDArray[np.uint16]
U64 = NDArray[np.uint64]
Box = tuple[int, int, int, int]


@njit(cache=True, nogil=True)
def lin_log(intensity: float, knee: float, dark: float) -> float:
    """Natural logarithm that goes on as its tangent below `knee`."""
    v = intensity + dark
    if v < knee:
        return float(np.log(knee) + (v - knee) / knee)
    return float(np.log(v))


@njit(cache=True, nogil=True)
def levels_from_table(image: U8, table: F32, box: Box, levels: F32) -> None:
    """Log intensity of a uint8 image inside `box`."""
    y0, y1, x0, x1 = box
    for y in range(y0, y1):
        for x in range(x0, x1):
            levels[y, x] = table[image[y, x]]


@njit(cache=True, nogil=True)
def levels_from_float(image: F32, seen: F32, knee: float, dark: float, box: Box, levels: F32) -> bool:
    """Log intensity of a float image inside `box`; pixels that did not change cost no logarithm.

    Returns:
        False when a value is negative or not finite.
    """
    y0, y1, x0, x1 = box
    for y in range(y0, y1):
        for x in range(x0, x1):
            v = image[y, x]
            if v != seen[y, x]:
                if not 0.0 <= v < np.inf:
                    return False
                seen[y, x] = v
                levels[y, x] = lin_log(v, knee, dark)
    return True


@njit(cache=True, nogil=True)
def low_pass(levels: F32, image: NDArray, share: F32, state: F32, box: Box) -> None:  # type: ignore[type-arg]
    """Move `state` towards `levels` by the share that belongs to the pixel's intensity (256 steps)."""
    y0, y1, x0, x1 = box
    for y in range(y0, y1):
        for x in range(x0, x1):
            a = share[min(int(image[y, x]), 255)]
            state[y, x] += a * (levels[y, x] - state[y, x])


@njit(cache=True, nogil=True)
def _grown(buffer: U64) -> U64:
    out = np.empty(2 * buffer.size, np.uint64)
    out[: buffer.size] = buffer
    return out


@njit(cache=True, nogil=True)
def _packed(micro: int, pixel: int, polarity: int) -> np.uint64:
    return (np.uint64(micro) << np.uint64(32)) | np.uint64(2 * pixel + polarity)


@njit(cache=True, nogil=True)
def _count_firing(level: F32, reference: F32, on: F32, off: F32, leak: np.float32) -> np.int32:
    """How many pixels of a run fire; without a branch, so that the compiler uses vector instructions."""
    hits = np.int32(0)
    for i in range(level.size):
        d = level[i] - reference[i] + leak
        hits += np.int32((d >= on[i]) | (d <= -off[i]))
    return hits


@njit(cache=True, nogil=True)
def cross_thresholds(
    levels: F32, before: F32, reference: F32, on: F32, off: F32,
    leak0: float, leak1: float, box: Box,
    t0: int, dt: int, refractory: int, last_t: I64, buffer: U64,
) -> tuple[U64, int]:  # fmt: skip
    """Emit an event each time `level - reference + leak` passes a threshold; linear between frames.

    Args:
        levels, before: (H, W) log intensity at the end and at the start of the interval; `before` is set
            to `levels`.
        reference: (H, W) level of each pixel's last event; moved here.
        leak0, leak1: what leaked from the references until both ends of the interval.
        box: where levels may have changed; elsewhere only the leak makes events.
        refractory: an event within this time after the pixel's last one is dropped, the reference moves.
    Returns:
        The (perhaps larger) buffer and the number of events in it.
    """
    rows, cols = levels.shape
    y0, y1, x0, x1 = box
    n = 0
    drift1 = np.float32(leak1)
    for y in range(rows):
        inside = y0 <= y < y1
        if not inside and leak1 == leak0:
            continue
        if _count_firing(levels[y], reference[y], on[y], off[y], drift1) == 0:
            if inside:
                before[y, x0:x1] = levels[y, x0:x1]
            continue
        for start in range(0, cols, 32):
            stop = min(start + 32, cols)
            run = slice(start, stop)
            if _count_firing(levels[y, run], reference[y, run], on[y, run], off[y, run], drift1) == 0:
                continue
            for x in range(start, stop):
                end = float(levels[y, x]) - reference[y, x] + leak1
                if end >= on[y, x]:
                    step, polarity = float(on[y, x]), 1
                elif end <= -off[y, x]:
                    step, polarity = -float(off[y, x]), 0
                else:
                    continue
                begin = float(before[y, x]) - reference[y, x] + leak0
                count = int(end / step)
                slope = end - begin
                pixel = y * cols + x
                for k in range(1, count + 1):
                    share = (k * step - begin) / slope if slope != 0.0 else 1.0
                    micro = min(max(int(share * dt), 0), dt - 1)
                    if t0 + micro - last_t[y, x] < refractory:
                        continue
                    last_t[y, x] = t0 + micro
                    if n == buffer.size:
                        buffer = _grown(buffer)
                    buffer[n] = _packed(micro, pixel, polarity)
                    n += 1
                reference[y, x] += np.float32(count * step)
        if inside:
            before[y, x0:x1] = levels[y, x0:x1]
    return buffer, n


@njit(cache=True, nogil=True)
def next_uniform(state: U64) -> float:
    """Uniform in (0, 1] (splitmix64, Steele et al. 2014)."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return float((np.float64(z >> np.uint64(11)) + 1.0) * (1.0 / 9007199254740992.0))


@njit(cache=True, nogil=True)
def add_shot_noise(
    state: U64, rate_per_us: float, image: NDArray, levels: F32, reference: F32,  # type: ignore[type-arg]
    leak1: float, t0: int, dt: int, refractory: int, last_t: I64, buffer: U64, n: int,
) -> tuple[U64, int]:  # fmt: skip
    """Poisson noise of both polarities; in full light a quarter of the rate in the dark (as v2e).

    All pixels' intervals are laid end to end and walked in exponential steps, so the work is
    proportional to the number of noise events. An event puts the pixel's reference at its level.
    """
    rows, cols = levels.shape
    length = float(dt) * rows * cols
    position = -np.log(next_uniform(state)) / rate_per_us
    while position < length:
        pixel = int(position / dt)
        micro = min(int(position - pixel * float(dt)), dt - 1)
        keep, side = next_uniform(state), next_uniform(state)
        position -= np.log(next_uniform(state)) / rate_per_us
        y, x = pixel // cols, pixel % cols
        if y >= rows or keep > 1.0 - 0.75 * min(float(image[y, x]) / 255.0, 1.0):
            continue
        if t0 + micro - last_t[y, x] < refractory:
            continue
        last_t[y, x] = t0 + micro
        reference[y, x] = levels[y, x] + np.float32(leak1)
        if n == buffer.size:
            buffer = _grown(buffer)
        buffer[n] = _packed(micro, pixel, 1 if side > 0.5 else 0)
        n += 1
    return buffer, n


@njit(cache=True, nogil=True)
def add_hot_pixels(
    state: U64, rate_per_us: float, pixels: I64, t0: int, dt: int, refractory: int, last_t: I64,
    buffer: U64, n: int,
) -> tuple[U64, int]:  # fmt: skip
    """Poisson ON events of the given flat pixel indices."""
    cols = last_t.shape[1]
    length = float(dt) * pixels.size
    position = -np.log(next_uniform(state)) / rate_per_us
    while position < length:
        which = min(int(position / dt), pixels.size - 1)
        micro = min(int(position - which * float(dt)), dt - 1)
        position -= np.log(next_uniform(state)) / rate_per_us
        pixel = pixels[which]
        y, x = pixel // cols, pixel % cols
        if t0 + micro - last_t[y, x] < refractory:
            continue
        last_t[y, x] = t0 + micro
        if n == buffer.size:
            buffer = _grown(buffer)
        buffer[n] = _packed(micro, pixel, 1)
        n += 1
    return buffer, n


@njit(cache=True, nogil=True)
def sort_and_unpack(packed: U64, t0: int, dt: int, cols: int, t: I64, x: U16, y: U16, p: U8) -> None:
    """Stable counting sort by microsecond, written out as columns."""
    start = np.zeros(dt + 1, np.int64)
    for i in range(packed.size):
        start[(packed[i] >> np.uint64(32)) + np.uint64(1)] += 1
    for m in range(dt):
        start[m + 1] += start[m]
    for i in range(packed.size):
        micro = int(packed[i] >> np.uint64(32))
        j = start[micro]
        start[micro] += 1
        place = int(packed[i] & np.uint64(0xFFFFFFFF))
        pixel = place >> 1
        t[j] = t0 + micro
        x[j] = pixel % cols
        y[j] = pixel // cols
        p[j] = place & 1
