"""MVSEC, v2e and other HDF5 tables against what was put into them."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest

from eventhpe.errors import FormatError
from eventhpe.events.blocks import BLOCK_EVENTS, BlockReader, Columns, Side, read_stored
from eventhpe.events.formats.hdf5_layouts import layout_of
from eventhpe.events.formats.hdf5_tables import open_reader
from eventhpe.events.formats.options import OpenOptions
from eventhpe.events.types import Events
from tests.events.hdf5_samples import sample_events, write_samples

EPOCH = 1_500_000_000_000_000


def _check(reader: BlockReader, events: Events, offset: int = 0) -> None:
    raw, _ = read_stored(reader)
    np.testing.assert_array_equal(raw.t, events.t + offset)
    for name in "xyp":
        np.testing.assert_array_equal(getattr(raw, name), getattr(events, name), err_msg=name)


def test_mvsec_has_two_streams_with_frames(tmp_path: Path) -> None:
    write_samples(tmp_path)
    events = sample_events()
    reader = open_reader(tmp_path / "mvsec.h5", OpenOptions("mvsec"))
    assert (reader.format, reader.streams, reader.sensor_size) == (
        "MVSEC HDF5",
        ("left", "right"),
        (260, 346),
    )
    raw, side = read_stored(reader)
    for camera in (0, 1):
        mine = raw.camera == camera
        assert mine.sum() == len(events)
        np.testing.assert_array_equal(raw.t[mine], events.t + EPOCH)
        for name in "xyp":
            np.testing.assert_array_equal(getattr(raw, name)[mine], getattr(events, name))
    assert (np.diff(raw.camera.astype(int)) >= 0).all()  # left, then right
    assert [(f.t_us - EPOCH, f.camera) for f in side.frames] == [(1000, 0), (2000, 0), (1000, 1), (2000, 1)]
    frame = pickle.loads(pickle.dumps(reader)).load_frame(side.frames[1].ref)
    expected = np.arange(2 * 260 * 346, dtype=np.uint32).astype(np.uint8).reshape(2, 260, 346)[1]
    np.testing.assert_array_equal(frame, expected)
    assert side.elements["IMU samples"] == 10
    assert any("IMU" in line for line in side.warnings())


def test_mvsec_with_one_camera_and_without_frames(tmp_path: Path) -> None:
    write_samples(tmp_path)
    with h5py.File(tmp_path / "mvsec.h5", "r+") as file:
        del file["davis/left"], file["davis/right/image_raw"]
    reader = open_reader(tmp_path / "mvsec.h5", OpenOptions("mvsec"))
    assert (reader.streams, reader.sensor_size) == (("right",), (260, 346))
    _check(reader, sample_events(), EPOCH)


def test_v2e(tmp_path: Path) -> None:
    write_samples(tmp_path)
    reader = open_reader(tmp_path / "v2e.h5", OpenOptions("v2e"))
    assert (reader.format, reader.streams, reader.sensor_size) == ("v2e HDF5", ("events",), None)
    _check(reader, sample_events())
    reader.close()
    with h5py.File(tmp_path / "v2e.h5", "r+") as file:
        file["frame"] = np.zeros((3, 20, 30), np.uint8)
    reader = open_reader(tmp_path / "v2e.h5", OpenOptions("v2e"))
    assert reader.sensor_size == (20, 30)
    assert read_stored(reader)[1].elements["frames of the simulated video (not read)"] == 3
    assert open_reader(tmp_path / "v2e.h5", OpenOptions("v2e", sensor="DVS128")).sensor_size == (128, 128)


@pytest.mark.parametrize(
    ("names", "scale", "kind", "unit"),
    [
        (("t", "x", "y", "p"), 1e-6, "<f8", None),
        (("ts", "xs", "ys", "ps"), 1, "<i8", None),
        (("timestamps", "x", "y", "polarity"), 1, ">u4", None),
        (("Time", "X", "Y", "Pol"), 1000, "<i8", "ns"),
        (("t", "x", "y", "p"), 1e-3, "<f8", "ms"),
    ],
)
@pytest.mark.parametrize("place", ["", "raw_events", "prophesee/left/cd", "compound", "a/compound"])
def test_names_and_units(
    names: tuple[str, ...], scale: float, kind: str, unit: str | None, place: str, tmp_path: Path
) -> None:
    events, path = sample_events(), tmp_path / "a.h5"
    t = (events.t * scale).astype(kind)
    columns = dict(zip(names, (t, events.x.astype(np.int32), events.y, events.p.astype(bool)), strict=True))
    with h5py.File(path, "w") as file:
        file["other"] = np.zeros((3, 3))
        if place.endswith("compound"):
            order = sorted(columns)  # not t, x, y, p
            rows = np.zeros(len(t), [("extra", "f4"), *((n, columns[n].dtype) for n in order)])
            for name, values in columns.items():
                rows[name] = values
            file[place] = rows
        else:
            for name, values in columns.items():
                file[f"{place}/{name}"] = values
            if place:
                file[place].attrs.update({"height": 260, "width": 346})
    assert layout_of(path) == "hdf5"
    reader = open_reader(path, OpenOptions("hdf5", time_unit=unit))  # type: ignore[arg-type]
    assert reader.streams == (place or "events",)
    assert reader.sensor_size == ((260, 346) if place and not place.endswith("compound") else None)
    _check(reader, events)


def test_blocks_begin_anywhere(tmp_path: Path) -> None:
    n = BLOCK_EVENTS + 1234
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, values in (("t", np.arange(n)), ("x", np.arange(n) % 300), ("y", np.arange(n) % 200)):
            for camera in ("left", "right"):
                file[f"{camera}/{name}"] = values
        file["left/p"], file["right/p"] = np.zeros(n, np.int8), np.ones(n, np.int8)
    reader, out, side = open_reader(tmp_path / "a.h5", OpenOptions("hdf5")), Columns(), Side()
    assert reader.streams == ("left", "right")
    sizes, at = [], reader.first()
    while at is not None:
        where, (count, at) = at, reader.decode(at, out, side)
        sizes.append((where, count))
    assert sizes == [
        ((0, 0), BLOCK_EVENTS),
        ((0, BLOCK_EVENTS), 1234),
        ((1, 0), BLOCK_EVENTS),
        ((1, BLOCK_EVENTS), 1234),
    ]
    count, after = pickle.loads(pickle.dumps(reader)).decode((0, BLOCK_EVENTS), out, side)
    assert (count, after) == (1234, (1, 0))
    assert out.t[0] == BLOCK_EVENTS and not out.p[:count].any() and not out.camera[:count].any()


def test_pixels_that_do_not_fit_lie_outside(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        columns = {"t": [1, 2, 3], "x": [-1, 70_000, 3], "y": [0, 0, 4], "p": [-1, 0, 1]}
        for name, values in columns.items():
            file[f"events/{name}s"] = np.array(values, np.int64)
    raw, _ = read_stored(open_reader(tmp_path / "a.h5", OpenOptions("hdf5")))
    assert (raw.x.tolist(), raw.p.tolist()) == ([65535, 65535, 3], [0, 0, 1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"t": np.array([0.0, np.nan, 1.0])}, "time of event 1"),
        ({"p": np.array([0, 1, 7])}, "polarity of event 2"),
        ({"y": np.zeros(2, np.int16)}, "one length"),
    ],
)
def test_what_cannot_be_events(change: dict[str, np.ndarray], message: str, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for name, values in ({name: np.array([0, 1, 1]) for name in "txyp"} | change).items():
            file[f"raw/{name}"] = values
    with pytest.raises(FormatError, match=rf"a\.h5.*{message}"):
        read_stored(open_reader(tmp_path / "a.h5", OpenOptions("hdf5")))


def test_no_events(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("events", (0, 4), "u4", maxshape=(None, 4))
    raw, _ = read_stored(open_reader(tmp_path / "a.h5", OpenOptions("v2e")))
    assert len(raw) == 0
    with pytest.raises(FormatError, match="without events"):
        open_reader(tmp_path / "a.h5", OpenOptions("mvsec"))


@pytest.mark.parametrize(
    ("name", "layout", "unit"),
    [("containers/board_346_mvsec.h5", "mvsec", ""), ("davis346-evl/event.hdf5", "hdf5", "_s")],
)
def test_numbers_of_real_files(name: str, layout: str, unit: str, shared: Path) -> None:
    files = json.loads((shared / "events/facts.json").read_text())["files"]
    facts = next(f["facts"] for f in files if f["path"] == name)
    raw, side = read_stored(open_reader(shared / "events" / name, OpenOptions(layout)))
    first, last = ((t / 1e6 if unit else t) for t in (int(raw.t[0]), int(raw.t[-1])))
    got = {
        "n": len(raw), f"t_first{unit}": first, f"t_last{unit}": last, "n_on": int(raw.p.sum()),
        "x_min": int(raw.x.min()), "x_max": int(raw.x.max()),
        "y_min": int(raw.y.min()), "y_max": int(raw.y.max()),
    }  # fmt: skip
    if not unit:
        got |= {"sum_x": int(raw.x.sum()), "sum_y": int(raw.y.sum())}
        got |= {"sum_t_minus_first": int((raw.t - raw.t[0]).sum())}
    assert got.items() <= facts.items()
    assert side.warnings() == ()
