"""`eventhpe simulate`."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from eventhpe.data.generator import GeneratorConfig

HELP = "make labelled synthetic recordings of moving people"


@dataclass(frozen=True)
class Options:
    """Options of `eventhpe simulate`."""

    output: Path
    """A file ending in .h5 for one recording, else a folder."""
    motion: Path | None = None
    """BVH or AMASS clip to perform; without it movements are drawn."""
    motions: Path | None = None
    """Folder of BVH and AMASS clips to draw from, besides the procedural movements."""
    preset: Literal["lab", "wild", "dhp19", "mmhpsd", "clean", "benchmark-v1", "benchmark-p1"] = "lab"
    """lab = one person, still camera; wild = several people, shaking camera, moving background; clean = ideal
    sensor; dhp19, mmhpsd = small data sets in those formats; benchmark-v1 (needs --motions) and benchmark-p1
    =
    frozen evaluation sets."""
    settings: Path | None = None
    """YAML file with changes to the preset's settings (docs/simulate.md)."""
    n: int = 1
    """Number of recordings (the benchmarks have their own)."""
    seed: int = 0
    """Seed of all random draws; equal seeds give equal files."""
    duration: float | None = None
    """Seconds per recording; default: the preset's, 4 for lab."""
    jobs: int = 1
    """Processes that work side by side; the files do not depend on it."""
    flow_labels: bool = True
    """Store dense optical flow labels."""
    depth_labels: bool = False
    """Store depth maps."""
    also: Literal["aedat2", "aedat4"] | None = None
    """Write the events in this format too, beside each recording."""
    overwrite: bool = False
    """Make files anew that already exist; without it they are kept and skipped."""
    preview: Path | None = None
    """Also write a contact sheet of the recordings as PNG."""
    video: Path | None = None
    """Also write a video of the first recording with its labels as MP4."""


def run(options: Options) -> int:
    """Make the recordings."""
    from eventhpe.cli.progress import progress
    from eventhpe.data.plan import Request, plan, run_plan
    from eventhpe.errors import FormatError

    if options.n < 1:
        raise FormatError(f"--n must be at least 1; got {options.n}.")
    config = settings(options)
    jobs = plan(
        Request(
            options.output, options.preset, config, options.motion, options.motions, options.n, options.seed
        )
    )
    if config is not None and options.output.suffix != ".h5":
        write_settings(options, config)
    todo = [j for j in jobs if options.overwrite or not j.output.exists()]
    if len(todo) < len(jobs):
        print(f"kept {len(jobs) - len(todo)} existing recordings", file=sys.stderr)
    done = list(progress(run_plan(todo, workers=options.jobs), "simulating"))  # type: ignore[arg-type]
    events = sum(d["num_events"] for d in done)
    print(
        json.dumps(
            {"recordings": len(jobs), "made": len(done), "events": events, "output": str(options.output)}
        )
    )
    recordings = canonical(options, [j.output for j in jobs])
    if options.also is not None:
        for path in recordings:
            print(f"wrote {export(path, options.also, options.overwrite)}")
    if options.preview is not None:
        from eventhpe.render.contact_sheet import write_contact_sheet

        write_contact_sheet(options.preview, recordings[:24])
        print(f"wrote {options.preview}")
    if options.video is not None:
        from eventhpe.data.preview import write_label_movie

        write_label_movie(options.video, recordings[0])
        print(f"wrote {options.video}")
    return 0


def settings(options: Options) -> GeneratorConfig | None:
    """Settings of the preset with the changes of the command; None for the frozen benchmarks.

    Raises:
        FormatError: changes to a frozen benchmark.
    """
    from dataclasses import replace

    from eventhpe.data.presets import preset_config
    from eventhpe.data.settings_file import read_settings
    from eventhpe.errors import FormatError

    if options.preset.startswith("benchmark-"):
        if (
            options.settings is not None
            or options.duration is not None
            or options.depth_labels
            or not options.flow_labels
        ):
            raise FormatError(
                f"preset {options.preset} is frozen: --settings, --duration, --no-flow-labels and "
                "--depth-labels do not apply."
            )
        return None
    config = preset_config(options.preset)
    if options.settings is not None:
        config = read_settings(options.settings, config)
    if options.duration is not None:
        config = replace(config, duration_s=options.duration)
    if not options.flow_labels:
        config = replace(config, flow_labels=False)
    return replace(config, depth_labels=True) if options.depth_labels else config


def write_settings(options: Options, config: GeneratorConfig) -> None:
    """Keep the settings beside the recordings, as a file that --settings takes.

    Raises:
        FormatError: the folder holds recordings that were made otherwise.
    """
    from eventhpe.atomic import PendingFile
    from eventhpe.data.settings_file import settings_text
    from eventhpe.errors import FormatError

    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "settings.yaml"
    made = f"--preset {options.preset} --seed {options.seed}"
    for name, value in (("motion", options.motion), ("motions", options.motions)):
        made += f" --{name} {value}" if value is not None else ""
    text = f"# eventhpe simulate {made}\n{settings_text(config)}"
    if path.exists() and path.read_text() != text and not options.overwrite:
        raise FormatError(
            f"{path}: the recordings of this folder were made with another preset, seed, motions "
            "or settings; give another folder, or --overwrite to make them anew."
        )
    with PendingFile(path) as pending:
        pending.temporary.write_text(text)


def canonical(options: Options, outputs: list[Path]) -> list[Path]:
    """The recordings in our own format behind the jobs' outputs."""
    if options.preset in ("dhp19", "mmhpsd"):
        return sorted((options.output / "recordings").glob("*.h5"))
    return outputs


def export(path: Path, target: str, overwrite: bool) -> Path:
    """Write a recording in another format beside it; an existing file is kept unless told otherwise."""
    from eventhpe.events.conversion import convert
    from eventhpe.events.open import open_recording
    from eventhpe.events.sinks import target_named

    out = path.with_suffix(target_named(target).suffix)
    if overwrite or not out.exists():
        with open_recording(path) as recording:
            convert(recording, out, target=target, overwrite=overwrite)
    return out
