"""ROS 2 bags: messages in recording order from sqlite3 and MCAP files (containers read by `rosbags`)."""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import yaml
import zstandard
from rosbags.interfaces import Connection
from rosbags.rosbag2.storage_mcap import McapReader
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Reader

from eventhpe.errors import FormatError
from eventhpe.events.formats.ros_bag import Bag, Loss, Message, Place, Topic, plain_type

_SQLITE, _MCAP = b"SQLite format 3\0", b"\x89MCAP0\r\n"
_ZSTD = b"\x28\xb5\x2f\xfd"
_Storage = McapReader | Sqlite3Reader
_FIRST_TIME = -(2**63)
_MAX_MESSAGE = 1 << 30


class _BoundedFile(io.BufferedReader):
    """Never asks for more bytes than the file has: sizes in damaged records reach 2^64."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self._size = path.stat().st_size

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size if size is None or size < 0 else min(size, self._size))


class _BoundedPath:
    """All of a path that `McapReader` uses."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self, mode: str) -> _BoundedFile:
        return _BoundedFile(self._path)


class Bag2(Bag):
    """A ROS 2 bag: a folder with metadata.yaml, or one storage file (sqlite3 or MCAP, told apart by content).

    A place is (number of the file, recording time in ns, how many messages of that time come before).

    Raises:
        FormatError: no readable storage.
    """

    ros2 = True
    start = (0, _FIRST_TIME, 0)

    def __init__(self, path: Path) -> None:
        self._path = path
        self._files, self._compressed = _storage_files(path)
        self._spans: list[tuple[int, int]] = []
        counts: dict[tuple[str, str], int] = {}
        self._idle: dict[tuple[int, Path], _Storage] = {}
        for file in self._files:
            with self._storage(file) as storage:
                span = storage.metadata.start_time, storage.metadata.end_time
                self._spans.append(span if all(_of_type(time, int) for time in span) else (0, 0))
                if not all(_of_type(v, str) for c in storage.connections for v in (c.topic, c.msgtype)):
                    raise ValueError("a topic without name or type")
                for c in storage.connections:
                    counts[_key(c)] = counts.get(_key(c), 0) + c.msgcount
        self.topics = tuple(Topic(name, kind, number) for (name, kind), number in counts.items())
        wal = [f for f in self._files if (w := f.with_name(f.name + "-wal")).is_file() and w.stat().st_size]
        if wal:
            self.remarks = (
                f"{wal[0].name} has a write-ahead log of an interrupted recording beside it, which is not "
                "read; opening the file once with the sqlite3 program merges it",
            )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_idle": {}}

    def close(self) -> None:
        while self._idle:
            (pid, _), storage = self._idle.popitem()
            if pid == os.getpid():
                storage.close()

    @contextmanager
    def _storage(self, file: Path) -> Iterator[_Storage]:
        """An open file for one user at a time; kept open for the next one, since opening counts messages."""
        key = (os.getpid(), file)
        storage = self._idle.pop(key, None) or self._open(file)
        try:
            yield storage
        except Exception as error:  # whatever a damaged file makes the container libraries raise
            storage.close()
            raise self._damage(file, error) from error
        except GeneratorExit:  # a walk that is given up
            self._idle[key] = storage
            raise
        self._idle[key] = storage

    def _open(self, file: Path) -> _Storage:
        try:
            with file.open("rb") as stream:
                head, size = stream.read(100), stream.seek(0, 2)
            if head.startswith(_MCAP):
                storage: _Storage = McapReader(cast(Any, _BoundedPath(file)))
            elif head.startswith(_SQLITE):
                _check_length(head, size)
                # The name becomes part of a URI there.
                storage = Sqlite3Reader(Path(quote(str(file.resolve()))))
            else:
                hint = " Unpack it with zstd -d and open the result." if head.startswith(_ZSTD) else ""
                raise FormatError(
                    f"{file}: is neither sqlite3 nor MCAP (it starts with {head[:16]!r}).{hint}"
                )
            storage.open()
        except FormatError:
            raise
        except Exception as error:  # whatever a damaged file makes the container libraries raise
            raise self._damage(file, error) from error
        return storage

    @staticmethod
    def _damage(file: Path, error: Exception) -> FormatError:
        what = str(error).rstrip(".") or type(error).__name__
        return FormatError(
            f"{file}: this ROS 2 bag is damaged or incomplete: {what}. Try `ros2 bag reindex`, or "
            "`mcap recover` for MCAP."
        )

    def place_of_first(self, topic: int) -> Place:
        return self.start

    def progress(self, place: Place) -> float:
        first, last = self._spans[min(place[0], len(self._spans) - 1)]
        within = (place[1] - first) / max(1, last - first)
        return min(1.0, (place[0] + min(1.0, max(0.0, within))) / len(self._files))

    def walk(self, place: Place, wanted: frozenset[int]) -> Iterator[Message | Loss]:
        index = {(t.name, t.type): k for k, t in enumerate(self.topics) if k in wanted}
        number, time, skip = place
        for k in range(number, len(self._files)):
            file = self._files[k]
            with self._storage(file) as storage:
                topics = {c.id: index[_key(c)] for c in storage.connections if _key(c) in index}
                connections = [c for c in storage.connections if c.id in topics]
                last: int | None = None
                before = 0
                for connection, now, data in storage.messages(connections, start=time) if topics else ():
                    if not _of_type(now, int) or not _of_type(data, bytes):
                        yield Loss((k, time if last is None else last, before), "damaged messages skipped", 1)
                        continue
                    before = before + 1 if now == last else 0
                    last = now
                    if now == time and before < skip:
                        continue
                    content = self._unpack(data) if self._compressed else data
                    if content is None:
                        yield Loss((k, now, before), "damaged messages skipped", 1)
                    else:
                        yield Message((k, now, before), topics[connection.id], memoryview(content))
            time, skip = _FIRST_TIME, 0

    @staticmethod
    def _unpack(data: bytes) -> bytes | None:
        """A message that was compressed on its own; None if it is damaged."""
        try:
            size = zstandard.frame_content_size(data)
            if size > _MAX_MESSAGE:
                return None
            limit = _MAX_MESSAGE if size < 0 else 0  # 0: as the frame says
            return zstandard.ZstdDecompressor().decompress(data, max_output_size=limit)
        except zstandard.ZstdError:
            return None


def _check_length(head: bytes, size: int) -> None:
    """Raise ValueError for a cut sqlite3 file: with luck sqlite3 reads one without a word, giving too little.

    head: the first 100 bytes. Its number of pages counts only where two change counters agree.
    """
    (page,), (changes, pages), (valid,) = (
        struct.unpack_from(layout, head.ljust(100, b"\0"), at)
        for layout, at in ((">H", 16), (">II", 24), (">I", 92))
    )
    expected = pages * (65536 if page == 1 else page)
    if changes == valid and size < expected:
        raise ValueError(f"the file is cut, {size:,} of {expected:,} bytes are there")


def _of_type(value: object, kind: type) -> bool:
    """sqlite3 keeps values of any type in any column."""
    return isinstance(value, kind)


def _key(connection: Connection) -> tuple[str, str]:
    return connection.topic, plain_type(connection.msgtype)


def _storage_files(path: Path) -> tuple[list[Path], bool]:
    """Files of a bag in order, and whether every message is compressed."""
    folder = path if path.is_dir() else path.parent
    metadata = folder / "metadata.yaml"
    try:
        loaded = yaml.safe_load(metadata.read_text("utf-8"))["rosbag2_bagfile_information"]
        names = [Path(name).name for name in loaded["relative_file_paths"]]
        compressed = str(loaded.get("compression_mode") or "").lower() == "message"
    except Exception as error:  # missing, no YAML, other keys, other types
        if path.is_dir():
            raise FormatError(
                f"{metadata}: cannot be read as the description of a ROS 2 bag ({error}); open its .db3 or "
                ".mcap file instead."
            ) from error
        names, compressed = [], False
    if not path.is_dir():
        return [path], compressed and path.name in names
    files = [folder / name for name in names]
    missing = [file.name for file in files if not file.is_file()]
    if missing or not files:
        raise FormatError(f"{metadata}: names files that are missing: {missing or 'none at all'}.")
    return files, compressed
