"""AEDAT 4.0 (DV, dv-processing, new jAER): events, gray frames, IMU samples, triggers, packet by packet."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import FormatError
from eventhpe.events import kernels_aedat4 as kernels
from eventhpe.events.blocks import BLOCK_EVENTS, BlockReader, Checkpoint, Columns, Frame, Side
from eventhpe.events.formats import aedat4_container as container
from eventhpe.events.formats import aedat4_side as beside
from eventhpe.events.formats import flatbuffer
from eventhpe.events.formats.aedat4_recovery import find_packet, packed_size
from eventhpe.events.formats.options import OpenOptions
from eventhpe.events.formats.sensors import sensor_by_name

# A block ends after this many bytes of packets, though it may hold few events (frames, silence).
_BLOCK_BYTES = 32 << 20
# Packets looked at to find streams that the header does not tell.
_PEEK_PACKETS, _PEEK_BYTES = 64, 16 << 20
# Compressions that the kernels undo themselves, by the number of the header.
_PACKING = {0: kernels.PLAIN, 1: kernels.LZ4, 2: kernels.LZ4_HIGH}
_DAMAGED = "damaged packets skipped"


def open_reader(path: Path, options: OpenOptions) -> Aedat4Reader:
    """An AEDAT 4.0 file; `options.sensor` replaces the sizes that the header tells.

    Raises:
        FormatError: not AEDAT 4.0, a damaged header, no event stream, or no sensor size.
    """
    return Aedat4Reader(path, options.sensor)


class Aedat4Reader(BlockReader):
    """Walks the packets in stored order; the table at the end of the file is not needed.

    Checkpoint: byte of a packet, packets before it, damaged packets before it.
    """

    format = "AEDAT 4.0"

    def __init__(self, path: Path, sensor: str | None = None) -> None:
        self.path = path
        header = container.read_header(path)
        self._header = header
        self._packing = _PACKING.get(header.compression)
        self._end, self._remark = container.data_end(path, header)
        self._idle: list[container.PacketBuffer] = []
        streams = [s for s in header.streams.values() if s.type == "EVTS"] or self._peek()
        if not streams:
            raise FormatError(f"{path}: this AEDAT 4 file has no event stream.")
        if len(streams) > 256:
            raise FormatError(f"{path}: {len(streams)} event streams; at most 256 can be told apart.")
        streams.sort(key=lambda stream: stream.id)
        if sensor is not None:
            size = sensor_by_name(sensor).size
            streams = [replace(stream, size=size) for stream in streams]
        if all(stream.size is None for stream in streams):
            raise FormatError(
                f"{path}: the header does not tell the sensor size of stream {streams[0].id}. Say it with "
                "sensor= (--sensor), for example 346x260."
            )
        self._events = streams
        names = [stream.name or f"stream{stream.id}" for stream in streams]
        times = Counter(names)
        self.streams = tuple(
            name if times[name] == 1 else f"{name} (stream {stream.id})"
            for name, stream in zip(names, streams, strict=True)
        )
        self.stream_sizes = tuple(stream.size for stream in streams)
        known = [size for size in self.stream_sizes if size is not None]
        self.sensor_size = (max(h for h, _ in known), max(w for _, w in known))
        self._cameras = {stream.id: k for k, stream in enumerate(streams)}
        # Rows of jAER's files count from the bottom.
        flips = [s.size[0] if s.module.lower() == "jaer" and s.size else 0 for s in streams]
        self._table = np.array([[s.id, flip] for s, flip in zip(streams, flips, strict=True)], np.int64)

    def _peek(self) -> list[container.Stream]:
        """Event streams among the first packets, for a header that names none."""
        found: dict[int, container.Stream] = {}
        position, buffer = self._header.data_start, container.PacketBuffer()
        limit = min(self._end, position + _PEEK_BYTES)
        with self.path.open("rb", buffering=0) as file:
            for _ in range(_PEEK_PACKETS):
                entry = self._entry(file, buffer, position, limit)
                if entry is None:
                    break
                stream, size = entry
                try:
                    packed = self._packed(file, buffer, position, size)
                    if (
                        flatbuffer.identifier(container.decompress(packed, self._header.compression))
                        == b"EVTS"
                    ):
                        named = self._header.streams.get(stream)
                        found[stream] = named or container.Stream(stream, "EVTS", "", None, "")
                except FormatError:
                    pass  # decoding tells of damage
                position += 8 + size
        return list(found.values())

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_idle": []}

    def first(self) -> Checkpoint:
        return self._header.data_start, 0, 0

    def decode(self, at: Checkpoint, out: Columns, side: Side) -> tuple[int, Checkpoint | None]:
        try:
            buffer = self._idle.pop()
        except IndexError:
            buffer = container.PacketBuffer()
        try:
            with self.path.open("rb", buffering=0) as file:
                return self._decode(file, buffer, at, out, side)
        finally:
            buffer.rest()
            self._idle.append(buffer)

    def _decode(
        self, file: BinaryIO, buffer: container.PacketBuffer, at: Checkpoint, out: Columns, side: Side
    ) -> tuple[int, Checkpoint | None]:
        position, packets, damaged = at
        before, stop, at_end = packets, position + _BLOCK_BYTES, False
        if position == self._header.data_start and self._remark:
            side.say(self._remark)
        n = largest = 0
        while n + largest <= BLOCK_EVENTS and position < stop:
            entry = self._entry(file, buffer, position, self._end)
            if entry is None:
                found = find_packet(file, buffer, self._header, position + 1, self._end)
                if found is None:
                    at_end = True
                    break
                side.lose("bytes that are no packets skipped", found - position)
                position = found
                continue
            stream, size = entry
            if self._packing is not None and stream in self._cameras and size <= container.MAX_PACKET_BYTES:
                begin = buffer.load(file, position, 8 + size, self._end)
                index, n, largest, done = kernels.decode_packets(
                    buffer.raw, begin, buffer.stop - buffer.start, stop - buffer.start,
                    self._table, self._packing, buffer.unpacked, BLOCK_EVENTS, n, largest,
                    out.t, out.x, out.y, out.p, out.camera,
                )  # fmt: skip
                position += index - begin
                packets += done
                if done:
                    continue
            try:
                packed = self._packed(file, buffer, position, size)
                used = packed_size(packed, self._header.compression)
                data = container.decompress(packed[:used], self._header.compression, buffer.zstd)
                count = self._add(stream, data, position, size, n, out, side)
                n, largest = n + count, max(largest, count)
                buffer.make_room(len(data))
                if used < size:  # go on where the content ends: the next packet may begin there
                    side.lose("packets with a wrong size, read by their content", 1)
                    size = used
            except FormatError as error:
                damaged += 1
                _lose_packet(position + 8, error, side)
            packets += 1
            position += 8 + size
        side.elements["EVTS"] += n
        side.elements["packets"] += packets - before
        if not at_end and position < self._end:
            return n, (position, packets, damaged)
        if damaged and damaged == packets:
            first = next(phrase for phrase in side.losses if phrase.startswith(_DAMAGED))
            raise FormatError(f"{self.path}: none of its {packets} packets can be read; {first}")
        if position < self._end:
            side.say(f"{self._end - position:,} bytes after the last complete packet ignored")
        return n, None

    def _entry(
        self, file: BinaryIO, buffer: container.PacketBuffer, position: int, end: int
    ) -> tuple[int, int] | None:
        """(stream id, bytes) of the packet at a position; None where no complete packet begins."""
        if position + 8 > end:
            return None
        begin = buffer.load(file, position, 8, self._end)
        stream, size = container.PACKET_HEADER.unpack_from(buffer.raw.data, begin)
        if not 0 <= size <= end - position - 8:
            return None
        if self._header.streams and stream not in self._header.streams:
            try:  # a stream that the header forgot, or no packet at all
                packed = self._packed(file, buffer, position, size)
                flatbuffer.identifier(container.decompress(packed, self._header.compression, buffer.zstd))
            except FormatError:
                return None
        return stream, size

    def _packed(self, file: BinaryIO, buffer: container.PacketBuffer, position: int, size: int) -> memoryview:
        """The packet at a position, as it lies in the file; good until the next load."""
        if size > container.MAX_PACKET_BYTES:
            raise FormatError(
                f"a packet says it has {size:,} bytes; at most {container.MAX_PACKET_BYTES:,} are read"
            )
        begin = buffer.load(file, position, 8 + size, self._end) + 8
        return buffer.raw.data[begin : begin + size]

    def _add(
        self,
        stream: int,
        data: bytes | memoryview,
        position: int,
        size: int,
        n: int,
        out: Columns,
        side: Side,
    ) -> int:
        """Take what a packet holds; returns its number of events, which go to the columns from place n on."""
        kind = flatbuffer.identifier(data)
        if kind == b"EVTS":
            return self._add_events(stream, data, n, out, side)
        if kind == b"FRME":
            named = self._header.streams.get(stream)
            camera = next((k for k, s in enumerate(self._events) if named and s.name == named.name), 0)
            side.frames.append(Frame(beside.frame_time(data), (position, size, camera), camera))
            side.elements["FRME"] += 1
        elif kind == b"IMUS":
            beside.add_imu(data, side)
        elif kind == b"TRIG":
            beside.add_triggers(data, side)
        else:
            side.lose(f"packets of type {kind.decode('latin-1')} skipped", 1)
        return 0

    def _add_events(self, stream: int, data: bytes | memoryview, n: int, out: Columns, side: Side) -> int:
        start, count = flatbuffer.Table.root(data).vector(0, kernels.EVENT_BYTES)
        camera = self._cameras.get(stream)
        if camera is None:
            side.lose(
                "events in packets of streams that the header does not call event streams skipped", count
            )
            return 0
        out.grow(n + count, keep=n)
        flip = int(self._table[camera, 1])
        kernels.copy_aedat4(np.frombuffer(data, np.uint8), start, count, flip, n, out.t, out.x, out.y, out.p)
        if len(self.streams) > 1:
            out.camera[n : n + count] = camera
        return count

    def load_frame(self, ref: tuple[Any, ...]) -> NDArray[np.uint8]:
        position, size, camera = ref
        try:
            with self.path.open("rb") as file:
                file.seek(position + 8)
                data = container.decompress(file.read(size), self._header.compression)
            image = beside.decode_frame(data, self.stream_sizes[camera])
        except FormatError as error:
            raise FormatError(f"{self.path}: frame at byte {position:,}: {error}") from error
        return image[::-1] if self._table[camera, 1] else image


def _lose_packet(position: int, error: FormatError, side: Side) -> None:
    """Count a damaged packet; the first one is told in detail."""
    known = (phrase for phrase in side.losses if phrase.startswith(_DAMAGED))
    side.lose(next(known, f"{_DAMAGED}, the first at byte {position:,}: {error}"), 1)
