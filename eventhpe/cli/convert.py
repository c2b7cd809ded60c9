"""`eventhpe convert`: recordings of any format into one indexed HDF5 file each, or back into other
formats."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from eventhpe.events.batch import Outcome, Unit
    from eventhpe.events.transforms import Changes

HELP = "write recordings of any format as indexed HDF5 files, or as AEDAT 2, AEDAT 4 or DSEC"


@dataclass(frozen=True)
class Options:
    files: list[Path]
    """Recordings, folders of recordings, or patterns such as 'day1/*.aedat'."""
    output: Path = field(kw_only=True)
    """File to write; a folder when there are several recordings."""
    to: Literal["eventhpe", "aedat2", "aedat4", "dsec"] | None = None
    """Format to write; default: by the suffix of a single output (.aedat, .aedat4), else eventhpe HDF5."""
    format: str | None = None
    """Read as this format (see docs/formats.md) without looking at the content."""
    sensor: str | None = None
    """Camera name or WIDTHxHEIGHT, for files that do not tell."""
    stream: str | None = None
    """Camera to convert where a file holds several (index or name); 'all' writes a file for each."""
    time_unit: Literal["s", "ms", "us", "ns"] | None = None
    """Unit of the times in text, arrays and tables; default: fractions are seconds, whole numbers
    microseconds."""
    compression: str | None = None
    """eventhpe: bitshuffle-lz4 (default), gzip (readable without plug-ins), none; aedat4: lz4 (default),
    zstd, none."""
    start: float = 0.0
    """Leave out what comes before this second."""
    stop: float | None = None
    """Leave out what comes from this second on."""
    hot_pixels: bool = False
    """Remove pixels that fire all the time."""
    background_us: int | None = None
    """Remove events that no neighbour supported in so many microseconds (2000 to 70000 are usual)."""
    refractory_us: int | None = None
    """After an event, ignore the pixel for so many microseconds."""
    undistort: Path | None = None
    """Calibration file whose lens distortion is undone (see `eventhpe capture`)."""
    crop: tuple[int, ...] = ()
    """Keep a rectangle: LEFT TOP WIDTH HEIGHT in pixels."""
    flip: Literal["horizontal", "vertical", "both"] | None = None
    """Mirror the picture; 'both' turns it by 180 degrees."""
    downsample: int = 1
    """Join so many by so many pixels into one; all events are kept."""
    jobs: int = 1
    """Recordings converted at the same time."""
    overwrite: bool = False
    """Replace existing output files that were not made by the same conversion."""


def run(options: Options) -> int:
    from eventhpe.errors import EventHPEError, FormatError, UnitError
    from eventhpe.events.batch import (
        REPORT_NAME,
        Outcome,
        convert_unit,
        find_sources,
        name_outputs,
        run_batch,
    )

    if options.jobs < 1:
        raise UnitError(f"--jobs must be >= 1; got {options.jobs}.")
    changes = _changes(options)
    units: list[Unit] = []
    refused: list[Outcome] = []
    single = len(options.files) == 1 and _is_file(options.files[0]) and not options.output.is_dir()
    if single and (options.output.suffix or options.stream != "all"):
        units = _units(options, options.files[0], options.output, _target(options), changes)
    else:
        if options.output.is_file():
            raise FormatError(f"-o {options.output}: several recordings need a folder, this is a file.")
        target = options.to or "eventhpe"
        for source, output in name_outputs(find_sources(options.files), options.output, target):
            try:
                units += _units(options, source, output, target, changes)
            except EventHPEError as error:  # one recording that cannot be opened stops none of the others
                text = f"{type(error).__name__}: {error}"
                refused.append(Outcome(str(source), str(output), "failed", error=text))
    if single and len(units) == 1:
        from tqdm import tqdm

        with tqdm(
            desc=options.files[0].name, unit=" events", unit_scale=True, disable=None, leave=False
        ) as bar:
            outcome = convert_unit(units[0], progress=lambda count: bar.update(count - bar.n))
        return _tell([outcome])

    from eventhpe.cli.progress import progress_bar

    folder = options.output if not single else options.output.parent
    with progress_bar(len(units), "converting") as step:
        outcomes = run_batch(
            units, folder / REPORT_NAME, jobs=options.jobs, told=lambda outcome: step(), refused=refused
        )
    code = _tell(outcomes)
    counts = {s: sum(o.status == s for o in outcomes) for s in ("done", "skipped", "failed")}
    print(
        f"{counts['done']} converted, {counts['skipped']} there already, {counts['failed']} failed; ", end=""
    )
    print(f"report: {folder / REPORT_NAME}")
    return code


def _is_file(path: Path) -> bool:
    """One recording: a file that exists or names no pattern, or the folder of a ROS 2 bag."""
    if path.is_dir():
        return (path / "metadata.yaml").is_file()
    return path.exists() or not any(c in str(path) for c in "*?[")


def _target(options: Options) -> str:
    if options.to is not None:
        return options.to
    return {".aedat": "aedat2", ".aedat4": "aedat4"}.get(options.output.suffix.lower(), "eventhpe")


def _units(options: Options, source: Path, output: Path, target: str, changes: Changes) -> list[Unit]:
    """The conversion of a recording; with --stream all, one for each of its cameras."""
    from eventhpe.events.batch import Unit, per_stream

    unit = Unit(
        source, output, format=options.format, sensor=options.sensor,
        stream=None if options.stream == "all" else options.stream, time_unit=options.time_unit,
        target=target, compression=options.compression, changes=changes, overwrite=options.overwrite,
    )  # fmt: skip
    if options.undistort is not None:
        unit = _undistorted(unit, options.undistort)
    return per_stream(unit) if options.stream == "all" else [unit]


def _undistorted(unit: Unit, calibration: Path) -> Unit:
    """The unit with a calibration, which is for one size of sensor."""
    from eventhpe.data.calibration import read_calibration
    from eventhpe.events.open import open_recording

    with open_recording(
        unit.source, format=unit.format, sensor=unit.sensor, stream=unit.stream, time_unit=unit.time_unit
    ) as recording:
        camera = read_calibration(calibration, recording.sensor_size)
    return replace(unit, changes=replace(unit.changes, undistort=camera))


def _changes(options: Options) -> Changes:
    """All changes but --undistort, which needs the sensor."""
    from eventhpe.errors import UnitError
    from eventhpe.events.transforms import Changes

    if len(options.crop) not in (0, 4):
        raise UnitError(f"--crop takes LEFT TOP WIDTH HEIGHT; got {len(options.crop)} numbers.")
    return Changes(
        start_us=round(options.start * 1e6),
        stop_us=None if options.stop is None else round(options.stop * 1e6),
        hot_pixels=options.hot_pixels,
        background_us=options.background_us,
        refractory_us=options.refractory_us,
        crop=(options.crop[0], options.crop[1], options.crop[2], options.crop[3]) if options.crop else None,
        flip=options.flip,
        downsample=options.downsample,
    )


def _tell(outcomes: list[Outcome]) -> int:
    """One line per recording; problems on stderr."""
    for outcome in outcomes:
        for note in outcome.notes:
            print(
                f"note: {outcome.source}: {note}" if len(outcomes) > 1 else f"note: {note}", file=sys.stderr
            )
        if outcome.status == "failed":
            print(f"eventhpe: {outcome.error}", file=sys.stderr)
        elif outcome.status == "skipped":
            print(f"{outcome.output}: already converted from the same bytes with the same options")
        else:
            print(f"{outcome.output}: {outcome.num_events:,} events, {outcome.duration_s:.3f} s")
    return 2 if any(outcome.status == "failed" for outcome in outcomes) else 0
