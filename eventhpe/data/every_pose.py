"""Every labelled pose of recordings once, in order, as evaluations need them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from eventhpe.data.pose_samples import PoseDataset, PoseSamples
from eventhpe.data.windows import WINDOW_US


class EveryPose(PoseDataset):
    """Samples at the ends of consecutive windows, person by person, in centred crops.

    Args:
        paths: labelled recordings.
        options: how crops are cut; varying them and choosing among labels are switched off.
    """

    def __init__(self, paths: Sequence[Path], options: PoseSamples) -> None:
        plain = replace(options, augment=False, weak_share=0.0, num_labelled=0)
        super().__init__(paths, plain, length=0)
        self._every: list[tuple[Path, int, int]] = []
        for path in self.paths:
            people = self._recordings[path][1]
            for person, k in self._recordings.places(path):
                if int(people[person].labels.t_us[k]) % WINDOW_US == 0:
                    self._every.append((path, int(person), int(k)))
        self.length = len(self._every)

    def place(self, index: int) -> tuple[Path, int, int]:
        """Recording, person and label of a sample."""
        return self._every[index]

    @property
    def t_us(self) -> np.ndarray:
        """(N,) int64 times of the poses."""
        times = [self._recordings[path][1][person].labels.t_us[k] for path, person, k in self._every]
        return np.array(times, np.int64)
