"""Patterns of cloth, skin and hair: values in [-1, 1] as functions of a place in space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventhpe.errors import ShapeError, UnitError

F32 = NDArray[np.float32]

LATTICE = 32
"""Side of the periodic lattice of random values behind `Noise`."""

_TURN = ((0.36, 0.48, -0.8), (-0.8, 0.6, 0.0), (0.48, 0.64, 0.6))
"""A rotation by no simple angle: keeps lattice planes off the body's axes, and octaves off each other."""


class Pattern(Protocol):
    """A pattern of the coordinates it is given; `woven` ones want cloth coordinates where there are any
    (`GarmentFields.cloth`), the others always the template's."""

    woven: ClassVar[bool]

    def at(self, points: ArrayLike) -> F32:
        """(N,) float32 in [-1, 1] at (N, 3) metres."""
        ...


@dataclass(frozen=True)
class Plain:
    """No pattern."""

    woven: ClassVar[bool] = False

    def at(self, points: ArrayLike) -> F32:
        """(N,) ones at (N, 3) metres."""
        return np.ones(len(_points(points)), np.float32)


@dataclass(frozen=True)
class Noise:
    """Value noise (random numbers on a lattice, smoothly interpolated), summed over octaves.

    Attributes:
        lattice: (32, 32, 32) float32 in [-1, 1], repeated in all directions.
        scales_m: lattice spacing along the three axes, metres; unequal ones draw the noise out to strands.
        octaves: each octave has half the spacing and half the weight of the one before.
        hardness: 1 leaves the noise as it is, large values give blotches with sharp edges (camouflage).
    """

    lattice: F32
    scales_m: tuple[float, float, float]
    octaves: int = 1
    hardness: float = 1.0
    woven: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if np.shape(self.lattice) != (LATTICE, LATTICE, LATTICE):
            raise ShapeError(f"Noise.lattice must be ({LATTICE},) * 3; got {np.shape(self.lattice)}.")
        if min(self.scales_m) <= 0 or self.octaves < 1 or self.hardness < 1:
            raise UnitError(
                "Noise needs scales_m > 0, octaves >= 1 and hardness >= 1; got "
                f"{self.scales_m}, {self.octaves}, {self.hardness}."
            )

    @classmethod
    def draw(
        cls,
        rng: np.random.Generator,
        scales_m: tuple[float, float, float],
        octaves: int = 1,
        hardness: float = 1,
    ) -> Noise:
        """Noise on a new lattice."""
        lattice = rng.random((LATTICE, LATTICE, LATTICE), dtype=np.float32) * 2 - 1
        return cls(lattice, scales_m, octaves, hardness)

    def at(self, points: ArrayLike) -> F32:
        """(N,) float32 in [-1, 1] at (N, 3) metres."""
        xyz = _points(points).T / np.array(self.scales_m, np.float32)[:, None]
        total = np.zeros(xyz.shape[1], np.float32)
        for octave in range(self.octaves):
            xyz = np.stack([_along(xyz, axis) for axis in _TURN])
            total += self._layer(xyz * np.float32(2**octave)) * np.float32(0.5**octave)
        # Interpolation and octaves narrow the spread; 1.4 brings it back to about that of a single value.
        gain = np.float32(1.4 * self.hardness / (2 - 0.5 ** (self.octaves - 1)) ** 0.5)
        return np.clip(total * gain, -1, 1)

    def _layer(self, xyz: F32) -> F32:
        """One octave at (3, N) lattice coordinates."""
        cell = np.floor(xyz)
        part = xyz - cell
        part *= part * (3 - 2 * part)
        low = cell.astype(np.int32) & (LATTICE - 1)
        high = (low + 1) & (LATTICE - 1)
        flat = self.lattice.ravel()
        x0, x1 = low[0] * LATTICE**2, high[0] * LATTICE**2
        y0, y1 = low[1] * LATTICE, high[1] * LATTICE
        u, v, w = part

        def along_z(xy: NDArray[np.int32]) -> F32:
            near = flat.take(xy + low[2])
            return near + w * (flat.take(xy + high[2]) - near)

        left = along_z(x0 + y0)
        left += v * (along_z(x0 + y1) - left)
        right = along_z(x1 + y0)
        right += v * (along_z(x1 + y1) - right)
        return left + u * (right - left)


@dataclass(frozen=True)
class Stripes:
    """Parallel bands.

    Attributes:
        direction: (3,) across the bands; any length.
        period_m: from band to band.
        duty: share of the period that is light.
        edge_m: width of the passage from light to dark; half the period makes the stripes soft.
        phase: shift in periods.
    """

    direction: tuple[float, float, float]
    period_m: float
    duty: float = 0.5
    edge_m: float = 0.008
    phase: float = 0.0
    woven: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not np.linalg.norm(self.direction) > 0:
            raise ShapeError(f"Stripes.direction must not be zero; got {self.direction}.")
        if not (self.period_m > 0 and self.edge_m > 0 and 0 < self.duty < 1):
            raise UnitError(
                "Stripes needs period_m > 0, edge_m > 0 and duty in (0, 1); got "
                f"{self.period_m}, {self.edge_m}, {self.duty}."
            )

    def at(self, points: ArrayLike) -> F32:
        """(N,) float32 in [-1, 1] at (N, 3) metres."""
        unit = np.array(self.direction, np.float64) / np.linalg.norm(self.direction)
        turns = _along(_points(points).T, unit / self.period_m) + np.float32(self.phase)
        from_middle = np.abs(turns - np.rint(turns))
        inside = (np.float32(self.duty / 2) - from_middle) * np.float32(self.period_m)
        return np.clip(inside * np.float32(2 / self.edge_m), -1, 1)


@dataclass(frozen=True)
class Checks:
    """A board of squares: the product of two sets of stripes."""

    first: Stripes
    second: Stripes
    woven: ClassVar[bool] = True

    def at(self, points: ArrayLike) -> F32:
        """(N,) float32 in [-1, 1] at (N, 3) metres."""
        return self.first.at(points) * self.second.at(points)


@dataclass(frozen=True)
class Plaid:
    """Several sets of stripes laid over each other by weight."""

    stripes: tuple[Stripes, ...]
    weights: tuple[float, ...]
    woven: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.stripes or len(self.stripes) != len(self.weights) or min(self.weights) <= 0:
            raise ShapeError(
                f"Plaid needs one positive weight per set of stripes; got {len(self.stripes)} sets and "
                f"weights {self.weights}."
            )

    def at(self, points: ArrayLike) -> F32:
        """(N,) float32 in [-1, 1] at (N, 3) metres."""
        total = sum(self.weights)
        value = np.zeros(len(_points(points)), np.float32)
        for stripes, weight in zip(self.stripes, self.weights, strict=True):
            value += stripes.at(points) * np.float32(weight / total)
        return np.clip(value, -1, 1)


@dataclass(frozen=True)
class Dots:
    """Discs in staggered rows over the first two coordinates.

    Attributes:
        period_m: from dot to dot in a row; rows lie as far apart.
        radius_m: of a dot.
        edge_m: width of the passage from light to dark.
    """

    period_m: float
    radius_m: float
    edge_m: float = 0.008
    woven: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not (0 < self.radius_m < self.period_m / 2 and self.edge_m > 0):
            raise UnitError(
                "Dots needs 0 < radius_m < period_m / 2 and edge_m > 0; got "
                f"{self.radius_m}, {self.period_m}, {self.edge_m}."
            )

    def at(self, points: ArrayLike) -> F32:
        """(N,) float32 in [-1, 1] at (N, 3) metres."""
        xyz = _points(points) / np.float32(self.period_m)
        row = np.rint(xyz[:, 1])
        across = xyz[:, 0] + np.float32(0.5) * (row % 2)
        distance = np.hypot(across - np.rint(across), xyz[:, 1] - row) * np.float32(self.period_m)
        return np.clip((np.float32(self.radius_m) - distance) * np.float32(2 / self.edge_m), -1, 1)


@dataclass(frozen=True)
class Gradient:
    """A smooth passage from dark to light along a direction.

    Attributes:
        direction: (3,) towards the light end; any length.
        centre: (3,) metres, where the value is 0.
        length_m: from dark end to light end.
    """

    direction: tuple[float, float, float]
    centre: tuple[float, float, float]
    length_m: float
    woven: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if not (np.linalg.norm(self.direction) > 0 and self.length_m > 0):
            raise UnitError(
                "Gradient needs a direction other than zero and length_m > 0; got "
                f"{self.direction}, {self.length_m}."
            )

    def at(self, points: ArrayLike) -> F32:
        """(N,) float32 in [-1, 1] at (N, 3) metres."""
        unit = np.array(self.direction, np.float64) / np.linalg.norm(self.direction)
        along = _along(_points(points).T, unit) - np.float32(unit @ np.array(self.centre, np.float64))
        return np.sin(np.clip(along * np.float32(np.pi / self.length_m), -np.pi / 2, np.pi / 2))


@dataclass(frozen=True)
class Print:
    """A patch on the chest or the back, which covers the cloth with a motif.

    Attributes:
        centre: (x, y) metres, template coordinates.
        half_size: (width, height) / 2 in metres.
        divide_z: depth between chest and back.
        front: on the chest.
        motif: what is printed; only its light parts are.
        round_: an ellipse instead of a rectangle.
        edge_m: width of the edge.
    """

    centre: tuple[float, float]
    half_size: tuple[float, float]
    divide_z: float
    motif: Pattern
    front: bool = True
    round_: bool = False
    edge_m: float = 0.008

    def __post_init__(self) -> None:
        if not (min(self.half_size) > 0 and self.edge_m > 0):
            raise UnitError(f"Print needs half_size > 0 and edge_m > 0; got {self.half_size}, {self.edge_m}.")

    def share(self, points: ArrayLike) -> F32:
        """(N,) float32 in [0, 1]: how much ink lies at (N, 3) template coordinates."""
        xyz = _points(points)
        width, height = (np.float32(half) for half in self.half_size)
        dx, dy = (
            np.abs(xyz[:, 0] - np.float32(self.centre[0])),
            np.abs(xyz[:, 1] - np.float32(self.centre[1])),
        )
        if self.round_:
            inside = (1 - np.hypot(dx / width, dy / height)) * min(width, height)
        else:
            inside = np.minimum(width - dx, height - dy)
        share = np.clip(np.float32(0.5) + inside * np.float32(1 / self.edge_m), 0, 1)
        share *= (xyz[:, 2] > np.float32(self.divide_z)) == self.front
        inked = np.flatnonzero(share)
        share[inked] *= np.float32(0.5) + np.float32(0.5) * self.motif.at(xyz[inked])
        return share


def shade(pattern: Pattern, points: ArrayLike, contrast: float) -> F32:
    """(N,) float32 reflectance multipliers in (0, 1]: 1 at the pattern's lightest place.

    The pattern's darkest and lightest places differ by the Michelson contrast (a - b) / (a + b) = `contrast`.

    Raises:
        UnitError: contrast outside [0, 1).
    """
    if not 0 <= contrast < 1:
        raise UnitError(f"contrast must lie in [0, 1); got {contrast}.")
    return (1 + np.float32(contrast) * pattern.at(points)) * np.float32(1 / (1 + contrast))


def _along(xyz: F32, direction: ArrayLike) -> F32:
    """(N,) dot products of (3, N) points; plain sums: BLAS would wake its threads, and rounds by machine."""
    a, b, c = np.asarray(direction, np.float32)
    return a * xyz[0] + b * xyz[1] + c * xyz[2]


def _points(points: ArrayLike) -> F32:
    xyz = np.asarray(points, np.float32)
    if xyz.ndim != 2 or xyz.shape[1] != 3:
        raise ShapeError(f"points must be (N, 3); got {xyz.shape}.")
    return xyz
