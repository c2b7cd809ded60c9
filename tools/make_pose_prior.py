"""Fit the pose prior (eventhpe/body/assets/pose_prior.npz) to motion clips and procedural movements.

    python tools/make_pose_prior.py --motions FOLDER [-o eventhpe/body/assets/pose_prior.npz]

FOLDER holds BVH clips, AMASS files or motions of this package; held-out subjects (CMU 14, 60, 86, 94) and the
content of benchmark-v1 are left out by `MotionLibrary`. Every procedural movement is performed in several
styles, none of the cell that benchmark-p1 is drawn from. Poses are taken ten times a second, and again
mirrored. Seeds are fixed: the same folder and package versions give the same file. About a minute on one
core.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
from pathlib import Path

import numpy as np
from bodymaker.source import write_npz
from numpy.typing import NDArray

from eventhpe.atomic import PendingFile
from eventhpe.body.choreography import MOVEMENTS
from eventhpe.body.default import open_body
from eventhpe.body.params import BodyParams
from eventhpe.body.pose_prior import ASSET, PRIOR_JOINTS, SIZE, PosePrior
from eventhpe.body.retarget import mirror
from eventhpe.data.motion_library import MotionLibrary
from eventhpe.data.motion_style import draw_movement_style
from eventhpe.data.motions import draw_movement, file_checksum

F64 = NDArray[np.float64]

POSES_PER_S = 10
COMPONENTS, RANK = 12, 4
STYLES, STYLE_S = 6, 4.0
FLOOR_RAD = 0.05
"""Smallest standard deviation: joints that markers do not show move little in clips, not never."""

log = logging.getLogger("make_pose_prior")


def gather(motions: Path, rng: np.random.Generator) -> tuple[F64, dict[str, object]]:
    """Poses (N, 63) of every training clip and procedural movement, and what they come from."""
    rest, betas = open_body().J_template.numpy().astype(np.float64), np.zeros(10)
    library = MotionLibrary(motions, split="train")
    clips = [_poses(draw.params, draw.fps) for draw in (library.load(f, rest, betas) for f in library.files)]
    made = []
    for name in sorted(MOVEMENTS):
        for _ in range(STYLES):
            amplitude, tempo = draw_movement_style(rng, False)
            draw = draw_movement(rng, STYLE_S, rest, betas, name=name, amplitude=amplitude, tempo=tempo)
            made.append(_poses(draw.params, draw.fps))
    digest = hashlib.sha256()
    for file in library.files:
        digest.update(f"{file.path.name} {file_checksum(file.path)}\n".encode())
    poses = np.concatenate(clips + made)
    return poses, {
        "clips": len(clips),
        "clips_sha256": digest.hexdigest(),
        "subjects": list(library.subjects),
        "movements": len(MOVEMENTS),
        "poses_of_clips": sum(map(len, clips)),
        "poses_of_movements": sum(map(len, made)),
    }


def _poses(params: BodyParams, fps: float) -> F64:
    """Every tenth of a second, then the same mirrored: (2 N, 63)."""
    step = max(1, round(fps / POSES_PER_S))
    both = [p.body_pose[::step, : len(PRIOR_JOINTS)].reshape(-1, SIZE) for p in (params, mirror(params))]
    return np.concatenate(both)


def fit_mixture(
    poses: F64, components: int, rank: int, rng: np.random.Generator, *, rounds: int = 60
) -> PosePrior:
    """Expectation maximisation with full covariances, each then replaced by its best diagonal + low rank.

    Args:
        poses: (N, 63).
        components, rank: M and R of the result.
        rng: chooses the first means (k-means++).
    """
    N = len(poses)
    floor = FLOOR_RAD**2 * np.eye(SIZE)
    far = np.square(poses - poses[rng.integers(N)]).sum(1)
    means = [poses[int(np.argmin(far))]]
    while len(means) < components:
        means.append(poses[int(rng.choice(N, p=far / far.sum()))])
        far = np.minimum(far, np.square(poses - means[-1]).sum(1))
    nearest = np.argmin([np.square(poses - m).sum(1) for m in means], axis=0)
    share = np.eye(components)[nearest]
    for _ in range(rounds):
        total = share.sum(0) + 1.0
        centre = share.T @ poses / total[:, None]
        spread = np.stack(
            [
                ((poses - c) * s[:, None]).T @ (poses - c) / n
                for c, s, n in zip(centre, share.T, total, strict=True)
            ]
        )
        lower = np.linalg.cholesky(spread + floor)
        logs = np.empty((N, components))
        for m in range(components):
            z = np.linalg.solve(lower[m], (poses - centre[m]).T)
            logs[:, m] = np.log(total[m]) - np.log(np.diag(lower[m])).sum() - 0.5 * np.square(z).sum(0)
        logs -= logs.max(1, keepdims=True)
        share = np.exp(logs)
        share /= share.sum(1, keepdims=True)
    order = np.argsort(-total)
    parts = [principal_factors(spread[m] + floor, rank) for m in order]
    return PosePrior(
        weights=total[order] / total.sum(),
        means=centre[order],
        variances=np.stack([v for v, _ in parts]),
        factors=np.stack([f for _, f in parts]),
    )


def principal_factors(covariance: F64, rank: int, *, rounds: int = 30) -> tuple[F64, F64]:
    """Diagonal (D,) and factors (D, R) that come near a covariance: iterated principal factor analysis."""
    variances = np.full(len(covariance), FLOOR_RAD**2)
    for _ in range(rounds):
        values, vectors = np.linalg.eigh(covariance - np.diag(variances))
        factors = vectors[:, -rank:] * np.sqrt(np.maximum(values[-rank:], 0.0))
        variances = np.maximum(np.diag(covariance) - np.square(factors).sum(1), FLOOR_RAD**2)
    return variances, factors


def save(path: Path, prior: PosePrior, provenance: dict[str, object]) -> None:
    """Write the file in half precision."""
    arrays = {
        name: np.asarray(getattr(prior, name), np.float16)
        for name in ("weights", "means", "variances", "factors")
    }
    arrays["joint_names"] = np.array(PRIOR_JOINTS)
    arrays["provenance"] = np.array(json.dumps(provenance, sort_keys=True))
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
    poses, sources = gather(args.motions, np.random.default_rng(1))
    prior = fit_mixture(poses, COMPONENTS, RANK, np.random.default_rng(2))
    command = "python tools/make_pose_prior.py --motions FOLDER"
    save(args.output, prior, {"command": command, "components": COMPONENTS, "rank": RANK, **sources})
    log.info("%d poses; wrote %s, %d bytes", len(poses), args.output, args.output.stat().st_size)


if __name__ == "__main__":
    main()
