"""Windows of EventPointPose's files (point_pose_files.py) as samples of the pose systems.

Where a set has positions in space, joints are their projections. Where it has not, the integer labels stand
for the middle of what was cut to them: (u + 0.5, v + 0.5); virtual joints are unknown then.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from eventhpe.data.augment import jitter_events, random_crop
from eventhpe.data.dhp19_cameras import DHP19_SIZE, dhp19_camera
from eventhpe.data.dhp19_dataset import FRONT_CHANNELS, TRAINING_SUBJECTS
from eventhpe.data.dhp19_targets import view_joints
from eventhpe.data.point_pose_files import (
    PointFrame,
    PointFrameName,
    count_points,
    list_point_frames,
    read_point_frame,
    read_point_label,
)
from eventhpe.data.pose_labels import Joints, in_image
from eventhpe.data.pose_sample import PoseSample, mirror_pose, pose_sample
from eventhpe.data.pose_samples import centred_crop
from eventhpe.data.pose_support import NEAR_SHARE, events_near, longer_side, num_inside
from eventhpe.data.windows import INPUT_KINDS, window_frames
from eventhpe.errors import FormatError, ShapeError
from eventhpe.geometry.skeleton import DHP19_15_SKELETON, DHP19_SKELETON, Skeleton, skeleton_by_name


@dataclass(frozen=True)
class PointPoseSamples:
    """How samples are drawn.

    Attributes:
        size_px: S, side of the network input.
        kind: input kind (see data.windows).
        skeleton: "dhp19" (13 markers) or "dhp19_15".
        augment: vary the square around the person as an imperfect finder does, jitter events, and mirror half
            of the samples.
        channels: cameras by their numbers in the files.
        subjects: whose windows are used.
        min_events: leave out windows with fewer events; theirs is 1024 in training and 0 in tests.
    Raises:
        ShapeError: a value that makes no sense; the field is named.
    """

    size_px: int
    kind: str = "counts"
    skeleton: str = "dhp19_15"
    augment: bool = True
    channels: tuple[int, ...] = FRONT_CHANNELS
    subjects: tuple[int, ...] = TRAINING_SUBJECTS
    min_events: int = 0

    def __post_init__(self) -> None:
        for name, words in (
            ("kind", INPUT_KINDS),
            ("skeleton", (DHP19_SKELETON.name, DHP19_15_SKELETON.name)),
        ):
            if getattr(self, name) not in words:
                raise ShapeError(
                    f"PointPoseSamples.{name} must be one of {', '.join(words)}; got {getattr(self, name)!r}."
                )
        if self.size_px < 1 or self.min_events < 0:
            raise ShapeError("PointPoseSamples.size_px must be positive and min_events not negative.")

    def open(self, folder: str | Path, length: int, seed: int) -> PointPoseDataset:
        """The data set over a folder with `data`, `label` and, if any, `3Dlabel`."""
        return PointPoseDataset(Path(folder), self, length=length, seed=seed)


class PointPoseDataset(Dataset[PoseSample]):
    """Samples from EventPointPose's files.

    Args:
        root: the folder.
        options: how samples are drawn.
        length: samples in one pass, drawn at random; 0: every window once, in order.
        seed: of the draws.
    Raises:
        MissingAssetError: no window is there.
        FormatError: none of these subjects and cameras, or none with so many events.
    """

    def __init__(self, root: Path, options: PointPoseSamples, *, length: int = 0, seed: int = 0) -> None:
        self.root, self.options, self.seed = root, options, seed
        self.skeleton = skeleton_by_name(options.skeleton)
        self.offset = 0
        """Added to every index, to go on where an earlier run stopped."""
        self.names = [
            name
            for name in list_point_frames(root)
            if name.subject in options.subjects and name.channel in options.channels and self._usable(name)
        ]
        if not self.names:
            raise FormatError(
                f"{root}: holds no window of subjects {options.subjects} and cameras {options.channels} with "
                f"a label and at least {options.min_events} events."
            )
        self.length, self._drawn = length or len(self.names), length > 0

    def _usable(self, name: PointFrameName) -> bool:
        enough = count_points(self.root, name) >= max(1, self.options.min_events)
        return enough and bool(read_point_label(self.root, name)[1].any())

    def close(self) -> None:
        """Nothing stays open."""

    def __len__(self) -> int:
        return self.length

    def place(self, index: int) -> PointFrameName:
        """Which window a sample is of."""
        if not self._drawn:
            return self.names[index]
        rng = np.random.default_rng([self.seed, 1, self.offset + index])
        return self.names[int(rng.integers(len(self.names)))]

    def __getitem__(self, index: int) -> PoseSample:
        if not 0 <= index < self.length:
            raise IndexError(index)
        name, o = self.place(index), self.options
        frame = read_point_frame(self.root, name)
        joints = point_joints(frame, name.channel, self.skeleton)
        rng = np.random.default_rng([self.seed, 2, self.offset + index])
        t0, t1 = int(frame.events.t[0]), int(frame.events.t[-1]) + 1
        events = jitter_events(frame.events, rng) if o.augment else frame.events
        crop = random_crop(joints.uv, rng) if o.augment else centred_crop(joints.uv)
        sample = pose_sample(
            window_frames(events, crop, t0_us=t0, t1_us=t1, out_px=o.size_px, kind=o.kind),
            crop.place(joints.uv, o.size_px), joints.xyz, self.skeleton,
            crop=crop.ray(dhp19_camera(name.channel)), visible=joints.visible,
            support=events_near(frame.events, joints.uv, NEAR_SHARE * longer_side(joints.uv)),
            num_events=num_inside(crop, np.stack([events.x, events.y], -1)),
        )  # fmt: skip
        return mirror_pose(sample, self.skeleton) if o.augment and rng.random() < 0.5 else sample


def point_joints(frame: PointFrame, channel: int, skeleton: Skeleton) -> Joints:
    """Joints of a window in its camera."""
    if frame.xyz_mm is not None:
        return view_joints(frame.xyz_mm, channel, skeleton)
    J = len(skeleton.joints)
    uv = np.full((J, 2), np.nan)
    uv[: len(frame.known)][frame.known] = frame.pixels[frame.known] + 0.5
    return Joints(uv, np.full((J, 3), np.nan), in_image(uv, DHP19_SIZE))
