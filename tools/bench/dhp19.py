"""How fast does DHP19's pre-processing run, and in how much memory?

    python tools/bench/dhp19.py [--events 40000000] [--seconds 30] [--rounds 3] [--folder DIR] [-o FILE]

A synthetic recording of four cameras in DHP19's format (moving limbs, noise, one hot pixel) is prepared with
the authors' settings, without writing: windows of 30,000 events with labels, thrown away. CPU seconds of this
process, one thread, median over the rounds; kernels are compiled before. Memory is the process's peak before
and after, so what the recording's length adds. Each pass is timed on its own too.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io
from timing import RESULTS, Seconds, rates, report, timed, write_json

from eventhpe.data.dhp19 import DHP19Movement
from eventhpe.data.dhp19_export import VICON_FIELDS
from eventhpe.data.dhp19_frames import MovementFrames, official_frames
from eventhpe.data.dhp19_raw import DHP19File
from eventhpe.events.formats.multidavis_writer import MultiDavisWriter

_T0_US = 200_000_000
_BLOCK = 1 << 20
_NOISE_SHARE = 0.03


# Columns and rows of a limb: 30,000 events then lie on about 6,500 pixels, as in DHP19 (5,085 to 7,963 in the
# first frames of S1_1_1).
_SPREAD = (5.0, 17.0)


def write_recording(folder: Path, events: int, seconds: float, seed: int = 0) -> DHP19Movement:
    """A recording of `events` events in `seconds`, and its markers."""
    rng = np.random.default_rng(seed)
    length_us = int(seconds * 1e6)
    movement = DHP19Movement(1, 1, 1, folder / "mov1.aedat", folder / "S1_1_1.mat")
    with MultiDavisWriter(movement.events, t_offset_us=_T0_US) as writer:
        writer.special(0)
        writer.special(1)
        for i in range(0, events, _BLOCK):
            n = min(_BLOCK, events - i)
            t = 2 + np.sort(rng.integers(i * length_us // events, (i + n) * length_us // events, n))
            camera = rng.integers(0, 4, n)
            centre = 173 + 60 * np.sin(t * 2e-6 + camera)
            x = np.clip(rng.normal(centre, _SPREAD[0]), 0, 345).astype(np.int64)
            y = np.clip(rng.normal(130, _SPREAD[1], n), 0, 259).astype(np.int64)
            noise = rng.random(n) < _NOISE_SHARE
            x[noise], y[noise] = rng.integers(0, 346, noise.sum()), rng.integers(0, 260, noise.sum())
            hot = rng.random(n) < 0.01
            camera[hot], x[hot], y[hot] = 1, 300, 200
            writer.append_merged(t, x, y, rng.integers(0, 2, n), camera)
    rows = length_us // 10_000 + 1
    scipy.io.savemat(movement.labels, {"XYZPOS": {name: np.zeros((rows, 3)) for name in VICON_FIELDS}})
    return movement


def run_through(movement: DHP19Movement) -> int:
    """Prepare without writing; returns the number of windows."""
    return sum(1 for _ in official_frames(movement))


def pixels_per_frame(movement: DHP19Movement) -> float:
    """Mean number of pixels that fired in a window, over four cameras."""
    return float(np.mean([np.count_nonzero(packet.data) for packet in official_frames(movement)]))


def _cpu(action: Callable[[], object], rounds: int) -> list[Seconds]:
    return [timed(action) for _ in range(rounds)]


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(folder: Path, events: int, seconds: float, rounds: int) -> dict[str, Any]:
    """All numbers for one length of recording."""
    small = folder / "small"
    small.mkdir()
    run_through(write_recording(small, 300_000, 2.0))  # compiles
    movement = write_recording(folder, events, seconds)
    before = _peak_mib()
    told: dict[str, Any] = {"events": events, "seconds": seconds, "windows": run_through(movement)}
    told["peak_mib_before_and_after"] = [round(before, 1), round(_peak_mib(), 1)]
    told["pixels_per_frame"] = round(pixels_per_frame(movement))
    told["whole"] = rates(events, _cpu(lambda: run_through(movement), rounds))
    with MovementFrames(movement) as frames:
        file = DHP19File(movement.events, skip_first=True)
        told["survey"] = rates(events, _cpu(file.survey, rounds))
        told["filters"] = rates(events, _cpu(lambda: sum(len(b) for b in frames.surviving()), rounds))
        told["survivors"] = frames.stages.box2
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--events", type=int, default=40_000_000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="for the recordings; default: a temporary one")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS / "dhp19.json")
    options = parser.parse_args()
    content = report("DHP19's pre-processing, without writing", ["eventhpe", "numpy", "numba"])
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        content["result"] = measure(Path(folder), options.events, options.seconds, options.rounds)
    write_json(options.output, content)
    result = content["result"]
    print(f"{result['events']:,} events, {result['windows']:,} windows, {result['survivors']:,} survivors")
    print(f"  pixels in a frame            {result['pixels_per_frame']:8,}")
    for name in ("whole", "survey", "filters"):
        print(f"  {name:28s} {result[name]['mev_per_cpu_second']:8.1f} million events per CPU second")
    print(f"  peak memory before, after    {result['peak_mib_before_and_after']} MiB")


if __name__ == "__main__":
    main()
