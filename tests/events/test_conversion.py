"""One pass from a recording to a file: order, time ranges, what is beside the events, failures."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from eventhpe.errors import FormatError
from eventhpe.events.conversion import ahead, convert
from eventhpe.events.open import open_recording
from eventhpe.events.recording import Recording
from eventhpe.events.store_verify import verify
from eventhpe.events.store_writer import StoreWriter
from eventhpe.events.stream_backend import StreamBackend
from eventhpe.events.transforms import Changes
from eventhpe.events.types import Events
from tests.events.block_readers import ListReader, Row
from tests.events.test_stream_backend import expected, rows_of

IN_ORDER: list[list[Row]] = [
    [(100 + 10 * k + i, (3 * i) % 8, i % 6, i % 2, 0) for i in range(8)] for k in range(6)
]


def recording(blocks: list[list[Row]] = IN_ORDER) -> tuple[Recording, ListReader]:
    reader = ListReader(blocks)
    return Recording(StreamBackend(reader)), reader


def test_files_in_order_are_read_once(tmp_path: Path) -> None:
    source, reader = recording()
    counts: list[int] = []
    made = convert(source, tmp_path / "a.h5", progress=counts.append)
    assert reader.decoded == [0, 1, 2, 3, 4, 5] and counts == [48]
    assert made.num_events == 48 and made.duration_us == source.end_us and "6 rows imagined" in made.notes
    with open_recording(made) as stored:
        assert rows_of(stored.read()) == expected(reader, 0, (6, 8)) and stored.t_offset_us == 100
        assert stored.frames is not None and stored.frames.t_us.tolist() == [0, 10, 20, 30, 40, 50]
        assert stored.frames[3].max() == 3 and stored.triggers is not None and len(stored.triggers) == 6
        assert stored.imu is not None and stored.imu.accel[:, 1].tolist() == [0, 1, 2, 3, 4, 5]
    assert verify(tmp_path / "a.h5") == []
    with h5py.File(tmp_path / "a.h5") as file:
        told = json.loads(file.attrs["provenance"])
    assert told["source"] == "rows" and told["warnings"] == ["6 rows imagined"] and "transforms" not in told


def test_disorder_costs_a_second_pass(tmp_path: Path) -> None:
    source, reader = recording([IN_ORDER[1], IN_ORDER[0], IN_ORDER[2]])
    made = convert(source, tmp_path / "a.h5", changes=Changes(flip="horizontal"))
    want = [(t, 7 - x, y, p) for t, x, y, p in expected(reader, 0, (6, 8))]
    with open_recording(made) as stored:
        assert rows_of(stored.read()) == want and stored.t_offset_us == 100
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.h5"]


def test_time_range(tmp_path: Path) -> None:
    source, reader = recording()
    made = convert(source, tmp_path / "a.h5", changes=Changes(start_us=12, stop_us=31))
    want = [(t - 12, x, y, p) for t, x, y, p in expected(reader, 0, (6, 8)) if 12 <= t < 31]
    with open_recording(made) as stored:
        assert rows_of(stored.read()) == want and stored.t_offset_us == 112 and stored.end_us == 19
        assert stored.frames is not None and stored.frames.t_us.tolist() == [8, 18]
        assert stored.triggers is not None and stored.triggers.t_us.tolist() == [8, 18]
        assert stored.imu is not None and stored.imu.t_us.tolist() == [8, 18]
    empty = convert(source, tmp_path / "b.h5", changes=Changes(start_us=10_000))
    assert empty.num_events == 0 and empty.duration_us == 0 and open_recording(empty).num_events == 0
    assert verify(tmp_path / "b.h5") == []


def test_frames_that_cannot_be_read_are_left_out_and_told(tmp_path: Path) -> None:
    class Torn(ListReader):
        def load_frame(self, ref: tuple[int, ...]) -> np.ndarray:
            if ref == (2,):
                raise FormatError("torn")
            return super().load_frame(ref)

    made = convert(Recording(StreamBackend(Torn(IN_ORDER))), tmp_path / "a.h5")
    assert "frame 2 left out: torn" in made.notes
    stored = open_recording(made)
    assert stored.frames is not None and len(stored.frames) == 5 and stored.num_events == 48


def test_changes_reach_frames_and_provenance(tmp_path: Path) -> None:
    source, _ = recording()
    made = convert(source, tmp_path / "a.h5", changes=Changes(crop=(2, 1, 4, 3), downsample=2))
    with open_recording(made) as stored:
        assert stored.sensor_size == (2, 2) and stored.frames is not None and stored.frames[0].shape == (2, 2)
    with h5py.File(tmp_path / "a.h5") as file:
        assert json.loads(file.attrs["provenance"])["transforms"] == ["crop 2 1 4 3", "downsample 2"]


def test_labels_follow_as_long_as_they_fit(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "a.h5", (6, 8)) as writer:
        writer.append(Events.from_columns([5, 6], [1, 2], [3, 4], [1, 0], (6, 8)))
        writer.file["labels/pose"] = np.arange(4)
    with open_recording(tmp_path / "a.h5") as source:
        assert convert(source, tmp_path / "b.h5").notes == ()
        cropped = convert(source, tmp_path / "c.h5", changes=Changes(crop=(0, 0, 4, 6)))
        other = convert(source, tmp_path / "d.aedat4", target="aedat4")
    with h5py.File(tmp_path / "b.h5") as file:
        assert file["labels/pose"][:].tolist() == [0, 1, 2, 3]
    with h5py.File(tmp_path / "c.h5") as file:
        assert "labels" not in file
    assert cropped.notes == other.notes == ("labels left out: they belong to the recording as it was",)


def test_a_failure_in_the_middle_leaves_nothing(tmp_path: Path) -> None:
    class Breaks(ListReader):
        def decode(self, at, out, side):
            if at[0] == 4:
                raise FormatError("broken here")
            return super().decode(at, out, side)

    (tmp_path / "a.h5").write_bytes(b"old")
    with pytest.raises(FormatError, match="broken here"):
        convert(Recording(StreamBackend(Breaks(IN_ORDER))), tmp_path / "a.h5", overwrite=True)
    assert (tmp_path / "a.h5").read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(FormatError, match="gzip, none"):
        convert(recording()[0], tmp_path / "b.h5", compression="zip")
    with pytest.raises(FormatError, match="aedat4"):
        convert(recording()[0], tmp_path / "b.h5", target="mp4")
    with pytest.raises(FormatError, match="overwrite"):
        convert(recording()[0], tmp_path / "a.h5")


def test_ahead_keeps_order_errors_and_stops_its_thread() -> None:
    def numbers(n: int) -> Iterator[int]:
        yield from range(n)
        if n == 7:
            raise KeyError("seven")

    assert list(ahead(numbers(100))) == list(range(100))
    got = []
    with pytest.raises(KeyError, match="seven"):
        for number in ahead(numbers(7)):
            got.append(number)
    assert got == list(range(7))
    for number in ahead(numbers(10**9)):
        if number == 3:
            break
    assert not [t for t in threading.enumerate() if t.name == "decode ahead" and t.is_alive()]


def test_verify_finds_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    source, _ = recording()
    good = convert(source, path).path.read_bytes()
    cases = {
        "events/x are not those": lambda f: f["events/x"].write_direct(np.full(48, 7, "u2")),
        "times go backwards": lambda f: f["events/t"].write_direct(np.arange(48)[::-1].astype("i8")),
        "lie outside the 8x6 sensor": lambda f: f["events/y"].write_direct(np.full(48, 6, "u2")),
        "neither 0 nor 1": lambda f: f["events/p"].write_direct(np.full(48, 2, "u1")),
        "2 entries of ms_to_idx are wrong": lambda f: f["ms_to_idx"].write_direct(np.array([1, 47], "u8")),
        "1 entries of ms_to_idx are wrong": lambda f: f["ms_to_idx"].write_direct(np.array([0, 47], "u8")),
        "3 entries of ms_to_idx are wrong or missing": lambda f: f["ms_to_idx"].resize((5,)),
        "duration_us is 3": lambda f: f.attrs.__setitem__("duration_us", 3),
        "frames/data are not those": lambda f: f["frames/data"].__setitem__((0, 0, 0), 99),
        "columns of triggers differ": lambda f: (f.pop("triggers/t"), f.__setitem__("triggers/t", [1])),
        "imu lacks gyro": lambda f: f.__delitem__("imu/gyro"),
        "not JSON": lambda f: f.attrs.__setitem__("provenance", "{"),
        "has no checksum": lambda f: f["events/p"].attrs.__delitem__("xxh3_64"),
    }
    for finding, damage in cases.items():
        path.write_bytes(good)
        assert verify(path) == []
        with h5py.File(path, "a") as file:
            damage(file)
        assert any(finding in line for line in verify(path)), (finding, verify(path))
    path.write_bytes(b"no HDF5")
    with pytest.raises(FormatError):
        verify(path)
