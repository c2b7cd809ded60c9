"""What AEDAT 1.0 and 2.0 share: the text header, address layouts, and equal records, read block by block."""

from __future__ import annotations

import re
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import FormatError
from eventhpe.events.blocks import BLOCK_EVENTS, BlockReader, Checkpoint, Columns, Side
from eventhpe.events.formats.sensors import Sensor

#: Records read and decoded at a time: the bytes stay in the processor's cache.
STEP = 1 << 15

# x shift, x mask, y shift, y mask, polarity shift, polarity of a 0 bit, bits that mark other words, camera
# shift, camera mask.
# DVS128 sets the polarity bit for OFF. In DVS640 addresses bit 10 belongs to x.
_FIELDS = {
    "dvs128": (1, 0x7F, 8, 0x7F, 0, 1, 0x8000, 24, 0xFF),
    "davis": (12, 0x3FF, 22, 0x1FF, 11, 0, 0x80000400, 0, 0xF),
    "dvs640": (1, 0x3FF, 11, 0x3FF, 0, 0, 0x80000000, 0, 0),
}


_LONGEST_LINE = 64 * 1024
_LONGEST_HEADER = 32 * 1024 * 1024
_END_MARKS = (b"endofasciiheader", b"endofheader")
# Settings of the IMU in jAER's preferences: full scale -> LSB per unit.
_ACCEL = re.compile(rb'key="ImuAccelScale" value="ImuAccelScaleG(2|4|8|16)"')
_GYRO = re.compile(rb'key="ImuGyroScale" value="GyroFullScaleDegPerSec(250|500|1000|2000)"')
_GYRO_LSB = {250: 131.0, 500: 65.5, 1000: 32.8, 2000: 16.4}


@dataclass(frozen=True)
class Header:
    """Text header.

    Attributes:
        length: bytes; data start here.
        chip: Java class of the chip, "" if the file does not say.
        imu_scales: LSB per g and LSB per deg/s, None if the file does not say.
    """

    length: int
    chip: str
    imu_scales: tuple[float, float] | None = None


def is_header_line(line: bytes) -> bool:
    """Text, tabs and any 8-bit letters; control characters mean that these are data."""
    return line.startswith(b"#") and not any((c < 0x20 and c != 0x09) or c == 0x7F for c in line)


def read_header(path: Path, version: int = 2) -> Header:
    """Find the end of the header of an AEDAT 1.0 or 2.0 file.

    The format has no reliable end mark: newer jAER writes `#End Of ASCII Header`, older files just stop
    having `#` lines, and a first address byte 0x23 is a `#` too. A "line" with control characters or without
    CR LF is data. A file of version 1 may have no header at all.

    Raises:
        FormatError: the first line names another format.
    """
    chip, accel, gyro = "", set[int](), set[int]()
    with path.open("rb") as file:
        first = file.readline(_LONGEST_LINE)
        end = b"\r\n" if first.endswith(b"\r\n") else b"\n"
        if not first.startswith(b"#!AER-DAT%d" % version):
            if version == 1 and not first.startswith(b"#!AER-DAT"):
                if not first.endswith(b"\n") or not is_header_line(first[: -len(end)]):
                    return Header(0, "")
            else:
                raise FormatError(f"{path}: not an AEDAT {version}.0 file; the first line is {first[:40]!r}.")
        length = len(first)
        while length < _LONGEST_HEADER:
            line = file.readline(_LONGEST_LINE)
            if not line.endswith(end) or not is_header_line(line[: -len(end)]):
                break
            length += len(line)
            text = line[1:].strip()
            if text.startswith(b"AEChip:"):
                chip = text[7:].decode("latin-1").strip()
            accel.update(int(n) for n in _ACCEL.findall(line))
            gyro.update(int(n) for n in _GYRO.findall(line))
            if text.lower().replace(b" ", b"") in _END_MARKS:
                break
    known = len(accel) == len(gyro) == 1
    return Header(length, chip, (32768 / accel.pop(), _GYRO_LSB[gyro.pop()]) if known else None)


def layout_of(sensor: Sensor) -> NDArray[np.int64]:
    """(11,) int64 for the kernels; x = W-1-X and y = H-1-Y, since addresses count from the lower right."""
    height, width = sensor.size
    fields = list(_FIELDS[sensor.aedat2_layout])
    if sensor.cameras == 1:
        fields[-1] = 0
    return np.array([*fields, width, height], np.int64)


def read_exactly(file: Any, offset: int, buffer: NDArray[Any], path: Path) -> None:
    """Fill the buffer from the (unbuffered) file."""
    if not len(buffer):
        return
    file.seek(offset)
    view, got = buffer.view(np.uint8).data, 0
    while got < len(view):
        more = file.readinto(view[got:])
        if not more:
            raise FormatError(
                f"{path}: {len(view):,} bytes expected at byte {offset:,}, {got:,} came; the file has become "
                "shorter since it was opened."
            )
        got += more


class RecordReader(BlockReader):
    """Records of `record_bytes` after a header.

    A checkpoint is (record, turns of the clock, last 32-bit time, state of the format ...).
    """

    record_bytes: int
    _word: type[np.unsignedinteger[Any]]  # how a record is seen by the kernel

    def __init__(self, path: Path, header_bytes: int, sensor: Sensor) -> None:
        self.path = path
        self.sensor_size = sensor.size
        if sensor.cameras > 1:
            self.streams = tuple(f"camera{k}" for k in range(sensor.cameras))
        self._sensor = sensor
        self._layout = layout_of(sensor)
        self._header_bytes = header_bytes
        self._num_records, self._rest = divmod(max(path.stat().st_size - header_bytes, 0), self.record_bytes)
        self._idle: list[tuple[NDArray[Any], ...]] = []  # buffers, one set for every thread that decodes

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_idle": []}

    def first(self) -> Checkpoint:
        return (0, 0, -1)

    def decode(self, at: Checkpoint, out: Columns, side: Side) -> tuple[int, Checkpoint | None]:
        first, n = at[0], 0
        end = min(first + BLOCK_EVENTS, self._num_records)
        clock = np.array(at[1:3], np.int64)
        state = self._unpack(at[3:])
        try:
            scratch = self._idle.pop()
        except IndexError:
            scratch = self._new_scratch()
        words, other, other_t = scratch
        per_record = len(words) // STEP
        with self.path.open("rb", buffering=0) as file:
            for start in range(first, end, STEP):
                part = words[: min(STEP, end - start) * per_record]
                read_exactly(file, self._header_bytes + start * self.record_bytes, part, self.path)
                events = tuple(a[n:] for a in (out.t, out.x, out.y, out.p, out.camera))
                n += self._decode_words(part, start, clock, state, events, (other, other_t), side)
        self._idle.append(scratch)
        if len(self.streams) > 1 and (stray := int(np.count_nonzero(out.camera[:n] >= len(self.streams)))):
            side.lose(f"events with a camera number above {len(self.streams) - 1} dropped", stray)
        if end < self._num_records:
            return n, (end, *clock.tolist(), *self._pack(state))
        self._end(state, side)
        side.lose("bytes at the end are no complete record; ignored", self._rest)
        return n, None

    def _new_scratch(self) -> tuple[NDArray[Any], ...]:
        """Records; numbers and times of words that are no events."""
        words = np.empty(STEP * self.record_bytes // np.dtype(self._word).itemsize, self._word)
        return words, np.empty(STEP, np.int64), np.empty(STEP, np.int64)

    @abstractmethod
    def _decode_words(
        self,
        words: NDArray[Any],
        first_record: int,
        clock: NDArray[np.int64],
        state: Any,
        events: tuple[NDArray[Any], ...],
        others: tuple[NDArray[Any], ...],
        side: Side,
    ) -> int:
        """Decode records into the columns t, x, y, p, camera; returns the number of events.

        others: room for numbers and times of words that are no events.
        """

    def _unpack(self, numbers: Checkpoint) -> Any:
        """State beside the clock, from the rest of a checkpoint."""
        return None

    def _pack(self, state: Any) -> Checkpoint:
        return ()

    def _end(self, state: Any, side: Side) -> None:
        """Tell what was not complete when the file ended."""
