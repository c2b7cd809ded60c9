"""AEDAT 4: containers built by hand, damage, several streams, frames and triggers."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import lz4.frame
import numpy as np
import pytest
import zstandard

from eventhpe.errors import FormatError
from eventhpe.events.formats.aedat4_container import decompress, read_header, walk
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
    streams: list[str], packets: list[tuple[int, bytes]], *, compression: int = 1, table: bool = True
) -> bytes:
    xml = f'<dv version="2.0"><node name="outInfo">{"".join(streams)}</node></dv>'.encode()
    body = b"".join(
        struct.pack("<ii", k, len(p)) + p
        for k, p in ((k, compress(payload, compression)) for k, payload in packets)
    )

    def header(position: int) -> bytes:
        return flat(b"IOHE", [("<i", compression), ("<q", position), ("vector", xml, len(xml))])

    start = 14 + len(header(0))
    end = compress(flat(b"FTAB", [("vector", b"", 0)]), compression) if table else b""
    return b"#!AER-DAT4.0\r\n" + header(start + len(body) if table else -1) + body + end


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
    packets = walk(path, header).packets
    ends = [(p.position + p.size, 5 if p.stream == 0 else 0) for p in packets]
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
    packet = walk(path, read_header(path)).packets[1]
    content = bytearray(path.read_bytes())
    content[packet.position : packet.position + 4] = b"\0\0\0\0"
    path.write_bytes(content)
    with open_recording(path) as recording:
        assert recording.num_events == len(FLAT_ROWS) - 5
        assert any(
            f"1 damaged packets skipped, the first at byte {packet.position}" in n for n in recording.warnings
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
