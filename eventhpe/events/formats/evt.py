"""Prophesee RAW: EVT2, EVT2.1, EVT3 and EVT4 streams (`.raw`), with or without a header."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import FormatError
from eventhpe.events import kernels_evt as kernels
from eventhpe.events import kernels_evt2 as kernels2
from eventhpe.events.blocks import BLOCK_EVENTS, BlockReader, Checkpoint, Columns, Side
from eventhpe.events.formats.options import OpenOptions
from eventhpe.events.formats.prophesee_header import is_legacy_order, read_header, sensor_size

# Bytes read at once: they stay in the cache while they are decoded; few are read in vain at a block's end.
_PIECE = 192 * 1024
# A block of a stream with few events ends after so many pieces, which bounds the work of a short window.
_MOST_PIECES = 20
_ORDER_WORDS = 4096

Kernel = Callable[..., tuple[int, int, int]]


class WordReader(BlockReader):
    """A file of words that a kernel of kernels_evt or kernels_evt2 decodes.

    Checkpoints: (byte offset, *the carried part of the kernel's state).
    """

    def __init__(
        self,
        path: Path,
        label: str,
        start: int,
        size: tuple[int, int] | None,
        kernel: Kernel,
        word: type[np.unsignedinteger[Any]],
        most: int,
        *extra: bool,
        remark: str = "",
    ) -> None:
        """
        Args:
            start: where the words begin, in bytes.
            word: unsigned integer type of a word.
            most: most events in one word.
            extra: further arguments of the kernel.
            remark: told in every pass.
        """
        self.path = path
        self.format = label
        self.sensor_size = size
        self._start = start
        self._kernel = kernel
        self._word = np.dtype(word)
        self._most = most
        self._extra = extra
        self._remark = remark

    def first(self) -> Checkpoint:
        return (self._start, *kernels.START[: kernels.STATE_CARRIED])

    def decode(self, at: Checkpoint, out: Columns, side: Side) -> tuple[int, Checkpoint | None]:
        offset = at[0]
        state = np.array(kernels.START)
        state[: kernels.STATE_CARRIED] = at[1:]
        buffer = np.empty(_PIECE, np.uint8)
        words = buffer.view(self._word)
        edge_t = np.empty(len(words), np.int64)
        edge_value, edge_channel = np.empty(len(words), np.uint8), np.empty(len(words), np.uint8)
        n, left = 0, 0
        try:
            with self.path.open("rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                file.seek(offset)
                for _ in range(_MOST_PIECES):
                    got = file.readinto(buffer.data) // self._word.itemsize
                    used, events, triggers = self._kernel(
                        words[:got], state,
                        out.t[n:BLOCK_EVENTS], out.x[n:BLOCK_EVENTS], out.y[n:BLOCK_EVENTS],
                        out.p[n:BLOCK_EVENTS],
                        edge_t, edge_value, edge_channel, *self._extra,
                    )  # fmt: skip
                    side.add_triggers(edge_t[:triggers], edge_value[:triggers], edge_channel[:triggers])
                    n += events
                    offset += used * self._word.itemsize
                    if n > BLOCK_EVENTS - self._most:
                        break
                    if used == 0:  # the end of the file
                        left = max(0, size - offset)
                        offset = size
                        break
                    if used < len(words):
                        file.seek(offset)
        except OSError as error:
            raise FormatError(f"{self.path}: cannot be read: {error}") from error
        self._tell(state, side, left)
        return n, (offset, *state[: kernels.STATE_CARRIED].tolist()) if offset < size else None

    def _tell(self, state: NDArray[np.int64], side: Side, left: int) -> None:
        """Report what a block left out."""
        if self._remark:
            side.say(self._remark)
        side.lose("words before the first TIME_HIGH or address skipped", state[kernels.STATE_SKIPPED])
        side.lose("words of unknown type skipped", state[kernels.STATE_UNKNOWN])
        side.lose("bytes at the end are no complete word; ignored", left)
        if state[kernels.STATE_OTHER]:
            side.elements["monitoring words"] += int(state[kernels.STATE_OTHER])


def _is_legacy_stream(path: Path, start: int) -> bool:
    """Word order of EVT2.1 data without a header: the one in which TIME_HIGH counts up by small steps."""
    try:
        halves = np.fromfile(path, np.uint32, 2 * _ORDER_WORDS, offset=start)
    except OSError as error:
        raise FormatError(f"{path}: cannot be read: {error}") from error
    found = []
    for upper in (halves[1::2], halves[: len(halves) // 2 * 2 : 2]):
        times = (upper[upper >> 28 == 8] & 0xFFFFFFF).astype(np.int64)
        steps = np.diff(times)
        found.append(np.count_nonzero((steps > 0) & (steps < 1 << 14)))
    return bool(found[1] > found[0])


def open_reader(path: Path, options: OpenOptions) -> BlockReader:
    """Reader of a RAW file; `options.format` (evt2, evt21, evt3, evt4) counts, whatever the header says.

    Raises:
        FormatError: the file cannot be read, or the sensor is not known.
    """
    header = read_header(path)
    size = sensor_size(path, header, options.sensor)
    place = (header.length, size)
    if options.format == "evt2":
        return WordReader(
            path, "Prophesee RAW EVT2", *place, kernels2.decode_evt2, np.uint32, kernels.EVT2_MOST
        )
    if options.format == "evt3":
        return WordReader(
            path, "Prophesee RAW EVT3", *place, kernels.decode_evt3, np.uint16, kernels.EVT3_MOST
        )
    if options.format == "evt4":
        return WordReader(
            path, "Prophesee RAW EVT4", *place, kernels2.decode_evt4, np.uint32, kernels.EVT4_MOST
        )
    legacy = is_legacy_order(header)
    remark = ""
    if legacy is None:
        legacy = _is_legacy_stream(path, header.length)
        remark = (
            f"no header; the word order is taken as {'legacy' if legacy else 'little'}, by the clock words"
        )
    return WordReader(
        path, "Prophesee RAW EVT2.1", *place, kernels2.decode_evt21, np.uint64, kernels.EVT21_MOST, legacy,
        remark=remark,
    )  # fmt: skip
