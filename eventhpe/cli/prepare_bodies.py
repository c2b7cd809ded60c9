"""`eventhpe prepare dhp19 --mode bodies`: recordings with bodies fitted to the markers."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eventhpe.cli.prepare import Options
    from eventhpe.data.dhp19_bodies import BodiesOutcome
    from eventhpe.data.dhp19_fits import FitOutcome


def run_bodies(options: Options) -> int:
    """Fit, write, and say how well it went."""
    from eventhpe.cli.prepare import tell
    from eventhpe.cli.progress import progress_bar
    from eventhpe.data.dhp19 import find_movements
    from eventhpe.data.dhp19_bodies_files import FRONT_CAMERAS
    from eventhpe.data.dhp19_bodies_prepare import prepare_dhp19_bodies
    from eventhpe.data.dhp19_fits import FitOutcome, FitPlan
    from eventhpe.data.dhp19_prepare import REPORT_NAME

    movements = find_movements(options.root)
    asked = [m for m in movements if not options.only or m.name in options.only]
    fits: list[FitOutcome] = []
    with progress_bar(len(asked) + len({m.subject for m in asked}), "preparing") as step:

        def told(outcome: FitOutcome | BodiesOutcome) -> None:
            if isinstance(outcome, FitOutcome):
                fits.append(outcome)
            step()

        outcomes = prepare_dhp19_bodies(
            options.root, options.output,
            FitPlan(step_us=1_000_000 // options.fit_hz, fix_labels=options.fix_labels),
            cameras=options.cameras or FRONT_CAMERAS, only=options.only, drop=options.drop,
            overwrite=options.overwrite, jobs=options.jobs, told=told,
        )  # fmt: skip
    for fit in fits:
        _tell_fit(fit)
    for outcome in outcomes:
        made = f"{outcome.labels:,} bodies per camera, {outcome.valid:,} valid, markers"
        tell(outcome, f"{made} {outcome.residual_mm:.1f} mm off")
    counts = {s: sum(o.status == s for o in outcomes) for s in ("done", "skipped", "left out", "failed")}
    print(
        f"{counts['done']} prepared, {counts['skipped']} there already, {counts['left out']} left out, "
        f"{counts['failed']} failed; report: {options.output / REPORT_NAME}"
    )
    return 2 if counts["failed"] else 0


def _tell_fit(fit: FitOutcome) -> None:
    if fit.status == "failed":
        print(f"eventhpe: {fit.name}: {fit.error}", file=sys.stderr)
        return
    known = " (there already)" if fit.status == "skipped" else f" in {fit.seconds:.0f} s"
    print(
        f"{fit.name}: fitted {fit.frames:,} frames, {fit.valid / fit.frames:.1%} valid, markers "
        f"{fit.residual_mm:.1f} mm off on average{known}"
    )
