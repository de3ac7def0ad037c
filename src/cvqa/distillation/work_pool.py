"""Tasks in several processes that live long, since starting one takes longer than a short task."""

import multiprocessing
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from multiprocessing.connection import Connection, wait
from typing import NamedTuple

import torch


GPUS = "CUDA_VISIBLE_DEVICES"


class Worker(NamedTuple):
    """A process of the pool, our end of the line to it, and the GPU that it sees; None: what this process sees."""

    process: multiprocessing.Process
    connection: Connection
    gpu: str | None


class WorkPool:
    """
    `jobs` processes, each doing one task after the other, spread evenly over the GPUs: each sees one of them.

        with WorkPool(4, work) as pool:
            for task, result, error in pool.run(tasks, ready):
                ...

    A task that raises gives `error`, what it raised in one line; so does one whose process dies, which is replaced.
    Everything else goes on. A task is given to the process whose GPU has least to do.

    Args:
        work: called with a task in one of the processes; it and what it is bound to, tasks and results are pickled.
        gpus: as `CUDA_VISIBLE_DEVICES` names them; without any, the processes see what this one sees.
    """

    def __init__(self, jobs: int, work: Callable, gpus: Sequence[str] = ()):
        self.work = work
        # Not fork: a forked process cannot use the GPU.
        self._context = multiprocessing.get_context("spawn")
        self._idle = [self._start(gpus[number % len(gpus)] if gpus else None) for number in range(jobs)]
        self._busy: dict[Connection, tuple[Worker, object]] = {}

    def __enter__(self) -> "WorkPool":
        return self

    def __exit__(self, *_) -> None:
        for worker in [*self._idle, *(worker for worker, _ in self._busy.values())]:
            worker.connection.close()
            worker.process.terminate()
            worker.process.join()

    def run(self, tasks: Sequence, is_ready: Callable = lambda task: True) -> Iterator[tuple]:
        """(task, result, error) of each task as it is done; `is_ready(task)` says whether it may start now.

        Tasks that are not ready when nothing else is in work are left out.
        """
        waiting = list(tasks)
        while True:
            while self._idle and (task := next(filter(is_ready, waiting), None)) is not None:
                waiting.remove(task)
                in_work = [worker.gpu for worker, _ in self._busy.values()]
                worker = min(self._idle, key=lambda worker: in_work.count(worker.gpu))
                self._idle.remove(worker)
                worker.connection.send(task)
                self._busy[worker.connection] = (worker, task)
            if not self._busy:
                return
            for connection in wait(list(self._busy)):
                worker, task = self._busy.pop(connection)
                try:
                    result, error = connection.recv()
                except (EOFError, OSError):
                    worker.process.join()
                    result, error = None, f"its process died with exit code {worker.process.exitcode}"
                    worker = self._start(worker.gpu)
                self._idle.append(worker)
                yield task, result, error

    def _start(self, gpu: str | None) -> Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=serve, args=(theirs, self.work, multiprocessing.get_start_method()))
        with seeing(gpu):  # inherited, so that it holds before anything there can take hold of a GPU
            process.start()
        theirs.close()
        return Worker(process, ours, gpu)


class InThisProcess:
    """The same without processes."""

    def __init__(self, work: Callable):
        self.work = work

    def run(self, tasks: Sequence, is_ready: Callable = lambda task: True) -> Iterator[tuple]:
        waiting = list(tasks)
        while (task := next(filter(is_ready, waiting), None)) is not None:
            waiting.remove(task)
            yield task, *attempt(self.work, task)


@contextmanager
def work_pool(jobs: int, work: Callable) -> Iterator[WorkPool | InThisProcess]:
    """A pool of `jobs` processes over all GPUs that can be seen; with one job, and no choice of GPUs, the work is done
    in this process."""
    gpus = visible_gpus()
    if jobs == 1 and len(gpus) < 2:
        yield InThisProcess(work)
    else:
        with WorkPool(jobs, work, gpus) as pool:
            yield pool


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, by name or number, without taking hold of any."""
    allowed = os.environ.get(GPUS)
    if allowed is None:
        return [str(number) for number in range(torch.cuda.device_count())]
    # As CUDA reads it: nothing counts from the first one on that there cannot be.
    names = [name.strip() for name in allowed.split(",")]
    return list(takewhile(lambda name: name and not name.startswith("-"), names))


@contextmanager
def seeing(gpu: str | None) -> Iterator[None]:
    """Processes that are started meanwhile see that GPU alone."""
    before = os.environ.get(GPUS)
    if gpu is not None:
        os.environ[GPUS] = gpu
    try:
        yield
    finally:
        if before is not None:
            os.environ[GPUS] = before
        elif gpu is not None:
            del os.environ[GPUS]


def serve(connection: Connection, work: Callable, start_method: str) -> None:
    """Do what comes, until there is nobody any more to ask for it."""
    # Or the workers of every DataLoader would start as this process did, and import everything anew.
    multiprocessing.set_start_method(start_method, force=True)
    try:
        while True:
            connection.send(attempt(work, connection.recv()))
    except (EOFError, OSError, KeyboardInterrupt):
        pass


def attempt(work: Callable, task) -> tuple:
    try:
        return work(task), None
    except Exception as error:
        traceback.print_exc()
        return None, "".join(traceback.format_exception_only(error)).strip().splitlines()[0]
