"""`eventhpe pose`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from eventhpe.cli.command_line import command_line

if TYPE_CHECKING:
    from eventhpe.data.poses import Poses
    from eventhpe.events.recording import Recording

HELP = "2D and 3D joints of everybody in a recording: poses.npz, .csv, .json (COCO), .mp4"

FILES = ("poses.npz", "poses.csv", "poses.json", "poses.mp4")


@dataclass(frozen=True)
class Options:
    """Options of `eventhpe pose`."""

    file: Path
    """Recording of any format that is read (docs/formats.md)."""
    output: Path
    """Folder for poses.npz, poses.csv, poses.json (COCO style) and poses.mp4."""
    weights: Path | None = None
    """Weights of a head: `eventhpe train simdr`, hemlets, heatmap ... (default: the shipped SimDR)."""
    people_weights: Path | None = None
    """Weights of `eventhpe train swahr`, which find people (default: the shipped ones)."""
    finder: Literal["network", "density"] = "network"
    """network finds several people bottom-up; density follows the one thing that moves most."""
    flip: bool = True
    """Average over crops and their mirror images."""
    calibration: Path | None = None
    """YAML or JSON with fx, fy, cx, cy (or K) and dist; without it a 56 degree lens is assumed."""
    video: bool = True
    """Also write the video."""
    format: str | None = None
    """Override the detected file format."""
    sensor: str | None = None
    """Override the detected sensor, e.g. DVS128 or DAVIS346."""
    stream: str | None = None
    """Which camera of a file with several (index or name)."""
    time_unit: Literal["s", "ms", "us", "ns"] | None = None
    """Unit of the stored times, for text and arrays that do not tell."""


def run(options: Options) -> int:
    """Find the joints, write the files, print a summary."""
    from eventhpe.cli.progress import progress
    from eventhpe.data.calibration import assumed_camera, read_calibration
    from eventhpe.data.pose_files import write_poses
    from eventhpe.errors import FormatError
    from eventhpe.events.open import open_recording
    from eventhpe.pose import PoseNetworks, find_poses
    from eventhpe.render.pose_movie import write_pose_movie

    if options.output.is_file():
        raise FormatError(f"{options.output}: expected a folder to write to, this is a file.")
    with open_recording(
        options.file,
        format=options.format,
        sensor=options.sensor,
        stream=options.stream,
        time_unit=options.time_unit,
    ) as recording:
        weights, people = (None if p is None else str(p) for p in (options.weights, options.people_weights))
        networks = PoseNetworks.load(weights, people, finder=options.finder)
        if options.calibration is not None:
            camera = read_calibration(options.calibration, recording.sensor_size)
        else:
            camera = assumed_camera(recording.sensor_size)
        facts = {
            "recording": options.file.name,
            "weights": networks.joints_card.sha256[:12],
            "finder": options.finder if networks.people_card is None else networks.people_card.sha256[:12],
            "focal_px": round(float(camera.K[0, 0]), 2),
            "calibration": "assumed" if options.calibration is None else options.calibration.name,
            "command": command_line(names_only=True),
        }
        poses = find_poses(
            recording, networks, camera, flip=options.flip, provenance=facts, progress=progress
        )
        options.output.mkdir(parents=True, exist_ok=True)
        for name in FILES[:3]:
            write_poses(options.output / name, poses)
        if options.video:
            write_pose_movie(
                options.output / FILES[3], recording, poses.skeleton, poses.t_us,
                [(p.person, p.window, p.uv, p.confidence, p.box) for p in poses.people],
                progress=lambda items: progress(list(items), "drawing"),
            )  # fmt: skip
        _summarise(recording, poses, options)
    return 0


def _summarise(recording: Recording, poses: Poses, options: Options) -> None:
    from eventhpe.cli.progress import table
    from eventhpe.data.windows import WINDOW_US

    rows = [
        ("recording", f"{recording.num_events:,} events, {recording.duration_us * 1e-6:.2f} s"),
        ("people", str(len(poses.people))),
    ]
    for p in poses.people:
        begin = int(poses.t_us[p.window[0]]) - WINDOW_US
        span = f"{begin * 1e-6:.2f} to {poses.t_us[p.window[-1]] * 1e-6:.2f} s"
        rows.append((f"person {p.person}", f"{span}, mean confidence {p.confidence.mean():.2f}"))
    written = FILES if options.video else FILES[:3]
    rows += [(name, str(options.output / name)) for name in written]
    print(table(rows))
    if options.calibration is None and any(p.xyz is not None for p in poses.people):
        print("note: no calibration given: distances scale with the true focal length")
    for note in recording.warnings:
        print(f"note: {note}")
