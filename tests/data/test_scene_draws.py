"""Draws of a scene: in their ranges, the same for the same state, and sensible."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from eventhpe.data import scene_draws as draws
from eventhpe.data.cast import Cast, rest_joints
from eventhpe.data.dhp19_cameras import dhp19_camera
from eventhpe.data.generator import Choice, Generator, GeneratorConfig, keep_in_front
from eventhpe.data.motion_style import StyleRanges
from eventhpe.data.scene import Scene
from eventhpe.data.scene_ranges import MAINS_HZ, SceneRanges
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.rotation import rotvec_to_rotmat
from eventhpe.render.background import Background, BackgroundPainter
from tests.data.staging import person, standing

DEFAULT = SceneRanges()
OFF = SceneRanges(
    distorted_share=0.0, shadow_share=0.0, flicker_share=0.0, empty_share=1.0, shake_share=0.0,
    distractor_share=0.0, cutoff_share=0.0, bunched_share=0.0, readout_share=0.0,
)  # fmt: skip
ON = SceneRanges(
    distorted_share=1.0, shadow_share=1.0, flicker_share=1.0, empty_share=0.0, shake_share=1.0,
    distractor_share=1.0, cutoff_share=1.0, bunched_share=1.0, readout_share=1.0,
)  # fmt: skip


def rng_of(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def scene_of(seed: int, ranges: SceneRanges) -> Scene:
    config = GeneratorConfig(duration_s=0.05, ranges=replace(ranges, sensor_sizes=((64, 80),)))
    return Generator(config).draw_scene(rng_of(seed), Choice(movement="wave"))


def inside(value: float, bounds: tuple[float, float]) -> bool:
    return bounds[0] - 1e-9 <= value <= bounds[1] + 1e-9


# ---------------------------------------------------------------- numbers


def test_log_uniform_is_uniform_in_the_logarithm():
    values = np.array([draws.log_uniform(rng, (0.1, 10.0)) for rng in [rng_of(0)] for _ in range(4000)])
    assert 0.1 <= values.min() and values.max() < 10.0
    assert np.histogram(np.log10(values), [-1, -0.5, 0, 0.5, 1])[0] == pytest.approx(1000, abs=130)


def test_whole_numbers_include_both_ends():
    rng = rng_of(0)
    assert {draws.whole(rng, (2, 4)) for _ in range(100)} == {2, 3, 4}
    assert draws.whole(rng, (3, 3)) == 3


def test_shapes_are_standard_normal_and_cut():
    rng = rng_of(0)
    betas = np.array([draws.draw_betas(rng) for _ in range(500)])
    assert betas.shape == (500, 10) and np.abs(betas).max() == 2.5
    assert np.abs(betas.mean()) < 0.05 and betas.std() == pytest.approx(0.98, abs=0.03)


def test_headings_obey_the_facing_share():
    facing = replace(DEFAULT, facing_share=1.0, facing_deg=(-10.0, 20.0))
    headings = np.rad2deg([draws.draw_heading(rng_of(seed), facing) for seed in range(50)])
    assert headings.min() >= -10 and headings.max() <= 20 and np.ptp(headings) > 20
    anywhere = replace(DEFAULT, facing_share=0.0)
    headings = np.array([draws.draw_heading(rng_of(seed), anywhere) for seed in range(400)])
    assert np.histogram(headings, [-np.pi, -np.pi / 2, 0, np.pi / 2, np.pi])[0] == pytest.approx(100, abs=35)


def test_people_stand_in_a_row_at_their_distance_around_the_origin():
    assert (draws.draw_places(rng_of(0), DEFAULT, 1) == 0).all()
    depths = []
    for seed in range(30):
        places = draws.draw_places(rng_of(seed), DEFAULT, 4)
        assert places.shape == (4, 3) and (places[:, 1] == 0).all()
        np.testing.assert_allclose(places.mean(axis=0), 0, atol=1e-12)
        gaps = np.diff(np.sort(places[:, 0]))
        assert inside(gaps.min(), DEFAULT.spacing_m) and inside(gaps.max(), DEFAULT.spacing_m)
        depths.append(np.ptp(places[:, 2]))
    assert np.median(depths) > 0.5, "some stand in front of others"
    first = [draws.draw_places(rng_of(seed), DEFAULT, 4)[0, 0] for seed in range(30)]
    assert min(first) < 0 < max(first), "the order in the row says nothing about the person's number"


# ---------------------------------------------------------------- camera


def test_cameras_stay_in_their_ranges():
    seen = []
    for seed in range(200):
        camera, facts = draws.draw_camera(rng_of(seed), DEFAULT)
        h, w = camera.size
        assert (h, w) in DEFAULT.sensor_sizes
        fov = 2 * np.rad2deg(np.arctan(0.5 * w / camera.K[0, 0]))
        eye = -camera.R_world_to_cam.T @ camera.t_world_to_cam
        assert inside(fov, DEFAULT.field_of_view_deg) and fov == pytest.approx(facts["field_of_view_deg"])
        assert inside(eye[2], DEFAULT.distance_m) and eye[2] == pytest.approx(facts["distance_m"])
        assert inside(eye[1], DEFAULT.camera_height_m) and eye[0] == pytest.approx(0.0, abs=1e-9)
        assert camera.dist[0] == 0 or inside(camera.dist[0], DEFAULT.distortion_k1)
        assert (camera.K[0, 0], camera.K[0, 1]) == (camera.K[1, 1], 0.0)
        seen.append((*camera.size, fov, eye[1], facts["roll_deg"]))
    sizes, rest = {s[:2] for s in seen}, np.array(seen)[:, 2:]
    assert sizes == set(DEFAULT.sensor_sizes)
    for column, bounds in zip(
        rest.T, (DEFAULT.field_of_view_deg, DEFAULT.camera_height_m, DEFAULT.roll_deg), strict=True
    ):
        assert np.ptp(column) > 0.9 * (bounds[1] - bounds[0]), "the whole range is used"
    share = np.mean([draws.draw_camera(rng_of(s), DEFAULT)[0].dist[0] != 0 for s in range(400)])
    assert share == pytest.approx(DEFAULT.distorted_share, abs=0.08)


def test_the_camera_is_upright_before_the_person_and_sees_the_whole_of_them():
    ranges = replace(
        OFF, sensor_sizes=((128, 128),), roll_deg=(0.0, 0.0), body_fraction=(0.5, 0.7),
        camera_height_m=(0.5, 2.0), distance_m=(1.0, 20.0),
    )  # fmt: skip
    for seed in range(20):
        camera, _ = draws.draw_camera(rng_of(seed), ranges)
        R = camera.R_world_to_cam
        np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(R) == pytest.approx(1.0)
        head, foot, left = camera.project(
            camera.to_camera_frame([[0.0, 1.7, 0.0], [0.0, 0.0, 0.0], [0.5, 0.9, 0.0]])
        )
        assert head[1] < foot[1], "up in the world is up in the image"
        assert left[0] > head[0] - 1e-9, "the left of who faces the camera is on the right of the image"
        assert 0.4 * 128 < foot[1] - head[1] < 0.8 * 128
        assert -0.5 <= head[1] and foot[1] <= 127.5


def test_the_camera_stands_back_for_a_row_of_people():
    for seed in range(20):
        ranges = replace(OFF, distance_m=(1.0, 50.0), roll_deg=(0.0, 0.0))
        camera, _ = draws.draw_camera(rng_of(seed), ranges, width_m=4.0)
        ends = camera.project(camera.to_camera_frame([[-2.0, 0.9, 0.0], [2.0, 0.9, 0.0]]))
        assert ends[0, 0] > -0.1 * camera.size[1] and ends[1, 0] < 1.1 * camera.size[1]


def test_distance_wins_over_the_body_fraction():
    ranges = replace(OFF, distance_m=(2.0, 2.5), body_fraction=(0.1, 0.1))
    assert draws.draw_camera(rng_of(0), ranges)[1]["distance_m"] == 2.5


def test_roll_turns_the_image():
    level, rolled = (draws.draw_camera(rng_of(4), replace(OFF, roll_deg=(r, r)))[0] for r in (0.0, 6.0))
    ends = [[0.0, 0.2, 0.0], [0.0, 1.6, 0.0]]

    def lean(camera: Camera) -> float:
        low, high = camera.project(camera.to_camera_frame(ends))
        return float(np.rad2deg(np.arctan2(high[0] - low[0], low[1] - high[1])))

    assert lean(rolled) - lean(level) == pytest.approx(6.0, abs=0.5), "clockwise"


@pytest.mark.parametrize("k1", [-0.5, -0.32, -0.1, 0.05])
def test_no_drawn_lens_folds_back_inside_its_image(k1):
    """Every pixel sees somewhere, at the widest field of view."""
    ranges = replace(
        OFF, distorted_share=1.0, distortion_k1=(k1, k1), field_of_view_deg=(75.0, 75.0),
        sensor_sizes=((128, 128),),
    )  # fmt: skip
    camera, _ = draws.draw_camera(rng_of(0), ranges)
    assert camera.dist[0] == k1
    radius = np.linspace(0, 3, 400)
    across = np.stack([radius, np.zeros(400), np.ones(400)], -1)
    assert (np.diff(camera.project(across)[:, 0]) > 0).all()
    corners = np.array([[0.0, 0.0], [127, 0], [0, 127], [127, 127]])
    assert np.isfinite(camera.undistort(corners, iterations=500)).all()


def test_dhp19_cameras_are_the_calibrated_ones():
    ranges = replace(OFF, dhp19_camera_share=1.0)
    names = set()
    for seed in range(40):
        camera, facts = draws.draw_camera(rng_of(seed), ranges)
        channel = int(facts["camera"].removeprefix("dhp19 channel "))
        assert np.array_equal(camera.K, dhp19_camera(channel).K) and camera.size == (260, 346)
        names.add(channel)
    assert names == {0, 1, 2, 3}


def test_the_camera_moves_back_for_who_comes_too_near():
    K = 5
    towards = np.zeros((K, 3))
    towards[:, 2] = np.linspace(0, 2.5, K)
    people = (person(standing(K), place=towards),)
    near, far = (
        draws.look_at(np.array([0, 1.2, d]), np.array([0, 0.9, 0.0]), Camera.from_focal(80, (64, 64)))
        for d in (2.0, 5.0)
    )
    assert keep_in_front(far, people) is far
    moved = keep_in_front(near, people)
    assert np.array_equal(moved.R_world_to_cam, near.R_world_to_cam)
    pelvis = people[0].motion.transl + rest_joints(np.zeros(10))[0]
    assert near.to_camera_frame(pelvis)[:, 2].min() < 0
    assert moved.to_camera_frame(pelvis)[:, 2].min() == pytest.approx(0.9)
    step = moved.t_world_to_cam - near.t_world_to_cam
    assert step[2] > 0 and not step[:2].any(), "along its axis"


# ---------------------------------------------------------------- shake


def long_shake(seed: int, px: float = 1.5) -> tuple[np.ndarray, Camera]:
    camera = Camera.from_focal(300.0, (260, 346))
    shake, size_px = draws.draw_shake(rng_of(seed), replace(ON, shake_px=(px, px)), camera, 800, 10_000)
    assert shake is not None and shake.shape == (800, 3) and size_px == px
    return shake, camera


def test_a_shaking_camera_wanders_by_as_much_as_was_drawn():
    wander = []
    for seed in range(60):
        shake, camera = long_shake(seed)
        uv = camera.project(rotvec_to_rotmat(shake) @ np.array([0.0, 0.0, 1.0]))
        wander.append(np.sqrt(uv.var(axis=0).sum()))
        assert np.abs(uv - uv.mean(axis=0)).max() < 12 * 1.5
    assert np.sqrt(np.mean(np.square(wander))) == pytest.approx(1.5, rel=0.25)


def test_shake_is_slow_enough_for_a_hand():
    shake, _ = long_shake(0)
    power = np.abs(np.fft.rfft(shake - shake.mean(axis=0), axis=0)) ** 2
    hz = np.fft.rfftfreq(800, 0.01)
    assert power[hz < 12].sum() > 0.98 * power.sum()
    assert np.abs(np.diff(shake, axis=0)).max() < 0.005, "no jumps"


def test_shake_scales_with_the_sensor():
    sizes = [
        draws.draw_shake(
            rng_of(3), replace(ON, shake_px=(1.0, 1.0)), Camera.from_focal(w, (w, w)), 50, 10_000
        )
        for w in (173, 346)
    ]
    assert (sizes[0][1], sizes[1][1]) == (0.5, 1.0)
    np.testing.assert_allclose(sizes[0][0], sizes[1][0], err_msg="the same hand")


@pytest.mark.parametrize("fov", [35.0, 75.0, 100.0])
def test_the_margin_of_the_canvas_is_wide_enough_for_the_shake(fov):
    ranges = replace(ON, field_of_view_deg=(fov, fov), sensor_sizes=((90, 120),), shake_px=(2.0, 20.0))
    largest = 0
    for seed in range(20):
        rng = rng_of(seed)
        camera, _ = draws.draw_camera(rng, ranges)
        shake, _ = draws.draw_shake(rng, ranges, camera, 100, 10_000)
        assert shake is not None
        background, _ = draws.draw_background(
            rng, ranges, camera, exposure_dn=100.0, shake=shake, duration_us=990_000
        )
        margin = background.margin
        assert background.canvas.shape == (90 + 2 * margin, 120 + 2 * margin)
        wide = rng.uniform(10, 200, (90 + 2 * (margin + 40), 120 + 2 * (margin + 40))).astype(np.float32)
        cut = wide[40:-40, 40:-40]
        assert cut.shape == background.canvas.shape
        painters = [
            BackgroundPainter(Background(c, m), camera) for c, m in ((wide, margin + 40), (cut, margin))
        ]
        images = [np.zeros((90, 120), np.float32) for _ in painters]
        for turn in rotvec_to_rotmat(shake[::7]):
            for painter, image in zip(painters, images, strict=True):
                painter.paint(0, turn, image)
            np.testing.assert_allclose(images[0], images[1], atol=0.05, err_msg="the border was needed")
        largest = max(largest, margin)
    assert 5 < largest < 120, "and not much wider than that"


# ---------------------------------------------------------------- light, background, sensor


def test_light_adds_up_to_one_and_comes_from_above_and_before():
    heights, counts = [], []
    for seed in range(100):
        lights, ambient = draws.draw_lights(rng_of(seed), DEFAULT)
        assert inside(ambient, DEFAULT.ambient)
        assert sum(float(li.intensity) for li in lights) + ambient == pytest.approx(1.0)
        heights += [li.direction[1] for li in lights]
        counts.append(len(lights))
    assert set(counts) == {1, 2}
    assert np.mean(np.array(heights) > 0) > 0.8


def test_flicker_is_one_of_the_mains_frequencies():
    lamps = [draws.draw_flicker(rng_of(seed), ON) for seed in range(60)]
    assert all(lamp is not None for lamp in lamps)
    assert {lamp.hz for lamp in lamps if lamp} == set(MAINS_HZ)
    assert all(inside(lamp.depth, ON.flicker_depth) for lamp in lamps if lamp)
    assert np.ptp([lamp.phase for lamp in lamps if lamp]) > 5


def test_sensors_stay_in_their_ranges():
    drawn = [draws.draw_sensor(rng_of(seed), ON, 100) for seed in range(200)]
    for s in drawn:
        assert s.mismatch_sigma <= s.threshold_on / 3 + 1e-9
    for name, bounds in (
        ("threshold_on", ON.threshold),
        ("refractory_us", ON.refractory_us),
        ("leak_hz", ON.leak_hz),
        ("shot_hz", ON.shot_hz),
        ("noise_spread", ON.noise_spread),
        ("cutoff_hz", ON.cutoff_hz),
        ("hot_pixel_fraction", ON.hot_pixel_fraction),
        ("hot_pixel_hz", ON.hot_pixel_hz),
        ("noise_patch_px", tuple(100 * share for share in ON.noise_patch_share)),
        ("timestamp_step_us", ON.bunch_us),
        ("readout_mev_per_s", ON.readout_mev_per_s),
    ):
        values = np.array([getattr(s, name) for s in drawn])
        assert inside(values.min(), bounds) and inside(values.max(), bounds), name
        assert np.ptp(values) > 0.8 * (bounds[1] - bounds[0]), name
    ratios = np.array([s.threshold_off / s.threshold_on for s in drawn])
    low, high = ON.threshold_ratio
    assert inside(ratios.min(), (low, high)) and inside(ratios.max(), (low, high))
    assert np.ptp(ratios) > 0.8 * (high - low)
    assert draws.sensor_facts(drawn[0])["shot_hz"] == drawn[0].shot_hz


# ---------------------------------------------------------------- whole scenes


def test_zero_shares_switch_every_factor_off():
    for seed in range(5):
        scene = scene_of(seed, OFF)
        assert scene.shake is None and scene.flicker is None and scene.shadow == 0.0
        assert not scene.camera.dist.any()
        assert scene.background.sprites == () and scene.background.margin == 0
        assert np.ptp(scene.background.canvas) == 0
        assert scene.sensor.cutoff_hz == scene.sensor.timestamp_step_us == scene.sensor.readout_mev_per_s == 0
        told = scene.factors
        for name in ("shake_px", "flicker_hz", "flicker_depth", "shadow", "distortion_k1", "distractors"):
            assert told[name] == 0, name
        assert told["background_contrast"] == 0


def test_shares_of_one_switch_every_factor_on_and_the_facts_tell_what_was_drawn():
    for seed in range(5):
        scene = scene_of(seed, ON)
        told = scene.factors
        assert scene.shake is not None and scene.flicker is not None and scene.background.margin > 0
        assert scene.sensor.cutoff_hz > 0 < scene.sensor.timestamp_step_us
        assert scene.sensor.readout_mev_per_s > 0
        assert told["flicker_hz"] == scene.flicker.hz and told["flicker_depth"] == scene.flicker.depth
        assert told["shadow"] == scene.shadow > 0
        assert told["distractors"] == len(scene.background.sprites) > 0
        assert told["distortion_k1"] == scene.camera.dist[0] != 0
        assert told["people"] == len(scene.people) == 1 and told["lights"] == len(scene.lights)
        assert (told["ambient"], told["exposure_dn"]) == (scene.ambient, scene.exposure_dn)
        assert np.ptp(scene.background.canvas) > 0 and told["background_contrast"] > 0
        eye = -scene.camera.R_world_to_cam.T @ scene.camera.t_world_to_cam
        assert told["moved_back_m"] == 0 and eye[2] == pytest.approx(told["distance_m"])


def state_of(scene: Scene) -> dict[str, bytes]:
    """Everything that was drawn, as bytes."""
    motion, albedo = scene.people[0].motion, scene.people[0].albedo
    arrays = {
        "betas": motion.betas, "pose": motion.pose, "transl": motion.transl, "texture": albedo.reflectance,
        "offsets": scene.people[0].offsets, "K": scene.camera.K, "R": scene.camera.R_world_to_cam,
        "canvas": scene.background.canvas, "shake": scene.shake,
        "path": scene.background.sprites[0].path,
    }  # fmt: skip
    out = {name: np.asarray(a).tobytes() for name, a in arrays.items()}
    return out | {"sensor": repr(scene.sensor).encode(), "flicker": repr(scene.flicker).encode()}


def test_equal_states_give_equal_scenes_and_others_do_not():
    a, b, other = (state_of(scene_of(seed, ON)) for seed in (1, 1, 2))
    assert a == b
    same = {name for name in a if a[name] == other[name]}
    assert same <= {"K"}, "every draw depends on the state"


@pytest.mark.parametrize("movement", ["walk", "punch_forward", "kick", "jump_forward"])
def test_the_person_stays_in_front_of_the_camera(movement):
    """Walkers may go anywhere, here from a near camera: nobody passes through it."""
    ranges = replace(OFF, sensor_sizes=((64, 64),), distance_m=(0.8, 1.2), body_fraction=(2.0, 2.0))
    config = GeneratorConfig(duration_s=2.0, ranges=ranges, style=StyleRanges(speed=(2.0, 2.5)))
    for seed in range(3):
        scene = Generator(config).draw_scene(rng_of(seed), Choice(movement=movement))
        cast = Cast.of_scene(scene)
        for k in range(0, scene.num_labels, 10):
            assert cast.at_label(k).joints[0][0, 2] >= 0.9 - 1e-6, "the pelvis keeps its distance"
            assert cast.at_label(k).vertices[0][:, 2].min() > 0.05, "and no limb reaches the lens"
