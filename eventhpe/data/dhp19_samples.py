"""Samples for training FlowNet and ShapeNet from DHP19 with fitted bodies (`dhp19_bodies_files`).

Subjects follow the official split: S1 to S12 train, of whom S10 to S12 are held out where a training
validates; S13 to S17 are never seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch.utils.data import Dataset

from eventhpe.data import streaming
from eventhpe.data.dhp19 import SPLITS
from eventhpe.data.dhp19_bodies_files import BodiesName, find_bodies
from eventhpe.data.sample import FlowPair
from eventhpe.data.synthetic import ClipDataset

Part = Literal["all", "train", "val"]
"""All training subjects; those without the validation subjects; the validation subjects."""


def subjects_of(part: Part) -> tuple[int, ...]:
    """Subjects of a part of the official split; never those of the test."""
    split = SPLITS["official"]
    if part == "val":
        return split.validation
    return tuple(s for s in split.train if part == "all" or s not in split.validation)


@dataclass(frozen=True)
class ClipSamples(streaming.ClipSamples):
    """Clips for ShapeNet from DHP19, drawn as `ClipDataset` does from runs of valid bodies."""

    part: Part = "all"

    def open(self, folder: Path, length: int, seed: int) -> ClipDataset:
        """The data set over the part's recordings.

        Raises:
            MissingAssetError: no such recordings are there.
        """
        return ClipDataset(
            find_bodies(folder, subjects_of(self.part)), length=length, num_windows=self.num_windows,
            size_px=self.size_px, kind=self.kind, seed=seed, augment=self.augment,
            rest_pelvis_x=self.rest_pelvis_x, steady_crop=self.steady_crop,
        )  # fmt: skip


@dataclass(frozen=True)
class FlowSamples(streaming.FlowSamples):
    """Windows for FlowNet from DHP19, which has neither gray images nor true flow."""

    part: Part = "all"

    def open(self, folder: Path, length: int, seed: int) -> EventWindows:  # type: ignore[override]
        """The data set over the part's recordings.

        Raises:
            MissingAssetError: no such recordings are there.
        """
        clips = ClipDataset(
            find_bodies(folder, subjects_of(self.part)), length=length, num_windows=1, size_px=self.size_px,
            kind=self.kind, seed=seed, augment=self.augment,
        )  # fmt: skip
        return EventWindows(clips)


class EventWindows(Dataset[FlowPair]):
    """Windows of events around the person, without images and flow: what the contrast objective learns from.

    Args:
        clips: of one window each; only their frames are used.
    """

    def __init__(self, clips: ClipDataset) -> None:
        self._clips = clips

    @property
    def paths(self) -> list[Path]:
        """The recordings."""
        return self._clips.paths

    @property
    def offset(self) -> int:
        """Added to every index, to go on where an earlier run stopped."""
        return self._clips.offset

    @offset.setter
    def offset(self, value: int) -> None:
        self._clips.offset = value

    def close(self) -> None:
        """Close the recordings; they are opened again when a sample needs them."""
        self._clips.close()

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> FlowPair:
        frames = self._clips[index].frames[0]
        nothing = torch.zeros(frames.shape[1:])
        return FlowPair(frames, nothing, nothing, nothing.expand(2, -1, -1), nothing)


def recorded_subjects(paths: list[Path]) -> list[int]:
    """Subjects of recordings, sorted."""
    names = [BodiesName.parse(path.name) for path in paths]
    return sorted({name.subject for name in names if name is not None})
