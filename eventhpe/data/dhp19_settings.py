"""How DHP19's recordings become windows with labels: as its authors did it, or otherwise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from eventhpe.errors import FormatError, ShapeError, UnitError

Windows = Literal["shared", "per_camera", "fixed_rate"]
Label = Literal["mean", "end"]
LabelRow = Literal["matlab_round", "floor"]
Mode = Literal["faithful", "modern"]


@dataclass(frozen=True)
class DHP19Settings:
    """All switches between recording and window; the defaults are the authors' pre-processing, bit for bit.

    Attributes:
        events_per_frame: events of a counted window over all four cameras, a multiple of 4.
        windows: "shared": a window closes for all cameras when together they have had events_per_frame
            events. "per_camera": each camera's when it has had a quarter of that. "fixed_rate": every
            window_us from the start on.
        window_us: length of fixed-rate windows.
        voxel_bins: 0: images of event counts, scaled by three standard deviations. Else signed voxel grids
            with so many bins.
        skip_first_record: leave the first record of the file out, as the authors' reader does.
        label: "mean" of the marker rows that a window touches, without missing values; or the position at
            the "end" of the window, interpolated.
        label_k: row of a time, for "mean": rounded, as MATLAB's integer arithmetic does; or the last row
            before it ("floor").
        drop_trailing_empty_frame: leave out the all-zero frame that the authors' script appends when markers
            end before events.
        hot_pixel_events: a pixel with so many events between start and stop is left out.
        background_us: time after which a neighbour's event no longer supports one; None: no such filter.
        infrared_boxes: leave out the two places where lamps of the motion capture are seen.
        time_jump: where times end before they began: "exact": the authors' rule, which needs events at
            exactly the times of start and stop; "cut": what comes before the jump.
        min_events: windows in which a camera has fewer events are left out.
        fix_labels: exchange the markers of `KNOWN_EXCHANGES` back.
    """

    events_per_frame: int = 30_000
    windows: Windows = "shared"
    window_us: int = 50_000
    voxel_bins: int = 0
    skip_first_record: bool = True
    label: Label = "mean"
    label_k: LabelRow = "matlab_round"
    drop_trailing_empty_frame: bool = False
    hot_pixel_events: int = 10_000
    background_us: int | None = 70_000
    infrared_boxes: bool = True
    time_jump: Literal["exact", "cut"] = "exact"
    min_events: int = 0
    fix_labels: bool = False

    def __post_init__(self) -> None:
        choices = {
            "windows": ("shared", "per_camera", "fixed_rate"),
            "label": ("mean", "end"),
            "label_k": ("matlab_round", "floor"),
            "time_jump": ("exact", "cut"),
        }
        for name, words in choices.items():
            if getattr(self, name) not in words:
                raise FormatError(f"{name} must be one of {', '.join(words)}; got {getattr(self, name)!r}.")
        if self.events_per_frame < 4 or self.events_per_frame % 4:
            raise ShapeError(
                "events_per_frame counts over four cameras and must be a positive multiple of 4 (30,000 in "
                f"DHP19); got {self.events_per_frame}."
            )
        if not 1000 <= self.window_us <= 60_000_000:
            raise UnitError(f"window_us must lie in 1,000..60,000,000 µs; got {self.window_us}.")
        if not 0 <= self.voxel_bins <= 100:
            raise ShapeError(f"voxel_bins must lie in 0..100; got {self.voxel_bins}.")
        if self.background_us is not None and not 0 <= self.background_us < 1 << 32:
            raise UnitError(f"background_us must be None or 0..2^32-1 µs; got {self.background_us}.")
        for name, least in (("hot_pixel_events", 1), ("min_events", 0)):
            if getattr(self, name) < least:
                raise ShapeError(f"{name} must be at least {least}; got {getattr(self, name)}.")

    @property
    def variant(self) -> str:
        """Name of the set that these settings give, as it stands in file names; see `dhp19_prepared`.

        Settings that change no window (filters, labels) do not show in it.
        """
        if self.windows == "fixed_rate":
            cut = f"{self.window_us}us"
        else:
            shared = "events" if self.official_windows else "shared"
            cut = f"{self.events_per_frame // 4}{shared if self.windows == 'shared' else 'percamera'}"
        return f"{cut}{self.voxel_bins}bins" if self.voxel_bins else cut

    @property
    def official_windows(self) -> bool:
        """Whether windows and labels are the authors', up to the switches of their protocol."""
        return self.windows == "shared" and self.label == "mean" and not self.voxel_bins


def settings_of(mode: Mode, **changes: Any) -> DHP19Settings:
    """The authors' settings ("faithful"), or what one would choose now ("modern"), with changes.

    Modern: labels are where the window ends, no empty frame, no record skipped, and a recording whose time
    jumps back is used up to there.

    Raises:
        FormatError, ShapeError, UnitError: a setting out of range; it is named.
    """
    settings = DHP19Settings()
    if mode == "modern":
        settings = replace(
            settings,
            skip_first_record=False,
            label="end",
            drop_trailing_empty_frame=True,
            time_jump="cut",
        )
    elif mode != "faithful":
        raise FormatError(f"mode must be faithful or modern; got {mode!r}.")
    return replace(settings, **changes)
