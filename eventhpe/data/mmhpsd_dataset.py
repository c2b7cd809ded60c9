"""Samples for training and evaluation from MMHPSD.

Steps of 2 gray intervals (133 ms) and the whole image are EventHPE's; a clip begins at any frame whose poses
and event frames are all there. Two inputs (see `data.windows`): "binary" comes from the event frames of
either layout, "counts" from the single events of layout B.

Every sample is drawn from (seed, index) alone, so the order and the bytes are the same at any worker count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from eventhpe.data.augment import jitter_events, mirror_clip, random_crop
from eventhpe.data.crops import SquareCrop
from eventhpe.data.mmhpsd import MMHPSD, ClipPlace, Split
from eventhpe.data.mmhpsd_sequence import MMHPSD_CAMERA, MMHPSD_FRAME_US, MMHPSD_SIZE, NUM_BINS
from eventhpe.data.mmhpsd_stored import StoredPoses, StoredSequence
from eventhpe.data.sample import Clip, FlowPair
from eventhpe.data.windows import INPUT_KINDS, window_frames
from eventhpe.errors import EventHPEError, FormatError, MissingAssetError, ShapeError
from eventhpe.events.types import Events
from eventhpe.geometry.rotation import rotvec_to_rotmat

WHOLE_IMAGE = SquareCrop(0.0, 0.0, float(MMHPSD_SIZE[1]))

WINDOW_FRAMES: Mapping[str, int] = MappingProxyType({"binary": 2, "counts": 1})
"""Gray intervals of a network's window by its input: two as published; single events allow one, which is
nearest to the 50 ms of our own recordings."""

FLOW_GAP_FRAMES = 2
"""Frames between the images of a FlowNet pair; EventHPE's training draws 1 to 4 times as many."""

FLOW_ENOUGH = 60_000
"""EventHPE adds sub-windows to a pair until their event frames hold more non-zero entries than this."""

FLOW_SCALE, FLOW_SHIFT = (0.7, 1.3), 0.2
"""EventHPE's augmentation of pairs: zoom, and shift as a share of the side. Its rotation by up to 20 degrees
is left out, as crops are upright."""


@dataclass(frozen=True)
class ClipSamples:
    """How clips are drawn from MMHPSD; stands where `streaming.ClipSamples` stands for our own recordings.

    Attributes:
        num_windows: T steps.
        size_px: S, side of the input.
        kind: "binary" or "counts".
        step_frames: gray intervals of one step.
        whole_image: the network sees the whole image, as published; else a square around the person.
        steady_crop: keep that square still within a clip.
        augment: jitter events and mirror.
        split, splits: see `MMHPSD.sequences`.
    """

    num_windows: int = 8
    size_px: int = 256
    kind: str = "binary"
    step_frames: int = 2
    whole_image: bool = True
    steady_crop: bool = False
    augment: bool = True
    split: Split = "train"
    splits: str = "recommended"

    def __post_init__(self) -> None:
        _check_numbers(self, ("num_windows", "size_px", "step_frames"))
        _check_kind(self.kind, self.step_frames, "ClipSamples")

    def open(self, folder: Path, length: int, seed: int) -> MMHPSDClips:
        """The data set over MMHPSD's root folder."""
        return MMHPSDClips(folder, self, length=length, seed=seed)


@dataclass(frozen=True)
class FlowSamples:
    """How FlowNet's pairs are drawn from MMHPSD.

    Attributes:
        size_px: S, side of the input.
        kind: "binary" or "counts".
        num_gaps: pairs are 2, 4, ... 2 num_gaps frames apart. 1 fits networks whose flow spans the window;
            4 is EventHPE's training, whose longer pairs are drawn by the events in their sub-windows.
        augment: random zoom and shift, and jitter of events.
        split, splits: see `MMHPSD.sequences`; "eventhpe-flow" is the authors' split.
    """

    size_px: int = 256
    kind: str = "binary"
    num_gaps: int = 1
    augment: bool = True
    split: Split = "train"
    splits: str = "recommended"

    def __post_init__(self) -> None:
        _check_numbers(self, ("size_px", "num_gaps"))
        _check_kind(self.kind, FLOW_GAP_FRAMES, "FlowSamples")

    def open(self, folder: Path, length: int, seed: int) -> MMHPSDPairs:
        """The data set over MMHPSD's root folder."""
        return MMHPSDPairs(folder, self, length=length, seed=seed)


class MMHPSDClips(Dataset[Clip]):
    """Clips for ShapeNet, with the interface of `synthetic.ClipDataset`.

    Args:
        root: folder with either layout.
        samples: what is drawn.
        length: samples in one pass.
        seed: of the draws.

    Attributes:
        data: the opened set; `data.body` says which body model its shape coefficients belong to.
        paths: folders of the sequences that clips are drawn from.
        offset: added to every index, to go on where an earlier run stopped.

    Raises:
        MissingAssetError: no set, no sequence of the split, or no clip that long without gaps.
        FormatError: damaged lists; "counts" asked of sequences without single events.
    """

    def __init__(self, root: str | Path, samples: ClipSamples, *, length: int, seed: int = 0) -> None:
        self.data, self.samples, self.length, self.seed, self.offset = MMHPSD(root), samples, length, seed, 0
        self._places = self.data.clips(
            samples.split,
            num_steps=samples.num_windows,
            step_frames=samples.step_frames,
            single_events=samples.kind == "counts",
            splits=samples.splits,
        )
        if not self._places:
            what = f"clip of {samples.num_windows} steps of {samples.step_frames} frames"
            raise _nothing_to_draw(self.data, what, samples.kind, samples.split)
        self.paths = _folders(place.sequence for place in self._places)

    def close(self) -> None:
        """Nothing stays open between samples; here for the interface."""

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Clip:
        if index >= self.length:
            raise IndexError(index)
        rng = np.random.default_rng([self.seed, self.offset + index])
        s, place = self.samples, self._places[int(rng.integers(len(self._places)))]
        poses = place.sequence.poses(place.pose_frames)
        events = clip_events(place, s.kind)
        if s.augment:
            events = jitter_events(events, rng)
        crops = [WHOLE_IMAGE] * s.num_windows
        if not s.whole_image:
            base = random_crop(poses.joints2d, rng)
            wobble = rng.normal(0, 0.008, (s.num_windows, 3)) * (0.0 if s.steady_crop else base.side)
            crops = [SquareCrop(base.left + a, base.top + b, base.side + c) for a, b, c in wobble]
        clip = make_clip(place, poses, events, crops, size_px=s.size_px, kind=s.kind)
        if s.augment and rng.random() < 0.5:
            # The pelvis stands at rest pelvis + transl, so the labels tell where it rests.
            clip = mirror_clip(clip, float(poses.joints3d[0, 0, 0] - poses.params.transl[0, 0]))
        return clip


class MMHPSDPairs(Dataset[FlowPair]):
    """Windows between gray images for FlowNet, with the interface of `synthetic.FlowDataset`.

    True flow is unknown: `flow` and `valid` are zero. Arguments, attributes and errors as in `MMHPSDClips`.
    """

    def __init__(self, root: str | Path, samples: FlowSamples, *, length: int, seed: int = 0) -> None:
        self.data, self.samples, self.length, self.seed, self.offset = MMHPSD(root), samples, length, seed, 0
        single = samples.kind == "counts"
        self._starts = [
            (sequence, k)
            for sequence in self.data.sequences(samples.split, splits=samples.splits)
            for k in pair_starts(sequence, FLOW_GAP_FRAMES, single_events=single)
        ]
        if not self._starts:
            what = f"two gray images {FLOW_GAP_FRAMES} frames apart"
            raise _nothing_to_draw(self.data, what, samples.kind, samples.split)
        self._there = {(sequence.name, k) for sequence, k in self._starts}
        self.paths = _folders(sequence for sequence, _ in self._starts)

    def close(self) -> None:
        """Nothing stays open between samples; here for the interface."""

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> FlowPair:
        if index >= self.length:
            raise IndexError(index)
        rng = np.random.default_rng([self.seed, self.offset + index])
        s = self.samples
        sequence, start = self._starts[int(rng.integers(len(self._starts)))]
        gap = FLOW_GAP_FRAMES * self._draw_gaps(sequence, start, rng)
        place = ClipPlace(sequence, start, 1, gap)
        events, crop = clip_events(place, s.kind), WHOLE_IMAGE
        if s.augment:
            events, crop = jitter_events(events, rng), _random_square(rng)
        frames = step_input(events, crop, place, 0, s.size_px, s.kind)
        images = [crop.cut_image(sequence.image(k), s.size_px) for k in (start, start + gap)]
        S = s.size_px
        return FlowPair(
            frames=torch.from_numpy(frames),
            image0=torch.from_numpy(images[0].astype(np.float32)),
            image1=torch.from_numpy(images[1].astype(np.float32)),
            flow=torch.zeros(2, S, S),
            valid=torch.zeros(S, S),
        )

    def _draw_gaps(self, sequence: StoredSequence, start: int, rng: np.random.Generator) -> int:
        """Sub-windows that a pair spans: by their events, none after more than FLOW_ENOUGH."""
        if self.samples.num_gaps == 1:
            return 1
        counts: list[int] = []
        for j in range(self.samples.num_gaps):
            first = start + j * FLOW_GAP_FRAMES
            if (sequence.name, first) not in self._there or sum(counts) > FLOW_ENOUGH:
                break
            counts.append(
                sum(int(sequence.event_frame(k).sum()) for k in range(first, first + FLOW_GAP_FRAMES))
            )
        total = sum(counts)
        return 1 + int(rng.choice(len(counts), p=np.array(counts) / total)) if total else 1


def pair_starts(sequence: StoredSequence, gap: int, *, single_events: bool = False) -> list[int]:
    """Frames k whose image and that of k + gap are there, and all event frames (or single events) between
    them."""
    images = set(sequence.image_frames)
    events = set(sequence.interval_frames if single_events else sequence.event_frames)
    return [k for k in sorted(images) if k + gap in images and all(i in events for i in range(k, k + gap))]


def clip_events(place: ClipPlace, kind: str) -> Events:
    """Events of a clip on a clock of its own, which begins with the clip.

    Args:
        kind: "binary" = one event for every entry of the event frames, 4 ticks per gray interval;
            "counts" = the single events, 66,667 us per gray interval.
    Convention:
        As in the published event frames, an interval reaches from its first event to its last, so times of
        any origin and unit fit.
    """
    parts: list[tuple[Any, ...]] = []
    for i in range(place.num_steps * place.step_frames):
        k = place.start + i
        if kind == "binary":
            b, y, x = np.nonzero(place.sequence.event_frame(k).transpose(2, 0, 1))
            parts.append((NUM_BINS * i + b, x, y, np.ones(len(b), np.uint8)))
        else:
            events = place.sequence.events(k)
            t, span = events.t, max(int(events.duration_us), 0) + 1
            since = (t - t[0]) * MMHPSD_FRAME_US // span if len(t) else t
            parts.append((MMHPSD_FRAME_US * i + since, events.x, events.y, events.p))
    t, x, y, p = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Events.from_columns(t, x, y, p, MMHPSD_SIZE)


def make_clip(
    place: ClipPlace,
    poses: StoredPoses,
    events: Events,
    crops: Sequence[SquareCrop],
    *,
    size_px: int,
    kind: str,
) -> Clip:
    """The sample of a place.

    Args:
        poses: of `place.pose_frames`.
        events: of `clip_events`, perhaps changed.
        crops: square of every step.
    """
    frames = [step_input(events, crop, place, k, size_px, kind) for k, crop in enumerate(crops)]
    p = poses.params
    arrays = (
        np.stack(frames),
        np.stack([crop.ray(MMHPSD_CAMERA) for crop in crops]),
        rotvec_to_rotmat(p.pose),
        p.transl,
        poses.joints3d,
        p.betas[0],
    )
    return Clip(*(torch.from_numpy(np.array(a, np.float32)) for a in arrays))


def step_input(
    events: Events, crop: SquareCrop, place: ClipPlace, k: int, size_px: int, kind: str
) -> np.ndarray:
    """(8, S, S) input of step k."""
    step = place.step_frames * (NUM_BINS if kind == "binary" else MMHPSD_FRAME_US)
    return window_frames(events, crop, t0_us=k * step, t1_us=(k + 1) * step, out_px=size_px, kind=kind)


def _random_square(rng: np.random.Generator) -> SquareCrop:
    side = MMHPSD_SIZE[1] / rng.uniform(*FLOW_SCALE)
    dx, dy = rng.uniform(-FLOW_SHIFT, FLOW_SHIFT, 2) * MMHPSD_SIZE[1]
    middle = (MMHPSD_SIZE[1] - side) / 2
    return SquareCrop(middle + dx, middle + dy, side)


def _folders(sequences: Iterable[StoredSequence]) -> list[Path]:
    return sorted({sequence.root / sequence.name for sequence in sequences})


def _nothing_to_draw(data: MMHPSD, what: str, kind: str, split: str) -> EventHPEError:
    """The error that says why there is no sample."""
    if kind == "counts" and not any(s.interval_frames for s in data.sequences()):
        return FormatError(
            f"{data.root}: holds event frames without polarity, but no single events; kind 'counts' needs "
            "layout B with its folders events. Use kind 'binary' (--variant parity)."
        )
    return MissingAssetError(
        f"{data.root}: no {what} without gaps in the {split} split; "
        f"`eventhpe doctor --data mmhpsd:{data.root}` tells what is missing."
    )


def _check_kind(kind: str, step_frames: int, where: str) -> None:
    if kind not in INPUT_KINDS:
        raise ShapeError(f"{where}.kind must be one of {', '.join(INPUT_KINDS)}; got {kind!r}.")
    if kind == "binary" and step_frames < 2:
        raise ShapeError(
            f"{where}.step_frames must be at least 2 for kind 'binary': a gray interval has 4 of the 8 time "
            f"bins; got {step_frames}."
        )


def _check_numbers(samples: object, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(samples, name) < 1:
            raise ShapeError(
                f"{type(samples).__name__}.{name} must be at least 1; got {getattr(samples, name)}."
            )
