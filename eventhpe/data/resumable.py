"""Folders of many small files that a second run completes where the first one stopped."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eventhpe.atomic import PendingFile, remove_leftovers

_PENDING = re.compile(r"\.(.+)\.\d+-.*\.part")


def open_folder(folder: Path) -> Path:
    """Make a folder if it is not there, and remove what killed processes left in it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in {match[1] for p in folder.glob(".*.part") if (match := _PENDING.fullmatch(p.name))}:
        remove_leftovers(folder / name)
    return folder


def write_once(path: Path, content: Callable[..., bytes], *arguments: Any) -> None:
    """Write a file unless it is there: it appeared when it was complete, so it needs nothing more.

    Args:
        path: its folder exists.
        content: makes the bytes from the arguments; asked only when they are needed.
    """
    if not path.exists():
        write_bytes(path, content(*arguments))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, replacing what has its name; it appears when it is complete."""
    with PendingFile(path) as pending:
        pending.temporary.write_bytes(content)
