"""Changes made to a recording on its way into another file: each takes blocks of events in time order.

A transform sees every block once, in order, and may remember what came before. Gray frames go through the
same geometry, so that they stay registered with the events.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import CalibrationError, UnitError
from eventhpe.events import kernels_filter as kernels
from eventhpe.events.filters import hot_pixel_mask, select
from eventhpe.events.frames import count_frame
from eventhpe.events.recording import Recording
from eventhpe.events.types import Events
from eventhpe.geometry.camera import Camera

Image = NDArray[np.uint8]
_LONG_AGO = -(2**60)


class Transform(ABC):
    """One change.

    Attributes:
        sensor_size: (H, W) after it.
        text: what it does, for the file's provenance.
    """

    sensor_size: tuple[int, int]
    text: str

    @abstractmethod
    def events(self, events: Events) -> Events:
        """The next block, changed."""

    def image(self, image: Image) -> Image:
        """A gray frame, changed; most transforms leave frames alone."""
        return image


class Crop(Transform):
    """Keep a rectangle of pixels; its upper left corner becomes (0, 0)."""

    def __init__(self, sensor_size: tuple[int, int], left: int, top: int, width: int, height: int) -> None:
        H, W = sensor_size
        if not (
            0 <= left and 0 <= top and width >= 1 and height >= 1 and left + width <= W and top + height <= H
        ):
            raise UnitError(
                f"crop of {width}x{height} pixels at ({left}, {top}) does not lie inside the {W}x{H} sensor."
            )
        self._left, self._top = left, top
        self.sensor_size = height, width
        self.text = f"crop {left} {top} {width} {height}"

    def events(self, events: Events) -> Events:
        height, width = self.sensor_size
        # unsigned: what lies left of or above the corner wraps to large values
        x, y = events.x - np.uint16(self._left), events.y - np.uint16(self._top)
        keep = (x < width) & (y < height)
        return Events(events.t[keep], x[keep], y[keep], events.p[keep], self.sensor_size)

    def image(self, image: Image) -> Image:
        height, width = self.sensor_size
        return image[self._top : self._top + height, self._left : self._left + width]


class Flip(Transform):
    """Mirror left and right, or turn upside down, or both (a camera mounted upside down)."""

    def __init__(self, sensor_size: tuple[int, int], *, horizontal: bool, vertical: bool) -> None:
        self.sensor_size = sensor_size
        self._horizontal, self._vertical = horizontal, vertical
        self.text = "flip" + " horizontal" * horizontal + " vertical" * vertical

    def events(self, events: Events) -> Events:
        height, width = self.sensor_size
        x = np.uint16(width - 1) - events.x if self._horizontal else events.x
        y = np.uint16(height - 1) - events.y if self._vertical else events.y
        return Events(events.t, x, y, events.p, self.sensor_size)

    def image(self, image: Image) -> Image:
        return image[:: -1 if self._vertical else 1, :: -1 if self._horizontal else 1]


class Downsample(Transform):
    """Fewer, larger pixels: factor x factor pixels become one, which gets all their events (counts are
    kept)."""

    def __init__(self, sensor_size: tuple[int, int], factor: int) -> None:
        if factor < 1 or factor > min(sensor_size):
            raise UnitError(f"downsample factor must be 1..{min(sensor_size)}; got {factor}.")
        self._factor = factor
        self.sensor_size = -(-sensor_size[0] // factor), -(-sensor_size[1] // factor)
        self.text = f"downsample {factor}"

    def events(self, events: Events) -> Events:
        factor = np.uint16(self._factor)
        return Events(events.t, events.x // factor, events.y // factor, events.p, self.sensor_size)

    def image(self, image: Image) -> Image:
        height, width = self.sensor_size
        f = self._factor
        bottom, right = height * f - image.shape[0], width * f - image.shape[1]
        padded = np.pad(image, ((0, bottom), (0, right)), mode="edge")
        return np.rint(padded.reshape(height, f, width, f).mean((1, 3))).astype(np.uint8)


class Undistort(Transform):
    """Move every event to where an ideal pinhole camera with the same matrix K would see it (nearest
    pixel)."""

    def __init__(self, camera: Camera) -> None:
        self.sensor_size = camera.size
        self._camera = camera
        H, W = camera.size
        u, v = np.meshgrid(np.arange(W, dtype=np.float64), np.arange(H, dtype=np.float64))
        place = np.rint(camera.undistort(np.stack([u, v], -1)))
        place = np.where(np.isnan(place), -1.0, place)
        inside = (place >= 0).all(-1) & (place[..., 0] < W) & (place[..., 1] < H)
        self._x = np.where(inside, place[..., 0], W).astype(np.uint16)
        self._y = np.where(inside, place[..., 1], H).astype(np.uint16)
        self.text = f"undistort dist={[float(d) for d in camera.dist]}"

    def events(self, events: Events) -> Events:
        x, y = self._x[events.y, events.x], self._y[events.y, events.x]
        keep = x < self.sensor_size[1]
        return Events(events.t[keep], x[keep], y[keep], events.p[keep], self.sensor_size)

    def image(self, image: Image) -> Image:
        undistorted = cv2.undistort(np.ascontiguousarray(image), self._camera.K, self._camera.dist)
        return np.asarray(undistorted, np.uint8)


class BackgroundActivity(Transform):
    """`filters.background_activity`, with its memory kept from block to block."""

    def __init__(self, sensor_size: tuple[int, int], dt_us: int) -> None:
        if dt_us <= 0:
            raise UnitError(f"the background-activity time must be > 0 µs; got {dt_us}.")
        self.sensor_size = sensor_size
        self._dt_us = dt_us
        self._last = np.full((sensor_size[0] + 2, sensor_size[1] + 2), _LONG_AGO, np.int64)
        self.text = f"background activity {dt_us} us"

    def events(self, events: Events) -> Events:
        keep = np.zeros(len(events), np.bool_)
        kernels.background_activity(events.t, events.x, events.y, self._dt_us, self._last, keep)
        return select(events, keep)


class Refractory(Transform):
    """After an event that is kept, a pixel is blind for some time."""

    def __init__(self, sensor_size: tuple[int, int], dead_us: int) -> None:
        if dead_us <= 0:
            raise UnitError(f"the refractory time must be > 0 µs; got {dead_us}.")
        self.sensor_size = sensor_size
        self._dead_us = dead_us
        self._last = np.full(sensor_size, _LONG_AGO, np.int64)
        self.text = f"refractory {dead_us} us"

    def events(self, events: Events) -> Events:
        keep = np.zeros(len(events), np.bool_)
        kernels.refractory(events.t, events.x, events.y, self._dead_us, self._last, keep)
        return select(events, keep)


class HotPixels(Transform):
    """Leave out pixels that were found hot over the whole recording (`filters.hot_pixel_mask`)."""

    def __init__(self, hot: NDArray[np.bool_]) -> None:
        self.sensor_size = hot.shape[0], hot.shape[1]
        self._hot = hot
        self.text = f"{int(hot.sum())} hot pixels removed"

    @classmethod
    def of(cls, blocks: Iterable[Events], sensor_size: tuple[int, int]) -> HotPixels:
        """Count the events of a whole recording per pixel, then decide."""
        counts = np.zeros(sensor_size, np.int64)
        for events in blocks:
            counts += count_frame(events)
        return cls(hot_pixel_mask(counts))

    def events(self, events: Events) -> Events:
        return select(events, ~self._hot[events.y, events.x])


@dataclass(frozen=True)
class Changes:
    """All that can be changed, in the order in which it is done (filters see the sensor's own pixels).

    Attributes:
        start_us, stop_us: keep start <= t < stop after the recording's time zero; start becomes the new zero.
        hot_pixels: remove pixels that are hot over the whole recording (reads it once more).
        background_us: keep events that a neighbour supported within this time.
        refractory_us: dead time of a pixel after a kept event.
        undistort: camera whose lens distortion is undone.
        crop: left, top, width, height in pixels.
        flip: mirror.
        downsample: pixels per side that become one.
    """

    start_us: int = 0
    stop_us: int | None = None
    hot_pixels: bool = False
    background_us: int | None = None
    refractory_us: int | None = None
    undistort: Camera | None = None
    crop: tuple[int, int, int, int] | None = None
    flip: Literal["horizontal", "vertical", "both"] | None = None
    downsample: int = 1

    def __post_init__(self) -> None:
        if self.start_us < 0 or (self.stop_us is not None and self.stop_us <= self.start_us):
            raise UnitError(f"a time range needs 0 <= start < stop; got {self.start_us}..{self.stop_us} µs.")

    @property
    def whole_time(self) -> bool:
        return self.start_us == 0 and self.stop_us is None

    def inside(self, t_us: int) -> bool:
        """Is this time kept? All times are, where no range is asked for."""
        return self.whole_time or (self.start_us <= t_us and (self.stop_us is None or t_us < self.stop_us))

    def transforms(self, recording: Recording) -> list[Transform]:
        """New transforms for one pass over a recording.

        Raises:
            UnitError, CalibrationError: a change that does not fit the recording's sensor.
        """
        chain: list[Transform] = []
        size = recording.sensor_size
        if self.hot_pixels:
            chain.append(HotPixels.of(recording.blocks(), size))
        if self.background_us is not None:
            chain.append(BackgroundActivity(size, self.background_us))
        if self.refractory_us is not None:
            chain.append(Refractory(size, self.refractory_us))
        if self.undistort is not None:
            if self.undistort.size != size:
                raise CalibrationError(
                    f"{recording.source}: the calibration is for (H, W) = {self.undistort.size}, the "
                    f"sensor is {size}."
                )
            chain.append(Undistort(self.undistort))
        if self.crop is not None:
            chain.append(Crop(size, *self.crop))
            size = chain[-1].sensor_size
        if self.flip is not None:
            chain.append(Flip(size, horizontal=self.flip != "vertical", vertical=self.flip != "horizontal"))
        if self.downsample != 1:
            chain.append(Downsample(size, self.downsample))
        return chain


def apply(transforms: Sequence[Transform], events: Events) -> Events:
    """One block through all transforms, in their order."""
    for transform in transforms:
        events = transform.events(events)
    return events
