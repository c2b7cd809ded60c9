"""Which layout an HDF5 file has, and where its events lie in those that are plain tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from eventhpe.errors import FormatError
from eventhpe.events.formats.dsec import looks_like_dsec
from eventhpe.events.formats.ecf import is_prophesee
from eventhpe.events.formats.hdf5 import hdf5_errors, open_hdf5
from eventhpe.events.formats.hdf5_damage import plain_attribute
from eventhpe.events.store import is_store

# What other programs call the columns t, x, y, p; compared in lower case.
_NAMES = (
    ("t", "ts", "time", "times", "timestamp", "timestamps"),
    ("x", "xs", "x_pos", "x_positions"),
    ("y", "ys", "y_pos", "y_positions"),
    ("p", "ps", "pol", "pols", "polarity", "polarities"),
)
# Bounds of the search through groups that nobody laid out for us.
_DEEPEST = 4
_MOST_OBJECTS = 1000
_MOST_TABLES = 255
_LONGEST_ROW_BYTES = 4096


@dataclass(frozen=True)
class Table:
    """Where the events of one stream lie.

    Attributes:
        name: of the stream.
        paths: the data set that holds the rows, or four data sets of t, x, y, p.
        fields: names of t, x, y, p in a compound data set; else empty.
        order: places of t, x, y, p in the rows of a two-dimensional data set; else None.
    """

    name: str
    paths: tuple[str, ...]
    fields: tuple[str, ...] = ()
    order: tuple[int, int, int, int] | None = None


def layout_of(path: Path) -> str:
    """Short name of the format of an HDF5 file: eventhpe, dsec, ecf, mvsec, v2e, or hdf5 for other columns.

    Raises:
        FormatError: no events are found; the message lists the content.
    """
    with open_hdf5(path) as file, hdf5_errors(path):
        if is_store(file):
            return "eventhpe"
        if looks_like_dsec(file):
            return "dsec"
        if is_prophesee(file):
            return "ecf"
        for name, tables in (("mvsec", mvsec_tables), ("v2e", v2e_tables), ("hdf5", column_tables)):
            if tables(file):
                return name
        raise no_events(file, path)


def no_events(file: h5py.File, path: Path) -> FormatError:
    """The error for a file without events, with what it holds instead."""
    held = [f"{name} {_described(item)}" for name, item in _objects(file)][:12]
    return FormatError(
        f"{path}: HDF5 without events in a layout that is read (columns t, x, y, p in a group or in a "
        "compound data set; the layouts of DSEC, MVSEC, v2e and Prophesee). "
        f"It holds: {', '.join(held) or 'nothing'}."
    )


def _described(item: h5py.Group | h5py.Dataset) -> str:
    return f"{item.shape} {item.dtype}" if isinstance(item, h5py.Dataset) else "(group)"


def mvsec_tables(file: h5py.File) -> list[Table]:
    """davis/left/events and davis/right/events, rows of x, y, t, p."""
    places = {camera: f"davis/{camera}/events" for camera in ("left", "right")}
    return [Table(c, (at,), order=(2, 0, 1, 3)) for c, at in places.items() if _is_rows(file.get(at), "f")]


def v2e_tables(file: h5py.File) -> list[Table]:
    """`events`, integer rows of t, x, y, p."""
    return [Table("events", ("events",), order=(0, 1, 2, 3))] if _is_rows(file.get("events"), "iu") else []


def _is_rows(item: object, kinds: str) -> bool:
    return (
        isinstance(item, h5py.Dataset) and item.ndim == 2 and item.shape[1] == 4 and item.dtype.kind in kinds
    )


def column_tables(file: h5py.File) -> list[Table]:
    """Every group or compound data set with t, x, y, p under any of their usual names."""
    found: list[Table] = []
    for name, item in [("", file), *_objects(file)]:
        if isinstance(item, h5py.Dataset):
            table = _compound_table(name, item)
        else:
            table = _group_table(name, item)
        if table is not None:
            found.append(table)
    return found[:_MOST_TABLES]


def _compound_table(name: str, dataset: h5py.Dataset) -> Table | None:
    dtype = dataset.dtype
    if dataset.ndim != 1 or dtype.names is None or dtype.itemsize > _LONGEST_ROW_BYTES:
        return None
    fields = _columns_among(dtype.names)
    if fields is None or any(dtype[field].kind not in "iufb" for field in fields):
        return None
    return Table(name, (name,), fields=fields)


def _group_table(name: str, group: h5py.Group) -> Table | None:
    columns = _columns_among(tuple(group))
    if columns is None:
        return None
    items = [group.get(column) for column in columns]
    if not all(isinstance(i, h5py.Dataset) and i.ndim == 1 and i.dtype.kind in "iufb" for i in items):
        return None
    return Table(name or "events", tuple(f"{name}/{column}" for column in columns))


def _columns_among(names: tuple[str, ...]) -> tuple[str, ...] | None:
    """The names of t, x, y, p among `names`; None unless each is there exactly once."""
    found = [[name for name in names if name.lower() in known] for known in _NAMES]
    return tuple(f[0] for f in found) if all(len(f) == 1 for f in found) else None


def _objects(file: h5py.File) -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
    """Groups and data sets by path, level by level; bounded, whatever the links of a damaged file do."""
    level: list[tuple[str, h5py.Group]] = [("", file)]
    count = 0
    for _ in range(_DEEPEST):
        below: list[tuple[str, h5py.Group]] = []
        for name, group in level:
            for key in group:
                count += 1
                if count > _MOST_OBJECTS:
                    return
                # Links into other files are not followed.
                if isinstance(group.get(key, getlink=True), h5py.ExternalLink):
                    continue
                item, at = group.get(key), f"{name}/{key}".lstrip("/")
                if isinstance(item, h5py.Group):
                    below.append((at, item))
                if isinstance(item, h5py.Group | h5py.Dataset):
                    yield at, item
        level = below


def attribute_size(file: h5py.File, places: list[str]) -> tuple[int, int] | None:
    """(H, W) from the attributes of the file or of any of the objects at `places` or above them."""
    holders: dict[str, None] = {"/": None}
    for place in places:
        parts = place.strip("/").split("/")
        holders.update({"/".join(parts[:k]): None for k in range(1, len(parts) + 1)})
    for holder in holders:
        for height, width in (("height", "width"), ("sensor_height", "sensor_width")):
            size = _checked_size(*(plain_attribute(file[holder], name) for name in (height, width)))
            if size is not None:
                return size
        for name in ("sensor_resolution", "resolution", "sensor_size"):
            pair = np.asarray(plain_attribute(file[holder], name, [])).reshape(-1)
            if len(pair) == 2 and pair.dtype.kind in "iuf":
                # Programs disagree on the order; no event sensor is higher than wide.
                size = _checked_size(*np.sort(pair))
                if size is not None:
                    return size
    return None


def _checked_size(height: object, width: object) -> tuple[int, int] | None:
    numbers = [np.asarray(v).reshape(-1) for v in (height, width)]
    if any(len(n) != 1 or n.dtype.kind not in "iuf" or not 0 < n[0] <= 65535 for n in numbers):
        return None
    return int(numbers[0][0]), int(numbers[1][0])
