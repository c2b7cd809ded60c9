"""AEDAT 2.0: header traps, layouts, clock wraps, damage; and the writer."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from eventhpe.errors import FormatError
from eventhpe.events.blocks import Columns, Side, read_stored
from eventhpe.events.formats.aedat2 import Aedat2Writer, open_reader, read_header, write_aedat2
from eventhpe.events.formats.options import OpenOptions
from eventhpe.events.open import open_recording
from eventhpe.events.types import Events

DAVIS346 = "eu.seebetter.ini.chips.davis.Davis346blue"
DVS128 = "ch.unizh.ini.jaer.chip.retina.DVS128"
MULTI = "ch.unizh.ini.jaer.chip.multicamera.MultiDAVIS346BCameraChip"


def write(
    path: Path, chip: str, records: list[tuple[int, int]], *, end_mark: bool = True, extra: bytes = b""
) -> Path:
    lines = [b"#!AER-DAT2.0", b"# This is a raw AE data file - do not edit"]
    lines += [b"# AEChip: " + chip.encode()] if chip else []
    lines += [b"#End Of ASCII Header"] if end_mark else [b"#End of Preferences for this AEChip"]
    data = b"".join(struct.pack(">II", a, t) for a, t in records)
    path.write_bytes(b"".join(line + b"\r\n" for line in lines) + data + extra)
    return path


def davis(x: int, y: int, p: int, camera: int = 0) -> int:
    return (259 - y) << 22 | (345 - x) << 12 | p << 11 | camera


def random_events(n: int, size: tuple[int, int], seed: int = 0, step: int = 50) -> Events:
    rng = np.random.default_rng(seed)
    return Events.from_columns(
        np.cumsum(rng.integers(0, step, n)),
        rng.integers(0, size[1], n),
        rng.integers(0, size[0], n),
        rng.integers(0, 2, n),
        size,
    )


def columns(events: Events) -> list[list[int]]:
    return [getattr(events, c).tolist() for c in "txyp"]


@pytest.mark.parametrize(
    ("chip", "size"),
    [("DAVIS346", (260, 346)), ("DVS128", (128, 128)), ("DAVIS240", (180, 240)), ("DAVIS640", (480, 640))],
)
def test_writer_round_trip_is_exact(tmp_path: Path, chip: str, size: tuple[int, int]) -> None:
    events = random_events(5000, size)
    path = tmp_path / "a.aedat"
    write_aedat2(path, events, chip=chip, t_offset_us=1_000)
    with open_recording(path) as recording:
        assert recording.sensor_size == size and recording.warnings == ()
        raw = recording.read_raw()
        assert np.array_equal(raw.t, events.t + 1000)
        back = recording.read()
        assert recording.t_offset_us == 1000 + events.t[0]
        for column in "xyp":
            assert np.array_equal(getattr(back, column), getattr(events, column))
    again = tmp_path / "b.aedat"
    write_aedat2(again, back, chip=chip, t_offset_us=recording.t_offset_us)
    assert again.read_bytes() == path.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.aedat", "b.aedat"]


def test_writer_refuses_what_the_format_cannot_hold(tmp_path: Path) -> None:
    events = random_events(10, (260, 346))
    with pytest.raises(FormatError, match="sensor_size"):
        write_aedat2(tmp_path / "a", events, chip="DVS128")
    with pytest.raises(FormatError, match="32-bit"):
        write_aedat2(tmp_path / "a", events, t_offset_us=1 << 33)
    with pytest.raises(FormatError, match="cannot write"):
        write_aedat2(tmp_path / "a", events, chip="DAVIS208")
    gap = Events.from_columns([0, 1 << 31], [0, 0], [0, 0], [0, 1], (260, 346))
    with pytest.raises(FormatError, match="pause"):
        write_aedat2(tmp_path / "a", gap)
    assert list(tmp_path.iterdir()) == []


def test_writer_carries_times_over_the_wrap(tmp_path: Path) -> None:
    events = Events.from_columns([0, 5, 20], [1, 2, 3], [1, 2, 3], [0, 1, 0], (260, 346))
    write_aedat2(tmp_path / "a.aedat", events, t_offset_us=(1 << 32) - 10)
    with open_recording(tmp_path / "a.aedat") as recording:
        assert recording.read_raw().t.tolist() == [(1 << 32) - 10, (1 << 32) - 5, (1 << 32) + 10]
        assert columns(recording.read()) == columns(events)


def test_dvs128_polarity_and_axes(tmp_path: Path) -> None:
    on_at_lower_right = 0
    off_at_upper_left = 127 << 8 | 127 << 1 | 1
    path = write(
        tmp_path / "a.aedat", DVS128, [(on_at_lower_right, 10), (off_at_upper_left, 20), (0x8000, 30)]
    )
    with open_recording(path) as recording:
        assert columns(recording.read()) == [[0, 10], [127, 0], [127, 0], [1, 0]]
        assert recording.triggers is not None and recording.triggers.t_us.tolist() == [20]


def test_dvs640_bits(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.aedat", "ch.unizh.ini.jaer.chip.retina.DVS640", [(479 << 11 | 639 << 1 | 1, 5), (0, 6)]
    )
    with open_recording(path) as recording:
        assert recording.sensor_size == (480, 640)
        assert columns(recording.read()) == [[0, 1], [0, 639], [0, 479], [1, 0]]


def test_davis_special_aps_and_imu_words_are_told_apart(tmp_path: Path) -> None:
    aps, imu, falling, rising, pulse = 1 << 31 | 5, 1 << 31 | 3 << 10, 0x402, 0x403, 0x404
    records = [
        (aps, 1),
        (davis(3, 4, 1), 2),
        (imu, 3),
        (falling, 4),
        (rising, 5),
        (pulse, 6),
        (davis(5, 6, 0), 7),
    ]
    path = write(tmp_path / "a.aedat", DAVIS346, records)
    with open_recording(path) as recording:
        assert columns(recording.read()) == [[0, 5], [3, 5], [4, 6], [1, 0]]
        assert recording.warnings == ("1 incomplete APS frames skipped", "1 incomplete IMU samples skipped")
        triggers = recording.triggers
        assert triggers is not None
        assert triggers.t_us.tolist() == [2, 3, 4] and triggers.value.tolist() == [0, 1, 2]
    _, side = read_stored(open_reader(path, OpenOptions("aedat2")))
    assert side.elements == {"APS words": 1, "IMU words": 1, "special words": 3}


@pytest.mark.parametrize("end_mark", [True, False])
@pytest.mark.parametrize("row", [116, 117, 119])
def test_first_address_byte_that_looks_like_a_header_line(tmp_path: Path, end_mark: bool, row: int) -> None:
    records = [(davis(10, row, 1), 700_000_000), (davis(11, row, 0), 700_000_010)]
    path = write(tmp_path / "a.aedat", DAVIS346, records, end_mark=end_mark)
    assert struct.pack(">I", records[0][0])[:1] == b"#"
    with open_recording(path) as recording:
        assert columns(recording.read()) == [[0, 10], [10, 11], [row, row], [1, 0]]


def test_data_that_look_like_a_line_but_for_control_characters(tmp_path: Path) -> None:
    # Without an end mark: the record starts with "#" and a CR LF follows soon, with a control byte between.
    records = [(int.from_bytes(b"#abc", "big"), int.from_bytes(b"\x01d\r\n", "big"))]
    path = write(tmp_path / "a.aedat", DAVIS346, records, end_mark=False)
    assert path.stat().st_size - read_header(path).length == 8


def test_long_header(tmp_path: Path) -> None:
    path = tmp_path / "a.aedat"
    preferences = b"".join(b'#  <entry key="Bias.%d" value="\xfc"/>\r\n' % k for k in range(6000))
    data = struct.pack(">II", davis(1, 2, 1), 9)
    path.write_bytes(b"#!AER-DAT2.0\r\n# AEChip: " + DAVIS346.encode() + b"\r\n" + preferences + data)
    assert len(preferences) > 180_000
    with open_recording(path) as recording:
        assert columns(recording.read()) == [[0], [1], [2], [1]]


def test_unknown_chip_asks_for_the_sensor(tmp_path: Path) -> None:
    for chip in ("", "ch.unizh.ini.jaer.chip.cochlea.CochleaAMS"):
        path = write(tmp_path / "a.aedat", chip, [(davis(1, 2, 1), 9)])
        with pytest.raises(FormatError, match=r"DVS128, .*DAVIS346"):
            open_recording(path)
        assert open_recording(path, sensor="davis346").sensor_size == (260, 346)
    with pytest.raises(FormatError, match="no address layout"):
        open_recording(path, sensor="IMX636")
    with pytest.raises(FormatError, match="unknown sensor"):
        open_recording(path, sensor="kodak")


def test_wrap_backward_steps_and_stable_sorting(tmp_path: Path) -> None:
    top = (1 << 32) - 4
    records = [
        (davis(1, 0, 1), top),
        (davis(2, 0, 1), 3),
        (davis(3, 0, 0), 1),
        (davis(4, 0, 1), 3),
        (davis(5, 0, 1), top + 2),
    ]
    with open_recording(write(tmp_path / "a.aedat", DAVIS346, records)) as recording:
        full = 1 << 32
        assert recording.read_raw().t.tolist() == [top, full + 3, full + 1, full + 3, top + 2]
        assert recording.read().x.tolist() == [1, 5, 3, 2, 4]
        assert any("backwards at 2" in note for note in recording.warnings)


def test_events_outside_the_sensor_are_dropped_and_counted(tmp_path: Path) -> None:
    bad_row = 1283457026 & ~0xF  # a word of a real damaged file: raw row 306 of a 260-row sensor
    path = write(tmp_path / "a.aedat", DAVIS346, [(davis(1, 2, 1), 5), (bad_row, 6), (davis(3, 4, 0), 7)])
    with open_recording(path) as recording:
        assert columns(recording.read()) == [[0, 2], [1, 3], [2, 4], [1, 0]]
        assert recording.warnings == ("1 events outside the 346x260 sensor dropped",)
        raw = recording.read_raw()
        assert len(raw) == 3 and raw.y[1] >= 260


def test_four_cameras_in_one_file(tmp_path: Path) -> None:
    records = [(davis(k, k, 1, camera=k % 4 if k < 12 else 2), 100 + k) for k in range(20)] + [
        (davis(9, 9, 0, camera=5), 200)
    ]
    path = write(tmp_path / "a.aedat", MULTI, records)
    with open_recording(path) as recording:
        assert recording.streams == ("camera0", "camera1", "camera2", "camera3")
        assert recording.num_events == 11  # camera 2 has most
        assert np.bincount(recording.read_raw().camera).tolist() == [3, 3, 11, 3, 0, 1]
        assert any("camera number above 3" in note for note in recording.warnings)
        assert pickle.loads(pickle.dumps(recording)).num_events == 11
    assert open_recording(path, stream=1).read().x.tolist() == [1, 5, 9]
    assert open_recording(path, stream="camera3").read().x.tolist() == [3, 7, 11]
    with pytest.raises(FormatError, match="no event stream"):
        open_recording(path, stream=4)


def test_many_blocks_equal_one_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = random_events(3000, (260, 346), step=4_000_000)
    write_aedat2(tmp_path / "a.aedat", events)
    whole = open_recording(tmp_path / "a.aedat").read_raw()
    monkeypatch.setattr("eventhpe.events.formats.aedat2_words.BLOCK_EVENTS", 7)
    blocks = open_recording(tmp_path / "a.aedat").read_raw()
    assert int(whole.t[-1]) > 1 << 32
    for column in "txyp":
        assert np.array_equal(getattr(whole, column), getattr(blocks, column))


def test_writer_by_blocks_equals_writer_at_once(tmp_path: Path) -> None:
    events = random_events(1000, (180, 240))
    write_aedat2(tmp_path / "a.aedat", events, chip="DAVIS240")
    with Aedat2Writer(tmp_path / "b.aedat", (180, 240)) as writer:
        for i, j in ((0, 300), (300, 300), (300, 999), (999, 1000)):
            writer.append(events.slice(i, j))
    assert (tmp_path / "b.aedat").read_bytes() == (tmp_path / "a.aedat").read_bytes()
    with (
        pytest.raises(FormatError, match="must not decrease"),
        Aedat2Writer(tmp_path / "c", (180, 240)) as writer,
    ):
        writer.append(events.slice(500, 600))
        writer.append(events.slice(0, 5))
    with pytest.raises(FormatError, match="256x128"):
        Aedat2Writer(tmp_path / "c", (128, 256))
    with Aedat2Writer(tmp_path / "d.aedat", (180, 240), comment="by\r\nme") as writer:
        writer.append(events)
    assert b"\r\n# by me\r\n" in (tmp_path / "d.aedat").read_bytes()
    assert np.array_equal(open_recording(tmp_path / "d.aedat").read().x, events.x)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.aedat", "b.aedat", "d.aedat"]


def test_several_dvs128_in_one_file(tmp_path: Path) -> None:
    chip = "ch.unizh.ini.jaer.chip.multicamera.MultiDVS128CameraChip"
    records = [(k % 3 << 24 | k << 8 | 5 << 1, 10 + k) for k in range(30)] + [(2 << 24 | 0x8000, 50)]
    path = write(tmp_path / "a.aedat", chip, records)
    raw, side = read_stored(open_reader(path, OpenOptions("aedat2")))
    assert raw.camera.tolist() == [k % 3 for k in range(30)]
    assert raw.y.tolist() == [127 - k for k in range(30)] and set(raw.x.tolist()) == {122}
    triggers = side.triggers(0)
    assert triggers is not None and triggers.t_us.tolist() == [50]


@pytest.mark.parametrize("chip", [DAVIS346, DVS128, MULTI])
def test_reader_equals_plain_numpy_over_chunk_and_block_borders(
    tmp_path: Path, chip: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventhpe.events.formats.aedat2_words.BLOCK_EVENTS", 5000)
    monkeypatch.setattr("eventhpe.events.formats.aedat2_words.STEP", 3000)
    rng = np.random.default_rng(5)
    n = 20_000
    address = rng.integers(0, 1 << 31, n) & ~0x400
    address[::4001] |= 0x400 if chip != DVS128 else 0  # few, so that both ways through the kernel are taken
    t = np.cumsum(rng.integers(0, 1_000_000, n))  # wraps twice
    t[7000] -= 500_000
    if chip == DVS128:
        address &= 0x7FFF
        address[::4001] |= 0x8000
    path = write(
        tmp_path / "a.aedat", chip, list(zip(address.tolist(), (t & 0xFFFFFFFF).tolist(), strict=True))
    )
    raw, side = read_stored(open_reader(path, OpenOptions("aedat2")))
    special = address & (0x8000 if chip == DVS128 else 0x400) != 0
    a = address[~special]
    expected = (
        (127 - (a >> 1 & 127), 127 - (a >> 8 & 127), 1 - (a & 1), a * 0)
        if chip == DVS128
        else (
            345 - (a >> 12 & 0x3FF),
            259 - (a >> 22 & 0x1FF),
            a >> 11 & 1,
            a & 15 if chip == MULTI else a * 0,
        )
    )
    assert int(t[-1]) > 2 << 32
    assert np.array_equal(raw.t, t[~special])
    for column, values in zip("x y p camera".split(), expected, strict=True):
        got = getattr(raw, column)
        assert np.array_equal(got, values.astype(got.dtype))
    triggers = side.triggers(0)
    assert triggers is not None and triggers.t_us.tolist() == sorted(t[special].tolist())


def test_blocks_do_not_depend_on_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventhpe.events.formats.aedat2_words.BLOCK_EVENTS", 100)
    write_aedat2(tmp_path / "a.aedat", random_events(950, (260, 346), step=30_000_000))
    reader = open_reader(tmp_path / "a.aedat", OpenOptions("aedat2"))
    raw, _ = read_stored(reader)
    checkpoints, at = [], reader.first()
    while at is not None:
        checkpoints.append(at)
        _, at = reader.decode(at, Columns(), Side())
    assert len(checkpoints) == 10
    for k in reversed(range(10)):
        out = Columns()
        n, _ = pickle.loads(pickle.dumps(reader)).decode(checkpoints[k], out, Side())
        assert np.array_equal(out.t[:n], raw.t[100 * k : 100 * k + n])


def test_cut_at_every_byte(tmp_path: Path) -> None:
    events = random_events(12, (260, 346))
    path = tmp_path / "a.aedat"
    write_aedat2(path, events)
    content = path.read_bytes()
    header = read_header(path).length
    full = columns(open_recording(path, format="aedat2").read())
    for size in range(len(content)):
        path.write_bytes(content[:size])
        if size < header - len(b"#End Of ASCII Header\r\n"):
            with pytest.raises(FormatError):
                open_recording(path, format="aedat2")
            continue
        with open_recording(path, format="aedat2") as recording:
            if size < header:
                assert recording.num_events <= 2  # half an end mark may pass for records
                continue
            whole, rest = divmod(size - header, 8)
            assert columns(recording.read()) == [column[:whole] for column in full]
            assert (f"{rest} bytes at the end are no complete record; ignored" in recording.warnings) == bool(
                rest
            )


def test_random_damage_gives_a_result_or_a_format_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    path = tmp_path / "a.aedat"
    write_aedat2(path, random_events(40, (260, 346)))
    content = path.read_bytes()
    opened = 0
    for _ in range(300):
        damaged = bytearray(content)
        for position in rng.integers(0, len(content), rng.integers(1, 6)):
            damaged[position] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            with open_recording(path, format="aedat2") as recording:
                events = recording.read()
                recording.info()
        except FormatError:
            continue
        opened += 1
        assert (np.diff(events.t) >= 0).all()
        assert not len(events) or (events.x.max() < 346 and events.y.max() < 260 and events.p.max() <= 1)
    assert opened > 100
