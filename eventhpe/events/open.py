"""The front door of this room: a path in, a Recording out."""

from __future__ import annotations

from pathlib import Path

from eventhpe.errors import FormatError
from eventhpe.events.formats.sniff import FORMATS, check_file, sniff
from eventhpe.events.recording import Backend, Recording


def open_recording(
    path: str | Path, *, format: str | None = None, sensor: str | None = None, stream: int | str | None = None
) -> Recording:
    """Open an event recording; the format is recognised by content.

    Args:
        path: file to open.
        format: "aedat2", "aedat4", "dsec" or "eventhpe" to skip recognition.
        sensor: camera name ("DVS128", "DAVIS346" ...) or "WIDTHxHEIGHT", for files that do not tell.
        stream: camera to read where a file holds several (index or name); default: the one with most events.
    Raises:
        FormatError: missing, empty, foreign or damaged file, or a file that needs `sensor`.
    """
    path = Path(path)
    names = [f.name for f in FORMATS]
    if format is None:
        format = sniff(path)
    elif format not in names:
        raise FormatError(f"unknown format {format!r}; choose one of {', '.join(names)}.")
    else:
        check_file(path)
    try:
        return Recording(_open_backend(path, format, sensor, stream))
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error}") from error


def _open_backend(path: Path, format: str, sensor: str | None, stream: int | str | None) -> Backend:
    # Imports wait until a format is needed: each pulls its own libraries and kernels.
    if format == "aedat2":
        from eventhpe.events.formats.aedat2 import Aedat2Backend

        return Aedat2Backend(path, sensor, stream)
    if format == "aedat4":
        from eventhpe.events.formats.aedat4 import Aedat4Backend

        return Aedat4Backend(path, sensor, stream)
    if stream not in (None, 0, "0", "events"):
        raise FormatError(f"{path}: no event stream {stream!r}; this file holds one camera.")
    if format == "dsec":
        from eventhpe.events.formats.dsec import open_dsec

        return open_dsec(path, sensor)
    from eventhpe.events.store import open_store

    return open_store(path)
