"""What a comparison of students is: a description of data (JSON), and the list of runs that it stands for."""

import dataclasses
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .arguments import DistillationArguments, QualityArguments
from .run import DataArguments
from .students import is_place


KEYS = ("settings", "teachers", "students", "arms", "seeds", "split_seeds", "test_views", "mapping")
OWN_SETTINGS = ("model", "config", "image_size")
PLACES = ("data_dir", "cache_dir", "teacher_cache_dir")
TEACHER, STUDENT = "teacher", "student"


@dataclass(frozen=True)
class Run:
    """One model to be trained. `name` is its folder below that of the comparison."""

    name: str
    role: str  # TEACHER or STUDENT
    subject: str  # its name in the description
    arm: str  # of a teacher: how it looks at the video, if not as all do
    seed: int
    split_seed: int
    model: str  # what its weights start from
    config: dict = field(default_factory=dict)  # fields of the configuration of a model with random weights
    image_size: int | None = None
    data: dict = field(default_factory=dict)  # fields of `DataArguments`
    training: dict = field(default_factory=dict)  # fields of `QualityArguments` or `DistillationArguments`
    teacher: str | None = None  # folder of a model, or name of the run that makes it; None: learns from labels alone
    needs: str | None = None  # the run that must be finished before
    after: str | None = None  # the run that must have ended before, well or not
    is_trained: bool = True  # a given teacher is only tested
    test_views: int = 1

    @property
    def is_distilled(self) -> bool:
        return self.teacher is not None

    def facts(self) -> dict:
        """What makes two runs the same, wherever their data and their teacher lie."""
        facts = dataclasses.asdict(self)
        del facts["after"]
        for group in ("data", "training"):
            facts[group] = {name: value for name, value in facts[group].items() if name not in PLACES}
        if self.needs is None and self.teacher is not None:
            facts["teacher"] = Path(self.teacher).name
        if not self.is_trained:
            facts["model"] = Path(self.model).name
        return facts


@dataclass(frozen=True)
class Arm:
    """One way to train every student; `against` is the arm that it is compared with."""

    name: str
    settings: dict
    distill: bool = True
    against: str | None = None
    students: tuple[str, ...] | None = None  # None: all
    teacher: str | None = None  # None: the first


class Experiment:
    """
    Students × arms × seeds × splits, as a JSON object describes them:

    - `settings`: for all models: fields of `DataArguments`, `DistillationArguments` (what a run without a teacher does
      not know is left out there), and `image_size`, the side of the clips.
    - `students`: object from name to settings. `model` (default: the name) is what its weights start from, `config`
      fields of the configuration where they are random.
    - `teachers`: the same. A name of a model is trained first, once per split seed and way of looking at the video; a
      folder or repository is taken as it is.
    - `arms`: object from name to settings. `distill` (default true): whether it has a teacher; `teacher` (default: the
      first): which; `against` (default: the first arm): what it is compared with; `students`: a list, where it is not
      for all.
    - `seeds`: of initialisation, order and augmentation; `split_seeds`: which splits by content.
    - `test_views` (default 1): over how many views of a test video a prediction is the mean. The first is the one that
      the processor takes, the others lie elsewhere in the frame; they are the same for all models.
    - `mapping`: before PLCC and RMSE.

    Later settings win: `settings`, then those of the student (or teacher), then those of the arm.

    Raises ValueError naming what is wrong.
    """

    def __init__(self, description: dict):
        check_names(description, KEYS, "the experiment")
        for key in ("students", "arms"):
            if not isinstance(description.get(key), dict) or not description[key]:
                raise ValueError(f"the experiment needs {key!r}: an object from name to settings")
        self.settings = dict(description.get("settings", {}))
        self.teachers = {name: dict(settings) for name, settings in (description.get("teachers") or {}).items()}
        self.students = {name: dict(settings) for name, settings in description["students"].items()}
        first = next(iter(description["arms"]))
        self.arms = {name: _arm(name, dict(settings), first) for name, settings in description["arms"].items()}
        self.seeds = list(description.get("seeds", [0]))
        self.split_seeds = list(description.get("split_seeds", [0]))
        self.test_views = description.get("test_views", 1)
        self.mapping = description.get("mapping", "logistic4")
        self._check()

    @classmethod
    def from_file(cls, path: str | os.PathLike, teacher: str | None = None, **settings) -> "Experiment":
        """Read a JSON file; `settings` of that name are replaced, and by `teacher` the model of the first teacher."""
        try:
            description = json.loads(Path(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path}: is not JSON: {error}") from error
        if not isinstance(description, dict):
            raise ValueError(f"{path}: is not a JSON object")
        description["settings"] = description.get("settings", {}) | settings
        if teacher is not None:
            teachers = description.get("teachers") or {TEACHER: {}}
            first = next(iter(teachers))
            description["teachers"] = {**teachers, first: {**teachers[first], "model": teacher}}
        try:
            return cls(description)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def runs(self) -> list[Run]:
        """All runs, each after the one it needs: seed by seed, so that an early end leaves whole seeds; of one seed
        first those without a teacher, which may still be in training."""
        runs: dict[str, Run] = {}
        arms = sorted(self.arms.values(), key=lambda arm: arm.distill)
        for seed in self.seeds:
            for split_seed in self.split_seeds:
                for arm in arms:
                    for student in arm.students or self.students:
                        for run in self._runs(student, arm, seed, split_seed):
                            runs.setdefault(run.name, run)
        # The teachers take longest and most wait for them.
        return _one_asks(sorted(runs.values(), key=lambda run: run.role != TEACHER))

    def teacher_of(self, arm: Arm) -> str | None:
        """The name of its teacher."""
        return (arm.teacher or next(iter(self.teachers))) if arm.distill else None

    def _runs(self, student: str, arm: Arm, seed: int, split_seed: int) -> Iterable[Run]:
        settings = {**self.settings, **self.students[student], **arm.settings}
        where = f"{student}/{arm.name}/seed{seed}-split{split_seed}"
        run = self._run(where, STUDENT, student, arm.name, seed, split_seed, settings, arm.distill)
        if not arm.distill:
            return [run]
        teacher = self._teacher(arm, split_seed)
        if not teacher.is_trained:
            return [teacher, dataclasses.replace(run, teacher=teacher.model)]
        return [teacher, dataclasses.replace(run, teacher=teacher.name, needs=teacher.name)]

    def _teacher(self, arm: Arm, split_seed: int) -> Run:
        """The teacher sees the video as its student does: an arm with another view needs another teacher."""
        name = self.teacher_of(arm)
        view = {name: value for name, value in arm.settings.items() if name in (*fields(DataArguments), "image_size")}
        kind = "-".join(f"{name}={value}" for name, value in sorted(view.items()))
        where = "/".join(filter(None, (TEACHER, name, kind, f"split{split_seed}")))
        settings = {**self.settings, **self.teachers[name], **view}
        teacher = self._run(where, TEACHER, name, kind, self.seeds[0], split_seed, settings, distill=False)
        return dataclasses.replace(teacher, is_trained=not is_place(teacher.model))

    def _run(self, name, role, subject, arm, seed, split_seed, settings: dict, distill: bool) -> Run:
        known = fields(DistillationArguments if distill else QualityArguments)
        return Run(
            name=name,
            role=role,
            subject=subject,
            arm=arm,
            seed=seed,
            split_seed=split_seed,
            model=settings.get("model", subject),
            config=settings.get("config", {}),
            image_size=settings.get("image_size"),
            data={name: settings[name] for name in fields(DataArguments) if name in settings},
            training={name: value for name, value in settings.items() if name in known},
            test_views=self.test_views,
        )

    def _check(self) -> None:
        known = {*OWN_SETTINGS, *fields(DataArguments), *fields(DistillationArguments)} - {"seed", "output_dir"}
        for what, settings in (
            ("settings", self.settings),
            *((f"teacher {name!r}", settings) for name, settings in self.teachers.items()),
            *((f"student {name!r}", settings) for name, settings in self.students.items()),
            *((f"arm {arm.name!r}", arm.settings) for arm in self.arms.values()),
        ):
            check_names(settings, known, what)
        if any(arm.distill for arm in self.arms.values()) and not self.teachers:
            raise ValueError("an arm with a teacher needs 'teachers': an object from name to settings")
        for arm in self.arms.values():
            if arm.against not in (None, *self.arms):
                raise ValueError(f"arm {arm.name!r} is compared with {arm.against!r}; arms are {', '.join(self.arms)}")
            if arm.teacher not in (None, *self.teachers):
                raise ValueError(
                    f"arm {arm.name!r} has the teacher {arm.teacher!r}; teachers are {', '.join(self.teachers)}"
                )
            unknown = [name for name in arm.students or () if name not in self.students]
            if unknown:
                raise ValueError(f"arm {arm.name!r} has unknown students {', '.join(unknown)}")
        for name in (*self.teachers, *self.students, *self.arms):
            if not name or "/" in name or name.startswith("."):
                raise ValueError(f"{name!r} cannot be the name of a teacher, a student or an arm, it names a folder")
        if TEACHER in self.students:
            raise ValueError(f"{TEACHER!r} cannot be the name of a student, it names the folder of the teachers")


def _one_asks(runs: Sequence[Run]) -> list[Run]:
    """Where a teacher is asked once for all and its answers are kept, the first run asks, the others come after."""
    first: dict[str, str] = {}
    ordered = []
    for run in runs:
        if run.training.get("teacher_mode") == "cached":
            asked = [run.teacher, run.split_seed, run.image_size, run.data]
            asked += [run.training.get(name) for name in ("augment", "views")]
            name = first.setdefault(json.dumps(asked, sort_keys=True), run.name)
            run = dataclasses.replace(run, after=name if name != run.name else None)
        ordered.append(run)
    return ordered


def fields(arguments: type) -> tuple[str, ...]:
    return tuple(entry.name for entry in dataclasses.fields(arguments))


def check_names(settings: dict, known: Sequence[str], where: str) -> None:
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ValueError(f"{where} has unknown entries {', '.join(unknown)}; known are {', '.join(sorted(known))}")


def _arm(name: str, settings: dict, first: str) -> Arm:
    distill, students = settings.pop("distill", True), settings.pop("students", None)
    against, teacher = settings.pop("against", None if name == first else first), settings.pop("teacher", None)
    return Arm(name, settings, distill, against, tuple(students) if students is not None else None, teacher)
