"""Which format a file has, by content; file names do not count."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eventhpe.errors import FormatError

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True)
class Format:
    """A readable format: its short name (`format=`) and what it is called."""

    name: str
    label: str


FORMATS = (
    Format("aedat2", "AEDAT 2.0"),
    Format("aedat4", "AEDAT 4.0"),
    Format("dsec", "DSEC HDF5"),
    Format("eventhpe", "eventhpe HDF5"),
)

# What a file is when it is none of ours: (start of the file, name).
_FOREIGN = (
    (b"#!AER-DAT3", "AEDAT 3"),
    (b"#!AER-DAT1", "AEDAT 1"),
    (b"% ", "a Prophesee RAW or DAT file"),
    (b"#ROSBAG", "a ROS 1 bag"),
    (b"PK\x03\x04", "a ZIP or NPZ archive"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"SQLite format 3", "an SQLite database (ROS 2 bag?)"),
    (b"\x89MCAP", "an MCAP file (ROS 2 bag?)"),
)


def supported() -> str:
    """One line that lists what can be read."""
    return ", ".join(f"{f.label} ({f.name})" for f in FORMATS)


def check_file(path: Path) -> None:
    """Raise FormatError unless path is a readable, non-empty file."""
    try:
        if path.is_dir():
            raise FormatError(f"{path}: is a folder; give a recording file.")
        if not path.exists():
            raise FormatError(f"{path}: no such file.")
        if not path.is_file():
            raise FormatError(f"{path}: is not a regular file.")
        if path.stat().st_size == 0:
            raise FormatError(f"{path}: the file is empty.")
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error}") from error


def sniff(path: Path) -> str:
    """Short name of the format.

    Raises:
        FormatError: missing, empty, or foreign file; the message lists what can be read.
    """
    check_file(path)
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error}") from error
    if head.startswith(b"#!AER-DAT2"):
        return "aedat2"
    if head.startswith(b"#!AER-DAT4"):
        return "aedat4"
    if head.startswith(_HDF5_SIGNATURE):
        return _sniff_hdf5(path)
    kind = next(
        (name for start, name in _FOREIGN if head.startswith(start)),
        f"unknown (it starts with {head[:12]!r})",
    )
    raise FormatError(f"{path}: this is {kind}, which is not read. Formats that are: {supported()}.")


def _sniff_hdf5(path: Path) -> str:
    from eventhpe.events.formats.dsec import looks_like_dsec
    from eventhpe.events.formats.hdf5 import hdf5_errors, open_hdf5
    from eventhpe.events.store import is_store

    with open_hdf5(path) as file, hdf5_errors(path):
        if is_store(file):
            return "eventhpe"
        if looks_like_dsec(file):
            return "dsec"
        content = ", ".join(list(file)[:8]) or "nothing"
    raise FormatError(
        f"{path}: HDF5, but without integer columns events/t, x, y, p (it holds {content}). Formats that "
        f"are read: {supported()}."
    )
