"""Bodies from events on DHP19, scored on its 13 markers against Vicon, one camera at a time.

DHP19 has no bodies. A body is compared where markers are: on each subject's fitted places of the markers
(`data.dhp19_fits`), which turn a body, whoever estimated it, into 13 points. The fitted body's own points
show how far that carries: no estimate can be trusted to be better than this row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from eventhpe.body.fit_markers import Attachment
from eventhpe.body.fk import forward_kinematics
from eventhpe.body.params import BodyParams
from eventhpe.data.cast import rest_joints
from eventhpe.data.crops import SquareCrop
from eventhpe.data.dhp19_bodies_files import BodiesName, read_body_attachment
from eventhpe.data.dhp19_prepared import PreparedName
from eventhpe.data.labels import Labels, read_labels
from eventhpe.data.windows import WINDOW_US
from eventhpe.errors import EventHPEError, FormatError, MissingAssetError, ShapeError
from eventhpe.evaluation.dhp19 import CAMERAS, RecordingErrors, errors_3d
from eventhpe.evaluation.dhp19_averages import Average, average_errors, break_down
from eventhpe.evaluation.dhp19_report import DHP19Report
from eventhpe.evaluation.protocols import CaptureEstimate, hold_start
from eventhpe.geometry.camera import Camera

Array = NDArray[np.float64]
Estimator = Callable[[Path, Labels], CaptureEstimate]

OURS, HELD, MEAN, FIT = "EventHPE", "start pose held", "mean pose", "floor: fitted body"
METHODS = (OURS, HELD, MEAN, FIT)


@dataclass(frozen=True)
class BodiesProtocol:
    """What is evaluated, and how it is averaged.

    Attributes:
        start: "true": the fitted body at the recording's start was given; "none": nothing was.
        crop: where the networks look. "person": found in the events; "true-box": around the fitted joints.
        average: what weighs the same, see `dhp19_averages`.
        drop: movements to leave out, as "S14_5_3".
    """

    start: str
    crop: str = "person"
    average: Average = "per_frame"
    drop: tuple[str, ...] = ()


def evaluate_bodies(
    paths: Sequence[Path],
    estimate: Estimator,
    protocol: BodiesProtocol,
    *,
    facts: dict[str, Any] | None = None,
    on_recording: Callable[[str, dict[str, RecordingErrors] | str], None] = lambda name, result: None,
) -> DHP19Report:
    """Score estimates on recordings with fitted bodies, beside simple baselines and the fit itself.

    All rows are scored on the same frames: ends of windows, except the start, where the fit passes its gates.
    A recording whose fit is not valid at its start is left out, as it has no start pose.

    Args:
        paths: from `find_bodies`.
        estimate: (recording, its labels) to a capture; where it fails, the recording is left out, and told.
        facts: added to the conditions.
        on_recording: called after each with its name, and the errors or why it was left out.
    Raises:
        MissingAssetError: nothing was scored.
        FormatError: a file without fitted bodies, or of another name.
    """
    left_out: dict[str, str] = {}
    scored: dict[str, dict[tuple[int, int, int], list[RecordingErrors]]] = {m: {} for m in METHODS}
    cameras, recordings, frames = set[int](), 0, 0
    for path in paths:
        name = BodiesName.parse(path.name)
        if name is None:
            raise FormatError(f"{path}: expected a name such as S1_1_1_cam2.h5.")
        movement = (name.subject, name.session, name.movement)
        if "S{}_{}_{}".format(*movement) in protocol.drop:
            continue
        labels, attachment = read_labels(path), read_body_attachment(path)
        result = _score(path, name, labels, attachment, estimate)
        on_recording(path.stem, result)
        if isinstance(result, str):
            left_out[path.stem] = result
            continue
        cameras.add(name.camera)
        recordings, frames = recordings + 1, frames + len(result[OURS].mm["absolute"])
        for method, errors in result.items():
            scored[method].setdefault(movement, []).append(errors)
    if not recordings:
        why = "; ".join(f"{k}: {v}" for k, v in left_out.items()) or "all were dropped"
        raise MissingAssetError(f"no recording could be scored of {len(paths)}: {why}.")
    # Two cameras see the same movement: they are one draw of the bootstrap.
    merged = {m: [_merge(parts) for parts in of.values()] for m, of in scored.items()}
    rows = {m: average_errors(errors, protocol.average) for m, errors in merged.items()}
    conditions = {
        "start": protocol.start,
        "crop": protocol.crop,
        "average": protocol.average,
        "drop": list(protocol.drop),
        "subjects": sorted({movement[0] for movement in scored[OURS]}),
        "cameras": sorted(cameras),
        "movements": len(scored[OURS]),
        "recordings": recordings,
        "frames": frames,
        "frames_with_labels": rows[FIT]["mm"].frames,
        "left_out": left_out,
        **(facts or {}),
    }
    details = {m: break_down(errors) for m, errors in merged.items()}
    return DHP19Report(
        rows, details, conditions, _notes(rows[OURS]["root_relative_mm"].frames, conditions), OURS, ()
    )


def body_markers(body: BodyParams, attachment: Attachment) -> Array:
    """(T, J, 3) metres: the points of T bodies (the open body) where a subject's markers sit."""
    body.require_model("open")
    shapes, which = np.unique(body.betas, axis=0, return_inverse=True)
    rest = np.stack([rest_joints(betas) for betas in shapes])[which.reshape(-1)]
    joints, rotations = forward_kinematics(rest, body.pose, body.transl)
    return np.asarray(attachment.positions(torch.from_numpy(joints), torch.from_numpy(rotations)).numpy())


def true_boxes(labels: Labels, starts_us: NDArray[np.int64], *, margin: float) -> tuple[SquareCrop, ...]:
    """A square around the joints in each window, which tells where the person is.

    Args:
        starts_us: (T,) of windows; those past the labels take the last ones.
        margin: see `SquareCrop.around`.
    """
    crops = []
    for t0 in starts_us:
        first, last = labels.index(int(t0)), labels.index(int(t0) + WINDOW_US)
        points = labels.joints2d[first : last + 1].reshape(-1, 2).astype(np.float64) + 0.5
        crops.append(SquareCrop.around((*points.min(0), *points.max(0)), margin))
    return tuple(crops)


def marker_errors(
    name: BodiesName, markers: Array, labels: Labels, frames: NDArray[np.int64]
) -> RecordingErrors:
    """Errors of markers (N, 13, 3), metres in the camera's frame, against Vicon at N labels.

    Pixels are those of the recording's own camera, if it is one of the two in front; labels are not cut to
    pixels.

    Raises:
        ShapeError: the labels hold no markers, or shapes differ.
    """
    if labels.markers3d is None or labels.markers2d is None:
        raise ShapeError(f"{name.file_name}: its labels hold no markers.")
    truth = labels.markers3d[frames].astype(np.float64)
    if markers.shape != truth.shape:
        raise ShapeError(f"markers must be {truth.shape}; got {markers.shape}.")
    px = np.full((len(CAMERAS), *truth.shape[:2]), np.nan)
    if name.camera in CAMERAS:
        px[CAMERAS.index(name.camera)] = _pixels(markers, labels.camera, labels.markers2d[frames])
    known = PreparedName(name.subject, name.session, name.movement, "bodies")
    return RecordingErrors(known, px, errors_3d(1000 * markers, 1000 * truth))


def _pixels(markers: Array, camera: Camera, uv: NDArray[np.float32]) -> Array:
    return np.asarray(np.linalg.norm(camera.project(markers) - uv, axis=-1))


def _score(
    path: Path, name: BodiesName, labels: Labels, attachment: Attachment, estimate: Estimator
) -> dict[str, RecordingErrors] | str:
    """Errors by method, or why the recording is left out."""
    valid = np.ones(len(labels.t_us), bool) if labels.valid is None else labels.valid
    if not valid[0]:
        return "the fit is not valid at the start"
    try:
        found = estimate(path, labels)
    except EventHPEError as error:
        return f"{type(error).__name__}: {error}"
    at = labels.index(found.t_us)
    keep = (np.abs(labels.t_us[at] - found.t_us) <= labels.step_us // 2) & valid[at]
    frames = at[keep]
    if not len(frames):
        return "no window ends at a valid label"
    T = len(found.t_us)
    bodies = {OURS: found.body, HELD: hold_start(labels, T), MEAN: found.mean_pose}
    bodies = {method: _pick(body, keep) for method, body in bodies.items()}
    bodies[FIT] = _pick(labels.params, frames)
    return {m: marker_errors(name, body_markers(b, attachment), labels, frames) for m, b in bodies.items()}


def _pick(body: BodyParams, which: NDArray[Any]) -> BodyParams:
    """Some of the bodies of a track."""
    return replace(
        body, betas=body.betas[which], global_orient=body.global_orient[which],
        body_pose=body.body_pose[which], transl=body.transl[which],
    )  # fmt: skip


def _merge(parts: list[RecordingErrors]) -> RecordingErrors:
    """The cameras of a movement, one after the other."""
    return RecordingErrors(
        parts[0].name,
        np.concatenate([p.px for p in parts], axis=1),
        {mode: np.concatenate([p.mm[mode] for p in parts]) for mode in parts[0].mm},
    )


def _notes(frames_with_hips: int, conditions: dict[str, Any]) -> tuple[str, ...]:
    """What a reader must know to compare these numbers, a line each."""
    c = conditions
    given = "the fitted body at the start (pose, shape and place)" if c["start"] == "true" else "nothing"
    place = "found in the events" if c["crop"] == "person" else "in a square around the fitted joints"
    left = "; ".join(f"{k} ({v})" for k, v in c["left_out"].items())
    subjects, cameras = (", ".join(map(str, c[k])) for k in ("subjects", "cameras"))
    return (
        f"{c['recordings']} recordings, each of one camera ({cameras}), of {c['movements']} movements by "
        f"subjects {subjects}; {c['frames']} frames, every 50 ms",
        f"dropped: {', '.join(c['drop']) or 'none'}; left out: {left or 'none'}",
        f"given to EventHPE: {given}; the camera is known, the person is {place}",
        "the start itself is not scored, nor frames that fail the fit's gates",
        "bodies become markers by each subject's fitted offsets, in all rows; errors are against the Vicon "
        "markers",
        f"mm: absolute; root-relative (mid-hip) on the {frames_with_hips} frames with both hips; "
        "Procrustes: after a similarity per frame; px: projected markers, not cut to pixels",
        f"averaged {c['average'].replace('_', ' ')}; 95 % bootstrap intervals in brackets, a movement's "
        "cameras drawn together",
        "not the published two-view protocol: one camera cannot triangulate",
    )
