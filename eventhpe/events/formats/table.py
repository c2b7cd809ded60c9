"""Event columns of any number type, as tables of other programs hold them, into `Columns`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import FormatError
from eventhpe.events import kernels_table as kernels
from eventhpe.events.blocks import Columns, Side
from eventhpe.events.formats.options import TimeUnit
from eventhpe.events.formats.time_units import EXPONENTS, LARGEST_US

Array = NDArray[Any]

_POLARITIES = "-1 or 0 for OFF and 1 for ON (or False and True)"


def fill_columns(
    t: Array,
    x: Array,
    y: Array,
    p: Array,
    out: Columns,
    start: int,
    side: Side,
    *,
    unit: TimeUnit,
    where: str,
    row: int = 0,
) -> int:
    """Write n events, given as four columns of any number type and stride, to out[start : start + n].

    Times become integer µs: floats are rounded to the nearest µs (not cut), integers are scaled exactly.
    Pixels that are negative, NaN or above 65,534 become 65,535, which lies outside every sensor, so that the
    caller drops and counts them; fractional pixels go to the nearest one and are told to `side`. `out` grows
    if it must.

    Args:
        t, x, y, p: (n,) integers, floats or booleans, any byte order, views included; p: -1/0 OFF, 1 ON.
        out, start: where to write.
        side: is told about lost precision.
        unit: unit of t ("s", "ms", "us", "ns"); where neither file nor user tells it,
            `time_units.unit_by_rule(t.dtype)`.
        where: file and data set, for messages.
        row: number of the first row in the file, for messages.
    Returns:
        n.
    Raises:
        FormatError: a column is not of numbers, lengths differ, a time is NaN or absurd, or a polarity is
            none of -1, 0, 1.
    """
    n = check_lengths({"t": t, "x": x, "y": y, "p": p}, where)
    out.grow(start + n, keep=start)
    end = start + n
    if _fill_times(t, out.t[start:end], unit):
        raise _bad_time(t, unit, where, row)
    fractional = _fill_pixels(x, out.x[start:end]) + _fill_pixels(y, out.y[start:end])
    if _fill_polarities(p, out.p[start:end]):
        raise _bad_polarity(p, where, row)
    _tell_precision(t.dtype, unit, fractional, side)
    return n


def fill_rows(
    rows: Array,
    order: tuple[int, int, int, int],
    out: Columns,
    start: int,
    side: Side,
    *,
    unit: TimeUnit,
    where: str,
    row: int = 0,
) -> int:
    """`fill_columns` for n rows of a table, each row read once: (n, k) numbers, C order for speed.

    Args:
        rows: (n, k) of one number type.
        order: places of t, x, y and p in a row; (2, 0, 1, 3) for rows of x, y, t, p.
    """
    if rows.ndim != 2 or rows.shape[1] <= max(order):
        raise FormatError(f"{where}: expected rows of at least {max(order) + 1} numbers; got {rows.shape}.")
    whole = rows.dtype.kind in "iu" and rows.dtype != np.uint64 and unit == "us"
    if not whole and (rows.dtype.kind != "f" or unit == "ns"):
        t, x, y, p = (rows[:, k] for k in order)
        return fill_columns(t, x, y, p, out, start, side, unit=unit, where=where, row=row)
    n = len(rows)
    rows, places = _native(rows), np.array(order, np.int64)
    out.grow(start + n, keep=start)
    end = start + n
    target = out.t[start:end], out.x[start:end], out.y[start:end], out.p[start:end]
    if whole:
        fractional = 0
        bad_polarities = kernels.split_integer_rows(rows, places, *target)
        bad_times = rows.dtype.itemsize == 8 and _count_beyond(target[0], LARGEST_US)
    else:
        bad_times, fractional, bad_polarities = kernels.split_float_rows(
            rows, places, 10 ** EXPONENTS[unit], LARGEST_US, *target
        )
    if bad_times:
        raise _bad_time(rows[:, order[0]], unit, where, row)
    if bad_polarities:
        raise _bad_polarity(rows[:, order[3]], where, row)
    _tell_precision(rows.dtype, unit, int(fractional), side)
    return n


def check_lengths(columns: dict[str, Array], where: str) -> int:
    """The common length of (n,) columns of numbers; FormatError if there is none."""
    lengths = {name: column.shape for name, column in columns.items()}
    if any(len(shape) != 1 for shape in lengths.values()) or len(set(lengths.values())) != 1:
        raise FormatError(f"{where}: t, x, y and p must be columns of one length; got {lengths}.")
    for name, column in columns.items():
        if column.dtype.kind not in "biuf":
            raise FormatError(f"{where}: column {name} must hold numbers; got {column.dtype}.")
    return int(columns["t"].shape[0])


def _bad_time(t: Array, unit: TimeUnit, where: str, row: int) -> FormatError:
    with np.errstate(invalid="ignore"):
        limit = LARGEST_US / 10.0 ** EXPONENTS[unit] if t.dtype.kind == "f" else _integer_limit(unit)
        k = int(np.flatnonzero(~((t >= -limit) & (t <= limit)))[0])
    return FormatError(
        f"{where}: the time of event {row + k:,} is {t[k]} {unit}; expected a finite number within "
        f"±{LARGEST_US:.0e} µs. The file is damaged, or its times have another unit: say it with time_unit= "
        "(--time-unit)."
    )


def _bad_polarity(p: Array, where: str, row: int) -> FormatError:
    k = int(np.flatnonzero(~((p == 0) | (p == 1) | (p == -1)))[0])
    return FormatError(
        f"{where}: the polarity of event {row + k:,} is {p[k]}; expected {_POLARITIES}. The file is damaged, "
        "or its columns have another order."
    )


def _tell_precision(times: np.dtype[Any], unit: TimeUnit, fractional: int, side: Side) -> None:
    side.lose("coordinates between pixels moved to the nearest pixel", fractional)
    if times.kind == "f" and times.itemsize < 8:
        side.say(f"times are stored as {times.name} ({unit}), which cannot hold every µs")


def _native(column: Array) -> Array:
    """The same numbers in the byte order and the float types that kernels read."""
    if column.dtype.kind == "f" and column.dtype.itemsize not in (4, 8):
        return column.astype(np.float64)
    return column if column.dtype.isnative else column.astype(column.dtype.newbyteorder("="))


def _integer_limit(unit: TimeUnit) -> int:
    """Largest integer time that is believed."""
    exponent = EXPONENTS[unit]
    return LARGEST_US // 10**exponent if exponent >= 0 else int(np.iinfo(np.int64).max)


def _count_beyond(t: Array, limit: int) -> int:
    """Number of integer times beyond ±limit."""
    if len(t) == 0 or (int(t.min()) >= -limit and int(t.max()) <= limit):
        return 0
    return int(np.count_nonzero((t < -limit) | (t > limit)))


def _fill_times(t: Array, out: Array, unit: TimeUnit) -> int:
    """Returns the number of impossible times."""
    exponent = EXPONENTS[unit]
    if t.dtype.kind == "f":
        t, scale = (t / 1000, 1) if exponent < 0 else (_native(t), 10**exponent)
        return int(kernels.times_from_floats(t, scale, LARGEST_US, out))
    bad = _count_beyond(t, _integer_limit(unit)) if t.dtype.itemsize >= 4 else 0
    if bad:
        return bad
    out[:] = t
    if exponent > 0:
        out *= 10**exponent
    elif exponent < 0:
        rest = np.mod(out, 10**-exponent)
        out //= 10**-exponent
        out += rest >= 10**-exponent // 2  # to the nearest
    return 0


def _fill_pixels(values: Array, out: Array) -> int:
    """Returns how many were no whole numbers."""
    if values.dtype.kind == "f":
        return int(kernels.pixels_from_floats(_native(values), out))
    out[:] = values.astype(np.uint16, copy=False)
    if values.dtype.kind == "i" or values.dtype.itemsize > 2:
        fits = np.equal(out, values)
        if not fits.all():
            out[~fits] = kernels.OUTSIDE
    return 0


def _fill_polarities(p: Array, out: Array) -> int:
    """Returns how many are no polarity."""
    if p.dtype.kind == "f":
        return int(kernels.polarities_from_floats(_native(p), out))
    np.greater(p, 0, out=out.view(np.bool_))
    if len(p) == 0 or p.dtype.kind == "b" or (int(p.min()) >= -1 and int(p.max()) <= 1):
        return 0
    return int(np.count_nonzero((p < -1) | (p > 1)))
