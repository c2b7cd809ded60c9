"""Is a downloaded data set whole? What is looked at in every file, and how findings are told.

Files are not read: size, first bytes and last bytes tell most broken downloads from whole files, so that
hundreds of thousands of small files take minutes.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

from eventhpe.errors import EventHPEError

_HDF5 = b"\x89HDF\r\n\x1a\n"
_TAIL = 64

_HEADS: dict[str, tuple[bytes, ...]] = {
    ".pkl": (b"\x80", b"\x78", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x5d\x00\x00", b"\x04\x22\x4d\x18"),
    ".npz": (b"PK\x03\x04",),
    ".npy": (b"\x93NUMPY",),
    ".png": (b"\x89PNG\r\n\x1a\n",),
    ".jpg": (b"\xff\xd8\xff",),
    ".h5": (_HDF5,),
    ".mat": (b"MATLAB 5.0 MAT-file", b"MATLAB 7.3 MAT-file"),
    ".aedat": (b"#!AER-DAT",),
}


@dataclass(frozen=True)
class Problem:
    """One finding.

    Attributes:
        path: relative to the set's folder.
        text: what is wrong with it.
        grave: False for what the set is known to lack, or what only some uses need.
    """

    path: str
    text: str
    grave: bool = True


@dataclass
class Inspection:
    """Findings about one set.

    Attributes:
        what: which set and layout.
        root: its folder.
        facts: what was found, one line each.
        problems: in the order of the files.
        files: how many were looked at.
    """

    what: str
    root: Path
    facts: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    files: int = 0

    @property
    def whole(self) -> bool:
        """Whether nothing grave is wrong."""
        return not any(problem.grave for problem in self.problems)

    def add(self, path: Path, text: str, *, grave: bool = True) -> None:
        """Note a problem."""
        name = path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)
        self.problems.append(Problem(name, text, grave))

    def look_at(self, paths: Iterable[Path], *, grave: bool = True) -> None:
        """Look at files that must be there."""
        for path in paths:
            self.files += 1
            fault = file_fault(path)
            if fault:
                self.add(path, fault, grave=grave)

    def try_reading(self, path: Path, read: Callable[[], object]) -> None:
        """Read something of a file completely; what goes wrong is a problem of that file."""
        try:
            read()
        except (EventHPEError, OSError) as error:
            text = str(error).removeprefix(f"{path}: ")
            if not any(problem.path == path.relative_to(self.root).as_posix() for problem in self.problems):
                self.add(path, text)

    def gaps(self, folder: Path, name: str, numbers: Sequence[int], expected: Iterable[int]) -> None:
        """Note the files of a series that are expected and absent; `name` is formatted with the number."""
        there = set(numbers)
        for k in expected:
            if k not in there:
                self.add(folder / name.format(k), "is absent")


def file_fault(path: Path) -> str | None:
    """What is wrong with a file as far as its size, its head and its end tell; None if nothing is."""
    try:
        if not path.is_file():
            return "is absent"
        size = path.stat().st_size
        if size == 0:
            return "is empty"
        with path.open("rb") as file:
            head = file.read(_TAIL)
            file.seek(max(0, size - _TAIL))
            tail = file.read(_TAIL)
    except OSError as error:
        return f"cannot be read ({error})"
    suffix = path.suffix.lower()
    heads = _HEADS.get(suffix)
    if heads is not None and not head.startswith(heads):
        return f"does not begin like a {suffix} file ({head[:8]!r})"
    return _end_fault(path, suffix, head, tail, size)


def _end_fault(path: Path, suffix: str, head: bytes, tail: bytes, size: int) -> str | None:
    cut = "is cut short"
    if suffix == ".npz":
        return None if zipfile.is_zipfile(path) else cut
    if suffix == ".png":
        return None if b"IEND" in tail else cut
    if suffix == ".jpg":
        return None if b"\xff\xd9" in tail else cut
    if suffix == ".pkl" and head.startswith(b"\x80"):
        return None if tail.endswith(b".") else cut
    if suffix == ".npy":
        return None if _npy_length(path) == size else cut
    if suffix == ".h5" or (suffix == ".mat" and head.startswith(b"MATLAB 7.3")):
        try:
            h5py.File(path, "r", locking=False).close()
        except OSError as error:
            return f"{cut} or damaged ({error})"
    return None


def _npy_length(path: Path) -> int:
    """Bytes that a .npy file has by its header; -1 if it has none."""
    try:
        with path.open("rb") as file:
            version = np.lib.format.read_magic(file)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = read(file)
            return file.tell() + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    except (ValueError, EOFError):
        return -1
