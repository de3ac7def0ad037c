"""Find the clips and photographs that a ladder is made from, with their contents and families."""

import csv
import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path


CLIPS = {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".m2ts", ".mpg", ".mpeg", ".y4m", ".ivf", ".mxf"}
CLIPS |= {".264", ".265", ".h264", ".h265", ".hevc", ".obu"}
PHOTOGRAPHS = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".pgm"}


@dataclass(frozen=True)
class Source:
    """One clip or photograph. Files of a content show the same; contents of a family come from one place or film."""

    path: Path
    content_id: str
    family: str
    name: str  # unique among the sources and fit for a file name
    earlier: tuple["Source", ...] = ()  # takes of the same photograph

    @property
    def is_photograph(self) -> bool:
        return self.path.suffix.lower() in PHOTOGRAPHS


def find_sources(
    sources: str | os.PathLike | Iterable[str | os.PathLike],
    families: str | os.PathLike | None = None,
    leave_out: Path | None = None,
) -> list[Source]:
    """List clips and photographs, sorted by path.

    Args:
        sources: folders (searched to any depth), files, or CSV tables with a `file` column of paths relative to the
            table and optional columns `content_id` and `family`. A folder's own manifest.csv is read as such a table,
            for the contents of the files that it names. A file without a content there is a content of its own, named
            after the file.
        families: a CSV table with columns `content_id` and `family`; families.csv of a source folder if None. A
            content without a family is a family of its own.
        leave_out: a folder not to look into.

    Raises:
        FileNotFoundError, ValueError: a source is missing or not of a kind that is known, or there is none at all.
    """
    sources = [sources] if isinstance(sources, str | os.PathLike) else list(sources)
    paths: list[Path] = []
    labels: dict[Path, dict[str, str]] = {}
    family_of: dict[str, str] = {}
    for source in map(Path, sources):
        if source.is_dir():
            found = (path for path in sorted(source.rglob("*")) if path.suffix.lower() in CLIPS | PHOTOGRAPHS)
            found = (path for path in found if not _is_hidden(path, source) and not _is_within(path, leave_out))
            paths += [path for path in found if path.is_file()]
            if (source / "manifest.csv").is_file():
                labels |= _read_manifest(source / "manifest.csv")
            if families is None and (source / "families.csv").is_file():
                family_of |= _read_families(source / "families.csv")
        elif not source.is_file():
            raise FileNotFoundError(f"{source}: no such file or folder")
        elif source.suffix.lower() == ".csv":
            table = _read_manifest(source)
            missing = [str(path) for path in table if not path.is_file()]
            if missing:
                raise FileNotFoundError(f"{source}: names {len(missing)} files that don't exist, first {missing[0]}")
            paths += table
            labels |= table
        elif source.suffix.lower() in CLIPS | PHOTOGRAPHS:
            paths.append(source)
        else:
            raise ValueError(f"{source}: neither a clip nor a photograph nor a CSV table, by its suffix")
    paths = list(dict.fromkeys(path.absolute() for path in paths))
    if not paths:
        raise ValueError(f"no clip or photograph in {', '.join(map(str, sources))}")
    if families is not None:
        family_of = _read_families(Path(families))
    return _named(paths, labels, family_of)


def with_takes(sources: list[Source], takes: int) -> list[Source]:
    """The sources, then further takes of every photograph, `NAME_take2` and so on, until it has so many.

    A take is a clip by another camera: a content of its own, in the family of the photograph.

    Raises:
        ValueError: a source has the name or the content of a take of another.
    """
    found = list(sources)
    known = {label for source in sources for label in (source.name.lower(), source.content_id)}
    before = {source: (source,) for source in sources if source.is_photograph}
    for take in range(2, takes + 1):
        for first, earlier in before.items():
            name, content = f"{first.name}_take{take}", f"{first.content_id}_take{take}"
            if {name.lower(), content} & known:
                raise ValueError(
                    f"{first.path}: its take {take} would be called {name}, as another source is: rename one"
                )
            found.append(replace(first, name=name, content_id=content, earlier=earlier))
            before[first] = (*earlier, found[-1])
    return found


def _named(paths: list[Path], labels: dict[Path, dict[str, str]], family_of: dict[str, str]) -> list[Source]:
    stems = Counter(path.stem for path in paths)
    contents = {}
    for path in paths:
        own = path.stem if stems[path.stem] == 1 else f"{path.parent.name}_{path.name}"
        contents[path] = labels.get(path, {}).get("content_id") or own
    sizes = Counter(contents.values())
    named, taken = [], set()
    for path, content in contents.items():
        plain = name = re.sub(r"[^\w.-]+", "_", content if sizes[content] == 1 else f"{content}_{path.stem}").lstrip(
            "."
        )
        number = 1
        while not name or name.lower() in taken:  # lower: not all file systems tell cases apart
            number += 1
            name = f"{plain}_{number}"
        taken.add(name.lower())
        family = family_of.get(content) or labels.get(path, {}).get("family") or content
        named.append(Source(path, content, family, name))
    return named


def _read_manifest(path: Path) -> dict[Path, dict[str, str]]:
    rows = _read_csv(path)
    column = next((name for name in ("file", "video", "path", "filename") if rows and name in rows[0]), None)
    if column is None:
        raise ValueError(f"{path}: has no rows, or no column named file, video, path or filename")
    return {(path.parent / row[column]).absolute(): row for row in rows if row[column]}


def _read_families(path: Path) -> dict[str, str]:
    rows = _read_csv(path)
    if not rows or not {"content_id", "family"} <= set(rows[0]):
        raise ValueError(f"{path}: must have rows with the columns content_id and family")
    return {row["content_id"]: row["family"] for row in rows}


def _read_csv(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [{name: value or "" for name, value in row.items() if name} for row in csv.DictReader(file)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: is not a UTF-8 CSV table ({error})") from error


def _is_hidden(path: Path, root: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(root).parts)


def _is_within(path: Path, folder: Path | None) -> bool:
    return folder is not None and path.absolute().is_relative_to(folder.absolute())
