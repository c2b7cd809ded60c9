"""Damaged files of every format: cut at every byte, and with changed bytes as tools/fuzz makes them."""

from __future__ import annotations

import re
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from numpy.typing import NDArray
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from eventhpe.errors import FormatError
from eventhpe.events.formats.partial_frames import on_sensor
from eventhpe.events.formats.sniff import FORMATS
from eventhpe.events.open import open_recording
from tests.events.small_files import SmallFile, bag2, bag_messages, small_files, zipped
from tools.fuzz.workers import run_one

# Bytes per record where all have one size: only a cut between two of them loses nothing.
RECORDS = {"aedat1": 6, "aedat2": 8, "evt2": 4, "evt21": 8, "evt3": 2, "evt4": 4, "dat": 8}
STREAMS = [file for file in small_files() if file.stream]
CONTAINERS = [file for file in small_files() if not file.stream]


def read(path: Path, file: SmallFile) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """(N, 5) stored t, x, y, p, camera, and the warnings."""
    with open_recording(path, format=file.format) as recording:
        raw = recording.read_raw()
        assert len(recording.read()) <= len(raw)
        rows = np.stack([getattr(raw, name).astype(np.int64) for name in ("t", "x", "y", "p", "camera")], 1)
        return rows, recording.warnings


def cuts(file: SmallFile) -> list[int]:
    """Every length of the smaller files. The larger ones are mostly padding, or repeat what others have."""
    end = len(file.data)
    if file.format == "rosbag1" and file.name != "rosbag1-kinds":
        # The first record is filled up with blanks.
        return [*range(1, 4117, 50), *range(4117, end, 1 if file.name == "rosbag1" else 3)]
    if file.name in ("aedat4-none", "aedat4-zstd"):
        return [*range(1, 1900, 31), *range(1900, end)]  # the same header as with LZ4
    return [*range(1, end)] if end < 4500 else sorted({*range(1, end, 41), *range(end - 100, end)})


def data_start(file: SmallFile) -> int:
    """Where the header ends; a cut before that leaves a file of another kind."""
    lines = re.match(rb"(?:[#%].*\r?\n)*", file.data)
    assert lines is not None
    if file.name in ("text-e2vid", "text-csv"):
        return file.data.index(b"\n") + 1
    if file.format == "npy":
        return 10 + int.from_bytes(file.data[8:10], "little")
    return lines.end() + (2 if file.name == "dat" else 0)


def complete_ends(file: SmallFile) -> set[int]:
    """Lengths at which a cut loses nothing but what follows, so that nobody can tell."""
    if file.format in RECORDS:
        return set(range(len(file.data), 0, -RECORDS[file.format]))
    if file.format == "aedat3":
        return set(_packet_ends(file))
    return set()  # a table, an index or a header tells how much there should be


def _packet_ends(file: SmallFile) -> Iterator[int]:
    at = data_start(file)
    while at < len(file.data):
        yield at
        size, number = struct.unpack_from("<i12xi", file.data, at + 4)
        at += 28 + size * number


@pytest.mark.parametrize("file", STREAMS, ids=lambda file: file.name)
def test_cut_streams_give_all_complete_events(file: SmallFile, tmp_path: Path) -> None:
    path = tmp_path / "cut"
    path.write_bytes(file.data)
    whole, told = read(path, file)
    ends, most = complete_ends(file), 0
    for size in cuts(file):
        path.write_bytes(file.data[:size])
        try:
            rows, warnings = read(path, file)
        except FormatError as error:
            assert str(path) in str(error)
            assert most == 0, f"{size} bytes are refused, fewer are not"
            continue
        if size < data_start(file):
            continue
        if file.format in ("text", "celex"):
            # Digits may be missing from the last number, or it is whole without its end.
            complete = file.data.count(b"\n", data_start(file), size)
            assert len(rows) in (complete, complete + 1)
            rows = rows[:complete]
        elif size not in ends and (
            file.format != "aedat4" or len(rows) < len(whole)
        ):  # nobody needs its table
            assert set(warnings) - set(told), f"nothing is told of a cut at {size} of {len(file.data)} bytes"
        assert np.array_equal(rows, whole[: len(rows)]), size
        assert len(rows) >= most
        most = len(rows)
    assert most >= len(whole) - 3  # an EVT2.1 word holds three


@pytest.mark.parametrize("file", CONTAINERS, ids=lambda file: file.name)
def test_cut_containers_are_refused_by_name(file: SmallFile, tmp_path: Path) -> None:
    path = tmp_path / "cut"
    for size in cuts(file):
        path.write_bytes(file.data[:size])
        with pytest.raises(FormatError) as caught:
            read(path, file)
        assert str(path) in str(caught.value), size
    path.write_bytes(file.data)
    assert len(read(path, file)[0]) > 20


@pytest.mark.parametrize("short_name", [f.name for f in FORMATS])
def test_changed_bytes_give_a_sound_result_or_one_error(short_name: str, tmp_path: Path) -> None:
    """A share of what tools/fuzz tries; see there for what is asked of a result."""
    outcomes = [run_one(2, short_name, k, tmp_path) for k in range(100)]
    assert outcomes.count("result") >= 5 and outcomes.count("FormatError") >= 5


def test_small_files_are_known_by_content(tmp_path: Path) -> None:
    assert {file.format for file in small_files()} == {f.name for f in FORMATS}
    options: dict[str, Any]
    for file in small_files():
        path = tmp_path / file.name
        path.write_bytes(file.data)
        for options in ({}, {"format": file.format}):
            with open_recording(path, **options) as recording:
                assert recording.num_events >= 11, file.name


# ---- damage that once did harm


def small(name: str) -> SmallFile:
    return next(file for file in small_files() if file.name == name)


def refused(path: Path, content: bytes, match: str) -> FormatError:
    path.write_bytes(content)
    with pytest.raises(FormatError, match=match) as caught, open_recording(path) as recording:
        recording.info()
    assert str(path) in str(caught.value)
    return caught.value


def test_hdf5_filters_that_may_end_the_process_are_not_run(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for name in "txyp":
            file.create_dataset(f"events/{name}", data=np.arange(50) % 2, chunks=(50,), **hdf5plugin.BZip2())
    refused(path, path.read_bytes(), r"filters \[307\]")


def test_sizes_in_mcap_records_are_not_believed(tmp_path: Path) -> None:
    data = bytearray(small("rosbag2-mcap").data)
    (summary,) = struct.unpack_from("<Q", data, len(data) - 28)
    for size in (1 << 40, (1 << 64) - 1):
        struct.pack_into("<Q", data, summary + 1, size)
        error = refused(tmp_path / "a.mcap", bytes(data), "damaged or incomplete")
        assert not isinstance(error.__cause__, MemoryError)


@pytest.mark.parametrize("change", ["timestamp = 'text'", "data = 'text'", "timestamp = 1.5", "data = NULL"])
def test_sqlite_values_of_another_type_are_lost_not_believed(change: str, tmp_path: Path) -> None:
    data, path = bytearray(small("rosbag2-sqlite").data), tmp_path / "a.db3"
    path.write_bytes(data)
    connection = sqlite3.connect(path)
    schema = "UPDATE sqlite_master SET sql = replace(sql, ' NOT NULL', '') WHERE name = 'messages'"
    connection.execute("PRAGMA writable_schema = 1")
    connection.execute(schema)
    connection.commit()
    connection.close()
    connection = sqlite3.connect(path)
    connection.execute(f"UPDATE messages SET {change} WHERE id = 2")
    connection.commit()
    connection.close()
    with open_recording(path, stream="/e") as recording:
        assert recording.num_events == 20
        assert recording.warnings == ("1 damaged messages skipped",)


def test_frames_on_impossible_sensors_are_refused(tmp_path: Path) -> None:
    image = np.ones((2, 3), np.uint8)
    assert on_sensor(image, (4, 5), 2, 1).sum() == 6 and on_sensor(image, (4, 5), 2, 1)[1:3, 2:].all()
    for place in ((3, 0), (0, 3), (-1, 0), (0, -1)):
        with pytest.raises(FormatError, match="outside the sensor"):
            on_sensor(image, (4, 5), *place)
    with pytest.raises(FormatError, match="larger than any"):
        on_sensor(image, (32767, 32767), 0, 0)
    path = tmp_path / "a.aedat4"
    path.write_bytes(small("aedat4-none").data)
    with open_recording(path, sensor="65535x65535") as recording, pytest.raises(FormatError, match=path.name):
        assert recording.frames is not None and recording.frames[0]


@pytest.mark.parametrize(
    ("name", "values"),
    [("triggers/t", [9, 8, 10]), ("imu/t", [9, 8, 10]), ("frames/t", [9, 8]), ("triggers/value", [0, 1, 3])],
)
def test_impossible_values_beside_the_events_are_refused(
    name: str, values: list[int], tmp_path: Path
) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(small("eventhpe-gzip").data)
    with h5py.File(path, "r+") as file:
        file[name][...] = values
    refused(path, path.read_bytes(), name)


@pytest.mark.parametrize("first", [-1, -(1 << 62)])
def test_events_before_time_zero_or_ages_ago_are_refused(first: int, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(small("eventhpe-gzip").data)
    with h5py.File(path, "r+") as file:
        file["events/t"][0] = first
    refused(path, path.read_bytes(), "before time zero")
    with h5py.File(path, "r+") as file:
        file["events/t"][0], file["events/t"][-1] = 0, 1 << 60
    refused(path, path.read_bytes(), "more than a century")


def test_lengths_of_hdf5_strings_are_not_believed(tmp_path: Path) -> None:
    """The library makes room for the length before it looks for the string."""
    data = bytearray(small("ecf-masks").data)
    heap = data.index(b"GCOL").to_bytes(8, "little")
    reference = data.index(struct.pack("<I", len("640x480")) + heap)
    struct.pack_into("<I", data, reference, 0x70000000)
    refused(tmp_path / "a.h5", bytes(data), "strings in the HDF5 file are damaged")


def test_a_member_without_a_name(tmp_path: Path) -> None:
    data = zipped("e", b"0.1 1 1 1\n" * 5)
    at = data.rindex(b"PK\x01\x02") + 46  # the name in the directory
    refused(tmp_path / "a.zip", data[:at] + b"\0" + data[at + 1 :], "has no name")


def test_imu_values_that_no_sensor_gives_are_lost(tmp_path: Path) -> None:
    messages = [m for m in bag_messages(True) if m[1] != "sensor_msgs/Imu"]
    numbers = struct.pack("<37d", *[0.0] * 25, 1e300, 0.0, 0.0, *[0.0] * 9)
    whole = next(m for m in bag_messages(True) if m[1] == "sensor_msgs/Imu")
    messages.append((*whole[:3], whole[3][: -len(numbers)] + numbers))
    path = tmp_path / "a.mcap"
    path.write_bytes(bag2(tmp_path, messages, StoragePlugin.MCAP, CompressionMode.NONE))
    with open_recording(path, stream="/e") as recording:
        assert recording.num_events == 24 and recording.imu is None
        assert any("sensor_msgs/Imu messages damaged" in warning for warning in recording.warnings)
