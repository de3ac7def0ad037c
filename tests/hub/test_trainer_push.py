"""What a trainer publishes: the model with its card, and nothing of the machine that trained it."""

import json

import huggingface_hub.constants
import pytest
from distillation.tiny import distillation_trainer, make_clips, quality_trainer
from huggingface_hub import ModelCard, close_session
from loopback_hub import LoopbackHub

from cvqa.evaluation import evaluate_dataset, save_report
from cvqa.hub.push import HubError


@pytest.fixture(scope="module")
def clips():
    return make_clips()


@pytest.fixture
def hub(monkeypatch):
    with LoopbackHub() as hub:
        for name, value in {"ENDPOINT": hub.url, "HF_HUB_OFFLINE": False, "HF_HUB_DISABLE_XET": True}.items():
            monkeypatch.setattr(huggingface_hub.constants, name, value)
        monkeypatch.setenv("HF_TOKEN", "hf_loopback")
        close_session()
        yield hub


def test_the_trainer_publishes_the_model_and_nothing_private(hub, tmp_path, clips):
    trainer = quality_trainer(
        tmp_path / "student", clips, push_to_hub=True, hub_model_id="org/tiny", hub_strategy="every_save", max_steps=4,
        eval_strategy="steps", save_strategy="steps", eval_steps=2, save_steps=2,
    )  # fmt: skip
    trainer.train()
    assert hub.repos["models/org/tiny"] == {}  # checkpoints are not published
    summary, rows = evaluate_dataset(
        trainer.model, trainer.processing_class, clips["test"].add_column("codec", ["h264"] * 6), model_name="tiny"
    )
    rows = [{**row, "file": str(tmp_path / row["file"])} for row in rows]
    trainer.save_model()
    save_report(tmp_path / "student" / "test", summary, rows)
    (tmp_path / "student" / "training_args.bin").write_bytes(b"a pickle")

    assert trainer.push_to_hub() == f"{hub.url}/org/tiny"
    files = hub.repos["models/org/tiny"]
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pth")) or "checkpoint" in name]
    assert not [name for name, content in files.items() if str(tmp_path).encode() in content]
    card = ModelCard(files["README.md"].decode())
    assert card.data.pipeline_tag == "video-classification" and "video-quality-assessment" in card.data.tags
    figures = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert figures["srcc"] == pytest.approx(summary.figure("srcc").value, abs=1e-6)


def test_without_permission_it_is_told_before_training(hub, tmp_path, clips):
    hub.fail("create", 403)
    with pytest.raises(HubError, match=r"org/tiny: nothing was published: 403: .*write permission"):
        quality_trainer(tmp_path / "student", clips, push_to_hub=True, hub_model_id="org/tiny")


def test_the_arguments_are_those_of_trainer(hub, tmp_path, clips):
    trainer = quality_trainer(tmp_path / "student", clips)
    url = trainer.push_to_hub("first", True, "hf_token", None, True, tags=["x"], model_name="y")
    assert url == f"{hub.url}/me/student"
    assert (tmp_path / "student" / "README.md").read_text() == hub.repos["models/me/student"]["README.md"].decode()


def test_a_failure_can_be_repeated(hub, tmp_path, clips):
    trainer = quality_trainer(tmp_path / "student", clips, hub_model_id="org/tiny")
    hub.fail("commit", 403)
    with pytest.raises(HubError, match="may not write there"):
        trainer.push_to_hub()
    assert hub.repos["models/org/tiny"] == {}
    trainer.push_to_hub()
    assert "model.safetensors" in hub.repos["models/org/tiny"]


def test_distillation_publishes_the_student_alone(hub, tmp_path, clips):
    trainer = distillation_trainer(tmp_path / "student", clips, hub_model_id="org/student")
    trainer.push_to_hub()
    config = json.loads(hub.repos["models/org/student"]["config.json"])
    assert config["hidden_size"] == trainer.student.config.hidden_size != trainer.teacher.config.hidden_size
    assert not [name for name in hub.repos["models/org/student"] if name.startswith("teacher")]
