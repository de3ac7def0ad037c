"""The evaluation of teacher and default student, as files and as text for the card."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from datasets import Dataset

from ..data import build_ladder
from ..data.ladder_dataset import load_ladder
from ..evaluation import Summary, markdown_table, save_report
from ..evaluation.bd_rate import bd_rate
from ..files import json_text, write_text
from ..inference import VideoScore
from .baselines import baseline_summaries
from .pair_order import order_sentences, pairs_in_order
from .score_store import SCORES
from .scoring import covered, distinct_scores, score_files, summarize_scores
from .settings import Settings
from .weak_spots import weak_groups


# Of a row of the ladder, what the groups of weak spots go by.
GROUP_COLUMNS = ("codec", "encoder", "preset", "rate_control", "first_encoder")
GROUP_COLUMNS += ("scaler", "frame_step", "bit_depth", "soft")


def evaluate(rows: dict[str, Dataset], settings: Settings, output: Path, workers: int) -> None:
    """Scores all that is held out with both models, and writes OUTPUT/report: a folder per model and split,
    `report.md` and `report.json`; what the card tells of it goes to the student."""
    store = output / SCORES
    results = {
        (name, split): score_files(output / name, rows[split]["video"][:], workers, store)
        for name in ("teacher", "student")
        for split in rows
        if split != "train"
    }
    baselines, not_measured = baseline_summaries(rows["test"], "test", workers)
    comparisons = compare_bd_rates(rows["test"], settings, output, output / "student", workers)
    folder, summaries, coverage = output / "report", [], {}
    for (name, split), scores in results.items():
        summary, table = summarize_scores(scores, rows[split], split, name)
        save_report(folder / name / split.replace(":", "_"), summary, table)
        summaries.append(summary if split == "test" else _overall(summary))
        if name == "student":
            coverage[split] = {"share": covered(scores, rows[split]["score"][:]), "videos": len(scores)}
    scored = {split: _scored_rows(results["student", split], rows[split]) for split in coverage}
    left_out = {split: scored[split] for split in scored if split not in ("validation", "test")}
    weak, looked = weak_groups(scored["test"], left_out), looked_at(results["student", "test"], settings.num_frames)
    order = pairs_in_order(scored["test"])
    facts = {
        "coverage": coverage,
        "order": order,
        "bd_rate": comparisons,
        "figures": [summary.to_dict() for summary in summaries],
    }
    write_text(folder / "report.json", json_text(facts | {"looked": looked, "weak_spots": weak}))
    sections = (looked, summaries, baselines, not_measured, order, coverage, comparisons, weak, settings.coverage)
    write_text(folder / "report.md", report_text(*sections))
    add_to_model(output / "student", folder)


def add_to_model(student: Path, folder: Path) -> None:
    """What the card of the student tells of the report: its test split, and the text."""
    for name in ("results.json", "table.md", "predictions.csv", "scatter.png"):
        target = student / "test" / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes((folder / "student" / "test" / name).read_bytes())
    write_text(student / "report.md", (folder / "report.md").read_text(encoding="utf-8"))


def looked_at(results: Sequence[VideoScore], num_frames: int) -> str:
    """What the model saw of each video, in a sentence."""
    counts = [len(distinct_scores(result.views)) for result in results if result.views]
    fewest, most = min(counts), max(counts)
    number = f"{most}" if fewest == most else f"{fewest} to {most}, {np.mean(counts):.1f} on average,"
    views = "one view" if most == 1 else f"the mean of {number} views"
    return f"Each video by {views} of {num_frames} frames, as `cvqa score` looks at it, against VMAF."


def _scored_rows(results: Sequence[VideoScore], rows: Dataset) -> list[dict]:
    columns = [name for name in GROUP_COLUMNS if name in rows.column_names]
    return [
        {**row, "vmaf": row["score"], "predicted": result.score}
        for row, result in zip(rows.select_columns(["content_id", "score", *columns]).to_list(), results)
        if result.score is not None
    ]


def compare_bd_rates(test: Dataset, settings: Settings, output: Path, student: Path, workers: int) -> dict:
    """BD-rate of encoders against the first, from VMAF and from the student's scores, for contents of the test split.

    Encodes of their own, as the encodes of a content in the ladder share no settings: OUTPUT/bd_ladder.
    """
    references = sorted(set(test["reference"][:]))[: settings.bd_contents]
    recipe = [{"encoder": encoder, "quality": [0.0, 0.85]} for encoder in settings.bd_encoders]
    ladder = output / "bd_ladder"
    build_ladder(
        references,
        ladder,
        workers=workers or None,
        recipe=recipe,
        encodes_per_source=settings.bd_levels * len(recipe),
        max_frames=settings.ladder.get("max_frames", 64),
        seed=settings.seed,
    )
    rows = load_ladder(ladder)
    results = score_files(student, rows["video"][:], workers, output / SCORES)
    columns = zip(rows["content_id"][:], rows["encoder"][:], rows["bitrate_kbps"][:], rows["score"][:], results)
    points: dict[tuple[str, str], list] = {}
    for content, encoder, rate, vmaf, result in columns:
        if result.score is not None:
            points.setdefault((content, encoder), []).append((float(rate), vmaf, result.score))
    anchor, *others = settings.bd_encoders
    return {f"{other} against {anchor}": _bd_rates(points, anchor, other) for other in others}


def _bd_rates(points: dict, anchor: str, other: str) -> dict:
    contents, by_vmaf, by_score, undefined = sorted({content for content, _ in points}), [], [], []
    for content in contents:
        try:
            curves = [np.array(points[content, encoder]).T for encoder in (anchor, other)]
            pair = [bd_rate(curves[0][0], curves[0][k], curves[1][0], curves[1][k]) for k in (1, 2)]
        except (KeyError, ValueError) as error:
            undefined.append(f"{content}: {error}")
            continue
        by_vmaf.append(pair[0])
        by_score.append(pair[1])
    if not by_vmaf:
        return {"contents": 0, "undefined": undefined}
    difference = np.array(by_score) - by_vmaf
    return {
        "contents": len(by_vmaf),
        "same_sign": float(np.mean(np.sign(by_score) == np.sign(by_vmaf))),
        "mean_absolute_difference": float(np.abs(difference).mean()),
        "mean_by_vmaf": float(np.mean(by_vmaf)),
        "mean_by_score": float(np.mean(by_score)),
        "undefined": undefined,
    }


def _overall(summary: Summary) -> Summary:
    return replace(summary, figures=tuple(figure for figure in summary.figures if figure.subset == "all"))


def report_text(
    looked: str,
    summaries: Sequence[Summary],
    baselines: Sequence[Summary],
    not_measured: Mapping[str, str],
    order: Sequence[Mapping],
    coverage: dict,
    comparisons: dict,
    weak: Sequence[str],
    share: float,
) -> str:
    """The report in Markdown, headings of the third level."""
    lines = [
        "### Teacher and student",
        "",
        f"{looked} `codec:` and `preset:` are kinds of encodes that neither training nor validation has seen, of test "
        "contents.",
        "",
        markdown_table(*summaries),
        "### Baselines without a model",
        "",
        markdown_table(*baselines),
        *(f"{name} was not measured: {reason}.\n" for name, reason in not_measured.items()),
        "### Order within a content",
        "",
        "Pairs of encodes of one content of the test split that VMAF tells apart, in the order that the student says:",
        "",
        *order_sentences(order),
        "",
        "### Intervals",
        "",
        f"Made for {share:.0%} of the validation videos; they held VMAF of:",
        "",
        *(f"- {split}: {found['share']:.1%} of {found['videos']} videos" for split, found in coverage.items()),
        "",
        "### BD-rate from scores, against BD-rate from VMAF",
        "",
        *([f"- {name}: {_told(found)}" for name, found in comparisons.items()] or ["Not measured."]),
        "",
        "### Weak spots",
        "",
        "Errors are score less VMAF; of the test split where nothing else is said.",
        "",
        *(weak or ["No group of encodes is farther off than the rest."]),
        "",
    ]
    return "\n".join(lines)


def _told(found: dict) -> str:
    if not found["contents"]:
        return "undefined for all contents"
    return (
        f"same sign for {found['same_sign']:.0%} of {found['contents']} test contents; "
        f"mean {found['mean_by_vmaf']:.1f}% by VMAF, {found['mean_by_score']:.1f}% by scores; mean absolute difference "
        f"{found['mean_absolute_difference']:.1f} percentage points"
        + (f"; undefined for {len(found['undefined'])} more" if found["undefined"] else "")
    )
