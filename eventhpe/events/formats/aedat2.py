"""AEDAT 2.0: jAER's format for DVS128 and DAVIS cameras. Reader, and a writer for events.

A text header (lines that start with `#`), then big-endian records of 32-bit address and 32-bit time in µs.
Image axes: jAER's addresses count from the lower right corner, so x = W-1-X and y = H-1-Y. DVS128 chips set
address bit 0 for OFF. Rules: jAER and libcaer sources (docs/formats.md).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.atomic import AtomicWriter, PendingFile
from eventhpe.errors import FormatError
from eventhpe.events import kernels_aedat as kernels
from eventhpe.events.blocks import Checkpoint, Side
from eventhpe.events.formats.aedat2_frames import DavisWords, load_frame
from eventhpe.events.formats.aedat2_words import Header, RecordReader, layout_of, read_header
from eventhpe.events.formats.options import OpenOptions
from eventhpe.events.formats.sensors import AEDAT2_SENSORS, Sensor, sensor_by_name, sensor_of_chip
from eventhpe.events.types import Events

_CHIP_CLASSES = {
    "dvs128": "ch.unizh.ini.jaer.chip.retina.DVS128",
    "davis346": "eu.seebetter.ini.chips.davis.Davis346blue",
    "davis240": "eu.seebetter.ini.chips.davis.DAVIS240C",
    "davis640": "eu.seebetter.ini.chips.davis.Davis640",
}
_WRITABLE = ("DVS128", "DAVIS240", "DAVIS346", "DAVIS640")
_WRITE_BLOCK = 1 << 17  # events


def choose_sensor(path: Path, chip: str, override: str | None) -> Sensor:
    """The sensor the user names, else that of the chip in the header.

    Raises:
        FormatError: no address layout is known for it.
    """
    if override is not None:
        sensor = sensor_by_name(override)
        if not sensor.aedat2_layout:
            raise FormatError(
                f"{path}: AEDAT 2.0 has no address layout for sensor {override!r}. Choose one of "
                f"{', '.join(AEDAT2_SENSORS)}."
            )
        return sensor
    known = sensor_of_chip(chip) if chip else None
    if known is None or not known.aedat2_layout:
        said = (
            f"the header names the chip {chip!r}, which is not known" if chip else "the header names no chip"
        )
        raise FormatError(
            f"{path}: {said}. Say which camera recorded it with sensor= (--sensor): one of "
            f"{', '.join(AEDAT2_SENSORS)}."
        )
    return known


class Aedat2Reader(RecordReader):
    """An AEDAT 2.0 file."""

    format = "AEDAT 2.0"
    record_bytes = 8
    _word = np.uint64

    def __init__(self, path: Path, header: Header, sensor: Sensor) -> None:
        super().__init__(path, header.length, sensor)
        self._imu_scales = header.imu_scales

    def _unpack(self, numbers: Checkpoint) -> DavisWords | None:
        return DavisWords(self._sensor.cameras, numbers) if self._sensor.aedat2_layout == "davis" else None

    def _pack(self, state: DavisWords | None) -> Checkpoint:
        return state.numbers() if state is not None else ()

    def _end(self, state: DavisWords | None, side: Side) -> None:
        if state is not None:
            state.end(side)

    def _decode_words(
        self,
        words: NDArray[Any],
        first_record: int,
        clock: NDArray[np.int64],
        state: DavisWords | None,
        events: tuple[NDArray[Any], ...],
        others: tuple[NDArray[Any], ...],
        side: Side,
    ) -> int:
        (t, x, y, p, camera), (other, other_t) = events, others
        n, m = kernels.decode_aedat2(words, self._layout, t, x, y, p, camera, other, other_t, clock)
        if m:
            other, other_t = other[:m], other_t[:m]
            if state is not None:
                state.collect(words, self._layout, other, other_t, first_record, self._imu_scales, side)
            elif self._sensor.aedat2_layout == "dvs128":
                side.elements["special words"] += m
                side.add_triggers(other_t, np.ones(m, np.uint8))
            else:
                side.lose("words that are no events skipped", m)
        return int(n)

    def load_frame(self, ref: tuple[Any, ...]) -> NDArray[np.uint8]:
        return load_frame(self.path, self._header_bytes, self._layout, self._sensor.cameras, ref)


def open_reader(path: Path, options: OpenOptions) -> Aedat2Reader:
    """An AEDAT 2.0 file.

    Raises:
        FormatError: another format, or a camera that is not known (say it with `options.sensor`).
    """
    header = read_header(path)
    return Aedat2Reader(path, header, choose_sensor(path, header.chip, options.sensor))


def _writable(chip: str) -> Sensor:
    sensor = sensor_by_name(chip)
    if sensor.name.lower() not in _CHIP_CLASSES:
        raise FormatError(f"cannot write AEDAT 2.0 for {chip!r}; choose one of {', '.join(_WRITABLE)}.")
    return sensor


def _chip_of_size(path: Path, size: tuple[int, int]) -> str:
    for chip in _WRITABLE:
        if sensor_by_name(chip).size == size:
            return chip
    raise FormatError(
        f"{path}: AEDAT 2.0 is written for sensors of 128x128, 240x180, 346x260 and 640x480 pixels; "
        f"the events have {size[1]}x{size[0]}."
    )


class Aedat2Writer(AtomicWriter):
    """Write events as AEDAT 2.0, block by block, exactly what the reader above reads back.

    The file takes its name when it is closed; as a context manager, when the block ends without an exception.

    Args:
        path: file to write.
        sensor_size: (H, W) of all events.
        chip: "DAVIS346", "DAVIS240", "DAVIS640" or "DVS128"; None: by the sensor size.
        t_offset_us: added to every time; the first time must fit into 32 bits, later ones may wrap.
        comment: a line for the header.
    Raises:
        FormatError: unknown chip, wrong sensor size.
    """

    def __init__(
        self,
        path: str | Path,
        sensor_size: tuple[int, int],
        *,
        chip: str | None = None,
        t_offset_us: int = 0,
        comment: str = "",
    ) -> None:
        self._path = Path(path)
        sensor = _writable(chip or _chip_of_size(self._path, sensor_size))
        if sensor_size != sensor.size:
            raise FormatError(f"{path}: {chip} has sensor_size {sensor.size}; the events have {sensor_size}.")
        self._size, self._layout, self._offset = sensor.size, layout_of(sensor), np.int64(t_offset_us)
        self._last: int | None = None
        self._words = np.empty(2 * _WRITE_BLOCK, np.uint32)
        self._pending = PendingFile(self._path)
        self._file = self._pending.temporary.open("wb")
        lines = [
            "#!AER-DAT2.0",
            "# This is a raw AE data file - do not edit",
            "# Data format is int32 address, int32 timestamp (8 bytes total), repeated for each event",
            "# Timestamps tick is 1 us",
            "# written by eventhpe",
            *(["# " + " ".join(comment.split())] if comment else []),
            f"# AEChip: {_CHIP_CLASSES[sensor.name.lower()]}",
            "#End Of ASCII Header",
        ]
        self._file.write("".join(line + "\r\n" for line in lines).encode("ascii", "replace"))

    def append(self, events: Events) -> None:
        """Write the next events.

        Raises:
            FormatError: times that 32 bits cannot carry, gaps that hide a wrap, events outside the sensor.
        """
        height, width = self._size
        if events.sensor_size != self._size:
            raise FormatError(
                f"{self._path}: made for sensor_size {self._size}; got events of {events.sensor_size}."
            )
        for i in range(0, len(events), _WRITE_BLOCK):
            part = events.slice(i, min(i + _WRITE_BLOCK, len(events)))
            if part.x.max() >= width or part.y.max() >= height or part.p.max() > 1:
                raise FormatError(
                    f"{self._path}: events outside the {width}x{height} sensor or with a polarity above 1."
                )
            t = part.t + self._offset
            if self._last is None and not 0 <= int(t[0]) < 1 << 32:
                raise FormatError(
                    f"{self._path}: AEDAT 2.0 starts within 32-bit µs; the first event is at {t[0]} µs. Use "
                    "t_offset_us."
                )
            gaps = np.diff(t, prepend=t[0] if self._last is None else np.int64(self._last))
            if int(gaps.min()) < 0 or int(gaps.max()) >= 1 << 31:
                raise FormatError(
                    f"{self._path}: times must not decrease nor pause for 2^31 µs; 32 bits cannot carry that."
                )
            self._last = int(t[-1])
            words = self._words[: 2 * len(t)]
            kernels.encode_aedat2(t, part.x, part.y, part.p, self._layout, words)
            self._file.write(words.data)

    def close(self) -> None:
        """Complete the file and give it its name."""
        self._file.close()
        self._pending.close()

    def discard(self) -> None:
        """Give up and remove what was written."""
        self._file.close()
        self._pending.discard()


def write_aedat2(path: str | Path, events: Events, *, chip: str = "DAVIS346", t_offset_us: int = 0) -> None:
    """Write all events at once; arguments and errors as in `Aedat2Writer`."""
    with Aedat2Writer(path, events.sensor_size, chip=chip, t_offset_us=t_offset_us) as writer:
        writer.append(events)
