"""Random backgrounds: even, gradients, noise, clutter; and things that move before them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from eventhpe.render.background import Background, Sprite

Image = NDArray[np.float32]

DARKEST_DN, BRIGHTEST_DN = 2.0, 255.0


def draw_backdrop(
    rng: np.random.Generator,
    size: tuple[int, int],
    *,
    margin: int,
    exposure_dn: float,
    contrast: float,
    num_sprites: int,
    duration_us: int,
) -> Background:
    """A background with moving things.

    Args:
        size: (H, W) of the image.
        margin: pixels on every side that a moving camera may need.
        exposure_dn: brightness of white.
        contrast: of the texture around its tone; 0 = even.
        num_sprites: things that move behind the people.
        duration_us: how long they move.
    """
    h, w = size[0] + 2 * margin, size[1] + 2 * margin
    tone = float(np.exp(rng.uniform(np.log(0.08), np.log(0.9))))
    texture = _texture(rng, h, w) if contrast > 0 else np.zeros((h, w), np.float32)
    canvas = np.clip(tone * exposure_dn * (1 + contrast * texture), DARKEST_DN, BRIGHTEST_DN)
    sprites = tuple(_sprite(rng, size, exposure_dn, duration_us) for _ in range(num_sprites))
    return Background(canvas.astype(np.float32), margin, sprites)


def _texture(rng: np.random.Generator, h: int, w: int) -> Image:
    """(h, w) in [-1, 1]."""
    kind = rng.choice(["gradient", "noise", "clutter", "room"], p=[0.15, 0.3, 0.3, 0.25])
    ys, xs = np.mgrid[0:h, 0:w].astype(np.float32)
    slope = rng.normal(size=2)
    image = (slope[0] * (xs / w - 0.5) + slope[1] * (ys / h - 0.5)).astype(np.float32)
    if kind == "noise":
        for scale in (2, 6, 20, 60):
            image += _smooth_noise(rng, h, w, scale)
    elif kind == "clutter":
        for _ in range(int(rng.integers(4, 30))):
            _rectangle(rng, image)
    elif kind == "room":
        horizon = int(h * rng.uniform(0.45, 0.8))
        image[horizon:] += np.float32(rng.normal(0, 1.5))
        image[horizon:] += 0.4 * _smooth_noise(rng, h - horizon, w, 6)
        for _ in range(int(rng.integers(1, 8))):  # doors, windows, pictures, furniture
            _rectangle(rng, image)
        for _ in range(int(rng.integers(0, 6))):  # cables, edges
            x = int(rng.integers(0, w))
            image[:, x : x + int(rng.integers(1, 4))] = np.float32(rng.normal() * 1.5)
    image = cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.2)))  # no lens is sharper
    return np.asarray(image / max(1e-6, float(np.abs(image).max())), np.float32)


def _smooth_noise(rng: np.random.Generator, h: int, w: int, scale: int) -> Image:
    coarse = rng.normal(size=(h // scale + 2, w // scale + 2)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (w, h), interpolation=cv2.INTER_CUBIC), np.float32)


def _rectangle(rng: np.random.Generator, image: Image) -> None:
    """Paint a rectangle of one tone into `image`."""
    h, w = image.shape
    y, x = int(rng.integers(0, h)), int(rng.integers(0, w))
    dy, dx = int(rng.integers(3, max(4, h // 2))), int(rng.integers(3, max(4, w // 3)))
    image[y : y + dy, x : x + dx] = np.float32(rng.normal() * 1.5)


def _sprite(rng: np.random.Generator, size: tuple[int, int], exposure_dn: float, duration_us: int) -> Sprite:
    """A textured blob or box that wanders through the image: a passer-by far off, a ball, a door, a leaf."""
    H, W = size
    h, w = (max(4, int(H * rng.uniform(0.05, 0.35))) for _ in range(2))
    tone = float(np.exp(rng.uniform(np.log(0.05), np.log(0.95)))) * exposure_dn
    pixels = tone * (1 + rng.uniform(0.0, 0.6) * np.clip(_smooth_noise(rng, h, w, 4), -1.5, 1.5))
    ys, xs = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
    inside = np.hypot(ys, xs) if rng.random() < 0.6 else np.maximum(np.abs(ys), np.abs(xs))
    edge = 2.0 / min(h, w)
    alpha = np.clip((1 - 1.5 * edge - inside) / edge + 0.5, 0, 1)
    knots = max(2, round(duration_us / 400_000) + 1)
    speed = W * np.exp(rng.uniform(np.log(0.02), np.log(0.5)))  # px/s, across
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.5, knots))
    steps = speed * 1e-6 * duration_us / (knots - 1) * np.stack([np.cos(heading), 0.4 * np.sin(heading)], -1)
    start = [rng.uniform(0, W), rng.uniform(0, H)]
    path = start + np.cumsum(steps, axis=0) - steps[0]
    times = np.linspace(0, duration_us, knots).astype(np.int64)
    return Sprite(
        np.clip(pixels, DARKEST_DN, BRIGHTEST_DN).astype(np.float32),
        alpha.astype(np.float32),
        path.astype(np.float64),
        times,
    )
