"""`eventhpe info`: what is in a recording."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eventhpe.events.recording import RecordingInfo

HELP = "tell what a recording holds: format, sensor, counts, times, what was lost"


@dataclass(frozen=True)
class Options:
    file: Path
    """Recording to look at."""
    json: bool = False
    """Print one JSON object."""
    format: str | None = None
    """Read as this format (aedat2, aedat4, dsec, eventhpe) without looking at the content."""
    sensor: str | None = None
    """Camera name or WIDTHxHEIGHT, for files that do not tell."""
    stream: str | None = None
    """Camera to look at where a file holds several (index or name)."""


def run(options: Options) -> int:
    from eventhpe.events.open import open_recording

    with open_recording(
        options.file, format=options.format, sensor=options.sensor, stream=options.stream
    ) as recording:
        info = recording.info()
    print(json.dumps(info.as_dict(), indent=2) if options.json else describe(info))
    return 0


def describe(info: RecordingInfo) -> str:
    """The table for people."""
    height, width = info.sensor_size
    rows = [
        ("file", info.source),
        ("format", info.format),
        ("sensor", f"{width} x {height} pixels"),
        ("events", f"{info.num_events:,} ({info.num_on:,} ON, {info.num_off:,} OFF)"),
        ("duration", f"{info.duration_us / 1e6:.6f} s"),
        ("mean rate", f"{info.mean_rate_hz:,.0f} events/s"),
    ]
    if info.num_events:
        rows.append(("stored times", f"{info.t_first_us} .. {info.t_last_us} µs"))
        rows.append(("columns, rows", f"x {info.x_min}..{info.x_max}, y {info.y_min}..{info.y_max}"))
    if len(info.streams) > 1:
        rows.append(("cameras", ", ".join(f"{k} = {name}" for k, name in enumerate(info.streams))))
    if info.num_frames:
        rows.append(("gray frames", f"{info.num_frames:,}"))
    if info.num_triggers:
        rows.append(("triggers", f"{info.num_triggers:,}"))
    rows.extend(("note", text) for text in info.warnings)
    return "\n".join(f"{name:<14} {text}" for name, text in rows)
