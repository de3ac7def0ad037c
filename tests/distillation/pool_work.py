"""What the processes of a pool do in tests, in a module that they can import."""

import multiprocessing
import os


def work(task):
    if task == "fail":
        raise ValueError("the reason\nand more")
    if task == "die":
        os._exit(3)
    return task, os.getpid(), multiprocessing.get_start_method(), os.environ.get("CUDA_VISIBLE_DEVICES")
