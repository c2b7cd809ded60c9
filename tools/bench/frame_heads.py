"""Does frame-aligned supervision help ShapeNet where few recordings have bodies?

    python tools/bench/frame_heads.py DATA [--labelled 40] [--others 60] [--scale 1] [-o FILE]

DATA holds pose_train and pose_val as tools/bench/pose_heads.py has them. Bodies are known in the first
recordings only; HEMlets learns to read gray images from these, and finds joints in the gray images of
others, whose labels nobody looks at. ShapeNet then learns in equal steps from equal clips: without a
frame head, with one on the clips' own joints, and with one on the found joints of the others. One seed.
Trainings go on where they stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import timing

ARMS = ("without", "own joints", "found joints")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--labelled", type=int, default=40, help="recordings with bodies")
    parser.add_argument("--others", type=int, default=60, help="recordings without")
    parser.add_argument("--scale", type=float, default=1.0, help="factor on all numbers of steps")
    parser.add_argument("--work", type=Path, default=Path("runs/frames"))
    parser.add_argument("-o", "--output", type=Path, default=timing.RESULTS / "frame_heads.json")
    args = parser.parse_args()
    began = time.monotonic()
    paths = sorted((args.data / "pose_train").glob("*.h5"))
    labelled = linked(paths[: args.labelled], args.work / "labelled")
    others = linked(paths[args.labelled : args.labelled + args.others], args.work / "others")
    teacher = args.work / "teacher"
    common = ["--workers", 0, "--data", f"synthetic:{labelled}"]
    eventhpe(
        "train", "hemlets", *common, "--input", "gray", "--size-px", 96, "--batch-size", 16,
        "--head-options", "width=0.25", "--steps", round(600 * args.scale), "-o", teacher,
    )  # fmt: skip
    weights = teacher / "hemlets.safetensors"
    joints = args.work / "joints"
    eventhpe(
        "pose", others, "-o", joints, "--weights", weights, "--finder", "density", "--no-video", check=False
    )
    scored = {}
    for arm in ARMS:
        out = args.work / arm.replace(" ", "_")
        options: list[object] = [] if arm == "without" else ["--frame-head", "hemlets"]
        if arm == "found joints":
            options += ["--frame-recordings", others, "--frame-poses", joints, "--frame-confidence", 0.2]
        eventhpe(
            "train", "shapenet", *common, "--size-px", 64, "--batch-size", 4, "--num-windows", 8,
            "--steps", round(400 * args.scale), *options, "-o", out,
        )  # fmt: skip
        scored[arm] = evaluated("capture", args, out / "shapenet.safetensors")
        print(arm, {k: round(v["mean"], 1) for k, v in scored[arm]["table"]["capture"].items()}, flush=True)
    rows = {arm: report["table"]["capture"] for arm, report in scored.items()}
    result = {
        "teacher": evaluated("pose2d", args, weights)["table"],
        "rows": rows | {"mean pose": scored["without"]["table"]["mean pose"]},
        "labelled": args.labelled, "others": args.others, "scale": args.scale, "seeds": 1,
        "machine": timing.machine(), "minutes": round((time.monotonic() - began) / 60, 1),
    }  # fmt: skip
    args.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def linked(paths: list[Path], folder: Path) -> Path:
    """A folder that holds these recordings."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        if not (folder / path.name).exists():
            os.link(path, folder / path.name)
    return folder


def evaluated(protocol: str, args: argparse.Namespace, weights: Path) -> dict:
    words = ["--data", args.data / "pose_val", "--weights", weights, "--json"]
    found: dict = json.loads(eventhpe("evaluate", protocol, *words, capture=True))
    return found


def eventhpe(*words: object, capture: bool = False, check: bool = True) -> str:
    """Run one verb in a process of its own."""
    command = [sys.executable, "-m", "eventhpe", *map(str, words)]
    done = subprocess.run(command, check=check, text=True, stdout=subprocess.PIPE if capture else None)
    return done.stdout or ""


if __name__ == "__main__":
    main()
