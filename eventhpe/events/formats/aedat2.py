"""AEDAT 2.0: jAER's format for DVS128 and DAVIS cameras. Reader, and a writer for events.

A text header (lines that start with `#`), then big-endian records of 32-bit address and 32-bit time in µs.
Image axes: jAER's addresses count from the lower right corner, so x = W-1-X and y = H-1-Y. DVS128 chips set
address bit 0 for OFF. Rules: jAER and libcaer sources (docs/formats.md).
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import FormatError
from eventhpe.events import kernels_decode as kernels
from eventhpe.events.formats.sensors import AEDAT2_SENSORS, Sensor, sensor_by_name, sensor_of_chip
from eventhpe.events.memory import MemoryBackend
from eventhpe.events.types import Events, RawEvents

_LAYOUTS = {"dvs128": kernels.LAYOUT_DVS128, "davis": kernels.LAYOUT_DAVIS, "dvs640": kernels.LAYOUT_DVS640}
_CHIP_CLASSES = {
    "dvs128": "ch.unizh.ini.jaer.chip.retina.DVS128",
    "davis346": "eu.seebetter.ini.chips.davis.Davis346blue",
    "davis240": "eu.seebetter.ini.chips.davis.DAVIS240C",
    "davis640": "eu.seebetter.ini.chips.davis.Davis640",
}
_LONGEST_LINE = 64 * 1024
_LONGEST_HEADER = 32 * 1024 * 1024
_BLOCK = 1 << 20  # records per block
_END_MARKS = (b"endofasciiheader", b"endofheader")


@dataclass(frozen=True)
class Header:
    """Text header: where data start, and the Java class of the chip ("" if the file does not say)."""

    length: int
    chip: str


def _is_header_line(line: bytes) -> bool:
    """Text, tabs and any 8-bit letters; control characters mean that these are data."""
    return line.startswith(b"#") and not any((c < 0x20 and c != 0x09) or c == 0x7F for c in line)


def read_header(path: Path) -> Header:
    """Find the end of the header.

    The format has no reliable end mark: newer jAER writes `#End Of ASCII Header`, older files just stop
    having `#` lines, and a first address byte 0x23 is a `#` too. A "line" with control characters or without
    CR LF is data.
    """
    chip = ""
    with path.open("rb") as file:
        first = file.readline(_LONGEST_LINE)
        if not first.startswith(b"#!AER-DAT2"):
            raise FormatError(f"{path}: not an AEDAT 2.0 file; the first line is {first[:40]!r}.")
        end = b"\r\n" if first.endswith(b"\r\n") else b"\n"
        length = len(first)
        while length < _LONGEST_HEADER:
            line = file.readline(_LONGEST_LINE)
            if not line.endswith(end) or not _is_header_line(line[: -len(end)]):
                break
            length += len(line)
            text = line[1:].strip()
            if text.startswith(b"AEChip:"):
                chip = text[7:].decode("latin-1").strip()
            if text.lower().replace(b" ", b"") in _END_MARKS:
                break
    return Header(length, chip)


def _choose_sensor(path: Path, chip: str, override: str | None) -> Sensor:
    if override is not None:
        sensor = sensor_by_name(override)
        if not sensor.aedat2_layout:
            raise FormatError(
                f"{path}: AEDAT 2.0 has no address layout for sensor {override!r}. Choose one of "
                f"{', '.join(AEDAT2_SENSORS)}."
            )
        return sensor
    known = sensor_of_chip(chip) if chip else None
    if known is None:
        said = (
            f"the header names the chip {chip!r}, which is not known" if chip else "the header names no chip"
        )
        raise FormatError(
            f"{path}: {said}. Say which camera recorded it with sensor= (--sensor): one of "
            f"{', '.join(AEDAT2_SENSORS)}."
        )
    return known


def _decode(
    path: Path, header: Header, sensor: Sensor
) -> tuple[RawEvents, NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64], int]:
    size = path.stat().st_size
    num_records, rest = divmod(size - header.length, 8)
    height, width = sensor.size
    layout = _LAYOUTS[sensor.aedat2_layout]
    camera_mask = 0xF if sensor.cameras > 1 else 0
    state = np.zeros(kernels.STATE_SIZE, np.int64)
    state[kernels.STATE_LAST_WORD_TIME] = -1
    state[kernels.STATE_LAST_EVENT_TIME] = kernels.INITIAL_TIME
    t = np.empty(num_records, np.int64)
    x, y = np.empty(num_records, np.uint16), np.empty(num_records, np.uint16)
    p, camera = np.empty(num_records, np.uint8), np.empty(num_records, np.uint8)
    block = min(num_records, _BLOCK)
    special_t, special_value = np.empty(block, np.int64), np.empty(block, np.uint8)
    specials: list[tuple[NDArray[np.int64], NDArray[np.uint8]]] = []
    n = 0
    with path.open("rb") as file:
        file.seek(header.length)
        for start in range(0, num_records, _BLOCK):
            words = np.fromfile(file, np.uint32, 2 * min(_BLOCK, num_records - start))
            got, m = kernels.decode_aedat2(
                words, layout, width, height, camera_mask,
                t[n:], x[n:], y[n:], p[n:], camera[n:], special_t, special_value, state,
            )  # fmt: skip
            n += got
            if m:
                specials.append((special_t[:m].copy(), special_value[:m].copy()))
    trigger_t = np.concatenate([s[0] for s in specials]) if specials else np.zeros(0, np.int64)
    trigger_value = np.concatenate([s[1] for s in specials]) if specials else np.zeros(0, np.uint8)
    raw = RawEvents(t[:n], x[:n], y[:n], p[:n], camera[:n], sensor.size)
    return raw, trigger_t, trigger_value, state, rest


class Aedat2Backend(MemoryBackend):
    """An AEDAT 2.0 file, decoded into memory as a whole when opened (block by block, 14 bytes per event)."""

    def __init__(self, path: Path, sensor: str | None = None, stream: int | str | None = None) -> None:
        self._arguments = (path, sensor, stream)
        header = read_header(path)
        camera_type = _choose_sensor(path, header.chip, sensor)
        raw, trigger_t, trigger_value, state, rest = _decode(path, header, camera_type)
        notes = []
        if rest:
            notes.append(f"{rest} bytes at the end are no complete record; ignored")
        aps, imu = int(state[kernels.STATE_APS]), int(state[kernels.STATE_IMU])
        if aps or imu:
            notes.append(f"{aps:,} APS and {imu:,} IMU words skipped")
        streams: tuple[str, ...] = ("events",)
        camera: int | None = None
        if camera_type.cameras > 1:
            streams, camera, note = _choose_camera(path, raw, camera_type.cameras, stream)
            notes.extend(note)
        elif stream not in (None, 0, "0", "events"):
            raise FormatError(f"{path}: no event stream {stream!r}; this file holds one camera.")
        super().__init__(
            "AEDAT 2.0",
            str(path),
            raw,
            camera=camera,
            streams=streams,
            warnings=tuple(notes),
            triggers=(trigger_t, trigger_value) if len(trigger_t) else None,
        )

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return type(self), self._arguments


def _choose_camera(
    path: Path, raw: RawEvents, cameras: int, stream: int | str | None
) -> tuple[tuple[str, ...], int, list[str]]:
    from eventhpe.events.recording import check_stream

    names = tuple(f"camera{k}" for k in range(cameras))
    counts = np.bincount(raw.camera, minlength=cameras)
    chosen = check_stream(stream, names, str(path))
    notes = []
    if chosen is None:
        chosen = int(np.argmax(counts[:cameras]))
        notes.append(
            f"{cameras} cameras in this file; reading {names[chosen]}, which has most events (choose "
            "with stream=)"
        )
    stray = int(counts[cameras:].sum())
    if stray:
        notes.append(f"{stray:,} events with a camera number above {cameras - 1} dropped")
    return names, chosen, notes


def write_aedat2(path: str | Path, events: Events, *, chip: str = "DAVIS346", t_offset_us: int = 0) -> None:
    """Write events as AEDAT 2.0, exactly what the reader above reads back.

    Args:
        path: file to write (through a temporary file in the same folder).
        events: N events; sensor_size must be that of the chip.
        chip: "DAVIS346", "DAVIS240", "DAVIS640" or "DVS128".
        t_offset_us: added to every time; the first time must fit into 32 bits, later ones may wrap.
    Raises:
        FormatError: unknown chip, wrong sensor size, times that 32 bits cannot carry, gaps that hide a wrap.
    """
    path = Path(path)
    sensor = sensor_by_name(chip)
    java_class = _CHIP_CLASSES.get(sensor.name.lower())
    if java_class is None:
        raise FormatError(
            f"cannot write AEDAT 2.0 for {chip!r}; choose DAVIS346, DAVIS240, DAVIS640 or DVS128."
        )
    if events.sensor_size != sensor.size:
        raise FormatError(
            f"{path}: {chip} has sensor_size {sensor.size}; the events have {events.sensor_size}."
        )
    t = events.t + np.int64(t_offset_us)
    if len(t):
        if not 0 <= int(t[0]) < 1 << 32:
            raise FormatError(
                f"{path}: AEDAT 2.0 starts within 32-bit µs; the first event is at {t[0]} µs. Use "
                "t_offset_us."
            )
        gaps = np.diff(t)
        if gaps.size and (int(gaps.min()) < 0 or int(gaps.max()) >= 1 << 31):
            raise FormatError(
                f"{path}: times must not decrease nor pause for 2^31 µs; 32 bits cannot carry that."
            )
    words = np.empty(2 * len(t), np.uint32)
    kernels.encode_aedat2(
        t, events.x, events.y, events.p, _LAYOUTS[sensor.aedat2_layout], sensor.size[1], sensor.size[0], words
    )
    header = (
        "#!AER-DAT2.0\r\n"
        "# This is a raw AE data file - do not edit\r\n"
        "# Data format is int32 address, int32 timestamp (8 bytes total), repeated for each event\r\n"
        "# Timestamps tick is 1 us\r\n"
        "# written by eventhpe\r\n"
        f"# AEChip: {java_class}\r\n"
        "#End Of ASCII Header\r\n"
    )
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(header.encode("ascii"))
            file.write(words.tobytes())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
