"""Where motions come from: clips on disk, who is held out, and how a motion is placed."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest

from eventhpe.body.default import open_body_arrays
from eventhpe.body.retarget import mirror
from eventhpe.data.motions import (
    HELD_OUT_PREFIXES,
    MotionDraw,
    draw_movement,
    file_checksum,
    list_clips,
    load_clip,
    place_motion,
)
from eventhpe.errors import FormatError, MissingAssetError
from eventhpe.geometry.rotation import rotvec_to_rotmat

STEP_S = 0.01


@pytest.fixture(scope="module")
def rest() -> np.ndarray:
    arrays = open_body_arrays()
    return arrays["J_regressor"].astype(np.float64) @ arrays["v_template"]


@pytest.fixture(scope="module")
def walk(rest) -> MotionDraw:
    """Two seconds of walking, 121 frames."""
    draw = draw_movement(np.random.default_rng(3), 121 / 60, rest, np.zeros(10), name="walk")
    assert len(draw.params.transl) == 121
    return draw


def place(draw: MotionDraw, rest: np.ndarray, **changes):
    options = {
        "rng": None, "duration_s": 1.0, "step_s": STEP_S, "heading_rad": 0.0, "mirrored": False,
        "rest_pelvis": rest[0],
    }  # fmt: skip
    return place_motion(draw, **(options | changes))


def mean_heading(params) -> float:
    forward = rotvec_to_rotmat(params.global_orient)[:, :, 2].mean(axis=0)
    return float(np.arctan2(forward[0], forward[2]))


@pytest.fixture
def folder(tmp_path):
    for name in (
        "cmu14_x",
        "cmu13_y",
        "deep/cmu86_z",
        "deep/er/cmux_walk",
        "cmu140_no",
        "cmu60_a",
        "cmu94_b",
    ):
        path = tmp_path / f"{name}.bvh"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("HIERARCHY\n")
    (tmp_path / "cmu14_notes.txt").write_text("no clip\n")
    return tmp_path


def test_held_out_subjects_are_never_among_the_training_clips(folder):
    train = [p.stem for p in list_clips(folder, held_out=False)]
    held_out = [p.stem for p in list_clips(folder, held_out=True)]
    assert sorted(train) == ["cmu13_y", "cmu140_no", "cmux_walk"]
    assert sorted(held_out) == ["cmu14_x", "cmu60_a", "cmu86_z", "cmu94_b"]
    assert not any(name.startswith(HELD_OUT_PREFIXES) for name in train)
    assert list_clips(str(folder), held_out=False) == list_clips(folder, held_out=False), "the order is fixed"


def test_the_held_out_subjects_are_frozen():
    assert HELD_OUT_PREFIXES == ("cmu14_", "cmu60_", "cmu86_", "cmu94_")


def test_missing_folders_and_folders_without_such_clips_are_refused(tmp_path):
    with pytest.raises(MissingAssetError, match=r"nowhere.*training"):
        list_clips(tmp_path / "nowhere", held_out=False)
    (tmp_path / "cmu14_x.bvh").touch()
    with pytest.raises(MissingAssetError, match="training"):
        list_clips(tmp_path, held_out=False)
    (tmp_path / "cmu14_x.bvh").rename(tmp_path / "cmu13_x.bvh")
    with pytest.raises(MissingAssetError, match="held-out"):
        list_clips(tmp_path, held_out=True)


def test_a_clip_is_put_on_the_body_and_says_where_it_comes_from(tmp_path, write_bvh, rest):
    path = write_bvh(tmp_path / "cmu13_swing.bvh", frames=30)
    betas = np.linspace(-1, 1, 10)
    draw = load_clip(path, rest, betas)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    assert file_checksum(path) == digest and draw.source == f"cmu13_swing sha256:{digest}"
    assert draw.fps == pytest.approx(60, rel=1e-4)
    assert draw.params.transl.shape == (30, 3) and draw.params.frame == "world"
    assert np.array_equal(draw.params.betas, np.broadcast_to(betas, (30, 10)))


def test_movements_are_drawn_from_the_state(rest):
    draws = [draw_movement(np.random.default_rng(s), 1.0, rest, np.ones(10)) for s in (0, 0, 1, 2, 3)]
    assert draws[0].source == draws[1].source
    assert np.array_equal(draws[0].params.pose, draws[1].params.pose)
    assert len({d.source for d in draws}) > 1
    assert all(d.source.startswith("procedural:") for d in draws)
    assert np.array_equal(draws[0].params.betas, np.ones((60, 10)))


@pytest.mark.parametrize("heading_deg", [-170.0, -60.0, 0.0, 35.0, 120.0])
def test_heading_is_respected(walk, rest, heading_deg):
    placed = place(walk, rest, heading_rad=np.deg2rad(heading_deg))
    assert np.rad2deg(mean_heading(placed)) == pytest.approx(heading_deg, abs=1e-6)
    assert placed.frame == "world"


def test_the_median_pelvis_is_over_the_origin_and_heights_stay(walk, rest):
    placed = place(walk, rest, heading_rad=0.7)
    pelvis = placed.transl + rest[0]
    np.testing.assert_allclose(np.median(pelvis, axis=0)[[0, 2]], 0.0, atol=1e-9)
    # 100 steps a second over 60 frames a second: every fifth step is every third frame.
    np.testing.assert_allclose(
        pelvis[::5, 1], walk.params.transl[:61:3, 1] + rest[0, 1], atol=1e-9, err_msg="height above the floor"
    )


def test_turning_keeps_the_path(walk, rest):
    plain, turned = (place(walk, rest, heading_rad=h).transl for h in (0.0, 1.1))
    np.testing.assert_allclose(
        np.linalg.norm(np.diff(plain, axis=0), axis=1),
        np.linalg.norm(np.diff(turned, axis=0), axis=1),
        atol=1e-9,
    )
    assert np.ptp(plain, axis=0).max() > 0.3, "the walk goes somewhere"


@pytest.mark.parametrize(("duration_s", "step_s"), [(1.0, 0.01), (0.2, 0.01), (4.0, 0.05), (0.3, 0.02)])
def test_length_is_the_number_of_steps_and_one(walk, rest, duration_s, step_s):
    placed = place(walk, rest, duration_s=duration_s, step_s=step_s)
    assert placed.transl.shape == (round(duration_s / step_s) + 1, 3)
    assert placed.betas.shape == (len(placed.transl), 10)


def test_a_short_motion_runs_back_and_forth(walk, rest):
    placed = place(walk, rest, duration_s=4.0)  # the walk lasts 2 s
    R = rotvec_to_rotmat(placed.pose)
    np.testing.assert_allclose(R[:201], R[:199:-1], atol=1e-6)
    np.testing.assert_allclose(placed.transl[:201], placed.transl[:199:-1], atol=1e-9)
    assert np.abs(R[0] - R[200]).max() > 0.05
    longest = place(walk, rest, duration_s=9.0)
    step = np.linalg.norm(np.diff(longest.transl, axis=0), axis=1)
    assert step.max() < 0.05, "no jump where it turns round"


def test_speed_plays_the_motion_faster(walk, rest):
    normal, fast = place(walk, rest, duration_s=1.6), place(walk, rest, duration_s=0.8, speed=2.0)
    np.testing.assert_allclose(
        rotvec_to_rotmat(fast.body_pose), rotvec_to_rotmat(normal.body_pose[::2]), atol=1e-6
    )


def test_mirrored_is_the_mirror_image_with_the_heading_kept(walk, rest):
    mirrored = place(walk, rest, heading_rad=0.4, mirrored=True)
    twin = mirror(place(walk, rest, heading_rad=-0.4))
    assert mean_heading(mirrored) == pytest.approx(0.4)
    np.testing.assert_allclose(rotvec_to_rotmat(mirrored.pose), rotvec_to_rotmat(twin.pose), atol=1e-6)
    np.testing.assert_allclose(mirrored.transl, twin.transl, atol=5e-3)
    plain = place(walk, rest, heading_rad=0.4)
    assert np.abs(rotvec_to_rotmat(mirrored.pose) - rotvec_to_rotmat(plain.pose)).max() > 0.1


def test_the_start_is_drawn_within_the_motion(walk, rest):
    a, b, c = (place(walk, rest, rng=np.random.default_rng(s), duration_s=0.5) for s in (1, 1, 2))
    assert np.array_equal(a.pose, b.pose) and not np.array_equal(a.pose, c.pose)
    full = rotvec_to_rotmat(walk.params.body_pose)
    for placed in (a, c):
        first = rotvec_to_rotmat(placed.body_pose[0])
        assert np.abs(full - first).max(axis=(1, 2, 3)).min() < 0.12, "a pose of the motion"


def test_inputs_are_left_alone(walk, rest):
    before = walk.params.pose.copy(), walk.params.transl.copy(), rest.copy()
    place(walk, rest, heading_rad=1.0, mirrored=True)
    assert np.array_equal(walk.params.pose, before[0]) and np.array_equal(walk.params.transl, before[1])
    assert np.array_equal(rest, before[2])


def test_a_single_frame_is_no_motion(walk, rest):
    p = walk.params
    still = replace(
        p,
        betas=p.betas[:1],
        global_orient=p.global_orient[:1],
        body_pose=p.body_pose[:1],
        transl=p.transl[:1],
    )
    with pytest.raises(FormatError, match="1 frame"):
        place(MotionDraw(still, 60, "still"), rest)
