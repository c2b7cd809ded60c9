"""AEDAT 3.0 and 3.1: the packets of cAER and libcaer.

Header lines, then packets: 28 bytes that tell type, source, event size and number, then the events; all
little-endian. Rows count from the top in 3.1, from the bottom in 3.0. Events with a valid bit of 0 are left
out.
Rules: libcaer sources (docs/formats.md).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import FormatError
from eventhpe.events import kernels_aedat3 as kernels
from eventhpe.events.blocks import BLOCK_EVENTS, BlockReader, Checkpoint, Columns, Frame, Side
from eventhpe.events.formats.aedat2_words import is_header_line, read_exactly
from eventhpe.events.formats.options import OpenOptions
from eventhpe.events.formats.partial_frames import on_sensor
from eventhpe.events.formats.sensors import sensor_by_name, sensor_of_chip

_BUFFER = 1 << 18  # bytes read at a time: they stay in the processor's cache
_BLOCK_BYTES = 1 << 23  # a block ends here although it holds few events
_LONGEST_LINE = 64 * 1024
_LONGEST_HEADER = 1 << 20
_PEEK = 256  # packets looked at for sources that the header does not name
_SOURCE = re.compile(rb"#Source (\d{1,5}):\s*(\S*)")
_TYPES = {
    5: "samples", 6: "ear events", 7: "configuration events", 8: "points (1D)", 9: "points (2D)",
    10: "points (3D)", 11: "points (4D)", 12: "spikes", 13: "matrices",
}  # fmt: skip
# Kind of special event -> (1 rising, 0 falling, 2 pulse; input): input 0, 1, 2, or the generator (3).
_GRAY = np.array([0.299, 0.587, 0.114])
_NO_EDGE = 255
_EDGES = np.full((128, 2), _NO_EDGE, np.uint8)
_EDGES[2:5] = (1, 0), (0, 0), (2, 0)
_EDGES[6:14] = (1, 1), (0, 1), (2, 1), (1, 2), (0, 2), (2, 2), (1, 3), (0, 3)
_LOSSES = {
    kernels.BAD_EVENTS: "events with a valid bit of 0 skipped",
    kernels.BAD_SPECIALS: "special events with a valid bit of 0 skipped",
    kernels.BAD_IMU: "IMU samples with a valid bit of 0 skipped",
    kernels.BAD_FRAMES: "frames with a valid bit of 0 skipped",
    kernels.BAD_SIZES: "frames of an impossible size skipped",
    kernels.STRAY: "things from a source that the header does not name skipped",
}


@dataclass(frozen=True)
class Header:
    """Text header: where packets start, 3.0 or 3.1, and source id -> camera name."""

    length: int
    minor: int
    sources: dict[int, str]


def read_header(path: Path) -> Header:
    """Read the lines up to `#!END-HEADER` (3.1), or as long as there are any (3.0).

    Raises:
        FormatError: another format, or packets that are compressed.
    """
    sources: dict[int, str] = {}
    with path.open("rb") as file:
        first = file.readline(_LONGEST_LINE)
        match = re.match(rb"#!AER-DAT3\.([01])\s*$", first)
        if match is None:
            raise FormatError(f"{path}: not an AEDAT 3.0 or 3.1 file; the first line is {first[:40]!r}.")
        length = len(first)
        while length < _LONGEST_HEADER:
            line = file.readline(_LONGEST_LINE)
            if not line.endswith(b"\n") or not is_header_line(line.rstrip(b"\r\n")):
                break
            length += len(line)
            if line.startswith(b"#!END-HEADER"):
                break
            if (source := _SOURCE.match(line)) is not None and int(source[1]) < 1 << 15:
                sources[int(source[1])] = source[2].decode("latin-1")
            if line.startswith(b"#Format:") and line[8:].strip() != b"RAW":
                raise FormatError(
                    f"{path}: AEDAT 3 with packets in the form {line[8:].strip()!r}; only RAW is read. "
                    "Convert the file with the program that wrote it."
                )
    return Header(length, int(match[1]), sources)


class Aedat3Reader(BlockReader):
    """An AEDAT 3 file.

    A checkpoint is (byte, state of the kernel ...): it may point between two events of a packet.
    """

    def __init__(self, path: Path, header: Header, sensor: str | None) -> None:
        self.path = path
        self.format = f"AEDAT 3.{header.minor}"
        self._start = header.length
        self._old = header.minor == 0
        self._bytes = path.stat().st_size
        ids = sorted(header.sources) if len(header.sources) > 1 else []
        ids = ids or self._event_sources()
        # With one source, or none known yet, all packets are taken for it.
        self._cameras = np.full(1 << 15, kernels.UNKNOWN_SOURCE if ids else 0, np.uint8)
        if len(ids) > kernels.UNKNOWN_SOURCE:
            raise FormatError(
                f"{path}: {len(ids)} sources in one file; at most {kernels.UNKNOWN_SOURCE} are read."
            )
        for camera, source in enumerate(ids):
            self._cameras[source] = camera
        if len(ids) > 1:
            self.streams = tuple(f"source{source}" for source in ids)
        names = [header.sources.get(source, "") for source in ids] or list(header.sources.values())
        if len(ids) == 1 and not names[0]:
            names = list(header.sources.values())
        sizes = [sensor_by_name(sensor).size if sensor else _size_of(name) for name in names]
        sizes += [sensor_by_name(sensor).size if sensor else None] * (len(self.streams) - len(sizes))
        if len(self.streams) > 1:
            self.stream_sizes = tuple(sizes)
        self.sensor_size = sizes[0]
        if self._old and None in sizes:
            raise FormatError(
                f"{path}: AEDAT 3.0 counts rows from below, and the header names no known camera (it names "
                f"{', '.join(names) or 'none'}). Say which it is with sensor= (--sensor), or WIDTHxHEIGHT."
            )
        self._flips = np.array([size[0] if size and self._old else 0 for size in sizes], np.int64)
        self._idle: list[tuple[NDArray[Any], ...]] = []  # buffers, one set for every thread that decodes

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_idle": []}

    def _event_sources(self) -> list[int]:
        """Sources of the polarity packets among the first packets."""
        sources, at = set[int](), self._start
        with self.path.open("rb") as file:
            for _ in range(_PEEK):
                file.seek(at)
                head = file.read(kernels.HEADER_BYTES)
                if len(head) < kernels.HEADER_BYTES:
                    break
                kind, source = np.frombuffer(head, "<i2", 2).tolist()
                size, _, _, _, number, _ = np.frombuffer(head, "<i4", 6, 4).tolist()
                if not (0 <= kind < 128 and source >= 0 and size > 0 and number >= 0):
                    break
                if kind == 1 and number:
                    sources.add(source)
                at += kernels.HEADER_BYTES + size * number
                if at > self._bytes:
                    break
        return sorted(sources)

    def first(self) -> Checkpoint:
        state = [0] * kernels.STATE_SIZE
        state[kernels.LAST_TIME] = -1
        return (self._start, *state)

    def decode(self, at: Checkpoint, out: Columns, side: Side) -> tuple[int, Checkpoint | None]:
        byte, n = at[0], 0
        state, tally = np.array(at[1:], np.int64), np.zeros(kernels.TALLY_SIZE, np.int64)
        try:
            scratch = self._idle.pop()
        except IndexError:
            scratch = _scratch()
        done = False
        with self.path.open("rb", buffering=0) as file:
            while not done and n < BLOCK_EVENTS and byte - at[0] < _BLOCK_BYTES:
                buffer = scratch[0][: max(0, min(_BUFFER, self._bytes - byte))]
                read_exactly(file, byte, buffer, self.path)
                words = buffer[: len(buffer) & ~3].view(np.uint32)
                events = (a[n:BLOCK_EVENTS] for a in (out.t, out.x, out.y, out.p, out.camera))
                moved, why = kernels.decode_aedat3(
                    words, words.view(np.float32), self._cameras, self._old, self._flips, state, tally,
                    *events, *scratch[1:],
                )  # fmt: skip
                found = scratch[-1].tolist()
                n += found[0]
                self._add(found, scratch, byte, side)
                byte += moved
                if why == kernels.ASK_GAP:
                    state[kernels.GAP] = -1 - self._gap(file, byte)
                elif why == kernels.DAMAGED:
                    byte, done = self._skip_damage(file, byte, side)
                elif why == kernels.NEED_DATA and (byte >= self._bytes or moved == 0):
                    self._end(byte, state, side)
                    done = True
        self._idle.append(scratch)
        self._tell(tally, side)
        return n, None if done else (byte, *state.tolist())

    def _add(self, found: list[int], scratch: tuple[NDArray[Any], ...], byte: int, side: Side) -> None:
        _, trigger_t, trigger_kind, imu_t, imu_values, frames, _ = scratch
        _, triggers, samples, num_frames = found
        if triggers:
            value, channel = _EDGES[trigger_kind[:triggers]].T
            edge = value != _NO_EDGE
            side.add_triggers(trigger_t[:triggers][edge], value[edge], channel[edge])
        if samples:
            values = imu_values[:samples]
            side.elements["IMU samples"] += samples
            side.add_imu(imu_t[:samples], values[:, :3], values[:, 3:6], values[:, 6])
        for t_us, start, size, camera in frames[:num_frames].tolist():
            if byte + start + size > self._bytes:
                side.lose("frames cut off by the end of the file", 1)
                continue
            side.frames.append(Frame(t_us, (byte + start, size, camera), camera))

    def _gap(self, file: Any, byte: int) -> int:
        """Bytes to skip after a packet that has room for more events than it holds.

        Writers differ: some write the unused room, most do not. What follows tells.
        """
        head = np.empty(kernels.HEADER_BYTES, np.uint8)
        read_exactly(file, byte, head, self.path)
        size, _, _, capacity, number, _ = head[4:].view("<i4").tolist()
        gap = size * (capacity - number)
        end = byte + kernels.HEADER_BYTES + size * number
        return gap if not self._can_begin(file, end) and self._can_begin(file, end + gap) else 0

    def _can_begin(self, file: Any, byte: int) -> bool:
        """Whether a packet, or the end of the file, can be here."""
        if byte + kernels.HEADER_BYTES > self._bytes:
            return byte == self._bytes
        head = np.empty(kernels.HEADER_BYTES, np.uint8)
        read_exactly(file, byte, head, self.path)
        return int(kernels.find_packet(head)) == 0

    def _skip_damage(self, file: Any, byte: int, side: Side) -> tuple[int, bool]:
        """The next place where a packet can begin, and whether there is none."""
        overlap = kernels.HEADER_BYTES - 1
        start = byte + 1
        while start + overlap < self._bytes:
            data = np.empty(min(_BUFFER, self._bytes - start), np.uint8)
            read_exactly(file, start, data, self.path)
            k = int(kernels.find_packet(data))
            if k >= 0:
                side.lose("bytes skipped where packet headers are damaged", start + k - byte)
                return start + k, False
            start += len(data) - overlap
        if byte == self._start:
            raise FormatError(
                f"{self.path}: no packet header at byte {byte:,} nor after it; the file is damaged or is no "
                f"{self.format}."
            )
        side.lose("bytes skipped where packet headers are damaged", self._bytes - byte)
        return self._bytes, True

    def _end(self, byte: int, state: NDArray[np.int64], side: Side) -> None:
        left = int(state[kernels.EVENTS_LEFT])
        if left:
            side.lose("events of the last packet are missing: the file is cut off", left)
        elif byte < self._bytes:
            side.lose("bytes at the end are no complete packet header; ignored", self._bytes - byte)
        elif byte > self._bytes:
            side.say("the file is cut off within its last packet")

    def _tell(self, tally: NDArray[np.int64], side: Side) -> None:
        side.elements["packets"] += int(tally[kernels.PACKETS])
        if tally[kernels.SPECIALS]:
            side.elements["special events"] += int(tally[kernels.SPECIALS])
        for kind in np.flatnonzero(tally[kernels.FIRST_OTHER :]).tolist():
            side.elements[_TYPES.get(kind, f"events of type {kind}")] += int(
                tally[kernels.FIRST_OTHER + kind]
            )
        for k, phrase in _LOSSES.items():
            side.lose(phrase, int(tally[k]))
        if tally[kernels.CLOCK_RESETS]:
            side.say("the camera's clock was reset; times go on from the last one before that")

    def load_frame(self, ref: tuple[Any, ...]) -> NDArray[np.uint8]:
        byte, size, camera = ref
        data = np.empty(size, np.uint8)
        with self.path.open("rb", buffering=0) as file:
            read_exactly(file, byte, data, self.path)
        channels = int(data[0] >> 1) & 7
        width, height, x0, y0 = data[20:36].view("<i4").tolist()
        pixels = data[36 : 36 + 2 * width * height * channels].view("<u2").reshape(height, width, channels)
        gray = (
            pixels[..., 0] >> 8 if channels == 1 else (pixels[..., :3] >> 8) @ np.array([0.299, 0.587, 0.114])
        )
        image = np.rint(gray).astype(np.uint8)
        size_of = (
            self.stream_sizes[camera] if len(self.streams) > 1 and self.stream_sizes else self.sensor_size
        )
        if size_of and (height, width) != size_of and 0 <= x0 and 0 <= y0:
            if y0 + height <= size_of[0] and x0 + width <= size_of[1]:
                try:
                    image = on_sensor(image, size_of, x0, y0)
                except FormatError as error:
                    raise FormatError(f"{self.path}: frame at byte {byte:,}: {error}") from error
        return image[::-1].copy() if self._old else image


def _size_of(name: str) -> tuple[int, int] | None:
    sensor = sensor_of_chip(name) if name else None
    return sensor.size if sensor is not None else None


def _scratch() -> tuple[NDArray[Any], ...]:
    """Bytes, and all that a buffer can hold beside events: triggers, IMU samples, frames, numbers of each."""
    samples = _BUFFER // 36 + 1
    return (
        np.empty(_BUFFER, np.uint8),
        np.empty(_BUFFER // 8, np.int64),
        np.empty(_BUFFER // 8, np.uint8),
        np.empty(samples, np.int64),
        np.empty((samples, 7), np.float32),
        np.empty((samples, 4), np.int64),
        np.zeros(4, np.int64),
    )


def open_reader(path: Path, options: OpenOptions) -> Aedat3Reader:
    """An AEDAT 3.0 or 3.1 file.

    Raises:
        FormatError: another format, compressed packets, or (3.0) a sensor size that neither the header nor
            `options.sensor` tells.
    """
    return Aedat3Reader(path, read_header(path), options.sensor)
