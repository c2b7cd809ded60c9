"""Gray frames that cover a part of the sensor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import FormatError

# Far above every event sensor: a larger one is a damaged size, and would cost memory for nothing.
_MOST_PIXELS = 1 << 26


def on_sensor(image: NDArray[np.uint8], size: tuple[int, int], left: int, top: int) -> NDArray[np.uint8]:
    """The image on a black sensor of (H, W), its upper left pixel at (left, top).

    Raises:
        FormatError: it reaches outside, or no sensor has that size.
    """
    height, width = image.shape
    if left < 0 or top < 0 or top + height > size[0] or left + width > size[1]:
        raise FormatError(
            f"a frame of {width}x{height} at ({left}, {top}) lies outside the sensor (H, W) = {size}."
        )
    if size[0] * size[1] > _MOST_PIXELS:
        raise FormatError(
            f"a frame of {width}x{height} on a sensor of (H, W) = {size}, larger than any; say the right "
            "size with sensor=."
        )
    full = np.zeros(size, np.uint8)
    full[top : top + height, left : left + width] = image
    return full
