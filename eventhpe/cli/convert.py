"""`eventhpe convert`: any recording into the canonical HDF5 file."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

HELP = "write a recording of any format as one HDF5 file that opens quickly"


@dataclass(frozen=True)
class Options:
    file: Path
    """Recording to read."""
    output: Path
    """HDF5 file to write."""
    format: str | None = None
    """Read as this format (aedat2, aedat4, dsec, eventhpe) without looking at the content."""
    sensor: str | None = None
    """Camera name or WIDTHxHEIGHT, for files that do not tell."""
    stream: str | None = None
    """Camera to convert where a file holds several (index or name)."""
    compression: str = "bitshuffle-lz4"
    """bitshuffle-lz4 (fast), gzip (readable without plug-ins) or none."""
    overwrite: bool = False
    """Replace an existing output file."""


def run(options: Options) -> int:
    from eventhpe.events.open import open_recording
    from eventhpe.events.store import convert

    with open_recording(
        options.file, format=options.format, sensor=options.sensor, stream=options.stream
    ) as recording:
        convert(recording, options.output, compression=options.compression, overwrite=options.overwrite)
        for text in recording.warnings:
            print(f"note: {text}", file=sys.stderr)
        print(f"{options.output}: {recording.num_events:,} events, {recording.duration_us / 1e6:.3f} s")
    return 0
