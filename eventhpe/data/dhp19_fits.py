"""Bodies fitted to the markers of one subject of DHP19, kept in a file of their own.

A fit is slow and serves all recordings and cameras of a subject, so it is made once for the same markers and
settings: `OUT/fits/S1.h5`. DHP19 has no bodies, so whatever stands there is pseudo-truth; methods are
compared on the 13 markers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import xxhash
from numpy.typing import NDArray

from eventhpe.atomic import PendingFile, remove_leftovers
from eventhpe.body.fit import FitResult, fit_subject
from eventhpe.body.fit_markers import Attachment
from eventhpe.body.fit_settings import FitSettings
from eventhpe.body.motion import MotionClip
from eventhpe.body.params import BodyParams
from eventhpe.data.dhp19 import DHP19Movement
from eventhpe.data.dhp19_cameras import dhp19_to_world
from eventhpe.data.dhp19_export import MARKER_STEP_US
from eventhpe.data.dhp19_labels import KNOWN_EXCHANGES, exchanged, read_vicon
from eventhpe.data.windows import WINDOW_US
from eventhpe.errors import EventHPEError, FormatError, MissingAssetError, UnitError
from eventhpe.events.batch import file_checksum
from eventhpe.events.formats.hdf5 import open_hdf5
from eventhpe.events.store_writer import package_version
from eventhpe.geometry.skeleton import DHP19_SKELETON, Keypoints

F64 = NDArray[np.float64]

FITS_FOLDER = "fits"


@dataclass(frozen=True)
class FitPlan:
    """How markers become bodies.

    Attributes:
        step_us: time between fitted frames, which are the labels: a multiple of the markers' 10 ms that
            divides a window of 50 ms. Nothing is interpolated.
        fix_labels: exchange the markers of `KNOWN_EXCHANGES` back first.
        settings: of the fit, gates included.
    Raises:
        UnitError: a step that fits markers or windows badly.
    """

    step_us: int = WINDOW_US
    fix_labels: bool = False
    settings: FitSettings = field(default_factory=FitSettings)

    def __post_init__(self) -> None:
        if self.step_us < MARKER_STEP_US or self.step_us % MARKER_STEP_US or WINDOW_US % self.step_us:
            raise UnitError(
                f"the step of fitted bodies must be a multiple of {MARKER_STEP_US} µs that divides "
                f"{WINDOW_US} µs: 10,000 (100 Hz) or 50,000 (20 Hz); got {self.step_us}."
            )


@dataclass(frozen=True)
class FitUnit:
    """One subject to fit, from all of its movements.

    Attributes:
        movements: of one subject.
        output: root of the prepared set.
    """

    movements: tuple[DHP19Movement, ...]
    output: Path
    plan: FitPlan = field(default_factory=FitPlan)

    @property
    def subject(self) -> int:
        return self.movements[0].subject

    @property
    def path(self) -> Path:
        return fit_path(self.output, self.subject)


@dataclass(frozen=True)
class FitOutcome:
    """What became of a subject's fit.

    Attributes:
        name: S1.
        status: "done"; "skipped": the same is there; "failed".
        frames, valid: fitted, and those that pass the gates.
        residual_mm: mean distance between fitted and given markers.
    """

    name: str
    status: Literal["done", "skipped", "failed"]
    frames: int = 0
    valid: int = 0
    residual_mm: float = float("nan")
    seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True, eq=False)
class MovementFit:
    """Fitted bodies of one movement, frame k at k x step after the start.

    Attributes:
        motion: K bodies in our world frame.
        attachment: where the subject's markers sit on it, the same in all movements.
        valid: (K,) frames that pass the gates.
        residual_mm: (K, 13) distances to the markers; NaN where there was none.
        mark: fingerprint of markers and settings.
        report: numbers of the fit of this movement, and the settings.
    """

    motion: MotionClip
    attachment: Attachment
    valid: NDArray[np.bool_]
    residual_mm: F64
    mark: str
    report: dict[str, Any]


def fit_path(output: Path, subject: int) -> Path:
    """Where a subject's fit is kept."""
    return output / FITS_FOLDER / f"S{subject}.h5"


class NoBodyError(FormatError):
    """A movement whose markers show no body in any frame; it takes no part in the fit."""


def usable_markers(movement: DHP19Movement, plan: FitPlan) -> F64:
    """(N, 13, 3) millimetres, exchanged ones put right if asked for.

    Raises:
        MissingAssetError, FormatError: no file, or a damaged one.
        NoBodyError: in no frame that would be fitted are three of hips and shoulders there.
    """
    xyz_mm = read_vicon(movement.labels)
    pair = KNOWN_EXCHANGES.get((movement.subject, movement.session, movement.movement))
    if plan.fix_labels and pair is not None:
        xyz_mm = exchanged(xyz_mm, pair)
    seen = np.isfinite(xyz_mm[:: plan.step_us // MARKER_STEP_US][:, _TRUNK]).all(-1)
    if not (seen.sum(1) >= 3).any():
        raise NoBodyError(
            f"{movement.labels}: no frame has three of hips and shoulders; no body can be fitted."
        )
    return xyz_mm


_TRUNK = [
    DHP19_SKELETON.index(f"{part}_{side}") for part in ("hip", "shoulder") for side in ("left", "right")
]


def fit_dhp19_subject(unit: FitUnit) -> FitOutcome:
    """Fit a subject, unless the same fit is there already. Movements without usable markers take no part.
    Never raises what a file can cause: a failure is an outcome."""
    begin, name = time.perf_counter(), f"S{unit.subject}"
    try:
        usable: dict[str, F64] = {}
        for movement in unit.movements:
            try:
                usable[movement.name] = usable_markers(movement, unit.plan)
            except (FormatError, MissingAssetError):
                continue  # the movement's own preparation tells
        if not usable:
            raise MissingAssetError(
                f"{name}: none of its {len(unit.movements)} movements has usable markers."
            )
        labels = {m.name: file_checksum(m.labels) for m in unit.movements if m.name in usable}
        mark = fit_mark(labels, unit.plan)
        told = _stored_report(unit.path)
        if told is not None and told.get("mark") == mark:
            return FitOutcome(name, "skipped", told["frames"], told["valid"], told["residual_mm"])
        stride = unit.plan.step_us // MARKER_STEP_US
        sequences = [_keypoints(xyz[::stride], unit.plan.step_us) for xyz in usable.values()]
        results = fit_subject(sequences, settings=unit.plan.settings)
        frames = sum(len(r.valid) for r in results)
        valid = sum(int(r.valid.sum()) for r in results)
        residual = float(np.nanmean(np.concatenate([r.residual_mm for r in results])))
        summary = {"mark": mark, "frames": frames, "valid": valid, "residual_mm": residual}
        _write(unit, dict(zip(usable, results, strict=True)), summary)
        return FitOutcome(name, "done", frames, valid, residual, round(time.perf_counter() - begin, 3))
    except (EventHPEError, OSError) as error:
        return FitOutcome(name, "failed", error=f"{type(error).__name__}: {error}")
    except MemoryError:
        return FitOutcome(name, "failed", error="MemoryError: not enough memory for this subject.")


def fit_mark(labels: Mapping[str, str], plan: FitPlan) -> str:
    """Fingerprint of everything that decides a fit.

    Args:
        labels: movement -> checksum of its marker file.
    """
    told = {"labels": dict(labels), "plan": asdict(plan), "version": package_version()}
    return xxhash.xxh3_64(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _keypoints(xyz_mm: F64, step_us: int) -> tuple[Keypoints, NDArray[np.int64]]:
    xyz = dhp19_to_world(xyz_mm)
    keypoints = Keypoints(DHP19_SKELETON, np.ones(xyz.shape[:2]), xyz=xyz, frame="world")
    return keypoints, np.arange(len(xyz), dtype=np.int64) * step_us


def _write(unit: FitUnit, results: Mapping[str, FitResult], summary: dict[str, Any]) -> None:
    unit.path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(unit.path)
    first = next(iter(results.values()))
    with PendingFile(unit.path) as pending, h5py.File(pending.temporary, "w") as file:
        file.attrs["summary"] = json.dumps(summary)
        file.attrs["settings"] = json.dumps(asdict(unit.plan))
        file.attrs["body_model"] = first.motion.params.model
        file["rest_joints"], file["betas"] = first.motion.rest_joints, first.motion.params.betas[0]
        write_attachment(file, first.attachment)
        for name, result in results.items():
            params, g = result.motion.params, file.create_group(f"movements/{name}")
            g["t_us"], g["valid"], g["residual_mm"] = result.motion.t_us, result.valid, result.residual_mm
            for part in ("global_orient", "body_pose", "transl"):
                g[part] = getattr(params, part)
            g["confidence"] = result.motion.confidence
            g.attrs["report"] = json.dumps(result.report)


def read_movement_fit(path: Path, name: str) -> MovementFit:
    """Fitted bodies of one movement from a subject's file.

    Raises:
        MissingAssetError: no such file, or the movement took no part in the fit.
        FormatError: a damaged file.
    """
    if not path.is_file():
        raise MissingAssetError(f"{path}: no such fit; `eventhpe prepare dhp19 --mode bodies` makes it.")
    try:
        with open_hdf5(path) as file:
            if f"movements/{name}" not in file:
                raise MissingAssetError(f"{path}: {name} took no part in this fit.")
            g = file[f"movements/{name}"]
            K = len(g["t_us"])
            params = BodyParams(
                betas=np.broadcast_to(file["betas"][:], (K, 10)), global_orient=g["global_orient"][:],
                body_pose=g["body_pose"][:], transl=g["transl"][:],
                model=str(file.attrs["body_model"]), frame="world",
            )  # fmt: skip
            summary = json.loads(file.attrs["summary"])
            report = {"settings": json.loads(file.attrs["settings"]), **json.loads(g.attrs["report"])}
            motion = MotionClip(params, g["t_us"][:], file["rest_joints"][:], confidence=g["confidence"][:])
            return MovementFit(
                motion, read_attachment(file), g["valid"][:].astype(bool), g["residual_mm"][:],
                str(summary["mark"]), report,
            )  # fmt: skip
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise FormatError(f"{path}: a damaged fit ({error}). Remove it and prepare again.") from error


def _stored_report(path: Path) -> dict[str, Any] | None:
    """Summary of a fit that is there; None where there is none, or a damaged one, which is made anew."""
    try:
        with open_hdf5(path) as file:
            told = json.loads(file.attrs["summary"])
    except (FormatError, OSError, KeyError, ValueError, TypeError):
        return None
    return told if isinstance(told, dict) else None


def write_attachment(group: h5py.Group, attachment: Attachment) -> None:
    """Store where markers sit on a body, in the group `attachment`."""
    g = group.create_group("attachment")
    g.attrs["names"] = json.dumps(attachment.names)
    g["joints"], g["offsets"], g["shares"] = attachment.joints, attachment.offsets, attachment.shares


def read_attachment(group: h5py.Group) -> Attachment:
    """What `write_attachment` stored.

    Raises:
        KeyError, ValueError: it is not there, or damaged.
    """
    g = group["attachment"]
    names: Sequence[str] = json.loads(g.attrs["names"])
    return Attachment(tuple(names), g["joints"][:].astype(np.int64), g["offsets"][:], g["shares"][:])
