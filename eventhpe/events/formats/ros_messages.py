"""ROS messages as bytes: events, gray frames and IMU samples, in the layouts of ROS 1 and ROS 2 (CDR)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.events import kernels_evt as evt
from eventhpe.events import kernels_ros as kernels
from eventhpe.events.blocks import Columns, Side

#: Messages that list events one by one (the same fields), and those that carry a packet in some encoding.
ARRAY_TYPES = frozenset({"dvs_msgs/EventArray", "prophesee_event_msgs/EventArray"})
PACKET_TYPES = frozenset({"event_camera_msgs/EventPacket", "event_array_msgs/EventArray"})
EVENT_TYPES = ARRAY_TYPES | PACKET_TYPES
IMAGE_TYPE = "sensor_msgs/Image"
IMU_TYPE = "sensor_msgs/Imu"

_ENCODINGS = ("array", "evt3", "libcaer", "libcaer_cmp", "mono")
_WORDS: dict[str, np.dtype[Any]] = {
    "evt3": np.dtype(np.uint16),
    "libcaer": np.dtype(np.uint32),
    "libcaer_cmp": np.dtype(np.uint16),
    "mono": np.dtype(np.int64),
}
_UNIT_BYTES = {"evt3": 2, "libcaer": 8, "libcaer_cmp": 2, "mono": 8}

#: Decoder state of one topic: the numbers of its kernel, then which encoding they belong to (-1: none).
STATE_SIZE = evt.STATE_SIZE + 1
START = (0,) * evt.STATE_SIZE + (-1,)

_TRIGGERS = 4096
_G = 9.80665  # m/s² in one g
_LARGEST_IMU = 1e30  # far beyond any sensor, still a float32 in the units of `ImuSamples`
# Channels and their order; weights of ITU-R BT.601 luma in 256ths.
_IMAGES = {"mono8": "g", "8UC1": "g", "rgb8": "rgb", "bgr8": "bgr"}
_LUMA = {"r": 77, "g": 150, "b": 29}


class MessageError(ValueError):
    """The bytes of a message are not what its type promises."""


class UnknownEncodingError(MessageError):
    """A sound message in an encoding that is not read."""


class _Fields:
    """Reads the fields of a message one after the other; never past its end."""

    def __init__(self, data: memoryview, ros2: bool) -> None:
        self._data = data
        self._ros2 = ros2
        self._at = 0
        if ros2:
            if len(data) < 4 or bytes(data[:2]) != b"\x00\x01":
                raise MessageError("not little-endian CDR")
            self._data = data[4:]  # alignment counts from behind the four bytes that name the representation

    def raw(self, size: int) -> memoryview:
        if size > len(self._data) - self._at:
            raise MessageError(f"{size} bytes promised, {len(self._data) - self._at} left")
        self._at += size
        return self._data[self._at - size : self._at]

    def take(self, layout: struct.Struct, align: int) -> tuple[Any, ...]:
        """Neighbouring numbers without padding between them; `align` is the size of the first."""
        if self._ros2:
            self._at += -self._at % align
        try:
            values = layout.unpack_from(self._data, self._at)
        except struct.error:
            raise MessageError(f"{layout.size} bytes expected, {len(self._data) - self._at} left") from None
        self._at += layout.size
        return values

    def u8(self) -> int:
        return self.raw(1)[0]

    def u32(self) -> int:
        return int(self.take(_U32, 4)[0])

    def text(self) -> str:
        return bytes(self.raw(self.u32())).rstrip(b"\0").decode("utf-8", "replace")

    def header(self) -> int:
        """std_msgs/Header: its time in µs."""
        if self._ros2:
            seconds, nanoseconds, size = self.take(_HEADER2, 4)
        else:
            _, seconds, nanoseconds, size = self.take(_HEADER1, 4)
        self.raw(size)  # name of the frame of reference
        return int(seconds * 1_000_000 + nanoseconds // 1000)


_U32 = struct.Struct("<I")
_HEADER1 = struct.Struct("<IIII")  # sequence number, seconds, nanoseconds, length of the name
_HEADER2 = struct.Struct("<iII")
_TWO = struct.Struct("<II")
_THREE = struct.Struct("<III")
_COUNTERS = struct.Struct("<QQ")
_IMU = struct.Struct("<37d")


@dataclass(slots=True)
class EventMessage:
    """Events of one message, still encoded.

    Attributes:
        size: (H, W) as the message says, not checked.
        encoding: one of the encodings of event_camera_msgs, or "array".
        time_base_ns: start of the packet's clock.
        units: aligned words, or the bytes of an array of events.
        total: how many units `decode` has to use up (events of an array, words of a packet).
        ros2: an array has the CDR layout.
    """

    size: tuple[int, int]
    encoding: str
    time_base_ns: int
    units: NDArray[Any]
    total: int
    ros2: bool

    @classmethod
    def parse(cls, data: memoryview, message_type: str, ros2: bool) -> EventMessage:
        """Understand everything but the events.

        Raises:
            MessageError: sizes in the message contradict its length.
            UnknownEncodingError: carries the name of the encoding.
        """
        fields = _Fields(data, ros2)
        fields.header()
        if message_type in ARRAY_TYPES:
            height, width, count = fields.take(_THREE, 4)
            size = kernels.ROS1_EVENT * count
            if ros2 and count:
                size = kernels.ROS2_EVENT * count - 3
            units = np.frombuffer(fields.raw(size), np.uint8)
            return cls((height, width), "array", 0, units, count, ros2)
        height, width = fields.take(_TWO, 4)
        _, time_base = fields.take(_COUNTERS, 8)
        encoding = fields.text()
        big = fields.u8() != 0
        payload = fields.raw(fields.u32())
        if encoding not in _WORDS:
            raise UnknownEncodingError(encoding[:20])
        dtype = _WORDS[encoding]
        whole = len(payload) - len(payload) % _UNIT_BYTES[encoding]
        stored = np.frombuffer(bytes(payload[:whole]), dtype.newbyteorder(">" if big else "<"))
        words = stored.astype(dtype, copy=False)
        return cls((height, width), encoding, time_base, words, len(words), ros2)

    def decode(
        self, at: int, state: NDArray[np.int64], out: Columns, begin: int, end: int, side: Side
    ) -> tuple[int, int]:
        """Decode from unit `at` into places begin..end-1 of `out`.

        state: (STATE_SIZE,) int64 of the topic, updated. Returns (units used, events).
        """
        t, x, y, p = out.t[begin:end], out.x[begin:end], out.y[begin:end], out.p[begin:end]
        if self.encoding == "array":
            kernel = kernels.decode_dvs_ros2 if self.ros2 else kernels.decode_dvs_ros1
            return kernel(self.units, at, t, x, y, p)
        words = self.units[at:]
        if self.encoding == "mono":
            # A uint64 whose upper half no clock reaches; kept within int64 for broken messages.
            return kernels.decode_mono(words, self.time_base_ns & (2**63 - 1), t, x, y, p)
        number = _ENCODINGS.index(self.encoding)
        if state[-1] != number:
            state[:] = (*(evt.START if self.encoding == "evt3" else START[:-1]), number)
        if self.encoding == "evt3":
            return self._evt3(words, state, t, x, y, p, side)
        if at == 0:
            state[kernels.STATE_TIME] = state[kernels.STATE_WRAPS] = 0
        state[kernels.STATE_SKIPPED] = 0
        if self.encoding == "libcaer":
            result = kernels.decode_libcaer(words, self.time_base_ns // 1000, state, t, x, y, p)
            side.lose("events with a valid bit of 0 skipped", int(state[kernels.STATE_SKIPPED]))
        else:
            result = kernels.decode_libcaer_cmp(words, self.time_base_ns // 1000, state, t, x, y, p)
            side.lose("words of an unknown type skipped", int(state[kernels.STATE_SKIPPED]))
        state[kernels.STATE_SKIPPED] = 0
        return result

    @staticmethod
    def _evt3(
        words: NDArray[Any],
        state: NDArray[np.int64],
        t: NDArray[Any],
        x: NDArray[Any],
        y: NDArray[Any],
        p: NDArray[Any],
        side: Side,
    ) -> tuple[int, int]:
        trigger_t, value, channel = np.empty(_TRIGGERS, np.int64), *np.empty((2, _TRIGGERS), np.uint8)
        used, n, m = evt.decode_evt3(words, state, t, x, y, p, trigger_t, value, channel)
        if m:
            side.add_triggers(trigger_t[:m], value[:m], channel[:m])
        if state[evt.STATE_CARRIED : evt.STATE_SIZE].any():
            side.lose("words before the first time or address skipped", int(state[evt.STATE_SKIPPED]))
            side.lose("words of an unknown type skipped", int(state[evt.STATE_UNKNOWN]))
            state[evt.STATE_CARRIED : evt.STATE_SIZE] = 0
        return used, n


def image_time(data: memoryview, ros2: bool) -> int:
    """Time in µs of a sensor_msgs/Image; MessageError if it is damaged or has no gray or colour pixels."""
    return _image(data, ros2)[0]


def image_pixels(data: memoryview, ros2: bool) -> NDArray[np.uint8]:
    """(H, W) uint8 gray image of a sensor_msgs/Image; MessageError as for `image_time`."""
    _, pixels, order = _image(data, ros2)
    if order == "g":
        return np.array(pixels[:, :, 0])
    weights = np.array([_LUMA[c] for c in order], np.uint32)
    return ((pixels.astype(np.uint32) @ weights + 128) >> 8).astype(np.uint8)


def _image(data: memoryview, ros2: bool) -> tuple[int, NDArray[np.uint8], str]:
    fields = _Fields(data, ros2)
    time = fields.header()
    height, width = fields.take(_TWO, 4)
    encoding = fields.text()
    order = _IMAGES.get(encoding)
    fields.u8()  # byte order means nothing to bytes
    step = fields.u32()
    size = fields.u32()
    if order is None:
        raise MessageError(f"image encoding {encoding[:40]!r} is not read")
    row = width * len(order)
    if not (height and width) or step < row or height * step != size:
        raise MessageError(f"image of {width}x{height}, {step} bytes a row, has {size} bytes")
    rows = np.frombuffer(fields.raw(size), np.uint8).reshape(height, step)
    return time, rows[:, :row].reshape(height, width, len(order)), order


def imu_sample(data: memoryview, ros2: bool) -> tuple[int, NDArray[np.float64], NDArray[np.float64]]:
    """A sensor_msgs/Imu: time in µs, (3,) acceleration in g, (3,) rotation in degrees per second."""
    fields = _Fields(data, ros2)
    time = fields.header()
    # orientation 4, its covariance 9, rotation 3, covariance 9, acceleration 3, covariance 9
    numbers = np.array(fields.take(_IMU, 8))
    rotation, acceleration = numbers[13:16], numbers[25:28]
    if not (np.abs([rotation, acceleration]) <= _LARGEST_IMU).all():  # false for NaN too
        raise MessageError("values that no sensor gives")
    return time, acceleration / _G, np.rad2deg(rotation)
