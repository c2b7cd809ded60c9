"""CSV of the CeleX-V: turned upright, recognised by its columns, damage told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eventhpe.errors import FormatError
from eventhpe.events.blocks import read_stored
from eventhpe.events.formats.celex_csv import CELEX_SIZE, looks_like_celex, open_reader
from eventhpe.events.formats.options import OpenOptions
from eventhpe.events.formats.sniff import sniff
from eventhpe.events.open import open_recording

LINES = 300


def columns(seed: int = 1) -> np.ndarray:
    """(N, 5) row, column, in-pixel time, off-pixel time, polarity."""
    rng = np.random.default_rng(seed)
    t = 7_000_000 + np.cumsum(rng.integers(0, 200, LINES))
    return np.stack(
        [rng.integers(0, 1280, LINES), rng.integers(0, 800, LINES), t, t // 3, rng.integers(-1, 2, LINES)], 1
    )


def text(rows: np.ndarray, end: str = "\n") -> str:
    return "".join(",".join(map(str, row)) + end for row in rows.tolist())


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_events_are_turned_by_half_a_turn(tmp_path: Path, end: str) -> None:
    rows = columns()
    path = tmp_path / "events_0000.csv"
    path.write_text(text(rows, end))
    assert sniff(path) == "celex"
    events, side = read_stored(open_reader(path, OpenOptions("celex")))
    assert events.sensor_size == CELEX_SIZE == (1280, 800) and side.warnings() == ()
    assert np.array_equal(events.y, 1279 - rows[:, 0]) and np.array_equal(events.x, 799 - rows[:, 1])
    assert np.array_equal(events.t, rows[:, 2]) and np.array_equal(events.p, rows[:, 4] == 1)
    with open_recording(path) as recording:
        assert recording.format == "CeleX CSV" and recording.num_events == LINES
        assert np.array_equal(recording.read(0, LINES).t, rows[:, 2] - rows[0, 2])


def test_pixels_off_the_sensor_are_dropped_and_told(tmp_path: Path) -> None:
    rows = columns()
    rows[40, 0], rows[41, 1] = 1280, 65_000
    path = tmp_path / "a.csv"
    path.write_text(text(rows))
    with open_recording(path, format="celex") as recording:
        assert recording.num_events == LINES - 2
        assert any("2 events" in warning and "sensor" in warning for warning in recording.warnings)


def test_other_tables_are_not_taken_for_celex() -> None:
    rows = columns()
    assert looks_like_celex(text(rows).encode())
    for column, values in ((0, rows[:, 0] + 1280), (1, rows[:, 1] + 800), (4, rows[:, 4] + 2)):
        wrong = rows.copy()
        wrong[:, column] = values
        assert not looks_like_celex(text(wrong).encode())
    assert not looks_like_celex(text(rows[::-1]).encode()), "times that run backwards"
    assert not looks_like_celex(text(rows[:, :4]).encode())
    assert not looks_like_celex(text(rows[:5]).encode()), "too few lines to tell"
    assert not looks_like_celex(text(rows).replace(",", ".5,", 1).encode())


def test_what_is_no_celex_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("t,x,y,p\n1,2,3,1\n")
    with pytest.raises(FormatError, match=r"a\.csv.*row,column.*'t,x,y,p'"):
        open_reader(path, OpenOptions("celex"))
