"""Tasks in long-lived processes: order, errors, death."""

import multiprocessing
import os

import pytest
from distillation.pool_work import work

from cvqa.distillation import work_pool as work_pool_module
from cvqa.distillation.work_pool import visible_gpus, work_pool


@pytest.fixture(scope="module")
def pool():
    """One for all tests: every process takes seconds to start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-b")
        with work_pool(2, work) as pool:
            yield pool
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "3,GPU-b"
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


@pytest.mark.slow
def test_each_process_sees_one_gpu_and_one_that_is_replaced_takes_its_place(pool):
    list(pool.run(["die"]))
    seen = {result[1]: result[3] for _, result, _ in pool.run(list(range(8)))}
    assert sorted(seen.values()) == ["3", "GPU-b"]


class Idle:
    """A process that is not there, on a GPU."""

    def __init__(self, *args):
        self.gpu, self.connection, self.tasks = args[-1], self, []
        self.send, self.recv = self.tasks.append, lambda: (self.gpu, None)


def test_a_task_is_given_to_the_gpu_that_has_least_to_do(monkeypatch):
    monkeypatch.setattr(work_pool_module.WorkPool, "_start", Idle)
    monkeypatch.setattr(work_pool_module, "wait", lambda connections: connections[1:2] or connections)
    pool = work_pool_module.WorkPool(4, work, ["0", "1"])
    assert [worker.gpu for worker in pool._idle] == ["0", "1", "0", "1"]
    done = pool.run(list(range(3)))  # on 0, 1 and 0; that on 1 ends first
    assert next(done) == (1, "1", None)
    pool._idle.reverse()
    assert {task: gpu for task, gpu, _ in pool.run([7])} == {0: "0", 2: "0", 7: "1"}


@pytest.mark.parametrize(
    ("allowed", "names"), [("0", ["0"]), ("2, GPU-a", ["2", "GPU-a"]), ("", []), ("-1", []), ("1,-1,0", ["1"])]
)
def test_gpus_are_those_that_the_environment_allows(monkeypatch, allowed, names):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
    assert visible_gpus() == names


def test_without_a_word_in_the_environment_gpus_are_all_of_the_machine(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    assert visible_gpus() == ["0", "1", "2"]


def test_one_job_sees_one_gpu_also_where_there_are_several(monkeypatch):
    """Trainer would take all of them, and a batch for each."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    monkeypatch.setattr(work_pool_module.WorkPool, "_start", Idle)
    monkeypatch.setattr(work_pool_module.WorkPool, "__exit__", lambda *_: None)
    with work_pool(1, work) as pool:
        assert [worker.gpu for worker in pool._idle] == ["4"]


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
        1: (work(1), None),
    }
    assert "Traceback" in capfd.readouterr().err


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
