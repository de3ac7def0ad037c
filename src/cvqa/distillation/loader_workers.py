"""The processes of data loaders: how many, and how those that live on between epochs end."""

import os
from collections.abc import Iterable

import torch
from torch.utils.data import DataLoader


MOST = 16  # what one GPU was fed by in the measurements; each holds batches in memory


def default_workers(trainings: int = 1) -> int:
    """Loader processes for one of so many trainings on this machine: its share of the cores, at most `MOST`.

    0 without CUDA, where loading and computing want the same cores and small runs should start at once.
    """
    if not torch.cuda.is_available():
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    processes = trainings * int(os.environ.get("LOCAL_WORLD_SIZE", 1))  # which torchrun and accelerate set
    return min(max(cores // processes, 1), MOST)


def end_workers(loaders: Iterable) -> None:
    """End the processes of persistent loaders; a loader that is asked again starts new ones.

    Left to the end of the program, torch waits five seconds for each of them, minutes on a machine with many cores.
    """
    for loader in loaders:
        loader = getattr(loader, "base_dataloader", loader)  # accelerate puts its own around
        if isinstance(loader, DataLoader) and loader._iterator is not None:
            loader._iterator._shutdown_workers()
            loader._iterator = None
