"""Surviving events of DHP19 cut into windows, and what a window holds: an image of counts, or voxel grids."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.data.dhp19_cameras import DHP19_SIZE
from eventhpe.data.dhp19_raw import RawBlock
from eventhpe.data.dhp19_settings import DHP19Settings
from eventhpe.events import kernels_dhp19 as kernels
from eventhpe.events.types import Events
from eventhpe.events.voxel import voxelize


@dataclass(frozen=True, eq=False)
class Cut:
    """A window that has closed.

    Attributes:
        data: (260, 346, C) uint8, or (C, B, 260, 346) float32.
        num_events: (C,) of each camera.
        t0_us: time of the first event, or where a fixed-rate window begins.
        t_end_us: time of the last event, or where a fixed-rate window ends: the window's time for labels.
        channel: camera number where C = 1 because each camera has windows of its own.
    """

    data: NDArray[Any]
    num_events: NDArray[np.int64]
    t0_us: int
    t_end_us: int
    channel: int | None


class Content(ABC):
    """What is gathered for one window after the other."""

    @abstractmethod
    def add(self, block: RawBlock, i: int, j: int) -> None:
        """Add events i..j-1 of a block."""

    @abstractmethod
    def take(self, t0_us: int, t1_us: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """What was added, as `Cut.data` and `Cut.num_events`, for the window [t0, t1); begin anew."""


class CountImages(Content):
    """Events per pixel, scaled by three standard deviations for each camera.

    Args:
        most: events of a window; None: any number.
    """

    def __init__(self, cameras: int, most: int | None) -> None:
        # Half the memory stays in the processor's cache.
        small = most is not None and most < 1 << 16
        self._counts = np.zeros((*DHP19_SIZE, cameras), np.uint16 if small else np.int32)
        self._fired = np.empty(1 + self._counts.size, np.int32)
        self._state = np.zeros(1 + cameras, np.int64)

    def add(self, block: RawBlock, i: int, j: int) -> None:
        columns = (block.x[i:j], block.y[i:j], block.camera[i:j])
        kernels.accumulate(*columns, self._counts, self._fired, self._state)

    def take(self, t0_us: int, t1_us: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        image, number = np.zeros(self._counts.shape, np.uint8), self._state[1:].copy()
        kernels.three_sigma_frames(self._counts, self._fired, self._state, image)
        return image, number


class VoxelGrids(Content):
    """Signed voxel grids of each camera (`events.voxel.voxelize`); events of a window are kept until it
    closes."""

    def __init__(self, cameras: int, num_bins: int) -> None:
        self._cameras, self._bins = cameras, num_bins
        self._parts: list[tuple[NDArray[Any], ...]] = []

    def add(self, block: RawBlock, i: int, j: int) -> None:
        columns = (block.t, block.x, block.y, block.p, block.camera)
        self._parts.append(tuple(column[i:j].copy() for column in columns))

    def take(self, t0_us: int, t1_us: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        grids = np.zeros((self._cameras, self._bins, *DHP19_SIZE), np.float32)
        number = np.zeros(self._cameras, np.int64)
        if self._parts:
            t, x, y, p, camera = (np.concatenate(c) for c in zip(*self._parts, strict=True))
            t = np.clip(t, t0_us, t1_us - 1)  # files hold a few events out of order
            order = np.argsort(t, kind="stable")
            t, x, y, p, camera = t[order], x[order], y[order], p[order], camera[order]
            for c in range(self._cameras):
                of = camera == c
                number[c] = np.count_nonzero(of)
                events = Events(t[of], x[of], y[of], p[of], DHP19_SIZE)
                voxelize(events, self._bins, t0_us=t0_us, t1_us=t1_us, out=grids[c])
        self._parts = []
        return grids, number


class CountCutter:
    """Windows of a fixed number of events; what is left at the end is dropped, as the authors do.

    Args:
        num_events: of each window.
        channel: take this camera's events only.
    """

    def __init__(self, num_events: int, content: Content, channel: int | None = None) -> None:
        self._num, self._content, self._channel = num_events, content, channel
        self._held, self._t0 = 0, 0

    def push(self, block: RawBlock) -> Iterator[Cut]:
        """Windows that close in the next block of events."""
        if self._channel is not None:
            block = _of_camera(block, self._channel)
        i = 0
        while i < len(block):
            if not self._held:
                self._t0 = int(block.t[i])
            j = min(len(block), i + self._num - self._held)
            self._content.add(block, i, j)
            self._held, i = self._held + j - i, j
            if self._held == self._num:
                end = int(block.t[j - 1])
                data, number = self._content.take(self._t0, max(end, self._t0) + 1)
                yield Cut(data, number, self._t0, end, self._channel)
                self._held = 0


class RateCutter:
    """Windows [start + k length, start + (k + 1) length), with or without events, up to `stop_us`.

    Events that are stored after a later one count at the later one's time.
    """

    def __init__(self, start_us: int, stop_us: int, length_us: int, content: Content) -> None:
        self._t0, self._stop, self._length, self._content = start_us, stop_us, length_us, content
        self._latest = start_us

    def push(self, block: RawBlock) -> Iterator[Cut]:
        """Windows that close in the next block of events."""
        if not len(block):
            return
        t = np.maximum(np.maximum.accumulate(block.t), self._latest)
        self._latest = int(t[-1])
        i = 0
        while i < len(block):
            j = int(np.searchsorted(t, self._t0 + self._length, side="left"))
            if j > i:
                self._content.add(block, i, j)
                i = j
            if j < len(block):
                yield self._close()

    def finish(self) -> Iterator[Cut]:
        """Windows that are complete when the recording ends."""
        while self._t0 + self._length <= self._stop:
            yield self._close()

    def _close(self) -> Cut:
        t0, t1 = self._t0, self._t0 + self._length
        data, number = self._content.take(t0, t1)
        self._t0 = t1
        return Cut(data, number, t0, t1, None)


def _of_camera(block: RawBlock, channel: int) -> RawBlock:
    """Events of one camera, as those of a single one (camera 0)."""
    of = block.camera == channel
    t, x, y, p = (column[of] for column in (block.t, block.x, block.y, block.p))
    return RawBlock(0, t, x, y, p, np.zeros(len(t), np.uint8))


def cut_windows(
    survivors: Iterable[RawBlock], settings: DHP19Settings, start_us: int, stop_us: int
) -> Iterator[Cut]:
    """All windows of a recording as they close; `start_us` and `stop_us` matter for fixed-rate ones."""
    cameras = 1 if settings.windows == "per_camera" else kernels.CAMERAS

    def content() -> Content:
        if settings.voxel_bins:
            return VoxelGrids(cameras, settings.voxel_bins)
        return CountImages(cameras, None if settings.windows == "fixed_rate" else settings.events_per_frame)

    if settings.windows == "fixed_rate":
        rate = RateCutter(start_us, stop_us, settings.window_us, content())
        for block in survivors:
            yield from rate.push(block)
        yield from rate.finish()
        return
    if settings.windows == "per_camera":
        quarter = settings.events_per_frame // kernels.CAMERAS
        cutters = [CountCutter(quarter, content(), c) for c in range(kernels.CAMERAS)]
    else:
        cutters = [CountCutter(settings.events_per_frame, content())]
    for block in survivors:
        for cutter in cutters:
            yield from cutter.push(block)
