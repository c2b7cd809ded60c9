"""Windows of events with boxes, side by side in one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from eventhpe.atomic import PendingFile
from eventhpe.errors import ShapeError
from eventhpe.events.types import Events
from eventhpe.render.overlay import GREEN, RGB, Image, draw_label, event_image, upscale
from eventhpe.render.report import encode_png

COLOURS: tuple[RGB, ...] = (GREEN, (255, 255, 255), (230, 90, 190), (240, 228, 66))
"""Of the kinds of boxes, in their order; unlike those of events."""

TILE_PX = 480
"""About the width of a window in the picture."""


def box_picture(events: Events, boxes: Mapping[str, NDArray[np.floating]], label: str) -> Image:
    """One window enlarged, a colour for each kind of box; boxes are (N, 4) in pixels."""
    scale = max(1, round(TILE_PX / events.sensor_size[1]))
    image = upscale(event_image(events), scale)
    # The first kind on top.
    for found, colour in reversed(list(zip(boxes.values(), COLOURS, strict=False))):
        for box in found:
            x0, y0, x1, y1 = (round(float(v) * scale) for v in box)
            cv2.rectangle(image, (x0, y0), (x1, y1), colour, 2)
    return draw_label(image, label)


def write_box_sheet(
    output: Path, windows: Sequence[tuple[str, Events, Mapping[str, NDArray[np.floating]]]], columns: int = 3
) -> None:
    """Write a picture of windows: name, events, and kinds of boxes by name.

    Raises:
        ShapeError: no windows, or more kinds of boxes than colours.
    """
    if not windows:
        raise ShapeError("a sheet of boxes needs at least one window; got none.")
    if len(windows[0][2]) > len(COLOURS):
        raise ShapeError(f"a sheet shows up to {len(COLOURS)} kinds of boxes; got {len(windows[0][2])}.")
    tiles = [box_picture(events, boxes, name) for name, events, boxes in windows]
    height, width = max(t.shape[0] for t in tiles), max(t.shape[1] for t in tiles)
    rows = -(-len(tiles) // columns)
    sheet = np.zeros((rows * height + 30, min(columns, len(tiles)) * width, 3), np.uint8)
    for i, tile in enumerate(tiles):
        y, x = i // columns * height, i % columns * width
        sheet[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
    for k, (name, colour) in enumerate(zip(windows[0][2], COLOURS, strict=False)):
        at = (10 + 160 * k, rows * height + 20)
        cv2.putText(sheet, name, at, cv2.FONT_HERSHEY_SIMPLEX, 0.55, colour, 1, cv2.LINE_AA)
    with PendingFile(output) as pending:
        pending.temporary.write_bytes(encode_png(sheet))
