"""Distillation: who learns what in which mode, and what the folders hold."""

import pytest
import torch
from distillation.test_quality_trainer import assert_same_weights, weights
from distillation.tiny import CROP, FRAMES, distillation_trainer, eval_logs, tiny_model, train_logs, without_labels
from transformers import AutoModel

from cvqa.distillation.students import build_student
from cvqa.distillation.teacher_student import freeze_blocks


def teacher(seed=1, **overrides):
    return tiny_model(seed, hidden_size=64, blocks=3, **overrides)


def changed(before, after):
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("mode", ["joint", "frozen"])
def test_the_loss_falls_and_the_student_comes_closer_to_the_teacher(tmp_path, clips, mode):
    trainer = distillation_trainer(
        tmp_path, clips, teacher_mode=mode, num_train_epochs=60, per_device_train_batch_size=12, learning_rate=2e-3,
        augment="none", eval_strategy="no", save_strategy="no", load_best_model_at_end=False,
    )  # fmt: skip
    trainer.train()
    first, last = train_logs(trainer)[0], train_logs(trainer)[-1]
    assert last["loss"] < 0.75 * first["loss"]
    assert last["feature_loss"] < 0.8 * first["feature_loss"]
    assert last["student_regression_loss"] < first["student_regression_loss"]
    if mode == "joint":
        assert last["teacher_regression_loss"] < 0.5 * first["teacher_regression_loss"]


@pytest.mark.parametrize("mode", ["joint", "frozen"])
def test_the_parts_are_logged_by_name_and_sum_to_the_loss(tmp_path, clips, mode):
    parts = {"student_regression": 1.0, "feature": 0.5, "plcc": 1.0, "rank": 0.3}
    parts |= {"teacher_regression": 2.0} if mode == "joint" else {}
    trainer = distillation_trainer(tmp_path, clips, teacher_mode=mode, loss_weights=parts)
    trainer.train()
    for entries, prefix in ((train_logs(trainer), ""), (eval_logs(trainer), "eval_")):
        assert entries
        for entry in entries:
            total = sum(weight * entry[f"{prefix}{name}_loss"] for name, weight in parts.items())
            assert total == pytest.approx(entry[f"{prefix}loss"], rel=1e-4)
    assert all("eval_teacher_srcc" in entry and "eval_srcc" in entry for entry in eval_logs(trainer))


def test_a_joint_teacher_learns_only_in_its_last_blocks_and_outside_the_blocks(tmp_path, clips):
    model = teacher()
    before = weights(model)
    trainer = distillation_trainer(tmp_path, clips, teacher=model, load_best_model_at_end=False)
    trainer.train()
    moved = changed(before, weights(trainer.teacher))
    blocks = {name for name in before if ".layers." in name}
    assert {name.split(".layers.")[1][0] for name in moved & blocks} == {"2"}
    # A bias of the keys cannot change an attention weight.
    assert before.keys() - blocks - moved <= {"internvideo2.pooler.attention.k_proj.bias"}


def test_a_joint_teacher_of_another_architecture_learns_only_in_its_last_stage_and_outside(tmp_path, clips):
    torch.manual_seed(1)
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1], "layer_type": "basic"}
    model = build_student("resnet", num_frames=FRAMES, image_size=CROP, feature_size=32, **sizes)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    trainer = distillation_trainer(
        tmp_path, clips, teacher=model, num_train_epochs=1, save_strategy="no", load_best_model_at_end=False
    )
    trainer.train()
    moved = changed(before, dict(trainer.teacher.named_parameters()))
    stages = {name for name in before if ".encoder.stages." in name}
    assert {name.split(".encoder.stages.")[1][0] for name in moved & stages} == {"3"}
    assert before.keys() - stages == moved - stages


def test_a_frozen_teacher_stays_as_it_is(tmp_path, clips):
    model = teacher(drop_path_rate=0.5)
    before = weights(model)
    trainer = distillation_trainer(tmp_path, clips, teacher=model, teacher_mode="frozen")
    trainer.train()
    assert not changed(before, weights(trainer.teacher))
    assert not trainer.teacher.training
    assert not any(parameter.requires_grad for parameter in trainer.teacher.parameters())
    # No drop path: the teacher says the same at every evaluation.
    assert len({entry["eval_teacher_rmse"] for entry in eval_logs(trainer)}) == 1


@pytest.mark.parametrize("stop_gradient", [False, True])
def test_without_stop_gradient_the_student_pulls_the_teacher(tmp_path, clips, stop_gradient):
    teachers = []
    for seed in (0, 5):
        trainer = distillation_trainer(
            tmp_path, clips, tiny_model(seed), stop_gradient=stop_gradient, max_grad_norm=0.0, num_train_epochs=1,
            eval_strategy="no", save_strategy="no", load_best_model_at_end=False,
        )  # fmt: skip
        trainer.train()
        teachers.append(weights(trainer.teacher))
    assert bool(changed(*teachers)) != stop_gradient


def test_presets_set_up_the_teacher(tmp_path, clips):
    trainer = distillation_trainer(tmp_path, clips, preset="internvqa")
    assert trainer.teacher.config.drop_path_rate == 0.3
    rates = [layer.drop_path.drop_prob for layer in trainer.teacher.internvideo2.layers]
    assert rates == pytest.approx([0, 0.15, 0.3])
    assert [layer.attention.qkv.weight.requires_grad for layer in trainer.teacher.internvideo2.layers] == [0, 0, 1]
    with pytest.raises(ValueError, match="the model has 3 blocks; 4 of them cannot train"):
        freeze_blocks(teacher(), 4)


@pytest.mark.parametrize("mode", ["joint", "frozen", "cached"])
def test_resume_gives_the_uninterrupted_run(tmp_path, clips, mode):
    settings = {"num_train_epochs": 3, "save_strategy": "steps", "eval_strategy": "steps", "save_steps": 1}
    settings |= {"eval_steps": 1, "save_total_limit": None, "teacher_mode": mode, "teacher_drop_path_rate": 0.4}
    # A schedule, and projections, which are in checkpoints only.
    parts = {"student_regression": 1.0, "feature": {"weight": 1.0, "warmup": 0.3, "schedule": "cosine"}}
    parts |= {"teacher_regression": 1.0} if mode == "joint" else {}
    parts |= {"hidden_states": 0.5} if mode != "cached" else {}
    settings |= {"loss_weights": parts, "hidden_layers": [[3, 2], [1, 1]]}
    whole = distillation_trainer(tmp_path / "a", clips, **settings)
    whole.train()
    # The joint teacher is in the checkpoint; a frozen one is given anew.
    other = teacher(8) if mode == "joint" else teacher()
    resumed = distillation_trainer(tmp_path / "b", clips, tiny_model(7), other, **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "a" / "checkpoint-3"))
    assert [entry["loss"] for entry in train_logs(whole)] == [entry["loss"] for entry in train_logs(resumed)]
    assert whole.state.best_metric == resumed.state.best_metric
    assert_same_weights(weights(whole.student), weights(resumed.student), atol=0, rtol=0)
    if mode != "cached":
        assert_same_weights(weights(whole.teacher), weights(resumed.teacher), atol=0, rtol=0)
        projections = [weights(trainer.model.projections) for trainer in (whole, resumed)]
        assert projections[0]
        assert_same_weights(*projections, atol=0, rtol=0)


@pytest.mark.parametrize("mode", ["joint", "frozen"])
def test_the_folders(tmp_path, clips, mode):
    parts = {
        "student_regression": 1.0,
        "hidden_states": 1.0,
        **({"teacher_regression": 1.0} if mode == "joint" else {}),
    }
    trainer = distillation_trainer(tmp_path / "run", clips, teacher_mode=mode, loss_weights=parts)
    trainer.train()
    checkpoint = tmp_path / "run" / "checkpoint-4"
    trainer.save_model(tmp_path / "student")
    trainer.save_teacher(tmp_path / "teacher")

    for folder in (checkpoint, tmp_path / "student"):
        model, info = AutoModel.from_pretrained(folder, output_loading_info=True)
        assert model.config.hidden_size == 48
        assert not info["missing_keys"] and not info["unexpected_keys"]
    assert (checkpoint / "teacher").is_dir() == (mode == "joint")
    assert (checkpoint / "projections.safetensors").is_file()
    assert not {"teacher", "projections.safetensors"} & {path.name for path in (tmp_path / "student").iterdir()}
    assert not list(tmp_path.rglob("training_args.bin"))
    student, saved_teacher = (AutoModel.from_pretrained(tmp_path / name) for name in ("student", "teacher"))
    assert_same_weights(weights(student), weights(trainer.student), atol=0, rtol=0)
    assert_same_weights(weights(saved_teacher), weights(trainer.teacher), atol=0, rtol=0)
    assert student.config.score_mapping is not None
    assert student.config.score_max == 5
    if mode == "joint":
        assert saved_teacher.config.score_mapping is not None
        assert saved_teacher.config.score_max == 5


def test_the_pair_of_the_best_checkpoint_comes_back_together(tmp_path, clips, monkeypatch):
    ranks = iter([0.9, 0.1])
    monkeypatch.setattr(
        "cvqa.distillation.DistillationTrainer.compute_figures", lambda self, prediction: {"srcc": next(ranks, 0.0)}
    )
    trainer = distillation_trainer(tmp_path, clips)
    trainer.train()
    for model, folder in ((trainer.student, "checkpoint-2"), (trainer.teacher, "checkpoint-2/teacher")):
        assert_same_weights(weights(model), weights(AutoModel.from_pretrained(tmp_path / folder)), atol=0, rtol=0)
    assert changed(weights(trainer.teacher), weights(AutoModel.from_pretrained(tmp_path / "checkpoint-4/teacher")))


def test_a_frozen_run_cannot_be_resumed_as_a_joint_one(tmp_path, clips):
    distillation_trainer(tmp_path, clips, teacher_mode="frozen").train()
    with pytest.raises(ValueError, match="is a checkpoint of another kind of run, it has no 'teacher'"):
        distillation_trainer(tmp_path, clips).train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))


@pytest.mark.parametrize("mode", ["joint", "frozen"])
def test_accumulation_and_activation_checkpointing_change_nothing(tmp_path, clips, mode):
    # Every other clip without a label: the micro-batches have 1, 1 and 1 of 2, or 0, 1 and 2.
    clips = {**clips, "train": without_labels(clips["train"], [0, 2, 5, 6, 7, 10])}
    parts = {"student_regression": 1.0, "feature": 1.0, "hidden_states": 0.5, "teacher_score": 0.3}
    parts |= {"teacher_huber": 1.0} if mode == "joint" else {}
    settings = {"optim": "sgd", "learning_rate": 0.05, "max_grad_norm": 0.0, "teacher_mode": mode}
    settings |= {"loss_weights": parts, "hidden_layers": [[3, 2], [1, 1]]}
    settings |= {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False}
    trained = []
    for variant in (
        {"per_device_train_batch_size": 6},
        {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 3},
        {"per_device_train_batch_size": 6, "gradient_checkpointing": True},
    ):
        trainer = distillation_trainer(tmp_path, clips, **settings, **variant)
        trainer.train()
        trained.append({**weights(trainer.student), **{f"t.{k}": v for k, v in weights(trainer.teacher).items()}})
    if mode == "joint":
        assert trainer.teacher.is_gradient_checkpointing
    assert trainer.student.is_gradient_checkpointing
    for other in trained[1:]:
        assert_same_weights(trained[0], other, atol=1e-6, rtol=1e-5)


def test_predictions_are_both_models_scores_without_features(tmp_path, clips):
    student, teacher_scores = distillation_trainer(tmp_path, clips).predict(clips["test"]).predictions
    assert student.shape == teacher_scores.shape == (6,)


@pytest.mark.parametrize("mode", ["joint", "frozen"])
def test_bfloat16_stays_close_to_float32_and_keeps_float32_weights(tmp_path, clips, mode):
    logs = []
    for bf16 in (False, True):
        trainer = distillation_trainer(tmp_path, clips, teacher_mode=mode, bf16=bf16, save_strategy="best")
        logs.append(trainer.evaluate())  # before training, when nothing is prepared yet
        trainer.train()
        assert {parameter.dtype for parameter in trainer.student.parameters()} == {torch.float32}
    exact, half = logs
    assert half["eval_feature_loss"] != exact["eval_feature_loss"]
    assert half["eval_feature_loss"] == pytest.approx(exact["eval_feature_loss"], rel=0.05)
    assert half["eval_student_regression_loss"] == pytest.approx(exact["eval_student_regression_loss"], rel=0.05)
