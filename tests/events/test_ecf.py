"""Prophesee HDF5: every coding of a chunk, every way a chunk can be stored, and damage."""

from __future__ import annotations

import json
import os
import pickle
import struct
from pathlib import Path

import h5py
import numpy as np
import pytest

from eventhpe.errors import FormatError
from eventhpe.events.blocks import BLOCK_EVENTS, Columns, Side, read_stored
from eventhpe.events.formats.ecf import EcfReader, open_reader
from eventhpe.events.formats.hdf5_layouts import layout_of
from eventhpe.events.formats.options import OpenOptions
from eventhpe.events.kernels_ecf import BAD_COUNT, BAD_RUN, BAD_TIME, PADDING, TOO_SHORT, decode_ecf
from tests.events.ecf_encoder import CD, MODES, TRIGGER, encode, write_chunks, write_file

ECF = OpenOptions("ecf")
Arrays = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _events(n: int, seed: int = 0) -> Arrays:
    """Events with long and short steps, long and short runs of everything, and neighbouring columns."""
    rng = np.random.default_rng(seed)
    often = [0.6, 0.1, 0.1, 0.05, 0.05, 0.04, 0.03, 0.02, 0.01]
    steps = rng.choice([0, 1, 7, 14, 15, 16, 255, 256, 70_000], n, p=often)
    t = 7_906_425 + np.cumsum(steps * (rng.random(n) < 0.5))
    y = np.repeat(rng.integers(0, 2048, n), rng.choice([1, 2, 5, 40], n))[:n]
    x = (np.repeat(rng.integers(0, 2000, n), rng.choice([1, 3, 8], n))[:n] + np.arange(n) % 7) % 2048
    p = np.repeat(rng.integers(0, 2, n), rng.choice([1, 4, 300], n))[:n]
    return t.astype(np.int64), x.astype(np.uint16), y.astype(np.uint16), p.astype(np.uint8)


def _decode(data: bytes, keep: int, room: int = 65535) -> tuple[int, Arrays]:
    """As `decode_ecf`; sentinels around the columns show that nothing else is written."""
    buffer = np.full(len(data) + PADDING, 0xA5, np.uint8)
    buffer[: len(data)] = np.frombuffer(data, np.uint8)
    columns = tuple(np.full(keep + 20, 77, d) for d in (np.int64, np.uint16, np.uint16, np.uint8))
    count = decode_ecf(buffer, len(data), room, 10, keep, *columns)
    assert all((c[:10] == 77).all() and (c[10 + keep :] == 77).all() for c in columns)
    return count, tuple(c[10 : 10 + keep] for c in columns)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6, 7, 31, 1000, 65535])
def test_chunks_come_back(mode: str, n: int) -> None:
    events = _events(n, seed=n)
    count, got = _decode(encode(*events, mode), n)
    assert count == n
    for expected, column in zip(events, got, strict=True):
        np.testing.assert_array_equal(column, expected)


@pytest.mark.parametrize("mode", MODES)
def test_only_what_belongs_is_taken_from_a_full_chunk(mode: str) -> None:
    events = _events(500)
    data = encode(*events, mode)
    for keep in (0, 1, 2, 3, 4, 5, 250, 499):
        count, got = _decode(data, keep)
        assert count == 500
        for expected, column in zip(events, got, strict=True):
            np.testing.assert_array_equal(column, expected[:keep])


def test_golden_bytes() -> None:
    # Hand-made from the format's description: times 1000, 1000, 1003, 1003 + 0x123; y 5, 5, 5, 9.
    head, times = struct.pack("<IQ", 4 << 2, 1000), bytes([0x02, 0x31, 0xF3, 0xF2, 0xF1, 0x01])
    rows = struct.pack("<HH", 5 << 5 | 3, 9 << 5 | 1)
    masks = struct.pack("<HH", 100 << 5 | 0b10001, 7 << 5)  # columns 100, 101, 105; 7
    count, (t, x, y, p) = _decode(head + times + rows + masks + bytes([0x81, 0x02, 0x81]), 4)
    assert count == 4
    assert t.tolist() == [1000, 1000, 1003, 1003 + 0x123]
    assert (x.tolist(), y.tolist(), p.tolist()) == ([100, 101, 105, 7], [5, 5, 5, 9], [1, 0, 0, 1])
    # Four 24-bit values 0x111111, 0x222222 ... as three 32-bit words.
    words = struct.pack("<III", 0x11111122, 0x22223333, 0x33444444)
    count, (t, x, y, p) = _decode(struct.pack("<IQ", 4 << 2 | 2, 0) + b"\x04" + words, 4)
    assert (x.tolist(), y.tolist()) == ([0x088, 0x111, 0x199, 0x222], [0x111, 0x222, 0x333, 0x444])
    assert p.tolist() == [1, 0, 1, 0]
    # Four 12-bit values 0x111, 0x222 ... as three 16-bit words.
    words = struct.pack("<HHH", 0x1112, 0x2233, 0x3444)
    rows = b"\x04" + struct.pack("<H", 3 << 5 | 4)
    count, (t, x, y, p) = _decode(struct.pack("<IQ", 4 << 2 | 1, 0) + rows + words, 4)
    assert (x.tolist(), y.tolist(), p.tolist()) == ([0x088, 0x111, 0x199, 0x222], [3] * 4, [1, 0, 1, 0])


def test_a_mask_may_reach_past_the_last_event() -> None:
    head = struct.pack("<IQ", 2 << 2, 0) + bytes([0x02]) + struct.pack("<H", 1 << 5 | 2)
    count, (_, x, _, p) = _decode(head + struct.pack("<H", 40 << 5 | 0b11111) + bytes([0x82]), 2)
    assert (count, x.tolist(), p.tolist()) == (2, [40, 41], [1, 1])


@pytest.mark.parametrize("mode", MODES)
def test_every_truncation_is_told(mode: str) -> None:
    data = encode(*_events(57), mode)
    for size in range(len(data)):
        count, _ = _decode(data[:size], 57)
        lost_group = 57 % 4 and mode != "masks" and size >= len(data) - 12
        assert count == TOO_SHORT or (lost_group and count == 57), size


def test_damaged_chunks_have_codes() -> None:
    t0 = struct.pack("<Q", 5)
    assert _decode(struct.pack("<I", 65535 << 2) + t0, 9, room=16384)[0] == BAD_COUNT
    assert _decode(struct.pack("<I", 0xFFFFFFFF) + t0, 9)[0] == BAD_COUNT
    assert _decode(struct.pack("<IQ", 9 << 2, 1 << 63) + bytes(90), 9)[0] == BAD_TIME
    assert _decode(struct.pack("<I", 9 << 2) + t0 + b"\xff" * 90, 9)[0] == BAD_TIME
    assert _decode(struct.pack("<I", 9 << 2) + t0 + bytes([0x0A]) + bytes(90), 9)[0] == BAD_RUN
    assert _decode(struct.pack("<I", 9 << 2) + t0 + bytes(90), 9)[0] == TOO_SHORT


@pytest.mark.parametrize("mode", MODES)
def test_mutations_stay_inside_the_columns(mode: str) -> None:
    rng = np.random.default_rng(1)
    good = np.frombuffer(encode(*_events(200), mode), np.uint8)
    codes = set()
    for _ in range(1500):
        data = good.copy()
        data[rng.integers(0, len(data), rng.integers(1, 4))] = rng.integers(0, 256)
        codes.add(min(0, _decode(data.tobytes()[: rng.integers(1, len(data) + 1)], 200)[0]))
    assert {0, TOO_SHORT, BAD_RUN} <= codes or mode == "packed_all"
    assert codes <= {0, TOO_SHORT, BAD_COUNT, BAD_TIME, BAD_RUN}


def _check(reader: EcfReader, events: Arrays) -> None:
    raw, _ = read_stored(reader)
    for name, expected in zip("txyp", events, strict=True):
        np.testing.assert_array_equal(getattr(raw, name), expected, err_msg=name)


@pytest.mark.parametrize("mode", MODES)
def test_files_come_back(mode: str, tmp_path: Path) -> None:
    events, path = _events(20_001), tmp_path / "a.h5"
    write_file(path, *events, mode, chunk=1000)
    assert layout_of(path) == "ecf"
    reader = open_reader(path, ECF)
    assert reader.sensor_size == (480, 640)
    _check(reader, events)


def test_blocks_can_be_read_in_any_order_and_process(tmp_path: Path) -> None:
    events, path = _events(BLOCK_EVENTS + 30_000), tmp_path / "a.h5"
    write_file(path, *events, "packed_all")
    reader, out = open_reader(path, ECF), Columns()
    n, second = reader.decode(reader.first(), out, Side())
    assert n == BLOCK_EVENTS and second is not None
    copy = pickle.loads(pickle.dumps(reader))
    assert copy.decode(second, out, Side()) == (30_000, None)
    np.testing.assert_array_equal(out.t[:30_000], events[0][BLOCK_EVENTS:])
    child = os.fork()
    if not child:
        n, _ = reader.decode(second, out, Side())
        os._exit(0 if n == 30_000 and (out.x[:n] == events[1][BLOCK_EVENTS:]).all() else 1)
    assert os.waitpid(child, 0)[1] == 0
    _check(reader, events)
    reader.close()


def test_chunks_stored_without_coding_and_padded_chunks(tmp_path: Path) -> None:
    events, path = _events(2500), tmp_path / "a.h5"
    rows = np.zeros(3000, CD)
    for name, values in zip("txyp", events, strict=True):
        rows[name][:2500] = values
    plain = rows[1000:2000].tobytes()
    padded = encode(*(np.concatenate([a[2000:], np.full(500, a[-1])]) for a in events), "masks")
    first = encode(*(a[:1000] for a in events), "masks")
    write_chunks(path, [(first, 0), (plain, 1), (padded, 0)], 2500, 1000)
    _check(open_reader(path, ECF), events)


@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}, {"compression": "lzf", "shuffle": True}])
def test_other_filters_are_left_to_hdf5(options: dict, tmp_path: Path) -> None:
    events, path = _events(150_000), tmp_path / "a.h5"
    rows = np.zeros(150_000, CD)
    for name, values in zip("txyp", events, strict=True):
        rows[name] = values
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "EVT3;height=720;width=1280"
        file.create_dataset("CD/events", data=rows, chunks=(16384,) if options else None, **options)
    assert layout_of(path) == "ecf"
    reader = open_reader(path, ECF)
    assert reader.sensor_size == (720, 1280)
    _check(reader, events)


def test_triggers(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    write_file(path, *_events(100), "masks")
    rows = np.array([(1, 500, 6), (0, 700, 6), (1, 600, 0)], TRIGGER)
    with h5py.File(path, "r+") as file:
        file["EXT_TRIGGER/events"] = rows
    _, side = read_stored(open_reader(path, ECF))
    triggers = side.triggers(0)
    assert triggers is not None
    assert (triggers.t_us.tolist(), triggers.value.tolist(), triggers.channel.tolist()) == (
        [500, 600, 700], [1, 1, 0], [6, 0, 6])  # fmt: skip


def test_sensor_size(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    chunks = [(encode(*_events(10), "masks"), 0)]
    for geometry in (None, "640x0", "99999x99999", "nonsense"):
        write_chunks(path, chunks, 10, 10, geometry)
        assert open_reader(path, ECF).sensor_size is None
    write_chunks(path, chunks, 10, 10, "32x20")
    assert open_reader(path, ECF).sensor_size == (20, 32)
    assert open_reader(path, OpenOptions("ecf", sensor="IMX636")).sensor_size == (720, 1280)


def test_no_events(tmp_path: Path) -> None:
    write_chunks(tmp_path / "a.h5", [], 0, 10)
    raw, _ = read_stored(open_reader(tmp_path / "a.h5", ECF))
    assert len(raw) == 0


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (b"\x00\x01", "bytes end before"),
        (encode(*_events(7), "masks"), "7 events where 10 belong"),
        (encode(*_events(11), "masks"), "more events than"),
        (b"\x00" * 2_000_000, "missing"),
    ],
)
def test_a_damaged_chunk_is_named(bad: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    good = encode(*_events(10), "masks")
    write_chunks(path, [(good, 0), (bad, 0), (good, 0)], 30, 10)
    with pytest.raises(FormatError, match=f"chunk 1 of CD/events .from event 10. is damaged: .*{message}"):
        read_stored(open_reader(path, ECF))


def test_a_missing_chunk_is_told(tmp_path: Path) -> None:
    good = encode(*_events(10), "masks")
    write_chunks(tmp_path / "a.h5", [(good, 0), (None, 0), (good, 0)], 30, 10)
    with pytest.raises(FormatError, match="not in the file"):
        read_stored(open_reader(tmp_path / "a.h5", ECF))


def test_numbers_of_the_real_file(shared: Path) -> None:
    files = json.loads((shared / "events/facts.json").read_text())["files"]
    facts = next(f["facts"] for f in files if f["path"] == "containers/person_vga_ecf.h5")
    path = shared / "events/containers/person_vga_ecf.h5"
    assert layout_of(path) == "ecf"
    raw, _ = read_stored(open_reader(path, ECF))
    assert raw.sensor_size == (480, 640)
    assert {
        "n": len(raw), "t_first": raw.t[0], "t_last": raw.t[-1], "n_on": raw.p.sum(), "sum_x": raw.x.sum(),
        "sum_y": raw.y.sum(), "sum_t_minus_first": (raw.t - raw.t[0]).sum(),
    }.items() <= facts.items()  # fmt: skip
    with h5py.File(shared / "events/containers/person_vga_dsec.h5") as file:
        import hdf5plugin  # noqa: F401  (registers Blosc)

        for name in "xyp":
            np.testing.assert_array_equal(getattr(raw, name), file[f"events/{name}"][:])
