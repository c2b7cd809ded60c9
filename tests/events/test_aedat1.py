"""AEDAT 1.0: with and without header, clock wraps, damage."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from eventhpe.errors import FormatError
from eventhpe.events.blocks import Columns, Side, read_stored
from eventhpe.events.formats.aedat1 import open_reader
from eventhpe.events.formats.options import OpenOptions

HEADER = b"#!AER-DAT1.0\r\n# This is a raw AE data file\r\n"
RECORD = np.dtype([("a", ">u2"), ("t", ">u4")])


def write(path: Path, address: object, t: object, header: bytes = HEADER) -> Path:
    records = np.empty(len(address), RECORD)  # type: ignore[arg-type]
    records["a"], records["t"] = address, np.asarray(t) & 0xFFFFFFFF
    path.write_bytes(header + records.tobytes())
    return path


def options(sensor: str | None = None) -> OpenOptions:
    return OpenOptions("aedat1", sensor)


@pytest.mark.parametrize("header", [HEADER, b""])
def test_golden_bytes(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "a.dat"
    path.write_bytes(header + bytes.fromhex("0000 0000000a  7fff 0000000b  8000 0000000c  2503 00000100"))
    reader = open_reader(path, options())
    raw, side = read_stored(reader)
    assert reader.sensor_size == (128, 128) and reader.format == "AEDAT 1.0"
    assert raw.t.tolist() == [10, 11, 256]
    assert raw.x.tolist() == [127, 0, 126] and raw.y.tolist() == [127, 0, 90] and raw.p.tolist() == [1, 0, 0]
    triggers = side.triggers(0)
    assert triggers is not None and triggers.t_us.tolist() == [12]
    assert side.elements == {"special words": 1} and side.warnings() == ()


def test_first_address_byte_that_looks_like_a_header_line(tmp_path: Path) -> None:
    for header in (HEADER, b""):
        raw, _ = read_stored(
            open_reader(write(tmp_path / "a", [35 << 8 | 6] * 3, [1, 2, 3], header), options())
        )
        assert raw.y.tolist() == [127 - 35] * 3 and raw.x.tolist() == [124] * 3


def test_reader_equals_plain_numpy_over_borders_and_wraps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eventhpe.events.formats.aedat2_words.BLOCK_EVENTS", 7000)
    monkeypatch.setattr("eventhpe.events.formats.aedat2_words.STEP", 3000)
    rng = np.random.default_rng(0)
    n = 20_000
    address = rng.integers(0, 1 << 15, n)
    address[::3333] |= 0x8000
    t = np.cumsum(rng.integers(0, 1_000_000, n))
    t[9000] -= 400_000
    reader = open_reader(write(tmp_path / "a", address, t), options())
    raw, side = read_stored(reader)
    event = address < 0x8000
    assert t[-1] > 2 << 32 and np.array_equal(raw.t, t[event])
    assert np.array_equal(raw.x, 127 - (address[event] >> 1 & 127))
    assert np.array_equal(raw.y, 127 - (address[event] >> 8 & 127))
    assert np.array_equal(raw.p, 1 - (address[event] & 1))
    triggers = side.triggers(0)
    assert triggers is not None and np.array_equal(triggers.t_us, t[~event])
    _, second = reader.decode(reader.first(), Columns(), Side())
    assert second is not None
    out = Columns()
    got, _ = pickle.loads(pickle.dumps(reader)).decode(second, out, Side())
    first = int(event[:7000].sum())
    assert np.array_equal(out.t[:got], raw.t[first : first + got])


def test_cut_at_every_byte(tmp_path: Path) -> None:
    path = write(tmp_path / "a", np.arange(9), np.arange(9))
    content = path.read_bytes()
    for size in range(len(HEADER), len(content) + 1):
        path.write_bytes(content[:size])
        raw, side = read_stored(open_reader(path, options()))
        whole, rest = divmod(size - len(HEADER), 6)
        assert raw.t.tolist() == list(range(whole))
        assert side.losses.get("bytes at the end are no complete record; ignored", 0) == rest


def test_random_damage_gives_a_result_or_a_format_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    path = write(tmp_path / "a", rng.integers(0, 1 << 15, 40), np.arange(40))
    content = path.read_bytes()
    read = 0
    for _ in range(300):
        damaged = bytearray(content)
        for position in rng.integers(0, len(content), rng.integers(1, 6)):
            damaged[position] = rng.integers(0, 256)
        path.write_bytes(damaged)
        try:
            raw, _ = read_stored(open_reader(path, options()))
        except FormatError:
            continue
        read += 1
        assert not len(raw) or (raw.x.max() < 128 and raw.y.max() < 128)
    assert read > 200


def test_cameras_without_16_bit_addresses_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a", [1], [1])
    for sensor in ("DAVIS346", "346x260", "MultiDVS128"):
        with pytest.raises(FormatError, match="16-bit addresses"):
            open_reader(path, options(sensor))
    assert open_reader(path, options("tmpdiff128")).sensor_size == (128, 128)
    path = write(
        tmp_path / "a", [1], [1], HEADER + b"# AEChip: ch.unizh.ini.jaer.chip.cochlea.CochleaAMS\r\n"
    )
    with pytest.raises(FormatError, match="Cochlea"):
        open_reader(path, options())
    path.write_bytes(b"#!AER-DAT2.0\r\n")
    with pytest.raises(FormatError, match=r"not an AEDAT 1\.0"):
        open_reader(path, options())


@pytest.mark.parametrize("name", ["walking_128_aedat1.dat", "walking_128_aedat1_noheader.dat"])
def test_real_events_give_the_independent_numbers(shared: Path, name: str) -> None:
    files = json.loads((shared / "events/facts.json").read_text())["files"]
    facts = next(f["facts"] for f in files if f["path"] == f"containers/{name}")
    raw, side = read_stored(open_reader(shared / "events/containers" / name, options()))
    assert side.warnings() == ()
    assert (len(raw), raw.t[0], raw.t[-1]) == (facts["n"], facts["t_first"], facts["t_last"])
    assert int((raw.t - raw.t[0]).sum()) == facts["sum_t_minus_first"]
    sums = [int(c.astype(np.int64).sum()) for c in (raw.x, raw.y, raw.p)]
    assert sums == [facts["sum_x"], facts["sum_y"], facts["n_on"]]
