"""Files that appear under their name only when they are complete."""

from __future__ import annotations

import os
import re
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

from eventhpe.errors import FormatError


class AtomicWriter(ABC):
    """A context manager that completes what it writes, or leaves nothing of it after an exception."""

    @abstractmethod
    def close(self) -> None:
        """Complete what was written and give it its name."""

    @abstractmethod
    def discard(self) -> None:
        """Give up: remove what was written; what had the name stays."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.discard()
            return
        try:
            self.close()
        except BaseException:
            self.discard()
            raise


class PendingFile(AtomicWriter):
    """A temporary file beside `path` that takes its name when the block ends without an exception.

    Example:
        with PendingFile(path) as pending, pending.temporary.open("wb") as file:
            file.write(...)

    Raises:
        FormatError: the folder of `path` does not exist.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise FormatError(f"{self.path}: its folder does not exist; create {self.path.parent} first.")
        prefix = f".{self.path.name}.{os.getpid()}-"
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=".part", dir=self.path.parent)
        os.close(handle)
        self.temporary = Path(name)

    def close(self) -> None:
        """Give the file its name, replacing what had it, with the rights that the user's umask gives."""
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(self.temporary, 0o666 & ~mask)
        os.replace(self.temporary, self.path)

    def discard(self) -> None:
        """Remove the temporary file; what had the name stays."""
        self.temporary.unlink(missing_ok=True)


def remove_leftovers(path: str | Path) -> int:
    """Remove temporary files of `path` whose process on this machine is gone (killed); returns their
    number."""
    path = Path(path)
    pattern = re.compile(re.escape(f".{path.name}.") + r"(\d+)-.*\.part")
    found = (
        [(p, pattern.fullmatch(p.name)) for p in path.parent.glob(".*.part")] if path.parent.is_dir() else []
    )
    stale = [p for p, match in found if match and not _alive(int(match[1]))]
    for leftover in stale:
        leftover.unlink(missing_ok=True)
    return len(stale)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # somebody else's process
    return True
