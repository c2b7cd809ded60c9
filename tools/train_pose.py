"""Remake the shipped weights of the pose systems from motion clips: SWAHR, SimDR, HEMlets PoSh.

Stages: data (recordings; those of tools/bench/pose_heads.py), swahr_lab, swahr, simdr, posh, score (held-out
people), install (copy into the package). About two hours on two cores. Trainings go on where they stopped.
None ever sees CMU subjects 14, 60, 86 and 94.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from eventhpe.weights.files import SHIPPED_MAX_BYTES, load_network, save_network

WEIGHTS = Path(__file__).parents[1] / "eventhpe" / "weights"
BENCH = Path(__file__).parent / "bench"
STAGES = ("data", "swahr_lab", "swahr", "simdr", "posh", "score", "install")
FOLDERS = {
    "pose_train": ("lab", "pose_one", 260, 101),
    "pose_val": ("lab", "pose_one", 40, 202),
    "crowd_train": ("lab", "pose_crowd", 100, 301),
    "crowd_val": ("lab", "pose_crowd", 24, 402),
    "wild_train": ("wild", "pose_wild", 70, 501),
}
"""Folder to preset, settings, number of recordings and seed."""
TRAININGS = {
    "swahr_lab": "swahr --arm mse --batch-size 8 --steps 4000",
    "swahr": "swahr --arm mse --batch-size 8 --steps 2000 --lr 5e-4 --seed 2",
    "simdr": "simdr --size-px 128 --batch-size 16 --steps 4000 --min-events 300 "
    "--head-options channels=64 sigma=4 depth_bins=64",
    "posh": "posh --size-px 96 --batch-size 16 --steps 2600 --min-events 300 --head-options width=0.25 "
    "--hidden 512 --later 10",
}
"""Stage to system and options. SWAHR learns from still cameras first, then from shaking ones too; its
adaptive losses are for longer trainings (docs/systems/swahr.md)."""
TRAINED_ON = {"swahr_lab": "crowd_train", "swahr": "crowd_mixed"}
SHIPPED = ("swahr", "simdr", "posh")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--motions", type=Path, required=True, help="folder of BVH clips (see docs/motion.md)"
    )
    parser.add_argument("--work", type=Path, default=Path("runs/pose"), help="folder for data and weights")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument("--jobs", type=int, default=2, help="processes for the data stage")
    args = parser.parse_args()
    for stage in args.stages:
        if stage in TRAININGS:
            folder = args.work / TRAINED_ON.get(stage, "pose_train")
            options: list[object] = list(TRAININGS[stage].split())
            if stage == "swahr":
                options += ["--init", args.work / "swahr_lab" / "swahr.safetensors"]
            eventhpe("train", *options, "--data", f"synthetic:{folder}", "-o", args.work / stage)
        else:
            globals()[f"make_{stage}"](args)


def make_data(args: argparse.Namespace) -> None:
    for name, (preset, settings, count, seed) in FOLDERS.items():
        eventhpe(
            "simulate", "--preset", preset, "--motions", args.motions, "--settings",
            BENCH / f"{settings}.yaml", "--no-flow-labels", "--jobs", args.jobs, "--n", count, "--seed", seed,
            "-o", args.work / name,
        )  # fmt: skip
    mixed = args.work / "crowd_mixed"
    mixed.mkdir(exist_ok=True)
    for kind, name in (("lab", "crowd_train"), ("wild", "wild_train")):
        for path in sorted((args.work / name).glob("*.h5")):
            target = mixed / f"{kind}_{path.name}"
            if not target.exists():
                os.link(path, target)


def make_score(args: argparse.Namespace) -> None:
    for system, protocol, folder in (
        ("swahr", "pose2d", "crowd_val"),
        ("simdr", "pose2d", "pose_val"),
        ("simdr", "pose3d", "pose_val"),
        ("posh", "pose3d", "pose_val"),
    ):
        weights = args.work / system / f"{system}.safetensors"
        eventhpe("evaluate", protocol, "--data", args.work / folder, "--weights", weights)


def make_install(args: argparse.Namespace) -> None:
    for name in SHIPPED:
        network, card = load_network(args.work / name / f"{name}.safetensors")
        card = replace(card, command=f"python tools/train_pose.py --motions FOLDER (stage: {name})")
        save_network(WEIGHTS / name, network, card, half=True, max_bytes=SHIPPED_MAX_BYTES)


def eventhpe(*words: object) -> None:
    """Run one verb in a process of its own."""
    subprocess.run([sys.executable, "-m", "eventhpe", *map(str, words)], check=True)


if __name__ == "__main__":
    main()
