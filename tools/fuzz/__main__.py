"""Reads damaged files of every format. See README.md beside this file.

python tools/fuzz --inputs 20000 --seed 1 [--formats evt3 ...] [--jobs 2]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def main() -> int:
    """Run, print a line per format, write the summary; 1 if anything failed."""
    from eventhpe.events.formats.sniff import FORMATS
    from tools.fuzz.workers import Crew, Report, run_one

    names = [f.name for f in FORMATS]
    parser = argparse.ArgumentParser(prog="tools/fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--inputs", type=int, default=500, help="damaged files per format (default: 500)")
    parser.add_argument("--first", type=int, default=0, help="number of the first input (default: 0)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--formats", nargs="+", default=names, choices=names, metavar="NAME")
    parser.add_argument("--jobs", type=int, default=1, help="processes at work")
    parser.add_argument("--failures", type=Path, help="folder for files that fail (default: a new one)")
    parser.add_argument("--summary", type=Path, help="JSON file to write the counts to")
    parser.add_argument("--one", type=int, metavar="K", help="read input K alone, in this process")
    args = parser.parse_args()
    if args.one is not None:
        for name in args.formats:
            print(f"{name} {args.one}: {run_one(args.seed, name, args.one)}")
        return 0

    failures = args.failures or Path(tempfile.mkdtemp(prefix="eventhpe-fuzz-"))
    failures.mkdir(parents=True, exist_ok=True)
    crew = Crew(args.jobs, args.seed, failures)
    reports: list[Report] = []
    for name in args.formats:
        report = crew.run(name, args.first, args.first + args.inputs)
        reports.append(report)
        counts = ", ".join(f"{number:,} {what}" for what, number in report.counts.items() if number)
        print(f"{name:10} {args.inputs:,} inputs in {report.seconds:.0f} s: {counts}", flush=True)
        for failure in report.failures[:20]:
            print(f"    {failure}", flush=True)
        if args.summary is not None:
            _write_summary(args.summary, args.seed, report.as_dict(), names)
    total = sum((Counter(report.counts) for report in reports), Counter[str]())
    if total["failures"]:
        print(f"{total['failures']} failures; the files are in {failures}")
    return int(total["failures"] > 0)


def _write_summary(path: Path, seed: int, report: dict[str, Any], names: list[str]) -> None:
    """Put the counts of one format into the summary; those of other formats stay, if the seed is the same."""
    told = json.loads(path.read_text()) if path.exists() else {}
    kept = {entry["format"]: entry for entry in told["formats"]} if told.get("seed") == seed else {}
    kept[report["format"]] = {**report, "date": date.today().isoformat()}
    formats = [kept[name] for name in names if name in kept]
    counted = ("inputs", "results", "format_errors", "unit_errors", "failures")
    total = {what: sum(entry[what] for entry in formats) for what in counted}
    summary = {"seed": seed, "total": total, "formats": formats}
    path.write_text(json.dumps(summary, indent=1) + "\n")


if __name__ == "__main__":
    sys.path[:1] = [str(ROOT)]  # instead of this folder: the tests build the small files
    sys.exit(main())
