"""Crops of single people with their poses, from labelled recordings: generated ones, or real ones with fitted
bodies.

What is drawn depends on (seed, index) alone. The pose stands at the end of the window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eventhpe.data.augment import jitter_events, random_crop
from eventhpe.data.crops import SquareCrop
from eventhpe.data.pose_places import LabelledDataset, labelled_paths
from eventhpe.data.pose_sample import Body, PoseSample, mirror_pose, pose_sample, without_depth
from eventhpe.data.pose_support import NEAR_SHARE, events_near, longer_side, num_inside
from eventhpe.data.roll import Roll
from eventhpe.data.windows import GRAY, INPUT_KINDS, WINDOW_US, gray_input, window_frames
from eventhpe.errors import FormatError, ShapeError
from eventhpe.events.filters import background_activity
from eventhpe.events.recording import Recording
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.rotation import rotvec_to_rotmat
from eventhpe.geometry.skeleton import skeleton_by_name

CENTRED_MARGIN = 1.25
"""Side of the crop over the longer side of the joints' box, where crops are not varied."""

GAMMA = (0.6, 1.6)
"""Range of the gamma of gray images where samples are varied."""

TRIES = 100
"""Draws after which recordings count as without windows of so many events."""

SUPPORT_US = 20_000
"""Support time of the noise filter before events are counted, as in a capture."""

_LEAST = (("size_px", 1), ("window_us", 8), ("min_events", 0), ("num_labelled", 0), ("roll_deg", 0))


@dataclass(frozen=True)
class PoseSamples:
    """How samples are drawn.

    Attributes:
        size_px: S, side of the network input.
        kind: input kind (see data.windows), or "gray" for the gray image at the pose's time, of which no
            camera is turned.
        skeleton: "dhp19" (13 joints), "dhp19_15" or "smpl24".
        augment: vary the crop as an imperfect finder does (its side by a factor of 0.83 to 1.18 about the
            middle, more where limbs are cut off), jitter events, turn and mirror. Off: centred crops of the
            same events.
        flip_share: share of mirrored samples.
        roll_share: share of samples from a turned camera, by up to roll_deg either way; cameras with
            tangential distortion are not turned.
        roll_deg: as above.
        weak_share: share of the labelled poses that keep joints in the image and depth orders only, whenever
            they come.
        window_us: length of the window, in µs.
        min_inside: share of the joints that must lie in the image.
        min_events: events in the joints' box, of those that a neighbour supports, that a window must hold;
            in windows of people who stand still nothing can be learnt. 0 = any window will do.
        num_labelled: use so many different labelled poses only, as if no others had been labelled, in new
            variations; 0 = all.
    Raises:
        ShapeError: a number that makes no sense; the field is named.
    """

    size_px: int
    kind: str = "counts"
    skeleton: str = "dhp19_15"
    augment: bool = True
    flip_share: float = 0.5
    roll_share: float = 0.5
    roll_deg: float = 30.0
    weak_share: float = 0.0
    window_us: int = WINDOW_US
    min_inside: float = 0.5
    min_events: int = 0
    num_labelled: int = 0

    def __post_init__(self) -> None:
        skeleton_by_name(self.skeleton)
        if self.kind not in (*INPUT_KINDS, GRAY):
            raise ShapeError(
                f"PoseSamples.kind must be one of {', '.join((*INPUT_KINDS, GRAY))}; got {self.kind!r}."
            )
        for name in ("flip_share", "roll_share", "weak_share", "min_inside"):
            if not 0 <= getattr(self, name) <= 1:
                raise ShapeError(f"PoseSamples.{name} must lie in [0, 1]; got {getattr(self, name)}.")
        for name, least in _LEAST:
            if getattr(self, name) < least:
                raise ShapeError(f"PoseSamples.{name} must be at least {least}; got {getattr(self, name)}.")

    def open(self, folder: str | Path | Sequence[Path], length: int, seed: int) -> PoseDataset:
        """The data set over a folder of recordings, or over chosen ones."""
        return PoseDataset(labelled_paths(folder), self, length=length, seed=seed)


class PoseDataset(LabelledDataset):
    """Samples from recordings; opened on first use in each process.

    Args:
        paths: labelled recordings.
        options: how samples are drawn.
        length: samples in one pass.
        seed: of the draws.
    """

    def __init__(self, paths: Sequence[Path], options: PoseSamples, *, length: int, seed: int = 0) -> None:
        super().__init__(
            paths, skeleton_by_name(options.skeleton), window_us=options.window_us,
            min_inside=options.min_inside, length=length, seed=seed, gray=options.kind == GRAY,
        )  # fmt: skip
        self.options = options

    def place(self, index: int) -> tuple[Path, int, int]:
        """Recording, person and label of a sample.

        Raises:
            FormatError: no recording holds a usable pose, or labels are missing.
        """
        number = self.offset + index
        if self.options.num_labelled:
            number %= self.options.num_labelled
        rng = np.random.default_rng([self.seed, 1, number])
        for _ in range(TRIES):
            path, person, k = self._recordings.draw(rng)
            if not self.options.min_events or self._supported(path, person, k) >= self.options.min_events:
                return path, person, k
        raise FormatError(
            f"{self.paths[0].parent}: none of {TRIES} windows drawn from {len(self.paths)} recordings has "
            f"min_events = {self.options.min_events} events in the box of its person."
        )

    def _supported(self, path: Path, number: int, k: int) -> int:
        """Events in the box of a person's joints, without what looks like noise."""
        recording, people = self._recordings[path]
        t1 = int(people[number].labels.t_us[k])
        events = background_activity(recording.between(t1 - self.options.window_us, t1), SUPPORT_US)
        box = centred_crop(people[number].joints.uv[k], 1.0)
        return num_inside(box, np.stack([events.x, events.y], -1))

    def __getitem__(self, index: int) -> PoseSample:
        if not 0 <= index < self.length:
            raise IndexError(index)
        o = self.options
        path, number, k = self.place(index)
        recording, people = self._recordings[path]
        person, labels = people[number], people[number].labels
        rng = np.random.default_rng([self.seed, 2, self.offset + index])
        t1 = int(labels.t_us[k])
        t0 = t1 - o.window_us
        events = recording.between(t0, t1)
        first = int(np.searchsorted(labels.t_us, t0))
        uv, around = person.joints.uv[k], person.joints.uv[first : k + 1]
        if person.body_known[first : k + 1].all():
            around = labels.joints2d[first : k + 1].astype(np.float64)  # the same crop for every skeleton
        support = events_near(events, uv, NEAR_SHARE * longer_side(uv))
        if o.augment:
            events = jitter_events(events, rng)
        roll = self._draw_roll(labels.camera, rng)
        if roll is not None:
            around = roll.pixels(around)
        crop = random_crop(around, rng) if o.augment else centred_crop(around)
        if o.kind == GRAY:
            frames = self._gray(recording, t1, crop, rng)
        else:
            cut = window_frames if roll is None else roll.frames
            frames = cut(events, crop, t0_us=t0, t1_us=t1, out_px=o.size_px, kind=o.kind)
        rotmats = rotvec_to_rotmat(labels.params.pose[k])
        transl, pelvis = labels.params.transl[k].astype(np.float64), labels.joints3d[k, 0].astype(np.float64)
        xyz, rest = person.joints.xyz[k], pelvis - transl
        seen = np.stack([events.x, events.y], -1).astype(np.float64)
        if roll is not None:
            uv, xyz = roll.pixels(uv), roll.points(xyz)
            rotmats[0] = roll.rotation @ rotmats[0]
            transl = roll.points(pelvis) - rest  # the body turns about the camera, its rest pelvis does not
            seen = roll.pixels(seen)
        sample = pose_sample(
            frames, crop.place(uv, o.size_px), xyz, self.skeleton, crop=crop.ray(labels.camera),
            visible=person.joints.visible[k], support=support, num_events=num_inside(crop, seen),
            body=Body(rotmats, labels.params.betas[k], transl) if person.body_known[k] else None,
        )  # fmt: skip
        if o.augment and rng.random() < o.flip_share:
            sample = mirror_pose(sample, self.skeleton, float(rest[0]))
        weak = np.random.default_rng([self.seed, 3, self.paths.index(path), number, k])
        return without_depth(sample) if weak.random() < o.weak_share else sample

    def _gray(
        self, recording: Recording, t_us: int, crop: SquareCrop, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """The gray image of that time as input; with another gamma where samples are varied."""
        images = recording.frames
        assert images is not None  # poses without an image are not drawn
        image = crop.cut_image(images[int(np.searchsorted(images.t_us, t_us))], self.options.size_px)
        if self.options.augment:
            gamma = float(np.exp(rng.uniform(*np.log(GAMMA))))
            image = np.rint(255 * (image / 255.0) ** gamma).astype(np.uint8)
        return gray_input(image)

    def _draw_roll(self, camera: Camera, rng: np.random.Generator) -> Roll | None:
        o = self.options
        if not o.augment or rng.random() >= o.roll_share or not Roll.fits(camera) or o.kind == GRAY:
            return None
        return Roll.by(float(rng.uniform(-o.roll_deg, o.roll_deg)), camera)


def centred_crop(uv: NDArray[np.floating], margin: float = CENTRED_MARGIN) -> SquareCrop:
    """The square around all finite points of (*, 2) pixels."""
    points = uv[np.isfinite(uv).all(-1)]
    (x0, y0), (x1, y1) = points.min(0), points.max(0)
    return SquareCrop.around((x0 + 0.5, y0 + 0.5, x1 + 0.5, y1 + 0.5), margin)
