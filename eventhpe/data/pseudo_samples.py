"""Windows of events with joints that another network found at their ends, such as HEMlets in gray images.

Files: a folder of converted recordings, and a folder with `<recording>/poses.npz` for each, as `eventhpe
pose` leaves them for a folder of recordings. No label of the recordings themselves is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from eventhpe.data.augment import jitter_events, random_crop
from eventhpe.data.crops import SquareCrop
from eventhpe.data.pose_files import read_poses
from eventhpe.data.pose_labels import in_image
from eventhpe.data.pose_sample import PoseSample, has_parts, mirror_pose, pose_sample
from eventhpe.data.pose_support import NEAR_SHARE, events_near, longer_side, num_inside
from eventhpe.data.poses import PersonPoses, Poses
from eventhpe.data.windows import WINDOW_US, window_frames
from eventhpe.errors import FormatError, MissingAssetError, ShapeError
from eventhpe.events.open import open_recording
from eventhpe.events.recording import Recording
from eventhpe.geometry.skeleton import Skeleton
from eventhpe.shapenet.heads.parts import body_parts

MIN_JOINTS = 4
"""Poses with fewer joints that can be trusted are left out."""

POSES_NAME = "poses.npz"


@dataclass(frozen=True)
class PseudoSamples:
    """How samples are drawn.

    Attributes:
        size_px: S, side of the network input.
        kind: input kind (see data.windows).
        min_confidence: joints of less are not known; each kind of head has its own scale.
        augment: vary the crop, jitter events and mirror.
    Raises:
        ShapeError: a confidence outside [0, 1], or no pixels.
    """

    size_px: int
    kind: str = "counts"
    min_confidence: float = 0.15
    augment: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.min_confidence <= 1:
            raise ShapeError(f"PseudoSamples.min_confidence must lie in [0, 1]; got {self.min_confidence}.")
        if self.size_px < 1:
            raise ShapeError(f"PseudoSamples.size_px must be at least 1; got {self.size_px}.")

    def open(self, recordings: Path, poses: Path, *, seed: int) -> PseudoDataset:
        """The data set over recordings with poses."""
        return PseudoDataset(pair_poses(recordings, poses), self, seed=seed)


def pair_poses(recordings: Path, poses: Path) -> list[tuple[Path, Path]]:
    """Converted recordings and the poses found in them, by name, sorted.

    Raises:
        MissingAssetError: no recording has any.
    """
    pairs = [
        (path, poses / path.stem / POSES_NAME)
        for path in sorted(recordings.glob("*.h5"))
        if (poses / path.stem / POSES_NAME).is_file()
    ]
    if not pairs:
        raise MissingAssetError(
            f"no recording {recordings}/NAME.h5 has joints in {poses}/NAME/{POSES_NAME}. Convert the "
            f"recordings, then find joints in them: eventhpe pose {recordings} -o {poses} --weights ..."
        )
    return pairs


class PseudoDataset(Dataset[PoseSample]):
    """Samples by number, without end; what is drawn depends on (seed, number) alone.

    Args:
        pairs: recording and its poses.
        options: how samples are drawn.
        seed: of the draws.
    Raises:
        FormatError: poses of different skeletons, or none with joints that can be trusted.
    """

    def __init__(self, pairs: Sequence[tuple[Path, Path]], options: PseudoSamples, *, seed: int) -> None:
        self.options, self.seed = options, seed
        self._found = [(path, read_poses(poses)) for path, poses in pairs]
        self._open: dict[Path, Recording] = {}
        names = {poses.skeleton.name for _, poses in self._found}
        if len(names) > 1:
            raise FormatError(
                f"{pairs[0][1].parent.parent}: the recordings' joints are of different skeletons "
                f"({', '.join(sorted(names))}); find them all with the same weights."
            )
        self.skeleton: Skeleton = self._found[0][1].skeleton
        places = [
            (i, p, row)
            for i, (_, poses) in enumerate(self._found)
            for p, person in enumerate(poses.people)
            for row in np.flatnonzero(self._usable(poses, person))
        ]
        self._places = np.array(places, np.int64).reshape(-1, 3)
        if not len(self._places):
            raise FormatError(
                f"{pairs[0][1].parent.parent}: no pose has {MIN_JOINTS} joints of confidence "
                f"{options.min_confidence} or more; lower the limit, or look at the poses' videos."
            )

    @property
    def num_poses(self) -> int:
        """Poses that can be drawn."""
        return len(self._places)

    def close(self) -> None:
        """Close the recordings; they are opened again when a sample needs them."""
        for recording in self._open.values():
            recording.close()
        self._open.clear()

    def __getitem__(self, index: int) -> PoseSample:
        o = self.options
        rng = np.random.default_rng([self.seed, 4, index])
        i, p, row = (int(v) for v in self._places[int(rng.integers(len(self._places)))])
        path, poses = self._found[i]
        person = poses.people[p]
        if path not in self._open:
            self._open[path] = open_recording(path)
        t1 = int(poses.t_us[person.window[row]])
        t0 = t1 - WINDOW_US
        # The window ends at the pose: no event is later than what it is labelled with.
        events = self._open[path].between(t0, t1)
        trusted = self._trusted(poses, person)[row]
        uv = np.where(trusted[:, None], person.uv[row], np.nan)
        support = events_near(events, uv, NEAR_SHARE * longer_side(uv))
        if o.augment:
            events = jitter_events(events, rng)
            crop = random_crop(uv[None], rng)
        else:
            crop = SquareCrop.around(tuple(person.box[row]), 1.0)
        seen = np.stack([events.x, events.y], -1).astype(np.float64)
        sample = pose_sample(
            window_frames(events, crop, t0_us=t0, t1_us=t1, out_px=o.size_px, kind=o.kind),
            crop.place(uv, o.size_px), np.full((*uv.shape[:-1], 3), np.nan), self.skeleton,
            crop=np.zeros(3) if poses.camera is None else crop.ray(poses.camera),
            visible=trusted, support=support, num_events=num_inside(crop, seen),
        )  # fmt: skip
        if person.order is not None and has_parts(self.skeleton):
            ends = np.array(body_parts(self.skeleton))
            sample = sample._replace(
                order=torch.from_numpy(person.order[row].astype(np.int64)),
                order_known=torch.from_numpy(trusted[ends].all(1)),
            )
        if o.augment and rng.random() < 0.5:
            sample = mirror_pose(sample, self.skeleton)
        return sample

    def _trusted(self, poses: Poses, person: PersonPoses) -> NDArray[np.bool_]:
        """(N, J) joints that are confident and on the sensor."""
        inside = in_image(person.uv, poses.sensor_size)
        return np.asarray(inside & (person.confidence >= self.options.min_confidence))

    def _usable(self, poses: Poses, person: PersonPoses) -> NDArray[np.bool_]:
        enough = self._trusted(poses, person).sum(1) >= MIN_JOINTS
        return np.asarray(enough & (poses.t_us[person.window] >= WINDOW_US))
