"""Numba kernels that turn characters in memory into exact numbers, without floats."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from eventhpe.events.kernels_bytes import byte_at, word_at

#: Powers of ten that uint64 holds.
POWERS = np.array([10**k for k in range(20)], np.uint64)

_MINUS, _PLUS, _POINT, _ZERO = 45, 43, 46, 48
_ZEROS = np.uint64(0x3030303030303030)
_PAIRS = np.uint64(0x000000FF000000FF)
_SCALE_LOW = np.uint64(0x000F424000000064)
_SCALE_HIGH = np.uint64(0x0000271000000001)


@njit(cache=True, nogil=True)
def _eight_digits(digits: Any) -> Any:
    """The number that eight digits (XORed with "0", first digit in the lowest byte) stand for."""
    digits = digits * np.uint64(10) + (digits >> np.uint64(8))
    low = (digits & _PAIRS) * _SCALE_LOW
    return (low + ((digits >> np.uint64(16)) & _PAIRS) * _SCALE_HIGH) >> np.uint64(32)


@njit(cache=True, nogil=True)
def up_to_eight(at: int, count: int) -> Any:
    """The number in `count` digits, 1 to 8, from an address on."""
    return np.int64(_eight_digits((word_at(at) ^ _ZEROS) << np.uint64(64 - 8 * count)))


@njit(cache=True, nogil=True)
def up_to_sixteen(at: int, count: int) -> int:
    """The number in `count` digits, 1 to 16, from an address on."""
    if count <= 8:
        return up_to_eight(at, count)
    last = np.int64(_eight_digits(word_at(at + count - 8) ^ _ZEROS))
    return up_to_eight(at, count - 8) * 100_000_000 + last


@njit(cache=True, nogil=True)
def fraction_of_time(at: int, count: int, exponent: int) -> Any:
    """Decimals of a time, `count` digits from an address on, in µs; halves go up. exponent: 6, 3 or 0."""
    digits = word_at(at) ^ _ZEROS
    if count < 8:
        digits &= (np.uint64(1) << np.uint64(8 * count)) - np.uint64(1)
    decimals = np.int64(_eight_digits(digits))
    # Decimals behind the eighth cannot change the nearest µs.
    if exponent == 6:
        return (decimals + 50) // 100
    if exponent == 3:
        return (decimals + 50_000) // 100_000
    return (decimals + 50_000_000) // 100_000_000


@njit(cache=True, nogil=True)
def any_number(at: int) -> tuple[Any, int, bool, bool, int]:
    """Any decimal number: sign, digits, point, exponent.

    Returns (first 19 significant digits as uint64, power of ten, negative, pointed, next address or -1).
    """
    negative = byte_at(at) == _MINUS
    if negative or byte_at(at) == _PLUS:
        at += 1
    digits = np.uint64(0)
    power = 0
    seen = 0
    pointed = False
    while True:
        digit = byte_at(at) - _ZERO
        if 0 <= digit < 10:
            seen += 1
            if digits < POWERS[18]:
                digits = digits * np.uint64(10) + np.uint64(digit)
                power -= pointed
            else:
                power += not pointed
        elif digit == _POINT - _ZERO and not pointed:
            pointed = True
        else:
            break
        at += 1
    if seen == 0:
        return digits, 0, False, False, -1
    if byte_at(at) | 32 == 101:  # "e"
        pointed = True
        at += 1
        minus = byte_at(at) == _MINUS
        if minus or byte_at(at) == _PLUS:
            at += 1
        value = 0
        seen = 0
        while 0 <= byte_at(at) - _ZERO < 10:
            value = min(10 * value + byte_at(at) - _ZERO, 1 << 40)
            seen += 1
            at += 1
        if seen == 0:
            return digits, 0, False, False, -1
        power += -value if minus else value
    return digits, power, negative, pointed, at


@njit(cache=True, nogil=True)
def rounded_number(digits: Any, power: int, largest: int) -> tuple[Any, bool]:
    """digits * 10^power to the nearest integer, halves up, -1 beyond largest; and whether it was rounded."""
    if digits == 0 or power < -19:
        return 0, digits != 0
    if power < 0:
        divisor = POWERS[-power]
        value = digits // divisor
        rest = digits - value * divisor
        value += np.uint64(rest >= divisor - rest)
        return (np.int64(value) if value <= np.uint64(largest) else -1), rest != 0
    for _ in range(power):
        if digits > np.uint64(largest):
            break
        digits *= np.uint64(10)
    return (np.int64(digits) if digits <= np.uint64(largest) else -1), False


@njit(cache=True, nogil=True)
def truth_word(at: int) -> tuple[int, int]:
    """True or False in any case. Returns (1 or 0, next address or -1)."""
    first = byte_at(at) | 32
    if first == 116:
        if byte_at(at + 1) | 32 == 114 and byte_at(at + 2) | 32 == 117 and byte_at(at + 3) | 32 == 101:
            return 1, at + 4
    elif first == 102 and (
        byte_at(at + 1) | 32 == 97
        and byte_at(at + 2) | 32 == 108
        and byte_at(at + 3) | 32 == 115
        and byte_at(at + 4) | 32 == 101
    ):
        return 0, at + 5
    return 0, -1
