"""Training samples from DHP19 with bodies: whose they are, and what FlowNet gets without images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from eventhpe.data.dhp19 import SPLITS, TEST_SUBJECTS
from eventhpe.data.dhp19_bodies_files import BodiesName
from eventhpe.data.dhp19_samples import ClipSamples, FlowSamples, recorded_subjects, subjects_of
from eventhpe.data.labels import read_labels
from eventhpe.errors import MissingAssetError
from tests.data.bodies_fixture import moving_fit, write_body_recording


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("bodies")
    for seed, subject in enumerate((2, 10, 13)):
        write_body_recording(root, BodiesName(subject, 1, 1, 2), moving_fit(seed=seed), seed=seed)
    return root


def test_test_subjects_are_never_drawn() -> None:
    assert subjects_of("all") == SPLITS["official"].train == tuple(range(1, 13))
    assert subjects_of("train") == tuple(range(1, 10)) and subjects_of("val") == (10, 11, 12)
    assert not {s for part in ("all", "train", "val") for s in subjects_of(part)} & set(TEST_SUBJECTS)


@pytest.mark.parametrize(("part", "subjects"), [("all", [2, 10]), ("train", [2]), ("val", [10])])
def test_parts_of_a_folder(folder: Path, part: str, subjects: list[int]) -> None:
    for samples in (ClipSamples(2, 32, part=part), FlowSamples(32, part=part)):  # type: ignore[arg-type]
        assert recorded_subjects(samples.open(folder, 4, 1).paths) == subjects


def test_clips_are_those_of_the_fitted_bodies(folder: Path) -> None:
    labels = read_labels(folder / "S2_1_1_cam2.h5")
    data = ClipSamples(2, 32, augment=False, part="train").open(folder, 3, 1)
    for index in range(3):
        clip = data[index]
        assert clip.frames.shape == (2, 8, 32, 32) and clip.frames.any()
        off = np.abs(labels.joints3d[:, None] - clip.joints3d.numpy()[None]).max(axis=(2, 3))
        at = off.argmin(0)
        assert off.min(0).max() < 1e-5 and np.diff(at).tolist() == [5, 5], "labels every 10 ms"
        np.testing.assert_allclose(clip.betas, labels.params.betas[0], atol=1e-6)


def test_windows_for_flow_have_events_and_nothing_else(folder: Path) -> None:
    data = FlowSamples(32).open(folder, 5, 1)
    pair = data[0]
    assert len(data) == 5 and pair.frames.shape == (8, 32, 32) and pair.frames.any()
    assert pair.image0.shape == pair.image1.shape == pair.valid.shape == (32, 32)
    assert pair.flow.shape == (2, 32, 32)
    assert not any(v.any() for v in (pair.image0, pair.image1, pair.flow, pair.valid))
    later = FlowSamples(32).open(folder, 5, 1)
    later.offset = 2
    assert torch.equal(later[1].frames, data[3].frames)
    later.close()


def test_a_folder_of_test_subjects_only_is_refused(tmp_path: Path) -> None:
    write_body_recording(tmp_path, BodiesName(13, 1, 1, 2))
    with pytest.raises(MissingAssetError, match="there are those of S13"):
        ClipSamples(2, 32).open(tmp_path, 1, 1)
