"""What a comparison found: one table, its numbers for machines, all predictions, and two pictures."""

import csv
import json
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..evaluation.compared import (
    COMPARED,
    ContentResamples,
    Estimate,
    RunFigures,
    mean_difference,
    mean_of_differences,
    mean_over_runs,
)
from ..evaluation.intervals import MIN_CONTENTS
from ..evaluation.tables import EFFECT, TITLES
from ..files import csv_text, json_text, replacing, write_bytes, write_text
from .comparison import PREDICTIONS, RUN, costs_of, finite, is_done, subject_of
from .comparison_plots import cost_png, gain_png
from .experiment import STUDENT, TEACHER, Experiment, Run


# Those who teach; students that learn from the labels alone, from a teacher of their own family, and of another one.
GROUPS = ("teacher", "labels alone", "homologous", "heterogeneous")
RUNS_PER_PROCESS = 4  # fewer are not worth starting a process


@dataclass(frozen=True)
class Line:
    """One row of the table: a model trained in one way, or (`student` None) the mean over the students of a group."""

    group: str
    student: str | None
    arm: str
    figures: dict[str, Estimate]
    against: str | None = None
    gains: dict[str, Estimate] | None = None  # this arm less `against`, same seeds and splits; None if not comparable
    teacher: str | None = None
    to_teacher: Estimate | None = None  # its SRCC less that of its teacher
    cost: dict | None = None
    students: int = 1


def report(experiment: Experiment, output: str | os.PathLike, resamples: int = 1000) -> Path:
    """Write `results/` of the finished runs: table.md, table.csv, results.json, predictions.parquet and two pictures.

    Args:
        output: folder of the comparison, see `carry_out`.
        resamples: of the contents, for the 95 % intervals.

    Returns the folder. Raises ValueError if no run is finished.
    """
    output = Path(output)
    runs = [run for run in experiment.runs() if is_done(output, run)]
    if not runs:
        raise ValueError(f"{output}: no run is finished yet, there is nothing to compare")
    tables = [read_predictions(output, run) for run in runs]
    figures = figures_of(tables, experiment.mapping, resamples)
    facts = [json.loads((output / run.name / RUN).read_text(encoding="utf-8")) for run in runs]
    lines = lines_of(experiment, runs, figures, facts, costs_of(output))
    missing = [run.name for run in experiment.runs() if not is_done(output, run)]
    remarks = remarks_of(experiment, lines, tables, facts, missing, resamples)

    folder = output / "results"
    folder.mkdir(exist_ok=True)
    write_text(folder / "table.md", markdown(lines, remarks))
    write_text(folder / "table.csv", csv_text(*cells(lines)))
    write_text(
        folder / "results.json",
        json_text(
            finite(
                {
                    "lines": [asdict(line) for line in lines],
                    "runs": [
                        {"name": run.name, "test": found.values, "facts": about}
                        for run, found, about in zip(runs, figures, facts)
                    ],
                    "missing": missing,
                    "mapping": experiment.mapping,
                    "resamples": resamples,
                    "confidence": 0.95,
                    "remarks": remarks,
                }
            )
        ),
    )
    write_predictions(folder / "predictions.parquet", runs, tables)
    write_bytes(folder / "gain.png", gain_png(lines))
    write_bytes(folder / "cost.png", cost_png(lines))
    return folder


# ---- figures ----


def read_predictions(output: Path, run: Run) -> list[dict]:
    with (output / run.name / PREDICTIONS).open(encoding="utf-8", newline="") as file:
        return [
            {**row, "score": float(row["score"]), "prediction": float(row["prediction"])}
            for row in csv.DictReader(file)
        ]


def figures_of(tables: Sequence[list[dict]], mapping: str, resamples: int) -> list[RunFigures]:
    contents = {row["content_id"] for rows in tables for row in rows}
    compute = partial(run_figures, contents=contents, mapping=mapping, resamples=resamples)
    processes = min(os.cpu_count() or 1, len(tables) // RUNS_PER_PROCESS)
    if processes < 2:
        return list(map(compute, tables))
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(compute, tables))


def run_figures(rows: list[dict], contents: set[str], mapping: str, resamples: int) -> RunFigures:
    """The figures on the videos that could be read."""
    rows = [row for row in rows if np.isfinite(row["prediction"])]
    predictions, scores, content_ids = ([row[name] for row in rows] for name in ("prediction", "score", "content_id"))
    return ContentResamples(contents, resamples).figures(predictions, scores, content_ids, mapping)


def lines_of(
    experiment: Experiment,
    runs: Sequence[Run],
    figures: Sequence[RunFigures],
    facts: Sequence[dict],
    costs: dict,
) -> list[Line]:
    """Group by group the models with each of their arms, then the means of the group."""
    found = {run.name: one for run, one in zip(runs, figures)}
    # A teacher that was given is named by its folder.
    folders = {run.model: run.name for run in runs if run.role == TEACHER and not run.is_trained}
    teachers = {run.name: run.needs or folders.get(run.teacher) for run in runs}
    groups, of_line = {}, {}
    for run, about in zip(runs, facts):
        key = (run.role, run.subject, run.arm)
        groups[key] = group_of(run, about)
        of_line.setdefault(key, []).append(run)
    views = sorted({arm for role, _, arm in of_line if role == TEACHER})
    keys = [(TEACHER, name, view) for name in experiment.teachers for view in views]
    keys += [(STUDENT, name, arm) for name in experiment.students for arm in experiment.arms]

    lines = []
    generator = np.random.default_rng(0)
    for group in GROUPS:
        pairs_of_arm: dict[str, list] = {}
        for role, subject, arm in keys:
            if groups.get((role, subject, arm)) != group:
                continue
            own = of_line[role, subject, arm]
            against = experiment.arms[arm].against if role == STUDENT else None
            pairs = _pairs(own, of_line.get((role, subject, against), ()), found)
            if pairs:
                pairs_of_arm.setdefault(arm, []).append(pairs)
            with_teacher = [(found[run.name], found[teacher]) for run in own if (teacher := teachers.get(run.name))]
            lines.append(
                Line(
                    group=group,
                    student=subject,
                    arm=arm,
                    figures={name: mean_over_runs([found[run.name] for run in own], name) for name in COMPARED},
                    against=against,
                    gains={name: mean_difference(pairs, name, generator) for name in COMPARED} if pairs else None,
                    teacher=experiment.teacher_of(experiment.arms[arm]) if role == STUDENT else None,
                    to_teacher=mean_difference(with_teacher, "srcc", generator) if with_teacher else None,
                    cost=costs.get(subject_of(own[0])),
                )
            )
        for arm, pairs in pairs_of_arm.items():
            if len(pairs) > 1:
                ends = [[pair[0] for pair in one] for one in pairs]
                lines.append(
                    Line(
                        group=group,
                        student=None,
                        arm=arm,
                        figures={name: _mean_of_students(ends, name) for name in COMPARED},
                        against=experiment.arms[arm].against,
                        teacher=experiment.teacher_of(experiment.arms[arm]),
                        gains={name: mean_of_differences(pairs, name, generator) for name in COMPARED},
                        students=len(pairs),
                    )
                )
    return lines


def group_of(run: Run, facts: dict) -> str:
    if run.role == TEACHER:
        return "teacher"
    if not facts["teacher"]:
        return "labels alone"
    return "homologous" if facts["model"]["family"] == facts["teacher"]["family"] else "heterogeneous"


def _pairs(own: Sequence[Run], others: Sequence[Run], found: dict[str, RunFigures]) -> list[tuple]:
    """Runs of two arms with the same seed on the same split."""
    partner = {(run.seed, run.split_seed): run for run in others}
    return [
        (found[run.name], found[partner[run.seed, run.split_seed].name])
        for run in own
        if (run.seed, run.split_seed) in partner
    ]


def _mean_of_students(students: Sequence[Sequence[RunFigures]], name: str) -> Estimate:
    means = [
        RunFigures(
            {name: float(np.mean([run.values[name] for run in runs]))},
            {name: np.mean([run.resamples[name] for run in runs], axis=0)},
        )
        for runs in students
    ]
    return mean_over_runs(means, name)


# ---- writing ----


def markdown(lines: Sequence[Line], remarks: Sequence[str]) -> str:
    header = ["group", "model", "arm", "teacher", "runs", *TITLES.values(), "against", "gain in SRCC"]
    header += ["gain within content", "SRCC less teacher's", "parameters", "GMACs", "latency"]
    body = []
    for line in lines:
        gains = [line.gains and line.gains[name] for name in ("srcc", "within_content_srcc")]
        student = line.student if line.student is not None else f"*mean of {line.students}*"
        runs = str(line.figures["srcc"].runs) if line.student is not None else ""
        body.append([line.group, student, line.arm, line.teacher or "", runs])
        body[-1] += [number(line.figures[name], 2 if name == "rmse" else 3) for name in TITLES]
        body[-1] += [(line.against or "") if line.gains else "", *map(gain, gains), gain(line.to_teacher)]
        body[-1] += _cost(line.cost)
    rule = ["---"] * 4 + ["---:"] * (len(header) - 4)
    table = "\n".join("| " + " | ".join(row) + " |" for row in (header, rule, *body))
    return table + "\n\n" + "\n".join(f"- {remark}" for remark in remarks) + "\n"


def number(estimate: Estimate, digits: int = 3, sign: str = "") -> str:
    """ "0.912 [0.874, 0.941]" """
    if estimate.value is None:
        return "undefined"
    text = f"{estimate.value:{sign}.{digits}f}"
    if estimate.interval is None:
        return text
    return text + f" [{estimate.interval[0]:{sign}.{digits}f}, {estimate.interval[1]:{sign}.{digits}f}]"


def gain(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    return f"**{number(estimate, sign='+')}**" if estimate.is_clear else number(estimate, sign="+")


def _cost(cost: dict | None) -> list[str]:
    if cost is None:
        return ["", "", ""]
    return [f"{cost['parameters'] / 1e6:.1f} M", f"{cost['macs'] / 1e9:.1f}", f"{cost['latency_ms']:.1f} ms"]


def cells(lines: Sequence[Line]) -> tuple[list[str], list[dict]]:
    """Columns and rows of table.csv: every number in a cell of its own."""
    rows = []
    for line in lines:
        row = {"group": line.group, "student": line.student or f"mean of {line.students}", "arm": line.arm}
        row |= {"teacher": line.teacher, "runs": line.figures["srcc"].runs}
        row |= {"against": line.against if line.gains else None}
        to_teacher = {"srcc": line.to_teacher} if line.to_teacher else {}
        for prefix, estimates in (("", line.figures), ("gain_", line.gains or {}), ("to_teacher_", to_teacher)):
            for name, estimate in estimates.items():
                low, high = estimate.interval or (None, None)
                row |= {
                    f"{prefix}{name}": estimate.value,
                    f"{prefix}{name}_low": low,
                    f"{prefix}{name}_high": high,
                    f"{prefix}{name}_spread": estimate.spread,
                }
        cost = line.cost or {}
        rows.append(row | {name: cost.get(name) for name in ("parameters", "macs", "clip", "latency_ms", "machine")})
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return columns, [{name: "" if value is None else value for name, value in row.items()} for row in rows]


def remarks_of(
    experiment: Experiment,
    lines: Sequence[Line],
    tables: Sequence[list[dict]],
    facts: Sequence[dict],
    missing: Sequence[str],
    resamples: int,
) -> list[str]:
    """What must stand beside the figures."""
    contents = {row["content_id"] for rows in tables for row in rows}
    videos = " or ".join(map(str, sorted({len(rows) for rows in tables})))
    data = facts[0]["data"]
    remarks = [
        f"Test split of {data['dataset']}, by content: {videos} videos, {len(contents)} contents, labels "
        f"{data['scale']['label_kind'].upper()}. Split seeds {', '.join(map(str, experiment.split_seeds))}, seeds "
        f"{', '.join(map(str, experiment.seeds))}. Checkpoints were chosen on validation.",
        f"{experiment.mapping}: PLCC and RMSE {EFFECT[experiment.mapping]}; rank correlations need no mapping.",
        "Homologous: of the family of its teacher. Heterogeneous: of another one.",
        f"Figures are means over runs; [ ]: 95% percentile bootstrap interval over contents, {resamples} resamples.",
        "Gains are paired: same seed, split and contents. Their intervals are over contents and runs, those of a mean "
        "of students not over students. Bold: 0 is outside.",
    ]
    if experiment.test_views > 1:
        remarks.append(f"A prediction is the mean over {experiment.test_views} views, the same for all models.")
    if len(contents) < MIN_CONTENTS:
        remarks.append(f"No intervals: {MIN_CONTENTS} contents are needed.")
    unreadable = {row["file"] for rows in tables for row in rows if not np.isfinite(row["prediction"])}
    if unreadable:
        remarks.append(f"In no figure, since no model can read them: {', '.join(sorted(unreadable))}.")
    clips = {line.cost["clip"]: line.cost["machine"] for line in lines if line.cost}
    remarks += [f"Costs are those of one clip alone, {clip}, float32: {where}." for clip, where in clips.items()]
    if missing:
        remarks.append(f"NOT FINISHED, and so in no figure ({len(missing)}): {', '.join(missing)}.")
    return remarks


def write_predictions(path: Path, runs: Sequence[Run], tables: Sequence[list[dict]]) -> None:
    """All predictions in one file, with the run that each is of."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [
        {"student": run.subject, "arm": run.arm, "seed": run.seed, "split_seed": run.split_seed, **row}
        for run, table in zip(runs, tables)
        for row in table
    ]
    with replacing(path) as partial_file:
        pq.write_table(pa.Table.from_pylist(rows), partial_file)
