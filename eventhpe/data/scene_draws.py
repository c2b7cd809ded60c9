"""Random draws of a scene: people, clothes, camera, light, background, sensor."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.data.backdrops import draw_backdrop
from eventhpe.data.dhp19_cameras import dhp19_camera
from eventhpe.data.scene import Flicker
from eventhpe.data.scene_ranges import MAINS_HZ, Range, SceneRanges
from eventhpe.events.simulate import SensorModel
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.rotation import rotvec_to_rotmat
from eventhpe.render.background import Background
from eventhpe.render.shading import Light

PERSON_M = 1.7
"""Height of a usual person."""

MAX_SHAKE_PX = 6.0
"""A hand that holds a camera does not wander farther than this many standard deviations of it at most."""


def uniform(rng: np.random.Generator, bounds: Range) -> float:
    """A number in [low, high)."""
    return float(rng.uniform(*bounds))


def log_uniform(rng: np.random.Generator, bounds: Range) -> float:
    """A number whose logarithm is uniform; 0 for bounds of 0."""
    if bounds[1] == 0:
        return 0.0
    return float(np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]))))


def whole(rng: np.random.Generator, bounds: tuple[int, int]) -> int:
    """A whole number, both ends included."""
    return int(rng.integers(bounds[0], bounds[1] + 1))


def draw_betas(rng: np.random.Generator) -> NDArray[np.float64]:
    """(10,) shape coefficients: N(0, 1), cut at 2.5."""
    return np.asarray(np.clip(rng.normal(size=10), -2.5, 2.5))


def draw_heading(rng: np.random.Generator, ranges: SceneRanges) -> float:
    """Heading in radians; 0 faces the camera."""
    if rng.random() < ranges.facing_share:
        return float(np.deg2rad(uniform(rng, ranges.facing_deg)))
    return float(rng.uniform(-np.pi, np.pi))


def draw_places(rng: np.random.Generator, ranges: SceneRanges, count: int) -> NDArray[np.float64]:
    """(count, 3) metres where people stand: in a loose row around the origin, some in front of others."""
    gaps = rng.uniform(*ranges.spacing_m, size=count)
    x = np.cumsum(gaps) - gaps[0]
    z = rng.normal(0, 0.5, size=count) if count > 1 else np.zeros(1)
    places = np.stack([x - x.mean(), np.zeros(count), z - z.mean()], -1)
    return np.asarray(places[rng.permutation(count)])


def draw_camera(
    rng: np.random.Generator, ranges: SceneRanges, *, width_m: float = 0.0
) -> tuple[Camera, dict[str, Any]]:
    """A camera on the +z side that looks at a point near the people's middle.

    Args:
        width_m: how far apart the outermost people stand.
    Returns:
        The camera, and what was drawn.
    """
    if ranges.dhp19_camera_share > 0 and rng.random() < ranges.dhp19_camera_share:
        channel = int(rng.integers(4))
        return dhp19_camera(channel), {"camera": f"dhp19 channel {channel}"}
    size = ranges.sensor_sizes[int(rng.integers(len(ranges.sensor_sizes)))]
    h, w = size
    fov = uniform(rng, ranges.field_of_view_deg)
    focal = 0.5 * w / np.tan(np.deg2rad(fov) / 2)
    fraction = uniform(rng, ranges.body_fraction)
    distance = max(focal * PERSON_M / (fraction * h), focal * 1.2 * width_m / w)
    distance = float(np.clip(distance, *ranges.distance_m))
    eye = np.array([0.0, uniform(rng, ranges.camera_height_m), distance])
    target = np.array([rng.normal(0, 0.15), 0.9 + rng.normal(0, 0.1), 0.0])
    roll = uniform(rng, ranges.roll_deg)
    k1 = uniform(rng, ranges.distortion_k1) if rng.random() < ranges.distorted_share else 0.0
    camera = look_at(eye, target, Camera.from_focal(focal, size), roll_deg=roll)
    # With k2 > 0.45 k1^2 a barrel lens never folds back, however wide the field of view.
    dist = np.array([k1, -0.5 * k1 * abs(k1), 0.0, 0.0, 0.0])
    facts = {
        "camera": "drawn", "field_of_view_deg": fov, "distance_m": distance, "camera_height_m": float(eye[1]),
        "roll_deg": roll, "distortion_k1": k1,
    }  # fmt: skip
    return replace(camera, dist=dist), facts


def look_at(
    eye: NDArray[np.float64], target: NDArray[np.float64], intrinsics: Camera, *, roll_deg: float = 0.0
) -> Camera:
    """Place a camera at `eye`, looking at `target` (both (3,) world metres, Y up), rolled clockwise."""
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    R = np.stack([right, np.cross(forward, right), forward])
    c, s = np.cos(np.deg2rad(roll_deg)), np.sin(np.deg2rad(roll_deg))
    R = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]) @ R
    return replace(intrinsics, R_world_to_cam=R, t_world_to_cam=-R @ eye)


def draw_shake(
    rng: np.random.Generator, ranges: SceneRanges, camera: Camera, num_labels: int, step_us: int
) -> tuple[NDArray[np.float64] | None, float]:
    """(K, 3) rotation vectors of a hand that holds the camera (tremor, slow drift) and their size in pixels.

    None and 0 for a camera at rest.
    """
    if rng.random() >= ranges.shake_share:
        return None, 0.0
    px = uniform(rng, ranges.shake_px) * camera.size[1] / 346
    t = np.arange(num_labels) * step_us * 1e-6
    turn = np.zeros((num_labels, 3))
    for axis, weight in enumerate((1.0, 1.0, 0.4)):
        for low, high, share in ((0.2, 1.0, 0.8), (1.0, 4.0, 0.5), (5.0, 11.0, 0.12)):
            hz, phase = rng.uniform(low, high), rng.uniform(0, 2 * np.pi)
            turn[:, axis] += weight * share * rng.normal() * np.sin(2 * np.pi * hz * t + phase)
    turn = np.clip(turn, -MAX_SHAKE_PX, MAX_SHAKE_PX)
    return turn * px / float(camera.K[0, 0]), px


def draw_lights(rng: np.random.Generator, ranges: SceneRanges) -> tuple[tuple[Light, ...], float]:
    """Lamps, mostly above and on the camera's side, and the ambient light; together about 1."""
    count, ambient = whole(rng, ranges.lights), uniform(rng, ranges.ambient)
    shares = rng.uniform(0.4, 1.0, size=count)
    shares *= (1 - ambient) / shares.sum()
    lights = []
    for share in shares:
        x, y, z = rng.normal(size=3) * [1.0, 0.6, 0.6] + [0.0, 0.8, 0.8]
        lights.append(Light((float(x), float(y), float(z)), float(share)))
    return tuple(lights), ambient


def draw_flicker(rng: np.random.Generator, ranges: SceneRanges) -> Flicker | None:
    """Flickering lamps, or None."""
    if rng.random() >= ranges.flicker_share:
        return None
    hz = float(rng.choice(MAINS_HZ))
    return Flicker(hz, log_uniform(rng, ranges.flicker_depth), float(rng.uniform(0, 2 * np.pi)))


def draw_background(
    rng: np.random.Generator,
    ranges: SceneRanges,
    camera: Camera,
    *,
    exposure_dn: float,
    shake: NDArray[np.float64] | None,
    duration_us: int,
) -> tuple[Background, dict[str, Any]]:
    """A background for this camera, with a margin as wide as the camera wanders."""
    empty = rng.random() < ranges.empty_share
    contrast = 0.0 if empty else log_uniform(rng, ranges.background_contrast)
    moving = rng.random() < ranges.distractor_share
    sprites = whole(rng, ranges.distractors) if moving else 0
    margin = 0 if shake is None else _wander_px(camera, shake)
    background = draw_backdrop(
        rng, camera.size, margin=margin, exposure_dn=exposure_dn, contrast=contrast, num_sprites=sprites,
        duration_us=duration_us,
    )  # fmt: skip
    return background, {"background_contrast": contrast, "distractors": sprites}


def _wander_px(camera: Camera, shake: NDArray[np.float64]) -> int:
    """How far beyond the image at rest a camera sees that turns by (K, 3) rotation vectors, in pixels."""
    H, W = camera.size
    corners = np.array([[u, v, 1.0] for u in (0, W - 1) for v in (0, H - 1)])
    rays = corners @ np.linalg.inv(camera.K).T
    seen = np.einsum("kji,nj->kni", rotvec_to_rotmat(shake), rays) @ camera.K.T
    uv = seen[..., :2] / seen[..., 2:]
    beyond = max(float((-uv).max()), float((uv - [W - 1, H - 1]).max()))
    return 2 + int(max(beyond, 0.0))


def draw_sensor(rng: np.random.Generator, ranges: SceneRanges, height_px: int) -> SensorModel:
    """An event camera with images of this height."""
    on = log_uniform(rng, ranges.threshold)
    return SensorModel(
        threshold_on=on,
        threshold_off=on * uniform(rng, ranges.threshold_ratio),
        mismatch_sigma=min(uniform(rng, ranges.mismatch_sigma), on / 3),
        refractory_us=int(uniform(rng, ranges.refractory_us)),
        leak_hz=uniform(rng, ranges.leak_hz),
        shot_hz=log_uniform(rng, ranges.shot_hz),
        noise_spread=uniform(rng, ranges.noise_spread),
        noise_patch_px=uniform(rng, ranges.noise_patch_share) * height_px,
        cutoff_hz=log_uniform(rng, ranges.cutoff_hz) if rng.random() < ranges.cutoff_share else 0.0,
        hot_pixel_fraction=uniform(rng, ranges.hot_pixel_fraction),
        hot_pixel_hz=log_uniform(rng, ranges.hot_pixel_hz),
        hot_on_share=0.5,
        timestamp_step_us=(int(uniform(rng, ranges.bunch_us)) if rng.random() < ranges.bunched_share else 0),
        readout_mev_per_s=(
            uniform(rng, ranges.readout_mev_per_s) if rng.random() < ranges.readout_share else 0.0
        ),
    )


def sensor_facts(sensor: SensorModel) -> dict[str, Any]:
    """The sensor's properties for provenance."""
    return asdict(sensor)
