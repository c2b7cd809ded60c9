"""What the benchmarks share: the machine, medians, worker processes that take turns, tables, JSON files."""

from __future__ import annotations

import gc
import importlib.metadata
import json
import os
import platform
import select
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"

#: Variables that keep libraries from starting threads of their own.
ONE_THREAD = {
    name: "1"
    for name in (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "RAYON_NUM_THREADS",
        "POLARS_MAX_THREADS",
        "BLOSC_NTHREADS",
    )
}


def machine() -> dict[str, Any]:
    """Processor, cores, memory, load before the run, Python."""
    model, memory = platform.processor(), 0.0
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((s.split(":", 1)[1].strip() for s in lines if s.startswith("model name")), model)
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "memory_gib": round(memory, 1),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of those that are installed."""
    found = {}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def report(what: str, packages: Iterable[str]) -> dict[str, Any]:
    """Head of a results file."""
    return {
        "what": what,
        "date": date.today().isoformat(),
        "machine": machine(),
        "versions": versions(packages),
    }


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file that is there as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


@dataclass(frozen=True)
class Seconds:
    """What one run cost."""

    cpu: float
    wall: float


def timed(action: Callable[[], object]) -> Seconds:
    """Time one run; what it returns is freed after the clocks have stopped."""
    gc.collect()
    cpu, wall = time.process_time(), time.perf_counter()
    result = action()
    spent = Seconds(time.process_time() - cpu, time.perf_counter() - wall)
    del result
    return spent


def rates(count: int, runs: Sequence[Seconds]) -> dict[str, Any]:
    """Million events per CPU second (median, slowest, fastest run) and per second by the clock (median)."""
    cpu = sorted(count / max(run.cpu, 1e-9) / 1e6 for run in runs)
    wall = [count / max(run.wall, 1e-9) / 1e6 for run in runs]
    return {
        "mev_per_cpu_second": round(statistics.median(cpu), 2),
        "slowest_and_fastest": [round(cpu[0], 2), round(cpu[-1], 2)],
        "mev_per_second": round(statistics.median(wall), 2),
    }


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns of text; the first and the last one to the left, numbers between them to the right."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[k]) for line in lines) for k in range(len(head))]
    last = len(head) - 1
    return "\n".join(
        "  "
        + "  ".join(
            cell.ljust(width) if k in (0, last) else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


class WorkerError(Exception):
    """A worker failed, died or took too long; the text says which."""


class Worker:
    """A fresh process that answers one question at a time, so that workers can take turns.

    Questions and answers are lines of JSON; see `serve` for the other side.
    """

    def __init__(self, command: Sequence[str], patience_s: float = 600) -> None:
        self._patience = patience_s
        self._process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **ONE_THREAD},
            text=True,
        )

    def ask(self, **question: Any) -> Any:
        """The answer.

        Raises:
            WorkerError: the worker failed, died or took too long.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
            ready, _, _ = select.select([self._process.stdout], [], [], self._patience)
            line = self._process.stdout.readline() if ready else ""
        except BrokenPipeError:
            ready, line = [self._process.stdout], ""
        if not line:
            self._process.kill()
            code = self._process.wait()
            raise WorkerError(f"died (exit code {code})" if ready else f"took over {self._patience:.0f} s")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer["answer"]

    def seconds(self, **question: Any) -> Seconds:
        """The answer to a question for `Seconds`."""
        return Seconds(*self.ask(**question))

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            try:
                self._process.stdin.close()
            except BrokenPipeError:
                pass
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve(actions: Mapping[str, Callable[..., Any]]) -> None:
    """Answer questions {"do": name of an action, **arguments} until they end.

    Answers go to the standard output as it was; what libraries print goes nowhere near them.
    """
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for line in sys.stdin:
        question = json.loads(line)
        action = actions[question.pop("do")]
        try:
            answer = {"answer": action(**question)}
        except BaseException as error:  # the panic of a Rust library is no Exception
            answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        answers.write(json.dumps(answer, default=_plain) + "\n")


def _plain(value: Any) -> Any:
    return [value.cpu, value.wall] if isinstance(value, Seconds) else value.item()
