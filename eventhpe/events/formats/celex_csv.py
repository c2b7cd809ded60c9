"""Events of a CeleX-V sensor as CSV without a header: row, column, in-pixel time, off-pixel time, polarity.

Raw events of MMHPSD (Zou et al., ICCV 2021) come like this, one file per interval between gray frames. The
sensor stood upside down and in portrait: row v in [0, 1280), column u in [0, 800). Images here are upright,
as the authors turn theirs: x = 799 - u, y = 1279 - v. The time is the in-pixel time; its unit is not told in
the files and taken as microseconds.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from eventhpe.errors import FormatError
from eventhpe.events import kernels_text as kernels
from eventhpe.events.blocks import Checkpoint, Columns, Side
from eventhpe.events.formats.byte_source import FileBytes
from eventhpe.events.formats.options import OpenOptions
from eventhpe.events.formats.sensors import sensor_by_name
from eventhpe.events.formats.text import TextReader
from eventhpe.events.formats.text_layout import Layout

CELEX_SIZE = (1280, 800)
"""(H, W) in portrait."""

_LINE = re.compile(rb"(\d{1,5}),(\d{1,5}),(\d{1,18}),-?\d{1,18},(-1|0|1)\r?")
_FEWEST = 8
_LOOKED_AT = 200
_HEAD_BYTES = 1 << 14


def looks_like_celex(head: bytes) -> bool:
    """Whether the first bytes of a file (may end inside a line) are lines of a CeleX-V.

    All columns are whole numbers, the first two lie on the sensor, the last is -1, 0 or 1, and the third is a
    time: at most a quarter of its steps go back, and it ends later than it begins.
    """
    lines = head.split(b"\n")[:-1][:_LOOKED_AT]
    matches = [match for line in lines if (match := _LINE.fullmatch(line))]
    if len(matches) < _FEWEST or len(matches) < len(lines):
        return False
    v, u, t = (np.array([int(match[i]) for match in matches]) for i in (1, 2, 3))
    back = np.count_nonzero(np.diff(t) < 0)
    on_sensor = v.max() < CELEX_SIZE[0] and u.max() < CELEX_SIZE[1]
    return bool(on_sensor and back <= len(t) // 4 and t[-1] > t[0])


class CelexReader(TextReader):
    """Lines of a CeleX-V, turned upright. Blocks and checkpoints as in `TextReader`.

    Raises:
        FormatError: these are no such lines.
    """

    def __init__(self, path: Path, options: OpenOptions) -> None:
        self.path, self.format = path, "CeleX CSV"
        self._source = FileBytes(path)
        head = bytearray(min(_HEAD_BYTES, self._source.size))
        got = self._source.read_into(0, memoryview(head))
        first = bytes(head[:got]).split(b"\n", 1)[0].rstrip(b"\r")
        if not _LINE.fullmatch(first):
            raise FormatError(
                f"{path}: expected lines of row,column,in-pixel time,off-pixel time,polarity in whole "
                f"numbers (CeleX-V); the first line is {first[:60]!r}."
            )
        self.sensor_size = sensor_by_name(options.sensor).size if options.sensor else CELEX_SIZE
        layout = Layout(
            label=self.format,
            data_start=0,
            roles=(kernels.ROW, kernels.COLUMN, kernels.TIME, kernels.SKIPPED, kernels.POLARITY),
            separator=ord(","),
            named=False,
            size=self.sensor_size,
            unit=options.time_unit or "us",
        )
        self._first, self._layout, self._buffer = 0, layout.vector(), None

    def decode(self, at: Checkpoint, out: Columns, side: Side) -> tuple[int, Checkpoint | None]:
        n, following = super().decode(at, out, side)
        assert self.sensor_size is not None
        height, width = self.sensor_size
        # Pixels off the sensor wrap around to numbers that lie off it too.
        np.subtract(np.uint16(width - 1), out.x[:n], out=out.x[:n])
        np.subtract(np.uint16(height - 1), out.y[:n], out=out.y[:n])
        return n, following


def open_reader(path: Path, options: OpenOptions) -> CelexReader:
    """Read a CSV file of a CeleX-V."""
    return CelexReader(path, options)
