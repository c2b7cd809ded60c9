"""`eventhpe doctor`: is this machine ready, or a data set whole, and if not, what to do."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from eventhpe.cli.checks import all_checks

HELP = "check this machine (versions, codecs, device, body, weights), or a downloaded data set"

MARKS = {"ok": "ok  ", "note": "note", "fail": "FAIL"}


@dataclass(frozen=True)
class Options:
    """Options of `eventhpe doctor`."""

    data: str | None = None
    """Instead of the machine, look at a data set file by file: dhp19:FOLDER or mmhpsd:FOLDER."""
    json: bool = False
    """Print JSON for other programs."""


def run(options: Options) -> int:
    """Print one line per check; 0 when the main job can run here (the data set is whole), else 1."""
    if options.data is not None:
        return _look_at_data(options.data, as_json=options.json)
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


def _look_at_data(data: str, *, as_json: bool) -> int:
    from eventhpe.cli.data_checks import inspect_data, inspection_report, inspection_text

    found = inspect_data(data)
    print(json.dumps(inspection_report(found), indent=2) if as_json else inspection_text(found))
    return 0 if found.whole else 1
