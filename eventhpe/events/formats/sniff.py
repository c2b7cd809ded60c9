"""Which format a file has, by content; file names do not count."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eventhpe.errors import FormatError

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_HEAD_BYTES = 4096


@dataclass(frozen=True)
class Format:
    """A readable format: short name (`format=`), what it is called, and the module in this package that
    reads it."""

    name: str
    label: str
    module: str


FORMATS = (
    Format("aedat1", "AEDAT 1.0", "aedat1"),
    Format("aedat2", "AEDAT 2.0", "aedat2"),
    Format("aedat3", "AEDAT 3.0 and 3.1", "aedat3"),
    Format("aedat4", "AEDAT 4.0", "aedat4"),
    Format("evt2", "Prophesee RAW EVT2", "evt"),
    Format("evt21", "Prophesee RAW EVT2.1", "evt"),
    Format("evt3", "Prophesee RAW EVT3", "evt"),
    Format("evt4", "Prophesee RAW EVT4", "evt"),
    Format("dat", "Prophesee DAT", "dat"),
    Format("ecf", "Prophesee HDF5 (ECF)", "ecf"),
    Format("dsec", "DSEC HDF5", "dsec"),
    Format("mvsec", "MVSEC HDF5", "hdf5_tables"),
    Format("v2e", "v2e HDF5", "hdf5_tables"),
    Format("hdf5", "other HDF5 columns", "hdf5_tables"),
    Format("npz", "NPZ arrays", "archive"),
    Format("npy", "NPY array", "npy"),
    Format("text", "text or CSV", "text"),
    Format("celex", "CeleX CSV", "celex_csv"),
    Format("zip", "text in a ZIP archive", "archive"),
    Format("rosbag1", "ROS 1 bag", "rosbag"),
    Format("rosbag2", "ROS 2 bag", "rosbag"),
    Format("eventhpe", "eventhpe HDF5", "store"),
)


def supported() -> str:
    """One line that lists what can be read."""
    return ", ".join(f"{f.label} ({f.name})" for f in FORMATS)


def check_file(path: Path) -> None:
    """Raise FormatError unless path is a readable, non-empty file (or a folder with a ROS 2 bag)."""
    try:
        if path.is_dir():
            if (path / "metadata.yaml").is_file():
                return
            raise FormatError(
                f"{path}: is a folder without a ROS 2 bag (metadata.yaml); give a recording file."
            )
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
    if path.is_dir():
        return "rosbag2"
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error}") from error
    name = _by_signature(path, head) or _by_shape(path, head)
    if name is None:
        raise FormatError(
            f"{path}: of unknown format (it starts with {head[:12]!r}). Formats that are read: "
            f"{supported()}. "
            "A file without a header can be named with format= (--format)."
        )
    return name


def _by_signature(path: Path, head: bytes) -> str | None:
    """Formats that say what they are in their first bytes."""
    if head.startswith(b"#!AER-DAT"):
        version = head[9:10].decode("latin-1")
        if version not in "1234" or not version:
            raise FormatError(f"{path}: AEDAT version {head[9:12]!r} is not known (1.0, 2.0, 3.0, 3.1, 4.0).")
        return f"aedat{version}"
    if head.startswith(b"% "):
        from eventhpe.events.formats.prophesee_header import format_of

        return format_of(path)
    if head.startswith(_HDF5_SIGNATURE):
        from eventhpe.events.formats.hdf5_layouts import layout_of

        return layout_of(path)
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith(b"PK\x03\x04"):
        from eventhpe.events.formats.archive import archive_kind

        return archive_kind(path)
    if head.startswith(b"#ROSBAG"):
        return "rosbag1"
    if head.startswith((b"SQLite format 3", b"\x89MCAP")):
        return "rosbag2"
    return None


def _by_shape(path: Path, head: bytes) -> str | None:
    """Formats without a signature: text, and bare records whose times make sense."""
    from eventhpe.events.formats.celex_csv import looks_like_celex
    from eventhpe.events.formats.headerless import records_of
    from eventhpe.events.formats.text import looks_like_events

    if looks_like_events(head):
        return "text"
    return "celex" if looks_like_celex(head) else records_of(path)
