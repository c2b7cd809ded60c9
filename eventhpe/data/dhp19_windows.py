"""Which part of a DHP19 recording belongs to its markers: start, stop, and the events between.

Rules of the authors' MATLAB script (SensorsINI/DHP19), with its unsigned 32-bit arithmetic: results saturate
at 0 and 2^32 - 1. Times are on the file's clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from eventhpe.data.dhp19_export import MARKER_STEP_US
from eventhpe.data.dhp19_raw import DHP19File, Survey
from eventhpe.errors import FormatError

MOST_SPECIALS = 5
"""Recordings with more special events are damaged; the authors skip them."""

_LAST_US = (1 << 32) - 1


class TooManySpecialsError(FormatError):
    """A recording with more special events than any sound one has; the authors skip it."""


@dataclass(frozen=True)
class StartStop:
    """Start (row 0 of the markers) and stop on the file's clock, and the rule they come from."""

    start_us: int
    stop_us: int
    rule: str


@dataclass(frozen=True)
class EventTimes:
    """Times of the first and last stored event, and of the earliest and latest."""

    first: int
    last: int
    earliest: int
    latest: int

    @classmethod
    def of(cls, survey: Survey) -> EventTimes:
        return cls(survey.t_first_us, survey.t_last_us, survey.t_min_us, survey.t_max_us)

    @property
    def in_order(self) -> bool:
        """Whether the recording ends after it began; else its clock jumped back."""
        return self.last > self.first


def start_stop(specials_us: Sequence[int], events: EventTimes, num_rows: int) -> StartStop:
    """Start and stop of a recording.

    Args:
        specials_us: times of the special events, in stored order.
        num_rows: rows of its markers (100 Hz), missing ones included.
    Raises:
        TooManySpecialsError: more than five special events; the authors skip such recordings.
    """
    n, length = len(specials_us), MARKER_STEP_US * num_rows
    if n > MOST_SPECIALS:
        raise TooManySpecialsError(
            f"{n} special events; recordings with more than {MOST_SPECIALS} are damaged and left out."
        )
    if n == 0:
        return StartStop(events.first, events.last, "no special event: first and last event")
    first = specials_us[0]
    if n in (3, 5):
        return StartStop(first, specials_us[-1], "first special event to last")
    if n == 1:
        before, after = events.earliest, events.latest
    elif events.last < events.first:
        return StartStop(first, events.latest, "special event to latest event: time jumps back")
    else:
        before, after = events.first, events.last
    # Whichever side of the mark holds more of the recording. Differences saturate at 0.
    if max(first - before, 0) > max(after - first, 0):
        return StartStop(max(first - length, 0), first, "special event is the stop")
    return StartStop(first, min(first + length, _LAST_US), "special event is the start")


def event_slice(
    file: DHP19File, survey: Survey, window: StartStop, *, time_jump: str = "exact"
) -> tuple[int, int]:
    """Indices (i, j) of the events between start and stop, j exclusive; i >= j: none.

    A contiguous part of the file: from the first event after the start to the last one before the stop, with
    whatever disorder lies between. Where time ends before it began, from the first event at exactly the
    start to the first one at exactly the stop ("exact", the authors' rule), or from the first event after
    the start, up to the jump ("cut"). With "cut", nothing is used from beyond a jump in any recording.

    Raises:
        FormatError: "exact" finds no event at the start or the stop.
    """
    times = EventTimes.of(survey)
    end = survey.num_events
    if time_jump == "cut" and survey.jump_index is not None:
        end = survey.jump_index
    elif not times.in_order:
        i = _first(file, survey, window.start_us)
        j = _first(file, survey, window.stop_us)
        if i is None or j is None:
            raise FormatError(
                f"{file.path}: time jumps back, and no event lies at exactly the "
                f"{'start' if i is None else 'stop'} ({window.start_us if i is None else window.stop_us} "
                "µs), as the authors' rule for this case needs. time_jump='cut' uses what comes before the "
                "jump."
            )
        return i, j + 1
    i = _first_after(file, survey, window.start_us)
    return i, min(_last_before(file, survey, window.stop_us, end) + 1, end)


def _first(file: DHP19File, survey: Survey, t_us: int) -> int | None:
    """Index of the first event at exactly this time."""
    for note in survey.blocks:
        if note.t_min_us <= t_us <= note.t_max_us:
            found = np.flatnonzero(file.block(note).t == t_us)
            if len(found):
                return note.start + int(found[0])
    return None


def _first_after(file: DHP19File, survey: Survey, t_us: int) -> int:
    for note in survey.blocks:
        if note.t_max_us > t_us:
            return note.start + int(np.argmax(file.block(note).t > t_us))
    return survey.num_events


def _last_before(file: DHP19File, survey: Survey, t_us: int, end: int) -> int:
    """Among the events before index `end`; -1: there is none."""
    for note in reversed(survey.blocks):
        if note.start < end and note.t_min_us < t_us:
            found = np.flatnonzero(file.block(note).t[: end - note.start] < t_us)
            if len(found):
                return note.start + int(found[-1])
    return -1
