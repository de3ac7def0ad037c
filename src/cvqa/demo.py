"""`cvqa demo`: the whole path on real video in a few minutes, on a CPU and without the network.

Photographs that scikit-image brings become clips, real encoders make a ladder of them, VMAF labels it; a small
teacher is trained on it and distilled into a smaller student; both are evaluated on photographs that neither has seen,
and the student scores a new encode at falling quality, beside the one that comes with the package.
"""

import contextlib
import logging
import os
import shutil
import sys
import time
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path

import torch
from datasets import DatasetDict
from datasets.utils.logging import disable_progress_bar
from tqdm import tqdm
from transformers import PrinterCallback, TrainerCallback, set_seed
from transformers.utils import logging as transformers_logging

from .data import build_ladder, cache_frames, load_quality_dataset
from .distillation import DistillationArguments, DistillationTrainer, QualityArguments, QualityTrainer
from .evaluation import Summary, evaluate_dataset, markdown_table, save_report, text_table
from .files import replacing, write_text
from .inference import VideoScorer
from .models import InternVideo2Config, InternVideo2ForVideoQualityAssessment, InternVideo2VideoProcessor
from .video.encoding import encode
from .video.vmaf import full_reference_scores


PHOTOGRAPHS = (
    "astronaut.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "moon.png",
    "motorcycle_left.png",
    "page.png",
    "retina.jpg",
    "rocket.jpg",
)
LADDER = {"recipe": "crf", "size": (256, 144), "num_frames": 16}
IMAGE_SIZE, NUM_FRAMES = 84, 2
TEACHER = {"hidden_size": 128, "num_hidden_layers": 3, "num_attention_heads": 4}
STUDENT = {"hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 3}
BOTH = {
    "image_size": IMAGE_SIZE,
    "num_frames": NUM_FRAMES,
    "pooling_num_heads": 4,
    "layer_scale_init_value": 0.1,
    "initializer_range": 0.1,  # narrow layers need wider weights than the 0.02 of the large models
}
TRAINING = {
    "num_train_epochs": 80,
    "learning_rate": 5e-4,
    "per_device_train_batch_size": 14,
    "eval_strategy": "steps",
    "save_strategy": "steps",
    "eval_steps": 160,
    "save_steps": 160,
}
FALLING_QUALITY = (20, 28, 35, 42, 51)  # CRF of x264


def run_demo(output: str | os.PathLike = "cvqa-demo", seed: int = 0) -> dict[str, Summary]:
    """Run the demo and leave its ladder, models, tables and pictures in a folder.

    Args:
        output: The folder. A ladder that a run before left there is used again, the rest is made anew.
        seed: Of everything random.

    Returns:
        The evaluation of `"teacher"` and `"student"` on the test split.
    """
    output = Path(output)
    output.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with _quiet(), _one_thread():
        ladder = _build_ladder(output / "ladder", seed)
        processor = InternVideo2VideoProcessor(
            num_frames=NUM_FRAMES,
            size={"shortest_edge": IMAGE_SIZE},
            crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
            spatial_mode="fragments",
            fragment_size=IMAGE_SIZE // 2,
            frame_sampling="window",
            frame_stride=2,
        )
        data = _load(ladder, processor, output / "frames", seed)
        teacher = _train_teacher(data, processor, output / "teacher", seed)
        _distil_student(teacher, data, processor, output / "student", seed)
        summaries = {name: _evaluate(output, name, data, processor) for name in ("teacher", "student")}
        _tell_results(output, summaries)
        _score_falling_quality(output, data, seed)
    _say(
        f"Done in {time.monotonic() - started:.0f} s. Everything is in {output}; score a file of your own with:\n"
        f"    cvqa score --model {output / 'student'} movie.mp4\n"
        "This student has seen a handful of photographs for a minute: it shows the path. Without --model, `cvqa score` "
        "takes the one that comes with the package."
    )
    return summaries


def _build_ladder(folder: Path, seed: int) -> Path:
    _say(
        f"1. A ladder. {len(PHOTOGRAPHS)} photographs become clips of {LADDER['num_frames']} frames with a moving "
        "camera; x264, x265, VP9 and AV1 encode each at falling quality; VMAF compares every encode with its source."
    )
    with as_file(files("skimage").joinpath("data")) as photographs:
        ladder = build_ladder([photographs / name for name in PHOTOGRAPHS], folder, seed=seed, **LADDER)
    _say(str(ladder))
    return folder


def _load(ladder: Path, processor: InternVideo2VideoProcessor, cache: Path, seed: int) -> DatasetDict:
    data = load_quality_dataset("ladder", ladder, seed=seed)
    contents = {name: sorted(set(split["content_id"])) for name, split in data.items()}
    _say(
        "2. A split by content: no photograph is on two sides, or the test would only ask what was learnt by heart.\n"
        + "\n".join(f"   {name:10s} {len(data[name]):3d} encodes of {', '.join(contents[name])}" for name in contents)
    )
    return DatasetDict(
        {name: cache_frames(data[name], processor, cache, windows=4 if name == "train" else 1) for name in data}
    )


def _train_teacher(data, processor, folder: Path, seed: int) -> InternVideo2ForVideoQualityAssessment:
    set_seed(seed)
    model = InternVideo2ForVideoQualityAssessment(InternVideo2Config(**BOTH, **TEACHER))
    _say(
        f"3. A teacher of {model.num_parameters() / 1e6:.2f} million parameters learns to tell VMAF without the "
        "source. Its weights start random; in earnest they would come from InternVideo2-1B."
    )
    arguments = QualityArguments(loss_weights={"regression": 1.0, "plcc": 0.1}, **_training_options(folder, seed))
    trainer = QualityTrainer(
        model, arguments, data["train"], data["validation"], processor, callbacks=[_Progress("teacher")]
    )
    return _run(trainer, folder)


def _distil_student(teacher, data, processor, folder: Path, seed: int) -> InternVideo2ForVideoQualityAssessment:
    set_seed(seed)
    model = InternVideo2ForVideoQualityAssessment(InternVideo2Config(**BOTH, **STUDENT))
    _say(
        f"4. A student of {model.num_parameters() / 1e6:.2f} million parameters learns the same scores and, beside "
        "them, to see what the teacher sees: its features are drawn to the teacher's."
    )
    arguments = DistillationArguments(
        teacher_mode="frozen",
        loss_weights={"student_regression": 1.0, "feature": 1.0, "plcc": 0.1},
        **_training_options(folder, seed),
    )
    trainer = DistillationTrainer(
        model,
        arguments,
        data["train"],
        data["validation"],
        processor,
        teacher=teacher,
        callbacks=[_Progress("student")],
    )
    return _run(trainer, folder)


def _training_options(folder: Path, seed: int) -> dict:
    return {
        "output_dir": str(folder / "checkpoints"),
        "seed": seed,
        "per_device_eval_batch_size": 32,
        "save_total_limit": 1,
        "logging_strategy": "epoch",
        "disable_tqdm": True,
        "dataloader_num_workers": 1,
        "dataloader_persistent_workers": True,
        "use_cpu": not torch.cuda.is_available(),
        **TRAINING,
    }


def _run(trainer: QualityTrainer, folder: Path) -> InternVideo2ForVideoQualityAssessment:
    trainer.remove_callback(PrinterCallback)
    shutil.rmtree(trainer.args.output_dir, ignore_errors=True)
    trainer.train()
    trainer.save_model(str(folder))
    shutil.rmtree(trainer.args.output_dir)
    _say(f"   best checkpoint by validation: SRCC {trainer.state.best_metric:.3f}")
    return trainer.models()[0]


def _evaluate(output: Path, name: str, data, processor) -> Summary:
    scorer = VideoScorer.from_pretrained(output / name)
    summary, rows = evaluate_dataset(scorer.model, processor, data["test"], model_name=name, dataset_name="demo ladder")
    save_report(output / name / "test", summary, rows)
    return summary


def _tell_results(output: Path, summaries: dict[str, Summary]) -> None:
    _say("5. Both on photographs that neither has seen, predicted against real VMAF:")
    overall = [replace(s, figures=tuple(f for f in s.figures if f.subset == "all")) for s in summaries.values()]
    _say(text_table(*overall))
    write_text(output / "table.md", markdown_table(*summaries.values()))
    _say(f"   Pictures: {output / 'teacher' / 'test' / 'scatter.png'}, {output / 'student' / 'test' / 'scatter.png'}")


def _score_falling_quality(output: Path, data, seed: int) -> None:
    reference = Path(data["test"]["reference"][0])
    content = data["test"]["content_id"][0]
    _say(
        f"6. A new encode of {content} at falling quality. This student and the one that comes with the package, which "
        "has not seen it either, see the encode alone, VMAF the source too:"
    )
    scorers = VideoScorer.from_pretrained(output / "student"), VideoScorer.from_pretrained()
    folder = output / "falling_quality"
    folder.mkdir(exist_ok=True)
    rows = []
    for crf in FALLING_QUALITY:
        video = folder / f"{content}_crf{crf}.mp4"
        encode(reference, video, "x264", crf, preset="fast")
        scores = [scorer.score(video).score for scorer in scorers]
        rows.append((crf, *scores, full_reference_scores(video, reference)["vmaf"]))
    lines = [f"   {crf:3d}{own:10.1f}{default:10.1f}{vmaf:8.1f}" for crf, own, default, vmaf in rows]
    _say("\n".join(["   CRF   student   default    VMAF", *lines]))
    picture = output / "falling_quality.png"
    _draw_falling_quality(picture, content, rows)
    _say(f"   Picture: {picture}")


def _draw_falling_quality(path: Path, content: str, rows: list[tuple[int, float, float, float]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    crf, own, default, vmaf = zip(*rows)
    axes.plot(crf, vmaf, "o-", color="#888888", label="VMAF, with the source")
    axes.plot(crf, own, "o-", color="#0072B2", label="the demo's student, without it")
    axes.plot(crf, default, "o-", color="#D55E00", label="the default student, without it")
    axes.set(xlabel="CRF of x264 (higher is coarser)", ylabel="quality, 0 to 100", ylim=(0, 103), xticks=crf)
    axes.set_title(f"{content}, not in the training set", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower left")
    with replacing(path) as partial:
        figure.savefig(partial, dpi=150)


class _Progress(TrainerCallback):
    """A bar on a terminal; elsewhere a line now and then."""

    def __init__(self, name: str):
        self.name = name
        self.bar = None

    def on_train_begin(self, args, state, control, **kwargs):
        self.bar = tqdm(total=state.max_steps, desc=f"   {self.name}", unit="step", disable=None, leave=False)

    def on_step_end(self, args, state, control, **kwargs):
        self.bar.update()

    def on_evaluate(self, args, state, control, metrics, **kwargs):
        srcc = metrics["eval_srcc"]
        self.bar.set_postfix_str(f"validation SRCC {srcc:.3f}")
        if self.bar.disable:
            _say(f"   step {state.global_step} of {state.max_steps}: validation SRCC {srcc:.3f}")

    def on_train_end(self, args, state, control, **kwargs):
        self.bar.close()


@contextlib.contextmanager
def _one_thread():
    """Models this small gain little from a second core, and lose manyfold where threads wait for a busy one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextlib.contextmanager
def _quiet():
    """Without the progress bars and notes of the libraries, which bury the story."""
    disable_progress_bar()
    transformers_logging.disable_progress_bar()
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    logging.getLogger("cvqa").setLevel(logging.WARNING)
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)


def _say(text: str) -> None:
    print(text, flush=True, file=sys.stdout)
