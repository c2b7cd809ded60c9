"""What the first lines of a text file of events say: size, order of columns, separator, unit of time."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import numpy as np

from eventhpe.errors import FormatError
from eventhpe.events import kernels_text as kernels
from eventhpe.events.formats.column_names import EXPECTED_NAMES, match_columns
from eventhpe.events.formats.options import TimeUnit
from eventhpe.events.formats.time_units import EXPONENTS, LARGEST_US

_SAMPLE_LINES = 1000
_MOST_COLUMNS = 64
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1f\x7f]")
_SIZE = re.compile(rb"(\d{1,5})[ \t,;]+(\d{1,5})")
_GEOMETRY = re.compile(rb"%\s*geometry\s*:\s*(\d{1,5})\s*[,x]\s*(\d{1,5})")
_WORD = re.compile(rb"[\"'_A-Za-z]")
_NO_NAMES = (b"true", b"false", b"nan", b"inf")
_ROLES = {"t": kernels.TIME, "x": kernels.COLUMN, "y": kernels.ROW, "p": kernels.POLARITY}
_NEEDED = frozenset(_ROLES.values())
_TXYP = (kernels.TIME, kernels.COLUMN, kernels.ROW, kernels.POLARITY)
_XYPT = (kernels.COLUMN, kernels.ROW, kernels.POLARITY, kernels.TIME)

_EXPECTED = (
    "Expected lines of t x y p (time, column, row, polarity -1/0/1 or True/False), separated by spaces, "
    "tabs, commas or semicolons, or a first line that names the columns in their order, such as x,y,t,p."
)


@dataclass(frozen=True)
class Layout:
    """How to read the lines of a text file.

    Attributes:
        label: what the format is called.
        data_start: byte where the first event line begins.
        roles: what each column holds, up to the last one that is needed (kernels_text.TIME ...).
        separator: the byte between columns.
        named: whether the file itself tells the order of the columns.
        size: (H, W), None if the file does not tell.
        unit: unit of the times.
    """

    label: str
    data_start: int
    roles: tuple[int, ...]
    separator: int
    named: bool
    size: tuple[int, int] | None
    unit: TimeUnit

    def vector(self) -> np.ndarray:
        """The layout as the kernel takes it."""
        exponent = EXPONENTS[self.unit]
        return np.array([self.separator, exponent, self.named, LARGEST_US, *self.roles], np.int64)


def detect_layout(head: bytes, complete: bool, name: str, unit: TimeUnit | None = None) -> Layout:
    """Read the first lines, and try the layout on the first thousand lines of events.

    Args:
        head: first bytes of the file; may end inside a line.
        complete: head is the whole file.
        name: the file, for messages.
        unit: unit of the times if the user said it.
    Raises:
        FormatError: these are no events; the message shows the first line that is not understood.
    """
    if _BINARY.search(head):
        raise FormatError(f"{name}: is not text; it holds control characters. {_EXPECTED}")
    layout, stated = _read_first_lines(head, complete, name)
    lines = head[layout.data_start :].split(b"\n", _SAMPLE_LINES)
    if len(lines) > _SAMPLE_LINES or (len(lines) > 1 and not complete):
        lines.pop()  # the rest behind the sample, or a line that ends outside the head
    sample = b"\n".join(lines) + b"\n"
    unit = unit or stated
    if unit is None:
        _, counts = _try(sample, layout)
        unit = "s" if counts[kernels.POINTED] else "us"  # floats are seconds, integers are microseconds
    layout = replace(layout, unit=unit)
    _check_sample(sample, layout, name)
    return layout


def _read_first_lines(head: bytes, complete: bool, name: str) -> tuple[Layout, TimeUnit | None]:
    """The layout without the unit of time, and that unit if a header line tells it."""
    position = len(_BYTE_ORDER_MARK) if head.startswith(_BYTE_ORDER_MARK) else 0
    roles: tuple[int, ...] = _TXYP
    named = False
    unit: TimeUnit | None = None
    size: tuple[int, int] | None = None
    sized = False
    while position < len(head):
        end = head.find(b"\n", position)
        line = head[position : end if end >= 0 else len(head)].strip()
        if line.startswith((b"#", b"%")):
            geometry = _GEOMETRY.match(line)
            found = _named_roles(line.lstrip(b"#% \t"))
            if geometry:
                size = _checked_size(geometry[1], geometry[2], name)
                roles, named = (roles, named) if named else (_XYPT, True)
            elif found is not None and _NEEDED <= set(found[0]):
                (roles, unit), named = found, True
        elif line:
            two = _SIZE.fullmatch(line)
            found = None if two else _named_roles(line)
            if two and not sized and size is None:
                size, sized = _checked_size(two[1], two[2], name), True
            elif found is not None:
                (roles, unit), named = found, True
                if not _NEEDED <= set(roles):
                    raise FormatError(
                        f"{name}: the header line names the columns {_shown(line)}; expected "
                        f"{EXPECTED_NAMES} among them. Rename the columns."
                    )
            else:
                break
        if end < 0:
            position = len(head)
            break
        position = end + 1
    if position >= len(head) and not (complete and (named or sized)):
        raise FormatError(
            f"{name}: holds no line of an event among its first {len(head):,} bytes. {_EXPECTED}"
        )
    first = head[position : position + 4096].split(b"\n", 1)[0].strip()
    found_separator = re.search(rb"[,;]", first) or re.search(rb"[ \t]", first)
    separator = found_separator[0][0] if found_separator else ord(" ")
    label = "E2VID text" if sized else "CSV" if separator in b",;" else "event text"
    used = max(roles.index(role) for role in _NEEDED) + 1
    return Layout(label, position, roles[:used], separator, named, size, "us"), unit


def _checked_size(width: bytes, height: bytes, name: str) -> tuple[int, int]:
    size = int(height), int(width)
    if not (0 < size[0] <= 65535 and 0 < size[1] <= 65535):
        raise FormatError(
            f"{name}: claims a sensor of {size[1]}x{size[0]} pixels; expected 1 to 65,535 each."
        )
    return size


def _named_roles(line: bytes) -> tuple[tuple[int, ...], TimeUnit | None] | None:
    """Roles of named columns and the unit of time, if the line holds names and not numbers."""
    text = line.strip()
    cells = re.split(rb"[,;]" if re.search(rb"[,;]", text) else rb"\t+" if b"\t" in text else rb" +", text)
    cells = [cell.strip(b" \t\"'") for cell in cells]
    words = [cell for cell in cells if _WORD.match(cell) and cell.lower() not in _NO_NAMES]
    if len(words) < 3 or len(cells) > _MOST_COLUMNS:
        return None
    places, unit = match_columns([cell.decode("utf-8", "replace") for cell in cells])
    roles = [kernels.SKIPPED] * len(cells)
    for column, place in places.items():
        roles[place] = _ROLES[column]
    return tuple(roles), unit


def _try(sample: bytes, layout: Layout) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Columns and counts that the layout gives for some complete lines."""
    buffer = np.zeros(len(sample) + kernels.PADDING, np.uint8)
    buffer[: len(sample)] = np.frombuffer(sample, np.uint8)
    room = len(sample) // kernels.SHORTEST_LINE + 1
    columns = (
        np.empty(room, np.int64),
        np.empty(room, np.uint16),
        np.empty(room, np.uint16),
        np.empty(room, np.uint8),
    )
    counts = np.zeros(kernels.COUNTS_SIZE, np.int64)
    counts[kernels.FIRST_UNREADABLE] = -1
    n = kernels.parse_lines(buffer, 0, len(sample), layout.vector(), *columns, counts)
    return tuple(column[:n] for column in columns), counts


def _check_sample(sample: bytes, layout: Layout, name: str) -> None:
    (t, *_), counts = _try(sample, layout)
    unreadable = int(counts[kernels.UNREADABLE])
    if unreadable > len(t):
        begin = int(counts[kernels.FIRST_UNREADABLE])
        line = sample[begin : begin + 200].split(b"\n", 1)[0]
        raise FormatError(
            f"{name}: {unreadable} of the first {unreadable + len(t)} lines are no events, the first is "
            f"{_shown(line)}. {_EXPECTED}"
        )
    backward = int(np.count_nonzero(np.diff(t) < 0))
    if not layout.named and len(t) >= 16 and backward > len(t) // 4:
        raise FormatError(
            f"{name}: the first column is no time, it goes backwards {backward} times in {len(t)} lines. "
            f"{_EXPECTED}"
        )


def _shown(line: bytes) -> str:
    text = line.decode("utf-8", "replace").strip()
    return repr(text if len(text) <= 60 else text[:60] + "...")
