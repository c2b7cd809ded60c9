"""`eventhpe render`: a recording as a video, alone or with a motion drawn over it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from eventhpe.events.recording import Recording

HELP = "draw a recording, or a motion over its recording, as an H.264 video"

_ALONE = ("fps", "slow", "window_us", "start", "stop", "scale", "style", "frames")


@dataclass(frozen=True)
class Options:
    """Options of `eventhpe render`."""

    file: tuple[Path, ...]
    """RECORDING to draw its events alone; or MOTION RECORDING: a motion file (.npz) from a capture and the
    recording it was captured from."""
    output: Path = field(kw_only=True)
    """Video to write (.mp4)."""
    what: Literal["mesh", "skeleton", "events"] | None = None
    """What to draw: a motion as mesh (usual) or skeleton over the events, or events only (usual without a
    motion)."""
    fps: float | None = None
    """Pictures per second of the video (30). This and what follows down to --frames is for a recording
    alone."""
    slow: float | None = None
    """Slow motion: 10 plays ten times slower than it happened, 0.1 ten times faster (1)."""
    window_us: int | None = None
    """Each picture shows the events of so many µs (the time from one picture to the next)."""
    start: float | None = None
    """Begin at so many seconds."""
    stop: float | None = None
    """End at so many seconds."""
    scale: int | None = None
    """Whole enlargement (by the sensor's size)."""
    style: Literal["dark", "light"] | None = None
    """Background (dark)."""
    frames: bool = False
    """Draw the gray frames of the camera beneath the events."""
    format: str | None = None
    """Override the detected file format."""
    sensor: str | None = None
    """Override the detected sensor."""
    stream: str | None = None
    """Which camera of a file with several (index or name)."""
    time_unit: Literal["s", "ms", "us", "ns"] | None = None
    """Unit of the stored times, for text and arrays that do not tell."""


def run(options: Options) -> int:
    """Draw the video."""
    from eventhpe.errors import FormatError
    from eventhpe.events.open import open_recording

    _check(options)
    draw = _draw_events if len(options.file) == 1 else _draw_motion
    if len(options.file) == 2 and not options.file[0].is_file():
        raise FormatError(f"{options.file[0]}: no such motion file.")
    with open_recording(
        options.file[-1],
        format=options.format,
        sensor=options.sensor,
        stream=options.stream,
        time_unit=options.time_unit,
    ) as recording:
        count = draw(options, recording)
    print(f"{options.output}: {count} picture{'' if count == 1 else 's'}")
    return 0


def _check(options: Options) -> None:
    """FormatError, saying what to write, where files and options do not belong together."""
    from eventhpe.errors import FormatError

    if options.output.suffix.lower() != ".mp4":
        raise FormatError(f"-o {options.output}: videos are written as .mp4.")
    if len(options.file) > 2:
        raise FormatError(f"expected RECORDING, or MOTION RECORDING; got {len(options.file)} files.")
    if len(options.file) == 1:
        if options.what in ("mesh", "skeleton"):
            raise FormatError(
                f"--what {options.what} draws a motion over its recording and needs both files: "
                f"eventhpe render MOTION.npz RECORDING -o {options.output}. Events alone: --what events."
            )
        if _is_motion(options.file[0]):
            raise FormatError(
                f"{options.file[0]} is a motion; give the recording it was captured from too: "
                f"eventhpe render {options.file[0]} RECORDING -o {options.output}"
            )
        return
    if _is_motion(options.file[1]) and not _is_motion(options.file[0]):
        raise FormatError(
            f"the motion comes first: eventhpe render {options.file[1]} {options.file[0]} -o {options.output}"
        )
    given = [f"--{name.replace('_', '-')}" for name in _ALONE if getattr(options, name) not in (None, False)]
    if given:
        raise FormatError(
            f"{', '.join(given)} cannot be used with a motion, which sets the times of the pictures; give "
            f"the recording alone: eventhpe render {options.file[1]} {given[0]} ..."
        )


def _is_motion(path: Path) -> bool:
    """Whether the file is a motion of this package (an archive of arrays with our schema)."""
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            return {"schema.npy", "schema_version.npy", "poses.npy"} <= set(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def _draw_events(options: Options, recording: Recording) -> int:
    from eventhpe.cli.progress import progress
    from eventhpe.render.event_movie import MovieOptions, write_event_movie

    usual = MovieOptions()
    how = MovieOptions(
        fps=usual.fps if options.fps is None else options.fps,
        slow=usual.slow if options.slow is None else options.slow,
        window_us=options.window_us,
        start_s=options.start,
        stop_s=options.stop,
        scale=options.scale,
        style=options.style or usual.style,
        frames=options.frames,
    )
    return write_event_movie(
        options.output, recording, how, progress=lambda items: progress(items, "drawing")
    )


def _draw_motion(options: Options, recording: Recording) -> int:
    from eventhpe.body.default import load_body
    from eventhpe.body.motion_file import load_motion
    from eventhpe.body.posing import BodyPoser
    from eventhpe.cli.progress import progress
    from eventhpe.render.movie import write_movie

    clip = load_motion(options.file[0])
    return write_movie(
        options.output,
        recording,
        clip=clip,
        poser=BodyPoser(load_body(clip.params.model)),
        what=options.what or "mesh",
        progress=lambda items: progress(list(items), "drawing"),
    )
