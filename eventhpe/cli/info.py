"""`eventhpe info`: what is in a recording."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from eventhpe.events.overview import Overview
    from eventhpe.events.recording import Recording, RecordingInfo

HELP = "tell what a recording holds: format, sensor, counts, rates, silences, hot pixels, what was lost"


@dataclass(frozen=True)
class Options:
    file: Path
    """Recording to look at."""
    json: bool = False
    """Print one JSON object."""
    plot: Path | None = None
    """Write a picture (.png) of the recording: rates over time, count map, events at a few moments."""
    verify: bool = False
    """Check an eventhpe HDF5 file against its own checksums and index; exit code 1 if something is wrong."""
    format: str | None = None
    """Read as this format (aedat2, evt3, ...) without looking at the content."""
    sensor: str | None = None
    """Camera name or WIDTHxHEIGHT, for files that do not tell."""
    stream: str | None = None
    """Camera to look at where a file holds several (index or name)."""
    time_unit: Literal["s", "ms", "us", "ns"] | None = None
    """Unit of the stored times, for text and arrays that do not tell."""


def run(options: Options) -> int:
    from eventhpe.errors import FormatError
    from eventhpe.events.open import open_recording

    if options.plot is not None and options.plot.suffix.lower() != ".png":
        raise FormatError(f"--plot {options.plot}: pictures are written as .png.")
    with open_recording(
        options.file,
        format=options.format,
        sensor=options.sensor,
        stream=options.stream,
        time_unit=options.time_unit,
    ) as recording:
        overview = _overview(recording)
        info = recording.info()
        findings = _findings(options.file) if options.verify else None
        if options.json:
            told = info.as_dict() | {"overview": overview.as_dict()}
            if findings is not None:
                told["findings"] = findings
            print(json.dumps(told, indent=2))
        else:
            print(describe(info, overview, span(recording)))
            for text in findings or ():
                print(f"{'wrong':<14} {text}")
            if findings == []:
                print(f"verified: {options.file} is whole")
        if options.plot is not None:
            from eventhpe.render.recording_plot import plot_recording

            plot_recording(options.plot, recording, overview)
            if not options.json:
                print(f"{'plot':<14} {options.plot}")
    return 1 if findings else 0


def _overview(recording: Recording) -> Overview:
    """In the pass that indexes the file, where its times allow that."""
    from eventhpe.events.overview import look_over
    from eventhpe.events.recording import OutOfOrderError

    try:
        return look_over((events for _, events in recording.once()), recording.sensor_size)
    except OutOfOrderError:
        return look_over(recording.blocks(), recording.sensor_size)


def _findings(file: Path) -> list[str]:
    from eventhpe.events.store_verify import verify

    return [str(finding) for finding in verify(file)]


def span(recording: Recording) -> dict[str, str]:
    """From when to when frames, triggers and IMU samples were taken, as text."""
    times = {
        "frames": None if recording.frames is None else recording.frames.t_us,
        "triggers": None if recording.triggers is None else recording.triggers.t_us,
        "IMU": None if recording.imu is None else recording.imu.t_us,
    }
    # + 0.0: no minus before a rounded zero
    return {
        name: f"from {round(t[0] * 1e-6, 3) + 0.0:.3f} to {round(t[-1] * 1e-6, 3) + 0.0:.3f} s"
        for name, t in times.items()
        if t is not None and len(t)
    }


def describe(info: RecordingInfo, overview: Overview, spans: dict[str, str]) -> str:
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
        rows += _activity(info, overview)
    if len(info.streams) > 1:
        rows.append(
            (
                "cameras",
                ", ".join(f"{k} = {name}" for k, name in enumerate(info.streams)) + "; --stream chooses",
            )
        )
    for name, label, number in (
        ("frames", "gray frames", info.num_frames),
        ("triggers", "triggers", info.num_triggers),
        ("IMU", "IMU samples", info.num_imu),
    ):
        if number:
            rows.append((label, f"{number:,} {spans.get(name, '')}".rstrip()))
    if info.elements:
        rows.append(("stored", ", ".join(f"{number:,} {name}" for name, number in info.elements.items())))
    if info.num_backward:
        most = f"by {info.largest_backward_us:,} µs at most"
        rows.append(("time jumps", f"back at {info.num_backward:,} events, {most}; reading sorts them"))
    rows += [("note", text) for text in info.warnings]
    rows += [("look", text) for text in overview.remarks()]
    return "\n".join(f"{name:<14} {text}" for name, text in rows)


def _activity(info: RecordingInfo, overview: Overview) -> list[tuple[str, str]]:
    """What the statistics say."""
    from eventhpe.events.overview import percent

    milliseconds = overview.rate_bin_us * 1e-3
    rows = [
        (
            "rate",
            f"median {overview.median_rate_hz:,.0f}, peak {overview.peak_rate_hz:,.0f} events/s at "
            f"{overview.peak_us * 1e-6:.6g} s (over {milliseconds:.4g} ms)",
        ),
        ("stored times", f"{info.t_first_us} .. {info.t_last_us} µs"),
        ("columns, rows", f"x {info.x_min}..{info.x_max}, y {info.y_min}..{info.y_max}"),
        (
            "pixels",
            f"{percent(overview.active_share)} fired; {len(overview.hot):,} hot, with "
            f"{percent(overview.hot_share)} of the events",
        ),
        ("noise", f"{percent(overview.isolated_share)} of the events have no neighbour in space and time"),
    ]
    if overview.num_gaps:
        listing = ", ".join(
            f"{g.duration_us * 1e-3:,.4g} ms at {g.start_us * 1e-6:.3f} s" for g in overview.gaps[:3]
        )
        more = ", ..." if overview.num_gaps > 3 else ""
        rows.append(
            ("silences", f"{overview.num_gaps:,} over {overview.gap_us * 1e-3:,.4g} ms: {listing}{more}")
        )
    return rows
