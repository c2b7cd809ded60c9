"""Gray frames with motion blur, as the APS of a DAVIS takes them beside the events."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eventhpe.data.scene import Scene
from eventhpe.errors import UnitError

GrayFrame = tuple[int, NDArray[np.uint8]]


class GrayCamera:
    """Takes a gray frame every `step_us`: the light gathered over an exposure centred on the frame's time.

    Light is taken as linear between two rendered images; an exposure of 0 is the rendered image itself.

    Args:
        scene: for its size, length and exposure.
        step_us: spacing of the frames, from time 0; a multiple of the label step.
    Raises:
        UnitError: the exposure is not shorter than the step.
    """

    def __init__(self, scene: Scene, step_us: int) -> None:
        self._half, self._step, self._end = scene.gray_exposure_us // 2, step_us, scene.duration_us
        if 2 * self._half >= step_us:
            raise UnitError(f"Scene.gray_exposure_us must be shorter than the frame step of {step_us} us.")
        self._longest_interval = scene.step_us
        self._due = 0
        self._sum = np.zeros(scene.camera.size, np.float64)
        self._gathered_us = 0.0
        self._before: NDArray[np.float32] | None = None
        self._before_t = 0

    def expose(self, image: NDArray[np.float32], t_us: int, gain: float) -> tuple[GrayFrame, ...]:
        """Take the image of one render time.

        Args:
            image: (H, W) DN; not kept.
            t_us: later than the one before, by a label step at most.
            gain: brightness of the lamps, which multiplies the image.
        Returns:
            The frames completed by it: (time, (H, W) uint8).
        """
        done: list[GrayFrame] = []
        while self._due <= self._end and t_us >= self._due - self._half:
            if self._half == 0:
                if t_us < self._due:
                    break
                done.append((self._due, _quantised(image * np.float32(gain))))
            else:
                self._gather(image, t_us, gain)
                if t_us < min(self._due + self._half, self._end):
                    break
                done.append((self._due, _quantised(self._sum / self._gathered_us)))
                self._sum[:] = 0.0
                self._gathered_us = 0.0
            self._due += self._step
        # The image before an exposure begins is needed at its beginning.
        soon = self._half > 0 and self._due - self._half <= t_us + self._longest_interval
        self._before = image * np.float32(gain) if soon else None
        self._before_t = t_us
        return tuple(done)

    def _gather(self, image: NDArray[np.float32], t_us: int, gain: float) -> None:
        """Add the light of the interval since the last image, as far as it lies inside the exposure."""
        if self._before is None:
            return
        start = max(self._before_t, self._due - self._half)
        stop = min(t_us, self._due + self._half)
        if stop <= start:
            return
        middle = ((start + stop) / 2 - self._before_t) / (t_us - self._before_t)
        self._sum += (stop - start) * ((1 - middle) * self._before + middle * gain * image)
        self._gathered_us += stop - start


def _quantised(image: NDArray[np.floating]) -> NDArray[np.uint8]:
    return np.rint(np.clip(image, 0, 255)).astype(np.uint8)
