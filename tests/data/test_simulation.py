"""Images often enough, drawn right although only what changed is drawn, and turned into the right events."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from eventhpe.body.default import open_body_arrays
from eventhpe.body.posing import BodyPoser
from eventhpe.data import simulation
from eventhpe.data.cast import Cast
from eventhpe.data.scene import Flicker, Person, Scene
from eventhpe.data.scene_draws import look_at
from eventhpe.data.simulation import (
    FLICKER_SAMPLES,
    SHADOW_RADIUS_M,
    RenderSettings,
    Step,
    largest_motion_px,
    render_times,
    simulate,
    sprite_motion_px,
)
from eventhpe.events.simulate import EventSimulator, SensorModel
from eventhpe.events.types import Events
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.rotation import interpolate_rotvec, rotvec_to_rotmat
from eventhpe.render.background import Background, BackgroundPainter, Sprite, cast_contact_shadow
from eventhpe.render.scene_renderer import Lighting, SceneRenderer, Surface
from eventhpe.render.shading import Light
from tests.data.staging import FAST, QUIET, camera_at, joint, performer, person, shaking, stage, standing

NOISY = SensorModel(threshold_on=0.2, threshold_off=0.25, leak_hz=0.2, shot_hz=2.0, refractory_us=500)


@dataclass
class Seen:
    """One image that the event camera was shown."""

    t_us: int
    image: np.ndarray
    box: tuple[int, int, int, int]
    gain: float


@pytest.fixture
def watch(monkeypatch):
    """Simulate a scene; returns the images and the steps."""

    def run(scene: Scene, settings: RenderSettings = FAST, seed: int = 1) -> tuple[list[Seen], list[Step]]:
        seen: list[Seen] = []

        class Spy(EventSimulator):
            def feed(self, image: Any, t_us: int, *, box: Any = None, gain: float = 1.0) -> Events:
                seen.append(Seen(t_us, image.copy(), box, gain))
                return super().feed(image, t_us, box=box, gain=gain)

        monkeypatch.setattr(simulation, "EventSimulator", Spy)
        return seen, list(simulate(scene, Cast.of_scene(scene), settings, seed=seed))

    return run


def columns(steps: list[Step]) -> np.ndarray:
    """(4, N) t, x, y, p of all events."""
    return np.concatenate([np.stack([s.events.t, s.events.x, s.events.y, s.events.p]) for s in steps], axis=1)


def wall(size: tuple[int, int], margin: int = 0, seed: int = 0) -> np.ndarray:
    """A background with texture."""
    shape = size[0] + 2 * margin, size[1] + 2 * margin
    ys, xs = np.mgrid[0 : shape[0], 0 : shape[1]]
    phase = np.random.default_rng(seed).uniform(0, 6, 2)
    return (90 + 40 * np.sin(0.3 * xs + phase[0]) * np.cos(0.23 * ys + phase[1])).astype(np.float32)


def ball(path: Any, t_us: Any, side: int = 9) -> Sprite:
    """A bright ball."""
    ys, xs = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    alpha = np.clip((1 - np.hypot(ys, xs)) * 4, 0, 1)
    return Sprite(np.full((side, side), 220.0), alpha, np.asarray(path, float), np.asarray(t_us))


def lively(**changes: Any) -> Scene:
    """Everything at once: somebody who moves fast, shake, a sprite, a shadow, lamps that flicker, blur."""
    camera = camera_at((0.2, 1.2, 2.6), size=(72, 80), focal=85.0, dist=(-0.1, 0.01, 0, 0, 0))
    options: dict[str, Any] = {
        "camera": camera,
        "background": Background(wall((72, 80), 8), 8, (ball([(10, 20), (70, 30)], [0, 100_000]),)),
        "shake": shaking(11),
        "shadow": 0.5,
        "flicker": Flicker(100.0, 0.1),
        "gray_exposure_us": 4_000,
        "sensor": NOISY,
    }
    return stage(performer("jumping_jack", 0.1, speed=2.0), **(options | changes))


# ---------------------------------------------------------------- how often


@pytest.mark.parametrize(
    ("motion_px", "hz", "expected"),
    [
        (0.0, 0.0, 1),  # at least 100 images a second
        (0.43, 0.0, 1),
        (0.44, 0.0, 2),  # 1.15 x motion / 0.5 px, rounded up
        (4.0, 0.0, 10),
        (1e6, 0.0, 80),  # at most 8000 images a second
        (0.0, 100.0, FLICKER_SAMPLES),
        (0.0, 1000.0, 80),
    ],
)
def test_the_render_rate_adapts_between_its_limits(motion_px, hz, expected):
    assert render_times(motion_px, 10_000, RenderSettings(), hz) == expected


def test_a_limit_below_the_label_rate_still_renders_every_label():
    assert render_times(100.0, 10_000, RenderSettings(min_fps=10.0, max_fps=20.0)) == 1
    assert render_times(1e6, 40, RenderSettings(max_fps=1e9)) == 40, "and no more than one image per µs"


@pytest.mark.parametrize("settings", [FAST, replace(FAST, max_motion_px=0.2), replace(FAST, min_fps=730.0)])
def test_render_times_contain_the_label_times_and_increase(watch, settings):
    seen, steps = watch(
        stage(performer("jumping_jack", 0.1, speed=2.0), camera=camera_at(size=(48, 48))), settings
    )
    times = [s.t_us for s in seen]
    assert times[0] == 0 and times[-1] == 100_000 and set(range(0, 100_001, 10_000)) <= set(times)
    assert (np.diff(times) > 0).all()
    assert [s.t_us for s in steps] == [*times, 100_000], "the last step hands out what was kept back"
    assert np.diff(times).max() <= 1e6 / settings.min_fps + 1


def pixels_at(scene: Scene, who: Person, times: list[int]) -> np.ndarray:
    """(T, V, 2) projections of a person, posed in the world without the cast; NaN out of the image."""
    m, grid, poser = who.motion, np.arange(scene.num_labels) * scene.step_us, BodyPoser(open_body_arrays())
    poses = interpolate_rotvec(times, grid, m.pose)
    transl = np.stack([np.interp(times, grid, c) for c in m.transl.T], axis=-1)
    xyz = np.stack([poser.vertices(m.betas[0], p, t) for p, t in zip(poses, transl, strict=True)])
    xyz = scene.camera.to_camera_frame(xyz)
    if scene.shake is not None:
        turns = rotvec_to_rotmat(interpolate_rotvec(times, grid, scene.shake))
        xyz = np.einsum("tij,tvj->tvi", turns, xyz)
    uv = scene.camera.project(xyz)
    inside = ((uv > -0.5) & (uv < np.array(scene.camera.size)[::-1] - 0.5)).all(axis=-1)
    return np.where(inside[..., None], uv, np.nan)


@pytest.mark.parametrize(
    ("movement", "shake"),
    [("jumping_jack", 0.0), ("jump", 0.02), ("punch", 0.02), ("kick", 0.0), ("hop", 0.0)],
)
def test_no_vertex_moves_more_than_half_a_pixel_between_two_images(watch, movement, shake):
    who = performer(movement, 0.1, speed=2.5, heading_deg=40.0)
    camera = camera_at((0.0, 1.2, 2.0), size=(128, 160), focal=150.0, dist=(-0.2, 0.02, 0, 0, 0))
    scene = stage(who, camera=camera, shake=shaking(11, size_rad=shake) if shake else None)
    times = [s.t_us for s in watch(scene)[0]]
    places = pixels_at(scene, who, times)
    assert np.isfinite(places[:, :, 0]).sum(axis=1).min() > 1000, "the person is in the picture"
    largest = np.nanmax(np.linalg.norm(np.diff(places, axis=0), axis=-1), axis=1)
    assert largest.max() <= 0.5
    labels = places[np.isin(times, range(0, 100_001, 10_000))]
    coarse = np.nanmax(np.linalg.norm(np.diff(labels, axis=0), axis=-1))
    assert coarse > 1, "the labels alone would be too coarse"
    assert np.median(largest[largest > 0.2]) > 0.25, "and no images are wasted"


def test_no_sprite_and_no_background_moves_more_than_half_a_pixel_either(watch):
    """A ball that turns back within a label step, before a wall that shakes: both add up."""
    path, knots = [(10.0, 20.0), (50.0, 25.0), (12.0, 30.0), (60.0, 40.0)], [0, 33_333, 65_000, 100_000]
    camera = camera_at(size=(72, 80), focal=85.0)
    shake, grid, K = shaking(11, size_rad=0.03, hz=9.0), np.arange(11) * 10_000, camera.K

    def image_of(turn: np.ndarray, uv: np.ndarray) -> np.ndarray:
        rays = np.concatenate([uv, np.ones((len(uv), 1))], 1) @ np.linalg.inv(K).T @ turn.T @ K.T
        return rays[:, :2] / rays[:, 2:]

    for sprites in ((), (ball(path, knots),)):
        background = Background(wall((72, 80), 12), 12, sprites)
        scene = stage(person(standing(11)), camera=camera, shake=shake, background=background)
        times = [s.t_us for s in watch(scene)[0]]
        turns = rotvec_to_rotmat(interpolate_rotvec(times, grid, shake))
        if sprites:
            centres = np.stack([np.interp(times, knots, column) for column in np.transpose(path)], axis=-1)
            places = np.stack([image_of(turn, uv[None]) for turn, uv in zip(turns, centres, strict=True)])
        else:
            corners = np.array([[u, v] for u in (0, 40, 79) for v in (0, 36, 71)], float)
            places = np.stack([image_of(turn, corners) for turn in turns])
        motion = np.linalg.norm(np.diff(places, axis=0), axis=-1)
        assert 0.25 < motion.max() <= 0.5


def test_where_the_upper_limit_binds_it_wins(watch):
    scene = stage(performer("jumping_jack", 0.1, speed=2.5), camera=camera_at(size=(128, 128), focal=200.0))
    slow, fast = (len(watch(scene, replace(FAST, max_fps=fps))[0]) for fps in (200.0, 8000.0))
    assert slow <= 21 < fast


def test_largest_motion_counts_what_is_in_the_image_only():
    camera = Camera.from_focal(100.0, (50, 50))
    before = np.array([[0, 0, 1.0], [5, 0, 1.0], [0, 0, -1.0]], np.float32)
    after = before + np.array([[0.01, 0, 0], [0.5, 0, 0], [0.3, 0, 0]], np.float32)
    assert largest_motion_px(before, after, camera) == pytest.approx(1.0, abs=1e-3)
    assert largest_motion_px(before[2:], after[2:], camera) == 0.0
    entering = largest_motion_px(before[1:2], np.array([[0.1, 0, 1.0]], np.float32), camera)
    assert entering == pytest.approx(490, abs=1e-3), "who comes in counts"


def test_a_sprite_counts_with_its_highest_speed():
    sprite = ball([(0, 0), (3, 4), (0, 0), (30, 40)], [0, 5_000, 10_000, 110_000])
    assert sprite_motion_px(sprite, 0, 10_000) == pytest.approx(10.0), "there and back again"
    assert sprite_motion_px(sprite, 20_000, 30_000) == pytest.approx(5.0)
    assert sprite_motion_px(sprite, 200_000, 210_000) == 0.0


# ---------------------------------------------------------------- what is drawn


def composed(scene: Scene, cast: Cast, t_us: int) -> np.ndarray:
    """The image of one instant, drawn from nothing."""
    turn = np.eye(3)
    if scene.shake is not None:
        grid = np.arange(scene.num_labels) * scene.step_us
        turn = rotvec_to_rotmat(interpolate_rotvec([t_us], grid, scene.shake)[0])
    R, t = turn @ scene.camera.R_world_to_cam, turn @ scene.camera.t_world_to_cam
    behind, out = np.zeros((2, *scene.camera.size), np.float32)
    shake = None if scene.shake is None else turn
    BackgroundPainter(scene.background, scene.camera).paint(t_us, shake, behind)
    (instant,) = cast.at(t_us)
    feet = [joint(n) for n in ("ankle_left", "ankle_right", "foot_left", "foot_right")]
    world = (np.concatenate([j[feet] for j in instant.joints]) - t) @ R
    cast_contact_shadow(behind, scene.camera, R, t, world, scene.shadow, SHADOW_RADIUS_M)
    lights = tuple(Light(tuple(R @ li.direction), li.intensity) for li in scene.lights)
    surfaces = [
        Surface(v, cast.faces, who.albedo, cast.template)
        for v, who in zip(instant.vertices, scene.people, strict=True)
    ]
    lighting = Lighting(lights, scene.ambient, scene.exposure_dn)
    SceneRenderer(scene.camera, supersample=1).draw(surfaces, lighting, behind, out, background_box=None)
    return out


@pytest.mark.parametrize("camera", ["still", "shaking"])
def test_drawing_only_what_changed_gives_the_whole_image(watch, camera):
    """And outside the box that is promised to the event camera nothing changed."""
    still = camera == "still"
    changes = {"shake": None, "background": Background(wall((72, 80)), 0, (ball([(10, 20), (70, 30)],
               [0, 100_000]),))} if still else {}  # fmt: skip
    scene = lively(**changes)
    seen, _ = watch(scene)
    cast = Cast.of_scene(scene)
    for k in range(0, len(seen), 7):
        np.testing.assert_allclose(seen[k].image, composed(scene, cast, seen[k].t_us), atol=0.02)
    areas = []
    for before, now in itertools.pairwise(seen):
        y0, y1, x0, x1 = now.box
        outside = np.ones(now.image.shape, bool)
        outside[y0:y1, x0:x1] = False
        np.testing.assert_array_equal(now.image[outside], before.image[outside])
        areas.append((y1 - y0) * (x1 - x0))
    if still:
        assert max(areas) < 72 * 80, "a still camera redraws a part only"


def test_a_shadow_that_moves_far_between_two_images_is_drawn_whole_and_leaves_nothing_behind(watch):
    path = np.zeros((6, 3))
    path[:, 2] = np.linspace(-0.6, 0.8, 6)  # slides over the floor, 28 cm per image, the shadow ahead
    camera = camera_at((0.0, 2.6, 2.8), (0.0, 0.5, 0.0), size=(128, 128), focal=110.0)
    scene = stage(person(standing(6), place=path), camera=camera, shadow=0.8)
    seen, _ = watch(scene, replace(FAST, max_motion_px=100.0))
    assert len(seen) == 6
    cast = Cast.of_scene(scene)
    for s in seen:
        np.testing.assert_allclose(s.image, composed(scene, cast, s.t_us), atol=0.02)


def test_events_are_those_of_the_images(watch):
    """Boxes save time and lose nothing; what is drawn is what the sensor sees."""
    scene = lively()
    seen, steps = watch(scene, seed=5)
    sensor = EventSimulator(scene.camera.size, scene.sensor, seed=5)
    events = [sensor.feed(s.image, s.t_us, gain=s.gain) for s in seen] + [sensor.flush()]
    plain = np.concatenate([np.stack([e.t, e.x, e.y, e.p]) for e in events], axis=1)
    np.testing.assert_array_equal(columns(steps), plain)
    assert plain.shape[1] > 1000 and 0 <= plain[0].min() and plain[0].max() < 100_000


def test_nothing_moves_nothing_happens(watch):
    scene = stage(person(standing(6)), shadow=0.5)
    seen, steps = watch(scene)
    assert len(seen) == 6 and columns(steps).shape[1] == 0
    assert np.ptp(seen[0].image) > 20
    for s in seen[1:]:
        np.testing.assert_array_equal(s.image, seen[0].image)


def test_the_seed_decides_about_noise_and_nothing_else(watch):
    scene = lively()
    (a, one), (_, again), (b, other) = watch(scene, seed=1), watch(scene, seed=1), watch(scene, seed=2)
    np.testing.assert_array_equal(columns(one), columns(again))
    assert columns(one).shape != columns(other).shape
    for x, y in zip(a, b, strict=True):
        np.testing.assert_array_equal(x.image, y.image)


@pytest.mark.parametrize("side", [1.0, -1.0])
@pytest.mark.parametrize("eye_z", [2.8, -2.8])
def test_lamps_stand_still_in_the_world(watch, side, eye_z):
    """A lamp on +x lights the person's left (heading 0) whether seen from the front or from behind."""
    scene = stage(
        person(standing(2)), camera=camera_at((0.0, 1.0, eye_z), size=(64, 64)), ambient=0.1,
        lights=(Light((side, 0.0, 0.0), 0.9),), background=Background(np.zeros((64, 64), np.float32)),
    )  # fmt: skip
    image = watch(scene)[0][0].image
    left_in_image, right_in_image = image[:, :32].sum(), image[:, 32:].sum()
    lit_is_right = (side > 0) == (eye_z > 0)  # the camera in front of somebody sees their left on the right
    bright, dark = (right_in_image, left_in_image) if lit_is_right else (left_in_image, right_in_image)
    assert bright > 1.25 * dark


def test_a_camera_that_turned_sees_the_same_light(watch):
    """A roll of the whole camera changes the place of everything and the brightness of nothing."""
    who = performer("wave", 0.02)
    turn = np.zeros((3, 3))
    turn[:, 2] = np.pi / 2
    level, rolled = (
        watch(stage(who, camera=camera_at(size=(65, 65)), shake=shake, background=Background(
            np.full((65, 65), 80.0, np.float32))))[0][0].image
        for shake in (None, turn)
    )  # fmt: skip
    np.testing.assert_allclose(np.sort(rolled.ravel()), np.sort(np.rot90(level, -1).ravel()), atol=30)
    assert np.abs(rolled - np.rot90(level, -1)).mean() < 0.5


# ---------------------------------------------------------------- shadow, flicker, gray frames


def test_a_contact_shadow_darkens_the_floor_near_the_feet_and_nothing_else(watch):
    who = person(standing(2))
    camera = camera_at((0.3, 1.4, 2.6), (0.0, 0.7, 0.0), size=(128, 128), focal=130.0)
    with_it, without = (watch(stage(who, camera=camera, shadow=s))[0][0].image for s in (0.6, 0.0))
    rows, cols = np.nonzero(with_it != without)
    assert len(rows) > 40 and (with_it <= without).all()
    assert (without - with_it)[rows, cols].max() == pytest.approx(0.6 * 80, rel=0.3)
    # Where do those pixels meet the floor?
    rays = np.stack([cols, rows, np.ones(len(rows))], -1) @ np.linalg.inv(camera.K).T @ camera.R_world_to_cam
    eye = -camera.R_world_to_cam.T @ camera.t_world_to_cam
    assert (rays[:, 1] < 0).all(), "below the horizon"
    floor = eye + rays * (-eye[1] / rays[:, 1])[:, None]
    joints = Cast.of_scene(stage(who, camera=camera)).at_label(0).joints[0]
    feet = (joints - camera.t_world_to_cam) @ camera.R_world_to_cam
    feet = feet[[joint(n) for n in ("ankle_left", "ankle_right", "foot_left", "foot_right")]]
    apart = np.linalg.norm(floor[:, None, [0, 2]] - feet[:, [0, 2]], axis=-1) - feet[:, 1]
    assert apart.min(axis=1).max() <= SHADOW_RADIUS_M + 1e-3
    # The body itself is not darker: nothing changed where it is.
    bare = watch(stage(who, camera=camera, background=Background(np.zeros((128, 128), np.float32))))[0][
        0
    ].image
    assert (with_it[bare > 0] == without[bare > 0]).all()


def test_a_shadow_of_a_foot_that_steps_makes_events(watch):
    """On the floor beside the body, where otherwise nothing happens."""
    who = performer("walk_in_place", 0.2, speed=2.0)
    camera = camera_at((0.0, 1.4, 2.6), (0.0, 0.5, 0.0), size=(96, 96), focal=110.0)
    sensor = replace(QUIET, threshold_on=0.05, threshold_off=0.05)
    scene = stage(who, camera=camera, shadow=0.6, sensor=sensor)
    counts = []
    for shown in (scene, replace(scene, shadow=0.0)):
        _, x, y, _ = columns(watch(shown)[1])
        counts.append(np.bincount(y * 96 + x, minlength=96 * 96))
    assert counts[0][counts[1] == 0].sum() > 100


@pytest.mark.parametrize("hz", [50.0, 120.0])
def test_flicker_makes_events_in_the_whole_image_at_its_frequency(watch, hz):
    camera = camera_at(size=(32, 32), focal=40.0)
    sensor = replace(QUIET, threshold_on=0.1, threshold_off=0.1)
    scene = stage(person(standing(21)), camera=camera, sensor=sensor, flicker=Flicker(hz, 0.2))
    seen, steps = watch(scene)
    assert len(seen) >= 0.2 * hz * FLICKER_SAMPLES
    t, x, y, p = columns(steps)
    assert len(np.unique(y * 32 + x)) == 32 * 32, "every pixel"
    phase = t * 1e-6 * hz % 1  # the light falls until 0.5, then it rises
    for polarity, low, high in ((0, 0.0, 0.5), (1, 0.5, 1.0)):
        mine = p == polarity
        assert ((phase[mine] > low - 0.02) & (phase[mine] < high + 0.02)).all()
        assert len(np.unique(np.floor(t[mine] * 1e-6 * hz))) == round(0.2 * hz), "in every period"
    gains = np.array([s.gain for s in seen])
    assert gains.max() == pytest.approx(1.2, abs=0.01) and gains.min() == pytest.approx(0.8, abs=0.01)


def test_a_gray_frame_without_exposure_is_the_rendered_image(watch):
    seen, steps = watch(lively(gray_exposure_us=0), replace(FAST, frame_step_us=20_000))
    frames = {t: image for s in steps for t, image in s.gray}
    assert sorted(frames) == list(range(0, 100_001, 20_000))
    images = {s.t_us: s.image * np.float32(s.gain) for s in seen}
    for t, frame in frames.items():
        np.testing.assert_array_equal(frame, np.rint(np.clip(images[t], 0, 255)))


def test_a_gray_frame_with_exposure_is_the_mean_of_the_rendered_images(watch):
    scene = lively(gray_exposure_us=16_000, flicker=None)
    seen, steps = watch(scene, replace(FAST, frame_step_us=50_000))
    frames = {t: image for s in steps for t, image in s.gray}
    assert sorted(frames) == [0, 50_000, 100_000]
    inside = np.array([(i.t_us, i.image) for i in seen if 42_000 <= i.t_us <= 58_000], dtype=object)
    t = inside[:, 0].astype(float)
    light = np.stack(list(inside[:, 1]))
    mean = np.trapezoid(light, t, axis=0) / (t[-1] - t[0])
    assert np.abs(frames[50_000] - mean).mean() < 1.0
    sharp = next(i.image for i in seen if i.t_us == 50_000)
    assert np.abs(frames[50_000] - sharp).mean() > 2 * np.abs(frames[50_000] - mean).mean(), "it is blurred"


def test_gray_frames_come_in_the_step_that_completes_them(watch):
    _, steps = watch(lively(gray_exposure_us=16_000), replace(FAST, frame_step_us=50_000))
    done = {t: s.t_us for s in steps for t, _ in s.gray}
    assert 8_000 <= done[0] < 10_000 and 58_000 <= done[50_000] < 60_000 and done[100_000] == 100_000


# ---------------------------------------------------------------- several people


def test_who_stands_before_hides_who_stands_behind(watch):
    front, back = (person(standing(2), place=(0, 0, z), albedo=a) for z, a in ((0.5, 0.9), (-0.8, 0.1)))
    dark = Background(np.zeros((96, 96), np.float32))
    both, alone = (watch(stage(p, background=dark))[0][0].image for p in ([back, front], [front]))
    covered = alone > 0
    np.testing.assert_allclose(both[covered], alone[covered], atol=0.01)
    assert ((both > 0) & ~covered).sum() > 20, "and is seen beside the other"


def test_a_lens_and_a_person_out_of_sight_do_no_harm(watch):
    camera = look_at(np.array([0.0, 1.2, 2.5]), np.array([5.0, 1.0, 2.0]), Camera.from_focal(60.0, (48, 48)))
    seen, steps = watch(stage(performer("wave", 0.05, speed=2.0), camera=camera))
    assert len(seen) == 6 and columns(steps).shape[1] == 0
    assert (seen[-1].image == 80.0).all()
