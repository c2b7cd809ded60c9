"""Writer of AEDAT 4.0 files, as DV and dv-processing read them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import lz4.frame
import numpy as np
import zstandard
from numpy.typing import NDArray

from eventhpe.atomic import AtomicWriter, PendingFile
from eventhpe.errors import FormatError, ShapeError, UnitError
from eventhpe.events.formats import aedat4_container as container
from eventhpe.events.formats.flatbuffer_writer import (
    Bytes,
    Scalar,
    table_buffer,
    tables_buffer,
    vector_buffer,
)
from eventhpe.events.types import Events, ImuSamples, Triggers

#: Most events (or samples, or trigger edges) of one packet, and the longest time it spans once it has some.
PACKET_EVENTS = 16384
PACKET_US = 50_000

_EVENT = np.dtype(
    {
        "names": ["t", "x", "y", "p"],
        "formats": ["<i8", "<i2", "<i2", "u1"],
        "offsets": [0, 8, 10, 12],
        "itemsize": 16,
    }
)
_STREAMS = (("EVTS", "events"), ("FRME", "frames"), ("IMUS", "imu"), ("TRIG", "triggers"))
_NAMES = {"none": "NONE", "lz4": "LZ4", "zstd": "ZSTD"}
_CODES = {"none": 0, "lz4": 1, "zstd": 3}
# Row: input (0 external, 1 generator). Column: 0 falling, 1 rising, 2 pulse. Generators have no pulse.
_TRIGGER_CODES = np.array([[2, 1, 3], [5, 4, -1]], np.int8)


def _compressor(compression: str) -> Callable[[bytes], bytes]:
    if compression == "lz4":
        return lambda data: lz4.frame.compress(data, block_linked=True, store_size=True)
    if compression == "zstd":
        return zstandard.ZstdCompressor(level=3).compress
    return lambda data: data


def _info_node(used: list[bool], compression: str, camera: str, comment: str, size: tuple[int, int]) -> bytes:
    """The description of the streams, one for each kind that is used."""
    lines = ['<dv version="2.0">', '  <node name="outInfo" path="/outInfo/">']
    for k, (kind, name) in enumerate(_STREAMS):
        if not used[k]:
            continue
        attributes = {
            "compression": _NAMES[compression],
            "originalModuleName": "eventhpe",
            "originalOutputName": name,
            "typeIdentifier": kind,
        }
        lines.append(f'    <node name="{k}" path="/outInfo/{k}/">')
        lines += [f'      <attr key="{a}" type="string">{v}</attr>' for a, v in attributes.items()]
        lines.append(f'      <node name="info" path="/outInfo/{k}/info/">')
        if kind == "EVTS" and comment:
            lines.append(f'        <attr key="comment" type="string">{escape(comment)}</attr>')
        if kind in ("EVTS", "FRME"):
            lines.append(f'        <attr key="sizeX" type="int">{size[1]}</attr>')
            lines.append(f'        <attr key="sizeY" type="int">{size[0]}</attr>')
        lines.append(f'        <attr key="source" type="string">{escape(camera)}</attr>')
        lines += ["      </node>", "    </node>"]
    return "\n".join([*lines, "  </node>", "</dv>", ""]).encode()


class Aedat4Writer(AtomicWriter):
    """Writes one camera's recording; the file appears under its name only when complete.

    Args:
        path: file to write (a temporary file beside it is renamed at the end, removed on an exception).
        sensor_size: (H, W), each at most 32767.
        t_offset_us: absolute time (Unix µs by custom) of relative time zero.
        compression: "lz4", "zstd" or "none", of each packet.
        camera_name: what the streams say they come from.
        comment: a line about the events, kept in the description of their stream.

    Events, frames, IMU samples and trigger edges each come in time order, relative to t_offset_us.
    """

    def __init__(
        self,
        path: str | Path,
        sensor_size: tuple[int, int],
        *,
        t_offset_us: int = 0,
        compression: str = "lz4",
        camera_name: str = "eventhpe",
        comment: str = "",
    ) -> None:
        if compression not in _CODES:
            raise FormatError(f"unknown compression {compression!r}; choose one of {', '.join(_CODES)}.")
        self.path = Path(path)
        self.sensor_size = Events.empty(sensor_size).sensor_size
        if max(self.sensor_size) > 32767:
            raise ShapeError(f"AEDAT 4 stores pixels as int16: sensor_size {self.sensor_size} is past 32767.")
        for text in (camera_name, comment):
            if not text.isprintable():
                raise FormatError(f"{self.path}: {text!r} must be printable to stand in an AEDAT 4 header.")
        self._offset = int(t_offset_us)
        self._compression, self._camera, self._comment = compression, camera_name, comment
        self._compress = _compressor(compression)
        self._used = [True, False, False, False]
        self._last: list[int | None] = [None] * 4
        self._pending = np.zeros(PACKET_EVENTS, _EVENT)
        self._num_pending = 0
        self._table: list[tuple[int, ...]] = []
        # Room for all streams; what is not used is blank in the end, so that the header keeps its length.
        self._room = len(self._description([True] * 4))
        self._pending_file = PendingFile(self.path)
        self._file = self._pending_file.temporary.open("wb")
        self._file.write(self._header(-1))

    def _description(self, used: list[bool]) -> bytes:
        return _info_node(used, self._compression, self._camera, self._comment, self.sensor_size)

    def _header(self, table_position: int) -> bytes:
        fields = [Scalar("i", _CODES[self._compression]), Scalar("q", table_position)]
        text = Bytes(self._description(self._used).ljust(self._room), is_text=True)
        return container.VERSION_LINE + table_buffer(b"IOHE", [*fields, text])

    def _in_order(self, stream: int, t: NDArray[np.int64]) -> None:
        last = self._last[stream]
        first_back = last is not None and int(t[0]) < last
        if first_back or bool((t[1:] < t[:-1]).any()):
            raise FormatError(
                f"{self.path}: times of {_STREAMS[stream][1]} must not decrease; after {last} µs came "
                f"{int(t[0])}..{int(t[-1])} µs. Sort them first."
            )
        if not -(2**62) < int(t[0]) + self._offset <= int(t[-1]) + self._offset < 2**62:
            raise UnitError(f"{self.path}: times up to {int(t[-1])} µs after {self._offset} µs are not µs.")
        self._used[stream] = True
        self._last[stream] = int(t[-1])

    def _packet(self, stream: int, buffer: bytes, count: int, first: int, last: int) -> None:
        """Write a packet; first and last are absolute times."""
        data = self._compress(buffer)
        self._table.append((self._file.tell() + 8, stream, len(data), count, first, last))
        self._file.write(container.PACKET_HEADER.pack(stream, len(data)))
        self._file.write(data)

    def append(self, events: Events) -> None:
        """Add events; times must not decrease across calls.

        Raises:
            FormatError: time goes backwards, the sensor differs, or events lie outside it.
            UnitError: times that cannot be µs.
        """
        if events.sensor_size != self.sensor_size:
            raise FormatError(
                f"{self.path}: made for sensor_size {self.sensor_size}; got events of {events.sensor_size}."
            )
        if not len(events):
            return
        height, width = self.sensor_size
        if events.x.max() >= width or events.y.max() >= height or events.p.max() > 1:
            raise FormatError(
                f"{self.path}: events outside the sensor {self.sensor_size} or with a polarity above 1."
            )
        self._in_order(0, events.t)
        start = 0
        while start < len(events):
            start += self._fill(events.slice(start, len(events)))

    def _fill(self, events: Events) -> int:
        """Take as many events as the pending packet has room and time for; write it when it is complete."""
        held = self._num_pending
        n = min(len(events), PACKET_EVENTS - held)
        begin = int(self._pending["t"][0]) if held else int(events.t[0]) + self._offset
        n = int(np.searchsorted(events.t[:n], begin - self._offset + PACKET_US, side="left"))
        rows = self._pending[held : held + n]
        rows["t"] = events.t[:n] + np.int64(self._offset)
        rows["x"], rows["y"], rows["p"] = events.x[:n], events.y[:n], events.p[:n]
        self._num_pending += n
        if self._num_pending == PACKET_EVENTS or n < len(events):
            self._flush()
        return n

    def _flush(self) -> None:
        """Write the pending events."""
        rows = self._pending[: self._num_pending]
        if len(rows):
            buffer = vector_buffer(b"EVTS", len(rows), rows.view(np.uint8).data)
            self._packet(0, buffer, len(rows), int(rows["t"][0]), int(rows["t"][-1]))
        self._num_pending = 0

    def append_frame(self, t_us: int, image: NDArray[np.uint8]) -> None:
        """Add a gray frame, (H, W) uint8, at a relative time."""
        if image.shape != self.sensor_size or image.dtype != np.uint8:
            raise ShapeError(f"a frame must be {self.sensor_size} uint8; got {image.shape} {image.dtype}.")
        self._in_order(1, np.array([t_us], np.int64))
        t = int(t_us) + self._offset
        height, width = self.sensor_size
        fields = [
            Scalar("q", t),
            None,
            None,
            None,
            None,
            Scalar("b", 0),
            Scalar("h", width),
            Scalar("h", height),
        ]
        self._packet(1, table_buffer(b"FRME", [*fields, None, None, Bytes(image.tobytes())]), 1, t, t)

    def append_imu(self, samples: ImuSamples) -> None:
        """Add IMU samples (g, degrees per second, degrees Celsius)."""
        if not len(samples):
            return
        self._in_order(2, samples.t_us)
        t = samples.t_us + np.int64(self._offset)
        self._tables(2, [t, samples.temperature, *samples.accel.T, *samples.gyro.T])

    @staticmethod
    def holds_triggers(triggers: Triggers) -> NDArray[np.bool_]:
        """(N,) bool: has AEDAT 4 a code for this trigger?"""
        known = (triggers.channel <= 1) & (triggers.value <= 2)
        codes = _TRIGGER_CODES[np.where(known, triggers.channel, 1), np.where(known, triggers.value, 2)]
        return np.asarray(codes >= 0)

    def append_triggers(self, triggers: Triggers) -> None:
        """Add trigger edges of channel 0 (external input) or 1 (generator, which has no pulses)."""
        if not len(triggers):
            return
        held = self.holds_triggers(triggers)
        if not held.all():
            k = int(np.flatnonzero(~held)[0])
            raise FormatError(
                f"{self.path}: AEDAT 4 has edges and pulses of channel 0 and edges of channel 1; trigger "
                f"{k} is "
                f"value {int(triggers.value[k])} of channel {int(triggers.channel[k])}."
            )
        codes = _TRIGGER_CODES[triggers.channel, triggers.value]
        self._in_order(3, triggers.t_us)
        self._tables(3, [triggers.t_us + np.int64(self._offset), codes])

    def _tables(self, stream: int, columns: list[NDArray[Any]]) -> None:
        kind = _STREAMS[stream][0].encode()
        t = columns[0]
        start = 0
        while start < len(t):
            stop = int(np.searchsorted(t[: start + PACKET_EVENTS], t[start] + PACKET_US, side="left"))
            self._packet(
                stream,
                tables_buffer(kind, [c[start:stop] for c in columns]),
                stop - start,
                int(t[start]),
                int(t[stop - 1]),
            )
            start = stop

    def close(self) -> None:
        """Write what is pending and the table of packets, and give the file its name."""
        self._flush()
        position = self._file.tell()
        table = np.array(self._table, np.int64).reshape(-1, 6)
        entries: list[NDArray[Any]] = [table[:, 0], table[:, 1:3].astype(np.int32), *table[:, 3:].T]
        self._file.write(self._compress(tables_buffer(b"FTAB", entries)))
        self._file.seek(0)
        self._file.write(self._header(position))
        self._file.close()
        self._pending_file.close()

    def discard(self) -> None:
        """Give up: remove the temporary file."""
        self._file.close()
        self._pending_file.discard()
