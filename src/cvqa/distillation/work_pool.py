"""Tasks in several processes that live long, since starting one takes longer than a short task."""

import multiprocessing
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait


class WorkPool:
    """
    `jobs` processes, each doing one task after the other.

        with WorkPool(4, work) as pool:
            for task, result, error in pool.run(tasks, ready):
                ...

    A task that raises gives `error`, what it raised in one line; so does one whose process dies, which is replaced.
    Everything else goes on.

    Args:
        work: called with a task in one of the processes; it and what it is bound to, tasks and results are pickled.
    """

    def __init__(self, jobs: int, work: Callable):
        self.work = work
        # Not fork: a forked process cannot use the GPU.
        self._context = multiprocessing.get_context("spawn")
        self._idle = [self._start() for _ in range(jobs)]
        self._busy: dict[Connection, tuple] = {}

    def __enter__(self) -> "WorkPool":
        return self

    def __exit__(self, *_) -> None:
        for process, connection in [*self._idle, *((process, end) for end, (process, _) in self._busy.items())]:
            connection.close()
            process.terminate()
            process.join()

    def run(self, tasks: Sequence, is_ready: Callable = lambda task: True) -> Iterator[tuple]:
        """(task, result, error) of each task as it is done; `is_ready(task)` says whether it may start now.

        Tasks that are not ready when nothing else is in work are left out.
        """
        waiting = list(tasks)
        while True:
            while self._idle and (task := next(filter(is_ready, waiting), None)) is not None:
                waiting.remove(task)
                process, connection = self._idle.pop()
                connection.send(task)
                self._busy[connection] = (process, task)
            if not self._busy:
                return
            for connection in wait(list(self._busy)):
                process, task = self._busy.pop(connection)
                try:
                    result, error = connection.recv()
                    self._idle.append((process, connection))
                except (EOFError, OSError):
                    process.join()
                    result, error = None, f"its process died with exit code {process.exitcode}"
                    self._idle.append(self._start())
                yield task, result, error

    def _start(self) -> tuple[multiprocessing.Process, Connection]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=serve, args=(theirs, self.work, multiprocessing.get_start_method()))
        process.start()
        theirs.close()
        return process, ours


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
    """A pool of `jobs` processes; with one job the work is done in this process."""
    if jobs == 1:
        yield InThisProcess(work)
    else:
        with WorkPool(jobs, work) as pool:
            yield pool


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
