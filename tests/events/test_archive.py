"""NPZ and text in ZIP: streamed, checked, and refused where they lie."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import struct
import zipfile

import numpy as np
import pytest

from eventhpe.errors import FormatError
from eventhpe.events.blocks import BLOCK_EVENTS, Columns, Side, read_stored
from eventhpe.events.formats import archive
from eventhpe.events.formats.options import OpenOptions

RNG = np.random.default_rng(0)
N = BLOCK_EVENTS + 1000
T = np.sort(RNG.integers(0, 10**8, N))
X, Y, P = RNG.integers(0, 346, N), RNG.integers(0, 260, N), RNG.integers(0, 2, N)
COLUMNS = {"t": T, "x": X.astype("u2"), "y": Y.astype("i2"), "p": P.astype(bool)}
OPTIONS = OpenOptions("npz")
E2VID = "346 260\n" + "".join(
    f"{t // 10**6}.{t % 10**6:06} {x} {y} {p}\n" for t, x, y, p in zip(T, X, Y, P, strict=True)
)


def write_zip(path, members, **options):
    with zipfile.ZipFile(path, "w", **{"compression": zipfile.ZIP_DEFLATED} | options) as target:
        for name, content in members.items():
            target.writestr(name, content)
    return path


def same(raw, n=N):
    for name, expected in (("t", T), ("x", X), ("y", Y), ("p", P)):
        np.testing.assert_array_equal(getattr(raw, name), expected[:n], err_msg=name)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_columns(tmp_path, save):
    for names in ("txyp", ("ts", "xs", "ys", "ps"), ("Timestamps", "x", "y", "polarity")):
        save(tmp_path / "e.npz", extra=np.zeros(3), **dict(zip(names, COLUMNS.values(), strict=True)))
        assert archive.archive_kind(tmp_path / "e.npz") == "npz"
        reader = archive.open_reader(tmp_path / "e.npz", OPTIONS)
        raw, side = read_stored(reader)
        same(raw)
        assert side.warnings() == () and reader.format == "NPZ arrays" and reader.sensor_size is None


@pytest.mark.parametrize("layout", ["rows", "fortran", "records", "seconds"])
def test_npz_with_one_table(tmp_path, layout):
    table = np.stack([T, X, Y, P], 1)
    if layout == "fortran":
        table = np.asfortranarray(table)
    elif layout == "seconds":
        table = table.astype(float)
        table[:, 0] /= 1e6
    elif layout == "records":
        table = np.rec.fromarrays([X, Y, T, P], names="x,y,t,p")
    np.savez_compressed(tmp_path / "e.npz", **{"event_data" if layout == "records" else "events": table})
    same(read_stored(archive.open_reader(tmp_path / "e.npz", OPTIONS))[0])


def test_text_in_a_zip(tmp_path):
    path = write_zip(tmp_path / "e.zip", {"boxes.txt": E2VID})
    assert archive.archive_kind(path) == "zip"
    reader = archive.open_reader(path, OPTIONS)
    raw, side = read_stored(reader)
    same(raw)
    assert side.warnings() == () and reader.format == "E2VID text in ZIP" and reader.sensor_size == (260, 346)
    csv = write_zip(tmp_path / "c.zip", {"a/b.csv": "x,y,p,t\n1,2,1,3\n"}, compression=zipfile.ZIP_BZIP2)
    assert read_stored(archive.open_reader(csv, OPTIONS))[0].t.tolist() == [3]


def test_the_member_with_events_is_found(tmp_path):
    members = {
        "events.txt": E2VID[8:4000],
        "imu.txt": "0.0 9.81 0.1 0.2 -0.5 0.3 0.1\n" * 9,
        "images.txt": "0.1 images/0.png\n",
        "images/0.png": b"\x89PNG",
        "__MACOSX/._events.txt": b"\x00\x05",
    }
    reader = archive.open_reader(write_zip(tmp_path / "e.zip", members), OPTIONS)
    assert len(read_stored(reader)[0]) == E2VID[8:4000].count("\n")
    for bad in ({**members, "more.txt": "1 2 3 1\n"}, {"a.png": b"1", "b.png": b"2"}):
        with pytest.raises(FormatError, match=r"expected one text file .* found (2|0) among"):
            archive.open_reader(write_zip(tmp_path / "bad.zip", bad), OPTIONS)


def test_a_stream_is_read_once_and_may_start_anywhere(tmp_path, monkeypatch):
    path = write_zip(tmp_path / "e.zip", {"e.txt": E2VID})
    reader = archive.open_reader(path, OPTIONS)
    opened = []
    start = archive.MemberBytes._restart
    monkeypatch.setattr(archive.MemberBytes, "_restart", lambda self: (opened.append(1), start(self)))
    out, blocks, at = Columns(), [], reader.first()
    while at is not None:
        n, after = reader.decode(at, out, Side())
        blocks.append((at, n, int(out.t[0]), after))
        at = after
    assert len(blocks) > 2 and len(opened) <= 1
    for other in (reader, pickle.loads(pickle.dumps(reader))):
        for at, n, first, after in blocks[::-1] + [blocks[1]] * 2:
            assert other.decode(at, out, Side()) == (n, after) and out.t[0] == first
    reader.close()
    same(read_stored(reader)[0])


def test_a_forked_process_opens_its_own_stream(tmp_path):
    path = write_zip(tmp_path / "e.zip", {"e.txt": E2VID})
    reader = archive.open_reader(path, OPTIONS)
    out = Columns()
    n, after = reader.decode(reader.first(), out, Side())
    child = os.fork()
    if child == 0:
        got, _ = reader.decode(after, out, Side())
        os._exit(0 if got and out.t[0] == T[n] else 1)
    got, _ = reader.decode(after, out, Side())
    assert os.waitpid(child, 0)[1] == 0
    assert got and out.t[0] == T[n]


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({}, "holds no file"),
        ({"a.npy": b"abc", "b.npy": b"def"}, "expected the arrays"),
        ({"t.npy": b"", "x.npy": b"", "y.npy": b"", "p.npy": b""}, "header is damaged"),
        ({"readme.txt": "hello\nworld\n"}, "no events"),
    ],
)
def test_what_is_refused(tmp_path, members, message):
    path = write_zip(tmp_path / "e.zip", members)
    with pytest.raises(FormatError, match=message) as error:
        archive.open_reader(path, OPTIONS)
    assert str(path) in str(error.value)


def test_arrays_that_disagree_or_hold_objects(tmp_path):
    for columns in (COLUMNS | {"p": P[:-1]}, COLUMNS | {"x": np.stack([X, Y])}, COLUMNS | {"t": np.array(5)}):
        np.savez(tmp_path / "e.npz", **columns)
        with pytest.raises(FormatError, match="one length"):
            archive.open_reader(tmp_path / "e.npz", OPTIONS)
    np.savez(tmp_path / "e.npz", allow_pickle=True, **COLUMNS | {"p": np.array([None] * N)})
    with pytest.raises(FormatError, match="no numbers"):
        archive.open_reader(tmp_path / "e.npz", OPTIONS)


def test_claimed_sizes_are_checked(tmp_path):
    content = io.BytesIO()
    np.save(content, T[:10])
    short = content.getvalue()[:-8]
    path = write_zip(tmp_path / "e.npz", {f"{c}.npy": short for c in "txyp"})
    with pytest.raises(FormatError, match="promises 10 events, but only 9"):
        archive.open_reader(path, OPTIONS)


def test_encryption_bombs_and_odd_methods(tmp_path):
    data = bytearray(write_zip(tmp_path / "e.zip", {"e.txt": E2VID[:500]}).read_bytes())
    central = data.rfind(b"PK\x01\x02")
    for offset, value, message in (
        (8, 1, "encrypted"),
        (10, 14, "method 14"),
        (42, 10**9, "outside the archive"),
    ):
        bad = data.copy()
        struct.pack_into("<I" if offset == 42 else "<H", bad, central + offset, value)
        (tmp_path / "bad.zip").write_bytes(bad)
        with pytest.raises(FormatError, match=f"{message}|damaged"):
            archive.open_reader(tmp_path / "bad.zip", OPTIONS)
    struct.pack_into("<I", data, central + 24, 0xFFFFFFF0)
    (tmp_path / "bomb.zip").write_bytes(data)
    with pytest.raises(FormatError, match=r"claims 4,294,967,280 bytes"):
        archive.open_reader(tmp_path / "bomb.zip", OPTIONS)


def test_a_wrong_check_sum_is_found_at_the_end(tmp_path):
    path = write_zip(tmp_path / "e.zip", {"e.txt": E2VID}, compression=zipfile.ZIP_STORED)
    data = path.read_bytes()
    place = data.index(b"\n", 100_000) + 1
    path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
    reader = archive.open_reader(path, OPTIONS)
    with pytest.raises(FormatError, match="CRC"):
        read_stored(reader)
    np.savez(tmp_path / "e.npz", **COLUMNS)
    data = bytearray((tmp_path / "e.npz").read_bytes())
    data[data.index(b"x.npy") + 5000] ^= 1
    (tmp_path / "e.npz").write_bytes(data)
    with pytest.raises(FormatError, match="CRC"):
        read_stored(archive.open_reader(tmp_path / "e.npz", OPTIONS))


def test_truncation_and_damage(tmp_path):
    rng = random.Random(0)
    text = write_zip(tmp_path / "e.zip", {"e.txt": E2VID[:600]}).read_bytes()
    np.savez_compressed(tmp_path / "e.npz", **{c: a[:20] for c, a in COLUMNS.items()})
    arrays = (tmp_path / "e.npz").read_bytes()
    path = tmp_path / "bad.zip"
    read_ones = 0
    for data in (text, arrays):
        cases = [data[:end] for end in range(1, len(data), 3)]
        for _ in range(250):
            damaged = bytearray(data)
            for _ in range(rng.randrange(1, 4)):
                damaged[rng.randrange(len(data))] = rng.randrange(256)
            cases.append(bytes(damaged))
        for case in cases:
            path.write_bytes(case)
            try:
                raw, _ = read_stored(archive.open_reader(path, OPTIONS))
            except FormatError as error:
                assert str(path) in str(error)
            else:
                read_ones += 1
                assert len(raw) <= 40
    assert read_ones > 10, "dates and other fields that do not matter"


@pytest.mark.parametrize("name", ["board_346_e2vid.zip", "board_346.npz"])
def test_real_files(shared, name):
    entries = json.loads((shared / "events/facts.json").read_text())["files"]
    facts = next(f["facts"] for f in entries if f["path"] == f"containers/{name}")
    raw, side = read_stored(archive.open_reader(shared / "events/containers" / name, OPTIONS))
    got = {
        "n": len(raw), "t_first": int(raw.t[0]), "t_last": int(raw.t[-1]), "t_min": int(raw.t.min()),
        "t_max": int(raw.t.max()), "duration_us": int(raw.t[-1] - raw.t[0]),
        "n_backward_steps": int(np.count_nonzero(np.diff(raw.t) < 0)),
        "x_min": int(raw.x.min()), "x_max": int(raw.x.max()), "y_min": int(raw.y.min()),
        "y_max": int(raw.y.max()), "n_on": int(raw.p.sum()), "n_off": int((raw.p == 0).sum()),
        "sum_x": int(raw.x.sum(dtype=np.int64)), "sum_y": int(raw.y.sum(dtype=np.int64)),
        "sum_t_minus_first": int((raw.t - raw.t[0]).sum()),
    }  # fmt: skip
    assert got == facts and side.warnings() == ()
