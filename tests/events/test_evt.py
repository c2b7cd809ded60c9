"""Prophesee RAW: golden words, plain twins of the kernels, block borders, wraps, damage, and real files."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eventhpe.errors import FormatError
from eventhpe.events.blocks import Side, read_stored
from eventhpe.events.formats import evt
from eventhpe.events.formats.options import OpenOptions
from eventhpe.events.formats.prophesee_header import format_of, is_legacy_order, read_header

WORDS = {"evt2": "<u4", "evt21": "<u8", "evt3": "<u2", "evt4": "<u4"}
VERSIONS = {"evt2": "2.0", "evt21": "2.1", "evt3": "3.0", "evt4": "4.0"}
Row = tuple[int, int, int, int]


def write(path: Path, name: str, words: list[int], extra: str = "", tail: bytes = b"") -> Path:
    header = f"% evt {VERSIONS[name]}\n% geometry 2048x2048\n% integrator_name Prophesee\n{extra}% end\n"
    path.write_bytes(header.encode() + np.array(words, WORDS[name]).tobytes() + tail)
    return path


def read(path: Path, name: str, sensor: str | None = None) -> tuple[list[Row], Side]:
    raw, side = read_stored(evt.open_reader(path, OpenOptions(name, sensor)))
    return list(zip(*(c.tolist() for c in (raw.t, raw.x, raw.y, raw.p)), strict=True)), side


def edges(side: Side) -> list[tuple[int, int, int]]:
    parts = [np.concatenate(c).tolist() for c in zip(*side._triggers, strict=True)]
    return list(zip(*parts, strict=True))


# Writers of single words.


def cd2(t_low: int, x: int, y: int, p: int) -> int:
    return p << 28 | t_low << 22 | x << 11 | y


def high2(value: int) -> int:
    return 8 << 28 | value


def vector21(t_low: int, x: int, y: int, p: int, mask: int) -> int:
    return cd2(t_low, x, y, p) << 32 | mask


def swap_halves(word: int) -> int:
    return (word & 0xFFFFFFFF) << 32 | word >> 32


def y3(value: int) -> int:
    return value


def x3(value: int, p: int) -> int:
    return 2 << 12 | p << 11 | value


def base3(value: int, p: int) -> int:
    return 3 << 12 | p << 11 | value


def low3(value: int) -> int:
    return 6 << 12 | value


def high3(value: int) -> int:
    return 8 << 12 | value


# Plain twins of the kernels, from the bit tables.


def twin_evt3(words: list[int]) -> tuple[list[Row], list[tuple[int, int, int]]]:
    events: list[Row] = []
    triggers = []
    high, low, loops, row, column, polarity = -1, 0, 0, -1, -1, 0
    for w in words:
        kind, value = w >> 12, w & 0xFFF
        if kind == 8:
            if high >= 0:
                loops += high - value >= 2048
            if value != high:
                low = 0
            high = value
            continue
        if high < 0:
            continue
        t = loops << 24 | high << 12 | low
        if kind == 0:
            row = value & 0x7FF
        elif kind == 1:
            row = -1
        elif kind == 2 and row >= 0:
            events.append((t, value & 0x7FF, row, value >> 11))
        elif kind == 3:
            column, polarity = value & 0x7FF, value >> 11
        elif kind in (4, 5) and row >= 0 and 0 <= column < 4096:
            length = 12 if kind == 4 else 8
            events += [(t, column + i, row, polarity) for i in range(length) if value >> i & 1]
            column += length
        elif kind == 6:
            low = value
        elif kind == 10:
            triggers.append((t, value & 1, value >> 8))
    return events, triggers


def twin_34_bits(words: list[int], name: str) -> tuple[list[Row], list[tuple[int, int, int]]]:
    """EVT2, EVT2.1 (little) and EVT4."""
    events: list[Row] = []
    triggers = []
    high_kind, off_kind, trigger_kind = (14, 10, 9) if name == "evt4" else (8, 0, 10)
    fall = 1 << 33 if name == "evt4" else (1 << 34) - 64 - 10_000
    high, loops = -1, 0
    stream = iter(words)
    for word in stream:
        w, mask = (word >> 32, word & 0xFFFFFFFF) if name == "evt21" else (word, 1)
        kind, t_low, x, y = w >> 28, w >> 22 & 63, w >> 11 & 0x7FF, w & 0x7FF
        if name == "evt4" and kind in (12, 13):
            following = next(stream, None)
            if following is None:
                break
            kind, mask = kind - 2, following
        if kind == high_kind:
            value = w & 0xFFFFFFF
            if high >= 0 and (high - value) << 6 >= fall:
                loops += 1
            high = value
        elif high < 0:
            continue
        elif kind in (off_kind, off_kind + 1):
            t = (loops << 34) + (high << 6) + t_low
            events += [(t, x + i, y, kind - off_kind) for i in range(32) if mask >> i & 1]
        elif kind == trigger_kind:
            triggers.append(((loops << 34) + (high << 6) + t_low, w & 1, w >> 8 & 31))
    return events, triggers


def twin(words: list[int], name: str) -> tuple[list[Row], list[tuple[int, int, int]]]:
    return twin_evt3(words) if name == "evt3" else twin_34_bits(words, name)


def random_words(name: str, n: int, seed: int) -> list[int]:
    """Any bits, with the kinds that matter in good number and clocks that turn."""
    rng = np.random.default_rng(seed)
    bits = 8 * np.dtype(WORDS[name]).itemsize
    words = rng.integers(0, 1 << bits, n, dtype=np.uint64)
    if name == "evt3":
        weights = {0: 9, 1: 1, 2: 20, 3: 4, 4: 12, 5: 6, 6: 9, 7: 1, 8: 6, 9: 1, 10: 1, 14: 1}
        kinds = rng.choice(list(weights), n, p=np.array(list(weights.values())) / sum(weights.values()))
        words = words & np.uint64(0xFFF) | kinds.astype(np.uint64) << np.uint64(12)
        equal = (words >> np.uint64(12) == 8) & (rng.random(n) < 0.7)
        words[equal] = np.uint64(high3(77))
    else:
        top = np.uint64(bits - 4)
        kinds = rng.choice([0, 1, 8, 10, 11, 12, 13, 14], n).astype(np.uint64)
        chosen = rng.random(n) < 0.9
        words[chosen] = words[chosen] & ((np.uint64(1) << top) - np.uint64(1)) | kinds[chosen] << top
    return [int(w) for w in words]


def test_evt2_golden_words(tmp_path: Path) -> None:
    words = [
        cd2(1, 2, 3, 1),  # before the first TIME_HIGH
        0x80000001, 0x10400803, 0x0FC13007, 0xA0400301, 0xAFC00300, 0xD0000000, 0x50000000, 0xE0000000,
        0xF0000000, 0x20000000,
    ]  # fmt: skip
    rows, side = read(write(tmp_path / "a.raw", "evt2", words), "evt2")
    assert rows == [(64 + 1, 1, 3, 1), (64 + 63, 38, 7, 0)]
    assert edges(side) == [(65, 1, 3), (127, 0, 3)]
    assert side.elements == {"monitoring words": 4}
    assert side.losses == {
        "words before the first TIME_HIGH or address skipped": 1,
        "words of unknown type skipped": 1,
    }


def test_evt21_golden_words_in_both_orders(tmp_path: Path) -> None:
    words = [
        0x8000000200000000,  # TIME_HIGH 2
        0x1048000580000001,  # ON, low 1, x 256, y 5, x+0 and x+31
        0x0FC1000600000006,  # OFF, low 63, x 32, y 6, x+1 and x+2
        0xA040070100000000,  # trigger, low 1, id 7, rising
        0xE000000000000000,
    ]
    expected = [(129, 256, 5, 1), (129, 287, 5, 1), (191, 33, 6, 0), (191, 34, 6, 0)]
    for order, stored in (("little", words), ("legacy", [swap_halves(w) for w in words])):
        path = write(tmp_path / f"{order}.raw", "evt21", stored, f"% endianness {order}\n")
        rows, side = read(path, "evt21")
        assert rows == expected
        assert edges(side) == [(129, 1, 7)]
        assert side.elements == {"monitoring words": 1}


def test_evt3_golden_words(tmp_path: Path) -> None:
    words = [
        x3(9, 1), y3(8),  # before the first TIME_HIGH
        0x8002, 0x6003, x3(1, 0),  # no row yet
        0x0005, 0x2807, 0x2006,  # y 5: ON at 7, OFF at 6
        0x8002, 0x2001,  # an equal TIME_HIGH keeps the low part
        0x8003, 0x2001,  # a new one clears it
        0x6004, 0x3864, 0x4801, 0x4000, 0x5081,  # ON vector from 100: 100, 111, 124, 131
        0xA301, 0xE014, 0x7001, 0xF002, 0x9000,
    ]  # fmt: skip
    rows, side = read(write(tmp_path / "a.raw", "evt3", words), "evt3")
    old, new = 2 << 12 | 3, 3 << 12
    assert rows == [
        (old, 7, 5, 1), (old, 6, 5, 0), (old, 1, 5, 0), (new, 1, 5, 0),
        (new + 4, 100, 5, 1), (new + 4, 111, 5, 1), (new + 4, 124, 5, 1), (new + 4, 131, 5, 1),
    ]  # fmt: skip
    assert edges(side) == [(new + 4, 1, 3)]
    assert side.elements == {"monitoring words": 3}
    assert side.losses == {
        "words before the first TIME_HIGH or address skipped": 3,
        "words of unknown type skipped": 1,
    }


def test_evt4_golden_words(tmp_path: Path) -> None:
    words = [
        0xC0000000, 0xE0000005,  # a vector before the first TIME_HIGH, whose mask looks like one
        0xE0000001, 0xB0400803, 0xAFC13007, 0xD0801002, 0x80000001, 0x90400301, 0x60000000, 0x70000000,
        0xFFFFFFFF,
    ]  # fmt: skip
    rows, side = read(write(tmp_path / "a.raw", "evt4", words), "evt4")
    assert rows == [(65, 1, 3, 1), (127, 38, 7, 0), (66, 2, 2, 1), (66, 33, 2, 1)]
    assert edges(side) == [(65, 1, 3)]
    assert side.elements == {"monitoring words": 2}
    assert side.losses == {"words before the first TIME_HIGH or address skipped": 2}


@pytest.mark.parametrize("name", ["evt2", "evt21", "evt4"])
def test_34_bit_clock_wraps_twice_and_ignores_small_falls(tmp_path: Path, name: str) -> None:
    top = (1 << 28) - 1
    highs = [top - 5, top - 6, top, 0, 3, top, 2]
    high_kind, off_kind = (14, 10) if name == "evt4" else (8, 0)
    words = []
    for high in highs:
        pair = [high_kind << 28 | high, off_kind << 28 | 7 << 22 | 1 << 11 | 1]
        words += [w << 32 | 1 for w in pair] if name == "evt21" else pair
    rows, _ = read(write(tmp_path / "a.raw", name, words, "% endianness little\n"), name)
    turn = 1 << 34
    loops = [0, 0, 0, 1, 1, 1, 2]
    assert [t for t, *_ in rows] == [k * turn + high * 64 + 7 for k, high in zip(loops, highs, strict=True)]


def test_24_bit_clock_wraps_and_ignores_small_falls(tmp_path: Path) -> None:
    highs = [4000, 3999, 4095, 0, 2047, 4095, 2048, 2046, 4095, 2046]
    words = [y3(0)]
    for high in highs:
        words += [high3(high), y3(1), x3(1, 1)]
    rows, _ = read(write(tmp_path / "a.raw", "evt3", words), "evt3")
    loops = [0, 0, 0, 1, 1, 1, 1, 1, 1, 2]  # 4095 -> 2048 is 2047: no turn; 4095 -> 2046 is one
    assert [t for t, *_ in rows] == [k << 24 | high << 12 for k, high in zip(loops, highs, strict=True)]


def test_evt3_vectors_of_three_words_near_the_end_of_the_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evt, "BLOCK_EVENTS", 100)
    rng = np.random.default_rng(8)
    words = [high3(1), y3(3)]
    for k in range(300):
        words += [base3(32 * (k % 65), k & 1)] + [
            int(m) for m in rng.integers(0, 1 << 12, 3) | (4 << 12, 4 << 12, 0)
        ]
        words[-1] = 5 << 12 | words[-1] & (0xFF if k % 3 else 0xFFF)
        if k % 7 == 0:
            words.insert(-1, x3(5, 1))
    rows, _ = read(write(tmp_path / "a.raw", "evt3", words), "evt3")
    assert rows == twin_evt3(words)[0]
    assert len(rows) > 4000


def test_evt3_vectors_that_run_off_every_sensor_end(tmp_path: Path) -> None:
    words = [high3(1), y3(1), base3(2047, 1)] + [0x4FFF] * 2000
    rows, side = read(write(tmp_path / "a.raw", "evt3", words), "evt3")
    used = -(-(4096 - 2047) // 12)
    assert [x for _, x, _, _ in rows] == list(range(2047, 2047 + 12 * used))
    assert side.losses["words before the first TIME_HIGH or address skipped"] == 2000 - used


@pytest.mark.parametrize("name", list(WORDS))
@pytest.mark.parametrize("seed", [1, 2])
def test_kernels_equal_their_twins_whatever_the_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, seed: int
) -> None:
    words = random_words(name, 4000, seed)
    path = write(tmp_path / "a.raw", name, words, "% endianness little\n")
    events, triggers = twin(words, name)
    assert len(events) > 500 and len(triggers) > 20
    whole, side = read(path, name)
    assert whole == events
    assert edges(side) == triggers
    for block, piece, pieces in ((64, 4096, 40), (100, 64, 3), (1 << 17, 24, 2)):
        monkeypatch.setattr(evt, "BLOCK_EVENTS", block)
        monkeypatch.setattr(evt, "_PIECE", piece)
        monkeypatch.setattr(evt, "_MOST_PIECES", pieces)
        rows, again = read(path, name)
        assert rows == events
        assert edges(again) == triggers
        assert (again.losses, again.elements) == (side.losses, side.elements)


@pytest.mark.parametrize("name", list(WORDS))
def test_blocks_decode_alike_in_any_order_after_pickling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(evt, "BLOCK_EVENTS", 128)
    path = write(tmp_path / "a.raw", name, random_words(name, 3000, 3), "% endianness little\n")
    reader = evt.open_reader(path, OpenOptions(name))
    blocks = []
    at = reader.first()
    while at is not None:
        out = evt.Columns(128)
        n, following = reader.decode(at, out, Side())
        assert all(type(part) is int for part in at)
        blocks.append((at, [c[:n].copy() for c in (out.t, out.x, out.y, out.p)]))
        at = following
    assert len(blocks) > 4
    copy = pickle.loads(pickle.dumps(reader))
    for at, columns in reversed(blocks):
        out = evt.Columns(500)
        n, _ = copy.decode(at, out, Side())
        for expected, got in zip(columns, (out.t, out.x, out.y, out.p), strict=True):
            np.testing.assert_array_equal(got[:n], expected)


@pytest.mark.parametrize("name", list(WORDS))
def test_truncation_anywhere_keeps_all_complete_words(tmp_path: Path, name: str) -> None:
    words = random_words(name, 60, 5)
    whole = write(tmp_path / "a.raw", name, words, "% endianness little\n").read_bytes()
    start = read_header(tmp_path / "a.raw").length
    item = np.dtype(WORDS[name]).itemsize
    path = tmp_path / "cut.raw"
    for length in range(start, len(whole) + 1):
        path.write_bytes(whole[:length])
        rows, side = read(path, name)
        number, rest = divmod(length - start, item)
        assert rows == twin(words[:number], name)[0]
        told = side.losses["bytes at the end are no complete word; ignored"]
        assert told % item == rest and (told == rest or name == "evt4")


def test_a_cut_evt4_vector_is_told(tmp_path: Path) -> None:
    rows, side = read(write(tmp_path / "a.raw", "evt4", [0xE0000001, 0xD0801002]), "evt4")
    assert rows == []
    assert side.losses == {"bytes at the end are no complete word; ignored": 4}


@pytest.mark.parametrize("name", list(WORDS))
def test_damage_gives_a_result_or_one_format_error(tmp_path: Path, name: str) -> None:
    whole = write(tmp_path / "a.raw", name, random_words(name, 200, 6)).read_bytes()
    rng = np.random.default_rng(7)
    path = tmp_path / "damaged.raw"
    for _ in range(150):
        damaged = bytearray(whole)
        for place in rng.integers(0, len(whole), 4):
            damaged[place] = int(rng.integers(0, 256))
        path.write_bytes(damaged)
        try:
            read(path, format_of(path) if damaged.startswith(b"% ") else name)
        except FormatError as error:
            assert str(path) in str(error)


@pytest.mark.parametrize(
    ("lines", "name", "size"),
    [
        ("% system_ID 21\n% evt 2.0\n", "evt2", (480, 640)),
        ("% Date 2020-09-25 07:48:29\n% evt 3.0\n% system_ID 48\n", "evt3", (720, 1280)),
        ("% format EVT3;height=260;width=346\n% geometry 1x1\n% end\n", "evt3", (260, 346)),
        ("% format EVT21;endianness=little\n% geometry 320x320\n% end\n", "evt21", (320, 320)),
        ("% format EVT4\r\n% evt 3.0\r\n% end\r\n", "evt4", None),
        ("% system_ID 28\n% integrator_name Prophesee\n", "evt2", (480, 640)),
        ("% evt 2.1\n% system_ID 49\n% camera_integrator_name Other\n% end\n", "evt21", None),
    ],
)
def test_headers(tmp_path: Path, lines: str, name: str, size: tuple[int, int] | None) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(lines.encode() + b"% \x00\x80" * 4)  # data that begin like a header line
    assert format_of(path) == name
    reader = evt.open_reader(path, OpenOptions(name))
    assert reader.sensor_size == size
    assert reader.first()[0] == len(lines)
    assert evt.open_reader(path, OpenOptions(name, "DAVIS346")).sensor_size == (260, 346)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("% format HISTO3D;height=1;width=2\n% end\n", "HISTO3D"),
        ("% evt 9.9\n% end\n", "9.9"),
        ("% nothing useful\n% end\n", "neither"),
        ("% evt 3.0\n% geometry 0x480\n% end\n", "sensor size"),
        ("% format EVT3;height=99999999;width=640\n% end\n", "sensor size"),
    ],
)
def test_headers_that_cannot_be_used(tmp_path: Path, lines: str, message: str) -> None:
    path = tmp_path / "a.raw"
    path.write_text(lines)
    with pytest.raises(FormatError, match=message) as error:
        evt.open_reader(path, OpenOptions(format_of(path)))
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ("lines", "legacy"),
    [
        ("% endianness legacy\n", True),
        ("% format EVT21;endianness=legacy;height=1;width=1\n% endianness little\n", True),
        ("% format EVT21;endianness=little\n% system_ID 49\n", False),
        ("% system_ID 49\n", True),
        ("% system_ID 54\n% integrator_name Prophesee\n", True),
        ("% system_ID 55\n", False),
        ("% system_ID 49\n% plugin_integrator_name Other\n", False),
        ("% evt 2.1\n", False),
    ],
)
def test_order_of_evt21_halves(tmp_path: Path, lines: str, legacy: bool) -> None:
    path = tmp_path / "a.raw"
    path.write_text(lines)
    assert is_legacy_order(read_header(path)) is legacy


@pytest.mark.parametrize("change", [int, swap_halves], ids=["little", "legacy"])
def test_evt21_without_header_finds_the_order_by_the_clock(
    tmp_path: Path, change: Callable[[int], int]
) -> None:
    words = []
    for high in range(100, 140):
        words += [high2(high) << 32, vector21(3, 64, 9, 1, 0x8000_0001)]
    path = tmp_path / "a.raw"
    path.write_bytes(np.array([change(w) for w in words], "<u8").tobytes())
    rows, side = read(path, "evt21", "IMX636")
    assert rows[:2] == [(100 * 64 + 3, 64, 9, 1), (100 * 64 + 3, 95, 9, 1)]
    assert len(rows) == 80
    assert any("word order" in line for line in side.warnings())


def test_files_without_header_are_read_when_the_format_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.raw"
    path.write_bytes(struct.pack("<4H", high3(1), low3(2), y3(3), x3(4, 1)))
    reader = evt.open_reader(path, OpenOptions("evt3"))
    assert reader.sensor_size is None
    raw, _ = read_stored(reader)
    assert (raw.t.tolist(), raw.x.tolist(), raw.y.tolist(), raw.sensor_size) == ([4098], [4], [3], (4, 5))


def test_an_empty_stream_and_a_missing_file(tmp_path: Path) -> None:
    rows, side = read(write(tmp_path / "a.raw", "evt3", []), "evt3")
    assert rows == [] and side.warnings() == ()
    with pytest.raises(FormatError, match=r"none\.raw"):
        evt.open_reader(tmp_path / "none.raw", OpenOptions("evt3"))


def raw_files() -> list[str]:
    return [
        "psee-evt2-sparks/evt2.raw", "psee-evt2-rotor/evt2_sample.raw", "psee-evt3-driving/evt3_sample.raw",
        "containers/person_vga_evt2.raw", "containers/person_vga_evt21_legacy.raw",
        "containers/person_vga_evt21_little.raw", "containers/person_vga_evt3.raw",
        "containers/person_vga_evt3_wrap24.raw", "containers/person_vga_evt4.raw",
    ]  # fmt: skip


def facts_of(raw: Any) -> dict[str, int]:
    """The numbers of facts.json, from decoded events."""
    first = int(raw.t[0])
    return {
        "n": len(raw.t), "t_first": first, "t_last": int(raw.t[-1]), "t_min": int(raw.t.min()),
        "t_max": int(raw.t.max()), "n_backward_steps": int(np.count_nonzero(np.diff(raw.t) < 0)),
        "x_min": int(raw.x.min()), "x_max": int(raw.x.max()), "y_min": int(raw.y.min()),
        "y_max": int(raw.y.max()), "n_on": int(raw.p.sum()), "sum_x": int(raw.x.sum(dtype=np.int64)),
        "sum_y": int(raw.y.sum(dtype=np.int64)), "sum_t_minus_first": int((raw.t - first).sum()),
    }  # fmt: skip


@pytest.mark.parametrize("name", raw_files())
def test_real_files(shared: Path, name: str) -> None:
    entries = json.loads((shared / "events/facts.json").read_text())["files"]
    entry = next(e for e in entries if e["path"] == name)
    path = shared / "events" / name
    reader = evt.open_reader(path, OpenOptions(format_of(path)))
    width, height = map(int, entry["resolution"].split("x"))
    assert reader.sensor_size == (height, width)
    raw, side = read_stored(reader)
    got = facts_of(raw)
    assert got == {key: entry["facts"][key] for key in got}
    assert side.warnings() == ()
    if name == "containers/person_vga_evt3.raw":
        triggers = edges(side)
        assert (len(triggers), sum(v for _, v, _ in triggers), triggers[0][0]) == (4157, 2079, 7139840)
