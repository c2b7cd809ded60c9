"""From errors per joint and frame to the numbers of a table: DHP19's ways of averaging."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from eventhpe.data.dhp19 import MOVEMENTS_PER_SESSION
from eventhpe.data.dhp19_prepared import PreparedName
from eventhpe.errors import ShapeError
from eventhpe.evaluation.dhp19 import CAMERAS, RecordingErrors
from eventhpe.geometry.skeleton import DHP19_SKELETON

Array = NDArray[np.float64]

Average = Literal["per_frame", "per_batch16", "per_recording", "per_subject"]
"""What weighs the same: every frame with a valid joint (the published tables); every batch of 16 frames with
the joints of its frames pooled (EventPointPose); every recording; every subject."""

METRICS = (*(f"cam{camera}_px" for camera in CAMERAS), "mean_px", "mm", "root_relative_mm", "procrustes_mm")
"""Columns: pixels per camera and the mean of the cameras; absolute, root-relative and aligned millimetres."""

BATCH = 16
DRAWN_AT_ONCE = 1_000_000
"""Values that a bootstrap holds at a time."""

MOVEMENT_OFFSETS = tuple(int(n) for n in np.cumsum((0, *MOVEMENTS_PER_SESSION[:-1])))


@dataclass(frozen=True)
class Cell:
    """A mean with its 95 % bootstrap interval, and the number of frames behind it."""

    mean: float
    low: float
    high: float
    frames: int


def movement_index(name: PreparedName) -> int:
    """1..33: movements numbered through over the five sessions."""
    return MOVEMENT_OFFSETS[name.session - 1] + name.movement


def drop_frames(errors: RecordingErrors, *, last: bool = False) -> RecordingErrors:
    """A recording's errors without its last frame, which EventPointPose always leaves out."""
    if not last:
        return errors
    return replace(errors, px=errors.px[:, :-1], mm={k: v[:-1] for k, v in errors.mm.items()})


def average_errors(
    errors: Sequence[RecordingErrors], average: Average = "per_frame", *, draws: int = 2000, seed: int = 0
) -> dict[str, Cell]:
    """Means of all METRICS over recordings, with intervals.

    The intervals come from drawing, with replacement, what the average is over: whole recordings weighed by
    their frames (per_frame), recordings, subjects, or batches. Frames of a recording resemble each other, so
    intervals of per_batch16 are too narrow; with five subjects those of per_subject are rough.

    Raises:
        ShapeError: no recordings, or an unknown average.
    """
    if not errors:
        raise ShapeError("nothing to average: no recordings were scored.")
    if average not in _UNITS:
        raise ShapeError(f"average must be one of {', '.join(_UNITS)}; got {average!r}.")
    cells = {}
    for metric in METRICS:
        columns = _columns(errors, metric)
        units = [_UNITS[average](errors, column) for column in columns]
        values, weights = (np.stack([u[k] for u in units], 1) for k in (0, 1))
        frames = max(sum(int(np.isfinite(a).any(1).sum()) for a in column) for column in columns)
        cells[metric] = Cell(*_interval(values, weights, draws=draws, seed=seed), frames)
    return cells


def break_down(errors: Sequence[RecordingErrors]) -> dict[str, dict[str, dict[str, float]]]:
    """Means over frames: "subject", "session", "movement", "joint" -> group -> metric -> value."""
    keys: dict[str, Callable[[PreparedName], tuple[int, str]]] = {
        "subject": lambda n: (n.subject, f"S{n.subject}"),
        "session": lambda n: (n.session, f"session {n.session}"),
        "movement": lambda n: (movement_index(n), f"{movement_index(n)} ({n.session}.{n.movement})"),
    }
    out: dict[str, dict[str, dict[str, float]]] = {}
    for by, key in keys.items():
        groups: dict[tuple[int, str], list[RecordingErrors]] = {}
        for e in errors:
            groups.setdefault(key(e.name), []).append(e)
        out[by] = {label: _means(groups[number, label]) for number, label in sorted(groups)}
    out["joint"] = {
        joint: _means([_one_joint(e, j) for e in errors]) for j, joint in enumerate(DHP19_SKELETON.joints)
    }
    return out


def _one_joint(errors: RecordingErrors, joint: int) -> RecordingErrors:
    pick = slice(joint, joint + 1)
    return replace(errors, px=errors.px[..., pick], mm={k: v[:, pick] for k, v in errors.mm.items()})


def _means(errors: Sequence[RecordingErrors]) -> dict[str, float]:
    out = {}
    for metric in METRICS:
        units = [_per_recording(errors, column) for column in _columns(errors, metric)]
        out[metric] = float(np.mean([_weighted(v[:, None], w[:, None])[0] for v, w in units]))
    return out


def _columns(errors: Sequence[RecordingErrors], metric: str) -> list[list[Array]]:
    """Arrays (N, J) of all recordings, of one metric; of each camera for the cameras' mean."""
    modes = {"mm": "absolute", "root_relative_mm": "root_relative", "procrustes_mm": "procrustes"}
    if metric in modes:
        return [[e.mm[modes[metric]] for e in errors]]
    views = range(len(CAMERAS)) if metric == "mean_px" else [METRICS.index(metric)]
    return [[e.px[view] for e in errors] for view in views]


Units = tuple[Array, Array]
"""Values (U,) and weights (U,) of what a mean is over; weight 0 and value 0 where nothing is known."""


def _per_recording(errors: Sequence[RecordingErrors], column: list[Array]) -> Units:
    frames = [_frame_means(a) for a in column]
    return _units([f[np.isfinite(f)] for f in frames], by_count=True)


def _recordings_alike(errors: Sequence[RecordingErrors], column: list[Array]) -> Units:
    values, weights = _per_recording(errors, column)
    return values, np.minimum(weights, 1.0)


def _subjects_alike(errors: Sequence[RecordingErrors], column: list[Array]) -> Units:
    of = np.concatenate([np.full(len(a), e.name.subject) for e, a in zip(errors, column, strict=True)])
    frames = np.concatenate([_frame_means(a) for a in column])
    known = np.isfinite(frames)
    return _units([frames[known & (of == s)] for s in sorted(set(of.tolist()))], by_count=False)


def _batches_alike(errors: Sequence[RecordingErrors], column: list[Array]) -> Units:
    joints = np.concatenate(column)
    parts = [joints[i : i + BATCH] for i in range(0, len(joints), BATCH)]
    return _units([p[np.isfinite(p)] for p in parts], by_count=False)


_UNITS: dict[str, Callable[[Sequence[RecordingErrors], list[Array]], Units]] = {
    "per_frame": _per_recording,
    "per_batch16": _batches_alike,
    "per_recording": _recordings_alike,
    "per_subject": _subjects_alike,
}


def _units(parts: list[Array], *, by_count: bool) -> Units:
    counts = np.array([len(p) for p in parts], np.float64)
    values = np.array([p.mean() if len(p) else 0.0 for p in parts])
    return values, counts if by_count else np.minimum(counts, 1.0)


def _frame_means(joints: Array) -> Array:
    """(N, J) to (N,): mean over the joints that are known; NaN where none is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmean(joints, axis=1))


def _weighted(values: Array, weights: Array) -> Array:
    """Weighted mean over the units (-2), then over the columns (-1)."""
    total = weights.sum(-2)
    sums = (values * weights).sum(-2)
    ratio = np.divide(sums, total, out=np.full_like(sums, np.nan), where=total > 0)
    return np.atleast_1d(ratio.mean(-1))


def _interval(values: Array, weights: Array, *, draws: int, seed: int) -> tuple[float, float, float]:
    mean = float(_weighted(values, weights)[0])
    picks = np.random.default_rng(seed).integers(0, len(values), (draws, len(values)))
    at_once = max(1, DRAWN_AT_ONCE // values.size)
    parts = [picks[i : i + at_once] for i in range(0, draws, at_once)]
    drawn = np.concatenate([_weighted(values[p], weights[p]) for p in parts])
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return mean, float("nan"), float("nan")
    low, high = np.quantile(drawn, [0.025, 0.975])
    return mean, float(low), float(high)
