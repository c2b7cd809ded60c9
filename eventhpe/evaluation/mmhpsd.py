"""Protocols of MMHPSD: EventHPE's clips of 8 steps, and the disjoint clips of the SNN tracker.

What decides a figure beside the network: how long a clip is, whether clips overlap, and what the system is
told about the first frame. A protocol states all three; frame 0 of a clip (the start) is never scored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from eventhpe.body.model import BodyModel
from eventhpe.body.params import BodyParams
from eventhpe.body.posing import BodyPoser
from eventhpe.data.mmhpsd import MMHPSD, ClipPlace, Split
from eventhpe.data.mmhpsd_sequence import MMHPSD_CAMERA, MMHPSD_FRAME_US
from eventhpe.data.mmhpsd_stored import StoredPoses
from eventhpe.errors import FormatError, MissingAssetError, ShapeError
from eventhpe.evaluation import metrics
from eventhpe.evaluation.tables import Scores

METRICS = (
    "mpjpe_mm", "pel_mpjpe_mm", "pa_mpjpe_mm", "pckh50", "pck100", "pve_mm", "pel_pve_mm", "pa_pve_mm",
    "accel_mm", "px_256",
)  # fmt: skip
"""Columns: joints in the camera frame, minus the mid-hip, after a similarity per frame; PCKh@0.5; share of
joints within 100 mm (mid-hip); vertices in the same three ways, with the true shape on the true side; second
difference per step squared; projected joints in pixels of the 256 px image."""

Start = Literal["true", "image", "none"]

START_MEANS: Mapping[str, str] = MappingProxyType(
    {
        "true": "the true pose, shape and place at the clip's first frame are given",
        "image": "an estimate from the clip's first gray image is given",
        "none": "nothing is known about the first frame",
    }
)


@dataclass(frozen=True)
class MMHPSDProtocol:
    """How clips are cut and averaged.

    Attributes:
        name: for reports.
        num_steps: T scored poses of a clip.
        step_frames: gray intervals between them.
        disjoint: clips share no step; otherwise one begins at every frame.
        split, splits: see `MMHPSD.sequences`.
    """

    name: str
    num_steps: int
    step_frames: int = 2
    disjoint: bool = False
    split: Split = "test"
    splits: str = "recommended"

    def __post_init__(self) -> None:
        for name in ("num_steps", "step_frames"):
            if getattr(self, name) < 1:
                raise ShapeError(f"MMHPSDProtocol.{name} must be at least 1; got {getattr(self, name)}.")

    @property
    def seconds(self) -> float:
        """Length of a clip."""
        return self.num_steps * self.step_frames * MMHPSD_FRAME_US * 1e-6

    def describe(self, start: Start) -> str:
        """The conditions in one sentence, for reports."""
        cut = "without overlap" if self.disjoint else "one at every frame"
        return (
            f"{self.split} subjects, clips of {self.num_steps} steps ({self.seconds:.2f} s), {cut}; "
            f"{START_MEANS[start]}; frame 0 is not scored"
        )


PROTOCOLS: Mapping[str, MMHPSDProtocol] = MappingProxyType(
    {
        "eventhpe": MMHPSDProtocol("eventhpe", 8),
        "tracker-8": MMHPSDProtocol("tracker-8", 8, disjoint=True),
        "tracker-64": MMHPSDProtocol("tracker-64", 64, disjoint=True),
    }
)
"""EventHPE's evaluation, and those of the SNN tracker (Zou et al., TCSVT 2025)."""


@dataclass(frozen=True)
class ClipTask:
    """What a system gets for one clip.

    Attributes:
        place: the clip; `place.sequence` reads event frames and images.
        start: the body at the first frame as far as the protocol tells, without a batch axis; None = nothing.
    """

    place: ClipPlace
    start: BodyParams | None


Posed = tuple[NDArray[np.float32], NDArray[np.float64]]
"""Vertices (T, V, 3) and joints (T, 24, 3), metres."""

Estimator = Callable[[ClipTask], BodyParams]
"""Bodies (T,) at the ends of the clip's steps, camera frame, of the set's own body model."""


def evaluate_mmhpsd(
    data: MMHPSD,
    estimators: Mapping[str, Estimator],
    body: BodyModel | None,
    protocol: MMHPSDProtocol,
    *,
    start: Start,
    single_events: bool = False,
    on_sequence: Callable[[str, Scores], None] | None = None,
) -> dict[str, Scores]:
    """Score systems on every clip of a protocol.

    Args:
        data: the set.
        estimators: name -> system. The row "start pose held" is added where a start is given.
        body: body model of the set, for joints and vertices of estimates; see `body_for`.
        protocol: see PROTOCOLS.
        start: what systems are told about the first frame.
        single_events: a system reads the single events (layout B), so clips must have them.
        on_sequence: called with every sequence's scores.
    Returns:
        sequence -> method -> metric, the mean over all scored frames of its clips, and "frames", their
        number. Sequences without a whole clip are left out.
    Raises:
        MissingAssetError: no sequence of the split, no clip, or no body model.
        FormatError: `start` is "image" and the set has no estimates from images (layout B), or single events
            are asked of a set without them (layout A).
        ShapeError: an estimate is of another body model or length.
    """
    if body is None:
        raise MissingAssetError("evaluation needs the body model of the set's shape coefficients; got None.")
    if start not in START_MEANS:
        raise FormatError(f"start must be one of {', '.join(START_MEANS)}; got {start!r}.")
    methods = dict(estimators) if start == "none" else {**estimators, "start pose held": hold_start}
    places = data.clips(
        protocol.split,
        num_steps=protocol.num_steps,
        step_frames=protocol.step_frames,
        disjoint=protocol.disjoint,
        single_events=single_events,
        splits=protocol.splits,
    )
    if not places and single_events and not any(s.interval_frames for s in data.sequences()):
        raise FormatError(
            f"{data.root}: holds event frames without polarity, but no single events; the fixed variant of "
            "ShapeNet reads these. Evaluate on layout B, or weights of the parity variant."
        )
    if not places:
        raise MissingAssetError(
            f"{data.root}: no clip of {protocol.num_steps} steps without gaps in the {protocol.split} split."
        )
    by_sequence: dict[str, list[ClipPlace]] = {}
    for place in places:
        by_sequence.setdefault(place.sequence.name, []).append(place)
    results: dict[str, Scores] = {}
    scorer = ClipScorer(body)
    for name, own in by_sequence.items():
        rows: dict[str, list[dict[str, NDArray[np.float64]]]] = {method: [] for method in methods}
        for place in own:
            truth = place.sequence.poses(place.pose_frames)
            task = ClipTask(place, _start_of(place, truth, start))
            for method, estimate in methods.items():
                rows[method].append(scorer.score(estimate(task), truth))
        results[name] = {method: _means(clips) for method, clips in rows.items()}
        if on_sequence is not None:
            on_sequence(name, results[name])
    return results


def body_for(data: MMHPSD) -> BodyModel:
    """The body model of a set's shape coefficients.

    Raises:
        MissingAssetError: the set is of SMPL, and the user's SMPL file is not there.
    """
    from eventhpe.body.default import load_body

    return load_body(data.body.model, gender=data.body.gender)


class ClipScorer:
    """Scores clips, whose true vertices are posed once for all methods.

    Args:
        body: body model of the truth and of the estimates.
    """

    def __init__(self, body: BodyModel) -> None:
        self.name = body.name
        # One for the truth: a poser keeps the shaped body until the betas change.
        self._estimated, self._true = BodyPoser(body), BodyPoser(body)
        self._known: tuple[StoredPoses, Posed] | None = None

    def score(self, estimate: BodyParams, truth: StoredPoses) -> dict[str, NDArray[np.float64]]:
        """Errors of every scored frame.

        Args:
            estimate: BodyParams over T.
            truth: poses of T + 1 frames, the start first.
        Returns:
            metric -> (T,); "accel_mm" counts the true start as pose 0 on both sides and has T - 1 values.
        Raises:
            ShapeError: wrong number of poses, or shape coefficients of another body model.
        """
        T = len(truth.frames) - 1
        if estimate.transl.shape != (T, 3):
            raise ShapeError(f"an estimate must hold {T} poses; got {estimate.transl.shape[:-1]}.")
        estimate.require_model(self.name)
        if self._known is None or self._known[0] is not truth:
            truth.params.require_model(self.name)
            self._known = truth, _posed(self._true, _pick(truth.params, slice(1, None)))
        its_vertices, its_joints = self._known[1]
        vertices, joints = _posed(self._estimated, estimate)
        true = truth.joints3d[1:]
        track = np.concatenate([truth.joints3d[:1], joints])
        aligned = metrics.joint_errors(metrics.root_align(joints), metrics.root_align(true))
        return {
            "mpjpe_mm": metrics.mpjpe(joints, true),
            "pel_mpjpe_mm": metrics.root_aligned_mpjpe(joints, true),
            "pa_mpjpe_mm": metrics.pa_mpjpe(joints, true),
            "pckh50": metrics.pckh(joints, true),
            "pck100": metrics.pck(aligned),
            "pve_mm": metrics.pve(vertices, its_vertices),
            "pel_pve_mm": metrics.root_aligned_pve(vertices, its_vertices, joints, its_joints),
            "pa_pve_mm": metrics.pa_pve(vertices, its_vertices, joints, its_joints),
            "accel_mm": metrics.accel_error(track, truth.joints3d) if T > 1 else np.zeros(0),
            "px_256": metrics.pixel_error(MMHPSD_CAMERA.project(joints), MMHPSD_CAMERA.project(true)),
        }


def _posed(poser: BodyPoser, params: BodyParams) -> Posed:
    """(T, V, 3) vertices and (T, 24, 3) joints, metres."""
    bodies = [poser.pose(*one) for one in zip(params.betas, params.pose, params.transl, strict=True)]
    return np.stack([v for v, _ in bodies]), np.stack([j for _, j in bodies])


def hold_start(task: ClipTask) -> BodyParams:
    """The start pose, kept over the clip."""
    if task.start is None:
        raise ShapeError("a start pose can only be held where one is given; got None.")
    T = task.place.num_steps
    return _each(task.start, lambda value: np.repeat(value[None], T, 0))


def _start_of(place: ClipPlace, truth: StoredPoses, start: Start) -> BodyParams | None:
    if start == "none":
        return None
    if start == "true":
        return _pick(truth.params, 0)
    return place.sequence.estimate(place.start).params


def _means(clips: list[dict[str, NDArray[np.float64]]]) -> dict[str, float]:
    means = {}
    for metric in METRICS:
        values = np.concatenate([clip[metric] for clip in clips])
        means[metric] = float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")
    means["frames"] = float(sum(len(clip["mpjpe_mm"]) for clip in clips))
    return means


def _pick(params: BodyParams, which: int | slice) -> BodyParams:
    return _each(params, lambda value: value[which])


def _each(params: BodyParams, change: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> BodyParams:
    """Every array of the parameters changed in the same way."""
    return replace(
        params,
        betas=change(params.betas),
        global_orient=change(params.global_orient),
        body_pose=change(params.body_pose),
        transl=change(params.transl),
    )
