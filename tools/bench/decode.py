"""How fast are files decoded? Ours, other libraries and the floor, for every format, in one run.

    python tools/bench/decode.py [--davis RECORDING] [--vga RECORDING] [--formats NAME ...] [--rounds 5]

Million events per CPU second (all threads of the process counted), median over the rounds; files of 20
million events (text and CSV 2, bag 5 million), in the page cache. Every reader has a process of its own,
allowed one thread, that reads a small file first; then all readers take turns, round after round, so that a
busy machine slows all alike. What a reader finds is checked before it is timed; a reader with wrong events
is not timed.

"Whole arrays" is `open_recording(path).read()`, "blocks" one pass over reused buffers (`once`). The floors
read the file and fill the columns without decoding, into fresh and into reused arrays. Events: recordings
repeated with shifted times (--davis 346x260, --vga 640x480), else synthetic ones. Other libraries:
requirements-decode.txt.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import readers
import streams
import timing
from streams import KINDS, Facts, Stream

DAVIS, VGA = (260, 346), (480, 640)
_SMALL = 20_000
_PATIENCE_S = 300
_LONGEST = 90  # characters of a failure in the table


@dataclass(frozen=True)
class Target:
    """Our whole arrays against a rival; `of` is the rival's format where that is another one."""

    rival: str
    factor: float
    of: str = ""
    stretch: bool = False


def _ahead(*rivals: str) -> tuple[Target, ...]:
    return tuple(Target(rival, 1.0, stretch=True) for rival in rivals)


_FLOOR = Target(readers.FLOOR, 0.6, stretch=True)
TARGETS = {
    "aedat2": (Target("evutils", 2.5), _FLOOR),
    "aedat31": (Target("evutils", 1.8), _FLOOR),
    "aedat4-none": (
        Target("dv-processing, batches", 2.0),
        Target("dv-processing, one store", 2.0),
        *_ahead("evutils"),
    ),
    "aedat4-lz4": (Target("aedat", 1.0), *_ahead("evutils")),
    "aedat4-zstd": (Target("aedat", 1.3), *_ahead("evutils")),
    "dat": (Target("expelliarmus", 1.0), *_ahead("evutils")),
    "evt2": (Target("expelliarmus", 1.2), *_ahead("evutils")),
    "evt21-little": (Target("evutils", 0.7, of="evt21-legacy"),),
    "evt21-legacy": (Target("evutils", 0.7), *_ahead("evutils")),
    "evt3": (Target("evt3", 1.2), *_ahead("evutils")),
    "ecf": (Target(readers.OURS, 0.3, of="evt2"),),
    "text": (Target("polars, float seconds", 1.8),),
    "csv": (Target("polars", 1.8),),
    "bag": (Target("eventcv", 2.0),),
}


@dataclass
class Row:
    """What came of one reader: runs, or why there are none."""

    note: str = ""
    failure: str = ""
    runs: list[timing.Seconds] = field(default_factory=list)


def work(name: str) -> None:
    """The side of a worker process."""
    if name in readers.FLOORS:

        def floor(path: str, count: int) -> object:
            return readers.read_and_fill(Path(path), count, reuse=readers.FLOORS[name])

        timing.serve({"time": lambda path, count: timing.timed(lambda: floor(path, count))})
        return
    reader = readers.READERS[name]

    def check(path: str, expected: dict[str, int], size: list[int]) -> str:
        return readers.compare(reader.facts(Path(path)), Facts(**expected), (size[0], size[1]))

    timing.serve({"check": check, "time": lambda path, count: timing.timed(lambda: reader.load(Path(path)))})


def measure(
    names: list[str], file: tuple[Path, Facts], small: tuple[Path, Facts], rounds: int, size: tuple[int, int]
) -> dict[str, Row]:
    """Check every reader, then time those that are right, in turns."""
    rows = {name: Row() for name in names}
    with ExitStack() as stack:
        workers = {}
        for name in names:
            worker = stack.enter_context(timing.Worker([__file__, "--worker", name], _PATIENCE_S))
            try:
                worker.seconds(do="time", path=str(small[0]), count=small[1].count)
                if name not in readers.FLOORS:
                    expected = vars(file[1])
                    rows[name].note = worker.ask(
                        do="check", path=str(file[0]), expected=expected, size=list(size)
                    )
                workers[name] = worker
            except timing.WorkerError as error:
                rows[name].failure = str(error).removeprefix("WrongEventsError: ")
        for k in range(rounds):
            order = list(workers)
            for name in order[k % len(order) :] + order[: k % len(order)]:
                try:
                    run = workers[name].seconds(do="time", path=str(file[0]), count=file[1].count)
                    rows[name].runs.append(run)
                except timing.WorkerError as error:
                    rows[name].failure = str(error)
                    del workers[name]
    return rows


def summary(rows: dict[str, Row], count: int) -> dict[str, dict[str, Any]]:
    """For the results file."""
    out: dict[str, dict[str, Any]] = {}
    for name, row in rows.items():
        out[name] = {"failure": row.failure} if row.failure or not row.runs else timing.rates(count, row.runs)
        if row.note:
            out[name]["note"] = row.note
    return out


def judge(kind: str, results: dict[str, Any]) -> list[dict[str, Any]]:
    """Our whole arrays (and blocks) against the targets, where the rival was measured."""
    found = []
    ours = results[kind]["readers"]
    for target in TARGETS[kind]:
        rival = results.get(target.of or kind, {}).get("readers", {}).get(target.rival, {})
        if "mev_per_cpu_second" not in rival or "mev_per_cpu_second" not in ours.get(readers.OURS, {}):
            continue
        ratios = {
            name: round(ours[name]["mev_per_cpu_second"] / rival["mev_per_cpu_second"], 3)
            for name in (readers.OURS, readers.OURS_BLOCKS)
            if "mev_per_cpu_second" in ours.get(name, {})
        }
        found.append(
            {
                "rival": target.rival + (f" ({target.of})" if target.of else ""),
                "factor": target.factor,
                "stretch": target.stretch,
                "ratio": ratios,
                "met": ratios[readers.OURS] >= target.factor,
            }
        )
    return found


def show(kind: str, result: dict[str, Any]) -> None:
    """Print one format."""
    ours = result["readers"].get(readers.OURS, {}).get("mev_per_cpu_second")
    lines = []
    for name, told in result["readers"].items():
        rate = told.get("mev_per_cpu_second")
        if rate is None:
            lines.append([name, "-", "-", "-", told["failure"][:_LONGEST]])
            continue
        ratio = f"{ours / rate:.2f}x" if ours else "-"
        lines.append([name, f"{rate:.1f}", f"{told['mev_per_second']:.1f}", ratio, told.get("note", "")])
    print(f"\n{KINDS[kind].label}: {result['events']:,} events, {result['bytes_per_event']} bytes each")
    print(timing.table(["", "Mev/CPU s", "Mev/s", "ours is", "note"], lines))
    for target in result["targets"]:
        goal = "stretch" if target["stretch"] else "target"
        ratios = ", ".join(f"{name.split(', ')[1]} {r:.2f}x" for name, r in target["ratio"].items())
        verdict = "met" if target["met"] else "MISSED"
        print(f"  {goal} {target['factor']}x {target['rival']}: {ratios}: {verdict}", flush=True)


def sources(options: argparse.Namespace) -> dict[str, Stream]:
    """The two streams, from recordings or synthetic."""
    davis, vga = options.davis, options.vga
    return {
        "davis": streams.from_recording(davis, DAVIS) if davis else streams.synthetic(DAVIS, 571_000),
        "vga": streams.from_recording(vga, VGA) if vga else streams.synthetic(VGA, 165_000),
    }


def arguments(
    text: str, formats: tuple[str, ...], output: str, *, timed: bool = True
) -> argparse.ArgumentParser:
    """Options that the benchmarks share; `timed`: with those for timing."""
    parser = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--davis", type=Path, help="recording of 346x260 to repeat")
    parser.add_argument("--vga", type=Path, help="recording of 640x480 to repeat")
    parser.add_argument("--formats", nargs="+", choices=formats, default=list(formats))
    parser.add_argument("--keep", type=Path, help="folder for the large files, used again the next time")
    parser.add_argument("--output", type=Path, default=timing.RESULTS / output)
    if timed:
        parser.add_argument("--events", type=int, default=20_000_000)
        parser.add_argument("--rounds", type=int, default=5)
    return parser


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        work(sys.argv[2])
        return
    parser = arguments(__doc__ or "", tuple(KINDS), "decode.json")
    parser.add_argument("--readers", nargs="+", help="only these (see the table); default: all")
    options = parser.parse_args()
    packages = sorted({r.package for r in readers.READERS.values()})
    installed = timing.versions(packages)
    report = timing.report(
        "million events per CPU second (median), one thread, files in the page cache",
        [*packages, "numpy", "numba", "h5py", "lz4", "zstandard", "rosbags"],
    )
    made = sources(options)
    report["streams"] = {name: stream.name for name, stream in made.items()}
    report["rounds"] = options.rounds
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for kind in options.formats:
            stream, count = made[KINDS[kind].stream], max(1, round(options.events * KINDS[kind].share))
            small = streams.make(folder, kind, stream, min(_SMALL, count))
            file = streams.make(folder, kind, stream, count)
            names = [n for n, r in readers.READERS.items() if kind in r.kinds and r.package in installed]
            names = [n for n in [*names, *readers.FLOORS] if not options.readers or n in options.readers]
            rows = measure(names, file, small, options.rounds, stream.base.sensor_size)
            results[kind] = {
                "events": count,
                "bytes_per_event": round(file[0].stat().st_size / count, 2),
                "readers": summary(rows, count),
            }
            results[kind]["targets"] = judge(kind, results)
            show(kind, results[kind])
            if options.keep is None:
                for path in {small[0], file[0]}:
                    path.unlink()
        for kind in options.formats:  # a rival of another format may have come later
            results[kind]["targets"] = judge(kind, results)
    timing.write_json(options.output, {**report, "results": results})
    print(f"\nwritten to {options.output}")


if __name__ == "__main__":
    main()
