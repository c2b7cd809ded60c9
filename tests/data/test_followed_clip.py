"""Whole recordings as clips whose crop follows the person."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from eventhpe.data.crops import CROP_MARGIN
from eventhpe.data.followed_clip import BODY_MARGIN, followed_clip, following_crops
from eventhpe.data.labels import read_labels
from eventhpe.data.synthetic import list_recordings
from eventhpe.errors import FormatError
from eventhpe.shapenet.crop import project_to_crop


def test_crops_hold_the_body_and_move_with_it() -> None:
    still = np.array([[40.0, 50.0], [60.0, 130.0], [50.0, 90.0]])
    walk = still + np.arange(40)[:, None, None] * np.array([2.0, 0.0])
    crops = following_crops(walk, (200, 240))
    side = (80 + 2 * BODY_MARGIN * 80) * CROP_MARGIN
    middle = crops[10:30]
    assert [c.side for c in middle] == pytest.approx([side] * 20)
    assert np.diff([c.left for c in middle]) == pytest.approx(np.full(19, 2.0), abs=0.01)
    assert middle[0].left + side / 2 == pytest.approx(50 + 2 * 10, abs=0.01)
    # What lies beyond the image does not count, nor what is not known.
    far = np.concatenate([walk, np.full((40, 1, 2), [70.0, 900.0])], axis=1)
    assert following_crops(far, (131, 240))[20].side < 1.05 * side
    assert np.isfinite(following_crops(np.full((3, 2, 2), np.nan), (10, 10))[0].side)


def test_a_recording_as_one_clip(recordings: Path) -> None:
    path = list_recordings(recordings)[0]
    labels = read_labels(path, 0)
    clip = followed_clip(path, num_windows=4, size_px=64)
    assert clip.frames.shape == (4, 8, 64, 64) and bool(clip.frames.any())
    ks = np.searchsorted(labels.t_us, np.arange(5) * 50_000)
    np.testing.assert_allclose(clip.joints3d, labels.joints3d[ks], atol=1e-6)
    seen = labels.joints2d[ks[1:]]
    h, w = labels.camera.size
    inside = torch.from_numpy(((seen > 0) & (seen < [w, h])).all(-1))
    if not labels.camera.dist.any():
        uv = project_to_crop(clip.joints3d[1:], clip.crop)
        assert float(uv.abs()[inside].max()) < 1
    # Windows, labels and crops run on: a longer clip begins like a shorter one but for the smoothing.
    longer = followed_clip(path, num_windows=6, size_px=64)
    assert torch.equal(longer.rotmats[:5], clip.rotmats)


def test_too_short_recordings_are_refused(recordings: Path) -> None:
    path = list_recordings(recordings)[0]
    with pytest.raises(FormatError, match="over 500 windows"):
        followed_clip(path, num_windows=500, size_px=32)
