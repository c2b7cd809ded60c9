"""AEDAT 3.0 and 3.1: packets built by hand, borders, damage, several sources, frames, IMU, triggers."""

from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from eventhpe.errors import FormatError
from eventhpe.events.blocks import BLOCK_EVENTS, Columns, Side, read_stored
from eventhpe.events.formats import aedat3
from eventhpe.events.formats.aedat3 import Aedat3Reader
from eventhpe.events.formats.options import OpenOptions
from eventhpe.events.types import RawEvents


def header(*sources: str, version: str = "3.1", form: str = "RAW") -> bytes:
    lines = [
        f"#!AER-DAT{version}",
        f"#Format: {form}",
        *sources,
        "#Start-Time: 2020-01-01 00:00:00 (TZ+0000)",
    ]
    lines += ["#!END-HEADER"] if version == "3.1" else []
    return "".join(line + "\r\n" for line in lines).encode()


def packet(
    kind: int,
    body: bytes,
    size: int,
    *,
    source: int = 1,
    overflow: int = 0,
    number: int | None = None,
    capacity: int | None = None,
) -> bytes:
    number = len(body) // size if number is None else number
    capacity = number if capacity is None else capacity
    return struct.pack("<hhiiiiii", kind, source, size, 4, overflow, capacity, number, number) + body


def polarity(
    t: object, x: object, y: object, p: object, *, old: bool = False, valid: object = 1, **k: int
) -> bytes:
    words = np.empty((len(np.atleast_1d(t)), 2), "<u4")
    x, y, p = (np.asarray(a, np.int64) for a in (x, y, p))
    words[:, 0] = (x << 18 | y << 4 if old else x << 17 | y << 2) | p << 1 | valid
    words[:, 1] = t
    return packet(1, words.tobytes(), 8, **k)


def special(kind: int, t: int, valid: int = 1) -> bytes:
    return struct.pack("<Ii", kind << 1 | valid, t)


def imu(t: int, values: list[float], valid: int = 1) -> bytes:
    return struct.pack(f"<Ii{len(values)}f", valid, t, *values)


def frame(
    pixels: NDArray[np.uint16], times: tuple[int, int, int, int], x0: int = 0, y0: int = 0, valid: int = 1
) -> bytes:
    height, width, channels = pixels.shape
    word = channels << 1 | valid
    return struct.pack("<I4i4i", word, *times, width, height, x0, y0) + pixels.astype("<u2").tobytes()


def opened(path: Path, content: bytes, sensor: str | None = None) -> Aedat3Reader:
    path.write_bytes(content)
    return aedat3.open_reader(path, OpenOptions("aedat3", sensor))


def same(raw: RawEvents, t: object, x: object, y: object, p: object) -> bool:
    return all(np.array_equal(getattr(raw, name), c) for name, c in zip("txyp", (t, x, y, p), strict=True))


def made(n: int, seed: int = 0, width: int = 346, height: int = 260) -> tuple[NDArray[np.int64], ...]:
    rng = np.random.default_rng(seed)
    t = np.cumsum(rng.integers(0, 5, n))
    return t, rng.integers(0, width, n), rng.integers(0, height, n), rng.integers(0, 2, n)


def test_golden_bytes(tmp_path: Path) -> None:
    body = struct.pack("<IiIiIi", 345 << 17 | 259 << 2 | 3, 7, 1 << 17 | 2 << 2 | 1, 9, 1 << 17 | 2, 10)
    reader = opened(tmp_path / "a", header("#Source 1: DAVIS346") + packet(1, body, 8, overflow=2))
    raw, side = read_stored(reader)
    assert reader.format == "AEDAT 3.1" and reader.sensor_size == (260, 346)
    assert same(raw, [(2 << 31) + 7, (2 << 31) + 9], [345, 1], [259, 2], [1, 0])
    assert side.warnings() == ("1 events with a valid bit of 0 skipped",)
    assert side.elements == {"packets": 1}


def test_rows_of_version_3_0_count_from_below(tmp_path: Path) -> None:
    content = header("#Source 1: DVS128", version="3.0") + polarity(
        [5, 6], [3, 127], [0, 126], [1, 0], old=True
    )
    reader = opened(tmp_path / "a", content)
    raw, _ = read_stored(reader)
    assert reader.format == "AEDAT 3.0" and same(raw, [5, 6], [3, 127], [127, 1], [1, 0])
    unknown = header("#Source 1: Test", version="3.0") + polarity([5], [3], [0], [1], old=True)
    with pytest.raises(FormatError, match=r"rows from below.*Test"):
        opened(tmp_path / "a", unknown)
    raw, _ = read_stored(opened(tmp_path / "a", unknown, "20x10"))
    assert raw.sensor_size == (10, 20) and raw.y.tolist() == [9]
    many = made(5000)  # both ways through the kernel: some packets have events that are not valid
    valid = np.ones(5000, np.int64)
    valid[::701] = 0
    t, x, y, p = (c[valid > 0] for c in many)
    raw, _ = read_stored(
        opened(tmp_path / "a", header(version="3.0") + polarity(*many, old=True, valid=valid), "DAVIS346")
    )
    assert same(raw, t, x, 259 - y, p)


@pytest.mark.parametrize("buffer", [64, 1000, 1 << 18])
def test_packets_over_the_borders_of_buffers_and_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buffer: int
) -> None:
    monkeypatch.setattr(aedat3, "_BUFFER", buffer)
    monkeypatch.setattr(aedat3, "BLOCK_EVENTS", 700)
    n = 5000
    t, x, y, p = made(n)
    parts, start = [header("#Source 1: DAVIS346")], 0
    for k, size in enumerate([1, 2000, 3, 500, 1500, 996]):
        part = slice(start, start + size)
        parts.append(polarity(t[part], x[part], y[part], p[part]))
        parts.append(packet(3, imu(k, [1, 2, 3, 4, 5, 6, 7]) * 3, 36))
        parts.append(packet(7, bytes(50), 25))  # odd sizes put later packets off their alignment
        start += size
    assert start == n
    reader = opened(tmp_path / "a", b"".join(parts))
    raw, side = read_stored(reader)
    assert same(raw, t, x, y, p) and side.warnings() == ()
    assert side.elements == {"packets": 18, "IMU samples": 18, "configuration events": 12}
    checkpoints, done, at = [], 0, reader.first()
    while at is not None:
        checkpoints.append((at, done))
        got, at = reader.decode(at, Columns(), Side())
        done += got
    assert len(checkpoints) >= 8 and done == n
    for at, first in reversed(checkpoints):
        out = Columns()
        got, _ = pickle.loads(pickle.dumps(reader)).decode(at, out, Side())
        assert np.array_equal(out.t[:got], t[first : first + got]) and np.array_equal(
            out.y[:got], y[first : first + got]
        )


def test_a_packet_larger_than_a_block_comes_in_parts(tmp_path: Path) -> None:
    n = 2 * BLOCK_EVENTS + 1000
    t, x, y, p = made(n)
    reader = opened(tmp_path / "a", header("#Source 1: DAVIS346") + polarity(t, x, y, p))
    got, second = reader.decode(reader.first(), Columns(), Side())
    assert got == BLOCK_EVENTS and second is not None
    raw, side = read_stored(reader)
    assert same(raw, t, x, y, p) and side.elements == {"packets": 1}


def test_special_events(tmp_path: Path) -> None:
    last = 2**31 - 1
    kinds = ((2, 10), (3, 11), (4, 12), (5, 13), (9, 14), (13, 15), (16, 16))
    body = b"".join(special(kind, t) for kind, t in kinds) + special(2, 17, valid=0) + special(0, last)
    content = header("#Source 1: DVS128") + packet(0, body, 8) + polarity([2], [1], [1], [1], overflow=1)
    raw, side = read_stored(opened(tmp_path / "a", content))
    triggers = side.triggers(0)
    assert triggers is not None and triggers.t_us.tolist() == [10, 11, 12, 14, 15]
    assert triggers.value.tolist() == [1, 0, 2, 1, 0] and triggers.channel.tolist() == [0, 0, 0, 2, 3]
    assert raw.t.tolist() == [(1 << 31) + 2]
    assert side.losses == {"special events with a valid bit of 0 skipped": 1}
    assert side.elements == {"packets": 2, "special events": 8}


def test_clock_resets_keep_time_going(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reset = packet(0, special(1, 2**31 - 1), 8)
    parts = [
        header("#Source 1: DVS128"),
        reset,  # cameras send one when they start
        polarity([100, 200], [1, 2], [1, 2], [1, 1], overflow=1),
        reset,
        packet(3, imu(5, [0] * 7), 36),
        polarity([10, 300], [3, 4], [3, 4], [0, 0]),
        reset,
        polarity([7], [5], [5], [0]),
        reset,
        polarity([9], [6], [6], [0]),  # the clock went on
    ]
    end = (1 << 31) + 200
    for block in (1, BLOCK_EVENTS):
        monkeypatch.setattr(aedat3, "BLOCK_EVENTS", block)
        raw, side = read_stored(opened(tmp_path / "a", b"".join(parts)))
        assert raw.t.tolist() == [end - 100, end, end + 10, end + 300, end + 307, end + 309]
        samples = side.imu(0)
        assert samples is not None and samples.t_us.tolist() == [end + 5]
        assert list(side.remarks) == [
            "the camera's clock was reset; times go on from the last one before that"
        ]


def test_imu_samples(tmp_path: Path) -> None:
    nine = imu(20, [1, 2, 3, 4, 5, 6, 7.5, 8, 9, 10])
    six = imu(10, [0.5, -1, 0, 100, -200, 0, 36.5]) + imu(11, [0] * 7, valid=0)
    content = header("#Source 1: DVS128") + packet(4, nine, 48, overflow=1) + packet(3, six, 36)
    _, side = read_stored(opened(tmp_path / "a", content))
    samples = side.imu(0)
    assert samples is not None and samples.t_us.tolist() == [10, (1 << 31) + 20]
    assert samples.accel.tolist() == [[0.5, -1, 0], [1, 2, 3]]
    assert samples.gyro.tolist() == [[100, -200, 0], [4, 5, 6]] and samples.temperature.tolist() == [
        36.5,
        7.5,
    ]
    assert side.losses == {"IMU samples with a valid bit of 0 skipped": 1}


def test_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aedat3, "_BUFFER", 4096)  # frames are larger
    rng = np.random.default_rng(0)
    gray = rng.integers(0, 1 << 16, (260, 346, 1))
    colour = rng.integers(0, 1 << 16, (260, 346, 4))
    part = rng.integers(0, 1 << 16, (3, 5, 1))
    parts = [
        header("#Source 1: DAVIS346"),
        packet(2, frame(gray, (0, 90, 20, 41)), 36 + gray.size * 2),
        packet(2, frame(colour, (100, 190, 0, 0)), 36 + colour.size * 2),
        packet(2, frame(part, (200, 290, 210, 220), 7, 250) * 2, 36 + 30, overflow=1),
        packet(2, frame(part, (300, 390, 310, 320), valid=0), 36 + 30),
        packet(2, frame(part, (300, 390, 310, 320)), 36 + 28 + 1),
        polarity([400], [1], [2], [1]),
    ]
    parts[5] = packet(2, frame(part, (300, 390, 310, 320))[:64], 64)
    reader = opened(tmp_path / "a", b"".join(parts))
    raw, side = read_stored(reader)
    assert raw.t.tolist() == [400]
    assert [f.t_us for f in side.frames] == [30, 100, *[(1 << 31) + 215] * 2]
    assert side.losses == {
        "frames with a valid bit of 0 skipped": 1,
        "frames of an impossible size skipped": 1,
    }
    images = [reader.load_frame(f.ref) for f in side.frames]
    assert np.array_equal(images[0], gray[..., 0] >> 8)
    assert np.abs(images[1] - (colour[..., :3] >> 8) @ [0.299, 0.587, 0.114]).max() <= 0.5
    assert images[2].shape == (260, 346) and np.array_equal(images[2][250:253, 7:12], part[..., 0] >> 8)
    assert int(images[3].sum()) == int((part >> 8).sum())


def test_frames_of_version_3_0_stand_upright(tmp_path: Path) -> None:
    gray = np.arange(128 * 128).reshape(128, 128, 1) << 2
    content = header("#Source 1: DVS128", version="3.0") + packet(
        2, frame(gray, (0, 9, 2, 4)), 36 + gray.size * 2
    )
    reader = opened(tmp_path / "a", content)
    _, side = read_stored(reader)
    assert np.array_equal(reader.load_frame(side.frames[0].ref), (gray[::-1, :, 0] >> 8))


@pytest.mark.parametrize("unused", [0, 3])
def test_capacity_above_number(tmp_path: Path, unused: int) -> None:
    parts = [header("#Source 1: DVS128")]
    for k in range(4):
        parts.append(polarity([10 * k, 10 * k + 1], [k, k], [5, 6], [0, 1], capacity=5) + bytes(8 * unused))
    raw, side = read_stored(opened(tmp_path / "a", b"".join(parts)))
    assert raw.t.tolist() == [0, 1, 10, 11, 20, 21, 30, 31] and side.warnings() == ()


def test_several_sources_are_streams(tmp_path: Path) -> None:
    head = header("#Source 1: DVS128", "#Source 4: DAVIS346", version="3.0")
    parts = [
        head,
        polarity([1, 2], [1, 2], [0, 0], [1, 1], old=True, source=4),
        polarity([1, 3], [3, 4], [0, 0], [1, 1], old=True, source=1),
        polarity([9], [3], [0], [1], old=True, source=2),
    ]
    reader = opened(tmp_path / "a", b"".join(parts))
    assert reader.streams == ("source1", "source4") and reader.stream_sizes == ((128, 128), (260, 346))
    raw, side = read_stored(reader)
    assert raw.camera.tolist() == [1, 1, 0, 0] and raw.y.tolist() == [259, 259, 127, 127]
    assert side.losses == {"things from a source that the header does not name skipped": 1}


def test_sources_that_the_header_does_not_name(tmp_path: Path) -> None:
    one = header() + polarity([1], [1], [1], [1], source=7)
    reader = opened(tmp_path / "a", one)
    assert reader.streams == ("events",) and reader.sensor_size is None
    assert len(read_stored(reader)[0]) == 1
    reader = opened(tmp_path / "a", one + polarity([2], [1], [1], [1], source=3), "DVS128")
    assert reader.streams == ("source3", "source7") and reader.sensor_size == (128, 128)
    assert read_stored(reader)[0].camera.tolist() == [1, 0]


def test_damaged_packet_headers_are_jumped(tmp_path: Path) -> None:
    first, last = polarity([1, 2], [1, 2], [1, 2], [0, 1]), polarity([5], [3], [3], [1])
    for garbage in (b"\xff" * 28, b"\xff" * 61, bytes(range(200, 255)) * 20):
        raw, side = read_stored(opened(tmp_path / "a", header("#Source 1: DVS128") + first + garbage + last))
        assert raw.t.tolist() == [1, 2, 5]
        assert side.losses == {"bytes skipped where packet headers are damaged": len(garbage)}
    raw, side = read_stored(opened(tmp_path / "a", header("#Source 1: DVS128") + first + b"\xff" * 99))
    assert raw.t.tolist() == [1, 2] and sum(side.losses.values()) == 99
    with pytest.raises(FormatError, match="no packet header"):
        read_stored(opened(tmp_path / "a", header("#Source 1: DVS128") + b"\xff" * 99))


def test_headers_that_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="not an AEDAT 3"):
        opened(tmp_path / "a", b"#!AER-DAT2.0\r\n")
    with pytest.raises(FormatError, match="only RAW"):
        opened(tmp_path / "a", header(form="SerializedTS,PNGFrames"))
    raw, side = read_stored(opened(tmp_path / "a", header("#Source 1: DVS128")))
    assert len(raw) == 0 and side.warnings() == ()


def small_file() -> bytes:
    t, x, y, p = made(40, width=128, height=128)
    gray = np.full((2, 3, 1), 77 << 8)
    return b"".join(
        [
            header("#Source 1: DVS128"),
            packet(0, special(2, 1) + special(1, 3), 8),
            polarity(t[:25], x[:25], y[:25], p[:25]),
            packet(3, imu(3, [1] * 7), 36),
            packet(2, frame(gray, (0, 9, 2, 4)), 36 + 12),
            polarity(t[25:], x[25:], y[25:], p[25:], capacity=20),
        ]
    )


def test_cut_at_every_byte(tmp_path: Path) -> None:
    content = small_file()
    start = len(header("#Source 1: DVS128"))
    whole, _ = read_stored(opened(tmp_path / "a", content))
    assert len(whole) == 40
    longest = 0
    for size in range(start, len(content)):
        raw, side = read_stored(opened(tmp_path / "a", content[:size]))
        assert longest <= len(raw) <= 40 and np.array_equal(raw.t, whole.t[: len(raw)])
        longest = len(raw)
        if len(raw) not in (0, 25):  # the cut lies within a packet of events
            assert side.losses["events of the last packet are missing: the file is cut off"] >= 1
        for announced in side.frames:
            assert opened(tmp_path / "a", content[:size]).load_frame(announced.ref)[0, 0] == 77
    assert longest == 39


def test_random_damage_gives_a_result_or_a_format_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    content = small_file()
    read = 0
    for _ in range(500):
        damaged = bytearray(content)
        for position in rng.integers(0, len(content), rng.integers(1, 6)):
            damaged[position] = rng.choice([0, 1, 255, int(rng.integers(0, 256))])
        try:
            reader = opened(tmp_path / "a", bytes(damaged))
            raw, side = read_stored(reader)
            images = [reader.load_frame(f.ref) for f in side.frames]
        except FormatError:
            continue
        read += 1
        assert len(raw) <= len(content) // 8 and all(image.dtype == np.uint8 for image in images)
        side.triggers(0), side.imu(0)
    assert read > 300


def test_real_events_give_the_independent_numbers(shared: Path) -> None:
    files = json.loads((shared / "events/facts.json").read_text())["files"]
    chosen = [f for f in files if f["format"].startswith("AEDAT 3.1")]
    assert len(chosen) == 4
    for entry in chosen:
        facts = entry["facts"]
        reader = aedat3.open_reader(shared / "events" / entry["path"], OpenOptions("aedat3"))
        raw, side = read_stored(reader)
        assert len(raw) == facts["n"]
        if not facts["n"]:
            left_out = entry["facts_if_valid_bit_ignored"]["n"]
            assert side.losses == {"events with a valid bit of 0 skipped": left_out}
            continue
        assert (raw.t[0], raw.t[-1]) == (facts["t_first"], facts["t_last"]) and reader.sensor_size == (
            128,
            128,
        )
        assert int((raw.t - raw.t[0]).sum()) == facts["sum_t_minus_first"]
        sums = [int(c.astype(np.int64).sum()) for c in (raw.x, raw.y, raw.p)]
        assert sums == [facts["sum_x"], facts["sum_y"], facts["n_on"]]
