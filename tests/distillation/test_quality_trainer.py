"""Training one model on scores: what is learned, logged, chosen, fitted and saved."""

import json
import math
import multiprocessing

import pytest
import torch
from distillation.tiny import PROCESSOR, batch_of, eval_logs, quality_trainer, tiny_model, train_logs
from transformers import AutoModel, AutoVideoProcessor

from cvqa.data.frames import frame_settings
from cvqa.distillation import QualityTrainer
from cvqa.evaluation.mapping import fit_score_mapping
from cvqa.evaluation.metrics import srcc


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same_weights(a, b, **tolerance):
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], msg=lambda text, name=name: f"{name}: {text}", **tolerance)


def test_the_loss_falls_on_a_small_set(tmp_path, clips):
    trainer = quality_trainer(
        tmp_path, clips, num_train_epochs=40, augment="none", eval_strategy="no", save_strategy="no",
        load_best_model_at_end=False, per_device_train_batch_size=12,
    )  # fmt: skip
    trainer.train()
    losses = [entry["loss"] for entry in train_logs(trainer)]
    assert losses[-1] < 0.3 * losses[0]


def test_the_parts_are_logged_by_name_and_sum_to_the_loss(tmp_path, clips):
    weights = {"regression": 0.5, "plcc": 2.0, "rank": 0.3}
    trainer = quality_trainer(tmp_path, clips, loss_weights=weights)
    trainer.train()
    for entries, prefix in ((train_logs(trainer), ""), (eval_logs(trainer), "eval_")):
        assert entries
        for entry in entries:
            parts = {name: entry[f"{prefix}{name}_loss"] for name in weights}
            assert sum(weights[name] * value for name, value in parts.items()) == pytest.approx(
                entry[f"{prefix}loss"], rel=1e-4
            )


def test_the_rate_of_training_counts_clips_not_videos(tmp_path, clips):
    rows = clips["train"].select(range(5)).remove_columns("frames_settings")
    rows = rows.add_column("frames_settings", [frame_settings(PROCESSOR, native=True)] * 5)
    splits = {"train": rows, "validation": clips["validation"]}
    metrics = quality_trainer(tmp_path, splits, augment="published").train().metrics
    # Two clips of each video, in two epochs.
    assert metrics["train_samples_per_second"] * metrics["train_runtime"] == pytest.approx(2 * 5 * 2, rel=1e-3)


def test_no_process_outlives_the_training(tmp_path, clips):
    trainer = quality_trainer(
        tmp_path, clips, num_train_epochs=1, dataloader_num_workers=1, dataloader_persistent_workers=True
    )
    trainer.train()
    assert multiprocessing.active_children() == []
    assert math.isfinite(trainer.evaluate()["eval_loss"])  # with new ones


def test_validation_figures_are_those_of_the_scores(tmp_path, clips):
    trainer = quality_trainer(tmp_path, clips)
    metrics = trainer.evaluate()
    batch = batch_of(clips["validation"])
    with torch.no_grad():
        scores = trainer.model.eval()(batch["pixel_values_videos"]).logits.flatten()
    assert metrics["eval_srcc"] == pytest.approx(srcc(scores, batch["labels"]))
    assert metrics["eval_rmse"] == pytest.approx((scores - batch["labels"]).square().mean().sqrt().item(), rel=1e-5)
    per_content = [srcc(scores[i : i + 3], batch["labels"][i : i + 3]) for i in (0, 3)]
    assert metrics["eval_srcc_within_content"] == pytest.approx(sum(per_content) / 2)


@pytest.mark.parametrize(("micro_batch", "steps"), [(3, 2), (2, 3), (5, 1)])
def test_an_accumulated_update_equals_the_unaccumulated_one(tmp_path, clips, micro_batch, steps):
    # 11 clips: the last update of the epoch has 5, in micro-batches of unequal size.
    clips = {"train": clips["train"].select(range(11)), "validation": clips["validation"]}
    settings = {"optim": "sgd", "learning_rate": 0.1, "max_grad_norm": 0.0, "lr_scheduler_type": "constant"}
    settings |= {"weight_decay": 0.0, "num_train_epochs": 1, "eval_strategy": "no", "save_strategy": "no"}
    settings |= {"load_best_model_at_end": False}

    def trained(batch, accumulation):
        trainer = quality_trainer(
            tmp_path, clips, tiny_model(0), per_device_train_batch_size=batch,
            gradient_accumulation_steps=accumulation, **settings,
        )  # fmt: skip
        trainer.train()
        return trainer

    whole, accumulated = trained(micro_batch * steps, 1), trained(micro_batch, steps)
    before, after = weights(tiny_model(0)), weights(whole.model)
    moved = max((before[name] - after[name]).abs().max() for name in before)
    assert moved > 1e-3
    assert whole.state.global_step == accumulated.state.global_step
    assert_same_weights(after, weights(accumulated.model), atol=1e-6, rtol=1e-5)


def test_activation_checkpointing_changes_nothing(tmp_path, clips):
    trained = []
    for checkpointing in (False, True):
        trainer = quality_trainer(
            tmp_path, clips, tiny_model(0, drop_path_rate=0.3), gradient_checkpointing=checkpointing
        )
        trainer.train()
        assert trainer.model.is_gradient_checkpointing == checkpointing
        trained.append(weights(trainer.model))
    assert_same_weights(*trained, atol=1e-6, rtol=1e-5)


def test_the_best_checkpoint_is_chosen_by_validation_srcc(tmp_path, clips, monkeypatch):
    ranks = iter([0.1, 0.9, 0.3, math.nan])
    monkeypatch.setattr(QualityTrainer, "compute_figures", lambda self, prediction: {"srcc": next(ranks, 0.0)})
    trainer = quality_trainer(tmp_path, clips, num_train_epochs=4)
    trainer.train()
    assert trainer.state.best_metric == 0.9
    assert trainer.state.best_model_checkpoint.endswith("checkpoint-4")  # two updates per epoch, second epoch
    best, last = (AutoModel.from_pretrained(tmp_path / f"checkpoint-{step}") for step in (4, 8))
    assert_same_weights(weights(trainer.model), weights(best), atol=0, rtol=0)
    assert not torch.equal(best.head.weight, last.head.weight)


@pytest.mark.parametrize("step", [2, 3])
def test_resume_gives_the_uninterrupted_run(tmp_path, clips, step):
    """Step 2 ends an epoch; step 3 is within one. Drop path draws random numbers."""
    settings = {"num_train_epochs": 3, "save_strategy": "steps", "eval_strategy": "steps", "save_steps": 1}
    settings |= {"eval_steps": 1, "save_total_limit": None, "load_best_model_at_end": False}
    whole = quality_trainer(tmp_path / "a", clips, tiny_model(0, drop_path_rate=0.4), **settings)
    whole.train()
    resumed = quality_trainer(tmp_path / "b", clips, tiny_model(7, drop_path_rate=0.4), **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "a" / f"checkpoint-{step}"))
    assert_same_weights(weights(whole.model), weights(resumed.model), atol=0, rtol=0)
    assert [entry["loss"] for entry in train_logs(whole)] == [entry["loss"] for entry in train_logs(resumed)]
    assert whole.model.config.score_mapping == resumed.model.config.score_mapping


def test_the_model_takes_over_the_meaning_of_the_scores_and_its_mapping_is_fitted_anew(tmp_path, clips):
    stale = {"name": "logistic4", "parameters": [1.0, 0.0, 50.0, 10.0]}
    model = tiny_model(0, score_min=-7, score_max=7, higher_is_better=False, label_kind="dmos", score_mapping=stale)
    trainer = quality_trainer(tmp_path, clips, model, num_train_epochs=8, learning_rate=2e-3)
    trainer.train()
    config = trainer.model.config
    assert (config.score_min, config.score_max, config.higher_is_better, config.label_kind) == (1, 5, True, "mos")
    batch = batch_of(clips["validation"])
    with torch.no_grad():
        scores = trainer.model.eval()(batch["pixel_values_videos"]).logits.flatten()
    expected = fit_score_mapping(scores.numpy(), batch["labels"].numpy())
    assert config.score_mapping["name"] == expected["name"]
    assert config.score_mapping["parameters"] == pytest.approx(expected["parameters"], rel=1e-4, abs=1e-6)
    # A checkpoint within training has not been fitted: no mapping rather than another model's.
    assert AutoModel.from_pretrained(trainer.state.best_model_checkpoint).config.score_mapping is None


def test_the_saved_folder_is_a_plain_model_without_private_paths(tmp_path, clips):
    source = tmp_path / "private-source"
    tiny_model(0).save_pretrained(source)
    trainer = quality_trainer(tmp_path / "run", clips, AutoModel.from_pretrained(source))
    trainer.train()
    trainer.save_model(tmp_path / "final")
    names = {path.name for path in (tmp_path / "final").iterdir()}
    assert {"config.json", "model.safetensors"} <= names
    assert AutoVideoProcessor.from_pretrained(tmp_path / "final").num_frames == 4
    assert not names & {"training_args.bin", "teacher"}
    for path in (tmp_path / "final").glob("*.json"):
        assert str(tmp_path) not in path.read_text(), path.name
    loaded = AutoModel.from_pretrained(tmp_path / "final")
    assert_same_weights(weights(loaded), weights(trainer.model), atol=0, rtol=0)
    assert loaded.config.score_mapping == trainer.model.config.score_mapping is not None
    assert json.loads((tmp_path / "final" / "config.json").read_text())["score_max"] == 5


def test_data_without_a_scale_are_refused(tmp_path, clips):
    clips = {name: split.cast_column("label", clips_label()) for name, split in clips.items()}
    with pytest.raises(ValueError, match="does not say what its scores mean"):
        quality_trainer(tmp_path, clips).train()


def clips_label():
    from datasets import Value

    return Value("float64")
