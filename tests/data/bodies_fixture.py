"""Recordings of DHP19 with bodies that were made up, as `prepare dhp19 --mode bodies` leaves them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from eventhpe.body.default import open_body
from eventhpe.body.fit_markers import usual_attachment
from eventhpe.body.fk import forward_kinematics
from eventhpe.body.motion import MotionClip
from eventhpe.body.params import BodyParams
from eventhpe.data.cast import rest_joints
from eventhpe.data.dhp19_bodies import body_labels
from eventhpe.data.dhp19_bodies_files import BodiesName
from eventhpe.data.dhp19_cameras import DHP19_SIZE, world_to_dhp19
from eventhpe.data.dhp19_fits import MovementFit, write_attachment
from eventhpe.data.labels import Labels, write_labels
from eventhpe.events.store_writer import StoreWriter
from eventhpe.events.types import Events
from eventhpe.geometry.skeleton import DHP19_SKELETON


def moving_fit(K: int = 41, *, step_us: int = 10_000, seed: int = 0) -> MovementFit:
    """K bodies that stand in the middle of the volume and swing arms and legs; all valid."""
    rng = np.random.default_rng(seed)
    betas = 0.5 * rng.normal(size=10)
    rest = rest_joints(betas)
    t = np.arange(K) * step_us * 1e-6
    swing = np.sin(2 * np.pi * (t[:, None, None] + rng.random((1, 23, 3))))
    body_pose = rng.uniform(0, 0.25, (1, 23, 3)) * swing
    body_pose[:, 15:17, 2] += [-1.0, 1.0]  # arms down
    params = BodyParams(
        betas=np.broadcast_to(betas, (K, 10)), global_orient=0.1 * swing[:, 0], body_pose=body_pose,
        transl=np.stack([0.1 * t, 0 * t + 0.95, 0.05 * t], -1) - rest[0], frame="world",
    )  # fmt: skip
    motion = MotionClip(params, np.arange(K, dtype=np.int64) * step_us, rest)
    attachment = usual_attachment(DHP19_SKELETON, open_body())
    return MovementFit(motion, attachment, np.ones(K, bool), np.zeros((K, 13)), "made up", {})


def markers_mm(fit: MovementFit) -> NDArray[np.float64]:
    """(K, 13, 3) of the bodies in DHP19's world, where the attachment says."""
    joints, rotations = forward_kinematics(
        fit.motion.rest_joints, fit.motion.params.pose, fit.motion.params.transl
    )
    at = fit.attachment.positions(torch.from_numpy(joints), torch.from_numpy(rotations))
    return world_to_dhp19(at.numpy())


def write_body_recording(
    folder: Path, name: BodiesName, fit: MovementFit | None = None, *, seed: int = 0, **changes: object
) -> tuple[Path, Labels]:
    """A recording whose events follow the joints in the image.

    Args:
        fit: of rows 10 ms apart, whose markers are exactly those of the body.
        changes: of the labels.
    """
    fit = fit or moving_fit()
    end_us = int(fit.motion.t_us[-1])
    labels = replace(body_labels(fit, markers_mm(fit), name.camera, end_us), **changes)  # type: ignore[arg-type]
    rng, N = np.random.default_rng(seed), 200 * len(labels.t_us)
    t = np.sort(rng.integers(0, end_us, N))
    uv = labels.joints2d[t // 10_000, rng.integers(0, 24, N)] + rng.normal(0, 2, (N, 2))
    x, y = (np.clip(uv[:, i], 0, DHP19_SIZE[1 - i] - 1).astype(np.uint16) for i in range(2))
    with StoreWriter(folder / name.file_name, DHP19_SIZE, duration_us=end_us) as writer:
        writer.append(Events.from_columns(t, x, y, rng.integers(0, 2, N), DHP19_SIZE))
        write_attachment(write_labels(writer.file, labels)["people/0"], fit.attachment)
    return folder / name.file_name, labels
