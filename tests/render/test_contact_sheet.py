"""Contact sheets of several recordings."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from eventhpe.render.contact_sheet import COLUMNS, TILE_PX, write_contact_sheet
from tests.small_world import copy_without


def read(path: Path) -> np.ndarray:
    image: np.ndarray = cv2.imread(str(path))[..., ::-1]
    return image


def test_gray_frame_above_events(recordings: Path, tmp_path: Path) -> None:
    write_contact_sheet(tmp_path / "sheet.png", sorted(recordings.glob("*.h5")))
    sheet = read(tmp_path / "sheet.png")
    assert sheet.shape == (2 * TILE_PX, 2 * TILE_PX, 3)
    gray, events = sheet[60:TILE_PX, :TILE_PX].astype(int), sheet[TILE_PX:, :TILE_PX]
    assert np.ptp(gray, axis=-1).max() <= 1 and gray.std() > 5  # below the label
    assert np.ptp(events.astype(int), axis=-1).max() > 60
    assert not np.array_equal(sheet[:, :TILE_PX], sheet[:, TILE_PX:])
    assert [p.name for p in tmp_path.iterdir()] == ["sheet.png"]


@pytest.mark.parametrize(("count", "rows", "columns"), [(1, 1, 1), (COLUMNS + 1, 2, COLUMNS)])
def test_rows_and_columns(recordings: Path, tmp_path: Path, count: int, rows: int, columns: int) -> None:
    write_contact_sheet(tmp_path / "sheet.png", [recordings / "squat.h5"] * count)
    sheet = read(tmp_path / "sheet.png")
    assert sheet.shape == (rows * 2 * TILE_PX, columns * TILE_PX, 3)
    if rows > 1:
        assert not sheet[2 * TILE_PX :, TILE_PX:].any() and sheet[2 * TILE_PX :, :TILE_PX].any()


def test_recordings_without_gray_frames_beside_others(recordings: Path, tmp_path: Path) -> None:
    bare = copy_without(recordings / "squat.h5", tmp_path / "bare.h5", "frames")
    write_contact_sheet(tmp_path / "alone.png", [bare])
    assert read(tmp_path / "alone.png").any()
    shutil.copy(recordings / "squat.h5", tmp_path / "full.h5")
    write_contact_sheet(tmp_path / "both.png", [bare, tmp_path / "full.h5"])
    assert read(tmp_path / "both.png").shape[1] == 2 * TILE_PX
