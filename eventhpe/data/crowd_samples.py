"""Whole images with everybody in them, for systems that find several people at once.

The image is scaled by one factor in both directions, and what the input shows beyond the sensor is empty.
People stand at the end of the window; what is drawn depends on (seed, index) alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from eventhpe.data.augment import jitter_events
from eventhpe.data.crops import SquareCrop
from eventhpe.data.pose_labels import in_image
from eventhpe.data.pose_places import LabelledDataset, labelled_paths
from eventhpe.data.windows import INPUT_KINDS, WINDOW_US, rectangle_frames
from eventhpe.errors import ShapeError
from eventhpe.geometry.skeleton import Skeleton, skeleton_by_name
from eventhpe.shapenet.heads.people import joint_boxes
from eventhpe.shapenet.heads.swahr_targets import PeopleLabels

STRIDE = 32


class CrowdSample(NamedTuple):
    """One image (or a batch of them, with a leading B).

    Attributes:
        frames: (C, H, W) float32 network input.
        uv: (M, J, 2) float32 pixels of the input, centres at integers; zero where not `known`.
        known: (M, J) bool; a joint counts if it lies on the sensor and its person is to be found. People
            fewer than M are padded with False.
        labelled: (H, W) bool; False around people who are there but not to be found, where losses look away.
        boxes: (M, 4) float32 x0, y0, x1, y1 of the known joints as `joint_boxes` gives them; zero where
            nobody is.
        scale: () float32, input pixels per sensor pixel.
    """

    frames: Tensor
    uv: Tensor
    known: Tensor
    labelled: Tensor
    boxes: Tensor
    scale: Tensor

    @property
    def labels(self) -> PeopleLabels:
        """What the network learns from; of a batch."""
        return PeopleLabels(self.uv, self.known, self.labelled)


@dataclass(frozen=True)
class CrowdSamples:
    """How samples are drawn.

    Attributes:
        height, width: of the input, multiples of 32.
        max_people: M; of more, the largest are kept and the others are not `labelled`.
        kind: input kind (see data.windows).
        skeleton: "dhp19" (13 joints), "dhp19_15" or "smpl24".
        augment: scale and shift the image, jitter events, mirror. Off: the image fits the input, centred.
        zoom: range of the scale relative to the one at which the image fits.
        flip_share: share of mirrored samples.
        window_us: length of the window, in µs.
        min_visible: people of whom a smaller share of the joints is seen, and
        min_joints: people with fewer joints on the sensor than this, are not to be found.
    Raises:
        ShapeError: a number that makes no sense; the field is named.
    """

    height: int
    width: int
    max_people: int = 4
    kind: str = "counts"
    skeleton: str = "dhp19_15"
    augment: bool = True
    zoom: tuple[float, float] = (0.7, 1.4)
    flip_share: float = 0.5
    window_us: int = WINDOW_US
    min_visible: float = 0.15
    min_joints: int = 4

    def __post_init__(self) -> None:
        skeleton_by_name(self.skeleton)
        for name in ("height", "width"):
            if getattr(self, name) < STRIDE or getattr(self, name) % STRIDE:
                raise ShapeError(
                    f"CrowdSamples.{name} must be a multiple of {STRIDE}; got {getattr(self, name)}."
                )
        if self.kind not in INPUT_KINDS:
            raise ShapeError(f"CrowdSamples.kind must be one of {', '.join(INPUT_KINDS)}; got {self.kind!r}.")
        if not 0 < self.zoom[0] <= self.zoom[1]:
            raise ShapeError(f"CrowdSamples.zoom must be (low, high), 0 < low <= high; got {self.zoom}.")
        for name in ("flip_share", "min_visible"):
            if not 0 <= getattr(self, name) <= 1:
                raise ShapeError(f"CrowdSamples.{name} must lie in [0, 1]; got {getattr(self, name)}.")
        for name, least in (("max_people", 1), ("window_us", 8), ("min_joints", 1)):
            if getattr(self, name) < least:
                raise ShapeError(f"CrowdSamples.{name} must be at least {least}; got {getattr(self, name)}.")

    def open(self, folder: str | Path | Sequence[Path], length: int, seed: int) -> CrowdDataset:
        """The data set over a folder of recordings, or over chosen ones."""
        return CrowdDataset(labelled_paths(folder), self, length=length, seed=seed)


class CrowdDataset(LabelledDataset):
    """Samples from recordings; opened on first use in each process.

    Args:
        paths: labelled recordings.
        options: how samples are drawn.
        length: samples in one pass.
        seed: of the draws.
    """

    def __init__(self, paths: Sequence[Path], options: CrowdSamples, *, length: int, seed: int = 0) -> None:
        super().__init__(
            paths, skeleton_by_name(options.skeleton), window_us=options.window_us,
            min_inside=0.0, length=length, seed=seed,
        )  # fmt: skip
        self.options = options

    def place(self, index: int) -> tuple[Path, int]:
        """Recording and label of a sample; somebody is in the image then."""
        path, _, k = self._recordings.draw(np.random.default_rng([self.seed, 1, self.offset + index]))
        return path, k

    def __getitem__(self, index: int) -> CrowdSample:
        if not 0 <= index < self.length:
            raise IndexError(index)
        o = self.options
        path, k = self.place(index)
        recording, people = self._recordings[path]
        rng = np.random.default_rng([self.seed, 2, self.offset + index])
        t1 = int(people[0].labels.t_us[k])
        events = recording.between(t1 - o.window_us, t1)
        sensor = recording.sensor_size
        square = self._square(sensor, rng)
        if o.augment:
            events = jitter_events(events, rng)
        side = max(o.height, o.width)
        frames = rectangle_frames(
            events, square, t0_us=t1 - o.window_us, t1_us=t1, out_px=side, size=(o.height, o.width),
            kind=o.kind,
        )  # fmt: skip
        uv = np.stack([p.joints.uv[k] for p in people])
        seen = np.stack([p.joints.visible[k] for p in people])
        valid = np.array([p.body_known[k] or self.skeleton.name != "smpl24" for p in people])
        placed, on_sensor = square.place(uv, side), in_image(uv, sensor)
        found = (seen.mean(-1) >= o.min_visible) & (on_sensor.sum(-1) >= o.min_joints) & valid
        sample = crowd_sample(
            frames, placed, on_sensor, found, max_people=o.max_people, scale=side / square.side
        )
        return mirror_crowd(sample, self.skeleton) if o.augment and rng.random() < o.flip_share else sample

    def _square(self, sensor: tuple[int, int], rng: np.random.Generator) -> SquareCrop:
        """Square of the sensor whose upper left part, H x W of its input pixels, is the input."""
        o = self.options
        scale = min(o.height / sensor[0], o.width / sensor[1])
        shift = np.array([0.5, 0.5])
        if o.augment:
            scale *= float(np.exp(rng.uniform(*np.log(o.zoom))))
            shift = rng.random(2)
        # What is left over on either side; negative where the image is larger than the input.
        room = np.array([o.width - scale * sensor[1], o.height - scale * sensor[0]])
        left, top = -room * shift / scale
        return SquareCrop(float(left), float(top), max(o.height, o.width) / scale)


def crowd_sample(
    frames: NDArray[np.float32],
    uv: NDArray[np.floating],
    known: NDArray[np.bool_],
    found: NDArray[np.bool_],
    *,
    max_people: int,
    scale: float,
) -> CrowdSample:
    """Put a sample together.

    Args:
        frames: (C, H, W).
        uv, known: (N, J, 2) pixels of the input and (N, J) bool, of everybody.
        found: (N,) bool, who is to be found.
        max_people: M.
        scale: input pixels per sensor pixel.
    """
    H, W = frames.shape[-2:]
    N, J = known.shape
    inside = known & in_image(uv, (H, W))
    found = found & inside.any(-1)
    extents = np.array([_extent(points[use]) for points, use in zip(uv, known, strict=True)])
    order = np.argsort(-extents, kind="stable")
    chosen = [i for i in order if found[i]][:max_people]
    labelled = np.ones((H, W), bool)
    everybody = joint_boxes(uv.astype(np.float32), known.astype(np.float32), size=(H, W))
    for i in range(N):
        if i not in chosen and inside[i].any():
            x0, y0, x1, y1 = np.rint(everybody[i]).astype(int)
            labelled[y0 : y1 + 1, x0 : x1 + 1] = False
    out_uv, out_known = np.zeros((max_people, J, 2), np.float32), np.zeros((max_people, J), bool)
    boxes = np.zeros((max_people, 4), np.float32)
    out_uv[: len(chosen)] = np.where(known[chosen][..., None], uv[chosen], 0.0)
    out_known[: len(chosen)] = known[chosen]
    boxes[: len(chosen)] = everybody[chosen]
    return CrowdSample(
        frames=torch.from_numpy(np.ascontiguousarray(frames, np.float32)),
        uv=torch.from_numpy(out_uv),
        known=torch.from_numpy(out_known),
        labelled=torch.from_numpy(labelled),
        boxes=torch.from_numpy(boxes),
        scale=torch.tensor(scale, dtype=torch.float32),
    )


def mirror_crowd(sample: CrowdSample, skeleton: Skeleton) -> CrowdSample:
    """The mirror image: columns reversed, left and right exchanged; polarities stay. Or of a batch."""
    flip, W = skeleton.flip.tolist(), sample.frames.shape[-1]
    known = sample.known[..., flip]
    uv = sample.uv[..., flip, :].clone()
    uv[..., 0] = W - 1 - uv[..., 0]
    boxes = sample.boxes.clone()
    boxes[..., 0], boxes[..., 2] = W - 1 - sample.boxes[..., 2], W - 1 - sample.boxes[..., 0]
    return sample._replace(
        frames=sample.frames.flip(-1),
        uv=torch.where(known[..., None], uv, 0.0),
        known=known,
        labelled=sample.labelled.flip(-1),
        boxes=torch.where(known.any(-1, keepdim=True), boxes, 0.0),
    )


def _extent(points: NDArray[np.floating]) -> float:
    return float(np.ptp(points, axis=0).max()) if len(points) else 0.0


class EveryCrowd(CrowdDataset):
    """Images at the ends of consecutive windows in which somebody is labelled, each once, fitted and centred.

    Args:
        paths: labelled recordings.
        options: size and limits; varying the images is switched off.
    """

    def __init__(self, paths: Sequence[Path], options: CrowdSamples) -> None:
        super().__init__(paths, replace(options, augment=False), length=0)
        self._every: list[tuple[Path, int]] = []
        for path in self.paths:
            t_us = self._recordings[path][1][0].labels.t_us
            labels = np.unique(self._recordings.places(path)[:, 1])
            self._every += [(path, int(k)) for k in labels if int(t_us[k]) % WINDOW_US == 0]
        self.length = len(self._every)

    def place(self, index: int) -> tuple[Path, int]:
        """Recording and label of a sample."""
        return self._every[index]
