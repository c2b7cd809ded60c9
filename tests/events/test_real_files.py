"""Every AEDAT 2.0, AEDAT 4 and DSEC recording at hand gives the independent numbers of facts.json."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from eventhpe.events.open import open_recording

FILES = [
    "dvs128-walking/neal_walking.aedat",
    "dvs128-walking/alex_walking_for_10secs.aedat",
    "dvs128-walking/cam255_neal_standing_up.aedat",
    "dvs128-walking/cam289_right_clamp_test1.aedat",
    "dvs128-walking/cam300_fix_lense_alex_standing_up.aedat",
    "dvs128-hand-passing/DVS128-2017-03-21-short.aedat",
    "dvs128-foam/foam90.aedat",
    "davis240c-imu/IMU_translBoxes.aedat",
    "containers/board_346_aps_imu.aedat",
    "containers/board_346_wrap32.aedat",
    "dvs128-hand-gestures/dvSave-2024_06_13_16_19_42.aedat4",
    "dvs128-hand-gestures/dvSave-2024_06_13_16_32_03.aedat4",
    "dvs128-hand-gestures/dvSave-2024_06_20_15_59_41.aedat4",
    "dvs128-hand-gestures/dvSave-2024_06_20_16_06_00.aedat4",
    "dvs128-hand-gestures/dvSave-2024_06_20_16_07_43.aedat4",
    "dvs128-hand-gestures/dvSave-2024_06_20_16_12_48.aedat4",
    "dvs128-hand-gestures/dvSave-2024_06_20_16_13_24.aedat4",
    "dvxplorer-head/sample.aedat4",
    "davis346-desk/davis.aedat4",
    "davis346-evl/sample.aedat4",
    "containers/person_vga_none.aedat4",
    "containers/person_vga_lz4.aedat4",
    "containers/person_vga_lz4_high.aedat4",
    "containers/person_vga_zstd.aedat4",
    "containers/person_vga_zstd_high.aedat4",
    "containers/person_vga_dsec.h5",
]
LABELS = {"aedat": "AEDAT 2.0", "aedat4": "AEDAT 4.0", "h5": "DSEC HDF5"}


@pytest.fixture(scope="module")
def facts(shared: Path) -> dict[str, dict]:
    return {f["path"]: f for f in json.loads((shared / "events/facts.json").read_text())["files"]}


@pytest.mark.parametrize("name", FILES)
def test_numbers(name: str, shared: Path, facts: dict[str, dict]) -> None:
    expected = facts[name]["facts"]
    with open_recording(shared / "events" / name) as recording:
        info = recording.info()
        raw = recording.read_raw()
        events = recording.read()
    width, height = (int(n) for n in facts[name]["resolution"].split("x"))
    assert info.format == LABELS[name.rsplit(".", 1)[1]]
    assert info.sensor_size == (height, width) == events.sensor_size
    got = {
        "n": info.num_events,
        "t_first": info.t_first_us,
        "t_last": info.t_last_us,
        "t_min": int(raw.t.min()),
        "t_max": int(raw.t.max()),
        "duration_us": info.duration_us,
        "n_backward_steps": int(np.count_nonzero(np.diff(raw.t) < 0)),
        "x_min": info.x_min,
        "x_max": info.x_max,
        "y_min": info.y_min,
        "y_max": info.y_max,
        "n_on": info.num_on,
        "n_off": info.num_off,
        "sum_x": int(events.x.sum(dtype=np.int64)),
        "sum_y": int(events.y.sum(dtype=np.int64)),
        "sum_t_minus_first": int(events.t.sum()),
    }
    assert got == {key: expected[key] for key in got}
    assert set(expected) <= set(got)


def test_the_list_is_complete(facts: dict[str, dict]) -> None:
    kinds = ("AEDAT 2.0", "AEDAT 4.0", "AEDAT4 ", "DSEC HDF5")
    assert sorted(FILES) == sorted(p for p, f in facts.items() if f["format"].startswith(kinds))


@pytest.mark.parametrize(
    "name",
    [
        "containers/person_vga_lz4.aedat4",
        "containers/person_vga_zstd.aedat4",
        "containers/person_vga_dsec.h5",
    ],
)
def test_one_recording_in_several_containers(name: str, shared: Path) -> None:
    with (
        open_recording(shared / "events" / name) as a,
        open_recording(shared / "events/containers/person_vga_none.aedat4") as b,
    ):
        first = a.read(0, b.num_events)
        for column in "txyp":
            assert np.array_equal(getattr(first, column), getattr(b.read(), column))


def test_davis_frames_and_skipped_words(shared: Path) -> None:
    with open_recording(shared / "events/davis346-desk/davis.aedat4") as recording:
        frames = recording.frames
        assert frames is not None and len(frames) == 3
        images = frames.images
        assert images.shape == (3, 260, 346) and images.dtype == np.uint8
        assert (np.diff(frames.t_us) > 0).all() and images.std() > 5  # a scene, not a constant
    with open_recording(shared / "events/containers/board_346_aps_imu.aedat") as recording:
        assert any("APS" in note and "84 IMU" in note for note in recording.warnings)
        assert recording.triggers is not None and len(recording.triggers) == 3
