"""People in a recording over time: boxes bottom-up by the SAHR + WAHR network, identities kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from eventhpe.data.crops import SquareCrop
from eventhpe.data.windows import WINDOW_US, rectangle_frames
from eventhpe.events.recording import Recording
from eventhpe.shapenet.heads.people import People, joint_boxes
from eventhpe.shapenet.heads.swahr import SWAHRNet
from eventhpe.shapenet.heads.tracking import UNNAMED, PersonTracker, TrackingOptions
from eventhpe.weights.files import WeightsCard

CHUNK = 8
"""Windows that go through the network together; results do not depend on it."""

MIN_WINDOWS = 5
"""People seen in fewer windows than this, or all windows of a shorter recording, are dropped."""

BIRTH_SCORE = 0.15
"""People of a lower score do not begin a track. With the shipped weights and generated people, 92 % of the
boxes above it meet somebody (IoU 0.5) and 74 % of the people are met; lower scores add ghosts, not people."""

OUTLINE = 0.04
"""From joints to outline, as a share of the joints' longer extent: the mean over generated people."""

SMOOTH_WINDOWS = 5
"""Boxes are medians over so many windows; limbs that rest are missing from single ones."""

Progress = Callable[[Sequence[int], str], Iterable[int]]


@dataclass(frozen=True)
class FoundPerson:
    """One person over the windows between the first and the last in which it was found.

    Attributes:
        person: number, from 0 in order of appearance.
        window: (N,) consecutive window numbers.
        box: (N, 4) x0, y0, x1, y1 pixel edges of the sensor; filled in where the person was not found.
        uv: (N, J, 2) pixels of the sensor; NaN where not found.
        confidence: (N, J).
        score: mean score over the windows in which it was found.
    """

    person: int
    window: NDArray[np.int64]
    box: NDArray[np.float64]
    uv: NDArray[np.float64]
    confidence: NDArray[np.float64]
    score: float


def find_people(
    recording: Recording,
    starts: NDArray[np.int64],
    network: SWAHRNet,
    size: tuple[int, int],
    *,
    tracking: TrackingOptions | None = None,
    flip: bool = False,
    progress: Progress = lambda items, what: items,
) -> tuple[FoundPerson, ...]:
    """Find people in every window and follow them.

    Args:
        recording: the events.
        starts: (T,) starts of the windows, µs.
        network: trained.
        size: (H, W) of the network's input, to which the image is fitted.
        tracking: gates of the identities.
        flip: average over each image and its mirror image; doubles the cost.
        progress: wraps the loop over chunks of windows.
    """
    square = fitted_square(recording.sensor_size, size)
    tracker = PersonTracker(tracking or TrackingOptions(confirm=2, birth_score=BIRTH_SCORE))
    seen: dict[int, list[tuple[int, People, int]]] = {}
    for begin in progress(range(0, len(starts), CHUNK), "finding people"):
        chunk = range(begin, min(begin + CHUNK, len(starts)))
        frames = np.stack([input_frames(recording, int(starts[k]), square, size) for k in chunk])
        with torch.inference_mode():
            found = network.people(torch.from_numpy(frames), flip=flip)
        for k, people in zip(chunk, found, strict=True):
            for p, name in enumerate(tracker.update(people)):
                if name != UNNAMED:
                    seen.setdefault(int(name), []).append((k, people, p))
    least = min(MIN_WINDOWS, len(starts))
    kept = [_person(track, square, max(size)) for track in seen.values() if len(track) >= least]
    return tuple(replace(person, person=i) for i, person in enumerate(kept))


def fitted_square(sensor_size: tuple[int, int], size: tuple[int, int]) -> SquareCrop:
    """Square of the sensor whose upper left part is the input (H, W), the image centred in it."""
    scale = min(size[0] / sensor_size[0], size[1] / sensor_size[1])
    left = -(size[1] / scale - sensor_size[1]) / 2
    top = -(size[0] / scale - sensor_size[0]) / 2
    return SquareCrop(left, top, max(size) / scale)


def input_frames(
    recording: Recording, t0_us: int, square: SquareCrop, size: tuple[int, int]
) -> NDArray[np.float32]:
    """(8, H, W) network input of a window of the whole image."""
    t1_us = t0_us + WINDOW_US
    events = recording.read(recording.index_at(t0_us), recording.index_at(t1_us))
    return rectangle_frames(events, square, t0_us=t0_us, t1_us=t1_us, out_px=max(size), size=size)


def boxes_in_window(
    recording: Recording,
    t0_us: int,
    network: SWAHRNet,
    size: tuple[int, int],
    *,
    least: float = BIRTH_SCORE,
) -> NDArray[np.float64]:
    """(P, 4) boxes of the people in one window, pixel edges of the sensor; mirror images averaged.

    They are drawn closely around the body, where those of `find_people` leave room for a crop.

    Args:
        recording: the events.
        t0_us: start of the window.
        network: trained.
        size: (H, W) of the network's input.
        least: score of the people that count.
    """
    square = fitted_square(recording.sensor_size, size)
    frames = torch.from_numpy(input_frames(recording, t0_us, square, size)[None])
    with torch.inference_mode():
        (people,) = network.people(frames, flip=True)
    sure = people.score >= least
    boxes = joint_boxes(people.uv[sure], people.confidence[sure], size=size, margin=OUTLINE)
    return box_to_image(boxes, square, max(size))


def trained_size(card: WeightsCard) -> tuple[int, int]:
    """(H, W) that a bottom-up network was trained at, from its card."""
    height, width = card.data["training"]["size"]
    return int(height), int(width)


def box_to_image(box: NDArray[np.floating], square: SquareCrop, side: int) -> NDArray[np.float64]:
    """(*, 4) boxes whose corners are pixel places of the input to pixel edges of the sensor."""
    corners = square.back(np.asarray(box, np.float64).reshape(-1, 2, 2), side)
    return (corners + 0.5).reshape(np.shape(box))


def _person(track: list[tuple[int, People, int]], square: SquareCrop, side: int) -> FoundPerson:
    first, last = track[0][0], track[-1][0]
    window = np.arange(first, last + 1)
    J = track[0][1].uv.shape[1]
    uv = np.full((len(window), J, 2), np.nan)
    confidence = np.zeros((len(window), J))
    boxes = np.full((len(window), 4), np.nan)
    for k, people, p in track:
        uv[k - first] = square.back(people.uv[p].astype(np.float64), side)
        confidence[k - first] = people.confidence[p]
        boxes[k - first] = box_to_image(people.box[p], square, side)
    score = float(np.mean([people.score[p] for _, people, p in track]))
    return FoundPerson(0, window, smooth_boxes(boxes), uv, confidence, score)


def smooth_boxes(boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N, 4) boxes, NaN where missing, to running medians without gaps; at least one must be there."""
    filled = np.array(boxes, np.float64)
    there = np.flatnonzero(np.isfinite(filled).all(1))
    for c in range(4):
        filled[:, c] = np.interp(np.arange(len(filled)), there, filled[there, c])
    half = SMOOTH_WINDOWS // 2
    padded = np.pad(filled, ((half, half), (0, 0)), mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, SMOOTH_WINDOWS, axis=0), axis=-1)
