"""Carrying out a comparison: every run of an experiment trained, chosen on validation, and asked about the test split.

output/
  <student>/<arm>/seed0-split0/   one run: a model folder with run.json and predictions.csv
  teacher/<teacher>/split0/       likewise
  costs.json                      parameters, operations and latency of every model
  results/                        what `comparison_report` makes of all that
"""

import gc
import json
import logging
import math
import multiprocessing
import os
import shutil
import sys
import time
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

import torch
from datasets import DatasetDict
from tqdm import tqdm
from transformers import PreTrainedModel, PrinterCallback, TrainerCallback

from ..data import QualityCollator, get_scale
from ..data.augmentation import AUGMENTATIONS
from ..data.splits import fingerprint
from ..evaluation.predict import native_predictions, predict_dataset
from ..files import csv_text, json_text, write_text
from ..models import InternVideo2VideoProcessor
from .arguments import DistillationArguments, QualityArguments
from .experiment import TEACHER, Experiment, Run
from .loader_workers import default_workers
from .presets import PRESETS
from .quality_trainer import QualityTrainer
from .run import (
    DataArguments,
    cost_facts,
    last_checkpoint,
    load_splits,
    model_facts,
    prepare,
    run_facts,
)
from .students import build_processor, build_student
from .trainer import DistillationTrainer
from .work_pool import work_pool


RUN, PREDICTIONS, SETTINGS, CHECKPOINTS = "run.json", "predictions.csv", "settings.json", "checkpoints"
COSTS = "costs.json"
DONE, OUT_OF_TIME = "done", "out of time"
PREDICTION_COLUMNS = ("file", "content_id", "codec", "score", "prediction")
VIEW = ("num_frames", "frame_sampling", "frame_stride", "spatial_mode", "fragment_size", "size", "crop_size")


class OutOfTime(Exception):
    """Training stopped at a checkpoint because its time was over."""


def carry_out(
    experiment: Experiment, output: str | os.PathLike, jobs: int = 1, time_limit: float | None = None
) -> dict[str, str]:
    """Do all runs of the experiment that are not done yet.

    Args:
        output: folder of the comparison. Finished runs in it are left as they are, interrupted ones go on from their
            last checkpoint.
        jobs: runs at a time, spread over the GPUs. Small models do not fill one.
        time_limit: seconds after which no run starts, and those in training stop at a checkpoint.

    Returns the error of each run that failed, by name. The others are done, or wait for the next call: see `is_done`.

    Raises ValueError if the folder holds runs with other settings or other data.
    """
    deadline = math.inf if time_limit is None else time.time() + time_limit
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    runs = experiment.runs()
    waiting = [run for run in runs if not is_done(output, run)] if time.time() < deadline else []
    failed: dict[str, str] = {}
    with work_pool(jobs if waiting else 1, partial(work, output=output, deadline=deadline, jobs=jobs)) as pool:
        if waiting:  # the processes are starting meanwhile
            for run in {data_key(run): run for run in runs}.values():
                splits_of(run)  # decodes what is missing, with all cores
        for run in runs:
            check_settings(output, run, with_data=bool(waiting))
        subjects = {subject_of(run): run for run in runs}
        if waiting and not subjects.keys() <= costs_of(output).keys():
            # Alone, or the latency would be that of a busy machine.
            for _, _, error in pool.run([tuple(subjects.values())]):
                if error is not None:
                    raise ValueError(f"cannot measure the models: {error}")
        done = {run.name for run in runs if is_done(output, run)}
        waiting = in_order(waiting, runs, costs_of(output))

        def is_ready(run: Run) -> bool:
            may_start = run.needs in (None, *done) and run.after in (None, *done, *failed)
            return may_start and time.time() < deadline

        with tqdm(total=len(waiting), desc="runs", unit="run", disable=None) as progress:
            for run, status, error in pool.run(waiting, is_ready):
                if error is not None:
                    failed[run.name] = error
                elif status == DONE:
                    done.add(run.name)
                tqdm.write(f"{run.name}: {error or status + outcome(output, run)}", file=sys.stderr)
                progress.update()
    return failed


def in_order(waiting: Sequence[Run], runs: Sequence[Run], costs: dict) -> list[Run]:
    """The order to start in, as far as runs are ready: teachers, for whom others wait; runs that keep the cores busy
    rather than a GPU; then seed by seed, so that an early end leaves whole seeds, of which those first that ask a
    teacher for others, then the longest, so that no GPU waits for a last one."""
    by_name = {run.name: run for run in runs}
    awaited = {run.after for run in runs}

    def operations(run: Run) -> float:
        """Relative to that of other runs of the same batch size."""
        steps = run.training.get("max_steps") or run.training.get("num_train_epochs", 1)
        asked = by_name.get(run.needs) if run.training.get("teacher_mode") != "cached" else None
        return steps * sum(costs[subject_of(one)]["macs"] for one in (run, asked) if one)

    def place(run: Run) -> tuple:
        # Augmenting frames of native size takes longer than any model.
        return run.role != TEACHER, not is_native(run), run.seed, run.name not in awaited, -operations(run)

    return sorted(waiting, key=place)


def outcome(output: Path, run: Run) -> str:
    if not is_done(output, run):
        return ""
    facts = json.loads((output / run.name / RUN).read_text(encoding="utf-8"))
    srcc = facts["best_validation_srcc"]
    return f" in {facts['seconds']:.0f} s" + (f", validation SRCC {srcc:.3f}" if srcc is not None else "")


def is_done(output: Path, run: Run) -> bool:
    return (output / run.name / RUN).is_file()


def check_settings(output: Path, run: Run, with_data: bool) -> None:
    """Raises ValueError if the folder of the run was made with other settings or data than it would be now."""
    path = output / run.name / SETTINGS
    if not path.is_file():
        return
    before, now = json.loads(path.read_text(encoding="utf-8")), settings_of(run) if with_data else run.facts()
    for key, value in now.items():
        if before.get(key) != value:
            raise ValueError(
                f"{output / run.name}: was made with {key} {before.get(key)!r}, now it is {value!r}; remove that "
                "folder, or choose another one for the comparison"
            )


def settings_of(run: Run) -> dict:
    return run.facts() | {"fingerprint": fingerprint(splits_of(run))}


def work(task: "Run | tuple[Run, ...]", output: Path, deadline: float, jobs: int) -> str:
    """What a process of the pool does: a run, or the costs of the models of several."""
    if jobs > 1:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // jobs))
    logging.getLogger("cvqa").setLevel(logging.WARNING)
    if isinstance(task, tuple):
        return measure_costs(task, output)
    try:
        perform(task, output, deadline, jobs)
    except OutOfTime:
        return OUT_OF_TIME
    finally:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # the next run, or another process, may need it
    return DONE


def perform(run: Run, output: Path, deadline: float, jobs: int = 1) -> None:
    """Train a model, keep the best by validation, predict the test split, and leave all in the folder of the run."""
    started = time.time()
    folder = output / run.name
    folder.mkdir(parents=True, exist_ok=True)
    args = arguments(run, folder / CHECKPOINTS, jobs)
    prepare(args)
    splits = splits_of(run)
    write_text(folder / SETTINGS, json_text(settings_of(run)))
    # The student first: what it starts from depends on its seed, and on nothing else.
    model = build(run)
    teacher_folder = None if run.teacher is None else output / run.needs if run.needs else Path(run.teacher)
    teacher = None if teacher_folder is None else load_teacher(teacher_folder, run)
    about_teacher = teacher and facts_of(teacher, str(teacher_folder)) | ({"start": run.needs} if run.needs else {})
    trainer = make_trainer(run, model, args, splits, teacher)
    del teacher  # a cached one is not needed any more
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(StopInTime(deadline))
    if not run.is_trained:
        check_teacher(Path(run.model), splits)
    else:
        trainer.train(resume_from_checkpoint=args.resume_from_checkpoint)
    trained = time.time()
    trainer.save_model(str(folder))
    write_text(folder / PREDICTIONS, csv_text(PREDICTION_COLUMNS, predict(run, trainer.models()[0], args)))
    facts = run_facts(trainer, splits, DataArguments(**run.data), started) | {
        "run": run.facts(),
        "model": facts_of(trainer.models()[0], run.model),
        "teacher": about_teacher,
        "seconds_training": round(trained - started, 1),
        "history": [entry for entry in trainer.state.log_history if "eval_srcc" in entry or "loss" in entry],
    }
    write_text(folder / RUN, json_text(finite(facts)))
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def facts_of(model: PreTrainedModel, name: str) -> dict:
    backbone = getattr(model.config, "backbone_config", model.config)
    return model_facts(model, name) | {"family": backbone.model_type}


def arguments(run: Run, checkpoints: Path, jobs: int = 1) -> QualityArguments:
    """The arguments of its trainer, one of `jobs` at a time, going on from the last checkpoint if there is one."""
    kind = DistillationArguments if run.is_distilled else QualityArguments
    workers = run.training.get("dataloader_num_workers", default_workers(jobs))
    loading = {"dataloader_num_workers": workers, "dataloader_persistent_workers": workers > 0}
    return kind(
        output_dir=str(checkpoints),
        seed=run.seed,
        disable_tqdm=True,
        resume_from_checkpoint="last" if last_checkpoint(checkpoints) else None,
        **loading | run.training,
    )


def make_trainer(
    run: Run, model, args: QualityArguments, splits: DatasetDict, teacher: PreTrainedModel | None
) -> QualityTrainer:
    processor = processor_of(run)
    processor.patch_size = model.config.patch_size
    is_mosaic = processor.spatial_mode == "fragments" and processor.fragment_size < processor.crop_size.height
    if is_mosaic and processor.fragment_size % processor.patch_size:
        raise ValueError(
            f"fragments of {processor.fragment_size} pixels are no multiple of the patches of {run.model}, "
            f"{processor.patch_size} pixels: tokens would straddle seams"
        )
    if teacher is None:
        return QualityTrainer(model, args, splits["train"], splits["validation"], processor)
    return DistillationTrainer(model, args, splits["train"], splits["validation"], processor, teacher=teacher)


def load_teacher(folder: Path, run: Run) -> PreTrainedModel:
    """Raises ValueError for one that has learnt from another split, or from other pixels than its student will see."""
    check_teacher(folder, splits_of(run))
    teacher = build_student(str(folder))
    learnt, now = build_processor(teacher.config, [str(folder)]), processor_of(run)
    for name in VIEW:
        if getattr(learnt, name) != getattr(now, name):
            raise ValueError(
                f"{folder}: this teacher learnt with {name} {getattr(learnt, name)}, the comparison says "
                f"{getattr(now, name)}"
            )
    return teacher


def check_teacher(folder: Path, splits: DatasetDict) -> None:
    """Raises ValueError if the teacher says that it was trained on another split: it may know the test contents."""
    if not (folder / RUN).is_file():
        return
    data = json.loads((folder / RUN).read_text(encoding="utf-8")).get("data", {})
    if data.get("fingerprint") != fingerprint(splits):
        raise ValueError(
            f"{folder}: this teacher was trained on another split, it may have seen the test contents; "
            "give one of the same data and split seed, or a size that is trained first"
        )


def build(run: Run) -> PreTrainedModel:
    """The model that a run trains, as it starts."""
    if not run.is_trained:
        return build_student(run.model)
    return build_student(run.model, num_frames=run.data.get("num_frames"), image_size=run.image_size, **run.config)


def processor_of(run: Run) -> InternVideo2VideoProcessor:
    """The same for all models that are compared: they look at the same pixels. Whose patches fit is seen later."""
    side = run.image_size or InternVideo2VideoProcessor.size["shortest_edge"]
    options = DataArguments(**run.data).processor_options()
    return InternVideo2VideoProcessor(
        size={"shortest_edge": side},
        crop_size={"height": side, "width": side},
        patch_size=options.get("fragment_size", InternVideo2VideoProcessor.patch_size),
        **options,
    )


def is_native(run: Run) -> bool:
    """Whether its augmentation needs frames as decoded."""
    augment = run.training.get("augment")
    if augment is None:  # as the arguments fill it in; making them here would take hold of the GPU
        preset = run.training.get("preset", DistillationArguments.preset)
        augment = PRESETS[preset].augment if run.is_distilled else QualityArguments.augment
    return augment in AUGMENTATIONS and AUGMENTATIONS[augment].native


def data_key(run: Run) -> str:
    return json.dumps([run.data, run.split_seed, run.image_size, is_native(run)], sort_keys=True)


def splits_of(run: Run) -> DatasetDict:
    """The data that a run trains on and is tested on, with cached frames; kept for the next run in this process."""
    return _splits(data_key(run))


@lru_cache(maxsize=8)
def _splits(key: str) -> DatasetDict:
    data, split_seed, image_size, native = json.loads(key)
    run = Run("", "", "", "", 0, split_seed, "", image_size=image_size, data=data)
    splits = load_splits(DataArguments(**data, split_seed=split_seed), processor_of(run), native)
    if "test" not in splits:
        raise ValueError("the data set has no test rows; a comparison needs them")
    return splits


def predict(run: Run, model: PreTrainedModel, args: QualityArguments) -> list[dict]:
    """The test split with the predictions on the native scale of its scores, NaN for a video that cannot be read."""
    split = splits_of(run)["test"]
    scale = get_scale(split)
    total = 0
    for view in range(run.test_views):
        # From a fixed seed, not that of the run: all models look at the same places.
        collator = QualityCollator(processor_of(run), augment="quality" if view else None, seed=0)
        collator.set_epoch(view)
        # A test split is soon read; it takes longer to start a process for it.
        batch_size, workers = args.per_device_eval_batch_size, min(args.dataloader_num_workers, 2)
        logits = predict_dataset(model, split, collator, batch_size, args.device, workers)
        total = total + native_predictions(logits, model.config, scale)
    files = [Path(video).name for video in split["video"]]
    columns = [files, *(split[name][:] for name in PREDICTION_COLUMNS[1:-1]), (total / run.test_views).tolist()]
    return [dict(zip(PREDICTION_COLUMNS, values)) for values in zip(*columns)]


def subject_of(run: Run) -> str:
    """What a model costs depends on no seed: the name of its architecture and its view."""
    return json.dumps([run.model, run.config, run.image_size, run.data.get("num_frames")], sort_keys=True)


def costs_of(output: Path) -> dict:
    """What `measure_costs` found, by `subject_of`."""
    path = output / COSTS
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def measure_costs(runs: tuple[Run, ...], output: Path) -> str:
    costs = {}
    for run in runs:
        args = arguments(run, output / run.name / CHECKPOINTS)
        costs[subject_of(run)] = cost_facts(build(run).to(args.device), processor_of(run))
    write_text(output / COSTS, json_text(costs))
    return DONE


def finite(value):
    """The same value with None for NaN and infinity, as JSON wants it."""
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class StopInTime(TrainerCallback):
    """Ends training with a checkpoint when its time is over, or when the process that asked for it is gone."""

    def __init__(self, deadline: float):
        self.deadline = deadline
        self.is_over = False

    def on_step_end(self, args, state, control, **kwargs):
        parent = multiprocessing.parent_process()
        self.is_over = time.time() > self.deadline or (parent is not None and not parent.is_alive())
        control.should_save = control.should_save or self.is_over

    def on_save(self, args, state, control, **kwargs):
        if self.is_over:
            raise OutOfTime
