"""Text and CSV: every spelling of a line, exact times, and what is said about lines that are none."""

from __future__ import annotations

import json
import pickle
import random
import re
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import numpy as np
import pytest

from eventhpe.errors import FormatError
from eventhpe.events.blocks import BLOCK_EVENTS, Columns, Side, read_stored
from eventhpe.events.formats import text
from eventhpe.events.formats.options import OpenOptions

PLAIN = OpenOptions("text")
SCALE = {"s": 10**6, "ms": 10**3, "us": 1, "ns": Decimal("0.001")}


def read(folder: Path, content: bytes | str, **options):
    path = folder / "events.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    reader = text.open_reader(path, OpenOptions("text", **options))
    raw, side = read_stored(reader)
    return (
        reader,
        list(zip(raw.t.tolist(), raw.x.tolist(), raw.y.tolist(), raw.p.tolist(), strict=True)),
        side,
    )


def events_of(content: str, unit: str) -> list[tuple[int, int, int, int]]:
    """Plain twin: t x y p per line, by exact decimal numbers."""
    events = []
    for line in content.splitlines():
        cells = re.split(r"[ \t,;]+", line.strip())
        t = int((Decimal(cells[0]) * SCALE[unit]).to_integral_value(ROUND_HALF_UP))
        p = {"true": 1, "false": 0}.get(cells[3].lower())
        events.append(
            (
                t,
                int(Decimal(cells[1])),
                int(Decimal(cells[2])),
                int(Decimal(cells[3]) > 0) if p is None else p,
            )
        )
    return events


def test_e2vid_text(tmp_path):
    reader, events, side = read(
        tmp_path, "346 260\n0.000001 219 244 0\n12.5 0 259 1\n1500000000.123456 345 0 1\n"
    )
    assert reader.format == "E2VID text" and reader.sensor_size == (260, 346)
    assert events == [(1, 219, 244, 0), (12_500_000, 0, 259, 1), (1_500_000_000_123_456, 345, 0, 1)]
    assert side.warnings() == ()


def test_rpg_text_has_no_size_and_the_user_may_say_it(tmp_path):
    reader, events, _ = read(tmp_path, "0.1 3 4 1\n0.2 5 6 0", sensor="DAVIS240")
    assert reader.format == "event text" and reader.sensor_size == (180, 240)
    assert events == [(100_000, 3, 4, 1), (200_000, 5, 6, 0)]
    assert read(tmp_path, "0.1 3 4 1\n")[0].sensor_size is None


def test_v2e_text(tmp_path):
    content = "#!events.txt\n# This is a text DVS\n# Format is time (float s), x, y, polarity\n#\n"
    _, events, side = read(tmp_path, content + "0.5 1 2 1 0\n0.6 3 4 0 1\n# in between\n\n0.7 5 6 1\n")
    assert events == [(500_000, 1, 2, 1), (600_000, 3, 4, 0), (700_000, 5, 6, 1)]
    assert side.warnings() == ()


@pytest.mark.parametrize(
    ("content", "label"),
    [
        ("t,x,y,p\n7,1,2,1\n9,3,4,0\n", "CSV"),
        ("x,y,p,t\n1,2,1,7\n3,4,0,9\n", "CSV"),
        ('"Timestamp";"X";"Y";"Polarity"\r\n7;1;2;True\r\n9;3;4;False\r\n', "CSV"),
        ("\ufeffpolarity, time, extra, y, x\n1, 7, -5.5, 2, 1\n-1, 9, abc, 4, 3\n", "CSV"),
        (",t,x,y,p\n0,7,1,2,1\n1,9,3,4,0\n", "CSV"),
        ("timestamp_ms x y pol\n0.007 1 2 1\n0.009 3 4 -1\n", "event text"),
        ("t [ns]\tx\ty\tp\n7000\t1\t2\t1\n8500\t3\t4\t0\n", "event text"),
        ("# x y t p\n1 2 7 1\n3 4 9 0\n", "event text"),
        ("%geometry:640,480\n1,2,1,7\n3,4,0,9\n", "CSV"),
        ("  7 1   2\t1  \n\n 9 3 4\t0\t\n", "event text"),
        ("7e-6 1.0 2.000e+00 1.00\n9e-6 3 4 -1.0\n", "event text"),
    ],
)
def test_columns_and_separators(tmp_path, content, label):
    reader, events, side = read(tmp_path, content)
    assert events == [(7, 1, 2, 1), (9, 3, 4, 0)]
    assert reader.format == label and side.warnings() == ()
    assert reader.sensor_size == ((480, 640) if "geometry" in content else None)


@pytest.mark.parametrize(
    ("time", "micros"),
    [
        ("0.0000005", 1),
        ("0.0000004999999999999", 0),
        ("-0.0000005", -1),
        ("-3.25", -3_250_000),
        ("1.1234565", 1_123_457),
        ("1.12345649999", 1_123_456),
        ("1.12345650", 1_123_457),
        ("2.", 2_000_000),
        (".25", 250_000),
        ("1.5e-3", 1500),
        ("1E6", 10**12),
        ("1.744227144732712000e+09", 1_744_227_144_732_712),
        ("1744227144.732712", 1_744_227_144_732_712),
        ("0.999999999999999999999999999", 1_000_000),
        ("00000000000000000000001.5", 1_500_000),
    ],
)
def test_seconds_are_exact(tmp_path, time, micros):
    _, events, side = read(tmp_path, f"0.0 1 1 1\n{time} 2 3 0\n")
    assert events == [(0, 1, 1, 1), (micros, 2, 3, 0)], side.warnings()


def test_the_unit_is_decided_once(tmp_path):
    assert read(tmp_path, "5 1 2 1\n6.5 1 2 1\n")[1][0][0] == 5_000_000, "one decimal point: seconds"
    assert read(tmp_path, "5 1 2 1\n6 1 2 1\n")[1][0][0] == 5
    late = "".join(f"{k} 1 2 1\n" for k in range(1000)) + "1000.5 1 2 1\n"
    assert read(tmp_path, late)[1][-1][0] == 1001
    for unit, expected in {"s": 5_000_000, "ms": 5000, "us": 5, "ns": 0}.items():
        assert read(tmp_path, "5 1 2 1\n", time_unit=unit)[1] == [(expected, 1, 2, 1)]
    assert read(tmp_path, "1.5 1 2 1\n", time_unit="us")[1][0][0] == 2
    assert read(tmp_path, "1744227144732712499,1,2,1\n", time_unit="ns")[1][0][0] == 1744227144732712


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_random_lines_against_exact_decimals(tmp_path, unit):
    rng = random.Random(unit)
    lines = []
    for _ in range(3000):
        digits = rng.choice([1, 2, 5, 8, 9, 12, 16, 18])
        time = str(rng.randrange(10**digits))
        if rng.random() < 0.7:
            time += "." + "".join(rng.choices("0123456789", k=rng.choice([1, 3, 6, 7, 8, 9, 15])))
        sep = rng.choice([" ", " ", " ", ",", ", ", "\t", "  "])
        p = rng.choice(["0", "1", "-1", "True", "false", "1.0"])
        lines.append(sep.join([time, str(rng.randrange(2000)), str(rng.randrange(65535)), p]))
    content = "\n".join(lines) + "\n"
    _, events, side = read(tmp_path, "t x y p\n" + content, time_unit=unit)
    expected = events_of(content, unit)
    assert events == [e for e in expected if e[0] <= 10**18], "times of more than 31,700 years are damage"
    assert side.losses["unreadable lines skipped"] == len(expected) - len(events)
    assert len(events) > 2000


@pytest.mark.parametrize(
    "line",
    [
        "nonsense", "1.0 2 3", "1.0 2 3 5", "1.0 -2 3 1", "1.0 65536 3 1", "1.0 2.5 3 1", "x1.0 2 3 1",
        "1.0 2 3 1x", "1.0.0 2 3 1", "1.0 2 3 0.5", "nan 2 3 1", "1e 2 3 1", "1e400 2 3 1", "1.0,,3,1",
        "99999999999999999999 2 3 1", "- 2 3 1", "1.0 2 3 -", "1.0 2 3 Truth", "\x01\xff", "1.0 2 3 --1",
        "1.0 123456789 3 1", "-9e99999999999 1 1 1",
    ],
)  # fmt: skip
def test_unreadable_lines_are_skipped_and_counted(tmp_path, line):
    good = "".join(f"0.{k:03} 1 2 1\n" for k in range(1000))
    _, events, side = read(tmp_path, good.encode() * 100 + line.encode("latin-1") + b"\n0.5 9 8 0\n")
    assert len(events) == 100_001 and events[-1] == (500_000, 9, 8, 0)
    assert side.warnings() == ("1 unreadable lines skipped",)


def test_named_columns_may_lie_between_pixels(tmp_path):
    _, events, side = read(tmp_path, "t,x,y,p\n1,2.5,3.4,1\n2,7,8,0\n")
    assert events == [(1, 3, 3, 1), (2, 7, 8, 0)]
    assert side.warnings() == ("2 coordinates between pixels moved to the nearest pixel",)


@pytest.mark.parametrize(
    "content",
    [
        "219,244,0,1744227144732712\n" * 3,
        "t,x,y\n1,2,3\n",
        "time,left,right,polarity\n1,2,3,4\n",
        "0.0 9.81 0.1 0.2 -0.5 0.3 0.1\n" * 5,
        "0.1 images/frame_0.png\n0.2 images/frame_1.png\n",
        "hello world\n",
        "# only a comment\n",
        "0 260\n1 2 3 1\n",
        "\x00\x01\x02\x03",
        "".join(f"{k * 7919 % 346} {k * 31 % 260} {k * 1000 % 60000} {k % 2}\n" for k in range(100)),
    ],
)
def test_what_is_refused(tmp_path, content):
    with pytest.raises(FormatError, match="events"):
        read(tmp_path, content)
    assert not text.looks_like_events(content.encode())


def test_recognition_by_the_first_bytes():
    e2vid = b"346 260\n" + b"0.000001 219 244 0\n" * 500
    for end in (30, 31, 44, 100, 4096):
        assert text.looks_like_events(e2vid[:end])
    assert text.looks_like_events(b"t,x,y,p\n") and text.looks_like_events(b"1 2 3 1")
    assert not text.looks_like_events(b"346 260\n") and not text.looks_like_events(b"")
    assert not text.looks_like_events(b"199.09 198.82 132.19 110.71 -0.36 0.15\n")
    assert not text.looks_like_events(b"%PDF-1.4\n1 0 obj\n<< >>\n")


def test_blocks_are_the_same_from_any_checkpoint_and_after_pickling(tmp_path):
    rng = np.random.default_rng(0)
    n = 150_000
    t = np.sort(rng.integers(0, 10**9, n))
    x, y, p = rng.integers(0, 1280, n), rng.integers(0, 720, n), rng.integers(0, 2, n)
    lines = "\n".join(f"{a},{b},{c},{d}" for a, b, c, d in zip(t, x, y, p, strict=True))
    path = tmp_path / "big.csv"
    path.write_text("t,x,y,p\n" + lines)
    reader = text.open_reader(path, PLAIN)
    raw, _ = read_stored(reader)
    for got, expected in zip((raw.t, raw.x, raw.y, raw.p), (t, x, y, p), strict=True):
        np.testing.assert_array_equal(got, expected)
    starts, at, out = [], reader.first(), Columns()
    while at is not None:
        n, after = reader.decode(at, out, Side())
        starts.append((at, n, int(out.t[0]), after))
        at = after
    assert len(starts) > 2
    copy = pickle.loads(pickle.dumps(reader))
    for at, n, first, after in reversed(starts):
        assert copy.decode(at, out, Side()) == (n, after) and out.t[0] == first


def test_shortest_lines_fit_into_a_block(tmp_path):
    path = tmp_path / "short.txt"
    path.write_bytes(b"0 0 0 0\n" * (2 * BLOCK_EVENTS) + b"0 0 0 1")
    out = Columns()
    reader = text.open_reader(path, PLAIN)
    assert reader.decode(reader.first(), out, Side())[0] == BLOCK_EVENTS and out.capacity == BLOCK_EVENTS
    raw, _ = read_stored(reader)
    assert len(raw) == 2 * BLOCK_EVENTS + 1 and raw.p.sum() == 1


def test_lines_longer_than_a_block(tmp_path):
    good = b"1 2 3 1\n"
    for length in (9000, (1 << 20) - 8, 1 << 20, (1 << 20) + 5, 3 << 20):
        for filler in (b"9", b" ", b","):
            _, events, side = read(tmp_path, good * 5 + filler * length + b" 1 1 1\n" + good)
            assert events[:5] == [(1, 2, 3, 1)] * 5 and events[-1] == (1, 2, 3, 1)
            assert len(events) == 6 + (filler == b" " and False), (length, filler)
            assert side.losses["unreadable lines skipped"] == 1


def test_every_truncation(tmp_path):
    content = b"346 260\n0.000001 219 244 0\r\n0.000003 5 6 1\n\n0.000004 345 259 1\n"
    path = tmp_path / "cut.txt"
    whole = [(1, 219, 244, 0), (3, 5, 6, 1), (4, 345, 259, 1)]
    for end in range(1, len(content) + 1):
        path.write_bytes(content[:end])
        try:
            raw, _ = read_stored(text.open_reader(path, PLAIN))
        except FormatError:
            assert end < 27
            continue
        events = list(zip(raw.t.tolist(), raw.x.tolist(), raw.y.tolist(), raw.p.tolist(), strict=True))
        complete = sum(end >= stop for stop in (26, 42, 62))
        assert events[:complete] == whole[:complete] and len(events) <= complete + 1


def test_random_damage(tmp_path):
    rng = random.Random(1)
    content = b"t,x,y,p\n" + b"".join(b"%d,%d,%d,%d\n" % (k * 3, k % 346, k % 260, k % 2) for k in range(60))
    path = tmp_path / "damaged.csv"
    read_ones = 0
    for _ in range(400):
        damaged = bytearray(content)
        for _ in range(rng.randrange(1, 12)):
            damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        path.write_bytes(damaged)
        try:
            raw, _ = read_stored(text.open_reader(path, PLAIN))
        except FormatError as error:
            assert str(path) in str(error)
        else:
            assert len(raw) <= 61
            read_ones += 1
    assert 0 < read_ones < 400


@pytest.mark.parametrize(
    "name", ["containers/board_346_e2vid.txt", "containers/board_346.csv", "davis346-evl/event.txt"]
)
def test_real_files(shared, name):
    facts = {f["path"]: f["facts"] for f in json.loads((shared / "events/facts.json").read_text())["files"]}[
        name
    ]
    reader = text.open_reader(shared / "events" / name, PLAIN)
    raw, side = read_stored(reader)
    first = raw.t - raw.t[0]
    got = {
        "n": len(raw), "t_first": int(raw.t[0]), "t_last": int(raw.t[-1]), "t_last_s": float(raw.t[-1]) / 1e6,
        "t_min": int(raw.t.min()), "t_max": int(raw.t.max()), "sum_t_minus_first": int(first.sum()),
        "x_min": int(raw.x.min()), "x_max": int(raw.x.max()), "sum_x": int(raw.x.sum(dtype=np.int64)),
        "y_min": int(raw.y.min()), "y_max": int(raw.y.max()), "sum_y": int(raw.y.sum(dtype=np.int64)),
        "n_on": int(raw.p.sum()), "n_off": int((raw.p == 0).sum()),
    }  # fmt: skip
    common = set(got) & set(facts)
    assert len(common) >= 5 and {k: got[k] for k in common} == {k: facts[k] for k in common}
    assert side.warnings() == () and text.looks_like_events((shared / "events" / name).read_bytes()[:4096])
