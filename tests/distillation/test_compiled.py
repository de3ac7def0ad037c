"""A compiled pair trains, is evaluated, saved and resumed as one that is not."""

import shutil

import pytest
from distillation.test_quality_trainer import assert_same_weights, weights
from distillation.tiny import distillation_trainer, eval_logs, tiny_model, train_logs
from safetensors.torch import load_file


@pytest.mark.slow
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a C++ compiler")
def test_compilation_changes_nothing(tmp_path, clips):
    # Not AdamW, which makes steps of the rounding errors of gradients that are zero.
    settings = {"optim": "sgd", "learning_rate": 0.1, "save_total_limit": None}
    trainers = {}
    for name in ("plain", "compiled", "resumed"):
        student = tiny_model(7 if name == "resumed" else 0)
        trainer = distillation_trainer(tmp_path / name, clips, student, **settings, torch_compile=name != "plain")
        trainer.train(resume_from_checkpoint=str(tmp_path / "compiled" / "checkpoint-2") if name == "resumed" else None)
        trainer.save_model()
        trainer.save_teacher(tmp_path / name / "teacher")
        trainers[name] = trainer
    logs = [train_logs(trainer) + eval_logs(trainer) for trainer in trainers.values()]
    assert len(logs[0]) == 6  # four updates, two evaluations
    for log in logs[1:]:
        for before, after in zip(logs[0], log, strict=True):
            for name in before.keys() & {"loss", "feature_loss", "eval_loss", "eval_rmse", "eval_teacher_rmse"}:
                assert after[name] == pytest.approx(before[name], rel=1e-4)
    for role in ("student", "teacher"):
        plain, compiled, resumed = (weights(getattr(trainer, role)) for trainer in trainers.values())
        assert_same_weights(plain, compiled, atol=1e-5, rtol=1e-4)
        assert_same_weights(compiled, resumed, atol=1e-5, rtol=1e-4)
    for folder in (tmp_path / "compiled", *(tmp_path / "compiled").glob("checkpoint-*")):
        for model, role in ((folder, "student"), (folder / "teacher", "teacher")):
            saved = load_file(model / "model.safetensors")
            assert saved.keys() == weights(getattr(trainers["plain"], role)).keys()
