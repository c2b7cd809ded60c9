"""Keypoints of the people in a recording."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eventhpe.errors import ShapeError
from eventhpe.geometry.camera import Camera
from eventhpe.geometry.skeleton import Skeleton
from eventhpe.shapenet.heads.parts import NUM_PARTS

F64 = NDArray[np.float64]


@dataclass(frozen=True)
class PersonPoses:
    """One person, in the windows in which it was found.

    Attributes:
        person: number that the person keeps.
        window: (N,) increasing indices into `Poses.t_us`.
        uv: (N, J, 2) pixels of the whole image, pixel centres at integers.
        confidence: (N, J) in [0, 1].
        box: (N, 4) x0, y0, x1, y1 in pixel edges (pixel 0 covers [0, 1)).
        xyz: (N, J, 3) metres in the camera frame, or None.
        order: (N, 14) int64 depth order of HEMlets' parts (shapenet/heads/parts.py), +1 = the child is nearer
            to the camera than the parent; None from other heads.
    """

    person: int
    window: NDArray[np.int64]
    uv: F64
    confidence: F64
    box: F64
    xyz: F64 | None = None
    order: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Poses:
    """Everybody in a recording.

    Attributes:
        skeleton: of all people.
        t_us: (T,) ends of the windows; a pose stands at the end of its window.
        sensor_size: (H, W).
        people: in order of their numbers.
        camera: that `xyz` refer to, or None.
        provenance: recording, weights, assumptions.
    Raises:
        ShapeError: arrays that do not fit each other.
    """

    skeleton: Skeleton
    t_us: NDArray[np.int64]
    sensor_size: tuple[int, int]
    people: tuple[PersonPoses, ...]
    camera: Camera | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        J = len(self.skeleton.joints)
        for p in self.people:
            N = len(p.window)
            expected = {"uv": (N, J, 2), "confidence": (N, J), "box": (N, 4)}
            if p.xyz is not None:
                expected["xyz"] = (N, J, 3)
            if p.order is not None:
                expected["order"] = (N, NUM_PARTS)
            for name, shape in expected.items():
                if getattr(p, name).shape != shape:
                    raise ShapeError(
                        f"person {p.person}: {name} must be {shape}; got {getattr(p, name).shape}."
                    )
            if N and not (
                0 <= p.window[0] and p.window[-1] < len(self.t_us) and (np.diff(p.window) > 0).all()
            ):
                raise ShapeError(f"person {p.person}: window must increase within 0..{len(self.t_us) - 1}.")
