"""`eventhpe doctor`: is this machine ready, and if not, what to do."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from eventhpe.cli.checks import all_checks

HELP = "check this machine: versions, codecs, device, body, weights, one rendered triangle"

MARKS = {"ok": "ok  ", "note": "note", "fail": "FAIL"}


@dataclass(frozen=True)
class Options:
    """Options of `eventhpe doctor`."""

    json: bool = False
    """Print JSON for other programs."""


def run(options: Options) -> int:
    """Print one line per check; 0 when the main job can run here, else 1."""
    checks = all_checks()
    failed = [check for check in checks if check.state == "fail"]
    if options.json:
        print(json.dumps({"ready": not failed, "checks": [asdict(check) for check in checks]}, indent=2))
        return 1 if failed else 0
    width = max(len(check.name) for check in checks)
    for check in checks:
        print(f"{MARKS[check.state]}  {check.name:<{width}}  {check.text}")
        if check.cure:
            print(f"{'':6}{'':<{width}}  -> {check.cure}")
    print()
    if failed:
        print(f"Not ready: {', '.join(check.name for check in failed)}.")
        return 1
    print("Ready: the main job can run here.")
    return 0
