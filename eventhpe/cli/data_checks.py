"""`eventhpe doctor --data`: is a downloaded data set whole?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eventhpe.errors import FormatError

if TYPE_CHECKING:
    from eventhpe.data.inspection import Inspection

SETS = ("dhp19", "mmhpsd")

SHOWN = 40
"""Problems printed as text; --json has all."""


def inspect_data(data: str) -> Inspection:
    """Look at the set that `--data` names.

    Args:
        data: `dhp19:ROOT` or `mmhpsd:ROOT`.
    Raises:
        FormatError: another kind of data.
        MissingAssetError: there is no such set in that folder.
    """
    kind, _, root = data.partition(":")
    if kind == "dhp19" and root:
        from eventhpe.data.dhp19_inspection import inspect_dhp19

        return inspect_dhp19(Path(root))
    if kind == "mmhpsd" and root:
        from eventhpe.data.mmhpsd_inspection import inspect_mmhpsd

        return inspect_mmhpsd(Path(root))
    raise FormatError(f"--data must be {' or '.join(f'{name}:FOLDER' for name in SETS)}; got {data!r}.")


def inspection_report(found: Inspection) -> dict[str, Any]:
    """For `--json`."""
    return {
        "ready": found.whole,
        "data": found.what,
        "root": str(found.root),
        "files": found.files,
        "facts": found.facts,
        "problems": [asdict(problem) for problem in found.problems],
    }


def inspection_text(found: Inspection) -> str:
    """For people: facts, problems (grave ones first), and the verdict."""
    lines = [f"{found.what} in {found.root}: {found.files:,} files looked at", *found.facts]
    problems = sorted(found.problems, key=lambda problem: not problem.grave)
    for problem in problems[:SHOWN]:
        lines.append(f"{'FAIL' if problem.grave else 'note'}  {problem.path}: {problem.text}")
    if len(problems) > SHOWN:
        lines.append(f"... and {len(problems) - SHOWN:,} more; --json lists all.")
    grave = sum(problem.grave for problem in problems)
    lines.append("")
    lines.append(
        "Whole: nothing that must be there is missing."
        if found.whole
        else f"Not whole: {grave:,} {'file is' if grave == 1 else 'files are'} missing or damaged. Download "
        "them again."
    )
    return "\n".join(lines)
