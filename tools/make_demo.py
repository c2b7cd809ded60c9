"""Make the recording that `eventhpe demo` captures: eventhpe/assets/demo.aedat and demo_truth.npz.

A procedural movement of one person before a still DAVIS346, written as AEDAT 2.0. Same arguments, same bytes.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from eventhpe.body.motion import MotionClip
from eventhpe.body.motion_file import save_motion
from eventhpe.data.cast import rest_joints
from eventhpe.data.generator import Choice, Generator, GeneratorConfig
from eventhpe.data.labels import read_labels
from eventhpe.data.motion_style import StyleRanges
from eventhpe.data.presets import CLEAN
from eventhpe.events.formats.aedat2 import write_aedat2
from eventhpe.events.open import open_recording

ASSETS = Path(__file__).parents[1] / "eventhpe" / "assets"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--movement", default="walk")
    parser.add_argument("--duration", type=float, default=3.0)
    parser.add_argument("-o", "--output", type=Path, default=ASSETS, help="folder for the two files")
    args = parser.parse_args()
    ranges = replace(
        CLEAN, body_fraction=(0.7, 0.75), facing_share=1.0, facing_deg=(-30.0, 30.0), roll_deg=(-1.0, 1.0),
        camera_height_m=(0.5, 2.0), empty_share=0.0, background_contrast=(0.02, 0.3), threshold=(0.3, 0.32),
        mismatch_sigma=(0.01, 0.05), refractory_us=(0.0, 1000.0), leak_hz=(0.0, 0.2), shot_hz=(0.05, 0.2),
    )  # fmt: skip
    style = StyleRanges(speed=(1.0, 1.0), mirrored_share=0.0, pause_share=0.0, stay_within_m=1.2)
    config = GeneratorConfig(duration_s=args.duration, flow_labels=False, ranges=ranges, style=style)
    args.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "demo.h5"
        Generator(config).make(path, seed=args.seed, choice=Choice(movement=args.movement))
        labels = read_labels(path)
        with open_recording(path) as recording:
            write_aedat2(args.output / "demo.aedat", recording.read(), chip="DAVIS346", t_offset_us=0)
    clip = MotionClip(
        params=labels.params,
        t_us=labels.t_us,
        rest_joints=rest_joints(np.asarray(labels.params.betas[0])),
        camera=labels.camera,
        provenance={"made_by": f"tools/make_demo.py --seed {args.seed} --movement {args.movement}"},
    )
    save_motion(args.output / "demo_truth.npz", clip)


if __name__ == "__main__":
    main()
