"""`eventhpe prepare`: a published data set's recordings into windows with labels, or with bodies."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from eventhpe.data.dhp19_bodies import BodiesOutcome
    from eventhpe.data.dhp19_prepare import PrepareOutcome
    from eventhpe.data.dhp19_settings import DHP19Settings

HELP = "recordings of a published data set into frames with labels, or into bodies"


@dataclass(frozen=True)
class Options:
    dataset: Literal["dhp19"]
    """Which data set."""
    root: Path
    """Its folder, as its authors unpack it (datasets/dhp19/README.md)."""
    output: Path = field(kw_only=True)
    """Folder for the prepared set."""
    mode: Literal["faithful", "modern", "bodies"] = "faithful"
    """faithful: the authors' frames and labels, bit for bit, under their file names. modern: labels at the
    end of a window, no empty last frame, no record skipped. bodies: a recording of each camera with bodies
    fitted to the markers, for FlowNet and ShapeNet."""
    windows: Literal["shared", "per_camera", "fixed_rate"] = "shared"
    """When a window closes: for all cameras after --events together, for each after a quarter of that, or
    every --window-us."""
    events: int = 30_000
    """Events of a counted window over the four cameras."""
    window_us: int = 50_000
    """Length of fixed-rate windows in microseconds."""
    voxel_bins: int = 0
    """Signed voxel grids with so many time bins instead of images of counts."""
    label_k: Literal["matlab_round", "floor"] = "matlab_round"
    """Marker row of a time, for labels that are means: rounded as the authors' script does, or the one
    before."""
    keep_first_record: bool = False
    """Read the first record of a file too, which the authors' reader skips (modern mode always does)."""
    drop_trailing_empty_frame: bool = False
    """Leave out the all-zero last frame of some recordings (modern mode always does)."""
    min_events: int = 0
    """Leave out windows in which a camera has fewer events."""
    cameras: tuple[int, ...] = ()
    """Bodies: cameras 1 to 4; 2 and 3, the two in front, if none are named."""
    fit_hz: Literal[20, 100] = 20
    """Bodies: fitted bodies, and so labels, per second."""
    fix_labels: bool = False
    """Put markers right that look exchanged: hips in S1_2_6, right elbow and hand in S2_4_5."""
    only: list[str] = field(default_factory=list)
    """Prepare these recordings only, named as S1_1_1 (subject, session, movement)."""
    drop: list[str] = field(default_factory=list)
    """Leave these recordings out."""
    official_dtype: bool = False
    """Write images as 64-bit floats, as the authors' files have them, instead of bytes."""
    jobs: int = 1
    """Recordings prepared at the same time."""
    overwrite: bool = False
    """Replace files that are there and were made with other settings."""


def run(options: Options) -> int:
    from eventhpe.cli.progress import progress_bar
    from eventhpe.data.dhp19 import find_movements
    from eventhpe.data.dhp19_prepare import REPORT_NAME, prepare_dhp19
    from eventhpe.errors import FormatError, UnitError

    if options.jobs < 1:
        raise UnitError(f"--jobs must be >= 1; got {options.jobs}.")
    if options.output.is_file():
        raise FormatError(f"-o {options.output}: a prepared set needs a folder, this is a file.")
    _refuse_other_modes(options)
    if options.mode == "bodies":
        from eventhpe.cli.prepare_bodies import run_bodies

        return run_bodies(options)
    settings = _settings(options)
    total = len(options.only) or len(find_movements(options.root))
    with progress_bar(total, "preparing") as step:
        outcomes = prepare_dhp19(
            options.root, options.output, settings,
            only=options.only, drop=options.drop, official_dtype=options.official_dtype,
            overwrite=options.overwrite, jobs=options.jobs, told=lambda outcome: step(),
        )  # fmt: skip
    for outcome in outcomes:
        tell(outcome, f"{outcome.num_windows:,} windows")
    counts = {s: sum(o.status == s for o in outcomes) for s in ("done", "skipped", "left out", "failed")}
    print(
        f"{counts['done']} prepared, {counts['skipped']} there already, {counts['left out']} left out, "
        f"{counts['failed']} failed; report: {options.output / REPORT_NAME}"
    )
    return 2 if counts["failed"] else 0


_OF_BODIES = ("cameras", "fit_hz")
_OF_FRAMES = (
    "windows", "events", "window_us", "voxel_bins", "label_k", "keep_first_record",
    "drop_trailing_empty_frame", "min_events", "official_dtype",
)  # fmt: skip


def _refuse_other_modes(options: Options) -> None:
    """Options that the mode would pass over in silence are an error."""
    from eventhpe.errors import FormatError

    bodies = options.mode == "bodies"
    defaults = {f.name: f.default for f in fields(Options)}
    for name in _OF_FRAMES if bodies else _OF_BODIES:
        if getattr(options, name) != defaults[name]:
            where = "the modes that make frames, not with" if bodies else "--mode bodies, not"
            raise FormatError(f"--{name.replace('_', '-')} goes with {where} {options.mode}.")


def _settings(options: Options) -> DHP19Settings:
    """The mode's settings with what was asked for."""
    from eventhpe.data.dhp19_settings import settings_of

    assert options.mode != "bodies"
    changes: dict[str, object] = {
        "windows": options.windows, "events_per_frame": options.events, "window_us": options.window_us,
        "voxel_bins": options.voxel_bins, "label_k": options.label_k, "min_events": options.min_events,
        "fix_labels": options.fix_labels,
    }  # fmt: skip
    if options.keep_first_record:
        changes["skip_first_record"] = False
    if options.drop_trailing_empty_frame:
        changes["drop_trailing_empty_frame"] = True
    return settings_of(options.mode, **changes)


def tell(outcome: PrepareOutcome | BodiesOutcome, made: str) -> None:
    """One line per recording, `made` if it was prepared now; problems on stderr."""
    for fault in outcome.faults:
        print(f"note: {outcome.name}: {fault}", file=sys.stderr)
    if outcome.status == "failed":
        print(f"eventhpe: {outcome.name}: {outcome.error}", file=sys.stderr)
    elif outcome.status == "left out":
        print(f"{outcome.name}: left out: {outcome.error}")
    elif outcome.status == "skipped":
        print(f"{outcome.name}: already prepared from the same bytes with the same settings")
    else:
        print(f"{outcome.name}: {made}")
