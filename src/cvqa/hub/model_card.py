"""The card of a model, made from what its folder says of itself: nothing is claimed that was not written by a run."""

import json
from pathlib import Path

import yaml
from huggingface_hub import EvalResult, ModelCardData

from ..evaluation.metrics import FIGURES
from ..evaluation.summary import Figure, Summary
from ..evaluation.tables import markdown_table
from .cards import render
from .example import EXAMPLE


METRIC_NAMES = {
    "srcc": "SRCC",
    "plcc": "PLCC",
    "krcc": "KRCC",
    "rmse": "RMSE",
    "within_content_srcc": "SRCC within content",
}
LABELS = {
    "vmaf": "VMAF, a full-reference metric: the model tells what VMAF would say if it had the source. "
    "It is not an opinion score",
    "mos": "mean opinion scores (MOS) of viewers",
    "dmos": "differential mean opinion scores (DMOS) of viewers",
}
LICENCE = "apache-2.0"
TASK = ("video-classification", "Video quality assessment")


def model_card(folder: str | Path, repo_id: str | None = None) -> str:
    """The README.md of the model in a folder.

    Args:
        folder: holds config.json, and of a run: run.json and test/results.json. What is missing is said to be unknown.
        repo_id: where it is published ("org/name"); the snippets name it, else the folder.

    Raises FileNotFoundError, ValueError: no readable config.json.
    """
    folder = Path(folder)
    config, run, summary = _json(folder / "config.json", required=True), _json(folder / "run.json"), _summary(folder)
    processor = _json(folder / "video_preprocessor_config.json")
    name = (repo_id or folder.resolve().name).split("/")[-1]
    metadata = ModelCardData(
        license=LICENCE,
        library_name="transformers",
        pipeline_tag=TASK[0],
        tags=_tags(config),
        metrics=list(FIGURES) if summary else None,
        model_name=name,
        eval_results=_eval_results(summary) or None,
        base_model=(run.get("model") or {}).get("repository"),
        widget=_widget(repo_id),
    )
    return render(
        "model",
        metadata,
        name=name,
        model=repo_id or folder.resolve().name,
        config=config,
        labels=LABELS.get(config["label_kind"], config["label_kind"]),
        label_kind=config["label_kind"].upper(),
        mapping=_mapping(config.get("score_mapping")),
        run=run,
        loss=" + ".join(_loss_part(name, given) for name, given in run.get("loss_weights", {}).items()),
        processor=processor,
        summary=summary,
        results=markdown_table(summary) if summary else "",
        report=_text(folder / "report.md"),
        sanity=_text(folder / "sanity.md"),
        has_onnx=(folder / "onnx").is_dir(),
    )


def results_files(folder: str | Path, repo_id: str | None = None) -> dict[str, str]:
    """Name -> text of the files in `.eval_results/`, the Hub's newer form beside `model-index`; empty without results.

    Each entry names data set, split, mapping, n and interval in its notes.
    """
    summary = _summary(Path(folder))
    if summary is None:
        return {}
    entries = [
        {
            "dataset": {"id": summary.dataset or "unknown", "task_id": f"{figure.split}-{figure.metric}"},
            "value": round(figure.value, 6),
            "notes": _conditions(figure, summary),
        }
        for figure in _figures(summary)
    ]
    return {"video_quality.yaml": yaml.safe_dump(entries, sort_keys=False, allow_unicode=True)}


def _tags(config: dict) -> list[str]:
    tags = ["video-quality-assessment", "no-reference", "video", "compression", f"labels-{config['label_kind']}"]
    return [*tags, "custom_code", config["model_type"]]


def _figures(summary: Summary) -> list[Figure]:
    return [f for f in summary.figures if f.subset == "all" and f.value is not None and f.metric in METRIC_NAMES]


def _conditions(figure: Figure, summary: Summary) -> str:
    interval = (
        "no interval"
        if figure.interval is None
        else f"{summary.confidence:.0%} interval over contents [{figure.interval[0]:.3f}, {figure.interval[1]:.3f}]"
    )
    return (
        f"{METRIC_NAMES[figure.metric]} to {(summary.label_kind or 'unknown').upper()}, split {figure.split}, "
        f"mapping {figure.mapping}, n = {figure.n} videos of {figure.n_contents} contents, {interval}"
    )


def _eval_results(summary: Summary | None) -> list[EvalResult]:
    if summary is None:
        return []
    return [
        EvalResult(
            task_type=TASK[0],
            task_name=TASK[1],
            dataset_type=(summary.dataset or "unknown").lower().replace(" ", "-"),
            dataset_name=summary.dataset or "unknown",
            dataset_split=figure.split,
            metric_type=figure.metric,
            metric_name=_conditions(figure, summary),
            metric_value=round(figure.value, 6),
        )
        for figure in _figures(summary)
    ]


def _widget(repo_id: str | None) -> list[dict] | None:
    """The example that every published folder brings, for the page of the model."""
    if repo_id is None:
        return None
    return [{"src": f"https://huggingface.co/{repo_id}/resolve/main/{EXAMPLE}", "example_title": "a compressed clip"}]


def _mapping(mapping: dict | None) -> str:
    if mapping is None:
        return "none: the raw output is taken as the label"
    return f"{mapping['name']}, parameters {', '.join(f'{p:.5g}' for p in mapping['parameters'])}"


def _loss_part(name: str, given: float | dict) -> str:
    """A part of the loss with its weight, and in words how the weight changes over the training."""
    if not isinstance(given, dict):
        return f"{given} × {name}"
    given = dict(given)
    weight, warmup, schedule, final, end = (
        given.pop(option, default)
        for option, default in (("weight", 1.0), ("warmup", 0), ("schedule", "constant"), ("final", 0), ("end", 1))
    )
    words = [f"{option} {value}" for option, value in given.items()]
    if warmup:
        words.append(f"from 0 over the first {warmup:.0%} of the training")
    if schedule != "constant":
        words.append(f"{schedule} to {final} at {end:.0%} of the training")
    elif end < 1:
        words.append(f"{final} after {end:.0%} of the training")
    return f"{weight} × {name}" + (f" ({', '.join(words)})" if words else "")


def _summary(folder: Path) -> Summary | None:
    values = _json(folder / "test" / "results.json")
    return Summary.from_dict(values) if values else None


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def _json(path: Path, required: bool = False) -> dict:
    if not path.is_file() and not required:
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: is not JSON: {error}") from error
