"""Fine-tune a video quality model, usually the teacher, on scored videos.

    python scripts/train_teacher.py --model teacher-1b --dataset csv --data_dir scores.csv --output_dir runs/teacher
    accelerate launch --config_file accelerate_config.yaml scripts/train_teacher.py --model ...

The model is a folder (for official weights: scripts/convert_internvideo2.py), a Hub repository, a size (Ti, S, B, L,
1B, 6B) or another name that scripts/distill.py knows for its students; names start from random weights. The output
folder is the model, with its report on the test split in test/ and the facts of the run in run.json.
"""

import time
from dataclasses import dataclass, field

from transformers import HfArgumentParser

import cvqa  # noqa: F401 registers the models with the Auto classes
from cvqa.distillation import QualityArguments, QualityTrainer
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
from cvqa.distillation.students import build_processor, build_student
from cvqa.distillation.teacher_student import freeze_blocks, set_drop_path


@dataclass
class ModelArguments:
    model: str = field(metadata={"help": "Folder, Hub repository, size or name of the model."})
    trainable_blocks: int = field(
        default=-1, metadata={"help": "Train only so many last blocks (or stages), -1 for all."}
    )
    drop_path_rate: float = field(default=0.0, metadata={"help": "Stochastic depth of the last block."})


def main() -> None:
    started = time.time()
    with wrong_input_in_one_line("train_teacher"):
        parser = HfArgumentParser((ModelArguments, DataArguments, QualityArguments), description=__doc__)
        names, data, args = parser.parse_args_into_dataclasses()
        prepare(args)
        model = build_student(names.model, num_frames=data.num_frames)
        freeze_blocks(model, names.trainable_blocks)
        set_drop_path(model, names.drop_path_rate)
        about = model_facts(model, names.model)
        processor = build_processor(model.config, [names.model], **data.processor_options())
        splits = load_data(data, args, processor)
        trainer = QualityTrainer(model, args, train_rows(data, args, splits), splits["validation"], processor)
    begin(trainer, splits, data, started, about)
    train(trainer)
    finish(trainer, splits, data, started, about)


if __name__ == "__main__":
    main()
