"""`eventhpe pose`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from eventhpe.cli.command_line import command_line

if TYPE_CHECKING:
    from eventhpe.data.poses import Poses
    from eventhpe.events.recording import Recording
    from eventhpe.pose import PoseNetworks

HELP = "2D and 3D joints of everybody in a recording: poses.npz, .csv, .json (COCO), .mp4"

FILES = ("poses.npz", "poses.csv", "poses.json", "poses.mp4")


@dataclass(frozen=True)
class Options:
    """Options of `eventhpe pose`."""

    file: Path
    """Recording of any format that is read (docs/formats.md), or a folder of converted ones (.h5)."""
    output: Path
    """Folder for poses.npz, poses.csv, poses.json (COCO style) and poses.mp4; of a folder, one for each
    recording."""
    weights: Path | None = None
    """Weights of a head: `eventhpe train simdr`, hemlets, heatmap ... (default: the shipped SimDR). A head
    that was trained on gray images reads those of the recording."""
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
    """Find the joints, write the files, print a summary; of a folder, recording by recording."""
    from eventhpe.errors import FormatError

    if options.output.is_file():
        raise FormatError(f"{options.output}: expected a folder to write to, this is a file.")
    networks = _load(options)
    if options.file.is_dir():
        return _folder(options, networks)
    poses, recording = _one(options, networks, options.file, options.output)
    _summarise(recording, poses, options)
    return 0


def _load(options: Options) -> PoseNetworks:
    from eventhpe.pose import PoseNetworks

    weights, people = (None if p is None else str(p) for p in (options.weights, options.people_weights))
    return PoseNetworks.load(weights, people, finder=options.finder)


def _folder(options: Options, networks: PoseNetworks) -> int:
    """Every converted recording of a folder; those whose joints are there already are passed over."""
    from eventhpe.errors import EventHPEError, FormatError

    paths = sorted(options.file.glob("*.h5"))
    if not paths:
        raise FormatError(
            f"{options.file}: no .h5 recordings there. Name one file, or convert them first: "
            f"eventhpe convert {options.file} -o FOLDER"
        )
    counts = {"done": 0, "there already": 0, "failed": 0}
    for path in paths:
        output = options.output / path.stem
        if _is_there(output / FILES[0], networks, options):
            counts["there already"] += 1
            print(f"{path.name}: joints by the same weights are there already")
            continue
        try:
            poses, _ = _one(options, networks, path, output)
        except EventHPEError as error:
            counts["failed"] += 1
            print(f"eventhpe: {error}", file=sys.stderr)
            continue
        counts["done"] += 1
        print(f"{path.name}: {len(poses.people)} people, {sum(len(p.window) for p in poses.people):,} poses")
    told = ", ".join(f"{counts[name]} {name}" for name in ("done", "there already", "failed"))
    print(f"{told}: {options.output}")
    return 2 if counts["failed"] else 0


def _is_there(path: Path, networks: PoseNetworks, options: Options) -> bool:
    from eventhpe.data.pose_files import read_poses
    from eventhpe.errors import FormatError

    try:
        found = read_poses(path).provenance
    except FormatError:
        return False
    return all(found.get(name) == value for name, value in _made_by(networks, options).items())


def _made_by(networks: PoseNetworks, options: Options) -> dict[str, Any]:
    """What decides how joints are found."""
    return {
        "weights": networks.joints_card.sha256[:12],
        "finder": options.finder if networks.people_card is None else networks.people_card.sha256[:12],
        "calibration": "assumed" if options.calibration is None else options.calibration.name,
        "flip": options.flip,
    }


def _one(options: Options, networks: PoseNetworks, file: Path, output: Path) -> tuple[Poses, Recording]:
    """Joints of one recording, and its files."""
    from eventhpe.cli.progress import progress
    from eventhpe.data.calibration import assumed_camera, read_calibration
    from eventhpe.data.pose_files import write_poses
    from eventhpe.events.open import open_recording
    from eventhpe.pose import find_poses
    from eventhpe.render.pose_movie import write_pose_movie

    with open_recording(
        file,
        format=options.format,
        sensor=options.sensor,
        stream=options.stream,
        time_unit=options.time_unit,
    ) as recording:
        if options.calibration is not None:
            camera = read_calibration(options.calibration, recording.sensor_size)
        else:
            camera = assumed_camera(recording.sensor_size)
        facts = _made_by(networks, options) | {
            "recording": file.name,
            "focal_px": round(float(camera.K[0, 0]), 2),
            "command": command_line(names_only=True),
        }
        poses = find_poses(
            recording, networks, camera, flip=options.flip, provenance=facts, progress=progress
        )
        output.mkdir(parents=True, exist_ok=True)
        if options.video:
            write_pose_movie(
                output / FILES[3], recording, poses.skeleton, poses.t_us,
                [(p.person, p.window, p.uv, p.confidence, p.box) for p in poses.people],
                progress=lambda items: progress(list(items), "drawing"),
            )  # fmt: skip
        # The npz last: a folder that holds it is complete.
        for name in (FILES[2], FILES[1], FILES[0]):
            write_poses(output / name, poses)
        return poses, recording


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
