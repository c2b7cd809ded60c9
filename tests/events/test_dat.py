"""Prophesee DAT: golden records, layouts, triggers, wraps, damage, and real files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from eventhpe.errors import FormatError
from eventhpe.events.blocks import Side, read_stored
from eventhpe.events.formats import dat, evt
from eventhpe.events.formats.options import OpenOptions
from eventhpe.events.formats.prophesee_header import format_of, read_header

Row = tuple[int, int, int, int]


def write(path: Path, lines: str, kind: bytes, records: list[tuple[int, int]], tail: bytes = b"") -> Path:
    path.write_bytes(lines.encode() + kind + np.array(records, "<u4").tobytes() + tail)
    return path


def read(path: Path, sensor: str | None = None) -> tuple[list[Row], Side]:
    raw, side = read_stored(dat.open_reader(path, OpenOptions("dat", sensor)))
    return list(zip(*(c.tolist() for c in (raw.t, raw.x, raw.y, raw.p)), strict=True)), side


HEADER = (
    "% Data file containing CD events.\n% Version 2\n% Date 2026-01-01 00:00:00\n% Height 480\n% Width 640\n"
)


@pytest.mark.parametrize("kind", [b"\x0c\x08", b"\x00\x08"], ids=["CD", "Event2D"])
def test_golden_records(tmp_path: Path, kind: bytes) -> None:
    records = [(5, 0x10000000 | 3 << 14 | 2), (6, 0x0FFFFFFF), (6, 0x20004001)]
    path = write(tmp_path / "a.dat", HEADER, kind, records)
    assert format_of(path) == "dat"
    reader = dat.open_reader(path, OpenOptions("dat"))
    assert reader.sensor_size == (480, 640)
    rows, side = read(path)
    assert rows == [(5, 2, 3, 1), (6, 0x3FFF, 0x3FFF, 0), (6, 1, 1, 0)]
    assert side.warnings() == ()


def test_version_1_has_short_addresses(tmp_path: Path) -> None:
    records = [(5, 1 << 17 | 200 << 9 | 303), (6, 3 << 9 | 4)]
    told = write(tmp_path / "a.dat", "% Version 1\n", b"\x00\x08", records)
    untold = write(tmp_path / "b.dat", "% Date 2012-01-01\n", b"\x00\x08", records)
    bare = write(tmp_path / "c.dat", "", b"", records)
    for path in (told, untold, bare):
        rows, side = read(path, "304x240")
        assert rows == [(5, 303, 200, 1), (6, 4, 3, 0)]
        assert bool(side.warnings()) == (path != told)


def test_without_header_and_size(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dat", "", b"", [(5, 0x10000000 | 30 << 14 | 20)])
    assert dat.open_reader(path, OpenOptions("dat")).sensor_size is None
    rows, side = read(path)
    assert rows == [(5, 20, 30, 1)]
    assert side.warnings() == ()


def test_triggers(tmp_path: Path) -> None:
    records = [(2**32 - 1, 0), (3, 5 << 26 | 1)]
    path = write(tmp_path / "a.dat", HEADER, b"\x0e\x08", records)
    rows, side = read(path)
    assert rows == []
    t, value, channel = (np.concatenate(c).tolist() for c in zip(*side._triggers, strict=True))
    assert (t, value, channel) == ([2**32 - 1, 2**32 + 3], [0, 1], [0, 5])


def test_32_bit_time_wraps_and_late_records_keep_their_turn(tmp_path: Path) -> None:
    times = [0, 2**31 + 5, 2**32 - 2, 1, 2**32 - 1, 2, 1, 2**31, 2**32 - 1, 0]
    turns = [0, 0, 0, 1, 0, 1, 1, 1, 1, 2]
    path = write(tmp_path / "a.dat", HEADER, b"\x0c\x08", [(t, 1) for t in times])
    rows, _ = read(path)
    # the first step, of more than half a turn, is a pause: nothing can lie before the first turn
    assert [row[0] for row in rows] == [k * 2**32 + t for k, t in zip(turns, times, strict=True)]


def test_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    times = np.cumsum(rng.integers(0, 1 << 30, 5000)) & 0xFFFFFFFF
    records = list(zip(times.tolist(), rng.integers(0, 1 << 29, 5000).tolist(), strict=True))
    path = write(tmp_path / "a.dat", HEADER, b"\x0c\x08", records)
    whole, _ = read(path)
    turns = np.concatenate([[0], np.cumsum(np.diff(times) < -(2**31))])
    assert [row[0] for row in whole] == (times + turns * 2**32).tolist()
    assert [row[1:] for row in whole] == [(w & 0x3FFF, w >> 14 & 0x3FFF, w >> 28 & 1) for _, w in records]
    monkeypatch.setattr(evt, "BLOCK_EVENTS", 64)
    monkeypatch.setattr(evt, "_PIECE", 256)
    assert read(path)[0] == whole


def test_truncation_anywhere(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dat", HEADER, b"\x0c\x08", [(k, 0x10000000 | k) for k in range(6)])
    whole = path.read_bytes()
    start = len(HEADER) + 2
    for length in range(start, len(whole) + 1):
        path.write_bytes(whole[:length])
        rows, side = read(path)
        number, rest = divmod(length - start, 8)
        assert rows == [(k, k, 0, 1) for k in range(number)]
        assert side.losses["bytes at the end are no complete word; ignored"] == rest
    for length in range(1, start):
        path.write_bytes(whole[:length])
        try:
            read(path)
        except FormatError as error:
            assert str(path) in str(error)


def test_damage_gives_a_result_or_one_format_error(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.dat", HEADER, b"\x0c\x08", [(k, k) for k in range(50)]).read_bytes()
    rng = np.random.default_rng(2)
    path = tmp_path / "damaged.dat"
    for _ in range(300):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 4):
            damaged[place] = int(rng.integers(0, 256))
        path.write_bytes(damaged)
        try:
            read(path)
        except FormatError as error:
            assert str(path) in str(error)


def test_records_of_another_kind_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dat", HEADER, b"\x0d\x10", [(1, 1)])
    with pytest.raises(FormatError, match="size byte 8"):
        dat.open_reader(path, OpenOptions("dat"))
    with pytest.raises(FormatError, match="no DAT records"):
        format_of(path)


@pytest.mark.parametrize("name", ["psee-dat-ncars/sample_ncars.dat", "containers/person_vga_td.dat"])
def test_real_files(shared: Path, name: str) -> None:
    entries = json.loads((shared / "events/facts.json").read_text())["files"]
    facts = next(e for e in entries if e["path"] == name)["facts"]
    path = shared / "events" / name
    assert format_of(path) == "dat"
    assert read_header(path).fields["version"] == "2"
    raw, side = read_stored(dat.open_reader(path, OpenOptions("dat")))
    assert side.warnings() == ()
    got = {
        "n": len(raw.t), "t_first": int(raw.t[0]), "t_last": int(raw.t[-1]), "x_min": int(raw.x.min()),
        "x_max": int(raw.x.max()), "y_min": int(raw.y.min()), "y_max": int(raw.y.max()),
        "n_on": int(raw.p.sum()),
        "sum_x": int(raw.x.sum(dtype=np.int64)), "sum_y": int(raw.y.sum(dtype=np.int64)),
        "sum_t_minus_first": int((raw.t - raw.t[0]).sum()),
    }  # fmt: skip
    assert got == {key: facts[key] for key in got}
