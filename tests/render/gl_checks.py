"""OpenGL as an independent check of the rasteriser and of shading; needs the extra `gl` and libEGL."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, maximum_filter, minimum_filter

from eventhpe.body.choreography import perform
from eventhpe.body.default import open_body, open_body_arrays, region_albedo
from eventhpe.body.posing import BodyPoser
from eventhpe.errors import CalibrationError, MissingExtraError, ShapeError, UnitError
from eventhpe.geometry.camera import Camera
from eventhpe.render.gl import GlFrame, GlRenderer, render_gl
from eventhpe.render.raster import Frame, rasterize
from eventhpe.render.shading import Light, shade, vertex_normals

Array = NDArray[np.float64]
QUAD = np.array([[0, 1, 2], [0, 2, 3]])
LIGHTS = [Light((0.3, -1.0, -1.0), 0.7), Light((-1.0, -0.2, -0.4), 0.5)]
SCENES = ("walk", "squat", "two people")
FACES = open_body_arrays()["f"]


@pytest.fixture(scope="module")
def renderer() -> Iterator[GlRenderer]:
    try:
        made = GlRenderer()
    except MissingExtraError as error:
        pytest.skip(f"SKIPPED LOUDLY, the rasteriser is NOT compared with OpenGL: {error}")
    with made:
        yield made


def quad(x0: float, x1: float, y0: float, y1: float, z: float) -> Array:
    return np.array([[x0, y0, z], [x0, y1, z], [x1, y1, z], [x1, y0, z]], float)


def person(movement: str, seed: int, turn: float) -> Array:
    """(V, 3) a person of random shape in the middle of a movement, camera frame, 2.8 m away."""
    rng = np.random.default_rng(seed)
    poser = BodyPoser(open_body())
    betas, zero = rng.normal(size=10), np.zeros(3)
    clip = perform(
        movement, duration_s=1.0, fps=30, rng=rng, heading_deg=turn,
        rest_joints=poser.joints(betas, np.zeros((24, 3)), zero),
    )  # fmt: skip
    world = poser.vertices(betas, clip.pose[15], zero)
    seen = world.astype(np.float64) * (-1, -1, 1)  # heading 180 looks into the camera
    return np.asarray(seen - (seen.max(0) + seen.min(0)) / 2 + (0.05, 0.1, 2.8))


def scene(name: str) -> tuple[Array, NDArray[np.int32], Array, Camera]:
    """Vertices, faces, (V, 3) albedo and a camera."""
    albedo = region_albedo(open_body_arrays()).astype(np.float64)
    level = Camera.from_focal(330.0, (260, 346))
    if name == "walk":
        return person("walk", 0, 20.0), FACES, albedo, level
    if name == "squat":  # oblong pixels, skew, a principal point off the middle
        K = np.array([[320.0, 9.0, 190.3], [0.0, 345.0, 118.9], [0.0, 0.0, 1.0]])
        return person("squat", 1, -70.0), FACES, albedo, Camera(K=K, size=(260, 346))
    near, far = person("jumping_jack", 2, 180.0), person("walk", 3, 90.0) + np.array([0.3, 0.0, 0.25])
    both = np.concatenate([FACES, FACES + len(near)])
    return np.concatenate([near, far]), both, np.concatenate([albedo, 0.5 * albedo]), level


def iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return float((a & b).sum() / (a | b).sum())


def smooth_inside(frame: Frame, *, jump_m: float = 0.02) -> NDArray[np.bool_]:
    """Pixels away from the silhouette and from the edges of parts that lie before others."""
    depth = np.where(np.isinf(frame.depth), 99.0, frame.depth)
    flat = maximum_filter(depth, 3) - minimum_filter(depth, 3) < jump_m
    inside: NDArray[np.bool_] = binary_erosion(flat & (frame.coverage == 1), iterations=1)
    return inside


def test_samples_lie_at_pixel_centres(renderer: GlRenderer) -> None:
    camera = Camera.from_focal(100.0, (80, 120))
    edges = (np.array([9.6, 30.4, 20.4, 40.6]) - np.repeat(camera.K[:2, 2], 2)) / 100.0 * 2.0
    frame = renderer.render(quad(*edges, 2.0), QUAD, camera)
    expected = np.zeros((80, 120), bool)
    expected[21:41, 10:31] = True
    np.testing.assert_array_equal(frame.mask, expected)
    np.testing.assert_allclose(frame.depth[expected], 2.0, atol=1e-4)
    assert np.isinf(frame.depth[~expected]).all()
    assert (frame.coverage[22:40, 11:30] == 1).all() and (frame.coverage[19, :] == 0).all()


@pytest.mark.parametrize("name", SCENES)
@pytest.mark.parametrize("supersample", [1, 2])
def test_masks_and_depth_of_posed_bodies_agree(renderer: GlRenderer, name: str, supersample: int) -> None:
    v, f, _, camera = scene(name)
    gl = renderer.render(v, f, camera, supersample=supersample)
    own = rasterize(v, f, camera, supersample=supersample)
    assert own.coverage.sum() > 4000
    assert iou(gl.mask, own.coverage > 0) >= 0.998
    both = gl.mask & (own.coverage > 0)
    # edges of near parts may fall to either side, on a handful of pixels
    assert np.percentile(np.abs(gl.depth[both] - own.depth[both]), 99.5) < 2e-4
    inside = smooth_inside(own)
    assert inside.sum() > 2000
    np.testing.assert_allclose(gl.depth[inside], own.depth[inside], atol=2e-4)


def test_the_comparison_sees_a_third_of_a_pixel(
    renderer: GlRenderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the shift OpenGL's depth is sampled beside the pixel's centre, and the agreement is lost."""
    v, f, _, camera = scene("walk")
    backend = GlRenderer._backend
    assert backend is not None
    # the usual place of sample 0 in a pattern of four, left of and below the centre
    np.testing.assert_allclose(np.abs(backend.depth_sample), (0.125, 0.375), atol=2e-3)
    monkeypatch.setattr(GlRenderer, "_backend", replace(backend, depth_sample=(0.0, 0.0)))
    assert 0.9 < iou(renderer.render(v, f, camera).mask, rasterize(v, f, camera).coverage > 0) < 0.99


def coverage_8x8(v: Array, f: NDArray[np.int32], camera: Camera) -> NDArray[np.float32]:
    H, W = camera.size
    K = camera.K.copy()
    K[:2] *= 2
    K[:2, 2] += 0.5
    fine = rasterize(v, f, Camera(K=K, size=(2 * H, 2 * W)), supersample=4).coverage
    return fine.reshape(H, 2, W, 2).mean((1, 3))


@pytest.mark.parametrize("name", SCENES)
def test_coverage_agrees_with_64_samples(renderer: GlRenderer, name: str) -> None:
    v, f, _, camera = scene(name)
    exact = coverage_8x8(v, f, camera)

    def soft_iou(frame: GlFrame) -> float:
        return float(np.minimum(frame.coverage, exact).sum() / np.maximum(frame.coverage, exact).sum())

    assert soft_iou(renderer.render(v, f, camera)) > 0.98  # four samples per pixel, 0.989 at best
    assert soft_iou(renderer.render(v, f, camera, supersample=3)) > 0.995


@pytest.mark.parametrize("name", SCENES)
def test_colors_given_per_vertex_agree(renderer: GlRenderer, name: str) -> None:
    v, f, albedo, camera = scene(name)
    shown = 180.0 * shade(v, f, None, albedo, LIGHTS, 0.3)  # digital numbers: not limited to 1
    gl = renderer.render(v, f, camera, color=shown, supersample=2)
    own = rasterize(v, f, camera, attributes=shown, supersample=4)
    inside = smooth_inside(rasterize(v, f, camera))
    off = np.abs(gl.color - own.attributes)[inside]
    step = shown.max() / 255  # 8 bits
    assert off.mean() < 0.5 * step and np.percentile(off, 99) < 3 * step
    gray = renderer.render(v, f, camera, color=shown[:, 0])
    assert gray.color.shape == (*camera.size, 1)
    assert not gray.color[gray.coverage == 0].any()


@pytest.mark.parametrize("name", SCENES)
def test_light_of_opengl_agrees_with_shading(renderer: GlRenderer, name: str) -> None:
    """OpenGL lights per pixel by normals that it interpolates; `shade` lights per vertex."""
    v, f, albedo, camera = scene(name)
    gray = albedo[:, 1]
    gl = renderer.render(v, f, camera, color=gray, lights=LIGHTS, ambient=0.3).color[..., 0]
    gouraud = rasterize(v, f, camera, attributes=shade(v, f, None, gray, LIGHTS, 0.3), supersample=4)
    own = rasterize(v, f, camera, attributes=np.column_stack([vertex_normals(v, f), gray]))
    normals = (
        own.attributes[..., :3]
        / np.maximum(np.linalg.norm(own.attributes[..., :3], axis=-1), 1e-9)[..., None]
    )
    light = 0.3 + sum(
        lamp.intensity * np.maximum(normals @ (np.array(lamp.direction) / np.linalg.norm(lamp.direction)), 0)
        for lamp in LIGHTS
    )
    inside = smooth_inside(own)
    inside &= maximum_filter(own.attributes[..., 3], 3) - minimum_filter(own.attributes[..., 3], 3) < 0.02
    assert inside.sum() > 1500
    peak = gl[inside].max()
    per_pixel = np.abs(gl - light * own.attributes[..., 3])[inside] / peak * 255
    per_vertex = np.abs(gl - gouraud.attributes[..., 0])[inside] / peak * 255
    assert per_pixel.mean() < 1.0 and np.percentile(per_pixel, 99) < 5
    assert per_vertex.mean() < 1.5 and np.percentile(per_vertex, 99) < 10


def test_lambert_by_hand(renderer: GlRenderer) -> None:
    camera = Camera.from_focal(60.0, (40, 60))
    wall = quad(-3, 3, -3, 3, 2.0)  # seen face on, normal (0, 0, -1)
    lights = [Light((0, 0, -5), (2.0, 1.0, 0.0)), Light((0, -1, -1), 0.5), Light((0, 0, 1), 100.0)]
    tint = np.tile([0.4, 0.2, 0.8], (4, 1))
    seen = renderer.render(wall, QUAD, camera, color=tint, lights=lights[:2], ambient=0.1).color[20, 30]
    expected = np.array([0.4, 0.2, 0.8]) * (0.1 + np.array([2.0, 1.0, 0.0]) + 0.5 * np.sqrt(0.5))
    np.testing.assert_allclose(seen, expected, rtol=0.015, atol=0.003)
    # a lamp behind the wall gives nothing
    dark = renderer.render(wall, QUAD, camera, color=1.0, lights=[Light((0, 0, 1), 1.0)], ambient=0.25)
    np.testing.assert_allclose(dark.color[20, 30], 0.25, atol=0.01)


def test_near_plane_and_culling(renderer: GlRenderer) -> None:
    camera = Camera.from_focal(100.0, (80, 120))
    floor = np.array([[-50, 1, -50], [-50, 1, 50], [50, 1, 50], [50, 1, -50]], float)
    own = rasterize(floor, QUAD, camera)
    gl = renderer.render(floor, QUAD, camera)
    np.testing.assert_array_equal(gl.mask, own.coverage > 0)
    np.testing.assert_allclose(gl.depth[gl.mask], own.depth[gl.mask], rtol=2e-3)
    v = person("walk", 0, 0.0)
    assert (
        iou(
            renderer.render(v, FACES[:, ::-1], camera, cull=True).mask,
            rasterize(v, FACES[:, ::-1], camera, cull=True).coverage > 0,
        )
        > 0.99
    )
    wall = quad(-1, 1, -1, 1, 2.0)
    assert not renderer.render(wall, QUAD[:, ::-1], camera, cull=True).mask.any()
    assert renderer.render(wall, QUAD[:, ::-1], camera).mask[40, 60]


def test_one_context_outlives_each_of_its_users(renderer: GlRenderer) -> None:
    v, f, _, camera = scene("walk")
    expected = renderer.render(v, f, camera)
    other = GlRenderer()
    small = other.render(v, f, Camera.from_focal(100.0, (33, 47)))
    assert small.mask.shape == (33, 47) and small.mask.any()
    other.close()
    other.close()
    with pytest.raises(ValueError, match="closed"):
        other.render(v, f, camera)
    again = renderer.render(v, f, camera)
    np.testing.assert_array_equal(again.depth, expected.depth)
    np.testing.assert_array_equal(render_gl(v, f, camera).depth, expected.depth)
    assert GlRenderer._users == 1


def test_bad_input_is_named(renderer: GlRenderer) -> None:
    camera = Camera.from_focal(60.0, (40, 60))
    wall = quad(-1, 1, -1, 1, 2.0)
    bent = replace(camera, dist=np.array([-0.3, 0.1, 0.0, 0.0, 0.0]))
    with pytest.raises(CalibrationError, match="lens distortion"):
        renderer.render(wall, QUAD, bent)
    with pytest.raises(ShapeError, match="faces point"):
        renderer.render(wall[:3], QUAD, camera)
    with pytest.raises(ShapeError, match="supersample"):
        renderer.render(wall, QUAD, camera, supersample=5)
    with pytest.raises(ShapeError, match="color must be"):
        renderer.render(wall, QUAD, camera, color=np.ones((4, 2)))
    with pytest.raises(UnitError, match="color"):
        renderer.render(wall, QUAD, camera, color=-1.0)
    with pytest.raises(UnitError, match="not finite"):
        renderer.render(np.full_like(wall, np.nan), QUAD, camera)
    with pytest.raises(UnitError, match="ambient"):
        renderer.render(wall, QUAD, camera, lights=[], ambient=-1.0)
    with pytest.raises(ShapeError, match="at most 4"):
        renderer.render(wall, QUAD, camera, lights=[Light((0, 0, -1))] * 5)
    with pytest.raises(ShapeError, match="intensities"):
        renderer.render(wall, QUAD, camera, lights=[Light((0, 0, -1), (1.0, 2.0))])
    nothing = renderer.render(np.zeros((0, 3)), np.zeros((0, 3), int), camera)
    assert not nothing.mask.any() and np.isinf(nothing.depth).all() and nothing.color.shape == (40, 60, 1)


def test_missing_pyrender_is_an_error_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GlRenderer, "_backend", None)
    monkeypatch.setattr(GlRenderer, "_users", 0)
    monkeypatch.setitem(sys.modules, "pyrender", None)
    with pytest.raises(MissingExtraError, match=r"eventhpe\[gl\].*libegl1 libgl1"):
        GlRenderer()
    assert GlRenderer._users == 0


def test_import_touches_nothing_and_a_broken_platform_is_an_error() -> None:
    pytest.importorskip("pyrender", reason="SKIPPED LOUDLY: the extra gl is not installed")
    code = (
        "import os, sys, eventhpe.render.gl as gl\n"
        "from eventhpe.errors import MissingExtraError\n"
        "assert 'pyrender' not in sys.modules and 'PYGLET_HEADLESS' not in os.environ\n"
        "try:\n    gl.GlRenderer()\n"
        "except MissingExtraError as error:\n    print(os.environ['PYOPENGL_PLATFORM'], error)\n"
    )
    clean = {k: v for k, v in os.environ.items() if k not in ("PYOPENGL_PLATFORM", "PYGLET_HEADLESS")}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**clean, "PYOPENGL_PLATFORM": "nonsense"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("nonsense OpenGL off screen")
    assert "libegl1 libgl1" in done.stdout
