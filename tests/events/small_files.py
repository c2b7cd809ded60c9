"""A small valid file in every format that is read, some dozens of events each."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray
from rosbags import rosbag1
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from eventhpe.events.formats.aedat4_writer import Aedat4Writer
from eventhpe.events.formats.dsec_writer import write_dsec
from eventhpe.events.store_writer import StoreWriter
from eventhpe.events.types import Events, ImuSamples, Triggers
from tests.events import ecf_encoder
from tests.events import test_aedat1 as aedat1
from tests.events import test_aedat2 as aedat2
from tests.events import test_aedat2_frames as aedat2_frames
from tests.events import test_aedat3 as aedat3
from tests.events import test_aedat4 as aedat4
from tests.events import test_dat as dat
from tests.events import test_evt as evt
from tests.events import test_rosbag as rosbag

NUM_EVENTS = 48
SENSOR = (6, 8)


@dataclass(frozen=True)
class SmallFile:
    """A file as bytes.

    Attributes:
        name: unique ("aedat4-lz4").
        format: short name of the format (`sniff.FORMATS`).
        stream: cut short, it still gives its complete events; otherwise a cut is an error.
        headerless: recognition by content does not know it; `format` has to be said.
    """

    name: str
    format: str
    data: bytes
    stream: bool = True
    headerless: bool = False


def small_events(size: tuple[int, int] = SENSOR, n: int = NUM_EVENTS, seed: int = 5) -> Events:
    """Sorted events, some of equal time."""
    rng = np.random.default_rng(seed)
    t = np.cumsum(rng.integers(0, 300, n)).astype(np.int64)
    x, y = rng.integers(0, size[1], n).astype(np.uint16), rng.integers(0, size[0], n).astype(np.uint16)
    return Events(t, x, y, rng.integers(0, 2, n).astype(np.uint8), size)


@cache
def small_files() -> tuple[SmallFile, ...]:
    """All of them; the same bytes in every process."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        families: tuple[Callable[[Path], list[SmallFile]], ...] = (
            _old_aedat, _aedat4, _prophesee, _tables, _text, _bags, _hdf5, _ecf, _ours,
        )  # fmt: skip
        return tuple(file for family in families for file in family(folder))


def _old_aedat(folder: Path) -> list[SmallFile]:
    events, path = small_events((128, 128), 96), folder / "a"
    addresses = (127 - events.y.astype(int)) << 8 | (127 - events.x.astype(int)) << 1 | (1 - events.p)
    addresses[20] |= 1 << 15
    first = aedat1.write(path, addresses, events.t + 1000).read_bytes()
    bare = aedat1.write(path, addresses, events.t + 1000, b"").read_bytes()
    records = list(zip(addresses.tolist(), (events.t + 1000).tolist(), strict=True))[:NUM_EVENTS]
    dvs128 = aedat2.write(path, aedat2.DVS128, records).read_bytes()

    davis, size = [], (128, 128)
    for k in range(24):
        davis.append((k << 22 | k << 12 | (k & 1) << 11, 1000 + k))
    davis.append((1 << 10 | 3, 1100))
    davis += aedat2_frames.imu_words([8192, -4096, 16384, 340, 655, -1310, 131], 1101)
    davis += [
        (aedat2_frames.aps(x, y, kind, 300 + x), 1110 + y)
        for kind in (0, 1)
        for y in range(2)
        for x in range(3)
    ]
    davis += [(k << 22 | k << 12 | 1 << 11, 1200 + k) for k in range(24)]
    mixed = aedat2_frames.write(path, davis, "# AEChip: DAVIS128").read_bytes()
    assert size == (aedat2_frames.H, aedat2_frames.W)

    several = [(aedat2.davis(k, k, k & 1, camera=k % 4), 100 + k) for k in range(NUM_EVENTS)]
    cameras = aedat2.write(path, aedat2.MULTI, several).read_bytes()
    t, x, y, p = aedat3.made(NUM_EVENTS, width=128, height=128)
    old = aedat3.header("#Source 1: DVS128", version="3.0")
    old += aedat3.polarity(t[:20], x[:20], y[:20], p[:20], old=True)
    old += aedat3.polarity(t[20:], x[20:], y[20:], p[20:], old=True)
    return [
        SmallFile("aedat1", "aedat1", first),
        SmallFile("aedat1-bare", "aedat1", bare, headerless=True),
        SmallFile("aedat2-dvs128", "aedat2", dvs128),
        SmallFile("aedat2-davis", "aedat2", mixed),
        SmallFile("aedat2-cameras", "aedat2", cameras),
        SmallFile("aedat3.0", "aedat3", old),
        SmallFile("aedat3.1", "aedat3", aedat3.small_file()),
    ]


def beside(events: Events) -> tuple[NDArray[np.uint8], Triggers, ImuSamples]:
    """(2, H, W) gray frames, triggers and IMU samples to go with events."""
    images = np.arange(2 * 48, dtype=np.uint8).reshape(2, 6, 8)
    t = np.array([10, 500, 2000], np.int64)
    triggers = Triggers(t, np.array([1, 0, 2], np.uint8), np.zeros(3, np.uint8))
    values = np.arange(9, dtype=np.float32).reshape(3, 3)
    return images, triggers, ImuSamples(t, values, -values, values[:, 0])


def _aedat4(folder: Path) -> list[SmallFile]:
    files = []
    for compression in ("none", "lz4", "zstd"):
        events, path = small_events(), folder / "a.aedat4"
        images, triggers, imu = beside(events)
        with Aedat4Writer(path, SENSOR, t_offset_us=10**15, compression=compression) as writer:
            writer.append(events.slice(0, 20))
            for k, image in enumerate(images):
                writer.append_frame(1000 * k, image)
            writer.append_triggers(triggers)
            writer.append_imu(imu)
            writer.append(events.slice(20, NUM_EVENTS))
        files.append(SmallFile(f"aedat4-{compression}", "aedat4", path.read_bytes()))
    packets = [(0, aedat4.events_packet(rows)) for rows in aedat4.ROWS]
    packets += [(1, aedat4.events_packet(rows)) for rows in aedat4.ROWS[:2]]
    packets += [(2, aedat4.frame_packet(1015, np.arange(48).reshape(6, 8)))]
    streams = [
        aedat4.stream(0, "EVTS"), aedat4.stream(1, "EVTS", name="right"), aedat4.stream(2, "FRME"),
    ]  # fmt: skip
    return [*files, SmallFile("aedat4-cameras", "aedat4", aedat4.build(streams, packets))]


def _prophesee(folder: Path) -> list[SmallFile]:
    path = folder / "a.raw"
    words: dict[str, list[int]] = {}
    words["evt2"] = [evt.high2(100)]
    words["evt2"] += [evt.cd2(k, 40 * k % 640, 30 * k % 480, k & 1) for k in range(40)] + [
        10 << 28 | 41 << 22 | 1
    ]
    words["evt2"] += [evt.high2(101), *(evt.cd2(k, k, k, 1) for k in range(8))]
    words["evt21"] = [evt.high2(100) << 32]
    words["evt21"] += [evt.vector21(k, 32 * k % 640, 30 * k % 480, k & 1, 0x80000101) for k in range(16)]
    words["evt3"] = [evt.high3(5), evt.low3(7)]
    for k in range(12):
        words["evt3"] += [
            evt.y3(20 * k),
            evt.x3(30 * k, k & 1),
            evt.base3(11 * k, 1),
            4 << 12 | 0x803,
            evt.low3(8 + k),
        ]
    words["evt3"] += [10 << 12 | 1, evt.high3(6), evt.y3(3), evt.x3(4, 1)]
    words["evt4"] = [
        14 << 28 | 100,
        *((10 | k & 1) << 28 | k << 22 | 12 * k << 11 | 9 * k for k in range(40)),
    ]
    words["evt4"] += [13 << 28 | 41 << 22 | 32 << 11 | 5, 0x80000101, 9 << 28 | 41 << 22 | 1]
    files = [SmallFile(name, name, evt.write(path, name, w).read_bytes()) for name, w in words.items()]
    swapped = [evt.swap_halves(word) for word in words["evt21"]]
    legacy = evt.write(path, "evt21", swapped, "% endianness legacy\n").read_bytes()
    events = small_events((480, 640), 96)
    pixels = events.p.astype(int) << 28 | events.y.astype(int) << 14 | events.x.astype(int)
    records = list(zip((events.t + 1000).tolist(), pixels.tolist(), strict=True))
    bare = dat.write(path, "", b"", records).read_bytes()
    return [
        *files,
        SmallFile("evt21-legacy", "evt21", legacy),
        SmallFile("dat", "dat", dat.write(path, dat.HEADER, b"\x0c\x08", records[:NUM_EVENTS]).read_bytes()),
        SmallFile("dat-bare", "dat", bare, headerless=True),
    ]


def _npy(array: np.ndarray[Any, Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def _tables(folder: Path) -> list[SmallFile]:
    events = small_events()
    rows = np.stack([events.t, events.x, events.y, events.p], 1).astype(np.int64)
    columns = {name: getattr(events, name) for name in "txyp"}
    stored, deflated = io.BytesIO(), io.BytesIO()
    np.savez(stored, **columns)
    np.savez_compressed(deflated, events=rows)
    return [
        SmallFile("npy-rows", "npy", _npy(rows)),
        SmallFile("npy-seconds", "npy", _npy(rows / [1e6, 1, 1, 1])),
        SmallFile("npy-records", "npy", _npy(events.to_structured())),
        SmallFile("npz-stored", "npz", stored.getvalue(), stream=False),
        SmallFile("npz-deflated", "npz", deflated.getvalue(), stream=False),
    ]


def zipped(name: str, content: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive of one member."""
    out, info = io.BytesIO(), zipfile.ZipInfo(name)  # of 1980, so that the bytes are always the same
    info.compress_type = method
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(info, content)
    return out.getvalue()


def _text(folder: Path) -> list[SmallFile]:
    e = small_events()
    rows = list(zip(e.t.tolist(), e.x.tolist(), e.y.tolist(), e.p.tolist(), strict=True))
    lines = "".join(f"{t / 1e6:.6f} {x} {y} {p}\n" for t, x, y, p in rows)
    e2vid, v2e = "8 6\n" + lines, "#!events.txt\n# time x y polarity\n" + lines
    csv = "x,y,polarity,timestamp\n" + "".join(f"{x},{y},{p},{t}\n" for t, x, y, p in rows)
    v2e = "#!events.txt\n# time x y polarity\n" + "".join(
        f"{t / 1e6:.6f} {x} {y} {p}\n" for t, x, y, p in rows
    )
    celex = "".join(f"{1279 - y},{799 - x},{t},{t // 9},{2 * p - 1}\n" for t, x, y, p in rows)
    return [
        SmallFile("celex", "celex", celex.encode()),
        SmallFile("text-e2vid", "text", e2vid.encode()),
        SmallFile("text-csv", "text", csv.encode()),
        SmallFile("text-v2e", "text", v2e.encode()),
        SmallFile("zip", "zip", zipped("events.txt", e2vid.encode()), stream=False),
    ]


def bag_messages(ros2: bool) -> list[rosbag.Message]:
    """Messages of an event array, of packets in three encodings, an image and an IMU sample."""
    messages: list[rosbag.Message] = []
    parts = [rosbag.random_events(k, 4, 10**6 * (k + 1)) for k in range(6)]
    messages += [
        ("/e", rosbag.DVS, 10**15 + k, rosbag.dvs_message(ros2, part)) for k, part in enumerate(parts)
    ]
    words = np.array(
        [evt.high3(5), evt.low3(7), evt.y3(3), evt.x3(4, 1), evt.base3(8, 1), 4 << 12 | 0x803], "<u2"
    )
    libcaer = np.array([[k << 17 | k << 2 | 3, 1000 + k] for k in range(3)], "<u4")
    mono = np.array([k << 48 | k << 32 | 1000 * k for k in range(3)], "<u8")
    for encoding, payload in (("evt3", words), ("libcaer", libcaer), ("mono", mono)):
        data = rosbag.packet_message(ros2, encoding, payload.tobytes())
        messages.append((f"/{encoding}", rosbag.PACKET, 10**15 + 10, data))
    image = rosbag.image_message(ros2, 10**6, np.arange(12, dtype=np.uint8).reshape(3, 4))
    messages.append(("/image_raw", "sensor_msgs/Image", 10**15 + 11, image))
    return [*messages, ("/imu", "sensor_msgs/Imu", 10**15 + 12, rosbag.imu_message(ros2, 10**6))]


def bag1(folder: Path, messages: list[rosbag.Message], compression: Any) -> bytes:
    """A ROS 1 bag of small chunks."""
    path = folder / "a.bag"
    path.unlink(missing_ok=True)
    return rosbag.write_bag1(path, messages, compression, chunk=150).read_bytes()


def bag2(
    folder: Path, messages: list[rosbag.Message], storage: StoragePlugin, mode: CompressionMode
) -> bytes:
    """The file of messages of a ROS 2 bag."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        bag = rosbag.write_bag2(Path(name) / "bag", messages, storage, mode)
        return next(f for f in bag.iterdir() if f.suffix != ".yaml").read_bytes()


def _bags(folder: Path) -> list[SmallFile]:
    arrays, none = [m for m in bag_messages(False) if m[1] == rosbag.DVS], CompressionMode.NONE
    formats = rosbag1.Writer.CompressionFormat
    two, chunks = bag_messages(True), CompressionMode.STORAGE
    return [
        SmallFile("rosbag1", "rosbag1", bag1(folder, arrays, None)),
        SmallFile("rosbag1-kinds", "rosbag1", bag1(folder, bag_messages(False), None)),
        SmallFile("rosbag1-lz4", "rosbag1", bag1(folder, arrays, formats.LZ4)),
        SmallFile("rosbag1-bz2", "rosbag1", bag1(folder, arrays, formats.BZ2)),
        SmallFile("rosbag2-sqlite", "rosbag2", bag2(folder, two, StoragePlugin.SQLITE3, none), stream=False),
        SmallFile("rosbag2-mcap", "rosbag2", bag2(folder, two, StoragePlugin.MCAP, none), stream=False),
        SmallFile("rosbag2-chunks", "rosbag2", bag2(folder, two, StoragePlugin.MCAP, chunks), stream=False),
    ]


def _hdf5(folder: Path) -> list[SmallFile]:
    events, paths = small_events(), {name: folder / f"{name}.h5" for name in ("dsec", "mvsec", "v2e", "hdf5")}
    write_dsec(paths["dsec"], [events], sensor_size=SENSOR, t_offset_us=1000)
    rows = np.stack([events.x, events.y, 1.5e9 + events.t / 1e6, events.p * 2.0 - 1], axis=1)
    with h5py.File(paths["mvsec"], "w") as file:
        for camera in ("left", "right"):
            group = file.create_group(f"davis/{camera}")
            group.create_dataset("events", data=rows, chunks=(32, 4), compression="gzip")
            group["imu"], group["imu_ts"] = np.zeros((5, 6)), 1.5e9 + np.arange(5.0)
        images = np.zeros((2, 260, 346), np.uint8)
        file.create_dataset("davis/left/image_raw", data=images, chunks=(1, 260, 346), compression="gzip")
        file["davis/left/image_raw_ts"] = 1.5e9 + np.array([0.001, 0.002])
    with h5py.File(paths["v2e"], "w") as file:
        rows = np.stack([events.t, events.x, events.y, events.p], axis=1).astype(np.uint32)
        file.create_dataset("events", data=rows, chunks=(32, 4), compression="gzip", maxshape=(None, 4))
    with h5py.File(paths["hdf5"], "w") as file:
        file.attrs["sensor_resolution"] = SENSOR
        for name in "xyp":
            file.create_dataset(f"events/{name}s", data=getattr(events, name), chunks=(32,))
        file.create_dataset("events/ts", data=events.t / 1e6, chunks=(32,), compression="gzip")
    with h5py.File(folder / "rows.h5", "w") as file:
        file["recording/events"] = events.to_structured()
    with h5py.File(folder / "filters.h5", "w") as file:
        filters = (hdf5plugin.LZ4(), hdf5plugin.Zstd(), hdf5plugin.Blosc(), "lzf")
        for name, code in zip("txyp", filters, strict=True):
            file.create_dataset(f"{name}s", data=getattr(events, name), chunks=(32,), compression=code)
    paths |= {"hdf5-records": folder / "rows.h5", "hdf5-filters": folder / "filters.h5"}
    return [
        SmallFile(name, name.split("-")[0], path.read_bytes(), stream=False) for name, path in paths.items()
    ]


def _ecf(folder: Path) -> list[SmallFile]:
    events, files = small_events((480, 640)), []
    for mode in ecf_encoder.MODES:
        path = folder / "ecf.h5"
        ecf_encoder.write_file(path, events.t, events.x, events.y, events.p, mode, chunk=32)
        files.append(SmallFile(f"ecf-{mode}", "ecf", path.read_bytes(), stream=False))
    return files


def _ours(folder: Path) -> list[SmallFile]:
    files = []
    for compression in ("bitshuffle-lz4", "gzip"):
        events, path = small_events(), folder / "ours.h5"
        images, triggers, imu = beside(events)
        with StoreWriter(path, SENSOR, t_offset_us=1000, compression=compression) as writer:
            writer.append(events)
            for k, image in enumerate(images):
                writer.append_frame(1000 * k, image)
            writer.append_triggers(triggers)
            writer.append_imu(imu)
        files.append(SmallFile(f"eventhpe-{compression}", "eventhpe", path.read_bytes(), stream=False))
    return files
