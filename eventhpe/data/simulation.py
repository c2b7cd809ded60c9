"""From a scene to its events and gray frames: pose, render, emulate, as often as the motion asks for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from eventhpe.body.kernels_interpolate import slerp_pose
from eventhpe.data.cast import Cast, Instant
from eventhpe.data.gray_camera import GrayCamera
from eventhpe.data.scene import Scene
from eventhpe.events.simulate import EventSimulator
from eventhpe.events.types import Events
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.rotation import rotvec_to_rotmat
from eventhpe.geometry.skeleton import SMPL_SKELETON
from eventhpe.render.background import BackgroundPainter, Sprite, cast_contact_shadow
from eventhpe.render.boxes import EMPTY, Box, union_boxes
from eventhpe.render.kernels_motion import largest_shift
from eventhpe.render.raster import NEAR_M
from eventhpe.render.scene_renderer import Lighting, SceneRenderer, Surface

FLICKER_SAMPLES = 12
"""Images per period of a flickering lamp; linear interpolation between them errs by 3 % of its depth."""

_PATH_SLACK = 1.15
"""Between two labels a point moves on an arc, longer than the chord that is measured, and not evenly."""

SHADOW_RADIUS_M = 0.16
"""Size of the soft shadow under a foot."""

_CONTACTS = tuple(SMPL_SKELETON.index(j) for j in ("ankle_left", "foot_left", "ankle_right", "foot_right"))


@dataclass(frozen=True)
class RenderSettings:
    """How often and how finely the scene is rendered.

    Attributes:
        max_motion_px: no visible surface, sprite or background point moves farther between two images.
        min_fps, max_fps: limits of the render rate; the upper one wins over `max_motion_px`.
        supersample: samples per pixel side.
        frame_step_us: spacing of gray frames.
    """

    max_motion_px: float = 0.5
    min_fps: float = 100.0
    max_fps: float = 8000.0
    supersample: int = 2
    frame_step_us: int = 50_000


@dataclass(frozen=True)
class Step:
    """What happened until one render time.

    Attributes:
        t_us: the render time.
        events: of the interval that ends there.
        gray: gray frames completed in it, (time, (H, W) uint8).
    """

    t_us: int
    events: Events
    gray: tuple[tuple[int, NDArray[np.uint8]], ...]


def render_times(motion_px: float, step_us: int, settings: RenderSettings, flicker_hz: float = 0.0) -> int:
    """Images per label step such that nothing moves more than allowed.

    Args:
        motion_px: fastest motion of the step, pixels.
        flicker_hz: of the lamps; they need samples too.
    """
    step_s = step_us * 1e-6
    least = max(1.0, np.ceil(step_s * settings.min_fps), np.ceil(step_s * flicker_hz * FLICKER_SAMPLES))
    most = max(1.0, np.floor(step_s * settings.max_fps))
    return int(min(max(np.ceil(_PATH_SLACK * motion_px / settings.max_motion_px), least), most, step_us))


def simulate(scene: Scene, cast: Cast, settings: RenderSettings, *, seed: int) -> Iterator[Step]:
    """Run a scene through its camera.

    Args:
        scene: what is seen.
        cast: `Cast.of_scene(scene)`.
        settings: render rate and quality.
        seed: of the sensor's mismatch and noise.
    Yields:
        One Step per image, in time order; memory does not grow with the length.
    """
    stage = Stage(scene, cast, settings)
    simulator = EventSimulator(scene.camera.size, scene.sensor, seed=seed)
    camera = GrayCamera(scene, settings.frame_step_us)
    for t_us, image, box in stage.images():
        gain = 1.0 if scene.flicker is None else scene.flicker.gain(t_us)
        events = simulator.feed(image, t_us, box=box, gain=gain)
        yield Step(t_us, events, camera.expose(image, t_us, gain))
    yield Step(scene.duration_us, simulator.flush(), ())


class Stage:
    """Draws the images of a scene, one after the other into the same memory."""

    def __init__(self, scene: Scene, cast: Cast, settings: RenderSettings) -> None:
        self._scene, self._cast, self._settings = scene, cast, settings
        self._renderer = SceneRenderer(scene.camera, supersample=settings.supersample)
        self._painter = BackgroundPainter(scene.background, scene.camera)
        self._behind = np.zeros(scene.camera.size, np.float32)
        self._image = np.zeros(scene.camera.size, np.float32)
        self._shadowed = EMPTY
        self._shake = None if scene.shake is None else np.ascontiguousarray(scene.shake[:, None])
        self._R_rest, self._t_rest = scene.camera.R_world_to_cam, scene.camera.t_world_to_cam

    def images(self) -> Iterator[tuple[int, NDArray[np.float32], Box]]:
        """Render time, image and where it differs from the one before."""
        scene, hz = self._scene, 0.0 if self._scene.flicker is None else self._scene.flicker.hz
        now = self._cast.at_label(0)
        for k in range(scene.num_labels - 1):
            after = self._cast.at_label(k + 1)
            n = render_times(self._motion_px(k, now, after), scene.step_us, self._settings, hz)
            times = k * scene.step_us + np.arange(n) * scene.step_us // n
            between = self._cast.at(times[1:]) if n > 1 else []
            for t_us, instant in zip(times, [now, *between], strict=True):
                yield int(t_us), self._image, self._draw(int(t_us), instant)
            now = after
        yield scene.duration_us, self._image, self._draw(scene.duration_us, now)

    def _motion_px(self, k: int, now: Instant, after: Instant) -> float:
        motion = max(
            largest_motion_px(a, b, self._scene.camera)
            for a, b in zip(now.vertices, after.vertices, strict=True)
        )
        t0, step = k * self._scene.step_us, self._scene.step_us
        sprites = [sprite_motion_px(sprite, t0, t0 + step) for sprite in self._scene.background.sprites]
        behind = max(sprites, default=0.0)
        if self._scene.shake is not None:  # sprites move over a picture that moves itself
            turn = float(np.linalg.norm(self._scene.shake[k + 1] - self._scene.shake[k]))
            behind += turn * self._reach_px()
        return max(motion, behind)

    def _reach_px(self) -> float:
        """Pixels that a rotation of one radian moves a point in the image's corner, at most."""
        (H, W), K = self._scene.camera.size, self._scene.camera.K
        x = max(K[0, 2], W - 1 - K[0, 2]) / K[0, 0]
        y = max(K[1, 2], H - 1 - K[1, 2]) / K[1, 1]
        return float(max(K[0, 0], K[1, 1]) * (1 + x * x + y * y))

    def _draw(self, t_us: int, instant: Instant) -> Box:
        scene = self._scene
        turn = self._shake_at(t_us)
        R = self._R_rest if turn is None else turn @ self._R_rest
        t = self._t_rest if turn is None else turn @ self._t_rest
        changed = self._painter.paint(t_us, turn, self._behind, also=self._shadowed)
        if scene.shadow > 0:
            joints = np.concatenate([j[list(_CONTACTS)] for j in instant.joints])
            shadow = cast_contact_shadow(
                self._behind, scene.camera, R, t, (joints - t) @ R, scene.shadow, SHADOW_RADIUS_M
            )
            self._shadowed = shadow
            changed = None if changed is None else union_boxes(changed, shadow)
        lights = tuple(replace(light, direction=_turned(R, light.direction)) for light in scene.lights)
        surfaces = [
            Surface(vertices, self._cast.faces, person.albedo, self._cast.template)
            for vertices, person in zip(instant.vertices, scene.people, strict=True)
        ]
        lighting = Lighting(lights, scene.ambient, scene.exposure_dn)
        return self._renderer.draw(surfaces, lighting, self._behind, self._image, background_box=changed)

    def _shake_at(self, t_us: int) -> NDArray[np.float64] | None:
        if self._shake is None:
            return None
        k = min(t_us // self._scene.step_us, self._scene.num_labels - 2)
        share = (t_us - k * self._scene.step_us) / self._scene.step_us
        return np.asarray(rotvec_to_rotmat(slerp_pose(self._shake[k], self._shake[k + 1], share)[0]))


def largest_motion_px(before: NDArray[np.float32], after: NDArray[np.float32], camera: Camera) -> float:
    """Largest motion in the image of any of (V, 3) vertices that are in the image at one end at least."""
    return largest_shift(
        before, after, camera.K, camera.dist, bool(camera.dist.any()), *camera.size, NEAR_M
    )  # fmt: skip


def sprite_motion_px(sprite: Sprite, t0_us: int, t1_us: int) -> float:
    """Motion of a sprite from t0 to t1 if it kept the highest speed that it has in between, pixels."""
    inside = sprite.t_us[(sprite.t_us > t0_us) & (sprite.t_us < t1_us)]
    times = np.array([t0_us, *inside, t1_us])
    places = np.array([sprite.centre(int(t)) for t in times])
    speeds = np.linalg.norm(np.diff(places, axis=0), axis=-1) / np.diff(times)
    return float(speeds.max()) * (t1_us - t0_us)


def _turned(R: NDArray[np.float64], direction: tuple[float, float, float]) -> tuple[float, float, float]:
    x, y, z = R @ np.asarray(direction)
    return float(x), float(y), float(z)
