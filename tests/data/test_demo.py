"""The shipped demo and its truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from eventhpe.body.default import open_body
from eventhpe.body.motion import MotionClip
from eventhpe.body.motion_file import save_motion
from eventhpe.body.posing import BodyPoser
from eventhpe.data import demo
from eventhpe.data.labels import Labels, read_labels
from eventhpe.errors import FormatError
from eventhpe.events.open import open_recording


@pytest.fixture
def truth(jacks) -> tuple[Labels, np.ndarray]:
    labels = read_labels(jacks)
    with torch.no_grad():
        rest = open_body().rest_joints(torch.tensor(labels.params.betas[0]).float()).double().numpy()
    return labels, rest


def test_truth_is_read_back_as_labels(tmp_path, monkeypatch, truth):
    labels, rest = truth
    monkeypatch.setattr(demo, "demo_recording", lambda: tmp_path / "demo.aedat")
    clip = MotionClip(params=labels.params, t_us=labels.t_us, rest_joints=rest, camera=labels.camera)
    save_motion(tmp_path / "demo_truth.npz", clip)
    back = demo.demo_labels(BodyPoser(open_body()), 1_700)
    assert np.array_equal(back.t_us, labels.t_us - 1_700), "times count from the recording's first event"
    np.testing.assert_allclose(back.joints3d, labels.joints3d, atol=2e-4)
    np.testing.assert_allclose(back.joints2d, labels.joints2d, atol=0.05)
    assert back.params.frame == "camera" and back.camera.size == (128, 128)


def test_truth_without_a_camera_is_refused(tmp_path, monkeypatch, truth):
    labels, rest = truth
    monkeypatch.setattr(demo, "demo_recording", lambda: tmp_path / "demo.aedat")
    save_motion(
        tmp_path / "demo_truth.npz", MotionClip(params=labels.params, t_us=labels.t_us, rest_joints=rest)
    )
    with pytest.raises(FormatError, match="camera"):
        demo.demo_labels(BodyPoser(open_body()), 0)


def test_the_shipped_recording_fits_its_truth():
    """Made by tools/make_demo.py."""
    path = demo.demo_recording()
    assert path.is_file() and path.stat().st_size < 10_000_000, "the demo ships with the package"
    with open_recording(path) as recording:
        labels = demo.demo_labels(BodyPoser(open_body()), recording.t_offset_us)
        assert recording.sensor_size == labels.camera.size
        assert 0 <= recording.t_offset_us < 20_000, "the first event comes soon after the first pose"
        assert abs(recording.duration_us - int(labels.t_us[-1])) < 50_000
        events = recording.read()
    h, w = labels.camera.size
    joints = labels.joints2d
    inside = (joints >= -0.5) & (joints <= [w - 0.5, h - 0.5])
    assert inside.all(axis=-1).mean() > 0.95, "the person is in the picture"
    # The events of every tenth of a second are dense around the joints of that time.
    shares = []
    for k in range(5, len(labels.t_us) - 5, 10):
        t = int(labels.t_us[k])
        now = events.between(t - 50_000, t + 50_000)
        (x0, y0), (x1, y1) = joints[k].min(axis=0) - 15, joints[k].max(axis=0) + 15
        near = (now.x >= x0) & (now.x <= x1) & (now.y >= y0) & (now.y <= y1)
        shares.append([near.mean(), (x1 - x0) * (y1 - y0) / (h * w)])
    near, area = np.mean(shares, axis=0)
    assert len(events) > 50_000 and near > 2 * area
