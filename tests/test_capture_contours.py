"""Captures of people whose start is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from eventhpe.body.motion_file import save_motion
from eventhpe.body.posing import BodyPoser
from eventhpe.capture import Capture, Networks, capture, mean_pose_track
from eventhpe.capture_contours import LOST_SIDES, _crop, follow_known_body
from eventhpe.data.crops import SquareCrop
from eventhpe.data.followed_clip import following_crops
from eventhpe.data.labels import Labels
from eventhpe.data.start import start_from_labels, start_from_motion
from eventhpe.data.windows import WINDOW_US
from eventhpe.errors import FormatError, ShapeError
from eventhpe.evaluation.protocols import hold_start, score_track
from eventhpe.events.recording import Recording
from eventhpe.geometry.camera import Camera
from eventhpe.shapenet.tracker import BodyTracker
from tests.small_world import (
    NUM_WINDOWS,
    SENSOR,
    labels,
    loaded,
    networks,
    poser,
    recording,
    recordings,
)

__all__ = ["labels", "loaded", "networks", "poser", "recording", "recordings"]


@pytest.fixture(scope="module")
def known(recording: Recording, labels: Labels, loaded: Networks) -> Capture:
    return capture(recording, loaded, labels.camera, start=start_from_labels(labels))


def test_contours_hold_what_random_networks_lose(
    known: Capture, recording: Recording, labels: Labels, loaded: Networks, poser: BodyPoser
) -> None:
    alone = capture(recording, loaded, labels.camera, start=start_from_labels(labels), contours=False)
    scores = {
        name: score_track(body, known.clip.t_us, labels, poser)
        for name, body in {
            "contours": known.clip.params,
            "alone": alone.clip.params,
            "held": hold_start(labels, NUM_WINDOWS),
        }.items()
    }
    root_aligned = {name: s["root_aligned_mm"] for name, s in scores.items()}
    assert root_aligned["contours"] < 0.8 * root_aligned["alone"]
    assert root_aligned["contours"] < root_aligned["held"]
    assert scores["contours"]["mask_iou"] > scores["alone"]["mask_iou"]
    assert "followed by contours" in known.notes[0] and "contours" not in alone.notes[0]
    np.testing.assert_allclose(known.clip.params.betas[0], labels.params.betas[0], atol=1e-5)


def test_the_crop_lies_around_the_body(known: Capture, labels: Labels) -> None:
    k = labels.index(np.arange(1, NUM_WINDOWS + 1) * WINDOW_US)
    for found, true in zip(known.crops, following_crops(labels.joints2d[k], SENSOR), strict=True):
        assert abs(np.log(found.side / true.side)) < 0.3
        off = np.array([found.left - true.left, found.top - true.top]) + (found.side - true.side) / 2
        assert np.abs(off).max() < 0.2 * true.side


def test_the_mean_pose_stands_where_the_person_was_found(
    known: Capture, recording: Recording, labels: Labels, loaded: Networks
) -> None:
    free = capture(recording, loaded, labels.camera)
    assert known.found == free.crops != known.crops and free.found == ()
    mean, same = (mean_pose_track(c, loaded.shape) for c in (free, known))
    np.testing.assert_array_equal(mean.transl, same.transl)


def test_flow_is_kept_for_pictures(known: Capture) -> None:
    assert known.flow_windows and all(uv.shape[0] == 2 for uv in known.flow_windows.values())
    assert max(known.flow_windows) == NUM_WINDOWS - 1


def test_a_moving_arm_does_not_shrink_the_crop_and_a_lost_body_is_looked_for(labels: Labels) -> None:
    start = start_from_labels(labels)
    body = start.rotmats[0], start.betas[0], start.transl[0]
    (around,) = following_crops(labels.joints2d[:1], SENSOR)
    arm = SquareCrop(around.left + 0.1 * around.side, around.top + 0.1 * around.side, 0.3 * around.side)
    crop = _crop(*body, labels.camera, around, arm)
    assert crop.side == pytest.approx(around.side, rel=0.1)
    there = replace(around, left=around.left + 1.2 * LOST_SIDES * around.side)
    assert _crop(*body, labels.camera, around, there) == there
    # The crop goes towards the body little by little.
    before = replace(around, left=around.left - 0.2 * around.side)
    moved = _crop(*body, labels.camera, before, around)
    assert before.left < moved.left < around.left


def test_networks_without_flow_will_do(recording: Recording, labels: Labels, networks: Path) -> None:
    small = Networks.load(str(networks / "shapenet-noflow"))
    found = [SquareCrop(0.0, 0.0, float(max(SENSOR)))] * NUM_WINDOWS
    known = follow_known_body(
        recording, labels.camera, found, BodyTracker(small.shape), None, start_from_labels(labels),
        size_px=small.shape.config.size, windows=range(3),
    )  # fmt: skip
    assert len(known.bodies) == len(known.crops) == 3 and known.flows == []


def test_a_motion_file_gives_the_start(known: Capture, labels: Labels, tmp_path: Path) -> None:
    path = save_motion(tmp_path / "motion.npz", known.clip)
    start = start_from_motion(path)
    assert start.transl.shape == (1, 3)
    np.testing.assert_allclose(start.transl[0], known.clip.params.transl[0], atol=1e-6)
    np.testing.assert_allclose(start.betas[0], known.clip.params.betas[0], atol=1e-6)
    # A motion in the world needs a camera that says where it stands.
    world = known.clip.to_world()
    placed = replace(world, camera=None)
    with pytest.raises(ShapeError, match=r"world\.npz: .*world frame"):
        start_from_motion(save_motion(tmp_path / "world.npz", placed))
    foreign = replace(known.clip, params=replace(known.clip.params, model="smpl"))
    with pytest.raises(ShapeError, match=r"smpl\.npz: .*smpl"):
        start_from_motion(save_motion(tmp_path / "smpl.npz", foreign))
    (tmp_path / "no.npz").write_bytes(b"nothing")
    with pytest.raises(FormatError, match=r"no\.npz"):
        start_from_motion(tmp_path / "no.npz")


def test_nobody_in_front_of_the_camera_is_not_found_there(labels: Labels) -> None:
    start = start_from_labels(labels)
    behind = start.transl[0] - torch.tensor([0.0, 0.0, 20.0])
    found = SquareCrop(3.0, 4.0, 50.0)
    camera = Camera.from_focal(100.0, SENSOR)
    crop = _crop(start.rotmats[0], start.betas[0], behind, camera, None, found)
    assert crop == found
