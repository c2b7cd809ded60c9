"""The AEDAT 4 container: header, streams and compressed packets. Knows nothing about events."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import lz4.frame
import numpy as np
import zstandard

from eventhpe.errors import FormatError
from eventhpe.events.formats import flatbuffer
from eventhpe.events.kernels_lz4 import SLACK

VERSION_LINE = b"#!AER-DAT4.0\r\n"
# A packet holds one write of the camera (some milliseconds); larger than this is a damaged or hostile size.
MAX_PACKET_BYTES = 256 << 20
PACKET_HEADER = struct.Struct("<ii")  # stream id, bytes that follow
_MAX_HEADER_BYTES = 16 << 20
_STEP = 4 << 20
# Read at once; packets unpacked from it stay in the processor's cache until their events are copied.
_CHUNK = 1 << 20
_MOST_KEPT = 64 << 20
_TABLE_PEEK = 1 << 16

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


def data_end(path: Path, header: Header) -> tuple[int, str | None]:
    """(byte behind the last packet, remark): where the table of packets begins, or the file ends."""
    size = path.stat().st_size
    position = header.table_position
    if position > size:
        return size, f"the file is cut: its header places the table at byte {position:,}"
    if position < header.data_start:
        return size, "the recording was interrupted (no table of packets); read packet by packet"
    if position < size and not _is_table(path, position, header.compression):
        return (
            size,
            f"no table of packets at byte {position:,}, where the header places it; read packet by packet",
        )
    return position, None


def _is_table(path: Path, position: int, compression: int) -> bool:
    """Whether a table begins there, packed as the header says or, as jAER does, not packed."""
    with path.open("rb") as file:
        file.seek(position)
        start = file.read(_TABLE_PEEK)
    if start[8:12] == b"FTAB":
        return True
    try:
        if compression in (_LZ4, _LZ4_HIGH):
            return bool(lz4.frame.LZ4FrameDecompressor().decompress(start, max_length=12)[8:12] == b"FTAB")
        if compression in (_ZSTD, _ZSTD_HIGH):
            with _zstd_decompressor().stream_reader(start) as reader:
                return bool(reader.read(12)[8:12] == b"FTAB")
    except (RuntimeError, EOFError, MemoryError, zstandard.ZstdError):
        pass
    return False


class PacketBuffer:
    """A part of the file in memory, and what unpacking needs; kept between blocks, for one thread at a time.

    Attributes:
        raw: uint8; begins with the file's bytes start..stop; kernels_lz4.SLACK bytes or more follow them.
        unpacked: uint8, room for one unpacked packet and SLACK bytes.
    """

    def __init__(self) -> None:
        self.raw = np.empty(_CHUNK + SLACK, np.uint8)
        self.unpacked = np.empty(2 * _CHUNK + SLACK, np.uint8)
        self.zstd = _zstd_decompressor()
        self.start = self.stop = 0

    def load(self, file: BinaryIO, position: int, num_bytes: int, end: int) -> int:
        """Have num_bytes of the file from `position` on in `raw`, and more up to `end`; returns where.

        Raises:
            FormatError: the file has become shorter.
        """
        if not self.start <= position <= position + num_bytes <= self.stop:
            wanted = min(max(_CHUNK, num_bytes), end - position)
            if wanted + SLACK > len(self.raw):
                self.raw = np.empty(wanted + SLACK, np.uint8)
            file.seek(position)
            view, got = self.raw.data, 0
            while got < wanted and (step := file.readinto(view[got:wanted])):  # type: ignore[attr-defined]
                got += step
            self.start, self.stop = position, position + got
            if got < num_bytes:
                raise FormatError(f"the file ends at byte {self.stop:,}; it was longer when it was opened")
        return position - self.start

    def make_room(self, num_bytes: int) -> None:
        """Unpacked packets of this size are to be expected."""
        if num_bytes + SLACK > len(self.unpacked) and num_bytes <= _MOST_KEPT:
            self.unpacked = np.empty(num_bytes + SLACK, np.uint8)

    def rest(self) -> None:
        """Forget what was read, and give back memory that one large packet took."""
        self.start = self.stop = 0
        if len(self.raw) > _MOST_KEPT:
            self.raw = np.empty(_CHUNK + SLACK, np.uint8)


def _zstd_decompressor() -> zstandard.ZstdDecompressor:
    return zstandard.ZstdDecompressor(max_window_size=1 << 27)


def decompress(
    data: bytes | memoryview, compression: int, zstd: zstandard.ZstdDecompressor | None = None
) -> bytes | memoryview:
    """Undo the compression of one packet without trusting any size in it.

    Raises:
        FormatError: damaged, or larger than MAX_PACKET_BYTES.
    """
    if compression == 0:
        return data
    try:
        if compression in (_LZ4, _LZ4_HIGH):
            return _decompress_lz4(data)
        return _decompress_zstd(data, zstd or _zstd_decompressor())
    except (RuntimeError, EOFError, MemoryError, zstandard.ZstdError) as error:
        raise FormatError(f"a packet cannot be decompressed: {error}") from error


def _decompress_lz4(data: bytes | memoryview) -> bytes:
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


def _decompress_zstd(data: bytes | memoryview, decoder: zstandard.ZstdDecompressor) -> bytes:
    size = zstandard.frame_content_size(data)
    if 0 <= size <= MAX_PACKET_BYTES and size <= 64 * len(data) + _STEP:
        return bytes(decoder.decompress(data))
    parts: list[bytes] = []
    total = 0
    with decoder.stream_reader(data) as reader:
        while part := reader.read(_STEP):
            parts.append(part)
            total += len(part)
            if total > MAX_PACKET_BYTES:
                raise FormatError(f"a packet grows past {MAX_PACKET_BYTES:,} bytes")
    return b"".join(parts)
