"""Events that no light makes: shot noise and hot pixels (Numba).

Random numbers come from a splitmix64 state that the caller owns, never from a global one. Every kernel walks
the time of all its pixels, laid end to end, in exponential steps, so that the work is proportional to the
number of noise events.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from eventhpe.events.kernels_packed import packed, with_room
from eventhpe.events.kernels_pixels import LEVEL, REFERENCE, RUN, Noise, Pixels

F64 = NDArray[np.float64]
I32 = NDArray[np.int32]
U64 = NDArray[np.uint64]

_BATCH = 256


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
def first_in_each_unit(ends: F64) -> I32:
    """For each whole k < N the first pixel whose share of the rates, laid end to end, ends beyond k."""
    guide = np.empty(ends.size, np.int32)
    pixel = 0
    for k in range(ends.size):
        while pixel < ends.size - 1 and ends[pixel] <= k:
            pixel += 1
        guide[k] = pixel
    return guide


@njit(cache=True, nogil=True)
def _add_shot_noise(
    noise: Noise, pixels: Pixels, gain: float, leak1: float, t0: int, dt: int, refractory: int, cols: int,
    num_pixels: int, buffer: U64, n: int,
) -> tuple[U64, int]:  # fmt: skip
    """Poisson noise of both polarities; in full light a quarter of the rate in the dark (as v2e).

    An event puts the pixel's reference at its level. Candidates are drawn in batches and thinned out without
    a branch, so that the pixels are fetched from memory side by side.
    """
    pixel_state, random = pixels.state, noise.state
    seen, last_t, leak_share = (
        pixels.seen.reshape(-1),
        pixels.last_t.reshape(-1),
        pixels.leak_share.reshape(-1),
    )
    rate, ends, guide = noise.shot_per_us, noise.ends, noise.guide
    place, micros = np.empty(_BATCH, np.int64), np.empty(_BATCH, np.int64)
    keep, side = np.empty(_BATCH, np.float64), np.empty(_BATCH, np.float64)
    length = float(dt) * num_pixels
    position = -np.log(next_uniform(random)) / rate
    while position < length:
        drawn = 0
        while position < length and drawn < _BATCH:
            pixel = int(position / dt)
            into = position - pixel * float(dt)
            if ends.size > 0:
                along = position / dt
                pixel = guide[min(pixel, guide.size - 1)]
                while pixel < ends.size - 1 and ends[pixel] <= along:
                    pixel += 1
                begin = ends[pixel - 1] if pixel > 0 else 0.0
                into = (along - begin) / (ends[pixel] - begin) * dt
            place[drawn] = min(pixel, num_pixels - 1)
            micros[drawn] = max(min(int(into), dt - 1), 0)
            keep[drawn], side[drawn] = next_uniform(random), next_uniform(random)
            position -= np.log(next_uniform(random)) / rate
            drawn += 1
        kept = 0
        for k in range(drawn):
            pixel = place[k]
            place[kept], micros[kept], side[kept] = pixel, micros[k], side[k]
            kept += keep[k] <= 1.0 - 0.75 * min(float(seen[pixel]) * gain / 255.0, 1.0)
        if n + kept > buffer.size:
            buffer = with_room(buffer, n, kept)
        for k in range(kept):
            pixel, micro = place[k], micros[k]
            if t0 + micro - last_t[pixel] < refractory:
                continue
            last_t[pixel] = t0 + micro
            r, i = pixel // RUN, pixel % RUN
            leaked = leak1 * leak_share[pixel % leak_share.size]
            pixel_state[r, REFERENCE, i] = pixel_state[r, LEVEL, i] + leaked
            y = pixel // cols
            buffer[n] = packed(micro, y, pixel - y * cols, 1 if side[k] > 1.0 - noise.on_share else 0)
            n += 1
    return buffer, n


@njit(cache=True, nogil=True)
def _add_hot_pixels(
    noise: Noise, pixels: Pixels, t0: int, dt: int, refractory: int, cols: int, buffer: U64, n: int
) -> tuple[U64, int]:
    """Poisson events of the hot pixels."""
    last_t, hot, random, rate = pixels.last_t.reshape(-1), noise.hot, noise.state, noise.hot_per_us
    length = float(dt) * hot.size
    position = -np.log(next_uniform(random)) / rate
    while position < length:
        which = min(int(position / dt), hot.size - 1)
        micro = min(int(position - which * float(dt)), dt - 1)
        position -= np.log(next_uniform(random)) / rate
        pixel = hot[which]
        on = 1 if noise.hot_on_share >= 1.0 or next_uniform(random) > 1.0 - noise.hot_on_share else 0
        if t0 + micro - last_t[pixel] < refractory:
            continue
        last_t[pixel] = t0 + micro
        if n == buffer.size:
            buffer = with_room(buffer, n, 1)
        y = pixel // cols
        buffer[n] = packed(micro, y, pixel - y * cols, on)
        n += 1
    return buffer, n


@njit(cache=True, nogil=True)
def add_noise(
    noise: Noise, pixels: Pixels, gain: float, leak1: float, t0: int, dt: int, refractory: int,
    size: tuple[int, int], buffer: U64, n: int,
) -> tuple[U64, int]:  # fmt: skip
    """Append shot noise and the events of hot pixels to the first n words.

    Args:
        gain: factor on the intensities in `pixels.seen`.
        leak1: what leaked from the references until the interval's end.
        t0, dt: the interval, µs.
        refractory: noise within this time after the pixel's last event is dropped.
        size: (H, W).
    Returns:
        The (perhaps larger) buffer and the number of events in it.
    """
    rows, cols = size
    if noise.shot_per_us > 0:
        buffer, n = _add_shot_noise(
            noise, pixels, gain, leak1, t0, dt, refractory, cols, rows * cols, buffer, n
        )
    if noise.hot_per_us > 0 and noise.hot.size > 0:
        buffer, n = _add_hot_pixels(noise, pixels, t0, dt, refractory, cols, buffer, n)
    return buffer, n
