"""Encoders in plain NumPy for formats that the package reads but does not write: AEDAT 3.1, text, ROS 1 bags.

Each takes (path, stream, number of events, absolute µs of the start).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rosbags.rosbag1 import Writer

from eventhpe.events.types import Events

if TYPE_CHECKING:
    from streams import Stream

_PACKET = 4096
_MESSAGE = 5000


def cut(stream: Stream, count: int, start_us: int, step: int) -> Iterator[Events]:
    """Pieces of `step` events (the last one shorter), across repetitions."""
    rest: list[Events] = []
    for events in stream.blocks(count, start_us):
        whole = _joined([*rest, events])
        end = len(whole) // step * step
        for i in range(0, end, step):
            yield whole.slice(i, i + step)
        rest = [whole.slice(end, len(whole))]
    if rest and len(rest[0]):
        yield rest[0]


def _joined(parts: list[Events]) -> Events:
    t, x, y, p = (np.concatenate([getattr(e, c) for e in parts]) for c in "txyp")
    return Events(t, x, y, p, parts[0].sensor_size)


def aedat31(path: Path, stream: Stream, count: int, start_us: int) -> None:
    """Polarity packets of 4096 events."""
    with path.open("wb") as file:
        file.write(b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DAVIS346\r\n#!END-HEADER\r\n")
        for e in cut(stream, count, start_us, _PACKET):
            if int(e.t[0]) >> 31 != int(e.t[-1]) >> 31:
                raise SystemExit("AEDAT 3.1: a packet would need two overflow counts; take fewer events.")
            words = np.empty((len(e), 2), "<u4")
            words[:, 0] = 1 | e.p.astype(np.uint32) << 1 | e.y.astype(np.uint32) << 2
            words[:, 0] |= e.x.astype(np.uint32) << 17
            words[:, 1] = e.t & 0x7FFFFFFF
            head = [1 | 1 << 16, 8, 4, int(e.t[0]) >> 31, len(e), len(e), len(e)]
            file.write(np.array(head, "<u4").tobytes() + words.tobytes())


def text(path: Path, stream: Stream, count: int, start_us: int) -> None:
    """First line: width height; then seconds with six digits, x, y, p."""
    height, width = stream.base.sensor_size
    with path.open("w", encoding="ascii") as file:
        file.write(f"{width} {height}\n")
        for e in stream.blocks(count, start_us):
            rows = zip((e.t // 10**6).tolist(), (e.t % 10**6).tolist(), *_lists(e), strict=True)
            file.writelines(map("%d.%06d %d %d %d\n".__mod__, rows))


def csv(path: Path, stream: Stream, count: int, start_us: int) -> None:
    """Header line, then t in µs, x, y, p."""
    with path.open("w", encoding="ascii") as file:
        file.write("t,x,y,p\n")
        for e in stream.blocks(count, start_us):
            file.writelines(map("%d,%d,%d,%d\n".__mod__, zip(e.t.tolist(), *_lists(e), strict=True)))


def _lists(e: Events) -> tuple[list[int], list[int], list[int]]:
    return e.x.tolist(), e.y.tolist(), e.p.tolist()


_EVENT_ARRAY_SUM = "5e8beee5a6c107e504c2e78903c224b8"
_EVENT_ARRAY = """Header header
uint32 height
uint32 width
dvs_msgs/Event[] events
================================================================================
MSG: std_msgs/Header
uint32 seq
time stamp
string frame_id
================================================================================
MSG: dvs_msgs/Event
uint16 x
uint16 y
time ts
bool polarity
"""


def bag(path: Path, stream: Stream, count: int, start_us: int) -> None:
    """Messages of 5000 events, chunks not compressed."""
    height, width = stream.base.sensor_size
    row = np.dtype([("x", "<u2"), ("y", "<u2"), ("s", "<u4"), ("ns", "<u4"), ("p", "u1")])
    path.unlink(missing_ok=True)
    with Writer(path) as writer:
        name = "dvs_msgs/msg/EventArray"
        topic = writer.add_connection("/dvs/events", name, msgdef=_EVENT_ARRAY, md5sum=_EVENT_ARRAY_SUM)
        for k, e in enumerate(cut(stream, count, start_us, _MESSAGE)):
            rows = np.empty(len(e), row)
            rows["x"], rows["y"], rows["p"] = e.x, e.y, e.p
            rows["s"], rows["ns"] = e.t // 10**6, e.t % 10**6 * 1000
            seconds, us = divmod(int(e.t[-1]), 10**6)
            head = np.array([k, seconds, us * 1000, 0, height, width, len(e)], "<u4")
            writer.write(topic, int(e.t[-1]) * 1000, head.tobytes() + rows.tobytes())
