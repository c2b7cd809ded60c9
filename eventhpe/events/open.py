"""The front door of this room: a path in, a Recording out."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import get_args

from eventhpe.errors import FormatError, UnitError
from eventhpe.events.formats.options import OpenOptions, TimeUnit
from eventhpe.events.formats.sniff import FORMATS, check_file, sniff
from eventhpe.events.recording import Backend, Recording, check_stream
from eventhpe.events.stream_backend import StreamBackend

_ANY_UNIT = ("mvsec", "v2e", "hdf5", "npz", "npy", "text", "zip")
"""Formats whose times may be in any unit."""


def open_recording(
    path: str | Path,
    *,
    format: str | None = None,
    sensor: str | None = None,
    stream: int | str | None = None,
    time_unit: TimeUnit | None = None,
) -> Recording:
    """Open an event recording; the format is recognised by content.

    Args:
        path: file to open (or the folder of a ROS 2 bag).
        format: short name of a format ("aedat2", "evt3" ...; see docs/formats.md) to skip recognition.
        sensor: camera name ("DVS128", "DAVIS346" ...) or "WIDTHxHEIGHT", for files that do not tell.
        stream: camera to read where a file holds several (index or name); default: the one with most events.
        time_unit: "s", "ms", "us" or "ns", for text, arrays and tables that break the rule "fractions are
            seconds, whole numbers are microseconds".
    Raises:
        FormatError: missing, empty, foreign or damaged file, or a file that needs `sensor`.
        UnitError: unknown `time_unit`.
    """
    path = Path(path)
    names = {f.name: f for f in FORMATS}
    if time_unit is not None and time_unit not in get_args(TimeUnit):
        raise UnitError(f"time_unit must be one of {', '.join(get_args(TimeUnit))}; got {time_unit!r}.")
    if format is None:
        format = sniff(path)
    elif format not in names:
        raise FormatError(f"unknown format {format!r}; choose one of {', '.join(names)}.")
    else:
        check_file(path)
    if time_unit is not None and format not in _ANY_UNIT:
        raise UnitError(
            f"{path}: {names[format].label} fixes the unit of its times; leave time_unit (--time-unit) out. "
            f"It is for {', '.join(_ANY_UNIT)}."
        )
    try:
        return Recording(
            _open_backend(path, names[format].module, OpenOptions(format, sensor, time_unit), stream)
        )
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error}") from error


def _open_backend(path: Path, module: str, options: OpenOptions, stream: int | str | None) -> Backend:
    # Imports wait until a format is needed: each pulls its own libraries and kernels.
    if module == "store":
        from eventhpe.events.store import open_store

        check_stream(stream, ("events",), str(path))
        return open_store(path)
    if module == "dsec":
        from eventhpe.events.formats.dsec import open_dsec

        check_stream(stream, ("events",), str(path))
        return open_dsec(path, options.sensor)
    reader = import_module(f"eventhpe.events.formats.{module}").open_reader(path, options)
    return StreamBackend(reader, stream)
