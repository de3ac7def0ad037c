"""Presets, overrides and refusals."""

import pytest
from transformers import HfArgumentParser

from cvqa.distillation import PRESETS, DistillationArguments, QualityArguments
from cvqa.distillation.loader_workers import default_workers


def test_published_recipe(tmp_path):
    args = DistillationArguments(str(tmp_path), preset="internvqa", per_device_train_batch_size=64, use_cpu=True)
    assert args.loss_weights == {"teacher_regression": 1.0, "student_regression": 1.0, "feature": 1.0}
    assert args.augment == "published"
    assert not args.stop_gradient
    assert args.teacher_trainable_blocks == 1
    assert args.teacher_drop_path_rate == 0.3
    assert args.learning_rate == pytest.approx(1e-3 * 2 * 64 / 256)
    assert args.weight_decay == 0.05
    assert args.num_train_epochs == 30
    assert args.get_warmup_steps(300) == 50
    assert (args.adam_beta1, args.adam_beta2) == (0.9, 0.999)


def test_learning_rate_of_the_published_recipe_follows_the_batch_of_an_update(tmp_path):
    args = DistillationArguments(
        str(tmp_path),
        preset="internvqa",
        per_device_train_batch_size=8,
        gradient_accumulation_steps=4,
        use_cpu=True,
    )
    assert args.learning_rate == pytest.approx(1e-3 * 2 * 32 / 256)


@pytest.mark.parametrize("preset", PRESETS)
def test_what_is_given_wins_over_the_preset(tmp_path, preset):
    given = {
        "augment": "none",
        "stop_gradient": True,
        "teacher_trainable_blocks": 3,
        "teacher_drop_path_rate": 0.0,
        "learning_rate": 7e-4,
        "num_train_epochs": 2,
        "warmup_steps": 0,
        "weight_decay": 0.0,
        "loss_weights": {"teacher_regression": 2.0, "plcc": 0.5},
    }
    args = DistillationArguments(str(tmp_path), preset=preset, use_cpu=True, **given)
    assert {name: getattr(args, name) for name in given} == given


@pytest.mark.parametrize("mode", ["frozen", "cached"])
def test_a_given_teacher_has_no_regression_part(tmp_path, mode):
    args = DistillationArguments(str(tmp_path), teacher_mode=mode, use_cpu=True)
    assert args.loss_weights == {"student_regression": 1.0, "feature": 1.0}
    with pytest.raises(ValueError, match=f"{mode} teacher does not learn"):
        DistillationArguments(str(tmp_path), teacher_mode=mode, loss_weights={"teacher_huber": 1.0}, use_cpu=True)


def test_best_is_by_validation_srcc(tmp_path):
    args = QualityArguments(str(tmp_path), use_cpu=True)
    assert args.load_best_model_at_end
    assert args.metric_for_best_model == "srcc"
    assert args.greater_is_better


def test_command_line(tmp_path):
    line = ["--output_dir", str(tmp_path), "--loss_weights", '{"plcc": 1, "rank": 0.3}', "--use_cpu", "true"]
    (args,) = HfArgumentParser(QualityArguments).parse_args_into_dataclasses([*line, "--augment", "none"])
    assert args.loss_weights == {"plcc": 1, "rank": 0.3}
    assert args.augment == "none"
    line = [
        "--output_dir",
        str(tmp_path),
        "--hidden_layers",
        "[[20, 6], [-1, -1]]",
        "--stop_gradient",
        "false",
        "--teacher_trainable_blocks",
        "-1",
        "--use_cpu",
    ]
    (args,) = HfArgumentParser(DistillationArguments).parse_args_into_dataclasses(line)
    assert args.stop_gradient is False
    assert args.hidden_layers == [[20, 6], [-1, -1]]
    assert args.teacher_trainable_blocks == -1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"preset": "internvq"}, "unknown preset 'internvq': choose one of internvqa, default"),
        ({"teacher_mode": "jont"}, "unknown teacher_mode 'jont': choose one of joint, frozen, cached"),
        ({"loss_weights": "plcc"}, "give a JSON object"),
        (
            {"loss_weights": {"feature": 1.0}},
            "teacher in joint mode needs a teacher_regression or teacher_huber weight",
        ),
        ({"teacher_mode": "cached", "loss_weights": {"hidden_states": 1}}, "hidden states are too large to be cached"),
        ({"hidden_layers": "[20, 6]"}, "give pairs of teacher and student layers"),
        ({"augment": "strong"}, "unknown augment 'strong': choose one of quality, luma, published, none"),
        ({"views": 0}, "views is 0; give 1 or more"),
        ({"early_stopping_patience": 0}, "early_stopping_patience is 0"),
        ({"remove_unused_columns": True}, "leave it False"),
    ],
)
def test_mistakes_are_refused_with_the_way_out(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        DistillationArguments(str(tmp_path), use_cpu=True, **settings)


@pytest.mark.parametrize(
    ("cuda", "cores", "processes", "trainings", "workers"),
    [(True, 12, 1, 1, 12), (True, 128, 8, 1, 16), (True, 24, 2, 3, 4), (True, 2, 4, 1, 1), (False, 12, 1, 1, 0)],
)
def test_a_gpu_is_fed_by_its_share_of_the_cores(monkeypatch, cuda, cores, processes, trainings, workers):
    monkeypatch.setattr("torch.cuda.is_available", lambda: cuda)
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: range(cores), raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert default_workers(trainings) == workers


@pytest.mark.parametrize("kind", [QualityArguments, DistillationArguments])
def test_loader_processes_are_as_many_as_given_and_by_default_none_where_the_cpu_trains(tmp_path, kind):
    assert kind(str(tmp_path), use_cpu=True).dataloader_num_workers == 0
    assert kind(str(tmp_path), use_cpu=True, dataloader_num_workers=3).dataloader_num_workers == 3
