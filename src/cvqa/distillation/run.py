"""What the training scripts share: data from the command line, and what a run leaves behind."""

import contextlib
import json
import logging
import math
import os
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import torch
from datasets import Dataset, DatasetDict, concatenate_datasets, disable_progress_bars
from transformers import AutoModel, PreTrainedModel, set_seed
from transformers.utils import logging as transformers_logging

from ..data import StreamedVideos, cache_frames, check_copies, get_scale, load_quality_dataset
from ..data.augmentation import AUGMENTATIONS
from ..data.splits import fingerprint
from ..evaluation import evaluate_dataset, save_report, text_table
from ..evaluation.cost import count_macs, machine, measure_latency
from ..files import json_text, write_text
from ..hub.model_card import model_card
from ..hub.push import HubError
from ..models import InternVideo2VideoProcessor
from .arguments import QualityArguments
from .quality_trainer import QualityTrainer
from .students import is_place


logger = logging.getLogger(__name__)

PROCESSOR_OPTIONS = ("num_frames", "frame_sampling", "frame_stride", "spatial_mode", "fragment_size", "orientations")


@dataclass
class DataArguments:
    """The scored videos and how the model looks at them."""

    dataset: str = field(
        default="ladder", metadata={"help": "Name of a data set (ladder, csv, ...) or path of a table."}
    )
    data_dir: str | None = field(default=None, metadata={"help": "Where the data set lies."})
    dataset_options: dict | str | None = field(
        default=None, metadata={"help": 'Options of its loader, a JSON object such as {"score_min": 1}.'}
    )
    split_seed: int = field(default=0, metadata={"help": "Which split by content."})
    cache_frames: bool = field(default=True, metadata={"help": "Decode every video once and keep the sampled frames."})
    cache_dir: str | None = field(default=None, metadata={"help": "Folder of the frame cache."})
    cache_limit: float | None = field(default=None, metadata={"help": "Refuse to cache more than so many GB."})
    max_pixels: int | None = field(default=None, metadata={"help": "Cache this part of larger frames, unscaled."})
    regions: int = field(default=1, metadata={"help": "Cached parts per training video, with max_pixels."})
    stream: bool = field(
        default=False, metadata={"help": "No cache: decode while training, for sets larger than the disk."}
    )
    windows: int = field(default=1, metadata={"help": "Cached sets of frames per training video to choose from."})
    num_frames: int | None = field(default=None, metadata={"help": "Frames that the model sees."})
    frame_sampling: str | None = field(default=None, metadata={"help": "uniform or window."})
    frame_stride: int | None = field(default=None, metadata={"help": "Stride of the frames of a window."})
    spatial_mode: str | None = field(default=None, metadata={"help": "resize or fragments."})
    unlabelled: str | None = field(
        default=None, metadata={"help": "Folder of videos without scores, to distil on beside the training videos."}
    )
    fragment_size: int | None = field(
        default=None, metadata={"help": "Side of a native-resolution fragment in pixels."}
    )
    orientations: int | None = field(
        default=None,
        metadata={"help": "In how many orientations a score looks at a video, 1 to 4; 4 suits --augment luma."},
    )

    def __post_init__(self):
        if isinstance(self.dataset_options, str):
            try:
                self.dataset_options = json.loads(self.dataset_options)
            except ValueError as error:
                raise ValueError(f"dataset_options {self.dataset_options!r} is not a JSON object: {error}") from error

    def processor_options(self) -> dict:
        """The options of the processor that were given."""
        return {name: getattr(self, name) for name in PROCESSOR_OPTIONS if getattr(self, name) is not None}


def prepare(args: QualityArguments) -> None:
    """Before anything else: refuse runs that would go wrong quietly, find the checkpoint to resume, seed.

    `args.resume_from_checkpoint` may be "last".
    """
    if args.world_size == 1 and int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise ValueError(
            f"{os.environ['WORLD_SIZE']} processes were started but do not see each other, each would train its own "
            "model. On the CPU start them with ACCELERATE_USE_CPU=true in the environment."
        )
    last = last_checkpoint(args.output_dir)
    if last and not args.resume_from_checkpoint:
        raise ValueError(
            f"{args.output_dir} holds checkpoints of an earlier run: go on with --resume_from_checkpoint last, or "
            "choose another --output_dir"
        )
    if args.resume_from_checkpoint == "last":
        args.resume_from_checkpoint = last
        if last is None:
            logger.warning("%s holds no complete checkpoint, starting anew", args.output_dir)
    elif args.resume_from_checkpoint and not Path(args.resume_from_checkpoint, "trainer_state.json").is_file():
        raise ValueError(f"{args.resume_from_checkpoint}: is not a complete checkpoint, trainer_state.json is missing")
    if args.device.type == "cpu":
        args.dataloader_pin_memory = False  # there is nothing to pin it for, and torch warns at every loader
    if not sys.stderr.isatty():
        transformers_logging.disable_progress_bar()
        disable_progress_bars()
        args.disable_tqdm = True
    set_seed(args.seed)


def load_data(data: DataArguments, args: QualityArguments, processor: InternVideo2VideoProcessor) -> DatasetDict:
    """`load_splits`; the main process decodes, the others read what it left."""
    with args.main_process_first(desc="caching frames"):
        native = args.augment != "none" and AUGMENTATIONS[args.augment].native
        return load_splits(data, processor, native)


def load_splits(data: DataArguments, processor: InternVideo2VideoProcessor, native: bool = False) -> DatasetDict:
    """Splits by content with cached frames, `native` where the augmentation needs that."""
    splits = load_quality_dataset(data.dataset, data.data_dir, seed=data.split_seed, **(data.dataset_options or {}))
    missing = [name for name in ("train", "validation") if name not in splits]
    if missing:
        raise ValueError(f"the data set has no {' and no '.join(missing)} rows; training needs both")
    if data.unlabelled:
        splits["train"] = concatenate_datasets([splits["train"], unlabelled_videos(data.unlabelled)])
    check_copies(splits)
    if data.stream or not data.cache_frames:
        return splits
    limit = data.cache_limit and 1e9 * data.cache_limit
    common = {"max_pixels": data.max_pixels, "native": native, "max_bytes": limit}
    several = {"windows": data.windows, "regions": data.regions}
    return DatasetDict(
        {
            name: cache_frames(split, processor, data.cache_dir, **common, **(several if name == "train" else {}))
            for name, split in splits.items()
        }
    )


def train_rows(data: DataArguments, args: QualityArguments, splits: DatasetDict) -> Dataset | StreamedVideos:
    """What the trainer trains on."""
    train = splits["train"]
    if not data.stream:
        return train
    return StreamedVideos(train, args.train_batch_size, args.seed, args.process_index, args.world_size)


def unlabelled_videos(folder: str | os.PathLike) -> Dataset:
    """Rows with the `video` of every file in `folder` and below, and nothing else; those that are no video are left out
    when their frames are cached.

    Copies of a test video are found (`check_copies`); other encodes of its content cannot be: keep them out.

    Raises ValueError for a folder without files.
    """
    files = sorted(str(path.resolve()) for path in Path(folder).rglob("[!.]*") if path.is_file())
    if not files:
        raise ValueError(f"{folder}: holds no files, so there is nothing to distil on without scores")
    return Dataset.from_dict({"video": files})


def last_checkpoint(folder: str | os.PathLike) -> str | None:
    """The newest checkpoint in `folder` that was written to the end, or None."""
    checkpoints = [path.parent for path in Path(folder).glob("checkpoint-*/trainer_state.json") if is_json(path)]
    return str(max(checkpoints, key=lambda path: int(path.name.split("-")[-1]))) if checkpoints else None


def is_json(path: Path) -> bool:
    """Trainer writes its state last, but not at once: a kill can leave half of it."""
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")))
    except ValueError:
        return False


def begin(
    trainer: QualityTrainer,
    splits: DatasetDict,
    data: DataArguments,
    started: float,
    model: dict,
    teacher: dict | None = None,
) -> None:
    """Write `run.json` with what is known before training, so that a run that was stopped can be told, too.

    Args:
        model, teacher: their `model_facts`.
    """
    if trainer.is_world_process_zero():
        facts = run_facts(trainer, splits, data, started) | models_facts(trainer, model, teacher)
        write_text(Path(trainer.args.output_dir) / "run.json", json_text(facts))


def train(trainer: QualityTrainer) -> None:
    """Train, from `args.resume_from_checkpoint` if there is one; a stop by the user says how to go on."""
    try:
        trainer.train(resume_from_checkpoint=trainer.args.resume_from_checkpoint)
    except KeyboardInterrupt:
        print("stopped; the same command with --resume_from_checkpoint last goes on", file=sys.stderr)
        sys.exit(130)


def finish(
    trainer: QualityTrainer,
    splits: DatasetDict,
    data: DataArguments,
    started: float,
    model: dict,
    teacher: dict | None = None,
) -> None:
    """Save the model, evaluate it on the test split with a report in `test/`, and write `run.json` and the card.

    Args:
        model, teacher: their `model_facts`.
    """
    folder = Path(trainer.args.output_dir)
    trainer.save_model(str(folder), _internal_call=True)  # not to be published yet
    peak = peak_gpu_memory(trainer)
    if trainer.is_world_process_zero():
        figures, trained = {}, trainer.models()[0]
        if trainer.is_fsdp_enabled:  # a part of it here would wait for the other processes
            trained = AutoModel.from_pretrained(folder, dtype=torch.float32).to(trainer.args.device)
        if "test" in splits:
            summary, rows = evaluate_dataset(
                trained,
                trainer.processing_class,
                splits["test"],
                model_name=folder.name,
                dataset_name=Path(data.dataset).name,
                batch_size=trainer.args.per_device_eval_batch_size,
                device=trainer.args.device,
                num_workers=trainer.args.dataloader_num_workers,
            )
            print(text_table(summary))
            save_report(folder / "test", summary, [{**row, "file": public_path(row["file"])} for row in rows])
            figures = {figure.metric: figure.value for figure in summary.figures if figure.subset == "all"}
        facts = run_facts(trainer, splits, data, started) | models_facts(trainer, model, teacher)
        facts |= {
            "peak_gpu_memory_gib": peak,
            "cost": cost_facts(trained, trainer.processing_class),
            "test": figures,
        }
        write_text(folder / "run.json", json_text(facts))
        write_text(folder / "README.md", model_card(folder, trainer.args.hub_model_id))
        logger.info("saved the model, run.json and test/ in %s", folder)
    trainer.accelerator.wait_for_everyone()
    if trainer.args.push_to_hub:
        try:
            trainer.push_to_hub()
        except (HubError, ValueError, OSError) as error:
            sys.exit(f"{error}; the model is saved: python scripts/push_to_hub.py {folder} {trainer.hub_model_id}")
    trainer.accelerator.end_training()


def peak_gpu_memory(trainer: QualityTrainer) -> float | None:
    """GiB allocated at most on the fullest GPU; to be called on every process."""
    device = trainer.args.device
    if device.type != "cuda":
        return None
    peak = torch.tensor([torch.cuda.max_memory_allocated()], dtype=torch.float64, device=device)
    return round(trainer.accelerator.gather(peak).max().item() / 2**30, 1)


def models_facts(trainer: QualityTrainer, model: dict, teacher: dict | None) -> dict:
    return {"model": model, "teacher": teacher and {"mode": trainer.args.teacher_mode, **teacher}}


def run_facts(trainer: QualityTrainer, splits: DatasetDict, data: DataArguments, started: float) -> dict:
    """What it takes to tell two runs apart and to repeat one; no absolute paths."""
    args, best, best_srcc = trainer.args, trainer.state.best_model_checkpoint, trainer.state.best_metric
    packages = ("cvqa", "torch", "transformers", "accelerate", "datasets", "av")
    scale = get_scale(splits["train"])
    is_cuda = args.device.type == "cuda"
    trained = next((entry for entry in reversed(trainer.state.log_history) if "train_runtime" in entry), {})
    return {
        "command": [public_argument(argument) for argument in sys.argv],
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "seconds": round(time.time() - started, 1),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
        "device": torch.cuda.get_device_name() if is_cuda else args.device.type,
        "processes": args.world_size,
        "sharded": trainer.is_fsdp_enabled,
        "mixed_precision": trainer.accelerator.mixed_precision,
        "seed": args.seed,
        "split_seed": data.split_seed,
        "clips_per_update": args.clips_per_update,
        "learning_rate": args.learning_rate,
        "epochs": args.num_train_epochs,
        "steps": trainer.state.global_step,
        "clips_per_second": trained.get("train_samples_per_second"),
        "peak_gpu_memory_gib": round(torch.cuda.max_memory_allocated() / 2**30, 1) if is_cuda else None,
        "loss_weights": {name: args.loss_weights[name] for name in trainer.loss.parts},
        "best_checkpoint": best and Path(best).name,
        "best_validation_srcc": best_srcc if best_srcc is not None and math.isfinite(best_srcc) else None,
        "data": {
            "dataset": Path(data.dataset).name,
            "scale": scale.as_config(),
            "videos": {name: len(split) for name, split in splits.items()},
            "contents": {name: len(set(filter(None, split["content_id"]))) for name, split in splits.items()},
            "unlabelled": sum(label is None for label in splits["train"]["label"]),
            "fingerprint": fingerprint(splits),
            "codecs": sorted(set(filter(None, splits["train"]["codec"]))),
            "resolutions": resolutions(splits["train"]),
        },
    }


def model_facts(model: PreTrainedModel, name: str) -> dict:
    """Where its weights came from, by the name on the Hub if from there, and how many there are."""
    start = public_path(name) if is_place(name) else f"random weights, size {name}"
    repository = name if is_place(name) and not Path(name).exists() else None
    return {
        "start": start,
        "repository": repository,
        "class": type(model).__name__,
        "parameters": model.num_parameters(),
    }


def cost_facts(model: PreTrainedModel, processor) -> dict:
    """What one clip costs, measured here and now."""
    size = (processor.num_frames, processor.crop_size.height)
    device = next(model.parameters()).device
    return {
        "parameters": model.num_parameters(),
        "macs": count_macs(model, *size),
        "clip": f"{size[0]} frames of {processor.crop_size.width}x{size[1]}",
        "latency_ms": round(measure_latency(model, *size), 2),
        "machine": machine(device),
    }


def resolutions(split) -> list[str]:
    """The sizes of the videos, as "1920x1080"; unknown ones are left out."""
    sizes = sorted({(width, height) for width, height in zip(split["width"], split["height"]) if width and height})
    return [f"{width}x{height}" for width, height in sizes]


def public_argument(argument: str) -> str:
    """A command line argument, also of the form --name=value, without the private part of an absolute path."""
    name, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    return name + equals + public_path(value)


def public_path(path: str) -> str:
    """Relative paths as they are; absolute ones relative to the working directory, or only the name outside it."""
    if not Path(path).is_absolute():
        return path
    with contextlib.suppress(ValueError):
        return str(Path(path).relative_to(Path.cwd()))
    return Path(path).name


@contextlib.contextmanager
def wrong_input_in_one_line(program: str) -> Iterator[None]:
    """Say in one line what is wrong with the input and leave with exit code 2."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        yield
    except (ValueError, OSError, HubError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        sys.exit(2)
