"""AEDAT 4.0 (DV, dv-processing, new jAER): events, gray frames and triggers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import FormatError
from eventhpe.events import kernels_decode as kernels
from eventhpe.events.formats import aedat4_container as container
from eventhpe.events.formats import flatbuffer
from eventhpe.events.formats.sensors import sensor_by_name
from eventhpe.events.memory import MemoryBackend
from eventhpe.events.recording import check_stream
from eventhpe.events.types import RawEvents

# Codes of the format -> 1 rising, 0 falling, 2 pulse. Resets and frame or exposure marks are no triggers.
_TRIGGER_VALUES = {1: 1, 2: 0, 3: 2, 4: 1, 5: 0}
_GRAY, _BGR, _BGRA = 0, 16, 24
_CHANNELS = {_GRAY: 1, _BGR: 3, _BGRA: 4}


@dataclass
class _Contents:
    """What one pass over the packets collects."""

    columns: dict[int, list[tuple[NDArray[Any], ...]]] = field(default_factory=dict)
    frame_packets: list[tuple[int, container.Packet]] = field(default_factory=list)
    triggers: list[tuple[int, int]] = field(default_factory=list)
    num_imu: int = 0
    skipped_types: set[str] = field(default_factory=set)
    damaged: list[str] = field(default_factory=list)


def _event_columns(buffer: bytes, flip_height: int) -> tuple[NDArray[Any], ...]:
    start, count = flatbuffer.Table.root(buffer).vector(0, 16)
    words = np.frombuffer(buffer, np.int64, 2 * count, start)
    if not words.flags.aligned:
        words = words.copy()
    t = np.empty(count, np.int64)
    x, y, p = np.empty(count, np.uint16), np.empty(count, np.uint16), np.empty(count, np.uint8)
    kernels.copy_aedat4(words, flip_height, t, x, y, p, kernels.INITIAL_TIME)
    return t, x, y, p


def _frame_time(table: flatbuffer.Table) -> int:
    t, begin, end = (table.integer(k, "<q") for k in (0, 3, 4))
    return (begin + end) // 2 if 0 < begin <= end else t


def _decode_frame(buffer: bytes, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """(H, W) uint8 gray image, placed on the sensor when the frame is a part of it."""
    table = flatbuffer.Table.root(buffer)
    code = table.integer(5, "<b")
    width, height, left, top = (table.integer(k, "<h") for k in (6, 7, 8, 9))
    start, count = table.vector(10, 1)
    channels = _CHANNELS.get(code)
    if channels is None or width <= 0 or height <= 0 or width * height * channels != count:
        raise FormatError(
            f"a frame of {width}x{height} pixels, format {code}, carries {count} bytes; not understood."
        )
    pixels = np.frombuffer(buffer, np.uint8, count, start).reshape(height, width, channels)
    if channels == 1:
        image = pixels[:, :, 0]
    else:  # ITU-R BT.601 luma in integers
        blue, green, red = (pixels[:, :, k].astype(np.uint32) for k in range(3))
        image = ((29 * blue + 150 * green + 77 * red + 128) >> 8).astype(np.uint8)
    if size is None or (height, width) == size:
        return np.ascontiguousarray(image)
    if left < 0 or top < 0 or top + height > size[0] or left + width > size[1]:
        raise FormatError(
            f"a frame of {width}x{height} at ({left}, {top}) lies outside the sensor (H, W) = {size}."
        )
    full = np.zeros(size, np.uint8)
    full[top : top + height, left : left + width] = image
    return full


@dataclass(frozen=True)
class _FrameLoader:
    """Reads frame k when asked for; opens the file each time, so it works in any process."""

    path: Path
    compression: int
    size: tuple[int, int] | None
    packets: tuple[container.Packet, ...]
    flip: bool

    def __call__(self, k: int) -> NDArray[np.uint8]:
        try:
            with self.path.open("rb") as file:
                image = _decode_frame(
                    container.read_packet(file, self.packets[k], self.compression), self.size
                )
        except FormatError as error:
            raise FormatError(f"{self.path}: frame {k}: {error}") from error
        return image[::-1] if self.flip else image


def _collect(
    path: Path, header: container.Header, packets: tuple[container.Packet, ...], flips: dict[int, int]
) -> _Contents:
    contents = _Contents()
    with path.open("rb") as file:
        for packet, payload in container.payloads(file, packets, header.compression):
            try:
                if isinstance(payload, FormatError):
                    raise payload
                _collect_packet(contents, packet, payload, flips)
            except FormatError as error:
                contents.damaged.append(f"byte {packet.position:,}: {error}")
    return contents


def _collect_packet(
    contents: _Contents, packet: container.Packet, payload: bytes, flips: dict[int, int]
) -> None:
    kind = flatbuffer.identifier(payload)
    root = flatbuffer.Table.root(payload)
    if kind == b"EVTS":
        columns = _event_columns(payload, flips.get(packet.stream, 0))
        contents.columns.setdefault(packet.stream, []).append(columns)
    elif kind == b"FRME":
        contents.frame_packets.append((_frame_time(root), packet))
    elif kind == b"TRIG":
        for item in root.tables(0):
            value = _TRIGGER_VALUES.get(item.integer(1, "<b"))
            if value is not None:
                contents.triggers.append((item.integer(0, "<q"), value))
    elif kind == b"IMUS":
        contents.num_imu += root.vector(0, 4)[1]
    else:
        contents.skipped_types.add(kind.decode("latin-1"))


class Aedat4Backend(MemoryBackend):
    """An AEDAT 4 file. Events are decoded into memory when opened; frames are read when asked for."""

    def __init__(self, path: Path, sensor: str | None = None, stream: int | str | None = None) -> None:
        self._arguments = (path, sensor, stream)
        header = container.read_header(path)
        walk = container.walk(path, header)
        if sensor is not None:
            size = sensor_by_name(sensor).size
            streams = {k: replace(s, size=size) for k, s in header.streams.items()}
            header = replace(header, streams=streams)
        flips = {
            s.id: s.size[0]
            for s in header.streams.values()
            if s.module.lower() == "jaer" and s.type == "EVTS" and s.size
        }
        contents = _collect(path, header, walk.packets, flips)
        if contents.damaged and len(contents.damaged) == len(walk.packets):
            raise FormatError(
                f"{path}: none of its {len(walk.packets)} packets can be read; {contents.damaged[0]}"
            )
        ids = sorted({s.id for s in header.streams.values() if s.type == "EVTS"} | set(contents.columns))
        if not ids:
            raise FormatError(f"{path}: this AEDAT 4 file has no event stream.")
        names = tuple(
            header.streams[k].name or f"stream{k}" if k in header.streams else f"stream{k}" for k in ids
        )
        notes = _notes(path, header, walk, contents)
        counts = [sum(len(c[0]) for c in contents.columns.get(k, ())) for k in ids]
        chosen = check_stream(stream, names, str(path))
        if chosen is None:
            chosen = int(np.argmax(counts))
            if len(ids) > 1:
                notes.append(
                    f"{len(ids)} event streams ({', '.join(names)}); reading {names[chosen]} (choose "
                    "with stream=)"
                )
        raw = _raw_events(path, contents, header, ids, chosen)
        description = header.streams.get(ids[chosen])
        frames = _frames(path, header, contents, description, ids[chosen] in flips)
        triggers = None
        if contents.triggers:
            table = np.array(contents.triggers, np.int64)
            triggers = (table[:, 0].copy(), table[:, 1].astype(np.uint8))
        super().__init__(
            "AEDAT 4.0",
            str(path),
            raw,
            camera=chosen if len(ids) > 1 else None,
            streams=names,
            warnings=tuple(notes),
            triggers=triggers,
            frames=frames,
        )

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return type(self), self._arguments


def _raw_events(
    path: Path, contents: _Contents, header: container.Header, ids: list[int], chosen: int
) -> RawEvents:
    """Events of all streams, one stream after the other; camera = index of the stream."""
    description = header.streams.get(ids[chosen])
    if description is None or description.size is None:
        raise FormatError(
            f"{path}: the header does not tell the sensor size of stream {ids[chosen]}. Say it with sensor= "
            "(--sensor), for example 346x260."
        )
    parts = [(k, columns) for k, stream in enumerate(ids) for columns in contents.columns.pop(stream, [])]
    cameras = [np.full(len(columns[0]), k, np.uint8) for k, columns in parts]
    if not parts:
        empty = np.zeros(0, np.uint16)
        return RawEvents(
            np.zeros(0, np.int64),
            empty,
            empty,
            np.zeros(0, np.uint8),
            np.zeros(0, np.uint8),
            description.size,
        )
    t, x, y, p = (np.concatenate([columns[k] for _, columns in parts]) for k in range(4))
    return RawEvents(t, x, y, p, np.concatenate(cameras), description.size)


def _frames(
    path: Path,
    header: container.Header,
    contents: _Contents,
    description: container.Stream | None,
    flip: bool,
) -> tuple[NDArray[np.int64], _FrameLoader] | None:
    """Frames of the same camera as the events; of any camera if none has its name."""
    if not contents.frame_packets or description is None:
        return None
    by_camera = [
        item
        for item in contents.frame_packets
        if item[1].stream in header.streams and header.streams[item[1].stream].name == description.name
    ]
    items = sorted(by_camera or contents.frame_packets, key=lambda item: item[0])
    times = np.array([t for t, _ in items], np.int64)
    return times, _FrameLoader(path, header.compression, description.size, tuple(p for _, p in items), flip)


def _notes(path: Path, header: container.Header, walk: container.Walk, contents: _Contents) -> list[str]:
    notes = []
    if header.table_position > path.stat().st_size:
        notes.append(f"the file is cut: its header places the table at byte {header.table_position:,}")
    elif header.table_position < header.data_start:
        notes.append("the recording was interrupted (no table of packets); read packet by packet")
    if walk.lost_bytes:
        notes.append(f"{walk.lost_bytes:,} bytes after the last complete packet ignored")
    if contents.damaged:
        notes.append(f"{len(contents.damaged)} damaged packets skipped, the first at {contents.damaged[0]}")
    if contents.num_imu:
        notes.append(f"{contents.num_imu:,} IMU samples skipped")
    if contents.skipped_types:
        notes.append(f"packets of type {', '.join(sorted(contents.skipped_types))} skipped")
    return notes
