"""Damage to bytes: what disks, broken transfers and hostile hands do to files."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

import numpy as np

_BYTES = (0, 1, 2, 0x7F, 0x80, 0xFE, 0xFF)
_INTEGERS = (
    *(0, 1, -1, 2, 100, 255, 256, 4095, 4096, 32767, 32768, 65535, 65536, 1 << 20, (1 << 31) - 1, 1 << 31),
    *((1 << 32) - 1, 1 << 40, (1 << 62) - 1, 1 << 62, (1 << 63) - 1, 1 << 63),
)
_WORDS = (
    *(b"nan", b"inf", b"-inf", b"-1", b"0", b"1e309", b"-1e309", b"9223372036854775808", b"65536", b"-65537"),
    *(b"4294967296", b"99999999999999999999999999", b"0.0000000000001", b"1e18", b"", b"\x00"),
)
_NUMBER = re.compile(rb"-?\d+(?:\.\d*)?")

Mutation = Callable[[bytearray, bytes, np.random.Generator], None]


def _place(data: bytearray, rng: np.random.Generator) -> int:
    """A position; often where something stands (headers and trees are mostly zeros), often at an end."""
    kind = rng.random()
    if kind < 0.5:
        for _ in range(8):
            at = int(rng.integers(len(data)))
            if data[at]:
                return at
    if kind < 0.7:
        near = int(rng.integers(min(len(data), 256)))
        return near if rng.random() < 0.6 else len(data) - 1 - near
    return int(rng.integers(len(data)))


def _slice(data: bytearray, rng: np.random.Generator) -> tuple[int, int]:
    """Mostly short."""
    start = _place(data, rng)
    return start, min(len(data), start + 1 + int(len(data) * rng.random() ** 6))


def _flip(data: bytearray, other: bytes, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(1, 5))):
        data[_place(data, rng)] ^= 1 << int(rng.integers(8))


def _random_byte(data: bytearray, other: bytes, rng: np.random.Generator) -> None:
    for _ in range(int(rng.integers(1, 5))):
        data[_place(data, rng)] = int(rng.integers(256))


def _telling_byte(data: bytearray, other: bytes, rng: np.random.Generator) -> None:
    data[_place(data, rng)] = _BYTES[int(rng.integers(len(_BYTES)))]


def _integer(data: bytearray, other: bytes, rng: np.random.Generator) -> None:
    """An extreme, or a neighbour of the value that stands there, where a field may be."""
    size = int(rng.choice([2, 4, 8]))
    if len(data) < size:
        return
    at = min(_place(data, rng), len(data) - size)
    if rng.random() < 0.7:
        at -= at % int(rng.choice([2, size]))
    order = "<" if rng.random() < 0.75 else ">"
    code = order + {2: "H", 4: "I", 8: "Q"}[size]
    if rng.random() < 0.7:
        value = _INTEGERS[int(rng.integers(len(_INTEGERS)))]
    else:
        value = struct.unpack_from(code, data, at)[0] + int(rng.integers(-16, 17))
    struct.pack_into(code, data, at, value % (1 << 8 * size))


def _delete(data: bytearray, other: bytes, rng: np.random.Generator) -> None:
    start, end = _slice(data, rng)
    del data[start:end]


def _repeat(data: bytearray, other: bytes, rng: np.random.Generator) -> None:
    start, end = _slice(data, rng)
    data[end:end] = data[start:end] * int(rng.integers(1, 4))


def _insert(data: bytearray, other: bytes, rng: np.random.Generator) -> None:
    at = _place(data, rng)
    data[at:at] = rng.bytes(int(rng.integers(1, 40)))


def _swap(data: bytearray, other: bytes, rng: np.random.Generator) -> None:
    (a, b), (c, d) = sorted((_slice(data, rng), _slice(data, rng)))
    if b <= c:
        data[a:d] = data[c:d] + data[b:c] + data[a:b]


def _fill(data: bytearray, other: bytes, rng: np.random.Generator) -> None:
    start, end = _slice(data, rng)
    data[start:end] = bytes([int(rng.choice([0, 255]))]) * (end - start)


def _noise(data: bytearray, other: bytes, rng: np.random.Generator) -> None:
    start, end = _slice(data, rng)
    data[start:end] = rng.bytes(end - start)


def _cut(data: bytearray, other: bytes, rng: np.random.Generator) -> None:
    del data[int(rng.integers(len(data))) :]


def _splice(data: bytearray, other: bytes, rng: np.random.Generator) -> None:
    """The beginning of one file and the rest of another, or a piece of it in between."""
    at = int(rng.integers(len(data)))
    if rng.random() < 0.5:
        data[at:] = other[int(rng.integers(len(other))) if rng.random() < 0.5 else at :]
    else:
        start, end = _slice(bytearray(other), rng)
        data[at : at + end - start] = other[start:end]


def _word(data: bytearray, other: bytes, rng: np.random.Generator) -> None:
    """Another number where one stands as text."""
    numbers = [m.span() for m in _NUMBER.finditer(data, 0, 1 << 16)]
    if numbers:
        start, end = numbers[int(len(numbers) * rng.random() ** 2)]
        data[start:end] = _WORDS[int(rng.integers(len(_WORDS)))]


_MUTATIONS: tuple[tuple[Mutation, int], ...] = (
    (_flip, 4), (_random_byte, 4), (_telling_byte, 3), (_integer, 6), (_delete, 2), (_repeat, 2),
    (_insert, 2), (_swap, 1), (_fill, 1), (_noise, 1), (_cut, 1), (_splice, 2), (_word, 2),
)  # fmt: skip
_WEIGHTS = np.cumsum([weight for _, weight in _MUTATIONS])


def mutate(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """A damaged copy: one to four kinds of damage; `other` is a file of the same format to splice with."""
    damaged = bytearray(data)
    for _ in range(min(4, int(rng.geometric(0.6)))):
        if not damaged:
            break
        chosen = int(np.searchsorted(_WEIGHTS, rng.integers(_WEIGHTS[-1]), side="right"))
        _MUTATIONS[chosen][0](damaged, other, rng)
    return bytes(damaged)
