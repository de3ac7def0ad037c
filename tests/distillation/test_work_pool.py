"""Tasks in long-lived processes: order, errors, death."""

import multiprocessing
import os

import pytest

from cvqa.distillation.work_pool import work_pool


def work(task):
    if task == "fail":
        raise ValueError("the reason\nand more")
    if task == "die":
        os._exit(3)
    return task, os.getpid(), multiprocessing.get_start_method()


@pytest.fixture(scope="module")
def pool():
    """One for all tests: every process takes seconds to start."""
    with work_pool(2, work) as pool:
        yield pool
        pids = {result[1] for _, result, _ in pool.run(list(range(4)))}
    assert not any(map(is_running, pids)), "leaving the pool ends its processes"


@pytest.mark.slow
def test_processes_live_through_many_tasks(pool):
    done = list(pool.run(list(range(8))))
    assert sorted(task for task, _, _ in done) == list(range(8))
    assert all(result[0] == task and error is None for task, result, error in done)
    assert os.getpid() not in {result[1] for _, result, _ in done}
    assert len({result[1] for _, result, _ in done}) <= 2
    # What a process starts, like the workers of a DataLoader, it starts as this one would: fast.
    assert {result[2] for _, result, _ in done} == {multiprocessing.get_start_method()}


@pytest.mark.slow
def test_a_failing_task_and_a_dying_process_cost_one_task_each(pool):
    done = {task: (result, error) for task, result, error in pool.run(["fail", 1, "die", 2, 3])}
    assert done["fail"] == (None, "ValueError: the reason")
    assert done["die"] == (None, "its process died with exit code 3")
    assert all(done[task][1] is None for task in (1, 2, 3))


def finished_in_order(pool) -> list[str]:
    finished = []

    def is_ready(task):
        return task == "first" or (task == "second" and "first" in finished)

    for task, _, _ in pool.run(["second", "never", "first"], is_ready):
        finished.append(task)
    return finished


@pytest.mark.slow
def test_a_task_waits_until_it_is_ready_and_is_left_out_if_it_never_is(pool):
    assert finished_in_order(pool) == ["first", "second"]


def test_so_it_does_with_one_job():
    with work_pool(1, work) as pool:
        assert finished_in_order(pool) == ["first", "second"]


def test_one_job_is_done_here_and_errors_are_told_alike(capfd):
    with work_pool(1, work) as pool:
        done = {task: (result, error) for task, result, error in pool.run(["fail", 1])}
    assert done == {
        "fail": (None, "ValueError: the reason"),
        1: ((1, os.getpid(), multiprocessing.get_start_method()), None),
    }
    assert "Traceback" in capfd.readouterr().err


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
