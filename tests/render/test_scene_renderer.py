"""The fast renderer against the exact rasteriser, and against itself from scratch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from eventhpe.body.default import open_body_arrays
from eventhpe.body.posing import BodyPoser
from eventhpe.body.solid_texture import SolidTexture
from eventhpe.errors import ShapeError, UnitError
from eventhpe.geometry.camera import Camera
from eventhpe.render.boxes import EMPTY
from eventhpe.render.raster import rasterize
from eventhpe.render.scene_renderer import Lighting, SceneRenderer, Surface
from eventhpe.render.shading import Light, shade

F32 = NDArray[np.float32]

SIZE = (130, 173)
CAMERA = Camera.from_focal(170.0, SIZE)
SKEWED = Camera(K=np.array([[180.0, 3.0, 80.2], [0, 160.0, 70.7], [0, 0, 1]]), size=SIZE)
BENT = replace(CAMERA, dist=np.array([-0.35, 0.12, 0.002, -0.003, 0.01]))
FISH = replace(CAMERA, K=Camera.from_focal(110.0, SIZE).K, dist=np.array([-0.4, 0.0, 0.0, 0.0, 0.0]))
"""Folds back at a radius of 0.91, inside the image's corners."""
LIGHTING = Lighting(
    (Light((0.3, -0.6, -0.5), 0.6), Light((-4.0, -2.0, 1.0), 0.3), Light((0.0, 1.0, -1.0), 0.2)), 0.25, 140.0
)


@pytest.fixture(scope="module")
def body() -> BodyPoser:
    return BodyPoser(open_body_arrays())


@pytest.fixture(scope="module")
def template() -> F32:
    return np.asarray(open_body_arrays()["v_template"], np.float32)


def posed(body: BodyPoser, seed: int, place: tuple[float, float, float] = (0.0, 0.1, 2.6)) -> F32:
    """Somebody in a random pose, upright in the camera frame."""
    rng = np.random.default_rng(seed)
    pose = rng.normal(scale=0.35, size=(24, 3))
    heading = rng.uniform(-np.pi, np.pi)
    pose[0] = np.pi * np.array([np.cos(heading / 2), 0.0, np.sin(heading / 2)])
    return body.vertices(rng.normal(size=10).clip(-2, 2), pose, place)


def reflectances(body: BodyPoser, seed: int) -> F32:
    return np.random.default_rng(seed).uniform(0.05, 0.95, body.num_vertices).astype(np.float32)


def backdrop(seed: int = 0, size: tuple[int, int] = SIZE) -> F32:
    return np.random.default_rng(seed).uniform(-20, 280, size).astype(np.float32)


def fresh(surfaces: list[Surface], background: F32, camera: Camera = CAMERA, supersample: int = 2) -> F32:
    out = np.full(camera.size, np.nan, np.float32)
    box = SceneRenderer(camera, supersample=supersample).draw(
        surfaces, LIGHTING, background, out, background_box=EMPTY
    )
    assert box == (0, camera.size[0], 0, camera.size[1])
    return out


def exact(surfaces: list[Surface], background: F32, camera: Camera = CAMERA, supersample: int = 2) -> F32:
    """Shade and rasterise in double precision, blend, clip."""
    values = [shade(s.vertices, s.faces, None, s.albedo, LIGHTING.lights, LIGHTING.ambient) for s in surfaces]
    offsets = np.cumsum([0, *(len(s.vertices) for s in surfaces)])
    frame = rasterize(
        np.concatenate([s.vertices for s in surfaces]),
        np.concatenate([s.faces + o for s, o in zip(surfaces, offsets, strict=False)]),
        camera,
        attributes=np.concatenate(values) * np.float32(LIGHTING.exposure_dn),
        supersample=supersample,
        cull=True,
    )
    cover = frame.coverage
    return np.clip(cover * frame.attributes[..., 0] + (1 - cover) * background, 0, 255)


def assert_same_image(fast: F32, slow: F32, flips: int = 0) -> None:
    """Equal up to affine interpolation (0.6 DN in a close-up of `reflectances`); `flips`
    samples on an edge may have fallen on the other side."""
    error = np.abs(fast - slow)
    assert error.mean() < 0.01
    assert np.sort(error, axis=None)[-1 - flips] < 0.6


@pytest.mark.parametrize("supersample", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", [1, 2])
def test_equals_the_exact_rasteriser(body: BodyPoser, seed: int, supersample: int) -> None:
    surface = Surface(posed(body, seed), body.faces, reflectances(body, seed))
    slow = exact([surface], backdrop(), supersample=supersample)
    assert (np.abs(slow - np.clip(backdrop(), 0, 255)) > 1).mean() > 0.05  # somebody is there
    assert_same_image(fresh([surface], backdrop(), supersample=supersample), slow, flips=1)


@pytest.mark.parametrize("camera", [SKEWED, BENT, FISH], ids=["skewed", "bent", "fish"])
@pytest.mark.parametrize("place", [(0.0, 0.0, 2.2), (0.8, 0.3, 1.9), (-0.5, -0.3, 1.4)])
def test_equals_the_exact_rasteriser_with_other_lenses(
    body: BodyPoser, camera: Camera, place: tuple[float, float, float]
) -> None:
    surface = Surface(posed(body, 3, place), body.faces, reflectances(body, 3))
    slow = exact([surface], backdrop(), camera)
    assert (np.abs(slow - np.clip(backdrop(), 0, 255)) > 1).mean() > 0.03
    assert_same_image(fresh([surface], backdrop(), camera), slow, flips=2)


@pytest.mark.parametrize("place", [(0.0, 0.0, 0.25), (0.2, 0.4, 0.3), (-0.1, -0.4, 0.2)])
def test_triangles_are_cut_before_the_camera(body: BodyPoser, place: tuple[float, float, float]) -> None:
    surface = Surface(posed(body, 4, place), body.faces, reflectances(body, 4))
    z = surface.vertices[:, 2]
    assert z.min() < 0.05 < z.max()
    # Seen from inside and very near, where affine and perspective interpolation differ most.
    fast, slow = fresh([surface], backdrop()), exact([surface], backdrop())
    error = np.abs(fast - slow)
    assert (np.abs(slow - np.clip(backdrop(), 0, 255)) > 1).mean() > 0.05
    assert error.mean() < 1 and (error > 5).mean() < 1e-3


def test_two_bodies_hide_each_other(body: BodyPoser) -> None:
    pair = [
        Surface(posed(body, 5, (0.0, 0.1, 2.5)), body.faces, reflectances(body, 5)),
        Surface(posed(body, 6, (0.15, 0.1, 2.6)), body.faces, reflectances(body, 6)),
    ]
    slow = exact(pair, backdrop())
    alone = [fresh([s], np.zeros(SIZE, np.float32)) > 0 for s in pair]
    assert (alone[0] & alone[1]).sum() > 500
    # Where they run through each other the nearer one is a matter of micrometres at single samples.
    assert_same_image(fresh(pair, backdrop()), slow, flips=8)
    assert_same_image(fresh(pair[::-1], backdrop()), slow, flips=8)


def cloth(template: F32, cell: float = 0.02) -> SolidTexture:
    rng = np.random.default_rng(7)
    origin = template.min(0).astype(np.float64) - 0.01
    cells = np.ceil((template.max(0) - origin) / cell).astype(int) + 1
    return SolidTexture(rng.uniform(0.1, 0.9, cells).astype(np.float32), origin, cell)


def textured_twin(
    surface: Surface, light: F32, background: F32, camera: Camera, supersample: int
) -> NDArray[np.float64]:
    """Every sample is a pixel of a larger image; place and light are perspective-correct."""
    S = supersample
    (H, W), shift = camera.size, 0.5 * (S - 1)
    larger = Camera(
        K=np.array([[S, 0, shift], [0, S, shift], [0, 0, 1]]) @ camera.K,
        size=(H * S, W * S),
        dist=camera.dist,
    )
    assert isinstance(surface.albedo, SolidTexture) and surface.template is not None
    attributes = np.concatenate([light[:, None], surface.template], 1)
    frame = rasterize(surface.vertices, surface.faces, larger, attributes=attributes, cull=True)
    colour = surface.albedo.at(frame.attributes[..., 1:].reshape(-1, 3)).reshape(H * S, W * S)
    behind = background.astype(np.float64).repeat(S, 0).repeat(S, 1)
    samples = np.where(frame.coverage > 0, frame.attributes[..., 0] * colour, behind)
    return np.clip(samples.reshape(H, S, W, S).mean((1, 3)), 0, 255)


@pytest.mark.parametrize(("camera", "supersample"), [(CAMERA, 2), (BENT, 3), (SKEWED, 1)])
def test_texture_is_looked_up_at_every_sample(
    body: BodyPoser, template: F32, camera: Camera, supersample: int
) -> None:
    surface = Surface(posed(body, 8), body.faces, cloth(template), template)
    light = shade(
        surface.vertices, body.faces, None, np.ones(body.num_vertices), LIGHTING.lights, LIGHTING.ambient
    )
    background = np.full(SIZE, 50.0, np.float32)
    slow = textured_twin(surface, light * np.float32(LIGHTING.exposure_dn), background, camera, supersample)
    fast = fresh([surface], background, camera, supersample)
    person = np.abs(slow - 50) > 1e-6
    error = np.abs(fast - slow)
    assert person.sum() > 1000 and (error[~person] < 0.02).all()
    # A sample within a tenth of a millimetre of a border between cells may take the other cell.
    assert (error[person] > 0.05).mean() < 0.03
    assert error[person].mean() < 0.3
    assert slow[person].std() > 10


def test_textured_and_plain_bodies_share_the_image(body: BodyPoser, template: F32) -> None:
    plain = Surface(posed(body, 5, (0.0, 0.1, 2.5)), body.faces, reflectances(body, 5))
    clad = Surface(posed(body, 6, (0.15, 0.1, 2.6)), body.faces, cloth(template), template)
    uniform = replace(cloth(template), reflectance=np.full((3, 3, 3), 0.5, np.float32))
    both = fresh([plain, clad], backdrop())
    np.testing.assert_array_equal(both, fresh([clad, plain], backdrop()))
    flat = fresh([plain, replace(clad, albedo=uniform)], backdrop())
    half = replace(clad, albedo=np.full(len(template), 0.5, np.float32), template=None)
    np.testing.assert_allclose(flat, fresh([plain, half], backdrop()), atol=1e-3)
    assert np.abs(both - flat).max() > 10


def test_coordinates_outside_the_texture_take_its_border(body: BodyPoser, template: F32) -> None:
    texture = SolidTexture(np.array([[[0.2]], [[0.8]]], np.float32), np.array([-9.0, 0.0, 0.0]), 0.1)
    surface = Surface(posed(body, 9), body.faces, texture, template)
    light = replace(surface, albedo=np.full(len(template), 0.8, np.float32), template=None)
    np.testing.assert_allclose(fresh([surface], backdrop()), fresh([light], backdrop()), atol=1e-3)


def test_a_closed_surface_has_no_cracks() -> None:
    """Only ambient light on a body of one reflectance: every pixel inside has the same value, whatever the
    size and place of the triangles."""
    theta, phi = np.linspace(0, np.pi, 81), np.arange(160) * np.pi / 80
    th, ph = np.meshgrid(theta, phi, indexing="ij")
    ball = np.stack([np.sin(th) * np.cos(ph), np.sin(th) * np.sin(ph), np.cos(th)], -1).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(80), np.arange(160), indexing="ij")
    a, b, c, d = i * 160 + j, (i + 1) * 160 + j, (i + 1) * 160 + (j + 1) % 160, i * 160 + (j + 1) % 160
    faces = np.concatenate([np.stack(q, -1).reshape(-1, 3) for q in ((a, b, c), (a, c, d))]).astype(np.int32)
    rng = np.random.default_rng(0)
    camera = Camera.from_focal(900.0, (720, 1280))  # large coordinates leave float32 the fewest digits
    renderer, out = SceneRenderer(camera), np.zeros(camera.size, np.float32)
    dark = np.zeros(camera.size, np.float32)
    x, y = np.meshgrid(np.arange(1280), np.arange(720))
    for _ in range(4):
        centre = np.array([rng.uniform(-1.5, 1.5), rng.uniform(-0.8, 0.8), rng.uniform(2.5, 4)])
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        turn *= np.sign(np.linalg.det(turn))
        surface = Surface(
            ((ball * 0.8) @ turn.T + centre).astype(np.float32), faces, np.ones(len(ball), np.float32)
        )
        renderer.draw([surface], Lighting((), 1.0, 100.0), dark, out, background_box=EMPTY)
        ray = np.stack([(x - 639.5) / 900, (y - 359.5) / 900, np.ones_like(x)], -1)
        along, rr = ray @ centre, (ray**2).sum(-1)
        inside = along**2 - rr * (centre @ centre - 0.78**2) > 0
        assert inside.sum() > 10_000
        np.testing.assert_allclose(out[inside], 100.0, atol=1e-3)


def test_many_frames_equal_full_redraws_and_boxes_are_honest(body: BodyPoser, template: F32) -> None:
    rng = np.random.default_rng(11)
    renderer, out = SceneRenderer(CAMERA), np.zeros(SIZE, np.float32)
    background, texture = backdrop(), cloth(template)
    kinds = [
        lambda seed, place: Surface(posed(body, seed, place), body.faces, reflectances(body, seed)),
        lambda seed, place: Surface(posed(body, seed, place), body.faces, texture, template),
    ]
    box: tuple[int, int, int, int] | None = EMPTY
    sizes = []
    for frame in range(25):
        surfaces = []
        for _ in range(int(rng.integers(0, 3))):
            place = (rng.uniform(-1.5, 1.5), rng.uniform(-0.6, 0.6), rng.uniform(0.2, 5.0))
            surfaces.append(kinds[int(rng.integers(2))](int(rng.integers(1000)), place))
        if frame % 3 == 1:
            y, x = int(rng.integers(-10, 130)), int(rng.integers(-10, 170))
            box = (y, y + 20, x, x + 30)
            background[max(y, 0) : y + 20, max(x, 0) : x + 30] = rng.uniform(0, 200)
        elif frame == 12:
            background[:] = backdrop(12)
            box = None
        else:
            box = EMPTY
        before = out.copy()
        y0, y1, x0, x1 = renderer.draw(surfaces, LIGHTING, background, out, background_box=box)
        np.testing.assert_array_equal(out, fresh(surfaces, background))
        assert 0 <= y0 <= y1 <= SIZE[0] and 0 <= x0 <= x1 <= SIZE[1]
        before[y0:y1, x0:x1] = out[y0:y1, x0:x1]
        np.testing.assert_array_equal(out, before)
        sizes.append((y1 - y0) * (x1 - x0) / out.size)
    assert sizes[0] == sizes[12] == 1.0 and min(sizes) < 0.3


def test_an_empty_scene_is_the_background_and_nothing_is_touched_twice() -> None:
    renderer, out = SceneRenderer(CAMERA), np.zeros(SIZE, np.float32)
    background = backdrop()
    assert renderer.draw([], LIGHTING, background, out, background_box=EMPTY) == (0, *SIZE[:1], 0, SIZE[1])
    np.testing.assert_array_equal(out, np.clip(background, 0, 255))
    out[:] = 7
    assert renderer.draw([], LIGHTING, background, out, background_box=EMPTY) == EMPTY
    assert (out == 7).all()
    assert renderer.draw([], LIGHTING, background, out, background_box=(3, 5, 10, 20)) == (3, 5, 10, 20)
    assert (out != 7).sum() == 20
    other = np.zeros(SIZE, np.float32)
    renderer.draw([], LIGHTING, background, other, background_box=EMPTY)
    np.testing.assert_array_equal(other, np.clip(background, 0, 255))


def test_nobody_in_sight(body: BodyPoser) -> None:
    away = [posed(body, 1, p) for p in ((0, 0, -3), (30, 0, 2), (0, -20, 3))]
    surfaces = [Surface(v, body.faces, reflectances(body, 1)) for v in away]
    np.testing.assert_array_equal(fresh(surfaces, backdrop()), np.clip(backdrop(), 0, 255))


def test_bad_input_is_named_and_leaves_the_renderer_usable(body: BodyPoser, template: F32) -> None:
    good = Surface(posed(body, 1), body.faces, reflectances(body, 1))
    broken = good.vertices.copy()
    broken[17, 1] = np.nan
    renderer, out, background = SceneRenderer(CAMERA), np.zeros(SIZE, np.float32), backdrop()
    with pytest.raises(UnitError, match="not finite"):
        renderer.draw([good, replace(good, vertices=broken)], LIGHTING, background, out, background_box=None)
    for wrong in (-1, body.num_vertices):
        faces = body.faces.copy()
        faces[5, 2] = wrong
        with pytest.raises(ShapeError, match="point to vertices"):
            renderer.draw([replace(good, faces=faces)], LIGHTING, background, out, background_box=None)
    with pytest.raises(ShapeError, match="background"):
        renderer.draw([good], LIGHTING, background[:5], out, background_box=None)
    with pytest.raises(ShapeError, match="out"):
        renderer.draw([good], LIGHTING, background, out.astype(np.float64), background_box=None)  # type: ignore[arg-type]
    renderer.draw([good], LIGHTING, background, out, background_box=EMPTY)
    np.testing.assert_array_equal(out, fresh([good], background))
    with pytest.raises(ShapeError, match="template"):
        Surface(good.vertices, body.faces, cloth(template))
    with pytest.raises(ShapeError, match="albedo"):
        Surface(good.vertices, body.faces, np.ones(3, np.float32))
    with pytest.raises(ShapeError, match="supersample"):
        SceneRenderer(CAMERA, supersample=5)
    with pytest.raises(UnitError, match="exposure_dn"):
        Lighting((), 0.5, -1.0)
    with pytest.raises(ShapeError, match="gray"):
        Lighting((Light((0, 0, -1), (1.0, 0.5, 0.2)),), 0.5, 100.0)
