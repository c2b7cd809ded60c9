"""Text and CSV files of events: one line per event. Rules: docs/formats.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import FormatError
from eventhpe.events import kernels_text as kernels
from eventhpe.events.blocks import BlockReader, Checkpoint, Columns, Side
from eventhpe.events.formats.byte_source import ByteSource, FileBytes
from eventhpe.events.formats.options import OpenOptions
from eventhpe.events.formats.sensors import sensor_by_name
from eventhpe.events.formats.text_layout import detect_layout

#: Bytes per block; the shortest lines that fit into it are no more than BLOCK_EVENTS.
BLOCK_BYTES = 1 << 20
_HEAD_BYTES = 1 << 17


def looks_like_events(head: bytes) -> bool:
    """Whether the first bytes of a file (up to 4096, may end inside a line) are lines of events.

    Lists of other numbers (poses, inertial samples, calibrations) are not taken for events.
    """
    try:
        layout = detect_layout(head, len(head) < 4096, "")
    except FormatError:
        return False
    return layout.named or layout.data_start < len(head)


class TextReader(BlockReader):
    """Lines of events from a file or from a member of an archive.

    Blocks are runs of whole lines. A checkpoint holds the byte where a block begins, and 1 if that is inside
    a line longer than a block, which is skipped.
    """

    def __init__(self, path: Path, source: ByteSource, options: OpenOptions, suffix: str = "") -> None:
        self.path = path
        self._source = source
        head = bytearray(min(_HEAD_BYTES, source.size))
        got = source.read_into(0, memoryview(head))
        layout = detect_layout(bytes(head[:got]), got == source.size, source.name, options.time_unit)
        self.format = layout.label + suffix
        self.sensor_size = sensor_by_name(options.sensor).size if options.sensor else layout.size
        self._first = layout.data_start
        self._layout = layout.vector()
        self._buffer: NDArray[np.uint8] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_buffer": None}

    def first(self) -> Checkpoint:
        return self._first, 0

    def progress(self, at: Checkpoint) -> float:
        return min(1.0, at[0] / max(1, self._source.size))

    def decode(self, at: Checkpoint, out: Columns, side: Side) -> tuple[int, Checkpoint | None]:
        position, inside_line = at
        if self._buffer is None:
            self._buffer = np.zeros(BLOCK_BYTES + kernels.PADDING, np.uint8)
        buffer = self._buffer
        got = self._source.read_into(position, buffer.data[:BLOCK_BYTES])
        at_end = position + got >= self._source.size or got == 0
        end = got
        if not at_end:
            end = _end_of_lines(buffer, got)
        elif got and buffer[got - 1] != ord("\n"):
            buffer[got] = ord("\n")  # the last line needs no end
            end += 1
        start = 0
        if inside_line:
            start = int(np.argmax(buffer[:end] == ord("\n"))) + 1 if end else 0
        elif not end and not at_end:
            side.lose("unreadable lines skipped", 1)
        n = 0
        if start < end:
            n = self._parse(buffer, start, end, out, side)
        if at_end:
            return n, None
        return n, ((position + end, 0) if end else (position + got, 1))

    def _parse(self, buffer: NDArray[np.uint8], start: int, end: int, out: Columns, side: Side) -> int:
        counts = np.zeros(kernels.COUNTS_SIZE, np.int64)
        n = int(kernels.parse_lines(buffer, start, end, self._layout, out.t, out.x, out.y, out.p, counts))
        side.lose("unreadable lines skipped", int(counts[kernels.UNREADABLE]))
        side.lose("coordinates between pixels moved to the nearest pixel", int(counts[kernels.FRACTIONAL]))
        return n

    def close(self) -> None:
        self._source.close()


def _end_of_lines(buffer: NDArray[np.uint8], got: int) -> int:
    """Where the last complete line in buffer[:got] ends; 0 if there is none."""
    tail = max(0, got - 4096)
    found = buffer[tail:got].tobytes().rfind(b"\n")
    if found < 0:
        tail, found = 0, buffer[:got].tobytes().rfind(b"\n")
    return tail + found + 1


def open_reader(path: Path, options: OpenOptions) -> TextReader:
    """Read a text or CSV file."""
    return TextReader(path, FileBytes(path), options)
