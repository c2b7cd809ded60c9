"""Single views of prepared DHP19 recordings."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from eventhpe.data.dhp19 import TEST_SUBJECTS
from eventhpe.data.dhp19_dataset import (
    FRONT_CHANNELS,
    TRAINING_SUBJECTS,
    VALIDATION_SUBJECTS,
    EpochOrder,
    HeatmapDataset,
)
from eventhpe.data.dhp19_heatmaps import heatmap_targets
from eventhpe.data.dhp19_prepared import PreparedDHP19
from eventhpe.errors import FormatError, ShapeError
from tests.data.prepared_files import walk, write_prepared


def prepared(root: Path, **options) -> PreparedDHP19:
    labels = walk(4, 1)
    labels[1, 6] = np.nan  # hipL is lost
    labels[3] = np.nan  # the empty frame at the end
    write_prepared(root, 1, 1, 1, labels, **options)
    write_prepared(root, 2, 3, 6, walk(3, 2), **options)
    return PreparedDHP19(root)


@pytest.mark.parametrize("official", [True, False], ids=["float64", "uint8"])
def test_samples_show_their_labels(tmp_path: Path, official: bool) -> None:
    data = HeatmapDataset(prepared(tmp_path, official=official).recordings)
    assert len(data) == 2 * 3 + 2 * 3, "both views of all frames but the empty one"
    for k in range(len(data)):
        frame, pixels, valid = data[k]
        assert frame.shape == (1, 260, 344) and frame.dtype == torch.uint8
        drawn = frame[0, pixels[:, 1], pixels[:, 0]]
        values = 10 * torch.arange(1, 14)
        assert torch.equal(drawn[valid], values[valid].to(torch.uint8)) and valid.sum() >= 12
    lost = [k for k in range(len(data)) if not data[k].valid.all()]
    assert len(lost) == 2 and all(data[k].valid.tolist().index(False) == 6 for k in lost)
    assert len(HeatmapDataset(data.recordings, all_joints=True)) == 10


def test_views_are_cameras_two_and_three(tmp_path: Path) -> None:
    recordings = prepared(tmp_path).recordings
    both = HeatmapDataset(recordings)
    apart = [HeatmapDataset(recordings, channels=(c,)) for c in FRONT_CHANNELS]
    assert FRONT_CHANNELS == (3, 2) and len(both) == sum(map(len, apart))
    # S1, frame 0: channel 3 is camera 2, on the subject's left; labels by the published matrix.
    assert torch.equal(both[0].pixels, apart[0][0].pixels)
    np.testing.assert_array_equal(both[0].frame[0].numpy(), recordings[0].frames(0)[:, :344, 3])
    assert torch.equal(both[3].pixels, apart[1][0].pixels) and not torch.equal(both[3].pixels, both[0].pixels)


def test_crops_keep_the_upper_left_and_its_labels(tmp_path: Path) -> None:
    recordings = prepared(tmp_path).recordings
    crop, whole = HeatmapDataset(recordings, size=(64, 208)), HeatmapDataset(recordings)
    assert len(crop) == len(whole)
    for k in range(len(crop)):
        small, large = crop[k], whole[k]
        assert torch.equal(small.frame, large.frame[:, :64, :208])
        inside = large.valid & (large.pixels[:, 0] < 208) & (large.pixels[:, 1] < 64)
        assert torch.equal(small.valid & inside, inside) and 0 < inside.sum() < 13
        targets = heatmap_targets(small.pixels[None], small.valid[None], (64, 208), sigma=2.0)[0]
        assert torch.equal(targets.amax((1, 2)) > 0, inside)
    with pytest.raises(ShapeError, match="260, 346"):
        HeatmapDataset(recordings, size=(264, 344))


def test_frames_with_few_events_are_left_out(tmp_path: Path) -> None:
    events = np.full((4, 4), 9000)
    events[0, 3], events[2, 2] = 10, 10
    write_prepared(tmp_path, 1, 1, 1, walk(4, 1), num_events=events)
    recordings = PreparedDHP19(tmp_path).recordings
    assert len(HeatmapDataset(recordings)) == 8 and len(HeatmapDataset(recordings, min_events=1024)) == 6
    write_prepared(tmp_path, 1, 1, 1, walk(4, 1))
    with pytest.raises(FormatError, match="number of events"):
        HeatmapDataset(PreparedDHP19(tmp_path).recordings, min_events=1024)


def test_cameras_with_windows_of_their_own(tmp_path: Path) -> None:
    for channel in (0, 3):
        write_prepared(tmp_path, 1, 1, 1, walk(2, 1), channel=channel)
    recordings = PreparedDHP19(tmp_path).recordings
    data = HeatmapDataset(recordings)
    assert len(data) == 2, "channel 0 is a side camera, channel 2 is not there"
    frame, pixels, valid = data[0]
    assert valid.all() and frame[0, pixels[7, 1], pixels[7, 0]] == 80
    with pytest.raises(FormatError, match="no labelled frame of cameras 3"):
        HeatmapDataset(recordings, channels=(2,))


def test_it_travels_to_workers(tmp_path: Path) -> None:
    data = HeatmapDataset(prepared(tmp_path).recordings)
    first = data[5]
    again = pickle.loads(pickle.dumps(data))[5]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_subjects_of_the_split_do_not_meet() -> None:
    assert set(TRAINING_SUBJECTS) | set(TEST_SUBJECTS) == set(range(1, 18))
    assert not set(TRAINING_SUBJECTS) & set(TEST_SUBJECTS)
    assert set(VALIDATION_SUBJECTS) < set(TRAINING_SUBJECTS)


def test_an_epoch_shows_every_sample_once_and_each_has_its_own_order() -> None:
    order = list(EpochOrder(7, 21, seed=3))
    epochs = [order[k : k + 7] for k in (0, 7, 14)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert order != list(EpochOrder(7, 21, seed=4))
    for offset in (0, 5, 7, 12, 21):
        resumed = EpochOrder(7, 21, seed=3, offset=offset)
        assert list(resumed) == order[offset:] and len(resumed) == 21


def test_spread_places(tmp_path: Path) -> None:
    data = HeatmapDataset(prepared(tmp_path).recordings)
    assert data.spread(100) == list(range(12)) and data.spread(4) == [0, 3, 6, 9]
