"""ZIP archives: NPZ arrays, and text in a ZIP as E2VID's recordings come. Members are read as streams."""

from __future__ import annotations

import contextlib
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Literal

from eventhpe.errors import FormatError
from eventhpe.events.blocks import BlockReader
from eventhpe.events.formats.column_names import EXPECTED_NAMES, match_columns
from eventhpe.events.formats.npy import ArrayReader, read_header
from eventhpe.events.formats.options import OpenOptions
from eventhpe.events.formats.text import TextReader, looks_like_events

# What a member may unpack to: text of events shrinks to a fifth, never to a two-hundredth.
_LARGEST_RATIO = 200
_ALWAYS_ALLOWED = 1 << 30
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
_TEXT_SUFFIXES = ("", ".txt", ".csv", ".tsv", ".dat", ".text", ".events")
_STEP = 1 << 20


@contextlib.contextmanager
def zip_errors(path: Path) -> Iterator[None]:
    """Turn what zipfile and its decompressors raise on damaged archives into FormatError."""
    try:
        yield
    except (
        zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError, ValueError, RuntimeError,
        KeyError, IndexError, OverflowError,
    ) as error:  # fmt: skip
        raise FormatError(f"{path}: the ZIP archive is damaged ({error}). Copy it again.") from error


def _members(path: Path) -> list[zipfile.ZipInfo]:
    """Files in an archive, all checked for what they claim; folders hidden files left out."""
    with zip_errors(path), zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
    size = path.stat().st_size
    for info in infos:
        _check_member(path, info, size)
    names = [(info, Path(info.filename)) for info in infos if not info.is_dir()]
    found = [i for i, p in names if p.parts[:1] != ("__MACOSX",) and not p.name.startswith(".")]
    if not found:
        raise FormatError(f"{path}: the ZIP archive holds no file.")
    return found


def _check_member(path: Path, info: zipfile.ZipInfo, archive_bytes: int) -> None:
    name = f"{path}: member {info.filename[:80]!r}"
    if not info.filename:
        raise FormatError(f"{name} has no name; the archive is damaged. Copy it again.")
    if info.flag_bits & 1:
        raise FormatError(f"{name} is encrypted. Unpack the archive first.")
    if info.compress_type not in _METHODS:
        raise FormatError(f"{name} is compressed with method {info.compress_type}; pack it with Deflate.")
    if info.header_offset < 0 or info.header_offset + info.compress_size > archive_bytes:
        raise FormatError(f"{name} ends outside the archive; the file is damaged. Copy it again.")
    if info.file_size > _LARGEST_RATIO * info.compress_size + _ALWAYS_ALLOWED:
        raise FormatError(
            f"{name} claims {info.file_size:,} bytes, unpacked from {info.compress_size:,}; no recording "
            "shrinks that much, so it is not read."
        )


def archive_kind(path: Path) -> Literal["npz", "zip"]:
    """ "npz" if all members are NPY arrays, else "zip".

    Raises:
        FormatError: no readable archive.
    """
    return "npz" if all(info.filename.endswith(".npy") for info in _members(path)) else "zip"


class MemberBytes:
    """A member of an archive, unpacked from the front.

    One stream per process is kept open and goes on where the last read ended; what lies before the last read
    takes a new start. zipfile checks the sum of the bytes when the end is reached.
    """

    def __init__(self, path: Path, info: zipfile.ZipInfo) -> None:
        self.name = f"{path} ({info.filename})"
        self.size = info.file_size
        self._path = path
        self._member = info
        self._forget()

    def _forget(self) -> None:
        self._process = 0
        self._archive: zipfile.ZipFile | None = None
        self._stream: IO[bytes] | None = None
        self._position = 0
        self._last = b""  # bytes before the position; lines that a block ends within begin there

    def __getstate__(self) -> dict[str, Any]:
        fresh = {"_process": 0, "_archive": None, "_stream": None, "_position": 0, "_last": b""}
        return self.__dict__ | fresh

    def read_into(self, position: int, target: memoryview) -> int:
        with zip_errors(self._path):
            kept = self._position - len(self._last)
            if self._stream is None or self._process != os.getpid() or position < kept:
                self._restart()
            done = 0
            if position < self._position:
                part = self._last[position - self._position :][: len(target)]
                target[: len(part)] = part
                done = len(part)
            while self._position < position and self._read(min(_STEP, position - self._position)):
                pass
            if self._position < position:
                return 0
            while done < len(target):
                part = self._read(len(target) - done)
                if not part:
                    break
                target[done : done + len(part)] = part
                done += len(part)
        if position + done == self._position:
            self._last = bytes(target[:done][-_STEP:])
        return done

    def _read(self, number: int) -> bytes:
        assert self._stream is not None
        part = self._stream.read(number)
        self._position += len(part)
        self._last = b""
        return part

    def _restart(self) -> None:
        self.close()
        self._archive = zipfile.ZipFile(self._path)
        self._stream = self._archive.open(self._member)
        self._process = os.getpid()

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
        if self._archive is not None:
            self._archive.close()
        self._forget()


def open_reader(path: Path, options: OpenOptions) -> BlockReader:
    """Read an NPZ file or text in a ZIP archive."""
    members = _members(path)
    if all(info.filename.endswith(".npy") for info in members):
        return _open_npz(path, members, options)
    return TextReader(path, MemberBytes(path, _text_member(path, members)), options, suffix=" in ZIP")


def _text_member(path: Path, members: list[zipfile.ZipInfo]) -> zipfile.ZipInfo:
    """The member with events: the only one, or the only one whose first lines are events."""
    if len(members) == 1:
        return members[0]
    texts = [info for info in members if Path(info.filename).suffix.lower() in _TEXT_SUFFIXES]
    found = []
    with zip_errors(path), zipfile.ZipFile(path) as archive:
        for info in texts:
            with archive.open(info) as stream:
                if looks_like_events(stream.read(4096)):
                    found.append(info)
    if len(found) != 1:
        raise FormatError(
            f"{path}: expected one text file of events in the archive, found {len(found)} among "
            f"{_listed(members)}. Unpack it and give the file."
        )
    return found[0]


def _open_npz(path: Path, members: list[zipfile.ZipInfo], options: OpenOptions) -> ArrayReader:
    names = [Path(info.filename).stem for info in members]
    places, unit = match_columns(names)
    if len(places) == 4:
        chosen = {column: members[place] for column, place in places.items()}
    else:
        tables = [info for info, name in zip(members, names, strict=True) if name.lower().startswith("event")]
        if len(tables) != 1 and len(members) != 1:
            raise FormatError(
                f"{path}: expected the arrays {EXPECTED_NAMES}, or one array named events; found "
                f"{_listed(members)}."
            )
        chosen = {"": (tables or members)[0]}
    arrays = {column: read_header(MemberBytes(path, info)) for column, info in chosen.items()}
    return ArrayReader(path, "NPZ arrays", arrays, unit, options)


def _listed(members: list[zipfile.ZipInfo]) -> str:
    names = [info.filename[:80] for info in members]
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
