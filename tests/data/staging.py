"""Scenes put up by hand, and geometry that owes nothing to the renderer, for the tests of the generator."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventhpe.body.default import open_body_arrays
from eventhpe.body.params import BodyParams
from eventhpe.body.posing import BodyPoser
from eventhpe.data.cast import rest_joints
from eventhpe.data.motions import draw_movement, place_motion
from eventhpe.data.record_scene import record_scene
from eventhpe.data.scene import Person, Scene
from eventhpe.data.scene_draws import look_at
from eventhpe.data.simulation import RenderSettings
from eventhpe.events.simulate import SensorModel
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.rotation import rotmat_to_rotvec, rotvec_to_rotmat
from eventhpe.geometry.skeleton import SMPL_SKELETON
from eventhpe.render.background import Background
from eventhpe.render.shading import Light

STEP_US = 10_000
SIZE = (96, 96)
QUIET = SensorModel(threshold_on=0.15, threshold_off=0.15, mismatch_sigma=0.0)
"""A sensor without noise."""
FAST = RenderSettings(supersample=1)

Array = NDArray[np.float64]


def joint(name: str) -> int:
    """Index of a body joint."""
    return SMPL_SKELETON.index(name)


def camera_at(
    eye: ArrayLike = (0.0, 1.1, 2.8),
    target: ArrayLike = (0.0, 0.9, 0.0),
    *,
    size: tuple[int, int] = SIZE,
    focal: float | None = None,
    dist: ArrayLike | None = None,
) -> Camera:
    """A camera that sees a standing person from head to foot."""
    lens = Camera.from_focal(1.2 * size[0] if focal is None else focal, size)
    camera = look_at(np.asarray(eye, float), np.asarray(target, float), lens)
    if dist is None:
        return camera
    return Camera(camera.K, size, np.asarray(dist, float), camera.R_world_to_cam, camera.t_world_to_cam)


def standing(num_labels: int) -> Array:
    """(K, 24, 3) poses of somebody who stands with hanging arms."""
    pose = np.zeros((num_labels, 24, 3))
    pose[:, joint("shoulder_left"), 2], pose[:, joint("shoulder_right"), 2] = -1.2, 1.2
    return pose


def person(
    pose: Array,
    *,
    place: ArrayLike = (0.0, 0.0, 0.0),
    heading_deg: float = 0.0,
    albedo: float = 0.6,
    betas: ArrayLike | None = None,
    offsets: NDArray[np.float32] | None = None,
) -> Person:
    """A person with (K, 24, 3) poses whose soles are on the floor in the rest pose.

    `place` is (3,) or (K, 3) metres.
    """
    K = len(pose)
    shape = np.zeros(10) if betas is None else np.asarray(betas, float)
    rest = rest_joints(shape)
    lowest = BodyPoser(open_body_arrays()).vertices(shape, np.zeros((24, 3)), np.zeros(3))[:, 1].min()
    turn = rotvec_to_rotmat(np.array([0.0, np.deg2rad(heading_deg), 0.0]))
    root = turn @ rotvec_to_rotmat(pose[:, 0])

    lift = np.array([-rest[0, 0], -float(lowest), -rest[0, 2]])
    motion = BodyParams(
        betas=np.broadcast_to(shape, (K, 10)),
        global_orient=rotmat_to_rotvec(root),
        body_pose=pose[:, 1:],
        transl=np.broadcast_to(np.asarray(place, float) + lift, (K, 3)),
        frame="world",
    )
    tone = np.full(len(open_body_arrays()["v_template"]), albedo, np.float32)
    return Person(motion, "test", tone, offsets)


@lru_cache(maxsize=16)
def performer(
    movement: str,
    duration_s: float,
    *,
    speed: float = 1.0,
    heading_deg: float = 0.0,
    place: tuple[float, float, float] = (0.0, 0.0, 0.0),
    seed: int = 0,
) -> Person:
    """A person of random shape who performs a procedural movement, `speed` times as fast as drawn."""
    rng = np.random.default_rng(seed)
    betas = np.clip(rng.normal(size=10), -2, 2)
    rest = rest_joints(betas)
    draw = draw_movement(rng, duration_s * speed + 1.0, rest, betas, name=movement, amplitude=1.0, tempo=1.0)
    motion = place_motion(
        draw, rng=rng, duration_s=duration_s, step_s=STEP_US * 1e-6, rest_pelvis=rest[0], speed=speed,
        heading_rad=float(np.deg2rad(heading_deg)), mirrored=False,
    )  # fmt: skip
    motion = BodyParams(
        motion.betas, motion.global_orient, motion.body_pose, motion.transl + np.array(place), frame="world"
    )
    V = len(open_body_arrays()["v_template"])
    tones = rng.uniform(0.2, 0.9, V).astype(np.float32)
    return Person(motion, draw.source, tones)


def stage(people: Sequence[Person] | Person, *, camera: Camera | None = None, **more: Any) -> Scene:
    """A scene with an even background, one lamp and a sensor without noise; `more` changes that."""
    seen = camera_at() if camera is None else camera
    everybody = (people,) if isinstance(people, Person) else tuple(people)
    options: dict[str, Any] = {
        "step_us": STEP_US,
        "background": Background(np.full(seen.size, 80.0, np.float32)),
        "lights": (Light((0.3, 0.8, 1.0), 0.6),),
        "ambient": 0.4,
        "exposure_dn": 200.0,
        "sensor": QUIET,
    }
    return Scene(people=everybody, camera=seen, **(options | more))


def shaking(num_labels: int, *, size_rad: float = 0.01, hz: float = 6.0) -> Array:
    """(K, 3) rotation vectors of a camera that turns about all axes."""
    t = np.arange(num_labels)[:, None] * STEP_US * 1e-6
    return size_rad * np.sin(2 * np.pi * hz * t * [1.0, 1.3, 0.7] + [0.0, 1.0, 2.0])


def record(scene: Scene, path: Path, *, settings: RenderSettings = FAST, seed: int = 1, **more: Any) -> Path:
    """Record a scene; `more` as in `record_scene`."""
    record_scene(scene, path, settings=settings, seed=seed, provenance={}, **more)
    return path


def first_hits(
    vertices: NDArray[np.floating], faces: NDArray[np.int32], camera: Camera, pixels: Array
) -> tuple[NDArray[np.int64], Array]:
    """The face that the ray through each pixel (N, 2) meets first (-1 = none), and barycentric shares (N, 3).

    Moeller-Trumbore for every pixel and face; faces may show their inside.
    """
    uv = camera.undistort(pixels)
    rays = np.concatenate([uv, np.ones((len(uv), 1))], 1) @ np.linalg.inv(camera.K).T
    a, b, c = (vertices[faces[:, i]].astype(np.float64) for i in range(3))
    face, shares = np.full(len(rays), -1), np.zeros((len(rays), 3))
    for n, ray in enumerate(rays):
        h = np.cross(ray, c - a)
        det = np.einsum("fi,fi->f", b - a, h)
        with np.errstate(divide="ignore", invalid="ignore"):
            u = np.einsum("fi,fi->f", -a, h) / det
            q = np.cross(-a, b - a)
            v = q @ ray / det
            z = np.einsum("fi,fi->f", c - a, q) / det
        z = np.where((u >= 0) & (v >= 0) & (u + v <= 1) & (z > 0), z, np.inf)
        if np.isfinite(z).any():
            face[n] = int(z.argmin())
            shares[n] = 1 - u[face[n]] - v[face[n]], u[face[n]], v[face[n]]
    return face, shares
