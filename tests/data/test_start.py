"""The start state from labels is the body at the recording's beginning."""

from __future__ import annotations

import numpy as np
import torch

from eventhpe.body.default import open_body
from eventhpe.data.labels import read_labels
from eventhpe.data.start import start_from_labels


def test_start_is_the_first_label(recordings):
    labels = read_labels(recordings / "00000.h5")
    start = start_from_labels(labels)
    assert start.rotmats.shape == (1, 24, 3, 3) and start.betas.shape == (1, 10)
    assert {start.rotmats.dtype, start.betas.dtype, start.transl.dtype} == {torch.float32}
    assert start.betas_count is None, "the true shape is to be kept"
    with torch.no_grad():
        joints = open_body().joints(start.rotmats, start.betas, start.transl)[0].numpy()
    np.testing.assert_allclose(joints, labels.joints3d[0], atol=1e-4)
    assert np.abs(labels.joints3d[0] - labels.joints3d[-1]).max() > 1e-3, "another label would not fit"
