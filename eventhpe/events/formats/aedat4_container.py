"""The AEDAT 4 container: header, streams and compressed packets. Knows nothing about events."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import lz4.frame
import zstandard

from eventhpe.errors import FormatError
from eventhpe.events.formats import flatbuffer

VERSION_LINE = b"#!AER-DAT4.0\r\n"
# A packet holds one write of the camera (some milliseconds); larger than this is a damaged or hostile size.
MAX_PACKET_BYTES = 256 << 20
_MAX_HEADER_BYTES = 16 << 20
_STEP = 4 << 20

_LZ4, _LZ4_HIGH, _ZSTD, _ZSTD_HIGH = 1, 2, 3, 4


@dataclass(frozen=True)
class Stream:
    """One entry of the header: what a stream id carries. size is (H, W) or None."""

    id: int
    type: str
    name: str
    size: tuple[int, int] | None
    module: str


@dataclass(frozen=True)
class Header:
    compression: int
    table_position: int
    streams: dict[int, Stream]
    data_start: int


@dataclass(frozen=True)
class Packet:
    """Where the payload of a packet lies in the file."""

    stream: int
    position: int
    size: int


@dataclass(frozen=True)
class Walk:
    """All complete packets of a file, and how many bytes of an incomplete one follow."""

    packets: tuple[Packet, ...]
    lost_bytes: int


def read_header(path: Path) -> Header:
    """Version line, compression, position of the packet table, and the streams."""
    with path.open("rb") as file:
        if file.read(len(VERSION_LINE)) != VERSION_LINE:
            raise FormatError(f"{path}: not an AEDAT 4.0 file (its first line must be #!AER-DAT4.0).")
        prefix = file.read(4)
        if len(prefix) < 4:
            raise FormatError(f"{path}: ends inside the AEDAT 4 header.")
        size = struct.unpack("<I", prefix)[0]
        if size > _MAX_HEADER_BYTES:
            raise FormatError(f"{path}: the AEDAT 4 header claims {size:,} bytes; the file is damaged.")
        buffer = prefix + file.read(size)
        if len(buffer) < size + 4:
            raise FormatError(f"{path}: ends inside the AEDAT 4 header.")
    try:
        if flatbuffer.identifier(buffer) != b"IOHE":
            raise FormatError(f"the header is {buffer[8:12]!r}, expected b'IOHE'")
        root = flatbuffer.Table.root(buffer)
        compression = root.integer(0, "<i", 0)
        table_position = root.integer(1, "<q", -1)
        streams = _parse_streams(root.string(2))
    except FormatError as error:
        raise FormatError(f"{path}: AEDAT 4 header: {error}") from error
    if not 0 <= compression <= 4:
        raise FormatError(
            f"{path}: AEDAT 4 compression {compression} is not known (0 none, 1-2 LZ4, 3-4 ZSTD)."
        )
    return Header(compression, table_position, streams, len(VERSION_LINE) + 4 + size)


def _parse_streams(xml: bytes) -> dict[int, Stream]:
    if b"<!" in xml:
        raise FormatError("the description of streams holds XML declarations, which AEDAT 4 does not use")
    try:
        root = ElementTree.fromstring(xml.rstrip(b"\x00"))
    except ElementTree.ParseError as error:
        raise FormatError(f"the XML description of streams is damaged ({error})") from error
    info = root.find("./node[@name='outInfo']")
    streams: dict[int, Stream] = {}
    for node in info if info is not None else ():
        name = node.get("name", "")
        if node.tag != "node" or not name.isdecimal() or not name.isascii() or len(name) > 9:
            continue
        attributes = _attributes(node)
        details = node.find("./node[@name='info']")
        inner = _attributes(details) if details is not None else {}
        size = None
        try:
            width, height = int(inner["sizeX"]), int(inner["sizeY"])
            if 0 < width <= 32767 and 0 < height <= 32767:
                size = (height, width)
        except (KeyError, ValueError):
            pass  # streams without pixels have no size
        source = inner.get("source") or attributes.get("originalOutputName", "")
        streams[int(name)] = Stream(
            int(name),
            attributes.get("typeIdentifier", ""),
            source,
            size,
            attributes.get("originalModuleName", ""),
        )
    return streams


def _attributes(node: ElementTree.Element) -> dict[str, str]:
    return {a.get("key", ""): a.text or "" for a in node.findall("attr")}


def walk(path: Path, header: Header) -> Walk:
    """List the packets one after the other; the table at the end is not needed and not read."""
    size = path.stat().st_size
    end = header.table_position if header.data_start <= header.table_position <= size else size
    packets: list[Packet] = []
    position = header.data_start
    with path.open("rb") as file:
        while position + 8 <= end:
            file.seek(position)
            stream, length = struct.unpack("<ii", file.read(8))
            if length < 0 or position + 8 + length > end or (header.streams and stream not in header.streams):
                break
            packets.append(Packet(stream, position + 8, length))
            position += 8 + length
    return Walk(tuple(packets), end - position)


def payloads(
    file: BinaryIO, packets: tuple[Packet, ...], compression: int
) -> Iterator[tuple[Packet, bytes | FormatError]]:
    """Decompressed packets in order; a damaged one gives the error in place of its bytes."""
    for packet in packets:
        try:
            yield packet, read_packet(file, packet, compression)
        except FormatError as error:
            yield packet, error


def read_packet(file: BinaryIO, packet: Packet, compression: int) -> bytes:
    """One decompressed packet."""
    file.seek(packet.position)
    return decompress(file.read(packet.size), compression)


def decompress(data: bytes, compression: int) -> bytes:
    """Undo the compression of one packet without trusting any size in it."""
    if compression == 0:
        return data
    try:
        return _decompress_lz4(data) if compression in (_LZ4, _LZ4_HIGH) else _decompress_zstd(data)
    except (RuntimeError, EOFError, MemoryError, zstandard.ZstdError) as error:
        raise FormatError(f"a packet cannot be decompressed: {error}") from error


def _decompress_lz4(data: bytes) -> bytes:
    decoder = lz4.frame.LZ4FrameDecompressor()
    step = min(_STEP, max(1 << 16, 8 * len(data)))
    parts = [decoder.decompress(data, max_length=step)]
    total = len(parts[0])
    while not decoder.eof and not decoder.needs_input:
        part = decoder.decompress(b"", max_length=step)
        if not part:
            break
        parts.append(part)
        total += len(part)
        if total > MAX_PACKET_BYTES:
            raise FormatError(f"a packet grows past {MAX_PACKET_BYTES:,} bytes")
    if not decoder.eof:
        raise FormatError("a packet ends inside its LZ4 frame")
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _decompress_zstd(data: bytes) -> bytes:
    decoder = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    size = zstandard.frame_content_size(data)
    if 0 <= size <= MAX_PACKET_BYTES and size <= 64 * len(data) + _STEP:
        return decoder.decompress(data)
    parts: list[bytes] = []
    total = 0
    with decoder.stream_reader(data) as reader:
        while part := reader.read(_STEP):
            parts.append(part)
            total += len(part)
            if total > MAX_PACKET_BYTES:
                raise FormatError(f"a packet grows past {MAX_PACKET_BYTES:,} bytes")
    return b"".join(parts)
