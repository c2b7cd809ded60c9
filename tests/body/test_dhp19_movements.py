"""The 33 movements of DHP19: the table, and that each does what its name says, with the side it names."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from eventhpe.body.choreography import MOVEMENTS
from eventhpe.body.default import open_body_arrays
from eventhpe.body.dhp19_movements import (
    DHP19_MOVEMENTS,
    DHP19MovementName,
    dhp19_movement,
    perform_dhp19,
)
from eventhpe.body.fk import forward_kinematics, sole_points
from eventhpe.body.params import BodyParams
from eventhpe.errors import ShapeError
from eventhpe.geometry.skeleton import SMPL_SKELETON

Array = NDArray[np.float64]
FPS = 120
OTHER = {"left": "right", "right": "left"}
SIDED = [m for m in DHP19_MOVEMENTS if m.side]


@lru_cache(maxsize=1)
def rest() -> Array:
    """Rest joints of the open body, which is 1.67 m tall."""
    arrays = open_body_arrays()
    return np.asarray(arrays["J_regressor"] @ arrays["v_template"], dtype=np.float64)


class Performed:
    """One performance with its joints and soles in the world frame."""

    def __init__(self, params: BodyParams) -> None:
        self.params = params
        self.positions, self.rotations = forward_kinematics(rest(), params.pose, params.transl)
        self.soles = sole_points(rest(), self.positions, self.rotations)

    def joint(self, name: str) -> Array:
        return np.asarray(self.positions[:, SMPL_SKELETON.index(name)])

    def sole(self, side: str) -> Array:
        return np.asarray(self.soles[:, :3] if side == "left" else self.soles[:, 3:])


@lru_cache(maxsize=64)
def play(index: int, seed: int = 0, amplitude: float = 1.0, duration_s: float = 8.0) -> Performed:
    m = DHP19_MOVEMENTS[index - 1]
    return Performed(
        perform_dhp19(
            m.session,
            m.movement,
            duration_s=duration_s,
            fps=FPS,
            rng=np.random.default_rng(seed),
            rest_joints=rest(),
            amplitude=amplitude,
        )
    )


def rows(function: str) -> list[DHP19MovementName]:
    return [m for m in DHP19_MOVEMENTS if m.function == function]


def test_the_table_counts_as_dhp19_does() -> None:
    assert [m.index for m in DHP19_MOVEMENTS] == list(range(1, 34))
    assert [sum(m.session == s for m in DHP19_MOVEMENTS) for s in range(1, 6)] == [8, 6, 6, 6, 7]
    assert len({m.name for m in DHP19_MOVEMENTS}) == 33
    assert len({(m.function, m.side) for m in DHP19_MOVEMENTS}) == 33
    groups = {g: {m.index for m in DHP19_MOVEMENTS if m.group == g} for g in ("upper", "lower", "whole")}
    assert groups["upper"] == {1, 2, 5, 6, *range(15, 21), *range(27, 34)}
    assert groups["lower"] == {3, 4, 7, 8, *range(23, 27)}
    assert groups["whole"] == {*range(9, 15), 21, 22}
    for m in DHP19_MOVEMENTS:
        assert m.function in MOVEMENTS
        assert dhp19_movement(m.session, m.movement) is m
        assert m.side is None or m.side in m.name


def test_known_numbers() -> None:
    assert dhp19_movement(5, 4).name == "circle right hand"  # the one name seen in the data set's issues
    assert dhp19_movement(2, 5).name == "hop right foot" and dhp19_movement(2, 5).index == 13
    assert dhp19_movement(4, 1).name == "slow jog 7 km/h" and dhp19_movement(4, 1).index == 21
    for wrong in ((0, 1), (6, 1), (2, 7), (1, 0)):
        with pytest.raises(ShapeError, match="has no session"):
            dhp19_movement(*wrong)


@pytest.mark.parametrize("m", SIDED, ids=lambda m: m.name)
def test_the_named_side_acts_and_the_other_keeps_still(m: DHP19MovementName) -> None:
    p = play(m.index)
    assert m.side is not None
    other = OTHER[m.side]
    limb = "wrist" if m.group == "upper" else "ankle"

    def way(side: str) -> float:  # relative to the pelvis, in metres
        path = p.joint(f"{limb}_{side}") - p.joint("pelvis")
        return float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())

    if m.function == "hop":  # the other foot is held up, the named one bears
        assert p.sole(other)[..., 1].min() > 0.12
        assert p.sole(m.side)[..., 1].min() < 0.001
        return
    assert way(m.side) > 3.5 * way(other)
    assert np.ptp(p.sole(other), axis=0).max() < 0.002  # it stands, heel to toe
    if m.group == "upper":
        assert np.ptp(p.sole(m.side), axis=0).max() < 0.002


@pytest.mark.parametrize("index", range(1, 34))
def test_feet_bear_on_the_floor_without_sliding(index: int) -> None:
    m = DHP19_MOVEMENTS[index - 1]
    p = play(index)
    height = (p.soles[1:, :, 1] + p.soles[:-1, :, 1]) / 2
    assert p.soles[..., 1].min() > -0.003
    speed = np.linalg.norm(np.diff(p.soles[..., [0, 2]], axis=0), axis=-1) * FPS
    if not m.function.startswith("treadmill"):
        assert speed[height < 0.001].max() < 0.08
    standing = p.soles[..., 1].min(axis=1) < 0.004
    assert standing.mean() > (0.25 if m.function in ("jumps", "hop", "star_jump") else 0.6)


@pytest.mark.parametrize(
    ("function", "low", "high"),
    [("punch_forward", -12, 14), ("punch_up_forward", 32, 58), ("punch_down_forward", -58, -30)],
)
def test_punches_reach_where_their_names_say(function: str, low: float, high: float) -> None:
    for m in rows(function):
        for seed in range(2):
            p = play(m.index, seed)
            arm = p.joint(f"wrist_{m.side}") - p.joint(f"shoulder_{m.side}")
            reach = np.linalg.norm(arm, axis=1)
            x, y, z = arm[reach.argmax()] / reach.max()
            assert reach.max() > 0.455  # of 0.477 m of arm
            assert low < np.degrees(np.arcsin(y)) < high
            assert z > 0 and abs(np.degrees(np.arctan2(x, z))) < 15
            assert reach.min() < 0.33  # and back to the guard


def test_arms_rise_sideways_and_curl() -> None:
    for m in rows("arm_abduction"):
        p, sign = play(m.index), 1 if m.side == "left" else -1
        arm = p.joint(f"wrist_{m.side}") - p.joint(f"shoulder_{m.side}")
        angle = np.degrees(np.arctan2(sign * arm[:, 0], -arm[:, 1]))
        assert 75 < angle.max() < 178 and angle.min() < 25
        assert (np.abs(arm[:, 2]) < 0.5 * np.linalg.norm(arm, axis=1)).all()
    for m in rows("bicep_lift"):
        p = play(m.index)
        upper = p.joint(f"elbow_{m.side}") - p.joint(f"shoulder_{m.side}")
        fore = p.joint(f"wrist_{m.side}") - p.joint(f"elbow_{m.side}")
        bend = np.degrees(
            np.arccos((upper * fore).sum(1) / np.linalg.norm(upper, axis=1) / np.linalg.norm(fore, axis=1))
        )
        assert bend.max() > 110 and bend.min() < 25
        assert (-upper[:, 1] > 0.85 * np.linalg.norm(upper, axis=1)).all()  # the upper arm hangs
        assert fore[bend.argmax(), 1] > 0.1 and fore[bend > 80, 2].min() > 0


def test_legs_lift_and_kick_as_far_as_they_should() -> None:
    for m in DHP19_MOVEMENTS:
        if m.group != "lower":
            continue
        p, sign = play(m.index), 1 if m.side == "left" else -1
        hip, knee, ankle = (p.joint(f"{n}_{m.side}") for n in ("hip", "knee", "ankle"))
        leg = ankle - hip
        abduction = np.degrees(np.arctan2(sign * leg[:, 0], -leg[:, 1]))
        if m.function == "knee_lift":
            assert (knee - hip)[:, 1].max() > -0.05  # thigh about level
            assert abduction[knee[:, 1].argmax()] < 25
        elif m.function == "leg_abduction":
            assert 28 < abduction.max() < 62
            assert np.linalg.norm(leg[abduction.argmax()]) > 0.78  # of 0.80 m: straight
            assert np.linalg.norm(leg, axis=1).min() > 0.73  # and hardly bent on the way
        elif m.function == "kick_forward":
            top = leg[:, 2].argmax()
            assert leg[top, 2] > 0.65 and ankle[top, 1] > 0.5 and np.linalg.norm(leg[top]) > 0.78
        else:
            assert abduction.max() > 60
            assert np.linalg.norm(leg[abduction.argmax()]) > 0.78
            assert abs(leg[abduction.argmax(), 2]) < 0.45


def test_single_actions_repeat_with_rests_and_variation() -> None:
    p = play(24, 2, duration_s=24.0)
    ankle = p.joint("ankle_right")[:, 1]
    down = p.sole("right")[..., 1].max(axis=1) < 0.001
    edges = np.flatnonzero(np.diff(down.astype(int)) == -1)
    assert 7 <= len(edges) <= 16  # kicks of about 1.5 s with rests
    tops = [ankle[a:b].max() for a, b in pairwise(edges)]
    assert 0.005 < np.std(tops) < 0.15
    assert 0.1 < down.mean() < 0.6


@pytest.mark.parametrize(("index", "kmh"), [(9, 3.5), (21, 7.0)])
def test_treadmills_run_at_their_speed(index: int, kmh: float) -> None:
    for seed in range(2):
        p = play(index, seed)
        pelvis = p.joint("pelvis")
        assert np.abs(pelvis[:, [0, 2]]).max() < 0.15  # on the spot
        relative = p.soles - pelvis[:, None] * [1, 0, 1]
        height = (p.soles[1:, :, 1] + p.soles[:-1, :, 1]) / 2
        back = -np.diff(relative[..., 2], axis=0) * FPS * 3.6
        bearing = back[height < 0.003]
        assert np.median(bearing) == pytest.approx(kmh, rel=0.05)
        assert np.percentile(np.abs(bearing - kmh), 95) < 0.2 * kmh
        lowest = p.soles[..., 1].min(axis=1)
        assert lowest.max() < 0.004 if index == 9 else (lowest > 0.008).mean() > 0.1  # jogging flies
        swing = {s: p.joint(f"wrist_{s}")[:, 2] - pelvis[:, 2] for s in ("left", "right")}
        step = {s: p.joint(f"ankle_{s}")[:, 2] - pelvis[:, 2] for s in ("left", "right")}
        assert np.corrcoef(swing["left"], step["right"])[0, 1] > 0.6  # arms swing against the legs
        assert np.corrcoef(swing["left"], swing["right"])[0, 1] < -0.8


def flights(p: Performed) -> list[tuple[float, float]]:
    """Seconds and height in metres of every whole flight, counted from 5 mm over the floor."""
    lowest = p.soles[..., 1].min(axis=1) - 0.005
    edge = np.diff((lowest > 0).astype(int))
    ups = np.flatnonzero(edge == 1)
    downs = [next((d for d in np.flatnonzero(edge == -1) if d > u), None) for u in ups]

    def crossing(k: int) -> float:
        return k + lowest[k] / (lowest[k] - lowest[k + 1])

    return [
        ((crossing(d) - crossing(u)) / FPS, float(lowest[u : d + 1].max()))
        for u, d in zip(ups, downs, strict=True)
        if d is not None
    ]


@pytest.mark.parametrize("index", [10, 11, 12, 13, 14, 22])
@pytest.mark.parametrize("amplitude", [0.8, 1.1])
def test_flights_obey_gravity_and_landings_are_soft(index: int, amplitude: float) -> None:
    p = play(index, 3, amplitude)
    found = flights(p)
    assert len(found) >= {10: 2, 11: 1}.get(index, 8)
    for seconds, height in found:
        assert 0.02 < height < 0.4
        # legs that spread or swing ahead in flight are shorter upright, so their feet rise less than the body
        assert 9.81 * seconds**2 / 8 == pytest.approx(height, rel=0.35 if index in (11, 22) else 0.2)
    acceleration = np.diff(p.joint("pelvis")[:, 1], 2) * FPS**2
    in_air = p.soles[1:-1, :, 1].min(axis=1) > 0.03
    np.testing.assert_allclose(acceleration[in_air], -9.81, atol=0.3)
    assert acceleration.max() < 4 * 9.81


def test_jumps_forward_travel_and_come_back() -> None:
    p = play(11, 1, duration_s=16.0)
    z = p.joint("pelvis")[:, 2]
    assert 0.4 < np.ptp(z) < 1.0
    in_air = p.soles[..., 1].min(axis=1) > 0.02
    speed = np.gradient(z, 1 / FPS)
    assert speed[in_air].min() > 0.3  # forwards in the air
    assert speed[~in_air].min() < -0.15  # and back on foot
    starts = np.flatnonzero(np.diff(in_air.astype(int)) == 1)
    assert len(starts) >= 3 and np.ptp(z[starts]) < 0.12


def test_star_jumps_open_arms_and_legs_together() -> None:
    p = play(22)
    apart = p.joint("ankle_left")[:, 0] - p.joint("ankle_right")[:, 0]
    hands = p.joint("wrist_left")[:, 1] + p.joint("wrist_right")[:, 1]
    assert apart.max() > 0.5 and apart.min() < 0.3
    assert np.corrcoef(apart, hands)[0, 1] > 0.8
    assert p.joint("wrist_left")[:, 1].max() > p.joint("head")[:, 1].max()


def in_chest(p: Performed, name: str) -> Array:
    """(T, 3) a joint in the axes of the chest, from the middle between the shoulders at rest."""
    chest = SMPL_SKELETON.index("spine3")
    offset = np.einsum("tji,tj->ti", p.rotations[:, chest], p.joint(name) - p.joint("spine3"))
    middle = rest()[SMPL_SKELETON.index("shoulder_left")] * [0, 1, 1] - rest()[chest]
    return np.asarray(offset - middle)


def test_hands_meet_in_the_middle_when_clapping() -> None:
    for seed in range(2):
        p = play(33, seed)
        gap = np.linalg.norm(p.joint("hand_left") - p.joint("hand_right"), axis=1)
        assert 0.06 < gap.min() < 0.12 and gap.max() > 0.28
        left, right = in_chest(p, "hand_left"), in_chest(p, "hand_right")
        np.testing.assert_allclose(left, right * [-1, 1, 1], atol=0.01)
        assert left[:, 2].min() > 0.2 and left[:, 0].min() > 0.02  # before the chest, never across


@pytest.mark.parametrize("index", [29, 30, 31, 32])
def test_hands_draw_circles_and_eights_before_the_body(index: int) -> None:
    p = play(index, 1, duration_s=10.0)
    side = DHP19_MOVEMENTS[index - 1].side
    hand = in_chest(p, f"wrist_{side}")
    assert hand[:, 2].min() > 0.17  # the chest ends at about 0.12
    across, up = hand[:, 0] - np.median(hand[:, 0]), hand[:, 1] - np.median(hand[:, 1])
    assert min(np.ptp(across), np.ptp(up)) > 0.12
    rates = [np.argmax(np.abs(np.fft.rfft(c - c.mean()))[1:]) + 1 for c in (across, up)]
    if index < 31:
        assert abs(rates[0] - rates[1]) <= 1  # the beat is a little uneven
        angle = np.unwrap(np.arctan2(up - up.mean(), across - across.mean()))
        assert abs(angle[-1] - angle[0]) > 0.9 * 2 * np.pi * min(rates)  # always the same way round
    else:  # one axis swings twice as fast as the other
        assert max(rates) == pytest.approx(2 * min(rates), abs=1)


def test_waves_are_held_for_seconds_over_the_shoulder() -> None:
    for m in rows("wave_hello"):
        p = play(m.index, 0, duration_s=14.0)
        up = p.joint(f"wrist_{m.side}")[:, 1] > p.joint(f"shoulder_{m.side}")[:, 1] + 0.08
        assert up.mean() > 0.55 and not up.all()
        runs = np.diff(np.flatnonzero(np.diff(up.astype(int))))
        assert runs.max() > 2.5 * FPS
        sideways = (p.joint(f"wrist_{m.side}") - p.joint(f"elbow_{m.side}"))[up, 0]
        turns = np.count_nonzero(np.diff(np.sign(np.diff(sideways))))
        assert turns > 2 * up.sum() / FPS  # more than one wave a second


def test_the_state_of_rng_decides_and_heading_turns_it() -> None:
    def joints(seed: int, heading: float) -> Array:
        params = perform_dhp19(
            2,
            3,
            duration_s=3,
            fps=30,
            rng=np.random.default_rng(seed),
            rest_joints=rest(),
            heading_deg=heading,
        )
        return forward_kinematics(rest(), params.pose, params.transl)[0]

    first = joints(4, 0.0)
    np.testing.assert_array_equal(joints(4, 0.0), first)
    assert np.abs(joints(5, 0.0) - first).max() > 0.05
    turned = joints(4, 90.0)
    assert np.abs(first[0, 0, [0, 2]]).max() < 1e-9  # performances start with the pelvis over x = z = 0
    np.testing.assert_allclose(turned[..., [2, 0]] * [-1, 1], first[..., [0, 2]], atol=1e-9)
