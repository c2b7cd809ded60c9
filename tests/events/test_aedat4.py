"""AEDAT 4: containers built by hand, damage, several streams, frames and triggers."""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import numpy as np
import pytest
import zstandard

from eventhpe.errors import FormatError
from eventhpe.events import kernels_aedat4, kernels_lz4
from eventhpe.events.blocks import BLOCK_EVENTS, Columns, Side, read_stored
from eventhpe.events.formats import flatbuffer
from eventhpe.events.formats.aedat4 import Aedat4Reader, open_reader
from eventhpe.events.formats.aedat4_container import decompress, read_header
from eventhpe.events.formats.options import OpenOptions
from eventhpe.events.open import open_recording

Fields = list  # each None, (struct code, value), ("vector", bytes, count) or ("tables", [fields, ...])


def _table(buffer: bytearray, fields: Fields) -> int:
    """Append a table and what it refers to; returns its position."""
    offsets, inline, size = [], [], 4
    for item in fields:
        code = None if item is None else item[0] if item[0].startswith("<") else "<I"
        width = struct.calcsize(code) if code else 0
        size += -size % width if width else 0
        offsets.append(size if width else 0)
        inline.append(code)
        size += width
    vtable = len(buffer)
    buffer += struct.pack(f"<HH{len(fields)}H", 4 + 2 * len(fields), size, *offsets)
    buffer += bytes(-len(buffer) % 8)
    position = len(buffer)
    buffer += struct.pack("<i", position - vtable) + bytes(size - 4)
    for item, offset, code in zip(fields, offsets, inline, strict=True):
        if item is None:
            continue
        at = position + offset
        if item[0].startswith("<"):
            struct.pack_into(code, buffer, at, item[1])
            continue
        buffer += bytes((4 - len(buffer)) % 8)  # the count ends on 8, so that 8-byte items are aligned
        start = len(buffer)
        struct.pack_into("<I", buffer, at, start - at)
        if item[0] == "vector":
            buffer += struct.pack("<I", item[2]) + item[1]
            continue
        buffer += struct.pack("<I", len(item[1])) + bytes(4 * len(item[1]))
        for k, fields_k in enumerate(item[1]):
            slot = start + 4 + 4 * k
            struct.pack_into("<I", buffer, slot, _table(buffer, fields_k) - slot)
    return position


def flat(kind: bytes, fields: Fields) -> bytes:
    buffer = bytearray(12)
    buffer[8:12] = kind
    root = _table(buffer, fields)
    struct.pack_into("<II", buffer, 0, len(buffer) - 4, root - 4)
    return bytes(buffer)


def events_packet(rows: list[tuple[int, int, int, int]]) -> bytes:
    body = b"".join(struct.pack("<qhhB3x", *row) for row in rows)
    return flat(b"EVTS", [("vector", body, len(rows))])


def frame_packet(t: int, image: np.ndarray, code: int = 0, corner: tuple[int, int] = (0, 0)) -> bytes:
    h, w = image.shape[:2]
    scalars: Fields = [("<q", t), None, None, ("<q", t - 50), ("<q", t + 50), ("<b", code)]
    scalars += [("<h", w), ("<h", h), ("<h", corner[0]), ("<h", corner[1])]
    return flat(b"FRME", [*scalars, ("vector", image.astype(np.uint8).tobytes(), image.size)])


def trigger_packet(rows: list[tuple[int, int]]) -> bytes:
    return flat(b"TRIG", [("tables", [[("<q", t), ("<b", s)] for t, s in rows])])


def stream(
    number: int,
    kind: str,
    *,
    size: tuple[int, int] | None = (6, 8),
    name: str = "cam",
    module: str = "capture",
) -> str:
    attributes = f'<attr key="sizeX">{size[1]}</attr><attr key="sizeY">{size[0]}</attr>' if size else ""
    return (
        f'<node name="{number}"><attr key="originalModuleName">{module}</attr>'
        f'<attr key="typeIdentifier">{kind}</attr>'
        f'<node name="info">{attributes}<attr key="source">{name}</attr></node></node>'
    )


def compress(data: bytes, compression: int) -> bytes:
    if compression in (1, 2):
        with lz4.frame.LZ4FrameCompressor(block_linked=True) as c:
            return c.begin() + c.compress(data) + c.flush()
    if compression in (3, 4):
        return zstandard.ZstdCompressor(write_content_size=compression == 4).compress(data)
    return data


def build(
    streams: list[str],
    packets: list[tuple[int, bytes]],
    *,
    compression: int = 1,
    table: bool = True,
    squeeze: Callable[[bytes], bytes] | None = None,
) -> bytes:
    xml = f'<dv version="2.0"><node name="outInfo">{"".join(streams)}</node></dv>'.encode()
    body = b"".join(
        struct.pack("<ii", k, len(p)) + p
        for k, p in ((k, squeeze(p) if squeeze else compress(p, compression)) for k, p in packets)
    )

    def header(position: int) -> bytes:
        return flat(b"IOHE", [("<i", compression), ("<q", position), ("vector", xml, len(xml))])

    start = 14 + len(header(0))
    end = compress(flat(b"FTAB", [("vector", b"", 0)]), compression) if table else b""
    return b"#!AER-DAT4.0\r\n" + header(start + len(body) if table else -1) + body + end


def packets_of(content: bytes, start: int) -> list[tuple[int, int, int]]:
    """(stream, position of the payload, size) of the packets of a complete file, by the plain rule."""
    packets, position = [], start
    while position + 8 <= len(content):
        number, size = struct.unpack_from("<ii", content, position)
        if size < 0 or position + 8 + size > len(content):
            break
        packets.append((number, position + 8, size))
        position += 8 + size
    return packets


ROWS = [[(1000 + 10 * i + j, (i + j) % 8, j % 6, j % 2) for j in range(5)] for i in range(4)]
FLAT_ROWS = [row for rows in ROWS for row in rows]


def simple(compression: int = 1, table: bool = True) -> bytes:
    packets = [(0, events_packet(rows)) for rows in ROWS]
    packets.insert(2, (1, trigger_packet([(1012, 1), (1013, 2), (1014, 3), (1015, 8)])))
    return build(
        [stream(0, "EVTS"), stream(1, "TRIG", size=None)], packets, compression=compression, table=table
    )


@pytest.mark.parametrize("compression", [0, 1, 2, 3, 4])
def test_reads_what_was_put_in(tmp_path: Path, compression: int) -> None:
    (tmp_path / "a.aedat4").write_bytes(simple(compression))
    with open_recording(tmp_path / "a.aedat4") as recording:
        raw = recording.read_raw()
        assert list(zip(*(getattr(raw, c).tolist() for c in "txyp"), strict=True)) == FLAT_ROWS
        assert recording.t_offset_us == 1000 and recording.read().t[0] == 0
        assert recording.sensor_size == (6, 8) and recording.warnings == ()
        triggers = recording.triggers
        assert triggers is not None
        assert triggers.t_us.tolist() == [12, 13, 14] and triggers.value.tolist() == [1, 0, 2]
        again = pickle.loads(pickle.dumps(recording))
        assert np.array_equal(again.read().t, recording.read().t)


def test_interrupted_recording_without_table(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(simple(table=False))
    with open_recording(tmp_path / "a") as recording:
        assert recording.num_events == len(FLAT_ROWS)
        assert any("interrupted" in note for note in recording.warnings)


def test_cut_at_every_byte(tmp_path: Path) -> None:
    content = simple()
    path = tmp_path / "a"
    path.write_bytes(content)
    header = read_header(path)
    packets = packets_of(content[: header.table_position], header.data_start)
    ends = [(position + size, 5 if number == 0 else 0) for number, position, size in packets]
    for size in range(len(content)):
        path.write_bytes(content[:size])
        try:
            with open_recording(path) as recording:
                raw = recording.read_raw()
                notes = recording.warnings
        except FormatError:
            assert size < header.data_start
            continue
        expected = sum(n for end, n in ends if end <= size)
        assert list(zip(*(getattr(raw, c).tolist() for c in "txyp"), strict=True)) == FLAT_ROWS[:expected]
        if size < header.table_position:
            assert any("cut" in note for note in notes)
            last = max([header.data_start, *(end for end, _ in ends if end <= size)])
            assert any(f"{size - last:,} bytes after the last complete packet" in note for note in notes) == (
                size > last
            )


@pytest.mark.parametrize("compression", [0, 1, 3])
def test_random_damage_gives_a_result_or_a_format_error(tmp_path: Path, compression: int) -> None:
    rng = np.random.default_rng(compression)
    content = simple(compression)
    path = tmp_path / "a"
    opened = 0
    for _ in range(200):
        damaged = bytearray(content)
        for position in rng.integers(0, len(content), rng.integers(1, 5)):
            damaged[position] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            with open_recording(path) as recording:
                events = recording.read()
                recording.info()
        except FormatError:
            continue
        opened += 1
        assert (np.diff(events.t) >= 0).all()
        height, width = events.sensor_size
        assert not len(events) or (events.x.max() < width and events.y.max() < height and events.p.max() <= 1)
    assert opened > 20


def test_damaged_packet_is_skipped_and_told(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(simple())
    content = bytearray(path.read_bytes())
    _, position, _ = packets_of(content, read_header(path).data_start)[1]
    content[position : position + 4] = b"\0\0\0\0"
    path.write_bytes(content)
    with open_recording(path) as recording:
        assert recording.num_events == len(FLAT_ROWS) - 5
        assert any(
            f"1 damaged packets skipped, the first at byte {position}" in n for n in recording.warnings
        )


def test_several_event_streams(tmp_path: Path) -> None:
    packets = [(0, events_packet(ROWS[0])), (3, events_packet(ROWS[1])), (3, events_packet(ROWS[2]))]
    path = tmp_path / "a"
    path.write_bytes(
        build([stream(0, "EVTS", name="left"), stream(3, "EVTS", name="right", size=(12, 16))], packets)
    )
    with open_recording(path) as recording:
        assert recording.streams == ("left", "right") and recording.num_events == 10
        assert recording.sensor_size == (12, 16)
        assert recording.read_raw().camera.tolist() == [0] * 5 + [1] * 10
        assert any("choose with stream=" in note for note in recording.warnings)
    with open_recording(path, stream="left") as recording:
        assert recording.num_events == 5 and recording.sensor_size == (6, 8)
    with pytest.raises(FormatError, match="0 = left, 1 = right"):
        open_recording(path, stream=2)


def test_frames_gray_colour_and_partial(tmp_path: Path) -> None:
    image = np.arange(48).reshape(6, 8)
    colour = np.zeros((6, 8, 3), np.uint8)
    colour[..., 1] = 200
    part = np.full((2, 3), 9, np.uint8)
    packets = [
        (0, events_packet(ROWS[0])),
        (1, frame_packet(2000, image)),
        (1, frame_packet(1500, colour, code=16)),
        (1, frame_packet(2500, part, corner=(5, 4))),
    ]
    path = tmp_path / "a"
    path.write_bytes(build([stream(0, "EVTS"), stream(1, "FRME")], packets))
    with open_recording(path) as recording:
        frames = recording.frames
        assert frames is not None and frames.t_us.tolist() == [500, 1000, 1500]
        assert np.array_equal(frames[1], image)
        assert (frames[0] == (150 * 200 + 128) >> 8).all()
        assert frames[2].sum() == 9 * 6 and (frames[2][4:, 5:] == 9).all()
        assert np.array_equal(pickle.loads(pickle.dumps(frames))[1], image)


def test_rows_of_jaer_files_count_from_below(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(
        build([stream(0, "EVTS", module="jAER")], [(0, events_packet([(5, 1, 0, 1), (6, 2, 5, 0)]))])
    )
    with open_recording(path) as recording:
        assert recording.read().y.tolist() == [5, 0]


def test_sensor_size_can_be_given(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(build([stream(0, "EVTS", size=None)], [(0, events_packet(ROWS[0]))]))
    with pytest.raises(FormatError, match="sensor="):
        open_recording(path)
    assert open_recording(path, sensor="8x6").num_events == 5


def test_pixels_outside_the_sensor_are_dropped(tmp_path: Path) -> None:
    rows = [(5, 1, 0, 1), (6, 8, 0, 1), (7, -1, 0, 1), (8, 3, 6, 0)]
    path = tmp_path / "a"
    path.write_bytes(build([stream(0, "EVTS")], [(0, events_packet(rows))]))
    with open_recording(path) as recording:
        assert recording.read().t.tolist() == [0]
        assert recording.warnings == ("3 events outside the 8x6 sensor dropped",)


def test_no_events_and_unknown_packets(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(build([stream(0, "EVTS"), stream(2, "BBOX")], [(2, flat(b"BBOX", [None]))]))
    with open_recording(path) as recording:
        info = recording.info()
        assert info.num_events == 0 and info.t_first_us is None and info.x_min is None
        assert any("BBOX" in note for note in info.warnings)
    path.write_bytes(build([stream(1, "TRIG")], [(1, trigger_packet([(1, 1)]))]))
    with pytest.raises(FormatError, match="no event stream"):
        open_recording(path)


def test_declarations_in_the_xml_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(build(["<!-- x -->", stream(0, "EVTS")], []))
    with pytest.raises(FormatError, match="XML declarations"):
        open_recording(path)


def test_bombs_stop_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventhpe.events.formats.aedat4_container.MAX_PACKET_BYTES", 1 << 20)
    data = bytes(32 << 20)
    for compression in (1, 3, 4):
        with pytest.raises(FormatError, match="grows past"):
            decompress(compress(data, compression), compression)
    lying = bytearray(lz4.frame.compress(b"abc" * 100, store_size=True))
    with pytest.raises(FormatError):
        decompress(bytes(lying[:-6]), 1)


def reader_of(path: Path, content: bytes) -> Aedat4Reader:
    path.write_bytes(content)
    return open_reader(path, OpenOptions("aedat4"))


def test_real_recordings_give_the_known_numbers(shared: Path) -> None:
    folder = shared / "events"
    entries = [e for e in json.loads((folder / "facts.json").read_text())["files"] if "aedat4" in e["path"]]
    assert len(entries) == 15
    for entry in entries:
        reader = open_reader(folder / entry["path"], OpenOptions("aedat4"))
        raw, side = read_stored(reader)
        facts = entry["facts"]
        step = np.diff(raw.t)
        found = {
            "n": len(raw),
            "t_first": int(raw.t[0]),
            "t_last": int(raw.t[-1]),
            "t_min": int(raw.t.min()),
            "t_max": int(raw.t.max()),
            "duration_us": int(raw.t.max() - raw.t.min()),
            "n_backward_steps": int((step < 0).sum()),
            "n_on": int((raw.p == 1).sum()),
            "n_off": int((raw.p == 0).sum()),
            "sum_x": int(raw.x.sum(dtype=np.int64)),
            "sum_y": int(raw.y.sum(dtype=np.int64)),
            "sum_t_minus_first": int((raw.t - raw.t[0]).sum()),
            **{f"{c}_{f}": int(getattr(getattr(raw, c), f)()) for c in "xy" for f in ("min", "max")},
        }
        assert found == facts, entry["path"]
        header = entry.get("header", {})
        for elements in header.get("elements_by_stream", {}).values():
            for kind, number in elements.items():
                assert side.elements[kind] == number, (entry["path"], kind)
        assert side.elements["packets"] == header.get("packets", side.elements["packets"])
        assert side.warnings() == ()
        imu = side.imu(0)
        assert (0 if imu is None else len(imu)) == side.elements["IMUS"]
        if imu is not None:  # a camera at rest feels 1 g; sensors run at some 30 degrees
            assert 0.95 < np.linalg.norm(imu.accel.mean(0)) < 1.1
            assert (imu.temperature > 20).all() and (imu.temperature < 50).all()
        assert len(side.frames) == side.elements["FRME"]
        for frame in side.frames:
            image = reader.load_frame(frame.ref)
            assert image.shape == reader.sensor_size and image.std() > 5


def imu_packet(rows: list[Fields]) -> bytes:
    return flat(b"IMUS", [("tables", rows)])


def test_imu_is_decoded_and_absent_fields_are_zero(tmp_path: Path) -> None:
    full: Fields = [
        ("<q", 1000),
        *(("<f", v) for v in (31.5, 0.1, -1.0, 0.25, 5.0, -6.0, 7.5, 1.0, 1.0, 1.0)),
    ]
    short: Fields = [("<q", 2000), None, None, ("<f", 2.0)]
    packets = [(2, imu_packet([full, short])), (0, events_packet(ROWS[0])), (2, imu_packet([short]))]
    content = build([stream(0, "EVTS"), stream(2, "IMUS", size=None)], packets)
    raw, side = read_stored(reader_of(tmp_path / "a", content))
    imu = side.imu(1000)
    assert imu is not None and imu.t_us.tolist() == [0, 1000, 1000]
    assert np.array_equal(imu.accel, np.array([[0.1, -1.0, 0.25], [0, 2, 0], [0, 2, 0]], np.float32))
    assert np.array_equal(imu.gyro, np.array([[5.0, -6.0, 7.5], [0, 0, 0], [0, 0, 0]], np.float32))
    assert imu.temperature.tolist() == [31.5, 0.0, 0.0]
    assert side.elements == {"IMUS": 3, "EVTS": 5, "packets": 3} and len(raw) == 5


def test_triggers_of_generators_have_channel_1_and_marks_are_counted(tmp_path: Path) -> None:
    rows = [(10, 0), (11, 1), (12, 2), (13, 3), (14, 4), (15, 5), (16, 6), (17, 9), (18, 100)]
    packets = [(1, trigger_packet(rows)), (0, events_packet(ROWS[0]))]
    content = build([stream(0, "EVTS"), stream(1, "TRIG", size=None)], packets)
    _, side = read_stored(reader_of(tmp_path / "a", content))
    triggers = side.triggers(0)
    assert triggers is not None and triggers.t_us.tolist() == [11, 12, 13, 14, 15]
    assert triggers.value.tolist() == [1, 0, 2, 1, 0] and triggers.channel.tolist() == [0, 0, 0, 1, 1]
    assert side.elements["TRIG"] == 9
    assert side.elements["time resets"] == 1 and side.elements["frame and exposure marks"] == 3


def many_events(n: int, packet: int) -> list[tuple[int, bytes]]:
    rng = np.random.default_rng(n)
    rows = np.zeros(n, np.dtype([("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "u1"), ("_", "V3")]))
    rows["t"] = np.cumsum(rng.integers(0, 9, n))
    rows["x"], rows["y"], rows["p"] = rng.integers(0, 8, n), rng.integers(0, 6, n), rng.integers(0, 2, n)
    parts = [rows[k : k + packet] for k in range(0, n, packet)]
    return [(0, flat(b"EVTS", [("vector", part.tobytes(), len(part))])) for part in parts]


@pytest.mark.parametrize(
    ("compression", "packet"), [(0, 5_000), (1, 5_000), (3, 9_999), (1, 300_000), (0, 300_000)]
)
def test_blocks_are_the_same_from_any_checkpoint(tmp_path: Path, compression: int, packet: int) -> None:
    content = build([stream(0, "EVTS")], many_events(350_000, packet), compression=compression)
    reader = reader_of(tmp_path / "a", content)
    whole, side = read_stored(reader)
    assert (
        len(whole) == 350_000
        and whole.t[-1] == np.cumsum(np.random.default_rng(350_000).integers(0, 9, 350_000))[-1]
    )
    at, sizes, checkpoints = reader.first(), [], []
    while at is not None:
        checkpoints.append(at)
        n, at = reader.decode(at, Columns(), Side())
        sizes.append(n)
    assert sum(sizes) == 350_000
    if packet <= 9_999:
        assert len(sizes) == 3 and max(sizes) <= BLOCK_EVENTS < max(sizes) + packet
    again = pickle.loads(pickle.dumps(reader))
    for k in reversed(range(len(sizes))):
        columns = Columns(BLOCK_EVENTS + 123 * k)
        n, _ = again.decode(checkpoints[k], columns, Side())
        start = sum(sizes[:k])
        assert n == sizes[k]
        for name in "txyp":
            assert np.array_equal(getattr(columns, name)[:n], getattr(whole, name)[start : start + n])
    assert side.elements["packets"] == -(-350_000 // packet)


def test_blocks_can_be_read_after_a_fork(tmp_path: Path) -> None:
    reader = reader_of(tmp_path / "a", simple())
    expected, _ = read_stored(reader)
    child = os.fork()
    if child == 0:
        raw, _ = read_stored(reader)
        os._exit(0 if np.array_equal(raw.t, expected.t) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_damage_to_a_size_costs_one_packet(tmp_path: Path) -> None:
    for compression in (0, 1, 3):
        content = bytearray(simple(compression))
        (tmp_path / "a").write_bytes(content)
        header = read_header(tmp_path / "a")
        found = packets_of(bytes(content[: header.table_position]), header.data_start)
        for k, (number, position, size) in enumerate(found):
            for field, value in ((-8, 77), (-4, 2**30), (-4, -5)):
                hurt = bytearray(content)
                struct.pack_into("<i", hurt, position + field, value)
                raw, side = read_stored(reader_of(tmp_path / "a", bytes(hurt)))
                lost = 5 if number == 0 else 0
                assert len(raw) == 20 - lost
                last = k == len(found) - 1
                told = "after the last complete packet" if last else "that are no packets"
                if field == -4:
                    assert any(f"{size + 8:,} bytes {told}" in note for note in side.warnings())


@pytest.mark.parametrize("options", [{}, {"write_checksum": True}, {"write_content_size": False}])
def test_a_size_that_swallows_the_next_packet_loses_nothing(tmp_path: Path, options: dict[str, bool]) -> None:
    for compression in (0, 1, 3):
        content = bytearray(simple(compression))
        if compression == 3 and options:
            packets = [(0, events_packet(rows)) for rows in ROWS]
            squeeze = zstandard.ZstdCompressor(**options).compress
            content = bytearray(build([stream(0, "EVTS")], packets, compression=3, squeeze=squeeze))
        (tmp_path / "a").write_bytes(content)
        header = read_header(tmp_path / "a")
        (_, position, size), following = packets_of(content[: header.table_position], header.data_start)[:2]
        struct.pack_into("<i", content, position - 4, size + 8 + following[2])
        raw, side = read_stored(reader_of(tmp_path / "a", bytes(content)))
        assert raw.t.tolist() == [row[0] for row in FLAT_ROWS]
        assert side.warnings() == ("1 packets with a wrong size, read by their content",)


def test_streams_that_the_header_does_not_name(tmp_path: Path) -> None:
    path = tmp_path / "a"
    packets = [(0, events_packet(ROWS[0])), (7, events_packet(ROWS[1])), (0, events_packet(ROWS[2]))]
    raw, side = read_stored(reader_of(path, build([stream(0, "EVTS")], packets)))
    assert raw.t.tolist() == [row[0] for row in ROWS[0] + ROWS[2]]
    assert any(note.startswith("5 events in packets of streams") for note in side.warnings())
    path.write_bytes(build([], packets))
    with pytest.raises(FormatError, match="sensor="):
        open_reader(path, OpenOptions("aedat4"))
    reader = open_reader(path, OpenOptions("aedat4", sensor="8x6"))
    assert reader.streams == ("stream0", "stream7") and reader.stream_sizes == ((6, 8), (6, 8))
    raw, _ = read_stored(reader)
    assert raw.camera.tolist() == [0] * 5 + [1] * 5 + [0] * 5


def test_cameras_of_different_sizes_and_their_frames(tmp_path: Path) -> None:
    small, large = np.full((6, 8), 3, np.uint8), np.full((12, 16), 4, np.uint8)
    streams = [stream(4, "EVTS", name="b", size=(12, 16)), stream(1, "EVTS", name="a")]
    streams += [stream(2, "FRME", name="a"), stream(5, "FRME", name="b", size=(12, 16))]
    packets = [(4, events_packet(ROWS[0])), (5, frame_packet(9, large)), (2, frame_packet(8, small))]
    reader = reader_of(tmp_path / "a", build(streams, packets))
    raw, side = read_stored(reader)
    assert reader.streams == ("a", "b") and reader.stream_sizes == ((6, 8), (12, 16))
    assert reader.sensor_size == (12, 16) and raw.camera.tolist() == [1] * 5
    assert [frame.camera for frame in side.frames] == [1, 0]
    assert [reader.load_frame(frame.ref).shape for frame in side.frames] == [(12, 16), (6, 8)]
    twins = [stream(0, "EVTS", name="a"), stream(1, "EVTS", name="a")]
    assert reader_of(tmp_path / "b", build(twins, packets[:0])).streams == ("a (stream 0)", "a (stream 1)")


def test_table_that_is_none_and_table_of_jaer(tmp_path: Path) -> None:
    content = simple()
    path = tmp_path / "a"
    path.write_bytes(content)
    position = read_header(path).table_position
    raw, side = read_stored(reader_of(path, content[:position] + bytes(40)))
    assert len(raw) == 20 and any("no table of packets" in note for note in side.warnings())
    plain = content[:position] + flat(b"FTAB", [("vector", b"", 0)])
    raw, side = read_stored(reader_of(path, plain))
    assert len(raw) == 20 and side.warnings() == ()


def test_all_packets_damaged_is_one_error(tmp_path: Path) -> None:
    content = build([stream(0, "EVTS")], [(0, b"nonsense" * 5)] * 3, compression=0)
    with pytest.raises(FormatError, match="none of its 3 packets"):
        read_stored(reader_of(tmp_path / "a", content))


def unpack(frame: bytes, room: int, wide: bool) -> bytes | int:
    source = np.frombuffer(frame + bytes(kernels_lz4.SLACK), np.uint8)
    target = np.full(room + kernels_lz4.SLACK, 0xEE, np.uint8)
    n = kernels_lz4.decode_frame(source.ctypes.data, len(frame), target.ctypes.data, room, wide)
    return bytes(target[:n]) if n >= 0 else n


def lz4_samples() -> list[bytes]:
    rng = np.random.default_rng(7)
    words = [rng.integers(0, 256, k, np.uint8).tobytes() for k in (1, 2, 3, 5, 7, 8, 12, 16, 40, 400)]
    repeated = b"".join(
        words[k] * n for k, n in zip(rng.integers(0, 10, 300), rng.integers(1, 90, 300), strict=True)
    )
    events = events_packet([(10**15 + 7 * k, k % 346, k * k % 260, k % 2) for k in range(9_000)])
    return [
        b"",
        b"a",
        words[9] * 3,
        bytes(200_000),
        repeated,
        rng.integers(0, 256, 150_000, np.uint8).tobytes(),
        events,
    ]


def lz4_frame(data: bytes, **options: object) -> bytes:
    with lz4.frame.LZ4FrameCompressor(**options) as c:
        begin = c.begin(len(data)) if options.get("block_size") == 7 else c.begin()
        return begin + c.compress(data) + c.flush()


@pytest.mark.parametrize("wide", [False, True])
def test_lz4_kernel_equals_the_library(wide: bool) -> None:
    for data in lz4_samples():
        for linked in (True, False):
            for block_size, level in ((4, 0), (5, 9), (7, -3)):
                frame = lz4_frame(data, block_linked=linked, block_size=block_size, compression_level=level)
                assert unpack(frame, len(data), wide) == data
                assert unpack(frame, len(data) + (4 << 20), wide) == data
                if len(data) > 1:
                    assert unpack(frame, len(data) - 1, wide) == kernels_lz4.FULL
                for other in (frame[:-5], frame + b"\0"):
                    assert unpack(other, len(data) + (4 << 20), wide) == kernels_lz4.UNUSUAL
        checked = lz4_frame(data, content_checksum=True)
        assert unpack(checked, len(data) + (1 << 20), wide) == kernels_lz4.UNUSUAL


@pytest.mark.parametrize("wide", [False, True])
def test_damaged_lz4_gives_what_the_library_gives_or_nothing(wide: bool) -> None:
    rng = np.random.default_rng(3)
    frames = [lz4_frame(data[:3_000], block_linked=True) for data in lz4_samples()]
    agreed = 0
    for _ in range(600):
        hurt = bytearray(frames[rng.integers(0, len(frames))])
        for position in rng.integers(7, len(hurt), rng.integers(1, 4)):
            hurt[position] = rng.integers(0, 256)
        frame = bytes(hurt[: rng.integers(7, len(hurt) + 1)] if rng.random() < 0.2 else hurt)
        ours = unpack(frame, 1 << 17, wide)
        try:
            theirs = decompress(frame, 1)
        except FormatError:
            continue
        if ours not in (kernels_lz4.UNUSUAL, kernels_lz4.FULL):
            assert ours == theirs
            agreed += 1
    assert agreed > 50


def test_kernels_equal_the_plain_way() -> None:
    rows = [(10**15 + k, k - 3, 2 * k, k % 3) for k in range(20)]
    data = np.frombuffer(events_packet(rows) + b"x", np.uint8)
    start, count = flatbuffer.Table.root(bytes(data)).vector(0, 16)
    for shift in (0, 1):  # any alignment
        moved = np.concatenate([np.zeros(shift, np.uint8), data])
        for flip in (0, 50):
            out = Columns(25)
            columns = (out.t, out.x, out.y, out.p)
            assert kernels_aedat4.copy_aedat4(moved, start + shift, count, flip, 5, *columns)
            assert out.t[5:].tolist() == [r[0] for r in rows]
            assert out.x[5:].tolist() == [r[1] & 0xFFFF for r in rows]
            assert out.y[5:].tolist() == [49 - r[2] if flip else r[2] for r in rows]
            assert out.p[5:].tolist() == [int(r[3] > 0) for r in rows]
            assert not kernels_aedat4.copy_aedat4(moved, start + shift, count, flip, 6, *columns)
    triggers = trigger_packet([(5, 1), (6, 3)])
    for size in range(len(triggers)):
        part = triggers[:size]
        out_t = np.empty(2, np.int64)
        given = kernels_aedat4.gather_field(np.frombuffer(part, np.uint8), 32, 0, 8, out_t)
        assert not given or out_t.tolist() == [5, 6]
