"""Columns of any number type become events with exact times, or one clear error."""

from __future__ import annotations

import numpy as np
import pytest

from eventhpe.errors import FormatError
from eventhpe.events.blocks import Columns, Side
from eventhpe.events.formats.table import fill_columns, fill_rows

RNG = np.random.default_rng(0)
N = 3000
T = np.sort(RNG.integers(1_600_000_000_000_000, 1_600_000_100_000_000, N))
X, Y, P = RNG.integers(0, 1280, N), RNG.integers(0, 720, N), RNG.integers(0, 2, N)


def fill(t, x, y, p, unit="us", rows=None):
    out, side = Columns(8), Side()
    if rows is None:
        n = fill_columns(*map(np.asarray, (t, x, y, p)), out, 2, side, unit=unit, where="file.h5 events")
    else:
        n = fill_rows(
            np.stack([t, x, y, p], 1).astype(rows),
            (0, 1, 2, 3),
            out,
            2,
            side,
            unit=unit,
            where="file.h5 events",
        )
    return [a[2 : 2 + n].tolist() for a in (out.t, out.x, out.y, out.p)], side


@pytest.mark.parametrize("kind", ["<i8", ">i8", "<u8", "<f8", ">f8"])
@pytest.mark.parametrize("rows", [False, True])
def test_number_types(kind, rows):
    columns = [c.astype(kind) for c in (T, X, Y, P)]
    got, side = fill(*columns, rows=kind if rows else None)
    assert got == [T.tolist(), X.tolist(), Y.tolist(), P.tolist()] and side.warnings() == ()


@pytest.mark.parametrize("kind", ["i2", "u2", ">u2", "i4", "u4", "f4", "f2", "f8", "g"])
def test_small_types_and_signs(kind):
    signed = np.dtype(kind).kind in "if"
    small = np.arange(50).astype(kind)
    p = np.where(np.arange(50) % 2, 1, -1 if signed else 0).astype(kind)
    got, side = fill(small, small, small[::-1], p)
    assert got == [list(range(50)), list(range(50)), list(range(49, -1, -1)), [0, 1] * 25]
    assert bool(side.remarks) == (kind in ("f4", "f2"))


@pytest.mark.parametrize("rows", [None, "f8"])
def test_seconds_round_to_the_nearest_microsecond(rows):
    got, _ = fill(T / 1e6, X, Y, P, "s", rows)
    assert got[0] == T.tolist(), "epoch seconds in float64 keep 0.24 µs"
    cut = (T / 1e6 * 1e6).astype(np.int64)
    assert np.count_nonzero((T / 1e6).astype("f8") * 1e6 != T) or (cut == T).all()
    got, _ = fill([0.0000015, 2.4e-6, -1.6e-6, -0.5], [0] * 4, [0] * 4, [0] * 4, "s", rows)
    assert got[0][1:] == [2, -2, -500_000] and got[0][0] in (1, 2)


@pytest.mark.parametrize("kind", ["i8", "f8"])
@pytest.mark.parametrize(("unit", "expected"), [("s", 7_000_000), ("ms", 7000), ("us", 7), ("ns", 0)])
def test_units(kind, unit, expected):
    for rows in (None, kind):
        got, _ = fill(
            np.array([7], kind), np.array([1], kind), np.array([1], kind), np.array([1], kind), unit, rows
        )
        assert got == [[expected], [1], [1], [1]]
    got, _ = fill(np.array([1_499, 1_500, -1_600], kind), [0] * 3, [0] * 3, [0] * 3, "ns")
    assert got[0] == [1, 2, -2]


@pytest.mark.parametrize("kind", ["i4", "i8", "f4", "f8"])
@pytest.mark.parametrize("rows", [False, True])
def test_pixels_that_do_not_fit_are_marked_outside(kind, rows):
    x = np.array([-1, 0, 65534, 65535, 65536, 70000, 131072], kind)
    zeros = np.zeros(7, kind)
    got, _ = fill(zeros, x, x[::-1], zeros, rows=kind if rows else None)
    assert got[1] == [65535, 0, 65534, 65535, 65535, 65535, 65535] and got[2] == got[1][::-1]


def test_nan_pixels_and_fractions():
    for rows in (None, "f8"):
        got, side = fill([1.0, 2, 3], [np.nan, 1.5, np.inf], [3.2, -0.2, 1], [1.0, 0, 1], rows=rows)
        assert got[1] == [65535, 2, 65535] and got[2] == [3, 0, 1]
        assert side.losses["coordinates between pixels moved to the nearest pixel"] == 3


@pytest.mark.parametrize("rows", [None, "f8"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300, -1e13])
def test_impossible_times(rows, bad):
    with pytest.raises(FormatError, match=r"file.h5 events: the time of event 1 is"):
        fill(np.array([0.0, bad, bad]), [0] * 3, [0] * 3, [0] * 3, "s", rows)


def test_impossible_integer_times():
    for bad in (np.array([0, 2**63], np.uint64), np.array([0, -(2**63)]), np.array([0, 2 * 10**18])):
        for unit in ("us", "ms", "s"):
            with pytest.raises(FormatError, match="the time of event 1 is"):
                fill(bad, [0, 0], [0, 0], [0, 0], unit)
    with pytest.raises(FormatError, match="the time of event 1 is"):
        fill([0, 2 * 10**18], [0, 0], [0, 0], [0, 0], rows="i8")
    with pytest.raises(FormatError, match="the time of event 0 is 3000000000000000000"):
        fill(np.array([3 * 10**18]), [0], [0], [0], "s")
    assert fill(np.array([2**63 - 1]), [0], [0], [0], "ns")[0][0] == [9_223_372_036_854_776]
    assert fill(np.array([2**31 - 1], np.int32), [0], [0], [0], "s")[0][0] == [(2**31 - 1) * 10**6]


@pytest.mark.parametrize("kind", ["i1", "u1", "i8", "f4", "f8"])
@pytest.mark.parametrize("bad", [2, 7])
def test_impossible_polarities(kind, bad):
    p = np.array([1, 0, bad], kind)
    with pytest.raises(FormatError, match=f"polarity of event 2 is {bad}"):
        fill([0] * 3, [0] * 3, [0] * 3, p)
    if kind[1] != "1":
        with pytest.raises(FormatError, match=f"polarity of event 2 is {bad}"):
            fill([0] * 3, [0] * 3, [0] * 3, p, rows=kind)


def test_half_polarities_and_booleans():
    assert fill([0, 0], [0, 0], [0, 0], np.array([True, False]))[0][3] == [1, 0]
    with pytest.raises(FormatError, match=r"polarity of event 0 is 0\.5"):
        fill([0.0], [0.0], [0.0], [0.5], rows="f8")


def test_shapes_and_types():
    with pytest.raises(FormatError, match="one length"):
        fill([0, 1], [0], [0], [0])
    with pytest.raises(FormatError, match="must hold numbers"):
        fill(["a"], [0], [0], [0])
    with pytest.raises(FormatError, match="rows of at least 4"):
        fill_rows(np.zeros((3, 3)), (0, 1, 2, 3), Columns(), 0, Side(), unit="s", where="w")
    assert fill([], [], [], [], rows="f8")[0] == [[], [], [], []]
    assert fill(np.zeros(0), np.zeros(0), np.zeros(0), np.zeros(0))[0] == [[], [], [], []]


def test_strided_columns_of_a_table_and_order():
    table = np.stack([X, Y, T / 1e6, P * 2 - 1], 1).astype(np.float64)
    for fortran in (table, np.asfortranarray(table)):
        out, side = Columns(), Side()
        assert fill_rows(fortran, (2, 0, 1, 3), out, 0, side, unit="s", where="w") == N
        other = Columns()
        fill_columns(*(fortran[:, k] for k in (2, 0, 1, 3)), other, 0, side, unit="s", where="w")
        for a, b, expected in zip(
            (out.t, out.x, out.y, out.p), (other.t, other.x, other.y, other.p), (T, X, Y, P), strict=True
        ):
            assert a[:N].tolist() == expected.tolist() == b[:N].tolist()
