"""Processes that read damaged files within limits, and the watch over them."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OUTCOMES = ("result", "FormatError", "UnitError", "failures")
CPU_SECONDS = 5.0  # per input
WALL_SECONDS = 60.0  # per input, until the process is given up: this machine may be busy
EXTRA_MEMORY = 2 << 30
GROWTH = 400 << 20  # resident memory that one small file may add
_PER_WORKER = 250  # inputs handed out at a time


class _TooSlow(BaseException):
    """An input took more than CPU_SECONDS."""


@dataclass
class Report:
    """What became of the inputs of one format."""

    format: str
    inputs: int
    counts: dict[str, int]
    seconds: float
    failures: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {
            "format": self.format, "inputs": self.inputs, "results": self.counts["result"],
            "format_errors": self.counts["FormatError"], "unit_errors": self.counts["UnitError"],
            "failures": self.counts["failures"], "seconds": round(self.seconds, 1),
        }  # fmt: skip


def run_one(seed: int, short_name: str, number: int, folder: Path | None = None) -> str:
    """Judge one input in this process. What is wrong is raised."""
    from tools.fuzz.judge import judge, options_of
    from tools.fuzz.seeds import damaged_file, generator

    rng = generator(seed, short_name, number)
    made = damaged_file(short_name, rng)
    options = options_of(short_name, made.origin.headerless, rng)
    with contextlib.ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        path = folder / f"{short_name}-{seed}-{number}"  # a new name each time: HDF5 remembers open files
        path.write_bytes(made.data)
        stack.callback(path.unlink)
        with np_errors():
            return judge(path, options, rng)


@contextlib.contextmanager
def np_errors() -> Any:
    """NumPy's warnings (overflow, invalid casts) become errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        yield


class Crew:
    """Runs inputs in several processes; one that dies or hangs is replaced, its input counts as failed."""

    def __init__(self, jobs: int, seed: int, failures: Path) -> None:
        self._jobs, self._seed, self._failures = jobs, seed, failures
        self._context = multiprocessing.get_context("spawn")

    def run(self, short_name: str, first: int, end: int) -> Report:
        """Inputs first..end-1 of a format."""
        begin = time.monotonic()
        counts = self._context.Array(ctypes.c_int64, len(OUTCOMES))
        following = self._context.Value(ctypes.c_int64, first)
        told = self._context.SimpleQueue()
        report = Report(short_name, end - first, {}, 0.0)
        active = [self._start(short_name, end, following, counts, told) for _ in range(self._jobs)]
        while active:
            time.sleep(0.2)
            while not told.empty():
                report.failures.append(told.get())
            for watched in list(active):
                process, current, since = watched
                hangs = current.value >= 0 and time.monotonic() - since.value > WALL_SECONDS
                if process.is_alive() and not hangs:
                    continue
                if hangs:
                    process.kill()
                process.join()
                active.remove(watched)
                if process.exitcode and current.value < 0:
                    raise RuntimeError(f"a worker for {short_name} ended before its first input")
                if hangs or process.exitcode or current.value >= 0:
                    what = "hangs" if hangs else f"the process ended with {process.exitcode}"
                    counts[OUTCOMES.index("failures")] += 1
                    report.failures.append(f"{short_name} {current.value}: {what}")
                    _keep(self._failures, self._seed, short_name, current.value, what)
                    active.append(self._start(short_name, end, following, counts, told))
        while not told.empty():
            report.failures.append(told.get())
        report.counts = dict(zip(OUTCOMES, counts[:], strict=True))
        missing = report.inputs - sum(report.counts.values())
        if missing:
            raise RuntimeError(f"{missing} inputs of {short_name} got lost; the tool is broken")
        report.seconds = time.monotonic() - begin
        return report

    def _start(self, short_name: str, end: int, *shared: Any) -> tuple[Any, Any, Any]:
        current, since = self._context.Value(ctypes.c_int64, -1), self._context.Value(ctypes.c_double, 0.0)
        arguments = (self._seed, short_name, end, str(self._failures), *shared, current, since)
        process = self._context.Process(target=_work, args=arguments)
        process.start()
        return process, current, since


def _work(
    seed: int, short_name: str, end: int, failures: str,
    following: Any, counts: Any, told: Any, current: Any, since: Any,
) -> None:  # fmt: skip
    """Take numbers until there are none."""
    # Some HDF5 filters print what they find.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    _warm_up(short_name)
    _limit_memory()
    signal.signal(signal.SIGPROF, _stop)
    folder = Path(tempfile.mkdtemp(prefix="eventhpe-fuzz-work-"))
    most = _resident()
    try:
        while True:
            with following.get_lock():
                number = following.value
                following.value += 1
            if number >= end:
                current.value = -1
                return
            since.value, current.value = time.monotonic(), number
            outcome, problem = _judged(seed, short_name, number, folder)
            if _resident() > most + GROWTH:
                most = _resident()
                outcome, problem = "failures", f"memory grew to {most >> 20} MiB"
            with counts.get_lock():
                counts[OUTCOMES.index(outcome)] += 1
            if problem:
                _keep(Path(failures), seed, short_name, number, problem)
                told.put(f"{short_name} {number}: {problem.strip().splitlines()[-1][:300]}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _judged(seed: int, short_name: str, number: int, folder: Path) -> tuple[str, str]:
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    try:
        return run_one(seed, short_name, number, folder), ""
    except _TooSlow:
        return "failures", f"{traceback.format_exc()}\ntook more than {CPU_SECONDS} s"
    except Exception:
        return "failures", traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _stop(number: int, frame: Any) -> None:
    raise _TooSlow


def _warm_up(short_name: str) -> None:
    """Compile and load everything with sound files, before clocks and limits count."""
    import numpy as np

    from tools.fuzz.judge import judge
    from tools.fuzz.seeds import damaged_file, files_of, generator

    with tempfile.TemporaryDirectory() as folder:
        for file in files_of(short_name):
            path = Path(folder) / file.name
            path.write_bytes(file.data)
            options = {"format": file.format} if file.headerless else {}
            for k in range(12):
                judge(path, options, np.random.default_rng(k))
    for k in range(5):
        damaged_file(short_name, generator(0, short_name, k))


def _limit_memory() -> None:
    with open("/proc/self/statm") as file:
        mapped = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (mapped + EXTRA_MEMORY,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _resident() -> int:
    """The most resident memory so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _keep(failures: Path, seed: int, short_name: str, number: int, problem: str) -> None:
    """Save the file and what went wrong."""
    from tools.fuzz.seeds import damaged_file, generator

    stem = failures / f"{short_name}-{seed}-{number}"
    stem.with_suffix(".bin").write_bytes(damaged_file(short_name, generator(seed, short_name, number)).data)
    stem.with_suffix(".txt").write_text(f"{problem}\n")
