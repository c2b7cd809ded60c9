"""Remake the shipped weights, and the comparison of flow with and without coherence, from motion clips.

Stages: data (recordings), flow (FlowNet and its parity twin), shape (ShapeNet with the same data and steps
three ways: no flow, flow, flow + coherence; and two longer runs), maps (from there on with joint maps and
traces of earlier windows: the shipped ShapeNet), follow (FlowNet from known bodies, and a ShapeNet whose body
follows its flow; not shipped), calibrate (the filter, on validation recordings), score, install (copy into
the package). Trainings go on where they stopped. None ever sees CMU subjects 14, 60, 86 and 94.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from eventhpe.flownet.estimator import FlowEstimator
from eventhpe.shapenet.network import ShapeNet
from eventhpe.training.calibrate import calibrate
from eventhpe.weights.files import SHIPPED_MAX_BYTES, load_network, save_network

WEIGHTS = Path(__file__).parents[1] / "eventhpe" / "weights"
BENCH = Path(__file__).parent / "bench"
TURNING, SOME_TURNING = (Path(__file__).parent / f"{name}.yaml" for name in ("turning", "some_turning"))
NUM_RECORDINGS, NUM_SHORT, NUM_TURNING, NUM_VALIDATION = 440, 260, 133, 16
NUM_TWO_SECONDS, NUM_ONE_SECOND = 700, 1200
FLOW_STEPS, RELEASE_STEPS, COMPARISON_STEPS, MAPS_STEPS = 1300, 1600, 250, 2100
BODIES_STEPS, FOLLOW_STEPS = 1750, 1500
STAGES = ("data", "flow", "shape", "maps", "follow", "calibrate", "score", "install")
PLAIN = ["--joint-maps", "0", "--no-look-back"]
SHAPE_RUNS = {
    "no_flow": (COMPARISON_STEPS, ["--no-use-flow"]),
    "flow": (COMPARISON_STEPS, ["--coherence", "0"]),
    "flow_coherence": (COMPARISON_STEPS, ["--coherence", "0.1"]),
    "release": (RELEASE_STEPS, ["--coherence", "0.1"]),
}
"""ShapeNet runs: steps and options. The first three differ in nothing else; the last one is gone on from."""
TURNING_COPIES = 2
"""How often turning people stand among the training recordings, beside once for the others."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--motions", type=Path, required=True, help="folder of BVH clips (see docs/motion.md)"
    )
    parser.add_argument(
        "--work", type=Path, default=Path("runs/release"), help="folder for data, logs and weights"
    )
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument("--jobs", type=int, default=2, help="processes for the data stage")
    args = parser.parse_args()
    for stage in args.stages:
        globals()[f"make_{stage}"](args)


def make_data(args: argparse.Namespace) -> None:
    common = ["--motions", args.motions, "--jobs", args.jobs]
    training = ["--n", NUM_RECORDINGS, "--seed", 1, "--no-flow-labels"]
    eventhpe("simulate", *common, *training, "-o", args.work / "train")
    # Shorter recordings, of smaller sensors too, and people who turn: only stage follow sees these.
    short = ["--settings", BENCH / "pose_one.yaml", "--n", NUM_SHORT, "--seed", 101, "--no-flow-labels"]
    eventhpe("simulate", *common, *short, "-o", args.work / "short")
    turning = ["--settings", TURNING, "--n", NUM_TURNING, "--seed", 3, "--no-flow-labels"]
    eventhpe("simulate", *common, *turning, "-o", args.work / "turning")
    _gather(args.work, "all", {"train": 1, "short": 1, "turning": TURNING_COPIES})
    # Many people for a second or two each: what stage maps sees.
    some = ["--settings", SOME_TURNING, "--no-flow-labels"]
    two, one = ["--duration", 2, "--n", NUM_TWO_SECONDS], ["--duration", 1, "--n", NUM_ONE_SECOND]
    eventhpe("simulate", *common, *some, *two, "--seed", 11, "-o", args.work / "two_seconds")
    eventhpe("simulate", *common, *some, *one, "--seed", 12, "-o", args.work / "one_second")
    _gather(args.work, "many", {"two_seconds": 1, "one_second": 1})
    held = ["--n", NUM_VALIDATION, "--no-flow-labels"]
    eventhpe("simulate", *common, *held, "--seed", 900, "-o", args.work / "val")
    eventhpe(
        "simulate", *common, *held, "--settings", TURNING, "--seed", 901, "-o", args.work / "val_turning"
    )
    eventhpe("simulate", *common, "--preset", "benchmark-v1", "-o", args.work / "bench")


def _gather(work: Path, name: str, parts: dict[str, int]) -> None:
    """A folder with hard links to the recordings of others, each folder so many times."""
    (work / name).mkdir(exist_ok=True)
    for part, copies in parts.items():
        for path in (work / part).glob("*.h5"):
            for copy in range(copies):
                link = work / name / f"{part}{copy}_{path.name}"
                if not link.exists():
                    os.link(path, link)


def make_flow(args: argparse.Namespace) -> None:
    common = ["--data", f"synthetic:{args.work / 'train'}", "--steps", FLOW_STEPS, "--batch-size", 16]
    eventhpe("train", "flownet", *common, "--width", 16, "--lr", 2e-3, "-o", args.work / "flownet")
    eventhpe("train", "flownet", *common, "--variant", "parity", "-o", args.work / "flownet_parity")


def make_shape(args: argparse.Namespace) -> None:
    common = ["--data", f"synthetic:{args.work / 'train'}", "--batch-size", 8, "--num-windows", 12, *PLAIN]
    flow = ["--flow-weights", args.work / "flownet" / "flownet.safetensors"]
    for name, (steps, options) in SHAPE_RUNS.items():
        eventhpe("train", "shapenet", *common, *flow, "--steps", steps, *options, "-o", args.work / name)
    # A second, shorter run from the first one's weights with other draws.
    again = ["--lr", 6e-4, "--seed", 2, "--steps", 560]
    first = args.work / "release" / "shapenet.safetensors"
    eventhpe("train", "shapenet", *common, *flow, *again, "--init", first, "-o", args.work / "release_2")


def make_maps(args: argparse.Namespace) -> None:
    if not (args.work / "release_2_calibrated" / "shapenet.safetensors").exists():
        _calibrate(args.work, "release_2", "release_2_calibrated")
    eventhpe(
        "train", "shapenet", "--data", f"synthetic:{args.work / 'many'}",
        "--flow-weights", args.work / "flownet" / "flownet.safetensors",
        "--init", args.work / "release_2_calibrated" / "shapenet.safetensors",
        "--devices", 2, "--workers", 0, "--precision", "32-true", "--num-windows", 12, "--batch-size", 16,
        "--lr", 1e-3, "--seed", 4, "--steps", MAPS_STEPS, "-o", args.work / "maps",
    )  # fmt: skip


def make_follow(args: argparse.Namespace) -> None:
    data, both = ["--data", f"synthetic:{args.work / 'all'}"], ["--devices", 2, "--workers", 0]
    bodies = ["--objective", "bodies", "--width", 16, "--lr", 2e-3, "--batch-size", 96]
    bodies += ["--init", args.work / "flownet" / "flownet.safetensors", "--steps", BODIES_STEPS]
    eventhpe("train", "flownet", *data, *both, *bodies, "-o", args.work / "flownet_bodies")
    follow = [*PLAIN, "--follow-flow", "--num-windows", 12, "--batch-size", 16, "--seed", 3]
    follow += ["--steps", FOLLOW_STEPS]
    follow += ["--flow-weights", args.work / "flownet_bodies" / "flownet.safetensors"]
    follow += ["--init", args.work / "release_2" / "shapenet.safetensors"]
    eventhpe("train", "shapenet", *data, *both, *follow, "-o", args.work / "following")


def make_score(args: argparse.Namespace) -> None:
    for name in ("no_flow", "flow", "flow_coherence", "calibrated", "following_calibrated"):
        flow = args.work / _flow_of(name) / "flownet.safetensors"
        for start in ("none", "true"):
            report = args.work / f"score_{name}_{start}.json"
            text = eventhpe(
                "evaluate", "capture", "--data", args.work / "bench", "--start", start, "--json",
                "--weights", args.work / name / "shapenet.safetensors", "--flow-weights", flow, capture=True,
            )  # fmt: skip
            report.write_text(text)
            row = json.loads(text)["table"]["capture"]
            print(name, start, {k: round(v["mean"], 2) for k, v in row.items()})


def make_calibrate(args: argparse.Namespace) -> None:
    for source, target in (("maps", "calibrated"), ("following", "following_calibrated")):
        if (args.work / source / "shapenet.safetensors").exists():
            _calibrate(args.work, source, target)


def _calibrate(work: Path, source: str, target: str) -> None:
    network, card = load_network(work / source / "shapenet.safetensors")
    flow = FlowEstimator(load_network(work / _flow_of(target) / "flownet.safetensors")[0])
    assert isinstance(network, ShapeNet)
    errors = calibrate(network, flow, [work / "val", work / "val_turning"])
    for name, found in errors.items():
        print(f"{target}: {name} offset -> mm:", {k: round(v, 1) for k, v in found.items()})
    best = {name: min(found, key=found.__getitem__) for name, found in errors.items()}
    notes = f"variances calibrated on validation recordings, offsets {best}"
    save_network(work / target / "shapenet", network, replace(card, notes=notes), half=True)


def _flow_of(name: str) -> str:
    """Which FlowNet a ShapeNet goes with."""
    return "flownet_bodies" if name.startswith("following") else "flownet"


def make_install(args: argparse.Namespace) -> None:
    made = {"flownet": ("flownet", "stage: flow"), "shapenet": ("calibrated", "stages: maps, calibrate")}
    for name, (source, stages) in made.items():
        network, card = load_network(args.work / source / f"{name}.safetensors")
        card = replace(card, command=f"python tools/train_release.py --motions FOLDER ({stages})")
        save_network(WEIGHTS / name, network, card, half=True, max_bytes=SHIPPED_MAX_BYTES)


def eventhpe(*words: object, capture: bool = False) -> str:
    """Run one verb in a process of its own."""
    command = [sys.executable, "-m", "eventhpe", *map(str, words)]
    done = subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE if capture else None)
    return done.stdout or ""


if __name__ == "__main__":
    main()
