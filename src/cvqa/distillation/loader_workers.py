"""The processes of data loaders that live on between epochs."""

from collections.abc import Iterable

from torch.utils.data import DataLoader


def end_workers(loaders: Iterable) -> None:
    """End the processes of persistent loaders; a loader that is asked again starts new ones.

    Left to the end of the program, torch waits five seconds for each of them, minutes on a machine with many cores.
    """
    for loader in loaders:
        loader = getattr(loader, "base_dataloader", loader)  # accelerate puts its own around
        if isinstance(loader, DataLoader) and loader._iterator is not None:
            loader._iterator._shutdown_workers()
            loader._iterator = None
