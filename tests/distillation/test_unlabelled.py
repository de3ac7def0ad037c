"""Clips without a score: they take part in what compares with the teacher, and in nothing else."""

import pytest
import torch
from datasets import concatenate_datasets
from distillation.test_quality_trainer import assert_same_weights, weights
from distillation.tiny import distillation_trainer, quality_trainer, train_logs, without_labels


SGD = {"optim": "sgd", "learning_rate": 0.05, "max_grad_norm": 0.0, "weight_decay": 0.0, "num_train_epochs": 1}
SGD |= {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
SGD |= {"per_device_train_batch_size": 12}


@pytest.mark.parametrize("mode", ["joint", "frozen", "cached"])
def test_a_part_that_needs_labels_is_the_mean_over_those_there_are(tmp_path, clips, mode):
    """One update on all 12 clips; its logged parts against the same on the labelled ones, and on all."""
    hidden = [0, 3, 4, 5, 10]
    parts = {"student_regression": 1.0, "student_huber": 1.0, "feature": 1.0, "teacher_score": 1.0}
    parts |= {"teacher_regression": 1.0} if mode == "joint" else {}
    logs = {}
    for name, rows in {
        "mixed": without_labels(clips["train"], hidden),
        "labelled": clips["train"].select([row for row in range(12) if row not in hidden]),
        "all": clips["train"],
    }.items():
        data = {**clips, "train": rows}
        trainer = distillation_trainer(tmp_path / name, data, teacher_mode=mode, loss_weights=parts, **SGD)
        trainer.train()
        logs[name] = train_logs(trainer)[0]
    for part in parts:
        like = "all" if part in ("feature", "teacher_score") else "labelled"
        assert logs["mixed"][f"{part}_loss"] == pytest.approx(logs[like][f"{part}_loss"], rel=1e-5), part
        assert logs["all"][f"{part}_loss"] != pytest.approx(logs["labelled"][f"{part}_loss"], rel=1e-3), part


def test_rows_without_a_label_column_join_a_scored_data_set(tmp_path, clips):
    """As `concatenate_datasets` leaves them: no label, content or score."""
    bare = clips["test"].select_columns(["video", "frames", "frames_shape", "frames_settings"])
    data = {**clips, "train": concatenate_datasets([clips["train"], bare])}
    trainer = distillation_trainer(tmp_path, data, teacher_mode="cached", views=1, num_train_epochs=1)
    trainer.train()
    assert trainer.student.config.score_max == 5
    assert trainer.state.global_step == 3


def test_a_student_of_unlabelled_clips_alone_learns_from_the_teacher_only(tmp_path, clips):
    data = {**clips, "train": without_labels(clips["train"], list(range(12)))}
    parts = {"student_regression": 1.0, "plcc": 1.0, "feature": 1.0, "teacher_score": 1.0}
    trained = []
    for name, weights_of_parts in (("a", parts), ("b", {"feature": 1.0, "teacher_score": 1.0})):
        trainer = distillation_trainer(
            tmp_path / name, data, teacher_mode="frozen", loss_weights=weights_of_parts, **SGD
        )
        trainer.train()
        trained.append(weights(trainer.student))
        assert "student_regression_loss" not in train_logs(trainer)[0]  # there is nothing to be the mean of
    assert_same_weights(*trained, atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize(("micro_batch", "steps"), [(2, 6), (5, 3)])
def test_an_accumulated_update_equals_the_unaccumulated_one(tmp_path, clips, micro_batch, steps):
    # Micro-batches with all, some and none of their labels.
    clips = {**clips, "train": without_labels(clips["train"], [0, 1, 2, 5, 6, 7, 10])}
    whole, accumulated = (
        quality_trainer(tmp_path, clips, gradient_accumulation_steps=n, **SGD | {"per_device_train_batch_size": batch})
        for batch, n in ((12, 1), (micro_batch, steps))
    )
    before = weights(whole.model)
    for trainer in (whole, accumulated):
        trainer.train()
        assert trainer.state.global_step == 1
    assert not torch.equal(before["head.weight"], whole.model.head.weight)
    assert_same_weights(weights(whole.model), weights(accumulated.model), atol=1e-6, rtol=1e-5)
