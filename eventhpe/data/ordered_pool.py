"""Results in the order of their arguments from several processes, whatever the number of processes.

The base of training sets that are made while they are used: what comes out for a seed depends neither on how
many processes work nor on which of them is fast.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any, TypeVar

from eventhpe.errors import EventHPEError, ShapeError

A = TypeVar("A")
R = TypeVar("R")

TRIES = 3
"""A task whose worker dies is done again twice."""

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")
_PATIENCE_S = 5.0


class WorkerDiedError(EventHPEError):
    """A task's worker process died every time it was tried."""


def ordered_map(
    function: Callable[[A], R], arguments: Iterable[A], *, workers: int, ahead: int = 2
) -> Generator[R, None, None]:
    """function(argument) for each argument, in the arguments' order.

    Workers are spawned, so `function`, arguments and results must be picklable, and a script that calls this
    needs the usual `if __name__ == "__main__"`. Each is single-threaded in torch, BLAS, OpenCV and Numba. A
    worker that is killed is replaced and its task done again, so doing a task twice must do no harm. An
    exception in a task is raised where its result would come; so is one in `arguments`, which are taken in
    the caller's thread.

    Closing the generator early (`close`, contextlib.closing, or letting it go) kills the workers at once.

    Args:
        function: importable by name (or a functools.partial of one that is).
        arguments: may be endless; never more than workers + ahead of them are taken in advance.
        workers: processes; 0 = work in this process, one argument at a time.
        ahead: results or tasks that may wait beyond one for each worker.
    Raises:
        ShapeError: workers or ahead are not whole numbers >= 0.
        WorkerDiedError: when a result is due whose worker died three times.
    """
    for name, value in (("workers", workers), ("ahead", ahead)):
        if int(value) != value or value < 0:
            raise ShapeError(f"ordered_map needs {name} as a whole number >= 0; got {value!r}.")
    if workers == 0:
        return _here(function, arguments)
    return _elsewhere(pickle.dumps(function), arguments, int(workers), int(ahead))


def _here(function: Callable[[A], R], arguments: Iterable[A]) -> Generator[R, None, None]:
    for argument in arguments:
        yield function(argument)


def _elsewhere(
    function: bytes, arguments: Iterable[A], workers: int, ahead: int
) -> Generator[Any, None, None]:
    source, taken, given, pool = iter(arguments), 0, 0, _Pool(function)

    def fill() -> None:
        """Take arguments as far ahead as allowed."""
        nonlocal source, taken
        while taken < given + workers + ahead:
            try:
                argument = next(source)
            except StopIteration:
                return
            except Exception as error:
                source = iter(())
                pool.settle(taken, _Failure(error))
            else:
                pool.submit(taken, argument)
            taken += 1

    try:
        fill()
        pool.start(min(workers, taken))
        while given < taken:
            result = pool.take(given)
            given += 1
            fill()
            yield result
    finally:
        pool.close()


@dataclass
class _Task:
    """An argument on its way.

    Attributes:
        index: its place; payload: pickled; tries: how often it was given to a worker.
    """

    index: int
    payload: bytes
    tries: int = 0


@dataclass(frozen=True)
class _Failure:
    """What is raised instead of a result."""

    error: BaseException


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    task: _Task | None = None


class _Pool:
    """Workers, and a thread that feeds them and collects their results while the caller is busy.

    Args:
        function: pickled.
    """

    def __init__(self, function: bytes) -> None:
        self._function = function
        self._context = multiprocessing.get_context("spawn")
        self._changed = threading.Condition()  # guards what follows
        self._waiting: deque[_Task] = deque()
        self._outcomes: dict[int, bytes | _Failure] = {}
        self._closing = False
        self._broken: BaseException | None = None
        self._workers: list[_Worker] = []  # the thread's own once it runs
        self._bell_in, self._bell_out = self._context.Pipe(duplex=False)
        self._thread = threading.Thread(target=self._serve, name="ordered map", daemon=True)

    def start(self, workers: int) -> None:
        """Begin to work."""
        for _ in range(workers):
            self._workers.append(self._spawn())  # one by one: `close` knows them should the next one fail
        self._thread.start()

    def submit(self, index: int, argument: Any) -> None:
        """Hand in a task; one that cannot be pickled fails at its place."""
        try:
            # By value: multiprocessing's own pickler leaves tensors with a process that can die.
            task = _Task(index, pickle.dumps(argument))
        except Exception as error:
            self.settle(index, _Failure(error))
            return
        with self._changed:
            self._waiting.append(task)
        self._ring()

    def settle(self, index: int, outcome: bytes | _Failure) -> None:
        """Note what came of a task."""
        with self._changed:
            self._outcomes[index] = outcome
            self._changed.notify_all()

    def take(self, index: int) -> Any:
        """The result of a task, once it is there; raises what the task raised."""
        with self._changed:
            self._changed.wait_for(lambda: index in self._outcomes or self._broken is not None)
            if self._broken is not None:
                raise self._broken
            outcome = self._outcomes.pop(index)
        if isinstance(outcome, _Failure):
            raise outcome.error
        failed, value, trace = ForkingPickler.loads(outcome)  # from our own worker's pipe, not from a file
        if failed:
            value.add_note(f"In a worker process:\n{trace}")
            raise value
        return value

    def close(self) -> None:
        """Stop; no process is left."""
        with self._changed:
            self._closing = True
        if self._thread.is_alive():
            self._ring()
            self._thread.join()
        else:
            self._stop()
        self._bell_in.close()
        self._bell_out.close()

    def _ring(self) -> None:
        self._bell_out.send_bytes(b"!")

    def _serve(self) -> None:
        try:
            while not self._closing:
                self._feed()
                busy = [w.connection for w in self._workers if w.task is not None]
                ready = wait([self._bell_in, *busy])
                while self._bell_in.poll():
                    self._bell_in.recv_bytes()
                for worker in [w for w in self._workers if w.connection in ready]:
                    self._collect(worker)
        except BaseException as error:  # a caller must never wait for a thread that is gone
            with self._changed:
                self._broken = error
                self._changed.notify_all()
        finally:
            self._stop()

    def _feed(self) -> None:
        """Give waiting tasks to idle workers."""
        while idle := [i for i, w in enumerate(self._workers) if w.task is None]:
            with self._changed:
                if not self._waiting:
                    return
                task = self._waiting.popleft()
            worker = self._workers[idle[0]]
            if not worker.process.is_alive():
                _end(worker)
                worker = self._workers[idle[0]] = self._spawn()
            task.tries += 1
            worker.task = task
            try:
                worker.connection.send_bytes(task.payload)
            except OSError:
                self._mourn(worker)

    def _collect(self, worker: _Worker) -> None:
        """Take a worker's result, or notice its death: its end of the pipe is closed then."""
        assert worker.task is not None
        try:
            outcome = worker.connection.recv_bytes()
        except (EOFError, OSError):
            self._mourn(worker)
            return
        self.settle(worker.task.index, outcome)
        worker.task = None

    def _mourn(self, worker: _Worker) -> None:
        """Put the task of a dead worker back, or give it up; `_feed` replaces the worker."""
        task, worker.task = worker.task, None
        assert task is not None
        worker.process.join(_PATIENCE_S)  # the pipe closes a moment before the process ends
        _end(worker)
        if task.tries < TRIES:
            with self._changed:
                self._waiting.appendleft(task)
            return
        code = worker.process.exitcode
        how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        error = WorkerDiedError(
            f"task {task.index}: its worker process died in each of {TRIES} tries (last with {how}). If "
            "memory is short, use fewer workers; workers=0 shows the failure in this process."
        )
        self.settle(task.index, _Failure(error))

    def _spawn(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_work, args=(theirs, self._function), name="ordered map", daemon=True
        )
        with _one_thread():
            process.start()
        theirs.close()  # so that the pipe closes when the worker dies
        return _Worker(process, ours)

    def _stop(self) -> None:
        for worker in self._workers:
            if worker.process.is_alive():
                worker.process.terminate()
        deadline = time.monotonic() + _PATIENCE_S
        for worker in self._workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            _end(worker)
        self._workers = []


def _end(worker: _Worker) -> None:
    if worker.process.is_alive():
        worker.process.kill()
        worker.process.join()
    worker.connection.close()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Environment for a process that starts now: it imports the caller's script, perhaps with NumPy at its
    top, before `_work` can say anything."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _work(connection: Connection, pickled: bytes) -> None:
    """A worker: tasks in, results out, until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the caller's, who stops us
    # Not set around the start: Numba refuses a number that changes in a process that has threads.
    os.environ["NUMBA_NUM_THREADS"] = "1"
    function: Callable[[Any], Any] | None = None
    while True:
        try:
            payload = connection.recv_bytes()
        except (EOFError, OSError):
            return
        try:
            if function is None:
                function = ForkingPickler.loads(pickled)
            message = pickle.dumps((False, function(ForkingPickler.loads(payload)), ""), protocol=5)
        except Exception as error:
            message = _failed(error)
        try:
            connection.send_bytes(message)
        except OSError:
            return


def _failed(error: Exception) -> bytes:
    """A message with an exception, or with its text where it does not survive pickling."""
    trace = traceback.format_exc()
    try:
        message = pickle.dumps((True, error, trace), protocol=5)
        ForkingPickler.loads(message)
    except Exception:
        message = pickle.dumps((True, RuntimeError(f"{type(error).__name__}: {error}"), trace), protocol=5)
    return message
