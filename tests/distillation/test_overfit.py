"""Every family of students can learn a small set by heart: 32 real encodes, labelled by their PSNR."""

from itertools import chain, product

import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict
from distillation.tiny import CROP, FRAMES, PROCESSOR, SIZE, SPLITS, decode, encode, quality_trainer

from cvqa.data import QualityScale, with_scale
from cvqa.data.frames import frame_settings
from cvqa.distillation.students import STUDENTS, build_student


PLAIN = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96, "patch_size": 8}
STAGES = {"hidden_sizes": [16, 16, 32, 32], "depths": [1, 1, 1, 1]}
# A student of each family, the steps that it takes, and what makes it small.
TINY = {
    "Ti": (500, {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "pooling_num_heads": 4}),
    "resnet18": (200, {**STAGES, "embedding_size": 16}),
    "regnet_tiny": (200, {**STAGES, "embedding_size": 16}),
    "mobilenet_v2": (200, {"depth_multiplier": 0.35}),
    "convnext_atto": (200, STAGES),
    "convnextv2_atto": (200, STAGES),
    "swin_tiny": (200, {"embed_dim": 24, "depths": [1, 1], "num_heads": [2, 4]}),
    "dinov2_small": (500, {**PLAIN, "patch_size": 14}),
    "videomae_tiny": (500, PLAIN),
    "timesformer_small": (500, PLAIN),
    "vivit_small": (500, {**PLAIN, "tubelet_size": [2, 8, 8]}),
    "vjepa2_small": (500, PLAIN),
}
SETTINGS = {
    "per_device_train_batch_size": 16,
    "learning_rate": 1e-3,
    "warmup_steps": 0.1,
    "weight_decay": 0.0,
    "augment": "none",
    "eval_strategy": "no",
    "save_strategy": "no",
    "load_best_model_at_end": False,
    "logging_steps": 100,
}


@pytest.fixture(scope="module")
def encodes() -> DatasetDict:
    rows = []
    for content, crf in product(chain(*SPLITS.values()), (20, 30, 40, 50)):
        frames, original = decode(encode(content, crf)), decode(encode(content, 0))
        error = np.square(frames.astype(float) - original).mean()
        rows.append(
            {
                "video": f"{content}_{crf}.mp4",
                "score": 10 * np.log10(255**2 / error),
                "content_id": content,
                "frames": frames.tobytes(),
                "frames_shape": [FRAMES, SIZE, SIZE, 3],
                "frames_settings": frame_settings(PROCESSOR),
            }
        )
    scores = [row["score"] for row in rows]
    scale = QualityScale(min(scores), max(scores), True, "mos")
    return with_scale(DatasetDict(dict.fromkeys(("train", "validation"), Dataset.from_list(rows))), scale)


def test_no_family_is_left_out():
    assert {STUDENTS[name][0] for name in TINY if name in STUDENTS} == {family for family, _ in STUDENTS.values()}


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_a_student_learns_32_clips_by_heart(tmp_path, encodes, name):
    torch.manual_seed(0)
    steps, sizes = TINY[name]
    model = build_student(name, num_frames=FRAMES, image_size=CROP, **sizes)
    trainer = quality_trainer(tmp_path, encodes, model, **SETTINGS, max_steps=steps)
    trainer.train()
    figures = trainer.evaluate()
    assert len(encodes["train"]) == 32
    assert figures["eval_rmse"] < 0.05  # of labels from 0 to 1 with a standard deviation of 0.27
    assert figures["eval_srcc"] > 0.98
