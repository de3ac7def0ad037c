"""A model folder that stands alone on the Hub: weights, configuration, code, card, handler, results."""

import csv
import io
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..files import csv_text, json_text, write_text
from ..models import video_processing_internvideo2
from ..models.configuration_internvideo2 import AUTO_MAP, CUSTOM_PIPELINES
from .model_card import model_card, results_files


CODE = Path(video_processing_internvideo2.__file__).parent
HANDLER = Path(__file__).with_name("handler.py")
REQUIREMENTS = Path(__file__).with_name("handler_requirements.txt")

# What may be published of a run; everything else stays where it is.
PATTERNS = (
    *("config.json", "video_preprocessor_config.json", "run.json", "LICENSE", "example.mp4"),
    *("model.safetensors", "model-*.safetensors", "model.safetensors.index.json"),
    *("test/results.json", "test/table.md", "test/predictions.csv", "test/scatter.png"),
    *("onnx/*.onnx", "onnx/*.onnx_data", "onnx/*.json", "onnx/*.py"),
)
TEXT_SUFFIXES = {".json", ".md", ".csv", ".yaml", ".txt"}
_ABSOLUTE_PATH = re.compile(r"""(?<![\w:/.<)\]}-])(?:/(?:[\w.+@ -]+/)+[\w.+@-]+|[A-Za-z]:\\[^\s"',]+)""")
_MODULE = re.compile(r"^from \.(\w+) import", re.MULTILINE)


def write_model_folder(source: str | Path, target: str | Path, repo_id: str | None = None) -> Path:
    """Gather what a published model needs from the folder of a run, or of any saved model.

    Args:
        source: config.json, safetensors and video_preprocessor_config.json, and what a run leaves beside them.
        target: made or replaced as a whole; it must not hold anything else than an earlier such folder.
        repo_id: where it will be published; the card names it.

    Returns `target`.

    Raises:
        FileNotFoundError, ValueError: something is missing, weights that are no safetensors, an absolute path in a
            text; the text names the file and the way out. `target` is then as it was.
    """
    source, target = Path(source), Path(target)
    _check_source(source)
    with replacing_folder(target, marker="config.json") as fresh:
        for path in _published(source):
            copy = fresh / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        _clean(fresh)
        write_code(fresh)
        shutil.copyfile(HANDLER, fresh / "handler.py")
        shutil.copyfile(REQUIREMENTS, fresh / "requirements.txt")
        write_text(fresh / "README.md", model_card(fresh, repo_id))
        for name, text in results_files(fresh).items():
            (fresh / ".eval_results").mkdir(exist_ok=True)
            write_text(fresh / ".eval_results" / name, text)
        check_public(fresh, named=source)
    return target


@contextmanager
def replacing_folder(target: Path, marker: str) -> Iterator[Path]:
    """An empty folder beside `target` that takes its place at the end of the block; an error leaves `target` as it was.

    Raises ValueError if `target` holds files, but not the `marker` of an earlier output: those are not ours to remove.
    """
    target = target.resolve()
    if target.exists() and any(target.iterdir()) and not (target / marker).is_file():
        raise ValueError(f"{target}: holds something else; name a new folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    fresh.chmod(0o755)
    try:
        yield fresh
        shutil.rmtree(target, ignore_errors=True)
        fresh.rename(target)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def write_code(folder: Path) -> None:
    """Puts the code beside a model that its configuration names, pipeline and all that they import included."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for module in _modules(config):
        shutil.copyfile(CODE / f"{module}.py", folder / f"{module}.py")


def check_public(folder: Path, named: Path | None = None) -> None:
    """Raises ValueError, naming file and line, if a text in `folder` holds an absolute path."""
    for path in sorted(folder.rglob("*")):
        if path.suffix not in TEXT_SUFFIXES:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            found = _ABSOLUTE_PATH.search(line)
            if found:
                raise ValueError(
                    f"{(named or folder) / path.relative_to(folder)}: line {number} holds the absolute path "
                    f"{found[0]!r}, which would be published; remove it and try again"
                )


def _check_source(source: Path) -> None:
    if not (source / "config.json").is_file():
        raise FileNotFoundError(f"{source}: not a model folder, it has no config.json")
    if not (source / "video_preprocessor_config.json").is_file():
        raise FileNotFoundError(
            f"{source}: has no video_preprocessor_config.json; save the processor beside the model: "
            "processor.save_pretrained(folder)"
        )
    if not any(source.glob("model*.safetensors")):
        other = next(iter([*source.glob("*.bin"), *source.glob("*.pt"), *source.glob("*.pth")]), None)
        found = f"only {other.name}, which may hold any code" if other else "no weights"
        raise FileNotFoundError(f"{source}: has {found}; save the model with save_pretrained, as safetensors")


def _published(source: Path) -> Iterator[Path]:
    for pattern in PATTERNS:
        yield from (path for path in sorted(source.glob(pattern)) if path.is_file())


def _clean(folder: Path) -> None:
    """Take out what tells of the machine."""
    for name in ("config.json", "video_preprocessor_config.json"):
        values = json.loads((folder / name).read_text(encoding="utf-8"))
        values = {key: value for key, value in values.items() if key != "_name_or_path"}
        if name == "config.json":  # a folder of an earlier version names fewer classes
            values |= {"auto_map": AUTO_MAP, "custom_pipelines": CUSTOM_PIPELINES}
        write_text(folder / name, json_text(values))
    predictions = folder / "test" / "predictions.csv"
    if predictions.is_file():
        rows = list(csv.DictReader(io.StringIO(predictions.read_text(encoding="utf-8"), newline="")))
        rows = [{**row, "file": Path(row["file"]).name} for row in rows]
        write_text(predictions, csv_text(list(rows[0]) if rows else (), rows))


def _modules(config: dict) -> list[str]:
    """The code files that the configuration names, and all that they import."""
    references = [*(config.get("auto_map") or {}).values()]
    references += [task["impl"] for task in (config.get("custom_pipelines") or {}).values()]
    waiting = {reference.split("--")[-1].partition(".")[0] for reference in references}
    found: set[str] = set()
    while waiting:
        module = waiting.pop()
        found.add(module)
        waiting |= set(_MODULE.findall((CODE / f"{module}.py").read_text(encoding="utf-8"))) - found
    return sorted(found)
