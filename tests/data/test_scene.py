"""Draws of a scene: in their ranges, the same for the same state, and sensible."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from eventhpe.body.default import open_body_arrays
from eventhpe.data.scene import Scene, SceneRanges, draw_background, draw_camera, draw_scene
from eventhpe.errors import ShapeError


def draw(seed: int, ranges: SceneRanges | None = None) -> Scene:
    arrays = open_body_arrays()
    regions = np.eye(len(arrays["region_names"]))[np.asarray(arrays["region"], int)]
    return draw_scene(
        np.random.default_rng(seed),
        ranges or SceneRanges(),
        rest_vertices=np.asarray(arrays["v_template"], np.float64),
        region_weights=regions,
    )


def test_equal_states_give_equal_scenes_and_others_do_not():
    a, b, other = draw(1), draw(1), draw(2)
    for name in ("betas", "albedo", "light_dir", "background"):
        assert np.array_equal(getattr(a, name), getattr(b, name)), name
        assert not np.array_equal(getattr(a, name), getattr(other, name)), name
    assert a.sensor == b.sensor and a.heading_rad == b.heading_rad and a.mirrored == b.mirrored
    assert np.array_equal(a.camera.K, b.camera.K)
    assert np.array_equal(a.camera.R_world_to_cam, b.camera.R_world_to_cam)


def test_draws_stay_in_their_ranges():
    ranges = SceneRanges()
    for seed in range(25):
        scene = draw(seed, ranges)
        h, w = scene.camera.size
        assert (h, w) in ranges.sensor_sizes and scene.background.shape == (h, w)
        fov = 2 * np.rad2deg(np.arctan(0.5 * w / scene.camera.K[0, 0]))
        assert ranges.field_of_view_deg[0] - 1e-6 <= fov <= ranges.field_of_view_deg[1] + 1e-6
        assert ranges.threshold[0] <= scene.sensor.threshold_on <= ranges.threshold[1]
        assert 0.7 <= scene.sensor.threshold_off / scene.sensor.threshold_on <= 1.3
        assert ranges.shot_hz[0] <= scene.sensor.shot_hz <= ranges.shot_hz[1]
        assert scene.sensor.cutoff_hz == 0 or (
            ranges.cutoff_hz[0] <= scene.sensor.cutoff_hz <= ranges.cutoff_hz[1]
        )
        assert 0.02 <= scene.albedo.min() and scene.albedo.max() <= 1.0
        assert 2.0 <= scene.background.min() and scene.background.max() <= 255.0
        assert np.abs(scene.betas).max() <= 2.5
        assert np.linalg.norm(scene.light_dir) == pytest.approx(1.0)


def test_a_facing_share_of_one_keeps_the_heading_in_its_range():
    ranges = SceneRanges(facing_share=1.0, facing_deg=(-10.0, 20.0))
    headings = np.rad2deg([draw(seed, ranges).heading_rad for seed in range(20)])
    assert headings.min() >= -10 and headings.max() <= 20 and np.ptp(headings) > 5


def test_the_camera_is_upright_before_the_person_and_sees_the_whole_of_them():
    ranges = SceneRanges(sensor_sizes=((128, 128),), roll_deg=(0.0, 0.0), body_fraction=(0.5, 0.7))
    for seed in range(20):
        camera = draw_camera(np.random.default_rng(seed), ranges, (128, 128))
        R = camera.R_world_to_cam
        np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(R) == pytest.approx(1.0)
        eye = -R.T @ camera.t_world_to_cam
        assert eye[2] >= 1.4, "the camera stands on the +z side"
        assert ranges.camera_height_m[0] <= eye[1] <= ranges.camera_height_m[1]
        head, foot, left = camera.project(
            camera.to_camera_frame([[0.0, 1.7, 0.0], [0.0, 0.0, 0.0], [0.5, 0.9, 0.0]])
        )
        assert head[1] < foot[1], "up in the world is up in the image"
        assert left[0] > head[0] - 1e-9, "the left of who faces the camera is on the right of the image"
        assert 0.4 * 128 < foot[1] - head[1] < 0.8 * 128
        assert -0.5 <= head[1] and foot[1] <= 127.5


def test_roll_turns_the_image():
    level, rolled = (
        draw_camera(np.random.default_rng(4), SceneRanges(roll_deg=(r, r)), (128, 128)) for r in (0.0, 6.0)
    )
    ends = [[0.0, 0.2, 0.0], [0.0, 1.6, 0.0]]

    def lean(camera):
        low, high = camera.project(camera.to_camera_frame(ends))
        return np.rad2deg(np.arctan2(high[0] - low[0], low[1] - high[1]))

    assert abs(lean(rolled) - lean(level)) == pytest.approx(6.0, abs=0.5)


def test_background_contrast_is_obeyed():
    low, high = (
        np.mean(
            [
                np.std(b) / np.mean(b)
                for seed in range(15)
                for b in [draw_background(np.random.default_rng(seed), r, (48, 64), 200.0)]
            ]
        )
        for r in (SceneRanges(background_contrast=(0.02, 0.02)), SceneRanges(background_contrast=(0.6, 0.6)))
    )
    assert low < 0.02 and high > 5 * low


@pytest.mark.parametrize("name", [f.name for f in fields(SceneRanges) if f.name.endswith(("_hz", "_sigma"))])
def test_a_negative_low_end_is_refused_by_name(name):
    with pytest.raises(ShapeError, match=name):
        SceneRanges(**{name: (-0.1, 1.0)})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("threshold", (-0.1, 0.5)),
        ("threshold", (0.0, 0.5)),
        ("threshold", (0.5, 0.1)),
        ("exposure_dn", (250.0, 100.0)),
        ("roll_deg", (5.0, -5.0)),
        ("sensor_sizes", ()),
        ("facing_share", 1.5),
        ("facing_share", -0.1),
    ],
)
def test_bad_ranges_are_refused_by_name(name, value):
    with pytest.raises(ShapeError, match=name):
        SceneRanges(**{name: value})


@pytest.mark.parametrize("name", ["background_contrast", "texture_contrast", "shot_hz"])
def test_a_range_drawn_log_uniformly_cannot_begin_at_zero(name):
    with pytest.raises(ShapeError, match=name):
        SceneRanges(**{name: (0.0, 0.5)})


def test_one_size_instead_of_a_list_of_sizes_is_refused_by_name():
    with pytest.raises(ShapeError, match="sensor_sizes"):
        SceneRanges(sensor_sizes=(64, 64))  # type: ignore[arg-type]
