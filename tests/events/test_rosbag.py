"""ROS 1 and ROS 2 bags: real files, several topics, random access, damage, interrupted recordings."""

from __future__ import annotations

import json
import multiprocessing
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from rosbags import rosbag1, rosbag2
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin

from eventhpe.errors import FormatError
from eventhpe.events.blocks import Columns, Side, read_stored
from eventhpe.events.formats import rosbag, rosbag1_records
from eventhpe.events.formats.options import OpenOptions
from eventhpe.events.formats.rosbag import RosbagReader, open_reader
from eventhpe.events.types import RawEvents

DVS, PACKET = "dvs_msgs/EventArray", "event_camera_msgs/EventPacket"
COMPRESSIONS: list[Any] = [None, rosbag1.Writer.CompressionFormat.BZ2, rosbag1.Writer.CompressionFormat.LZ4]
Message = tuple[str, str, int, bytes]  # topic, type, recording time in ns, bytes


def open_bag(path: Path, sensor: str | None = None) -> RosbagReader:
    kind = "rosbag1" if path.is_file() and path.read_bytes()[:7] == b"#ROSBAG" else "rosbag2"
    return open_reader(path, OpenOptions(kind, sensor=sensor))


# ---- messages and bags


def header(ros2: bool, t_ns: int) -> bytes:
    stamp = struct.pack("<II", *divmod(t_ns, 10**9))
    if ros2:
        return b"\0\1\0\0" + stamp + struct.pack("<I4s", 4, b"cam\0")
    return struct.pack("<I", 1) + stamp + struct.pack("<I4s", 4, b"cams")


def dvs_message(ros2: bool, events: NDArray[Any], size: tuple[int, int] = (260, 346)) -> bytes:
    """events: (n, 4) t (µs), x, y, p."""
    rows = b""
    for k, (t, x, y, p) in enumerate(events.tolist()):
        gap = b"\0\0" if ros2 and k else b""
        padding = b"\0" if ros2 and k else b""
        seconds, us = divmod(t, 10**6)
        rows += padding + struct.pack("<HH", x, y) + gap + struct.pack("<II?", seconds, us * 1000 + 7, p)
    return header(ros2, 0) + struct.pack("<III", *size, len(events)) + rows


def packet_message(ros2: bool, encoding: str, payload: bytes, size: tuple[int, int] = (480, 640)) -> bytes:
    name = encoding.encode() + b"\0" * ros2
    body = struct.pack("<IIQQ", *size, 1, 0)
    body += struct.pack("<I", len(name)) + name + b"\0"
    if ros2:
        body += b"\0" * (-len(body) % 4)
    return header(ros2, 0) + body + struct.pack("<I", len(payload)) + payload


def image_message(ros2: bool, t_us: int, image: NDArray[np.uint8]) -> bytes:
    h, w = image.shape
    name = b"mono8" + b"\0" * ros2
    body = struct.pack("<III", h, w, len(name)) + name + b"\0"
    body += b"\0" * (-len(body) % 4 if ros2 else 0)
    return header(ros2, t_us * 1000) + body + struct.pack("<II", w, h * w) + image.tobytes()


def imu_message(ros2: bool, t_us: int) -> bytes:
    head = header(ros2, t_us * 1000)
    return head + struct.pack("<37d", *[0.0] * 25, 9.80665, 0.0, 0.0, *[0.0] * 9)


def random_events(seed: int, n: int, start: int = 1_000_000) -> NDArray[np.int64]:
    rng = np.random.default_rng(seed)
    t = start + np.sort(rng.integers(0, 10_000, n))
    return np.stack([t, rng.integers(0, 346, n), rng.integers(0, 260, n), rng.integers(0, 2, n)], 1)


IMAGE = np.arange(260 * 346, dtype=np.int64).reshape(260, 346).astype(np.uint8)


def two_cameras(ros2: bool) -> tuple[list[Message], dict[str, NDArray[np.int64]]]:
    """Messages of two event cameras, one with frames and IMU, and of a topic that means nothing to us."""
    messages: list[Message] = []
    events: dict[str, list[NDArray[np.int64]]] = {"/left/events": [], "/right/events": []}
    for k in range(12):
        now = 10**15 + k // 2 * 1_000_000  # two rounds share each recording time
        for name in events:
            part = random_events(len(messages), 40 + k, 1_000_000 + k * 10_000)
            events[name].append(part)
            messages.append((name, DVS, now, dvs_message(ros2, part)))
        messages.append(
            ("/left/image_raw", "sensor_msgs/Image", now, image_message(ros2, 1000 + k, IMAGE + np.uint8(k)))
        )
        messages.append(("/left/image_rect", "sensor_msgs/Image", now, image_message(ros2, 1000 + k, IMAGE)))
        messages.append(("/left/imu", "sensor_msgs/Imu", now, imu_message(ros2, 1000 + k)))
        messages.append(("/chatter", "std_msgs/String", now, header(ros2, 0)))
    return messages, {name: np.concatenate(parts) for name, parts in events.items()}


def write_bag1(path: Path, messages: list[Message], compression: Any = None, chunk: int = 1 << 20) -> Path:
    writer = rosbag1.Writer(path)
    writer.chunk_threshold = chunk
    if compression is not None:
        writer.set_compression(compression)
    with writer:
        topics: dict[str, Any] = {}
        for topic, kind, now, data in messages:
            if topic not in topics:
                name = kind.replace("/", "/msg/")
                topics[topic] = writer.add_connection(topic, name, msgdef="uint8 x", md5sum="0" * 32)
            writer.write(topics[topic], now, data)
    return path


def write_bag2(
    path: Path, messages: list[Message], storage: StoragePlugin, mode: CompressionMode = CompressionMode.NONE
) -> Path:
    writer = rosbag2.Writer(path, version=9, storage_plugin=storage)
    if mode != CompressionMode.NONE:
        writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        topics: dict[str, Any] = {}
        for topic, kind, now, data in messages:
            if topic not in topics:
                name = kind.replace("/", "/msg/")
                topics[topic] = writer.add_connection(
                    topic, name, msgdef="uint8 x", rihs01="RIHS01_" + "0" * 64
                )
            writer.write(topics[topic], now, data)
    return path


def columns(events: RawEvents) -> NDArray[np.int64]:
    return np.stack([events.t, events.x, events.y, events.p], 1).astype(np.int64)


# ---- real files


def facts(shared: Path) -> list[dict[str, Any]]:
    files = json.loads((shared / "events" / "facts.json").read_text())["files"]
    return [f for f in files if "ROS" in f["format"]]


def test_real_bags_equal_the_facts(shared: Path) -> None:
    seen = 0
    for file in facts(shared):
        path = shared / "events" / file["path"]
        for source in (path, path.parent) if (path.parent / "metadata.yaml").is_file() else (path,):
            reader = open_bag(source)
            events, side = read_stored(reader)
            expected = file["facts"]
            t = events.t
            got = {
                "n": len(events),
                "t_first": int(t[0]), "t_last": int(t[-1]), "t_min": int(t.min()), "t_max": int(t.max()),
                "duration_us": int(t[-1] - t[0]),
                "n_backward_steps": int((np.diff(t) < 0).sum()),
                "x_min": int(events.x.min()), "x_max": int(events.x.max()),
                "y_min": int(events.y.min()), "y_max": int(events.y.max()),
                "n_on": int(events.p.sum()), "n_off": len(events) - int(events.p.sum()),
                "sum_x": int(events.x.sum(dtype=np.int64)), "sum_y": int(events.y.sum(dtype=np.int64)),
                "sum_t_minus_first": int((t - t[0]).sum()),
            }  # fmt: skip
            if "mono" in path.name:  # the facts of this file count nanoseconds
                times = ("t_first", "t_last", "t_min", "t_max", "duration_us", "sum_t_minus_first")
                expected = {k: v // 1000 if k in times else v for k, v in expected.items()}
            assert got == expected, source
            assert reader.sensor_size == tuple(int(n) for n in reversed(file["resolution"].split("x")))
            assert side.warnings() == ()
            if "messages" in file:
                assert list(side.elements.values()) == [file["messages"]]
            if "triggers" in file:
                triggers = side.triggers(0)
                assert triggers is not None
                assert len(triggers) == file["triggers"]["n"]
                assert int((triggers.value == 1).sum()) == file["triggers"]["rising"]
                assert int(triggers.t_us[0]) == file["triggers"]["first"]
            seen += 1
    assert seen >= 13


# ---- what a bag holds


def bags_of_two_cameras(folder: Path) -> dict[str, Path]:
    one, two = two_cameras(False)[0], two_cameras(True)[0]
    paths = {f"ros1 {k}": write_bag1(folder / f"{k}.bag", one, c, 60_000) for k, c in enumerate(COMPRESSIONS)}
    for storage in StoragePlugin:
        paths[storage.name] = write_bag2(folder / storage.name, two, storage)
    paths["messages"] = write_bag2(folder / "m", two, StoragePlugin.SQLITE3, CompressionMode.MESSAGE)
    paths["chunks"] = write_bag2(folder / "c", two, StoragePlugin.MCAP, CompressionMode.STORAGE)
    return paths


def test_two_cameras_frames_and_imu(tmp_path: Path) -> None:
    _, expected = two_cameras(False)
    for name, path in bags_of_two_cameras(tmp_path).items():
        reader = open_bag(path)
        assert reader.streams == ("/left/events", "/right/events"), name
        assert reader.stream_sizes == ((260, 346), (260, 346))
        events, side = read_stored(reader)
        for camera, stream in enumerate(reader.streams):
            assert np.array_equal(columns(events)[events.camera == camera], expected[stream])
        assert side.warnings() == ()
        assert side.elements == {
            f"{DVS} messages": 24, "sensor_msgs/Image messages": 24, "sensor_msgs/Imu messages": 12,
            "std_msgs/String messages": 12,
        }  # fmt: skip
        assert [(f.t_us, f.camera) for f in side.frames] == [(1000 + k, 0) for k in range(12)]
        for k in (11, 0, 5):
            assert np.array_equal(reader.load_frame(side.frames[k].ref), IMAGE + np.uint8(k))
        imu = side.imu(0)
        assert imu is not None
        assert imu.t_us.tolist() == [1000 + k for k in range(12)]
        assert imu.accel[0].tolist() == [1.0, 0.0, 0.0]
        reader.close()


def decode_at(reader: RosbagReader, at: tuple[int, ...]) -> tuple[NDArray[np.int64], Any]:
    out = Columns()
    n, following = reader.decode(at, out, Side())
    return np.stack(
        [getattr(out, c)[:n].astype(np.int64) for c in ("t", "x", "y", "p", "camera")], 1
    ), following


def _decode_in_child(reader: RosbagReader, at: tuple[int, ...], results: Any) -> None:
    results.put(decode_at(reader, at)[0])


def test_blocks_in_any_order_and_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, path in bags_of_two_cameras(tmp_path).items():
        whole = read_stored(open_bag(path))[0]
        monkeypatch.setattr(rosbag, "BLOCK_EVENTS", 64)  # cuts messages in two
        reader = open_bag(path)
        checkpoints, blocks, at = [], [], reader.first()
        while at is not None:
            checkpoints.append(at)
            block, at = decode_at(reader, at)
            blocks.append(block)
        assert max(map(len, blocks)) == 64, name
        together = np.concatenate(blocks)
        assert np.array_equal(together[:, :4], columns(whole))
        assert np.array_equal(together[:, 4], whole.camera)
        shares = [reader.progress(at) for at in checkpoints]
        assert shares == sorted(shares)
        assert 0 <= shares[0] < shares[-1] <= 1
        other = pickle.loads(pickle.dumps(reader))
        order = np.random.default_rng(1).permutation(len(blocks)).tolist()
        for k in order:
            assert np.array_equal(decode_at(reader, checkpoints[k])[0], blocks[k])
            assert np.array_equal(decode_at(other, checkpoints[k])[0], blocks[k])
        context = multiprocessing.get_context("fork")
        results = context.SimpleQueue()
        child = context.Process(target=_decode_in_child, args=(reader, checkpoints[3], results))
        child.start()
        assert np.array_equal(results.get(), blocks[3])
        child.join()
        assert np.array_equal(decode_at(reader, checkpoints[4])[0], blocks[4])
        monkeypatch.undo()


def test_packets_keep_their_state_from_block_to_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(7)
    kinds = np.array([0, 2, 3, 4, 5, 6, 8, 10])
    words = (rng.choice(kinds, 4000) << 12 | rng.integers(0, 4096, 4000)).astype(np.uint16)
    parts = np.split(words, np.sort(rng.integers(0, 4000, 30)))
    messages = [
        ("/e", PACKET, 10**15 + k, packet_message(False, "evt3", w.tobytes())) for k, w in enumerate(parts)
    ]
    path = write_bag1(tmp_path / "evt3.bag", messages, chunk=500)
    whole, side = read_stored(open_bag(path))
    monkeypatch.setattr(rosbag, "BLOCK_EVENTS", 40)
    reader = open_bag(path)
    pieces, side_of_pieces = read_stored(reader)
    assert len(whole) > 2000
    assert np.array_equal(columns(whole), columns(pieces))
    assert side.warnings() == side_of_pieces.warnings() != ()
    assert side.elements == side_of_pieces.elements == {f"{PACKET} messages": 31}
    a, b = side.triggers(0), side_of_pieces.triggers(0)
    assert a is not None and b is not None and len(a) > 100
    assert np.array_equal(a.t_us, b.t_us)


def test_sensor_size(tmp_path: Path) -> None:
    events = random_events(1, 20)
    good, none = dvs_message(False, events, (480, 640)), dvs_message(False, events, (0, 0))
    sizes = {
        "good": ([good], (480, 640)),
        "none": ([none], None),
        "later": ([good[:30], none, good], (480, 640)),
    }
    for name, (contents, size) in sizes.items():
        messages = [("/e", DVS, 10**15 + k, data) for k, data in enumerate(contents)]
        path = write_bag1(tmp_path / f"{name}.bag", messages)
        assert open_bag(path).sensor_size == size
        assert open_bag(path, "DAVIS346").sensor_size == (260, 346)


def test_bags_without_events_say_what_they_have(tmp_path: Path) -> None:
    path = write_bag1(tmp_path / "a.bag", [("/chatter", "std_msgs/String", 1, b"x")])
    with pytest.raises(FormatError, match=r"/chatter \(std_msgs/String\)"):
        open_bag(path)


def test_damaged_and_unknown_messages_are_skipped_and_told(tmp_path: Path) -> None:
    events = random_events(1, 20)
    for ros2 in (False, True):
        good = dvs_message(ros2, events)
        messages = [
            ("/e", DVS, 10**15, good),
            ("/e", DVS, 10**15 + 1, good[:-1]),
            ("/e", DVS, 10**15 + 2, b"\xff" * 40),
            ("/e", DVS, 10**15 + 3, good),
            ("/f", PACKET, 10**15 + 4, packet_message(ros2, "evt9", b"1234")),
            ("/f", PACKET, 10**15 + 5, packet_message(ros2, "mono", bytes(8))),
        ]
        path = tmp_path / str(ros2)
        if ros2:
            write_bag2(path, messages, StoragePlugin.MCAP)
        else:
            write_bag1(path, messages)
        got, side = read_stored(open_bag(path))
        assert np.array_equal(columns(got)[:40], np.concatenate([events, events]))
        assert len(got) == 41
        assert side.losses == {
            "damaged messages skipped": 2,
            "messages in the unknown encoding 'evt9' skipped": 1,
        }


# ---- ROS 1: interrupted, cut, damaged


def small_bag(path: Path, compression: Any) -> tuple[Path, NDArray[np.int64]]:
    parts = [random_events(k, 3, 1_000_000 * (k + 1)) for k in range(6)]
    messages = [("/e", DVS, 10**15 + k, dvs_message(False, part)) for k, part in enumerate(parts)]
    return write_bag1(path, messages, compression, chunk=150), np.concatenate(parts)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_truncation_keeps_what_is_complete(tmp_path: Path, compression: Any) -> None:
    path, expected = small_bag(tmp_path / "a.bag", compression)
    whole = path.read_bytes()
    assert np.array_equal(columns(read_stored(open_bag(path))[0]), expected)
    counts = []
    step = 1 if compression is None else 3
    for size in range(4117, len(whole), step):  # up to there: the record that begins every bag
        path.write_bytes(whole[:size])
        try:
            events, side = read_stored(open_bag(path))
        except FormatError as error:
            assert str(path) in str(error)
            counts.append(0)
            continue
        assert np.array_equal(columns(events), expected[: len(events)])
        assert side.warnings(), size
        counts.append(len(events))
    assert counts == sorted(counts)
    assert counts[-1] == len(expected)
    # A chunk holds up to two of the messages; compressed ones are complete or lost.
    assert {3, 9, 15, 18} <= set(counts)
    assert ({6, 12} <= set(counts)) == (compression is None)


def test_a_cut_chunk_gives_its_complete_messages(tmp_path: Path) -> None:
    parts = [random_events(k, 200, 1_000_000 * (k + 1)) for k in range(100)]
    messages = [("/e", DVS, 10**15 + k, dvs_message(False, part)) for k, part in enumerate(parts)]
    for compression in COMPRESSIONS:
        path = write_bag1(tmp_path / f"{compression}.bag", messages, compression)  # all in one chunk
        data = path.read_bytes()
        path.write_bytes(data[: len(data) - 3 * len(data) // 10])
        if compression == rosbag1.Writer.CompressionFormat.BZ2:  # a single block, which cannot be unpacked
            with pytest.raises(FormatError, match="no topic"):
                open_bag(path)
            continue
        events, side = read_stored(open_bag(path))
        assert 8_000 < len(events) < 15_000
        assert len(events) % 200 == 0
        assert np.array_equal(columns(events), np.concatenate(parts)[: len(events)])
        assert "cut or damaged chunks read in part" in side.losses


def test_interrupted_recordings(tmp_path: Path) -> None:
    """What a recorder that dies leaves: no index, and sizes of 0 in the header of the last chunk."""
    path, expected = small_bag(tmp_path / "a.bag", None)
    data = bytearray(path.read_bytes())
    at = data.index(b"index_pos=") + 10
    end = struct.unpack_from("<Q", data, at)[0]
    data[at : at + 8] = bytes(8)
    path.write_bytes(data)
    events, side = read_stored(open_bag(path))
    assert np.array_equal(columns(events), expected)
    assert list(side.remarks) == [
        "the recording was interrupted: the bag has no index; read record by record"
    ]
    with pytest.raises(rosbag1.ReaderError, match="not indexed"):
        rosbag1.Reader(path).open()
    # The last chunk unfinished.
    mark = data.rindex(b"op=\x05")
    size_of_data = mark - 4 + data[mark - 4 :].index(b"size=") + 9
    data[size_of_data - 4 : size_of_data + 4] = bytes(8)
    data = data[:end]
    path.write_bytes(data)
    events, side = read_stored(open_bag(path))
    assert np.array_equal(columns(events), expected)


def test_a_damaged_chunk_does_not_end_the_reading(tmp_path: Path) -> None:
    for compression in COMPRESSIONS:
        path, expected = small_bag(tmp_path / "a.bag", compression)
        data = bytearray(path.read_bytes())
        marks = [k for k in range(len(data)) if data.startswith(b"op=\x05", k)]
        second = marks[1]
        # Its header is unreadable: the next chunk is looked for.
        broken = data[: second - 8] + b"\xff" * 8 + data[second:]
        path.write_bytes(broken)
        events, side = read_stored(open_bag(path))
        assert side.losses["bytes of damaged records skipped"] > 100
        assert np.isin(events.t, expected[:, 0]).all()
        assert 3 <= len(events) < len(expected)
        assert int(events.t[-1]) == int(expected[-1, 0])
        # Its content is unreadable.
        broken = data.copy()
        broken[second + 60 : second + 80] = b"\xee" * 20
        path.write_bytes(broken)
        events, side = read_stored(open_bag(path))
        assert int(events.t[-1]) == int(expected[-1, 0])
        assert side.losses
        path.unlink()


def mutate(path: Path, whole: bytes, number: int, check: Callable[[], None]) -> tuple[int, int]:
    """Random changes of a few bytes; returns (results, errors)."""
    rng = np.random.default_rng(number)
    results = errors = 0
    for _ in range(number):
        data = np.frombuffer(whole, np.uint8).copy()
        at = rng.integers(0, len(data), int(rng.integers(1, 6)))
        data[at] = rng.choice(np.array([0, 1, 127, 255, int(rng.integers(0, 256))], np.uint8), len(at))
        path.write_bytes(data.tobytes())
        try:
            check()
            results += 1
        except FormatError as error:
            assert str(path) in str(error)
            errors += 1
    return results, errors


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_mutated_ros1_bags(tmp_path: Path, compression: Any) -> None:
    path, expected = small_bag(tmp_path / "a.bag", compression)
    whole = path.read_bytes()
    # Nearly all of the first 4 kB is padding; leave that out.
    start = 4117 - 100
    rest = tmp_path / "b.bag"

    def check() -> None:
        path.write_bytes(whole[:start] + rest.read_bytes())
        try:
            assert len(read_stored(open_bag(path))[0]) <= 10 * len(expected)
        except FormatError as error:
            raise FormatError(str(error).replace(str(path), str(rest))) from error

    results, _ = mutate(rest, whole[start:], 150, check)
    assert results > 20


def test_headers_that_lie_about_sizes(tmp_path: Path) -> None:
    """A small file cannot make the reader take gigabytes."""
    for compression in (b"lz4", b"bz2", b"none", b"zip"):
        fields = b"".join(
            struct.pack("<I", len(f)) + f
            for f in (b"compression=" + compression, b"op=\x05", b"size=" + struct.pack("<I", 0xF0000000))
        )
        chunk = struct.pack("<I", len(fields)) + fields + struct.pack("<I", 64) + bytes(64)
        path = tmp_path / "a.bag"
        path.write_bytes(b"#ROSBAG V2.0\n" + chunk + struct.pack("<I", 0xFFFFFFF0) + bytes(100))
        with pytest.raises(FormatError, match="no topic"):
            open_bag(path)
    assert rosbag1_records._decompress(b"lz4", b"", 1 << 30) == (b"", False)


def test_old_and_encrypted_bags_are_refused(tmp_path: Path) -> None:
    path, _ = small_bag(tmp_path / "a.bag", None)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"V2.0", b"V1.2", 1))
    with pytest.raises(FormatError, match="migrated"):
        open_bag(path)
    field = b"encryptor=x"
    size = struct.unpack_from("<I", data, 13)[0] + 4 + len(field)
    record = struct.pack("<I", size) + struct.pack("<I", len(field)) + field + data[17:]
    path.write_bytes(data[:13] + record)
    with pytest.raises(FormatError, match="encrypted"):
        open_bag(path)


# ---- ROS 2: folders, bare files, damage


def test_bare_files_are_known_by_content(tmp_path: Path) -> None:
    messages, expected = two_cameras(True)
    for storage in StoragePlugin:
        folder = write_bag2(tmp_path / storage.name, messages, storage)
        file = next(f for f in folder.iterdir() if f.suffix != ".yaml")
        odd = tmp_path / f"50% of #1, really? {storage.name}.recording"
        shutil.copy(file, odd)
        events, _ = read_stored(open_bag(odd))
        assert np.array_equal(columns(events)[events.camera == 1], expected["/right/events"])


def test_metadata_without_storage_identifier_and_split_bags(tmp_path: Path) -> None:
    messages, expected = two_cameras(True)
    first = write_bag2(tmp_path / "one", messages[:30], StoragePlugin.MCAP)
    second = write_bag2(tmp_path / "two", messages[30:], StoragePlugin.SQLITE3)
    shutil.copy(second / "two.db3", first)
    metadata = first / "metadata.yaml"
    text = metadata.read_text().replace("storage_identifier: mcap", 'storage_identifier: ""')
    metadata.write_text(text.replace("- one.mcap", "- one.mcap\n  - two.db3"))
    reader = open_bag(first)
    events, side = read_stored(reader)
    for camera, stream in enumerate(reader.streams):
        assert np.array_equal(columns(events)[events.camera == camera], expected[stream])
    assert side.elements["std_msgs/String messages"] == 12
    assert np.array_equal(reader.load_frame(side.frames[11].ref), IMAGE + np.uint8(11))
    (first / "two.db3").unlink()
    with pytest.raises(FormatError, match=r"missing: \['two.db3'\]"):
        open_bag(first)
    metadata.write_text("rosbag2_bagfile_information: [}")
    with pytest.raises(FormatError, match=r"metadata\.yaml: cannot be read"):
        open_bag(first)


@pytest.mark.parametrize("storage", list(StoragePlugin))
def test_damaged_ros2_files(tmp_path: Path, storage: StoragePlugin) -> None:
    messages = [("/e", DVS, 10**15 + k, dvs_message(True, random_events(k, 8))) for k in range(5)]
    folder = write_bag2(tmp_path / "bag", messages, storage)
    whole = next(f for f in folder.iterdir() if f.suffix != ".yaml").read_bytes()
    path = tmp_path / "x"

    def count() -> int:
        reader = open_reader(path, OpenOptions("rosbag2"))
        try:
            return len(read_stored(reader)[0])
        finally:
            reader.close()

    def check() -> None:
        assert count() <= 40

    path.write_bytes(whole)
    assert count() == 40
    for size in np.linspace(16, len(whole) - 1, 60).astype(int):
        path.write_bytes(whole[:size])
        with pytest.raises(FormatError, match="damaged or incomplete") as caught:
            count()
        assert str(path) in str(caught.value)
    results, errors = mutate(path, whole, 150, check)
    assert results > 5
    if storage is StoragePlugin.MCAP:
        assert errors > 5


def test_a_file_compressed_as_a_whole_says_how_to_unpack_it(tmp_path: Path) -> None:
    messages, _ = two_cameras(True)
    folder = write_bag2(tmp_path / "z", messages, StoragePlugin.SQLITE3, CompressionMode.FILE)
    with pytest.raises(FormatError, match="zstd -d"):
        open_bag(folder)


def test_a_write_ahead_log_is_told(tmp_path: Path) -> None:
    messages, _ = two_cameras(True)
    folder = write_bag2(tmp_path / "w", messages, StoragePlugin.SQLITE3)
    (folder / "w.db3-wal").write_bytes(b"log")
    assert "write-ahead log" in read_stored(open_bag(folder))[1].warnings()[0]
