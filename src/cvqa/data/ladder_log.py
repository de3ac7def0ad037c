"""What a ladder's folder holds already: an append-only log of finished work, and the manifest made from it."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path


class LadderLog:
    """Finished work of a ladder, one JSON line per file: `{"file": ..., "recipe": ..., "result": ...}`.

    The recipe is all that decides the file's bytes and label. Work counts as done if the last line about its file has
    the same recipe and the file is there at its full size. Only one thread and one process may write.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.path = folder / "progress.jsonl"
        self.records: dict[str, dict] = {}
        folder.mkdir(parents=True, exist_ok=True)
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        for line in text.splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue  # cut short by a kill
            self.records[record["file"]] = record
        self._file = self.path.open("a", encoding="utf-8")
        if text and not text.endswith("\n"):
            self._file.write("\n")

    def find(self, file: str, recipe: dict) -> dict | None:
        """The result of work done before, or None if it is to be done."""
        record = self.records.get(file)
        return record["result"] if record and record["recipe"] == recipe and self._is_whole(record) else None

    def add(self, file: str, recipe: dict, result: dict) -> None:
        record = {"file": file, "recipe": recipe, "result": result}
        if self.records.get(file) == record:
            return
        self.records[file] = record
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def encodes(self) -> Iterator[dict]:
        """Manifest rows, sorted by file, of all encodes that are there and were made from the reference as it is."""
        for file, record in sorted(self.records.items()):
            reference = self.records.get(record["result"].get("reference"))
            if reference and record["recipe"]["reference"] == identity(reference["recipe"]) and self._is_whole(record):
                yield {**reference["result"], "video": file, **record["result"]}

    def _is_whole(self, record: dict) -> bool:
        try:
            return (self.folder / record["file"]).stat().st_size == record["result"]["bytes"]
        except OSError:
            return False


def identity(recipe: dict) -> str:
    """A short name for a recipe."""
    return hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:16]
