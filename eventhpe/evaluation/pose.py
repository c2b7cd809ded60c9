"""Scores of pose networks on labelled crops, in the image and in space.

Every window of 50 ms of every labelled person is one pose; crops are centred on the true joints, so that what
finds people does not count. Means are over the poses of a recording, then over recordings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eventhpe.data.every_pose import EveryPose
from eventhpe.data.pose_sample import PoseSample
from eventhpe.data.pose_samples import PoseSamples
from eventhpe.data.sample import collate
from eventhpe.errors import FormatError, ShapeError
from eventhpe.evaluation.metrics import joint_errors, mpjpe, pa_mpjpe
from eventhpe.evaluation.tables import Scores
from eventhpe.geometry.skeleton import Skeleton
from eventhpe.shapenet.crop import crop_to_intrinsics
from eventhpe.shapenet.heads.base import Decoded
from eventhpe.shapenet.heads.depth_recovery import adult_bones, lift, recover_root_depth
from eventhpe.shapenet.heads.triplets import order_accuracy

METRICS_2D = ("px", "share_pct", "pck05", "pck02", "px_moving", "px_still")
"""Pixels of the crop; per cent of the person's size (the longer side of the true joints' box); shares of
joints within 5 % and 2 % of it; pixels of joints with events near them, and of those without."""

METRICS_3D = ("root_aligned_mm", "pa_mpjpe_mm", "depth_mm")
"""Mean joint error after subtracting the root, after a similarity, and of the depth relative to the root."""

MOVING_EVENTS = 10
"""A joint with so many events of the window near it moves."""

BATCH = 64

Estimator = Callable[[PoseSample], Decoded]
"""A batch of crops to joints in pixels of the crop."""


@dataclass(frozen=True)
class RecordingPoses:
    """Estimates and truth of one recording's N poses.

    Attributes:
        name: of the recording.
        uv: method -> (N, J, 2) pixels of the crop.
        xyz: method -> (N, J, 3) metres relative to the root, camera axes.
        truth: the samples, without frames, stacked.
        order: (N, P) depth orders that a network reads, or None.
    """

    name: str
    uv: dict[str, NDArray[np.float64]]
    xyz: dict[str, NDArray[np.float64]]
    truth: PoseSample
    order: Tensor | None = None


def estimate_poses(
    paths: Sequence[Path],
    estimators: Mapping[str, Estimator],
    samples: PoseSamples,
    *,
    skeleton: Skeleton,
    on_recording: Callable[[RecordingPoses], None] | None = None,
    read_order: Callable[[PoseSample], Tensor] | None = None,
) -> list[RecordingPoses]:
    """Run networks on every window of every person of recordings.

    Args:
        paths: labelled recordings.
        estimators: method -> network.
        samples: how crops are cut; augmentation is off whatever it says.
        skeleton: of all networks.
        on_recording: called after each.
        read_order: a batch of crops to depth orders (B, P), if they are to be kept.
    Returns:
        Recordings with at least one usable pose.
    Raises:
        FormatError: none has any.
    """
    results = []
    for path in paths:
        data = EveryPose([path], samples)
        if not len(data):
            continue
        parts: list[PoseSample] = []
        orders: list[Tensor] = []
        uv: dict[str, list[NDArray[np.float64]]] = {name: [] for name in estimators}
        xyz: dict[str, list[NDArray[np.float64]]] = {}
        for begin in range(0, len(data), BATCH):
            batch = collate([data[i] for i in range(begin, min(begin + BATCH, len(data)))])
            for name, estimate in estimators.items():
                with torch.inference_mode():
                    found = estimate(batch)
                uv[name].append(found.uv.double().numpy())
                for row, points in _in_space(name, found, batch, skeleton).items():
                    xyz.setdefault(row, []).append(points)
            if read_order is not None:
                with torch.inference_mode():
                    orders.append(read_order(batch))
            parts.append(batch._replace(frames=batch.frames[:, :0]))
        data.close()
        truth = PoseSample(*(torch.cat(values) for values in zip(*parts, strict=True)))
        joined = {k: np.concatenate(v) for k, v in uv.items()}, {k: np.concatenate(v) for k, v in xyz.items()}
        order = torch.cat(orders) if orders else None
        results.append(RecordingPoses(path.stem, *joined, truth, order))
        if on_recording is not None:
            on_recording(results[-1])
    if not results:
        raise FormatError(f"none of {len(paths)} recordings has a usable pose at the end of a window.")
    return results


def _in_space(
    name: str, found: Decoded, batch: PoseSample, skeleton: Skeleton
) -> dict[str, NDArray[np.float64]]:
    """Root-relative metres (B, J, 3) at the root depth that bones tell, and at the true one."""
    if found.depth is None:
        return {}
    size = batch.frames.shape[-1]
    K, uv, depth = crop_to_intrinsics(batch.crop.double(), size), found.uv.double(), found.depth.double()
    bones = recover_root_depth(
        uv, depth, K, skeleton=skeleton, bones_mm=adult_bones(skeleton), depth_range=(0.5, 30.0)
    )
    rows = {name: bones, f"{name}, true root depth": batch.root[:, 2].double()}
    return {row: _relative(lift(uv, depth, root, K), skeleton).numpy() for row, root in rows.items()}


def _relative(xyz: Tensor, skeleton: Skeleton) -> Tensor:
    return xyz - xyz[:, skeleton.parents.index(-1), None]


def scores_2d(poses: RecordingPoses, constant: NDArray[np.float64] | None = None) -> Scores:
    """method -> METRICS_2D over known joints in the crop's image.

    Args:
        constant: (J, 2) pixels of a baseline that always answers the same.
    """
    t = poses.truth
    true, known = t.uv.double().numpy(), t.known.numpy()
    moving = t.support.numpy() >= MOVING_EVENTS
    size = _person_size(true, known)[:, None]
    methods = dict(poses.uv)
    if constant is not None:
        methods["constant"] = np.broadcast_to(constant, true.shape)
    rows = {}
    for name, uv in methods.items():
        error = np.linalg.norm(uv - true, axis=-1)
        rows[name] = {
            "px": _mean(error, known),
            "share_pct": 100 * _mean(error / size, known),
            "pck05": _mean(error < 0.05 * size, known),
            "pck02": _mean(error < 0.02 * size, known),
            "px_moving": _mean(error, known & moving),
            "px_still": _mean(error, known & ~moving),
        }
    return rows


def scores_3d(poses: RecordingPoses, constant: NDArray[np.float64] | None = None) -> Scores:
    """method -> METRICS_3D over poses whose joints are all known.

    Args:
        constant: (J, 3) metres of a baseline that always answers the same.
    Raises:
        ShapeError: no method gives depth.
    """
    methods = dict(poses.xyz)
    true, known = poses.truth.xyz.double().numpy(), poses.truth.known3d.numpy()
    if constant is not None:
        methods["constant"] = np.broadcast_to(constant, true.shape)
    if not poses.xyz:
        raise ShapeError(
            "none of the networks gives depth; take simdr with depth bins, volumetric or hemlets."
        )
    whole = known.all(1)
    rows = {}
    for name, xyz in methods.items():
        if not whole.any():
            rows[name] = dict.fromkeys(METRICS_3D, float("nan"))
            continue
        found, truth = xyz[whole], true[whole]
        found = np.where(np.isfinite(found), found, 0.0)  # no bone was known: everything at the root
        rows[name] = {
            "root_aligned_mm": float(mpjpe(found, truth).mean()),
            "pa_mpjpe_mm": float(pa_mpjpe(found, truth).mean()),
            "depth_mm": float(joint_errors(found[..., 2:], truth[..., 2:]).mean()),
        }
    return rows


def constant_answers(results: Sequence[RecordingPoses]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean true pixels (J, 2) and root-relative metres (J, 3): the best answer of one who sees nothing."""
    uv, known, xyz, known3d = (
        np.concatenate([getattr(r.truth, name).numpy() for r in results]).astype(np.float64)
        for name in ("uv", "known", "xyz", "known3d")
    )
    return tuple(  # type: ignore[return-value]
        (values * mask[..., None]).sum(0) / np.maximum(mask.sum(0), 1)[:, None]
        for values, mask in ((uv, known), (xyz, known3d))
    )


def orders_right(results: Sequence[RecordingPoses]) -> dict[str, float]:
    """Share of depth orders that a network read right, beside the best constant per part.

    Raises:
        ShapeError: no orders were read.
    """
    read = [r.order for r in results if r.order is not None]
    if len(read) < len(results):
        raise ShapeError("no depth orders were read; only HEMlets gives them.")
    order = torch.cat([r.truth.order for r in results])
    known = torch.cat([r.truth.order_known for r in results])
    own, constant = order_accuracy(torch.cat(read), order, known)
    return {"order": own, "order_constant": constant}


def _person_size(uv: NDArray[np.float64], known: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(N,) longer side of the box of known joints, pixels."""
    low = np.where(known[..., None], uv, np.inf).min(1)
    high = np.where(known[..., None], uv, -np.inf).max(1)
    return np.maximum((high - low).max(-1), 1.0)


def _mean(values: NDArray[Any], mask: NDArray[np.bool_]) -> float:
    return float(values[mask].mean()) if mask.any() else float("nan")
