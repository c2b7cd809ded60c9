"""`eventhpe render`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

HELP = "draw a motion over its recording as an H.264 video"


@dataclass(frozen=True)
class Options:
    """Options of `eventhpe render`."""

    motion: Path
    """Motion file (.npz) from a capture."""
    recording: Path
    """The recording it was captured from."""
    output: Path = field(kw_only=True)
    """Video to write (.mp4)."""
    what: Literal["mesh", "skeleton", "events"] = "mesh"
    """What to draw over the events."""
    format: str | None = None
    """Override the detected file format."""
    sensor: str | None = None
    """Override the detected sensor."""
    stream: int | None = None
    """Which camera of a file with several."""


def run(options: Options) -> int:
    """Draw the video."""
    from eventhpe.body.default import load_body
    from eventhpe.body.motion_file import load_motion
    from eventhpe.body.posing import BodyPoser
    from eventhpe.cli.progress import progress
    from eventhpe.errors import FormatError
    from eventhpe.events.open import open_recording
    from eventhpe.render.movie import write_movie

    if options.output.suffix.lower() != ".mp4":
        raise FormatError(f"-o {options.output}: videos are written as .mp4.")
    clip = load_motion(options.motion)
    poser = BodyPoser(load_body(clip.params.model))
    with open_recording(
        options.recording, format=options.format, sensor=options.sensor, stream=options.stream
    ) as recording:
        count = write_movie(
            options.output,
            recording,
            clip=clip,
            poser=poser,
            what=options.what,
            progress=lambda items: progress(list(items), "drawing"),
        )
    print(f"{options.output}: {count} pictures")
    return 0
