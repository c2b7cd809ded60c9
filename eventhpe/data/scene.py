"""What is simulated: people with their motions and clothes, a camera, light, a background and a sensor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.body.params import BodyParams
from eventhpe.body.solid_texture import SolidTexture
from eventhpe.errors import ShapeError, UnitError
from eventhpe.events.simulate import SensorModel
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.rotation import rotvec_to_rotmat
from eventhpe.render.background import Background
from eventhpe.render.shading import Light


@dataclass(frozen=True)
class Person:
    """One person for the length of a recording.

    Attributes:
        motion: BodyParams over K label times, world frame (Y up, floor at 0); betas as `motion.betas`.
        source: where the motion comes from (clip with checksum, or procedural movement).
        albedo: reflectance, (V,) per vertex or a solid texture.
        offsets: (V,) float32 metres that loose clothes add along the normals of the resting body; None =
        tight.
    """

    motion: BodyParams
    source: str
    albedo: NDArray[np.float32] | SolidTexture
    offsets: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        if self.motion.frame != "world" or self.motion.transl.ndim != 2:
            raise ShapeError("Person.motion must be BodyParams over (K,) in the world frame.")


@dataclass(frozen=True)
class Flicker:
    """Brightness of the lamps over time: 1 + depth * cos(2 pi hz t + phase).

    Attributes:
        hz: of the light's intensity, twice the mains frequency for most lamps.
        depth: 0 to < 1.
        phase: radians.
    """

    hz: float
    depth: float
    phase: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.hz <= 1000 or not 0 <= self.depth < 1:
            raise UnitError(
                f"Flicker.hz must lie in (0, 1000] and depth in [0, 1); got {self.hz} and {self.depth}."
            )

    def gain(self, t_us: int) -> float:
        """Brightness at a time, 1 on average."""
        return float(1.0 + self.depth * np.cos(2e-6 * np.pi * self.hz * t_us + self.phase))


@dataclass(frozen=True)
class Scene:
    """Everything that decides a recording, but for the sensor's noise.

    Attributes:
        people: at least one; all motions have the same K.
        step_us: spacing of the motions' frames, which is that of the labels.
        camera: at rest, from the world (Y up) to the camera frame.
        background: what the camera sees behind the people.
        lights: lamps, directions in the WORLD frame.
        ambient: light from everywhere.
        exposure_dn: digital numbers of a white surface under light 1.
        shake: (K, 3) rotation vectors that turn the camera about its centre (x_now = R x_rest), or None.
        shadow: darkness of the contact shadows, 0 to 1.
        flicker: of the lamps, or None.
        gray_exposure_us: how long a gray frame gathers light; 0 = an instant.
        sensor: the event camera.
        factors: what was drawn, by name (numbers and words), for provenance.
    """

    people: tuple[Person, ...]
    step_us: int
    camera: Camera
    background: Background
    lights: tuple[Light, ...]
    ambient: float
    exposure_dn: float
    sensor: SensorModel
    shake: NDArray[np.float64] | None = None
    shadow: float = 0.0
    flicker: Flicker | None = None
    gray_exposure_us: int = 0
    factors: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = {len(p.motion.transl) for p in self.people}
        if len(lengths) != 1 or min(lengths) < 2:
            raise ShapeError(
                f"Scene.people must hold one person or more, with motions of one length >= 2; got {lengths}."
            )
        if self.shake is not None and self.shake.shape != (min(lengths), 3):
            raise ShapeError(f"Scene.shake must be {(min(lengths), 3)}; got {self.shake.shape}.")
        for name in ("shadow", "ambient"):
            if not 0 <= getattr(self, name) <= 1:
                raise UnitError(f"Scene.{name} must lie in [0, 1]; got {getattr(self, name)}.")
        for name, low in (("step_us", 1), ("exposure_dn", 1e-3), ("gray_exposure_us", 0)):
            if not getattr(self, name) >= low:
                raise UnitError(f"Scene.{name} must be at least {low}; got {getattr(self, name)}.")

    @property
    def num_labels(self) -> int:
        """K."""
        return len(self.people[0].motion.transl)

    @property
    def duration_us(self) -> int:
        """Time of the last label."""
        return (self.num_labels - 1) * self.step_us

    def extrinsics(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(K, 3, 3) and (K, 3): the camera's place at every label time, world to camera."""
        R, t = self.camera.R_world_to_cam, self.camera.t_world_to_cam
        if self.shake is None:
            K = self.num_labels
            return np.broadcast_to(R, (K, 3, 3)), np.broadcast_to(t, (K, 3))
        turn = rotvec_to_rotmat(self.shake)
        return turn @ R, turn @ t
