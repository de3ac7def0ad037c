"""The phases from sources to the student that comes with the package; each is skipped where its output is there."""

import gc
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel

from ..data import build_ladder
from ..files import json_text, write_text
from ..hub.model_card import model_card
from ..inference.default_model import DEFAULT_MODEL as ASSETS
from .report import evaluate
from .sanity import score_sanity_set
from .sanity_set import make_sanity_set
from .score_store import SCORES
from .scoring import fit_interval, score_files
from .settings import Settings
from .training import RUN, domain_of, load_frames, load_rows, processes, train_student, train_teacher


logger = logging.getLogger(__name__)

PHASES = ("ladder", "frames", "teacher", "student", "calibrate", "evaluate", "sanity", "assets")
SHARED = ("frames", "teacher", "student")  # what several processes can do together
MAX_BYTES = 16_000_000


class Recipe:
    """
    The recipe of the default student in one folder.

    Args:
        sources: what `build_ladder` takes; None where the ladder is there already.
        output: ladder, frames, teacher, student and report go into this folder.
        settings: what decides the outcome.
        workers: processes that encode, decode and load; they decide nothing.
        assets: folder that the shipped model is written to.
    """

    def __init__(
        self,
        sources,
        output: Path,
        settings: Settings,
        workers: int = 0,
        assets: Path = ASSETS,
    ):
        self.sources, self.output, self.settings = sources, Path(output), settings
        self.workers, self.assets_folder = workers, Path(assets)

    def run(self, phases: Sequence[str] = PHASES) -> None:
        """Raises ValueError for a phase that there is not, one whose input is missing, or one for a single process in
        several."""
        is_alone = processes().num_processes == 1
        for name in phases:
            if name not in PHASES:
                raise ValueError(f"no phase is called {name!r}; there are {', '.join(PHASES)}")
            if not is_alone and name not in SHARED:
                raise ValueError(f"the phase {name} is for one process; several can share {', '.join(SHARED)}")
        torch.backends.cudnn.benchmark = True  # clips have one size
        self.output.mkdir(parents=True, exist_ok=True)
        for name in (name for name in PHASES if name in phases):
            started = time.monotonic()
            phase: Callable[[], None] = getattr(self, name)
            phase()
            gc.collect()  # ends the processes of loaders, which abort if they are left to the end of the interpreter
            logger.info("%s: %.0f s", name, time.monotonic() - started)

    def ladder(self) -> None:
        folder = self.output / "ladder"
        if (folder / "manifest.csv").is_file() and self.sources is None:
            return
        if self.sources is None:
            raise ValueError(f"{folder}: no ladder there; name the sources to build it from")
        settings = self.settings
        summary = build_ladder(
            self.sources,
            folder,
            workers=self.workers or None,
            report=logger.info,
            recipe=settings.recipe,
            seed=settings.seed,
            **settings.ladder,
        )
        logger.info("%s", summary)

    def frames(self) -> None:
        self._data()

    def teacher(self) -> None:
        if not self._is_done("teacher"):
            train_teacher(self._data(), self.settings, self.output / "teacher", self.workers)

    def student(self) -> None:
        if not self._is_done("student"):
            self._needs("teacher")
            folders = self.output / "teacher", self.output / "student"
            train_student(self._data(), self.settings, *folders, self.workers)

    def calibrate(self) -> None:
        """The interval of both models, on validation, and what the training videos were like."""
        rows = self._rows()
        for name in ("teacher", "student"):
            self._needs(name)
            folder, validation = self.output / name, rows["validation"]
            model = AutoModel.from_pretrained(folder, dtype=torch.float32)
            model.config.domain = domain_of(rows["train"])
            model.config.score_interval = None
            _save_config(model, folder)
            results = score_files(folder, validation["video"][:], self.workers, self.output / SCORES)
            model.config.score_interval = fit_interval(results, validation["score"][:], self.settings.coverage)
            _save_config(model, folder)

    def evaluate(self) -> None:
        for name in ("teacher", "student"):
            self._needs(name)
        evaluate(self._rows(), self.settings, self.output, self.workers)

    def sanity(self) -> None:
        """What users try first: made of pristine clips of the test split, scored, and told in the card."""
        self._needs("student")
        test, settings = self._rows()["test"], self.settings
        references = dict(sorted(zip(test["content_id"][:], test["reference"][:])))
        contents = list(references)
        places = np.linspace(0, len(contents) - 1, min(settings.sanity_contents, len(contents))).round().astype(int)
        table = make_sanity_set(
            {contents[place]: references[contents[place]] for place in places},
            self.output / "sanity_set",
            self.workers,
            settings.sanity_frames,
            settings.sanity_repeats,
        )
        folder = self.output / "report"
        folder.mkdir(exist_ok=True)
        text = score_sanity_set(table, self.output / "student", folder, self.workers, self.output / SCORES)
        write_text(self.output / "student" / "sanity.md", text)

    def assets(self) -> None:
        """The folder that the package brings."""
        self._needs("student")
        source, target = self.output / "student", self.assets_folder
        size = (source / "model.safetensors").stat().st_size
        if size > MAX_BYTES:
            raise ValueError(f"{source}: the weights have {size / 1e6:.1f} MB, more than {MAX_BYTES / 1e6:.0f} MB")
        target.mkdir(parents=True, exist_ok=True)
        kept = ("*config.json", "model.safetensors", "run.json", "report.md", "sanity.md", "test/*")
        for path in (path for pattern in kept for path in source.glob(pattern)):
            copy = target / path.relative_to(source)
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(path.read_bytes())
        write_text(target / "README.md", model_card(target))

    def _rows(self):
        return load_rows(self.output / "ladder", self.settings)

    def _data(self):
        return load_frames(self._rows(), self.settings, self.output / "frames", self.workers)

    def _is_done(self, name: str) -> bool:
        return (self.output / name / RUN).is_file()

    def _needs(self, name: str) -> None:
        if not self._is_done(name):
            raise ValueError(f"{self.output / name}: no trained model there; run the phase {name} first")


def _save_config(model, folder: Path) -> None:
    """The configuration alone: the weights beside it stay as they are, and with them their number format."""
    config = model.config.to_diff_dict()
    config["dtype"] = "float16" if folder.name == "student" else "float32"
    write_text(folder / "config.json", json_text(config))
