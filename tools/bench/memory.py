"""How much memory does the conversion of a large file take?

    python tools/bench/memory.py [--davis RECORDING] [--vga RECORDING] [--gigabytes 2] [--keep FOLDER]

Converts a large AEDAT 2 and a large EVT3 file to HDF5, each in a fresh process that has imported the
command line, and reports by how much its resident memory rose at most: above the imports, and above a first
conversion of a tiny file (which compiles or loads kernels and loads libraries). Pages of the input in the
system's cache do not count. Target: less than 300 MB above the imports. The files are deleted in the end
unless --keep names a folder.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import timing

if TYPE_CHECKING:
    from streams import Stream

FORMATS = ("aedat2", "evt3")
_LIMIT_MB = 300
_SAMPLE_EVENTS = 200_000
_STATUS = Path("/proc/self/status")


def resident_mb(field: str = "VmRSS") -> float:
    """Resident memory now (VmRSS) or at most (VmHWM), MB of 10^6 bytes; where the system tells."""
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


class Watch:
    """Highest resident memory while it is open: the system's mark where it can be set back, else samples."""

    def __enter__(self) -> Watch:
        self.peak_mb = resident_mb()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        try:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            self.exact = True
        except OSError:
            self.exact = False
        self._thread.start()
        return self

    def _sample(self) -> None:
        while not self._done.wait(0.02):
            self.peak_mb = max(self.peak_mb, resident_mb())

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        if self.exact:
            self.peak_mb = max(self.peak_mb, resident_mb("VmHWM"))


def work() -> None:
    """The side of a worker process."""
    from eventhpe.cli import main as cli_main
    from eventhpe.events.conversion import convert
    from eventhpe.events.open import open_recording

    assert cli_main  # imported as for the command `eventhpe convert`
    imported = resident_mb()

    def run(path: str, out: str) -> dict[str, Any]:
        before = resident_mb()
        with Watch() as watch, open_recording(path) as recording:
            count = convert(recording, out, overwrite=True).num_events
        highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
        return {
            "events": count,
            "imported_mb": imported,
            "before_mb": before,
            "peak_mb": watch.peak_mb,
            "peak_of_process_mb": highest,
            "exact": watch.exact,
        }

    timing.serve({"convert": run})


def measure(path: Path, small: Path, out: Path) -> dict[str, Any]:
    """Convert the tiny file, then the large one, in one process."""
    with timing.Worker([__file__, "--worker"], patience_s=3600) as worker:
        worker.ask(do="convert", path=str(small), out=str(out))
        told = worker.ask(do="convert", path=str(path), out=str(out))
    above = told["peak_mb"] - told["imported_mb"]
    return {
        "events": told["events"],
        "file_mb": round(path.stat().st_size / 1e6),
        "imports_mb": round(told["imported_mb"], 1),
        "after_tiny_file_mb": round(told["before_mb"], 1),
        "peak_mb": round(told["peak_mb"], 1),
        "peak_of_process_mb": round(told["peak_of_process_mb"], 1),
        "peak_is": "the system's mark" if told["exact"] else "sampled every 20 ms",
        "above_imports_mb": round(above, 1),
        "above_tiny_file_mb": round(told["peak_mb"] - told["before_mb"], 1),
        "met": above < _LIMIT_MB,
    }


def events_for(kind: str, stream: Stream, folder: Path, size_bytes: float) -> int:
    """How many events fill a file of that size."""
    import streams

    path, facts = streams.make(folder, kind, stream, min(_SAMPLE_EVENTS, len(stream.base)))
    return max(1, int(size_bytes * facts.count / path.stat().st_size))


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        work()
        return
    # Not at the top: the worker imports nothing but what the command imports.
    import streams
    from decode import arguments, sources
    from streams import KINDS

    parser = arguments(__doc__ or "", FORMATS, "memory.json", timed=False)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    options: argparse.Namespace = parser.parse_args()
    report = timing.report(
        "resident memory of a conversion to HDF5, MB of 10^6 bytes", ["numpy", "numba", "h5py"]
    )
    made = sources(options)
    report["streams"] = {name: stream.name for name, stream in made.items()}
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        needed = 2.5 * options.gigabytes * 1e9  # the file, what is written from it, and some more
        free = shutil.disk_usage(folder).free
        if free < needed:
            raise SystemExit(f"{folder}: {free / 1e9:.1f} GB free; {needed / 1e9:.1f} GB are needed.")
        for kind in options.formats:
            stream = made[KINDS[kind].stream]
            count = events_for(kind, stream, folder, options.gigabytes * 1e9)
            path, facts = streams.make(folder, kind, stream, count)
            small, _ = streams.make(folder, kind, stream, min(20_000, count))
            results[kind] = measure(path, small, Path(temporary) / "converted.h5")
            if results[kind]["events"] != facts.count:
                raise SystemExit(f"{kind}: {results[kind]['events']:,} events converted of {facts.count:,}.")
            if options.keep is None:
                path.unlink()
    head = (
        "",
        "file MB",
        "imports",
        "after tiny file",
        "peak",
        "above imports",
        "above tiny file",
        "< 300 MB",
    )
    keys = (
        "file_mb",
        "imports_mb",
        "after_tiny_file_mb",
        "peak_mb",
        "above_imports_mb",
        "above_tiny_file_mb",
    )
    rows = [
        [KINDS[kind].label, *(f"{told[key]:.0f}" for key in keys), "met" if told["met"] else "MISSED"]
        for kind, told in results.items()
    ]
    print(timing.table(head, rows))
    timing.write_json(options.output, {**report, "limit_mb": _LIMIT_MB, "results": results})
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
