"""ROS messages: layouts against an independent serialiser, encodings against plain Python."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from eventhpe.events.blocks import Columns, Side
from eventhpe.events.formats import ros_messages as ros

DVS_EVENT = "uint16 x\nuint16 y\ntime ts\nbool polarity\n"
DVS_ARRAY = "std_msgs/Header header\nuint32 height\nuint32 width\ndvs_msgs/Event[] events\n"
PACKET = (
    "std_msgs/Header header\nuint32 height\nuint32 width\nuint64 seq\nuint64 time_base\nstring encoding\n"
    "bool is_bigendian\nuint8[] events\n"
)


class Serialiser:
    """Messages as bytes, by the ROS rules and not by ours."""

    def __init__(self, ros2: bool) -> None:
        self.ros2 = ros2
        self.store = get_typestore(Stores.ROS2_HUMBLE if ros2 else Stores.ROS1_NOETIC)
        for name, text in (
            ("dvs_msgs/msg/Event", DVS_EVENT),
            ("dvs_msgs/msg/EventArray", DVS_ARRAY),
            ("event_camera_msgs/msg/EventPacket", PACKET),
        ):
            if ros2:
                text = text.replace("time ts", "builtin_interfaces/Time ts")
            self.store.register(get_types_from_msg(text, name))
        self.types = self.store.types

    def header(self, stamp: tuple[int, int] = (5, 6789), frame: str = "cam") -> Any:
        time = self.types["builtin_interfaces/msg/Time"](*stamp)
        fields = {"stamp": time, "frame_id": frame}
        return self.types["std_msgs/msg/Header"](**fields if self.ros2 else {"seq": 7, **fields})

    def bytes(self, kind: str, *values: Any) -> memoryview:
        name = kind.replace("/", "/msg/")
        message = self.types[name](*values)
        serialise = self.store.serialize_cdr if self.ros2 else self.store.serialize_ros1
        return memoryview(bytes(serialise(message, name)))

    def array(self, rows: list[tuple[int, int, int, int, bool]], frame: str = "cam") -> memoryview:
        time, event = self.types["builtin_interfaces/msg/Time"], self.types["dvs_msgs/msg/Event"]
        events = [event(x, y, time(s, ns), p) for x, y, s, ns, p in rows]
        return self.bytes("dvs_msgs/EventArray", self.header(frame=frame), 260, 346, events)

    def packet(self, encoding: str, words: Any, base_ns: int = 0, big: bool = False) -> memoryview:
        payload = np.frombuffer(np.ascontiguousarray(words).tobytes(), np.uint8)
        return self.bytes(
            "event_camera_msgs/EventPacket", self.header(), 480, 640, 3, base_ns, encoding, big, payload
        )


@pytest.fixture(scope="module", params=[False, True], ids=["ros1", "ros2"])
def wire(request: pytest.FixtureRequest) -> Serialiser:
    return Serialiser(request.param)


def decode(wire: Serialiser, kind: str, *messages: memoryview, room: int = 1000) -> SimpleNamespace:
    """All events of the messages, decoded with at most `room` places at a time."""
    state, side, columns, parts = np.array(ros.START, np.int64), Side(), Columns(room + 5), []
    for data in messages:
        message = ros.EventMessage.parse(data, kind, wire.ros2)
        at = 0
        while at < message.total:
            used, n = message.decode(at, state, columns, 5, 5 + room, side)
            assert used > 0
            at += used
            parts.append([getattr(columns, c)[5 : 5 + n].copy() for c in "txyp"])
    t, x, y, p = (np.concatenate(c).tolist() for c in zip(*parts, strict=True)) if parts else ([], [], [], [])
    return SimpleNamespace(events=list(zip(t, x, y, p, strict=True)), side=side)


def random_rows(n: int) -> list[tuple[int, int, int, int, bool]]:
    rng = np.random.default_rng(n)
    columns = (rng.integers(0, 65536, n), rng.integers(0, 65536, n), rng.integers(0, 2**31, n))
    return [
        (int(x), int(y), int(s), int(ns), bool(p))
        for x, y, s, ns, p in zip(*columns, rng.integers(0, 10**9, n), rng.integers(0, 2, n), strict=True)
    ]


@pytest.mark.parametrize("n", [0, 1, 2, 3, 57])
@pytest.mark.parametrize("frame", ["", "a", "ab", "abc", "abcd"])
def test_event_arrays_in_every_alignment(wire: Serialiser, n: int, frame: str) -> None:
    rows = random_rows(n)
    data = wire.array(rows, frame)
    message = ros.EventMessage.parse(data, "dvs_msgs/EventArray", wire.ros2)
    assert (message.size, message.total) == ((260, 346), n)
    expected = [(s * 1_000_000 + ns // 1000, x, y, int(p)) for x, y, s, ns, p in rows]
    for room in (1000, 4, 1):
        assert decode(wire, "dvs_msgs/EventArray", data, room=room).events == expected
    assert decode(wire, "prophesee_event_msgs/EventArray", data).events == expected


def test_libcaer_words_roll_over_and_may_be_invalid(wire: Serialiser) -> None:
    rng = np.random.default_rng(1)
    n = 200
    words = np.zeros((n, 2), np.uint32)
    x, y, p, valid = (rng.integers(0, k, n) for k in (640, 480, 2, 2))
    t = np.sort(rng.integers(2**31 - 500, 2**31 + 500, n))
    words[:, 0] = x << 17 | y << 2 | p << 1 | valid
    words[:, 1] = t % 2**31
    base = 1_702_309_120_762_236_999
    message = wire.packet("libcaer", words, base)
    expected = [(base // 1000 + int(t[k]), int(x[k]), int(y[k]), int(p[k])) for k in range(n) if valid[k]]
    assert t[0] < 2**31 <= t[-1]
    for room in (1000, 7):
        got = decode(wire, "event_camera_msgs/EventPacket", message, room=room)
        assert got.events == expected
        assert got.side.losses == {"events with a valid bit of 0 skipped": n - int(valid.sum())}
    # Every packet has its own base: the next one starts without turns.
    again = decode(wire, "event_camera_msgs/EventPacket", message, message).events
    assert again == expected + expected


def plain_libcaer_cmp(words: list[int], base_us: int) -> list[tuple[int, int, int, int]]:
    events, high, low, column, base, polarity = [], 0, 0, 0, 0, 0
    for word in words:
        code, rest = divmod(word, 4096)
        if code == 0:
            high = rest
        elif code == 1:
            low = rest
        elif code == 2:
            column = rest % 2048
        elif code == 3:
            events.append((base_us + high * 4096 + low, column, rest % 2048, rest // 2048))
        elif code == 4:
            base, polarity = rest % 2048, rest // 2048
        elif code == 5:
            time = base_us + high * 4096 + low
            events += [(time, column, base + k, polarity) for k in range(8) if rest >> k & 1]
            base += 8
    return events


def test_libcaer_cmp_words(wire: Serialiser) -> None:
    rng = np.random.default_rng(2)
    words = (rng.integers(0, 7, 3000) << 12 | rng.integers(0, 4096, 3000)).astype(np.uint16)
    words[0] = 2 << 12  # a column first, as the driver writes it
    unknown = int((words >> 12 == 6).sum())
    expected = plain_libcaer_cmp(words.tolist(), 12_345)
    message = wire.packet("libcaer_cmp", words, 12_345_678)
    for room in (50_000, 8, 100):
        got = decode(wire, "event_camera_msgs/EventPacket", message, room=room)
        assert got.events == expected
        assert got.side.losses == {"words of an unknown type skipped": unknown}
    swapped = wire.packet("libcaer_cmp", words.byteswap(), 12_345_678, big=True)
    assert decode(wire, "event_camera_msgs/EventPacket", swapped, room=50_000).events == expected
    # Time restarts with every packet.
    first = np.array([0 << 12 | 9, 1 << 12 | 5, 2 << 12 | 1, 3 << 12 | 2], np.uint16)
    second = np.array([3 << 12 | 2048 | 3], np.uint16)
    both = [wire.packet("libcaer_cmp", w, 1_000_000) for w in (first, second)]
    got = decode(wire, "event_camera_msgs/EventPacket", *both).events
    assert got == [(1000 + 9 * 4096 + 5, 1, 2, 0), (1000, 1, 3, 1)]


def test_mono_words_floor_nanoseconds(wire: Serialiser) -> None:
    rng = np.random.default_rng(3)
    n = 100
    dt, x, y, p = (rng.integers(0, k, n) for k in (2**32, 2**16, 2**15, 2))
    words = dt.astype(np.uint64) | x.astype(np.uint64) << np.uint64(32)
    words |= y.astype(np.uint64) << np.uint64(48) | p.astype(np.uint64) << np.uint64(63)
    base = 1_700_000_000_000_000_999
    expected = [((base + int(dt[k])) // 1000, int(x[k]), int(y[k]), int(p[k])) for k in range(n)]
    kind = "event_array_msgs/EventArray"  # the name of the packets until 2023
    assert decode(wire, kind, wire.packet("mono", words, base), room=30).events == expected


def test_evt3_state_runs_across_messages(wire: Serialiser) -> None:
    words = np.array(
        [0x0003, 0x8001, 0x6002, 0x0005, 0x2007 | 0x800, 0xA101, 0x3010, 0x4FFF, 0x6003, 0x2009], np.uint16
    )
    t = 4096 + 2
    expected = [(t, 7, 5, 1), *((t, 16 + k, 5, 0) for k in range(12)), (t + 1, 9, 5, 0)]
    kind = "event_camera_msgs/EventPacket"
    for cut in range(len(words) + 1):
        messages = [wire.packet("evt3", part) for part in (words[:cut], words[cut:])]
        got = decode(wire, kind, *messages)
        assert got.events == expected
        assert got.side.losses == {"words before the first time or address skipped": 1}
        triggers = got.side.triggers(0)
        assert triggers is not None
        assert (triggers.t_us.tolist(), triggers.value.tolist(), triggers.channel.tolist()) == ([t], [1], [1])


def test_encodings_may_change_within_a_topic(wire: Serialiser) -> None:
    mono = wire.packet("mono", np.array([1 << 32], np.int64))
    evt3 = wire.packet("evt3", np.array([0x8001, 0x0005, 0x2007], np.uint16))
    lost = wire.packet("evt3", np.array([0x2007], np.uint16))
    libcaer = wire.packet("libcaer", np.array([1, 50], np.uint32))
    got = decode(wire, "event_camera_msgs/EventPacket", mono, evt3, libcaer, lost)
    assert got.events == [(0, 1, 0, 0), (4096, 7, 5, 0), (50, 0, 0, 0)]
    assert got.side.losses == {"words before the first time or address skipped": 1}


def test_unknown_encoding_is_named(wire: Serialiser) -> None:
    with pytest.raises(ros.UnknownEncodingError, match="evt9"):
        ros.EventMessage.parse(
            wire.packet("evt9", np.zeros(4, np.uint8)), "event_camera_msgs/EventPacket", wire.ros2
        )


def messages_of_all_kinds(wire: Serialiser) -> list[tuple[str, memoryview]]:
    pixels = np.arange(24, dtype=np.uint8)
    image = wire.bytes("sensor_msgs/Image", wire.header(), 4, 5, "mono8", 0, 6, pixels)
    words = np.array([0x8001, 0x0005, 0x2007], np.uint16)
    return [
        ("dvs_msgs/EventArray", wire.array(random_rows(4))),
        ("event_camera_msgs/EventPacket", wire.packet("evt3", words)),
        (ros.IMAGE_TYPE, image),
        (ros.IMU_TYPE, imu(wire)),
    ]


def imu(wire: Serialiser) -> memoryview:
    vector, turn = wire.types["geometry_msgs/msg/Vector3"], wire.types["geometry_msgs/msg/Quaternion"]
    nine = np.full(9, 77.0)
    return wire.bytes(
        "sensor_msgs/Imu", wire.header((1_700_000_000, 123_456_789)), turn(9.0, 9.0, 9.0, 9.0), nine,
        vector(np.pi, -np.pi / 2, 0.0), nine, vector(9.80665, 0.0, -2 * 9.80665), nine,
    )  # fmt: skip


def read(kind: str, data: memoryview, ros2: bool) -> None:
    if kind == ros.IMAGE_TYPE:
        ros.image_pixels(data, ros2)
    elif kind == ros.IMU_TYPE:
        ros.imu_sample(data, ros2)
    else:
        message = ros.EventMessage.parse(data, kind, ros2)
        used, n = message.decode(0, np.array(ros.START), Columns(200), 0, 200, Side())
        assert used <= message.total
        assert n <= 200


def test_every_truncation_is_noticed(wire: Serialiser) -> None:
    for kind, data in messages_of_all_kinds(wire):
        read(kind, data, wire.ros2)
        payload_end = len(data) - (-len(data) % 4 if wire.ros2 else 0)
        for size in range(payload_end - 3 if wire.ros2 else payload_end):
            with pytest.raises(ros.MessageError):
                read(kind, data[:size], wire.ros2)


def test_mutations_give_a_result_or_one_error(wire: Serialiser) -> None:
    rng = np.random.default_rng(4)
    errors = 0
    for kind, data in messages_of_all_kinds(wire):
        for _ in range(150):
            changed = np.frombuffer(data, np.uint8).copy()
            places = rng.integers(0, len(changed), 3)
            changed[places] = rng.integers(0, 256, 3)
            try:
                read(kind, memoryview(changed.tobytes()), wire.ros2)
            except ros.MessageError:
                errors += 1
    assert 20 < errors < 500


def test_images(wire: Serialiser) -> None:
    def image(encoding: str, pixels: Any, step: int) -> memoryview:
        h, w = pixels.shape[:2]
        rows = np.full((h, step), 99, np.uint8)
        flat = pixels.reshape(h, -1)
        rows[:, : flat.shape[1]] = flat
        head = wire.header((10, 999_999_999))
        return wire.bytes("sensor_msgs/Image", head, h, w, encoding, 0, step, rows.ravel())

    rng = np.random.default_rng(5)
    gray = rng.integers(0, 256, (4, 5), np.uint8)
    for encoding in ("mono8", "8UC1"):
        data = image(encoding, gray, 8)
        assert ros.image_time(data, wire.ros2) == 10_999_999
        assert np.array_equal(ros.image_pixels(data, wire.ros2), gray)
    colour = rng.integers(0, 256, (4, 5, 3), np.uint8)
    luma = np.rint(colour @ np.array([0.299, 0.587, 0.114]))
    for encoding, pixels in (("rgb8", colour), ("bgr8", colour[:, :, ::-1])):
        got = ros.image_pixels(image(encoding, pixels, 15), wire.ros2)
        assert got.dtype == np.uint8
        assert np.abs(got - luma).max() <= 1
    for bad in (image("16UC1", gray, 8), image("rgb8", gray, 8)):
        with pytest.raises(ros.MessageError):
            ros.image_time(bad, wire.ros2)


def test_imu_in_g_and_degrees(wire: Serialiser) -> None:
    t, accel, gyro = ros.imu_sample(imu(wire), wire.ros2)
    assert t == 1_700_000_000_123_456
    assert accel == pytest.approx([1.0, 0.0, -2.0])
    assert gyro == pytest.approx([180.0, -90.0, 0.0])


def test_big_endian_cdr_is_refused() -> None:
    data = bytearray(Serialiser(True).array(random_rows(2)))
    data[1] = 0
    with pytest.raises(ros.MessageError, match="little-endian"):
        ros.EventMessage.parse(memoryview(data), "dvs_msgs/EventArray", True)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_imu_values_that_no_sensor_gives(value: float) -> None:
    header = struct.pack("<IIII", 1, 2, 3, 0)  # sequence, seconds, nanoseconds, empty frame name
    for place in (13, 27):
        numbers = np.zeros(37)
        numbers[place] = value
        with pytest.raises(ros.MessageError, match="no sensor"):
            ros.imu_sample(memoryview(header + numbers.tobytes()), False)
    numbers = np.full(37, np.nan)  # an orientation that was not measured does no harm
    numbers[13:16], numbers[25:28] = 0, 9.80665
    assert ros.imu_sample(memoryview(header + numbers.tobytes()), False)[1].tolist() == [1, 1, 1]
