"""`eventhpe demo`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

HELP = "capture the shipped recording and compare with its truth: the main job in one command"


@dataclass(frozen=True)
class Options:
    """Options of `eventhpe demo`."""

    output: Path = Path("eventhpe-demo")
    """Folder for motion.npz, overlay.mp4 and report.html."""


def run(options: Options) -> int:
    """Capture the shipped recording."""
    from eventhpe.body.default import open_body
    from eventhpe.body.posing import BodyPoser
    from eventhpe.capture import Networks, capture
    from eventhpe.capture_report import write_outputs
    from eventhpe.cli.capture import describe, summarise
    from eventhpe.cli.progress import progress
    from eventhpe.data.demo import demo_labels, demo_recording
    from eventhpe.evaluation.protocols import score_track
    from eventhpe.events.open import open_recording

    path = demo_recording()
    poser = BodyPoser(open_body())
    networks = Networks.load()
    with open_recording(path) as recording:
        labels = demo_labels(poser, recording.t_offset_us)
        facts = describe(path, labels.camera, networks, calibration=Path("its truth file"))
        captured = capture(recording, networks, labels.camera, provenance=dict(facts), progress=progress)
        scores = score_track(captured.clip.params, captured.clip.t_us, labels, poser)
        lines = {
            "joint error (MPJPE, camera frame)": f"{scores['mpjpe_mm']:.0f} mm",
            "joint error, root-aligned": f"{scores['root_aligned_mm']:.0f} mm",
            "joint error, PA-MPJPE": f"{scores['pa_mpjpe_mm']:.0f} mm",
            "vertex error (PVE, camera frame)": f"{scores['pve_mm']:.0f} mm",
            "mask IoU": f"{scores['mask_iou']:.2f}",
        }
        outputs = write_outputs(
            options.output, recording, captured, facts=facts, scores=lines,
            progress=lambda items: progress(list(items), "drawing"),
        )  # fmt: skip
        summarise(recording, captured, outputs)
    for name, value in lines.items():
        print(f"{name}: {value}")
    (options.output / "scores.json").write_text(json.dumps(scores, indent=1) + "\n")
    return 0
