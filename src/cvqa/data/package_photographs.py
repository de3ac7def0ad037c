"""Rebuild a folder of photographs out of packages, by a table that says what to cut from them.

A row of the table is one content: columns `content_id`, `family`, `registry` (a name in `packages.DOWNLOADS`),
`package`, `version`, `path` (in the package), `sha256` (of the original), `licence`, `left`, `top`, `right`, `bottom`
(the cut in pixels of the upright original) and `width`, `height` (what it is reduced to).
"""

import csv
import hashlib
import io
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ..files import csv_text, write_bytes, write_text
from ..video.photographs import open_photograph, sharpness
from .packages import DOWNLOADS, find_package, read_from_package


COLUMNS = ["file", "kind", "content_id", "family", "origin", "licence", "width", "height", "sharpness"]
COLUMNS += ["registry", "package", "version", "path_in_package", "sha256", "note"]
LEAST_REDUCTION = 1.5
"""Pixels of the original for one of the photograph, along a side: with fewer, traces of its JPEG coding would stay."""


def build_photographs(
    table: str | os.PathLike, packages: str | os.PathLike, out: str | os.PathLike
) -> tuple[list[dict], list[str]]:
    """Cut and reduce what `table` names, from the packages in the folder `packages`, into `out` with its manifest.csv.

    The packages are as the commands in `packages.DOWNLOADS` store them. Reduction is by Lanczos, storage JPEG
    of quality 95, 4:2:0. What is there already, and the same, is not touched: ladders go by the time of a source.

    Returns:
        The rows of the manifest, and a message for each row of the table that could not be had.

    Raises:
        ValueError: a row of the table enlarges, or reduces by less than `LEAST_REDUCTION`.
    """
    with Path(table).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        _check_reduction(row)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    manifest, problems = [], []
    for key in dict.fromkeys(map(_package, rows)):
        wanted = [row for row in rows if _package(row) == key]
        try:
            files = read_from_package(find_package(packages, *key), {row["path"] for row in wanted})
        except (OSError, ValueError) as error:
            problems.append(f"{key[1]} {key[2]}: {error}")
            continue
        for row in wanted:
            try:
                manifest.append(_cut(row, files, out))
            except ValueError as error:
                problems.append(f"{row['content_id']}: {error}")
    order = {row["content_id"]: number for number, row in enumerate(rows)}
    manifest.sort(key=lambda row: order[row["content_id"]])
    write_text(out / "manifest.csv", csv_text(COLUMNS, manifest))
    return manifest, problems


def download_commands(table: str | os.PathLike) -> list[str]:
    """What to run in the folder of the packages, a command for each package that the table names."""
    with Path(table).open(encoding="utf-8", newline="") as file:
        packages = dict.fromkeys(map(_package, csv.DictReader(file)))
    return [DOWNLOADS[registry].format(package=name, version=version) for registry, name, version in packages]


def _package(row: dict[str, str]) -> tuple[str, str, str]:
    return row["registry"], row["package"], row["version"]


def _cut(row: dict[str, str], files: dict[str, bytes], out: Path) -> dict:
    data = files.get(row["path"])
    if data is None:
        raise ValueError(f"the package has no file {row['path']}")
    if hashlib.sha256(data).hexdigest() != row["sha256"]:
        raise ValueError(f"{row['path']} is not the file that the table means: its SHA-256 differs")
    try:
        with Image.open(io.BytesIO(data)) as file:
            image, _ = open_photograph(ImageOps.exif_transpose(file))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{row['path']} can't be read as a photograph ({error})") from error
    box, size = _box(row), _size(row)
    reduced = image.resize(size, Image.Resampling.LANCZOS, box=box)
    name = f"{row['content_id']}.jpg"
    coded = io.BytesIO()
    reduced.save(coded, "jpeg", quality=95, subsampling="4:2:0")
    if not (out / name).is_file() or (out / name).read_bytes() != coded.getvalue():
        write_bytes(out / name, coded.getvalue())
    with Image.open(coded) as stored:
        measured = sharpness(np.asarray(stored)[None])
    cut = "" if box == (0, 0, *image.size) else f"cut {box[2] - box[0]:.0f}x{box[3] - box[1]:.0f}, "
    note = f"source {image.width}x{image.height}, {cut}down-scaled {_reduction(row):.2f} times, JPEG q95 4:2:0"
    return row | {
        "file": name,
        "kind": "still",
        "origin": f"{row['package']} {row['version']}: {row['path']}",
        "sharpness": f"{measured:.3f}",
        "path_in_package": row["path"],
        "note": note,
    }


def _box(row: dict[str, str]) -> tuple[float, ...]:
    return tuple(float(row[side]) for side in ("left", "top", "right", "bottom"))


def _size(row: dict[str, str]) -> tuple[int, int]:
    return int(row["width"]), int(row["height"])


def _reduction(row: dict[str, str]) -> float:
    left, top, right, bottom = _box(row)
    width, height = _size(row)
    return min((right - left) / width, (bottom - top) / height)


def _check_reduction(row: dict[str, str]) -> None:
    if _reduction(row) < LEAST_REDUCTION - 0.01:  # sizes are whole and even
        raise ValueError(
            f"{row['content_id']}: is reduced by {_reduction(row):.2f}, less than {LEAST_REDUCTION}: "
            "give it a smaller width and height"
        )
