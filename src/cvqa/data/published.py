"""Published sets of scored compressed video, by name: their score table, where their videos lie, their split.

A set may be there in part: what is missing is reported by content, and is an error only if a split would be empty.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from datasets import Dataset, concatenate_datasets

from .table import load_table


# The contents that the published method tests on (InternVQA, arXiv 2502.19026).
BVI_HD_TEST = ("BallUnderWater", "Bookcase", "BricksLeaves", "Music", "PlasmaSlowRandom", "TreeGrassFamily")
WATERLOO_TEST = ("1", "2", "3", "4")

WATERLOO_COLUMNS = ("Encoder", "Video Number", "Resolution", "Distortion Level", "MOS")
_WATERLOO_SIZES = {"540p": (960, 540), "1080p": (1920, 1080), "2160p": (3840, 2160)}
# H264/01/960x540_1.mp4, and flat as in H264_01_540p_1.mp4
_WATERLOO_FILE = re.compile(r"(H264|HEVC|VP9|AV1|AVS2)[/_-]0*(\d+)[/_-](?:\d+x)?(\d+)p?[/_-](\d+)\.\w+$", re.IGNORECASE)


def load_bvi_hd(data_dir: str | os.PathLike, *, scores: str | os.PathLike | None = None, **options) -> Dataset:
    """BVI-HD: 32 contents of 1920x1080, in HEVC and in HEVC-SYNTH. DMOS of about -10 to 100, higher is worse.

    The videos are raw YUV, whose size and rate stand in the name; they may lie in any folders under `data_dir`.

    Args:
        data_dir: folder of the videos.
        scores: the score table, with columns original_name, name, dmos, encoder and distortion_level; by default every
            `*dmos*.csv` in `data_dir`, since each half of the set has one.
        **options: further ones of `load_table`, such as `check_files` and `probe`.

    Raises FileNotFoundError, ValueError: no table, or no video of a split.
    """
    folder = Path(data_dir)
    found = {path.name: path for path in _files(folder)}

    def load(table: Path) -> Dataset:
        return load_table(
            table,
            video_column=lambda cells: str(found.get(cells["name"], cells["name"])),
            content_column="original_name",
            split_column=lambda cells: "test" if cells["original_name"] in BVI_HD_TEST else "train",
            codec_column=lambda cells: "hevc",
            width_column=lambda cells: 1920,
            height_column=lambda cells: 1080,
            level_column="distortion_level",
            **{"score_min": 0, "score_max": 100, "higher_is_better": False, "label_kind": "dmos", "video_dir": folder},
            **options,
        )

    return concatenate_datasets([load(table) for table in _tables(folder, scores, "*dmos*.csv")])


def load_waterloo_ivc_4k(data_dir: str | os.PathLike, *, scores: str | os.PathLike | None = None, **options) -> Dataset:
    """Waterloo IVC 4K: 20 contents, 5 encoders, 3 resolutions, 4 levels. MOS of 0 to 100, higher is better.

    A video lies at `H264/01/960x540_1.mp4` under `data_dir`, or has all of that in its name. AVS2 files that FFmpeg
    cannot decode are named by `probe=True` and by whatever reads them.

    Args:
        data_dir: folder of the videos.
        scores: the score table, with or without its header line; by default `*score*.txt` or `*.csv` in `data_dir`.
        **options: further ones of `load_table`, such as `check_files` and `probe`.

    Raises FileNotFoundError, ValueError: no table, or no video of a split.
    """
    folder = Path(data_dir)
    found = {}
    for path in _files(folder):
        match = _WATERLOO_FILE.search(path.relative_to(folder).as_posix())
        if match:
            encoder, number, height, level = match.groups()
            found[encoder.upper(), int(number), int(height), int(level)] = path

    def video(cells: dict) -> str:
        encoder, number, resolution, level, _ = (cells[name] for name in WATERLOO_COLUMNS)
        width, height = _WATERLOO_SIZES[resolution]
        path = f"{encoder}/{int(number):02d}/{width}x{height}_{level}.mp4"
        return str(found.get((encoder.upper(), int(number), height, int(level)), path))

    (table,) = _tables(folder, scores, "*score*.txt", "*score*.csv")[:1]
    return load_table(
        table,
        column_names=WATERLOO_COLUMNS,
        video_column=video,
        score_column="MOS",
        content_column="Video Number",
        split_column=lambda cells: "test" if cells["Video Number"] in WATERLOO_TEST else "train",
        codec_column="Encoder",
        width_column=lambda cells: _WATERLOO_SIZES[cells["Resolution"]][0],
        height_column=lambda cells: _WATERLOO_SIZES[cells["Resolution"]][1],
        level_column="Distortion Level",
        **{"score_min": 0, "score_max": 100, "higher_is_better": True, "label_kind": "mos", "video_dir": folder},
        **options,
    )


def _tables(folder: Path, scores: str | os.PathLike | None, *patterns: str) -> list[Path]:
    if scores is not None:
        return [Path(scores)]
    found = [path for pattern in patterns for path in sorted(folder.glob(pattern))]
    if not found:
        raise FileNotFoundError(
            f"{folder}: no score table here ({' or '.join(patterns)}); put it into the folder or name it with scores="
        )
    return found


def _files(folder: Path) -> Iterator[Path]:
    for root, _, names in os.walk(folder):
        yield from (Path(root, name) for name in names)
