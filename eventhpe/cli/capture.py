"""`eventhpe capture`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from eventhpe.cli.command_line import command_line

if TYPE_CHECKING:
    from eventhpe.capture import Capture, Networks
    from eventhpe.events.recording import Recording
    from eventhpe.geometry.camera import Camera
    from eventhpe.weights.files import WeightsCard

HELP = "capture the person in a recording: motion.npz, overlay.mp4, report.html"


@dataclass(frozen=True)
class Options:
    """Options of `eventhpe capture`."""

    file: Path
    """Recording of any format that is read (docs/formats.md)."""
    output: Path
    """Folder for motion.npz, overlay.mp4 and report.html."""
    weights: Path | None = None
    """ShapeNet weights (default: the shipped ones)."""
    flow_weights: Path | None = None
    """FlowNet weights (default: the shipped ones)."""
    start_weights: Path | None = None
    """HEMlets PoSh weights (`eventhpe train posh`) to guess the start pose with, or the word "shipped"."""
    start: Path | None = None
    """Motion file whose first pose is the body at the recording's start, in the camera frame, where that is
    known (from markers, say): the body is then followed by its contours, too."""
    finder: Literal["network", "density"] = "network"
    """network finds people bottom-up, and follows whatever moves most where it does not see the person;
    density does only the latter."""
    people_weights: Path = Path("shipped")
    """SAHR + WAHR weights (`eventhpe train swahr`) that find people, or the word "shipped"."""
    person: int | None = None
    """Whom to capture, numbered as `eventhpe pose` does; default: who is seen best."""
    calibration: Path | None = None
    """YAML or JSON with fx, fy, cx, cy (or K) and dist; without it a 56 degree lens is assumed."""
    format: str | None = None
    """Override the detected file format."""
    sensor: str | None = None
    """Override the detected sensor, e.g. DVS128 or DAVIS346."""
    stream: str | None = None
    """Which camera of a file with several (index or name)."""
    time_unit: Literal["s", "ms", "us", "ns"] | None = None
    """Unit of the stored times, for text and arrays that do not tell."""


def run(options: Options) -> int:
    """Capture, write the three files, print a summary."""
    from eventhpe.capture import CaptureHelpers, Networks, capture
    from eventhpe.capture_report import write_outputs
    from eventhpe.cli.progress import progress
    from eventhpe.data.calibration import assumed_camera, read_calibration
    from eventhpe.data.start import start_from_motion
    from eventhpe.errors import FormatError
    from eventhpe.events.open import open_recording
    from eventhpe.weights.files import or_shipped, read_card

    if options.person is not None and (options.finder != "network" or options.person < 0):
        raise FormatError("--person counts from 0 and goes with --finder network.")
    if options.start is not None and options.start_weights is not None:
        raise FormatError("--start gives the start pose, --start-weights guesses it: give one of them.")
    start = None if options.start is None else start_from_motion(options.start)
    start_weights = or_shipped(options.start_weights, "posh")
    people_weights = or_shipped(options.people_weights, "swahr") if options.finder == "network" else None
    with open_recording(
        options.file,
        format=options.format,
        sensor=options.sensor,
        stream=options.stream,
        time_unit=options.time_unit,
    ) as recording:
        networks = Networks.load(_str(options.weights), _str(options.flow_weights))
        if options.calibration is not None:
            camera = read_calibration(options.calibration, recording.sensor_size)
        else:
            camera = assumed_camera(recording.sensor_size)
        helpers = CaptureHelpers.load(_str(start_weights), _str(people_weights), person=options.person)
        facts = describe(options.file, camera, networks, calibration=options.calibration)
        for name, path in (
            ("start weights", start_weights),
            ("people weights", people_weights),
        ):
            if path is not None:
                facts[name] = _card_line(read_card(path))
        captured = capture(
            recording, networks, camera, start=start, helpers=helpers, provenance=dict(facts),
            progress=progress,
        )  # fmt: skip
        outputs = write_outputs(
            options.output,
            recording,
            captured,
            facts=facts,
            progress=lambda items: progress(list(items), "drawing"),
        )
        summarise(recording, captured, outputs)
    return 0


def describe(file: Path, camera: Camera, networks: Networks, *, calibration: Path | None) -> dict[str, str]:
    """Provenance of a capture as plain text."""
    import eventhpe

    focal = f"focal length {camera.K[0, 0]:.1f} px"
    facts = {
        "recording": file.name,
        "camera": f"{focal}, from {calibration.name}" if calibration is not None else
        f"{focal}, assumed (no calibration given): distances and sizes scale with the true focal length",
        "shape weights": _card_line(networks.shape_card),
    }  # fmt: skip
    if networks.flow_card is not None:
        facts["flow weights"] = _card_line(networks.flow_card)
    facts["body model"] = "open (CC0)"
    facts["eventhpe"] = eventhpe.__version__
    facts["command"] = command_line(names_only=True)
    return facts


def summarise(recording: Recording, captured: Capture, outputs: dict[str, Path]) -> None:
    """Print what was found and where it lies."""
    from eventhpe.cli.progress import table

    clip = captured.clip
    depth = clip.params.transl[:, 2]
    rows = [
        ("recording", f"{recording.num_events:,} events, {recording.duration_us * 1e-6:.2f} s"),
        ("poses", f"{len(clip.t_us)} at {clip.framerate:g} per second"),
        ("distance", f"{depth.min():.1f} to {depth.max():.1f} m"),
        ("mean confidence", f"{clip.confidence.mean():.2f}"),
        *((name, str(path)) for name, path in outputs.items()),
    ]
    print(table(rows))
    for note in (*captured.notes, *recording.warnings):
        print(f"note: {note}")


def _card_line(card: WeightsCard) -> str:
    return f"{card.system}, sha256 {card.sha256[:12]}, {card.data['training']['steps_done']} training steps"


def _str(path: Path | None) -> str | None:
    return None if path is None else str(path)
