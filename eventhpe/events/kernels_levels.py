"""From images to log intensity, run by run (Numba).

The image is a flat sequence of runs of RUN pixels, its last one padded. Loops over a whole run have no
branch and a length that is known, so that the compiler uses vector instructions; runs that do not change
cost a comparison, or nothing where the caller knows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from eventhpe.events.kernels_pixels import RUN, TARGET, Pixels

Box = tuple[int, int, int, int]

_F = np.float32
_ZERO, _HALF, _ONE, _TWO = _F(0), _F(0.5), _F(1), _F(2)
#: ln 2 in two parts; multiples of the first are exact in float32.
_LN2_HIGH = _F(0.693359375)
_LN2_LOW = _F(np.log(2) - 0.693359375)
_LOG2_E = _F(1 / np.log(2))
_SQRT_HALF_BITS = np.int32(np.sqrt(_F(0.5)).view(np.int32))
_MANTISSA_BITS = np.int32(23)
_EXPONENT_OF_ONE = np.int32(127)
_SMALLEST_EXPONENT = _F(-126)
#: atanh(s) = s + s^3/3 + s^5/5 + ...; |s| <= 0.172, so the first term left out is below 1e-9.
_LN3, _LN5, _LN7, _LN9 = _F(2 / 3), _F(2 / 5), _F(2 / 7), _F(2 / 9)
#: 2^f = sum of (f ln 2)^k / k!; |f| <= 0.5.
_E1, _E2, _E3 = _F(np.log(2)), _F(np.log(2) ** 2 / 2), _F(np.log(2) ** 3 / 6)
_E4, _E5, _E6 = _F(np.log(2) ** 4 / 24), _F(np.log(2) ** 5 / 120), _F(np.log(2) ** 6 / 720)


@njit(cache=True, nogil=True, error_model="numpy")
def natural_log(v: np.float32) -> np.float32:
    """ln v of a positive, normal float32 without a branch; within 3e-7 for v in 1..256.

    v = m 2^k with m in [sqrt(1/2), sqrt(2)); ln m = 2 atanh((m - 1) / (m + 1)).
    """
    bits = np.float32(v).view(np.int32)
    k = np.int32(np.int32(bits - _SQRT_HALF_BITS) >> _MANTISSA_BITS)
    m = np.int32(bits - np.int32(k << _MANTISSA_BITS)).view(np.float32)
    s = (m - _ONE) / (m + _ONE)
    z = s * s
    tail = s * z * (_LN3 + z * (_LN5 + z * (_LN7 + z * _LN9)))
    exponent = np.float32(k)
    return exponent * _LN2_HIGH + (exponent * _LN2_LOW + tail + _TWO * s)


@njit(cache=True, nogil=True, error_model="numpy")
def exp_of_negative(x: np.float32) -> np.float32:
    """e^-x of x >= 0 without a branch; within 3e-7."""
    y = -x * _LOG2_E
    y = y if y > _SMALLEST_EXPONENT else _SMALLEST_EXPONENT
    k = np.int32(y - _HALF)
    f = y - np.float32(k)
    m = _ONE + f * (_E1 + f * (_E2 + f * (_E3 + f * (_E4 + f * (_E5 + f * _E6)))))
    return m * np.int32(np.int32(k + _EXPONENT_OF_ONE) << _MANTISSA_BITS).view(np.float32)


@njit(cache=True, nogil=True, error_model="numpy")
def _see(image: NDArray[Any], gain: float, box: Box, everything: bool, pixels: Pixels) -> bool:
    """Copy the runs that differ from `seen` into it and mark them; False when a value is unusable."""
    seen, changed = pixels.seen, pixels.changed
    cols = image.shape[1]
    flat = image.reshape(-1)
    whole = flat.size // RUN
    runs, rest = flat[: whole * RUN].reshape(whole, RUN), flat[whole * RUN :]
    y0, y1, x0, x1 = box
    done, valid = 0, True
    for y in range(y0, y1 if x1 > x0 else y0):
        last = (y * cols + x1 - 1) // RUN
        for r in range(max(done, (y * cols + x0) // RUN), min(last + 1, whole)):
            differs, wrong = np.int32(0), np.int32(0)
            for i in range(RUN):
                differs |= np.int32(runs[r, i] != seen[r, i])
            if differs == 0 and not everything:
                continue
            for i in range(RUN):
                wrong |= np.int32((not runs[r, i] >= 0) | (not runs[r, i] * gain < np.inf))
            if wrong != 0:
                valid = False
                continue
            for i in range(RUN):
                seen[r, i] = runs[r, i]
            changed[r] = 1
        done = last + 1
    for i in range(rest.size if done > whole else 0):
        if everything or rest[i] != seen[whole, i]:
            if rest[i] >= 0 and rest[i] * gain < np.inf:
                seen[whole, i] = rest[i]
                changed[whole] = 1
            else:
                valid = False
    return valid


@njit(cache=True, nogil=True, error_model="numpy")
def take_image(
    image: NDArray[Any], gain: np.float32, box: Box, everything: bool, dark: np.float32, knee: np.float32,
    pixels: Pixels,
) -> bool:  # fmt: skip
    """Mark what changed in an image, and find its log intensity.

    TARGET becomes the natural logarithm of image * gain + dark; below `knee` its tangent.

    Args:
        image: (H, W).
        gain: factor on the intensities.
        box: (y0, y1, x0, x1) where to look for changes.
        everything: all runs of the box have changed.
        dark: DN.
        knee: DN; 0 = pure logarithm.
    Returns:
        False when a value is negative or not finite. What has been marked so far stays marked, so that the
        next image finds it; no target has moved.
    """
    if not _see(image, gain, box, everything, pixels):  # type: ignore[arg-type]
        return False
    seen, state, changed = pixels.seen, pixels.state, pixels.changed
    at_knee, slope = _ZERO, _ZERO
    if knee > 0:
        at_knee, slope = np.float32(np.log(knee)), np.float32(1 / knee)
    for r in range(changed.size):
        if changed[r]:
            for i in range(RUN):
                v = np.float32(seen[r, i]) * gain + dark
                line, curve = at_knee + (v - knee) * slope, natural_log(v)
                state[r, TARGET, i] = line if v < knee else curve
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def take_image_exactly(
    image: NDArray[Any], gain: float, box: Box, everything: bool, dark: float, knee: float, pixels: Pixels
) -> bool:
    """As `take_image`, in double precision; False also where nothing is left to take the logarithm of."""
    if not _see(image, gain, box, everything, pixels):
        return False
    seen, state = pixels.seen, pixels.state
    for r in range(pixels.changed.size):
        if pixels.changed[r]:
            for i in range(RUN):
                v = float(seen[r, i]) * gain + dark
                if v < knee:
                    state[r, TARGET, i] = np.log(knee) + (v - knee) / knee
                elif v > 0:
                    state[r, TARGET, i] = np.log(v)
                else:
                    return False
    return True
