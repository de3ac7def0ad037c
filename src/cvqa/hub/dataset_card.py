"""The card of a published data set, from what lies in its folder."""

import json
from collections import defaultdict
from pathlib import Path

import pyarrow.parquet as pq
from datasets import DatasetInfo, Features
from datasets.info import DatasetInfosDict
from datasets.splits import SplitDict, SplitInfo
from huggingface_hub import DatasetCardData

from ..data.hub_dataset import read_plain
from ..data.schema import QualityScale
from ..data.splits import SPLITS
from .cards import render


FACTS = "dataset.json"
SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M"}

COLUMNS = {
    "frame": "middle frame of the video at native resolution, PNG (lossless); a preview, not a model's input",
    "video": "`bytes` of the encoded file as it is, and its `path`: content and file name",
    "score": "the label in native units",
    "label": "the same on the training scale; its feature's `id` holds the scale as JSON",
    "content_id": "the content (source) that the video shows; never in two splits",
    "family": "contents that belong together (one shoot, one film); never in two splits",
    "codec": "of the video, as FFmpeg calls the format",
    "width": "pixels",
    "height": "pixels",
    "level": "level of distortion as the source names it, such as the CRF; see `rate_control` where there is one",
    "reference": "file name of the pristine source, which is not part of this data set",
    "std": "spread of the viewers' ratings",
    "encoder": "the encoder",
    "preset": "of the encoder",
    "rate_control": "what `level` is: CRF, QP or the target bit rate in kbit/s",
    "encoded_width": "pixels of the encode, before it was scaled back to the size of its source and stored so",
    "encoded_height": "the same for its height",
    "scaler": "filter that scaled the source down before the encode",
    "frame_step": "2 where every second frame was encoded; `score` is against those frames of the source",
    "first_encoder": "encoder of the first generation, where an encode was encoded again",
    "first_level": "its CRF",
    "fps": "frames per second",
    "num_frames": "frames in the video",
    "bit_depth": "bits per sample as coded",
    "bytes": "size of the video",
    "bitrate_kbps": "kilobits per second of the encode",
    "psnr": "of luma against the source, dB",
    "ssim": "of luma against the source",
    "vmaf_min": "lowest VMAF of any frame",
    "vmaf_frames": "VMAF of every frame, JSON",
    "vmaf_model": "VMAF model behind `score`",
    "sharpness": "of the source, from 0 (soft) up",
    "soft": "1 where the source itself is soft",
}


def published_rows(folder: Path) -> dict[str, dict[str, list]]:
    """All columns but the files themselves of each split; `video` is the path within the data set."""
    rows = {}
    for split in SPLITS:
        columns = defaultdict(list)
        for file in sorted(folder.glob(f"data/{split}-*.parquet")):
            for name, values in read_plain(file).items():
                columns[name] += values
        if columns:
            rows[split] = dict(columns)
    return rows


def dataset_card(folder: Path, repo_id: str | None = None, license: str = "unknown") -> str:
    """README.md of a folder of `write_dataset_folder`; without `repo_id` its snippets load it by its name."""
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    rows = published_rows(folder)
    scale = QualityScale(**facts["scale"])
    files = {split: sorted(folder.glob(f"data/{split}-*.parquet")) for split in rows}
    features = Features.from_arrow_schema(pq.read_schema(next(iter(files.values()))[0]))
    merged = {name: [value for split in rows.values() for value in split[name]] for name in next(iter(rows.values()))}
    codecs = sorted(set(merged["codec"]))
    metadata = DatasetCardData(
        pretty_name=facts["name"],
        license=license,
        task_categories=["video-classification"],
        tags=["video-quality-assessment", "no-reference", "compressed-video", scale.label_kind, *filter(None, codecs)],
        size_categories=[next((size for end, size in SIZES.items() if len(merged["video"]) < end), "1M<n<10M")],
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"data/{split}-*"} for split in rows],
            }
        ],
    )
    DatasetInfosDict({"default": _info(features, rows, files)}).to_dataset_card_data(metadata)
    return render(
        "dataset",
        metadata,
        name=facts["name"],
        repo=repo_id or facts["name"],
        scale=scale,
        vmaf_models=sorted(set(filter(None, merged.get("vmaf_model", ())))),
        fingerprint=facts["fingerprint"],
        left_out=facts["left_out"],
        splits=[{"name": split, **_summary(columns)} for split, columns in rows.items()],
        total=_summary(merged),
        has_families="family" in merged,
        soft=sum(value == 1 for value in merged.get("soft", ())),
        codecs=_grouped(merged, merged["codec"]),
        resolutions=_grouped(merged, [f"{w}x{h}" for w, h in zip(merged["width"], merged["height"])]),
        columns=[(name, _type(feature), COLUMNS.get(name, "")) for name, feature in features.items()],
        license=None if license in ("unknown", "other") else license,
    )


def _info(features: Features, rows: dict, files: dict[str, list[Path]]) -> DatasetInfo:
    """What the Hub and `load_dataset` know before they read a file; with it, a missing row is an error."""
    splits, download = SplitDict(), 0
    for split, columns in rows.items():
        metadata = [pq.read_metadata(file) for file in files[split]]
        size = sum(part.row_group(group).total_byte_size for part in metadata for group in range(part.num_row_groups))
        splits.add(SplitInfo(name=split, num_bytes=size, num_examples=len(columns["video"])))
        download += sum(file.stat().st_size for file in files[split])
    size = sum(split.num_bytes for split in splits.values())
    return DatasetInfo(features=features, splits=splits, download_size=download, dataset_size=size)


def _summary(columns: dict[str, list]) -> dict:
    scores = columns["score"]
    return {
        "videos": len(scores),
        "contents": len(set(columns["content_id"])),
        "mean": f"{sum(scores) / len(scores):.4g}",
        "range": f"{min(scores):.4g} to {max(scores):.4g}",
        "levels": _levels(columns),
    }


def _grouped(columns: dict[str, list], keys: list[str]) -> list[dict]:
    """A summary of the rows of each key, in order of the keys."""
    groups = defaultdict(lambda: defaultdict(list))
    for row, key in enumerate(keys):
        for name in {"score", "content_id", "level", "rate_control"} & set(columns):
            groups[key][name].append(columns[name][row])
    return [{"name": _cell(key) or "unknown", **_summary(groups[key])} for key in sorted(groups)]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _levels(columns: dict[str, list]) -> str:
    """From where to where they go; of each rate control by itself, since a CRF is not a bit rate."""
    levels = defaultdict(set)
    for level, control in zip(columns["level"], columns.get("rate_control") or [None] * len(columns["level"])):
        if level:
            levels[control].add(level)
    if len(levels) > 1:
        return ", ".join(f"{control or 'other'} {_range(levels[control])}" for control in sorted(levels, key=str))
    return _range(*levels.values()) if levels else "not named"


def _range(levels: set[str]) -> str:
    try:
        numbers = sorted(map(float, levels))
    except ValueError:
        return _cell(", ".join(sorted(levels))) if len(levels) <= 8 else f"{len(levels)} different"
    return f"{numbers[0]:g} to {numbers[-1]:g}" if len(numbers) > 1 else f"{numbers[0]:g}"


def _type(feature) -> str:
    kind = type(feature).__name__
    return feature.dtype if kind == "Value" else kind
