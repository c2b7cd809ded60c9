"""Play motions in a style: what a person does during one recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

from eventhpe.body.blend import (
    about_vertical,
    align,
    cross_fade,
    heading,
    hold_stance,
    keep_near,
    mean_heading,
    sample_motion,
)
from eventhpe.body.fk import as_rest_joints, body_joints
from eventhpe.body.motion import move_params
from eventhpe.body.params import BodyParams
from eventhpe.body.retarget import mirror
from eventhpe.data.motion_style import MotionStyle
from eventhpe.data.motions import MotionDraw
from eventhpe.errors import FormatError, ShapeError

Array = NDArray[np.float64]

_TURN_S = 0.25  # in which a motion that runs back and forth slows down, and again to pick up speed
_GRID_S = 0.01  # spacing at which the feet are followed through a change
_CANDIDATES = 16  # starts of a second motion among which the most alike is taken


def play(
    draws: Sequence[MotionDraw],
    style: MotionStyle,
    *,
    rng: np.random.Generator,
    duration_s: float,
    step_s: float,
    heading_rad: float,
    rest_joints: ArrayLike,
) -> BodyParams:
    """Play motions one after the other for `duration_s` seconds.

    A motion shorter than needed runs back and forth, softly turning at its ends. The next motion begins, of a
    few random places, where its pose is most like the one it takes over from; it is turned and shifted so
    that the pelvis keeps its place and heading. Nothing moves in a pause but the sway. Velocities are
    continuous.

    Args:
        draws: as many motions of one body as the style plays (`style.num_motions`).
        style: how they are played.
        rng: chooses where in each motion to begin, and the sway.
        duration_s, step_s: length and spacing of the result.
        heading_rad: mean heading of the result about +Y from +z.
        rest_joints: (24, 3) metres of the body.
    Returns:
        BodyParams over K = round(duration_s / step_s) + 1 in the world frame. The median pelvis lies above
        the origin, before walkers are held within `style.stay_within_m`.
    Raises:
        ShapeError: the number of motions is not the style's, or they belong to different bodies.
        FormatError: a motion has less than two frames.
    """
    rest = as_rest_joints(rest_joints)
    _check(draws, style, duration_s, step_s)
    t = np.arange(round(duration_s / step_s) + 1, dtype=np.float64) * step_s
    moving = style.moving_time(t)
    motions = [mirror(d.params) if style.mirrored else d.params for d in draws]
    performance = _Performance(motions, [d.fps for d in draws], style, float(moving[-1]), rng, rest)
    params = performance.at(moving)

    pelvis = params.transl + rest[0]
    R = about_vertical(heading_rad - mean_heading(params.global_orient))
    middle = np.median(pelvis @ R.T, axis=0) * [1.0, 0.0, 1.0]
    params = move_params(params, R, -middle, rest[0], frame="world")
    if style.stay_within_m is not None:
        # In time in motion, so that nobody slides while standing still.
        path, step = params.transl + rest[0], step_s
        if style.pauses:
            step = max(float(moving[-1]), step_s) / max(2, len(t) - 1)
            path = (
                performance.at(np.arange(max(3, len(t)), dtype=np.float64) * step).transl + rest[0]
            ) @ R.T - middle
        shift = np.zeros_like(path)
        shift[:, [0, 2]] = keep_near(path[:, [0, 2]], style.stay_within_m, step_s=step)
        if style.pauses:
            shift = CubicSpline(np.arange(len(path)) * step, shift)(moving)
        params = replace(params, transl=params.transl + shift)
    if style.turn_deg > 0:
        params = _turn(params, style.turned(moving))
    if style.sway_deg > 0:
        params = _sway(params, t, style, rng, rest[0])
    return params


def _check(draws: Sequence[MotionDraw], style: MotionStyle, duration_s: float, step_s: float) -> None:
    if len(draws) != style.num_motions:
        raise ShapeError(
            f"this style plays {style.num_motions} motions (one more than its {len(style.blends)} blends); "
            f"got {len(draws)}."
        )
    if not 0 < step_s <= duration_s:
        raise ShapeError(f"need 0 < step_s <= duration_s; got {step_s} and {duration_s}.")
    first = draws[0].params
    for draw in draws:
        p = draw.params
        if len(p.transl) < 2:
            raise FormatError(f"motion {draw.source} has {len(p.transl)} frame; at least 2 are needed.")
        if p.frame != "world":
            raise ShapeError(f'motion {draw.source} is in frame {p.frame!r}; a motion is played in "world".')
        if p.model != first.model or not np.allclose(p.betas, first.betas[0]):
            raise ShapeError(
                f"motion {draw.source} is on another body than {draws[0].source}; motions that follow each "
                "other need one body model and one shape."
            )


class _Performance:
    """Motions joined into one, as a function of the time in motion."""

    def __init__(
        self,
        motions: Sequence[BodyParams],
        fps: Sequence[float],
        style: MotionStyle,
        end_s: float,
        rng: np.random.Generator,
        rest: Array,
    ) -> None:
        self.rest = rest
        self.blends = [(float(style.moving_time(m)) - n / 2, n) for m, n in style.blends]
        begins = [0.0, *(begin for begin, _ in self.blends)]
        ends = [*(begin + length for begin, length in self.blends), end_s]
        self.parts: list[_Part] = []
        self.shifts: list[CubicSpline] = []  # one for every blend, metres by time in motion
        for motion, rate, begin, end in zip(motions, fps, begins, ends, strict=True):
            part = _Part(motion, rate, style.speed, begin, max(end, begin))
            if not self.parts:
                part.start_s = float(rng.uniform(0.0, part.slack_s))
            else:
                before, length = self.parts[-1], self.blends[len(self.parts) - 1][1]
                part.follow(before, begin + length / 2, rng, rest)
                self.shifts.append(self._stance(before, part, begin, length))
            self.parts.append(part)

    def _stance(self, before: _Part, after: _Part, begin_s: float, length_s: float) -> CubicSpline:
        grid = begin_s + np.linspace(0.0, length_s, 2 + int(length_s / _GRID_S))
        weight = _fade(grid, begin_s, length_s)
        a, b = before.at(grid), after.at(grid)
        shift = hold_stance(a, b, cross_fade(a, b, weight, self.rest), weight, self.rest)
        return CubicSpline(grid, shift, bc_type="clamped")

    def at(self, moving_s: Array) -> BodyParams:
        """Bodies at (N,) seconds in motion."""
        out = self.parts[0].at(moving_s)
        shift = np.zeros((len(moving_s), 3))
        for part, spline, (begin, length) in zip(self.parts[1:], self.shifts, self.blends, strict=True):
            out = cross_fade(out, part.at(moving_s), _fade(moving_s, begin, length), self.rest)
            shift += spline(np.clip(moving_s, begin, begin + length))
        return replace(out, transl=out.transl + shift)


def _fade(moving_s: Array, begin_s: float, length_s: float) -> Array:
    """Share of the next motion: 0 before the change, 1 after it, without a corner."""
    u = np.clip((moving_s - begin_s) / length_s, 0.0, 1.0)
    return np.asarray(u * u * (3 - 2 * u))


class _Part:
    """One motion on its way through a performance."""

    def __init__(self, motion: BodyParams, fps: float, speed: float, begin_s: float, end_s: float) -> None:
        self.motion, self.fps, self.speed, self.begin_s = motion, fps, speed, begin_s
        self.length_s = (len(motion.transl) - 1) / fps
        self.wanted_s = (end_s - begin_s) * speed
        self.slack_s = max(0.0, self.length_s - self.wanted_s)
        self.start_s = 0.0

    def at(self, moving_s: Array, *, start_s: Array | None = None) -> BodyParams:
        start = self.start_s if start_s is None else start_s
        s = start + (moving_s - self.begin_s) * self.speed
        if self.wanted_s > self.length_s:
            s = back_and_forth(s, self.length_s, soft_s=_TURN_S * self.speed)
        return sample_motion(self.motion, s * self.fps)

    def follow(self, before: _Part, middle_s: float, rng: np.random.Generator, rest: Array) -> None:
        """Begin where the pose is like that of `before` in the middle of the change; take its place there."""
        moment = np.array([middle_s])
        target = before.at(moment)
        starts = rng.uniform(0.0, self.slack_s, size=_CANDIDATES)
        poses = _shapes(self.at(moment, start_s=starts), rest)
        unlike = np.square(poses - _shapes(target, rest)).sum(axis=(1, 2))
        self.start_s = float(starts[int(np.argmin(unlike))])
        self.motion = align(self.motion, _single(self.at(moment)), _single(target), rest[0])


def _shapes(params: BodyParams, rest: Array) -> Array:
    """(T, 24, 3) joints seen from each frame's own pelvis and heading."""
    joints = body_joints(params, rest)
    back = Rotation.from_rotvec(-heading(params.global_orient)[:, None] * [0.0, 1.0, 0.0]).as_matrix()
    return np.asarray((joints - joints[:, :1]) @ back.swapaxes(-1, -2))


def _single(params: BodyParams) -> BodyParams:
    return replace(
        params,
        betas=params.betas[0],
        global_orient=params.global_orient[0],
        body_pose=params.body_pose[0],
        transl=params.transl[0],
    )


def back_and_forth(s: ArrayLike, length_s: float, *, soft_s: float) -> Array:
    """Positions in a motion of `length_s` seconds that is run through forwards, backwards, forwards...

    Args:
        s: (*) seconds played at full speed, >= 0.
        length_s: length of the motion.
        soft_s: seconds before and after each turn that are rounded off (a parabola), so that the velocity
            passes through zero instead of jumping.
    """
    x = np.asarray(s, dtype=np.float64)
    soft = min(soft_s, length_s / 2)
    turn = np.maximum(np.rint(x / length_s), 1.0)
    away = np.abs(x - turn * length_s)
    if soft > 0:
        away = np.where(away < soft, (away**2 + soft**2) / (2 * soft), away)
    return np.asarray(np.where(turn % 2 == 1, length_s - away, away))


def _turn(params: BodyParams, angle: Array) -> BodyParams:
    """Turn a body by (T,) radians about the vertical through its pelvis, and its path along with it."""
    R = Rotation.from_rotvec(angle[:, None] * [0.0, 1.0, 0.0])
    steps = np.diff(params.transl, axis=0)
    between = Rotation.from_rotvec(((angle[1:] + angle[:-1]) / 2)[:, None] * [0.0, 1.0, 0.0])
    path = np.concatenate([np.zeros((1, 3)), np.cumsum(between.apply(steps), axis=0)])
    return replace(
        params,
        global_orient=(R * Rotation.from_rotvec(np.array(params.global_orient))).as_rotvec(),
        transl=params.transl[0] + path,
    )


def _sway(
    params: BodyParams, t: Array, style: MotionStyle, rng: np.random.Generator, rest_pelvis: Array
) -> BodyParams:
    """Tilt a resting body slowly about the floor below its pelvis, as people sway about their ankles."""
    tilt = np.zeros((len(t), 3))
    for axis in (0, 2):
        for _ in range(4):
            hertz, phase, weight = rng.uniform(0.08, 0.35), rng.uniform(0, 2 * np.pi), rng.normal()
            tilt[:, axis] += weight * np.sin(2 * np.pi * hertz * t + phase) / np.sqrt(2)
    tilt *= np.radians(style.sway_deg) * style.rest_share(t)[:, None]
    R = Rotation.from_rotvec(tilt)
    height = (params.transl + rest_pelvis) * [0.0, 1.0, 0.0]
    return replace(
        params,
        global_orient=(R * Rotation.from_rotvec(np.array(params.global_orient))).as_rotvec(),
        transl=params.transl + R.apply(height) - height,
    )
