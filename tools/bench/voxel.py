"""How fast is the voxel grid? Ours against common ways to build the same grid, on this machine.

    python tools/bench/voxel.py [--recording FILE] [--repeats 15]

Million events per second of CPU time, median of the repeats, one thread. Every rival that builds the same
grid must
agree with a float64 reference to 1e-4 (relative to the largest cell) before it is timed; tonic spaces its
bins
differently (B instead of B - 1 intervals), so it is timed but not compared. Optional rivals:
tools/bench/requirements.txt.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from eventhpe.events.open import open_recording
from eventhpe.events.types import Events
from eventhpe.events.voxel import voxelize

H, W, BINS = 260, 346, 10
COUNTS = (50_000, 1_000_000)
RESULTS = Path(__file__).resolve().parent / "results"
Build = Callable[[], object]


def random_events(count: int, seed: int = 0) -> Events:
    """Uniform over the sensor and over one second: no locality that would flatter caches."""
    rng = np.random.default_rng(seed)
    return Events.from_columns(
        np.sort(rng.integers(0, 1_000_000, count)),
        rng.integers(0, W, count),
        rng.integers(0, H, count),
        rng.integers(0, 2, count),
        (H, W),
    )


def parts(
    events: Events, t0: int, t1: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Flat index in the earlier bin, and the weights for it and for the next bin."""
    position = (events.t - t0) * ((BINS - 1) / (t1 - t0))
    early = position.astype(np.int64)
    sign = 2.0 * events.p - 1.0
    late = (position - early) * sign
    return early * (H * W) + events.y * np.int64(W) + events.x, sign - late, late


def numpy_bincount(events: Events, t0: int, t1: int) -> NDArray[np.float64]:
    index, early, late = parts(events, t0, t1)
    size = BINS * H * W
    grid = np.bincount(index, early, size)
    grid += np.bincount(index + H * W, late, size + H * W)[:size]
    return grid.reshape(BINS, H, W)


def numpy_add_at(events: Events, t0: int, t1: int, grid: NDArray[np.float64]) -> NDArray[np.float64]:
    index, early, late = parts(events, t0, t1)
    grid.fill(0)
    flat = grid.reshape(-1)
    np.add.at(flat, index, early)
    np.add.at(flat, index + H * W, late)
    return grid


def e2vid_style(events: Events, t0: int, t1: int, grid: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 grid, bins selected by masks, as reconstruction networks often do in NumPy."""
    grid.fill(0)
    flat = grid.reshape(-1)
    position = (BINS - 1) * (events.t - t0).astype(np.float64) / (t1 - t0)
    early = position.astype(np.int64)
    late = position - early
    sign = np.where(events.p, 1.0, -1.0)
    pixel = events.x + events.y.astype(np.int64) * W
    for bins, values in ((early, sign * (1.0 - late)), (early + 1, sign * late)):
        inside = (bins >= 0) & (bins < BINS)
        np.add.at(flat, pixel[inside] + bins[inside] * (H * W), values[inside])
    return grid


def torch_index_add(events: Events, t0: int, t1: int, grid: torch.Tensor) -> torch.Tensor:
    position = (torch.from_numpy(np.array(events.t)) - t0).double() * ((BINS - 1) / (t1 - t0))
    early = position.long()
    late = (position - early).float()
    sign = torch.from_numpy(np.array(events.p)).float() * 2 - 1
    pixel = torch.from_numpy(events.y.astype(np.int64) * W + events.x)
    flat = grid.zero_().view(-1)
    index = early * (H * W) + pixel
    flat.index_add_(0, index, sign * (1 - late))
    flat.index_add_(0, index + H * W, sign * late)
    return grid


def torch_trilinear(events: Events, t0: int, t1: int, grid: torch.Tensor) -> torch.Tensor:
    """Trilinear splat over eight corners, as stereo data loaders with rectified coordinates do."""
    x, y = (torch.from_numpy(c.astype(np.float32)) for c in (events.x, events.y))
    t = ((torch.from_numpy(np.array(events.t)) - t0).double() * ((BINS - 1) / (t1 - t0))).float()
    sign = torch.from_numpy(np.array(events.p)).float() * 2 - 1
    grid.zero_()
    x0, y0, b0 = x.int(), y.int(), t.int()
    for xi in (x0, x0 + 1):
        for yi in (y0, y0 + 1):
            for bi in (b0, b0 + 1):
                inside = (xi < W) & (xi >= 0) & (yi < H) & (yi >= 0) & (bi >= 0) & (bi < BINS)
                weight = sign * (1 - (xi - x).abs()) * (1 - (yi - y).abs()) * (1 - (bi - t).abs())
                index = H * W * bi.long() + W * yi.long() + xi.long()
                grid.put_(index[inside], weight[inside], accumulate=True)
    return grid


def rivals(events: Events, t0: int, t1: int) -> dict[str, Build]:
    out = np.zeros((BINS, H, W), np.float32)
    single, double = np.zeros((BINS, H, W), np.float32), np.zeros((BINS, H, W))
    tensor = torch.zeros(BINS, H, W)
    builds: dict[str, Build] = {
        "eventhpe": lambda: voxelize(events, BINS, t0_us=t0, t1_us=t1, out=out).data,
        "eventhpe, new array": lambda: voxelize(events, BINS, t0_us=t0, t1_us=t1).data,
        "NumPy bincount": lambda: numpy_bincount(events, t0, t1),
        "NumPy add.at float64": lambda: numpy_add_at(events, t0, t1, double),
        "E2VID style, float32": lambda: e2vid_style(events, t0, t1, single),
        "torch index_add_": lambda: torch_index_add(events, t0, t1, tensor),
        "torch trilinear (DSEC style)": lambda: torch_trilinear(events, t0, t1, tensor),
    }
    try:
        from tonic.functional import to_voxel_grid_numpy
    except ImportError:
        return builds
    structured = np.empty(len(events), [("x", "i8"), ("y", "i8"), ("t", "i8"), ("p", "i8")])
    for name in structured.dtype.names or ():
        structured[name] = getattr(events, name)
    builds["tonic (other bins)"] = lambda: to_voxel_grid_numpy(structured, (W, H, 2), BINS)
    return builds


def cpu_seconds(build: Build, repeats: int) -> float:
    """Median CPU time of one call; quick ones are timed in groups of 20 ms, slow ones are repeated less."""
    start = time.process_time()
    build()
    group = max(1, round(0.02 / max(time.process_time() - start, 1e-5)))
    times: list[float] = []
    while len(times) < repeats and (len(times) < 3 or sum(times) * group < 5):
        start = time.process_time()
        for _ in range(group):
            build()
        times.append((time.process_time() - start) / group)
    return statistics.median(times)


def measure(events: Events, repeats: int) -> dict[str, float]:
    t0, t1 = int(events.t[0]), int(events.t[-1]) + 1
    reference = numpy_bincount(events, t0, t1)
    scale = float(np.abs(reference).max())
    speeds = {}
    for name, build in rivals(events, t0, t1).items():
        result = np.asarray(build())
        if "other bins" not in name:
            error = float(np.abs(result - reference).max()) / scale
            if not error < 1e-4:
                raise SystemExit(f"{name}: differs from the reference by {error:.2e} of the largest cell")
        speeds[name] = len(events) / cpu_seconds(build, repeats) / 1e6
    return speeds


def machine() -> dict[str, object]:
    model = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(
            (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model
        )
    versions = {}
    for name in ("numpy", "numba", "torch", "tonic"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "load": load,
        "python": platform.python_version(),
        **versions,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--recording", type=Path, help="real events of a 346x260 sensor instead of random ones"
    )
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--output", type=Path, default=RESULTS / "voxel.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, dict[str, float]] = {}
    for count in COUNTS:
        events = random_events(count)
        if options.recording is not None:
            with open_recording(options.recording) as recording:
                events = recording.read(0, count)
            if events.sensor_size != (H, W):
                raise SystemExit(
                    f"{options.recording}: the sensor must be {W}x{H}; it is {events.sensor_size}"
                )
        results[f"{len(events):,} events"] = measure(events, options.repeats)
    print(f"Mev per CPU second, {W}x{H}x{BINS}, one thread; in brackets: eventhpe is so many times faster\n")
    print(f"{'':30}" + "".join(f"{name:>24}" for name in results))
    for name in next(iter(results.values())):
        cells = (f"{r[name]:8.1f} ({r['eventhpe'] / r[name]:6.1f}x)" for r in results.values())
        print(f"{name:30}" + "".join(f"{cell:>24}" for cell in cells))
    report = {
        "what": "million events per CPU second (median), one thread",
        "grid": [BINS, H, W],
        "events": "uniform random" if options.recording is None else options.recording.name,
        "date": date.today().isoformat(),
        "machine": machine(),
        "results": results,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    temporary = options.output.with_suffix(".tmp")
    temporary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    temporary.replace(options.output)
    print(f"\nwritten to {options.output}")


if __name__ == "__main__":
    main()
