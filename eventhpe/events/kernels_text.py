"""Numba kernels that parse lines of text into event columns.

First, all characters that are no digits are found, 64 at a time, and their places listed; between two of them
lies a number, which is turned from characters into its value by three multiplications, without a loop over
digits whose end nobody could predict. Lines of the usual look go that way; others are read once more,
character by character.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from eventhpe.events.kernels_bytes import address_of, byte_at, non_digits_at, trailing_zeros_of
from eventhpe.events.kernels_numbers import (
    POWERS,
    any_number,
    fraction_of_time,
    rounded_number,
    truth_word,
    up_to_eight,
    up_to_sixteen,
)

Array = NDArray[Any]

# What a column of a line holds.
TIME, COLUMN, ROW, POLARITY, SKIPPED = range(5)

# Places in the layout vector (int64); one role per column of a line follows.
SEPARATOR = 0  # the byte between columns
EXPONENT = 1  # µs per unit of time as a power of ten: 6, 3, 0, -3
FRACTIONS = 2  # 1: coordinates may lie between pixels
LARGEST = 3  # largest time in µs
ROLES = 4

# Places in the vector of counts (int64).
UNREADABLE = 0  # lines
FRACTIONAL = 1  # coordinates moved to the nearest pixel
POINTED = 2  # times with a decimal point or an exponent
FIRST_UNREADABLE = 3  # where the first such line begins; left alone if not negative
COUNTS_SIZE = 4

#: Bytes that must lie behind the lines in the buffer, since words are read past their end.
PADDING = 128

#: An event takes at least a line of this many bytes ("0 0 0 0" and its end).
SHORTEST_LINE = 8

_NEWLINE, _RETURN, _SPACE, _TAB, _COMMA, _SEMICOLON = 10, 13, 32, 9, 44, 59
_MINUS, _POINT, _ZERO, _HASH, _PERCENT = 45, 46, 48, 35, 37
_OUTSIDE = 65535
_RUN = 8192  # bytes whose marks are listed at once


@njit(cache=True, nogil=True)
def _list_marks(at: int, end: int, marks: Array) -> int:
    """Write the addresses of all bytes in [at, end) that are no digits, in order. Returns their number."""
    n = 0
    while at < end:
        found = non_digits_at(at)
        if end - at < 64:
            found &= (np.uint64(1) << np.uint64(end - at)) - np.uint64(1)
        while found != 0:
            marks[n] = at + np.int64(trailing_zeros_of(found))
            n += 1
            found &= found - np.uint64(1)
        at += 64
    return n


@njit(cache=True, nogil=True)
def _skip_blanks(at: int) -> int:
    while byte_at(at) == _SPACE or byte_at(at) == _TAB or byte_at(at) == _RETURN:
        at += 1
    return at


@njit(cache=True, nogil=True)
def _slow_line(at: int, layout: Array, values: Array, counts: Array) -> bool:
    """One line in any of the accepted spellings -> values (5,) by role. Returns whether it is an event."""
    fractional = 0
    was_pointed = False
    for k in range(ROLES, layout.shape[0]):
        begin = at
        at = _skip_blanks(at)
        if k > ROLES:
            if byte_at(at) == _COMMA or byte_at(at) == _SEMICOLON:
                at = _skip_blanks(at + 1)
            if at == begin:
                return False
        role = layout[k]
        if role == SKIPPED:
            c = byte_at(at)
            while not (
                c == _COMMA or c == _SEMICOLON or c == _SPACE or c == _TAB or c == _RETURN or c == _NEWLINE
            ):
                at += 1
                c = byte_at(at)
            continue
        if role == POLARITY:
            value, after = truth_word(at)
            if after >= 0:
                values[role] = value
                at = after
                continue
        digits, power, negative, pointed, at = any_number(at)
        if at < 0:
            return False
        if role == TIME:
            value, _ = rounded_number(digits, power + layout[EXPONENT], layout[LARGEST])
            was_pointed = pointed
            if value < 0:
                return False
            values[role] = -value if negative else value
            continue
        value, rounded = rounded_number(digits, power, _OUTSIDE)
        if role == POLARITY:
            if value < 0 or value > 1 or rounded:
                return False
            values[role] = 0 if negative else value
        else:
            if value < 0 or (negative and (value > 0 or rounded)) or (rounded and layout[FRACTIONS] == 0):
                return False
            values[role] = value
            fractional += rounded
    c = byte_at(at)
    if c != _NEWLINE and c != _RETURN and c != _SPACE and c != _TAB and c != _COMMA and c != _SEMICOLON:
        return False
    counts[FRACTIONAL] += fractional
    counts[POINTED] += was_pointed
    return True


@njit(cache=True, nogil=True)
def parse_lines(
    buffer: Array, start: int, end: int, layout: Array, t: Array, x: Array, y: Array, p: Array, counts: Array
) -> int:
    """Parse the lines in buffer[start:end] into events.

    buffer: uint8; buffer[end - 1] ends a line, and PADDING more bytes follow. layout, counts: see the top.
    t, x, y, p: outputs with room for one event per SHORTEST_LINE bytes. Comments (#, %) and blank lines are
    passed over. Returns the number of events.
    """
    values = np.zeros(5, np.int64)
    separator = layout[SEPARATOR]
    exponent = layout[EXPONENT]
    # Larger times, and those in ns, go the slow way.
    largest_whole: Any = layout[LARGEST] // np.int64(POWERS[max(exponent, 0)]) - 1 if exponent >= 0 else -1
    scale = np.int64(POWERS[max(exponent, 0)])
    columns = layout.shape[0] - ROLES
    marks = np.empty(_RUN + 2 * columns + 8, np.int64)
    base = address_of(buffer)
    at: Any = base + start
    last = base + end
    n = 0
    pointed = 0
    while at < last:
        # The marks of one run, which ends with its last complete line.
        m = _list_marks(at, min(at + _RUN, last), marks)
        while m > 0 and byte_at(marks[m - 1]) != _NEWLINE:
            m -= 1
        if m > 0:
            stop = marks[m - 1] + 1
        else:  # a line longer than a run: no event, unless it has a thousand blanks
            stop = at
            while byte_at(stop) != _NEWLINE:
                stop += 1
            marks[0] = stop
            m = 1
            stop += 1
        for k in range(m, m + 2 * columns + 8):
            marks[k] = stop - 1
        k = 0
        while at < stop and n < t.shape[0]:
            begin = at
            time: Any = 0
            column = 0
            row = 0
            polarity = 0
            has_point = 0
            good = True
            for j in range(columns):
                if j > 0:
                    if byte_at(at) != separator:
                        good = False
                        break
                    at += 1
                    k += 1
                    while marks[k] == at and byte_at(at) == _SPACE:
                        at += 1
                        k += 1
                role = layout[ROLES + j]
                mark = marks[k]
                count = mark - at
                if role == TIME:
                    if count < 1 or count > 16:
                        good = False
                        break
                    time = up_to_sixteen(at, count)
                    if time > largest_whole:
                        good = False
                        break
                    time *= scale
                    at = mark
                    if byte_at(at) == _POINT:
                        at += 1
                        k += 1
                        mark = marks[k]
                        if mark == at:
                            good = False
                            break
                        time += fraction_of_time(at, mark - at, exponent)
                        has_point = 1
                        at = mark
                elif role == POLARITY:
                    minus: Any = np.int64(byte_at(at) == _MINUS)
                    one = byte_at(at + minus) - _ZERO
                    polarity = one & (1 - minus)
                    at += minus + 1
                    k += minus
                    if (one < 0) | (one > 1) | (marks[k] != at):
                        polarity, after = truth_word(at - minus - 1)
                        if after < 0 or minus != 0:
                            good = False
                            break
                        k += after - at + 1  # every letter has a mark
                        at = after
                elif role == SKIPPED:
                    while byte_at(marks[k]) != separator and byte_at(marks[k]) != _NEWLINE:
                        k += 1
                    at = marks[k]
                else:
                    if count < 1 or count > 8:
                        good = False
                        break
                    value = up_to_eight(at, count)
                    if value > _OUTSIDE:
                        good = False
                        break
                    if role == COLUMN:
                        column = value
                    else:
                        row = value
                    at = mark
            if good:
                c = byte_at(at)
                if c == separator or c == _RETURN:
                    while byte_at(marks[k]) != _NEWLINE:
                        k += 1
                    at = marks[k]
                elif c != _NEWLINE:
                    good = False
            if not good:
                at = _skip_blanks(begin)
                c = byte_at(at)
                if c != _HASH and c != _PERCENT and c != _NEWLINE:
                    good = _slow_line(at, layout, values, counts)
                    if good:
                        time, column, row, polarity = (
                            values[TIME],
                            values[COLUMN],
                            values[ROW],
                            values[POLARITY],
                        )
                    else:
                        counts[UNREADABLE] += 1
                        if counts[FIRST_UNREADABLE] < 0:
                            counts[FIRST_UNREADABLE] = begin - base
                while marks[k] < at or byte_at(marks[k]) != _NEWLINE:
                    k += 1
                at = marks[k]
            at += 1
            k += 1
            if good:
                t[n] = time
                x[n] = column
                y[n] = row
                p[n] = polarity
                pointed += has_point
                n += 1
    counts[POINTED] += pointed
    return n
