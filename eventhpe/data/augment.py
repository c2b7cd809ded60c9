"""Random changes that move events, body and camera together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eventhpe.data.crops import SquareCrop
from eventhpe.data.sample import Clip
from eventhpe.events.types import Events
from eventhpe.geometry.skeleton import SMPL_SKELETON


def random_crop(
    joints2d: NDArray[np.floating], rng: np.random.Generator, *, cut_share: float = 0.12
) -> SquareCrop:
    """A square around (N, 24, 2) joints with random margin and offset, like an imperfect finder's.

    In `cut_share` of the draws the square is too small and cuts limbs off.
    """
    points = joints2d[np.isfinite(joints2d).all(axis=-1)]
    x0, y0 = points.min(axis=0)
    x1, y1 = points.max(axis=0)
    margin = rng.uniform(0.6, 1.0) if rng.random() < cut_share else rng.uniform(1.1, 1.6)
    crop = SquareCrop.around((x0 + 0.5, y0 + 0.5, x1 + 0.5, y1 + 0.5), margin)
    dx, dy = np.clip(rng.normal(0, 0.06, 2), -0.12, 0.12) * crop.side
    return SquareCrop(crop.left + dx, crop.top + dy, crop.side)


def jitter_events(events: Events, rng: np.random.Generator) -> Events:
    """Drop events, swap polarities and add uniform noise, each in a share of the draws."""
    t, x, y, p = events.t, events.x, events.y, events.p
    if rng.random() < 0.5:
        keep = rng.random(len(t)) >= rng.uniform(0.0, 0.5)
        t, x, y, p = t[keep], x[keep], y[keep], p[keep]
    if rng.random() < 0.1:
        p = (1 - p).astype(np.uint8)
    if rng.random() < 0.3 and len(t) > 1:
        h, w = events.sensor_size
        n = int(len(t) * rng.uniform(0.0, 0.15))
        t = np.concatenate([t, rng.integers(t[0], t[-1] + 1, n)])
        order = np.argsort(t, kind="stable")
        x = np.concatenate([x, rng.integers(0, w, n).astype(np.uint16)])
        y = np.concatenate([y, rng.integers(0, h, n).astype(np.uint16)])
        p = np.concatenate([p, rng.integers(0, 2, n).astype(np.uint8)])
        t, x, y, p = t[order], x[order], y[order], p[order]
    return Events(t=t, x=x, y=y, p=p, sensor_size=events.sensor_size)


def mirror_clip(clip: Clip, rest_pelvis_x: float) -> Clip:
    """The mirror image: columns reversed, left and right exchanged, x of every 3D quantity negated.

    Args:
        rest_pelvis_x: x of the body's rest pelvis; SMPL's translation is relative to it.
    """
    flip = SMPL_SKELETON.flip.tolist()
    signs = clip.rotmats.new_tensor([[1.0, -1.0, -1.0], [-1.0, 1.0, 1.0], [-1.0, 1.0, 1.0]])
    ray = clip.crop.new_tensor([-1.0, 1.0, 1.0])
    point = clip.joints3d.new_tensor([-1.0, 1.0, 1.0])
    transl = clip.transl * point
    transl[..., 0] -= 2 * rest_pelvis_x  # pelvis' = -(transl + pelvis), transl' = pelvis' - pelvis
    return Clip(
        frames=clip.frames.flip(-1),
        crop=clip.crop * ray,
        rotmats=clip.rotmats[..., flip, :, :] * signs,
        transl=transl,
        joints3d=clip.joints3d[..., flip, :] * point,
        betas=clip.betas,
    )
