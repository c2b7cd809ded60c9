"""Does an eventhpe HDF5 file keep its promises: invariants and checksums, read block by block."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import xxhash
from numpy.typing import NDArray

from eventhpe.errors import FormatError
from eventhpe.events.formats.hdf5 import checked_dataset, hdf5_errors, open_hdf5
from eventhpe.events.formats.hdf5_damage import CheckedRows, check_storage, checked_rows, plain_attribute
from eventhpe.events.kernels_columns import check_columns
from eventhpe.events.recording import Recording
from eventhpe.events.store import open_store
from eventhpe.events.store_writer import CHECKSUM

_BLOCK = 1 << 20
_OPTIONAL = {
    "frames": ("t", "data"),
    "triggers": ("t", "value"),
    "imu": ("t", "accel", "gyro", "temperature"),
}


def verify(path: str | Path) -> list[str]:
    """Read the whole file and compare it with what it says of itself.

    Returns:
        What is wrong, one line each; empty if all is well.
    Raises:
        FormatError: not an eventhpe HDF5 file, or too damaged to be opened.
    """
    path = Path(path)
    with Recording(open_store(path)) as recording:  # layout, sizes, schema
        size = recording.sensor_size
    findings: list[str] = []
    with open_hdf5(path) as file, hdf5_errors(path):
        try:
            json.loads(plain_attribute(file, "provenance", "{}"))
        except (ValueError, TypeError, FormatError):
            findings.append("the provenance is not JSON")
        try:
            findings += _events(file, path, size)
        except (OSError, FormatError) as error:
            findings.append(f"events cannot be read: {error}")
        for group, names in _OPTIONAL.items():
            if group not in file:
                continue
            try:
                findings += _beside(file, path, group, names)
            except (OSError, KeyError, FormatError) as error:
                findings.append(f"{group} cannot be read: {error}")
    return findings


def _events(file: h5py.File, path: Path, size: tuple[int, int]) -> list[str]:
    """Order, bounds, index and checksums of the event columns."""
    columns = [checked_dataset(file, f"events/{name}", path) for name in "txyp"]
    rows = [CheckedRows(column, path) for column in columns]
    sums = [xxhash.xxh3_64() for _ in columns]
    n = int(columns[0].shape[0])
    index = _Index(checked_dataset(file, "ms_to_idx", path), path)
    last, backward, outside, bad = 0, 0, 0, 0
    for i in range(0, n, _BLOCK):
        t, x, y, p = (column.read(i, i + _BLOCK) for column in rows)
        for checksum, values in zip(sums, (t, x, y, p), strict=True):
            checksum.update(np.ascontiguousarray(values).data)
        more = check_columns(t, x, y, p, size[1], size[0])
        backward, outside, bad = backward + more[0] + int(t[0] < last), outside + more[1], bad + more[2]
        index.follow(t, i)
        last = int(t[-1])
    index.end(n)
    findings = [
        f"{count:,} {what}"
        for count, what in (
            (backward, "times go backwards"),
            (outside, f"events lie outside the {size[1]}x{size[0]} sensor"),
            (bad, "polarities are neither 0 nor 1"),
            (index.wrong, "entries of ms_to_idx are wrong or missing"),
        )
        if count
    ]
    duration = int(plain_attribute(file, "duration_us", last + 1))
    if n and duration <= last:
        findings.append(f"duration_us is {duration}, but the last event is at {last} µs")
    for name, column, checksum in zip("txyp", columns, sums, strict=True):
        findings += _compare(f"events/{name}", column, checksum.hexdigest())
    return findings + _compare("ms_to_idx", index.dataset, index.checksum.hexdigest())


class _Index:
    """Compares ms_to_idx, piece by piece, with the events as they pass by.

    Attributes:
        wrong: entries that are not the first event with t >= 1000 m.
    """

    def __init__(self, dataset: h5py.Dataset, path: Path) -> None:
        self.dataset = dataset
        self.checksum = xxhash.xxh3_64()
        self.wrong = 0
        self._rows = CheckedRows(dataset, path)
        self._done = 0

    def follow(self, t: NDArray[np.int64], i: int) -> None:
        """The next events, the first of which is event i."""
        upto = int(t[-1]) // 1000 + 1
        while self._done < upto:  # in pieces: hours of silence are long
            m = min(upto, self._done + _BLOCK)
            expected = np.searchsorted(t, np.arange(self._done, m, dtype=np.int64) * 1000, side="left") + i
            self._compare(expected)
            self._done = m

    def end(self, n: int) -> None:
        """After the last event: one more entry, the number of events."""
        self._compare(np.array([n]))
        self.wrong += max(0, len(self.dataset) - self._done - 1)

    def _compare(self, expected: NDArray[np.int64]) -> None:
        stored = self._rows.read(self._done, min(self._done + len(expected), len(self.dataset)))
        self.checksum.update(np.ascontiguousarray(stored.astype("<u8")).data)
        self.wrong += len(expected) - int((stored == expected[: len(stored)]).sum())


def _compare(name: str, dataset: h5py.Dataset, found: str) -> list[str]:
    stated = plain_attribute(dataset, CHECKSUM)
    if stated is None:
        return [f"{name} has no checksum (written by an older version); convert the source again"]
    return [] if stated == found else [f"the values of {name} are not those that were written (checksum)"]


def _beside(file: h5py.File, path: Path, group: str, names: tuple[str, ...]) -> list[str]:
    """Lengths, order and checksums of what is beside the events."""
    findings: list[str] = []
    present = [name for name in file[group] if isinstance(file[f"{group}/{name}"], h5py.Dataset)]
    missing = set(names) - set(present)
    if missing:
        return [f"{group} lacks {', '.join(sorted(missing))}"]
    lengths = {name: int(file[f"{group}/{name}"].shape[0]) for name in present}
    if len(set(lengths.values())) != 1:
        findings.append(f"columns of {group} differ in length: {lengths}")
    check_storage(file[f"{group}/t"], "t", path)
    t = np.asarray(checked_rows(file[f"{group}/t"], 0, lengths["t"], path), np.int64)
    if (np.diff(t) < 0).any():
        findings.append(f"times of {group} go backwards")
    for name in present:
        dataset = file[f"{group}/{name}"]
        check_storage(dataset, name, path)
        rows, checksum = CheckedRows(dataset, path), xxhash.xxh3_64()
        step = 1 if name == "data" else max(1, len(dataset))
        for k in range(0, len(dataset), step):
            checksum.update(np.ascontiguousarray(rows.read(k, k + step)).data)
        findings += _compare(f"{group}/{name}", dataset, checksum.hexdigest())
    return findings
