"""The main job with small random networks: what a capture hands out and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from eventhpe import capture as room
from eventhpe.body.posing import BodyPoser
from eventhpe.capture import Capture, Networks, capture, mean_pose_track, rest_joints, to_motion
from eventhpe.data.labels import Labels
from eventhpe.data.start import start_from_labels
from eventhpe.data.windows import window_frames
from eventhpe.errors import EventHPEError, FormatError, MissingAssetError, ShapeError
from eventhpe.events.open import open_recording
from eventhpe.events.recording import Recording
from eventhpe.events.store_writer import StoreWriter
from eventhpe.events.types import Events
from eventhpe.geometry.rotation import rotvec_to_rotmat
from eventhpe.shapenet.parity import EventTrackNet
from eventhpe.shapenet.state import ShapeNetConfig
from eventhpe.shapenet.tracker import BodyTracker, TrackedBody
from eventhpe.weights.files import save_network, shipped_names
from tests.small_world import (
    NUM_WINDOWS,
    SENSOR,
    labels,
    loaded,
    networks,
    noise_recording,
    poser,
    random_shapenet,
    recording,
    recordings,
)

__all__ = ["labels", "loaded", "networks", "poser", "recording", "recordings"]


@pytest.fixture(scope="module")
def captured(recording: Recording, labels: Labels, loaded: Networks) -> Capture:
    return capture(recording, loaded, labels.camera, provenance={"recording": "jumping_jack.h5"})


def test_one_pose_at_the_end_of_every_window(captured: Capture, labels: Labels) -> None:
    clip = captured.clip
    assert np.array_equal(captured.t0_us, np.arange(NUM_WINDOWS) * 50_000)
    assert np.array_equal(clip.t_us, (np.arange(NUM_WINDOWS) + 1) * 50_000)
    assert clip.params.frame == "camera" and clip.params.model == "open" and clip.camera is labels.camera
    assert (
        clip.confidence.shape == (NUM_WINDOWS, 24) and 0 < clip.confidence.min() <= clip.confidence.max() <= 1
    )
    assert np.isfinite(clip.joints()).all() and (clip.params.transl[:, 2] > 0.5).all()
    assert np.ptp(clip.params.body_pose, axis=0).max() > 0.01


def test_crops_follow_the_person(captured: Capture, recording: Recording, labels: Labels) -> None:
    assert captured.seen.all() and len(captured.crops) == NUM_WINDOWS
    for t0, crop in zip(captured.t0_us, captured.crops, strict=True):
        uv = labels.joints2d[labels.index(int(t0) + 25_000)] + 0.5
        inside = ((uv >= [crop.left, crop.top]) & (uv < [crop.left + crop.side, crop.top + crop.side])).all(1)
        assert inside.mean() > 0.9, t0
    assert captured.counts.shape == (NUM_WINDOWS, 2)
    events = recording.read()
    for k, t0 in enumerate(captured.t0_us):
        p = events.p[(events.t >= t0) & (events.t < t0 + 50_000)]
        assert captured.counts[k].tolist() == [(p == 0).sum(), (p == 1).sum()]


def test_poses_are_those_of_the_networks(
    captured: Capture, recording: Recording, labels: Labels, loaded: Networks, poser: BodyPoser
) -> None:
    frames = np.stack(
        [
            window_frames(recording.read(), crop, t0_us=int(t), t1_us=int(t) + 50_000, out_px=64)
            for t, crop in zip(captured.t0_us, captured.crops, strict=True)
        ]
    )
    assert loaded.flow is not None
    flow = loaded.flow.estimate(frames)
    rays = np.stack([c.ray(labels.camera) for c in captured.crops])
    bodies = BodyTracker(loaded.shape).step(frames, flow, rays)
    p = captured.clip.params
    assert np.abs(flow).mean() > 0.1
    assert {0, NUM_WINDOWS - 1} <= set(captured.flow_windows) and len(captured.flow_windows) == 8
    for k, shown in captured.flow_windows.items():
        np.testing.assert_allclose(shown, flow[k], atol=1e-3)
    for k, body in enumerate(bodies):
        np.testing.assert_allclose(rotvec_to_rotmat(p.pose[k]), body.rotmats, atol=2e-3)
        pelvis = body.transl + rest_joints(body.betas)[0]
        np.testing.assert_allclose(poser.joints(p.betas[k], p.pose[k], p.transl[k])[0], pelvis, atol=2e-3)


def test_one_shape_for_the_clip_and_every_pelvis_where_it_was(labels: Labels) -> None:
    rng = np.random.default_rng(1)
    betas = rng.normal(0, 2, (5, 10)).astype(np.float32)
    transl = rng.normal([0, 0, 3], 0.3, (5, 3)).astype(np.float32)
    rotmats = rotvec_to_rotmat(rng.normal(0, 0.4, (5, 24, 3))).astype(np.float32)
    confidence = rng.uniform(0.1, 1, (5, 24)).astype(np.float32)
    tracked = [TrackedBody(rotmats[k], betas[k], transl[k], confidence[k], None) for k in range(5)]
    times = np.arange(1, 6) * 50_000
    clip = to_motion(tracked, times, random_shapenet(), labels.camera, {"a": 1})
    assert np.array_equal(clip.params.betas, np.stack([betas[-1]] * 5).astype(np.float64))
    np.testing.assert_allclose(clip.rest_joints, rest_joints(betas[-1]), atol=1e-7)
    before = np.stack([transl[k] + rest_joints(betas[k])[0] for k in range(5)])
    assert np.abs(before - transl - rest_joints(betas[-1])[0]).max() > 0.002  # so that this test can fail
    np.testing.assert_allclose(clip.joints()[:, 0], before, atol=1e-5)
    np.testing.assert_allclose(rotvec_to_rotmat(clip.params.pose), rotmats, atol=1e-5)
    np.testing.assert_allclose(clip.confidence, confidence)
    assert clip.provenance == {"a": 1}


def test_first_frame_knowledge_is_stated(
    captured: Capture, recording: Recording, labels: Labels, loaded: Networks
) -> None:
    assert captured.notes == (
        "first-frame knowledge: none; start pose: estimated from events alone",
    ) and captured.clip.provenance == {"recording": "jumping_jack.h5", "notes": list(captured.notes)}
    known = capture(recording, loaded, labels.camera, start=start_from_labels(labels))
    assert "first-frame knowledge: ground truth" in known.notes[0]
    assert known.clip.provenance["notes"] == list(known.notes)
    # A given shape is kept; a random network loses the given pose only slowly.
    np.testing.assert_allclose(known.clip.params.betas[0], labels.params.betas[0], atol=1e-5)
    assert np.abs(captured.clip.params.betas[0] - labels.params.betas[0]).max() > 0.1
    truth = rotvec_to_rotmat(labels.params.pose[0])
    errors = [np.abs(rotvec_to_rotmat(c.clip.params.pose[0]) - truth).mean() for c in (known, captured)]
    assert errors[0] < 0.7 * errors[1]


@pytest.mark.parametrize("chunk", [1, 5, 100])
def test_chunk_size_does_not_matter(
    captured: Capture, recording: Recording, labels: Labels, loaded: Networks, chunk: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(room, "CHUNK", chunk)
    again = capture(recording, loaded, labels.camera)
    for name in ("betas", "global_orient", "body_pose", "transl"):
        a, b = getattr(again.clip.params, name), getattr(captured.clip.params, name)
        np.testing.assert_allclose(a, b, atol=2e-3, err_msg=name)
    assert set(again.flow_windows) == set(captured.flow_windows)


def test_progress_sees_both_loops(recording: Recording, labels: Labels, loaded: Networks) -> None:
    seen: dict[str, int] = {}

    def progress(items, what):  # type: ignore[no-untyped-def]
        seen[what] = len(items)
        return items

    capture(recording, loaded, labels.camera, progress=progress)
    assert seen == {"finding the person": NUM_WINDOWS, "tracking the body": 1}


def test_without_flow(recording: Recording, labels: Labels, networks: Path) -> None:
    loaded = Networks.load(str(networks / "shapenet-noflow"))
    assert loaded.flow is None and loaded.flow_card is None
    captured = capture(recording, loaded, labels.camera)
    assert captured.flow_windows == {} and len(captured.clip) == NUM_WINDOWS


def test_somebody_who_comes_late(recording: Recording, labels: Labels, loaded: Networks) -> None:
    e = recording.read()
    late = Events.from_columns(e.t + 1_000_000, e.x, e.y, e.p, SENSOR)
    captured = capture(Recording.from_events(late), loaded, labels.camera)
    assert len(captured.clip) == 32 and not captured.seen[:12].any() and captured.seen[20:].all()
    first = int(np.argmax(captured.seen))
    assert captured.notes[1].startswith(f"nobody moved in the first {first * 0.05:.2f} s")
    assert all(c == captured.crops[first] for c in captured.crops[:first])


def test_recordings_without_a_person_point_to_info(labels: Labels, loaded: Networks, tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"noise\.h5: found no moving person: 60 events.*`eventhpe info`"):
        capture(noise_recording(num_events=60, duration_us=600_000), loaded, labels.camera)
    with StoreWriter(tmp_path / "empty.h5", SENSOR, duration_us=600_000):
        pass
    with open_recording(tmp_path / "empty.h5") as empty:
        assert empty.num_events == 0
        with pytest.raises(
            FormatError, match=r"empty\.h5: found no moving person: 0 events.*`eventhpe info`"
        ):
            capture(empty, loaded, labels.camera)


def test_recordings_shorter_than_a_window(labels: Labels, loaded: Networks) -> None:
    short = noise_recording(num_events=5000, duration_us=40_000)
    with pytest.raises(FormatError, match=r"lasts 40\.0 ms; a capture needs at least one window of 50 ms"):
        capture(short, loaded, labels.camera)
    with pytest.raises(FormatError, match="at least one window"):
        capture(Recording.from_events(Events.empty(SENSOR)), loaded, labels.camera)


def test_mean_pose_stands_in_the_middle_of_every_crop(
    captured: Capture, labels: Labels, loaded: Networks, poser: BodyPoser
) -> None:
    track = mean_pose_track(captured, loaded.shape)
    assert track.model == "open" and not track.betas.any()
    assert np.ptp(track.body_pose, axis=0).max() < 1e-6
    for k, crop in enumerate(captured.crops):
        pelvis = poser.joints(track.betas[k], track.pose[k], track.transl[k])[0]
        centre = np.array([crop.left + crop.side / 2 - 0.5, crop.top + crop.side / 2 - 0.5])
        np.testing.assert_allclose(labels.camera.project(pelvis[None])[0], centre, atol=0.01)
        # The crop is two metres high where the person stands.
        assert crop.side / labels.camera.K[0, 0] * pelvis[2] == pytest.approx(2.0, rel=1e-3)


def test_weights_that_a_capture_cannot_use(networks: Path, tmp_path: Path) -> None:
    parity = ShapeNetConfig(variant="parity", encoder="resnet18", width=4, hidden=32, size=64)
    save_network(tmp_path / "parity", EventTrackNet(parity))
    for path in (tmp_path / "parity", networks / "flownet"):
        with pytest.raises(ShapeError, match="capture needs ShapeNet's fixed variant"):
            Networks.load(str(path), str(networks / "flownet"))
    with pytest.raises(EventHPEError):
        Networks.load(str(networks / "shapenet"), str(networks / "shapenet"))
    with pytest.raises(MissingAssetError, match="no weights card"):
        Networks.load(str(tmp_path / "nowhere"))


def test_flow_weights_that_read_other_frames_are_refused(networks: Path) -> None:
    # A FlowNet trained on binary frames would silently be fed counts.
    with pytest.raises(ShapeError, match="binary"):
        Networks.load(str(networks / "shapenet"), str(networks / "flownet-parity"))


def test_shipped_weights_are_the_default() -> None:
    if {"flownet", "shapenet"} <= set(shipped_names()):
        loaded = Networks.load()
        assert loaded.shape_card.data["training"]["steps_done"] > 0
        assert all(torch.isfinite(v).all() for v in loaded.shape.state_dict().values())
    else:
        with pytest.raises(MissingAssetError, match="no shipped weights named"):
            Networks.load()
