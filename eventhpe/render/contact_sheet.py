"""Contact sheets: one small picture per recording."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from eventhpe.errors import FormatError
from eventhpe.events.open import open_recording
from eventhpe.render.overlay import draw_label, event_image
from eventhpe.render.report import encode_png

TILE_PX = 220
COLUMNS = 6
WINDOW_US = 50_000


def write_contact_sheet(output: Path, recordings: list[Path]) -> None:
    """Gray frame beside 50 ms of events from the middle of each recording; PNG, written atomically."""
    if not recordings:
        raise FormatError(f"{output}: a contact sheet needs at least one recording.")
    tiles = [_tile(path) for path in recordings]
    tallest = max(len(tile) for tile in tiles)
    tiles = [np.pad(tile, ((0, tallest - len(tile)), (0, 0), (0, 0))) for tile in tiles]
    columns = min(COLUMNS, len(tiles))
    blank = np.zeros_like(tiles[0])
    tiles += [blank] * (-len(tiles) % columns)
    sheet = np.vstack([np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles), columns)])
    temporary = output.with_name(output.name + ".tmp")
    temporary.write_bytes(encode_png(sheet))
    os.replace(temporary, output)


def _tile(path: Path) -> np.ndarray:
    with open_recording(path) as recording:
        middle = recording.duration_us // 2
        events = recording.read(recording.index_at(middle), recording.index_at(middle + WINDOW_US))
        pictures = [event_image(events, size=recording.sensor_size)]
        gray = recording.frames
        if gray is not None and len(gray.t_us):
            k = int(np.argmin(np.abs(np.asarray(gray.t_us) - middle)))
            pictures.insert(0, np.repeat(gray[k][..., None], 3, axis=2))
    fitted = [_fit(p) for p in pictures]
    return draw_label(np.vstack(fitted), path.stem)


def _fit(image: np.ndarray) -> np.ndarray:
    scale = TILE_PX / max(image.shape[:2])
    small = cv2.resize(
        image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST
    )
    tile = np.zeros((TILE_PX, TILE_PX, 3), np.uint8)
    y, x = (TILE_PX - small.shape[0]) // 2, (TILE_PX - small.shape[1]) // 2
    tile[y : y + small.shape[0], x : x + small.shape[1]] = small
    return tile
