"""Training without a cache: videos are decoded as they are wanted, from the disk or from where they are served.

For sets whose frames, or even whose files, do not fit on the disk: `video` may be an http(s) URL, of which only what is
decoded is fetched.
"""

import os

import numpy as np
import torch
from datasets import Dataset, Features
from torch.utils.data import DataLoader, IterableDataset, get_worker_info


class StreamedVideos(IterableDataset):
    """Rows in random order, for a `DataLoader` with `QualityCollator`, which decodes them in the workers.

    An epoch is dealt out in whole batches: every process gets as many, no two the same row, and how many workers there
    are changes nothing, not even the order. What does not fill a batch for every process is left out, each epoch
    something else.

    Args:
        rows: with `video`, and no frames.
        batch_size: of the loader; see `loader`.
        seed: another seed, another order in every epoch.
        rank, processes: this process among all; by default those of the environment (RANK, WORLD_SIZE).

    Raises ValueError if there are too few rows for one batch of each process.
    """

    def __init__(
        self, rows: Dataset, batch_size: int, seed: int = 0, rank: int | None = None, processes: int | None = None
    ):
        self.rows, self.batch_size, self.seed = rows, batch_size, seed
        self.rank = int(os.environ.get("RANK", 0)) if rank is None else rank
        self.processes = int(os.environ.get("WORLD_SIZE", 1)) if processes is None else processes
        self._epoch = torch.tensor(0).share_memory_()  # shared: persistent workers hold a copy of this object
        if not len(self):
            raise ValueError(
                f"{len(rows)} videos are too few for a batch of {batch_size} in each of {self.processes} process(es)"
            )

    @property
    def features(self) -> Features:
        return self.rows.features

    @property
    def column_names(self) -> list[str]:
        return self.rows.column_names

    def set_epoch(self, epoch: int) -> None:
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        """Rows of this process in an epoch."""
        return len(self.rows) // (self.batch_size * self.processes) * self.batch_size

    def __iter__(self):
        order = np.random.default_rng([self.seed, int(self._epoch)]).permutation(len(self.rows))
        batches = order[: len(self) * self.processes].reshape(-1, self.processes, self.batch_size)[:, self.rank]
        worker = get_worker_info()
        if worker is not None:  # a loader takes a batch from each worker in turn
            batches = batches[worker.id :: worker.num_workers]
        for batch in batches.tolist():
            yield from self.rows.__getitems__(batch)

    def loader(self, collator, **options) -> DataLoader:
        """The `DataLoader` of this process, not to be sharded again; `options` are its own."""
        return DataLoader(self, self.batch_size, collate_fn=collator, **options)
