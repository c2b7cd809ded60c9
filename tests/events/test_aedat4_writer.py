"""The AEDAT 4 writer: round trips, its table of packets, refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eventhpe.errors import FormatError, ShapeError, UnitError
from eventhpe.events.blocks import read_stored
from eventhpe.events.formats import aedat4_container as container
from eventhpe.events.formats import flatbuffer
from eventhpe.events.formats.aedat4 import open_reader
from eventhpe.events.formats.aedat4_writer import PACKET_EVENTS, PACKET_US, Aedat4Writer
from eventhpe.events.formats.flatbuffer_writer import Bytes, Scalar, table_buffer, tables_buffer
from eventhpe.events.formats.options import OpenOptions
from eventhpe.events.types import Events, ImuSamples, Triggers

SIZE = (26, 34)
OFFSET = 1_700_000_000_000_000


def some_events(n: int, span_us: int) -> Events:
    rng = np.random.default_rng(n)
    t = np.sort(rng.integers(0, span_us, n))
    x, y, p = (rng.integers(0, limit, n) for limit in (SIZE[1], SIZE[0], 2))
    return Events.from_columns(t, x, y, p, SIZE)


def some_imu(n: int) -> ImuSamples:
    rng = np.random.default_rng(n)
    accel, gyro = rng.normal(size=(2, n, 3)).astype(np.float32)
    return ImuSamples(np.arange(n, dtype=np.int64) * 1000, accel, gyro, np.full(n, np.nan, np.float32))


TRIGGERS = Triggers(
    np.arange(-5, 0, dtype=np.int64),
    np.array([1, 0, 2, 1, 0], np.uint8),
    np.array([0, 0, 0, 1, 1], np.uint8),
)


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_round_trip_is_exact(tmp_path: Path, compression: str) -> None:
    events, imu = some_events(60_000, 400_000), some_imu(130)
    images = [np.full(SIZE, k, np.uint8) for k in (3, 200)]
    path = tmp_path / "a.aedat4"
    with Aedat4Writer(
        path,
        SIZE,
        t_offset_us=OFFSET,
        compression=compression,
        camera_name="<cam & co>",
        comment="made of noise",
    ) as writer:
        for k in range(0, 60_000, 7_000):
            writer.append(events.slice(k, min(k + 7_000, 60_000)))
            if k < 14_000:
                writer.append_frame(k, images[k // 7_000])
        writer.append_imu(imu)
        writer.append_triggers(TRIGGERS)
        writer.append(Events.empty(SIZE))
        assert not path.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["a.aedat4"]
    assert b"made of noise" in path.read_bytes()
    reader = open_reader(path, OpenOptions("aedat4"))
    raw, side = read_stored(reader)
    assert reader.streams == ("<cam & co>",) and reader.sensor_size == SIZE
    assert np.array_equal(raw.t, events.t + OFFSET)
    for name in "xyp":
        assert np.array_equal(getattr(raw, name), getattr(events, name))
    assert side.warnings() == ()
    assert [frame.t_us - OFFSET for frame in side.frames] == [0, 7_000]
    for frame, image in zip(side.frames, images, strict=True):
        assert np.array_equal(reader.load_frame(frame.ref), image)
    again, triggers = side.imu(OFFSET), side.triggers(OFFSET)
    assert again is not None and triggers is not None
    for name in ("t_us", "accel", "gyro", "temperature"):
        assert np.array_equal(getattr(again, name), getattr(imu, name), equal_nan=True)
    for name in ("t_us", "value", "channel"):
        assert np.array_equal(getattr(triggers, name), getattr(TRIGGERS, name))


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_table_describes_the_packets(tmp_path: Path, compression: str) -> None:
    events = some_events(40_000, 120_000)
    path = tmp_path / "a"
    with Aedat4Writer(path, SIZE, t_offset_us=OFFSET, compression=compression) as writer:
        writer.append(events)
        writer.append_imu(some_imu(200))
        writer.append_frame(77, np.zeros(SIZE, np.uint8))
    content, header = path.read_bytes(), container.read_header(path)
    assert {s.type for s in header.streams.values()} == {"EVTS", "IMUS", "FRME"}
    table = container.decompress(content[header.table_position :], header.compression)
    assert flatbuffer.identifier(table) == b"FTAB"
    position, counts = header.data_start, {0: 0, 1: 0, 2: 0}
    for entry in flatbuffer.Table.root(table).tables(0):
        stream, size = container.PACKET_HEADER.unpack_from(content, position)
        assert entry.integer(0, "<q") == position + 8
        place = entry._field(1)
        assert flatbuffer.read("<i", table, place) == stream
        assert flatbuffer.read("<i", table, place + 4) == size
        payload = container.decompress(content[position + 8 : position + 8 + size], header.compression)
        root = flatbuffer.Table.root(payload)
        number, first, last = (entry.integer(k, "<q") for k in (2, 3, 4))
        if stream == 0:
            start, count = root.vector(0, 16)
            assert start % 8 == 0 and count == number <= PACKET_EVENTS and last - first < PACKET_US
            t = np.frombuffer(payload, "<i8", 2 * count, start)[::2]
            assert (t[0], t[-1]) == (first, last)
        elif stream == 2:
            t = [item.integer(0, "<q") for item in root.tables(0)]
            assert (len(t), t[0], t[-1]) == (number, first, last) and last - first < PACKET_US
        else:
            assert (number, first, last) == (1, OFFSET + 77, OFFSET + 77)
        counts[stream] += number
        position += 8 + size
    assert position == header.table_position and counts == {0: 40_000, 1: 1, 2: 200}


def test_file_without_anything(tmp_path: Path) -> None:
    with Aedat4Writer(tmp_path / "a", SIZE):
        pass
    raw, side = read_stored(open_reader(tmp_path / "a", OpenOptions("aedat4")))
    assert len(raw) == 0 and side.warnings() == ()


def test_padding_bytes_are_zero(tmp_path: Path) -> None:
    events = some_events(100, 100)
    with Aedat4Writer(tmp_path / "a", SIZE, compression="none") as writer:
        writer.append(events)
    content, header = (tmp_path / "a").read_bytes(), container.read_header(tmp_path / "a")
    rows = np.frombuffer(content, np.uint8, 1600, header.data_start + 8 + 32).reshape(100, 16)
    assert not rows[:, 13:].any()


def test_refusals_leave_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    events = some_events(10, 100)
    other = Events.empty((5, 5))
    outside = Events(events.t, events.x + np.uint16(SIZE[1]), events.y, events.p, SIZE)
    far = Events(events.t + 2**61, events.x, events.y, events.p, SIZE)
    wrong_input = Triggers(TRIGGERS.t_us, TRIGGERS.value, TRIGGERS.channel + np.uint8(1))
    image = np.zeros(SIZE, np.uint8)
    late = Events(events.t + 1000, events.x, events.y, events.p, SIZE)
    cases = [
        (lambda w: w.append(other), FormatError, "made for sensor_size"),
        (lambda w: w.append(outside), FormatError, "outside the sensor"),
        (lambda w: (w.append(late), w.append(events)), FormatError, "must not decrease"),
        (lambda w: w.append(far), UnitError, "not µs"),
        (lambda w: w.append_frame(0, np.zeros((3, 3), np.uint8)), ShapeError, "a frame must be"),
        (lambda w: (w.append_frame(5, image), w.append_frame(4, image)), FormatError, "times of frames"),
        (lambda w: w.append_triggers(wrong_input), FormatError, "trigger 2 is value 2 of channel 1"),
    ]
    for action, kind, message in cases:
        with pytest.raises(kind, match=message), Aedat4Writer(path, SIZE, t_offset_us=2**61) as writer:
            action(writer)
    for arguments, message in (
        ({"compression": "gzip"}, "unknown compression"),
        ({"camera_name": "a\n"}, "printable"),
    ):
        with pytest.raises(FormatError, match=message):
            Aedat4Writer(path, SIZE, **arguments)
    with pytest.raises(ShapeError, match="int16"):
        Aedat4Writer(path, (10, 40_000))
    with pytest.raises(FormatError, match="does not exist"):
        Aedat4Writer(tmp_path / "no" / "a", SIZE)
    assert [p.name for p in tmp_path.iterdir()] == ["a"] and path.read_bytes() == b"old"


def test_flatbuffers_are_aligned_and_read_back() -> None:
    columns = [
        np.arange(3, dtype=np.int8),
        None,
        np.arange(6, dtype=np.int32).reshape(3, 2),
        np.arange(3) * 10**12,
    ]
    buffer = tables_buffer(b"ABCD", columns)
    assert flatbuffer.identifier(buffer) == b"ABCD" and len(buffer) == 4 + int.from_bytes(
        buffer[:4], "little"
    )
    for k, item in enumerate(flatbuffer.Table.root(buffer).tables(0)):
        assert (item.integer(0, "<b"), item.integer(1, "<i", -7), item.integer(3, "<q")) == (
            k,
            -7,
            k * 10**12,
        )
        assert item._field(2) % 4 == 0 and item._field(3) % 8 == 0
        assert [flatbuffer.read("<i", buffer, item._field(2) + 4 * j) for j in (0, 1)] == [2 * k, 2 * k + 1]
    fields = [Scalar("i", -3), Scalar("q", -(2**60)), None, Bytes(b"text", is_text=True), Scalar("b", 5)]
    buffer = table_buffer(b"EFGH", fields)
    root = flatbuffer.Table.root(buffer)
    assert (root.integer(0, "<i"), root.integer(1, "<q"), root.integer(4, "<b")) == (-3, -(2**60), 5)
    assert root._field(1) % 8 == 0 and root.string(3) == b"text" and buffer[root.vector(3, 1)[0] + 4] == 0


def test_official_libraries_read_it(tmp_path: Path) -> None:
    aedat = pytest.importorskip("aedat")
    events, imu = some_events(30_000, 200_000), some_imu(50)
    for compression in ("none", "lz4", "zstd"):
        path = tmp_path / compression
        with Aedat4Writer(path, SIZE, t_offset_us=OFFSET, compression=compression) as writer:
            writer.append(events)
            writer.append_imu(imu)
        parts, samples = [], 0
        for packet in aedat.Decoder(path):
            if "events" in packet:
                parts.append(packet["events"])
            else:
                samples += len(packet["imus"])
        found = np.concatenate(parts)
        assert samples == 50 and np.array_equal(found["t"], events.t + OFFSET)
        assert np.array_equal(found["x"], events.x) and np.array_equal(found["on"], events.p == 1)
