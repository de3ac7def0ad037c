"""Run by test_processes.py, in one process or several: trains the tiny pair, saves it and what was logged.

python train_tiny.py OUTPUT_DIR '{"per_device_train_batch_size": 6}'
"""

import json
import sys
from pathlib import Path

import torch
from distillation.tiny import distillation_trainer, make_clips

from cvqa.data import StreamedVideos


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    settings = json.loads(sys.argv[2])
    is_streamed, clips = settings.pop("stream"), make_clips()
    if is_streamed:
        clips = dict(clips) | {"train": StreamedVideos(clips["train"], settings["per_device_train_batch_size"])}
    trainer = distillation_trainer(folder, clips, **settings)
    trainer.train()
    trainer.save_model()
    trainer.save_teacher(folder / "teacher")
    if trainer.is_world_process_zero():
        facts = {"log": trainer.state.log_history, "processes": trainer.args.world_size}
        (folder / "facts.json").write_text(json.dumps(facts))
    trainer.accelerator.end_training()


if __name__ == "__main__":
    main()
