"""Make the recording that `eventhpe demo` captures: eventhpe/assets/demo.aedat and demo_truth.npz.

A procedural movement on the open body before a DAVIS346, written as AEDAT 2.0. Same arguments, same bytes.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from eventhpe.body.motion import MotionClip
from eventhpe.body.motion_file import save_motion
from eventhpe.data.generator import Generator, GeneratorConfig
from eventhpe.data.labels import read_labels
from eventhpe.data.scene import SceneRanges
from eventhpe.events.formats.aedat2 import write_aedat2
from eventhpe.events.open import open_recording

ASSETS = Path(__file__).parents[1] / "eventhpe" / "assets"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--movement", default="walk")
    parser.add_argument("--duration", type=float, default=3.0)
    args = parser.parse_args()
    ranges = replace(
        SceneRanges(), sensor_sizes=((260, 346),), body_fraction=(0.7, 0.75), threshold=(0.3, 0.32),
        facing_share=1.0,
        facing_deg=(-30.0, 30.0), shot_hz=(0.05, 0.2), roll_deg=(-1.0, 1.0),
    )  # fmt: skip
    generator = Generator(GeneratorConfig(duration_s=args.duration, flow_labels=False, ranges=ranges))
    ASSETS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "demo.h5"
        generator.make(path, seed=args.seed, movement=args.movement)
        labels = read_labels(path)
        with open_recording(path) as recording:
            write_aedat2(ASSETS / "demo.aedat", recording.read(), chip="DAVIS346", t_offset_us=0)
    clip = MotionClip(
        params=labels.params,
        t_us=labels.t_us,
        rest_joints=generator.rest_joints(np.asarray(labels.params.betas[0])),
        camera=labels.camera,
        provenance={"made_by": f"tools/make_demo.py --seed {args.seed} --movement {args.movement}"},
    )
    save_motion(ASSETS / "demo_truth.npz", clip)


if __name__ == "__main__":
    main()
