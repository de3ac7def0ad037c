"""Weights averaged over the steps of a training run."""

import torch
from torch import nn
from transformers import TrainerCallback


class AveragedWeights(TrainerCallback):
    """
    Keeps an exponential moving average of what trains, and evaluates and saves that: `average = decay * average +
    (1 - decay) * weights` after every step, with at most `n / (9 + n)` as the decay of step n. The last steps of a
    noisy path lie around what they circle; the average lies nearer to it. Statistics of batch normalisation are
    averaged, too.

    Whenever the trainer evaluates or saves, and at the end, the averaged weights are in the model; the next step goes
    on from its own. A checkpoint holds the averaged weights: resumed, training goes on from these.

    Args:
        decay: in [0, 1); about `1 / (1 - decay)` steps count. 0 averages nothing.

    Example:

    ```python
    >>> trainer = QualityTrainer(model, args, train, validation, processor, callbacks=[AveragedWeights(0.999)])
    ```
    """

    def __init__(self, decay: float = 0.999):
        if not 0 <= decay < 1:
            raise ValueError(f"a decay is in [0, 1), not {decay}")
        self.decay = decay
        self.average: list[torch.Tensor] = []
        self.own: list[torch.Tensor] | None = None  # of the model, while it holds the average

    def on_train_begin(self, args, state, control, model: nn.Module, **kwargs):
        self.average = [tensor.detach().clone() for tensor in learning(model)]
        self.own = None

    def on_step_begin(self, args, state, control, model: nn.Module, **kwargs):
        if self.own is not None:
            copy(self.own, model)
            self.own = None

    def on_step_end(self, args, state, control, model: nn.Module, **kwargs):
        decay = min(self.decay, state.global_step / (9 + state.global_step))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, [tensor.detach() for tensor in learning(model)], 1 - decay)
        # The trainer's own callback has decided before what comes after this step.
        if control.should_evaluate or control.should_save or control.should_training_stop:
            self.own = [tensor.detach().clone() for tensor in learning(model)]
            copy(self.average, model)


def learning(model: nn.Module) -> list[torch.Tensor]:
    """The parameters that train and the buffers of numbers, which training may change, too."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return parameters + [buffer for buffer in model.buffers() if buffer.is_floating_point()]


@torch.no_grad()
def copy(tensors: list[torch.Tensor], model: nn.Module) -> None:
    for target, tensor in zip(learning(model), tensors):
        target.copy_(tensor)
