"""The sheet of all factors: none is left out, each does what it says; the table in the docs is the code's."""

from __future__ import annotations

import sys
from dataclasses import fields, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from eventhpe.data.motion_style import StyleRanges
from eventhpe.data.presets import preset_config
from eventhpe.data.scene_ranges import SceneRanges

CHECKOUT = Path(__file__).resolve().parents[2]
TOOLS = CHECKOUT / "tools"
SEED, DURATION_S = 2, 0.1


@pytest.fixture(scope="module")
def sheet() -> Any:
    """The tool as a module; tools are no package."""
    sys.path.insert(0, str(TOOLS))
    yield import_module("variety_sheet")
    sys.path.remove(str(TOOLS))


@pytest.fixture(scope="module")
def rows(sheet: Any) -> dict[str, Any]:
    return {factor.name: factor for factor in sheet.factors()}


def look(sheet: Any, changes: Any) -> Any:
    """A small and quick one."""
    some = sheet.Look()
    some = replace(some, ranges=replace(some.ranges, sensor_sizes=((75, 60),), body_fraction=(0.9, 0.9)))
    return some.changed(changes)


def test_every_drawn_factor_is_on_the_sheet(rows: dict[str, Any]) -> None:
    changed = {name for f in rows.values() for side in (f.low, f.high) for name in side}
    # Shown by other rows, or not something that one picture shows.
    elsewhere = {"sensor_sizes", "spacing_m", "dhp19_camera_share", "facing_share", "empty_share",
                 "distractor_share"}  # fmt: skip
    for f in fields(SceneRanges):
        assert f"ranges.{f.name}" in changed or f.name in elsewhere, f.name
    assert {"beta", "style.speed", "style.mirrored", "style.pauses", "wardrobe.pattern_contrast",
            "wardrobe.looseness_m"} <= changed  # fmt: skip
    assert all(len(f.labels) == 2 and f.low != f.high for f in rows.values())


def test_ends_are_the_outermost_of_lab_and_wild(sheet: Any) -> None:
    lab, wild = preset_config("lab"), preset_config("wild")
    assert sheet.ends("ranges.people") == (1, 4)
    for name in ("threshold", "shot_hz", "exposure_dn"):
        low, high = sheet.ends(f"ranges.{name}")
        both = [*getattr(lab.ranges, name), *getattr(wild.ranges, name)]
        assert (low, high) == (min(both), max(both))
    assert sheet.ends("style.speed") == (0.4, StyleRanges().speed[1])


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("threshold", 0), ("threshold ratio", 0), ("speed", 1), ("pause", 0), ("shot hz", 1), ("leak hz", 1),
        ("pattern contrast", 1), ("people", 1), ("flicker depth", 1), ("read-out limit", 0), ("shake px", 1),
        ("body fraction", 1), ("exposure dn", 1), ("cutoff hz", 0),
    ],
)  # fmt: skip
def test_ends_have_more_or_fewer_events(sheet: Any, rows: dict[str, Any], name: str, more: int) -> None:
    sides = (rows[name].low, rows[name].high)
    if name in ("body fraction", "people"):  # measured on the sheet's own size
        shots = [sheet.shoot(sheet.Look().changed(s), seed=SEED, duration_s=DURATION_S) for s in sides]
    else:
        shots = [sheet.shoot(look(sheet, s), seed=SEED, duration_s=DURATION_S) for s in sides]
    rates = [shot.rate for shot in shots]
    assert rates[more] > 1.1 * rates[1 - more], rates


@pytest.mark.parametrize(
    "name", ["refractory us", "noise spread", "bunch us", "gray exposure us", "roll deg"]
)
def test_one_factor_moves_nothing_else(sheet: Any, rows: dict[str, Any], name: str) -> None:
    a, b = (
        sheet.compose(look(sheet, side), seed=SEED, duration_s=DURATION_S)
        for side in (rows[name].low, rows[name].high)
    )
    np.testing.assert_array_equal(a.people[0].motion.transl, b.people[0].motion.transl)
    np.testing.assert_array_equal(a.people[0].albedo.reflectance, b.people[0].albedo.reflectance)
    np.testing.assert_array_equal(a.background.canvas, b.background.canvas)
    assert a.lights == b.lights
    same_camera = np.array_equal(a.camera.R_world_to_cam, b.camera.R_world_to_cam)
    assert same_camera == (name != "roll deg")
    assert (a.sensor == b.sensor) == (name in ("gray exposure us", "roll deg"))


def test_a_sheet_has_both_ends_of_its_rows(sheet: Any, rows: dict[str, Any], tmp_path: Path) -> None:
    some = [rows["threshold"], rows["pause"], rows["mirrored"]]
    sheet.write_sheet(tmp_path / "sheet.png", some, seed=SEED, duration_s=DURATION_S)
    picture = cv2.imread(str(tmp_path / "sheet.png"))
    h, w = sheet.PANEL
    assert picture.shape == (2 * (h + 16), 2 * (130 + 6 * (w + 2)), 3), "two columns of two rows"
    assert [p.name for p in tmp_path.iterdir()] == ["sheet.png"]

    def events(row: int, column: int, end: int) -> np.ndarray:
        x = column * (130 + 6 * (w + 2)) + 130 + (3 * end + 1) * (w + 2)
        return picture[row * (h + 16) + 16 : (row + 1) * (h + 16), x : x + w]

    lit = {end: (events(0, 0, end).max(axis=2) > 60).mean() for end in (0, 1)}
    assert lit[0] > 2 * lit[1] > 0, "a low threshold makes more events"
    assert (events(1, 0, 0).max(axis=2) > 60).mean() > 10 * (events(1, 0, 1).max(axis=2) > 60).mean()
    assert (picture[h + 16 :, -3 * (w + 2) :] == 255).all(), "the fourth place is empty"


def test_the_table_in_the_docs_is_the_codes(sheet: Any) -> None:
    """`python tools/variety_sheet.py --table` prints it anew."""
    page = (CHECKOUT / "docs" / "simulate.md").read_text(encoding="utf-8")
    told = [
        line for line in page.splitlines() if line.startswith(("| `ranges.", "| `style.", "| `wardrobe."))
    ]
    assert told == sheet.table_rows()
    assert "| `ranges.people` | 1 to 1 | 1 to 4 | whole number |" in page


def test_the_picture_in_the_docs_is_small_enough() -> None:
    path = CHECKOUT / "docs" / "images" / "variety.png"
    assert (
        path.stat().st_size <= 300_000 and "images/variety.png" in (CHECKOUT / "docs/simulate.md").read_text()
    )


def test_the_command_prints_the_table(
    sheet: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["variety_sheet.py", "--table"])
    sheet.main()
    assert capsys.readouterr().out.splitlines() == sheet.table_rows()
