"""Random clothes: what is worn, and how it is painted on the resting body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.body.garments import GARMENTS, HAIRSTYLES, GarmentFields, Outfit
from eventhpe.body.landmarks import Landmarks
from eventhpe.body.pattern_draws import PATTERN_KINDS, draw_pattern, draw_print
from eventhpe.body.patterns import Noise, shade
from eventhpe.body.solid_texture import SolidTexture
from eventhpe.body.surface_cells import surface_cells
from eventhpe.errors import ShapeError, UnitError

Range = tuple[float, float]
F32 = NDArray[np.float32]

DARKEST = 0.02
"""Reflectance of the blackest cloth; patterns on dark cloth end here."""

_LOG = (
    "tone",
    "skin_tone",
    "hair_factor",
    "pattern_contrast",
    "pattern_scale_m",
    "mottle_contrast",
    "fold_contrast",
)


@dataclass(frozen=True)
class WardrobeRanges:
    """What is drawn for each person, as (low, high). Field names appear in error messages.

    Clothing and texture contrast decide whether limbs make events at all, so both span from nearly nothing to
    strong patterns.

    Raises:
        ShapeError, UnitError: a range or share that makes no sense, named.
    """

    tone: Range = (0.05, 0.9)
    """Reflectance of the lightest place of a garment, log-uniform, each garment its own."""
    skin_tone: Range = (0.12, 0.6)
    """Reflectance of skin, log-uniform."""
    hair_factor: Range = (0.1, 0.8)
    """Reflectance of hair as a share of the skin's, log-uniform."""
    pattern_contrast: Range = (0.02, 0.9)
    """Michelson contrast of patterns on clothes, log-uniform."""
    pattern_scale_m: Range = (0.03, 0.25)
    """Period of stripes, checks, plaid and dots, and the coarsest lattice of noise, log-uniform."""
    pattern_weights: tuple[tuple[str, float], ...] = (
        ("plain", 3.0), ("noise", 2.0), ("blotches", 1.0), ("stripes", 3.0), ("checks", 1.0), ("plaid", 1.0),
        ("dots", 1.0), ("gradient", 1.0),
    )  # fmt: skip
    """How often each kind of pattern is worn."""
    print_share: float = 0.35
    """Share of tops with a print on chest or back."""
    suit_share: float = 0.12
    """Share of people whose top and bottom are of the same cloth."""
    mottle_contrast: Range = (0.02, 0.1)
    """Contrast of the mottling of skin, log-uniform."""
    fold_contrast: Range = (0.01, 0.15)
    """Contrast of the faint large-scale marks that folds and wear leave on all cloth, log-uniform."""
    sleeve: Range = (0.0, 1.0)
    """Length of sleeves, see `Outfit.sleeve`."""
    leg: Range = (0.15, 1.0)
    """Length of trouser legs, see `Outfit.leg`; half of the people wear full length, if the range allows."""
    dress_share: float = 0.12
    """Share of tops that reach below the crotch."""
    tucked_share: float = 0.2
    """Share of tops that end in the waistband."""
    barefoot_share: float = 0.08
    """Share of people without shoes."""
    glove_share: float = 0.06
    """Share of people with gloves."""
    belt_share: float = 0.3
    """Share of people with a belt."""
    beard_share: float = 0.12
    """Share of people with a beard."""
    hair_weights: tuple[tuple[str, float], ...] = (("short", 5.0), ("long", 3.0), ("bald", 1.0), ("hat", 1.0))
    """How often each hairstyle is worn."""
    looseness_m: Range = (0.0, 0.03)
    """How far loose cloth stands off the skin at most, metres; drawn per garment."""
    looseness_scale_m: Range = (0.1, 0.3)
    """Size of the folds of loose cloth, metres."""
    cell_m: float = 0.008
    """Side of a cell of the texture, metres."""

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.type == "Range":
                _check_range(f.name, value)
            elif f.name.endswith("_share") and not 0 <= value <= 1:
                raise UnitError(f"WardrobeRanges.{f.name} must lie in [0, 1]; got {value}.")
        for name, known in (("pattern_weights", PATTERN_KINDS), ("hair_weights", HAIRSTYLES)):
            _check_weights(name, getattr(self, name), known)
        if not self.cell_m > 0:
            raise UnitError(f"WardrobeRanges.cell_m must be positive; got {self.cell_m}.")
        if self.pattern_scale_m[0] < 3 * self.cell_m:
            raise UnitError(
                f"WardrobeRanges.pattern_scale_m must start at three cells ({3 * self.cell_m:g} m) or more, "
                f"finer patterns do not survive; got {self.pattern_scale_m}."
            )


def draw_outfit(rng: np.random.Generator, ranges: WardrobeRanges) -> Outfit:
    """What a person wears; equal states of `rng` give equal outfits."""
    tucked, dress = rng.random() < ranges.tucked_share, rng.random() < ranges.dress_share
    full_leg, sneakers = rng.random() < 0.5, rng.random() < 0.7
    hem = rng.uniform(-0.9, -0.1) if dress else rng.uniform(0.15, 1.05)
    low, high = ranges.leg
    sleeve, leg, waist = rng.uniform(*ranges.sleeve), rng.uniform(low, high), rng.uniform(0.35, 1.0)
    shoe = rng.uniform(0.0, 0.15) if sneakers else rng.uniform(0.15, 0.8)
    barefoot, sock = rng.random() < ranges.barefoot_share, rng.uniform(-0.4, 0.8)
    return Outfit(
        sleeve=float(sleeve),
        neckline=str(rng.choice(["crew", "wide", "v", "high"], p=[0.5, 0.15, 0.2, 0.15])),
        neck_size=float(rng.random()),
        hem=float(hem),
        tucked=bool(tucked and not dress),
        waist=float(waist),
        leg=float(high if full_leg else leg),
        shoe=-1.0 if barefoot else float(shoe),
        sock=-1.0 if barefoot or sock < 0 else float(sock),
        belt=bool(rng.random() < ranges.belt_share),
        gloves=bool(rng.random() < ranges.glove_share),
        beard=bool(rng.random() < ranges.beard_share),
        hair=_choose(rng, ranges.hair_weights),
        hair_length=float(rng.random()),
    )


def draw_wardrobe(
    rng: np.random.Generator,
    ranges: WardrobeRanges,
    arrays: Mapping[str, NDArray[Any]],
    outfit: Outfit | None = None,
) -> SolidTexture:
    """Clothes, skin, hair and face of one person as a solid texture.

    Args:
        rng: source of randomness; equal states give equal bytes.
        ranges: what may be drawn.
        arrays: body arrays with `v_template`, `J_regressor` and `f`, in T-pose (the open body, or SMPL).
        outfit: what is worn; drawn first if None. Hand the same one to `draw_loose_offsets`.
    Returns:
        reflectance in [0.02, 1] in the cells near the template's surface (`surface_cells`), 0 elsewhere.
    """
    landmarks = Landmarks.of(arrays)
    cells = surface_cells(arrays["v_template"], arrays["f"], ranges.cell_m)
    worn = GarmentFields(landmarks, draw_outfit(rng, ranges) if outfit is None else outfit)
    painted = np.zeros(cells.shape, np.float32)
    painted.ravel()[cells.index] = _paint(rng, ranges, worn, cells.centres)
    return SolidTexture(painted, cells.origin, ranges.cell_m)


def face_marks(points: NDArray[np.floating], landmarks: Landmarks) -> F32:
    """(N,) float32 in [0, 1]: how dark eyes, brows, nostrils and mouth are at (N, 3) template points.

    Places follow the painters' canon: eyes at half of the head's height, the mouth at a third of the way from
    nose to chin.
    """
    size, nose = landmarks.head_height, landmarks.nose
    depth = 0.55 * size  # the face is the part of the head nearer to the tip of the nose than this
    ahead = (points[:, 2] > nose[2] - depth) & (points[:, 1] > landmarks.chin_y)
    rows = np.flatnonzero(ahead)
    x, y = np.abs(points[rows, 0] - nose[0]) / size, (landmarks.crown_y - points[rows, 1]) / size
    darkest = np.zeros(len(rows))
    for strength, across, down, half_width, half_height in (
        (0.85, 0.14, 0.49, 0.075, 0.032),  # eyes
        (0.75, 0.15, 0.40, 0.11, 0.029),  # brows
        (0.5, 0.035, 0.70, 0.03, 0.02),  # nostrils
        (0.55, 0.0, 0.80, 0.13, 0.03),  # mouth
    ):
        inside = 1 - np.hypot((x - across) / half_width, (y - down) / half_height)
        darkest = np.maximum(darkest, strength * np.clip(inside * 2, 0, 1))
    out = np.zeros(len(points), np.float32)
    out[rows] = darkest
    return out


def _paint(rng: np.random.Generator, ranges: WardrobeRanges, worn: GarmentFields, points: F32) -> F32:
    """(N,) reflectance: the share of each garment times its tone and pattern."""
    shares = worn.shares(points, ranges.cell_m)
    tones = {name: _log_uniform(rng, ranges.tone) for name in GARMENTS}
    tones["skin"] = _log_uniform(rng, ranges.skin_tone)
    hair = tones["skin"] * _log_uniform(rng, ranges.hair_factor)
    tones["beard"] = 0.6 * hair + 0.4 * tones["skin"]  # it shines through
    if worn.outfit.hair != "hat":
        tones["hair"] = hair
    suit = rng.random() < ranges.suit_share
    if suit:
        tones["bottom"] = tones["top"]

    total = np.zeros(len(points), np.float32)
    kept = None
    for name in GARMENTS:  # drawn for all, worn or not, so that one garment more does not change the others
        cloth = name in ("top", "bottom", "socks", "shoes", "gloves") or (
            name == "hair" and worn.outfit.hair == "hat"
        )
        if cloth:
            contrast = _log_uniform(rng, ranges.pattern_contrast)
            pattern = draw_pattern(
                rng, _choose(rng, ranges.pattern_weights), ranges.pattern_scale_m, ranges.cell_m
            )
        elif name == "skin":
            contrast = _log_uniform(rng, ranges.mottle_contrast)
            pattern = Noise.draw(rng, (0.05, 0.05, 0.05))
        else:
            contrast = float(rng.uniform(0.05, 0.35))
            pattern = Noise.draw(rng, (0.02, 0.1, 0.02))  # strands
        if name == "bottom":
            kept = contrast, pattern
        elif name == "top" and suit and kept is not None:
            contrast, pattern = kept
        rows = np.flatnonzero(shares[name])
        if not len(rows):
            continue
        place = points[rows]
        woven = pattern.woven and name in ("top", "bottom")
        light = shade(pattern, worn.cloth(place, name) if woven else place, contrast)
        light *= np.float32(tones[name])
        if name == "skin":
            light *= 1 - face_marks(place, worn.landmarks)
        total[rows] += shares[name][rows] * light

    ink, ink_tone = draw_print(rng, worn.landmarks, ranges.cell_m), _log_uniform(rng, ranges.tone)
    if rng.random() < ranges.print_share:
        cover = ink.share(points) * shares["top"]
        total += cover * (np.float32(ink_tone) - total)
    folds, contrast = Noise.draw(rng, (0.08, 0.14, 0.08)), _log_uniform(rng, ranges.fold_contrast)
    dressed = np.flatnonzero(shares["top"] + shares["bottom"])
    total[dressed] *= shade(folds, points[dressed], contrast)
    return np.clip(total, np.float32(DARKEST), 1)


def _choose(rng: np.random.Generator, weights: tuple[tuple[str, float], ...]) -> str:
    share = np.array([weight for _, weight in weights])
    return weights[int(rng.choice(len(weights), p=share / share.sum()))][0]


def _log_uniform(rng: np.random.Generator, bounds: Range) -> float:
    return float(np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]))))


def _check_range(name: str, value: Range) -> None:
    if not (isinstance(value, tuple) and len(value) == 2 and value[0] <= value[1]):
        raise ShapeError(f"WardrobeRanges.{name} must be (low, high) with low <= high; got {value}.")
    if value[0] < 0 or (name in _LOG and value[0] == 0):
        wanted = "positive, it is log-uniform" if name in _LOG else "not negative"
        raise UnitError(f"WardrobeRanges.{name} must be {wanted}; got {value}.")
    top = {"pattern_scale_m": np.inf, "looseness_scale_m": np.inf, "looseness_m": 0.05}.get(name, 1.0)
    if value[1] > top or (name.endswith("contrast") and value[1] == 1):
        wanted = "below 1" if name.endswith("contrast") else f"at most {top:g}"
        raise UnitError(f"WardrobeRanges.{name} must be {wanted}; got {value}.")


def _check_weights(name: str, value: tuple[tuple[str, float], ...], known: tuple[str, ...]) -> None:
    kinds = [kind for kind, _ in value]
    if unknown := sorted(set(kinds) - set(known)):
        raise ShapeError(f"WardrobeRanges.{name} names {', '.join(unknown)}; known are {', '.join(known)}.")
    if len(set(kinds)) != len(kinds) or not value:
        raise ShapeError(f"WardrobeRanges.{name} must name each kind once, and one at least; got {value}.")
    weights = [weight for _, weight in value]
    if min(weights) < 0 or not sum(weights) > 0:
        raise UnitError(f"WardrobeRanges.{name} needs weights >= 0 with a positive sum; got {value}.")
