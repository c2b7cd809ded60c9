"""benchmark-v1: twenty clips whose motions, bodies, cameras, clothes and sensors never change.

Frozen, so that scores stay comparable over time: the draws below are those of the first generator, value by
value.
Never edit them; a better benchmark is a benchmark-v2.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from eventhpe.body.default import open_body_arrays
from eventhpe.body.motion import move_params
from eventhpe.data.cast import rest_joints
from eventhpe.data.motions import file_checksum, load_clip, place_motion
from eventhpe.data.record_scene import record_scene
from eventhpe.data.scene import Person, Scene
from eventhpe.data.simulation import RenderSettings
from eventhpe.errors import FormatError, MissingAssetError
from eventhpe.events.simulate import SensorModel
from eventhpe.geometry.camera import Camera
from eventhpe.render.background import Background
from eventhpe.render.shading import Light

BENCHMARK_V1_SEED: Final = 20211
BENCHMARK_V1: tuple[tuple[str, str], ...] = (
    ("cmu14_14_jumpjack1", "955928d169bf394f"),
    ("cmu14_14_jog1", "8006f0c8ce044d71"),
    ("cmu14_14_squat1", "d2fe3697b70146d5"),
    ("cmu14_20_kneeraise1", "1dae922ae4d0792b"),
    ("cmu14_14_twist1", "fb29f24b67c7e318"),
    ("cmu14_20_updown1", "c01b4042f0ad9109"),
    ("cmu86_01_walkturn", "58fabe19b295f905"),
    ("cmu86_01_jump", "064b1a84f15093e8"),
    ("cmu86_01_punch1", "7a4206606397b4ce"),
    ("cmu86_01_kick1", "2854230d99b71b9e"),
    ("cmu86_09_walk1", "68bf511936b5bd35"),
    ("cmu86_09_sitdown", "459e895217f7f559"),
    ("cmu86_09_gesture", "fe6617c2507613e6"),
    ("cmu94_dance06_1", "0bde8c8ec2cfab7f"),
    ("cmu94_dance08_2", "20612ff1d97aba42"),
    ("cmu94_dance13_1", "5c55b1a840d2ff42"),
    ("cmu94_dance15_1", "77670167788bce9a"),
    ("cmu60_salsa17_1", "146523325f159730"),
    ("cmu60_salsa20_1", "6321a199198a73b6"),
    ("cmu60_salsa28_1", "16fbe7851d3278d4"),
)
"""(clip, first 16 hex digits of its SHA-256) in order; frozen."""

SIZE: Final = (260, 346)
DURATION_S: Final = 4.0
STEP_US: Final = 10_000
SETTINGS: Final = RenderSettings(max_motion_px=0.75, min_fps=100.0, max_fps=1000.0)


def find_clips(motions: Path) -> list[Path]:
    """The twenty clips in the benchmark's order.

    Raises:
        MissingAssetError: one is not there.
        FormatError: one differs from the clip that the benchmark is made of.
    """
    found = {p.stem: p for p in motions.rglob("*.bvh")}
    clips = []
    for name, checksum in BENCHMARK_V1:
        if name not in found:
            raise MissingAssetError(f"--motions {motions}: clip {name}.bvh of benchmark-v1 is not there.")
        if file_checksum(found[name]) != checksum:
            raise FormatError(
                f"{found[name]}: differs from the clip that benchmark-v1 is made of "
                f"(SHA-256 must begin with {checksum})."
            )
        clips.append(found[name])
    return clips


def record_v1(output: Path, index: int, clip: Path) -> None:
    """Record one clip of the benchmark; `index` is its place in BENCHMARK_V1."""
    rng = np.random.default_rng([BENCHMARK_V1_SEED, index])
    scene = draw_scene_v1(rng, clip)
    record_scene(
        scene,
        output,
        settings=SETTINGS,
        seed=int(rng.integers(2**31)),
        provenance={"generator": "eventhpe simulate", "seed": BENCHMARK_V1_SEED, "index": index},
    )


def draw_scene_v1(rng: np.random.Generator, clip: Path) -> Scene:
    """The scene of one clip; `rng` must be `default_rng([BENCHMARK_V1_SEED, index])` and goes on to the
    sensor's
    seed."""
    arrays = open_body_arrays()
    regions = np.eye(len(arrays["region_names"]))[np.asarray(arrays["region"], int)]
    rng.integers(1)  # the first generator chose among sensor sizes here
    betas = np.clip(rng.normal(size=10), -2.5, 2.5)
    if rng.random() < 0.6:
        heading = float(np.deg2rad(rng.uniform(-70.0, 70.0)))
    else:
        heading = float(rng.uniform(-np.pi, np.pi))
    towards = rng.normal(size=3) * [1.0, 0.6, 0.6] + [0.0, -0.8, -0.8]
    exposure = float(rng.uniform(100.0, 250.0))
    threshold = _log_uniform(rng, 0.10, 0.50)
    mirrored = bool(rng.random() < 0.5)
    camera = _draw_camera(rng)
    albedo = _draw_clothes(rng, np.asarray(arrays["v_template"], np.float64), regions)
    ambient = float(rng.uniform(0.25, 0.6))
    background = _draw_background(rng, exposure)
    sensor = SensorModel(
        threshold_on=threshold,
        threshold_off=float(threshold * np.clip(rng.normal(1.0, 0.1), 0.7, 1.3)),
        mismatch_sigma=min(float(rng.uniform(0.01, 0.05)), threshold / 3),
        refractory_us=int(rng.uniform(0.0, 1000.0)),
        leak_hz=float(rng.uniform(0.0, 0.2)),
        shot_hz=_log_uniform(rng, 0.01, 1.0),
        cutoff_hz=float(rng.uniform(60.0, 400.0)) if rng.random() < 0.5 else 0.0,
        hot_pixel_fraction=float(rng.uniform(0.0, 0.0005)),
    )
    rest = rest_joints(betas)
    rng.uniform()  # the first generator drew a playing speed here and did not use it
    draw = load_clip(clip, rest, betas)
    world = place_motion(
        draw, rng=None, duration_s=DURATION_S, step_s=STEP_US * 1e-6, heading_rad=heading,
        mirrored=mirrored, rest_pelvis=rest[0], speed=1.0,
    )  # fmt: skip
    R, t = camera.R_world_to_cam, camera.t_world_to_cam
    nearest = float(move_params(world, R, t, rest[0], frame="camera").transl[:, 2].min())
    back = np.array([0.0, 0.0, max(0.0, 1.0 - nearest)])
    camera = Camera(K=camera.K, size=SIZE, R_world_to_cam=R, t_world_to_cam=t + back)
    direction = R.T @ (towards / np.linalg.norm(towards))
    return Scene(
        people=(Person(world, draw.source, albedo),),
        step_us=STEP_US,
        camera=camera,
        background=Background(background, 0, ()),
        lights=(Light((direction[0], direction[1], direction[2]), 1.0 - ambient),),
        ambient=ambient,
        exposure_dn=exposure,
        sensor=sensor,
        factors={"preset": "benchmark-v1"},
    )


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _draw_camera(rng: np.random.Generator) -> Camera:
    h, w = SIZE
    focal = 0.5 * w / np.tan(np.deg2rad(float(rng.uniform(35.0, 75.0))) / 2)
    distance = max(1.4, focal * 1.7 / (float(rng.uniform(0.50, 0.95)) * h))
    eye = np.array([0.0, float(rng.uniform(0.5, 2.0)), distance])
    target = np.array([rng.normal(0, 0.15), 0.9 + rng.normal(0, 0.1), 0.0])
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    R = np.stack([right, np.cross(forward, right), forward])
    roll = np.deg2rad(float(rng.uniform(-6.0, 6.0)))
    c, s = np.cos(roll), np.sin(roll)
    R = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]) @ R
    return Camera(K=Camera.from_focal(focal, SIZE).K, size=SIZE, R_world_to_cam=R, t_world_to_cam=-R @ eye)


def _draw_clothes(
    rng: np.random.Generator, rest_vertices: NDArray[np.float64], region_weights: NDArray[np.float64]
) -> NDArray[np.float32]:
    tones = np.exp(rng.uniform(np.log(0.1), np.log(0.9), size=region_weights.shape[1]))
    base = region_weights @ tones
    pattern = np.zeros(len(rest_vertices))
    for _ in range(int(rng.integers(1, 5))):
        direction = rng.normal(size=3)
        wave = rest_vertices @ (direction / np.linalg.norm(direction)) * rng.uniform(10, 70)
        wave = np.sin(wave + rng.uniform(0, 2 * np.pi))
        pattern += np.sign(wave) if rng.random() < 0.4 else wave
    pattern /= max(1e-6, np.abs(pattern).max())
    contrast = _log_uniform(rng, 0.03, 0.8)
    return np.clip(base * (1 + contrast * pattern), 0.02, 1.0).astype(np.float32)


def _draw_background(rng: np.random.Generator, exposure_dn: float) -> NDArray[np.float32]:
    h, w = SIZE
    contrast = _log_uniform(rng, 0.02, 0.9)
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
