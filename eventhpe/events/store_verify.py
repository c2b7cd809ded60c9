"""Does an eventhpe HDF5 file keep its promises: invariants and checksums, read block by block."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import xxhash

from eventhpe.errors import FormatError
from eventhpe.events.formats.hdf5 import checked_dataset, hdf5_errors, open_hdf5
from eventhpe.events.formats.hdf5_damage import CheckedRows, check_storage, checked_rows
from eventhpe.events.kernels_columns import check_columns
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
    open_store(path).close()  # layout, sizes, schema
    findings: list[str] = []
    with open_hdf5(path) as file, hdf5_errors(path):
        size = int(file.attrs["sensor_height"]), int(file.attrs["sensor_width"])
        try:
            json.loads(file.attrs.get("provenance", "{}"))
        except (ValueError, TypeError):
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
    stored_index = checked_dataset(file, "ms_to_idx", path)
    index = CheckedRows(stored_index, path).read(0, len(stored_index)).astype(np.int64)
    if len(index) == 0 or int(index[-1]) != n:
        return ["ms_to_idx does not end with the number of events"]
    last, backward, outside, bad, wrong = 0, 0, 0, 0, 0
    bounds = np.arange(len(index) - 1, dtype=np.int64) * 1000
    for i in range(0, n, _BLOCK):
        t, x, y, p = (column.read(i, i + _BLOCK) for column in rows)
        for checksum, values in zip(sums, (t, x, y, p), strict=True):
            checksum.update(np.ascontiguousarray(values).data)
        more = check_columns(t, x, y, p, size[1], size[0])
        backward, outside, bad = backward + more[0] + int(t[0] < last), outside + more[1], bad + more[2]
        # index entries whose millisecond begins after the last block's end and not after this block's
        a, b = (int(v) for v in np.searchsorted(bounds, (last if i else -1, int(t[-1])), side="right"))
        wrong += int((np.searchsorted(t, bounds[a:b], side="left") + i != index[a:b]).sum())
        last = int(t[-1])
    findings = [
        f"{count:,} {what}"
        for count, what in (
            (backward, "times go backwards"),
            (outside, f"events lie outside the {size[1]}x{size[0]} sensor"),
            (bad, "polarities are neither 0 nor 1"),
            (wrong, "entries of ms_to_idx are wrong"),
        )
        if count
    ]
    if n and int(file.attrs.get("duration_us", last + 1)) <= last:
        findings.append(
            f"duration_us is {int(file.attrs['duration_us'])}, but the last event is at {last} µs"
        )
    if n and len(index) - 1 <= last // 1000:
        findings.append("ms_to_idx is too short")
    index_sum = xxhash.xxh3_64(np.ascontiguousarray(index.astype("<u8")).data)
    for name, dataset, checksum in (
        *((f"events/{c}", d, s) for c, d, s in zip("txyp", columns, sums, strict=True)),
        ("ms_to_idx", stored_index, index_sum),
    ):
        findings += _compare(name, dataset, checksum.hexdigest())
    return findings


def _compare(name: str, dataset: h5py.Dataset, found: str) -> list[str]:
    stated = dataset.attrs.get(CHECKSUM)
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
