"""`eventhpe systems`: the published systems, and which of them this version has."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from eventhpe.systems import SYSTEMS, System

HELP = "list the published systems and what each is for"


@dataclass(frozen=True)
class Options:
    """Options of `eventhpe systems`."""

    json: bool = False
    """Print JSON for other programs."""


def run(options: Options) -> int:
    """Print the catalogue."""
    if options.json:
        print(json.dumps([asdict(system) for system in SYSTEMS], indent=2))
    else:
        print("\n\n".join(_paragraph(system) for system in SYSTEMS))
    return 0


def _paragraph(system: System) -> str:
    lines = [f"{system.name} ({system.status})", f"  does    {system.task}", f"  paper   {system.paper}"]
    if system.recipes:
        lines.append("  train   " + ", ".join(f"eventhpe train {recipe}" for recipe in system.recipes))
    if system.status == "available":
        lines.append("  code    " + ", ".join(system.code))
    return "\n".join(lines)
