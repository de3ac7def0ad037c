"""The training phases of the default student: rows, frames, teacher, student."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from datasets import Dataset, DatasetDict
from transformers import PreTrainedModel, set_seed

from ..data import QualityCollator, cache_frames, check_copies, load_quality_dataset
from ..distillation import DistillationArguments, DistillationTrainer, QualityArguments, QualityTrainer
from ..distillation.averaged_weights import AveragedWeights
from ..distillation.run import DataArguments, cost_facts, last_checkpoint, model_facts, run_facts
from ..distillation.students import build_student
from ..files import json_text, write_text
from ..models import InternVideo2VideoProcessor
from .settings import Settings, Stage


# Of a row of the ladder, what training reads; the less, the faster.
TRAINING_COLUMNS = ("video", "score", "label", "content_id", "codec", "width", "height")

# Written last into the folder of a model.
RUN = "run.json"

# Between epochs the GPU waits for the loaders.
STEPS_PER_EPOCH = 250


def processes() -> PartialState:
    """This process among those that train together."""
    return PartialState(cpu=not torch.cuda.is_available())


def load_rows(ladder: Path, settings: Settings, check_files: bool = True) -> dict[str, Dataset]:
    """train, validation and test, without what is left out, and each left-out kind of the test contents as
    "column:value". Without `check_files`, the files of some rows need not be there."""
    options = {"fractions": settings.fractions, "seed": settings.split_seed, "check_files": check_files}
    splits = load_quality_dataset("ladder", ladder, **options)
    check_copies(splits)
    is_left_out = {
        name: [{kind for kind in settings.left_out.items() if row[kind[0]] == kind[1]} for row in _cells(split)]
        for name, split in splits.items()
    }
    rows = {
        name: split.select([row for row, kinds in enumerate(is_left_out[name]) if not kinds])
        for name, split in splits.items()
    }
    for kind in settings.left_out.items():
        found = [row for row, kinds in enumerate(is_left_out["test"]) if kind in kinds]
        if found:
            rows[":".join(kind)] = splits["test"].select(found)
    return rows


def _cells(split: Dataset) -> list[dict]:
    columns = [name for name in ("codec", "preset", "encoder") if name in split.column_names]
    return split.select_columns(columns).to_list()


def domain_of(train: Dataset) -> dict:
    """`domain` of a configuration."""
    sizes = [sorted(size) for size in zip(train["width"][:], train["height"][:])]
    short, long = zip(*sizes)
    rates = [float(rate) for rate in train["fps"][:]]
    ranges = {"short_side": short, "long_side": long, "fps": rates}
    return {name: [min(values), max(values)] for name, values in ranges.items()}


def training_processor(settings: Settings, crop: int) -> InternVideo2VideoProcessor:
    """One native crop of a few frames spread over the clip."""
    return _processor(settings, crop, crop)


def shipped_processor(settings: Settings) -> InternVideo2VideoProcessor:
    """The same frames, seen as a whole: native fragments from all over the frame."""
    return _processor(settings, settings.view, settings.fragment)


def _processor(settings: Settings, crop: int, fragment: int) -> InternVideo2VideoProcessor:
    return InternVideo2VideoProcessor(
        num_frames=settings.num_frames,
        frame_sampling="uniform",
        spatial_mode="fragments",
        size={"shortest_edge": crop},
        crop_size={"height": crop, "width": crop},
        fragment_size=fragment,
        patch_size=32,
        orientations=settings.orientations,
    )


def load_frames(rows: dict[str, Dataset], settings: Settings, cache: Path, workers: int | None) -> DatasetDict:
    """train and validation with their frames, decoded where the cache does not have them yet."""
    processor = shipped_processor(settings)  # whatever is cut out of them
    with processes().main_process_first():
        return DatasetDict(
            {
                name: cache_frames(
                    rows[name].select_columns(list(TRAINING_COLUMNS)),
                    processor,
                    cache,
                    windows=settings.windows if name == "train" else 1,
                    num_proc=workers or None,
                )
                for name in ("train", "validation")
            }
        )


def train_teacher(data: DatasetDict, settings: Settings, folder: Path, workers: int) -> None:
    """A large network on the labels alone; saved in `folder`."""

    def trainer_of(model: PreTrainedModel, stage: Stage, options: dict) -> QualityTrainer:
        arguments = QualityArguments(loss_weights=settings.teacher_loss, **options)
        return QualityTrainer(model, arguments, **_data(data, settings, stage))

    _train(trainer_of, settings.teacher, settings.teacher_stages, data, settings, folder, workers)


def train_student(data: DatasetDict, settings: Settings, teacher: Path, folder: Path, workers: int) -> None:
    """The student on labels and what the frozen teacher makes of the same clips; saved in `folder` as float16."""
    taught_by = build_student(str(teacher)).to(memory_format=torch.channels_last)

    def trainer_of(model: PreTrainedModel, stage: Stage, options: dict) -> DistillationTrainer:
        arguments = DistillationArguments(teacher_mode="frozen", loss_weights=settings.student_loss, **options)
        return DistillationTrainer(model, arguments, teacher=taught_by, **_data(data, settings, stage))

    facts = {"mode": "frozen", **model_facts(taught_by, settings.teacher)}
    stages = settings.student_stages
    _train(trainer_of, settings.student, stages, data, settings, folder, workers, facts, torch.float16)


def _train(
    trainer_of: Callable[[PreTrainedModel, Stage, dict], QualityTrainer],
    start: str,
    stages: Sequence[Stage],
    data: DatasetDict,
    settings: Settings,
    folder: Path,
    workers: int,
    teacher: dict | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Train stage by stage, each from its last checkpoint if there is one, and leave model, shipped processor and facts
    in `folder`. Several processes train one model together; the first of them writes."""
    started, state = time.time(), processes()
    set_seed(settings.seed)
    model = build_student(start, num_frames=settings.num_frames, image_size=settings.view, **settings.network)
    for number, stage in enumerate(stages, start=1):
        done = folder / f"stage{number}"
        if done.is_dir():
            model = build_student(str(done))
            continue
        model = model.to(memory_format=torch.channels_last)  # as the clips lie; on a GPU convolutions are faster so
        trainer = trainer_of(model, stage, _options(settings, stage, folder / f"checkpoints{number}", workers))
        trainer.add_callback(AveragedWeights(settings.averaging))
        trainer.train(resume_from_checkpoint=last_checkpoint(trainer.args.output_dir))
        model = trainer.models()[0].to(memory_format=torch.contiguous_format)
        if stage is not stages[-1] and state.is_main_process:
            partial = done.with_name(f".{done.name}.part")
            model.save_pretrained(partial)
            partial.rename(done)
    if state.is_main_process:
        processor = shipped_processor(settings)
        model.config.image_size = settings.view
        facts = run_facts(trainer, data, DataArguments(split_seed=settings.split_seed), started)
        facts |= {"stages": [asdict(stage) for stage in stages], "teacher": teacher}
        facts |= {"model": model_facts(model, start), "cost": cost_facts(model, processor)}
        facts["data"]["left_out"] = [f"{column} {value}" for column, value in settings.left_out.items()]
        folder.mkdir(parents=True, exist_ok=True)
        processor.save_pretrained(folder)
        model.to(dtype).save_pretrained(folder)
        write_text(folder / RUN, json_text(facts))  # last: it says that the phase is done
    state.wait_for_everyone()


def _data(data: DatasetDict, settings: Settings, stage: Stage) -> dict:
    shown = QualityCollator(shipped_processor(settings), as_uint8=True)
    return {
        "train_dataset": repeated(data["train"], -(-STEPS_PER_EPOCH * stage.batch_size // len(data["train"]))),
        "eval_dataset": data["validation"],
        "processing_class": training_processor(settings, stage.crop),
        "eval_data_collator": shown,
    }


def repeated(rows: Dataset, times: int) -> Dataset:
    """The rows so many times, each time to be augmented in another way."""
    several = rows.select(list(range(len(rows))) * times)
    return several.add_column("repeat", np.repeat(np.arange(times), len(rows)))


def _options(settings: Settings, stage: Stage, checkpoints: Path, workers: int) -> dict:
    every = max(stage.steps // settings.evaluations, 1)
    is_cuda, number = torch.cuda.is_available(), processes().num_processes
    if stage.batch_size % number:
        raise ValueError(f"a batch of {stage.batch_size} clips cannot be shared evenly by {number} processes")
    workers //= number
    return {
        "output_dir": str(checkpoints),
        "augment": "luma",
        "seed": settings.seed,
        "learning_rate": stage.learning_rate,
        "max_steps": every * max(stage.steps // every, 1),  # the last step is evaluated
        "per_device_train_batch_size": stage.batch_size // number,
        "per_device_eval_batch_size": settings.eval_batch_size,
        "warmup_steps": 0.05,
        "eval_strategy": "steps",
        "save_strategy": "steps",
        "eval_steps": every,
        "save_steps": every,
        "save_total_limit": 1,
        "logging_steps": min(100, every),
        "bf16": is_cuda,
        "use_cpu": not is_cuda,
        "ddp_find_unused_parameters": False,
        "dataloader_num_workers": workers,
        "dataloader_persistent_workers": workers > 0,
        "dataloader_prefetch_factor": 2 if workers else None,
        "disable_tqdm": True,
    }
