"""Boxes of pixels, as drawing code reports what it changed."""

from __future__ import annotations

Box = tuple[int, int, int, int]
"""Rows y0..y1-1 and columns x0..x1-1 as (y0, y1, x0, x1)."""

EMPTY: Box = (0, 0, 0, 0)


def is_empty(box: Box) -> bool:
    """Whether a box holds no pixel."""
    return box[0] >= box[1] or box[2] >= box[3]


def union_boxes(*boxes: Box) -> Box:
    """The smallest box that holds all boxes; EMPTY if none holds a pixel."""
    full = [box for box in boxes if not is_empty(box)]
    if not full:
        return EMPTY
    y0, y1, x0, x1 = zip(*full, strict=True)
    return min(y0), max(y1), min(x0), max(x1)


def clip_box(box: Box, size: tuple[int, int]) -> Box:
    """The part of a box inside an image of size (H, W); EMPTY if there is none."""
    y0, y1, x0, x1 = max(box[0], 0), min(box[1], size[0]), max(box[2], 0), min(box[3], size[1])
    return EMPTY if y0 >= y1 or x0 >= x1 else (y0, y1, x0, x1)
