"""DHP19's filters, in the authors' order: hot pixels, background activity, lamps of the motion capture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eventhpe.data.dhp19_raw import RawBlock
from eventhpe.data.dhp19_settings import DHP19Settings
from eventhpe.events import kernels_dhp19 as kernels
from eventhpe.events.blocks import BLOCK_EVENTS, Columns

INFRARED_BOXES = ((2, 115, 144, 88, 117), (3, 136, 143, 214, 220))
"""Camera, rows [from, to), columns [from, to) of what is seen of the lamps."""

_MAP = (kernels.HEIGHT, kernels.CAMERAS * kernels.WIDTH)


@dataclass(frozen=True)
class StageCounts:
    """Events that are left after each stage, as the authors' script counts them."""

    window: int
    in_range: int
    hot_pixels: int
    background: int
    box1: int
    box2: int


def pixel_marks(counts: NDArray[np.int32], settings: DHP19Settings) -> NDArray[np.uint8]:
    """What `kernels_dhp19.denoise` needs to know of every pixel, (260, 1384)."""
    marks = np.zeros(_MAP, np.uint8)
    marks[[0, -1]] = marks[:, [0, -1]] = kernels.BORDER
    if settings.infrared_boxes:
        for k, (camera, top, bottom, left, right) in enumerate(INFRARED_BOXES):
            offset = camera * kernels.WIDTH
            marks[top:bottom, offset + left : offset + right] = kernels.FIRST_BOX + k
    marks[counts >= settings.hot_pixel_events] = kernels.HOT
    return marks


class DHP19Filter:
    """All filters in one pass over blocks, with the state between them.

    Args:
        marks: from `pixel_marks`.
        background_us: see `DHP19Settings`.
    """

    def __init__(self, marks: NDArray[np.uint8], background_us: int | None) -> None:
        self._marks = marks
        self._dt_us = 1 << 32 if background_us is None else background_us
        self._last = np.zeros(_MAP, np.uint32)
        self._stages = np.zeros(kernels.STAGES, np.int64)
        self._seen = 0
        self._out = Columns(BLOCK_EVENTS)

    def survivors(self, blocks: Iterable[RawBlock]) -> Iterator[RawBlock]:
        """Events that pass, block by block, each with its number among all that pass as `start`; arrays are
        used again for the next block."""
        start = 0
        for block in blocks:
            out = self._out
            out.grow(len(block))
            n = kernels.denoise(
                block.t, block.x, block.y, block.p, block.camera, self._marks, self._last, self._dt_us,
                out.t, out.x, out.y, out.p, out.camera, self._stages,
            )  # fmt: skip
            self._seen += len(block)
            yield RawBlock(start, out.t[:n], out.x[:n], out.y[:n], out.p[:n], out.camera[:n])
            start += n

    @property
    def stages(self) -> StageCounts:
        """Counts over what has passed so far."""
        return StageCounts(self._seen, *(self._seen - np.cumsum(self._stages)).tolist())
