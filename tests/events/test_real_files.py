"""Every recording at hand gives the independent numbers of facts.json."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from eventhpe.events.blocks import Columns, Side
from eventhpe.events.conversion import convert
from eventhpe.events.formats.options import OpenOptions
from eventhpe.events.formats.sniff import FORMATS, sniff
from eventhpe.events.open import open_recording
from eventhpe.events.store_verify import verify

LABELS = {
    "AEDAT 2.0": "AEDAT 2.0", "AEDAT 3.1": "AEDAT 3.1", "AEDAT 1.0": "AEDAT 1.0", "AEDAT 4.0": "AEDAT 4.0",
    "AEDAT4": "AEDAT 4.0", "Prophesee RAW EVT2": "Prophesee RAW EVT2",
    "Prophesee RAW EVT3": "Prophesee RAW EVT3",
    "EVT2.1": "Prophesee RAW EVT2.1", "EVT21": "Prophesee RAW EVT2.1", "EVT2": "Prophesee RAW EVT2",
    "EVT3": "Prophesee RAW EVT3", "EVT4": "Prophesee RAW EVT4", "DAT": "Prophesee DAT",
    "Prophesee DAT": "Prophesee DAT", "Prophesee HDF5": "Prophesee HDF5 (ECF)", "DSEC HDF5": "DSEC HDF5",
    "MVSEC HDF5": "MVSEC HDF5", "HDF5 raw_events": "HDF5 columns", "NPY": "NPY array", "NPZ": "NPZ arrays",
    "CSV": "CSV", "text t(s)": "event text", "E2VID text": "E2VID text", "ROS 1 bag": "ROS 1 bag",
    "ROS event_camera_msgs": "ROS",
}  # fmt: skip
"""How facts.json begins a format's name -> how ours begins."""

CONTAINERS = {
    "person_vga_none.aedat4": (
        "person_vga_lz4.aedat4 person_vga_lz4_high.aedat4 person_vga_zstd.aedat4 person_vga_zstd_high.aedat4 "
        "person_vga_dsec.h5 person_vga_ecf.h5 person_vga_evt2.raw person_vga_evt21_legacy.raw "
        "person_vga_td.dat "
        "person_vga_evt21_little.raw person_vga_evt3_wrap24.raw person_vga_evt4.raw"
    ).split(),
    "board_346.csv": (
        "board_346_e2vid.txt board_346_e2vid.zip board_346.npz board_346_dvs.bag board_346_dvs_lz4.bag "
        "board_346_mvsec.h5 board_346_aps_imu.aedat board_346_wrap32.aedat"
    ).split(),
    "walking_128_aedat1.dat": ["walking_128_aedat1_noheader.dat"],
}
"""One recording in several containers: event by event the same."""


def _facts() -> dict[str, dict]:
    path = Path(__file__).resolve().parents[3] / "shared/events/facts.json"
    return {f["path"]: f for f in json.loads(path.read_text())["files"]} if path.is_file() else {}


FACTS = _facts()
pytestmark = pytest.mark.usefixtures("shared")


@pytest.mark.parametrize("name", sorted(FACTS) or ["absent"])
def test_numbers(name: str, shared: Path) -> None:
    expected = dict(FACTS[name]["facts"])
    with open_recording(shared / "events" / name) as recording:
        info = recording.info()
        raw = recording.read_raw()
        events = recording.read()
    label = next(ours for theirs, ours in LABELS.items() if FACTS[name]["format"].startswith(theirs))
    assert info.format.startswith(label)
    if "x" in FACTS[name]["resolution"] and expected["n"] and "mono" not in name:
        width, height = (int(n) for n in FACTS[name]["resolution"].split("x"))
        assert info.sensor_size == (height, width) == events.sensor_size
    got = {
        "n": info.num_events,
        "t_first": info.t_first_us,
        "t_last": info.t_last_us,
        "t_min": int(raw.t.min(initial=2**62)),
        "t_max": int(raw.t.max(initial=-1)),
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
    for key in [key for key in expected if key.endswith("_s")]:
        expected[key[:-2]] = round(expected.pop(key) * 1e6)
    if "nanoseconds here" in FACTS[name].get("note", ""):
        for key in ("t_first", "t_last", "t_min", "t_max", "duration_us", "sum_t_minus_first"):
            expected[key] //= 1000
    assert {key: got[key] for key in expected} == expected


@pytest.mark.parametrize("name", sorted(FACTS) or ["absent"])
def test_frames_imu_triggers_and_other_elements(name: str, shared: Path) -> None:
    """What facts.json states beside events."""
    told, header = FACTS[name], FACTS[name].get("header", {})
    with open_recording(shared / "events" / name) as recording:
        info, triggers = recording.info(), recording.triggers
    for stream in header.get("elements_by_stream", {}).values():
        for kind, number in stream.items():
            assert info.elements[kind] == number
            if kind in ("FRME", "IMUS"):
                assert number == {"FRME": info.num_frames, "IMUS": info.num_imu}[kind]
    if "packets" in header:
        assert info.elements["packets"] == header["packets"]
    for ours, theirs in (
        ("APS words", "aps_words"),
        ("IMU words", "imu_words"),
        ("special words", "special"),
    ):
        assert info.elements.get(ours, 0) == header.get(theirs, info.elements.get(ours, 0))
    if "events_in_packets" in header:
        assert f"{header['events_in_packets']} events with a valid bit of 0 skipped" in info.warnings
    if "messages" in told:
        assert (
            sum(n for kind, n in info.elements.items() if "EventPacket" in kind or "EventArray" in kind)
            == (told["messages"])
        )
    if "triggers" in told:
        assert triggers is not None and info.num_triggers == len(triggers) == told["triggers"]["n"]
        assert int((triggers.value == 1).sum()) == told["triggers"]["rising"]
        assert int((triggers.value == 0).sum()) == told["triggers"]["falling"]
        assert int(triggers.t_us[0]) + info.t_offset_us == told["triggers"]["first"]


@pytest.mark.parametrize(("first", "second"), [(a, b) for a, others in CONTAINERS.items() for b in others])
def test_one_recording_in_several_containers(first: str, second: str, shared: Path) -> None:
    folder = shared / "events/containers"
    with open_recording(folder / first) as a, open_recording(folder / second) as b:
        n = min(a.num_events, b.num_events)
        assert n >= 40_000
        for column in "txyp":
            assert np.array_equal(getattr(a.read(0, n), column), getattr(b.read(0, n), column)), column


@pytest.mark.parametrize(
    "name",
    [
        "davis346-desk/davis.aedat4",
        "davis240c-imu/IMU_translBoxes.aedat",
        "ros-person-evt3/test_events_1.bag",
    ],
)
def test_nothing_is_lost_in_the_store(name: str, shared: Path, tmp_path: Path) -> None:
    with open_recording(shared / "events" / name) as source:
        made = convert(source, tmp_path / "a.h5")
        assert verify(made.path) == []
        with open_recording(made) as stored:
            for column in "txyp":
                assert np.array_equal(getattr(source.read(), column), getattr(stored.read(), column))
            assert source.t_offset_us == stored.t_offset_us
            if source.frames is not None:
                assert stored.frames is not None and np.array_equal(
                    source.frames.images, stored.frames.images
                )
            if source.imu is not None:
                assert stored.imu is not None and np.array_equal(source.imu.t_us, stored.imu.t_us)
                assert np.array_equal(source.imu.gyro, stored.imu.gyro)
            if source.triggers is not None:
                assert stored.triggers is not None
                assert np.array_equal(source.triggers.t_us, stored.triggers.t_us)


def test_davis_frames_show_a_scene_and_gravity_is_one_g(shared: Path) -> None:
    with open_recording(shared / "events/davis346-desk/davis.aedat4") as recording:
        frames = recording.frames
        assert frames is not None and len(frames) == 3
        images = frames.images
        assert images.shape == (3, 260, 346) and images.dtype == np.uint8
        assert (np.diff(frames.t_us) > 0).all() and images.std() > 5
    for name in ("davis346-desk/davis.aedat4", "davis240c-imu/IMU_translBoxes.aedat"):
        with open_recording(shared / "events" / name) as recording:
            assert recording.imu is not None
            assert 0.9 < float(np.median(np.linalg.norm(recording.imu.accel, axis=1))) < 1.1


@pytest.mark.parametrize(
    "name", [n for n in sorted(FACTS) if n.startswith("containers/") and "dsec" not in n] or ["absent"]
)
def test_progress_grows_from_nothing_to_all(name: str, shared: Path) -> None:
    options = OpenOptions(sniff(shared / "events" / name))
    module = next(f.module for f in FORMATS if f.name == options.format)
    reader = import_module(f"eventhpe.events.formats.{module}").open_reader(shared / "events" / name, options)
    shares, at, n = [], reader.first(), 0
    while at is not None:
        shares.append(reader.progress(at))
        count, at = reader.decode(at, Columns(), Side())
        n += count
    assert shares == sorted(shares) and 0 <= shares[0] < 0.2 and shares[-1] <= 1
    if len(shares) > 1:  # what is left holds about as many events as what was read, byte for byte
        assert shares[-1] == pytest.approx((n - count) / n, abs=0.4)  # a bag knows its chunks only
