"""What is drawn anew for every recording, and how far it may go.

Ranges follow the sim-to-real literature (Stoffregen et al. 2020; Rudnev et al. 2021; Hu et al. 2021) and a
comparison with real recordings (`eventhpe evaluate realism`): whatever a network must not rely on is drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from eventhpe.errors import ShapeError, UnitError

Range = tuple[float, float]
Size = tuple[int, int]

MAINS_HZ = (50.0, 60.0, 100.0, 120.0)
"""Frequencies of flickering lamps: mains, and twice that."""

_SIGNED = ("roll_deg", "facing_deg", "distortion_k1")
_LOG = (
    "background_contrast", "threshold", "shot_hz", "cutoff_hz", "exposure_dn", "flicker_depth",
    "hot_pixel_hz",
)  # fmt: skip

_LIMITS = {
    "body_fraction": (0.05, 10.0),
    "roll_deg": (-180.0, 180.0),
    "facing_deg": (-180.0, 180.0),
    "distortion_k1": (-0.5, 0.5),
    "flicker_depth": (0.0, 0.99),
    "threshold": (0.025, 10.0),
    "threshold_ratio": (0.5, 2.0),
    "refractory_us": (0.0, 1e6),
    "noise_spread": (0.0, 3.0),
    "noise_patch_share": (0.0, 1.0),
    "bunch_us": (0.0, 1e6),
    "readout_mev_per_s": (0.001, 1e6),
}
"""What lens, lamps and sensor can do, for fields that would fail late or mean nothing beyond."""


@dataclass(frozen=True)
class SceneRanges:
    """Ranges (low, high) and shares of a scene. Field names appear in error messages and in provenance."""

    sensor_sizes: tuple[Size, ...] = ((128, 128), (180, 240), (260, 346))
    """(H, W) of the sensors to choose from."""
    people: tuple[int, int] = (1, 1)
    """How many people, low and high."""
    spacing_m: Range = (0.5, 1.6)
    """Distance between neighbours, when there are several people."""
    field_of_view_deg: Range = (35.0, 75.0)
    """Horizontal field of view."""
    body_fraction: Range = (0.50, 0.95)
    """Share of the image height that a 1.7 m person fills."""
    distance_m: Range = (1.4, 8.0)
    """Distance of the camera from the middle of the scene; it wins over body_fraction."""
    camera_height_m: Range = (0.5, 2.5)
    """Height of the camera above the floor."""
    roll_deg: Range = (-8.0, 8.0)
    """Roll of the camera about its axis."""
    distorted_share: float = 0.3
    """Share of recordings through a lens with distortion."""
    distortion_k1: Range = (-0.32, 0.05)
    """First radial coefficient of those lenses."""
    dhp19_camera_share: float = 0.0
    """Share of recordings by one of DHP19's four calibrated cameras; their size is then 260 x 346."""
    facing_share: float = 0.6
    """Share of recordings in which the person roughly faces the camera; in the others the heading is
    uniform."""
    facing_deg: Range = (-70.0, 70.0)
    """Heading relative to the camera in those recordings."""
    lights: tuple[int, int] = (1, 2)
    """How many lamps, low and high."""
    ambient: Range = (0.25, 0.6)
    """Ambient share of the light."""
    exposure_dn: Range = (80.0, 255.0)
    """Brightness of a white surface facing the light, in digital numbers of 0..255, drawn log-uniformly."""
    shadow_share: float = 0.7
    """Share of recordings with contact shadows on the floor."""
    shadow: Range = (0.1, 0.6)
    """Their darkness."""
    flicker_share: float = 0.1
    """Share of recordings under flickering lamps (50, 60, 100 or 120 Hz)."""
    flicker_depth: Range = (0.01, 0.15)
    """Depth of the flicker, drawn log-uniformly."""
    empty_share: float = 0.3
    """Share of recordings before an even background."""
    background_contrast: Range = (0.02, 0.9)
    """Contrast of the other backgrounds, drawn log-uniformly."""
    shake_share: float = 0.2
    """Share of recordings with a camera held by hand."""
    shake_px: Range = (0.2, 2.0)
    """Standard deviation of the image's wander in those recordings, pixels at 346 x 260."""
    distractor_share: float = 0.15
    """Share of recordings with things that move behind the people."""
    distractors: tuple[int, int] = (1, 3)
    """How many of them, low and high."""
    gray_exposure_us: Range = (1_000.0, 12_000.0)
    """Exposure time of the gray frames."""
    threshold: Range = (0.12, 0.60)
    """Contrast threshold of ON events (natural log), drawn log-uniformly."""
    threshold_ratio: Range = (0.75, 1.1)
    """OFF threshold divided by the ON threshold."""
    mismatch_sigma: Range = (0.01, 0.05)
    """Spread of the threshold between pixels, in log units."""
    refractory_us: Range = (0.0, 1000.0)
    """Dead time of a pixel after an event."""
    leak_hz: Range = (0.0, 0.04)
    """Rate of leak (ON) events per pixel."""
    shot_hz: Range = (0.01, 0.8)
    """Rate of shot-noise events per pixel in the dark, drawn log-uniformly."""
    noise_spread: Range = (0.6, 1.6)
    """Unevenness of leak and shot noise over the sensor (sigma of a log-normal)."""
    noise_patch_share: Range = (0.04, 0.2)
    """Size of its smooth patches, as a share of the image height."""
    cutoff_share: float = 0.85
    """Share of recordings with a limited photoreceptor bandwidth."""
    cutoff_hz: Range = (20.0, 200.0)
    """That bandwidth at full brightness, drawn log-uniformly."""
    hot_pixel_fraction: Range = (0.0, 0.004)
    """Share of pixels that fire all the time, in both polarities."""
    hot_pixel_hz: Range = (4.0, 30.0)
    """How often they fire, drawn log-uniformly."""
    bunched_share: float = 0.5
    """Share of recordings whose time stamps are bunched by the read-out."""
    bunch_us: Range = (10.0, 200.0)
    """Step of those time stamps."""
    readout_share: float = 0.3
    """Share of recordings whose read-out is limited."""
    readout_mev_per_s: Range = (2.0, 12.0)
    """That limit in million events per second."""

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name == "sensor_sizes":
                self._check_sizes()
            elif f.type == "float":
                if isinstance(value, tuple) or not 0 <= value <= 1:
                    raise ShapeError(f"SceneRanges.{f.name} must lie in [0, 1]; got {value}.")
            else:
                self._check_range(f.name, value)
        if self.people[0] < 1:
            raise ShapeError(f"SceneRanges.people must be at least 1; got {self.people}.")
        if self.lights[0] < 1:
            raise ShapeError(f"SceneRanges.lights must be at least 1; got {self.lights}.")
        if self.distance_m[0] < 0.8:
            raise UnitError(
                f"SceneRanges.distance_m: {self.distance_m[0]} m puts the camera inside a moving body; "
                "the low end must be at least 0.8."
            )
        if not 0 < self.field_of_view_deg[0] or not self.field_of_view_deg[1] < 170:
            raise UnitError(
                f"SceneRanges.field_of_view_deg must lie in (0, 170); got {self.field_of_view_deg}."
            )

    def _check_range(self, name: str, value: tuple[float, ...]) -> None:
        if not isinstance(value, tuple) or len(value) != 2 or not -math.inf < value[0] <= value[1] < math.inf:
            raise ShapeError(
                f"SceneRanges.{name} must be (low, high), finite, low not above high; got {value}."
            )
        if name not in _SIGNED and value[0] < 0:
            raise ShapeError(f"SceneRanges.{name} must not be negative; got {value}.")
        if name in _LOG and value[0] <= 0 and value[1] > 0:
            raise ShapeError(
                f"SceneRanges.{name} is log-uniform and must be positive (or 0, 0 for off); got {value}."
            )
        if name in ("threshold", "threshold_ratio", "exposure_dn") and value[0] <= 0:
            raise UnitError(f"SceneRanges.{name} must be positive; got {value}.")
        if name in ("shadow", "ambient", "background_contrast", "hot_pixel_fraction") and value[1] > 1:
            raise ShapeError(f"SceneRanges.{name} must not pass 1; got {value}.")
        if name in _LIMITS and not _LIMITS[name][0] <= value[0] <= value[1] <= _LIMITS[name][1]:
            raise UnitError(f"SceneRanges.{name} must lie in {list(_LIMITS[name])}; got {value}.")

    def _check_sizes(self) -> None:
        for size in self.sensor_sizes or [()]:
            if not (isinstance(size, tuple) and len(size) == 2 and min(size) >= 1):
                raise ShapeError(
                    f"SceneRanges.sensor_sizes must list (H, W) pairs, both >= 1; got {self.sensor_sizes}."
                )
