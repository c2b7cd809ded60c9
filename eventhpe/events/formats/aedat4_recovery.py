"""Staying on the way through the packets of an AEDAT 4 file after damage to the size or stream id of one."""

from __future__ import annotations

import struct
from typing import BinaryIO

import zstandard

from eventhpe.events.formats import aedat4_container as container

# How the payload of a packet begins, by compression, and how far behind the packet's header those bytes lie.
_KINDS = (b"EVTS", b"FRME", b"IMUS", b"TRIG")
_SIGNS = {
    0: (16, _KINDS),
    1: (8, (b"\x04\x22\x4d\x18",)),
    2: (8, (b"\x04\x22\x4d\x18",)),
    3: (8, (b"\x28\xb5\x2f\xfd",)),
    4: (8, (b"\x28\xb5\x2f\xfd",)),
}
_STEP = 1 << 20
_OVERLAP = 32


def find_packet(
    file: BinaryIO, buffer: container.PacketBuffer, header: container.Header, position: int, end: int
) -> int | None:
    """First byte from `position` on where a packet of a known stream seems to begin; None if nowhere."""
    distance, signs = _SIGNS[header.compression]
    while position + distance + 4 <= end:
        length = min(_STEP + _OVERLAP, end - position)
        begin = buffer.load(file, position, length, end)
        part = bytes(buffer.raw[begin : begin + length])
        for place in _places(part, distance, signs):
            stream, size = container.PACKET_HEADER.unpack_from(part, place)
            known = stream in header.streams or (not header.streams and stream >= 0)
            if known and distance - 4 <= size <= end - position - place - 8:
                return position + place
        position += min(_STEP, length)
    return None


def _places(part: bytes, distance: int, signs: tuple[bytes, ...]) -> list[int]:
    """Where headers may stand, in order: `distance` bytes before one of the signs."""
    places = []
    for sign in signs:
        at = part.find(sign, distance)
        while at >= 0:
            places.append(at - distance)
            at = part.find(sign, at + 1)
    return sorted(places)


def packed_size(packed: memoryview, compression: int) -> int:
    """Bytes that the content of a sound packet takes, told by the content itself; at most those there are."""
    try:
        if compression == 0:
            end = 4 + struct.unpack_from("<I", packed)[0]
        elif compression in (1, 2):
            end = _end_of_lz4(packed)
        else:
            end = _end_of_zstd(packed)
    except (struct.error, zstandard.ZstdError):
        return len(packed)
    return min(int(end), len(packed))


def _end_of_lz4(packed: memoryview) -> int:
    flags = struct.unpack_from("B", packed, 4)[0]
    position = 7 + (8 if flags & 8 else 0) + (4 if flags & 1 else 0)
    while size := struct.unpack_from("<I", packed, position)[0] & 0x7FFFFFFF:
        position += 4 + size + (4 if flags & 16 else 0)
    return position + 4 + (4 if flags & 4 else 0)


def _end_of_zstd(packed: memoryview) -> int:
    position, last = zstandard.frame_header_size(packed), 0
    while not last:
        low, high = struct.unpack_from("<HB", packed, position)
        word = low | high << 16
        last = word & 1
        # Of blocks of one repeated byte only that byte is stored.
        position += 3 + (1 if word >> 1 & 3 == 1 else word >> 3)
    return position + (4 if struct.unpack_from("B", packed, 4)[0] & 4 else 0)
