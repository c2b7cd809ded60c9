"""How fast is the voxel grid? Ours against other libraries and common ways to build it, in one run.

    python tools/bench/voxel.py [--recording FILE] [--rounds 9]

Million events per second of CPU time, median over the rounds, one thread; every round times every rival once,
so that a busy machine slows all alike. Rivals that build the same grid must agree with a float64 reference to
1e-4 (relative to the largest cell) before they are timed; tonic and evlib space their bins differently (B
instead of B - 1 intervals), so they are timed but not compared. Two threads against one are timed by the
clock on the wall, shortest of many calls, which needs two idle cores. Optional rivals are listed in
tools/bench/requirements.txt; absent ones are left out.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

os.environ.setdefault("POLARS_MAX_THREADS", "1")  # read when evlib imports polars

import numpy as np
import torch
from numpy.typing import NDArray

from eventhpe.events.open import open_recording
from eventhpe.events.types import Events
from eventhpe.events.voxel import voxelize

CASES = ((260, 346, 10, 50_000), (260, 346, 10, 1_000_000), (480, 640, 10, 50_000), (480, 640, 10, 1_000_000))
RESULTS = Path(__file__).resolve().parent / "results"
OTHER_BINS = " (other bins)"
Build = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """Events of one window, its half-open limits and the grid's shape (B, H, W)."""

    events: Events
    t0: int
    t1: int
    shape: tuple[int, int, int]

    def position(self) -> NDArray[np.float64]:
        """(N,) time in intervals between bin centres."""
        return (self.events.t - self.t0) * ((self.shape[0] - 1) / (self.t1 - self.t0))

    def pixel(self) -> NDArray[np.int64]:
        return self.events.y.astype(np.int64) * self.shape[2] + self.events.x

    def parts(self) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """Flat index in the earlier bin, and the weights for it and for the next bin."""
        position = self.position()
        early = position.astype(np.int64)
        sign = 2.0 * self.events.p - 1.0
        late = (position - early) * sign
        return early * (self.shape[1] * self.shape[2]) + self.pixel(), sign - late, late


def random_events(count: int, size: tuple[int, int], seed: int = 0) -> Events:
    """Uniform over the sensor and over one second: no locality that would flatter caches."""
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(0, 1_000_000, count))
    return Events.from_columns(times, *(rng.integers(0, n, count) for n in (size[1], size[0], 2)), size)


def numpy_bincount(case: Case) -> NDArray[np.float64]:
    index, early, late = case.parts()
    plane, size = case.shape[1] * case.shape[2], int(np.prod(case.shape))
    grid = np.bincount(index, early, size)
    grid += np.bincount(index + plane, late, size + plane)[:size]
    return grid.reshape(case.shape)


def numpy_add_at(case: Case, grid: NDArray[np.float64]) -> NDArray[np.float64]:
    index, early, late = case.parts()
    grid.fill(0)
    np.add.at(grid.reshape(-1), index, early)
    np.add.at(grid.reshape(-1), index + grid[0].size, late)
    return grid


def e2vid_style(case: Case, grid: NDArray[np.floating]) -> NDArray[np.floating]:
    """Bins selected by masks, as reconstruction networks often do in NumPy; the dtype of the grid matters."""
    grid.fill(0)
    position = case.position()
    early = position.astype(np.int64)
    late = position - early
    sign = np.where(case.events.p, 1.0, -1.0)
    pixel = case.pixel()
    for bins, values in ((early, sign * (1.0 - late)), (early + 1, sign * late)):
        inside = (bins >= 0) & (bins < len(grid))
        np.add.at(grid.reshape(-1), pixel[inside] + bins[inside] * grid[0].size, values[inside])
    return grid


def torch_index_add(case: Case, grid: torch.Tensor) -> torch.Tensor:
    position = torch.from_numpy(case.position())
    early = position.long()
    late = (position - early).float()
    sign = torch.from_numpy(case.events.p.astype(np.float32)) * 2 - 1
    flat, plane = grid.zero_().view(-1), grid[0].numel()
    index = early * plane + torch.from_numpy(case.pixel())
    flat.index_add_(0, index, sign * (1 - late))
    flat.index_add_(0, index + plane, sign * late)
    return grid


def dsec_style(case: Case) -> torch.Tensor:
    """As the DSEC data loader works: float32 columns, then a trilinear splat onto eight masked corners.

    The loader needs x and y as fractions because it rectifies them; whole pixels give the others' grid.
    """
    bins, height, width = case.shape
    x, y, sign = (
        torch.from_numpy(c.astype(np.float32)) for c in (case.events.x, case.events.y, case.events.p)
    )
    sign = sign * 2 - 1
    time_scale = (bins - 1) / (case.t1 - case.t0)
    z = torch.from_numpy((case.events.t - case.t0).astype(np.float32)) * time_scale
    grid = torch.zeros(case.shape)
    corner = x.int(), y.int(), z.int()
    for step in itertools.product((0, 1), repeat=3):
        u, v, b = (base + s for base, s in zip(corner, step, strict=True))
        inside = (u >= 0) & (u < width) & (v >= 0) & (v < height) & (b >= 0) & (b < bins)
        weight = sign * (1 - (u - x).abs()) * (1 - (v - y).abs()) * (1 - (b - z).abs())
        cell = (b.long() * height + v.long()) * width + u.long()
        grid.put_(cell[inside], weight[inside], accumulate=True)
    return grid


def library_rivals(case: Case) -> dict[str, Build]:
    """Those that are installed; their own event containers are filled outside the timing."""
    events, (bins, height, width) = case.events, case.shape
    builds: dict[str, Build] = {}
    try:
        import eventcv
    except ImportError:
        pass
    else:
        table = np.stack([getattr(events, c).astype(np.int64) for c in "xytp"], axis=1)
        stream = eventcv.from_numpy(table, sensor_size=(width, height), time_unit="us")
        # Its window ends at the last event and is 30 ms long unless told otherwise.
        builds["eventcv"] = lambda: stream.voxel(bins=bins, window_us=case.t1 - case.t0)
    try:
        from tonic.functional import to_voxel_grid_numpy
    except ImportError:
        pass
    else:
        structured = np.empty(len(events), [(c, "i8") for c in "xytp"])
        for c in "xytp":
            structured[c] = getattr(events, c)
        builds["tonic" + OTHER_BINS] = lambda: to_voxel_grid_numpy(structured, (width, height, 2), bins)
    try:
        import polars
        from evlib.representations import create_voxel_grid, densify_voxel_grid
    except ImportError:
        pass
    else:
        columns = {"t": events.t, "x": events.x.astype(np.int16), "y": events.y.astype(np.int16)}
        frame = polars.DataFrame({**columns, "polarity": 2 * events.p.astype(np.int8) - 1})
        builds["evlib, dense" + OTHER_BINS] = lambda: densify_voxel_grid(
            create_voxel_grid(frame, height, width, bins), bins, height, width
        )
    return builds


def rivals(case: Case) -> dict[str, Build]:
    out, single = np.zeros(case.shape, np.float32), np.zeros(case.shape, np.float32)
    double, tensor = np.zeros(case.shape), torch.zeros(case.shape)
    window = {"t0_us": case.t0, "t1_us": case.t1}
    return {
        "eventhpe": lambda: voxelize(case.events, case.shape[0], **window, out=out).data,
        "eventhpe, new array": lambda: voxelize(case.events, case.shape[0], **window).data,
        **library_rivals(case),
        "NumPy bincount": lambda: numpy_bincount(case),
        "NumPy add.at float64": lambda: numpy_add_at(case, double),
        "E2VID style, float64": lambda: e2vid_style(case, double),
        "E2VID style, float32": lambda: e2vid_style(case, single),
        "torch index_add_": lambda: torch_index_add(case, tensor),
        "DSEC style, torch": lambda: dsec_style(case),
    }


def seconds(build: Build, group: int) -> float:
    start = time.process_time()
    for _ in range(group):
        build()
    return (time.process_time() - start) / group


def median_seconds(builds: dict[str, Build], rounds: int) -> dict[str, float]:
    """Median CPU time of one call; quick ones are timed in groups of about 20 ms."""
    groups = {}
    for name, build in builds.items():
        build()
        groups[name] = max(1, round(0.02 / max(seconds(build, 1), 1e-5)))
    times: dict[str, list[float]] = {name: [] for name in builds}
    for _ in range(rounds):
        for name, build in builds.items():
            times[name].append(seconds(build, groups[name]))
    return {name: statistics.median(t) for name, t in times.items()}


def check(case: Case, builds: dict[str, Build]) -> dict[str, float]:
    """Largest difference from the float64 reference, in units of its largest cell."""
    reference = numpy_bincount(case)
    errors = {}
    for name, build in builds.items():
        if not name.endswith(OTHER_BINS):
            result = build()
            grid = np.asarray(result.numpy() if hasattr(result, "numpy") else result)
            errors[name] = float(np.abs(grid - reference).max() / np.abs(reference).max())
            if not errors[name] < 1e-4:
                raise SystemExit(
                    f"{name}: differs from the reference by {errors[name]:.2e} of the largest cell"
                )
    return errors


def two_threads(case: Case, repeats: int) -> float:
    """How many times faster two threads are by the clock on the wall; shortest of single calls in turn."""
    out, window = np.zeros(case.shape, np.float32), {"t0_us": case.t0, "t1_us": case.t1}
    shortest = {1: float("inf"), 2: float("inf")}
    for threads in (1, 2) * repeats:
        start = time.perf_counter()
        voxelize(case.events, case.shape[0], **window, out=out, threads=threads)
        shortest[threads] = min(shortest[threads], time.perf_counter() - start)
    return shortest[1] / shortest[2]


@dataclass(frozen=True)
class Measured:
    """Mev per CPU second and largest error per rival; how many times faster two threads are by the clock."""

    speeds: dict[str, float]
    errors: dict[str, float]
    two_threads: float

    def as_dict(self) -> dict[str, object]:
        return {
            "mev_per_cpu_second": {name: round(s, 2) for name, s in self.speeds.items()},
            "eventhpe_times_faster": {
                name: round(self.speeds["eventhpe"] / s, 2) for name, s in self.speeds.items()
            },
            "error": self.errors,
            "two_threads_times_faster_on_the_wall": round(self.two_threads, 2),
        }


def measure(case: Case, rounds: int) -> Measured:
    builds = rivals(case)
    errors = check(case, builds)
    speeds = {name: len(case.events) / s / 1e6 for name, s in median_seconds(builds, rounds).items()}
    return Measured(speeds, errors, two_threads(case, 40 * rounds))


def machine() -> dict[str, object]:
    model, info = platform.processor(), Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text(encoding="utf-8").splitlines()
        model = next((s.split(":", 1)[1].strip() for s in lines if s.startswith("model name")), model)
    versions = {}
    for name in ("numpy", "numba", "torch", "eventcv", "tonic", "evlib"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    python = platform.python_version()
    return {"cpu": model, "cores": os.cpu_count(), "load_before": load, "python": python, **versions}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recording", type=Path, help="real events instead of random ones (its own sensor)")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", type=Path, default=RESULTS / "voxel.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    report = {
        "what": "million events per CPU second (median), one thread; buffer reused unless said",
        "events": "uniform random" if options.recording is None else options.recording.name,
        "date": date.today().isoformat(),
        "machine": machine(),
    }
    results: dict[str, dict[str, object]] = {}
    for height, width, bins, count in CASES:
        if options.recording is None:
            events = random_events(count, (height, width))
        else:
            with open_recording(options.recording) as recording:
                events = recording.read(0, min(count, recording.num_events))
        case = Case(events, int(events.t[0]), int(events.t[-1]) + 1, (bins, *events.sensor_size))
        name = f"{case.shape[2]}x{case.shape[1]}x{bins}, {len(events):,} events"
        if name in results:
            continue
        measured = measure(case, options.rounds)
        results[name] = measured.as_dict()
        print(f"{name}: Mev per CPU second; in brackets: eventhpe is so many times faster")
        for rival, speed in measured.speeds.items():
            print(f"  {rival:28}{speed:8.1f} ({measured.speeds['eventhpe'] / speed:6.1f}x)")
        print(f"  two threads: {measured.two_threads:.2f}x by the clock on the wall\n")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    temporary = options.output.with_suffix(".tmp")
    temporary.write_text(json.dumps({**report, "results": results}, indent=2) + "\n", encoding="utf-8")
    temporary.replace(options.output)
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
