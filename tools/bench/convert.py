"""How fast is a whole conversion to HDF5, and do decoding and writing overlap?

    python tools/bench/convert.py [--davis RECORDING] [--vga RECORDING] [--events N] [--rounds 5]

For AEDAT 2, AEDAT 4 (LZ4), EVT3 and DAT, in one run: decoding alone (one pass over reused buffers), writing
alone (the same columns as whole arrays in memory, by plain h5py, with the chunks and the Bitshuffle-LZ4 of
the package's file), and `convert`. Were the two done one after the other at no further cost, the whole
would run at 1 / (1 / decode + 1 / write) events per CPU second; the target is 0.85 of that. Decoding and
writing overlap where the clock on the wall shows less than the CPU seconds, which needs two idle cores.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import readers
import streams
import timing
from decode import arguments, sources
from streams import KINDS

from eventhpe.events.conversion import convert
from eventhpe.events.open import open_recording
from eventhpe.events.store_writer import CHUNK, compression_options

FORMATS = ("aedat2", "aedat4-lz4", "evt3", "dat")
STEPS = ("decode", "write", "convert")
_TARGET = 0.85


def work(step: str) -> None:
    """The side of a worker process: does one step, again and again."""
    held: dict[str, Any] = {}

    def decode(path: str, out: str) -> timing.Seconds:
        return timing.timed(lambda: readers.READERS[readers.OURS_BLOCKS].load(Path(path)))

    def write(path: str, out: str) -> timing.Seconds:
        if path not in held:
            held.clear()
            with open_recording(path) as recording:
                held[path] = recording.read()
        return timing.timed(lambda: write_columns(Path(out), held[path]))

    def whole(path: str, out: str) -> timing.Seconds:
        def action() -> None:
            with open_recording(path) as recording:
                convert(recording, out, overwrite=True)

        return timing.timed(action)

    timing.serve({"time": {"decode": decode, "write": write, "convert": whole}[step]})


def write_columns(out: Path, events: Any) -> None:
    """Columns into HDF5 in four calls."""
    with h5py.File(out, "w") as file:
        for name in ("t", "x", "y", "p"):
            column = getattr(events, name)
            chunks = (min(CHUNK, max(1, len(column))),)
            file.create_dataset(name, data=column, chunks=chunks, **compression_options("bitshuffle-lz4"))


def measure(path: Path, small: Path, rounds: int) -> dict[str, list[timing.Seconds]]:
    """Runs of every step, in turns."""
    runs: dict[str, list[timing.Seconds]] = {step: [] for step in STEPS}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        workers = {step: stack.enter_context(timing.Worker([__file__, "--worker", step])) for step in STEPS}
        outs = {step: str(Path(folder) / f"{step}.h5") for step in STEPS}
        for step, worker in workers.items():
            for warm in (small, path):
                worker.seconds(do="time", path=str(warm), out=outs[step])
        for _ in range(rounds):
            for step, worker in workers.items():
                runs[step].append(worker.seconds(do="time", path=str(path), out=outs[step]))
    return runs


def judge(count: int, runs: dict[str, list[timing.Seconds]]) -> dict[str, Any]:
    """Rates of the steps, the whole against its parts, the clock against the CPU."""
    steps = {step: timing.rates(count, runs[step]) for step in STEPS}
    decode, write, whole = (steps[step]["mev_per_cpu_second"] for step in STEPS)
    in_turn = 1 / (1 / decode + 1 / write)
    overlap = sorted(run.wall / run.cpu for run in runs["convert"])[len(runs["convert"]) // 2]
    return {
        **steps,
        "one_after_the_other": round(in_turn, 2),
        "whole_to_parts": round(whole / in_turn, 3),
        "met": whole >= _TARGET * in_turn,
        "wall_to_cpu": round(overlap, 3),
    }


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        work(sys.argv[2])
        return
    parser = arguments(__doc__ or "", FORMATS, "convert.json")
    options = parser.parse_args()
    report = timing.report(
        "million events per CPU second (median) of decoding, of writing HDF5, and of a whole conversion",
        ["numpy", "numba", "h5py", "hdf5plugin", "lz4"],
    )
    made = sources(options)
    report["streams"] = {name: stream.name for name, stream in made.items()}
    results = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for kind in options.formats:
            stream = made[KINDS[kind].stream]
            small, _ = streams.make(folder, kind, stream, min(20_000, options.events))
            path, _ = streams.make(folder, kind, stream, options.events)
            results[kind] = judge(options.events, measure(path, small, options.rounds))
    head = ("", "decode", "write", "convert", "1/(1/d+1/w)", "whole/parts", "wall/CPU", "target 0.85")
    rows = [
        [
            KINDS[kind].label,
            *(f"{told[step]['mev_per_cpu_second']:.1f}" for step in STEPS),
            *(f"{told[key]:.2f}" for key in ("one_after_the_other", "whole_to_parts", "wall_to_cpu")),
            "met" if told["met"] else "MISSED",
        ]
        for kind, told in results.items()
    ]
    print(f"{options.events:,} events; million events per CPU second")
    print(timing.table(head, rows))
    timing.write_json(options.output, {**report, "events": options.events, "results": results})
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
