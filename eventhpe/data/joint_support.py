"""How many events each joint's skin received: static limbs get none, and no method can see them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eventhpe.body.default import open_body_arrays
from eventhpe.data.annotate import scene_mesh
from eventhpe.data.cast import Cast
from eventhpe.events.types import Events
from eventhpe.geometry.camera import Camera
from eventhpe.render.part_support import dilate_parts, events_per_part, part_map

MARGIN_PX = 2
"""Events this far outside the silhouette still belong to the nearest limb: edges fire on both sides."""


def joint_support(cast: Cast, camera: Camera, events: Events, t_us: int) -> NDArray[np.int64]:
    """Events per person and joint.

    Args:
        cast: the people.
        camera: its intrinsics and size.
        events: of a short window around `t_us`.
        t_us: time at which the bodies stand for the window.
    Returns:
        (P, 24) counts; an event belongs to the joint whose skin weight dominates at its pixel.
    """
    (instant,) = cast.at(t_us)
    dominant = np.argmax(open_body_arrays()["weights"], axis=1)
    P = len(instant.vertices)
    vertices, faces = scene_mesh(cast, instant)
    part_of_vertex = np.concatenate([dominant + 24 * i for i in range(P)])
    parts = dilate_parts(part_map(vertices, faces, part_of_vertex, camera), MARGIN_PX)
    return events_per_part(events, parts, 24 * P).reshape(P, 24)
