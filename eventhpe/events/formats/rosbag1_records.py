"""ROS 1 bags, record by record in the order of the file.

Nothing here needs the index of a bag (it only saves a look at the whole file), so that bags whose recording
was interrupted, that were cut, or that are damaged inside give every message that is still complete.
"""

from __future__ import annotations

import bz2
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import lz4.frame

from eventhpe.errors import FormatError
from eventhpe.events.formats.ros_bag import Bag, Loss, Message, Place, Topic, plain_type

_MAGIC = b"#ROSBAG V2.0\n"
_MESSAGE, _BAG, _CHUNK, _CHUNK_INFO, _CONNECTION = b"\x02", b"\x03", b"\x05", b"\x06", b"\x07"
_LOSS = b""
_CHUNK_MARK = re.compile(rb"\x04\x00\x00\x00op=\x05")
# The header of a message as recorders write it, in any order, and the size of its data.
_USUAL_MESSAGE = re.compile(
    rb"\x26\0\0\0(?:\x09\0\0\0conn=(.{4})|\x04\0\0\0op=\x02|\x0d\0\0\0time=.{8}){3}.{4}", re.DOTALL
)
_USUAL_BYTES = 4 + 38 + 4
_U32 = struct.Struct("<I")
_PAIR = struct.Struct("<II")
#: More than any recorder writes as one header or chunk (chunks are 768 kB by default).
_MAX_HEADER = 1 << 24
_MAX_CHUNK = 1 << 30
_PIECE = 1 << 16
_STEP = 1 << 22
_WINDOW = 1 << 20

_Buffer = bytes | memoryview
_Names = dict[int, tuple[str, str]]  # connection -> topic, type
#: (place, _MESSAGE, connection, bytes), (place, _CONNECTION, its number, (topic, type)), or
#: (place, _LOSS, 0, (phrase, number)).
_Item = tuple[Place, bytes, int, Any]


@dataclass(frozen=True, slots=True)
class _Record:
    """A record: its fields, and where its data begin and how long they claim to be."""

    fields: dict[bytes, bytes]
    begin: int
    size: int

    @property
    def op(self) -> bytes:
        return self.fields.get(b"op", b"")

    @property
    def end(self) -> int:
        return self.begin + self.size

    def integer(self, name: bytes) -> int:
        """An unsigned field of any width, 0 where it is absent."""
        return int.from_bytes(self.fields.get(name, b""), "little")


def _fields(header: _Buffer) -> dict[bytes, bytes] | None:
    """`name=value` fields, each after its length; None if they do not fill the header exactly."""
    fields, at = {}, 0
    while at < len(header):
        if at + 4 > len(header):
            return None
        (size,) = _U32.unpack_from(header, at)
        field = bytes(header[at + 4 : at + 4 + size])
        name, equals, value = field.partition(b"=")
        if len(field) != size or not equals:
            return None
        fields[name] = value
        at += 4 + size
    return fields


def _record(data: _Buffer, at: int) -> _Record | None:
    """The record whose header lies completely in `data` (its own data need not); None if there is none."""
    if at + 4 > len(data):
        return None
    (size,) = _U32.unpack_from(data, at)
    begin = at + 4 + size
    if begin + 4 > len(data):
        return None
    fields = _fields(data[at + 4 : begin])
    if fields is None or len(fields.get(b"op", b"")) != 1:
        return None
    return _Record(fields, begin + 4, _U32.unpack_from(data, begin)[0])


def _record_in_file(file: BinaryIO, at: int) -> _Record | None:
    file.seek(at)
    head = file.read(4096)
    if len(head) >= 4:
        (size,) = _U32.unpack_from(head)
        if 4096 < size + 8 <= _MAX_HEADER:
            head += file.read(size + 8 - len(head))
    record = _record(head, 0)
    return None if record is None else _Record(record.fields, at + record.begin, record.size)


def _next_chunk(file: BinaryIO, at: int, end: int) -> int | None:
    """Position of the next sound chunk record after a place where records cannot be followed."""
    overlap = 64  # the mark is found together with the fields before it
    while at < end:
        file.seek(at)
        window = file.read(min(_WINDOW, end - at))
        for mark in _CHUNK_MARK.finditer(window):
            for begin in range(max(0, mark.start() - overlap), mark.start() - 3):
                record = _record(window, begin)
                if record is not None and record.op == _CHUNK and b"compression" in record.fields:
                    return at + begin
        if at + len(window) >= end or len(window) <= 2 * overlap:
            return None
        at += len(window) - 2 * overlap
    return None


def _decompress(compression: bytes, data: bytes, size: int) -> tuple[bytes, bool]:
    """At most `size` bytes of a chunk, as far as it is sound, and whether that is all of it."""
    if compression == b"none":
        return data, len(data) == size
    content = b""
    # At once; if that fails piece by piece, so that what stands before a damaged place is not lost with it.
    for piece in (len(data), _PIECE):
        content, sound = _decompress_pieces(compression, data, size, max(1, piece))
        if sound:
            break
    return content, len(content) == size


def _decompress_pieces(compression: bytes, data: bytes, size: int, piece: int) -> tuple[bytes, bool]:
    machine: Any = bz2.BZ2Decompressor() if compression == b"bz2" else lz4.frame.LZ4FrameDecompressor()
    parts, done = [], 0
    for begin in range(0, len(data), piece):
        feed = data[begin : begin + piece]
        try:
            while done < size and not machine.eof:
                part = machine.decompress(feed, max_length=min(size - done, _STEP))
                parts.append(part)
                done += len(part)
                feed = b""
                if machine.needs_input or not part:
                    break
        except (OSError, EOFError, RuntimeError, ValueError, MemoryError):
            return b"".join(parts), False
    return (parts[0] if len(parts) == 1 else b"".join(parts)), True


class Bag1(Bag):
    """A ROS 1 bag (format 2.0).

    A place is (position of a record in the file, position of a message in the chunk there, 0).

    Raises:
        FormatError: not such a bag, or an encrypted one.
    """

    ros2 = False

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
            self._size = file.seek(0, 2)
            if magic != _MAGIC:
                raise FormatError(
                    f"{path}: is not a ROS 1 bag of format 2.0 (it starts with {magic!r}); older bags have "
                    "to be migrated with rosbag first."
                )
            header = _record_in_file(file, len(_MAGIC))
            if header is None or header.op != _BAG or header.end > self._size:
                header = _Record({}, len(_MAGIC), 0)  # damaged: whatever can be found behind it
            if header.fields.get(b"encryptor"):
                raise FormatError(f"{path}: the bag is encrypted; decrypt it first.")
            self.start = (header.end, 0, 0)
            self._topic_of: dict[int, int] = {}
            self._first: dict[int, Place] = {}
            if not self._read_index(file, header):
                self._scan()

    def _learn(self, names: _Names, counts: dict[int, int], first: dict[int, Place]) -> None:
        """Topics from connections (several connections may share one)."""
        merged: dict[tuple[str, str], int] = {}
        for connection, key in names.items():
            merged[key] = merged.get(key, 0) + counts.get(connection, 0)
        keys = list(merged)
        self.topics = tuple(Topic(name, kind, merged[name, kind]) for name, kind in keys)
        self._topic_of = {connection: keys.index(key) for connection, key in names.items()}
        for connection, topic in self._topic_of.items():
            if connection in first:
                self._first[topic] = min(first[connection], self._first.get(topic, first[connection]))

    def _read_index(self, file: BinaryIO, header: _Record) -> bool:
        """Topics and the first chunk of each, from the index; False if that is missing or damaged."""
        position = header.integer(b"index_pos")
        if not self.start[0] <= position < self._size:
            if position:
                self.remarks = ("the bag is cut: its index is missing; read record by record",)
            else:
                self.remarks = ("the recording was interrupted: the bag has no index; read record by record",)
            return False
        self.remarks = ("the index of the bag is damaged; read record by record",)
        names: _Names = {}
        counts: dict[int, int] = {}
        first: dict[int, Place] = {}
        chunks = 0
        while position < self._size:
            record = _record_in_file(file, position)
            if record is None or record.end > self._size or record.op not in (_CONNECTION, _CHUNK_INFO):
                return False
            if record.op == _CONNECTION:
                file.seek(record.begin)
                names[record.integer(b"conn")] = _connection(record, file.read(record.size))
            else:
                chunks += 1
                file.seek(record.begin)
                data = file.read(record.size)
                for connection, number in _PAIR.iter_unpack(data[: len(data) // 8 * 8]):
                    counts[connection] = counts.get(connection, 0) + number
                    first.setdefault(connection, (record.integer(b"chunk_pos"), 0, 0))
            position = record.end
        if (len(names), chunks) != (header.integer(b"conn_count"), header.integer(b"chunk_count")):
            return False
        self._learn(names, counts, first)
        self.remarks = ()
        return True

    def _scan(self) -> None:
        """Topics from a look at every record."""
        names: _Names = {}
        counts: dict[int, int] = {}
        first: dict[int, Place] = {}
        for place, kind, connection, content in self._records(self.start):
            if kind == _CONNECTION:
                names.setdefault(connection, content)
            elif kind == _MESSAGE:
                counts[connection] = counts.get(connection, 0) + 1
                first.setdefault(connection, place)
        self._learn(names, counts, first)

    def place_of_first(self, topic: int) -> Place:
        return self._first.get(topic, self.start)

    def progress(self, place: Place) -> float:
        return min(1.0, place[0] / max(1, self._size))

    def walk(self, place: Place, wanted: frozenset[int]) -> Iterator[Message | Loss]:
        for where, kind, connection, content in self._records(place):
            if kind == _MESSAGE:
                yield Message(where, self._topic_of.get(connection, -1), content)
            elif kind == _LOSS:
                yield Loss(where, *content)

    def _records(self, place: Place) -> Iterator[_Item]:
        at, offset, _ = place
        with self._path.open("rb") as file:
            while at < self._size:
                record = _record_in_file(file, at)
                open_end = record is not None and _is_open(record, self._size)
                if record is None or (open_end and record.op != _CHUNK):
                    following = _next_chunk(file, at + 1, self._size) or self._size
                    phrase = "bytes behind the last complete record ignored"
                    if following < self._size:
                        phrase = "bytes of damaged records skipped"
                    yield (at, 0, 0), _LOSS, 0, (phrase, following - at)
                    at, offset = following, 0
                    continue
                end = record.end
                if open_end:
                    end = _next_chunk(file, record.begin, self._size) or self._size
                if record.op == _CHUNK:
                    yield from self._chunk(file, at, offset, record, end)
                elif record.op in (_MESSAGE, _CONNECTION):  # outside of chunks in interrupted recordings
                    file.seek(record.begin)
                    yield _item((at, 0, 0), record, memoryview(file.read(record.size)))
                at, offset = end, 0

    def _chunk(self, file: BinaryIO, at: int, offset: int, chunk: _Record, end: int) -> Iterator[_Item]:
        compression, size = chunk.fields.get(b"compression", b""), chunk.integer(b"size")
        if compression == b"none":
            size = chunk.size
        elif not size:
            size = _MAX_CHUNK  # not noted yet
        # LZ4 cannot shrink to less than 1/255; a chunk that claims more is damaged.
        impossible = compression == b"lz4" and _MAX_CHUNK != size > 255 * (end - chunk.begin) + _PIECE
        if compression not in (b"none", b"bz2", b"lz4") or size > _MAX_CHUNK or impossible:
            yield (at, offset, 0), _LOSS, 0, ("damaged chunks skipped", 1)
            return
        file.seek(chunk.begin)
        data, complete = _decompress(compression, file.read(min(end - chunk.begin, _MAX_CHUNK)), size)
        view = memoryview(data)
        end = len(view)
        while offset < end:
            usual = _USUAL_MESSAGE.match(view, offset)
            if usual is not None and usual.end() - offset == _USUAL_BYTES:  # then each field is there once
                begin = usual.end()
                following = begin + _U32.unpack_from(view, begin - 4)[0]
                if following > end:
                    complete = False
                    break
                yield (at, offset, 0), _MESSAGE, _U32.unpack(usual[1])[0], view[begin:following]
                offset = following
                continue
            record = _record(view, offset)
            if record is None or record.end > end:
                complete = False
                break
            if record.op in (_MESSAGE, _CONNECTION):
                yield _item((at, offset, 0), record, view[record.begin : record.end])
            offset = record.end
        if not complete:
            phrase = "cut or damaged chunks read in part" if offset else "damaged chunks skipped"
            yield (at, offset, 0), _LOSS, 0, (phrase, 1)


def _is_open(record: _Record, file_size: int) -> bool:
    """Whether the end of a record is unknown: cut, or a compressed chunk that the recorder did not finish."""
    unfinished = record.op == _CHUNK and not record.size and record.fields.get(b"compression") != b"none"
    return record.end > file_size or unfinished


def _item(place: Place, record: _Record, data: memoryview) -> _Item:
    """A message or connection record."""
    content = data if record.op == _MESSAGE else _connection(record, data)
    return place, record.op, record.integer(b"conn"), content


def _connection(record: _Record, data: _Buffer) -> tuple[str, str]:
    """Topic and message type of a connection record."""
    inner = _fields(data) or {}
    topic = record.fields.get(b"topic") or inner.get(b"topic", b"")
    return topic.decode("utf-8", "replace"), plain_type(inner.get(b"type", b"").decode("utf-8", "replace"))
