"""Scores that were made before: nothing is scored twice, and a run that was stopped goes on."""

import hashlib
import json
from pathlib import Path
from threading import Lock

from ..distillation.teacher_cache import fingerprint
from ..inference import VideoScorer
from ..models import video_plan
from ..models.video_scores import Segment


SCORES = "scores.jsonl"  # in the folder of a recipe


class ScoreStore:
    """The views of videos by one model, in a file that other models may share: a JSON line per video.

    Known are videos by what is in the file, and the model by its weights, its mapping, its processor and the code that
    looks at a video; so a store may be moved, and nothing in it is ever wrong for being old.

    Args:
        path: of the file, which need not be there.
        scorer: the model with its processor.
    """

    def __init__(self, path: Path, scorer: VideoScorer):
        self._scored_by, self._lock = _identity(scorer), Lock()
        self._views: dict[str, tuple[Segment, ...]] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        for line in text.splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue  # cut short by a kill
            if record["model"] == self._scored_by:
                self._views[record["video"]] = tuple(Segment(*view) for view in record["views"])
        self._file = path.open("a", encoding="utf-8")
        if text and not text.endswith("\n"):
            self._file.write("\n")

    def __enter__(self) -> "ScoreStore":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._views)

    def find(self, video: str) -> tuple[Segment, ...] | None:
        """The views of a video, by its `content_key`; None where it is to be scored."""
        return self._views.get(video)

    def add(self, video: str, views: tuple[Segment, ...]) -> None:
        """May be called by several threads: a line is written at once."""
        self._views[video] = views
        line = json.dumps({"model": self._scored_by, "video": video, "views": views})
        with self._lock:
            self._file.write(line + "\n")
            self._file.flush()


def content_key(file: str | Path) -> str:
    """A name for what is in a file. Raises OSError where it cannot be read."""
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()[:32]


def _identity(scorer: VideoScorer) -> str:
    hashed = hashlib.sha256(f"{fingerprint(scorer.model)} {scorer.max_views}".encode())
    hashed.update(scorer.processor.to_json_string().encode())
    for code in sorted(Path(video_plan.__file__).parent.glob("*.py")):
        hashed.update(code.read_bytes())
    return hashed.hexdigest()[:32]
