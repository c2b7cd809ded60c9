"""The 33 movements of DHP19 (Calabrese et al. 2019) by session and number, and performing them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from eventhpe.body.choreography import perform
from eventhpe.body.params import BodyParams
from eventhpe.body.stage import Side
from eventhpe.errors import ShapeError

MovementGroup = Literal["upper", "lower", "whole"]


@dataclass(frozen=True)
class DHP19MovementName:
    """One movement of DHP19.

    Attributes:
        session: 1..5.
        movement: 1..8, within the session.
        index: 1..33, over all sessions.
        name: in words, e.g. "left arm abduction".
        function: key of `choreography.MOVEMENTS` that performs it.
        side: the subject's side that moves, or None.
        group: the part of the body that papers count it to: "upper", "lower" or "whole".
    """

    session: int
    movement: int
    index: int
    name: str
    function: str
    side: Side | None
    group: MovementGroup


_SESSIONS: tuple[tuple[tuple[str, str, Side | None, MovementGroup], ...], ...] = (
    (
        ("left arm abduction", "arm_abduction", "left", "upper"),
        ("right arm abduction", "arm_abduction", "right", "upper"),
        ("left leg abduction", "leg_abduction", "left", "lower"),
        ("right leg abduction", "leg_abduction", "right", "lower"),
        ("left arm bicep lift", "bicep_lift", "left", "upper"),
        ("right arm bicep lift", "bicep_lift", "right", "upper"),
        ("left leg knee lift", "knee_lift", "left", "lower"),
        ("right leg knee lift", "knee_lift", "right", "lower"),
    ),
    (
        ("walk 3.5 km/h", "treadmill_walk", None, "whole"),
        ("single jump up-down", "single_jump", None, "whole"),
        ("single jump forward", "jump_forward", None, "whole"),
        ("multiple jumps up-down", "jumps", None, "whole"),
        ("hop right foot", "hop", "right", "whole"),
        ("hop left foot", "hop", "left", "whole"),
    ),
    (
        ("punch straight left", "punch_forward", "left", "upper"),
        ("punch straight right", "punch_forward", "right", "upper"),
        ("punch up-forward left", "punch_up_forward", "left", "upper"),
        ("punch up-forward right", "punch_up_forward", "right", "upper"),
        ("punch down-forward left", "punch_down_forward", "left", "upper"),
        ("punch down-forward right", "punch_down_forward", "right", "upper"),
    ),
    (
        ("slow jog 7 km/h", "treadmill_jog", None, "whole"),
        ("star jumps", "star_jump", None, "whole"),
        ("kick forward left", "kick_forward", "left", "lower"),
        ("kick forward right", "kick_forward", "right", "lower"),
        ("side kick left", "side_kick", "left", "lower"),
        ("side kick right", "side_kick", "right", "lower"),
    ),
    (
        ("wave hello left", "wave_hello", "left", "upper"),
        ("wave hello right", "wave_hello", "right", "upper"),
        ("circle left hand", "circle_hand", "left", "upper"),
        ("circle right hand", "circle_hand", "right", "upper"),
        ("figure-8 left", "draw_eight", "left", "upper"),
        ("figure-8 right", "draw_eight", "right", "upper"),
        ("clap", "clap_hands", None, "upper"),
    ),
)


def _numbered() -> tuple[DHP19MovementName, ...]:
    out: list[DHP19MovementName] = []
    for session, rows in enumerate(_SESSIONS, 1):
        for movement, row in enumerate(rows, 1):
            out.append(DHP19MovementName(session, movement, len(out) + 1, *row))
    return tuple(out)


DHP19_MOVEMENTS: tuple[DHP19MovementName, ...] = _numbered()
"""All 33, in order of `index`."""


def dhp19_movement(session: int, movement: int) -> DHP19MovementName:
    """The movement with these numbers.

    Raises:
        ShapeError: DHP19 has no such session or movement.
    """
    for row in DHP19_MOVEMENTS:
        if (row.session, row.movement) == (session, movement):
            return row
    sizes = ", ".join(f"{i}: 1..{len(rows)}" for i, rows in enumerate(_SESSIONS, 1))
    raise ShapeError(
        f"DHP19 has no session {session}, movement {movement}; movements by session are {sizes}."
    )


def perform_dhp19(
    session: int,
    movement: int,
    *,
    duration_s: float,
    fps: float,
    rng: np.random.Generator,
    rest_joints: ArrayLike,
    amplitude: float = 1.0,
    tempo: float = 1.0,
    heading_deg: float = 0.0,
) -> BodyParams:
    """One performance of a movement of DHP19; arguments and errors as in `choreography.perform`."""
    row = dhp19_movement(session, movement)
    return perform(
        row.function,
        duration_s=duration_s,
        fps=fps,
        rng=rng,
        rest_joints=rest_joints,
        amplitude=amplitude,
        tempo=tempo,
        heading_deg=heading_deg,
        side=row.side,
    )
