"""Averaged weights: what is evaluated and saved is the average, what trains goes its own way."""

import copy
from types import SimpleNamespace

import pytest
import torch
from distillation.tiny import quality_trainer, tiny_model
from safetensors.torch import load_file
from torch import nn

from cvqa.distillation.averaged_weights import AveragedWeights


def run(callback: AveragedWeights, model: nn.Linear, values, evaluate_at=()) -> list[float]:
    """The weight is set to these values, one a step; returns what the model holds after each."""
    held, state = [], SimpleNamespace(global_step=0)
    callback.on_train_begin(None, state, None, model=model)
    for step, value in enumerate(values, 1):
        callback.on_step_begin(None, state, None, model=model)
        held.append(model.weight.item())
        model.weight.data.fill_(value)
        state.global_step = step
        control = SimpleNamespace(
            should_evaluate=step in evaluate_at, should_save=False, should_training_stop=step == len(values)
        )
        callback.on_step_end(None, state, control, model=model)
    return [*held[1:], model.weight.item()]


def test_it_is_the_exponential_moving_average_and_only_shown_where_evaluated():
    model, values = nn.Linear(1, 1, bias=False), [1.0, 4.0, 2.0, 8.0]
    average = model.weight.item()
    for step, value in enumerate(values, 1):
        decay = min(0.5, step / (9 + step))
        average = decay * average + (1 - decay) * value
    held = run(AveragedWeights(0.5), model, values)
    assert held[:-1] == values[:-1], "training goes on from its own weights"
    assert held[-1] == pytest.approx(average, abs=1e-6)


def test_after_an_evaluation_the_next_step_goes_on_from_its_own_weights():
    assert run(AveragedWeights(0.9), nn.Linear(1, 1, bias=False), [1.0, 5.0, 3.0], evaluate_at=(1, 2))[:2] == [1.0, 5.0]


def test_the_saved_checkpoint_and_the_final_model_hold_the_average(tmp_path, clips):
    models = {}
    for decay in (0.0, 0.99):
        steps = {"max_steps": 4, "eval_strategy": "steps", "save_strategy": "steps", "eval_steps": 4, "save_steps": 4}
        model = tiny_model(0)
        start = copy.deepcopy(model.state_dict())
        trainer = quality_trainer(tmp_path / str(decay), clips, model, **steps)
        trainer.add_callback(AveragedWeights(decay))
        trainer.train()
        models[decay] = model.state_dict()
        saved = load_file(tmp_path / str(decay) / "checkpoint-4" / "model.safetensors")
        assert all(torch.equal(saved[name], models[decay][name]) for name in saved)
    distance = {
        decay: sum(float((state[name] - start[name]).square().sum()) for name in start)
        for decay, state in models.items()
    }
    assert 0 < distance[0.99] < distance[0.0], "the average stays nearer to where training began"


def test_refuses_a_decay_that_forgets_nothing():
    with pytest.raises(ValueError, match=r"a decay is in \[0, 1\), not 1"):
        AveragedWeights(1)
