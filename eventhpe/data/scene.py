"""Random draws of a synthetic scene: person, clothes, camera, light, background, sensor.

Ranges follow the sim-to-real literature (Stoffregen et al. 2020; Rudnev et al. 2021): everything that a
network must not rely on is drawn anew for every clip.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import cv2
import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import ShapeError
from eventhpe.events.simulate import SensorModel
from eventhpe.geometry.camera import Camera

Range = tuple[float, float]


@dataclass(frozen=True)
class SceneRanges:
    """What is drawn for each clip, as (low, high). Field names appear in error messages and in provenance."""

    sensor_sizes: tuple[tuple[int, int], ...] = ((128, 128), (180, 240), (260, 346))
    """(H, W) of the sensors to choose from."""
    field_of_view_deg: Range = (35.0, 75.0)
    """Horizontal field of view."""
    body_fraction: Range = (0.50, 0.95)
    """Share of the image height that a 1.7 m person fills."""
    camera_height_m: Range = (0.5, 2.0)
    """Height of the camera above the floor."""
    roll_deg: Range = (-6.0, 6.0)
    """Roll of the camera about its axis."""
    facing_share: float = 0.6
    """Share of clips in which the person roughly faces the camera; in the others the heading is uniform."""
    facing_deg: Range = (-70.0, 70.0)
    """Heading relative to the camera in those clips."""
    ambient: Range = (0.25, 0.6)
    """Ambient share of the light."""
    exposure_dn: Range = (100.0, 250.0)
    """Brightness of a white surface facing the light, in digital numbers of 0..255."""
    background_contrast: Range = (0.02, 0.9)
    """Contrast of the background texture, drawn log-uniformly."""
    texture_contrast: Range = (0.03, 0.8)
    """Contrast of the pattern on the clothes, drawn log-uniformly."""
    threshold: Range = (0.10, 0.50)
    """Contrast threshold for ON events (natural log), drawn log-uniformly; OFF = ON x N(1, 0.1)."""
    mismatch_sigma: Range = (0.01, 0.05)
    """Spread of the threshold between pixels."""
    refractory_us: Range = (0.0, 1000.0)
    """Dead time of a pixel after an event."""
    leak_hz: Range = (0.0, 0.2)
    """Rate of leak (ON) events per pixel."""
    shot_hz: Range = (0.01, 1.0)
    """Rate of shot-noise events per pixel, drawn log-uniformly."""
    cutoff_hz: Range = (60.0, 400.0)
    """Photoreceptor bandwidth at full brightness; half of the clips have none."""
    hot_pixel_fraction: Range = (0.0, 0.0005)
    """Share of pixels that fire all the time."""

    def __post_init__(self) -> None:
        for f in fields(self):
            if f.name == "sensor_sizes":
                continue
            value = getattr(self, f.name)
            if (
                isinstance(value, tuple)
                and len(value) == 2
                and all(isinstance(v, int | float) for v in value)
            ):
                if not value[0] <= value[1]:
                    raise ShapeError(
                        f"SceneRanges.{f.name}: the low end must not pass the high end; got {value}."
                    )
                if f.name not in ("roll_deg", "facing_deg") and value[0] < 0:
                    raise ShapeError(f"SceneRanges.{f.name} must not be negative; got {value}.")
        for size in self.sensor_sizes or [()]:
            if not (isinstance(size, tuple) and len(size) == 2 and min(size) >= 1):
                raise ShapeError(
                    f"SceneRanges.sensor_sizes must list (H, W) pairs, both >= 1; got {self.sensor_sizes}."
                )
        if not 0 <= self.facing_share <= 1:
            raise ShapeError(f"SceneRanges.facing_share must lie in [0, 1]; got {self.facing_share}.")
        for name in ("background_contrast", "texture_contrast", "threshold", "shot_hz"):
            if getattr(self, name)[0] <= 0:
                raise ShapeError(
                    f"SceneRanges.{name} is log-uniform and must be positive; got {getattr(self, name)}."
                )


@dataclass(frozen=True)
class Scene:
    """One drawn scene: everything but the motion itself."""

    betas: NDArray[np.float64]
    heading_rad: float
    mirrored: bool
    camera: Camera
    """World (Y up, floor at 0, person near the origin) to camera."""
    albedo: NDArray[np.float32]
    """(V,) reflectance of each vertex."""
    light_dir: NDArray[np.float64]
    """(3,) unit vector towards the light, camera frame."""
    ambient: float
    exposure_dn: float
    background: NDArray[np.float32]
    """(H, W) linear intensity in digital numbers."""
    sensor: SensorModel


def _uniform(rng: np.random.Generator, bounds: Range) -> float:
    return float(rng.uniform(*bounds))


def _log_uniform(rng: np.random.Generator, bounds: Range) -> float:
    return float(np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]))))


def draw_scene(
    rng: np.random.Generator,
    ranges: SceneRanges,
    *,
    rest_vertices: NDArray[np.floating],
    region_weights: NDArray[np.floating],
) -> Scene:
    """Draw one scene.

    Args:
        rng: source of randomness; equal states give equal scenes.
        ranges: what may be drawn.
        rest_vertices: (V, 3) rest pose, which solid textures are painted on.
        region_weights: (V, R) share of each clothing region at each vertex.
    """
    size = ranges.sensor_sizes[int(rng.integers(len(ranges.sensor_sizes)))]
    betas = np.clip(rng.normal(size=10), -2.5, 2.5)
    if rng.random() < ranges.facing_share:
        heading = np.deg2rad(_uniform(rng, ranges.facing_deg))
    else:
        heading = float(rng.uniform(-np.pi, np.pi))
    light = rng.normal(size=3) * [1.0, 0.6, 0.6] + [
        0.0,
        -0.8,
        -0.8,
    ]  # mostly from above and from the camera's side
    exposure = _uniform(rng, ranges.exposure_dn)
    threshold = _log_uniform(rng, ranges.threshold)
    return Scene(
        betas=betas,
        heading_rad=heading,
        mirrored=bool(rng.random() < 0.5),
        camera=draw_camera(rng, ranges, size),
        albedo=draw_clothes(rng, ranges, rest_vertices, region_weights),
        light_dir=light / np.linalg.norm(light),
        ambient=_uniform(rng, ranges.ambient),
        exposure_dn=exposure,
        background=draw_background(rng, ranges, size, exposure),
        sensor=SensorModel(
            threshold_on=threshold,
            threshold_off=float(threshold * np.clip(rng.normal(1.0, 0.1), 0.7, 1.3)),
            mismatch_sigma=min(_uniform(rng, ranges.mismatch_sigma), threshold / 3),
            refractory_us=int(_uniform(rng, ranges.refractory_us)),
            leak_hz=_uniform(rng, ranges.leak_hz),
            shot_hz=_log_uniform(rng, ranges.shot_hz),
            cutoff_hz=_uniform(rng, ranges.cutoff_hz) if rng.random() < 0.5 else 0.0,
            hot_pixel_fraction=_uniform(rng, ranges.hot_pixel_fraction),
        ),
    )


def draw_camera(rng: np.random.Generator, ranges: SceneRanges, size: tuple[int, int]) -> Camera:
    """A camera on the +z side of the person that looks at a point near the person's middle."""
    h, w = size
    focal = 0.5 * w / np.tan(np.deg2rad(_uniform(rng, ranges.field_of_view_deg)) / 2)
    distance = max(1.4, focal * 1.7 / (_uniform(rng, ranges.body_fraction) * h))
    height = _uniform(rng, ranges.camera_height_m)
    eye = np.array([0.0, height, distance])
    target = np.array([rng.normal(0, 0.15), 0.9 + rng.normal(0, 0.1), 0.0])
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    R = np.stack([right, np.cross(forward, right), forward])
    roll = np.deg2rad(_uniform(rng, ranges.roll_deg))
    c, s = np.cos(roll), np.sin(roll)
    R = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]) @ R
    intrinsics = Camera.from_focal(focal, size)
    return Camera(K=intrinsics.K, size=size, R_world_to_cam=R, t_world_to_cam=-R @ eye)


def draw_clothes(
    rng: np.random.Generator,
    ranges: SceneRanges,
    rest_vertices: NDArray[np.floating],
    region_weights: NDArray[np.floating],
) -> NDArray[np.float32]:
    """(V,) reflectance: a random tone for each clothing region times a solid pattern."""
    tones = np.exp(rng.uniform(np.log(0.1), np.log(0.9), size=region_weights.shape[1]))
    base = region_weights @ tones
    pattern = np.zeros(len(rest_vertices))
    for _ in range(int(rng.integers(1, 5))):
        direction = rng.normal(size=3)
        wave = rest_vertices @ (direction / np.linalg.norm(direction)) * rng.uniform(10, 70)
        wave = np.sin(wave + rng.uniform(0, 2 * np.pi))
        pattern += np.sign(wave) if rng.random() < 0.4 else wave
    pattern /= max(1e-6, np.abs(pattern).max())
    contrast = _log_uniform(rng, ranges.texture_contrast)
    return np.clip(base * (1 + contrast * pattern), 0.02, 1.0).astype(np.float32)


def draw_background(
    rng: np.random.Generator, ranges: SceneRanges, size: tuple[int, int], exposure_dn: float
) -> NDArray[np.float32]:
    """(H, W) still background: a tone with a gradient, blurred noise, or a clutter of rectangles."""
    h, w = size
    contrast = _log_uniform(rng, ranges.background_contrast)
    kind = rng.choice(["plain", "noise", "clutter"], p=[0.35, 0.3, 0.35])
    image = np.zeros((h, w), np.float32)
    gradient = rng.normal(size=2)
    ys, xs = np.mgrid[0:h, 0:w].astype(np.float32)
    image += gradient[0] * (xs / w - 0.5) + gradient[1] * (ys / h - 0.5)
    if kind == "noise":
        for scale in (2, 6, 20):
            coarse = rng.normal(size=(h // scale + 2, w // scale + 2)).astype(np.float32)
            image += cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC)
    elif kind == "clutter":
        for _ in range(int(rng.integers(4, 30))):
            y, x = rng.integers(0, h), rng.integers(0, w)
            dy, dx = rng.integers(3, max(4, h // 2)), rng.integers(3, max(4, w // 3))
            image[y : y + dy, x : x + dx] = rng.normal() * 1.5
    image /= max(1e-6, float(np.abs(image).max()))
    tone = np.exp(rng.uniform(np.log(0.1), np.log(0.9)))
    return np.clip(tone * (1 + contrast * image) * exposure_dn, 2.0, 255.0).astype(np.float32)
