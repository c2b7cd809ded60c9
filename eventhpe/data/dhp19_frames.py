"""From a recording of DHP19 and its markers to windows with labels, in constant memory.

The file is read twice, block by block: for its special events, its times and the events of each pixel,
because start, stop and hot pixels must be known before everything else; and for the windows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.data.dhp19 import DHP19Movement
from eventhpe.data.dhp19_cutting import Cut, cut_windows
from eventhpe.data.dhp19_export import MARKER_STEP_US, VICON_FIELDS
from eventhpe.data.dhp19_filters import DHP19Filter, StageCounts, pixel_marks
from eventhpe.data.dhp19_labels import KNOWN_EXCHANGES, exchanged, label_at, label_row, mean_label, read_vicon
from eventhpe.data.dhp19_raw import DHP19File, RawBlock, Survey
from eventhpe.data.dhp19_settings import DHP19Settings
from eventhpe.data.dhp19_windows import EventTimes, StartStop, TooManySpecialsError, event_slice, start_stop
from eventhpe.errors import FormatError


@dataclass(frozen=True, eq=False)
class FramePacket:
    """A window with its label.

    Attributes:
        index: number of the window, from 0; for each camera where cameras have windows of their own.
        data: (260, 346, C) uint8 image of counts, or (C, B, 260, 346) float32 voxel grids; C = 4, or 1.
        label_mm: (13, 3) millimetres in DHP19's world, NaN where missing.
        num_events: (C,) events of each camera.
        t0_us, t_last_us: first and last event (or begin and end of a fixed-rate window) on the file's clock.
        row: number of the marker row at the window's end, from 1.
        channel: the camera, where C = 1.
        empty: whether it is the all-zero frame that the authors' script appends.
    """

    index: int
    data: NDArray[Any]
    label_mm: NDArray[np.float64]
    num_events: NDArray[np.int64]
    t0_us: int
    t_last_us: int
    row: int
    channel: int | None = None
    empty: bool = False


class MovementFrames:
    """Windows of one movement, and what was found on the way.

    Attributes:
        movement, settings: as given.
        survey: what the first pass over the file told.
        xyz_mm: (N, 13, 3) markers, exchanged ones put right if the settings say so.
        window: start and stop on the file's clock.
        span: (i, j) the events between them, by index in the file.
    Raises:
        MissingAssetError: there is no file of markers.
        TooManySpecialsError: more than five special events; the authors skip such recordings.
        FormatError: a damaged file; a time jump that the authors' rule cannot resolve.
    """

    def __init__(self, movement: DHP19Movement, settings: DHP19Settings | None = None) -> None:
        self.movement = movement
        self.settings = settings or DHP19Settings()
        self.xyz_mm = read_vicon(movement.labels)
        pair = KNOWN_EXCHANGES.get((movement.subject, movement.session, movement.movement))
        if self.settings.fix_labels and pair is not None:
            self.xyz_mm = exchanged(self.xyz_mm, pair)
        self._file = DHP19File(movement.events, skip_first=self.settings.skip_first_record)
        self.survey: Survey = self._file.survey()
        if not self.survey.num_events:
            raise FormatError(f"{movement.events}: holds no events.")
        try:
            self.window: StartStop = start_stop(
                self.survey.specials_us, EventTimes.of(self.survey), len(self.xyz_mm)
            )
        except TooManySpecialsError as error:
            raise TooManySpecialsError(f"{movement.events}: {error}") from error
        self.span = event_slice(self._file, self.survey, self.window, time_jump=self.settings.time_jump)
        self._filter: DHP19Filter | None = None

    def surviving(self) -> Iterator[RawBlock]:
        """Events between start and stop that pass all filters, in stored order, block by block; the arrays
        are used again for the next block."""
        marks = pixel_marks(self._file.counts(self.survey, *self.span), self.settings)
        self._filter = DHP19Filter(marks, self.settings.background_us)
        yield from self._filter.survivors(self._file.events(self.survey, *self.span))

    @property
    def stages(self) -> StageCounts:
        """Events left after each filter, of those that the last iteration has passed."""
        return self._filter.stages if self._filter is not None else StageCounts(0, 0, 0, 0, 0, 0)

    def packets(self) -> Iterator[FramePacket]:
        """Windows with labels, in the order in which they close."""
        stop_us = min(self.window.stop_us, self.survey.t_max_us + 1)  # silence after the file is no window
        cuts = cut_windows(self.surviving(), self.settings, self.window.start_us, stop_us)
        labellers: dict[int | None, _Labeller] = {}
        for cut in cuts:
            labeller = labellers.setdefault(cut.channel, _Labeller(self.xyz_mm, self.settings))
            packet = labeller.packet(cut, self.window.start_us)
            if packet is not None:
                yield packet
            if len(labellers) == (4 if self.settings.windows == "per_camera" else 1) and all(
                one.ended for one in labellers.values()
            ):
                return

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> MovementFrames:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def official_frames(movement: DHP19Movement, settings: DHP19Settings | None = None) -> Iterator[FramePacket]:
    """Windows of a movement with their labels; without settings, those of the authors' script, bit for bit.

    Raises:
        MissingAssetError, FormatError: as `MovementFrames`.
    """
    with MovementFrames(movement, settings) as frames:
        yield from frames.packets()


class _Labeller:
    """Labels of one series of windows; remembers the row at which the last one ended."""

    def __init__(self, xyz_mm: NDArray[np.float64], settings: DHP19Settings) -> None:
        self._xyz, self._settings = xyz_mm, settings
        self._last_row, self._index = 1, 0
        self.ended = False

    def packet(self, cut: Cut, start_us: int) -> FramePacket | None:
        """The window with its label; None where it is left out or markers have ended."""
        if self.ended:
            return None
        settings, dt_us = self._settings, cut.t_end_us - start_us
        row = label_row(dt_us, settings.label_k)
        if settings.label == "end":
            self.ended = dt_us > MARKER_STEP_US * (len(self._xyz) - 1)
        else:
            self.ended = row > len(self._xyz)
        if self.ended:
            if settings.drop_trailing_empty_frame or settings.label == "end":
                return None
            nothing = np.full((len(VICON_FIELDS), 3), np.nan)
            # The authors' counter has moved on when their script finds the markers at an end.
            return self._told(cut, row, np.zeros_like(cut.data), nothing, np.zeros_like(cut.num_events), True)
        if settings.label == "end":
            label = label_at(self._xyz, max(dt_us, 0))
        else:
            label = mean_label(self._xyz, self._last_row, row)
        self._last_row = row
        if (cut.num_events < settings.min_events).any():
            return None
        return self._told(cut, row, cut.data, label, cut.num_events, False)

    def _told(
        self, cut: Cut, row: int, data: NDArray[Any], label_mm: NDArray[np.float64],
        num_events: NDArray[np.int64], empty: bool,
    ) -> FramePacket:  # fmt: skip
        index, self._index = self._index, self._index + 1
        return FramePacket(
            index, data, label_mm, num_events, cut.t0_us, cut.t_end_us, row, cut.channel, empty
        )
