"""Prepared DHP19 frames as samples of the pose systems: 13 markers, or 15 joints with HEMlets' parts.

Places in the image are the unrounded projections by the published matrices (pixel k has its centre at k, see
dhp19_cameras.py; the authors' own integer labels lie half a pixel left of and above them, on average).
Positions are in the axes of the sample's camera. A missing hip leaves out what hangs on it: the virtual
pelvis and its parts, and every position relative to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from eventhpe.data.augment import random_crop
from eventhpe.data.crops import SquareCrop
from eventhpe.data.dhp19_cameras import DHP19_SIZE, dhp19_camera, dhp19_to_world
from eventhpe.data.dhp19_dataset import FRONT_CHANNELS, TRAINING_SUBJECTS, view_column
from eventhpe.data.dhp19_prepared import PreparedDHP19, PreparedRecording
from eventhpe.data.pose_labels import Joints, in_image, with_virtual_joints
from eventhpe.data.pose_sample import PoseSample, mirror_pose, pose_sample, without_depth
from eventhpe.data.pose_samples import centred_crop
from eventhpe.data.pose_support import NEAR_SHARE, longer_side, near
from eventhpe.errors import FormatError, ShapeError
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.skeleton import DHP19_15_SKELETON, DHP19_SKELETON, Skeleton, skeleton_by_name

VIEWS = ("person", "frame")
CONTENTS = ("frames", "voxels")


@dataclass(frozen=True)
class DHP19PoseSamples:
    """How samples are drawn.

    Attributes:
        size_px: S, side of the network input.
        skeleton: "dhp19" (13 markers) or "dhp19_15".
        view: "person": the square around the markers, scaled to S. "frame": the whole frame in its own
            pixels, in the middle of S x S, padded with 0 or cut.
        content: "frames": one channel, divided by 255. "voxels": the bins of sets made with voxel grids,
            squashed to (-1, 1) by their own level.
        augment: vary the square as an imperfect finder does, and mirror.
        flip_share: share of mirrored samples.
        weak_share: share of the labelled frames that keep joints in the image and depth orders only.
        channels: cameras by their numbers in the files.
        subjects: whose recordings are used.
        variant: which set, where the folder holds several.
        min_events: leave out frames with fewer events of their camera; needs sets that `prepare` made.
    Raises:
        ShapeError: a value that makes no sense; the field is named.
    """

    size_px: int
    skeleton: str = "dhp19_15"
    view: str = "person"
    content: str = "frames"
    augment: bool = True
    flip_share: float = 0.5
    weak_share: float = 0.0
    channels: tuple[int, ...] = FRONT_CHANNELS
    subjects: tuple[int, ...] = TRAINING_SUBJECTS
    variant: str | None = None
    min_events: int = 0

    def __post_init__(self) -> None:
        choices = {
            "skeleton": (DHP19_SKELETON.name, DHP19_15_SKELETON.name),
            "view": VIEWS,
            "content": CONTENTS,
        }
        for name, words in choices.items():
            if getattr(self, name) not in words:
                raise ShapeError(
                    f"DHP19PoseSamples.{name} must be one of {', '.join(words)}; got {getattr(self, name)!r}."
                )
        for name in ("flip_share", "weak_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ShapeError(f"DHP19PoseSamples.{name} must lie in [0, 1]; got {getattr(self, name)}.")
        if self.size_px < 1 or self.min_events < 0:
            raise ShapeError("DHP19PoseSamples.size_px must be positive and min_events not negative.")

    def open(self, folder: str | Path, length: int, seed: int) -> DHP19PoseDataset:
        """The data set over prepared recordings of the chosen subjects.

        Raises:
            MissingAssetError: nothing prepared is there.
            FormatError: several sets and no choice, or no labelled frame of these subjects and cameras.
        """
        chosen = PreparedDHP19(folder, self.variant).of(self.subjects)
        return DHP19PoseDataset(chosen, self, length=length, seed=seed)


class DHP19PoseDataset(Dataset[PoseSample]):
    """Samples from prepared recordings.

    Args:
        recordings: prepared recordings.
        options: how samples are drawn; subjects and variant are the caller's choice here.
        length: samples in one pass, drawn at random; 0: every labelled frame once, in order.
        seed: of the draws.

    Raises:
        FormatError: no labelled frame, or the number of events is not in the files.
    """

    def __init__(
        self,
        recordings: Sequence[PreparedRecording],
        options: DHP19PoseSamples,
        *,
        length: int = 0,
        seed: int = 0,
    ) -> None:
        self.recordings, self.options, self.seed = tuple(recordings), options, seed
        self.skeleton = skeleton_by_name(options.skeleton)
        self.offset = 0
        """Added to every index, to go on where an earlier run stopped."""
        index = []
        for r, recording in enumerate(self.recordings):
            for channel in options.channels:
                column = view_column(recording, channel)
                if column is not None:
                    index += [(r, channel, column, k) for k in self._labelled(recording, channel, column)]
        if not index:
            raise FormatError(
                f"{len(self.recordings)} prepared recordings hold no labelled frame of the cameras "
                f"{', '.join(map(str, options.channels))} (numbers in the files)."
            )
        self._index = np.array(index, np.int64)
        self.length = length or len(index)
        self._drawn = length > 0

    @property
    def paths(self) -> list[Path]:
        """Files of the frames."""
        return [recording.frames_path for recording in self.recordings]

    @property
    def subjects(self) -> list[int]:
        """Whose recordings they are."""
        return sorted({recording.subject for recording in self.recordings})

    def _labelled(self, recording: PreparedRecording, channel: int, column: int) -> NDArray[np.int64]:
        joints = marker_joints(recording.labels, channel)
        use = joints.visible.any(-1)
        if self.options.min_events:
            if recording.num_events is None:
                raise FormatError(
                    f"{recording.labels_path}: does not hold the number of events, which min_events needs; "
                    "sets of `eventhpe prepare dhp19` have it."
                )
            use = use & (recording.num_events[:, column] >= self.options.min_events)
        return np.flatnonzero(use)

    def close(self) -> None:
        """Close the files; they are opened again when a sample needs them."""
        for recording in self.recordings:
            recording.close()

    def __len__(self) -> int:
        return self.length

    def place(self, index: int) -> tuple[PreparedRecording, int, int]:
        """Recording, camera (its number in the files) and frame of a sample."""
        r, channel, _, k = self._index[self._number(index)]
        return self.recordings[r], int(channel), int(k)

    def _number(self, index: int) -> int:
        if not self._drawn:
            return index
        return int(np.random.default_rng([self.seed, 1, self.offset + index]).integers(len(self._index)))

    def __getitem__(self, index: int) -> PoseSample:
        if not 0 <= index < self.length:
            raise IndexError(index)
        o, (r, channel, column, k) = self.options, self._index[self._number(index)]
        recording = self.recordings[r]
        rng = np.random.default_rng([self.seed, 2, self.offset + index])
        joints = view_joints(recording.labels[k], int(channel), self.skeleton)
        if o.view == "frame":
            left, top = -((o.size_px - DHP19_SIZE[1]) // 2), -((o.size_px - DHP19_SIZE[0]) // 2)
            crop = SquareCrop(left, top, o.size_px)
        else:
            crop = random_crop(joints.uv, rng) if o.augment else centred_crop(joints.uv)
        if o.content == "voxels":
            image = squash(recording.voxels(int(k))[column])
        else:
            image = recording.frames(int(k))[None, ..., column].astype(np.float32) / 255
        active = (image != 0).any(0).astype(np.int64)
        sample = pose_sample(
            cut_channels(image, crop, o.size_px), crop.place(joints.uv, o.size_px), joints.xyz, self.skeleton,
            crop=crop.ray(_camera(int(channel))), visible=joints.visible,
            support=near(active, joints.uv, NEAR_SHARE * longer_side(joints.uv)),
            num_events=-1 if recording.num_events is None else int(recording.num_events[k, column]),
        )  # fmt: skip
        if o.augment and rng.random() < o.flip_share:
            sample = mirror_pose(sample, self.skeleton)
        weak = np.random.default_rng([self.seed, 3, self._number(index)]).random() < o.weak_share
        return without_depth(sample) if weak else sample


def marker_joints(labels_mm: NDArray[np.floating], channel: int) -> Joints:
    """Markers (*, 13, 3) in millimetres of DHP19's world, seen by a camera: its pixels and axes, metres.

    Raises:
        CalibrationError: there is no such camera.
    """
    camera = _camera(channel)
    xyz = camera.to_camera_frame(dhp19_to_world(labels_mm))
    uv = camera.project(xyz)
    return Joints(uv, xyz, in_image(uv, DHP19_SIZE))


def view_joints(labels_mm: NDArray[np.floating], channel: int, skeleton: Skeleton) -> Joints:
    """As `marker_joints`, with the virtual joints where the skeleton has them."""
    joints = marker_joints(labels_mm, channel)
    if skeleton.name == DHP19_SKELETON.name:
        return joints
    return with_virtual_joints(joints, _camera(channel))


def cut_channels(image: NDArray[np.float32], crop: SquareCrop, out_px: int) -> NDArray[np.float32]:
    """(C, H, W) to (C, S, S), bilinear, 0 outside the image; exact where the crop keeps whole pixels."""
    s = out_px / crop.side
    A = np.array([[s, 0.0, s * (0.5 - crop.left) - 0.5], [0.0, s, s * (0.5 - crop.top) - 0.5]])
    cut = np.empty((len(image), out_px, out_px), np.float32)
    for out, channel in zip(cut, image, strict=True):
        # cv2.warpAffine does not low-pass when it shrinks.
        smooth = cv2.GaussianBlur(channel, (0, 0), 0.4 / s) if s < 0.75 else channel
        cv2.warpAffine(
            np.ascontiguousarray(smooth), A, (out_px, out_px), dst=out, flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT, borderValue=0.0,
        )  # fmt: skip
    return cut


def squash(voxels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Signed voxel grid to (-1, 1) relative to the RMS of its cells that are not 0; an empty one stays 0."""
    occupied = voxels[voxels != 0]
    if not occupied.size:
        return voxels
    rms = np.float32(np.sqrt(np.mean(np.square(occupied, dtype=np.float64))))
    return np.tanh(voxels / (np.float32(1.5) * rms)).astype(np.float32)


@lru_cache(maxsize=4)
def _camera(channel: int) -> Camera:
    return dhp19_camera(channel)
