"""Means of the loss parts between two entries of the log."""

import torch


class PartMeans:
    """Sums of the loss parts over clips, kept on the device until they are asked for."""

    def __init__(self):
        self.sums: dict[str, tuple] = {}  # of the part, and of the clips that it is a mean over

    def add(self, name: str, mean: torch.Tensor, clips: int | torch.Tensor) -> None:
        total, count = self.sums.get(name, (0, 0))
        self.sums[name] = (total + mean * clips, count + clips)

    def pop(self, accelerator) -> dict[str, float]:
        """`{name}_loss` -> mean since the last call, over all processes; to be called on each of them.

        A part that no clip had a label for is left out.
        """
        if not self.sums:
            return {}
        sums = torch.stack(
            [torch.stack([total, torch.as_tensor(count).to(total)]) for total, count in self.sums.values()]
        )
        named = zip(self.sums, accelerator.reduce(sums, "sum").tolist())
        self.sums = {}
        return {f"{name}_loss": total / count for name, (total, count) in named if count}
