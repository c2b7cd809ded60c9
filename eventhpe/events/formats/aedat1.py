"""AEDAT 1.0: jAER's first format, for cameras with 16-bit addresses (DVS128, tmpdiff128).

A text header or none, then big-endian records of 16-bit address and 32-bit time in µs, 6 bytes each. Axes,
polarity and external inputs as in AEDAT 2.0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import FormatError
from eventhpe.events import kernels_aedat as kernels
from eventhpe.events.blocks import Side
from eventhpe.events.formats.aedat2_words import RecordReader, read_header
from eventhpe.events.formats.options import OpenOptions
from eventhpe.events.formats.sensors import Sensor, sensor_by_name, sensor_of_chip


class Aedat1Reader(RecordReader):
    """An AEDAT 1.0 file."""

    format = "AEDAT 1.0"
    record_bytes = 6
    _word = np.uint16

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
        (t, x, y, p, _), (_, other_t) = events, others
        n, m = kernels.decode_aedat1(words, self._layout, t, x, y, p, other_t, clock)
        if m:
            side.elements["special words"] += m
            side.add_triggers(other_t[:m], np.ones(m, np.uint8))
        return int(n)


def open_reader(path: Path, options: OpenOptions) -> Aedat1Reader:
    """An AEDAT 1.0 file; without a chip in the header and `options.sensor` it is read as DVS128.

    Raises:
        FormatError: another format, or a camera without 16-bit addresses.
    """
    header = read_header(path, version=1)
    sensor: Sensor | None
    if options.sensor is not None:
        sensor = sensor_by_name(options.sensor)
    else:
        sensor = sensor_of_chip(header.chip) if header.chip else sensor_by_name("DVS128")
    if sensor is None or sensor.aedat2_layout != "dvs128" or sensor.cameras > 1:
        raise FormatError(
            f"{path}: AEDAT 1.0 holds 16-bit addresses of DVS128 or tmpdiff128; the camera named is "
            f"{options.sensor or header.chip!r}. Say sensor=DVS128 (--sensor) if these are its addresses."
        )
    return Aedat1Reader(path, header.length, sensor)
