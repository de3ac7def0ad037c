"""Small real data and small models for the trainers: photographs, encoded and decoded again, and a 2-block student."""

import io
from pathlib import Path

import av
import numpy as np
import skimage.data
import torch
from datasets import Dataset, DatasetDict
from PIL import Image

from cvqa.data import QualityCollator, QualityScale, with_scale
from cvqa.data.frames import frame_settings
from cvqa.distillation import DistillationArguments, DistillationTrainer, QualityArguments, QualityTrainer
from cvqa.models import InternVideo2Config, InternVideo2ForVideoQualityAssessment, InternVideo2VideoProcessor


SPLITS = {
    "train": ("astronaut", "coffee", "chelsea", "rocket"),
    "validation": ("grass", "brick"),
    "test": ("gravel", "immunohistochemistry"),
}
CRFS = (20, 38, 50)
FRAMES, SIZE, CROP = 4, 64, 56


PROCESSOR = InternVideo2VideoProcessor(
    num_frames=FRAMES, size={"shortest_edge": SIZE}, crop_size={"height": CROP, "width": CROP}
)


def encode(name: str, crf: int) -> bytes:
    """FRAMES frames of a pan over a photograph of scikit-image, as an mp4 file of x264."""
    photo = Image.fromarray(getattr(skimage.data, name)()).convert("RGB")
    photo = photo.resize((160, 120), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=25, options={"crf": str(crf), "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "yuv420p"
        for i in range(FRAMES):
            frame = av.VideoFrame.from_image(photo.crop((30 + 2 * i, 20, 30 + 2 * i + SIZE, 20 + SIZE)))
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return file.getvalue()


def decode(video: bytes) -> np.ndarray:
    with av.open(io.BytesIO(video)) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


def score_of(crf: int) -> float:
    """Falls with the CRF, from 5 to 1."""
    return 5 - 4 * (crf - min(CRFS)) / (max(CRFS) - min(CRFS))


def make_table(folder: Path) -> Path:
    """The clips as files, and a table of them with the columns video, mos, content and split."""
    rows = ["video,mos,content,split"]
    for split, contents in SPLITS.items():
        for content in contents:
            for crf in CRFS:
                (folder / f"{content}_{crf}.mp4").write_bytes(encode(content, crf))
                rows.append(f"{content}_{crf}.mp4,{score_of(crf)},{content},{split}")
    table = folder / "scores.csv"
    table.write_text("\n".join(rows) + "\n")
    return table


def make_clips() -> DatasetDict:
    """12 training, 6 validation and 6 test clips with cached frames; the score falls with the CRF, on a 1-5 scale."""
    splits = {}
    for split, contents in SPLITS.items():
        rows = [
            {
                "video": f"{content}_{crf}.mp4",
                "score": score_of(crf),
                "content_id": content,
                "frames": decode(encode(content, crf)).tobytes(),
                "frames_shape": [FRAMES, SIZE, SIZE, 3],
                "frames_settings": frame_settings(PROCESSOR),
            }
            for content in contents
            for crf in CRFS
        ]
        splits[split] = Dataset.from_list(rows)
    return with_scale(DatasetDict(splits), QualityScale(1, 5, True, "mos"))


def without_labels(split: Dataset, rows: list[int]) -> Dataset:
    """The same clips, those of `rows` without their label."""
    labels = [None if row in rows else label for row, label in enumerate(split["label"])]
    feature = split.features["label"]
    return split.remove_columns("label").add_column("label", labels, feature=feature)


def batch_of(split: Dataset) -> dict[str, torch.Tensor]:
    """All clips of a split as evaluation sees them."""
    return QualityCollator(PROCESSOR)(list(split))


def tiny_model(seed: int, hidden_size: int = 48, blocks: int = 2, **overrides) -> InternVideo2ForVideoQualityAssessment:
    torch.manual_seed(seed)
    settings = {
        "hidden_size": hidden_size,
        "num_hidden_layers": blocks,
        "num_attention_heads": 4,
        "pooling_num_heads": 4,
        "feature_size": 32,
        "image_size": CROP,
        "num_frames": FRAMES,
        "layer_scale_init_value": 0.1,
        "initializer_range": 0.1,  # learns in tens of steps
    }
    return InternVideo2ForVideoQualityAssessment(InternVideo2Config(**(settings | overrides)))


SETTINGS = {
    "use_cpu": True,
    "per_device_train_batch_size": 6,
    "per_device_eval_batch_size": 4,
    "num_train_epochs": 2,
    "learning_rate": 1e-3,
    "warmup_steps": 0,
    "logging_steps": 1,
    "disable_tqdm": True,
    "seed": 3,
}


def quality_trainer(folder, clips, model=None, **settings) -> QualityTrainer:
    args = QualityArguments(str(folder), **(SETTINGS | settings))
    return QualityTrainer(model or tiny_model(0), args, clips["train"], clips["validation"], PROCESSOR)


def distillation_trainer(folder, clips, student=None, teacher=None, **settings) -> DistillationTrainer:
    settings = {"teacher_cache_dir": str(folder / "asked"), **settings}
    args = DistillationArguments(str(folder), **(SETTINGS | settings))
    return DistillationTrainer(
        student or tiny_model(0),
        args,
        clips["train"],
        clips["validation"],
        PROCESSOR,
        teacher=teacher or tiny_model(1, hidden_size=64, blocks=3),
    )


def train_logs(trainer) -> list[dict]:
    return [entry for entry in trainer.state.log_history if "loss" in entry]


def eval_logs(trainer) -> list[dict]:
    return [entry for entry in trainer.state.log_history if "eval_loss" in entry]
