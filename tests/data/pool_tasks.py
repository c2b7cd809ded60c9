"""Tasks for worker processes, which import them by name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any


def slow_square(n: int) -> int:
    """Early tasks take longest, so that results come in the wrong order."""
    time.sleep(0.03 * (4 - n % 5))
    return n * n


def draw_batch(index: int) -> Any:
    import numpy as np

    return np.random.default_rng([7, index]).normal(size=(4, 50_000))


def note(task: tuple[str, int]) -> int:
    """Leave a file that says that the task was done here."""
    folder, index = task
    Path(folder, f"{index}").write_text(str(os.getpid()))
    return index


def die(task: tuple[str, int, int]) -> int:
    """Kill the worker in the first tries of one task."""
    folder, index, times = task
    mark = Path(folder, f"tries{index}")
    with mark.open("a") as file:
        file.write("x")
    if mark.stat().st_size <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return index


def leave(code: int) -> None:
    os._exit(code)


def sleep_after_the_first(task: tuple[str, int]) -> int:
    if note(task) > 0:
        time.sleep(60)
    return task[1]


def fail_at_three(n: int) -> int:
    if n == 3:
        raise ValueError("three is not wanted")
    return n


class StubbornError(Exception):
    """Does not survive pickling."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"stubborn {a} {b}")


def fail_stubbornly(n: int) -> int:
    raise StubbornError(n, n + 1)


def unpicklable(n: int) -> Any:
    return lambda: n


def threads(_: int) -> dict[str, Any]:
    import torch

    return {
        "torch": torch.get_num_threads(),
        **{name: value for name, value in os.environ.items() if name.endswith("_NUM_THREADS")},
    }
