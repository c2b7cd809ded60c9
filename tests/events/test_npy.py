"""NPY arrays of events: rows, records, columns; damage; nothing is unpickled."""

from __future__ import annotations

import io
import json
import pickle
import random

import numpy as np
import pytest

from eventhpe.errors import FormatError
from eventhpe.events.blocks import BLOCK_EVENTS, read_stored
from eventhpe.events.formats import npy
from eventhpe.events.formats.options import OpenOptions

RNG = np.random.default_rng(0)
N = BLOCK_EVENTS + 1000
T = np.sort(RNG.integers(0, 10**8, N)) + 1_600_000_000_000_000
X, Y, P = RNG.integers(0, 346, N), RNG.integers(0, 260, N), RNG.integers(0, 2, N)
RECORD = np.dtype([("x", "<u2"), ("y", "<u2"), ("timestamp", "<i8"), ("polarity", "?")])


def records(n=N) -> np.ndarray:
    array = np.empty(n, RECORD)
    array["x"], array["y"], array["timestamp"], array["polarity"] = X[:n], Y[:n], T[:n], P[:n]
    return array


def read(folder, array, **options):
    path = folder / "events.npy"
    np.save(path, array)
    reader = npy.open_reader(path, OpenOptions("npy", **options))
    raw, side = read_stored(reader)
    return raw, side, reader


def same(raw, n=N):
    for name, expected in (("t", T), ("x", X), ("y", Y), ("p", P)):
        np.testing.assert_array_equal(getattr(raw, name), expected[:n], err_msg=name)


def rows(kind, n=N):
    return np.stack([T[:n], X[:n], Y[:n], P[:n]], 1).astype(kind)


@pytest.mark.parametrize("kind", ["<i8", ">i8", "<f8"])
@pytest.mark.parametrize("layout", ["rows", "fortran", "transposed"])
def test_four_columns(tmp_path, kind, layout):
    table = rows(kind)
    if kind == "<f8":
        table[:, 0] /= 1e6
        table[:, 3] = table[:, 3] * 2 - 1
    array = {"rows": table, "fortran": np.asfortranarray(table), "transposed": np.ascontiguousarray(table.T)}[
        layout
    ]
    raw, side, reader = read(tmp_path, array, sensor="DAVIS346")
    same(raw)
    assert side.warnings() == () and reader.format == "NPY array" and reader.sensor_size == (260, 346)


def test_records(tmp_path):
    raw, _, reader = read(tmp_path, records())
    same(raw)
    assert reader.sensor_size is None
    raw, _ = read_stored(pickle.loads(pickle.dumps(reader)))
    same(raw)


def test_units(tmp_path):
    small = np.array([[1, 2, 3, 1], [2, 2, 3, 0]])
    assert read(tmp_path, small)[0].t.tolist() == [1, 2]
    assert read(tmp_path, small, time_unit="ms")[0].t.tolist() == [1000, 2000]
    assert read(tmp_path, small.astype(float))[0].t.tolist() == [1_000_000, 2_000_000]
    assert read(tmp_path, small.astype(float), time_unit="us")[0].t.tolist() == [1, 2]
    named = np.zeros(1, [("t_ns", "i8"), ("x", "i2"), ("y", "i2"), ("p", "i1")])
    named["t_ns"] = 5600
    assert read(tmp_path, named)[0].t.tolist() == [6]


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((10, 3)),
        np.zeros(10),
        np.array(3),
        np.zeros((4, 4, 4)),
        np.zeros(3, [("t", "i8"), ("x", "i2"), ("y", "i2")]),
        np.zeros(3, [("t", "i8"), ("x", "i2", (2,)), ("y", "i2"), ("p", "i1")]),
        np.zeros(3, [("t", "i8"), ("x", "i2"), ("y", "i2"), ("p", "i1"), ("junk", "V5000")]),
        np.zeros(3, "U5"),
        np.zeros((3, 4), "c16"),
        np.array([["2020-01-01"] * 4], "M8[s]"),
        rows("i8")[:, [1, 2, 0, 3]],
        rows("i8")[:, [1, 2, 3, 0]],
        np.stack([X[:99], Y[:99], T[:99] - T[0], P[:99]], 1),
        np.array([[np.nan, 1, 1, 1]]),
    ],
)
def test_what_is_refused(tmp_path, array):
    with pytest.raises(FormatError, match="events"):
        read(tmp_path, array)


def test_objects_are_never_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (tmp_path.joinpath("exploded").touch, ())

    path = tmp_path / "events.npy"
    np.save(path, np.array([Bomb()] * 4, object), allow_pickle=True)
    with pytest.raises(FormatError, match="no numbers"):
        npy.open_reader(path, OpenOptions("npy"))
    assert not (tmp_path / "exploded").exists()


def test_claimed_sizes_are_not_believed(tmp_path):
    path = tmp_path / "events.npy"
    for shape in ("(100000000000000000, 4)", "(-5, 4)", "(4, 9999999999999)", "(10, 99999999)"):
        header = f"{{'descr': '<i8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
        path.write_bytes(
            b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(64)
        )
        try:
            raw, side = read_stored(npy.open_reader(path, OpenOptions("npy")))
        except FormatError:
            continue
        assert len(raw) == 2 and side.losses == {
            "events missing at the end; the file is cut short": 10**17 - 2
        }


def test_every_truncation(tmp_path):
    whole = io.BytesIO()
    np.save(whole, rows("<i8", 3))
    path = tmp_path / "cut.npy"
    data = whole.getvalue()
    for end in range(1, len(data) + 1):
        path.write_bytes(data[:end])
        try:
            raw, side = read_stored(npy.open_reader(path, OpenOptions("npy")))
        except FormatError as error:
            assert end < 128 and str(path) in str(error)
            continue
        n = (end - 128) // 32
        same(raw, n)
        assert sum(side.losses.values()) == 3 - n


def test_random_damage(tmp_path):
    rng = random.Random(0)
    path = tmp_path / "damaged.npy"
    for array in (rows("<i8", 20), rows("<f8", 20), records(20), np.asfortranarray(rows("<i4", 20))):
        whole = io.BytesIO()
        np.save(whole, array)
        for _ in range(120):
            data = bytearray(whole.getvalue())
            for _ in range(rng.randrange(1, 5)):
                data[rng.randrange(rng.choice([len(data), 128]))] = rng.randrange(256)
            path.write_bytes(data)
            try:
                raw, _ = read_stored(npy.open_reader(path, OpenOptions("npy")))
            except FormatError as error:
                assert str(path) in str(error)
            else:
                assert len(raw) <= 200


def test_real_windows(shared):
    facts = json.loads((shared / "events/facts.json").read_text())["files"]
    files = [f for f in facts if f["path"].endswith(".npy")]
    assert len(files) == 6
    for entry in files:
        raw, side = read_stored(npy.open_reader(shared / "events" / entry["path"], OpenOptions("npy")))
        assert side.warnings() == ()
        got = {
            "n": len(raw), "t_first": int(raw.t[0]), "t_last": int(raw.t[-1]), "t_min": int(raw.t.min()),
            "t_max": int(raw.t.max()), "duration_us": int(raw.t[-1] - raw.t[0]),
            "n_backward_steps": int(np.count_nonzero(np.diff(raw.t) < 0)),
            "x_min": int(raw.x.min()), "x_max": int(raw.x.max()), "y_min": int(raw.y.min()),
            "y_max": int(raw.y.max()), "n_on": int(raw.p.sum()), "n_off": int((raw.p == 0).sum()),
            "sum_x": int(raw.x.sum(dtype=np.int64)), "sum_y": int(raw.y.sum(dtype=np.int64)),
            "sum_t_minus_first": int((raw.t - raw.t[0]).sum()),
        }  # fmt: skip
        assert got == entry["facts"]
