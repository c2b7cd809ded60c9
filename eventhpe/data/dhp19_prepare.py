"""DHP19's recordings into windows with labels on disk: one unit of work per movement, resumable.

A unit depends on nothing but itself, so that a cluster engine can run the same function:
`prepare_movement(unit)`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xxhash

from eventhpe.atomic import PendingFile, remove_leftovers
from eventhpe.data.dhp19 import DHP19Movement, find_movements
from eventhpe.data.dhp19_cameras import DHP19_SIZE
from eventhpe.data.dhp19_export import MARKER_STEP_US
from eventhpe.data.dhp19_frames import MovementFrames
from eventhpe.data.dhp19_labels import ArmLengths, arm_lengths, label_faults
from eventhpe.data.dhp19_prepared import PreparedName
from eventhpe.data.dhp19_raw import fault_texts
from eventhpe.data.dhp19_settings import DHP19Settings
from eventhpe.data.dhp19_windows import TooManySpecialsError
from eventhpe.data.dhp19_writer import WriterPerChannel, made_from
from eventhpe.data.ordered_pool import ordered_map
from eventhpe.errors import EventHPEError, FormatError
from eventhpe.events.batch import file_checksum
from eventhpe.events.store_writer import package_version

REPORT_NAME = "prepare-report.jsonl"
_CAMERAS = 4


@dataclass(frozen=True)
class PrepareUnit:
    """One movement to prepare.

    Attributes:
        output: root of the prepared set.
        official_dtype: write images as float64, as the authors' files have them, instead of uint8.
        overwrite: replace files that are there and were made otherwise.
        arms: lengths of the subject's arms, to find exchanged markers.
    """

    movement: DHP19Movement
    output: Path
    settings: DHP19Settings = field(default_factory=DHP19Settings)
    official_dtype: bool = False
    overwrite: bool = False
    arms: ArmLengths | None = None

    @property
    def names(self) -> tuple[PreparedName, ...]:
        """What is written for it: one pair of files, or one for each camera."""
        m, settings = self.movement, self.settings
        channels = range(_CAMERAS) if settings.windows == "per_camera" else (None,)
        return tuple(
            PreparedName(m.subject, m.session, m.movement, settings.variant, channel) for channel in channels
        )


@dataclass(frozen=True)
class PrepareOutcome:
    """What became of a movement; a line of the report.

    Attributes:
        name: S1_1_1.
        status: "done"; "skipped": it was there already; "left out": damaged, as the authors leave it out, or
            named to be dropped; "failed".
        num_windows: written, over all cameras where each has its own.
        rule: where start and stop come from.
        stages: events left after each filter.
        faults: what is wrong with the recording or its markers.
    """

    name: str
    status: Literal["done", "skipped", "left out", "failed"]
    num_windows: int = 0
    rule: str = ""
    stages: dict[str, int] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    seconds: float = 0.0
    error: str = ""


def recipe(unit: PrepareUnit) -> str:
    """Fingerprint of everything but recording and markers that decides what the files hold."""
    told = {**asdict(unit.settings), "float64": unit.official_dtype, "version": package_version()}
    return xxhash.xxh3_64(json.dumps(told, sort_keys=True).encode()).hexdigest()


def prepare_movement(unit: PrepareUnit) -> PrepareOutcome:
    """Prepare one movement, unless the same is there already. Never raises what a file can cause: a failure
    is an outcome."""
    begin = time.perf_counter()
    try:
        return _prepare(unit, begin)
    except TooManySpecialsError as error:
        return PrepareOutcome(unit.movement.name, "left out", error=str(error))
    except (EventHPEError, OSError) as error:
        return PrepareOutcome(unit.movement.name, "failed", error=f"{type(error).__name__}: {error}")
    except MemoryError:
        return PrepareOutcome(
            unit.movement.name, "failed", error="MemoryError: not enough memory for this recording."
        )


def _prepare(unit: PrepareUnit, begin: float) -> PrepareOutcome:
    movement, settings = unit.movement, unit.settings
    mark = {"recipe": recipe(unit)}
    for key, path in (("source_xxh3_128", movement.events), ("labels_xxh3_128", movement.labels)):
        mark[key] = file_checksum(path) if path.is_file() else ""
    there = [made_from(unit.output, name) for name in unit.names]
    if all(told is not None and mark.items() <= told.items() for told in there):
        return PrepareOutcome(movement.name, "skipped")
    for name, told in zip(unit.names, there, strict=True):
        if told is not None and not mark.items() <= told.items() and not unit.overwrite:
            raise FormatError(
                f"{name.frames_path(unit.output)}: exists already and was not made from the same recording "
                "with the same settings; say --overwrite to replace it."
            )
    with MovementFrames(movement, settings) as frames:
        faults = (
            *fault_texts(frames.survey),
            *label_faults(frames.xyz_mm, unit.arms),
            *coverage_faults(frames),
        )
        cameras = _CAMERAS if len(unit.names) == 1 else 1
        shape: tuple[int, ...] = (*DHP19_SIZE, cameras)
        dtype: np.dtype[Any] = np.dtype(np.float64 if unit.official_dtype else np.uint8)
        if settings.voxel_bins:
            shape, dtype = (cameras, settings.voxel_bins, *DHP19_SIZE), np.dtype(np.float32)
        provenance = {
            **mark, "eventhpe_version": package_version(), "settings": asdict(settings),
            "rule": frames.window.rule, "start_us": frames.window.start_us,
            "stop_us": frames.window.stop_us, "faults": faults,
        }  # fmt: skip
        number = 0
        with WriterPerChannel(
            unit.output, unit.names, item_shape=shape, item_dtype=dtype, provenance=provenance
        ) as writer:
            for packet in frames.packets():
                writer.append(packet)
                number += 1
        if not number:
            faults = (*faults, "gives no window: too few events")
        return PrepareOutcome(
            movement.name, "done", number, frames.window.rule, asdict(frames.stages), faults,
            round(time.perf_counter() - begin, 3),
        )  # fmt: skip


def coverage_faults(frames: MovementFrames) -> tuple[str, ...]:
    """Markers that end long before the events, or begin before they do."""
    end_us = frames.window.start_us + MARKER_STEP_US * len(frames.xyz_mm)
    early = (frames.window.stop_us - end_us) * 1e-6
    return (f"markers end {early:.1f} s before the events",) if early > 1 else ()


def prepare_dhp19(
    root: str | Path,
    output: str | Path,
    settings: DHP19Settings | None = None,
    *,
    only: Iterable[str] = (),
    drop: Iterable[str] = (),
    official_dtype: bool = False,
    overwrite: bool = False,
    jobs: int = 1,
    told: Callable[[PrepareOutcome], object] = lambda outcome: None,
) -> list[PrepareOutcome]:
    """Prepare all recordings under DHP19's root folder; a failure stops none of the others.

    Args:
        root: folder with DVS_movies/ and Vicon_data/.
        output: root of the prepared set; see `dhp19_prepared`. A report is left in it.
        settings: the authors' without.
        only, drop: names as S1_1_1 of recordings to prepare, or to leave out.
        official_dtype, overwrite: see `PrepareUnit`.
        jobs: processes; 1 works in this one.
        told: called with every outcome as it comes, in order.
    Returns:
        One outcome for each recording, in order of subject, session and movement.
    Raises:
        MissingAssetError: there is no DHP19 in that folder.
        FormatError: `only` or `drop` name recordings that are not there.
    """
    output, settings = Path(output), settings or DHP19Settings()
    movements = find_movements(root)
    chosen, dropped = named_movements(movements, only, "only"), named_movements(movements, drop, "drop")
    work = [m for m in movements if not chosen or m.name in chosen]
    output.mkdir(parents=True, exist_ok=True)
    report = output / REPORT_NAME
    remove_leftovers(report)
    arms = arm_lengths(
        {s: [m.labels for m in movements if m.subject == s] for s in {m.subject for m in work}}
    )
    units = [
        PrepareUnit(m, output, settings, official_dtype, overwrite, arms.get(m.subject))
        for m in work
        if m.name not in dropped
    ]
    outcomes = [
        PrepareOutcome(m.name, "left out", error="dropped as asked") for m in work if m.name in dropped
    ]
    with closing(ordered_map(prepare_movement, units, workers=0 if jobs == 1 else jobs)) as results:
        for outcome in results:
            outcomes.append(outcome)
            with report.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(outcome)) + "\n")
            told(outcome)
    place = {m.name: k for k, m in enumerate(work)}
    outcomes.sort(key=lambda outcome: place[outcome.name])
    with PendingFile(report) as pending:
        lines = "".join(json.dumps(asdict(outcome)) + "\n" for outcome in outcomes)
        pending.temporary.write_text(lines, encoding="utf-8")
    return outcomes


def named_movements(movements: Sequence[DHP19Movement], names: Iterable[str], what: str) -> set[str]:
    """Names as S1_1_1, as a set.

    Raises:
        FormatError: there is no such recording; `what` says which option named it.
    """
    names, known = set(names), {m.name for m in movements}
    if absent := sorted(names - known):
        raise FormatError(
            f"{what}: no recording {', '.join(absent)}; names are as S1_1_1 (subject, session, movement)."
        )
    return names
