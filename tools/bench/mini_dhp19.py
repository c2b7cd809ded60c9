"""DHP19's CNN on a generated DHP19: a fixed budget of training, then unseen subjects beside the floor.

    python tools/bench/mini_dhp19.py FOLDER [--movements 4] [--seconds 3] [--steps 1500] [--batch-size 4]

Makes recordings of S1 to S5 (training) and S13 to S17 (test; other bodies, clothes, lights and noise) in the
files of DHP19 with the preset `dhp19`, prepares them as the authors' script does, trains the CNN by the
published recipe for so many steps, and scores it by the published protocol. The floor are the true labels,
projected, rounded to pixels and triangulated: what a perfect network would get. Steps whose output is there
are skipped.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path

import timing
from joblib import Parallel, delayed

from eventhpe.cli.main import main as eventhpe
from eventhpe.data.dhp19_dataset import HeatmapDataset
from eventhpe.data.dhp19_prepared import PreparedDHP19
from eventhpe.data.dhp19_set import NUM_MOVEMENTS, PAIRS, make_movement, movement_of, paths_of
from eventhpe.data.generator import Generator
from eventhpe.data.presets import preset_config

SEED = 19
TRAIN, TEST = (1, 2, 3, 4, 5), (13, 14, 15, 16, 17)


def chosen(movements: int) -> list[int]:
    """Recordings of `generator` order: so many movements of each subject, spread over the 33."""
    ks = []
    for pair in range(len(PAIRS)):
        for j in range(movements):
            number = (7 * (j * len(PAIRS) + pair)) % NUM_MOVEMENTS
            first = pair * 2 * NUM_MOVEMENTS + 2 * number
            # The test subject performs another movement, and half as many.
            ks.append(first)
            if j % 2 == 0:
                ks.append(pair * 2 * NUM_MOVEMENTS + 2 * ((number + 3) % NUM_MOVEMENTS) + 1)
    return sorted(ks)


def make(root: Path, seconds: float, k: int) -> str:
    """One recording, unless it is there."""
    paths = paths_of(root, movement_of(k))
    if not (paths.events.is_file() and paths.labels.is_file()):
        make_movement(root, Generator(replace(preset_config("dhp19"), duration_s=seconds)), SEED, k)
    return paths.name


def run(*words: str) -> str:
    """A command of eventhpe; what it prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = eventhpe(list(words))
    if code:
        raise SystemExit(f"eventhpe {' '.join(words)}: exit code {code}\n{out.getvalue()}")
    return out.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--movements", type=int, default=4, help="per training subject; half as many per test subject"
    )
    parser.add_argument("--seconds", type=float, default=3.0, help="length of a recording")
    parser.add_argument("--steps", type=int, default=1500, help="optimiser steps")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--jobs", type=int, default=2, help="processes that generate")
    parser.add_argument("--only-data", action="store_true", help="generate and prepare, then stop")
    parser.add_argument("-o", "--output", type=Path, default=timing.RESULTS / "mini_dhp19.json")
    args = parser.parse_args()
    root, data = args.folder / "raw", args.folder / "prepared"
    names = Parallel(n_jobs=args.jobs)(delayed(make)(root, args.seconds, k) for k in chosen(args.movements))
    run("prepare", "dhp19", str(root), "-o", str(data), "--jobs", str(args.jobs))
    if args.only_data:
        return
    prepared = PreparedDHP19(data)
    frames = {name: len(HeatmapDataset(prepared.of(who))) for name, who in (("train", TRAIN), ("test", TEST))}
    cnn = args.folder / "cnn"
    epochs = args.steps * args.batch_size / frames["train"]
    words = [
        "--no-hold-out",
        "--epochs",
        f"{epochs:.6f}",
        "--batch-size",
        str(args.batch_size),
        "--seed",
        "1",
    ]
    run("train", "cnn", "--data", f"dhp19:{data}", "-o", str(cnn), *words)
    weights = cnn / "dhp19_cnn.safetensors"
    table = args.folder / "scores.md"
    words = ["evaluate", "dhp19", "--data", str(data), "--weights", str(weights), "-o", str(table), "--json"]
    scores = json.loads(run(*words))
    print(table.read_text(encoding="utf-8"))
    result = {
        "machine": timing.machine(),
        "recordings": names, "frames": frames,
        "training": json.loads((cnn / "dhp19_cnn.json").read_text())["data"]["training"],
        "evaluation": scores,
    }  # fmt: skip
    args.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
