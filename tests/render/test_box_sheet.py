"""Boxes lie where they should on the sheet."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from eventhpe.errors import ShapeError
from eventhpe.events.types import Events
from eventhpe.render.box_sheet import COLOURS, box_picture, write_box_sheet

EMPTY = Events.from_columns(*(np.zeros(0, np.int64) for _ in range(4)), (120, 160))


def test_a_box_is_drawn_at_its_edges() -> None:
    image = box_picture(EMPTY, {"labelled": np.array([[40.0, 50.0, 80.0, 100.0]])}, "a")
    assert image.shape == (360, 480, 3)
    ys, xs = np.nonzero((image == COLOURS[0]).all(-1))
    assert abs(xs.min() - 120) <= 2 and abs(xs.max() - 240) <= 2
    assert abs(ys.min() - 150) <= 2 and abs(ys.max() - 300) <= 2


def test_a_sheet_of_windows(tmp_path: Path) -> None:
    boxes = {"labelled": np.array([[10.0, 40.0, 60.0, 90.0]]), "network": np.zeros((0, 4))}
    write_box_sheet(tmp_path / "s.png", [(f"w{i}", EMPTY, boxes) for i in range(4)], columns=3)
    image = cv2.imread(str(tmp_path / "s.png"))[..., ::-1]
    assert image.shape == (2 * 360 + 30, 3 * 480, 3)
    there = (image == COLOURS[0]).all(-1)
    assert all(there[:360, i * 480 : (i + 1) * 480].any() for i in range(3)) and there[360:720, :480].any()
    assert not there[360:720, 480:].any()


def test_wrong_sheets(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match="at least one window"):
        write_box_sheet(tmp_path / "s.png", [])
    many = {str(i): np.zeros((0, 4)) for i in range(5)}
    with pytest.raises(ShapeError, match="up to 4"):
        write_box_sheet(tmp_path / "s.png", [("a", EMPTY, many)])
