"""Where a decoder's bytes come from: a file, or anything else that can be read from a position."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from eventhpe.errors import FormatError


class ByteSource(Protocol):
    """Bytes of known length.

    Attributes:
        name: what to call it in messages, the path first.
        size: length in bytes, as far as the file tells.
    """

    name: str
    size: int

    def read_into(self, position: int, target: memoryview) -> int:
        """Fill `target` with the bytes from `position` on; fewer only at the end. Returns their number."""

    def close(self) -> None:
        """Release what is kept open."""


class FileBytes:
    """A plain file. It is opened for each read, which costs microseconds and survives forks and pickles."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path
        self.size = path.stat().st_size

    def read_into(self, position: int, target: memoryview) -> int:
        done = 0
        with self._path.open("rb", buffering=0) as file:
            file.seek(position)
            while done < len(target):
                got = file.readinto(target[done:])
                if not got:
                    break
                done += got
        return done

    def close(self) -> None:
        """Nothing is kept open."""


def read_exactly(source: ByteSource, position: int, target: memoryview) -> None:
    """Fill `target`, or raise FormatError."""
    got = source.read_into(position, target)
    if got < len(target):
        raise FormatError(
            f"{source.name}: ends at byte {position + got:,} of {position + len(target):,} that its header "
            "promises; the file is cut short. Copy it again."
        )
