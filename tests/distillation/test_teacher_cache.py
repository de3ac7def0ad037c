"""A cached teacher: asked once about every view, gone while the student trains, the same as a frozen one."""

import gc
import weakref

import numpy as np
import pytest
import torch
from datasets import concatenate_datasets
from distillation.test_quality_trainer import assert_same_weights, weights
from distillation.tiny import PROCESSOR, SETTINGS, distillation_trainer, eval_logs, make_table, tiny_model, train_logs

from cvqa.data import load_quality_dataset
from cvqa.data.frames import frame_settings
from cvqa.distillation import DistillationArguments, DistillationTrainer, teacher_cache
from cvqa.distillation.teacher_cache import CachedTeacherCollator, ask_teacher


class Teacher:
    """A teacher that counts the clips that it looks at, and stops after some."""

    def __init__(self, seed=1, stops_after=None, **overrides):
        self.model = tiny_model(seed, hidden_size=64, blocks=3, **overrides)
        self.clips, self.stops_after = 0, stops_after
        self.model.register_forward_pre_hook(self.count, with_kwargs=True)

    def count(self, model, args, kwargs):
        if self.stops_after is not None and self.clips >= self.stops_after:
            raise KeyboardInterrupt
        self.clips += len(kwargs["pixel_values_videos"])


def asked(folder, rows, teacher=None, batch_size=4, num_workers=0, **views):
    """How many clips a teacher had to look at, and what it said."""
    teacher = teacher or Teacher()
    collator = CachedTeacherCollator(PROCESSOR, **{"augment": "quality", "as_uint8": True, "views": 3, **views})
    outputs = ask_teacher(
        teacher.model, rows, collator, cache_dir=folder, batch_size=batch_size, num_workers=num_workers
    )
    return teacher.clips, outputs


def test_frozen_and_cached_give_the_same_student(tmp_path, clips):
    settings = {
        "num_train_epochs": 5,
        "views": 3,
        "optim": "sgd",
        "learning_rate": 0.1,
        "load_best_model_at_end": False,
    }
    settings["loss_weights"] = {"student_regression": 1.0, "feature": 1.0, "teacher_score": 1.0, "plcc": 0.1}
    settings["loss_weights"] |= {"relational_distance": 1.0, "relational_angle": 1.0}
    trainers = []
    for mode in ("frozen", "cached"):
        student = tiny_model(0, drop_path_rate=0.3)
        trainers.append(distillation_trainer(tmp_path / mode, clips, student, teacher_mode=mode, **settings))
        trainers[-1].train()
    frozen, cached = trainers
    for logs in (train_logs, eval_logs):
        for a, b in zip(logs(frozen), logs(cached), strict=True):
            for name in a:
                if not name.endswith(("runtime", "per_second")):
                    assert a[name] == pytest.approx(b[name], rel=1e-4, abs=1e-6), name
    assert (weights(frozen.student)["head.weight"] - weights(tiny_model(0))["head.weight"]).abs().max() > 1e-2
    assert_same_weights(weights(frozen.student), weights(cached.student), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("augment", "workers"), [("quality", 0), ("quality", 2), ("published", 0)])
def test_the_teacher_says_of_every_view_what_it_would_say_of_the_clip_in_that_epoch(tmp_path, clips, augment, workers):
    rows = clips["train"].select(range(5)).remove_columns("frames_settings")
    rows = rows.add_column("frames_settings", [frame_settings(PROCESSOR, native=True)] * 5)
    teacher = Teacher()
    _, outputs = asked(tmp_path, rows, teacher, augment=augment, num_workers=workers)
    collator = CachedTeacherCollator(PROCESSOR, augment=augment, views=3)
    collator.outputs = outputs
    seen = []
    for epoch in range(4):
        collator.set_epoch(epoch)
        batch = collator([rows[i] for i in (3, 0, 4)])
        with torch.no_grad():
            expected = teacher.model(pixel_values_videos=batch["pixel_values_videos"])
        torch.testing.assert_close(batch["teacher_features"], expected.quality_features, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(batch["teacher_scores"], expected.logits.flatten(), atol=1e-5, rtol=1e-4)
        seen.append(batch["pixel_values_videos"])
    assert torch.equal(seen[0], seen[3])
    assert not torch.equal(seen[0], seen[1]) and not torch.equal(seen[1], seen[2])


def test_the_teacher_is_asked_only_about_what_is_new(tmp_path, clips):
    rows = clips["train"]
    count, outputs = asked(tmp_path, rows)
    assert count == 36
    again, same = asked(tmp_path, rows, batch_size=5)
    assert again == 0
    np.testing.assert_array_equal(outputs.features, same.features)
    np.testing.assert_array_equal(outputs.scores, same.scores)
    assert asked(tmp_path, rows.shuffle(seed=1), views=2)[0] == 0  # fewer views, another order
    assert asked(tmp_path, concatenate_datasets([rows, clips["test"]]))[0] == 18  # more videos
    assert asked(tmp_path, rows, views=4)[0] == 12  # one view more
    assert asked(tmp_path, rows, augment=None)[0] == 12  # the central view
    assert asked(tmp_path, rows, seed=1)[0] == 36  # other views
    assert asked(tmp_path, rows, Teacher(seed=2))[0] == 36  # other weights
    assert asked(tmp_path, rows, Teacher(hidden_act="gelu_pytorch_tanh"))[0] == 36  # another model, same weights
    assert asked(tmp_path, rows, Teacher(score_max=5.0, label_kind="vmaf"))[0] in (0, 36)


def test_frames_that_changed_are_looked_at_again(tmp_path, clips):
    rows = clips["train"]
    asked(tmp_path, rows)
    frames = [bytes(reversed(rows[0]["frames"])), *rows["frames"][1:]]
    changed = rows.remove_columns("frames").add_column("frames", frames)
    assert asked(tmp_path, changed)[0] == 3


def test_an_interruption_loses_nothing_that_was_answered(tmp_path, clips):
    stopped = Teacher(stops_after=20)
    with pytest.raises(KeyboardInterrupt):
        asked(tmp_path, clips["train"], stopped)
    assert stopped.clips == 20
    assert asked(tmp_path, clips["train"])[0] == 16


def test_a_kill_loses_no_file_that_was_finished(tmp_path, clips, monkeypatch):
    """Nothing is left to do at a kill: only what was renamed in time is there, and what was not is ignored."""
    monkeypatch.setattr(teacher_cache, "VIEWS_PER_FILE", 8)
    asked(tmp_path, clips["train"])
    files = sorted(tmp_path.rglob("*.parquet"))
    assert len(files) == 5
    files[0].rename(files[0].with_name(f".{files[0].stem}.1.part.parquet"))
    files[1].write_bytes(files[1].read_bytes()[:100])  # the machine went down
    assert asked(tmp_path, clips["train"])[0] in (12, 16)  # the last file has 4 clips
    assert asked(tmp_path, clips["train"])[0] == 0


def test_the_teacher_is_gone_while_the_student_trains(tmp_path, clips):
    teacher = Teacher().model
    alive = weakref.ref(teacher)
    trainer = distillation_trainer(tmp_path, clips, teacher=teacher, teacher_mode="cached", views=2)
    del teacher
    gc.collect()
    assert alive() is None
    trainer.train()
    assert all("eval_teacher_srcc" in entry for entry in eval_logs(trainer))
    trainer.save_model(tmp_path / "student")
    assert not (tmp_path / "student" / "teacher").exists()
    with pytest.raises(ValueError, match="the teacher was not asked about all of"):
        trainer.predict(clips["test"])


def test_video_files_without_cached_frames(tmp_path):
    table = load_quality_dataset(str(make_table(tmp_path)))
    settings = SETTINGS | {"teacher_mode": "cached", "views": 2, "teacher_cache_dir": str(tmp_path / "asked")}
    teacher = Teacher()
    for clips_asked in (24 + 6, 24 + 6 + 2):
        args = DistillationArguments(str(tmp_path / "run"), **settings)
        data = table["train"], table["validation"]
        trainer = DistillationTrainer(tiny_model(0), args, *data, PROCESSOR, teacher=teacher.model)
        assert teacher.clips == clips_asked
        (tmp_path / "coffee_20.mp4").write_bytes((tmp_path / "coffee_38.mp4").read_bytes())  # another file now
    trainer.train()
