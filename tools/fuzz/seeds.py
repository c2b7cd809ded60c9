"""Damaged files of every format. Input k of a format depends on the seed, the format and k only."""

from __future__ import annotations

import io
import sqlite3
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import h5py
import numpy as np
from rosbags import rosbag1
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from tests.events import test_aedat4 as aedat4
from tests.events.small_files import SmallFile, bag1, bag2, bag_messages, small_files, zipped
from tools.fuzz.mutate import mutate

#: Share of inputs whose damage lies under the compression and the check sums of a container.
INNER_SHARE = 0.5

Inner = Callable[[SmallFile, np.random.Generator], bytes]


@dataclass(frozen=True)
class Input:
    """A damaged file and where it comes from."""

    origin: SmallFile
    data: bytes


@cache
def files_of(short_name: str) -> tuple[SmallFile, ...]:
    """The small valid files of a format."""
    return tuple(file for file in small_files() if file.format == short_name)


def generator(seed: int, short_name: str, number: int) -> np.random.Generator:
    """The random numbers of one input."""
    return np.random.default_rng((seed, zlib.crc32(short_name.encode()), number))


def damaged_file(short_name: str, rng: np.random.Generator) -> Input:
    """One damaged file."""
    files = files_of(short_name)
    origin, other = (files[int(rng.integers(len(files)))] for _ in range(2))
    inner = _INNER.get(short_name)
    if inner is not None and rng.random() < INNER_SHARE:
        data = inner(origin, rng)
        if rng.random() < 0.8:
            return Input(origin, data)
        return Input(origin, mutate(data, other.data, rng))
    return Input(origin, mutate(origin.data, other.data, rng))


# ---- damage inside of containers


def _in_aedat4(origin: SmallFile, rng: np.random.Generator) -> bytes:
    packets = [(0, aedat4.events_packet(rows)) for rows in aedat4.ROWS]
    packets += [
        (1, aedat4.events_packet(aedat4.ROWS[0])),
        (2, aedat4.frame_packet(1015, np.arange(48).reshape(6, 8))),
        (3, aedat4.trigger_packet([(1012, 1), (1013, 2), (1014, 3)])),
        (
            4,
            aedat4.imu_packet(
                [[("<q", 1010 + k), *(("<f", v) for v in (31.5, 0.1, -1.0))] for k in range(3)]
            ),
        ),
    ]
    kinds = ("EVTS", "EVTS", "FRME", "TRIG", "IMUS")
    streams = [aedat4.stream(k, kind, name=f"cam{k}") for k, kind in enumerate(kinds)]
    chosen = int(rng.integers(len(packets)))
    number, packet = packets[chosen]
    packets[chosen] = (number, mutate(packet, packets[int(rng.integers(len(packets)))][1], rng))
    return aedat4.build(streams, packets, compression=int(rng.integers(5)), table=rng.random() < 0.5)


def _in_bag1(origin: SmallFile, rng: np.random.Generator) -> bytes:
    messages = bag_messages(False)
    for _ in range(int(rng.integers(1, 3))):
        k, other = (int(rng.integers(len(messages))) for _ in range(2))
        topic, kind, now, data = messages[k]
        messages[k] = (topic, kind, now, mutate(data, messages[other][3], rng))
    formats = rosbag1.Writer.CompressionFormat
    compression = (None, formats.LZ4, formats.BZ2)[int(rng.integers(3))]
    with tempfile.TemporaryDirectory() as folder:
        return bag1(Path(folder), messages, compression)


def _in_bag2(origin: SmallFile, rng: np.random.Generator) -> bytes:
    if origin.name.endswith("sqlite"):
        return _in_sqlite(origin, rng)
    messages = bag_messages(True)
    k, other = (int(rng.integers(len(messages))) for _ in range(2))
    topic, kind, now, data = messages[k]
    damaged = mutate(data, messages[other][3], rng)
    if origin.name.endswith("mcap"):  # not compressed: put in place, which is quick
        return origin.data.replace(data, damaged[: len(data)].ljust(len(data), b"\0"), 1)
    messages[k] = (topic, kind, now, damaged)
    with tempfile.TemporaryDirectory() as folder:
        return bag2(Path(folder), messages, StoragePlugin.MCAP, CompressionMode.STORAGE)


def _in_sqlite(origin: SmallFile, rng: np.random.Generator) -> bytes:
    """Other values in a sound data base."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.deserialize(origin.data)
        rows = connection.execute("SELECT id, data FROM messages").fetchall()
        (number, blob), (_, other) = (rows[int(rng.integers(len(rows)))] for _ in range(2))
        kind = rng.random()
        if kind < 0.7:
            value: object = mutate(blob, other, rng)
            connection.execute("UPDATE messages SET data = ? WHERE id = ?", (value, number))
        else:
            table, column = [
                ("messages", "timestamp"), ("messages", "topic_id"), ("messages", "data"),
                ("topics", "type"), ("topics", "name"), ("topics", "serialization_format"), ("topics", "id"),
            ][int(rng.integers(7))]  # fmt: skip
            value = [None, -1, 2**62, "text", b"\xff\x00", 1.5, ""][int(rng.integers(7))]
            connection.execute(
                f"UPDATE OR IGNORE {table} SET {column} = ? WHERE rowid % ? = 1",
                (value, int(rng.integers(2, 5))),
            )
        connection.commit()
        return connection.serialize()
    except sqlite3.Error:  # the schema forbids it
        return mutate(origin.data, origin.data, rng)
    finally:
        connection.close()


def _in_archive(origin: SmallFile, rng: np.random.Generator) -> bytes:
    with zipfile.ZipFile(io.BytesIO(origin.data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    names = sorted(members)
    chosen = names[int(rng.integers(len(names)))]
    members[chosen] = mutate(members[chosen], members[names[0]], rng)
    if len(members) == 1:
        return zipped(chosen, members[chosen])
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), content)
    return out.getvalue()


def _in_hdf5(origin: SmallFile, rng: np.random.Generator) -> bytes:
    """Other values, other bytes of chunks and other attributes in a sound file."""
    import hdf5plugin  # noqa: F401  (registers Bitshuffle and Blosc)

    with h5py.File(h5py.h5f.open_file_image(origin.data, h5py.h5f.FILE_IMAGE_OPEN_RW)) as file:
        datasets: list[h5py.Dataset] = []
        file.visititems(lambda name, item: datasets.append(item) if isinstance(item, h5py.Dataset) else None)
        dataset = datasets[int(rng.integers(len(datasets)))]
        for holder in (file, *datasets):
            if len(holder.attrs) and rng.random() < 0.15:
                _change_attribute(holder.attrs, rng)
        coded_by_camera = dataset.name == "/CD/events"
        packed = dataset.chunks is not None and dataset.id.get_num_chunks() > 0
        if packed and (coded_by_camera or rng.random() < 0.5):  # the bytes that a filter gets
            chunk = int(rng.integers(dataset.id.get_num_chunks()))
            where = dataset.id.get_chunk_info(chunk).chunk_offset
            _, coded = dataset.id.read_direct_chunk(where)
            dataset.id.write_direct_chunk(where, mutate(coded, coded, rng) or b"\0")
        elif dataset.size:
            values = dataset[()]
            flat = bytearray(np.ascontiguousarray(values).tobytes())
            damaged = mutate(bytes(flat), bytes(flat), rng)[: len(flat)].ljust(len(flat), b"\0")
            dataset[...] = np.frombuffer(damaged, values.dtype).reshape(values.shape)
            if dataset.ndim and dataset.maxshape[0] is None and rng.random() < 0.15:
                n = len(dataset)
                dataset.resize(int(rng.choice([0, 1, n - 1, n + 40, 10**7])), 0)
        file.flush()
        return bytes(file.id.get_file_image())


def _change_attribute(attributes: h5py.AttributeManager, rng: np.random.Generator) -> None:
    name = sorted(attributes)[int(rng.integers(len(attributes)))]
    values = (
        0,
        1,
        -1,
        7,
        65536,
        2**62,
        1.5,
        float("nan"),
        "8",
        "640x0",
        b"\xff",
        np.arange(3),
        "evt3;width=1e9",
    )
    value = values[int(rng.integers(len(values)))]
    if rng.random() < 0.15:
        del attributes[name]
    else:
        attributes[name] = value


_INNER: dict[str, Inner] = {
    "aedat4": _in_aedat4, "rosbag1": _in_bag1, "rosbag2": _in_bag2, "npz": _in_archive, "zip": _in_archive,
    **dict.fromkeys(("ecf", "dsec", "mvsec", "v2e", "hdf5", "eventhpe"), _in_hdf5),
}  # fmt: skip
