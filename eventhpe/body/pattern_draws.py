"""Random patterns of every kind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from eventhpe.body.landmarks import Landmarks
from eventhpe.body.patterns import Checks, Dots, Gradient, Noise, Pattern, Plaid, Plain, Print, Stripes
from eventhpe.errors import ShapeError

PATTERN_KINDS = ("plain", "noise", "blotches", "stripes", "checks", "plaid", "dots", "gradient")


def draw_pattern(rng: np.random.Generator, kind: str, scale_m: tuple[float, float], edge_m: float) -> Pattern:
    """A pattern of one of `PATTERN_KINDS`.

    Args:
        scale_m: (low, high) of period or lattice, metres, log-uniform.
        edge_m: width of sharp edges, metres: a cell of the grid that the pattern goes to.
    Raises:
        ShapeError: an unknown kind.
    """
    scale = float(np.exp(rng.uniform(np.log(scale_m[0]), np.log(scale_m[1]))))
    if kind == "plain":
        return Plain()
    if kind == "noise":
        return Noise.draw(rng, (scale, scale * float(rng.uniform(0.6, 1.6)), scale), int(rng.integers(1, 4)))
    if kind == "blotches":
        hardness = float(rng.uniform(3, 10))
        return Noise.draw(rng, (scale, scale, scale), int(rng.integers(1, 3)), hardness)
    if kind == "stripes":
        return _stripes(rng, scale, edge_m, _angle(rng), duty=float(rng.uniform(0.25, 0.75)))
    if kind == "checks":
        angle = _angle(rng)
        return Checks(
            _stripes(rng, 2 * scale, edge_m, angle, soft=False),
            _stripes(rng, 2 * scale, edge_m, angle + np.pi / 2, soft=False),
        )
    if kind == "plaid":
        angle = float(rng.choice([0.0, np.pi / 4], p=[0.85, 0.15]))
        sets, weights = [], []
        for turn in (0.0, np.pi / 2):
            wide = _stripes(rng, scale, edge_m, angle + turn, duty=float(rng.uniform(0.4, 0.65)))
            line = _stripes(rng, scale, edge_m, angle + turn, duty=float(rng.uniform(0.1, 0.3)))
            sets += [wide, replace(line, phase=wide.phase)]  # in step, so that light and dark add up
            weights += rng.uniform(0.3, 1.0, size=2).tolist()
        return Plaid(tuple(sets), tuple(weights))
    if kind == "dots":
        period = max(scale, 5 * edge_m)
        return Dots(period, period * float(rng.uniform(0.22, 0.42)), edge_m)
    if kind == "gradient":
        direction = rng.normal(size=3) * [0.5, 1.0, 0.3]
        middle = rng.uniform(-0.3, 0.3)
        return Gradient(_triple(direction), (0.0, float(middle), 0.0), float(rng.uniform(0.3, 0.9)))
    raise ShapeError(f"kind must be one of {', '.join(PATTERN_KINDS)}; got {kind!r}.")


def draw_print(rng: np.random.Generator, landmarks: Landmarks, edge_m: float) -> Print:
    """A print on the chest, or on the back in a quarter of the draws: a block, lines of text, or blotches."""
    chest_y = landmarks.joint("spine3")[1]
    reach = landmarks.joint("shoulder_left")[0]
    half_width, half_height = float(rng.uniform(0.25, 0.8) * reach), float(rng.uniform(0.25, 0.9) * reach)
    motif: Pattern = Plain()
    kind = rng.choice(["block", "lines", "blotches", "checks"])
    lattice = Noise.draw(rng, (0.03, 0.03, 0.3), 1, 8.0)
    if kind == "lines":
        motif = Stripes((0.0, 1.0, 0.0), float(rng.uniform(4, 8)) * edge_m, 0.5, edge_m, float(rng.random()))
    elif kind == "blotches":
        motif = lattice
    elif kind == "checks":
        period = float(rng.uniform(6, 12)) * edge_m
        motif = Checks(*(Stripes(axis, period, 0.5, edge_m) for axis in ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))))
    return Print(
        centre=(float(rng.normal(0, 0.1) * reach), float(chest_y - rng.uniform(-0.2, 0.7) * reach)),
        half_size=(half_width, half_height),
        divide_z=landmarks.chest_z,
        motif=motif,
        front=bool(rng.random() < 0.75),
        round_=bool(rng.random() < 0.4),
        edge_m=edge_m,
    )


def _angle(rng: np.random.Generator) -> float:
    """Direction across stripes: along the limb (rings) most often, around it, or oblique."""
    return float(rng.choice([np.pi / 2, 0.0, rng.uniform(0, np.pi)], p=[0.5, 0.2, 0.3]))


def _stripes(
    rng: np.random.Generator,
    period_m: float,
    edge_m: float,
    angle: float,
    duty: float = 0.5,
    soft: bool | None = None,
) -> Stripes:
    """Stripes across the direction (cos angle, sin angle, 0); soft in a third of the draws unless said."""
    blurred = rng.random() < 0.33 if soft is None else soft
    direction = (float(np.cos(angle)), float(np.sin(angle)), 0.0)
    phase = float(rng.random())
    if blurred:
        return Stripes(direction, period_m, 0.5, period_m / 2, phase)
    least = min(0.45, 1.5 * edge_m / period_m)  # narrower bands would not reach full contrast
    return Stripes(direction, period_m, float(np.clip(duty, least, 1 - least)), edge_m, phase)


def _triple(values: np.ndarray) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])
