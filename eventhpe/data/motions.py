"""Where the generator's motions come from: motion-capture clips on disk and procedural movements."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eventhpe.body.bvh import read_bvh
from eventhpe.body.choreography import MOVEMENTS, perform
from eventhpe.body.params import BodyParams
from eventhpe.body.retarget import mirror, retarget
from eventhpe.errors import FormatError, MissingAssetError
from eventhpe.geometry.rotation import interpolate_rotvec, rotmat_to_rotvec, rotvec_to_rotmat

HELD_OUT_PREFIXES = ("cmu14_", "cmu60_", "cmu86_", "cmu94_")
"""CMU subjects 14, 60, 86 and 94: kept for evaluation, never trained on."""

MOTION_FPS = 60


@dataclass(frozen=True)
class MotionDraw:
    """One motion for the generator.

    Attributes:
        params: BodyParams over K in the world frame (Y up, floor at 0), evenly spaced at `fps`.
        fps: frames per second.
        source: clip name with its checksum, or "procedural:<movement>".
    """

    params: BodyParams
    fps: float
    source: str


def list_clips(folder: str | Path, *, held_out: bool) -> list[Path]:
    """BVH clips of a folder (searched in depth), either only the held-out subjects or only the others.

    Raises:
        MissingAssetError: the folder does not exist or has no such clip.
    """
    folder = Path(folder)
    clips = sorted(p for p in folder.rglob("*.bvh") if p.name.startswith(HELD_OUT_PREFIXES) == held_out)
    if not clips:
        what = "held-out (cmu14_, cmu60_, cmu86_, cmu94_)" if held_out else "training"
        raise MissingAssetError(
            f"--motions {folder}: found no {what} BVH clips there. See docs/motion.md for sources."
        )
    return clips


def file_checksum(path: Path) -> str:
    """First 16 hex digits of a file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def load_clip(path: Path, rest_joints: NDArray[np.float64], betas: NDArray[np.float64]) -> MotionDraw:
    """Read a BVH clip and put it on a body with these rest joints (24, 3) m."""
    clip = read_bvh(path)
    params = retarget(clip, rest_joints)
    params = replace(params, betas=np.broadcast_to(betas, (len(params.transl), 10)))
    return MotionDraw(params, 1.0 / clip.frame_time_s, f"{path.stem} sha256:{file_checksum(path)}")


def draw_movement(
    rng: np.random.Generator,
    duration_s: float,
    rest_joints: NDArray[np.float64],
    betas: NDArray[np.float64],
    *,
    name: str | None = None,
    amplitude: float | None = None,
    tempo: float | None = None,
) -> MotionDraw:
    """A procedural movement with random style; what is given is not drawn."""
    name = name or str(rng.choice(sorted(MOVEMENTS)))
    params = perform(
        name,
        duration_s=duration_s,
        fps=MOTION_FPS,
        rng=rng,
        amplitude=float(rng.uniform(0.7, 1.2)) if amplitude is None else amplitude,
        tempo=float(rng.uniform(0.6, 1.5)) if tempo is None else tempo,
        rest_joints=rest_joints,
    )
    params = replace(params, betas=np.broadcast_to(betas, (len(params.transl), 10)))
    return MotionDraw(params, MOTION_FPS, f"procedural:{name}")


def place_motion(
    draw: MotionDraw,
    *,
    rng: np.random.Generator | None,
    duration_s: float,
    step_s: float,
    heading_rad: float,
    mirrored: bool,
    rest_pelvis: NDArray[np.float64],
    speed: float = 1.0,
) -> BodyParams:
    """Cut `duration_s` out of a motion, resample it every `step_s`, turn it to a heading and centre it.

    A motion shorter than needed runs back and forth. `rng` chooses the start; None starts at the first frame.

    Returns:
        BodyParams over K = duration_s / step_s + 1 in the world frame; the median pelvis lies above the
        origin and the person's mean heading is `heading_rad` about +Y from +z.
    """
    params = mirror(draw.params) if mirrored else draw.params
    frames = len(params.transl)
    if frames < 2:
        raise FormatError(f"motion {draw.source} has {frames} frame; at least 2 are needed.")
    length_s = (frames - 1) / draw.fps
    wanted_s = duration_s * speed
    start = 0.0 if rng is None else float(rng.uniform(0, max(0.0, length_s - wanted_s)))
    t = start + np.arange(round(duration_s / step_s) + 1) * step_s * speed
    t = length_s - np.abs(length_s - np.mod(t, 2 * length_s))  # back and forth
    grid = np.arange(frames) / draw.fps
    pose = interpolate_rotvec(t, grid, params.pose)
    transl = np.stack([np.interp(t, grid, params.transl[:, i]) for i in range(3)], axis=-1)

    R_root = rotvec_to_rotmat(pose[:, 0])
    forward = R_root[:, :, 2].mean(axis=0)
    turn = heading_rad - np.arctan2(forward[0], forward[2])
    c, s = np.cos(turn), np.sin(turn)
    R_turn = np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])
    pelvis = (transl + rest_pelvis) @ R_turn.T
    middle = np.median(pelvis, axis=0) * [1.0, 0.0, 1.0]
    return BodyParams(
        betas=np.broadcast_to(params.betas[0], (len(t), 10)),
        global_orient=rotmat_to_rotvec(R_turn @ R_root),
        body_pose=pose[:, 1:],
        transl=pelvis - middle - rest_pelvis,
        model=params.model,
        gender=params.gender,
        frame="world",
    )
