"""DHP19 into recordings with fitted bodies: first each subject is fitted, then each movement is written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from eventhpe.atomic import PendingFile, remove_leftovers
from eventhpe.data.dhp19 import DHP19Movement, find_movements
from eventhpe.data.dhp19_bodies import BodiesOutcome, BodiesUnit, prepare_bodies_movement
from eventhpe.data.dhp19_bodies_files import FRONT_CAMERAS
from eventhpe.data.dhp19_fits import FitOutcome, FitPlan, FitUnit, fit_dhp19_subject
from eventhpe.data.dhp19_labels import arm_lengths
from eventhpe.data.dhp19_prepare import REPORT_NAME, named_movements
from eventhpe.data.ordered_pool import ordered_map
from eventhpe.errors import FormatError


def prepare_dhp19_bodies(
    root: str | Path,
    output: str | Path,
    plan: FitPlan | None = None,
    *,
    cameras: Iterable[int] = FRONT_CAMERAS,
    only: Iterable[str] = (),
    drop: Iterable[str] = (),
    overwrite: bool = False,
    jobs: int = 1,
    told: Callable[[FitOutcome | BodiesOutcome], object] = lambda outcome: None,
) -> list[BodiesOutcome]:
    """Prepare recordings with bodies under DHP19's root folder; a failure stops none of the others.

    A subject is fitted from all of its movements that are not dropped, whichever are asked for, so that its
    shape does not depend on `only`.

    Args:
        root: folder with DVS_movies/ and Vicon_data/.
        output: folder for the set; see `dhp19_bodies_files`. A report is left in it.
        plan: how bodies are fitted; 20 Hz without.
        cameras: numbers 1..4; the two in front without.
        only, drop: names as S1_1_1 of recordings to prepare, or to leave out.
        overwrite: replace files that are there and were made otherwise.
        jobs: processes; 1 works in this one.
        told: called with every outcome as it comes: fits by subject, then movements, in order.
    Returns:
        One outcome for each recording, in order of subject, session and movement.
    Raises:
        MissingAssetError: there is no DHP19 in that folder.
        FormatError: `only` or `drop` name recordings that are not there, or there is no such camera.
    """
    output, plan = Path(output), plan or FitPlan()
    numbers = tuple(sorted(set(cameras)))
    if not numbers or not set(numbers) <= {1, 2, 3, 4}:
        raise FormatError(f"DHP19 has cameras 1 to 4, 2 and 3 in front; asked for {numbers or 'none'}.")
    movements = find_movements(root)
    chosen, dropped = named_movements(movements, only, "only"), named_movements(movements, drop, "drop")
    work = [m for m in movements if not chosen or m.name in chosen]
    output.mkdir(parents=True, exist_ok=True)
    report = output / REPORT_NAME
    remove_leftovers(report)
    todo = [m for m in work if m.name not in dropped]
    outcomes = [
        BodiesOutcome(m.name, "left out", error="dropped as asked") for m in work if m.name in dropped
    ]
    fitted = _fit([m for m in movements if m.name not in dropped], todo, output, plan, jobs, told)
    arms = arm_lengths(
        {s: [m.labels for m in movements if m.subject == s] for s in {m.subject for m in work}}
    )
    for m in todo:
        if fitted[m.subject].status == "failed":
            outcomes.append(BodiesOutcome(m.name, "failed", error=f"no fit: {fitted[m.subject].error}"))
            told(outcomes[-1])
    units = [
        BodiesUnit(m, output, plan, numbers, overwrite, arms.get(m.subject))
        for m in todo
        if fitted[m.subject].status != "failed"
    ]
    with closing(ordered_map(prepare_bodies_movement, units, workers=0 if jobs == 1 else jobs)) as results:
        for outcome in results:
            outcomes.append(outcome)
            told(outcome)
    place = {m.name: k for k, m in enumerate(work)}
    outcomes.sort(key=lambda outcome: place[outcome.name])
    with PendingFile(report) as pending:
        lines: list[FitOutcome | BodiesOutcome] = [*fitted.values(), *outcomes]
        text = "".join(json.dumps(asdict(line)) + "\n" for line in lines)
        pending.temporary.write_text(text, encoding="utf-8")
    return outcomes


def _fit(
    movements: list[DHP19Movement],
    todo: list[DHP19Movement],
    output: Path,
    plan: FitPlan,
    jobs: int,
    told: Callable[[FitOutcome | BodiesOutcome], object],
) -> dict[int, FitOutcome]:
    """Subject -> outcome, of all subjects with something to do."""
    units = [
        FitUnit(tuple(m for m in movements if m.subject == subject), output, plan)
        for subject in sorted({m.subject for m in todo})
    ]
    done: dict[int, FitOutcome] = {}
    with closing(ordered_map(fit_dhp19_subject, units, workers=0 if jobs == 1 else jobs)) as results:
        for unit, outcome in zip(units, results, strict=True):
            done[unit.subject] = outcome
            told(outcome)
    return done
