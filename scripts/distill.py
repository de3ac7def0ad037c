"""Distil a teacher into a student on scored videos.

    python scripts/distill.py --teacher runs/teacher --student S --data_dir LADDER --output_dir runs/student
    accelerate launch --config_file accelerate_config.yaml scripts/distill.py --preset internvqa --teacher ...

Teacher and student are folders, Hub repositories or sizes of InternVideo2 (Ti, S, B, L, 1B, 6B), or of another
architecture: resnet18, mobilenet_v2, convnext_atto, swin_tiny, dinov2_small, videomae_small and others (see
cvqa.distillation.students), or any model of transformers, by type, folder or repository. Names start from random
weights. Both see what the processor of the student makes, or where it has none yet that of the teacher.
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
    begin,
    finish,
    load_data,
    model_facts,
    prepare,
    train,
    train_rows,
    wrong_input_in_one_line,
)
from cvqa.distillation.students import build_processor, build_student, clip_of, is_place


@dataclass
class ModelArguments:
    teacher: str = field(metadata={"help": "Folder, Hub repository, size or name of the teacher."})
    student: str = field(default="S", metadata={"help": "Folder, Hub repository, size or name of the student."})
    save_teacher: bool = field(default=False, metadata={"help": "Save a joint teacher in teacher/ of the output."})


def main() -> None:
    started = time.time()
    with wrong_input_in_one_line("distill"):
        parser = HfArgumentParser((ModelArguments, DataArguments, DistillationArguments), description=__doc__)
        names, data, args = parser.parse_args_into_dataclasses()
        prepare(args)
        clip = {"num_frames": data.num_frames} if data.num_frames else {}
        teacher = build_student(names.teacher, **clip)
        # A fresh student is made for the clips that its teacher looks at.
        student = build_student(names.student, **({} if is_place(names.student) else clip_of(names.teacher)) | clip)
        about = model_facts(student, names.student), model_facts(teacher, names.teacher)
        places, options = [names.student, names.teacher], data.processor_options()
        processor = build_processor(student.config, places, [teacher.config], **options)
        splits = load_data(data, args, processor)
        trainer = DistillationTrainer(
            student, args, train_rows(data, args, splits), splits["validation"], processor, teacher=teacher
        )
        del teacher  # a cached one is not needed any more
    begin(trainer, splits, data, started, *about)
    train(trainer)
    if names.save_teacher and args.teacher_mode == "joint":
        trainer.save_teacher(Path(args.output_dir) / "teacher")
    finish(trainer, splits, data, started, *about)


if __name__ == "__main__":
    main()
