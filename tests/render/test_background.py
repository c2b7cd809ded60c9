"""Backgrounds under a turning camera, sprites, contact shadows."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from eventhpe.errors import CalibrationError, ShapeError, UnitError
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.rotation import rotvec_to_rotmat
from eventhpe.render.background import Background, BackgroundPainter, Sprite, cast_contact_shadow
from eventhpe.render.boxes import EMPTY, Box, clip_box, is_empty, union_boxes

F32 = NDArray[np.float32]

SIZE = (60, 90)
CAMERA = Camera(K=np.array([[110.0, 1.5, 46.0], [0, 105.0, 28.0], [0, 0, 1]]), size=SIZE)


def canvas(margin: int = 0, seed: int = 0) -> F32:
    shape = (SIZE[0] + 2 * margin, SIZE[1] + 2 * margin)
    return np.random.default_rng(seed).uniform(0, 255, shape).astype(np.float32)


def blank() -> F32:
    return np.full(SIZE, np.nan, np.float32)


def turn(x: float, y: float, z: float) -> NDArray[np.float64]:
    return rotvec_to_rotmat(np.array([x, y, z]))


# Boxes


def test_boxes() -> None:
    assert union_boxes() == union_boxes(EMPTY, (3, 3, 0, 9)) == EMPTY
    assert union_boxes((1, 2, 8, 9), EMPTY, (4, 6, 2, 3)) == (1, 6, 2, 9)
    assert clip_box((-3, 5, 80, 200), SIZE) == (0, 5, 80, 90)
    assert clip_box((-3, 0, 8, 20), SIZE) == clip_box((5, 9, 90, 95), SIZE) == EMPTY
    assert is_empty((5, 5, 0, 3)) and not is_empty((5, 6, 0, 3))


# The canvas


def test_a_camera_at_rest_sees_the_middle_of_the_canvas() -> None:
    for margin in (0, 7):
        picture, out = canvas(margin), blank()
        painter = BackgroundPainter(Background(picture, margin), CAMERA)
        assert painter.paint(0, None, out) is None
        np.testing.assert_array_equal(out, picture[margin : margin + SIZE[0], margin : margin + SIZE[1]])
        assert painter.paint(1000, None, out) == EMPTY
        assert painter.paint(1000, np.eye(3), out) == EMPTY


@pytest.mark.parametrize(
    "rotation", [(0, 0.0031, 0), (-0.0123, 0, 0), (0.004, -0.007, 0.03), (0.02, 0.03, -0.2), (0.3, 0.2, 0.1)]
)
def test_a_turn_moves_the_canvas_by_the_homography(rotation: tuple[float, float, float]) -> None:
    margin, R = 8, turn(*rotation)
    picture, out = canvas(margin), blank()
    assert BackgroundPainter(Background(picture, margin), CAMERA).paint(0, R, out) is None
    shift = np.array([[1.0, 0, margin], [0, 1, margin], [0, 0, 1]])
    to_now = CAMERA.K @ R @ np.linalg.inv(CAMERA.K) @ np.linalg.inv(shift)
    # Exactly, in double precision; below against cv2, which takes steps of 1/32 pixel.
    to_canvas = np.linalg.inv(to_now)
    x, y = np.meshgrid(np.arange(SIZE[1], dtype=np.float64), np.arange(SIZE[0], dtype=np.float64))
    w = to_canvas[2, 0] * x + to_canvas[2, 1] * y + to_canvas[2, 2]
    u = (to_canvas[0, 0] * x + to_canvas[0, 1] * y + to_canvas[0, 2]) / w
    v = (to_canvas[1, 0] * x + to_canvas[1, 1] * y + to_canvas[1, 2]) / w
    u, v = np.clip(u, 0, picture.shape[1] - 1), np.clip(v, 0, picture.shape[0] - 1)  # border repeated
    i, j = np.minimum(u.astype(int), picture.shape[1] - 2), np.minimum(v.astype(int), picture.shape[0] - 2)
    a, b = u - i, v - j
    expected = (1 - b) * ((1 - a) * picture[j, i] + a * picture[j, i + 1]) + b * (
        (1 - a) * picture[j + 1, i] + a * picture[j + 1, i + 1]
    )
    np.testing.assert_allclose(out, expected, atol=0.03)  # 1e-4 pixel
    smooth = cv2.GaussianBlur(picture, (0, 0), 3)
    BackgroundPainter(Background(smooth, margin), CAMERA).paint(0, R, out)
    warped = cv2.warpPerspective(
        smooth, to_now, SIZE[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    assert np.abs(out - warped).max() < 0.02 * np.ptp(smooth)


def test_what_is_seen_stays_where_the_camera_projects_it() -> None:
    """A bright spot in a direction of the rest frame, after a turn by an analytic amount."""
    direction, R, margin = np.array([0.1, -0.05, 1.0]), turn(0.01, -0.02, 0.05), 12
    u, v = CAMERA.project(direction)
    y, x = np.mgrid[-margin : SIZE[0] + margin, -margin : SIZE[1] + margin]
    picture = np.exp(-((x - u) ** 2 + (y - v) ** 2) / 8).astype(np.float32)
    out = blank()
    BackgroundPainter(Background(picture, margin), CAMERA).paint(0, R, out)
    rows, cols = np.mgrid[: SIZE[0], : SIZE[1]]
    centre = (out * cols).sum() / out.sum(), (out * rows).sum() / out.sum()
    np.testing.assert_allclose(centre, CAMERA.project(R @ direction), atol=0.02)


# Sprites


def sprite(path: list[list[float]], t_us: list[int], h: int = 7, w: int = 9, value: float = 200.0) -> Sprite:
    pixels, alpha = np.full((h, w), value, np.float32), np.ones((h, w), np.float32)
    return Sprite(pixels, alpha, np.array(path), np.array(t_us))


def test_a_sprite_is_where_its_path_says() -> None:
    s = sprite([[20.0, 30.0], [60.0, 10.0]], [1000, 5000])
    painter = BackgroundPainter(Background(np.zeros(SIZE, np.float32), 0, (s,)), CAMERA)
    out = blank()
    rows, cols = np.mgrid[: SIZE[0], : SIZE[1]]
    for t_us, expected in (
        (0, (20, 30)),
        (1000, (20, 30)),
        (2500, (35, 22.5)),
        (3001, (40.01, 19.995)),
        (9000, (60, 10)),
    ):
        painter.paint(t_us, None, out)
        np.testing.assert_allclose(out.sum(), 200 * 63, rtol=1e-4)
        centre = (out * cols).sum() / out.sum(), (out * rows).sum() / out.sum()
        np.testing.assert_allclose(centre, expected, atol=1e-3)
    painter.paint(1000, None, out)
    np.testing.assert_array_equal(out[27:34, 16:25], 200)
    assert np.count_nonzero(out) == 63
    painter.paint(1000 + 25, None, out)  # a quarter of a pixel to the right, an eighth up
    np.testing.assert_allclose(out[30, [15, 16, 20, 25]], [0, 150, 200, 50], atol=0.01)
    np.testing.assert_allclose(out[[26, 27, 33], 20], [25, 200, 175], atol=0.01)


def test_opacity_blends_and_the_last_sprite_is_in_front() -> None:
    rng = np.random.default_rng(0)
    pixels, alpha = rng.uniform(0, 255, (11, 6)), rng.uniform(0, 1, (11, 6))
    behind = Sprite(pixels, alpha, np.array([[40.5, 25.0]]), np.array([0]))
    front = sprite([[42.0, 25.0]], [0], h=1, w=1, value=7.0)
    picture, out = canvas(), blank()
    BackgroundPainter(Background(picture, 0, (behind, front)), CAMERA).paint(0, None, out)
    expected = picture.copy()
    expected[20:31, 38:44] = alpha * pixels + (1 - alpha) * picture[20:31, 38:44]
    expected[25, 42] = 7.0
    np.testing.assert_allclose(out, expected, atol=1e-3)


def test_sprites_turn_with_the_background() -> None:
    """A sprite equal to a part of the picture stays invisible under any turn, but for its rim."""
    margin, R = 10, turn(0.02, -0.03, 0.1)
    picture = cv2.GaussianBlur(canvas(margin), (0, 0), 2)
    part = picture[margin + 20 : margin + 41, margin + 30 : margin + 51]
    s = Sprite(part, np.ones_like(part), np.array([[40.0, 30.0]]), np.array([0]))
    plain, out = blank(), blank()
    BackgroundPainter(Background(picture, margin), CAMERA).paint(0, R, plain)
    BackgroundPainter(Background(picture, margin, (s,)), CAMERA).paint(0, R, out)
    assert np.abs(out - plain).max() < 2 and (np.abs(out - plain) > 0.02).sum() < 90  # the rim has 84 pixels
    dark = replace(s, pixels=np.zeros_like(part))
    BackgroundPainter(Background(picture + 50, margin, (dark,)), CAMERA).paint(0, R, out)
    np.testing.assert_allclose(
        np.argwhere(out < 1).mean(0)[::-1],
        CAMERA.project(R @ np.linalg.solve(CAMERA.K, [40.0, 30.0, 1.0])),
        atol=0.3,
    )


def test_incremental_painting_equals_painting_anew_and_boxes_are_honest() -> None:
    rng = np.random.default_rng(5)
    margin, times = 6, np.arange(0, 41) * 1000
    sprites = tuple(
        Sprite(rng.uniform(0, 255, (h, w)), rng.uniform(0, 1, (h, w)),
               np.cumsum(rng.normal(scale=4, size=(41, 2)), 0) + start, times)
        for h, w, start in ((9, 14, (20, 30)), (5, 5, (85, 5)), (30, 3, (-20, 40)))
    )  # fmt: skip
    background = Background(canvas(margin), margin, sprites)
    painter, out = BackgroundPainter(background, CAMERA), blank()
    R, painted_over, small = None, EMPTY, 0
    for k in range(40):
        if k % 10 == 5:
            R = None if rng.random() < 0.3 else turn(*rng.normal(scale=0.02, size=3))
        before, t_us = out.copy(), int(k * 1000 + rng.integers(1000))
        box = painter.paint(t_us, R, out, also=painted_over)
        expected = blank()
        BackgroundPainter(background, CAMERA).paint(t_us, R, expected)
        np.testing.assert_array_equal(out, expected)
        if box is None:
            assert k % 10 in (0, 5)
        else:
            y0, y1, x0, x1 = box
            before[y0:y1, x0:x1] = out[y0:y1, x0:x1]
            np.testing.assert_array_equal(out, before)
            small += (y1 - y0) * (x1 - x0) < out.size / 2
        y, x = int(rng.integers(-5, 60)), int(rng.integers(-5, 90))
        painted_over = (y, y + 8, x, x + 12)
        out[max(y, 0) : y + 8, max(x, 0) : x + 12] *= 0.5
    assert small > 3
    other = blank()
    assert painter.paint(0, R, other) is None and np.isfinite(other).all()


def test_bad_backgrounds_are_named() -> None:
    with pytest.raises(ShapeError, match="canvas"):
        Background(canvas(), 30)
    with pytest.raises(UnitError, match="margin"):
        Background(canvas(), -1)
    with pytest.raises(UnitError, match="canvas"):
        Background(canvas() * np.inf)
    with pytest.raises(ShapeError, match="camera's"):
        BackgroundPainter(Background(canvas(), 2), CAMERA)
    painter = BackgroundPainter(Background(canvas()), CAMERA)
    with pytest.raises(CalibrationError, match="R_shake"):
        painter.paint(0, turn(0, 1.5, 0), blank())
    with pytest.raises(ShapeError, match="R_shake"):
        painter.paint(0, np.zeros(3), blank())
    with pytest.raises(ShapeError, match="out"):
        painter.paint(0, None, np.zeros(SIZE))  # type: ignore[arg-type]
    s = sprite([[1.0, 2.0]], [0])
    with pytest.raises(ShapeError, match="alpha"):
        replace(s, alpha=s.alpha[:2])
    with pytest.raises(UnitError, match="alpha"):
        replace(s, alpha=s.alpha * 2)
    with pytest.raises(ShapeError, match="path"):
        replace(s, path=np.zeros((2, 2)))
    with pytest.raises(UnitError, match="increase"):
        replace(s, path=np.zeros((2, 2)), t_us=np.array([5, 5]))


# Contact shadows


def standing_camera(
    pitch: float = 0.25, dist: tuple[float, ...] = (0, 0, 0, 0, 0), height: float = 1.5
) -> Camera:
    """At `height` above the floor and z = 4, looking at -z and down by `pitch`."""
    c, s = np.cos(pitch), np.sin(pitch)
    R = np.array([[1.0, 0, 0], [0, -c, s], [0, -s, -c]])
    return Camera(
        K=np.array([[150.0, 0, 80], [0, 150, 60], [0, 0, 1]]), size=(121, 161), dist=np.array(dist),
        R_world_to_cam=R, t_world_to_cam=-R @ np.array([0.0, height, 4.0]),
    )  # fmt: skip


def shadow(
    camera: Camera, points: list[list[float]], strength: float = 0.6, radius: float = 0.15
) -> tuple[F32, Box]:
    image = np.full(camera.size, 100.0, np.float32)
    box = cast_contact_shadow(
        image, camera, camera.R_world_to_cam, camera.t_world_to_cam, np.array(points), strength, radius
    )
    y0, y1, x0, x1 = box
    outside = np.ones(camera.size, bool)
    outside[y0:y1, x0:x1] = False
    assert (image[outside] == 100).all()
    return image, box


LENSES = [(0, 0, 0, 0, 0), (-0.3, 0.1, 0.002, -0.001, 0)]


@pytest.mark.parametrize("dist", LENSES, ids=["straight", "bent"])
def test_darkest_under_the_foot_and_nothing_far_away(dist: tuple[float, ...]) -> None:
    camera = standing_camera(dist=dist)
    foot = [0.9, 0.0, 0.3]
    image, box = shadow(camera, [foot])
    u, v = camera.project(camera.to_camera_frame(foot))
    y, x = np.unravel_index(np.argmin(image), image.shape)
    assert abs(x - u) <= 1 and abs(y - v) <= 1
    assert 40 <= image.min() < 46
    area = (box[1] - box[0]) * (box[3] - box[2])
    assert area < 0.1 * image.size
    # every pixel as the floor point says that it sees
    cols, rows = np.meshgrid(np.arange(161.0), np.arange(121.0))
    straight = camera.undistort(np.stack([cols, rows], -1))
    ray = np.concatenate([(straight - [80, 60]) / 150, np.ones((121, 161, 1))], -1) @ camera.R_world_to_cam
    scale = -1.5 / np.where(ray[..., 1] < 0, ray[..., 1], np.nan)
    floor = np.array([0, 1.5, 4.0]) + scale[..., None] * ray
    d2 = ((floor[..., [0, 2]] - [0.9, 0.3]) ** 2).sum(-1) / 0.15**2
    expected = 100 * (1 - 0.6 * np.where(d2 < 1, (1 - d2) ** 2, 0))
    np.testing.assert_allclose(image, expected, atol=0.05 if any(dist) else 1e-3)


def test_it_fades_with_height_and_widens() -> None:
    camera = standing_camera()
    heights = [-0.05, 0.0, 0.02, 0.1, 0.3, 0.5, 0.59]
    images = [shadow(camera, [[0.1, h, 0.0]])[0] for h in heights]
    darkest = [im.min() for im in images]
    assert darkest[0] == darkest[1] and all(np.diff(darkest[1:]) > 0) and darkest[-1] > 99.9
    assert (images[3] < 99.9).sum() > 1.2 * (images[1] < 99.9).sum()
    image, box = shadow(camera, [[0.1, 0.61, 0.0]])
    assert is_empty(box) and (image == 100).all()


def test_shadows_add_like_gray_glass_and_never_more_than_strength() -> None:
    camera = standing_camera()
    a, b = [0.0, 0.0, 0.0], [0.1, 0.05, 0.05]
    one, two, both = shadow(camera, [a])[0], shadow(camera, [b])[0], shadow(camera, [a, b])[0]
    light = lambda image: 1 - (1 - image / 100) / 0.6  # noqa: E731
    np.testing.assert_allclose(light(both), light(one) * light(two), atol=1e-4)
    assert shadow(camera, [a] * 20)[0].min() >= 40 - 1e-3
    image = shadow(camera, [a], strength=0.0)[0]
    assert (image == 100).all()


def test_above_the_horizon_behind_and_below_nothing_is_darkened() -> None:
    level = standing_camera(pitch=0.0)
    far = [[0.0, 0.0, -z] for z in (5.0, 50.0, 500.0)]
    image, _ = shadow(level, far, radius=3.0)
    assert (image[:60] == 100).all() and image[60:].min() < 95
    under, box = shadow(level, [[0.0, 0.0, 4.2], [0.5, 0.0, 6.0]])  # behind the camera
    assert is_empty(box) and (under == 100).all()
    mole, box = shadow(standing_camera(pitch=-0.5, height=-1.0), [[0.0, 0.0, 0.0]])
    assert is_empty(box) and (mole == 100).all()
    # standing in one's own shadow: part of the disc is behind the camera, part of it in the image
    below = standing_camera(pitch=1.2)
    image, box = shadow(below, [[0.0, 0.0, 3.6]], radius=2.0)
    assert image.min() < 60
    shaken = turn(0.0, 0.1, 0.0)
    moved = np.full(level.size, 100.0, np.float32)
    tilted = standing_camera()
    cast_contact_shadow(
        moved,
        tilted,
        shaken @ tilted.R_world_to_cam,
        shaken @ tilted.t_world_to_cam,
        np.zeros((1, 3)),
        0.6,
        0.15,
    )
    u, _ = tilted.project(shaken @ tilted.to_camera_frame(np.zeros(3)))
    assert abs(np.argmin(moved.min(0)) - u) <= 1 and abs(u - 80) > 10


def test_bad_shadows_are_named() -> None:
    camera = standing_camera()
    R, t = camera.R_world_to_cam, camera.t_world_to_cam
    image = np.ones(camera.size, np.float32)
    with pytest.raises(ShapeError, match="image"):
        cast_contact_shadow(image[:9], camera, R, t, np.zeros((1, 3)), 0.5, 0.1)
    with pytest.raises(ShapeError, match="points"):
        cast_contact_shadow(image, camera, R, t, np.zeros(3), 0.5, 0.1)
    with pytest.raises(UnitError, match="strength"):
        cast_contact_shadow(image, camera, R, t, np.zeros((1, 3)), 1.5, 0.1)
    with pytest.raises(UnitError, match="finite"):
        cast_contact_shadow(image, camera, R, t, np.full((1, 3), np.nan), 0.5, 0.1)
    assert cast_contact_shadow(image, camera, R, t, np.zeros((0, 3)), 0.5, 0.1) == EMPTY
    assert (image == 1).all()
