"""What a teacher makes of every view of a data set, computed once and kept on disk.

One folder per teacher and kind of views, with Parquet files of the columns key, view, features and scores. A row is
found by what was looked at: all data sets and runs share the folder, which grows by what is missing. Files appear
complete or not at all, so a kill loses at most the last `VIEWS_PER_FILE` views of each process.
"""

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from accelerate import Accelerator
from datasets import Dataset, config
from pyarrow import parquet
from torch.utils.data import DataLoader
from tqdm import tqdm
from transformers import PreTrainedModel

from ..data import augmentation
from ..data import collator as collator_module
from ..data.collator import QualityCollator, video_name
from ..data.frame_store import digest, file_key
from ..data.frames import reader_version
from ..files import json_text, replacing, write_text
from ..models import video_processing_internvideo2
from .loader_workers import end_workers


logger = logging.getLogger(__name__)

VIEWS_PER_FILE = 256

# What decides what a clip is, beside the readers.
CLIP_CODE = [module.__file__ for module in (augmentation, collator_module, video_processing_internvideo2)]

# Of a configuration, what says nothing of what the model computes.
NOT_COMPUTED = ("_name_or_path", "transformers_version", "architectures", "auto_map", "dtype", "custom_pipelines")
NOT_COMPUTED += ("score_interval", "domain")


@dataclass(frozen=True)
class TeacherOutputs:
    """What the teacher says of the views of videos: `features` (videos, views, samples, D) and `scores` (videos, views,
    samples), float32; `rows` is the place of each video, by its path."""

    rows: dict[str, int]
    features: np.ndarray
    scores: np.ndarray


class CachedTeacherCollator(QualityCollator):
    """[`QualityCollator`] that adds what the teacher said of the very clips that it makes: `teacher_features` (clips,
    D) and `teacher_scores` (clips,), from its `outputs`.

    Raises ValueError for a video that the teacher was not asked about.
    """

    outputs: TeacherOutputs | None = None

    @property
    def num_views(self) -> int:
        """How many different views of a video there are."""
        return (self.views or 1) if self.augmentation else 1

    @property
    def samples(self) -> int:
        """How many clips a view has."""
        return self.augmentation.samples if self.augmentation else 1

    def __call__(self, rows: list[dict]) -> dict[str, torch.Tensor]:
        batch = self.clips(rows)
        try:
            places = [self.outputs.rows[row["video"]] for row in rows]
        except (AttributeError, KeyError):
            raise ValueError(
                f"the teacher was not asked about all of {', '.join(row['video'] for row in rows)}: in cached mode a "
                "trainer takes no other data than those that it was made with"
            ) from None
        view = self.view % self.num_views
        batch["teacher_features"] = torch.from_numpy(self.outputs.features[places, view]).flatten(0, 1)
        batch["teacher_scores"] = torch.from_numpy(self.outputs.scores[places, view]).flatten()
        return batch

    def clips(self, rows: list[dict]) -> dict[str, torch.Tensor]:
        """The batch without the teacher."""
        return super().__call__(rows)


def ask_teacher(
    teacher: PreTrainedModel,
    dataset: Dataset,
    collator: CachedTeacherCollator,
    accelerator: Accelerator | None = None,
    cache_dir: str | os.PathLike | None = None,
    batch_size: int = 8,
    num_workers: int = 0,
) -> TeacherOutputs:
    """
    What the teacher says of every view of the rows of `dataset`, computing only what is not in the cache.

    Args:
        teacher: is moved to the accelerator's device if there is something to compute, and to the CPU afterwards.
        dataset: rows with `video`, and with `frames` where they are cached.
        collator: says what the views are: its processor, augmentation, seed and number of views.
        accelerator: the device, the precision and the processes that share the work; these must see the same folder.
        cache_dir: by default `cvqa_teacher` in the cache folder of `datasets`.
        batch_size, num_workers: how many clips a device computes at once, and the processes that read them.

    The key holds the teacher's weights and configuration, the precision, the processor's settings, augmentation, seed
    and the code of all that makes clips; and of a clip what tells its video from others (see
    `cvqa.data.frame_store.file_key`), how its frames are cached, its name in its folder, from which random places are
    drawn, and the number of the view.

    Raises `VideoError` for a video that cannot be read.
    """
    accelerator = accelerator or Accelerator()
    about = {
        "teacher": fingerprint(teacher),
        "precision": accelerator.mixed_precision,
        "processor": json.loads(collator.processor.to_json_string()),
        "augmentation": collator.augmentation and collator.augmentation.view.__name__,
        "seed": collator.seed if collator.augmentation else None,
        "code": digest([*reader_version(), *(Path(file).read_text(encoding="utf-8") for file in CLIP_CODE)]),
    }
    folder = Path(cache_dir or Path(config.HF_DATASETS_CACHE, "cvqa_teacher"), digest(about))
    folder.mkdir(parents=True, exist_ok=True)
    if accelerator.is_main_process:
        write_text(folder / "about.json", json_text(about))

    videos = list(dataset["video"])
    clips = clip_keys(dataset)
    keys = [[digest([clip, view]) for clip in clips] for view in range(collator.num_views)]
    known = {key for table in tables(folder, ["key"]) for key in table["key"].to_pylist()}
    # Shares by position: what another process has written meanwhile does not shift them.
    share = range(accelerator.process_index, len(videos), accelerator.num_processes)
    missing = [[row for row in share if view_keys[row] not in known] for view_keys in keys]
    if any(missing):
        teacher.to(accelerator.device).eval()
        batches = answers(teacher, dataset, collator, accelerator, missing, batch_size, num_workers)
        store(folder, ((keys[view][row], view, *answer) for view, row, *answer in batches))
        teacher.to("cpu")
    accelerator.wait_for_everyone()
    return read(folder, videos, keys)


@torch.inference_mode()
def answers(
    teacher: PreTrainedModel,
    dataset: Dataset,
    collator: CachedTeacherCollator,
    accelerator: Accelerator,
    missing: list[list[int]],
    batch_size: int,
    num_workers: int,
) -> Iterator[tuple[int, int, bytes, list[float]]]:
    """(view, row, float32 features of its samples, their scores) of the `missing` rows of every view."""
    epoch = int(collator.epoch)
    quiet = None if accelerator.is_main_process else True
    with tqdm(total=sum(map(len, missing)), desc="Asking the teacher", unit="clip", disable=quiet) as progress:
        loader, loaded = None, None
        for view, rows in enumerate(missing):
            if not rows:
                continue
            collator.set_epoch(view)
            if rows != loaded:  # mostly the same rows of all views: their readers need not start anew
                end_workers([loader])
                loaded = rows
                loader = DataLoader(
                    dataset.select(rows),
                    batch_size,
                    collate_fn=collator.clips,
                    num_workers=num_workers,
                    persistent_workers=num_workers > 0,
                    generator=torch.Generator(),  # it draws a number; training is to go on as if nothing had been
                )
            place = iter(rows)
            for batch in loader:
                clips = batch["pixel_values_videos"].to(accelerator.device, non_blocking=True)
                if clips.dtype == torch.uint8:
                    clips = collator.processor.pixel_values(clips)
                with accelerator.autocast():
                    output = teacher(pixel_values_videos=clips)
                features = output.quality_features.float().unflatten(0, (-1, collator.samples)).cpu().numpy()
                scores = output.logits.float().reshape(-1, collator.samples).tolist()
                yield from ((view, next(place), row.tobytes(), score) for row, score in zip(features, scores))
                progress.update(len(scores))
        end_workers([loader])
    collator.set_epoch(epoch)


def store(folder: Path, rows: Iterator[tuple[str, int, bytes, list[float]]]) -> None:
    """Write (key, view, features, scores) as they come, so many to a file; the last ones also if reading fails."""
    columns = ("key", "view", "features", "scores")
    waiting: list[tuple] = []

    def write() -> None:
        if waiting:
            table = pa.table(dict(zip(columns, map(list, zip(*waiting)))))
            with replacing(folder / f"{digest([row[0] for row in waiting])}.parquet") as partial:
                parquet.write_table(table, partial)
            waiting.clear()

    try:
        for row in rows:
            waiting.append(row)
            if len(waiting) == VIEWS_PER_FILE:
                write()
    finally:
        write()


def tables(folder: Path, columns: list[str]) -> Iterator[pa.Table]:
    """Those columns of every file that can be read; a crash of the machine can leave one that cannot."""
    for file in sorted(folder.glob("[!.]*.parquet")):
        try:
            yield parquet.read_table(file, columns=columns)
        except (pa.ArrowException, OSError) as error:
            logger.warning("%s: is damaged (%s) and left out; its clips are computed again", file, error)


def read(folder: Path, videos: list[str], keys: list[list[str]]) -> TeacherOutputs:
    places: dict[str, list[tuple[int, int]]] = {}
    for view, view_keys in enumerate(keys):
        for row, key in enumerate(view_keys):
            places.setdefault(key, []).append((row, view))
    found: dict[tuple[int, int], tuple[np.ndarray, list[float]]] = {}
    for table in tables(folder, ["key", "features", "scores"]):
        for key, features, scores in zip(*(table[name].to_pylist() for name in ("key", "features", "scores"))):
            said = np.frombuffer(features, np.float32).reshape(len(scores), -1), scores
            found.update((place, said) for place in places.get(key, ()))
    features, scores = (
        np.array([[found[row, view][part] for view in range(len(keys))] for row in range(len(videos))], np.float32)
        for part in (0, 1)
    )
    return TeacherOutputs({video: row for row, video in enumerate(videos)}, features, scores)


def fingerprint(model: PreTrainedModel) -> str:
    """Hash of the weights and of the configuration, as far as it says what is computed."""
    hashed = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        hashed.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        hashed.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    settings = {name: value for name, value in model.config.to_dict().items() if name not in NOT_COMPUTED}
    hashed.update(json.dumps(settings, sort_keys=True, default=str).encode())
    return hashed.hexdigest()[:32]


def clip_keys(dataset: Dataset) -> list[str]:
    """What identifies the frames and the name of every row."""
    with ThreadPoolExecutor() as threads:  # it mostly waits for the disk
        return list(threads.map(lambda row: clip_key(dataset[row]), range(len(dataset))))


def clip_key(row: dict) -> str:
    frames = row.get("frames")
    if isinstance(frames, bytes):
        source = hashlib.sha256(frames).hexdigest()
    else:
        # The folder of the frame cache stands for which frames of a file it keeps.
        source = [file_key(row["video"]), frames and Path(frames["file"]).parent.name]
    return digest([video_name(row["video"]), source, row.get("frames_shape"), row.get("frames_settings")])
