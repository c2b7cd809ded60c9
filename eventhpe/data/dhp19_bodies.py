"""One movement of DHP19 into recordings of ours with fitted bodies (layout: `dhp19_bodies_files`).

A unit depends on nothing but itself and its subject's fit, so that a cluster engine can run the same
function: `prepare_bodies_movement(unit)`.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xxhash
from numpy.typing import NDArray

from eventhpe.atomic import remove_leftovers
from eventhpe.body.fit_markers import Attachment
from eventhpe.body.motion import move_params
from eventhpe.body.params import BodyParams
from eventhpe.data.dhp19 import DHP19Movement
from eventhpe.data.dhp19_bodies_files import CAMERA_TO_CHANNEL, FRONT_CAMERAS, BodiesName
from eventhpe.data.dhp19_cameras import DHP19_SIZE, dhp19_camera, dhp19_to_world
from eventhpe.data.dhp19_export import MARKER_STEP_US
from eventhpe.data.dhp19_fits import (
    FitPlan,
    MovementFit,
    NoBodyError,
    fit_path,
    read_movement_fit,
    usable_markers,
    write_attachment,
)
from eventhpe.data.dhp19_frames import MovementFrames
from eventhpe.data.dhp19_labels import ArmLengths, label_faults
from eventhpe.data.dhp19_prepare import coverage_faults
from eventhpe.data.dhp19_raw import fault_texts
from eventhpe.data.dhp19_settings import DHP19Settings, settings_of
from eventhpe.data.dhp19_windows import TooManySpecialsError
from eventhpe.data.labels import Labels, write_labels
from eventhpe.data.windows import WINDOW_US
from eventhpe.errors import EventHPEError, FormatError
from eventhpe.events.batch import file_checksum, made_from
from eventhpe.events.store_writer import StoreWriter, package_version
from eventhpe.events.types import Events


@dataclass(frozen=True)
class BodiesUnit:
    """One movement to prepare; its subject is fitted.

    Attributes:
        output: root of the prepared set, which holds the fits.
        cameras: numbers 1..4.
        overwrite: replace files that are there and were made otherwise.
        arms: lengths of the subject's arms, to find exchanged markers.
    """

    movement: DHP19Movement
    output: Path
    plan: FitPlan = field(default_factory=FitPlan)
    cameras: tuple[int, ...] = FRONT_CAMERAS
    overwrite: bool = False
    arms: ArmLengths | None = None

    @property
    def paths(self) -> dict[int, Path]:
        """Camera -> file."""
        m = self.movement
        return {
            c: self.output / BodiesName(m.subject, m.session, m.movement, c).file_name for c in self.cameras
        }

    @property
    def settings(self) -> DHP19Settings:
        """Reading and filters of the modern mode: DHP19's own filters, no record skipped, up to a jump of the
        clock."""
        return settings_of("modern", fix_labels=self.plan.fix_labels)


@dataclass(frozen=True)
class BodiesOutcome:
    """What became of a movement; a line of the report.

    Attributes:
        name: S1_1_1.
        status: "done"; "skipped": it was there already; "left out": damaged as the authors leave it out, no
            body in its markers, no frame passes the gates, or named to be dropped; "failed".
        labels, valid: labelled times of each camera, and those that pass the gates.
        residual_mm: mean distance between fitted and given markers.
        rule: where start and stop come from.
        stages: events of all cameras left after each filter.
        faults: what is wrong with the recording or its markers.
    """

    name: str
    status: Literal["done", "skipped", "left out", "failed"]
    labels: int = 0
    valid: int = 0
    residual_mm: float = float("nan")
    rule: str = ""
    stages: dict[str, int] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    seconds: float = 0.0
    error: str = ""


def prepare_bodies_movement(unit: BodiesUnit) -> BodiesOutcome:
    """Write one movement's recordings, unless the same are there already. Never raises what a file can cause:
    a failure is an outcome."""
    begin, name = time.perf_counter(), unit.movement.name
    try:
        return _prepare(unit, begin)
    except (TooManySpecialsError, NoBodyError) as error:
        return BodiesOutcome(name, "left out", error=str(error))
    except (EventHPEError, OSError) as error:
        return BodiesOutcome(name, "failed", error=f"{type(error).__name__}: {error}")
    except MemoryError:
        return BodiesOutcome(name, "failed", error="MemoryError: not enough memory for this recording.")


def _prepare(unit: BodiesUnit, begin: float) -> BodiesOutcome:
    movement, settings = unit.movement, unit.settings
    usable_markers(movement, unit.plan)  # says why a movement took no part in the fit
    fit = read_movement_fit(fit_path(unit.output, movement.subject), movement.name)
    K, valid, residual = len(fit.valid), int(fit.valid.sum()), float(np.nanmean(fit.residual_mm))
    there = [path for path in unit.paths.values() if path.exists()]
    if not valid:
        if unit.overwrite:
            for path in there:
                path.unlink()
        elif there:
            raise FormatError(
                f"{there[0]}: exists, and no frame of it passes the gates now; say --overwrite."
            )
        why = f"no frame passes the fit's gates (mean residual {residual:.0f} mm)"
        return BodiesOutcome(movement.name, "left out", K, 0, residual, error=why)
    mark = {
        "recipe": _recipe(settings, fit.mark),
        "source_xxh3_128": file_checksum(movement.events) if movement.events.is_file() else "",
        "labels_xxh3_128": file_checksum(movement.labels),
    }
    same = [path for path in there if mark.items() <= made_from(path).items()]
    if len(same) == len(unit.paths):
        return BodiesOutcome(movement.name, "skipped", K, valid, residual)
    if len(there) > len(same) and not unit.overwrite:
        other = next(path for path in there if path not in same)
        raise FormatError(
            f"{other}: exists already and was not made from the same recording with the same settings; say "
            "--overwrite to replace it."
        )
    with MovementFrames(movement, settings) as frames:
        faults = (
            *fault_texts(frames.survey),
            *label_faults(frames.xyz_mm, unit.arms),
            *coverage_faults(frames),
        )
        end_us = _end_us(frames)
        labels = {camera: body_labels(fit, frames.xyz_mm, camera, end_us) for camera in unit.cameras}
        K = len(next(iter(labels.values())).t_us)
        provenance = {
            **mark, "made_by": "eventhpe prepare dhp19 --mode bodies", "movement": movement.name,
            "settings": asdict(settings), "rule": frames.window.rule, "start_us": frames.window.start_us,
            "stop_us": frames.window.stop_us, "faults": faults, "fit": {"mark": fit.mark, **fit.report},
            "bodies": "fitted to the markers: pseudo-truth",
        }  # fmt: skip
        silent = _write(unit, frames, labels, fit.attachment, provenance, end_us)
    faults += tuple(f"camera {camera} has no events" for camera in silent)
    valid = int(fit.valid[:K].sum())
    return BodiesOutcome(
        movement.name, "done", K, valid, residual, frames.window.rule, asdict(frames.stages), faults,
        round(time.perf_counter() - begin, 3),
    )  # fmt: skip


def _recipe(settings: DHP19Settings, fit_mark: str) -> str:
    """Fingerprint of everything but recording and markers that decides what the files hold."""
    told = {**asdict(settings), "fit": fit_mark, "version": package_version()}
    return xxhash.xxh3_64(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _end_us(frames: MovementFrames) -> int:
    """Length of the part that has events and markers."""
    stop_us = min(frames.window.stop_us, frames.survey.t_max_us + 1)
    end_us = min(stop_us - frames.window.start_us, MARKER_STEP_US * (len(frames.xyz_mm) - 1))
    if end_us < WINDOW_US:
        raise FormatError(
            f"{frames.movement.events}: {max(end_us, 0) / 1000:.0f} ms have both events and markers; a "
            f"recording needs {WINDOW_US // 1000} ms."
        )
    return end_us


def body_labels(fit: MovementFit, xyz_mm: NDArray[np.float64], camera: int, end_us: int) -> Labels:
    """Labels of one camera, from 0 to the end.

    Args:
        fit: bodies in our world.
        xyz_mm: (N, 13, 3) markers in DHP19's world, a row every 10 ms.
        camera: number 1..4.
        end_us: the last label may lie a tenth of a window later, where the events of a window end.
    """
    view = dhp19_camera(CAMERA_TO_CHANNEL[camera])
    t_us = fit.motion.t_us[fit.motion.t_us <= end_us + WINDOW_US // 10]
    K = len(t_us)
    motion = fit.motion
    world = motion.joints()[:K]
    params = move_params(
        motion.params, view.R_world_to_cam, view.t_world_to_cam, motion.rest_pelvis, frame="camera"
    )
    cut = BodyParams(
        params.betas[:K], params.global_orient[:K], params.body_pose[:K], params.transl[:K],
        params.model, params.gender, params.frame,
    )  # fmt: skip
    joints = view.to_camera_frame(world)
    markers = view.to_camera_frame(dhp19_to_world(xyz_mm[t_us // MARKER_STEP_US]))
    return Labels(
        t_us=t_us,
        params=cut,
        joints3d=joints.astype(np.float32),
        joints2d=view.project(joints).astype(np.float32),
        camera=view,
        markers3d=markers.astype(np.float32),
        markers2d=view.project(markers).astype(np.float32),
        valid=fit.valid[:K].copy(),
    )


def _write(
    unit: BodiesUnit,
    frames: MovementFrames,
    labels: dict[int, Labels],
    attachment: Attachment,
    provenance: dict[str, Any],
    end_us: int,
) -> list[int]:
    """Write the recordings of all cameras in one pass over the events; returns cameras without any."""
    start_us = frames.window.start_us
    with ExitStack() as stack:
        writers: dict[int, StoreWriter] = {}
        for camera, path in unit.paths.items():
            remove_leftovers(path)
            told = {**provenance, "camera": camera}
            writers[camera] = stack.enter_context(
                StoreWriter(path, DHP19_SIZE, t_offset_us=start_us, provenance=told, duration_us=end_us)
            )
        latest = 0
        for block in frames.surviving():
            if not len(block):
                continue
            # As in fixed-rate windows, events stored after a later one count at the later one's time.
            t = np.maximum(np.maximum.accumulate(block.t - start_us), latest)
            latest = int(t[-1])
            for camera, writer in writers.items():
                of = (block.camera == CAMERA_TO_CHANNEL[camera]) & (t < end_us)
                writer.append(Events(t[of], block.x[of], block.y[of], block.p[of], DHP19_SIZE))
        for camera, writer in writers.items():
            group = write_labels(writer.file, labels[camera])
            write_attachment(group["people/0"], attachment)
        return [camera for camera, writer in writers.items() if not writer.num_events]
