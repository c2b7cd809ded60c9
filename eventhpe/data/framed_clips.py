"""Clips for ShapeNet beside windows whose joints are known in the image: frame-aligned supervision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch.utils.data import Dataset

from eventhpe.data.pose_sample import PoseSample
from eventhpe.data.pseudo_samples import PseudoDataset, PseudoSamples
from eventhpe.data.sample import Clip, collate
from eventhpe.data.streaming import Samples

WINDOWS_PER_CLIP = 4
"""Windows with joints in the image for each clip."""


class FramedClip(NamedTuple):
    """A clip and W windows of other recordings (or a batch of both).

    Attributes:
        clip: of T windows.
        windows: W single windows, stacked.
    """

    clip: Clip
    windows: PoseSample


@dataclass(frozen=True)
class FramedClipSamples:
    """How both are drawn.

    Attributes:
        clips: clips.
        windows: windows with joints.
        recordings, poses: folders of the windows, see data/pseudo_samples.py.
    """

    clips: Samples
    windows: PseudoSamples
    recordings: Path
    poses: Path

    def open(self, folder: Any, length: int, seed: int) -> FramedClipDataset:
        """The data set over a folder of recordings for the clips."""
        return FramedClipDataset(
            self.clips.open(folder, length, seed),
            self.windows.open(self.recordings, self.poses, seed=seed),
        )


class FramedClipDataset(Dataset[FramedClip]):
    """Clip i with windows W i to W i + W - 1.

    Args:
        clips: data set of clips.
        windows: of windows.
    """

    def __init__(self, clips: Any, windows: PseudoDataset) -> None:
        self.clips, self.windows = clips, windows

    @property
    def paths(self) -> Sequence[Path]:
        """Recordings of the clips."""
        paths: Sequence[Path] = self.clips.paths
        return paths

    @property
    def offset(self) -> int:
        """Added to every index, to go on where an earlier run stopped."""
        return int(self.clips.offset)

    @offset.setter
    def offset(self, value: int) -> None:
        self.clips.offset = value

    def close(self) -> None:
        """Close the recordings; they are opened again when a sample needs them."""
        self.clips.close()
        self.windows.close()

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> FramedClip:
        clip = self.clips[index]
        first = (self.offset + index) * WINDOWS_PER_CLIP
        windows = collate([self.windows[first + i] for i in range(WINDOWS_PER_CLIP)])
        return FramedClip(clip, windows)
