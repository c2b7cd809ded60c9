"""What AEDAT 4 packets hold beside events: gray frames, IMU samples, trigger edges."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import FormatError
from eventhpe.events import kernels_aedat4 as kernels
from eventhpe.events.blocks import Side
from eventhpe.events.formats import flatbuffer
from eventhpe.events.formats.partial_frames import on_sensor

# Codes of the format: 0 time reset; 1 rising, 2 falling edge and 3 pulse of the external input; 4 rising and
# 5 falling edge of the generator; 6-9 begin and end of frame and exposure. Ours: 1, 0 and 2 (pulse).
_VALUES = np.array([0, 1, 0, 2, 1, 0], np.uint8)
_CHANNELS = np.array([0, 0, 0, 0, 1, 1], np.uint8)
# Cameras write some ten samples in a packet.
_MOST_TABLES = 1 << 20
_PLANES = {0: 1, 16: 3, 24: 4}  # OpenCV code of the pixels: gray, BGR, BGRA


def _fields(data: bytes | memoryview, codes: dict[int, str]) -> list[NDArray[Any]]:
    """Fields (index -> "i1", "f4" or "i8") of all tables in the vector of the root table."""
    start, count = flatbuffer.Table.root(data).vector(0, 4)
    if count > _MOST_TABLES:
        raise FormatError(f"a packet claims {count:,} samples; at most {_MOST_TABLES:,} are read")
    buffer = np.frombuffer(data, np.uint8)
    columns = []
    for index, code in codes.items():
        bits = np.empty(count, np.int64)
        if not kernels.gather_field(buffer, start, index, int(code[1]), bits):
            raise FormatError(f"a FlatBuffer of {count} tables points outside; the packet is damaged.")
        columns.append(bits.astype(f"u{code[1]}").view(code))
    return columns


def add_imu(data: bytes | memoryview, side: Side) -> None:
    """Samples of an IMUS packet: acceleration in g, rotation in deg/s; magnetometers are not kept."""
    t, temperature, *axes = _fields(data, {0: "i8", **{k: "f4" for k in range(1, 8)}})
    side.elements["IMUS"] += len(t)
    side.add_imu(t, np.stack(axes[:3], axis=1), np.stack(axes[3:], axis=1), temperature)


def add_triggers(data: bytes | memoryview, side: Side) -> None:
    """Edges of a TRIG packet. Time resets and marks of frames and exposures are no edges but are counted."""
    t, code = _fields(data, {0: "i8", 1: "i1"})
    side.elements["TRIG"] += len(t)
    edge = (code >= 1) & (code <= 5)
    side.add_triggers(t[edge], _VALUES[code[edge]], _CHANNELS[code[edge]])
    for what, number in (("time resets", (code == 0).sum()), ("frame and exposure marks", (code > 5).sum())):
        if number:
            side.elements[what] += int(number)


def frame_time(data: bytes | memoryview) -> int:
    """Middle of the exposure of a FRME packet, µs; its time stamp where the exposure is not told."""
    table = flatbuffer.Table.root(data)
    t, begin, end = (table.integer(k, "<q") for k in (0, 3, 4))
    return (begin + end) // 2 if 0 < begin <= end else t


def decode_frame(data: bytes | memoryview, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """(H, W) uint8 gray image of a FRME packet, placed on the sensor when the frame is a part of it."""
    table = flatbuffer.Table.root(data)
    code = table.integer(5, "<b")
    width, height, left, top = (table.integer(k, "<h") for k in (6, 7, 8, 9))
    start, count = table.vector(10, 1)
    planes = _PLANES.get(code)
    if planes is None or width <= 0 or height <= 0 or width * height * planes != count:
        raise FormatError(
            f"a frame of {width}x{height} pixels, format {code}, carries {count} bytes; not understood."
        )
    pixels = np.frombuffer(data, np.uint8, count, start).reshape(height, width, planes)
    if planes == 1:
        image = pixels[:, :, 0]
    else:  # ITU-R BT.601 luma in integers
        blue, green, red = (pixels[:, :, k].astype(np.uint32) for k in range(3))
        image = ((29 * blue + 150 * green + 77 * red + 128) >> 8).astype(np.uint8)
    if size is None or (height, width) == size:
        return np.array(image)
    return on_sensor(image, size, left, top)
