"""Run by other tests in processes of its own: trains the tiny pair, saves it and what was logged.

python train_tiny.py OUTPUT_DIR '{"per_device_train_batch_size": 6}'

With ACCELERATE_USE_FSDP the models are sharded, on the CPU too.
"""

import json
import os
import signal
import sys
from pathlib import Path

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from distillation.tiny import distillation_trainer, make_clips
from transformers import Trainer

from cvqa.data import StreamedVideos


def shard_on_cpu() -> None:
    """Accelerate shards on accelerators only, and else quietly does not; it works on the CPU as well."""
    make_accelerator = Trainer.create_accelerator_and_postprocess

    def on_cpu(trainer):
        PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
        make_accelerator(trainer)
        assert trainer.is_fsdp_enabled and trainer.accelerator.is_fsdp2

    Trainer.create_accelerator_and_postprocess = on_cpu


def kill_while_saving(trainer, step: int) -> None:
    """End this process without a warning when half of the checkpoint of that step is written."""
    save_the_rest = trainer._save_optimizer_and_scheduler

    def save(folder):
        if trainer.state.global_step == step:
            os.kill(os.getpid(), signal.SIGKILL)
        save_the_rest(folder)

    trainer._save_optimizer_and_scheduler = save


def main() -> None:
    torch.set_num_threads(1)
    if os.environ.get("ACCELERATE_USE_FSDP") == "true":
        shard_on_cpu()
    folder, settings = Path(sys.argv[1]), json.loads(sys.argv[2])
    is_streamed, clips = settings.pop("stream", False), make_clips()
    if is_streamed:
        clips = dict(clips) | {"train": StreamedVideos(clips["train"], settings["per_device_train_batch_size"])}
    killed_at = settings.pop("killed_at", None)
    trainer = distillation_trainer(folder, clips, **settings)
    if killed_at is not None:
        kill_while_saving(trainer, killed_at)
    trainer.train(resume_from_checkpoint=trainer.args.resume_from_checkpoint)
    trainer.save_model()
    if not trainer.is_cached:
        trainer.save_teacher(folder / "teacher")
    if trainer.is_world_process_zero():
        facts = {
            "log": trainer.state.log_history,
            "processes": trainer.args.world_size,
            "sharded": any(type(value).__name__ == "DTensor" for value in trainer.student.parameters()),
            "resumed": trainer.args.resume_from_checkpoint,
        }
        (folder / "facts.json").write_text(json.dumps(facts))
    trainer.accelerator.end_training()


if __name__ == "__main__":
    main()
