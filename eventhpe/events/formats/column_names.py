"""Names that programs give to columns of events, and the unit that the name of a time carries ("t_ns")."""

from __future__ import annotations

import re
from collections.abc import Sequence

from eventhpe.events.formats.options import TimeUnit

_SYNONYMS = {
    "t": ("t", "ts", "time", "times", "timestamp", "timestamps"),
    "x": ("x", "xs", "col", "column"),
    "y": ("y", "ys", "row"),
    "p": ("p", "ps", "pol", "polarity", "polarities", "on"),
}
_COLUMN_OF = {name: column for column, names in _SYNONYMS.items() for name in names}
_UNIT = re.compile(r"[ _\[(/]+(ns|us|µs|ms|s|sec|seconds|nanoseconds|microseconds|milliseconds)[\])]*$")
_UNITS: dict[str, TimeUnit] = {
    "ns": "ns", "nanoseconds": "ns", "us": "us", "µs": "us", "microseconds": "us",
    "ms": "ms", "milliseconds": "ms", "s": "s", "sec": "s", "seconds": "s",
}  # fmt: skip

#: Said in messages.
EXPECTED_NAMES = "t (or ts, time, timestamp), x, y and p (or pol, polarity)"


def match_columns(names: Sequence[str]) -> tuple[dict[str, int], TimeUnit | None]:
    """Which of some names are t, x, y and p.

    Returns:
        column -> place of its first name, for those of t, x, y, p that are there; and the unit that the name
        of the time column tells, if it does.
    """
    places: dict[str, int] = {}
    unit: TimeUnit | None = None
    for place, name in enumerate(names):
        word = name.strip().lower()
        column = _COLUMN_OF.get(word)
        tail = _UNIT.search(word)
        told: TimeUnit | None = None
        if column is None and tail and _COLUMN_OF.get(word[: tail.start()]) == "t":
            column, told = "t", _UNITS[tail[1]]
        if column is not None and column not in places:
            places[column] = place
            unit = told if column == "t" else unit
    return places, unit
