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

from safetensors import SafetensorError, safe_open

from ..files import csv_text, json_text, write_text
from ..models import FAMILIES, video_processing_internvideo2
from ..models.configuration_video_quality import CUSTOM_PIPELINES, PROCESSOR
from .example import EXAMPLE, write_example
from .model_card import model_card, results_files


CODE = Path(video_processing_internvideo2.__file__).parent
HANDLER = Path(__file__).with_name("handler.py")
REQUIREMENTS = Path(__file__).with_name("handler_requirements.txt")

# What may be published of a run; everything else stays where it is.
PATTERNS = (
    *("config.json", "video_preprocessor_config.json", "run.json", "report.md", "sanity.md", "LICENSE", EXAMPLE),
    *("test/results.json", "test/table.md", "test/predictions.csv", "test/scatter.png"),
    *("onnx/*.onnx", "onnx/*.onnx_data", "onnx/*.json", "onnx/requirements.txt", "onnx/cvqa_onnx/*.py"),
)
# Files of earlier uploads that go with a new one: weights that would be loaded in its stead, and what Trainer uploads.
STALE = (
    *("*.safetensors", "*.safetensors.index.json", "onnx/", "test/", ".eval_results/"),
    *("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"),
)
TEXT_SUFFIXES = {".json", ".md", ".csv", ".yaml", ".txt"}
_NAME = r"[\w.+@\\-][\w.+@ \\-]*"
ABSOLUTE_PATH = re.compile(
    rf"""(?<![\w/.~*<)\]}}-])/(?:{_NAME}/)+(?:{_NAME})?   # /home/me, not the path of a URL
    | (?<=["'=])/[\w.-]+(?=["'])                          # "/data"
    | file:/+\w | \b[A-Za-z]:\\+\w | \\{{2,4}}[\w.-]+\\{{1,2}}\w""",
    re.VERBOSE,
)
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
    weights = _check_source(source)
    if target.resolve() == source.resolve():
        raise ValueError(f"{target}: is the model itself; name a new folder")
    with replacing_folder(target, marker=HANDLER.name) as fresh:
        for path in [*weights, *_published(source)]:
            copy = fresh / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        _clean(fresh)
        write_code(fresh)
        shutil.copyfile(HANDLER, fresh / "handler.py")
        shutil.copyfile(REQUIREMENTS, fresh / "requirements.txt")
        if not (fresh / EXAMPLE).is_file():
            write_example(fresh / EXAMPLE)
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
    if target.exists() and not target.is_dir():
        raise ValueError(f"{target}: is a file; name a new folder")
    if target.is_dir() and any(target.iterdir()) and not (target / marker).is_file():
        raise ValueError(f"{target}: holds something else; name a new folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as scratch:
        fresh, old = Path(scratch, "new", target.name), Path(scratch, "old")  # a card takes its name from the folder
        fresh.mkdir(parents=True)
        yield fresh
        try:
            if target.exists():
                target.rename(old)
            fresh.rename(target)
        except BaseException:
            if old.exists() and not target.exists():
                old.rename(target)
            raise


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
            found = ABSOLUTE_PATH.search(line)
            if found:
                raise ValueError(
                    f"{(named or folder) / path.relative_to(folder)}: line {number} holds the absolute path "
                    f"{found[0]!r}, which would be published; remove it and try again"
                )


def _check_source(source: Path) -> list[Path]:
    """The files of the weights: the ones that `from_pretrained` would load."""
    if not (source / "config.json").is_file():
        raise FileNotFoundError(f"{source}: not a model folder, it has no config.json")
    if not (source / "video_preprocessor_config.json").is_file():
        raise FileNotFoundError(
            f"{source}: has no video_preprocessor_config.json; save the processor beside the model: "
            "processor.save_pretrained(folder)"
        )
    one, index = source / "model.safetensors", source / "model.safetensors.index.json"
    if not one.is_file() and not index.is_file():
        other = next((path for suffix in ("bin", "pt", "pth") for path in sorted(source.glob(f"*.{suffix}"))), None)
        found = f"only {other.name}, which may hold any code" if other else "no weights"
        raise FileNotFoundError(f"{source}: has {found}; save the model with save_pretrained, as safetensors")
    shards = [one] if one.is_file() else [source / name for name in sorted(set(_json(index)["weight_map"].values()))]
    for shard in shards:
        try:
            with safe_open(shard, "np") as file:
                file.keys()
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{shard}: is not a complete safetensors file ({error}); save the model again") from None
    return shards if one.is_file() else [index, *shards]


def _published(source: Path) -> Iterator[Path]:
    for pattern in PATTERNS:
        yield from (path for path in sorted(source.glob(pattern)) if path.is_file())


def _clean(folder: Path) -> None:
    """Take out what tells of the machine, and let the configuration name the classes of this version."""
    for name in ("config.json", "video_preprocessor_config.json"):
        values = _json(folder / name)
        values.pop("_name_or_path", None)
        if name == "config.json":
            places = {config.model_type: config.code_files for config, *_ in FAMILIES}.get(values.get("model_type"))
            if places is None:
                raise ValueError(f"{name}: model_type {values.get('model_type')!r} is not a model of this package")
            values |= {"auto_map": places, "custom_pipelines": CUSTOM_PIPELINES}
        else:
            values["auto_map"] = {"AutoVideoProcessor": PROCESSOR}
        write_text(folder / name, json_text(values))
    # As the processor saves it: without an image processor, the built-in pipeline refuses to batch.
    stand_in = {"auto_map": {"AutoImageProcessor": PROCESSOR}}
    write_text(folder / "preprocessor_config.json", json_text(stand_in))
    predictions = folder / "test" / "predictions.csv"
    if predictions.is_file():
        rows = list(csv.DictReader(io.StringIO(predictions.read_text(encoding="utf-8"), newline="")))
        rows = [{**row, "file": re.split(r"[/\\]", row["file"])[-1]} for row in rows]
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


def _json(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name}: is not JSON: {error}") from None
