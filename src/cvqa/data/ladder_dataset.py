"""An encoding ladder, as `build_ladder` leaves it, as a quality data set labelled with VMAF."""

import json
import os
from pathlib import Path

from datasets import Dataset

from .table import load_table


def load_ladder(data_dir: str | os.PathLike, *, check_files: bool = True) -> Dataset:
    """Read `manifest.csv` of a ladder folder.

    Encodes that failed are dropped and counted. Besides the schema the rows keep the manifest's columns (`family`,
    `encoder`, `preset`, `fps`, `bitrate_kbps`, `psnr`, `sharpness`, ...; `cvqa.data.ladder.COLUMNS` tells what they
    are); its `frames` is called `num_frames`.

    Raises:
        FileNotFoundError, ValueError: no manifest, not a VMAF ladder, or no encode that can be used.
    """
    folder = Path(data_dir)
    manifest, settings = folder / "manifest.csv", folder / "ladder.json"
    if not manifest.is_file():
        raise FileNotFoundError(f"{manifest}: no ladder in this folder; build one with scripts/build_ladder.py")
    if settings.is_file():
        try:
            kind = json.loads(settings.read_text(encoding="utf-8")).get("label_kind", "vmaf")
        except (ValueError, AttributeError) as error:
            raise ValueError(f"{settings}: is not a JSON object: {error}") from error
        if kind != "vmaf":
            raise ValueError(f"{settings}: the ladder is labelled with {kind!r}, not with VMAF")
    dataset = load_table(
        manifest,
        **{f"{field}_column": field for field in ("video", "codec", "width", "height", "level", "reference", "family")},
        score_column=_score,
        content_column="content_id",
        split_column="",
        std_column="",
        score_min=0,
        score_max=100,
        higher_is_better=True,
        label_kind="vmaf",
        check_files=check_files,
        text_columns=("encoder", "preset", "rate_control", "scaler", "first_encoder", "vmaf_frames", "vmaf_model"),
    )
    return dataset.remove_columns([name for name in ("error",) if name in dataset.column_names])


def _score(cells: dict):
    if cells.get("error"):
        raise ValueError(f"failed: {cells['error']}")
    return cells.get("score")
