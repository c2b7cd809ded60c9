"""Capturing a person whose body at the start is known: crop, networks and contours go on together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from eventhpe.body.default import open_body
from eventhpe.data.crops import SquareCrop
from eventhpe.data.followed_clip import following_crops
from eventhpe.data.windows import WINDOW_US, window_frames
from eventhpe.events.edge_points import edge_points
from eventhpe.events.recording import Recording
from eventhpe.flownet.estimator import FlowEstimator
from eventhpe.geometry.camera import Camera
from eventhpe.shapenet.contour_tracker import ContourTracker
from eventhpe.shapenet.state import StartState
from eventhpe.shapenet.tracker import BodyTracker, TrackedBody

CROP_SHARE = 0.3
"""Share of the way that the crop goes towards the body per window."""
LOST_SIDES = 0.5
"""Where the crop that was found lies farther than this many sides from the body's, the body is lost."""


class Known(NamedTuple):
    """Bodies, crops and flows (2, S, S) of a capture, one per window; no flow without FlowNet."""

    bodies: list[TrackedBody]
    crops: tuple[SquareCrop, ...]
    flows: list[NDArray[np.float32]]


def follow_known_body(
    recording: Recording,
    camera: Camera,
    found: Sequence[SquareCrop],
    tracker: BodyTracker,
    flow: FlowEstimator | None,
    start: StartState,
    *,
    size_px: int,
    windows: Iterable[int],
) -> Known:
    """Follow a body by its contours (`ContourTracker`).

    The crop lies around the body, also where only an arm of it moves and makes events. Where whoever finds
    people has found the person somewhere else, the crop goes there, and the networks pull the body along.

    Args:
        recording: the events.
        camera: its intrinsics.
        found: crop of every window by whoever finds people.
        tracker, flow: the networks.
        start: body at the recording's start (batch of 1).
        size_px: S, side of the networks' input.
        windows: numbers of the windows, in order.
    """
    contours = ContourTracker(open_body())
    contours.reset(start)
    tracker.reset(start)
    rotmats, transl = start.rotmats[0].float(), start.transl[0].float()
    crop: SquareCrop | None = None
    bodies: list[TrackedBody] = []
    crops: list[SquareCrop] = []
    flows: list[NDArray[np.float32]] = []
    for k in windows:
        crop = _crop(rotmats, start.betas[0], transl, camera, crop, found[k])
        ray = crop.ray(camera)
        t0, t1 = k * WINDOW_US, (k + 1) * WINDOW_US
        events = recording.between(t0, t1)
        frames = window_frames(events, crop, t0_us=t0, t1_us=t1, out_px=size_px)[None]
        uv = None if flow is None else flow.estimate(frames)
        (body,) = tracker.step(frames, uv, ray[None])
        points = edge_points(events, camera, ray, t0_us=t0, t1_us=t1, parts=contours.config.parts)
        rotmats, transl = contours.step(
            [torch.from_numpy(p) for p in points], torch.from_numpy(ray), body.evidence
        )
        bodies.append(replace(body, rotmats=rotmats.numpy().copy(), transl=transl.numpy().copy()))
        crops.append(crop)
        if uv is not None:
            flows.append(np.asarray(uv[0], np.float32))
    return Known(bodies, tuple(crops), flows)


def _crop(
    rotmats: torch.Tensor,
    betas: torch.Tensor,
    transl: torch.Tensor,
    camera: Camera,
    before: SquareCrop | None,
    found: SquareCrop,
) -> SquareCrop:
    joints = camera.project(open_body().joints(rotmats, betas.float(), transl).double().numpy())
    (crop,) = following_crops(joints[None], camera.size)
    centre = np.array([crop.left + crop.side / 2, crop.top + crop.side / 2])
    away = np.abs([found.left + found.side / 2, found.top + found.side / 2] - centre).max()
    if away > LOST_SIDES * crop.side:
        return found
    if before is None:
        return crop
    values = zip((before.left, before.top, before.side), (crop.left, crop.top, crop.side), strict=True)
    return SquareCrop(*(a + CROP_SHARE * (b - a) for a, b in values))
