"""Which garment covers which part of the resting body: smooth fields over template coordinates."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from eventhpe.body.landmarks import Landmarks
from eventhpe.errors import ShapeError, UnitError

F32 = NDArray[np.float32]

GARMENTS = ("skin", "socks", "shoes", "soles", "bottom", "top", "belt", "gloves", "beard", "hair")
"""What a point of the body can show."""

NECKLINES = ("crew", "wide", "v", "high")
HAIRSTYLES = ("bald", "short", "long", "hat")

_NOWHERE = np.float32(-1.0)


@dataclass(frozen=True)
class Outfit:
    """Cut of the clothes in terms of the body, so that it fits any template.

    Attributes:
        sleeve: where sleeves end: 0 at the shoulder (sleeveless), 1 at the wrist.
        neckline: "crew", "wide", "v" or "high" (a turtleneck).
        neck_size: 0 (tight) to 1 (deep).
        hem: lower edge of the top: 1 at the waistband, 0 at the crotch, -1 at the knees (a dress), above 1
            leaves the belly bare.
        tucked: the top ends in the waistband instead, whatever `hem` says.
        waist: height of the waistband: 0 at the hip joints, 1 at the lowest joint of the spine.
        leg: where trouser legs end: 0 at the crotch, 1 at the ankles.
        shoe: upper edge of the shoes: 0 at the ankles, 1 at the knees; -1 is barefoot.
        sock: upper edge of the socks, likewise; only what the shoes leave shows.
        belt, gloves, beard: worn or not.
        hair: "bald", "short", "long" or "hat".
        hair_length: lower end of long hair: 0 at the chin, 1 at the shoulder blades.
    Raises:
        ShapeError: an unknown neckline or hairstyle. UnitError: a number outside its range.
    """

    sleeve: float = 0.35
    neckline: str = "crew"
    neck_size: float = 0.3
    hem: float = 0.5
    tucked: bool = False
    waist: float = 0.7
    leg: float = 1.0
    shoe: float = 0.0
    sock: float = -1.0
    belt: bool = False
    gloves: bool = False
    beard: bool = False
    hair: str = "short"
    hair_length: float = 0.5

    def __post_init__(self) -> None:
        for name, known in (("neckline", NECKLINES), ("hair", HAIRSTYLES)):
            if getattr(self, name) not in known:
                raise ShapeError(
                    f"Outfit.{name} must be one of {', '.join(known)}; got {getattr(self, name)!r}."
                )
        bounds = {"hem": (-1.0, 1.8), "waist": (0.0, 1.5), "shoe": (-1.0, 1.0), "sock": (-1.0, 1.0)}
        for f in fields(self):
            if f.type != "float":
                continue
            low, high = bounds.get(f.name, (0.0, 1.0))
            if not low <= getattr(self, f.name) <= high:
                raise UnitError(
                    f"Outfit.{f.name} must lie in [{low:g}, {high:g}]; got {getattr(self, f.name)}."
                )


@dataclass(frozen=True)
class GarmentFields:
    """Fields of an outfit on a body: about the distance to the edge of a garment in metres, positive inside.

    Coordinates decide, not vertices, so edges are as smooth as the rules; in T-pose an arm is far from trunk
    and legs, so no garment bleeds onto another limb. Every method takes (N, 3) template coordinates and gives
    (N,) float32.
    """

    landmarks: Landmarks
    outfit: Outfit

    @property
    def waist_y(self) -> float:
        """Height of the waistband's upper edge."""
        low, high = self.landmarks.joint("hip_left")[1], self.landmarks.joint("spine1")[1]
        return float(low + self.outfit.waist * (high - low))

    @property
    def hem_y(self) -> float:
        """Height of the top's lower edge."""
        mark, hem = self.landmarks, self.outfit.hem
        if self.outfit.tucked:
            return self.waist_y
        if hem >= 0:
            return mark.crotch_y + hem * (self.waist_y - mark.crotch_y)
        return float(mark.crotch_y + hem * (mark.crotch_y - mark.joint("knee_left")[1]))

    @property
    def leg_y(self) -> float:
        """Height at which trouser legs end."""
        mark = self.landmarks
        return float(mark.crotch_y + self.outfit.leg * (mark.joint("ankle_left")[1] - mark.crotch_y))

    @property
    def sleeve_x(self) -> float:
        """Distance from the midline at which sleeves end."""
        shoulder, wrist = self.landmarks.joint("shoulder_left")[0], self.landmarks.joint("wrist_left")[0]
        return float(shoulder + self.outfit.sleeve * (wrist - shoulder))

    def top(self, points: ArrayLike) -> F32:
        """Shirt, pullover or dress, whether or not something is worn over it."""
        x, y, z = _columns(points)
        mark = self.landmarks
        shoulder, gap = mark.joint("shoulder_left"), mark.joint("head")[1] - mark.joint("neck")[1]
        # A sleeveless shirt is cut from the shoulder's top outwards to the armpit.
        slant = np.float32(0.35 * max(0.0, 1 - self.outfit.sleeve / 0.2))
        sleeve = np.float32(self.sleeve_x) - np.abs(x) - slant * (y - np.float32(shoulder[1]))
        return np.minimum(np.minimum(sleeve, y - np.float32(self.hem_y)), self._neck(x, y, z, float(gap)))

    def _neck(self, x: F32, y: F32, z: F32, gap: float) -> F32:
        """Outside the neck opening; `gap` is the distance from neck to head joint."""
        neck, size = self.landmarks.joint("neck"), self.outfit.neck_size
        if self.outfit.neckline == "high":
            return (
                np.float32(neck[1] + gap * (0.15 + 0.4 * size))
                - y
                - np.float32(0.3) * (z - np.float32(neck[2]))
            )
        wide = self.outfit.neckline == "wide"
        radius = gap * (0.9 + (0.75 if wide else 0.25) * size)
        dx, dy, dz = x, y - np.float32(neck[1] + 0.55 * gap), z - np.float32(neck[2] + 0.2 * gap)
        squash = np.float32(0.8 if wide else 1.0)
        ball = np.sqrt((squash * dx) ** 2 + dy**2 + (np.float32(0.8) * dz) ** 2) - np.float32(radius)
        head = np.float32(neck[1] + 0.35 * gap) - np.float32(0.6) * (z - np.float32(neck[2]))
        field = np.minimum(ball, head - y)  # chin and head are outside the shirt
        if self.outfit.neckline == "v":
            tip = neck[1] - gap * (0.6 + 1.4 * size)
            wedge = np.float32(0.85) * np.abs(x) - np.float32(0.42) * (y - np.float32(tip))
            behind = np.float32(neck[2] + 0.2 * gap) - z
            field = np.minimum(field, np.maximum(wedge, behind))
        return field

    def bottom(self, points: ArrayLike) -> F32:
        """Shorts or trousers, whether or not something is worn over them."""
        _, y, _ = _columns(points)
        return np.minimum(np.float32(self.waist_y) - y, y - np.float32(self.leg_y))

    def belt(self, points: ArrayLike) -> F32:
        """A band around the waist."""
        _, y, _ = _columns(points)
        if not self.outfit.belt:
            return np.full_like(y, _NOWHERE)
        return np.float32(0.016) - np.abs(y - np.float32(self.waist_y - 0.018))

    def shoes(self, points: ArrayLike) -> F32:
        """Shoes or boots with their soles."""
        _, y, z = _columns(points)
        if self.outfit.shoe < 0:
            return np.full_like(y, _NOWHERE)
        ankle, knee = self.landmarks.joint("ankle_left"), self.landmarks.joint("knee_left")
        rim = 0.15 * (ankle[1] - self.landmarks.sole_y)
        edge = ankle[1] + rim + self.outfit.shoe * (knee[1] - ankle[1])
        return np.float32(edge) - y + np.float32(0.2) * (z - np.float32(ankle[2]))

    def soles(self, points: ArrayLike) -> F32:
        """The rim of the shoes' soles."""
        _, y, _ = _columns(points)
        if self.outfit.shoe < 0:
            return np.full_like(y, _NOWHERE)
        low, ankle = self.landmarks.sole_y, self.landmarks.joint("ankle_left")[1]
        return np.float32(low + 0.3 * (ankle - low)) - y

    def socks(self, points: ArrayLike) -> F32:
        """Socks, also inside the shoes."""
        _, y, _ = _columns(points)
        if self.outfit.sock < 0:
            return np.full_like(y, _NOWHERE)
        ankle, knee = self.landmarks.joint("ankle_left")[1], self.landmarks.joint("knee_left")[1]
        return np.float32(ankle + self.outfit.sock * (knee - ankle)) - y

    def gloves(self, points: ArrayLike) -> F32:
        """Gloves up to the wrist."""
        x, _, _ = _columns(points)
        if not self.outfit.gloves:
            return np.full_like(x, _NOWHERE)
        return np.abs(x) - np.float32(self.landmarks.joint("wrist_left")[0] - 0.01)

    def hair(self, points: ArrayLike) -> F32:
        """Hair or a hat."""
        x, y, z = _columns(points)
        mark, size = self.landmarks, self.landmarks.head_height
        if self.outfit.hair == "bald":
            return np.full_like(y, _NOWHERE)
        back = mark.nose[2] - 0.95 * size
        front_y, back_y = mark.crown_y - 0.2 * size, mark.chin_y + 0.12 * size
        if self.outfit.hair == "hat":
            front_y, back_y = mark.crown_y - 0.28 * size, mark.crown_y - 0.5 * size
        slope = (front_y - back_y) / (mark.nose[2] - 0.12 * size - back)
        line = np.float32(back_y) + np.float32(slope) * (z - np.float32(back))
        field = (y - line) * np.float32(1 / np.hypot(1, slope))
        if self.outfit.hair == "long":
            low = mark.chin_y + self.outfit.hair_length * (mark.joint("spine3")[1] - mark.chin_y)
            width = np.float32(0.42 * size)
            end = np.float32(low) + np.float32(0.35 * size) * (x / width) ** 4  # rounded corners
            mane = np.minimum(np.float32(back + 0.38 * size) - z, np.minimum(y - end, width - np.abs(x)))
            field = np.maximum(field, mane)
        return field

    def beard(self, points: ArrayLike) -> F32:
        """A full beard around the mouth."""
        x, y, z = _columns(points)
        mark, size = self.landmarks, self.landmarks.head_height
        if not self.outfit.beard:
            return np.full_like(y, _NOWHERE)
        jaw = np.float32(mark.crown_y - 0.86 * size) + np.float32(0.5) * (np.float32(mark.nose[2]) - z)
        moustache = np.minimum(
            np.float32(mark.nose[1] - 0.07 * size) - y, np.float32(0.16 * size) - np.abs(x)
        )
        field = np.minimum(np.maximum(jaw - y, moustache), y - np.float32(mark.chin_y - 0.06 * size))
        return np.minimum(field, z - np.float32(mark.nose[2] - 0.5 * size))

    def shares(self, points: ArrayLike, edge_m: float = 0.008) -> dict[str, F32]:
        """What shows at each point: share (N,) in [0, 1] of each of `GARMENTS`; the shares sum to 1.

        Args:
            points: (N, 3) template coordinates.
            edge_m: width over which one garment passes into the next.
        """
        order = ["socks", "shoes", "soles", "bottom", "belt", "top"]
        if self.outfit.tucked:
            order = ["socks", "shoes", "soles", "top", "bottom", "belt"]
        if self.leg_y > self.landmarks.joint("ankle_left")[1] + 0.02 or self.outfit.shoe > 0.1:
            order = [name for name in order if name not in ("shoes", "soles")] + ["shoes", "soles"]
        xyz = np.asarray(points, np.float32)
        shares: dict[str, F32] = {}
        left = np.ones(len(xyz), np.float32)
        for name in reversed([*order, "gloves", "beard", "hair"]):  # the outermost takes its share first
            field: F32 = getattr(self, name)(xyz)
            shares[name] = left * np.clip(np.float32(0.5) + field * np.float32(1 / edge_m), 0, 1)
            left = left - shares[name]
        shares["skin"] = left
        return {name: shares[name] for name in GARMENTS}

    def cloth(self, points: ArrayLike, part: str) -> F32:
        """(N, 3) float32 coordinates of woven cloth in metres: around, along, and off the mean thickness.

        Sleeves and trouser legs are cut around their limb, the trunk around its own axis, so that stripes
        ring arms and legs as those of real clothes do. Seams lie in front and behind, and at the shoulders.

        Args:
            part: "top" (trunk and sleeves) or "bottom" (each leg up to the waist).
        """
        x, y, z = _columns(points)
        mark = self.landmarks
        out = np.empty((len(x), 3), np.float32)
        if part == "bottom":
            hip = mark.joint("hip_left")
            sides, forward, radius = np.abs(x) - np.float32(hip[0]), z - np.float32(hip[2]), mark.leg_radius
            out[:, 0] = np.arctan2(sides, forward) * np.float32(radius)
            out[:, 1] = y
            out[:, 2] = np.hypot(sides, forward) - np.float32(radius)
            return out
        if part != "top":
            raise ShapeError(f'part must be "top" or "bottom"; got {part!r}.')
        forward = z - np.float32(mark.chest_z)
        out[:, 0] = np.arctan2(x, forward) * np.float32(mark.chest_radius)
        out[:, 1] = y
        out[:, 2] = np.hypot(x, forward) - np.float32(mark.chest_radius)
        shoulder = mark.joint("shoulder_left").astype(np.float32)
        arm = np.abs(x) > shoulder[0]
        up, forward = y[arm] - shoulder[1], z[arm] - shoulder[2]
        out[arm, 0] = np.arctan2(up, forward) * np.float32(mark.arm_radius)
        out[arm, 1] = shoulder[1] - (np.abs(x[arm]) - shoulder[0])
        out[arm, 2] = np.hypot(up, forward) - np.float32(mark.arm_radius)
        return out


def _columns(points: ArrayLike) -> tuple[F32, F32, F32]:
    xyz = np.asarray(points, np.float32)
    if xyz.ndim != 2 or xyz.shape[1] != 3:
        raise ShapeError(f"points must be (N, 3) template coordinates; got {xyz.shape}.")
    return xyz[:, 0], xyz[:, 1], xyz[:, 2]
