"""`eventhpe simulate`."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

HELP = "make labelled synthetic recordings of moving people"


@dataclass(frozen=True)
class Options:
    """Options of `eventhpe simulate`."""

    output: Path
    """A file ending in .h5 for one recording, else a folder."""
    motion: Path | None = None
    """BVH clip to perform; without it movements are drawn."""
    motions: Path | None = None
    """Folder of BVH clips to draw from, besides the procedural movements."""
    preset: Literal["lab", "benchmark-v1"] = "lab"
    """lab = random scenes, held-out subjects excluded; benchmark-v1 = the frozen evaluation set of 20
    clips (needs --motions)."""
    n: int = 1
    """Number of recordings (benchmark-v1 has its own)."""
    seed: int = 0
    """Seed of all random draws; equal seeds give equal files."""
    duration: float = 4.0
    """Seconds per recording."""
    jobs: int = 1
    """Processes that work side by side; the files do not depend on it."""
    flow_labels: bool = True
    """Store dense optical flow labels."""
    overwrite: bool = False
    """Make files anew that already exist; without it they are kept and skipped."""
    preview: Path | None = None
    """Also write a contact sheet of the recordings as PNG."""


def run(options: Options) -> int:
    """Make the recordings."""
    from eventhpe.cli.progress import progress
    from eventhpe.data.presets import plan, run_plan
    from eventhpe.errors import FormatError

    if options.n < 1:
        raise FormatError(f"--n must be at least 1; got {options.n}.")
    jobs = plan(
        options.output,
        preset=options.preset,
        motion=options.motion,
        motions=options.motions,
        n=options.n,
        seed=options.seed,
        duration_s=options.duration,
        flow_labels=options.flow_labels,
    )
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
    if options.preview is not None:
        from eventhpe.render.contact_sheet import write_contact_sheet

        write_contact_sheet(options.preview, [j.output for j in jobs[:24]])
        print(f"wrote {options.preview}")
    return 0
