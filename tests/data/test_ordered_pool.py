"""Ordered work in several processes: order, look-ahead, deaths, early ends."""

from __future__ import annotations

import contextlib
import gc
import itertools
import multiprocessing
import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from eventhpe.data.ordered_pool import WorkerDiedError, ordered_map
from eventhpe.errors import ShapeError
from tests.data import pool_tasks as tasks


@pytest.fixture(autouse=True)
def _no_process_is_left() -> Iterator[None]:
    before = {p.pid for p in multiprocessing.active_children()}
    yield
    assert {p.pid for p in multiprocessing.active_children()} <= before


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_results_come_in_order_at_any_number_of_workers(workers: int) -> None:
    assert list(ordered_map(tasks.slow_square, range(9), workers=workers)) == [n * n for n in range(9)]


def test_batches_are_identical_at_any_number_of_workers() -> None:
    expected = [tasks.draw_batch(k).tobytes() for k in range(4)]  # each larger than a pipe holds
    for workers in (0, 2):
        made = list(ordered_map(tasks.draw_batch, range(4), workers=workers, ahead=0))
        assert [batch.tobytes() for batch in made] == expected
        assert all(isinstance(batch, np.ndarray) for batch in made)


def test_no_arguments_and_fewer_arguments_than_workers() -> None:
    assert list(ordered_map(tasks.slow_square, [], workers=2)) == []
    assert list(ordered_map(tasks.slow_square, [5], workers=3)) == [25]


@pytest.mark.parametrize(("workers", "ahead"), [(2, 1), (1, 0)])
def test_endless_arguments_are_taken_only_so_far_ahead(tmp_path: Path, workers: int, ahead: int) -> None:
    taken: list[int] = []

    def arguments() -> Iterator[tuple[str, int]]:
        for n in itertools.count():
            taken.append(n)
            yield str(tmp_path), n

    results = ordered_map(tasks.note, arguments(), workers=workers, ahead=ahead)
    assert taken == []
    for given in range(1, 6):
        assert next(results) == given - 1
        assert len(taken) == given + workers + ahead
        # The workers go on while the caller is busy, up to the bound and no farther.
        wait_for(lambda given=given: len(list(tmp_path.iterdir())) == given + workers + ahead)
    time.sleep(0.2)
    assert len(list(tmp_path.iterdir())) == 5 + workers + ahead
    results.close()


def test_a_killed_worker_is_replaced_and_its_task_done_again(tmp_path: Path) -> None:
    # Task 1 kills its worker twice, task 4 once; nobody else notices.
    arguments = [(str(tmp_path), n, {1: 2, 4: 1}.get(n, 0)) for n in range(6)]
    assert list(ordered_map(tasks.die, arguments, workers=2)) == list(range(6))
    tries = {n: (tmp_path / f"tries{n}").stat().st_size for n in range(6)}
    assert tries == {0: 1, 1: 3, 2: 1, 3: 1, 4: 2, 5: 1}


def test_a_task_that_always_kills_its_worker_is_given_up_at_its_place(tmp_path: Path) -> None:
    arguments = [(str(tmp_path), n, 99 if n == 2 else 0) for n in range(4)]
    results = ordered_map(tasks.die, arguments, workers=1)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(WorkerDiedError, match=r"task 2: .* each of 3 tries \(last with signal 9\)"):
        next(results)
    assert (tmp_path / "tries2").stat().st_size == 3
    assert list(results) == [], "nothing follows an error"


def test_a_worker_that_ends_by_itself_tells_its_exit_code() -> None:
    with pytest.raises(WorkerDiedError, match="exit code 7"):
        list(ordered_map(tasks.leave, [7], workers=1))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_exception_is_raised_at_its_place(workers: int) -> None:
    results = ordered_map(tasks.fail_at_three, range(6), workers=workers)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three is not wanted") as caught:
        next(results)
    if workers:
        assert "pool_tasks.py" in "".join(caught.value.__notes__), "the worker's traceback comes along"


def test_exceptions_and_results_that_cannot_be_pickled_are_told() -> None:
    with pytest.raises(RuntimeError, match="StubbornError: stubborn 1 2"):
        list(ordered_map(tasks.fail_stubbornly, [1], workers=1))
    with pytest.raises((pickle.PicklingError, AttributeError, RuntimeError), match="lambda"):
        list(ordered_map(tasks.unpicklable, [1], workers=1))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_exception_in_the_arguments_comes_after_the_results_before_it(workers: int) -> None:
    def arguments() -> Iterator[int]:
        yield from (0, 1)
        raise OSError("the list of scenes is gone")

    results = ordered_map(tasks.slow_square, arguments(), workers=workers)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(OSError, match="scenes is gone"):
        next(results)


def test_an_argument_that_cannot_be_pickled_fails_at_its_place() -> None:
    results = ordered_map(tasks.slow_square, [2, lambda: 0], workers=1)
    assert next(results) == 4
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        next(results)


def test_a_function_that_cannot_be_pickled_is_refused_at_once() -> None:
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        ordered_map(lambda n: n, [1], workers=1)


@pytest.mark.parametrize("how", ["close", "let go", "interrupt"])
def test_ending_early_kills_workers_in_the_middle_of_their_tasks(tmp_path: Path, how: str) -> None:
    results = ordered_map(
        tasks.sleep_after_the_first, ((str(tmp_path), n) for n in itertools.count()), workers=2
    )
    assert next(results) == 0
    busy = [tmp_path / "1", tmp_path / "2"]
    wait_for(lambda: all(p.exists() and p.read_text() for p in busy))
    pids = [int(p.read_text()) for p in busy]
    assert all(alive(pid) for pid in pids) and len(set(pids)) == 2
    start = time.monotonic()
    if how == "close":
        results.close()
    elif how == "let go":
        del results
        gc.collect()
    else:
        with pytest.raises(KeyboardInterrupt), contextlib.closing(results):
            raise KeyboardInterrupt
    assert time.monotonic() - start < 4, "nobody waits for a task of a minute"
    assert not any(alive(pid) for pid in pids)
    assert not [t for t in threading.enumerate() if t.name == "ordered map"]


def test_a_generator_that_is_never_used_starts_nothing() -> None:
    before = len(multiprocessing.active_children())
    results = ordered_map(tasks.slow_square, range(3), workers=2)
    assert len(multiprocessing.active_children()) == before
    results.close()


def test_workers_have_one_thread_and_the_caller_keeps_its_environment() -> None:
    before = dict(os.environ)
    made = list(ordered_map(tasks.threads, [0], workers=1))
    assert made[0].pop("torch") == 1
    assert {made[0][n] for n in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")} == {"1"}
    assert dict(os.environ) == before


@pytest.mark.parametrize("wrong", [{"workers": -1}, {"workers": 1.5}, {"workers": 1, "ahead": -1}])
def test_impossible_numbers_are_refused_at_once(wrong: dict[str, int]) -> None:
    with pytest.raises(ShapeError, match="whole number >= 0"):
        ordered_map(tasks.slow_square, [1], **wrong)
