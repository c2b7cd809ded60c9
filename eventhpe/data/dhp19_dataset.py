"""Single views of prepared DHP19 recordings, as its CNN learns from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from eventhpe.data.dhp19_cameras import CHANNEL_TO_CAMERA, projection_matrix
from eventhpe.data.dhp19_heatmaps import label_pixels
from eventhpe.data.dhp19_prepared import PreparedRecording
from eventhpe.errors import FormatError, ShapeError
from eventhpe.geometry.triangulate import project_dhp19

FRONT_CHANNELS = (3, 2)
"""Numbers in the files of cameras 2 and 3, the ones that the published protocol uses, in this order."""

VALIDATION_SUBJECTS = (10, 11, 12)
"""Of the authors' training subjects S1 to S12, those that replications keep for validation."""

TRAINING_SUBJECTS = tuple(range(1, 13))


class HeatmapSample(NamedTuple):
    """One frame of one camera (or a batch of them, with a leading B). Targets are drawn from it on the
    device.

    Attributes:
        frame: (1, H, W) uint8, 0..255.
        pixels: (J, 2) int64 labels (u, v), cut towards zero; (0, 0) where not valid.
        valid: (J,) bool.
    """

    frame: Tensor
    pixels: Tensor
    valid: Tensor


class ViewLabels(NamedTuple):
    """Labels of one recording in one camera: uv (N, J, 2) float pixels, NaN where unknown; valid (N, J)."""

    uv: NDArray[np.float64]
    valid: NDArray[np.bool_]


def view_labels(labels_mm: NDArray[np.float64], channel: int, size: tuple[int, int]) -> ViewLabels:
    """Labels (N, J, 3) in millimetres, seen by a camera whose image counts as (H, W).

    Raises:
        CalibrationError: there is no such camera.
    """
    return ViewLabels(*project_dhp19(projection_matrix(channel), labels_mm, size=size))


def view_column(recording: PreparedRecording, channel: int) -> int | None:
    """Where a camera's image lies along the last axis of a recording's frames; None if it is not there."""
    if recording.channel is None:
        return channel
    return 0 if recording.channel == channel else None


class HeatmapDataset(Dataset[HeatmapSample]):
    """Frames of prepared recordings, one sample per view; all views go into one set, as published.

    Frames without a single valid label are left out: the empty one at the end of some recordings, and those
    whose markers were lost.

    Args:
        recordings: prepared recordings.
        size: (H, W), the upper left part of the 260 x 346 frame; published (260, 344).
        channels: cameras by their numbers in the files.
        all_joints: leave out frames with any invalid joint, as some replications do.
        min_events: leave out frames with fewer events of that camera; needs sets that `prepare` made.

    Raises:
        FormatError: no frame is left, or the number of events is not in the files.
        ShapeError: the size is larger than a frame.
    """

    def __init__(
        self,
        recordings: Sequence[PreparedRecording],
        *,
        size: tuple[int, int] = (260, 344),
        channels: Sequence[int] = FRONT_CHANNELS,
        all_joints: bool = False,
        min_events: int = 0,
    ) -> None:
        if not (0 < size[0] <= 260 and 0 < size[1] <= 346):
            raise ShapeError(f"size must be at most (260, 346), DHP19's sensor; got {size}.")
        self.recordings, self.size = tuple(recordings), size
        index, pixels, valid = [], [], []
        for r, recording in enumerate(self.recordings):
            for channel in channels:
                column = view_column(recording, channel)
                if column is None:
                    continue
                labels = view_labels(recording.labels, channel, size)
                use = labels.valid.all(1) if all_joints else labels.valid.any(1)
                if min_events:
                    use = use & (_num_events(recording)[:, column] >= min_events)
                frames = np.flatnonzero(use)
                index.append(np.stack(np.broadcast_arrays(r, column, frames), -1))
                pixels.append(label_pixels(labels.uv, labels.valid)[frames])
                valid.append(labels.valid[frames])
        if not sum(map(len, index)):
            cameras = ", ".join(str(CHANNEL_TO_CAMERA[c]) for c in channels)
            raise FormatError(
                f"{len(self.recordings)} prepared recordings hold no labelled frame of cameras {cameras}."
            )
        self._index, self._pixels, self._valid = map(np.concatenate, (index, pixels, valid))

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, k: int) -> HeatmapSample:
        r, column, frame = self._index[k]
        H, W = self.size
        image = self.recordings[r].frames(int(frame))[:H, :W, column]
        return HeatmapSample(
            torch.from_numpy(np.ascontiguousarray(image))[None],
            torch.from_numpy(self._pixels[k]),
            torch.from_numpy(self._valid[k]),
        )

    def spread(self, count: int) -> list[int]:
        """At most `count` places, evenly spread over the set."""
        count = min(count, len(self))
        return [int(k) for k in (np.arange(count) * len(self)) // max(count, 1)]


class EpochOrder(Sampler[int]):
    """Places of samples for a training of so many draws: every epoch in an order of its own.

    What comes at a place depends on seed and place only, so that a training that was stopped goes on, by
    `offset`, with the samples it has not seen yet. The length is that of the whole training: Lightning counts
    the batches before the stop as part of the epoch that it resumes.
    """

    def __init__(self, num_samples: int, draws: int, seed: int, *, offset: int = 0) -> None:
        self.num_samples, self.draws, self.seed, self.offset = num_samples, draws, seed, offset

    def __len__(self) -> int:
        return self.draws

    def __iter__(self) -> Iterator[int]:
        order, of = np.empty(0, np.int64), -1
        for draw in range(self.offset, self.draws):
            epoch, place = divmod(draw, self.num_samples)
            if epoch != of:
                order, of = np.random.default_rng([self.seed, epoch]).permutation(self.num_samples), epoch
            yield int(order[place])


def _num_events(recording: PreparedRecording) -> NDArray[np.int64]:
    if recording.num_events is None:
        raise FormatError(
            f"{recording.labels_path}: does not hold the number of events, which min_events needs; the "
            "authors' files lack it, those of `eventhpe prepare dhp19` have it."
        )
    return recording.num_events
