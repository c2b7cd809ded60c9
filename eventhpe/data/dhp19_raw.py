"""DHP19's recordings block by block, and what one pass over them tells.

Events come as the authors' MATLAB reader sees them: in stored order, on the file's unsigned 32-bit clock,
with columns and rows as in the image (column 345 - x_raw, row 259 - y_raw). Nothing is sorted or dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import FormatError
from eventhpe.events import kernels_dhp19 as kernels
from eventhpe.events.blocks import Checkpoint, Columns, Side
from eventhpe.events.formats.aedat2 import Aedat2Reader, open_reader
from eventhpe.events.formats.options import OpenOptions

DHP19_SENSOR = "MultiDAVIS346"
_CLOCK = 1 << 32


@dataclass(frozen=True, eq=False)
class RawBlock:
    """Consecutive events of a file; the arrays are used again for the next block.

    Attributes:
        start: index of the first event among all events of the file.
        t: (N,) int64 µs in 0..2^32-1, in stored order.
        x, y: (N,) uint16; values outside 346 x 260 occur in damaged files.
        p, camera: (N,) uint8; cameras above 3 occur in damaged files.
    """

    start: int
    t: NDArray[np.int64]
    x: NDArray[np.uint16]
    y: NDArray[np.uint16]
    p: NDArray[np.uint8]
    camera: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.t)

    def part(self, i: int, j: int) -> RawBlock:
        """Those of the file's events i..j-1 that lie in this block."""
        a, b = (min(max(k - self.start, 0), len(self)) for k in (i, j))
        part = slice(a, b)
        return RawBlock(
            self.start + a, self.t[part], self.x[part], self.y[part], self.p[part], self.camera[part]
        )


@dataclass(frozen=True)
class BlockNote:
    """Where a block lies and which times it holds: decoding starts at `at`."""

    at: Checkpoint
    start: int
    count: int
    t_min_us: int
    t_max_us: int


@dataclass(frozen=True, eq=False)
class Survey:
    """What one pass over a recording tells. Times are absolute, of events unless said otherwise.

    Attributes:
        num_events: polarity events, those outside the images included.
        specials_us: times of all special events, in stored order.
        t_first_us, t_last_us, t_min_us, t_max_us: first and last stored, earliest and latest; 0 without
            events.
        jump_index: index of the first event that is stored more than a second after a later one; None:
            there is none.
        backward_steps, largest_backward_us: events stored after a later one.
        bad_columns, bad_rows, bad_cameras: events with impossible addresses.
        losses: what else was not read: phrase -> number.
        counts: (260, 1384) int32 events of each pixel, the four images side by side.
        blocks: every block that holds events.
    """

    num_events: int
    specials_us: tuple[int, ...]
    t_first_us: int
    t_last_us: int
    t_min_us: int
    t_max_us: int
    jump_index: int | None
    backward_steps: int
    largest_backward_us: int
    bad_columns: int
    bad_rows: int
    bad_cameras: int
    losses: dict[str, int]
    counts: NDArray[np.int32]
    blocks: tuple[BlockNote, ...]


class _Specials(Side):
    """Beside what every side gathers, times of external inputs in stored order."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[int] = []

    def add_triggers(
        self, t: NDArray[np.int64], value: NDArray[np.uint8], channel: NDArray[np.uint8] | None = None
    ) -> None:
        self.times.extend((t % _CLOCK).tolist())


class DHP19File:
    """One .aedat file of DHP19.

    Args:
        path: the file. Whatever camera its header names, it is read as four DAVIS346.
        skip_first: leave out the first record, event or not, as the authors' reader does.
    Raises:
        FormatError: no AEDAT 2.0 file.
    """

    def __init__(self, path: Path, *, skip_first: bool) -> None:
        self.path = path
        try:
            self._reader: Aedat2Reader = open_reader(path, OpenOptions("aedat2", DHP19_SENSOR))
        except OSError as error:
            raise FormatError(f"{path}: cannot be read: {error}") from error
        first = self._reader.first()
        # A checkpoint of equal records begins with the number of the record.
        self._first: Checkpoint = (first[0] + 1, *first[1:]) if skip_first else first
        self._columns = Columns()

    def _decode(self, at: Checkpoint, start: int, side: Side) -> tuple[RawBlock, Checkpoint | None]:
        columns = self._columns
        n, following = self._reader.decode(at, columns, side)
        if following == at:
            raise FormatError(f"{self.path}: reading does not advance at {at}; the file is damaged.")
        t = columns.t[:n]
        t &= _CLOCK - 1  # wraps stay as they are stored
        return RawBlock(start, t, columns.x[:n], columns.y[:n], columns.p[:n], columns.camera[:n]), following

    def survey(self) -> Survey:
        """One pass over the file."""
        side, told = _Specials(), np.zeros(kernels.SURVEY, np.int64)
        counts, notes = empty_counts(), list[BlockNote]()
        totals: Counter[int] = Counter()
        start, first, last, largest = 0, 0, -1, 0
        jump: int | None = None
        at: Checkpoint | None = self._first
        while at is not None:
            block, following = self._decode(at, start, side)
            if len(block):
                kernels.survey_block(block.t, block.x, block.y, block.camera, last, told)
                kernels.count_pixels(block.x, block.y, block.camera, counts)
                if jump is None and told[kernels.LARGEST_BACKWARD] > _JUMP_US:
                    steps = np.diff(block.t, prepend=np.int64(last))
                    jump = start + int(np.flatnonzero(steps < -_JUMP_US)[0])
                first = first if notes else int(block.t[0])
                last = int(block.t[-1])
                largest = max(largest, int(told[kernels.LARGEST_BACKWARD]))
                for k in (kernels.BACKWARD, kernels.BAD_COLUMN, kernels.BAD_ROW, kernels.BAD_CAMERA):
                    totals[k] += int(told[k])
                span = int(told[kernels.T_MIN]), int(told[kernels.T_MAX])
                notes.append(BlockNote(at, start, len(block), *span))
                start += len(block)
            at = following
        return Survey(
            num_events=start, specials_us=tuple(side.times), t_first_us=first, t_last_us=max(last, 0),
            t_min_us=min((note.t_min_us for note in notes), default=0),
            t_max_us=max((note.t_max_us for note in notes), default=0),
            jump_index=jump, backward_steps=totals[kernels.BACKWARD], largest_backward_us=largest,
            bad_columns=totals[kernels.BAD_COLUMN], bad_rows=totals[kernels.BAD_ROW],
            bad_cameras=totals[kernels.BAD_CAMERA],
            losses={k: n for k, n in side.losses.items() if "camera number" not in k},
            counts=counts, blocks=tuple(notes),
        )  # fmt: skip

    def block(self, note: BlockNote) -> RawBlock:
        """Decode one block again.

        Raises:
            FormatError: the file is not what it was.
        """
        block, _ = self._decode(note.at, note.start, Side())
        if len(block) != note.count:
            raise FormatError(f"{self.path}: the file has changed since it was opened.")
        return block

    def events(self, survey: Survey, i: int, j: int) -> Iterator[RawBlock]:
        """Events i..j-1, block by block."""
        for note in survey.blocks:
            if note.start < j and note.start + note.count > i:
                yield self.block(note).part(i, j)

    def counts(self, survey: Survey, i: int, j: int) -> NDArray[np.int32]:
        """As `Survey.counts`, of events i..j-1; what lies outside them is decoded."""
        outside = empty_counts()
        for part in ((0, min(i, survey.num_events)), (max(i, j), survey.num_events)):
            for block in self.events(survey, *part):
                kernels.count_pixels(block.x, block.y, block.camera, outside)
        return survey.counts - outside

    def close(self) -> None:
        self._reader.close()


def empty_counts() -> NDArray[np.int32]:
    """(260, 1384) zeros."""
    return np.zeros((kernels.HEIGHT, kernels.CAMERAS * kernels.WIDTH), np.int32)


# A step back by more than this is damage; cameras that are merged a little out of order make smaller ones.
_JUMP_US = 1_000_000


def fault_texts(survey: Survey) -> tuple[str, ...]:
    """What is wrong with a recording, a line for each fault."""
    s = survey
    faults: list[str] = []
    if not s.num_events:
        faults.append("holds no events")
    if not s.specials_us:
        faults.append("has no special event: the first and last event are taken for start and stop")
    elif len(s.specials_us) > 5:
        faults.append(f"has {len(s.specials_us)} special events, more than 5: damaged")
    if s.jump_index is not None:
        faults.append(
            f"time jumps back by up to {s.largest_backward_us:,} µs, first at event {s.jump_index:,}"
        )
    elif s.backward_steps:
        faults.append(
            f"{s.backward_steps:,} events are stored after a later one (by up to {s.largest_backward_us:,} "
            "µs)"
        )
    outside: Any = (
        (s.bad_columns, "columns beyond 345"),
        (s.bad_rows, "rows beyond 259"),
        (s.bad_cameras, "cameras beyond 3"),
    )
    faults += [f"{n:,} events with {what}: dropped" for n, what in outside if n]
    faults += [f"{n:,} {phrase}" for phrase, n in s.losses.items()]
    return tuple(faults)
