"""Scores of people found in whole images, by a network whose answers are the truth and a ghost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from eventhpe.data.crowd_samples import CrowdSamples, EveryCrowd
from eventhpe.evaluation.people import evaluate_people
from eventhpe.shapenet.heads.people import People
from eventhpe.shapenet.heads.swahr import SWAHRConfig, SWAHRNet
from tests.small_world import recordings

__all__ = ["recordings"]

SIZE = (96, 96)


class Oracle(SWAHRNet):
    """The labelled people in order, and somewhere else a person of score 0.1."""

    def __init__(self, paths: list[Path]) -> None:
        super().__init__(SWAHRConfig(width=4, channels=4, lateral_channels=4, blocks=0))
        data = EveryCrowd(paths, CrowdSamples(*SIZE, skeleton="dhp19_15", max_people=16))
        self.samples = [data[i] for i in range(len(data))]

    def people(self, frames: Tensor, *, flip: bool = True) -> list[People]:
        found = []
        for _ in frames:
            sample = self.samples.pop(0)
            there = sample.known.any(1).numpy()
            uv, box = sample.uv.numpy()[there], sample.boxes.numpy()[there]
            uv, box = (np.concatenate([v, np.full_like(v[:1], 500.0)]) for v in (uv, box))
            box[-1, 2:] += 20
            score = np.full(len(uv), 0.9, np.float32)
            score[-1] = 0.1
            found.append(People(uv, np.tile(score[:, None], (1, uv.shape[1])), score, box))
        return found


@pytest.mark.parametrize(("sure", "precision"), [(0.15, 1.0), (0.0, 0.5)])
def test_ghosts_count_against_boxes_unless_they_are_unsure(
    recordings: Path, sure: float, precision: float
) -> None:
    paths = sorted(recordings.glob("*.h5"))
    scores = evaluate_people(paths, Oracle(paths), SIZE, sure=sure)
    assert scores["images"] == scores["people"] == 24
    assert scores["box_recall"] == scores["sure_recall"] == 1.0
    assert scores["sure_precision"] == precision
    assert scores["ap"] == pytest.approx(1.0)
