"""Event pictures, meshes and skeletons over images."""

from __future__ import annotations

import numpy as np
import pytest

from eventhpe.errors import ShapeError, UnitError
from eventhpe.events.types import Events
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.skeleton import Skeleton
from eventhpe.render.overlay import (
    EVENT_STYLES,
    ORANGE,
    SKY,
    draw_label,
    draw_mesh,
    draw_skeleton,
    event_image,
    scaled_camera,
    side_by_side,
    upscale,
)

SQUARE = np.array([[-0.5, -0.3, 2.0], [-0.5, 0.3, 2.0], [0.5, 0.3, 2.0], [0.5, -0.3, 2.0]])
FACES = np.array([[0, 1, 2], [0, 2, 3]])
LIMBS = Skeleton("limbs", ("root", "hand_left", "hand_right"), (-1, 0, 0))


def events(x: list[int], y: list[int], p: list[int]) -> Events:
    columns = {"x": np.array(x, np.uint16), "y": np.array(y, np.uint16), "p": np.array(p, np.uint8)}
    return Events(t=np.arange(len(x), dtype=np.int64), **columns, sensor_size=(20, 30))


@pytest.mark.parametrize("style", ["dark", "light"])
def test_event_colours_tell_polarity_and_count(style: str) -> None:
    image = event_image(
        events([3, 7, 7, 7, 7, 7, 7, 9, 9], [4, 5, 5, 5, 5, 5, 5, 6, 6], [1] + [0] * 6 + [0, 1]), style=style
    )
    background, on, off = (np.array(c, float) for c in EVENT_STYLES[style])
    assert image.shape == (20, 30, 3) and image.dtype == np.uint8
    assert (image[0, 0] == background).all() and (image != background).any(-1).sum() == 3
    np.testing.assert_allclose(image[5, 7], off, atol=3)  # six events: full colour
    share = (image[4, 3] - background) / (on - background)
    assert 0.3 < share.min() <= share.max() < 0.8  # one event: half way
    both = 0.5 * (on + off)
    np.testing.assert_allclose((image[6, 9] - background), (both - background) * (1 - np.exp(-5 / 3)), atol=1)


def test_event_image_edges() -> None:
    assert (event_image(events([], [], [])) == EVENT_STYLES["dark"][0]).all()
    assert event_image(events([3], [4], [1]), size=(40, 50)).shape == (40, 50, 3)
    with pytest.raises(ShapeError, match="outside"):
        event_image(events([25], [4], [1]), size=(20, 20))
    with pytest.raises(UnitError, match="dark, light"):
        event_image(events([], [], []), style="neon")


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_mesh_lands_on_the_enlarged_pixels(scale: int) -> None:
    camera = Camera.from_focal(60.0, (48, 64))
    image = np.full((48, 64, 3), 100, np.uint8)
    out = draw_mesh(image, SQUARE, FACES, camera, color=(0, 255, 0), alpha=1.0, scale=scale)
    assert out.shape == (48 * scale, 64 * scale, 3) and (image == 100).all()
    changed = (out != 100).any(-1)
    rows, cols = np.nonzero(changed)
    # the square spans u = 31.5 +- 15, v = 23.5 +- 9; edges of sensor pixels lie at half integers
    centre = np.array([cols.mean(), rows.mean()]) / scale
    np.testing.assert_allclose(centre, (np.array([32.0, 24.0]) * scale - 0.5) / scale, atol=1e-6)
    assert abs(changed.sum() / scale**2 - 30 * 18) < 2 * (30 + 18) + 4
    inside = out[24 * scale, 32 * scale]
    assert inside[0] == 0 and inside[2] == 0 and inside[1] > 150  # lit from the camera


def test_mesh_is_translucent_and_takes_colours_per_vertex() -> None:
    camera = Camera.from_focal(60.0, (48, 64))
    image = np.full((48, 64), 200, np.uint8)
    solid = draw_mesh(image, SQUARE, FACES, camera, alpha=1.0)[24, 32].astype(float)
    half = draw_mesh(image, SQUARE, FACES, camera, alpha=0.5)[24, 32]
    np.testing.assert_allclose(half, (solid + 200) / 2, atol=1)
    assert (draw_mesh(image, SQUARE, FACES, camera, alpha=0.0) == 200).all()
    sides = np.array([[255, 0, 0], [255, 0, 0], [0, 0, 255], [0, 0, 255]])
    two = draw_mesh(image, SQUARE, FACES, camera, alpha=1.0, color=sides)
    assert two[24, 18, 0] > 5 * two[24, 18, 2] and two[24, 45, 2] > 5 * two[24, 45, 0]
    # a second body on an image that is already enlarged, and one that reaches behind the camera
    first = draw_mesh(image, SQUARE, FACES, camera, scale=2)
    second = draw_mesh(first, SQUARE - np.array([0, 0, 2.0]), FACES, camera, scale=2)
    assert second.shape == (96, 128, 3) and (second == first).all()
    assert draw_mesh(image, SQUARE + np.array([9.0, 0, 0]), FACES, camera).shape == (48, 64, 3)
    with pytest.raises(ShapeError, match="camera's size"):
        draw_mesh(image[:40], SQUARE, FACES, camera)
    with pytest.raises(UnitError, match="alpha"):
        draw_mesh(image, SQUARE, FACES, camera, alpha=2.0)


def test_scaled_camera_keeps_pixel_edges() -> None:
    camera = Camera(
        K=np.array([[50, 0, 30], [0, 55, 20], [0, 0, 1.0]]), size=(48, 64), dist=np.array([-0.1, 0, 0, 0, 0])
    )
    point = np.array([0.3, -0.2, 2.0])
    np.testing.assert_allclose(
        scaled_camera(camera, 3).project(point) + 0.5, 3 * (camera.project(point) + 0.5)
    )
    block = upscale(np.arange(6, dtype=np.uint8).reshape(2, 3), 2)
    assert block.shape == (4, 6, 3) and (block[2:, 4:] == 5).all()


def test_skeleton_sides_confidence_and_gaps() -> None:
    black = np.zeros((60, 80, 3), np.uint8)
    uv = np.array([[40.0, 10.0], [70.0, 40.0], [10.0, 40.0]])

    def has(image: np.ndarray, color: tuple[int, int, int]) -> bool:
        return bool((np.abs(image.astype(int) - color).max(-1) < 30).any())

    both = draw_skeleton(black, uv, LIMBS)
    assert has(both[:, 45:66], ORANGE) and has(both[:, 14:36], SKY) and not has(both[:, 45:66], SKY)
    assert (both[10, 40] == 255).all() and not black.any()
    doubted = draw_skeleton(black, uv, LIMBS, np.array([1.0, 0.05, 1.0]))
    assert not doubted[:, 45:].any() and has(doubted, SKY)
    uv[2] = np.nan
    uv[1] = 1e12
    lone = draw_skeleton(black, uv, LIMBS)
    assert lone.any() and not has(lone, ORANGE) and not has(lone, SKY)
    enlarged = draw_skeleton(np.zeros((120, 160, 3), np.uint8), uv, LIMBS, scale=2)
    rows, cols = np.nonzero(enlarged.min(-1) > 200)
    np.testing.assert_allclose([cols.mean(), rows.mean()], [80.5, 20.5], atol=0.3)
    with pytest.raises(ShapeError, match="limbs"):
        draw_skeleton(black, uv[:2], LIMBS)


def test_labels_and_rows() -> None:
    white = np.full((50, 120, 3), 255, np.uint8)
    for corner, part in (("top_left", np.s_[:20, :40]), ("bottom_right", np.s_[-20:, -40:])):
        out = draw_label(white, "12 µs\nb", corner=corner, size=0.3)
        assert (out[part] < 120).any() and (white == 255).all()
    with pytest.raises(UnitError, match="corner"):
        draw_label(white, "a", corner="middle")
    row = side_by_side([white, white[:30, :50, 0]], gap=6, labels=["a", ""])
    assert row.shape == (50, 176, 3)
    assert (row[:, 120:126] == 40).all() and (row[10:40, 126:] == 255).all() and (row[:10, 126:] == 40).all()
    with pytest.raises(ShapeError, match="labels"):
        side_by_side([white], labels=["a", "b"])
    with pytest.raises(ShapeError, match="at least one"):
        side_by_side([])
    with pytest.raises(ShapeError, match="uint8"):
        upscale(white.astype(float), 2)
