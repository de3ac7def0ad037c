"""Distil a teacher into a student on scored videos.

    python scripts/distill.py --teacher runs/teacher --student S --data_dir LADDER --output_dir runs/student
    accelerate launch --config_file accelerate_config.yaml scripts/distill.py --preset internvqa --teacher ...

Teacher and student are folders, Hub repositories or sizes (Ti, S, B, L, 1B, 6B); a size starts from random weights.
The output folder is the student, with its report on the test split in test/ and the facts of the run in run.json.
"""

import time
from dataclasses import dataclass, field
from pathlib import Path

from transformers import HfArgumentParser

import cvqa  # noqa: F401 registers the models with the Auto classes
from cvqa.distillation import DistillationArguments, DistillationTrainer
from cvqa.distillation.run import (
    DataArguments,
    finish,
    load_data,
    load_model,
    load_processor,
    prepare,
    train,
    wrong_input_in_one_line,
)


@dataclass
class ModelArguments:
    teacher: str = field(metadata={"help": "Folder, Hub repository or size of the teacher."})
    student: str = field(default="S", metadata={"help": "Folder, Hub repository or size of the student."})
    save_teacher: bool = field(default=False, metadata={"help": "Save the teacher in teacher/ of the output folder."})


def main() -> None:
    started = time.time()
    with wrong_input_in_one_line("distill"):
        parser = HfArgumentParser((ModelArguments, DataArguments, DistillationArguments), description=__doc__)
        names, data, args = parser.parse_args_into_dataclasses()
        prepare(args)
        teacher = load_model(names.teacher, data.num_frames)
        student = load_model(names.student, data.num_frames)
        processor = load_processor([names.student, names.teacher], student, **data.processor_options())
        splits = load_data(data, args, processor)
        trainer = DistillationTrainer(student, args, splits["train"], splits["validation"], processor, teacher=teacher)
    train(trainer)
    if names.save_teacher:
        trainer.save_teacher(Path(args.output_dir) / "teacher")
    finish(trainer, splits, data, started, names.student, names.teacher)


if __name__ == "__main__":
    main()
