"""Measure how far people move within a window (eventhpe/body/assets/step_prior.npz).

    python tools/make_step_prior.py --motions FOLDER [-o eventhpe/body/assets/step_prior.npz]

FOLDER holds BVH clips, AMASS files or motions of this package; held-out subjects (CMU 14, 60, 86, 94) and the
content of benchmark-v1 are left out by `MotionLibrary`. People perform clips and procedural movements in the
styles that training recordings draw (tools/some_turning.yaml), before a level camera. Seeds are fixed: the
same folder and package versions give the same file. About a minute on one core.
"""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
from bodymaker.source import write_npz
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from eventhpe.atomic import PendingFile
from eventhpe.body.default import open_body
from eventhpe.body.params import BodyParams
from eventhpe.body.step_prior import ASSET, SIZE, StepPrior
from eventhpe.data.motion_library import MotionLibrary
from eventhpe.data.motion_play import play
from eventhpe.data.motion_style import draw_style
from eventhpe.data.presets import preset_config
from eventhpe.data.scene_draws import draw_betas
from eventhpe.data.windows import WINDOW_US
from eventhpe.geometry.skeleton import SMPL_SKELETON

F64 = NDArray[np.float64]

PERFORMANCES, DURATION_S = 600, 4.0
TURN_SHARE = 0.6
LEVEL_CAMERA = np.diag([1.0, -1.0, -1.0])  # world (y up) to a camera that looks along -z

log = logging.getLogger("make_step_prior")


def gather(library: MotionLibrary, rng: np.random.Generator, performances: int) -> F64:
    """Steps (N, 75) of people who perform."""
    config = preset_config("lab")
    ranges = replace(config.style, turn_share=TURN_SHARE)
    body, steps = open_body(), []
    for _ in range(performances):
        betas = draw_betas(rng)
        rest = np.asarray(body.J_template.numpy() + body.J_shapedirs.numpy() @ betas, np.float64)
        style = draw_style(rng, ranges, duration_s=DURATION_S)
        draws = [
            library.draw(rng, rest, betas, DURATION_S, speed=style.speed) for _ in range(style.num_motions)
        ]
        params = play(
            draws, style, rng=rng, duration_s=DURATION_S, step_s=WINDOW_US * 1e-6,
            heading_rad=float(rng.uniform(0, 2 * np.pi)), rest_joints=rest,
        )  # fmt: skip
        steps.append(steps_of(params, rest[0]))
    return np.concatenate(steps)


def steps_of(params: BodyParams, rest_pelvis: F64) -> F64:
    """Steps (T - 1, 75) between the frames of a motion in the world frame."""
    T = len(params.transl)
    R = Rotation.from_rotvec(np.array(params.pose).reshape(-1, 3)).as_matrix().reshape(T, -1, 3, 3)
    R[:, 0] = LEVEL_CAMERA @ R[:, 0]
    turn = R[1:] @ R[:-1].swapaxes(-1, -2)
    w = Rotation.from_matrix(turn.reshape(-1, 3, 3)).as_rotvec().reshape(T - 1, -1)
    pelvis = (params.transl + rest_pelvis) @ LEVEL_CAMERA.T
    return np.concatenate([w, np.diff(pelvis, axis=0)], axis=1)


def save(path: Path, prior: StepPrior) -> None:
    """Write the file, in single precision."""
    arrays = {
        "covariance": prior.covariance.astype(np.float32),
        "step_us": np.array(prior.step_us),
        "joint_names": np.array(SMPL_SKELETON.joints),
        "provenance": np.array(json.dumps(prior.provenance, sort_keys=True)),
    }
    with PendingFile(path) as pending:
        write_npz(pending.temporary, arrays)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--motions", type=Path, required=True, help="folder of motion clips")
    parser.add_argument("-o", "--output", type=Path, default=ASSET)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    library = MotionLibrary(args.motions, split="train")
    steps = gather(library, np.random.default_rng(3), PERFORMANCES)
    assert steps.shape[1] == SIZE
    provenance = {
        "command": "python tools/make_step_prior.py --motions FOLDER",
        "clips": len(library.files),
        "subjects": list(library.subjects),
        "performances": PERFORMANCES,
        "steps": len(steps),
        "turn_share": TURN_SHARE,
    }
    save(args.output, StepPrior(steps.T @ steps / len(steps), WINDOW_US, provenance))
    log.info("%d steps; wrote %s, %d bytes", len(steps), args.output, args.output.stat().st_size)


if __name__ == "__main__":
    main()
